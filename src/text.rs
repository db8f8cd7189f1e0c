//! Text from outside (names, paths, file contents) made safe to print: the library's messages and
//! the command line's tables share it.

use std::borrow::Cow;
use std::path::Path;

/// The most characters of a text from outside that a message shows. Longer texts are cut, and their
/// lengths are told.
pub const MAX_SHOWN: usize = 200;

/// The most characters of a reason that a message gives, and of a report by a parser or a driver,
/// which may quote texts of its own.
pub const MAX_REASON: usize = 2000;

/// Returns a text from outside as it was given, but with unprintable characters escaped, and cut
/// after 200 characters: `aaaa... (1,048,576 characters)`.
///
/// ```
/// use fanin::text::excerpt;
///
/// assert_eq!(excerpt("h.0.weight"), "h.0.weight");
/// assert_eq!(excerpt("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
/// assert!(excerpt(&"a".repeat(1 << 20)).ends_with("aaa... (1,048,576 characters)"));
/// ```
#[must_use]
pub fn excerpt(text: &str) -> String {
    let (shown, rest) = escaped(text, MAX_SHOWN, is_unprintable);
    shown + &rest
}

/// Returns a text from outside in quotes, escaped as a literal of Rust, and cut after 200
/// characters: `"aaaa..." (1,048,576 characters)`.
///
/// ```
/// assert_eq!(fanin::text::quoted("a \"b\"\n"), r#""a \"b\"\n""#);
/// ```
#[must_use]
pub fn quoted(text: &str) -> String {
    let special = |c| is_unprintable(c) || matches!(c, '"' | '\\');
    let (shown, rest) = escaped(text, MAX_SHOWN, special);
    match rest.strip_prefix("...") {
        Some(length) => format!("\"{shown}...\"{length}"),
        None => format!("\"{shown}\""),
    }
}

/// Returns texts from outside in quotes, separated by commas: at most `most` of them, and the number
/// of the others.
#[must_use]
pub fn quoted_list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut texts = texts.into_iter();
    let mut shown: Vec<String> = (&mut texts)
        .take(most)
        .map(|text| quoted(text.as_ref()))
        .collect();
    match texts.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

/// Returns dimensions, or an index with a number for each, cut as [`excerpt`] does it: `[512, 784]`.
#[must_use]
pub fn dims_text(dims: &[u64]) -> String {
    excerpt(&format!("{dims:?}"))
}

/// Returns a path as it was typed, escaped and cut as [`excerpt`] does it.
#[must_use]
pub fn shown(path: &Path) -> String {
    excerpt(&path.to_string_lossy())
}

/// Returns a message of a parser or a driver on one line: runs of white space become one blank,
/// unprintable characters are escaped, and what follows the first 2000 characters is cut.
#[must_use]
pub fn one_line(text: &str) -> String {
    // A parser's message may quote all of its input. Twice the limit leaves room for white space.
    let end = text.char_indices().nth(2 * MAX_REASON).map(|(end, _)| end);
    let start = &text[..end.unwrap_or(text.len())];
    let line = start.split_whitespace().collect::<Vec<_>>().join(" ");
    match end {
        Some(_) => bounded(&format!("{line}...")),
        None => bounded(&line),
    }
}

/// The most characters of a message.
const MAX_MESSAGE: usize = 8000;

/// Returns a message as it is printed: on one line and of bounded length, whatever texts it was made
/// of.
#[must_use]
pub fn message(text: &str) -> String {
    let (shown, rest) = escaped(text, MAX_MESSAGE, is_unprintable);
    shown + &rest
}

/// Returns the reason of an error, which is one line already, with unprintable characters escaped,
/// and cut after 2000 characters. It holds only excerpts of texts from outside, so this is for those
/// that were forgotten.
#[must_use]
pub(crate) fn bounded(text: &str) -> String {
    let (shown, rest) = escaped(text, MAX_REASON, is_unprintable);
    shown + &rest
}

/// Returns JSON in which the characters that control a terminal or the direction of writing are
/// escaped. JSON itself escapes only those below U+0020. All of them stand in texts, except for line
/// breaks.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let is_special = |c: char| is_unprintable(c) && c != '\n';
    if !json.contains(is_special) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match is_special(c) {
            // All of them are in the basic multilingual plane, so one escape is enough.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Escapes the characters of a text that are `special`, until the result has `most` characters.
/// Returns it, and an ellipsis with the text's length if some of the text is left.
fn escaped(text: &str, most: usize, special: impl Fn(char) -> bool) -> (String, String) {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let before = out.len();
        if special(c) {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
        length += out[before..].chars().count();
        if length > most {
            out.truncate(before);
            let characters = thousands(text.chars().count());
            return (out, format!("... ({characters} characters)"));
        }
    }
    (out, String::new())
}

/// Returns a number with a comma before every three digits.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Returns true for characters that break a line, control the terminal or change the direction of
/// writing.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the candidate that a misspelled text may mean, if one is near.
pub(crate) fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // The distance takes time in proportion to the product of the lengths, and the text may be
    // untrusted. No name in a list of candidates is nearly as long.
    if text.len() > 64 {
        return None;
    }
    candidates
        .iter()
        .map(|candidate| (strsim::levenshtein(text, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .map(|(_, candidate)| candidate)
}
