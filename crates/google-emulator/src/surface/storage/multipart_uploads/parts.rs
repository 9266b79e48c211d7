//! The parts of a multipart upload: what their client says they are, what the store holds, and how
//! both are told in XML. Pure.
//!
//! Facts are from the documentation of the XML API's multipart uploads and of its error codes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use roxmltree::{Document, Node};
use serde_json::Value;

use super::super::{
    call::PARTS_MAX,
    failure::{Failure, xml_escape},
    signed_url::to_hex,
};

/// The least length of a part that isn't the last one, in bytes.
const PART_MIN: u64 = 5 << 20;
/// The greatest length of a part, in bytes.
pub(super) const PART_MAX: u64 = 5 << 30;
/// The namespace of the documents, which S3's clients read as well.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A part that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its place in the object.
    pub number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// MD5 in base64.
    pub md5: String,
    /// CRC32C in base64.
    pub crc32c: String,
    /// When it came, in RFC 3339.
    pub updated: String,
}

impl Part {
    /// A part as the store tells it, if its name ends with a number as one of ours does.
    pub(super) fn read(resource: &Value) -> Option<Self> {
        let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        let (_, number) = resource["name"].as_str()?.rsplit_once('/')?;
        Some(Self {
            number: number.parse().ok()?,
            size: text("size").parse().ok()?,
            md5: text("md5Hash"),
            crc32c: text("crc32c"),
            updated: text("updated"),
        })
    }

    /// The tag that its client has to give back: MD5 in hexadecimal digits, without quotes.
    pub(super) fn etag(&self) -> String {
        to_hex(&STANDARD.decode(&self.md5).unwrap_or_default())
    }

    /// Both digests as `x-goog-hash` has them.
    pub(super) fn hash(&self) -> String {
        format!("crc32c={},md5={}", self.crc32c, self.md5)
    }
}

/// A part that the object is to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    number: u16,
    etag: String,
}

/// Reads `<CompleteMultipartUpload>`.
///
/// # Errors
/// 400 of a document that isn't one, or that has no parts.
pub(super) fn read_completion(text: &[u8]) -> Result<Vec<Wanted>, Failure> {
    let text = std::str::from_utf8(text).map_err(malformed)?;
    let document = Document::parse(text).map_err(malformed)?;
    let root = document.root_element();
    if root.tag_name().name() != "CompleteMultipartUpload" {
        return Err(malformed("the root is another element"));
    }
    let parts = root.children().filter(|it| it.tag_name().name() == "Part");
    let wanted: Vec<Wanted> = parts.map(wanted).collect::<Result<_, _>>()?;
    if wanted.is_empty() || wanted.len() > usize::from(PARTS_MAX) {
        return Err(malformed(format!("{} parts", wanted.len())));
    }
    Ok(wanted)
}

fn wanted(part: Node<'_, '_>) -> Result<Wanted, Failure> {
    let text = |name: &str| {
        let child = part.children().find(|it| it.tag_name().name() == name);
        child.and_then(|it| it.text()).map(str::trim)
    };
    let number = text("PartNumber").and_then(|it| it.parse().ok());
    let number = number.ok_or_else(|| malformed("a part without a number"))?;
    let etag = text("ETag").ok_or_else(|| malformed("a part without an ETag"))?;
    Ok(Wanted { number, etag: etag.trim_matches('"').to_owned() })
}

/// The parts that the object is made of, in their order.
///
/// # Errors
/// 400 of parts in another order, of one that isn't there as it was told, and of a small one that
/// isn't the last.
pub(super) fn assemble(wanted: &[Wanted], held: &[Part]) -> Result<Vec<Part>, Failure> {
    if !wanted.is_sorted_by(|one, next| one.number < next.number) {
        let text = "The list of parts was not in ascending order. Parts list must be specified in \
                    order by part number.";
        return Err(Failure::new(400, "invalid", ("InvalidPartOrder", text), text));
    }
    let parts: Vec<Part> = wanted.iter().map(|it| find(it, held)).collect::<Result<_, _>>()?;
    let small = parts.iter().rev().skip(1).find(|it| it.size < PART_MIN);
    let Some(small) = small else { return Ok(parts) };
    let text = "Your proposed upload is smaller than the minimum allowed object size.";
    let mut failure = Failure::new(400, "invalid", ("EntityTooSmall", text), text);
    failure.more = vec![(
        "Details",
        format!(
            "Part {} has {} bytes, and only the last one may have less than {PART_MIN}.",
            small.number, small.size
        ),
    )];
    Err(failure)
}

fn find(wanted: &Wanted, held: &[Part]) -> Result<Part, Failure> {
    let found = held.iter().find(|it| it.number == wanted.number && it.etag() == wanted.etag);
    found.cloned().ok_or_else(|| {
        let text = "One or more of the specified parts could not be found. The part may not have \
                    been uploaded, or the specified entity tag may not match the part's entity tag.";
        let mut failure = Failure::new(400, "invalid", ("InvalidPart", text), text);
        failure.more = vec![("Details", format!("Part {} with ETag {}", wanted.number, wanted.etag))];
        failure
    })
}

fn malformed(why: impl std::fmt::Display) -> Failure {
    let text = "The XML you provided was not well-formed or did not validate against our published \
                schema.";
    Failure::new(400, "invalid", ("MalformedXML", text), text).because(why)
}

/// An XML document of one element with elements in it.
#[derive(Debug)]
pub(super) struct Xml {
    text: String,
    root: &'static str,
}

impl Xml {
    /// An empty one.
    pub(super) fn new(root: &'static str) -> Self {
        let text = format!("<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='{NAMESPACE}'>");
        Self { text, root }
    }

    /// The same with one more element.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.text.push_str(&format!("<{name}>{}</{name}>", xml_escape(&value.to_string())));
        self
    }

    /// The same with one more element that has elements in it.
    #[must_use]
    pub(super) fn with_all(mut self, name: &str, elements: &[(&str, String)]) -> Self {
        self.text.push_str(&format!("<{name}>"));
        self = elements.iter().fold(self, |xml, (name, value)| xml.with(name, value));
        self.text.push_str(&format!("</{name}>"));
        self
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        format!("{}</{}>", self.text, self.root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "CY9rzUYh03PK3k6DJie09g==";
    const ETAG: &str = "098f6bcd4621d373cade4e832627b4f6";

    fn part(number: u16, size: u64) -> Part {
        let (md5, crc32c) = (MD5.to_owned(), "hqBywA==".to_owned());
        Part { number, size, md5, crc32c, updated: "t".to_owned() }
    }

    fn completion(parts: &[(u16, &str)]) -> Result<Vec<Wanted>, Failure> {
        let part = |(number, etag): &(u16, &str)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = parts.iter().map(part).collect();
        read_completion(
            format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").as_bytes(),
        )
    }

    #[test]
    fn a_part_is_read_from_the_stores_resource() {
        let resource = serde_json::json!({
            "name": "id/00007", "size": "5", "md5Hash": MD5, "crc32c": "hqBywA==", "updated": "t"});
        assert_eq!(Part::read(&resource), Some(part(7, 5)));
        assert_eq!(part(7, 5).etag(), ETAG);
        assert_eq!(Part::read(&serde_json::json!({"name": "id/x", "size": "5"})), None);
    }

    #[test]
    fn parts_are_taken_in_their_order_and_the_last_may_be_small() {
        let quoted = format!("\"{ETAG}\"");
        let wanted = completion(&[(2, &quoted), (9, ETAG)]).unwrap();
        let held = [part(1, 1), part(2, PART_MIN), part(9, 1)];
        assert_eq!(assemble(&wanted, &held).unwrap(), [part(2, PART_MIN), part(9, 1)]);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_googles_words() {
        let held = [part(1, PART_MIN - 1), part(2, PART_MIN), part(3, 1)];
        for (asked, code) in [
            (&[(3, ETAG), (2, ETAG)][..], "InvalidPartOrder"),
            (&[(2, ETAG), (2, ETAG)], "InvalidPartOrder"),
            (&[(2, ETAG), (4, ETAG)], "InvalidPart"),
            (&[(2, "0"), (3, ETAG)], "InvalidPart"),
            (&[(1, ETAG), (2, ETAG)], "EntityTooSmall"),
        ] {
            let failure = assemble(&completion(asked).unwrap(), &held).unwrap_err();
            assert_eq!((failure.status, failure.xml.0), (400, code), "{asked:?}");
        }
    }

    #[test]
    fn a_body_that_is_no_list_of_parts_is_malformed() {
        for text in [
            "",
            "x",
            "<a/>",
            "<CompleteMultipartUpload/>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><CompleteMultipartUpload>&b;</CompleteMultipartUpload>",
        ] {
            assert_eq!(
                read_completion(text.as_bytes()).unwrap_err().xml.0,
                "MalformedXML",
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_completion(&text);
        }

        #[test]
        fn an_object_is_made_of_what_was_asked_in_that_order(
            numbers in proptest::collection::btree_set(1_u16..=PARTS_MAX, 1..20)
        ) {
            let asked: Vec<(u16, &str)> = numbers.iter().map(|it| (*it, ETAG)).collect();
            let held: Vec<Part> = numbers.iter().rev().map(|it| part(*it, PART_MIN)).collect();
            let parts = assemble(&completion(&asked).unwrap(), &held).unwrap();
            prop_assert!(parts.iter().map(|it| it.number).eq(numbers));
        }
    }
}
