//! The live state that a plan is made against.

use std::collections::{BTreeMap, BTreeSet};

use futures::join;
use manifests::ObjectId;
use serde_json::Value;

use crate::{
    Change, Code, Error, Options, Owner, Refusal, Server,
    inventory::{Entry, Inventory},
    kinds::Kind,
    object::{id_of, meta, same},
    plan::Wanted,
    server::together,
};

/// Everything a plan needs to know about the cluster.
pub(crate) struct Observed {
    /// The live versions of wanted objects.
    live: BTreeMap<ObjectId, Value>,
    /// Every object that carries our labels, among the kinds of the bundle.
    pub(crate) labelled: Vec<Value>,
    /// The namespaces that exist.
    namespaces: BTreeMap<String, Value>,
    pub(crate) inventory: Inventory,
    pub(crate) inventory_version: Option<String>,
    /// Why the inventory on the cluster is not ours.
    inventory_foreign: Option<String>,
}

impl Observed {
    pub(crate) fn live(&self, id: &ObjectId) -> Option<&Value> {
        self.live.get(id)
    }

    /// The namespace, if it exists.
    pub(crate) fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces.get(name)
    }

    /// An inventory of another environment means that the namespace is another environment's.
    pub(crate) fn refusal(&self, owner: &Owner, options: Options) -> Option<Refusal> {
        let why = self.inventory_foreign.as_ref().filter(|_| !options.force)?;
        Some(Refusal {
            object: Inventory::id(owner),
            field: None,
            code: Code::OtherEnvironment,
            message: format!(
                "namespace {} is not of environment {}: {why}",
                owner.namespace, owner.environment
            ),
            hint:
                "deploy this environment to a namespace of its own, or pass --force to take it over"
                    .to_owned(),
        })
    }
}

/// Reads the inventory, the namespaces, and the live objects: one LIST per kind by our labels, then
/// a GET for each object that the lists lack.
pub(crate) async fn observe(
    server: &Server,
    wanted: &[Wanted],
    owner: &Owner,
) -> Result<Observed, Error> {
    let inventory_id = Inventory::id(owner);
    let (inventory, namespaces, lists) = join!(
        server.get(&inventory_id),
        namespaces(server, wanted, owner),
        lists(server, wanted, owner)
    );
    let (inventory, namespaces, labelled) = (inventory?, namespaces?, lists?);
    let mut live = BTreeMap::new();
    for object in labelled.iter().chain(namespaces.values()) {
        live.insert(id_of(object)?, object.clone());
    }
    let missing = wanted.iter().map(|it| &it.id).filter(|id| {
        let reachable = id.namespace.as_ref().is_none_or(|it| namespaces.contains_key(it));
        reachable && id.kind != "Namespace" && !live.contains_key(id)
    });
    let missing: Vec<&ObjectId> = missing.collect();
    for object in together(missing.into_iter().map(|id| server.get(id))).await {
        if let Some(object) = object? {
            live.insert(id_of(&object)?, object);
        }
    }
    let foreign = inventory.as_ref().and_then(|it| owner.foreign(it));
    let parsed = match (&inventory, &foreign) {
        (Some(object), None) => Inventory::parse(object)?,
        _ => Inventory::default(),
    };
    Ok(Observed {
        live,
        labelled,
        namespaces,
        inventory: parsed,
        inventory_version: inventory
            .as_ref()
            .and_then(|it| meta(it, "resourceVersion"))
            .map(str::to_owned),
        inventory_foreign: foreign,
    })
}

async fn namespaces(
    server: &Server,
    wanted: &[Wanted],
    owner: &Owner,
) -> Result<BTreeMap<String, Value>, Error> {
    let named = wanted.iter().filter_map(|it| match it.id.kind.as_str() {
        "Namespace" => Some(&it.id.name),
        _ => it.id.namespace.as_ref(),
    });
    let names: BTreeSet<&String> = named.chain([&owner.namespace]).collect();
    let ids: Vec<ObjectId> = names
        .into_iter()
        .map(|name| ObjectId {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: name.clone(),
        })
        .collect();
    let mut found = BTreeMap::new();
    for namespace in together(ids.iter().map(|id| server.get(id))).await {
        if let Some(namespace) = namespace? {
            found.insert(id_of(&namespace)?.name, namespace);
        }
    }
    Ok(found)
}

async fn lists(server: &Server, wanted: &[Wanted], owner: &Owner) -> Result<Vec<Value>, Error> {
    let selector = owner.selector();
    let mut places: BTreeMap<(String, Option<String>), Kind> = BTreeMap::new();
    for item in wanted.iter().filter(|it| it.id.kind != "Namespace") {
        let kind = server.kind(&item.id.api_version, &item.id.kind).await?;
        places.insert((kind.path(None), item.id.namespace.clone()), kind);
    }
    let requests = places
        .iter()
        .map(|((_, namespace), kind)| server.list(kind, namespace.as_deref(), &selector));
    let mut found = Vec::new();
    for list in together(requests).await {
        found.extend(list?);
    }
    Ok(found)
}

/// The inventory's objects that are not wanted, each with its live version.
pub(crate) async fn leftovers(
    server: &Server,
    changes: &[Change],
    observed: &mut Observed,
) -> Result<Vec<(Entry, Option<Value>)>, Error> {
    let unwanted: Vec<Entry> = observed
        .inventory
        .entries
        .iter()
        .filter(|entry| !changes.iter().any(|change| same(&change.id, &entry.id)))
        .cloned()
        .collect();
    let read = unwanted.iter().map(|entry| {
        let listed = observed.live.get(&entry.id).cloned();
        async move {
            match listed {
                Some(live) => Ok(Some(live)),
                None => server.get(&entry.id).await,
            }
        }
    });
    let live: Vec<Result<Option<Value>, Error>> = together(read).await;
    unwanted.into_iter().zip(live).map(|(entry, live)| Ok((entry, live?))).collect()
}
