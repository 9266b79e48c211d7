//! Lists in pages, as Google gives them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::parameter;
use crate::error::Error;

/// A page, and where the next one begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Value>,
    /// `nextPageToken`; none behind the last page.
    pub next: Option<String>,
}

impl Page {
    /// The page that a query asks for, of rows that are sorted by their keys.
    ///
    /// # Errors
    /// 400 when `pageSize` or `pageToken` is no such thing.
    pub fn of(
        query: Option<&str>,
        most: usize,
        rows: impl Iterator<Item = (String, Value)>,
    ) -> Result<Self, Error> {
        let size = match parameter(query, "pageSize").filter(|it| !it.is_empty()) {
            None => most,
            Some(text) => match text.parse::<usize>() {
                Ok(0) => most,
                Ok(size) => size.min(most),
                Err(_) => {
                    let message = format!("Invalid value at 'page_size' (TYPE_INT32), \"{text}\"");
                    return Err(Error::invalid_argument(message));
                }
            },
        };
        let after = match parameter(query, "pageToken").filter(|it| !it.is_empty()) {
            None => None,
            Some(token) => Some(key_of(&token)?),
        };
        let mut rows = rows.skip_while(|(key, _)| after.as_ref().is_some_and(|it| key <= it));
        let mut page = Self { rows: Vec::new(), next: None };
        let mut last = String::new();
        for (key, row) in rows.by_ref().take(size) {
            page.rows.push(row);
            last = key;
        }
        page.next = rows.next().map(|_| URL_SAFE_NO_PAD.encode(last));
        Ok(page)
    }

    /// The answer, with its rows under this name. An empty list has no such field, as with Google.
    #[must_use]
    pub fn answer(self, name: &str) -> Value {
        let mut answer = serde_json::Map::new();
        if !self.rows.is_empty() {
            answer.insert(name.to_owned(), Value::from(self.rows));
        }
        if let Some(next) = self.next {
            answer.insert("nextPageToken".to_owned(), Value::from(next));
        }
        Value::from(answer)
    }
}

fn key_of(token: &str) -> Result<String, Error> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|it| String::from_utf8(it).ok());
    key.ok_or_else(|| Error::invalid_argument("Request contains an invalid argument."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_together_are_the_list() {
        let rows = || (0..7).map(|it| (format!("k{it}"), Value::from(it)));
        let mut query = "pageSize=3".to_owned();
        let mut seen = Vec::new();
        let mut pages = 0;
        loop {
            let page = Page::of(Some(&query), 100, rows()).unwrap();
            seen.extend(page.rows);
            pages += 1;
            let Some(next) = page.next else { break };
            query = format!("pageSize=3&pageToken={next}");
        }
        assert_eq!((seen.len(), pages), (7, 3));
        assert_eq!(seen, (0..7).map(Value::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        for query in ["pageToken=%FF", "pageSize=x", "pageSize=-1"] {
            assert!(Page::of(Some(query), 10, std::iter::empty()).is_err(), "{query}");
        }
    }
}
