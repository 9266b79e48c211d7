//! Percent encoding and query strings, read strictly and written in one way only.
//!
//! What is decoded here is what is authorized, and the request that goes upstream is written anew
//! from it: two programs that read one URL differently are how a caller gets at somebody else's
//! bucket.

/// A text that isn't well-formed percent-encoded UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not well-formed percent-encoded UTF-8")]
pub struct Malformed;

/// Decodes `%XX`; anything that isn't UTF-8 afterwards is refused, not replaced.
///
/// # Errors
/// On a percent sign without two hexadecimal digits, and on bytes that aren't UTF-8.
pub fn percent_decode(text: &str) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (Some(&high), Some(&low)) = (after.first(), after.get(1)) else {
            return Err(Malformed);
        };
        bytes.push(hex_digit(high)? << 4 | hex_digit(low)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| Malformed)
}

/// Encodes everything that isn't unreserved (RFC 3986), slashes too.
pub fn percent_encode(text: &str) -> String {
    encode(text, |_| false)
}

/// As [`percent_encode`], with slashes kept, as a signed URL's path is written.
pub fn percent_encode_path(text: &str) -> String {
    encode(text, |byte| byte == b'/')
}

/// The parameters of a query string in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query as a form: `+` is a space.
    ///
    /// # Errors
    /// On a name or a value that isn't well-formed.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let pairs = text.split('&').filter(|it| !it.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((form_decode(name)?, form_decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// The first value of a parameter; the first one counts here and upstream.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be repeated.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Leaves one value of a parameter.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(it, _)| it != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Leaves only what `keep` says.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The pairs in their order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The query as text, with every name and value encoded anew.
    pub fn render(&self) -> String {
        let pair = |(name, value): &(String, String)| {
            format!("{}={}", percent_encode(name), percent_encode(value))
        };
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

fn form_decode(text: &str) -> Result<String, Malformed> {
    percent_decode(&text.replace('+', " "))
}

fn encode(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep(byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |it: u8| char::from(b"0123456789ABCDEF"[usize::from(it)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

fn hex_digit(byte: u8) -> Result<u8, Malformed> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_text_is_refused() {
        for text in ["%", "%2", "%zz", "a%", "%ff", "%c3%28", "%+1"] {
            assert_eq!(percent_decode(text), Err(Malformed), "{text}");
        }
        assert_eq!(Query::parse("a=%zz"), Err(Malformed));
    }

    #[test]
    fn the_first_value_counts() {
        let query = Query::parse("name=a&name=b&flag&x=1+2").unwrap();
        assert_eq!(query.get("name"), Some("a"));
        assert_eq!(query.all("name").collect::<Vec<_>>(), ["a", "b"]);
        assert!(query.has("flag"));
        assert_eq!(query.get("x"), Some("1 2"));
    }

    proptest! {
        #[test]
        fn encoding_is_undone_by_decoding(text in "\\PC*") {
            prop_assert_eq!(percent_decode(&percent_encode(&text)).unwrap(), text.clone());
            prop_assert_eq!(percent_decode(&percent_encode_path(&text)).unwrap(), text);
        }

        #[test]
        fn a_rendered_query_reads_the_same(
            pairs in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,8}"), 0..6)
        ) {
            let query = Query(pairs);
            prop_assert_eq!(Query::parse(&query.render()).unwrap(), query);
        }

        #[test]
        fn nothing_makes_the_parser_panic(text in ".*") {
            let _ = Query::parse(&text);
            let _ = percent_decode(&text);
        }
    }
}
