//! Tells by their text which failures pass by themselves.
//!
//! Kubernetes has no codes for these. The texts are the kubelet's, containerd's and the scheduler's
//! own; what is not recognised counts as passing, because a late verdict is better than a false one.

use std::collections::BTreeSet;

fn has_one_of(message: &str, words: &[&str]) -> bool {
    let message = message.to_lowercase();
    words.iter().any(|it| message.contains(it))
}

/// The registry answered, and the answer will not change: no such image, or not for us.
pub(super) fn is_pull_final(image: &str, message: &str) -> bool {
    let is_refused = has_one_of(
        message,
        &[
            "not found",
            "manifest unknown",
            "name unknown",
            "does not exist",
            "no match for platform",
            "invalid reference format",
        ],
    );
    // `localhost` inside a node is the node: nothing serves images there, so the image had to be
    // loaded, and was not.
    let is_local = image.starts_with("localhost/") && has_one_of(message, &["connection refused"]);
    // A registry's name may fail to resolve for a moment; DNS says "not found" in other words.
    is_local || (is_refused && !has_one_of(message, &["no such host", "server misbehaving"]))
}

/// Access was refused. Permissions take a while to spread, so once proves nothing.
pub(super) fn is_pull_denied(message: &str) -> bool {
    has_one_of(message, &["unauthorized", "forbidden", "denied", "authentication required"])
}

/// The kubelet's cache has not caught up with an object that exists.
pub(super) fn is_cache_delay(message: &str) -> bool {
    message.contains("failed to sync") && message.contains("cache")
}

/// The namespace is so new that the controller manager has not published the cluster's CA in it yet,
/// which every pod's token volume has a part of. It does so in every namespace, by this name
/// (`RootCACertPublisher`, Kubernetes 1.20).
pub(super) fn is_namespace_new(message: &str) -> bool {
    message.contains("configmap \"kube-root-ca.crt\" not found")
}

/// The first of these objects (`Secret/NAME`, `ConfigMap/NAME`) that the message misses, or a key
/// of it.
pub(super) fn misses_one_of<'a>(message: &str, objects: &'a BTreeSet<String>) -> Option<&'a str> {
    let message = message.to_lowercase();
    let misses = |object: &&String| {
        let Some((kind, name)) = object.split_once('/') else { return false };
        let kind = kind.to_lowercase();
        // `secret "x" not found`, `secrets "x" not found`, `couldn't find key k in Secret ns/x`.
        let is_absent = [&kind, &format!("{kind}s")]
            .iter()
            .any(|kind| message.contains(&format!("{kind} \"{name}\" not found")));
        let lacks_key = message.contains(&format!("in {kind} ")) && {
            let mut words = message.split_whitespace().map(|it| it.trim_matches(['"', ',', '.']));
            words.any(|it| it.rsplit_once('/').is_some_and(|(_, last)| last == name))
        };
        is_absent || lacks_key
    };
    objects.iter().find(misses).map(String::as_str)
}

/// The cluster as it is has no room for the pod, and nothing in the text is about to change.
pub(super) fn is_no_room(message: &str) -> bool {
    let is_short = has_one_of(
        message,
        &["insufficient ", "didn't match pod's node affinity", "too many pods", "not found"],
    );
    let is_passing = has_one_of(
        message,
        &[
            "not-ready",
            "unreachable",
            "unschedulable",
            "unbound immediate",
            "uninitialized",
            "network-unavailable",
            "no nodes available",
            "being deleted",
        ],
    );
    is_short && !is_passing
}

/// An admission controller said no, as opposed to not having answered.
pub(super) fn is_admission_final(message: &str) -> bool {
    message.contains("is forbidden") && !has_one_of(message, &["timed out", "try again"])
}

/// A quota is used up: it frees itself when other pods go.
pub(super) fn is_quota(message: &str) -> bool {
    message.contains("exceeded quota")
}

/// The program is not in the image; no restart will bring it.
pub(super) fn is_program_missing(message: &str) -> bool {
    message.contains("executable file not found")
}

/// PostgreSQL answered a client, and the answer stays the same until somebody changes the password,
/// the role or the database.
pub(super) fn is_database_refusal(message: &str) -> bool {
    let is_about_database = has_one_of(message, &["role \"", "database \""]);
    has_one_of(
        message,
        &[
            "password authentication failed",
            "no password supplied",
            "no pg_hba.conf entry",
            "is not permitted to log in",
            "permission denied for database",
        ],
    ) || is_about_database && has_one_of(message, &["\" does not exist"])
}

/// The line of a program's last words that says why it ended: what PostgreSQL refuses, else its last
/// error, else the last line. Advice and stack frames come after the error, and say less.
pub(super) fn telling_line(last_words: &str) -> &str {
    let lines = || last_words.lines().map(str::trim).filter(|it| !it.is_empty()).rev();
    let is_error = |it: &&str| has_one_of(it, &["error:", "fatal:"]);
    lines()
        .find(|it| is_database_refusal(it))
        .or_else(|| lines().find(is_error))
        .or_else(|| lines().next())
        .unwrap_or_default()
}

/// Nothing will ever bind the claim as it is written.
pub(super) fn is_provisioning_final(message: &str) -> bool {
    message.contains("no storage class is set")
        || message.contains("storageclass.storage.k8s.io") && message.contains("not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<&str>) {
        let objects = ["Secret/db", "ConfigMap/settings"].map(str::to_owned).into();
        assert_eq!(misses_one_of(message, &objects), expected, "{message}");
    }

    #[test]
    fn missing_object_is_recognised_by_kind_and_name() {
        check("secret \"db\" not found", Some("Secret/db"));
        check("Error: configmap \"settings\" not found", Some("ConfigMap/settings"));
        check("secret \"settings\" not found", None);
        check("secret \"db-2\" not found", None);
    }

    #[test]
    fn missing_key_is_recognised() {
        check("couldn't find key password in Secret mlflow/db", Some("Secret/db"));
        check("couldn't find key password in Secret mlflow/db-2", None);
    }

    #[test]
    fn mounted_secret_is_recognised() {
        let message = "MountVolume.SetUp failed for volume \"password\" : secret \"db\" not found";
        check(message, Some("Secret/db"));
    }

    #[test]
    fn what_postgresql_refuses_for_good_is_told_from_a_database_that_is_not_there() {
        for lasting in [
            "FATAL:  password authentication failed for user \"mlflow\"",
            "FATAL:  role \"mlflow\" does not exist",
            "FATAL:  database \"mlflow\" does not exist",
            "fe_sendauth: no password supplied",
            "FATAL:  no pg_hba.conf entry for host \"10.0.0.1\"",
        ] {
            assert!(is_database_refusal(lasting), "{lasting}");
        }
        for passing in [
            "could not translate host name \"postgres\" to address",
            "connection to server at \"postgres\" failed: Connection refused",
            "FATAL:  the database system is starting up",
            "the bucket `mlflow` does not exist",
            "",
        ] {
            assert!(!is_database_refusal(passing), "{passing}");
        }
    }

    #[test]
    fn the_line_that_tells_why_is_before_the_advice() {
        let words = "starting\nerror: database `mlflow`: FATAL: password authentication failed\nhint: compare\n";
        assert_eq!(
            telling_line(words),
            "error: database `mlflow`: FATAL: password authentication failed"
        );
        assert_eq!(telling_line("error: first\nerror: second\nhint: x"), "error: second");
        assert_eq!(telling_line("one\ntwo\n\n"), "two");
        assert_eq!(telling_line(""), "");
    }
}
