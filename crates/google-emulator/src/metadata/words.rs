//! What the GKE metadata server says when it cannot give what is asked.

use super::chain::Refusal;
use hyper::http::StatusCode;

/// An answer without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) text: String,
}

fn failure(status: u16, text: impl Into<String>) -> Failure {
    Failure { status, text: text.into() + "\n" }
}

/// Seen in public logs (google-oauth-plugin#91; before 2020 preceded by "GKE Metadata Server
/// encountered an error: ").
pub(crate) fn missing_header() -> Failure {
    failure(403, r#"Missing required header "Metadata-Flavor": "Google""#)
}

/// Compute Engine documents the refusal ("requests with the header X-Forwarded-For are rejected")
/// and not its words; these are ours.
pub(crate) fn forwarded() -> Failure {
    failure(403, r#"Header "X-Forwarded-For" is not allowed"#)
}

/// Seen in public logs (google-auth-library-python#745), also for a caller whose pod is not known.
pub(crate) fn not_found() -> Failure {
    failure(404, "Not Found")
}

/// What Go's HTTP server says, which GKE's is; not seen in public.
pub(crate) fn method_not_allowed() -> Failure {
    failure(405, "Method Not Allowed")
}

/// Compute Engine's words.
pub(crate) fn no_audience() -> Failure {
    failure(400, "non-empty audience parameter required")
}

/// A parameter that cannot be; the words are ours.
pub(crate) fn mistake(text: &str) -> Failure {
    failure(400, text)
}

/// Seen in public logs.
pub(crate) fn no_identity(namespace: &str, kubernetes_sa: &str) -> Failure {
    failure(
        404,
        format!(
            "Your Kubernetes service account ({namespace}/{kubernetes_sa}) is not annotated with a \
             target Google service account, which is a requirement for retrieving Identity Tokens \
             using Workload Identity.\nPlease add the \
             iam.gke.io/gcp-service-account=[GSA_NAME]@[PROJECT_ID] annotation to your Kubernetes \
             service account.\nRefer to \
             https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity"
        ),
    )
}

/// What is asked of IAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    AccessToken,
    IdentityToken,
}

/// IAM's refusal as GKE tells it: its status is passed on, and a 403 explains itself. Seen in public
/// logs for 403 (camunda#31106) and 404; the words for an exchange that fails are ours.
pub(crate) fn refused(refusal: &Refusal, wanted: Wanted) -> Failure {
    let wanted = match wanted {
        Wanted::AccessToken => "access",
        Wanted::IdentityToken => "identity",
    };
    let start = format!("Unable to generate {wanted} token; ");
    match refusal {
        Refusal::Status { status, message } => {
            let returned = format!("{start}IAM returned {}: {message}", named(*status));
            if *status != 403 {
                return failure(*status, returned);
            }
            failure(403, returned + MISSING_BINDING)
        }
        Refusal::Exchange { status, message } => {
            failure(*status, format!("{start}STS returned {}: {message}", named(*status)))
        }
        Refusal::NoSubject(why) => {
            failure(500, format!("{start}no token of the Kubernetes service account: {why}"))
        }
        Refusal::Unreachable(why) => failure(500, format!("{start}{why}")),
    }
}

const MISSING_BINDING: &str = "\nThis error could be caused by a missing IAM policy binding on the \
     target IAM service account.\nFor more information, refer to the Workload Identity \
     documentation:\n\thttps://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity\
     #authenticating_to\n";

fn named(status: u16) -> String {
    let name = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
    format!("{status} {}", name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, message: &str) -> Refusal {
        Refusal::Status { status, message: message.to_owned() }
    }

    #[test]
    fn a_missing_binding_is_told_to_the_letter() {
        let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        assert_eq!(
            refused(&status(403, message), Wanted::AccessToken),
            Failure {
                status: 403,
                text: "Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\n\
                    This error could be caused by a missing IAM policy binding on the target IAM service account.\n\
                    For more information, refer to the Workload Identity documentation:\n\
                    \thttps://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to\n\n"
                    .to_owned(),
            }
        );
    }

    #[test]
    fn a_missing_account_is_told_to_the_letter() {
        assert_eq!(
            refused(
                &status(404, "Not found; Gaia id not found for email x@y"),
                Wanted::AccessToken
            )
            .text,
            "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email x@y\n"
        );
    }

    #[test]
    fn an_identity_without_annotation_is_told_to_the_letter() {
        assert_eq!(
            no_identity("mlflow", "default").text,
            "Your Kubernetes service account (mlflow/default) is not annotated with a target Google service account, which is a requirement for retrieving Identity Tokens using Workload Identity.\n\
             Please add the iam.gke.io/gcp-service-account=[GSA_NAME]@[PROJECT_ID] annotation to your Kubernetes service account.\n\
             Refer to https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity\n"
        );
    }

    #[test]
    fn the_header_is_asked_for_to_the_letter() {
        assert_eq!(
            missing_header().text,
            "Missing required header \"Metadata-Flavor\": \"Google\"\n"
        );
        assert_eq!(not_found().text, "Not Found\n");
    }

    #[test]
    fn no_answer_is_a_failure_that_clients_try_again() {
        for refusal in [Refusal::Unreachable("x".into()), Refusal::NoSubject("x".into())] {
            assert_eq!(refused(&refusal, Wanted::IdentityToken).status, 500);
        }
    }
}
