//! Who sends a request, and whether they may do what it asks for.

use std::sync::Arc;

use hyper::Method;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use iam::{Caller, Decision, Grant, Lack, Principal, Question, Resource, decide};

use crate::clock;
use crate::cloud::Cloud;
use crate::error::Error;
use crate::log::Entry;
use crate::token::{AccessToken, Refusal};

/// Covers every API.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Covers every API for reading; permissions say what reading is.
pub const CLOUD_PLATFORM_READ_ONLY: &str =
    "https://www.googleapis.com/auth/cloud-platform.read-only";

/// An API as its errors name it.
#[derive(Debug)]
pub struct Api {
    /// `storage.googleapis.com`.
    pub service: &'static str,
    /// `Cloud Storage API`.
    pub title: &'static str,
    /// Scopes that cover it, beside `cloud-platform`.
    pub scopes: &'static [&'static str],
}

/// IAM.
pub static IAM: Api = Api {
    service: "iam.googleapis.com",
    title: "Identity and Access Management (IAM) API",
    scopes: &["https://www.googleapis.com/auth/iam"],
};
/// IAM Credentials.
pub static IAM_CREDENTIALS: Api = Api {
    service: "iamcredentials.googleapis.com",
    title: "IAM Service Account Credentials API",
    scopes: &["https://www.googleapis.com/auth/iam"],
};
/// Resource Manager.
pub static RESOURCE_MANAGER: Api = Api {
    service: "cloudresourcemanager.googleapis.com",
    title: "Cloud Resource Manager API",
    scopes: &["https://www.googleapis.com/auth/cloudplatformprojects"],
};
/// Service Usage.
pub static SERVICE_USAGE: Api = Api {
    service: "serviceusage.googleapis.com",
    title: "Service Usage API",
    scopes: &["https://www.googleapis.com/auth/service.management"],
};
/// GKE.
pub static CONTAINER: Api =
    Api { service: "container.googleapis.com", title: "Kubernetes Engine API", scopes: &[] };
/// Artifact Registry.
pub static ARTIFACT_REGISTRY: Api =
    Api { service: "artifactregistry.googleapis.com", title: "Artifact Registry API", scopes: &[] };
/// Cloud Storage.
pub static STORAGE: Api = Api {
    service: "storage.googleapis.com",
    title: "Cloud Storage JSON API",
    scopes: &[
        "https://www.googleapis.com/auth/devstorage.full_control",
        "https://www.googleapis.com/auth/devstorage.read_write",
        "https://www.googleapis.com/auth/devstorage.read_only",
    ],
};
/// Cloud SQL Admin.
pub static SQL_ADMIN: Api = Api {
    service: "sqladmin.googleapis.com",
    title: "Cloud SQL Admin API",
    scopes: &["https://www.googleapis.com/auth/sqlservice.admin"],
};

/// A request as authorization sees it.
#[derive(Clone)]
pub struct Context {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// The API that is called.
    pub api: &'static Api,
    /// Who calls it.
    pub caller: Caller,
    /// The token that says so; none for an anonymous caller.
    pub token: Option<AccessToken>,
    /// Method and path, for the log.
    pub method: String,
}

/// A refusal, for the surface to put into its API's words. It is in the log already.
#[derive(Clone, Debug)]
pub struct Denial {
    /// What is missing.
    pub lack: Box<Lack>,
}

impl Denial {
    /// The words of most APIs, with the resource's full name.
    #[must_use]
    pub fn error(&self) -> Error {
        Error::permission_denied(&self.lack.permission, Some(self.lack.resource.name()))
    }

    /// The same words without the resource's name.
    #[must_use]
    pub fn error_unnamed(&self) -> Error {
        Error::permission_denied(&self.lack.permission, None)
    }
}

/// Tells who sends a request. Without an `Authorization` header that is nobody, which only Cloud
/// Storage lets pass: the others call [`Context::principal`].
///
/// # Errors
/// 401 for a token that is not valid, 403 for one whose scopes do not cover the API.
pub fn caller(cloud: &Arc<Cloud>, api: &'static Api, parts: &Parts) -> Result<Context, Error> {
    let method = format!("{} {}", parts.method, parts.uri.path());
    let mut context =
        Context { cloud: Arc::clone(cloud), api, caller: Caller::Anonymous, token: None, method };
    let Some(text) = bearer(parts) else { return Ok(context) };
    let token = text.ok_or(Refusal::Forged).and_then(|text| cloud.read_token(text));
    let token = token.map_err(|refusal| context.refused(refusal))?;
    if !alive(cloud, &token.principal) {
        context.log("unauthenticated", "", "", "the account is gone or disabled", 401);
        return Err(Error::credentials_invalid(api.service, "ACCOUNT_STATE_INVALID"));
    }
    context.caller = Caller::Known(token.principal.clone());
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let covered = |scope: &String| match scope.as_str() {
        CLOUD_PLATFORM => true,
        CLOUD_PLATFORM_READ_ONLY => reads,
        other => api.scopes.contains(&other) && (reads || !other.ends_with(".read_only")),
    };
    if !token.scopes.iter().any(covered) {
        context.log("denied", "", "", &format!("scopes are {}", token.scopes.join(" ")), 403);
        return Err(Error::scope_insufficient(api.service));
    }
    context.token = Some(token);
    Ok(context)
}

/// Refuses with 403 in the words of most APIs when the caller lacks a permission.
///
/// # Errors
/// 401 for an anonymous caller, 403 for one without the permission.
pub fn require(context: &Context, permission: &str, resource: &Resource) -> Result<(), Error> {
    context.principal()?;
    context.check(permission, resource).map(drop).map_err(|denial| denial.error())
}

impl Context {
    /// The caller, who must have sent a token.
    ///
    /// # Errors
    /// 401 in the words of every API but Cloud Storage.
    pub fn principal(&self) -> Result<&Principal, Error> {
        match &self.caller {
            Caller::Known(principal) => Ok(principal),
            Caller::Anonymous => {
                self.log("unauthenticated", "", "", "no token was sent", 401);
                Err(Error::credentials_missing(self.api.service))
            }
        }
    }

    /// Refuses when the API is not enabled in the project.
    ///
    /// # Errors
    /// 403, `SERVICE_DISABLED`.
    pub fn require_enabled(&self) -> Result<(), Error> {
        let project = &self.cloud.world.project;
        if self.cloud.state().enabled(&project.id, self.api.service) {
            return Ok(());
        }
        self.log("denied", "", "", "the API is not enabled", 403);
        let number = project.number.to_string();
        Err(Error::service_disabled(self.api.title, self.api.service, &number))
    }

    /// Whether the caller may do that, and why not. A refusal is written to the log.
    ///
    /// # Errors
    /// What the caller lacks.
    pub fn check(&self, permission: &str, resource: &Resource) -> Result<Grant, Denial> {
        let state = self.cloud.state();
        let now = i64::try_from(clock::seconds(self.cloud.now())).unwrap_or(i64::MAX);
        let question = Question { caller: &self.caller, permission, resource, now };
        let decision = decide(&*state, &question);
        let why = decision.to_string();
        match decision {
            Decision::Allowed(grant) => Ok(grant),
            Decision::Denied(lack) => {
                let status = if self.caller == Caller::Anonymous { 401 } else { 403 };
                self.log("denied", permission, resource.name(), &why, status);
                Err(Denial { lack: Box::new(lack) })
            }
        }
    }

    /// Which of these permissions the caller has: what `testIamPermissions` answers.
    #[must_use]
    pub fn granted(&self, asked: &[&str], resource: &Resource) -> Vec<String> {
        let now = i64::try_from(clock::seconds(self.cloud.now())).unwrap_or(i64::MAX);
        iam::allowed_permissions(&*self.cloud.state(), &self.caller, resource, asked, now)
    }

    fn refused(&self, refusal: Refusal) -> Error {
        self.log("unauthenticated", "", "", &refusal.to_string(), 401);
        let reason = match refusal {
            // Google says the same of a token that was revoked.
            Refusal::Expired | Refusal::Revoked => "ACCESS_TOKEN_EXPIRED",
            Refusal::Forged => "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        };
        Error::credentials_invalid(self.api.service, reason)
    }

    fn log(&self, decision: &str, permission: &str, resource: &str, why: &str, status: u16) {
        self.cloud.log(&Entry {
            surface: self.api.service.trim_end_matches(".googleapis.com"),
            caller: &self.caller.to_string(),
            method: &self.method,
            resource,
            permission,
            decision,
            why,
            status,
        });
    }
}

/// The token of a request; an inner `None` when the header is no bearer token.
///
/// Old clients send it as `?access_token=`, which Google took away in 2021, so it is not read.
fn bearer(parts: &Parts) -> Option<Option<&str>> {
    let header = parts.headers.get(AUTHORIZATION)?;
    let text = header.to_str().ok().and_then(|it| it.split_once(' '));
    Some(text.filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")).map(|(_, it)| it.trim()))
}

/// Whether the account still is one. Accounts of other projects are not known here.
fn alive(cloud: &Cloud, principal: &Principal) -> bool {
    let Principal::ServiceAccount { email } = principal else { return true };
    let ours = format!("@{}.iam.gserviceaccount.com", cloud.world.project.id);
    if !email.ends_with(&ours) {
        return true;
    }
    cloud.state().accounts.get(email).is_some_and(|it| !it.disabled)
}
