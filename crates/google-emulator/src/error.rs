//! Google's errors, and the forms in which its APIs write them.

use std::ops::{Deref, DerefMut};

use hyper::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};

/// An error of an API, on the heap: it is big and rare.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} {}: {}", .0.status.as_u16(), .0.reason, .0.message)]
pub struct Error(Box<Shape>);

/// What an error says in its various forms.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Of the answer.
    pub status: StatusCode,
    /// The name of the gRPC code, `PERMISSION_DENIED`.
    pub status_name: &'static str,
    /// The words.
    pub message: String,
    /// `errors[0].reason` of the older APIs, `forbidden`.
    pub reason: &'static str,
    /// `errors[0].domain`, nearly always `global`.
    pub domain: &'static str,
    /// `errors[0].locationType` and `.location`.
    pub location: Option<(&'static str, &'static str)>,
    /// `details` of the newer APIs.
    pub details: Vec<Value>,
    /// `error` of OAuth's form.
    pub oauth: &'static str,
    /// More headers of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The form in which an API writes its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"error":{"code","message","status","details"}}`: IAM, Resource Manager, Service Usage,
    /// GKE, Artifact Registry, IAM Credentials.
    Api,
    /// The same with `errors`: Cloud SQL Admin.
    WithErrors,
    /// `{"error":{"code","message","errors"}}`: Cloud Storage.
    Storage,
    /// `{"error","error_description"}`: the token service.
    OAuth,
    /// Plain text: the metadata server.
    Text,
}

impl Deref for Error {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Shape {
        &mut self.0
    }
}

impl Error {
    /// An error with the usual names for its status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let (status_name, reason) = names(status);
        Self(Box::new(Shape {
            status,
            status_name,
            message: message.into(),
            reason,
            domain: "global",
            location: None,
            details: Vec::new(),
            oauth: "invalid_request",
            headers: Vec::new(),
        }))
    }

    /// The same error with another `errors[0].reason`.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// The same error with another gRPC code.
    #[must_use]
    pub fn status_name(mut self, name: &'static str) -> Self {
        self.status_name = name;
        self
    }

    /// The same error with one more of `details`.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.details.push(detail);
        self
    }

    /// The same error with `google.rpc.ErrorInfo` in its `details`.
    #[must_use]
    pub fn info(self, reason: &str, domain: &str, metadata: &Value) -> Self {
        self.detail(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": domain,
            "metadata": metadata,
        }))
    }

    /// The same error under another name in OAuth's form.
    #[must_use]
    pub fn oauth(mut self, error: &'static str) -> Self {
        self.oauth = error;
        self
    }

    /// 400, `INVALID_ARGUMENT`.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 for a body that is no JSON, or of another shape. The first words are those of the
    /// public documentation of the API front end; what follows is this parser's reason.
    #[must_use]
    pub fn invalid_json(why: &str) -> Self {
        Self::invalid_argument(format!("Invalid JSON payload received. {why}")).reason("parseError")
    }

    /// 400 for a body that is too long, in the words seen in public logs of several APIs.
    #[must_use]
    pub fn payload_too_large(limit: usize) -> Self {
        let message = format!("Request payload size exceeds the limit: {limit} bytes.");
        Self::invalid_argument(message)
    }

    /// 404 with the API's own words.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409, `ALREADY_EXISTS`.
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
            .status_name("ALREADY_EXISTS")
            .reason("alreadyExists")
    }

    /// 403 for a missing permission, in the words of IAM (public logs; the resource is named by
    /// most APIs and left out by IAM Credentials).
    #[must_use]
    pub fn permission_denied(permission: &str, resource: Option<&str>) -> Self {
        let named = resource.map(|it| format!(" '{it}'")).unwrap_or_default();
        let message =
            format!("Permission '{permission}' denied on resource{named} (or it may not exist).");
        let mut metadata = json!({ "permission": permission });
        if let Some(resource) = resource {
            metadata["resource"] = Value::from(
                resource.trim_start_matches("//").split_once('/').map_or(resource, |(_, it)| it),
            );
        }
        Self::new(StatusCode::FORBIDDEN, message).info(
            "IAM_PERMISSION_DENIED",
            "iam.googleapis.com",
            &metadata,
        )
    }

    /// 401 for a request without credentials (public logs of every API behind the front end).
    #[must_use]
    pub fn credentials_missing(service: &str) -> Self {
        let message = "Request is missing required authentication credential. Expected OAuth 2 \
             access token, login cookie or other valid authentication credential. See \
             https://developers.google.com/identity/sign-in/web/devconsole-project.";
        Self::unauthenticated(message, "CREDENTIALS_MISSING", service).reason("required")
    }

    /// 401 for a token that is forged, expired or revoked (same source). `reason` is
    /// `ACCESS_TOKEN_EXPIRED`, `ACCESS_TOKEN_TYPE_UNSUPPORTED` or `ACCOUNT_STATE_INVALID`.
    #[must_use]
    pub fn credentials_invalid(service: &str, reason: &str) -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access \
             token, login cookie or other valid authentication credential. See \
             https://developers.google.com/identity/sign-in/web/devconsole-project.";
        let mut error = Self::unauthenticated(message, reason, service).reason("authError");
        let challenge = "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"";
        error.headers = vec![(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
        error
    }

    fn unauthenticated(message: &str, reason: &str, service: &str) -> Self {
        let challenge = "Bearer realm=\"https://accounts.google.com/\"";
        let mut error = Self::new(StatusCode::UNAUTHORIZED, message).info(
            reason,
            "googleapis.com",
            &json!({ "service": service }),
        );
        error.location = Some(("header", "Authorization"));
        error.headers = vec![(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
        error
    }

    /// 403 for a token whose scopes do not cover the API (public logs).
    #[must_use]
    pub fn scope_insufficient(service: &str) -> Self {
        let message = "Request had insufficient authentication scopes.";
        Self::new(StatusCode::FORBIDDEN, message).reason("insufficientPermissions").info(
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "googleapis.com",
            &json!({ "service": service }),
        )
    }

    /// 403 for an API that is not enabled (public logs).
    #[must_use]
    pub fn service_disabled(title: &str, service: &str, project_number: &str) -> Self {
        let url = format!(
            "https://console.developers.google.com/apis/api/{service}/overview?project=\
             {project_number}"
        );
        let message = format!(
            "{title} has not been used in project {project_number} before or it is disabled. \
             Enable it by visiting {url} then retry. If you enabled this API recently, wait a few \
             minutes for the action to propagate to our systems and retry."
        );
        Self::new(StatusCode::FORBIDDEN, message)
            .reason("accessNotConfigured")
            .info(
                "SERVICE_DISABLED",
                "googleapis.com",
                &json!({
                    "service": service,
                    "serviceTitle": title,
                    "consumer": format!("projects/{project_number}"),
                    "containerInfo": project_number,
                    "activationUrl": url,
                }),
            )
            .detail(json!({
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{ "description": "Google developers console API activation", "url": url }],
            }))
    }

    /// 501 for what this emulator does not do: no silent success.
    #[must_use]
    pub fn not_emulated(what: &str) -> Self {
        let message = format!("{what} is not emulated.");
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 500 for a fault of this program.
    #[must_use]
    pub fn internal(why: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("Internal error encountered. {why}"))
    }

    /// 503 for a disk or an upstream that does not answer.
    #[must_use]
    pub fn unavailable(why: &str) -> Self {
        let message = format!("The service is currently unavailable. {why}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The JSON of a form; a text for [`Form::Text`].
    #[must_use]
    pub fn value(&self, form: Form) -> Value {
        let code = self.status.as_u16();
        let mut first =
            json!({ "message": self.message, "domain": self.domain, "reason": self.reason });
        if let Some((kind, location)) = self.location {
            first["locationType"] = Value::from(kind);
            first["location"] = Value::from(location);
        }
        let mut error = json!({ "code": code, "message": self.message });
        match form {
            Form::OAuth => {
                return json!({ "error": self.oauth, "error_description": self.message });
            }
            Form::Text => return Value::from(self.message.as_str()),
            Form::Storage => error["errors"] = json!([first]),
            Form::Api => error["status"] = Value::from(self.status_name),
            Form::WithErrors => {
                error["errors"] = json!([first]);
                error["status"] = Value::from(self.status_name);
            }
        }
        if form != Form::Storage && !self.details.is_empty() {
            error["details"] = Value::from(self.details.clone());
        }
        json!({ "error": error })
    }

    /// The answer in a form.
    #[must_use]
    pub fn response(&self, form: Form) -> Response<Body> {
        let mut response = match self.value(form) {
            Value::String(text) => body::answer(self.status, "text/plain; charset=utf-8", text),
            value => body::json(self.status, &value),
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

/// The gRPC code and the older APIs' reason for a status.
fn names(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        400 => ("INVALID_ARGUMENT", "badRequest"),
        401 => ("UNAUTHENTICATED", "authError"),
        403 => ("PERMISSION_DENIED", "forbidden"),
        404 => ("NOT_FOUND", "notFound"),
        409 => ("ABORTED", "conflict"),
        412 => ("FAILED_PRECONDITION", "conditionNotMet"),
        416 => ("OUT_OF_RANGE", "requestedRangeNotSatisfiable"),
        429 => ("RESOURCE_EXHAUSTED", "rateLimitExceeded"),
        501 => ("UNIMPLEMENTED", "notImplemented"),
        503 => ("UNAVAILABLE", "backendError"),
        504 => ("DEADLINE_EXCEEDED", "backendError"),
        _ => ("INTERNAL", "internalError"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_gets_its_form() {
        let error = Error::permission_denied("iam.serviceAccounts.getAccessToken", None);
        // The body of a real refusal, from public logs.
        let expected = json!({ "error": {
            "code": 403,
            "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it \
                        may not exist).",
            "status": "PERMISSION_DENIED",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "IAM_PERMISSION_DENIED",
                "domain": "iam.googleapis.com",
                "metadata": { "permission": "iam.serviceAccounts.getAccessToken" },
            }],
        }});
        assert_eq!(error.value(Form::Api), expected);
        let storage = error.value(Form::Storage);
        assert_eq!(storage["error"]["errors"][0]["reason"], "forbidden");
        assert_eq!(storage["error"].get("status"), None);
        let oauth = error.value(Form::OAuth);
        assert_eq!(oauth["error"], "invalid_request");
        assert!(error.value(Form::Text).is_string());
    }
}
