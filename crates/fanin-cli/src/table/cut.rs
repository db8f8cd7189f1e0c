//! Texts that are cut or folded to a width. The width of a text is that in a terminal, where characters
//! take 0, 1 or 2 cells.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cuts a name in the middle. It keeps more of its end, which is more specific than its beginning.
pub fn cut_middle(name: &str, width: usize) -> String {
    if name.width() <= width {
        return name.to_owned();
    }
    let start = start(name, width / 5);
    let end = end(name, width.saturating_sub(1 + start.width()));
    format!("{start}…{end}")
}

/// Cuts a text at its end.
pub fn cut_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    format!("{}…", start(text, width.saturating_sub(1)))
}

/// Folds a text into lines. They break after spaces and commas, or within a word that is too long.
pub fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive([' ', ',']) {
        let mut word = word;
        if line.width() + word.trim_end().width() > width && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        while word.trim_end().width() > width {
            // At least a character, so that it ends.
            let first = word.chars().next().map_or(0, char::len_utf8);
            let (head, rest) = word.split_at(start(word, width).len().max(first));
            lines.push(head.to_owned());
            word = rest;
        }
        line += word;
    }
    lines.push(line);
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// Returns the longest beginning of a text that is not wider than `width`.
fn start(text: &str, width: usize) -> &str {
    let ends = text.char_indices().scan(0, |taken, (at, c)| {
        *taken += c.width().unwrap_or(0);
        (*taken <= width).then_some(at + c.len_utf8())
    });
    &text[..ends.last().unwrap_or(0)]
}

/// Returns the longest end of a text that is not wider than `width`.
fn end(text: &str, width: usize) -> &str {
    let starts = text.char_indices().rev().scan(0, |taken, (at, c)| {
        *taken += c.width().unwrap_or(0);
        (*taken <= width).then_some(at)
    });
    &text[starts.last().unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_end() {
        let name = "model.layers.31.self_attn.q_proj.weight";
        assert_eq!(cut_middle(name, 39), name);
        assert_eq!(cut_middle(name, 30), "model.…self_attn.q_proj.weight");
        assert_eq!(
            cut_middle("\u{5c64}\u{5c64}\u{5c64}\u{5c64}", 5),
            "…\u{5c64}\u{5c64}"
        );
        assert_eq!(cut_middle("abc", 1), "…");
        assert_eq!(
            cut_end("residual_normal(std=0.02,layers=12)", 18),
            "residual_normal(s…"
        );
        assert_eq!(cut_end("abc", 0), "…");
    }

    #[test]
    fn lines_break_after_spaces_and_commas() {
        assert_eq!(folded("one two three", 8), ["one two", "three"]);
        assert_eq!(folded("f(low=0,high=1)", 10), ["f(low=0,", "high=1)"]);
        assert_eq!(folded("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(folded("\u{5c64}\u{5c64}", 1), ["\u{5c64}", "\u{5c64}", ""]);
        assert_eq!(folded("", 4), [""]);
    }
}
