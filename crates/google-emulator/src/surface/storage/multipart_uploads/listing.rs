//! Pages of the open uploads of a bucket, and of the parts of one of them. Pure.

use super::parts::{Part, Xml};
use crate::{clock, state::MultipartUpload};

/// The most entries of a page.
pub(super) const PAGE_MAX: usize = 1000;

/// Which parts are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartsAsked {
    /// Those behind this number.
    pub(super) after: usize,
    /// No more than this many.
    pub(super) most: usize,
}

/// A page of the parts that the store holds, which are in their order.
pub(super) fn parts(id: &str, upload: &MultipartUpload, held: &[Part], asked: PartsAsked) -> Xml {
    let mut parts = held.iter().filter(|it| usize::from(it.number) > asked.after);
    let page: Vec<&Part> = parts.by_ref().take(asked.most).collect();
    let next = page.last().filter(|_| parts.next().is_some());
    let mut xml = Xml::new("ListPartsResult")
        .with("Bucket", &upload.bucket)
        .with("Key", &upload.object)
        .with("UploadId", id)
        .with("StorageClass", "STANDARD")
        .with("PartNumberMarker", asked.after)
        .with("MaxParts", asked.most)
        .with("IsTruncated", next.is_some());
    if let Some(last) = next {
        xml = xml.with("NextPartNumberMarker", last.number);
    }
    page.iter().fold(xml, |xml, part| {
        let elements = [
            ("PartNumber", part.number.to_string()),
            ("LastModified", part.updated.clone()),
            ("ETag", format!("\"{}\"", part.etag())),
            ("Size", part.size.to_string()),
        ];
        xml.with_all("Part", &elements)
    })
}

/// Which uploads are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadsAsked<'a> {
    /// Those to this bucket.
    pub(super) bucket: &'a str,
    /// Those to objects whose names begin like this.
    pub(super) prefix: &'a str,
    /// Those to objects behind this one.
    pub(super) after_object: &'a str,
    /// With an id, also those to that very object behind this id.
    pub(super) after_id: &'a str,
    /// No more than this many.
    pub(super) most: usize,
}

impl UploadsAsked<'_> {
    fn asks_for(&self, id: &str, upload: &MultipartUpload) -> bool {
        let object = upload.object.as_str();
        let same = !self.after_id.is_empty() && object == self.after_object;
        upload.bucket == self.bucket
            && object.starts_with(self.prefix)
            && (object > self.after_object || (same && id > self.after_id))
    }
}

/// A page of open uploads, by their objects and then by their ids.
pub(super) fn uploads<'a>(
    open: impl Iterator<Item = (&'a str, &'a MultipartUpload)>,
    asked: UploadsAsked<'_>,
) -> Xml {
    let mut page: Vec<_> = open.filter(|(id, upload)| asked.asks_for(id, upload)).collect();
    page.sort_unstable_by_key(|(id, upload)| (upload.object.as_str(), *id));
    let is_truncated = page.len() > asked.most;
    page.truncate(asked.most);
    let mut xml = Xml::new("ListMultipartUploadsResult")
        .with("Bucket", asked.bucket)
        .with("KeyMarker", asked.after_object)
        .with("UploadIdMarker", asked.after_id)
        .with("Prefix", asked.prefix)
        .with("MaxUploads", asked.most)
        .with("IsTruncated", is_truncated);
    if let Some((id, upload)) = page.last().filter(|_| is_truncated) {
        xml = xml.with("NextKeyMarker", &upload.object).with("NextUploadIdMarker", id);
    }
    page.iter().fold(xml, |xml, (id, upload)| {
        let elements = [
            ("Key", upload.object.clone()),
            ("UploadId", (*id).to_owned()),
            ("StorageClass", "STANDARD".to_owned()),
            ("Initiated", clock::rfc3339_millis(clock::at(upload.initiated))),
        ];
        xml.with_all("Upload", &elements)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(bucket: &str, object: &str) -> MultipartUpload {
        let (bucket, object) = (bucket.to_owned(), object.to_owned());
        MultipartUpload { bucket, object, initiated: 0, metadata: serde_json::Map::default() }
    }

    /// The texts of all elements of a name.
    fn texts(xml: Xml, name: &str) -> Vec<String> {
        let text = xml.finish();
        let document = roxmltree::Document::parse(&text).unwrap();
        let found = document.descendants().filter(|it| it.tag_name().name() == name);
        found.map(|it| it.text().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn parts_come_in_pages_and_the_last_one_tells_no_next() {
        let part = |number| Part {
            number,
            size: 1,
            md5: String::new(),
            crc32c: String::new(),
            updated: String::new(),
        };
        let held = [part(1), part(4), part(9)];
        let page =
            |after, most| parts("id", &upload("box", "a"), &held, PartsAsked { after, most });
        for (after, most, numbers, next) in [
            (0, 2, &["1", "4"][..], &["4"][..]),
            (4, 2, &["9"], &[]),
            (0, 3, &["1", "4", "9"], &[]),
            (9, 3, &[], &[]),
            (0, 0, &[], &[]),
        ] {
            assert_eq!(texts(page(after, most), "PartNumber"), numbers, "{after} {most}");
            assert_eq!(texts(page(after, most), "NextPartNumberMarker"), next, "{after} {most}");
        }
    }

    #[test]
    fn uploads_of_one_bucket_come_in_pages_by_object_and_id() {
        let open = [
            ("1", upload("box", "b")),
            ("2", upload("box", "a<&")),
            ("3", upload("off", "a")),
            ("4", upload("box", "b")),
        ];
        let page = |prefix, after_object, after_id, most| {
            let asked = UploadsAsked { bucket: "box", prefix, after_object, after_id, most };
            uploads(open.iter().map(|(id, upload)| (*id, upload)), asked)
        };
        for (prefix, object, id, most, ids) in [
            ("", "", "", 9, &["2", "1", "4"][..]),
            ("", "", "", 2, &["2", "1"]),
            ("", "b", "1", 9, &["4"]),
            ("", "a<&", "", 9, &["1", "4"]),
            ("a<", "", "", 9, &["2"]),
        ] {
            assert_eq!(
                texts(page(prefix, object, id, most), "UploadId"),
                ids,
                "{prefix} {object} {id}"
            );
        }
        let cut = || page("", "", "", 2);
        assert_eq!(texts(cut(), "NextKeyMarker"), ["b"]);
        assert_eq!(texts(cut(), "NextUploadIdMarker"), ["1"]);
        assert_eq!(texts(cut(), "Key"), ["a<&", "b"]);
    }
}
