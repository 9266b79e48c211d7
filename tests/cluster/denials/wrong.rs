//! What can be wrong, how it comes to be so, and how all of it is put right again.

use anyhow::Context as _;
use e2e::{BUCKET, Cloud, LIMIT, NAMESPACE, On, PROJECT, Scene, google_sa, run};
use serde_json::{Value, json};

/// The bindings of the world that the rows change.
const POLICIES: [On; 4] = [
    On::Project,
    On::Bucket(BUCKET),
    On::ServiceAccount("mlflow"),
    On::ServiceAccount("mlflow-cloudsql"),
];
const ANNOTATION: &str = "iam.gke.io/gcp-service-account";
/// The database user of the proxy's service account.
const DATABASE_USER: &str = "mlflow-cloudsql@mlflow-gke-local.iam";
const PROXY: &str = "deployment/mlflow-cloudsql-proxy";
const INSTANCE: &str = "mlflow-gke-local:europe-north1:mlflow";
const METADATA_SERVER: (&str, &str) = ("kube-system", "google-metadata-server");

/// One thing that is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    /// Nobody has this role there any more.
    NoBinding(On, &'static str),
    /// A member has this role there.
    Binding(On, &'static str, &'static str),
    /// A member has this role there when a condition holds.
    Conditional(On, &'static str, &'static str, &'static str),
    /// The service account of Kubernetes names this one of Google, or none.
    Annotation(Option<&'static str>),
    /// An API is not enabled in the project.
    Disabled(&'static str),
    /// There is another bucket.
    Bucket(&'static str),
    /// MLflow's bucket is gone.
    NoBucket,
    /// Nobody answers at 169.254.169.254.
    NoMetadataServer,
    /// The tokens of MLflow's accounts are not taken any more, and nobody has noticed.
    TokensEnded,
    /// The same, and the metadata server has let go of them: as if an hour were over.
    AnHourLater,
    /// The proxy is told to connect to another instance.
    Instance(&'static str),
    /// The certificates of the proxies have expired, and their connections have ended.
    CertificatesExpired,
    /// Every connection to the database ends.
    Disconnected,
    /// The database does not know the proxy's account.
    NoDatabaseUser,
    /// The instance has no space for what is written.
    FullDisk,
}

impl Wrong {
    /// Makes it so.
    pub(super) fn happen(self, scene: &Scene, cloud: &Cloud<'_>) -> anyhow::Result<()> {
        match self {
            Self::NoBinding(on, role) => {
                let mut bindings = cloud.bindings(on)?;
                bindings.retain(|it| it["role"] != role);
                cloud.set_bindings(on, &bindings)
            }
            Self::Binding(on, role, member) => {
                bind(cloud, on, json!({ "role": role, "members": [member] }))
            }
            Self::Conditional(on, role, member, expression) => {
                let condition = json!({ "title": "e2e", "expression": expression });
                bind(
                    cloud,
                    on,
                    json!({ "role": role, "members": [member], "condition": condition }),
                )
            }
            Self::Annotation(google_sa) => annotate(scene, &json!(google_sa)),
            Self::Disabled(api) => switch(cloud, api, "disable"),
            Self::Bucket(name) => cloud.ensure_bucket(name),
            Self::NoBucket => cloud.remove_bucket(BUCKET),
            Self::NoMetadataServer => metadata_server(scene, false),
            Self::TokensEnded => end_tokens(cloud),
            Self::AnHourLater => {
                end_tokens(cloud)?;
                cloud.forget_tokens()
            }
            Self::Instance(name) => connect_to(scene, cloud, name),
            Self::CertificatesExpired => {
                cloud.operate(&sql("expire-certificates"), &json!({}))?;
                disconnect(cloud)
            }
            Self::Disconnected => disconnect(cloud),
            Self::FullDisk => disk(scene, "fill-disk"),
            Self::NoDatabaseUser => {
                let url = format!("{}?name={DATABASE_USER}", users());
                cloud.do_it("DELETE", &url, &Value::Null)?;
                disconnect(cloud)
            }
        }
    }
}

/// How the policies were before.
pub(super) struct Original(Vec<(On, Vec<Value>)>);

impl Original {
    /// Remembers them.
    pub(super) fn of(cloud: &Cloud<'_>) -> anyhow::Result<Self> {
        let read = |on: On| Ok((on, cloud.bindings(on)?));
        Ok(Self(POLICIES.into_iter().map(read).collect::<anyhow::Result<_>>()?))
    }

    /// Undoes what was made wrong, whether it happened or not.
    pub(super) fn put_right(
        &self,
        scene: &Scene,
        cloud: &Cloud<'_>,
        wrong: Wrong,
    ) -> anyhow::Result<()> {
        match wrong {
            Wrong::NoBinding(on, _) | Wrong::Binding(on, ..) | Wrong::Conditional(on, ..) => {
                self.restore(cloud, on)
            }
            Wrong::Annotation(_) => annotate(scene, &json!(google_sa("mlflow"))),
            Wrong::Disabled(api) => switch(cloud, api, "enable"),
            Wrong::NoBucket => {
                cloud.ensure_bucket(BUCKET)?;
                self.restore(cloud, On::Bucket(BUCKET))
            }
            Wrong::NoMetadataServer => metadata_server(scene, true),
            Wrong::TokensEnded => cloud.forget_tokens(),
            Wrong::Instance(_) => connect_to(scene, cloud, INSTANCE),
            Wrong::NoDatabaseUser => make_database_user(cloud),
            Wrong::FullDisk => disk(scene, "free-disk"),
            Wrong::Bucket(name) => cloud.remove_bucket(name),
            Wrong::AnHourLater | Wrong::CertificatesExpired | Wrong::Disconnected => Ok(()),
        }
    }

    /// The policy of a bucket that was not there before goes with it.
    fn restore(&self, cloud: &Cloud<'_>, on: On) -> anyhow::Result<()> {
        match self.0.iter().find(|(it, _)| *it == on) {
            Some((_, bindings)) => cloud.set_bindings(on, bindings),
            None => Ok(()),
        }
    }
}

fn make_database_user(cloud: &Cloud<'_>) -> anyhow::Result<()> {
    let user = json!({
        "name": DATABASE_USER,
        "type": "CLOUD_IAM_SERVICE_ACCOUNT",
        "databaseRoles": ["cloudsqlsuperuser"],
    });
    cloud.do_it("POST", &users(), &user).map(drop)
}

fn bind(cloud: &Cloud<'_>, on: On, binding: Value) -> anyhow::Result<()> {
    let mut bindings = cloud.bindings(on)?;
    bindings.push(binding);
    cloud.set_bindings(on, &bindings)
}

fn annotate(scene: &Scene, google_sa: &Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/mlflow");
    let patch = json!({ "metadata": { "annotations": { ANNOTATION: google_sa } } });
    scene.api.merge(&path, &patch).map(drop)
}

fn switch(cloud: &Cloud<'_>, api: &str, verb: &str) -> anyhow::Result<()> {
    let url =
        format!("https://serviceusage.googleapis.com/v1/projects/{PROJECT}/services/{api}:{verb}");
    cloud.do_it("POST", &url, &json!({})).map(drop)
}

/// The pods go by a node that does not exist, and come back by the one that does.
fn metadata_server(scene: &Scene, runs: bool) -> anyhow::Result<()> {
    let nowhere = if runs { Value::Null } else { json!("nowhere") };
    let selector = json!({ "mlflow-gke.dev/e2e": nowhere });
    let patch = json!({ "spec": { "template": { "spec": { "nodeSelector": selector } } } });
    let (namespace, name) = METADATA_SERVER;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}");
    scene.api.merge(&path, &patch)?;
    scene.api.wait_for_daemon_set(namespace, name, i64::from(runs))
}

fn end_tokens(cloud: &Cloud<'_>) -> anyhow::Result<()> {
    let workload = format!("{PROJECT}.svc.id.goog[{NAMESPACE}/mlflow]");
    for account in [google_sa("mlflow"), workload] {
        let member = json!({ "member": format!("serviceAccount:{account}") });
        cloud.operate("/tokens/revoke-all", &member)?;
    }
    Ok(())
}

fn users() -> String {
    format!("https://sqladmin.googleapis.com/sql/v1beta4/projects/{PROJECT}/instances/mlflow/users")
}

fn sql(deed: &str) -> String {
    format!("/sql/{PROJECT}/mlflow/{deed}")
}

fn disk(scene: &Scene, deed: &str) -> anyhow::Result<()> {
    scene.run(&["google", "fault", "sql", deed])?.expect(0).map(drop)
}

fn disconnect(cloud: &Cloud<'_>) -> anyhow::Result<()> {
    cloud.operate(&sql("close"), &json!({ "seconds": 0 }))
}

/// As somebody types it who has mistaken a name.
fn connect_to(scene: &Scene, cloud: &Cloud<'_>, instance: &str) -> anyhow::Result<()> {
    let variable = format!("CSQL_PROXY_INSTANCE_CONNECTION_NAME={instance}");
    run(scene.kubectl(&["-n", NAMESPACE, "set", "env", PROXY, &variable]), LIMIT)?.expect(0)?;
    // The old proxy would go on for as long as somebody is connected.
    disconnect(cloud)?;
    let limit = format!("--timeout={}s", LIMIT.as_secs());
    let wait = ["-n", NAMESPACE, "rollout", "status", PROXY, &limit];
    run(scene.kubectl(&wait), LIMIT)?.expect(0).context("roll the proxy out")?;
    // Who has come back meanwhile may have come back to the old one, which waits 30 s for its clients.
    disconnect(cloud)
}
