//! What the committed overlays promise, seen on what the real Kustomize renders.

mod kustomize;

use std::{collections::BTreeSet, fs};

use kustomize::{Copy, committed, files, root};
use manifests::{
    Bundle, Code, EnvFile, Environment, Settings,
    difference::{self, Change},
    findings::{self, kustomization},
    pods,
    settings::{self, Setting},
};
use serde_json::{Value, json};

const GOOGLE: &[(&str, &str)] = &[
    ("PROJECT_ID", "our-project"),
    ("REGION", "us-east1"),
    ("BUCKET_NAME_MLFLOW", "our-models"),
    ("MLFLOW_SERVICE_ACCOUNT_ID", "mlflow-server"),
];
const CLOUDSQL: &[(&str, &str)] =
    &[("MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID", "mlflow-sql"), ("CLOUDSQL_INSTANCE_NAME", "db")];

fn shown(bundle: &Bundle) -> Vec<String> {
    findings::check(bundle).iter().map(ToString::to_string).collect()
}

fn filled_in(environment: Environment) -> (Copy, Bundle) {
    let copy = Copy::new();
    let variables =
        if environment.has_cloudsql() { [GOOGLE, CLOUDSQL].concat() } else { GOOGLE.to_vec() };
    copy.set(environment, &variables);
    let bundle = copy.bundle(environment);
    (copy, bundle)
}

#[test]
fn the_local_environments_have_no_findings() {
    for environment in [Environment::Kind, Environment::KindCloudsql] {
        assert_eq!(shown(committed(environment)), [""; 0], "{environment}");
    }
}

#[test]
fn the_google_environments_lack_only_what_their_user_has_to_write() {
    for environment in [Environment::Gcp, Environment::GcpCloudsql] {
        let codes: BTreeSet<_> =
            findings::check(committed(environment)).iter().map(|it| it.code).collect();
        assert_eq!(codes, BTreeSet::from([Code::Placeholder]), "{environment}");
        let (_, bundle) = filled_in(environment);
        assert_eq!(shown(&bundle), [""; 0], "{environment} with its settings");
    }
}

#[test]
fn the_committed_settings_are_complete_and_only_the_google_ones_are_placeholders() {
    for environment in Environment::ALL {
        let texts = settings::files(environment)
            .map(|it| (it, fs::read_to_string(root().join(it)).unwrap()));
        let read =
            Settings::read(environment, [(texts[0].0, &texts[0].1), (texts[1].0, &texts[1].1)]);
        let others: Vec<_> =
            read.1.iter().filter(|it| !it.message.contains("placeholder")).collect();
        assert!(others.is_empty(), "{environment}: {others:?}");
        assert_eq!(read.0.is_some(), environment.is_local(), "{environment}: {:?}", read.1);
    }
}

#[test]
fn the_settings_of_the_server_are_well_formed() {
    let path = "deploy/mlflow/base/server.env";
    let (_, problems) = EnvFile::parse(path, &fs::read_to_string(root().join(path)).unwrap());
    assert_eq!(problems, []);
}

#[test]
fn every_environment_is_a_folder_and_every_folder_an_environment() {
    let folders: BTreeSet<_> = fs::read_dir(root().join("deploy/mlflow/env"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<_> = Environment::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(folders, names);
}

#[test]
fn settings_reach_every_place_that_needs_them() {
    let (_copy, bundle) = filled_in(Environment::GcpCloudsql);
    let identity = |name: &str| {
        let account = bundle.find("ServiceAccount", name).unwrap();
        account.annotation("iam.gke.io/gcp-service-account").unwrap().to_owned()
    };
    assert_eq!(identity("mlflow"), "mlflow-server@our-project.iam.gserviceaccount.com");
    assert_eq!(identity("mlflow-cloudsql-proxy"), "mlflow-sql@our-project.iam.gserviceaccount.com");
    let literal = |container: &str, name: &str| {
        let found = pods::templates(&bundle)
            .flat_map(|it| it.containers())
            .find(|it| it.value["name"] == container && it.literals().contains_key(name));
        found.unwrap().literals()[name].to_owned()
    };
    assert_eq!(literal("mlflow", "PGUSER"), "mlflow-sql@our-project.iam");
    assert_eq!(
        literal("cloud-sql-proxy", "CSQL_PROXY_INSTANCE_CONNECTION_NAME"),
        "our-project:us-east1:db"
    );
    assert_eq!(
        images(&bundle),
        [
            "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.27.0",
            "us-east1-docker.pkg.dev/our-project/mlflow/mlflow:3.17.2"
        ]
    );
}

#[test]
fn the_images_of_a_local_cluster_are_its_own_whatever_google_is_set_to() {
    let (copy, _) = filled_in(Environment::Gcp);
    assert_eq!(copy.bundle(Environment::Kind), *committed(Environment::Kind));
    let (copy, _) = filled_in(Environment::GcpCloudsql);
    assert_eq!(copy.bundle(Environment::KindCloudsql), *committed(Environment::KindCloudsql));
    assert_eq!(
        images(committed(Environment::Kind)),
        ["localhost/mlflow-gke/mlflow:dev", "localhost/mlflow-gke/postgres:dev"]
    );
    assert_eq!(
        images(committed(Environment::KindCloudsql)),
        ["localhost/mlflow-gke/cloud-sql-proxy:dev", "localhost/mlflow-gke/mlflow:dev"]
    );
}

#[test]
fn a_tag_names_the_image_and_the_jobs_that_run_it() {
    let copy = Copy::new();
    copy.set(
        Environment::Kind,
        &[("MLFLOW_IMAGE_TAG", "0a1b2c-3d"), ("POSTGRES_IMAGE_TAG", "4e5f")],
    );
    let bundle = copy.bundle(Environment::Kind);
    let jobs: Vec<_> = bundle.of_kind("Job").map(|it| it.id.name.as_str()).collect();
    assert_eq!(jobs, ["mlflow-secrets-0a1b2c-3d", "mlflow-migrate-0a1b2c-3d"]);
    assert_eq!(
        images(&bundle),
        ["localhost/mlflow-gke/mlflow:0a1b2c-3d", "localhost/mlflow-gke/postgres:4e5f"]
    );
    let others: Vec<_> = difference::bundles(committed(Environment::Kind), &bundle)
        .into_iter()
        .filter(|it| !matches!(it, Change::Changed { .. }))
        .collect();
    assert_eq!(others, [], "a new tag adds and removes nothing");
}

fn images(bundle: &Bundle) -> Vec<String> {
    let images: BTreeSet<_> = pods::templates(bundle)
        .flat_map(|it| it.containers())
        .map(|it| it.value["image"].as_str().expect("is a text").to_owned())
        .collect();
    images.into_iter().collect()
}

#[test]
fn a_local_environment_differs_from_its_google_twin_in_this_and_nothing_else() {
    let common = [
        "configmap/mlflow-config data.DEFAULT_ARTIFACT_ROOT",
        "configmap/mlflow-config metadata.name",
        "configmap/mlflow-settings data",
        "deployment/mlflow spec.replicas",
        "deployment/mlflow spec.template.spec.volumes[name=google-emulation-ca]",
        "deployment/mlflow …[mlflow].env[name=MLFLOW_ARTIFACTS_DESTINATION].valueFrom.configMapKeyRef.name",
        "deployment/mlflow …[mlflow].env[name=REQUESTS_CA_BUNDLE]",
        "deployment/mlflow …[mlflow].env[name=SSL_CERT_FILE]",
        "deployment/mlflow …[mlflow].envFrom[0].configMapRef.name",
        "deployment/mlflow …[mlflow].image",
        "deployment/mlflow …[mlflow].resources",
        "deployment/mlflow …[mlflow].volumeMounts[name=google-emulation-ca]",
        "job/mlflow-migrate metadata.name",
        "job/mlflow-migrate …[mlflow].image",
        "job/mlflow-migrate …[mlflow].resources",
        "namespace/mlflow metadata.annotations",
        "namespace/mlflow metadata.labels[mlflow-gke.dev/google-emulation]",
        "serviceaccount/mlflow metadata.annotations[iam.gke.io/gcp-service-account]",
    ];
    let postgres = [
        "deployment/postgres …[postgres].image",
        "deployment/postgres …[postgres].resources",
        "job/mlflow-secrets metadata.name",
        "job/mlflow-secrets …[secrets].image",
        "persistentvolumeclaim/postgres spec.resources.requests.storage",
    ];
    let cloudsql = [
        "deployment/mlflow …[mlflow].env[name=PGUSER].value",
        "deployment/mlflow-cloudsql-proxy spec.replicas",
        "deployment/mlflow-cloudsql-proxy …[cloud-sql-proxy].env[name=CSQL_PROXY_INSTANCE_CONNECTION_NAME].value",
        "deployment/mlflow-cloudsql-proxy spec.template.spec.volumes",
        "deployment/mlflow-cloudsql-proxy …[cloud-sql-proxy].env[name=SSL_CERT_FILE]",
        "deployment/mlflow-cloudsql-proxy …[cloud-sql-proxy].image",
        "deployment/mlflow-cloudsql-proxy …[cloud-sql-proxy].volumeMounts",
        "job/mlflow-migrate …[mlflow].env[name=PGUSER].value",
        "serviceaccount/mlflow-cloudsql-proxy metadata.annotations[iam.gke.io/gcp-service-account]",
    ];
    for (environment, own) in
        [(Environment::Kind, postgres.as_slice()), (Environment::KindCloudsql, cloudsql.as_slice())]
    {
        let allowed: BTreeSet<_> = common.iter().chain(own).map(ToString::to_string).collect();
        assert_eq!(differences(environment), allowed, "{environment}");
    }
}

/// Each difference from the twin as one line, without hashes and values.
fn differences(environment: Environment) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for change in difference::bundles(committed(environment.rehearses()), committed(environment)) {
        match change {
            Change::Added { id } => drop(lines.insert(format!("+ {id}"))),
            Change::Removed { id } => drop(lines.insert(format!("- {id}"))),
            Change::Changed { id, leaves } => {
                let id = ["mlflow-config", "mlflow-migrate", "mlflow-secrets"]
                    .iter()
                    .find(|it| id.name.starts_with(&format!("{it}-")))
                    .map_or(id.to_string(), |it| format!("{}/{it}", id.kind.to_lowercase()));
                for leaf in leaves {
                    let path = leaf.path.replace("spec.template.spec.containers[name=", "…[");
                    let path = if id == "configmap/mlflow-settings" {
                        "data"
                    } else {
                        path.split_once(".resources.")
                            .filter(|_| path.starts_with('…'))
                            .map_or(path.as_str(), |it| &path[..it.0.len() + ".resources".len()])
                    };
                    lines.insert(format!("{id} {path}"));
                }
            }
        }
    }
    lines
}

#[test]
fn the_guides_names_are_there() {
    for environment in Environment::ALL {
        let bundle = committed(environment);
        assert!(bundle.find("Namespace", "mlflow").is_some());
        assert_eq!(
            bundle.find("Service", "mlflow").unwrap().value["spec"]["ports"][0]["port"],
            json!(5000)
        );
        let mut labels: Vec<_> = pods::templates(bundle).filter_map(|it| it.label("app")).collect();
        labels.sort_unstable();
        let expected: &[&str] = if environment.has_cloudsql() {
            &["mlflow", "mlflow-cloudsql-proxy", "mlflow-migrate"]
        } else {
            &["mlflow", "mlflow-migrate", "mlflow-secrets", "postgres"]
        };
        assert_eq!(labels, expected, "{environment}");
    }
}

#[test]
fn objects_come_in_the_agreed_waves() {
    let waves = |environment| -> Vec<_> {
        let bundle = committed(environment);
        let objects = bundle.objects.iter().filter(|it| it.wave > 0);
        objects.map(|it| format!("{} {}", it.wave, it.id)).collect()
    };
    assert_eq!(
        waves(Environment::Kind),
        [
            "1 job/mlflow-secrets-dev",
            "2 deployment/postgres",
            "3 job/mlflow-migrate-dev",
            "4 deployment/mlflow"
        ]
    );
    assert_eq!(
        waves(Environment::KindCloudsql),
        ["2 deployment/mlflow-cloudsql-proxy", "3 job/mlflow-migrate-dev", "4 deployment/mlflow"]
    );
}

#[test]
fn every_object_is_in_the_namespace_and_carries_our_labels() {
    for environment in Environment::ALL {
        for object in &committed(environment).objects {
            let label = |name: &str| object.value["metadata"]["labels"][name].as_str();
            assert_eq!(label("app.kubernetes.io/part-of"), Some("mlflow"), "{}", object.id);
            assert_eq!(
                label("app.kubernetes.io/managed-by"),
                Some("mlflow-xtask"),
                "{}",
                object.id
            );
            let namespace = object.id.namespace.as_deref();
            let expected = (object.id.kind != "Namespace").then_some("mlflow");
            assert_eq!(namespace, expected, "{environment} {}", object.id);
        }
    }
}

#[test]
fn no_pod_has_a_token_but_the_one_that_makes_the_secret() {
    for environment in Environment::ALL {
        let with_token: Vec<_> = pods::templates(committed(environment))
            .filter(|it| it.spec["automountServiceAccountToken"] != json!(false))
            .filter_map(|it| it.label("app"))
            .collect();
        let expected: &[&str] = if environment.has_cloudsql() { &[] } else { &["mlflow-secrets"] };
        assert_eq!(with_token, expected, "{environment}");
    }
}

#[test]
fn no_service_becomes_a_variable_of_a_pod() {
    // Service `mlflow` would set MLFLOW_PORT=tcp://…, which MLflow reads as its port.
    for environment in Environment::ALL {
        for template in pods::templates(committed(environment)) {
            assert_eq!(template.spec["enableServiceLinks"], json!(false), "{}", template.object.id);
        }
    }
}

#[test]
fn the_servers_hosts_are_its_own_names_and_no_others() {
    for environment in Environment::ALL {
        let bundle = committed(environment);
        let config = bundle
            .of_kind("ConfigMap")
            .find(|it| it.id.name.starts_with("mlflow-config-"))
            .unwrap();
        let hosts: BTreeSet<_> = config.value["data"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
            .as_str()
            .unwrap()
            .split(',')
            .map(str::to_owned)
            .collect();
        let mut expected: BTreeSet<_> = ["localhost", "127.0.0.1"]
            .iter()
            .flat_map(|it| [(*it).to_owned(), format!("{it}:*")])
            .collect();
        expected.insert("[[]::1]:*".to_owned());
        for suffix in ["", ".mlflow", ".mlflow.svc", ".mlflow.svc.cluster.local"] {
            expected.insert(format!("mlflow{suffix}"));
            expected.insert(format!("mlflow{suffix}:5000"));
        }
        assert_eq!(hosts, expected, "{environment}");
    }
}

#[test]
fn the_readiness_probe_is_let_in_by_the_allowed_hosts() {
    let bundle = committed(Environment::Kind);
    let probe = bundle
        .find("Deployment", "mlflow")
        .unwrap()
        .value
        .pointer("/spec/template/spec/containers/0/readinessProbe/httpGet/httpHeaders/0")
        .cloned();
    assert_eq!(probe, Some(json!({"name": "Host", "value": "localhost:5000"})));
}

#[test]
fn the_startup_probe_outlasts_mlflows_own_wait_for_its_database() {
    for environment in Environment::ALL {
        let deployment = committed(environment).find("Deployment", "mlflow").unwrap();
        let probe =
            deployment.value.pointer("/spec/template/spec/containers/0/startupProbe").unwrap();
        let number = |name: &str| probe[name].as_u64().unwrap();
        assert!(number("periodSeconds") * number("failureThreshold") >= 150, "{probe}");
    }
}

#[test]
fn a_finished_job_stays_so_that_a_second_deploy_writes_nothing() {
    for environment in Environment::ALL {
        for job in committed(environment).of_kind("Job") {
            let spec = &job.value["spec"];
            assert_eq!(spec["ttlSecondsAfterFinished"], Value::Null, "{}", job.id);
            assert!(spec["backoffLimit"].is_u64(), "{}", job.id);
            assert!(spec["activeDeadlineSeconds"].is_u64(), "{}", job.id);
        }
    }
}

#[test]
fn a_jobs_template_names_no_hashed_object() {
    // A Job's template is immutable, and a hash changes with every setting.
    for environment in Environment::ALL {
        let bundle = committed(environment);
        for reference in manifests::graph::references(bundle) {
            let is_job = reference.from.id.kind == "Job";
            assert!(!is_job || reference.kind != "ConfigMap", "{reference:?}");
        }
    }
}

#[test]
fn traffic_is_denied_until_a_policy_names_it() {
    for environment in Environment::ALL {
        let policy = committed(environment).find("NetworkPolicy", "default-deny").unwrap();
        assert_eq!(
            policy.value["spec"],
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        );
    }
}

#[test]
fn no_kustomization_uses_what_kustomize_gave_up_or_makes_a_secret() {
    let mut kustomizations = 0;
    for path in files(&root().join("deploy/mlflow")) {
        if path.ends_with("kustomization.yaml") {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(kustomization::check(&path.display().to_string(), &text), []);
            kustomizations += 1;
        }
    }
    assert!(kustomizations >= 9, "found {kustomizations} kustomizations");
}

#[test]
fn every_key_of_a_params_file_is_a_setting() {
    for environment in Environment::ALL {
        let [_, params] = settings::files(environment);
        let (file, problems) =
            EnvFile::parse(params, &fs::read_to_string(root().join(params)).unwrap());
        assert_eq!(problems, []);
        for entry in file.entries {
            let setting = Setting::ALL.iter().find(|it| it.key() == entry.key);
            assert_eq!(setting.and_then(|it| it.file(environment)), Some(params), "{}", entry.key);
        }
    }
}
