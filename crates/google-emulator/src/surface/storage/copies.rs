//! Objects out of other objects: rewrite, copy and compose.

use hyper::{Method, Response};
use serde_json::{Map, Value, json};

use super::{
    asked::Asked,
    failure::Failure,
    names::{check_keepable, check_object},
    needs::{CREATE, DELETE, GET},
    objects::{CONDITIONS, pass},
    text::{Query, percent_encode},
    upstream::Outgoing,
};
use crate::body::Body;

/// The most sources of one composition at Google.
const SOURCES_MAX: usize = 32;

impl Asked {
    pub(super) async fn copy(
        &mut self,
        to_bucket: &str,
        to_object: &str,
        verb: &str,
    ) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        self.bucket_for_objects(to_bucket)?;
        self.target_of_copy(to_bucket, to_object).await?;
        self.cloud.storage.ensure(self.cloud.upstreams.storage.as_ref(), to_bucket).await?;
        let generation = self.call.query.get("sourceGeneration").map(str::to_owned);
        if self.resource_of(&bucket, &object, generation.as_deref()).await?.is_none() {
            return Err(self.no_object(&bucket, &object));
        }
        self.check_source(&bucket, &object).await?;
        let metadata = Value::Object(self.json().await?);
        let path = format!(
            "/storage/v1/b/{}/o/{}/{verb}/b/{}/o/{}",
            percent_encode(&bucket),
            percent_encode(&object),
            percent_encode(to_bucket),
            percent_encode(to_object)
        );
        let mut query = Query::default();
        if let Some(generation) = &generation {
            query.set("sourceGeneration", generation);
        }
        pass(self.send(Outgoing::new(Method::POST, path).query(query).json(&metadata)).await?).await
    }

    pub(super) async fn compose(&mut self) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        let mut asked = self.json().await?;
        let sources = sources(&asked)?;
        self.target_of_copy(&bucket, &object).await?;
        for source in &sources {
            self.need(GET, &bucket, &source.name)?;
            let generation = source.generation.as_deref();
            let Some(found) = self.resource_of(&bucket, &source.name, generation).await? else {
                return Err(self.no_object(&bucket, &source.name));
            };
            let wanted = source.if_generation.as_deref();
            if wanted.is_some_and(|it| found["generation"].as_str() != Some(it)) {
                return Err(Failure::condition_not_met());
            }
        }
        let destination = asked.remove("destination").filter(Value::is_object);
        // Written anew: the store reads keys in any case, and the last of several.
        let names: Vec<Value> = sources.iter().map(|it| json!({ "name": it.name })).collect();
        let body = json!({
            "sourceObjects": names,
            "destination": destination.unwrap_or_else(|| json!({})),
        });
        let path = format!(
            "/storage/v1/b/{}/o/{}/compose",
            percent_encode(&bucket),
            percent_encode(&object)
        );
        pass(self.send(Outgoing::new(Method::POST, path).json(&body)).await?).await
    }

    /// What a copy's target needs: to be created, and to be overwritten if it is there.
    async fn target_of_copy(&self, bucket: &str, object: &str) -> Result<(), Failure> {
        self.need(CREATE, bucket, object)?;
        check_keepable(object)?;
        if self.call.query.get("destinationPredefinedAcl").is_some_and(|it| !it.is_empty()) {
            return Err(Failure::uniform_access("insert", "an object"));
        }
        if !self.may(DELETE, bucket, object)
            && self.resource_of(bucket, object, None).await?.is_some()
        {
            self.need(DELETE, bucket, object)?;
        }
        self.check_conditions(bucket, object, &CONDITIONS).await
    }

    async fn check_source(&self, bucket: &str, object: &str) -> Result<(), Failure> {
        let Some(wanted) = self.call.query.get("ifSourceGenerationMatch") else { return Ok(()) };
        let found = self.resource_of(bucket, object, None).await?.unwrap_or_default();
        if found["generation"].as_str() == Some(wanted) {
            return Ok(());
        }
        Err(Failure::condition_not_met())
    }
}

struct Source {
    name: String,
    generation: Option<String>,
    if_generation: Option<String>,
}

fn sources(asked: &Map<String, Value>) -> Result<Vec<Source>, Failure> {
    let listed = asked.get("sourceObjects").and_then(Value::as_array);
    let listed = listed.filter(|it| !it.is_empty());
    let listed = listed
        .ok_or_else(|| Failure::invalid("You must provide at least one source component."))?;
    if listed.len() > SOURCES_MAX {
        return Err(Failure::invalid(format!(
            "The number of source components provided ({} > {SOURCES_MAX})",
            listed.len()
        )));
    }
    let source = |value: &Value| {
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        check_object(&name)?;
        let generation = number(&value["generation"]);
        let if_generation = number(&value["objectPreconditions"]["ifGenerationMatch"]);
        Ok(Source { name, generation, if_generation })
    };
    listed.iter().map(source).collect()
}

/// Clients send 64-bit numbers as text, and some as numbers.
fn number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
