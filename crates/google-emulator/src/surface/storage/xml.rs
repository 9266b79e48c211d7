//! What the XML API answers otherwise than the JSON API: lists, and headers instead of resources.

use hyper::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
};
use serde_json::Value;

use super::{
    asked::Asked,
    failure::{Failure, xml_escape},
    text::{Query, percent_encode},
    upstream::{Outgoing, read},
};
use crate::body::{self, Body};

impl Asked {
    pub(super) async fn list_objects_in_xml(&mut self) -> Result<Response<Body>, Failure> {
        let asked = &self.call.query;
        let mut query = Query::default();
        for (theirs, ours) in [
            ("prefix", "prefix"),
            ("delimiter", "delimiter"),
            ("max-keys", "maxResults"),
            ("marker", "pageToken"),
            ("continuation-token", "pageToken"),
            ("start-after", "startOffset"),
        ] {
            if let Some(value) = asked.get(theirs).filter(|it| !it.is_empty()) {
                query.set(ours, value);
            }
        }
        let path = format!("/storage/v1/b/{}/o", percent_encode(&self.call.bucket));
        let answer = self.send(Outgoing::new(Method::GET, path).query(query)).await?;
        if !answer.status().is_success() {
            return Err(super::objects::refusal(answer).await);
        }
        let list = read(answer).await?;
        let text = document(&self.call.bucket, asked, &list);
        Ok(body::answer(StatusCode::OK, "application/xml; charset=UTF-8", text))
    }
}

fn document(bucket: &str, asked: &Query, list: &Value) -> String {
    let text = |value: &Value| xml_escape(value.as_str().unwrap_or_default());
    let next = list["nextPageToken"].as_str();
    let mut document = format!(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>\
         <Name>{}</Name><Prefix>{}</Prefix><Marker>{}</Marker><IsTruncated>{}</IsTruncated>",
        xml_escape(bucket),
        xml_escape(asked.get("prefix").unwrap_or_default()),
        xml_escape(asked.get("marker").unwrap_or_default()),
        next.is_some(),
    );
    if let Some(next) = next {
        document.push_str(&format!("<NextMarker>{}</NextMarker>", xml_escape(next)));
    }
    for item in list["items"].as_array().into_iter().flatten() {
        document.push_str(&format!(
            "<Contents><Key>{}</Key><Generation>{}</Generation><MetaGeneration>{}</MetaGeneration>\
             <LastModified>{}</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
            text(&item["name"]),
            text(&item["generation"]),
            text(&item["metageneration"]),
            text(&item["updated"]),
            text(&item["etag"]),
            text(&item["size"]),
        ));
    }
    for prefix in list["prefixes"].as_array().into_iter().flatten() {
        document.push_str(&format!(
            "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
            text(prefix)
        ));
    }
    document + "</ListBucketResult>"
}

/// The answer to an upload by the XML API, out of the store's answer in JSON.
pub(super) async fn stored(
    answer: Response<hyper::body::Incoming>,
) -> Result<Response<Body>, Failure> {
    Ok(stored_headers(&read(answer).await?))
}

/// An empty answer with what is known of the new object in its headers.
pub(super) fn stored_headers(resource: &Value) -> Response<Body> {
    let mut answer = Response::new(body::empty());
    let text = |key: &str| resource[key].as_str().unwrap_or_default();
    let hash = format!("crc32c={},md5={}", text("crc32c"), text("md5Hash"));
    let etag = format!("\"{}\"", text("etag"));
    for (name, value) in [
        (ETAG, etag.as_str()),
        (CONTENT_TYPE, "text/html; charset=UTF-8"),
        (HeaderName::from_static("x-goog-generation"), text("generation")),
        (HeaderName::from_static("x-goog-metageneration"), text("metageneration")),
        (HeaderName::from_static("x-goog-hash"), hash.as_str()),
        (HeaderName::from_static("x-goog-stored-content-length"), text("size")),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_xml_holds_names_and_prefixes() {
        let list = serde_json::json!({"nextPageToken": "n", "prefixes": ["a&/"], "items": [
            {"name": "<a>", "generation": "7", "metageneration": "1", "updated": "t", "etag": "e", "size": "3"}]});
        let text = document("box", &Query::parse("prefix=p").unwrap(), &list);
        assert!(text.contains("<Name>box</Name><Prefix>p</Prefix>"), "{text}");
        assert!(
            text.contains("<NextMarker>n</NextMarker><Contents><Key>&lt;a&gt;</Key>"),
            "{text}"
        );
        assert!(
            text.ends_with("<Prefix>a&amp;/</Prefix></CommonPrefixes></ListBucketResult>"),
            "{text}"
        );
    }
}
