//! Texts of failures and evidence: folded away until they are asked for.

use crate::markup::{Markup, link};
use crate::run::{Body, Evidence};

/// Where a panic message ends and its backtrace begins.
const BACKTRACE: &str = "\nstack backtrace:\n";

/// What a failure says, its backtrace folded away.
pub(super) fn output(page: &mut Markup, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    let (message, backtrace) = match text.split_once(BACKTRACE) {
        Some((message, backtrace)) => (message, Some(backtrace)),
        None => (text, None),
    };
    page.element("pre", &[("class", "output"), ("tabindex", "0")], message);
    if let Some(backtrace) = backtrace {
        folded(page, "stack backtrace", backtrace);
    }
}

/// The evidence, one after another.
pub(super) fn list(page: &mut Markup, evidence: &[Evidence]) {
    for it in evidence {
        match &it.body {
            Body::Text(text) => folded(page, &it.title, text),
            Body::File(path) => page.within("p", &[("class", "file")], |page| {
                page.text(&it.title);
                page.text(": ");
                page.element("a", &[("href", &link(path))], path);
            }),
        }
    }
}

/// A text that unfolds under its title.
pub(super) fn folded(page: &mut Markup, title: &str, text: &str) {
    page.within("details", &[], |page| {
        page.within("summary", &[], |page| {
            page.text(title);
            let lines = text.lines().count();
            let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
            page.element("span", &[("class", "soft")], &format!(" {lines}"));
        });
        page.element("pre", &[("tabindex", "0")], text);
    });
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_backtrace_is_folded_away() {
        let mut page = Markup::default();
        output(&mut page, "left: <1>\nstack backtrace:\n0: a\n1: b");
        expect![[r#"
            <pre class="output" tabindex="0">left: &lt;1&gt;</pre><details><summary>stack backtrace<span class="soft"> 2 lines</span></summary><pre tabindex="0">0: a
            1: b</pre></details>"#]].assert_eq(&page.finish());
    }

    #[test]
    fn evidence_is_folded_or_linked() {
        let mut page = Markup::default();
        list(&mut page, &[Evidence::text("log", "one"), Evidence::file("all", "a b/c.txt")]);
        expect![[r#"<details><summary>log<span class="soft"> 1 line</span></summary><pre tabindex="0">one</pre></details><p class="file">all: <a href="a%20b/c.txt">a b/c.txt</a></p>"#]].assert_eq(&page.finish());
    }
}
