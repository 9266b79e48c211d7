//! Which cluster a client talks to.

use crate::server::Server;
use health::{Error, connect};
use std::path::{Path, PathBuf};

/// A kubeconfig of its own, removed in the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, server: &str) -> File {
        let path = std::env::temp_dir().join(format!("health-{}-{name}", std::process::id()));
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: production,\
             clusters: [{{name: local, cluster: {{server: '{server}'}}}},\
                        {{name: production, cluster: {{server: 'https://192.0.2.1:6443'}}}}],\
             users: [{{name: me, user: {{}}}}],\
             contexts: [{{name: kind-mlflow-gke, context: {{cluster: local, user: me}}}},\
                        {{name: production, context: {{cluster: production, user: me}}}}]}}"
        );
        std::fs::write(&path, text).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn named_context_is_used_and_not_the_current_one() {
    let server = Server::start().await;
    let file = File::new("named", &server.url());
    connect(&file.0, "kind-mlflow-gke").await.unwrap();
    assert_eq!(server.requests(), ["/version"]);
}

#[tokio::test]
async fn unknown_context_names_those_that_are_there() {
    let file = File::new("unknown", "http://127.0.0.1:1");
    let error = connect(&file.0, "typo").await.err().unwrap().to_string();
    assert!(error.contains("`typo`"), "{error}");
    assert!(error.contains("kind-mlflow-gke, production"), "{error}");
}

#[tokio::test]
async fn server_that_is_down_is_named() {
    let mut server = Server::start().await;
    server.stop().await;
    let file = File::new("down", &server.url());
    let error = connect(&file.0, "kind-mlflow-gke").await.err().unwrap().to_string();
    assert!(error.contains(&server.url()), "{error}");
    assert!(error.contains("kind-mlflow-gke"), "{error}");
    assert!(error.contains(&file.0.display().to_string()), "{error}");
}

#[tokio::test]
async fn missing_file_is_named() {
    let error = connect(Path::new("/nonexistent/config"), "x").await.err().unwrap();
    assert!(
        matches!(&error, Error::Kubeconfig { path, .. } if path.ends_with("config")),
        "{error}"
    );
}
