//! The tree of metadata that one caller sees, and how its parts are written.
//!
//! Directories list one name per line, a value has no newline, a whole directory is JSON: as
//! documented for Compute Engine, whose version 1 the GKE metadata server is compatible with. Which
//! names exist is what GKE shows to a pod: `attributes/ hostname id service-accounts/ zone` in
//! `instance/` was seen in public logs (banzaicloud/preemption-exporter#3).

use super::query::{DEFAULT_SCOPES, Form};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What a node of the cluster knows about itself.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The project's id and number.
    pub project_id: String,
    /// As digits.
    pub project_number: String,
    /// Of the cluster.
    pub cluster_name: String,
    /// The region or zone of the cluster.
    pub cluster_location: String,
    /// Any text that stays the same.
    pub cluster_uid: String,
    /// The zone of the node.
    pub zone: String,
    /// The node.
    pub name: String,
}

impl Instance {
    /// The pool of the project's workloads, which stands in for an email address.
    pub(crate) fn pool(&self) -> String {
        format!("{}.svc.id.goog", self.project_id)
    }

    /// The name by which STS knows the cluster.
    pub(crate) fn issuer(&self) -> String {
        format!(
            "https://container.googleapis.com/v1/projects/{}/locations/{}/clusters/{}",
            self.project_id, self.cluster_location, self.cluster_name
        )
    }

    /// A number of 19 digits, as Compute Engine's, the same for the same node.
    fn id(&self) -> u64 {
        let hash = fingerprint(self.name.bytes().chain(self.cluster_uid.bytes()));
        1_000_000_000_000_000_000 + hash % 8_000_000_000_000_000_000
    }
}

/// Tells one text from another (FNV-1a); nobody's safety depends on it.
pub(crate) fn fingerprint(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// One thing in the tree.
#[derive(Debug)]
pub(crate) enum Node {
    Directory(Vec<Entry>),
    Text(String),
    Number(String),
    /// A value of several lines.
    Lines(Vec<String>),
    /// Made when it is asked for; never part of a whole directory.
    AccessToken,
    IdentityToken,
}

/// A thing in a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    name: Cow<'static, str>,
    /// Its name in JSON.
    json: Cow<'static, str>,
    /// GKE answers to `instance/name` and does not list it.
    listed: bool,
    node: Node,
}

fn entry(name: &'static str, json: &'static str, node: Node) -> Entry {
    Entry { name: Cow::Borrowed(name), json: Cow::Borrowed(json), listed: true, node }
}

fn directory(name: &'static str, json: &'static str, entries: Vec<Entry>) -> Entry {
    entry(name, json, Node::Directory(entries))
}

fn text(name: &'static str, json: &'static str, value: impl Into<String>) -> Entry {
    entry(name, json, Node::Text(value.into()))
}

/// Everything that a caller sees. `email` is that of its service account, if it has one.
pub(crate) fn tree(instance: &Instance, email: Option<&str>) -> Node {
    let project = vec![
        entry(
            "numeric-project-id",
            "numericProjectId",
            Node::Number(instance.project_number.clone()),
        ),
        text("project-id", "projectId", &instance.project_id),
    ];
    let universe = vec![text("universe-domain", "universeDomain", "googleapis.com")];
    let v1 = vec![
        directory("instance", "instance", instance_entries(instance, email)),
        directory("project", "project", project),
        directory("universe", "universe", universe),
    ];
    Node::Directory(vec![directory(
        "computeMetadata",
        "computeMetadata",
        vec![directory("v1", "v1", v1)],
    )])
}

fn instance_entries(instance: &Instance, email: Option<&str>) -> Vec<Entry> {
    let Instance { project_id, project_number, zone, name, .. } = instance;
    let attributes = vec![
        text("cluster-location", "cluster-location", &instance.cluster_location),
        text("cluster-name", "cluster-name", &instance.cluster_name),
        text("cluster-uid", "cluster-uid", &instance.cluster_uid),
    ];
    let accounts = match email {
        None => Vec::new(),
        Some(email) => vec![
            directory("default", "default", account_entries(email)),
            Entry {
                name: Cow::Owned(email.to_owned()),
                json: Cow::Owned(email.to_owned()),
                listed: true,
                node: Node::Directory(account_entries(email)),
            },
        ],
    };
    vec![
        directory("attributes", "attributes", attributes),
        text("hostname", "hostname", format!("{name}.{zone}.c.{project_id}.internal")),
        entry("id", "id", Node::Number(instance.id().to_string())),
        Entry { listed: false, ..text("name", "name", name) },
        directory("service-accounts", "serviceAccounts", accounts),
        text("zone", "zone", format!("projects/{project_number}/zones/{zone}")),
    ]
}

fn account_entries(email: &str) -> Vec<Entry> {
    vec![
        entry("aliases", "aliases", Node::Lines(vec!["default".to_owned()])),
        text("email", "email", email),
        entry("identity", "identity", Node::IdentityToken),
        entry("scopes", "scopes", Node::Lines(DEFAULT_SCOPES.map(str::to_owned).to_vec())),
        entry("token", "token", Node::AccessToken),
    ]
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Node(&'a Node),
    /// A directory whose path lacks its slash.
    NeedsSlash,
    Nothing,
}

/// Follows a path, still percent-encoded, from the root.
pub(crate) fn find<'a>(root: &'a Node, path: &str) -> Found<'a> {
    let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
    let (path, slash) = match path.strip_suffix('/') {
        Some(path) => (path, true),
        None => (path, path.is_empty()),
    };
    let mut node = root;
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        let Ok(name) = percent_encoding::percent_decode_str(segment).decode_utf8() else {
            return Found::Nothing;
        };
        let Node::Directory(entries) = node else { return Found::Nothing };
        let Some(next) = entries.iter().find(|it| it.name == name) else { return Found::Nothing };
        node = &next.node;
    }
    match (node, slash) {
        (Node::Directory(_), true) => Found::Node(node),
        (Node::Directory(_), false) => Found::NeedsSlash,
        // A value is no directory.
        (_, true) => Found::Nothing,
        (_, false) => Found::Node(node),
    }
}

/// A part of the tree in words, and whether they are JSON.
pub(crate) fn written(node: &Node, recursive: bool, form: Option<Form>) -> (String, Form) {
    let whole = recursive && matches!(node, Node::Directory(_));
    let form = form.unwrap_or(if whole { Form::Json } else { Form::Text });
    let words = match (node, form) {
        (Node::Directory(entries), Form::Text) if whole => lines_below(entries, ""),
        (Node::Directory(entries), Form::Json) if !whole => {
            Value::from(listing(entries).collect::<Vec<_>>()).to_string()
        }
        (Node::Directory(entries), Form::Text) => {
            listing(entries).map(|it| it + "\n").collect::<String>()
        }
        (node, Form::Json) => json(node).unwrap_or(Value::Null).to_string(),
        (Node::Text(it) | Node::Number(it), Form::Text) => it.clone(),
        (Node::Lines(lines), Form::Text) => lines.iter().map(|it| format!("{it}\n")).collect(),
        (Node::AccessToken | Node::IdentityToken, Form::Text) => String::new(),
    };
    (words, form)
}

fn listing(entries: &[Entry]) -> impl Iterator<Item = String> {
    entries.iter().filter(|it| it.listed).map(|it| match it.node {
        Node::Directory(_) => format!("{}/", it.name),
        _ => it.name.to_string(),
    })
}

fn lines_below(entries: &[Entry], above: &str) -> String {
    let mut lines = String::new();
    for Entry { name, node, .. } in entries.iter().filter(|it| it.listed) {
        match node {
            Node::Directory(entries) => {
                lines += &lines_below(entries, &format!("{above}{name}/"));
            }
            Node::Text(it) | Node::Number(it) => lines += &format!("{above}{name} {it}\n"),
            Node::Lines(it) => {
                for line in it {
                    lines += &format!("{above}{name} {line}\n");
                }
            }
            Node::AccessToken | Node::IdentityToken => {}
        }
    }
    lines
}

fn json(node: &Node) -> Option<Value> {
    Some(match node {
        Node::Directory(entries) => {
            let listed = entries.iter().filter(|it| it.listed);
            let pairs = listed.filter_map(|it| Some((it.json.to_string(), json(&it.node)?)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Node::Text(it) => Value::from(it.as_str()),
        // A number of a project fits; if somebody's does not, it stays as it is written.
        Node::Number(it) => {
            it.parse::<u64>().map_or_else(|_| Value::from(it.as_str()), Value::from)
        }
        Node::Lines(it) => Value::from(it.as_slice()),
        Node::AccessToken | Node::IdentityToken => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EMAIL: &str = "mlflow@demo.iam.gserviceaccount.com";

    pub(crate) fn instance() -> Instance {
        Instance {
            project_id: "demo".into(),
            project_number: "123456789012".into(),
            cluster_name: "cluster".into(),
            cluster_location: "europe-north1".into(),
            cluster_uid: "f00".into(),
            zone: "europe-north1-a".into(),
            name: "node-1".into(),
        }
    }

    fn at(path: &str, recursive: bool, form: Option<Form>) -> Option<String> {
        let tree = tree(&instance(), Some(EMAIL));
        match find(&tree, &format!("/computeMetadata/v1/{path}")) {
            Found::Node(node) => Some(written(node, recursive, form).0),
            Found::NeedsSlash => Some("301".to_owned()),
            Found::Nothing => None,
        }
    }

    #[test]
    fn each_path_has_its_words() {
        let account = format!("instance/service-accounts/{EMAIL}");
        for (path, expected) in [
            ("", Some("instance/\nproject/\nuniverse/\n")),
            ("project", Some("301")),
            ("project/", Some("numeric-project-id\nproject-id\n")),
            ("project/project-id", Some("demo")),
            ("project/project-id/", None),
            ("project/numeric-project-id", Some("123456789012")),
            ("universe/universe-domain", Some("googleapis.com")),
            ("instance/", Some("attributes/\nhostname\nid\nservice-accounts/\nzone\n")),
            ("instance/hostname", Some("node-1.europe-north1-a.c.demo.internal")),
            ("instance/name", Some("node-1")),
            ("instance/zone", Some("projects/123456789012/zones/europe-north1-a")),
            ("instance/attributes/", Some("cluster-location\ncluster-name\ncluster-uid\n")),
            ("instance/attributes/cluster-name", Some("cluster")),
            ("instance/attributes/cluster-location", Some("europe-north1")),
            ("instance/attributes/cluster-uid", Some("f00")),
            ("instance/attributes/kube-env", None),
            ("instance/disks/", None),
            ("instance/service-accounts", Some("301")),
            ("instance/service-accounts/", Some(&*format!("default/\n{EMAIL}/\n"))),
            ("instance/service-accounts/default", Some("301")),
            ("instance/service-accounts/default/", Some(ACCOUNT)),
            ("instance/service-accounts/default/email", Some(EMAIL)),
            ("instance/service-accounts/default/aliases", Some("default\n")),
            (&format!("{account}/"), Some(ACCOUNT)),
            (&format!("{account}/email"), Some(EMAIL)),
            (&format!("{}/email", account.replace('@', "%40")), Some(EMAIL)),
            ("instance/service-accounts/other@demo.iam.gserviceaccount.com/email", None),
            ("instance/service-accounts/default%2Femail", None),
            ("instance/service-accounts/../zone", None),
            ("instance//zone", None),
            ("%ff", None),
        ] {
            assert_eq!(at(path, false, None).as_deref(), expected, "{path}");
        }
    }

    const ACCOUNT: &str = "aliases\nemail\nidentity\nscopes\ntoken\n";

    #[test]
    fn a_whole_directory_is_json_without_tokens() {
        let account = at("instance/service-accounts/default/", true, None).unwrap();
        let account: Value = serde_json::from_str(&account).unwrap();
        assert_eq!(
            account,
            json!({"aliases": ["default"], "email": EMAIL, "scopes": DEFAULT_SCOPES})
        );
        let all: Value = serde_json::from_str(&at("", true, None).unwrap()).unwrap();
        assert_eq!(
            all["project"],
            json!({"numericProjectId": 123456789012_u64, "projectId": "demo"})
        );
        assert_eq!(all["instance"]["serviceAccounts"][EMAIL], account);
        assert_eq!(all["instance"]["attributes"]["cluster-name"], "cluster");
        assert!(all["instance"]["id"].as_u64().is_some_and(|it| it > 999_999_999_999_999_999));
    }

    #[test]
    fn a_form_can_be_asked_for() {
        assert_eq!(at("project/project-id", false, Some(Form::Json)).unwrap(), "\"demo\"");
        assert_eq!(
            at("project/numeric-project-id", false, Some(Form::Json)).unwrap(),
            "123456789012"
        );
        assert_eq!(
            at("project/", true, Some(Form::Text)).unwrap(),
            "numeric-project-id 123456789012\nproject-id demo\n"
        );
        assert_eq!(
            at("project/", false, Some(Form::Json)).unwrap(),
            r#"["numeric-project-id","project-id"]"#
        );
        assert_eq!(
            at("instance/service-accounts/default/", true, Some(Form::Text)).unwrap(),
            format!(
                "aliases default\nemail {EMAIL}\nscopes {}\nscopes {}\n",
                DEFAULT_SCOPES[0], DEFAULT_SCOPES[1]
            )
        );
    }

    #[test]
    fn a_caller_without_identity_has_no_service_account() {
        let tree = tree(&instance(), None);
        let accounts = "/computeMetadata/v1/instance/service-accounts/";
        let Found::Node(node) = find(&tree, accounts) else { panic!("no directory") };
        assert_eq!(written(node, false, None).0, "");
        assert!(matches!(find(&tree, &format!("{accounts}default/token")), Found::Nothing));
    }

    #[test]
    fn the_root_says_where_to_look() {
        let tree = tree(&instance(), None);
        let Found::Node(node) = find(&tree, "/") else { panic!("no root") };
        assert_eq!(written(node, false, None), ("computeMetadata/\n".to_owned(), Form::Text));
        assert!(matches!(find(&tree, "/computeMetadata"), Found::NeedsSlash));
        assert!(matches!(find(&tree, "/computeMetadata/v1"), Found::NeedsSlash));
        assert!(matches!(find(&tree, "computeMetadata/"), Found::Nothing));
        assert!(matches!(find(&tree, ""), Found::Nothing));
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_followed_without_panic(path in ".*", recursive: bool) {
            let tree = tree(&instance(), Some(EMAIL));
            if let Found::Node(node) = find(&tree, &path) {
                written(node, recursive, None);
                written(node, recursive, Some(Form::Text));
                written(node, recursive, Some(Form::Json));
            }
        }
    }
}
