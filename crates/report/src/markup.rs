//! The one writer of tags, for HTML, SVG and XML alike.
//!
//! Names of elements and attributes are literals of this crate; every other text is cleaned and
//! escaped on its way in. So nothing from outside can open a tag, and since an element closes
//! with the function that fills it, the output is well-formed XML whatever the input was.

use crate::text::clean;

/// Attributes: literal names, arbitrary values.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// Markup as it grows.
#[derive(Default)]
pub(crate) struct Markup {
    out: String,
}

impl Markup {
    /// Markup that begins with a literal head.
    pub(crate) fn new(head: &'static str) -> Self {
        Self { out: head.to_owned() }
    }

    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// Literal text of this crate; its type keeps everything else out.
    pub(crate) fn literal(&mut self, text: &'static str) {
        self.out.push_str(text);
    }

    /// Text from anywhere.
    pub(crate) fn text(&mut self, text: &str) {
        for it in clean(text).chars() {
            match it {
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                _ => self.out.push(it),
            }
        }
    }

    /// An element and what `fill` puts into it.
    pub(crate) fn within(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        fill: impl FnOnce(&mut Self),
    ) {
        self.start(name, attributes);
        self.out.push('>');
        fill(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element with text in it.
    pub(crate) fn element(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.within(name, attributes, |it| it.text(text));
    }

    /// An element that never has content, such as `meta` or a `rect` without a title.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.start(name, attributes);
        self.out.push_str(" />");
    }

    /// Ends a line of the source, so that a report can be read and compared line by line.
    pub(crate) fn line(&mut self) {
        self.out.push('\n');
    }

    fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.value(value);
            self.out.push('"');
        }
    }

    /// XML folds line ends in attributes into spaces unless they are written as references.
    fn value(&mut self, value: &str) {
        for it in clean(value).chars() {
            match it {
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                '\n' => self.out.push_str("&#10;"),
                '\t' => self.out.push_str("&#9;"),
                _ => self.out.push(it),
            }
        }
    }
}

/// A path as the target of a link: it stays on this machine and names no scheme.
pub(crate) fn link(path: &str) -> String {
    let mut out = String::new();
    // Two slashes in front would name a host.
    let (root, path) = match path.trim_start_matches('/') {
        it if it.len() < path.len() => ("/", it),
        it => ("", it),
    };
    out.push_str(root);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_values_are_escaped() {
        let mut markup = Markup::default();
        markup.within("a", &[("title", "\"<&'>\n")], |it| it.text("1 < 2 & \"b\""));
        assert_eq!(
            markup.finish(),
            "<a title=\"&quot;&lt;&amp;&#39;&gt;&#10;\">1 &lt; 2 &amp; \"b\"</a>"
        );
    }

    #[test]
    fn a_link_names_no_scheme_and_no_host() {
        assert_eq!(link("logs/pod 1.txt"), "logs/pod%201.txt");
        assert_eq!(link("javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(link("///host/x"), "/host/x");
        assert_eq!(link("\\\\host\\x"), "%5C%5Chost%5Cx");
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_back_out(text in any::<String>(), value in any::<String>()) {
            let mut markup = Markup::default();
            markup.element("a", &[("b", &value)], &text);
            let xml = markup.finish();
            let document = roxmltree::Document::parse(&xml).unwrap();
            let root = document.root_element();
            prop_assert_eq!(root.text().unwrap_or_default(), clean(&text));
            prop_assert_eq!(root.attribute("b").unwrap(), clean(&value));
            prop_assert_eq!(root.descendants().filter(|it| it.is_element()).count(), 1);
        }
    }
}
