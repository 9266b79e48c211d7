//! Port 3307 of Cloud SQL: TLS with a client certificate, PostgreSQL behind it.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::cloud::Cloud;

/// Serves the port until it is dropped.
pub async fn serve(_cloud: Arc<Cloud>, listener: TcpListener) {
    // Nobody is served yet: the connection ends as soon as it is there.
    while listener.accept().await.is_ok() {}
}
