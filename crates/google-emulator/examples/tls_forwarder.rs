//! The least that can stand between a TLS client and PostgreSQL: what the emulated Cloud SQL is
//! measured against. It copies bytes, and checks nobody unless it is given whose clients to take.
//!
//! `tls_forwarder LISTEN UPSTREAM CERTIFICATE.pem KEY.pem [CLIENT_CA.pem]`

use std::error::Error;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, certificate, key, client_ca @ ..] = arguments.as_slice() else {
        let usage = "tls_forwarder LISTEN UPSTREAM CERTIFICATE.pem KEY.pem [CLIENT_CA.pem]";
        return Err(format!("usage: {usage}").into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    for file in client_ca {
        roots.add(CertificateDer::from_pem_file(file)?)?;
    }
    let clients = if roots.is_empty() {
        WebPkiClientVerifier::no_client_auth()
    } else {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
        tokio::spawn(async move { forward(acceptor, client, &upstream).await.ok() });
    }
}

async fn forward(acceptor: TlsAcceptor, client: TcpStream, upstream: &str) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
