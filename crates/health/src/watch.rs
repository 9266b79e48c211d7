//! The one wait of the project: watches are opened before anything is written, and every change is
//! judged anew by [`crate::diagnose`].
//!
//! The wait is level-triggered: it looks at the newest state of everything, never at the change
//! itself, so a change that was missed, merged or seen twice makes no difference.

use crate::{
    diagnosis::{Cause, Rules, Target, Verdict, diagnose},
    error::{Error, Result},
    logs,
    observed::{Key, Kind, Observed},
};
use ::watch::{List, Message, Selection};

use futures::future::try_join_all;
use kube::Client;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// How many lines of a container's log go into a verdict.
const EVIDENCE_LINES: i64 = 20;

/// What a wait tells while it lasts.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A target stands otherwise than before.
    Verdict {
        /// Which one.
        target: Key,
        /// How it stands now.
        verdict: Box<Verdict>,
    },
    /// The API server does not answer; the watches try again until it does or the deadline comes.
    Disconnected {
        /// Why.
        error: String,
    },
    /// It answers again.
    Reconnected,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The last verdict on each target, in the order of the targets.
    pub verdicts: Vec<(Key, Verdict)>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether all targets are healthy.
    pub fn is_healthy(&self) -> bool {
        self.verdicts.iter().all(|(_, it)| it.is_healthy())
    }

    /// The targets that ended the wait, with their causes.
    pub fn failures(&self) -> impl Iterator<Item = (&Key, &Verdict)> {
        self.verdicts.iter().filter(|(_, it)| it.is_failure()).map(|(key, it)| (key, it))
    }
}

/// The open watches of one namespace, and everything they have brought.
///
/// Open it before writing, and use the same one for wave after wave. Dropping it closes the watches.
pub struct Watcher {
    client: Client,
    namespace: String,
    rules: Rules,
    seen: Observed,
    messages: mpsc::UnboundedReceiver<(Kind, Message)>,
    disconnected: BTreeSet<Kind>,
    opened: Instant,
    /// When the caller last had the floor: what was seen before its writes proves nothing about them.
    since: Duration,
    _watches: JoinSet<()>,
}

impl Watcher {
    /// Lists everything in the namespace and watches it from there on. The namespace need not
    /// exist yet.
    pub async fn open(client: Client, namespace: &str) -> Result<Watcher> {
        let opened = Instant::now();
        let lists = Kind::ALL.map(|kind| {
            let client = client.clone();
            async move {
                let selection = selection(kind, namespace);
                let list = ::watch::list(&client, &selection).await.map_err(|it| {
                    Error::api(format!("list {} in `{namespace}`", kind.resource().1), it)
                })?;
                Ok::<_, Error>((kind, selection, list))
            }
        });
        let (sender, messages) = mpsc::unbounded_channel();
        let mut seen = Observed::default();
        let mut watches = JoinSet::new();
        for (kind, selection, List { items, version }) in try_join_all(lists).await? {
            seen.replace(kind, items, opened.elapsed());
            let sender = sender.clone();
            let tell = move |message| sender.send((kind, message)).is_ok();
            watches.spawn(::watch::follow(client.clone(), selection, Some(version), tell));
        }
        Ok(Watcher {
            client,
            namespace: namespace.to_owned(),
            rules: Rules::default(),
            seen,
            messages,
            disconnected: BTreeSet::new(),
            since: opened.elapsed(),
            opened,
            _watches: watches,
        })
    }

    /// Judges by these rules from now on.
    pub fn with_rules(mut self, rules: Rules) -> Watcher {
        self.rules = rules;
        self
    }

    /// What has been seen up to now, for `status`.
    pub fn snapshot(&mut self) -> &Observed {
        while let Ok((kind, message)) = self.messages.try_recv() {
            self.take(kind, message);
        }
        &self.seen
    }

    /// How each target stands now, by everything there is to see, however old.
    pub fn verdicts(&mut self, targets: &[Target]) -> Vec<(Key, Verdict)> {
        self.verdicts_since(targets, Duration::ZERO)
    }

    fn verdicts_since(&mut self, targets: &[Target], since: Duration) -> Vec<(Key, Verdict)> {
        self.snapshot();
        let now = self.opened.elapsed();
        let rules = Rules { since, ..self.rules.clone() };
        let judge = |it: &Target| (it.key.clone(), diagnose(it, &self.seen, &rules, now));
        targets.iter().map(judge).collect()
    }

    /// Waits until all targets are healthy, or one of them has failed, or the deadline has come.
    ///
    /// `on_change` hears of each target when it stands otherwise than before, in words; the clock
    /// of a budget alone is no change. A failure comes with the last lines of the log.
    pub async fn wait(
        &mut self,
        targets: &[Target],
        deadline: Instant,
        mut on_change: impl FnMut(&Change),
    ) -> Result<Outcome> {
        let begun = Instant::now();
        let mut told: BTreeMap<Key, String> = BTreeMap::new();
        loop {
            let mut verdicts = self.verdicts_since(targets, self.since);
            if !self.disconnected.is_empty() {
                verdicts.iter_mut().for_each(|(_, it)| blind(it));
            }
            let is_due = Instant::now() >= deadline;
            if is_due {
                verdicts.iter_mut().for_each(|(_, it)| expire(it));
            }
            let is_over = is_due
                || verdicts.iter().all(|(_, it)| it.is_healthy())
                || verdicts.iter().any(|(_, it)| it.is_failure());
            if is_over {
                self.add_logs(&mut verdicts).await;
            }
            for (key, verdict) in &verdicts {
                let line = line_of(verdict);
                if told.get(key) != Some(&line) {
                    told.insert(key.clone(), line);
                    let verdict = Box::new(verdict.clone());
                    on_change(&Change::Verdict { target: key.clone(), verdict });
                }
            }
            if is_over {
                self.since = self.opened.elapsed();
                return Ok(Outcome { verdicts, took: begun.elapsed() });
            }
            self.next_change(next_timer(&verdicts, deadline), &mut on_change).await?;
        }
    }

    /// Sleeps until something is seen or the timer runs out, whichever is first.
    async fn next_change(
        &mut self,
        timer: Instant,
        on_change: &mut impl FnMut(&Change),
    ) -> Result<()> {
        let was_connected = self.disconnected.is_empty();
        let (kind, message) =
            match tokio::time::timeout_at(timer.into(), self.messages.recv()).await {
                Err(_) => return Ok(()),
                Ok(None) => return Err(Error::WatchEnded(Kind::Pod)),
                Ok(Some(message)) => message,
            };
        if let Message::Lost(error) = &message
            && was_connected
        {
            on_change(&Change::Disconnected { error: error.clone() });
        }
        self.take(kind, message);
        if !was_connected && self.disconnected.is_empty() {
            on_change(&Change::Reconnected);
        }
        Ok(())
    }

    fn take(&mut self, kind: Kind, message: Message) {
        let at = self.opened.elapsed();
        match message {
            Message::Listed(items) => self.seen.replace(kind, items, at),
            Message::Applied(object) => self.seen.apply(kind, object, at),
            Message::Deleted(object) => self.seen.remove(kind, &object),
            Message::Lost(_) => {
                self.disconnected.insert(kind);
            }
            Message::Found => {
                // What happened in between was not seen, so no pod is held to that time.
                if self.disconnected.remove(&kind) && self.disconnected.is_empty() {
                    self.seen.restart_clocks(at);
                }
            }
        }
    }

    async fn add_logs(&self, verdicts: &mut [(Key, Verdict)]) {
        for (_, verdict) in verdicts {
            if !verdict.is_failure() {
                continue;
            }
            let Some(cause) = verdict.cause_mut() else { continue };
            let Some(pod) = cause.pod().map(str::to_owned) else { continue };
            let container = cause.container.clone();
            let container = container.as_deref();
            let log =
                logs::evidence(&self.client, &self.namespace, &pod, container, EVIDENCE_LINES);
            // The verdict stands without its log, so a log that does not come is not waited for.
            if let Ok(lines) = tokio::time::timeout(Duration::from_secs(3), log).await {
                cause.log = lines;
            }
        }
    }
}

/// All objects of a kind in a namespace.
pub(crate) fn selection(kind: Kind, namespace: &str) -> Selection {
    let (group, plural) = kind.resource();
    Selection::new(format!("{group}/namespaces/{namespace}/{plural}"))
}

/// While nothing can be seen, nobody is late.
fn blind(verdict: &mut Verdict) {
    if let Verdict::Late(cause) = verdict {
        let cause = std::mem::take(cause);
        *verdict = Verdict::Waiting { cause, budget: None, used: Duration::ZERO };
    }
}

/// At the deadline, what is not healthy is late.
fn expire(verdict: &mut Verdict) {
    if let Verdict::Waiting { cause, .. } = verdict {
        *verdict = Verdict::Late(std::mem::take(cause));
    }
}

/// What of a verdict is worth telling again when it changes.
fn line_of(verdict: &Verdict) -> String {
    let cause: Option<&Cause> = verdict.cause();
    format!("{} {}", verdict.word(), cause.map(Cause::to_string).unwrap_or_default())
}

/// When a budget ends or the deadline comes.
fn next_timer(verdicts: &[(Key, Verdict)], deadline: Instant) -> Instant {
    let now = Instant::now();
    let rest = verdicts.iter().filter_map(|(_, it)| match it {
        Verdict::Waiting { budget: Some(budget), used, .. } => Some(budget.saturating_sub(*used)),
        _ => None,
    });
    rest.filter_map(|it| now.checked_add(it)).fold(deadline, Instant::min)
}
