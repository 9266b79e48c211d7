//! A container registry as the first source of our own images, by the hash of their recipe.
//!
//! Nobody asks one unless the user names it. Whatever it answers, nothing is lost by it: an image
//! that it does not give, or that is not what its name says, is built. It is asked through the Docker
//! client, so credentials are those of `docker login`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events::{Log, Step};
use process::Line;

use crate::docker;
use crate::error::Error;
use crate::image::{RECIPE_LABEL, reference};

/// A registry that takes longer to say whether it has an image would not be faster than building.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// For some two hundred megabytes; whoever needs longer for them is as well off building.
const PULL_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Uploads are slower than downloads nearly everywhere.
const PUSH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A place for images: `HOST[:PORT]/PATH`.
#[derive(Clone, Debug)]
pub struct Registry {
    place: String,
    /// Set by the first failure that the next question would only repeat.
    is_given_up: Arc<AtomicBool>,
}

/// What became of an image that was to be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is there now.
    Now,
    /// It was there already.
    Before,
}

impl fmt::Display for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.place)
    }
}

impl Registry {
    /// The registry at `HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// [`Error::RegistryName`] with what is wrong.
    pub fn named(text: &str) -> Result<Self, Error> {
        let place = text.trim_end_matches('/');
        match fault(place) {
            Some(reason) => Err(Error::RegistryName { text: text.to_owned(), reason }),
            None => Ok(Self { place: place.to_owned(), is_given_up: Arc::default() }),
        }
    }

    /// What the registry calls an image.
    #[must_use]
    pub fn reference(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.place)
    }

    /// Brings an image that Docker has to the registry, under the same name and tag.
    ///
    /// # Errors
    /// The registry does not answer, or does not take it.
    pub fn push(&self, log: &Log, name: &str, tag: &str) -> Result<Pushed, Error> {
        if self.ask(name, tag)? {
            return Ok(Pushed::Before);
        }
        let step = log.step(&format!("push-{name}"), format!("push the {name} image to {self}"));
        let theirs = self.reference(name, tag);
        docker::tag(&reference(name, tag), &theirs)?;
        let mut on_line = |line: Line<'_>| step.progress(line.text);
        let pushed = docker::push(&theirs, PUSH_LIMIT, &mut on_line);
        docker::untag(&theirs)?;
        pushed.map_err(|error| self.blame(error, "while it took the image"))?;
        step.done("");
        Ok(Pushed::Now)
    }

    /// Whether the registry has the image. One that cannot be asked has not, and the log says why.
    pub(crate) fn has(&self, log: &Log, name: &str, tag: &str) -> Result<bool, Error> {
        if self.is_given_up.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let has = self.excuse(log, self.ask(name, tag))?;
        if has == Some(false) {
            log.note(format!("the registry {self} has no {name}:{tag}; it is built instead"));
        }
        Ok(has.unwrap_or(false))
    }

    /// Brings an image to the Docker daemon, under our own names. What is not labelled with the
    /// recipe that was asked for gets none of them.
    pub(crate) fn pull(
        &self,
        step: &Step,
        name: &str,
        tag: &str,
        images: &[String],
    ) -> Result<(), Error> {
        let theirs = self.reference(name, tag);
        let mut on_line = |line: Line<'_>| step.progress(line.text);
        docker::pull(&theirs, PULL_LIMIT, &mut on_line)
            .map_err(|error| self.blame(error, &format!("while it gave {name}:{tag}")))?;
        let label = docker::label(&theirs, RECIPE_LABEL)?.unwrap_or_default();
        let is_right = label == format!("{name}:{tag}");
        if is_right {
            images.iter().try_for_each(|image| docker::tag(&theirs, image))?;
        }
        docker::untag(&theirs)?;
        if is_right {
            return Ok(());
        }
        let found = if label.is_empty() { "nothing of ours" } else { &label };
        Err(self.error(
            format!("gave something else as {name}:{tag}: it is labelled as {found}"),
            "remove it there, and push the right one with `cargo xtask images push`",
            false,
        ))
    }

    /// Turns a failure of the registry into a note: what it does not give is built. Every other
    /// failure stays one.
    pub(crate) fn excuse<T>(
        &self,
        log: &Log,
        result: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let (reason, is_lasting) = match result {
            Ok(value) => return Ok(Some(value)),
            Err(Error::Registry { reason, is_lasting, .. }) => (reason, is_lasting),
            Err(error) => return Err(error),
        };
        let end = match is_lasting {
            true => "images are built instead, and it is not asked again in this run",
            false => "it is built instead",
        };
        log.note(format!("the registry {self} {reason}; {end}"));
        if is_lasting {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        Ok(None)
    }

    fn ask(&self, name: &str, tag: &str) -> Result<bool, Error> {
        let is_plain = is_loopback(self.host()) || docker::daemon()?.allows_plain_http(self.host());
        match docker::inspect_remote(&self.reference(name, tag), is_plain, ANSWER_LIMIT) {
            Ok(()) => Ok(true),
            Err(Error::Process(error)) if says(error.stderr(), &ABSENT) => Ok(false),
            Err(error) => Err(self.blame(error, "")),
        }
    }

    fn host(&self) -> &str {
        self.place.split('/').next().unwrap_or_default()
    }

    /// A failure of the client as one of the registry, where it is one.
    fn blame(&self, error: Error, when: &str) -> Error {
        let Error::Process(error) = error else { return error };
        let last = error.stderr().lines().last().unwrap_or_default().trim().to_owned();
        let when = if when.is_empty() { String::new() } else { format!(" {when}") };
        let host = self.host();
        match &error {
            process::Error::TimedOut { limit, .. } => {
                let reason = match when.is_empty() {
                    true => format!("gave no answer within {} s", limit.as_secs()),
                    false => format!("hung{when}, for {} s", limit.as_secs()),
                };
                self.error(reason, format!("is `{host}` reachable from here?"), true)
            }
            process::Error::Failed { .. } if says(&last, &FORBIDDEN) => {
                let reason = format!("does not let us in{when} ({last})");
                self.error(reason, format!("docker login {host}"), true)
            }
            process::Error::Failed { .. } if says(&last, &UNREACHABLE) => {
                let reason = format!("cannot be reached ({last})");
                self.error(reason, format!("is `{host}` right, and reachable from here?"), true)
            }
            process::Error::Failed { .. } => {
                self.error(format!("failed{when} ({last})"), "try again", false)
            }
            _ => error.into(),
        }
    }

    fn error(&self, reason: String, hint: impl Into<String>, is_lasting: bool) -> Error {
        Error::Registry { registry: self.place.clone(), reason, hint: hint.into(), is_lasting }
    }
}

/// The client's words for an image that is not there.
const ABSENT: [&str; 3] = ["no such manifest", "manifest unknown", "name unknown"];
/// Its words for who is not let in.
const FORBIDDEN: [&str; 5] =
    ["unauthorized", "denied", "no basic auth", "authentication required", "forbidden"];
/// Its words for a registry that is not there.
const UNREACHABLE: [&str; 7] = [
    "connection refused",
    "no such host",
    "no route to host",
    "network is unreachable",
    "error pinging",
    "timeout",
    "x509",
];

fn says(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|it| text.contains(it))
}

/// Docker itself speaks plain HTTP to this machine, and to nobody else unless it is told to.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// What is wrong with `HOST[:PORT]/PATH`, if anything is.
fn fault(place: &str) -> Option<&'static str> {
    if place.contains("://") {
        return Some("it begins with a scheme");
    }
    let Some((host, path)) = place.split_once('/') else {
        return Some("it has no path after the host");
    };
    if !host.contains(['.', ':']) && host != "localhost" {
        return Some("its host has neither a dot nor a port");
    }
    let is_of = |text: &str, more: &str| {
        text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || more.contains(it))
    };
    if !is_of(&host.to_ascii_lowercase(), ".-:[]") {
        return Some("its host has a character that no host has");
    }
    match path.split('/').all(|part| !part.is_empty() && is_of(part, "._-")) {
        true => None,
        false => Some("its path is not lower-case letters, digits, `.`, `_`, `-` and `/`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_and_a_path() {
        let registry = Registry::named("127.0.0.1:5001/team/mlflow-gke/").unwrap();
        assert_eq!(registry.reference("node", "k"), "127.0.0.1:5001/team/mlflow-gke/node:k");
        assert_eq!(registry.host(), "127.0.0.1:5001");
        for (text, reason) in [
            ("https://ghcr.io/me", "a scheme"),
            ("ghcr.io", "no path"),
            ("ghcr.io/", "no path"),
            ("me/images", "neither a dot nor a port"),
            ("ghcr.io/Me", "lower-case"),
            ("ghcr.io/me:tag", "lower-case"),
            ("gh cr.io/me", "its host"),
        ] {
            let error = Registry::named(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("hint: HOST[:PORT]/PATH"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "127.8.8.8", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["ghcr.io", "10.0.0.1:5000", "127.0.0.1.example.org", "localhost.example.org"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn failed(stderr: &str) -> Error {
        let status = std::os::unix::process::ExitStatusExt::from_raw(256);
        process::Error::Failed { command: "docker".into(), status, stderr: stderr.into() }.into()
    }

    /// The words are those of Docker's clients 20.10 and 28.2 against a real registry.
    #[test]
    fn the_clients_words_are_told_apart() {
        let registry = Registry::named("127.0.0.1:1/p").unwrap();
        for (words, reason, hint, lasting) in [
            (
                "Get \"http://127.0.0.1:1/v2/p/x/manifests/1\": no basic auth credentials",
                "does not let us in",
                "docker login 127.0.0.1:1",
                true,
            ),
            (
                "failed to configure transport: error pinging v2 registry: Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                "cannot be reached",
                "reachable from here",
                true,
            ),
            ("filesystem layer verification failed for digest sha256:1", "failed", "try", false),
        ] {
            let Error::Registry { reason: told, hint: told_hint, is_lasting, .. } =
                registry.blame(failed(words), "")
            else {
                panic!("{words}: not the registry's fault");
            };
            assert!(told.starts_with(reason) && told_hint.contains(hint), "{told}: {told_hint}");
            assert_eq!(is_lasting, lasting, "{words}");
        }
        assert!(says("no such manifest: 127.0.0.1:1/p/x:1", &ABSENT));
    }
}
