//! The emulated APIs: which of them a request is for, and how each writes its errors.

pub mod artifact_registry;
pub mod container;
pub mod iam;
pub mod iam_credentials;
pub mod oauth;
pub mod paging;
pub mod policy;
pub mod resource_manager;
pub mod service_usage;
pub mod sql_admin;
pub mod storage;
pub mod sts;

use std::sync::Arc;

use hyper::{Request, Response};

use crate::body::Body;
use crate::cloud::Cloud;
use crate::error::Form;

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Token exchange.
    Sts,
    /// Tokens and signatures of service accounts.
    IamCredentials,
    /// Service accounts and roles.
    Iam,
    /// Projects.
    ResourceManager,
    /// Which APIs are enabled.
    ServiceUsage,
    /// GKE.
    Container,
    /// Repositories.
    ArtifactRegistry,
    /// Buckets and objects.
    Storage,
    /// Cloud SQL.
    SqlAdmin,
    /// Public keys and token information.
    OAuth,
}

impl Surface {
    /// The API that a host and a path belong to.
    #[must_use]
    pub fn of(host: &str, path: &str) -> Option<Self> {
        let name = host.strip_suffix(".googleapis.com").unwrap_or(host);
        Some(match name {
            "sts" => Self::Sts,
            "iamcredentials" => Self::IamCredentials,
            "iam" => Self::Iam,
            "cloudresourcemanager" => Self::ResourceManager,
            "serviceusage" => Self::ServiceUsage,
            "container" => Self::Container,
            "artifactregistry" => Self::ArtifactRegistry,
            "storage" => Self::Storage,
            "sqladmin" => Self::SqlAdmin,
            "oauth2" | "accounts.google.com" | "oauth2.google.com" => Self::OAuth,
            // Old discovery documents still name this host.
            "www" => Self::of_www(path)?,
            _ if host.ends_with(".storage.googleapis.com") => Self::Storage,
            _ if name.starts_with("storage.") && name.ends_with(".rep") => Self::Storage,
            _ => return None,
        })
    }

    fn of_www(path: &str) -> Option<Self> {
        let first = path.trim_start_matches('/').split('/').next()?;
        let second = path.trim_start_matches('/').split('/').nth(1);
        match (first, second) {
            ("storage", _) | ("upload" | "download" | "batch", Some("storage")) => {
                Some(Self::Storage)
            }
            ("sql", _) => Some(Self::SqlAdmin),
            ("oauth2" | "robot" | "service_accounts", _) => Some(Self::OAuth),
            _ => None,
        }
    }

    /// How it writes its errors.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::Sts | Self::OAuth => Form::OAuth,
            Self::Storage => Form::Storage,
            Self::SqlAdmin => Form::WithErrors,
            _ => Form::Api,
        }
    }
}

/// Passes a request to its API.
pub async fn handle(
    surface: Surface,
    cloud: &Arc<Cloud>,
    request: Request<Body>,
) -> Response<Body> {
    match surface {
        Surface::Sts => sts::handle(cloud, request).await,
        Surface::IamCredentials => iam_credentials::handle(cloud, request).await,
        Surface::Iam => iam::handle(cloud, request).await,
        Surface::ResourceManager => resource_manager::handle(cloud, request).await,
        Surface::ServiceUsage => service_usage::handle(cloud, request).await,
        Surface::Container => container::handle(cloud, request).await,
        Surface::ArtifactRegistry => artifact_registry::handle(cloud, request).await,
        Surface::Storage => storage::handle(cloud, request).await,
        Surface::SqlAdmin => sql_admin::handle(cloud, request).await,
        Surface::OAuth => oauth::handle(cloud, request).await,
    }
}

/// A path taken apart: its segments, percent-decoded, and the verb behind the last colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// `["v1", "projects", "p"]`.
    pub segments: Vec<String>,
    /// `getIamPolicy` of `…/p:getIamPolicy`; empty without.
    pub verb: String,
}

impl Path {
    /// Takes a path apart. A colon in the last segment begins a verb, as in `p:setIamPolicy`.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let path = path.trim_start_matches('/');
        let (names, last) = path.rsplit_once('/').map_or(("", path), |(names, last)| (names, last));
        let (last, verb) = last.rsplit_once(':').unwrap_or((last, ""));
        let names = names.split('/').filter(|it| !it.is_empty()).chain([last]);
        Self { segments: names.map(decode).collect(), verb: verb.to_owned() }
    }

    /// The segments, to match on.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

/// A percent-encoded text as it was before; bytes that are no text become `U+FFFD`.
#[must_use]
pub fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A parameter of the query, decoded.
#[must_use]
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query?.split('&').map(|it| it.split_once('=').unwrap_or((it, "")));
    let mut values = pairs.filter(|(key, _)| decode(key) == name);
    values.next().map(|(_, value)| decode(&value.replace('+', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths_find_their_api() {
        for (host, path, expected) in [
            ("storage.googleapis.com", "/", Some(Surface::Storage)),
            ("b.storage.googleapis.com", "/o", Some(Surface::Storage)),
            ("storage.europe-north1.rep.googleapis.com", "/", Some(Surface::Storage)),
            ("www.googleapis.com", "/upload/storage/v1/b", Some(Surface::Storage)),
            ("www.googleapis.com", "/oauth2/v3/certs", Some(Surface::OAuth)),
            ("www.googleapis.com", "/drive/v3", None),
            ("monitoring.googleapis.com", "/", None),
            ("example.com", "/", None),
        ] {
            assert_eq!(Surface::of(host, path), expected, "{host}{path}");
        }
    }

    #[test]
    fn a_verb_is_behind_the_last_colon() {
        let path = Path::parse("/v1/projects/domain.com:p/serviceAccounts/a%40b:signBlob");
        assert_eq!(path.parts(), ["v1", "projects", "domain.com:p", "serviceAccounts", "a@b"]);
        assert_eq!(path.verb, "signBlob");
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Some("a=1&filter=state%3AENABLED+x&empty");
        assert_eq!(parameter(query, "filter").as_deref(), Some("state:ENABLED x"));
        assert_eq!(parameter(query, "empty").as_deref(), Some(""));
        assert_eq!(parameter(query, "none"), None);
    }
}
