//! Which pods a Service leads to.

use crate::server::Server;
use health::{
    Error,
    tunnel::{Address, Tunnel},
};
use serde_json::{Value, json};
use std::time::Duration;

fn service() -> Value {
    json!({
        "kind": "Service", "metadata": {"name": "mlflow"},
        "spec": {"ports": [{"name": "http", "port": 5000, "targetPort": 5000}]},
    })
}

#[tokio::test]
async fn port_that_the_service_lacks_is_refused() {
    let server = Server::start().await;
    server.put(service());
    let address = Address::new("mlflow", "mlflow", 80);
    let error = Tunnel::open(server.client(), address, Duration::ZERO).await.err().unwrap();
    assert!(matches!(error, Error::NoPort { port: 80, .. }), "{error}");
}

#[tokio::test]
async fn without_a_ready_pod_it_says_so_after_its_patience() {
    let server = Server::start().await;
    server.put(service());
    let address = Address::new("mlflow", "mlflow", 5000);
    let patience = Duration::from_millis(20);
    let mut tunnel = Tunnel::open(server.client(), address, patience).await.unwrap();
    let error = tunnel.http("GET", "/version", &[], "").await.err().unwrap();
    assert!(matches!(error, Error::NoEndpoint { port: 5000, .. }), "{error}");
}
