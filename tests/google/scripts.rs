//! The scripts of real clients, by the tests that run them.

use e2e::google::Script;

/// google-cloud-storage, and requests where the bytes themselves matter.
pub(crate) const STORAGE: Script = Script {
    surface: "Cloud Storage",
    words: &["storage_lab.py", "storage.py"],
    clients: &[("storage: ", "google-cloud-storage")],
};

/// MLflow's own repository of artifacts, in a pod.
pub(crate) const MLFLOW: Script = Script {
    surface: "Cloud Storage in a pod",
    words: &["mlflow_artifacts.py"],
    clients: &[("", "MLflow's GCSArtifactRepository")],
};

/// Everybody who asks the metadata server.
pub(crate) const METADATA: Script = Script {
    surface: "Metadata server",
    words: &["metadata.py"],
    clients: &[
        ("curl_", "curl"),
        ("python_", "google-auth"),
        ("go_", "Go's compute/metadata and oauth2/google"),
        ("", "http.client"),
    ],
};

/// The metadata server with pods, accounts and tokens of a real API server.
pub(crate) const METADATA_CLUSTER: Script = Script {
    surface: "Metadata server beside kube-apiserver",
    words: &["metadata_cluster.py"],
    clients: &[("", "http.client")],
};

/// Who asks Cloud SQL, as its scripts tell of each case.
const CLOUD_SQL_CLIENTS: &[(&str, &str)] = &[
    ("cloud-sql-proxy", "cloud-sql-proxy with psql and psycopg2"),
    ("https", "urllib, openssl and TLS by hand"),
];

/// Calls of the Admin API, and what PostgreSQL makes of them.
pub(crate) const CLOUD_SQL_ADMIN: Script = Script {
    surface: "Cloud SQL Admin API",
    words: &["cloudsql_admin.py"],
    clients: CLOUD_SQL_CLIENTS,
};

/// The real proxy with psql and psycopg2 through it.
pub(crate) const CLOUD_SQL_PROXY: Script = Script {
    surface: "Cloud SQL through its proxy",
    words: &["cloudsql_proxy.py"],
    clients: CLOUD_SQL_CLIENTS,
};

/// Bad clients, restarts, a full disk, a crash.
pub(crate) const CLOUD_SQL_OUTAGES: Script = Script {
    surface: "Cloud SQL on bad days",
    words: &["cloudsql_outages.py"],
    clients: CLOUD_SQL_CLIENTS,
};

/// gcloud as an administrator types it.
pub(crate) const GCLOUD: Script =
    Script { surface: "Administration", words: &["gcloud.py"], clients: &[("", "gcloud")] };

/// `gcloud sql`.
pub(crate) const GCLOUD_SQL: Script = Script {
    surface: "Administration of Cloud SQL",
    words: &["cloudsql_gcloud.py"],
    clients: &[("gcloud_", "gcloud")],
};
