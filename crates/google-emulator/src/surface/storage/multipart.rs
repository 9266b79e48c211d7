//! The first part of a `multipart/related` upload, found while the body streams by.
//!
//! Only the first part is read, because it may name the object; the bytes of the second go on
//! untouched. Line ends may be CRLF (google-cloud-storage) or bare LF (gcloud).

/// The most that is kept of a body while the first part is looked for.
const FIRST_PART_MAX: usize = 256 * 1024;

/// Why a body isn't a multipart upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMultipart {
    /// The content type names no boundary.
    #[error("the content type has no boundary")]
    NoBoundary,
    /// The first boundary, or the end of the first part, isn't within the limit.
    #[error("the first part is larger than the limit")]
    TooLarge,
    /// There is something else than a boundary at a boundary's place.
    #[error("the body is not a multipart body")]
    Malformed,
}

/// A search for the end of the first part, over chunks of any size.
#[derive(Debug)]
pub struct FirstPart {
    delimiter: Vec<u8>,
    seen: Vec<u8>,
    /// The line that is looked at does not end before here: whoever sends a byte at a time must not
    /// have it read from its start with each of them.
    searched: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The boundary's line is looked for, in lines from here on.
    Boundary { line: usize },
    /// A header's line begins here.
    Headers { line: usize },
    /// The part's body begins at the first; the line that is looked at begins at the second.
    Body { start: usize, line: usize },
    /// The part's body.
    Found { start: usize, end: usize },
}

impl FirstPart {
    /// A search for the boundary that a content type names.
    ///
    /// # Errors
    /// When the content type isn't a multipart type with a boundary.
    pub fn new(content_type: &str) -> Result<Self, NotMultipart> {
        let boundary = boundary(content_type).ok_or(NotMultipart::NoBoundary)?;
        let delimiter = [b"--", boundary.as_bytes()].concat();
        let state = State::Boundary { line: 0 };
        Ok(Self { delimiter, seen: Vec::new(), searched: 0, state })
    }

    /// Takes the next bytes; true as soon as the first part is complete.
    ///
    /// # Errors
    /// When the body can't become a multipart body any more, or the first part is over the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, NotMultipart> {
        self.seen.extend_from_slice(bytes);
        while let Some(state) = self.step()? {
            self.state = state;
            if let State::Found { .. } = state {
                return Ok(true);
            }
        }
        self.searched = self.seen.len();
        if self.seen.len() > FIRST_PART_MAX {
            return Err(NotMultipart::TooLarge);
        }
        Ok(matches!(self.state, State::Found { .. }))
    }

    /// The body of the first part, once it is complete.
    pub fn body(&self) -> Option<&[u8]> {
        match self.state {
            State::Found { start, end } => self.seen.get(start..end),
            _ => None,
        }
    }

    /// The content type with its boundary in the one way of quoting that everybody reads.
    pub fn content_type(&self) -> String {
        let boundary = String::from_utf8_lossy(&self.delimiter[2..]);
        format!("multipart/related; boundary=\"{boundary}\"")
    }

    /// Everything that was taken, which is to go on before the rest of the body.
    pub fn into_seen(self) -> Vec<u8> {
        self.seen
    }

    /// The next state, or none when more bytes are needed for it.
    fn step(&self) -> Result<Option<State>, NotMultipart> {
        let line = match self.state {
            State::Boundary { line } | State::Headers { line } | State::Body { line, .. } => line,
            State::Found { .. } => return Ok(None),
        };
        let from = line.max(self.searched);
        let Some(found) = self.seen[from..].iter().position(|it| *it == b'\n') else {
            return Ok(None);
        };
        let length = from - line + found;
        // A part that ends over the limit is refused however the body is cut into chunks.
        if line + length > FIRST_PART_MAX {
            return Err(NotMultipart::TooLarge);
        }
        let next = line + length + 1;
        let text = &self.seen[line..line + length];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let state = match self.state {
            State::Boundary { .. } if text == self.delimiter => State::Headers { line: next },
            State::Boundary { .. } if text.starts_with(b"--") => {
                return Err(NotMultipart::Malformed);
            }
            State::Boundary { .. } => State::Boundary { line: next },
            State::Headers { .. } if text.is_empty() => State::Body { start: next, line: next },
            State::Headers { .. } => State::Headers { line: next },
            State::Body { start, .. } if text.starts_with(&self.delimiter) => {
                let body = &self.seen[start..line];
                let body = body.strip_suffix(b"\n").unwrap_or(body);
                let body = body.strip_suffix(b"\r").unwrap_or(body);
                State::Found { start, end: start + body.len() }
            }
            State::Body { start, .. } => State::Body { start, line: next },
            State::Found { .. } => return Ok(None),
        };
        Ok(Some(state))
    }
}

/// The boundary of a multipart content type; quotes may be of either kind (gcloud and gsutil use
/// single ones).
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let at = parameters.to_ascii_lowercase().find("boundary=")?;
    let value = parameters[at + "boundary=".len()..].trim_start();
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(';').next()?.trim_end(),
    };
    let plain = value.bytes().all(|it| (b' '..=b'~').contains(&it) && !b"\"\\".contains(&it));
    ((1..=200).contains(&value.len()) && plain).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: &str = "multipart/related; boundary=\"==abc==\"";

    fn body(line: &str, json: &str) -> Vec<u8> {
        [
            "--==abc==",
            line,
            "content-type: application/json",
            line,
            line,
            json,
            line,
            "--==abc==",
            line,
            "content-type: text/plain",
            line,
            line,
            "--==abc== no\n\0",
            line,
            "--==abc==--",
            line,
        ]
        .concat()
        .into_bytes()
    }

    fn read(chunks: &[&[u8]]) -> Result<Option<Vec<u8>>, NotMultipart> {
        let mut part = FirstPart::new(KIND)?;
        for chunk in chunks {
            part.push(chunk)?;
        }
        let seen: usize = chunks.iter().map(|it| it.len()).sum();
        let found = part.body().map(<[u8]>::to_vec);
        assert_eq!(part.into_seen().len(), seen);
        Ok(found)
    }

    #[test]
    fn both_line_ends_are_read() {
        for line in ["\r\n", "\n"] {
            let json = format!("{{\"name\":{line} \"a\"}}");
            assert_eq!(read(&[&body(line, &json)]), Ok(Some(json.into_bytes())), "{line:?}");
        }
    }

    #[test]
    fn boundaries_are_written_in_three_ways() {
        for (kind, expected) in [
            ("multipart/related; boundary=abc", Some("abc")),
            ("multipart/related; boundary=\"a=c\"; x=y", Some("a=c")),
            ("multipart/related; boundary='===1=='", Some("===1==")),
            ("Multipart/Related; x=1; BOUNDARY=abc ; y=2", Some("abc")),
            ("multipart/related", None),
            ("multipart/related; boundary=a\\b", None),
            ("multipart/related; boundary='a\"b'", None),
            ("application/json; boundary=a", None),
            ("multipart/related; boundary=", None),
            ("multipart/related; boundary=\"\"", None),
        ] {
            assert_eq!(boundary(kind).as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn a_body_without_an_end_is_limited() {
        let long = vec![b'x'; FIRST_PART_MAX + 1];
        assert_eq!(read(&[&long]), Err(NotMultipart::TooLarge));
        assert_eq!(read(&[b"--==abc==\n\n", &long]), Err(NotMultipart::TooLarge));
        assert_eq!(read(&[b"--==other==\n"]), Err(NotMultipart::Malformed));
        assert_eq!(read(&[b"--==abc==\nx: y\n\n{}"]), Ok(None));
    }

    proptest! {
        #[test]
        fn how_the_body_is_cut_makes_no_difference(
            json in "[^-]{0,80}",
            crlf in any::<bool>(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let body = body(if crlf { "\r\n" } else { "\n" }, &json);
            let mut cuts: Vec<usize> = cuts.iter().map(|it| it.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|it| &body[it[0]..it[1]]).collect();
            let whole = read(&[&body]);
            prop_assert_eq!(read(&chunks), whole.clone());
            prop_assert!(whole.unwrap().is_some());
        }

        #[test]
        fn any_bytes_in_any_chunks_read_the_same(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b"--==abc==".to_vec()), Just(b"\n".to_vec()), Just(b"\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..5)], 0..12),
            size in 1_usize..9,
        ) {
            let bytes = bytes.concat();
            let mut whole = FirstPart::new(KIND).unwrap();
            let whole_read = whole.push(&bytes);
            let mut cut = FirstPart::new(KIND).unwrap();
            let mut cut_read = Ok(false);
            for chunk in bytes.chunks(size) {
                cut_read = cut.push(chunk);
                if cut_read.is_err() { break; }
            }
            prop_assert_eq!(whole_read.is_err(), cut_read.is_err());
            if whole_read.is_ok() { prop_assert_eq!(whole.body(), cut.body()); }
        }

        #[test]
        fn no_content_type_makes_it_panic(text in "\\PC*") {
            let _ = FirstPart::new(&text);
            let _ = FirstPart::new(&format!("multipart/related; boundary={text}"));
        }
    }
}
