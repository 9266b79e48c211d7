//! The `Content-Range` of a piece of a resumable upload.

/// What a request says of the bytes that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// No header: the body is the rest of the object.
    Rest,
    /// `bytes FIRST-LAST/TOTAL`, with the total unknown (`*`) until the last piece.
    Bytes {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
        /// Length of the object.
        total: Option<u64>,
    },
    /// `bytes */TOTAL`: a question how far the upload is, or the end of one that is complete.
    None {
        /// Length of the object.
        total: Option<u64>,
    },
}

impl Piece {
    /// Reads the header's value; nothing is right that says less bytes than none.
    pub(super) fn parse(header: Option<&str>) -> Option<Self> {
        let Some(header) = header else { return Some(Self::Rest) };
        let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self::None { total });
        }
        // Node's client sends a stream of unknown length as `bytes 0-*/*`.
        if range == "0-*" {
            return Some(Self::Rest);
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let inside = total.is_none_or(|it| last < it);
        (first <= last && inside).then_some(Self::Bytes { first, last, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_clients_write_them() {
        let bytes = |first, last, total| Some(Piece::Bytes { first, last, total });
        for (text, expected) in [
            ("bytes 0-99/100", bytes(0, 99, Some(100))),
            ("bytes 0-99/*", bytes(0, 99, None)),
            ("bytes */100", Some(Piece::None { total: Some(100) })),
            ("bytes */*", Some(Piece::None { total: None })),
            ("bytes 0-*/*", Some(Piece::Rest)),
            ("bytes 0-100/100", None),
            ("bytes 5-4/10", None),
            ("bytes -4/10", None),
            ("bytes 0-99999999999999999999/*", None),
            ("items 0-1/2", None),
            ("bytes", None),
            ("", None),
        ] {
            assert_eq!(Piece::parse(Some(text)), expected, "{text}");
        }
        assert_eq!(Piece::parse(None), Some(Piece::Rest));
    }
}
