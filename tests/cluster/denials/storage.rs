//! Rows about identity and Cloud Storage, on environment `kind`.

use e2e::{BUCKET, On, deployed};

use super::{Denial, Wrong, check, run_script};

const SCRIPT: &str = include_str!("storage.py");
const GSA: &str = "serviceAccount:mlflow@mlflow-gke-local.iam.gserviceaccount.com";
const DIRECT: &str = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/mlflow-gke-local.svc.id.goog/subject/ns/mlflow/sa/mlflow";
const USER: &str = "roles/storage.objectUser";
const MAY_ACT: &str = "roles/iam.workloadIdentityUser";
const ACCOUNT: On = On::ServiceAccount("mlflow");
const ARTIFACTS: On = On::Bucket(BUCKET);
const MLFLOW: Option<&str> = Some("app=mlflow");
const GRANT: &str = "grant `roles/storage.objectUser` on the bucket to the account";
const ANNOTATE: &str =
    "annotate the Kubernetes service account with `iam.gke.io/gcp-service-account`";
/// What every row begins with.
const ROW: Denial = Denial {
    name: "",
    wrong: &[],
    deed: "write",
    restarts: None,
    is_sticky: false,
    is_fleeting: false,
    client: "",
    user: (500, "Internal Server Error"),
    remedy: GRANT,
};

pub(super) const ROWS: [Denial; 15] = [
    Denial {
        name: "no metadata server",
        remedy: "start the metadata server (on GKE: Workload Identity on the node pool)",
        wrong: &[Wrong::AnHourLater, Wrong::NoMetadataServer],
        client: "Anonymous credentials cannot be refreshed.",
        ..ROW
    },
    Denial {
        name: "neither annotation nor binding",
        remedy: "annotate, and grant `roles/iam.workloadIdentityUser` on the account to the workload",
        wrong: &[Wrong::Annotation(None), Wrong::NoBinding(ACCOUNT, MAY_ACT)],
        restarts: MLFLOW,
        is_sticky: true,
        client: "mlflow-gke-local.svc.id.goog[mlflow/mlflow] does not have storage.objects.create access",
        ..ROW
    },
    Denial {
        name: "annotation without binding",
        remedy: "grant `roles/iam.workloadIdentityUser` on the account to `PROJECT.svc.id.goog[mlflow/mlflow]`",
        wrong: &[Wrong::NoBinding(ACCOUNT, MAY_ACT), Wrong::AnHourLater],
        client: "Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        ..ROW
    },
    Denial {
        name: "binding without annotation",
        remedy: ANNOTATE,
        wrong: &[Wrong::Annotation(None)],
        restarts: MLFLOW,
        is_sticky: true,
        client: "mlflow-gke-local.svc.id.goog[mlflow/mlflow] does not have storage.objects.create access",
        ..ROW
    },
    Denial {
        name: "the Google service account does not exist",
        remedy: "create the account, or annotate with one that exists",
        wrong: &[Wrong::Annotation(Some("missing@mlflow-gke-local.iam.gserviceaccount.com"))],
        restarts: MLFLOW,
        is_sticky: true,
        client: "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email missing@mlflow-gke-local.iam.gserviceaccount.com",
        ..ROW
    },
    Denial {
        name: "the Google service account of another project",
        remedy: "annotate with an account of this project",
        wrong: &[Wrong::Annotation(Some("mlflow@another-project.iam.gserviceaccount.com"))],
        restarts: MLFLOW,
        is_sticky: true,
        client: "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email mlflow@another-project.iam.gserviceaccount.com",
        ..ROW
    },
    Denial {
        name: "the bucket does not exist",
        remedy: "create the bucket and grant the role on it",
        wrong: &[Wrong::NoBucket],
        client: "The specified bucket does not exist.",
        ..ROW
    },
    Denial {
        name: "objectViewer only",
        wrong: &[
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Binding(ARTIFACTS, "roles/storage.objectViewer", GSA),
        ],
        client: "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object. Permission 'storage.objects.create' denied on resource (or it may not exist).",
        ..ROW
    },
    Denial {
        name: "objectCreator only, read",
        wrong: &[
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Binding(ARTIFACTS, "roles/storage.objectCreator", GSA),
        ],
        deed: "read",
        client: "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object.",
        ..ROW
    },
    Denial {
        name: "objectCreator only, replace",
        wrong: &[
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Binding(ARTIFACTS, "roles/storage.objectCreator", GSA),
        ],
        client: "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.objects.delete access to the Google Cloud Storage object.",
        ..ROW
    },
    Denial {
        name: "the role on another bucket",
        wrong: &[
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Bucket("mlflow-gke-local-other"),
            Wrong::Binding(On::Bucket("mlflow-gke-local-other"), USER, GSA),
        ],
        client: "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object.",
        ..ROW
    },
    Denial {
        name: "the token has ended",
        remedy: "nothing: a new token is fetched",
        wrong: &[Wrong::TokensEnded],
        client: "Invalid Credentials",
        ..ROW
    },
    Denial {
        name: "the API is disabled",
        remedy: "`gcloud services enable storage.googleapis.com`",
        wrong: &[Wrong::Disabled("storage.googleapis.com")],
        client: "has not been used in project 123456789012 before or it is disabled.",
        ..ROW
    },
    Denial {
        name: "the condition of the binding is false",
        remedy: "grant it without the condition",
        wrong: &[
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Conditional(
                ARTIFACTS,
                USER,
                GSA,
                "request.time < timestamp(\"2020-01-01T00:00:00Z\")",
            ),
        ],
        client: "mlflow@mlflow-gke-local.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object.",
        ..ROW
    },
    Denial {
        name: "a grant to the workload itself",
        remedy: "nothing is wrong: an annotation is not needed for this",
        wrong: &[
            Wrong::Annotation(None),
            Wrong::NoBinding(ARTIFACTS, USER),
            Wrong::Binding(ARTIFACTS, USER, DIRECT),
        ],
        restarts: MLFLOW,
        is_sticky: true,
        client: "well",
        user: (200, ""),
        ..ROW
    },
];

#[test]
fn what_is_wrong_with_storage_is_told_in_googles_words_and_heals() -> anyhow::Result<()> {
    deployed(|scene| {
        let ask = |deed: &str| run_script(scene, SCRIPT, deed);
        ask("write")?;
        check(scene, &ROWS, &ask)
    })
}
