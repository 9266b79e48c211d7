//! Digests that a client tells of its bytes: they are compared while the bytes stream by, and the
//! last ones are kept back until they fit, so that nothing is written or replaced when they don't.
//!
//! Google compares `x-goog-hash` and `Content-MD5` of an upload, and refuses with 400 (its page on
//! data validation). Its own client for Python sends the first one with the last piece of a
//! resumable upload.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{HeaderMap, body::Frame, header::HeaderName};
use md5::{Digest as _, Md5};
use serde_json::Value;

use super::failure::Failure;
use crate::body::{self, Body, BodyError};

/// What a client says of its bytes, in base64; nothing, when it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declared {
    md5: Option<String>,
    crc32c: Option<String>,
}

impl Declared {
    /// What the headers of an upload say.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let all = |name: &'static str| {
            let values = headers.get_all(HeaderName::from_static(name)).into_iter();
            values.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','))
        };
        let hash = |kind: &str| {
            let mut hashes = all("x-goog-hash").filter_map(|it| it.trim().split_once('='));
            hashes.find(|(name, _)| *name == kind).map(|(_, it)| it.to_owned())
        };
        let content_md5 = all("content-md5").next().map(|it| it.trim().to_owned());
        Self { md5: hash("md5").or(content_md5), crc32c: hash("crc32c") }
    }

    /// The same without its MD5.
    pub(super) fn without_md5(&self) -> Self {
        Self { md5: None, crc32c: self.crc32c.clone() }
    }

    /// Refuses what the store has taken already, if it isn't what was declared.
    pub(super) fn check_stored(&self, resource: &Value) -> Result<(), Failure> {
        let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        self.check(|| text("md5Hash"), || text("crc32c"))
    }

    fn check(
        &self,
        md5: impl FnOnce() -> String,
        crc32c: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if let Some(told) = &self.md5 {
            compare(&MD5, told, &md5())?;
        }
        if let Some(told) = &self.crc32c {
            compare(&CRC32C, told, &crc32c())?;
        }
        Ok(())
    }
}

/// How the refusal of one of the two is worded. The JSON API's words were seen in public logs
/// (python-storage issue 1541), the XML API's are in its table of error codes.
struct Words {
    name: &'static str,
    xml: (&'static str, &'static str),
}

const MD5: Words = Words {
    name: "MD5 hash",
    xml: ("BadDigest", "The Content-MD5 you specified did not match what we received."),
};
const CRC32C: Words = Words {
    name: "CRC32C",
    xml: ("CrcMismatch", "The CRC32C you specified did not match what we received."),
};

fn compare(words: &Words, told: &str, found: &str) -> Result<(), Failure> {
    if told == found {
        return Ok(());
    }
    let name = words.name;
    let message =
        format!("Provided {name} \"{told}\" doesn't match calculated {name} \"{found}\".");
    Err(Failure::new(400, "invalid", words.xml, message))
}

/// The store's refusal of digests in an object's resource, in Google's words.
pub(super) fn refused_by_the_store(message: &str) -> Option<Failure> {
    let rest = message.strip_prefix("provided ")?;
    let words = [&MD5, &CRC32C].into_iter().find(|it| rest.starts_with(it.name))?;
    Some(Failure::new(400, "invalid", words.xml, format!("Provided {rest}.")))
}

/// What has been seen of a body; whoever holds it may ask when the body has ended.
#[derive(Debug, Default)]
pub(super) struct Seen {
    crc32c: AtomicU32,
    mismatch: OnceLock<Failure>,
}

impl Seen {
    /// CRC32C of everything up to the end of this body.
    pub(super) fn crc32c(&self) -> u32 {
        self.crc32c.load(Ordering::Acquire)
    }

    /// Refuses a body that broke off here because it wasn't what was declared.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.mismatch.get().map_or(Ok(()), |it| Err(it.clone()))
    }
}

/// The same body, which breaks off before its last bytes when they aren't as declared. `before` is
/// the CRC32C of what came in earlier bodies.
pub(super) fn compared(body: Body, declared: Declared, before: u32) -> (Body, Arc<Seen>) {
    let seen = Arc::new(Seen { crc32c: AtomicU32::new(before), mismatch: OnceLock::new() });
    let md5 = declared.md5.is_some().then(Md5::new);
    let rest = Some(body);
    let watched =
        Compared { rest, declared, md5, crc32c: before, seen: Arc::clone(&seen), held: None };
    (body::forward(watched), seen)
}

struct Compared {
    /// What is still to come; nothing after its end.
    rest: Option<Body>,
    declared: Declared,
    md5: Option<Md5>,
    crc32c: u32,
    seen: Arc<Seen>,
    /// The bytes that came last.
    held: Option<Bytes>,
}

impl Compared {
    /// Takes the next bytes, and gives those before them.
    fn push(&mut self, bytes: Bytes) -> Option<Bytes> {
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(&bytes);
        }
        self.held.replace(bytes)
    }

    /// The last bytes, if all of them are as declared.
    fn end(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.seen.crc32c.store(self.crc32c, Ordering::Release);
        let md5 = self.md5.take().map(|it| STANDARD.encode(it.finalize())).unwrap_or_default();
        let crc32c = STANDARD.encode(self.crc32c.to_be_bytes());
        match self.declared.check(|| md5, || crc32c) {
            Ok(()) => Ok(self.held.take()),
            Err(failure) => {
                let why = failure.message.clone();
                drop(self.seen.mismatch.set(failure));
                Err(why.into())
            }
        }
    }
}

impl hyper::body::Body for Compared {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while let Some(rest) = &mut this.rest {
            match ready!(Pin::new(rest).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing to the store.
                    let bytes = frame.into_data().ok().filter(|it| !it.is_empty());
                    if let Some(before) = bytes.and_then(|it| this.push(it)) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.rest = None;
                    return Poll::Ready(this.end().transpose().map(|it| it.map(Frame::data)));
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt as _;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Of `test`.
    const TEST_MD5: &str = "CY9rzUYh03PK3k6DJie09g==";
    const TEST_CRC32C: &str = "hqBywA==";

    fn declared(headers: &[(&'static str, &str)]) -> Declared {
        let values = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let mut map = HeaderMap::new();
        values.for_each(|(name, value)| {
            map.append(name, value);
        });
        Declared::read(&map)
    }

    /// What comes out of a body of these pieces, and what was seen of it.
    fn pass(pieces: &[&[u8]], declared: Declared, before: u32) -> (Vec<u8>, bool, Arc<Seen>) {
        let pieces: Vec<_> =
            pieces.iter().map(|it| Ok::<_, BodyError>(Bytes::copy_from_slice(it))).collect();
        let (mut body, seen) = compared(body::stream(stream::iter(pieces)), declared, before);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut out = Vec::new();
        let ended_well = loop {
            match runtime.block_on(body.frame()) {
                Some(Ok(frame)) => out.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        (out, ended_well, seen)
    }

    #[test]
    fn digests_are_read_from_every_header_that_may_have_them() {
        let both = Declared { md5: Some("b".to_owned()), crc32c: Some("a".to_owned()) };
        assert_eq!(declared(&[("x-goog-hash", "crc32c=a, md5=b")]), both);
        assert_eq!(declared(&[("x-goog-hash", "md5=b"), ("x-goog-hash", "crc32c=a")]), both);
        assert_eq!(declared(&[("x-goog-hash", "crc32c=a"), ("content-md5", "b")]), both);
        assert_eq!(declared(&[("x-goog-hash", "sha256=c")]), Declared::default());
    }

    #[test]
    fn bytes_that_are_as_declared_pass() {
        let hash = format!("crc32c={TEST_CRC32C},md5={TEST_MD5}");
        let declared = declared(&[("x-goog-hash", &hash)]);
        for pieces in [&[&b"test"[..]][..], &[b"te", b"", b"st"], &[b"t", b"e", b"s", b"t"]] {
            let (out, ended_well, seen) = pass(pieces, declared.clone(), 0);
            assert_eq!((out.as_slice(), ended_well), (&b"test"[..], true));
            assert_eq!(seen.crc32c(), crc32c::crc32c(b"test"));
            assert!(seen.check().is_ok());
        }
    }

    #[test]
    fn the_last_bytes_of_others_are_kept_back() {
        for (header, code, message) in [
            (
                ("content-md5", TEST_MD5.to_owned()),
                "BadDigest",
                format!(
                    "Provided MD5 hash \"{TEST_MD5}\" doesn't match calculated MD5 hash \
                     \"e2Xc8CAnnv6AQLsgg16pOA==\"."
                ),
            ),
            (
                ("x-goog-hash", format!("crc32c={TEST_CRC32C}")),
                "CrcMismatch",
                format!(
                    "Provided CRC32C \"{TEST_CRC32C}\" doesn't match calculated CRC32C \
                     \"eVm5Ug==\"."
                ),
            ),
        ] {
            let declared = declared(&[(header.0, &header.1)]);
            let (out, ended_well, seen) = pass(&[b"te", b"nt"], declared, 0);
            assert_eq!((out.as_slice(), ended_well), (&b"te"[..], false));
            let failure = seen.check().unwrap_err();
            assert_eq!((failure.status, failure.xml.0), (400, code));
            assert_eq!(failure.message, message);
        }
    }

    #[test]
    fn an_empty_body_is_compared_too() {
        let (out, ended_well, _) = pass(&[], declared(&[("content-md5", TEST_MD5)]), 0);
        assert_eq!((out.len(), ended_well), (0, false));
        let (_, ended_well, _) = pass(&[], declared(&[("x-goog-hash", "crc32c=AAAAAA==")]), 0);
        assert!(ended_well);
    }

    #[test]
    fn what_the_store_refuses_has_googles_words() {
        let told = "provided CRC32C \"a\" doesn't match calculated CRC32C \"b\"";
        let failure = refused_by_the_store(told).unwrap();
        assert_eq!(
            (failure.message.as_str(), failure.xml.0),
            ("Provided CRC32C \"a\" doesn't match calculated CRC32C \"b\".", "CrcMismatch")
        );
        assert_eq!(refused_by_the_store("provided nothing"), None);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_in_any_number_of_bodies_count_as_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..200,
        ) {
            let (first, rest) = bytes.split_at(cut.min(bytes.len()));
            let (_, _, seen) = pass(&[first], Declared::default(), 0);
            let hash = format!("crc32c={}", STANDARD.encode(crc32c::crc32c(&bytes).to_be_bytes()));
            let declared = declared(&[("x-goog-hash", &hash)]);
            let (out, ended_well, _) = pass(&[rest], declared, seen.crc32c());
            prop_assert!(ended_well);
            prop_assert_eq!(out, rest);
        }
    }
}
