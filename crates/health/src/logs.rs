//! Logs of pods: the last lines as evidence, and a follow that outlives the pods.

use crate::{
    error::{Error, Result},
    fields::{list, text},
    observed::{Kind, Observed},
    watch::selection,
};
use ::watch::{List, Message};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

/// One line of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub pod: String,
    /// Which of its containers.
    pub container: String,
    /// What it wrote.
    pub text: String,
}

/// Whose logs, and how many.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// The namespace of the pods.
    pub namespace: &'a str,
    /// A label selector, such as `app=mlflow`.
    pub labels: &'a str,
    /// At most that many lines from before, per container; all when none is given.
    pub tail: Option<i64>,
}

impl Selection<'_> {
    fn pods(&self) -> ::watch::Selection {
        selection(Kind::Pod, self.namespace).labels(self.labels)
    }
}

/// The last lines of a container; of its previous run when asked for.
pub async fn tail(
    client: &Client,
    namespace: &str,
    pod: &str,
    params: &LogParams,
) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let log = pods.logs(pod, params).await;
    let log = log.map_err(|it| Error::api(format!("read the log of pod `{pod}`"), it))?;
    Ok(log.lines().map(str::to_owned).collect())
}

/// The last lines of a container's previous run, when it had one, and of the present one. Empty
/// when there are none: evidence that is missing must not hide the verdict.
pub async fn evidence(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    lines: i64,
) -> Vec<String> {
    let mut all = Vec::new();
    for previous in [true, false] {
        let params = LogParams {
            container: container.map(str::to_owned),
            previous,
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        all.extend(tail(client, namespace, pod, &params).await.unwrap_or_default());
    }
    // The kubelet answers 200 with this line when the container is gone.
    all.retain(|it| !it.starts_with("unable to retrieve container logs for "));
    let surplus = all.len().saturating_sub(usize::try_from(lines).unwrap_or(0));
    all.split_off(surplus)
}

/// The last lines of all pods that match, pod by pod, without waiting for more.
pub async fn print(
    client: &Client,
    selection: &Selection<'_>,
    mut on_line: impl FnMut(&Line),
) -> Result<usize> {
    let List { items, .. } = ::watch::list(client, &selection.pods())
        .await
        .map_err(|it| Error::api(format!("list pods with `{}`", selection.labels), it))?;
    let mut printed = 0;
    for pod in &items {
        let name = text(pod, "/metadata/name");
        for container in begun(pod) {
            let params = LogParams {
                container: Some(container.name.clone()),
                tail_lines: selection.tail,
                ..LogParams::default()
            };
            let lines = match tail(client, selection.namespace, name, &params).await {
                // The pod was replaced since it was listed: the others still have something to say.
                Err(Error::Api { source, .. }) if is_not_found(&source) => break,
                lines => lines?,
            };
            for text in lines {
                printed += 1;
                on_line(&Line { pod: name.to_owned(), container: container.name.clone(), text });
            }
        }
    }
    Ok(printed)
}

/// Follows the logs of all pods that match, those that come later as well. Ends only with an error
/// or when it is dropped.
pub async fn follow(
    client: &Client,
    selection: &Selection<'_>,
    mut on_line: impl FnMut(&Line),
) -> Result<()> {
    let (pod_sender, mut pods) = unbounded_channel();
    let (line_sender, mut lines): (_, UnboundedReceiver<Line>) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let tell = move |message| pod_sender.send(message).is_ok();
    tasks.spawn(::watch::follow(client.clone(), selection.pods(), None, tell));
    let mut seen = Observed::default();
    let mut followed = BTreeSet::new();
    loop {
        tokio::select! {
            Some(line) = lines.recv() => on_line(&line),
            message = pods.recv() => match message {
                None => return Err(Error::WatchEnded(Kind::Pod)),
                Some(Message::Listed(items)) => seen.replace(Kind::Pod, items, Duration::ZERO),
                Some(Message::Applied(pod)) => seen.apply(Kind::Pod, pod, Duration::ZERO),
                Some(Message::Deleted(pod)) => seen.remove(Kind::Pod, &pod),
                Some(Message::Lost(_) | Message::Found) => {}
            },
            Some(_) = tasks.join_next(), if tasks.len() > 1 => {}
        }
        for (run, pod) in new_runs(&seen, &mut followed) {
            let tail = if run.restarts > 0 { None } else { selection.tail };
            tasks.spawn(copy(
                client.clone(),
                selection.namespace.to_owned(),
                pod,
                run,
                tail,
                line_sender.clone(),
            ));
        }
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A run of a container that has begun to write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    name: String,
    id: String,
    restarts: i64,
}

fn begun(pod: &Value) -> Vec<Run> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|field| list(pod, field))
        .filter(|it| it.pointer("/state/waiting").is_none())
        .map(|it| Run {
            name: text(it, "/name").to_owned(),
            id: text(it, "/containerID").to_owned(),
            restarts: crate::fields::number(it, "/restartCount").unwrap_or(0),
        })
        .filter(|it| !it.id.is_empty())
        .collect()
}

/// The runs that are not followed yet, which now they are.
fn new_runs(seen: &Observed, followed: &mut BTreeSet<String>) -> BTreeMap<Run, String> {
    let mut new = BTreeMap::new();
    for pod in seen.list(Kind::Pod) {
        for run in begun(pod) {
            if followed.insert(run.id.clone()) {
                new.insert(run, text(pod, "/metadata/name").to_owned());
            }
        }
    }
    new
}

async fn copy(
    client: Client,
    namespace: String,
    pod: String,
    run: Run,
    tail_lines: Option<i64>,
    out: UnboundedSender<Line>,
) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let params = LogParams {
        container: Some(run.name.clone()),
        follow: true,
        tail_lines,
        ..LogParams::default()
    };
    // A pod may be gone before its log is asked for; the follow goes on with the others.
    let Ok(log) = pods.log_stream(&pod, &params).await else { return };
    let mut lines = log.lines();
    while let Ok(Some(text)) = lines.try_next().await {
        let line = Line { pod: pod.clone(), container: run.name.clone(), text };
        if out.send(line).is_err() {
            return;
        }
    }
}
