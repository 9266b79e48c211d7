//! Rows about Cloud SQL, on environment `kind-cloudsql`: no password anywhere.

use anyhow::Context as _;
use e2e::{On, Scene, deployed_as};

use super::{Denial, Seen, Wrong, check, run_script};

const ENVIRONMENT: &str = "kind-cloudsql";
const SCRIPT: &str = include_str!("database.py");
const PROXY: Option<&str> = Some("app=mlflow-cloudsql-proxy");
/// What every row begins with.
const ROW: Denial = Denial {
    name: "",
    wrong: &[],
    deed: "SELECT 1",
    restarts: None,
    is_sticky: false,
    is_fleeting: false,
    client: "",
    user: (503, "TEMPORARILY_UNAVAILABLE"),
    remedy: "",
};

pub(super) const ROWS: [Denial; 8] = [
    Denial {
        name: "cloudsql.client is missing",
        remedy: "grant `roles/cloudsql.client` on the project to the proxy's account",
        wrong: &[Wrong::NoBinding(On::Project, "roles/cloudsql.client"), Wrong::Disconnected],
        restarts: PROXY,
        client: "boss::NOT_AUTHORIZED: Not authorized to access instance: mlflow",
        ..ROW
    },
    Denial {
        name: "cloudsql.instanceUser is missing",
        remedy: "grant `roles/cloudsql.instanceUser` on the project to the proxy's account",
        wrong: &[Wrong::NoBinding(On::Project, "roles/cloudsql.instanceUser"), Wrong::Disconnected],
        client: "Cloud SQL IAM service account authentication failed for user \"mlflow-cloudsql@mlflow-gke-local.iam\"",
        ..ROW
    },
    Denial {
        name: "the instance does not exist",
        remedy: "correct `GCP_CLOUDSQL_INSTANCE_NAME`",
        wrong: &[Wrong::Instance("mlflow-gke-local:europe-north1:missing")],
        client: "googleapi: Error 404: The Cloud SQL instance does not exist., instanceDoesNotExist",
        ..ROW
    },
    Denial {
        name: "the instance is in another region",
        remedy: "correct `GCP_CLOUDSQL_INSTANCE_NAME`: `PROJECT:REGION:NAME`",
        wrong: &[Wrong::Instance("mlflow-gke-local:us-central1:mlflow")],
        client: "provided region was mismatched",
        ..ROW
    },
    Denial {
        name: "the instance is of another project",
        remedy: "correct `GCP_CLOUDSQL_INSTANCE_NAME`",
        wrong: &[Wrong::Instance("another-project:europe-north1:mlflow")],
        client: "boss::NOT_AUTHORIZED: Not authorized to access",
        ..ROW
    },
    Denial {
        name: "the ephemeral certificate has expired",
        remedy: "nothing: the proxy fetches a new one for the next connection",
        // The proxy tells of whichever of its two directions ends first. When it is the one that
        // writes, which is every other time, it says `use of closed network connection`.
        is_fleeting: true,
        wrong: &[Wrong::CertificatesExpired],
        client: "remote error: tls: expired certificate",
        user: (200, "experiments"),
        ..ROW
    },
    Denial {
        name: "the database user is missing",
        remedy: "`gcloud sql users create mlflow-cloudsql@PROJECT.iam --instance=NAME --type=cloud_iam_service_account`",
        wrong: &[Wrong::NoDatabaseUser],
        client: "fe_sendauth: no password supplied",
        ..ROW
    },
    Denial {
        name: "the disk of the instance is full",
        remedy: "`gcloud sql instances patch NAME --storage-size=GB`",
        wrong: &[Wrong::FullDisk],
        // It changes no row, and would have to write if it did.
        deed: "UPDATE experiments SET name = name WHERE false",
        client: "No space left on device",
        ..ROW
    },
];

#[test]
fn what_is_wrong_with_cloud_sql_is_told_in_googles_words_and_heals() -> anyhow::Result<()> {
    deployed_as(ENVIRONMENT, |scene| {
        // What a user owns keeps it from being deleted.
        let well =
            run_script(scene, SCRIPT, "REASSIGN OWNED BY current_user TO cloudsqlsuperuser")?;
        assert!(well.is_well(), "{well:?}");
        check(scene, &ROWS, &|deed| ask(scene, deed))
    })
}

/// PostgreSQL's client sees a closed connection; why, the proxy says in its log.
fn ask(scene: &Scene, deed: &str) -> anyhow::Result<Seen> {
    let mut seen = run_script(scene, SCRIPT, deed)?;
    let selector = "app=mlflow-cloudsql-proxy";
    let logs = ["logs", "--env", ENVIRONMENT, "--selector", selector, "--tail", "100"];
    seen.log = scene.run(&logs)?.expect(0).context("read the proxy's log")?.stdout;
    Ok(seen)
}
