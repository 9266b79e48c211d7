//! Multipart bodies: the content type in the first line, then the body.

use google_emulator::surface::storage::multipart::{FirstPart, NotMultipart};
use hyper::Request;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use crate::cloud;

pub(crate) fn check(data: &[u8]) {
    let at = data.iter().position(|it| *it == b'\n').unwrap_or(data.len());
    let Ok(kind) = std::str::from_utf8(&data[..at]) else { return };
    let body = data.get(at + 1..).unwrap_or_default();
    first_part(kind, body);
    batch(kind, body);
}

/// The first part of an upload, which says where the rest goes.
fn first_part(kind: &str, body: &[u8]) {
    let whole = read(kind, body, body.len().max(1));
    for size in [1, 7] {
        assert_eq!(read(kind, body, size), whole, "in pieces of {size}");
    }
    let Ok(Some(found)) = whole else { return };
    let part = FirstPart::new(kind).unwrap();
    let kind = part.content_type();
    HeaderValue::from_str(&kind).unwrap();
    assert_eq!(read(&kind, body, 64), Ok(Some(found.clone())), "as the store is told");
    let boundary = kind.strip_prefix("multipart/related; boundary=\"").unwrap();
    let delimiter = format!("--{}", boundary.strip_suffix('"').unwrap());
    // What the store reads as the first part ends at the same delimiter, or later.
    let lines = |bytes: &[u8]| {
        bytes.split(|it| *it == b'\n').any(|it| it.starts_with(delimiter.as_bytes()))
    };
    assert!(lines(body) && !lines(&found));
    assert!(found.is_empty() || body.windows(found.len()).any(|it| it == found));
}

fn read(kind: &str, body: &[u8], size: usize) -> Result<Option<Vec<u8>>, NotMultipart> {
    let mut part = FirstPart::new(kind)?;
    let mut taken = 0;
    for piece in body.chunks(size) {
        taken += piece.len();
        if part.push(piece)? {
            break;
        }
    }
    let found = part.body().map(<[u8]>::to_vec);
    // The store gets every byte that was taken.
    assert_eq!(part.into_seen(), body[..taken]);
    Ok(found)
}

/// Calls in one body: the answer has Google's form, and a part for each call.
fn batch(kind: &str, body: &[u8]) {
    let Ok(kind) = HeaderValue::from_str(kind) else { return };
    let cloud = cloud::cloud(&json!({ "keys": [] }));
    let request = Request::post("/batch/storage/v1")
        .header("host", "storage.googleapis.com")
        .header("content-type", kind);
    let (status, answer) = cloud::ask(&cloud, request, body.to_vec());
    if status == 200 {
        assert!(answer.ends_with(b"--batch_mlflow-gke-emulated-answer--\r\n"));
        return;
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(400)), "{answer}");
}
