//! What a rollout would do, found out without a write.

use manifests::{Bundle, ObjectId, difference::Leaf};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error, Owner, Server,
    decide::{self, Verdict},
    inventory::{self, Inventory},
    leftover,
    object::{id_of, same},
    observe::{self, Observed},
    server::together,
};

/// How to plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Take over fields that other field managers own, and objects of other environments.
    pub force: bool,
    /// Dry-run also those objects that the inventory proves unchanged.
    pub thorough: bool,
}

/// What happens to an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// It exists and differs.
    Update {
        /// The fields that differ.
        leaves: Vec<Leaf>,
    },
    /// It is a Job and differs in a part that cannot change: it is deleted and made anew.
    Recreate {
        /// What the server says.
        why: String,
        /// The fields that differ.
        leaves: Vec<Leaf>,
    },
    /// It exists as it should be.
    Unchanged,
    /// It is ours and no longer wanted.
    Prune,
    /// It is no longer wanted but stays.
    Keep {
        /// Why it stays.
        why: String,
    },
}

/// One object of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The object.
    #[serde(flatten)]
    pub id: ObjectId,
    /// When it is applied.
    pub wave: u32,
    /// What happens to it.
    #[serde(flatten)]
    pub action: Action,
    /// The tools that applied it before and hand it over to us.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adopted_from: Vec<String>,
    /// Whether conflicts with other managers are overridden.
    #[serde(skip)]
    pub(crate) force: bool,
    /// The object to apply; null for what goes or stays.
    #[serde(skip)]
    pub(crate) wanted: Value,
    /// The object as it is.
    #[serde(skip)]
    pub(crate) live: Option<Value>,
}

impl Change {
    /// True when the object itself is written before the rollout is proven.
    pub fn writes(&self) -> bool {
        matches!(self.action, Action::Create | Action::Update { .. } | Action::Recreate { .. })
    }
}

/// A whole plan.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Whose objects.
    pub owner: Owner,
    /// The revision that the cluster has once the plan is carried out.
    pub revision: u64,
    /// Wanted objects by wave, then what is left over.
    pub changes: Vec<Change>,
    /// What the user should know besides.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(crate) inventory: Inventory,
    /// The inventory's resourceVersion, by which a rival's write is noticed.
    #[serde(skip)]
    pub(crate) inventory_version: Option<String>,
}

impl Plan {
    /// True when carrying out the plan writes nothing at all.
    pub fn is_noop(&self) -> bool {
        self.revision == self.inventory.revision
    }

    /// The objects that something is written to or that go.
    pub fn pending(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|it| it.writes() || it.action == Action::Prune)
    }

    /// The wanted workloads: what a watch has to see before the first write.
    pub fn workloads(&self) -> impl Iterator<Item = &ObjectId> {
        self.changes
            .iter()
            .filter(|it| !it.wanted.is_null())
            .map(|it| &it.id)
            .filter(|it| is_workload(&it.kind))
    }
}

/// True for the kinds whose rollout takes time.
pub(crate) fn is_workload(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "Job")
}

/// An object of the bundle, marked as ours, with the wave it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: ObjectId,
    pub(crate) wave: u32,
    pub(crate) object: Value,
    pub(crate) namespaced: bool,
}

/// Compares the bundle with the cluster. Reads and dry-runs only.
pub async fn plan(
    server: &Server,
    bundle: &Bundle,
    owner: &Owner,
    options: Options,
) -> Result<Plan, Error> {
    let wanted = read(server, bundle, owner).await?;
    let mut observed = observe::observe(server, &wanted, owner).await?;
    let mut changes = Vec::new();
    let mut refusals = Vec::new();
    let verdicts = together(
        wanted.into_iter().map(|wanted| decide::decide(server, wanted, &observed, owner, options)),
    )
    .await;
    for verdict in verdicts {
        match verdict? {
            Verdict::Change(change) => changes.push(*change),
            Verdict::Refused(more) => refusals.extend(more),
        }
    }
    refusals.extend(observed.refusal(owner, options));
    if !refusals.is_empty() {
        return Err(Error::Refused { refusals });
    }
    changes.sort_by_key(|it| (it.wave, rank(&it.id)));
    let revision = next_revision(&changes, &observed.inventory);
    let leftovers = observe::leftovers(server, &changes, &mut observed).await?;
    for (entry, live) in leftovers {
        changes.extend(leftover::judge(&entry, live, owner, revision));
    }
    let notes = notes(&changes, &observed);
    Ok(Plan {
        owner: owner.clone(),
        revision,
        changes,
        notes,
        inventory: observed.inventory,
        inventory_version: observed.inventory_version,
    })
}

/// Marks every object as ours, fills in its namespace and finds out where its kind lives.
async fn read(server: &Server, bundle: &Bundle, owner: &Owner) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    for object in &bundle.objects {
        let (mut id, mut value) = (object.id.clone(), object.value.clone());
        let namespaced = server.kind(&id.api_version, &id.kind).await?.namespaced;
        if namespaced && id.namespace.is_none() {
            value["metadata"]["namespace"] = owner.namespace.clone().into();
            id.namespace = Some(owner.namespace.clone());
        }
        owner.stamp(&mut value);
        wanted.push(Wanted { id, wave: object.wave, object: value, namespaced });
    }
    Ok(wanted)
}

/// Objects of the cluster come first in a wave: a namespace must be there before what it holds.
pub(crate) fn rank(id: &ObjectId) -> u8 {
    u8::from(id.namespace.is_some())
}

/// One more when anything is written, or when the list of objects differs from the last revision's.
///
/// A rollout that never got to its end counts as the latter: its intent gave its objects the number
/// of a revision that was not reached.
fn next_revision(changes: &[Change], inventory: &Inventory) -> u64 {
    let last: Vec<&ObjectId> = inventory
        .entries
        .iter()
        .filter(|it| it.revision == inventory.revision)
        .map(|it| &it.id)
        .collect();
    let listed = last.len() == changes.len()
        && changes.iter().all(|it| last.iter().any(|last| same(last, &it.id)));
    let quiet = listed && !changes.iter().any(Change::writes);
    inventory.revision + u64::from(!quiet)
}

fn notes(changes: &[Change], observed: &Observed) -> Vec<String> {
    let mut notes = Vec::new();
    for change in changes {
        if !change.adopted_from.is_empty() {
            let from = change.adopted_from.join(", ");
            notes.push(format!("{} was made by {from} and is taken over", change.id));
        }
    }
    for live in &observed.labelled {
        let Ok(id) = id_of(live) else { continue };
        let known = changes.iter().any(|it| same(&it.id, &id))
            || observed.inventory.entry(&id).is_some()
            || id.name == inventory::NAME;
        if !known {
            notes.push(format!("{id} carries our labels but is in no inventory; it is left alone"));
        }
    }
    notes
}
