//! The list, kept in the cluster, of the objects that we applied.
//!
//! Labels alone don't tell what to prune: a copied manifest carries them too, and finding every
//! labelled object means asking for every kind there is.

use manifests::ObjectId;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Owner,
    object::{applied_fields, meta, same},
};

/// The ConfigMap's name.
pub(crate) const NAME: &str = "mlflow-xtask-inventory";
const KEY: &str = "inventory.json";

/// What we applied, by whom it was last wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    /// Counts the rollouts that changed something and came up healthy.
    pub(crate) revision: u64,
    /// Sorted by identity.
    pub(crate) entries: Vec<Entry>,
}

/// One object of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten, with = "Id")]
    pub(crate) id: ObjectId,
    /// The last revision whose bundle had the object.
    pub(crate) revision: u64,
    /// The fingerprint of the object when we last saw it equal to what was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<String>,
}

/// How an identity is written into the list.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ObjectId", rename_all = "camelCase")]
struct Id {
    api_version: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
}

impl Inventory {
    /// The ConfigMap's identity.
    pub(crate) fn id(owner: &Owner) -> ObjectId {
        ObjectId {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some(owner.namespace.clone()),
            name: NAME.to_owned(),
        }
    }

    /// Reads the list from the live ConfigMap.
    pub(crate) fn parse(live: &Value) -> Result<Inventory, Error> {
        let text = live["data"][KEY].as_str().unwrap_or("{\"revision\":0,\"entries\":[]}");
        serde_json::from_str(text).map_err(|source| Error::Inventory { name: NAME, source })
    }

    /// The ConfigMap that holds the list, one object a line for people who look into it.
    pub(crate) fn object(&self, owner: &Owner) -> Value {
        let lines: Vec<String> = self.entries.iter().map(|it| json!(it).to_string()).collect();
        let text =
            format!("{{\"revision\":{},\"entries\":[\n{}\n]}}\n", self.revision, lines.join(",\n"));
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": owner.namespace },
            "data": { KEY: text },
        });
        owner.stamp(&mut object);
        object
    }

    pub(crate) fn entry(&self, id: &ObjectId) -> Option<&Entry> {
        self.entries.iter().find(|it| same(&it.id, id))
    }

    /// Adds or replaces an entry.
    pub(crate) fn put(&mut self, entry: Entry) {
        self.remove(&entry.id);
        let at = self.entries.partition_point(|it| it.id < entry.id);
        self.entries.insert(at, entry);
    }

    pub(crate) fn remove(&mut self, id: &ObjectId) {
        self.entries.retain(|it| !same(&it.id, id));
    }
}

/// A digest of what was wanted and of the server's record of what we own in the live object.
///
/// When both are as they were, applying again would change nothing: whoever changes the value of a
/// field that we own takes the field out of our record. That saves the dry-run of unchanged objects.
/// A Secret has none, as a digest of its values in a ConfigMap would help to guess them.
pub(crate) fn fingerprint(wanted: &Value, live: &Value) -> Option<String> {
    if wanted["kind"] == "Secret" {
        return None;
    }
    let text = format!("{wanted}\n{}\n{}", meta(live, "uid")?, applied_fields(live)?);
    let digest = digest(&SHA256, text.as_bytes());
    Some(digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// True for a name that Kustomize's configMapGenerator made: it ends in its ten-letter hash.
pub(crate) fn is_hashed(name: &str) -> bool {
    let Some((_, hash)) = name.rsplit_once('-') else { return false };
    hash.len() == 10 && hash.bytes().all(|it| b"2456789bcdfghkmt".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { environment: "kind".to_owned(), namespace: "mlflow".to_owned() }
    }

    fn id(name: &str) -> ObjectId {
        ObjectId { name: name.to_owned(), ..Inventory::id(&owner()) }
    }

    #[test]
    fn the_config_map_reads_back() {
        let mut inventory = Inventory { revision: 3, entries: Vec::new() };
        for name in ["b", "a", "c", "a"] {
            inventory.put(Entry { id: id(name), revision: 3, seen: Some(name.to_owned()) });
        }
        assert_eq!(inventory.entries.len(), 3);
        assert_eq!(Inventory::parse(&inventory.object(&owner())).unwrap(), inventory);
        let empty = Inventory::default();
        assert_eq!(Inventory::parse(&empty.object(&owner())).unwrap(), empty);
    }

    #[test]
    fn a_spoiled_list_is_an_error_with_the_fix() {
        let mut object = Inventory::default().object(&owner());
        object["data"][KEY] = json!("{");
        let error = Inventory::parse(&object).unwrap_err().to_string();
        assert!(error.contains("configmap/mlflow-xtask-inventory") && error.contains("hint:"));
    }

    #[test]
    fn only_generated_names_are_hashed() {
        assert!(is_hashed("mlflow-config-5hg9kmt2b4"));
        assert!(!is_hashed("mlflow-config"));
        assert!(!is_hashed("mlflow-postgresql"));
        assert!(!is_hashed("5hg9kmt2b4"));
    }

    #[test]
    fn the_fingerprint_follows_wish_record_and_identity() {
        let live = |uid: &str, field: &str| {
            json!({ "metadata": { "uid": uid, "managedFields": [
                { "manager": crate::MANAGER, "operation": "Apply", "fieldsV1": { field: {} } },
            ] } })
        };
        let wanted = json!({ "kind": "Service", "spec": 1 });
        let all = [
            fingerprint(&wanted, &live("1", "f:a")),
            fingerprint(&wanted, &live("2", "f:a")),
            fingerprint(&wanted, &live("1", "f:b")),
            fingerprint(&json!({ "kind": "Service", "spec": 2 }), &live("1", "f:a")),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().flatten().collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(fingerprint(&json!({ "kind": "Secret" }), &live("1", "f:a")), None);
        assert_eq!(fingerprint(&wanted, &json!({ "metadata": { "uid": "1" } })), None);
    }
}
