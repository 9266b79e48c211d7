//! Which objects are meant, and the two questions to the API server about them.

use futures::Stream;
use kube::{
    Client,
    core::{
        Request, WatchEvent,
        params::{ListParams, WatchParams},
    },
};
use serde_json::Value;
use std::time::Duration;

/// How long the server keeps a silent watch open; then we ask for the next one.
pub(crate) const WATCH: Duration = Duration::from_secs(290);

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    path: String,
    labels: Option<String>,
    fields: Option<String>,
}

impl Selection {
    /// All objects of a collection, such as `/api/v1/namespaces/mlflow/pods`.
    pub fn new(path: impl Into<String>) -> Selection {
        Selection { path: path.into(), labels: None, fields: None }
    }

    /// Only those with these labels, such as `app=mlflow`.
    pub fn labels(self, selector: impl Into<String>) -> Selection {
        Selection { labels: Some(selector.into()), ..self }
    }

    /// Only those with these fields, such as `spec.nodeName=node-1`.
    pub fn fields(self, selector: impl Into<String>) -> Selection {
        Selection { fields: Some(selector.into()), ..self }
    }
}

/// All objects at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The objects; members of a list come without their `kind` and `apiVersion`.
    pub items: Vec<Value>,
    /// The version to watch from.
    pub version: String,
}

/// All objects that there are now.
///
/// # Errors
/// The server did not answer, or with no list.
pub async fn list(client: &Client, selection: &Selection) -> kube::Result<List> {
    let params = ListParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        ..ListParams::default()
    };
    let request = Request::new(&selection.path).list(&params).map_err(kube::Error::BuildRequest)?;
    let mut answer: Value = client.request(request).await?;
    let version = version_of(&answer).to_owned();
    let items = match answer.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    Ok(List { items, version })
}

/// Opens a watch. The server has accepted it when this returns, even if nothing happens for minutes.
pub(crate) async fn watch(
    client: &Client,
    selection: &Selection,
    version: &str,
) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<Value>>> + use<>> {
    let params = WatchParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        bookmarks: true,
        timeout: u32::try_from(WATCH.as_secs()).ok(),
        ..WatchParams::default()
    };
    let request = Request::new(&selection.path).watch(&params, version);
    client.request_events(request.map_err(kube::Error::BuildRequest)?).await
}

/// The version of an object or of a list; empty if it has none.
pub(crate) fn version_of(object: &Value) -> &str {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}
