//! Text from outside made fit to be shown: no terminal sequences, no control characters.

use std::time::Duration;

/// The text without ANSI sequences, its control characters made visible.
///
/// What is left is legal in HTML and in XML 1.0. Characters that turn the direction of writing
/// are shown as U+FFFD, because a log line could use them to look like another one.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_control(&mut rest),
            // A progress bar redraws its line; each state becomes a line of its own.
            '\r' if rest.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\n' | '\t' => out.push(it),
            '\0'..'\u{20}' => {
                out.push(char::from_u32(0x2400 + u32::from(it)).unwrap_or('\u{fffd}'))
            }
            '\u{7f}' => out.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fffe}'
            | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(it),
        }
    }
    out
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows an escape character: a control sequence, a string such as a title, or one letter.
fn skip_sequence(rest: &mut Characters<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_control(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // A string that is cut off must not swallow the lines after it.
            while let Some(it) = rest.next_if(|it| *it != '\n') {
                if it == '\u{7}' || it == '\u{9c}' {
                    return;
                }
                if it == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    return;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => {
            rest.next();
            rest.next_if(char::is_ascii_alphanumeric);
        }
        Some('0'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

/// The parameters and the final letter of a control sequence.
fn skip_control(rest: &mut Characters<'_>) {
    while rest.next_if(|it| matches!(it, ' '..='?')).is_some() {}
    rest.next_if(|it| matches!(it, '@'..='~'));
}

/// The first line with something in it, for places where there is room for one.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|it| !it.is_empty()).unwrap_or_default()
}

/// At most `most` characters, the last of them an ellipsis when something is missing.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A duration as a person says it: `12 ms`, `3.4 s`, `42 s`, `3 min 5 s`, `1 h 2 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.as_millis() {
        0..1000 => format!("{} ms", duration.as_millis()),
        1000..10_000 => format!("{:.1} s", duration.as_secs_f64()),
        10_000..120_000 => format!("{seconds} s"),
        120_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_titles_and_cursor_moves_disappear() {
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m \u{9b}2Kx"), "red x");
        assert_eq!(clean("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b"), "ab");
        assert_eq!(clean("\u{1b}(Ba\u{1b}7b\u{1b}"), "ab");
    }

    #[test]
    fn a_torn_sequence_does_not_swallow_the_next_line() {
        assert_eq!(clean("a\u{1b}]0;tit\nnext"), "a\nnext");
        assert_eq!(clean("a\u{1b}[31\nnext"), "a\nnext");
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(clean("a\0b\u{7}c\u{7f}\u{202e}d"), "a\u{2400}b\u{2407}c\u{2421}\u{fffd}d");
        assert_eq!(clean("1 %\r2 %\r\nok\tx"), "1 %\n2 %\nok\tx");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let said = [12, 3400, 9999, 42_000, 185_000, 3_725_000]
            .map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(said, ["12 ms", "3.4 s", "10.0 s", "42 s", "3 min 5 s", "1 h 2 min"]);
    }

    #[test]
    fn shortening_says_that_it_did() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
    }

    proptest! {
        #[test]
        fn cleaning_leaves_what_xml_allows_and_is_done_once(text in any::<String>()) {
            let cleaned = clean(&text);
            let legal = |it: char| matches!(it, '\t' | '\n') || (it >= ' ' && !it.is_control());
            prop_assert!(cleaned.chars().all(legal), "{cleaned:?}");
            prop_assert_eq!(clean(&cleaned), cleaned);
        }

        #[test]
        fn plain_text_is_left_alone(text in "[ -~äß→\n\t]*") {
            prop_assert_eq!(clean(&text), text);
        }
    }
}
