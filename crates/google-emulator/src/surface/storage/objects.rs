//! Objects: read, list, change and delete.

use hyper::{Method, Response, StatusCode, header::HeaderName};
use serde_json::Value;

use super::{
    asked::Asked,
    call::Api,
    failure::Failure,
    names::unkeepable,
    text::Query,
    upstream::{Outgoing, read},
};
use crate::body::{self, Body};

/// Conditions on the object that a call is about, in the order that Google checks them.
pub(super) const CONDITIONS: [&str; 4] = [
    "ifGenerationMatch",
    "ifGenerationNotMatch",
    "ifMetagenerationMatch",
    "ifMetagenerationNotMatch",
];

impl Asked {
    pub(super) async fn list_objects(&mut self) -> Result<Response<Body>, Failure> {
        if self.call.api == Api::Xml {
            return self.list_objects_in_xml().await;
        }
        let path = format!("/storage/v1/b/{}/o", super::text::percent_encode(&self.call.bucket));
        let outgoing = Outgoing::new(Method::GET, path).query(self.call.query.clone());
        let answer = self.send(outgoing).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            // The bucket was there a moment ago, or upstream lost it.
            self.cloud.storage.forget(&self.call.bucket);
            return Err(Failure::backend_error("the bucket is gone upstream"));
        }
        pass(answer).await
    }

    pub(super) async fn get_object(&mut self) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        self.check_conditions(&bucket, &object, &CONDITIONS).await?;
        let outgoing = Outgoing::object(Method::GET, &bucket, &object);
        let answer = self.ask(outgoing.query(self.call.query.clone()), &bucket, &object).await?;
        pass(answer).await
    }

    pub(super) async fn download(&mut self) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        self.check_conditions(&bucket, &object, &CONDITIONS).await?;
        let mut query = self.call.query.clone();
        query.retain(|it| {
            matches!(it, "generation" | "response-content-type" | "response-content-disposition")
        });
        query.set("alt", "media");
        let outgoing = Outgoing::download(self.parts.method.clone(), &bucket, &object);
        let outgoing = outgoing.query(query).headers(&self.parts.headers);
        let answer = self.ask(outgoing, &bucket, &object).await?;
        pass(answer).await
    }

    pub(super) async fn change_object(&mut self) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        self.check_conditions(&bucket, &object, &CONDITIONS).await?;
        let body = Value::Object(self.json().await?);
        let outgoing = Outgoing::object(self.parts.method.clone(), &bucket, &object);
        let outgoing = outgoing.query(self.call.query.clone()).json(&body);
        let answer = self.ask(outgoing, &bucket, &object).await?;
        pass(answer).await
    }

    pub(super) async fn delete_object(&mut self) -> Result<Response<Body>, Failure> {
        let (bucket, object) = (self.call.bucket.clone(), self.call.object.clone());
        self.check_conditions(&bucket, &object, &CONDITIONS).await?;
        let mut query = self.call.query.clone();
        query.retain(|it| it == "generation");
        let outgoing = Outgoing::object(Method::DELETE, &bucket, &object).query(query);
        let answer = self.ask(outgoing, &bucket, &object).await?;
        if !answer.status().is_success() {
            return pass(answer).await;
        }
        Ok(no_content())
    }

    /// Sends a call about an object that must be there.
    async fn ask(
        &self,
        outgoing: Outgoing,
        bucket: &str,
        object: &str,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        // The store can't have kept an object of such a name.
        if unkeepable(object).is_some() {
            return Err(self.no_object(bucket, object));
        }
        let answer = self.send(outgoing).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(self.no_object(bucket, object));
        }
        Ok(answer)
    }

    /// The resource of an object, if it is there.
    pub(super) async fn resource_of(
        &self,
        bucket: &str,
        object: &str,
        generation: Option<&str>,
    ) -> Result<Option<Value>, Failure> {
        if unkeepable(object).is_some() {
            return Ok(None);
        }
        let mut query = Query::default();
        if let Some(generation) = generation {
            query.set("generation", generation);
        }
        let outgoing = Outgoing::object(Method::GET, bucket, object).query(query);
        let answer = self.send(outgoing).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            it if it.is_success() => read(answer).await.map(Some),
            it => Err(Failure::backend_error(format!("the store answered {it}"))),
        }
    }

    /// Checks conditions that the store doesn't know. They hold at this moment; another writer may
    /// come between.
    pub(super) async fn check_conditions(
        &self,
        bucket: &str,
        object: &str,
        names: &[&'static str],
    ) -> Result<(), Failure> {
        let mut asked: Vec<(&'static str, i64)> = Vec::new();
        for name in names.iter().copied() {
            if let Some(wanted) = self.condition(name)? {
                asked.push((name, wanted));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let generation = self.call.query.get("generation");
        let resource = self.resource_of(bucket, object, generation).await?;
        let number = |key: &str| {
            let value = resource.as_ref().and_then(|it| it[key].as_str());
            value.and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        for (name, wanted) in asked {
            let lower = name.to_ascii_lowercase();
            let key =
                if lower.contains("metageneration") { "metageneration" } else { "generation" };
            let equal = number(key) == wanted;
            let reads = matches!(self.parts.method, Method::GET | Method::HEAD);
            match (lower.ends_with("notmatch"), equal, reads) {
                (true, true, true) => return Err(not_modified()),
                (true, true, false) | (false, false, _) => return Err(Failure::condition_not_met()),
                _ => {}
            }
        }
        Ok(())
    }

    /// A condition of the query, or of the XML API's header of the same meaning.
    fn condition(&self, name: &str) -> Result<Option<i64>, Failure> {
        let header = xml_condition(name);
        let value = match self.call.api {
            Api::Xml => header.and_then(|it| self.header(it)),
            _ => self.call.query.get(name),
        };
        let Some(value) = value else { return Ok(None) };
        let number = value
            .parse()
            .map_err(|_| Failure::invalid(format!("Invalid long value: '{value}'.")))?;
        Ok(Some(number))
    }
}

/// The XML API's header for a condition.
pub(super) fn xml_condition(name: &str) -> Option<&'static str> {
    Some(match name {
        "ifGenerationMatch" => "x-goog-if-generation-match",
        "ifMetagenerationMatch" => "x-goog-if-metageneration-match",
        _ => return None,
    })
}

/// The store's answer as it comes, with its refusals in Google's words.
pub(super) async fn pass(
    answer: Response<hyper::body::Incoming>,
) -> Result<Response<Body>, Failure> {
    let status = answer.status();
    let own_form =
        status == StatusCode::RANGE_NOT_SATISFIABLE || status == StatusCode::NOT_MODIFIED;
    if (status.is_client_error() || status.is_server_error()) && !own_form {
        return Err(refusal(answer).await);
    }
    let (mut parts, body) = answer.into_parts();
    for name in ["access-control-allow-origin", "connection", "transfer-encoding", "keep-alive"] {
        parts.headers.remove(HeaderName::from_static(name));
    }
    Ok(Response::from_parts(parts, body::forward(body)))
}

/// What the store refused, in Google's words.
pub(super) async fn refusal(answer: Response<hyper::body::Incoming>) -> Failure {
    let status = answer.status().as_u16();
    let answer = match read(answer).await {
        Ok(answer) => answer,
        Err(failure) => return failure,
    };
    let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    match status {
        404 => Failure::not_found(),
        412 => Failure::condition_not_met(),
        // The store keeps objects as files in folders: a name can't be both.
        500 if ["not a directory", "is a directory", "file exists"]
            .iter()
            .any(|it| message.contains(it)) =>
        {
            let what = "place for an object whose name is another's folder, or the other way round";
            Failure::not_implemented(what).because(message)
        }
        400..500 => super::digests::refused_by_the_store(&message).unwrap_or_else(|| {
            Failure::new(status, "invalid", ("InvalidArgument", "Invalid argument."), message)
        }),
        _ => Failure::backend_error(format!("the store answered {status}: {message}")),
    }
}

/// 204.
pub(super) fn no_content() -> Response<Body> {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

fn not_modified() -> Failure {
    Failure::new(304, "notModified", ("NotModified", "Not Modified"), "Not Modified")
}
