//! Carries out a plan: lease, intent, waves, and in the end the prune.

use std::collections::{BTreeMap, BTreeSet};

use manifests::ObjectId;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Action, Change, Error, Holder, Plan, Server,
    inventory::{Entry, Inventory, fingerprint},
    lease::Held,
    object::{generation, meta},
    plan::{is_workload, rank},
    server::{Mode, together},
    write::write,
};

/// A workload to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The workload.
    pub id: ObjectId,
    /// The generation that has to be observed; an older status proves nothing.
    pub generation: i64,
    /// Tells a recreated Job from its predecessor.
    pub uid: String,
}

/// Waits for workloads. The caller's part, so that this crate needs no cluster in its tests.
pub trait Waiter {
    /// Returns once all targets are healthy, or says why they never will be.
    fn wait(
        &mut self,
        wave: u32,
        targets: &[Target],
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>;
}

/// What a rollout does at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// An object was created, updated or recreated.
    Written {
        /// The object.
        object: ObjectId,
        /// `created`, `updated` or `recreated`.
        how: &'static str,
    },
    /// The workloads of a wave are awaited.
    Waiting {
        /// The wave.
        wave: u32,
        /// Its workloads.
        targets: Vec<Target>,
    },
    /// They are healthy.
    Healthy {
        /// The wave.
        wave: u32,
    },
}

/// What was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Created and updated objects.
    pub written: Vec<ObjectId>,
    /// Jobs that were made anew.
    pub recreated: Vec<ObjectId>,
    /// Objects that were right already.
    pub unchanged: Vec<ObjectId>,
    /// The workloads, as they were waited for.
    pub targets: Vec<Target>,
}

/// What was pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Deleted objects.
    pub deleted: Vec<ObjectId>,
    /// Objects that stay, with the reason.
    pub kept: Vec<(ObjectId, String)>,
}

/// A plan that is being carried out.
pub struct Rollout<'a> {
    server: &'a Server,
    plan: &'a Plan,
    lease: Option<Held>,
    inventory: Inventory,
    /// What each object looks like now.
    live: BTreeMap<ObjectId, Value>,
    written: BTreeSet<ObjectId>,
}

impl<'a> Rollout<'a> {
    /// Takes the lease and writes down what is going to be applied, so that an interrupted rollout
    /// leaves no object that nobody knows. Writes nothing for a plan that has nothing to write.
    pub async fn begin(
        server: &'a Server,
        plan: &'a Plan,
        holder: &Holder,
    ) -> Result<Rollout<'a>, Error> {
        let mut rollout = Rollout {
            server,
            plan,
            lease: None,
            inventory: plan.inventory.clone(),
            live: BTreeMap::new(),
            written: BTreeSet::new(),
        };
        if plan.is_noop() {
            return Ok(rollout);
        }
        // The lease lives in the namespace, so a missing namespace has to come first.
        let home = plan.changes.iter().find(|it| {
            it.id.kind == "Namespace"
                && it.id.name == plan.owner.namespace
                && it.action == Action::Create
        });
        if let Some(home) = home {
            rollout.write(&[home]).await?;
        }
        rollout.lease = Some(Held::take(server, &plan.owner.namespace, holder).await?);
        if let Err(error) = rollout.intend().await {
            rollout.end().await?;
            return Err(error);
        }
        Ok(rollout)
    }

    /// Lists everything the plan wants before the first of it is written.
    async fn intend(&mut self) -> Result<(), Error> {
        let now = self.server.get(&Inventory::id(&self.plan.owner)).await?;
        let version = now.as_ref().and_then(|it| meta(it, "resourceVersion"));
        if version != self.plan.inventory_version.as_deref() {
            return Err(Error::Stale);
        }
        for change in self.wanted() {
            let revision = self.plan.revision;
            let seen = self.plan.inventory.entry(&change.id).and_then(|it| it.seen.clone());
            let seen = seen.filter(|_| !change.writes());
            self.inventory.put(Entry { id: change.id.clone(), revision, seen });
        }
        self.list().await
    }

    /// Writes what differs, wave by wave, and waits for the workloads of each wave, also for those
    /// that did not change: a deploy says "healthy" only of what it has seen.
    pub async fn apply(
        &mut self,
        waiter: &mut impl Waiter,
        report: &mut impl FnMut(Step),
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let waves: BTreeSet<u32> = self.wanted().map(|it| it.wave).collect();
        for wave in waves {
            let changes: Vec<&Change> = self.wanted().filter(|it| it.wave == wave).collect();
            for part in [0, 1] {
                let batch: Vec<&Change> =
                    changes.iter().copied().filter(|it| rank(&it.id) == part).collect();
                self.write(&batch).await?;
            }
            let mut targets = Vec::new();
            for change in changes {
                self.tell(change, &mut applied, report);
                targets.extend(self.target(change));
            }
            if !targets.is_empty() {
                report(Step::Waiting { wave, targets: targets.clone() });
                let waited = waiter.wait(wave, &targets).await;
                waited.map_err(|source| Error::Unhealthy { wave, source })?;
                report(Step::Healthy { wave });
                applied.targets.extend(targets);
            }
        }
        self.remember().await?;
        Ok(applied)
    }

    /// Deletes what is ours and no longer wanted. To be called once the rollout is proven.
    ///
    /// Each object is read again first: what changed hands since the plan is left alone.
    pub async fn prune(&mut self) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        for change in &self.plan.changes {
            match &change.action {
                Action::Prune => {}
                Action::Keep { why } => {
                    pruned.kept.push((change.id.clone(), why.clone()));
                    continue;
                }
                _ => continue,
            }
            self.check()?;
            let Some(live) = self.server.get(&change.id).await? else {
                self.inventory.remove(&change.id);
                continue;
            };
            let foreign = self.plan.owner.foreign(&live);
            let planned = change.live.as_ref().and_then(|it| meta(it, "uid"));
            let why = foreign.or_else(|| {
                let same = planned == meta(&live, "uid");
                (!same).then(|| "another object of that name took its place".to_owned())
            });
            if let Some(why) = why {
                pruned.kept.push((change.id.clone(), why));
                continue;
            }
            self.server.delete(&live).await?;
            self.inventory.remove(&change.id);
            pruned.deleted.push(change.id.clone());
        }
        if !pruned.deleted.is_empty() {
            self.list().await?;
        }
        Ok(pruned)
    }

    /// Gives the lease back. To be called after a failure too.
    pub async fn end(mut self) -> Result<(), Error> {
        match self.lease.take() {
            Some(lease) => lease.release(self.server).await,
            None => Ok(()),
        }
    }

    fn wanted(&self) -> impl Iterator<Item = &'a Change> + use<'a> {
        let plan: &'a Plan = self.plan;
        plan.changes.iter().filter(|it| !it.wanted.is_null())
    }

    fn check(&self) -> Result<(), Error> {
        self.lease.as_ref().map_or(Ok(()), Held::check)
    }

    async fn write(&mut self, changes: &[&Change]) -> Result<(), Error> {
        self.check()?;
        let due = changes.iter().filter(|it| it.writes() && !self.written.contains(&it.id));
        let due: Vec<&Change> = due.copied().collect();
        let server = self.server;
        let results = together(due.iter().map(|it| write(server, it))).await;
        // Every success is remembered, also when one of its neighbours failed.
        let mut failed = None;
        for (change, result) in due.iter().zip(results) {
            match result {
                Ok(live) => {
                    self.live.insert(change.id.clone(), live);
                    self.written.insert(change.id.clone());
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn tell(&self, change: &Change, applied: &mut Applied, report: &mut impl FnMut(Step)) {
        let how = match change.action {
            Action::Create => "created",
            Action::Update { .. } => "updated",
            Action::Recreate { .. } => "recreated",
            _ => return applied.unchanged.push(change.id.clone()),
        };
        match how {
            "recreated" => applied.recreated.push(change.id.clone()),
            _ => applied.written.push(change.id.clone()),
        }
        report(Step::Written { object: change.id.clone(), how });
    }

    fn now<'b>(&'b self, change: &'b Change) -> Option<&'b Value> {
        self.live.get(&change.id).or(change.live.as_ref())
    }

    fn target(&self, change: &Change) -> Option<Target> {
        let live = self.now(change).filter(|_| is_workload(&change.id.kind))?;
        Some(Target {
            id: change.id.clone(),
            generation: generation(live),
            uid: meta(live, "uid").unwrap_or_default().to_owned(),
        })
    }

    /// Closes the revision: the fingerprints of what is live now spare the next plan its dry-runs.
    async fn remember(&mut self) -> Result<(), Error> {
        if self.plan.is_noop() {
            return Ok(());
        }
        for change in self.wanted() {
            let seen = self.now(change).and_then(|live| fingerprint(&change.wanted, live));
            let revision = self.plan.revision;
            self.inventory.put(Entry { id: change.id.clone(), revision, seen });
        }
        self.inventory.revision = self.plan.revision;
        self.list().await
    }

    async fn list(&self) -> Result<(), Error> {
        self.check()?;
        let object = self.inventory.object(&self.plan.owner);
        self.server.apply(&object, Mode { dry_run: false, force: true }).await.map(drop)
    }
}
