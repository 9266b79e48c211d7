//! What Kustomize rendered: objects with their names, in the order in which they are applied.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::yaml;

/// The annotation with the wave in which an object is applied.
pub const WAVE: &str = "mlflow-gke.dev/wave";

/// The kinds in the order in which one needs the other; any other kind comes between the two rows.
const FIRST: &[&str] = &[
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
];
const LAST: &[&str] = &["Pod", "DaemonSet", "StatefulSet", "Deployment", "Job", "CronJob"];

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectId {
    /// Absent for objects of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The group and version, such as `apps/v1`.
    pub api_version: String,
    /// `Deployment`, `Service`, …
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// One rendered object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is called.
    pub id: ObjectId,
    /// The wave in which it is applied, from 0.
    pub wave: u32,
    /// All of it.
    pub value: Value,
}

/// All objects of an environment, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// By wave, then by kind, then by name.
    pub objects: Vec<Object>,
}

/// Why a text is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not YAML.
    #[error("document {document} does not parse, line {line}: {message}")]
    Yaml {
        /// The document's number, from 1.
        document: usize,
        /// The line in the whole text, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A document is not an object.
    #[error("document {document} from line {line} is no Kubernetes object: it has no `{missing}`")]
    NotAnObject {
        /// The document's number, from 1.
        document: usize,
        /// The document's first line.
        line: usize,
        /// The first field that is missing.
        missing: &'static str,
    },
    /// Two documents name the same object.
    #[error("document {document} from line {line} is `{id}` again, first in document {first}")]
    Twice {
        /// The later document's number, from 1.
        document: usize,
        /// The later document's first line.
        line: usize,
        /// The object's name.
        id: ObjectId,
        /// The earlier document's number.
        first: usize,
    },
    /// A wave is not a number.
    #[error("`{id}` has wave `{text}`, which is not a number from 0 on")]
    Wave {
        /// The object's name.
        id: ObjectId,
        /// What the annotation says.
        text: String,
    },
}

impl Object {
    /// Takes a value as an object.
    pub fn new(value: Value) -> Result<Object, Error> {
        Object::from_document(value, 1, 1)
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        annotation(&self.value, name)
    }

    /// The namespace, `default` where none is written.
    pub fn namespace(&self) -> &str {
        self.id.namespace.as_deref().unwrap_or("default")
    }

    fn from_document(value: Value, document: usize, line: usize) -> Result<Object, Error> {
        let text = |pointer: &str, missing: &'static str| {
            let found = value.pointer(pointer).and_then(Value::as_str);
            found.filter(|it| !it.is_empty()).map(str::to_owned).ok_or(Error::NotAnObject {
                document,
                line,
                missing,
            })
        };
        let id = ObjectId {
            api_version: text("/apiVersion", "apiVersion")?,
            kind: text("/kind", "kind")?,
            name: text("/metadata/name", "metadata.name")?,
            namespace: value
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .map(str::to_owned),
        };
        let wave = match annotation(&value, WAVE) {
            None => 0,
            Some(text) => {
                text.parse().map_err(|_| Error::Wave { id: id.clone(), text: text.to_owned() })?
            }
        };
        Ok(Object { id, wave, value })
    }

    fn order(&self) -> (u32, usize, &ObjectId) {
        let kind = self.id.kind.as_str();
        let first = FIRST.iter().position(|it| *it == kind);
        let last = LAST.iter().position(|it| *it == kind).map(|it| FIRST.len() + 1 + it);
        (self.wave, first.or(last).unwrap_or(FIRST.len()), &self.id)
    }
}

impl Bundle {
    /// Reads YAML of any number of documents; empty documents count for nothing.
    pub fn parse(text: &str) -> Result<Bundle, Error> {
        let mut objects = Vec::new();
        let mut seen = BTreeMap::new();
        for (index, (line, text)) in yaml::documents(text).into_iter().enumerate() {
            let document = index + 1;
            let value = yaml::read(&text, line).map_err(|it| Error::Yaml {
                document,
                line: it.line,
                message: it.message,
            })?;
            if value.is_null() {
                continue;
            }
            let object = Object::from_document(value, document, line)?;
            if let Some(first) = seen.insert(object.id.clone(), document) {
                return Err(Error::Twice { document, line, id: object.id, first });
            }
            objects.push(object);
        }
        objects.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(Bundle { objects })
    }

    /// The object of a kind and name, in whatever namespace.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|it| it.id.kind == kind && it.id.name == name)
    }

    /// The objects of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |it| it.id.kind == kind)
    }

    /// The values alone, in order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().map(|it| &it.value)
    }

    /// The objects of each wave, in order.
    pub fn waves(&self) -> Vec<(u32, &[Object])> {
        self.objects
            .chunk_by(|a, b| a.wave == b.wave)
            .map(|objects| (objects[0].wave, objects))
            .collect()
    }
}

/// An annotation of an object.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(bundle: &Bundle) -> Vec<String> {
        bundle.objects.iter().map(|it| format!("{} {}", it.wave, it.id)).collect()
    }

    fn object(kind: &str, name: &str, wave: Option<u32>) -> String {
        let wave = wave.map(|it| format!("\n  annotations: {{{WAVE}: \"{it}\"}}"));
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}{}\n",
            wave.unwrap_or_default()
        )
    }

    #[test]
    fn objects_come_in_the_order_in_which_they_are_applied() {
        let text = [
            object("Deployment", "mlflow", Some(4)),
            object("Job", "mlflow-migrate", Some(3)),
            object("Service", "mlflow", None),
            object("Mystery", "x", None),
            object("ServiceAccount", "mlflow", None),
            object("Namespace", "mlflow", None),
        ]
        .join("---\n");
        let bundle = Bundle::parse(&text).unwrap();
        assert_eq!(
            names(&bundle),
            [
                "0 namespace/mlflow",
                "0 serviceaccount/mlflow",
                "0 service/mlflow",
                "0 mystery/x",
                "3 job/mlflow-migrate",
                "4 deployment/mlflow",
            ]
        );
        let waves: Vec<_> = bundle.waves().iter().map(|it| (it.0, it.1.len())).collect();
        assert_eq!(waves, [(0, 4), (3, 1), (4, 1)]);
    }

    #[test]
    fn a_document_that_does_not_parse_is_named_with_its_line() {
        let text = format!("{}---\napiVersion: v1\nkind: [\nname: x\n", object("Pod", "a", None));
        let error = Bundle::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("document 2 does not parse, line "), "{error}");
        let line: usize = error
            .split_once("line ")
            .and_then(|it| it.1.split_once(':'))
            .and_then(|it| it.0.parse().ok())
            .unwrap();
        assert!((7..=9).contains(&line), "{error}");
    }

    #[test]
    fn a_document_without_a_name_and_a_repeated_one_are_refused() {
        let text = format!("{}---\nkind: Pod\n", object("Pod", "a", None));
        assert_eq!(
            Bundle::parse(&text).unwrap_err().to_string(),
            "document 2 from line 6 is no Kubernetes object: it has no `apiVersion`"
        );
        let text = [object("Pod", "a", None), object("Pod", "a", None)].join("---\n");
        assert_eq!(
            Bundle::parse(&text).unwrap_err().to_string(),
            "document 2 from line 6 is `pod/a` again, first in document 1"
        );
    }

    #[test]
    fn a_key_written_twice_and_a_wave_that_is_no_number_are_refused() {
        let error = Bundle::parse("kind: A\nkind: B\n").unwrap_err();
        assert!(matches!(error, Error::Yaml { document: 1, line: 2, .. }), "{error}");
        let text = object("Pod", "a", Some(1)).replace("\"1\"", "soon");
        assert_eq!(
            Bundle::parse(&text).unwrap_err().to_string(),
            "`pod/a` has wave `soon`, which is not a number from 0 on"
        );
    }

    #[test]
    fn a_marker_inside_a_block_of_text_does_not_cut_it() {
        let text = format!("{}data:\n  a: |\n    ---\n    b\n", object("ConfigMap", "a", None));
        let bundle = Bundle::parse(&text).unwrap();
        assert_eq!(bundle.objects[0].value["data"]["a"], "---\nb\n");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
            let _ = Bundle::parse(&text);
        }

        #[test]
        fn the_order_does_not_depend_on_the_order_of_the_documents(
            mut objects in prop::collection::btree_map("[a-c]{1,2}", 0u32..3, 1..8)
                .prop_map(|it| it.into_iter().collect::<Vec<_>>())
                .prop_shuffle(),
        ) {
            let text = |objects: &[(String, u32)]| {
                let each = objects.iter().map(|it| object("Pod", &it.0, Some(it.1)));
                each.collect::<Vec<_>>().join("---\n")
            };
            let shuffled = Bundle::parse(&text(&objects)).unwrap();
            objects.sort();
            prop_assert_eq!(shuffled, Bundle::parse(&text(&objects)).unwrap());
        }
    }
}
