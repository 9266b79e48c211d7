//! Runs a command in a container.

use crate::error::{Error, Result};
use futures::future::join3;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess},
};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// More than this of an output is cut off.
const OUTPUT_LIMIT: u64 = 4 << 20;

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// The namespace of the pod.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container; its first one when none is given.
    pub container: Option<&'a str>,
    /// Program and arguments, without a shell.
    pub argv: &'a [&'a str],
    /// How long it may take.
    pub limit: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What it wrote.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// Its exit code; none when the container runtime could not say.
    pub code: Option<i32>,
}

/// Runs a command in a container and waits for its end.
pub async fn exec(client: &Client, command: &Command<'_>) -> Result<Output> {
    let what = format!("run `{}` in pod `{}`", command.argv.join(" "), command.pod);
    match tokio::time::timeout(command.limit, run(client, command, &what)).await {
        Ok(output) => output,
        Err(_) => Err(Error::TimedOut { what, limit: command.limit }),
    }
}

async fn run(client: &Client, command: &Command<'_>, what: &str) -> Result<Output> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), command.namespace);
    let params = AttachParams {
        container: command.container.map(str::to_owned),
        ..AttachParams::default().stdout(true).stderr(true)
    };
    let mut process = pods
        .exec(command.pod, command.argv.iter().copied(), &params)
        .await
        .map_err(|it| Error::api(what, it))?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let status = async {
        match status {
            Some(it) => it.await,
            None => None,
        }
    };
    let (stdout, stderr, status) = join3(read(stdout), read(stderr), status).await;
    end(process).await;
    let lost = |it| Error::stream(what, it);
    let (stdout, stderr) = (stdout.map_err(lost)?, stderr.map_err(lost)?);
    let code = status.and_then(|status| {
        if status.status.as_deref() == Some("Success") {
            return Some(0);
        }
        let causes = status.details?.causes?;
        let code = causes.iter().find(|it| it.reason.as_deref() == Some("ExitCode"))?;
        code.message.as_deref()?.parse().ok()
    });
    Ok(Output { stdout, stderr, code })
}

/// The streams have ended; how the connection ends after that does not matter any more.
async fn end(process: AttachedProcess) {
    let _ = process.join().await;
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
