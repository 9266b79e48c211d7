//! Calls of the Docker client.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use process::{Call, Line, cmd};

use crate::error::Error;
use crate::program::shell;

const QUICK: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(20 * 60);

/// Runs a call of the client. A daemon that went away is told apart from a command that failed.
fn run(call: Call<'_>) -> Result<process::Output, Error> {
    call.run().map_err(|error| match is_daemon_gone(error.stderr()) {
        true => Error::NoDaemon { reason: "it has stopped".to_owned() },
        false => error.into(),
    })
}

/// The client's own words when nobody listens on the daemon's socket.
fn is_daemon_gone(stderr: &str) -> bool {
    ["Cannot connect to the Docker daemon", "error during connect"]
        .iter()
        .any(|words| stderr.contains(words))
}

/// What the daemon says of itself.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Daemon {
    /// For instance `20.10.24+dfsg1`.
    #[serde(rename = "ServerVersion")]
    pub version: String,
    /// The runtime that containers get unless they ask for another.
    #[serde(rename = "DefaultRuntime")]
    pub default_runtime: String,
    /// Where the daemon keeps its files.
    #[serde(rename = "DockerRootDir")]
    pub root: String,
    /// What it knows about registries.
    #[serde(rename = "RegistryConfig", default)]
    registries: Registries,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
struct Registries {
    #[serde(rename = "IndexConfigs", default)]
    by_host: BTreeMap<String, RegistryFacts>,
}

#[derive(Clone, Debug, serde::Deserialize)]
struct RegistryFacts {
    #[serde(rename = "Secure")]
    is_secure: bool,
}

impl Daemon {
    /// Whether the daemon was told that this registry is served without TLS.
    #[must_use]
    pub fn allows_plain_http(&self, host: &str) -> bool {
        self.registries.by_host.get(host).is_some_and(|it| !it.is_secure)
    }
}

/// The daemon, when one answers.
///
/// # Errors
/// [`Error::NoDaemon`] with the client's reason.
pub fn daemon() -> Result<Daemon, Error> {
    let sh = shell()?;
    let format = "{{json .}}";
    let call = Call::new(cmd!(sh, "docker info --format={format}"), QUICK);
    let (status, output) = call.status()?;
    let daemon: Result<Daemon, _> = serde_json::from_str(output.stdout.trim());
    match daemon {
        Ok(daemon) if status.success() && !daemon.version.is_empty() => Ok(daemon),
        _ => {
            let report: serde_json::Value =
                serde_json::from_str(output.stdout.trim()).unwrap_or_default();
            let reason = report["ServerErrors"][0].as_str().unwrap_or("no answer").to_owned();
            Err(Error::NoDaemon { reason })
        }
    }
}

/// Whether the daemon has the image.
///
/// # Errors
/// The client failed for another reason.
pub fn has_image(image: &str) -> Result<bool, Error> {
    let sh = shell()?;
    let format = "{{.Id}}";
    let call = Call::new(cmd!(sh, "docker image inspect --format={format} {image}"), QUICK);
    Ok(call.status()?.0.success())
}

/// The unpacked size of an image in MB (10^6 bytes), when the daemon has it.
///
/// # Errors
/// The client is not there.
pub fn size_mb(image: &str) -> Result<Option<u64>, Error> {
    let sh = shell()?;
    let format = "{{.Size}}";
    let call = cmd!(sh, "docker image inspect --format={format} {image}");
    let (status, output) = Call::new(call, QUICK).status()?;
    let bytes = output.stdout.trim().parse::<u64>().ok().filter(|_| status.success());
    Ok(bytes.map(|it| it / 1_000_000))
}

/// Makes an image of the files in a tar archive.
///
/// # Errors
/// The client failed.
pub fn import(archive: &Path, image: &str) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker import {archive} {image}"), LONG))?;
    Ok(())
}

/// Builds the folder's Dockerfile with the classic builder, without a network: every input is in the
/// folder already, so a build gives the same everywhere. `labels` are `NAME=VALUE`.
///
/// # Errors
/// The client failed.
pub fn build(
    context: &Path,
    arguments: &[(&str, &str)],
    labels: &[String],
    images: &[String],
    on_line: &mut dyn FnMut(Line<'_>),
) -> Result<(), Error> {
    let sh = shell()?;
    let arguments = arguments.iter().map(|(name, value)| format!("--build-arg={name}={value}"));
    let labels = labels.iter().map(|label| format!("--label={label}"));
    let tags = images.iter().map(|image| format!("--tag={image}"));
    let call = cmd!(
        sh,
        "docker build --network=none --force-rm {arguments...} {labels...} {tags...} {context}"
    )
    .env("DOCKER_BUILDKIT", "0");
    run(Call::new(call, LONG).lines(on_line))?;
    Ok(())
}

/// Writes images to a tar archive.
///
/// # Errors
/// The client failed.
pub fn save(images: &[String], archive: &Path) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker save --output={archive} {images...}"), LONG))?;
    Ok(())
}

/// Reads images from a tar archive.
///
/// # Errors
/// The client failed.
pub fn load(archive: &Path) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker load --quiet --input={archive}"), LONG))?;
    Ok(())
}

/// Gives an image that the daemon has another name.
///
/// # Errors
/// The client failed.
pub fn tag(image: &str, name: &str) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker tag {image} {name}"), QUICK))?;
    Ok(())
}

/// Takes a name away; the image goes with its last one. A name that is not there is no error.
///
/// # Errors
/// The client is not there.
pub fn untag(name: &str) -> Result<(), Error> {
    let sh = shell()?;
    Call::new(cmd!(sh, "docker image rm --no-prune {name}"), QUICK).status()?;
    Ok(())
}

/// The value of an image's label; none when it has no such label.
///
/// # Errors
/// The daemon lacks the image.
pub fn label(image: &str, label: &str) -> Result<Option<String>, Error> {
    let sh = shell()?;
    let format = "{{json .Config.Labels}}";
    let call = Call::new(cmd!(sh, "docker image inspect --format={format} {image}"), QUICK);
    let labels: BTreeMap<String, String> =
        serde_json::from_str(run(call)?.stdout.trim()).unwrap_or_default();
    Ok(labels.get(label).cloned())
}

/// Asks a registry about an image, by the client alone; fails when the registry does not have it.
///
/// # Errors
/// The client's own, its last words included.
pub fn inspect_remote(image: &str, is_plain: bool, limit: Duration) -> Result<(), Error> {
    let sh = shell()?;
    let insecure = is_plain.then_some("--insecure");
    run(Call::new(cmd!(sh, "docker manifest inspect {insecure...} {image}"), limit))?;
    Ok(())
}

/// Pulls an image; the daemon checks each part against its digest.
///
/// # Errors
/// The client failed.
pub fn pull(image: &str, limit: Duration, on_line: &mut dyn FnMut(Line<'_>)) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker pull {image}"), limit).lines(on_line))?;
    Ok(())
}

/// Pushes an image.
///
/// # Errors
/// The client failed.
pub fn push(image: &str, limit: Duration, on_line: &mut dyn FnMut(Line<'_>)) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker push {image}"), limit).lines(on_line))?;
    Ok(())
}

/// A container, as `docker ps --all` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The container's id.
    pub id: String,
    /// Its image, by the name that it was started with.
    pub image: String,
    /// `running`, `exited`, `created`, `paused`, …
    pub state: String,
}

/// The containers that match a filter, for instance `label=io.x-k8s.kind.cluster=NAME`.
///
/// # Errors
/// The client failed.
pub fn containers(filter: &str) -> Result<Vec<Container>, Error> {
    let sh = shell()?;
    let format = "{{.ID}}\t{{.Image}}\t{{.State}}";
    let call = cmd!(sh, "docker ps --all --no-trunc --filter={filter} --format={format}");
    let output = run(Call::new(call, QUICK))?;
    let containers = output.stdout.lines().filter_map(|line| {
        let mut parts = line.split('\t').map(str::to_owned);
        Some(Container { id: parts.next()?, image: parts.next()?, state: parts.next()? })
    });
    Ok(containers.collect())
}

/// Starts a container that has stopped.
///
/// # Errors
/// The client failed.
pub fn start(container: &str) -> Result<(), Error> {
    let sh = shell()?;
    run(Call::new(cmd!(sh, "docker start {container}"), QUICK))?;
    Ok(())
}

/// When a container was started last, in RFC 3339 and UTC.
///
/// # Errors
/// There is no such container.
pub fn started_at(container: &str) -> Result<String, Error> {
    let sh = shell()?;
    let format = "{{.State.StartedAt}}";
    let call = cmd!(sh, "docker inspect --format={format} {container}");
    Ok(run(Call::new(call, QUICK))?.stdout.trim().to_owned())
}

/// Runs a command in a container and gives what it printed.
///
/// # Errors
/// The command failed, or the container does not run.
pub fn exec(container: &str, command: &[&str], limit: Duration) -> Result<String, Error> {
    let sh = shell()?;
    let output = run(Call::new(cmd!(sh, "docker exec {container} {command...}"), limit))?;
    Ok(output.stdout)
}

/// A small text file of a container, which need not run; none when there is no such file.
///
/// # Errors
/// The client is not there.
pub fn read_file(container: &str, path: &str) -> Result<Option<String>, Error> {
    let sh = shell()?;
    let source = format!("{container}:{path}");
    let (status, output) = Call::new(cmd!(sh, "docker cp {source} -"), QUICK).status()?;
    // The client answers with a tar archive: a header of 512 bytes, then the content.
    let content = output.stdout.get(512..).unwrap_or_default();
    Ok(status.success().then(|| content.trim_end_matches('\0').to_owned()))
}

/// Copies a file out of an image, which is not run for that.
///
/// # Errors
/// The image is not there, or has no such file.
pub fn copy_out(image: &str, path: &str, to: &Path) -> Result<(), Error> {
    let sh = shell()?;
    let created = run(Call::new(cmd!(sh, "docker create --network=none {image}"), QUICK))?.stdout;
    let container = created.trim();
    let source = format!("{container}:{path}");
    let copied = run(Call::new(cmd!(sh, "docker cp {source} {to}"), QUICK));
    run(Call::new(cmd!(sh, "docker rm {container}"), QUICK))?;
    copied.map(drop)
}

/// As [`exec`], with something to read on stdin.
///
/// # Errors
/// The command failed, or the container does not run.
pub fn exec_with_input(
    container: &str,
    command: &[&str],
    input: String,
    limit: Duration,
) -> Result<String, Error> {
    let sh = shell()?;
    let call = cmd!(sh, "docker exec --interactive {container} {command...}");
    Ok(run(Call::new(call, limit).input(input))?.stdout)
}

/// Removes a network that nobody uses. One that is used, or gone, is left as it is.
///
/// # Errors
/// The client is not there.
pub fn remove_idle_network(network: &str) -> Result<(), Error> {
    let sh = shell()?;
    Call::new(cmd!(sh, "docker network rm {network}"), QUICK).status()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_went_away_is_told_apart() {
        assert!(is_daemon_gone(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        ));
        assert!(!is_daemon_gone("Error: No such container: x"));
    }
}
