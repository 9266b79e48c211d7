//! What a test may do to the metadata server, on a port of its own that no pod reaches.
//!
//! | request | what it does |
//! | --- | --- |
//! | `GET /healthz` | 200 once the node's pods are known, 503 before |
//! | `POST /silence {"seconds", "address", "how"}` | says nothing, to one address or to all |
//! | `DELETE /silence` | ends that |
//! | `POST /faults`, `GET /faults`, `DELETE /faults` | the gateway's rules, host `metadata.google.internal` |
//! | `DELETE /tokens` | forgets all tokens |

use super::{server::Server, silence::How};
use crate::{
    body::{self, Body},
    error::{Error, Form},
    faults::Rule,
    gateway::{
        connections::Connections,
        serve::{accept, http},
    },
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// A handful: the kubelet's probe and a test.
const MOST_CONNECTIONS: usize = 64;
/// Longer than any test.
const LONGEST_SILENCE: u32 = 86_400;

/// Serves until it is dropped.
pub(super) async fn serve(server: Arc<Server>, listener: TcpListener) {
    accept(listener, Connections::new(MOST_CONNECTIONS), move |stream, place| {
        let server = Arc::clone(&server);
        http(stream, place, move |request| {
            let server = Arc::clone(&server);
            async move { Ok(answer(&server, request).await.unwrap_or_else(|it| it.response(Form::Api))) }
        })
    })
    .await;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    seconds: u32,
    address: Option<IpAddr>,
    #[serde(default)]
    how: How,
}

async fn answer(server: &Server, request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    match (request.method(), &*path) {
        (&Method::GET, "/healthz") => return Ok(health(server)),
        (&Method::POST, "/silence") => {
            let order: Ordered = body::request(request.into_body()).await?;
            if order.seconds > LONGEST_SILENCE {
                return Err(Error::invalid_argument("a silence is at most 86400 seconds"));
            }
            let lasts = Duration::from_secs(order.seconds.into());
            server.silence.order(order.address.map(|it| it.to_canonical()), lasts, order.how);
        }
        (&Method::DELETE, "/silence") => server.silence.end(),
        (&Method::GET, "/faults") => return Ok(body::ok(&server.faults.list())),
        (&Method::POST, "/faults") => {
            let rule: Rule = body::request(request.into_body()).await?;
            rule.fault.check().map_err(Error::invalid_argument)?;
            server.faults.add(rule);
        }
        (&Method::DELETE, "/faults") => server.faults.clear(),
        (&Method::DELETE, "/tokens") => server.chain.clear(),
        (method, _) => return Err(Error::not_found(format!("there is no {method} {path}"))),
    }
    Ok(body::ok(&serde_json::json!({})))
}

fn health(server: &Server) -> Response<Body> {
    let text = "text/plain; charset=utf-8";
    if server.pods.is_ready() {
        return body::answer(StatusCode::OK, text, "ok");
    }
    body::answer(StatusCode::SERVICE_UNAVAILABLE, text, "the node's pods are not known yet")
}
