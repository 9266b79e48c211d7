//! Errors that a wrong clock makes, told as such.
//!
//! Each tool has its own words for a certificate or a list of packages from another time, and none
//! says that this machine's clock may be what is wrong.

use crate::exit;

const HINT: &str = "hint: a clock is probably wrong: compare `date --utc` with the real time (`sudo timedatectl set-ntp true` keeps it right); after that, `cargo xtask cluster down` and up again makes new certificates for a local cluster";

/// The words of rustls, of Go's programs, of Python's and of apt.
const WORDS: [&str; 8] = [
    "NotValidYet",
    "certificate not valid yet",
    "certificate is not yet valid",
    "certificate has expired or is not yet valid",
    "certificate expired",
    "certificate has expired",
    "invalid peer certificate: Expired",
    "is not valid yet (invalid for another",
];

/// The same error, with what to look at when it speaks of the wrong time.
pub(crate) fn explain(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    match WORDS.iter().any(|it| text.contains(it)) {
        true => exit::error(exit::PREREQUISITE, format!("{text}\n{HINT}")),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_from_another_time_points_at_the_clock() {
        for words in [
            "invalid peer certificate: NotValidYet",
            "invalid peer certificate: certificate not valid yet: verification time 1",
            "invalid peer certificate: certificate expired: verification time 2",
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-01-01T00:00:00Z",
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid",
            "E: Release file for http://deb is not valid yet (invalid for another 5d 3h).",
        ] {
            let error = explain(anyhow::anyhow!("{words}").context("outer"));
            assert_eq!(exit::code(&error), exit::PREREQUISITE, "{words}");
            assert!(error.to_string().contains("outer: ") && error.to_string().contains("hint: "));
        }
    }

    #[test]
    fn any_other_error_stays_as_it_is() {
        for words in ["connection refused", "invalid peer certificate: UnknownIssuer"] {
            let error = explain(exit::error(exit::REFUSED, words));
            assert_eq!((exit::code(&error), error.to_string().as_str()), (exit::REFUSED, words));
        }
    }
}
