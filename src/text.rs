//! Text from outside (names, paths, file contents) made safe to print: the library's messages and
//! the command line's tables share it.

use std::path::Path;

/// Returns a path as it was typed, on one line, with unprintable characters escaped.
#[must_use]
pub fn shown(path: &Path) -> String {
    one_line(&path.display().to_string())
}

/// Returns the text on one line: runs of white space become one blank, and text with unprintable
/// characters is escaped.
#[must_use]
pub fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns the text, escaped if it holds an unprintable character.
#[must_use]
pub fn printable(text: &str) -> String {
    if text.chars().any(is_unprintable) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

/// The most characters of untrusted text that a message quotes.
const MAX_QUOTED: usize = 4000;

/// Returns the text on one line, cut after 4000 characters: a parser's message may quote all of
/// its input.
#[must_use]
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => one_line(&text[..end]) + "...",
        None => one_line(text),
    }
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
