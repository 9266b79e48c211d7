//! The real overlays against the API server's own schemas, defaults and validation: a field that does
//! not exist, or a value that is not allowed, is refused here and not on somebody's cluster.

use std::path::Path;
use std::process::Command;

use manifests::{Bundle, Environment};
use serde_json::{Value, json};

use crate::control_plane::program;
use crate::fixture::with_cluster;

/// What an environment renders, in a namespace of the test's own.
fn rendered(environment: Environment, namespace: &str) -> Vec<Value> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let bundle = Bundle::parse(&kustomize(&root.join(environment.folder()))).expect("objects");
    bundle.values().cloned().map(|it| into_namespace(it, namespace)).collect()
}

fn into_namespace(mut object: Value, namespace: &str) -> Value {
    let field = if object["kind"] == "Namespace" { "name" } else { "namespace" };
    assert_eq!(object["metadata"][field], "mlflow");
    object["metadata"][field] = json!(namespace);
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        subject["namespace"] = json!(namespace);
    }
    object
}

#[expect(clippy::disallowed_methods, reason = "it renders a few files; no wait is needed")]
fn kustomize(folder: &Path) -> String {
    let mut kubectl = Command::new(program("MLFLOW_GKE_KUBECTL"));
    let output = kubectl.arg("kustomize").arg(folder).output().expect("run kubectl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl kustomize {}: {said}", folder.display());
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}

/// Every object is written, with strict validation of its fields, and then there is nothing to write.
fn check(environment: Environment) {
    let test = format!("overlay-{environment}");
    with_cluster(&test, |cluster| async move {
        let objects = rendered(environment, cluster.ns());
        let deployed = cluster.deploy(&objects).await.expect("a server takes every object");
        assert_eq!(deployed.applied.written.len(), objects.len(), "{:?}", deployed.applied);
        let again = cluster.plan(&objects).await.expect("a plan");
        assert_eq!(again.pending().count(), 0, "{again:?}");
    });
}

#[test]
fn a_server_takes_every_object_of_gcp() {
    check(Environment::Gcp);
}

#[test]
fn a_server_takes_every_object_of_gcp_cloudsql() {
    check(Environment::GcpCloudsql);
}

#[test]
fn a_server_takes_every_object_of_kind() {
    check(Environment::Kind);
}

#[test]
fn a_server_takes_every_object_of_kind_cloudsql() {
    check(Environment::KindCloudsql);
}

/// The four tests above can fail.
#[test]
fn a_field_that_does_not_exist_is_refused() {
    with_cluster("overlay-misspelt", |cluster| async move {
        let mut objects = rendered(Environment::Kind, cluster.ns());
        let is_server =
            |it: &&mut Value| it["kind"] == "Deployment" && it["metadata"]["name"] == "mlflow";
        let server = objects.iter_mut().find(is_server).expect("the server");
        server["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = json!("Always");
        let Err(error) = cluster.deploy(&objects).await else { panic!("it was taken") };
        let error = format!("{error:?}");
        assert!(error.contains("imagePullPolcy"), "{error}");
    });
}
