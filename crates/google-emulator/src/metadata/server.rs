//! Answers the requests of a node's pods.

mod listening;

pub(crate) use listening::serve;

use super::{
    chain::Chain,
    page::{self, Found, Instance, Node},
    pods::{Peer, Pod, Pods},
    query::{Form, Query},
    silence::Silence,
    words::{self, Failure, Wanted},
};
use crate::{
    body::{self, Body},
    clock::Clock,
    faults::{Fault, Faults},
    gateway::Reset,
    log::{Entry, Log},
};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{ETAG, HeaderName, HeaderValue, LOCATION, SERVER},
    http::request::Parts,
};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout_at};

/// A pod asks as soon as it runs, and may be faster than the news of it. GKE's server looks fifty
/// times (gcpdiag's rule gke/ERR/2023_011); here it is told, and this is the longest that it waits.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// A file of pods tells no changes by itself: who waits for one looks this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Everything that depends on who asks.
const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts";
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The name that faults are set for.
pub(crate) const HOST: &str = "metadata.google.internal";

/// The metadata server of one node.
pub(crate) struct Server {
    pub(crate) instance: Arc<Instance>,
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) chain: Chain,
    pub(crate) silence: Silence,
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Log,
}

/// One request, taken apart.
struct Asked<'a> {
    peer: IpAddr,
    method: &'a Method,
    path: &'a str,
    query: Query,
}

impl Server {
    /// Answers one request from an address.
    ///
    /// # Errors
    /// When the connection is to be closed without a word.
    pub(crate) async fn answer(
        &self,
        peer: IpAddr,
        parts: &Parts,
    ) -> Result<Response<Body>, Reset> {
        let (path, method) = (parts.uri.path(), &parts.method);
        if let Some((left, how)) = self.silent(peer).await {
            self.note(peer, method, path, "silent", &format!("{left:?} left"), 0);
            if how == super::silence::How::Reset {
                return Err(Reset);
            }
            self.hold(peer).await;
        }
        match self.faults.meet(HOST, path, method) {
            None => {}
            Some(Fault::Reset {}) => return Err(Reset),
            Some(Fault::Status { code, message }) => {
                return Ok(failed(&Failure { status: code, text: message + "\n" }));
            }
            Some(latency) => {
                let until = Instant::now() + latency.latency().unwrap_or_default();
                tokio::time::sleep_until(until).await;
            }
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let asked = Asked { peer, method, path, query };
        let answer = match admitted(&asked, &parts.headers) {
            Ok(()) => self.found(&asked, parts).await,
            Err(failure) => Err(failure),
        };
        Ok(answer.unwrap_or_else(|failure| {
            let why = failure.text.lines().next().unwrap_or_default();
            self.note(peer, method, path, "refused", why, failure.status);
            failed(&failure)
        }))
    }

    /// Waits until the silence is over, also when it ends before its time.
    async fn hold(&self, peer: IpAddr) {
        let left = || self.silence.left(peer, self.started(peer), self.clock.now());
        while let Some((left, _)) = left() {
            tokio::time::sleep_until(Instant::now() + left.min(LOOK_AGAIN)).await;
        }
    }

    async fn silent(&self, peer: IpAddr) -> Option<(Duration, super::silence::How)> {
        let started = match self.silence.concerns_young_pods() {
            true => match self.who(peer, true).await {
                Peer::Pod(pod) => pod.started,
                Peer::Node | Peer::Unknown => None,
            },
            false => None,
        };
        self.silence.left(peer, started, self.clock.now())
    }

    async fn found(&self, asked: &Asked<'_>, parts: &Parts) -> Result<Response<Body>, Failure> {
        let identity = asked.query.recursive || asked.path.starts_with(ACCOUNTS);
        let peer = self.who(asked.peer, identity).await;
        if matches!(peer, Peer::Unknown) && asked.path.starts_with(ACCOUNTS) {
            return Err(words::not_found());
        }
        let tree = page::tree(&self.instance, self.email(&peer).as_deref());
        match (page::find(&tree, asked.path), &peer) {
            (Found::Nothing, _) => Err(words::not_found()),
            (Found::NeedsSlash, _) => Ok(moved(parts)),
            (Found::Node(Node::AccessToken), Peer::Pod(pod)) => self.access_token(asked, pod).await,
            (Found::Node(Node::IdentityToken), Peer::Pod(pod)) => {
                self.identity_token(asked, pod).await
            }
            // Others have no directory with tokens in it.
            (Found::Node(Node::AccessToken | Node::IdentityToken), _) => Err(words::not_found()),
            (Found::Node(_), _) => self.value(asked).await,
        }
    }

    /// Who has an address; waits a little for news when it matters.
    async fn who(&self, address: IpAddr, matters: bool) -> Peer {
        let deadline = Instant::now() + KNOWN_WITHIN;
        let mut changes = self.pods.changes();
        loop {
            changes.mark_unchanged();
            match self.pods.find(address) {
                Peer::Unknown if address.is_loopback() || is_link_local(address) => {
                    return Peer::Node;
                }
                Peer::Unknown if matters => {}
                known => return known,
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return self.pods.find(address);
            }
        }
    }

    /// What stands in for the email of a caller; the node has no service account here, so a pod on
    /// the host's network has none either, as on nodes without one.
    fn email(&self, peer: &Peer) -> Option<String> {
        match peer {
            Peer::Pod(pod) => Some(pod.google_sa.clone().unwrap_or_else(|| self.instance.pool())),
            Peer::Node | Peer::Unknown => None,
        }
    }

    /// A value or a directory, at once or when it has changed.
    async fn value(&self, asked: &Asked<'_>) -> Result<Response<Body>, Failure> {
        let Query { wait_for_change, recursive, form, .. } = asked.query;
        let deadline = Instant::now() + asked.query.longest_wait();
        let mut changes = self.pods.changes();
        let mut last = asked.query.last_etag.clone();
        loop {
            changes.mark_unchanged();
            let peer = self.who(asked.peer, false).await;
            let tree = page::tree(&self.instance, self.email(&peer).as_deref());
            let Found::Node(node) = page::find(&tree, asked.path) else {
                return Err(words::not_found());
            };
            let (text, form) = page::written(node, recursive, form);
            let etag = format!("{:016x}", page::fingerprint(text.bytes()));
            let changed = last.replace(etag.clone()).is_some_and(|last| last != etag);
            if !wait_for_change || changed || Instant::now() >= deadline {
                return Ok(written(text, form, &etag));
            }
            let soon = deadline.min(Instant::now() + LOOK_AGAIN);
            drop(timeout_at(soon, changes.changed()).await);
        }
    }

    async fn access_token(&self, asked: &Asked<'_>, pod: &Pod) -> Result<Response<Body>, Failure> {
        let now = self.clock.now();
        let token = self.chain.access_token(pod, asked.query.token_scopes(), now).await;
        let token = token.map_err(|it| self.explained(asked, &it, Wanted::AccessToken))?;
        let left = token.expires.duration_since(now).unwrap_or_default();
        let answer = serde_json::json!({
            "access_token": &*token.value,
            "expires_in": left.as_secs(),
            "token_type": "Bearer",
        });
        Ok(labelled("application/json", answer.to_string()))
    }

    async fn identity_token(
        &self,
        asked: &Asked<'_>,
        pod: &Pod,
    ) -> Result<Response<Body>, Failure> {
        let audience = asked.query.audience.as_deref().ok_or_else(words::no_audience)?;
        let Some(email) = &pod.google_sa else {
            return Err(words::no_identity(&pod.namespace, &pod.kubernetes_sa));
        };
        let token = self.chain.identity_token(pod, email, audience, self.clock.now()).await;
        let token = token.map_err(|it| self.explained(asked, &it, Wanted::IdentityToken))?;
        Ok(labelled("application/text", token))
    }

    /// The whole reason goes into the log, the pod hears what GKE says.
    fn explained(
        &self,
        asked: &Asked<'_>,
        refusal: &super::chain::Refusal,
        wanted: Wanted,
    ) -> Failure {
        let failure = words::refused(refusal, wanted);
        let why = refusal.to_string();
        self.note(asked.peer, asked.method, asked.path, "denied", &why, failure.status);
        failure
    }

    fn note(
        &self,
        peer: IpAddr,
        method: &Method,
        path: &str,
        decision: &str,
        why: &str,
        status: u16,
    ) {
        let caller = match self.pods.find(peer) {
            Peer::Pod(pod) => {
                format!("{peer} {}/{} as {}", pod.namespace, pod.name, pod.kubernetes_sa)
            }
            Peer::Node => format!("{peer} node"),
            Peer::Unknown => format!("{peer} unknown"),
        };
        let method = format!("{method} {path}");
        let (caller, method) = (&*caller, &*method);
        let surface = "metadata";
        self.log.write(&Entry {
            surface,
            caller,
            method,
            decision,
            why,
            status,
            ..Entry::default()
        });
    }

    /// When the life of an address' pod began, if it is known.
    pub(crate) fn started(&self, peer: IpAddr) -> Option<SystemTime> {
        match self.pods.find(peer) {
            Peer::Pod(pod) => pod.started,
            Peer::Node | Peer::Unknown => None,
        }
    }
}

/// Refuses what no path would be answered for.
fn admitted(asked: &Asked<'_>, headers: &HeaderMap) -> Result<(), Failure> {
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return Err(words::method_not_allowed());
    }
    if headers.contains_key(FORWARDED) {
        return Err(words::forwarded());
    }
    // Go's client asks for the root without the header, to see whether the answer has it.
    if asked.path != "/" && headers.get(FLAVOR).is_none_or(|it| it != "Google") {
        return Err(words::missing_header());
    }
    asked.query.mistake.map_or(Ok(()), |it| Err(words::mistake(it)))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(it) if it.is_link_local())
}

/// The headers that every answer with a value has, seen in public logs (google-cloud-ruby#3750).
fn labelled(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = body::answer(StatusCode::OK, content_type, text);
    response.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    response.headers_mut().insert(SERVER, HeaderValue::from_static("GKE Metadata Server"));
    response
}

fn written(text: String, form: Form, etag: &str) -> Response<Body> {
    let content_type = match form {
        Form::Text => "application/text",
        Form::Json => "application/json",
    };
    let mut response = labelled(content_type, text);
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// What a directory without its slash gets.
fn moved(parts: &Parts) -> Response<Body> {
    let query = parts.uri.query().map(|it| format!("?{it}")).unwrap_or_default();
    let location = format!("{}/{query}", parts.uri.path());
    let mut response = labelled("text/html; charset=utf-8", String::new());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Refusals are plain text, and lack the headers of a value, as Go's `http.Error` writes them.
fn failed(failure: &Failure) -> Response<Body> {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = body::answer(status, "text/plain; charset=utf-8", failure.text.clone());
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(HeaderName::from_static("x-content-type-options"), nosniff);
    response
}
