//! From a service account of Kubernetes to a token of Google, step by step as on GKE: the cluster
//! signs a token, STS exchanges it, IAM Credentials gives one of the Google service account.
//!
//! Every step is a call over TLS to Google's own host name; only the address behind the name may be
//! told.

mod client;

pub(crate) use client::Client;
pub use client::ClientError;

use super::{
    cache::Cache,
    page::Instance,
    pods::{Pod, Pods},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

const STS: &str = "https://sts.googleapis.com/v1/token";
const IAM: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
/// An API server that is well signs in milliseconds.
const LONGEST_SIGNING: Duration = Duration::from_secs(5);
/// With what the workload calls IAM Credentials.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A token and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) value: Arc<str>,
    pub(crate) expires: SystemTime,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Google says no.
    #[error("{status}: {message}")]
    Status { status: u16, message: String },
    /// STS does not take the workload's token.
    #[error("STS: {status}: {message}")]
    Exchange { status: u16, message: String },
    /// The cluster gives no token for the service account.
    #[error("{0}")]
    NoSubject(String),
    /// There was no answer, or none that can be understood.
    #[error("{0}")]
    Unreachable(String),
}

impl Refusal {
    /// Whether it is an answer to the question, rather than the lack of one.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Refusal::Status { status, .. } | Refusal::Exchange { status, .. } => *status < 500,
            // The API server may be away; a token that it vouched for before is as good as it was.
            Refusal::NoSubject(_) | Refusal::Unreachable(_) => false,
        }
    }
}

/// Whose token with which scopes. The Google service account is part of it: who changes the
/// annotation sees the change at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    kubernetes_sa: String,
    google_sa: Option<String>,
    scopes: Vec<String>,
}

/// The chain with its two caches.
pub(crate) struct Chain {
    client: Client,
    pods: Arc<dyn Pods>,
    instance: Arc<Instance>,
    federated: Cache<Key>,
    impersonated: Cache<Key>,
}

impl Chain {
    pub(crate) fn new(
        client: Client,
        pods: Arc<dyn Pods>,
        instance: Arc<Instance>,
        keep: Duration,
    ) -> Chain {
        let (federated, impersonated) = (Cache::new(keep), Cache::new(keep));
        Chain { client, pods, instance, federated, impersonated }
    }

    /// The access token of a pod: of its Google service account if it has one, else its own.
    pub(crate) async fn access_token(
        &self,
        pod: &Pod,
        scopes: Vec<String>,
        now: SystemTime,
    ) -> Result<Token, Refusal> {
        let Some(email) = &pod.google_sa else { return self.federated(pod, scopes, now).await };
        let key = key(pod, Some(email), scopes);
        let fetch = || async {
            let body = json!({"scope": key.scopes, "lifetime": "3600s"});
            let answer = self.ask_iam(pod, email, "generateAccessToken", &body, now).await?;
            let answer: AccessToken = understood(answer)?;
            let expires = answer.expire_time.parse::<jiff::Timestamp>();
            let expires = expires.map_err(|it| Refusal::Unreachable(it.to_string()))?;
            Ok(Token { value: answer.access_token.into(), expires: expires.into() })
        };
        self.impersonated.get(&key, now, fetch).await
    }

    /// An identity token of a pod's Google service account.
    pub(crate) async fn identity_token(
        &self,
        pod: &Pod,
        email: &str,
        audience: &str,
        now: SystemTime,
    ) -> Result<String, Refusal> {
        let body = json!({"audience": audience, "includeEmail": true});
        let answer = self.ask_iam(pod, email, "generateIdToken", &body, now).await?;
        let answer: IdToken = understood(answer)?;
        Ok(answer.token)
    }

    /// Forgets all tokens.
    pub(crate) fn clear(&self) {
        self.federated.clear();
        self.impersonated.clear();
    }

    async fn ask_iam(
        &self,
        pod: &Pod,
        email: &str,
        method: &str,
        body: &Value,
        now: SystemTime,
    ) -> Result<Value, Refusal> {
        let url = format!("{IAM}/{}:{method}", client::segment(email));
        let scopes = vec![CLOUD_PLATFORM.to_owned()];
        let bearer = self.federated(pod, scopes.clone(), now).await?;
        let mut answer = self.client.post(&url, Some(&bearer.value), body).await?;
        if answer.status == 401 {
            // Revoked before its time: another one may do.
            self.federated.forget(&key(pod, None, scopes.clone()), &bearer);
            let bearer = self.federated(pod, scopes, now).await?;
            answer = self.client.post(&url, Some(&bearer.value), body).await?;
        }
        match answer.status {
            200 => Ok(answer.body),
            status => Err(Refusal::Status { status, message: answer.google_message() }),
        }
    }

    async fn federated(
        &self,
        pod: &Pod,
        scopes: Vec<String>,
        now: SystemTime,
    ) -> Result<Token, Refusal> {
        let key = key(pod, None, scopes);
        let fetch = || async {
            let pool = self.instance.pool();
            let subject = timeout(LONGEST_SIGNING, self.pods.projected_token(pod, &pool)).await;
            let late = |_| Refusal::NoSubject("the API server does not answer".to_owned());
            let subject = subject.map_err(late)?.map_err(|it| Refusal::NoSubject(it.0))?;
            let body = json!({
                "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
                "audience": format!("identitynamespace:{pool}:{}", self.instance.issuer()),
                "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
                "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
                "subjectToken": subject,
                "scope": key.scopes.join(" "),
            });
            let answer = self.client.post(STS, None, &body).await?;
            if answer.status != 200 {
                let message = answer.oauth_message();
                return Err(Refusal::Exchange { status: answer.status, message });
            }
            let answer: Exchanged = understood(answer.body)?;
            let expires = now + Duration::from_secs(answer.expires_in);
            Ok(Token { value: answer.access_token.into(), expires })
        };
        self.federated.get(&key, now, fetch).await
    }
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessToken {
    access_token: String,
    expire_time: String,
}

#[derive(Deserialize)]
struct IdToken {
    token: String,
}

fn key(pod: &Pod, google_sa: Option<&str>, scopes: Vec<String>) -> Key {
    Key {
        namespace: pod.namespace.clone(),
        kubernetes_sa: pod.kubernetes_sa.clone(),
        google_sa: google_sa.map(str::to_owned),
        scopes,
    }
}

fn understood<T: for<'a> Deserialize<'a>>(answer: Value) -> Result<T, Refusal> {
    serde_json::from_value(answer).map_err(|it| Refusal::Unreachable(it.to_string()))
}
