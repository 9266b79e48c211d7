//! Google's words for what Cloud SQL refuses, each with the place where it was seen.

use hyper::http::header::SERVER;
use hyper::{Response, StatusCode, header::HeaderValue};

use crate::body::Body;
use crate::error::{Error, Form};
use crate::sql_port::SqlError;

/// `instanceDoesNotExist` comes without `status`, everything else with it (recorded traffic in
/// k8s-config-connector, pkg/test/resourcefixture/testdata/basic/sql/…/_http.log).
pub(crate) fn response(error: &Error) -> Response<Body> {
    let form = match error.reason {
        "instanceDoesNotExist" => Form::Storage,
        _ => Form::WithErrors,
    };
    let mut response = error.response(form);
    response.headers_mut().insert(SERVER, HeaderValue::from_static("ESF"));
    response
}

/// 403 of connectSettings and of everything else that names an instance (public logs, 2025-2026).
pub(super) fn missing_permission(permission: &str, instance: &str) -> Error {
    forbidden(format!(
        "boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing permission \
         {permission} on resource instances/{instance}."
    ))
}

/// 403 of generateEphemeralCert (public logs, 2026).
pub(super) fn not_authorized_to_connect(instance: &str) -> Error {
    forbidden(format!("boss::NOT_AUTHORIZED: Not authorized to access instance: {instance}"))
}

fn forbidden(message: String) -> Error {
    Error::new(StatusCode::FORBIDDEN, message)
}

/// 403 for what needs a permission on the project (public threads about creating and listing).
pub(super) fn not_authorized() -> Error {
    forbidden("The client is not authorized to make this request.".to_owned())
        .reason("notAuthorized")
}

/// 404 (the same recorded traffic).
pub(super) fn no_instance() -> Error {
    Error::not_found("The Cloud SQL instance does not exist.").reason("instanceDoesNotExist")
}

/// 404 of a database, a user or an operation (the same recorded traffic).
pub(super) fn not_found() -> Error {
    Error::not_found("Not Found")
}

/// 409 (hashicorp/terraform-provider-google and pulumi/pulumi-gcp issues).
pub(super) fn instance_exists() -> Error {
    Error::already_exists(
        "The Cloud SQL instance already exists. When you delete an instance, you can't reuse the \
         name of the deleted instance until one week from the deletion date.",
    )
    .reason("instanceAlreadyExists")
}

/// 400 `Invalid request: …` with reason `invalid`, the form of most refusals (public logs).
pub(super) fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid_argument(format!("Invalid request: {what}.")).reason("invalid")
}

/// 400 for a name that is none (public logs: a name that ends with a carriage return).
pub(super) fn instance_name(name: &str) -> Error {
    invalid(format!("instance name ({name})"))
}

/// 403 when no server is left for a new instance (public threads about quotas).
pub(super) fn no_more_instances() -> Error {
    forbidden(
        "Failed to create instance because the project or creator has reached the max instance \
         per project/creator limit."
            .to_owned(),
    )
    .reason("errorMaxInstancePerLabel")
}

/// 412 when a change names another version of the settings than the current one.
pub(super) fn stale() -> Error {
    Error::new(StatusCode::PRECONDITION_FAILED, "Condition does not match.").reason("staleData")
}

/// 400 for an instance with `deletionProtectionEnabled`.
pub(super) fn protected() -> Error {
    Error::invalid_argument(
        "The instance is protected. Please disable the deletion protection and try again. To \
         disable deletion protection, update the instance settings with deletionProtectionEnabled \
         set to false.",
    )
    .reason("invalid")
}

/// 400 for a service account's name in full (hashicorp/terraform-provider-google issues).
pub(super) fn service_account_suffix() -> Error {
    invalid(
        "Database username for Cloud IAM service account should be created without \
         \".gserviceaccount.com\" suffix",
    )
}

/// What PostgreSQL said, behind the words for what was tried.
pub(super) fn upstream(error: &SqlError, refused: impl FnOnce(&str, &str) -> Error) -> Error {
    match error {
        SqlError::Refused { message, detail, .. } => refused(message, detail),
        other => Error::unavailable(&other.to_string()),
    }
}
