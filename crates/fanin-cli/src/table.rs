//! Tables of text.

use std::io::{self, Write};

use fanin::text::excerpt;
use unicode_width::UnicodeWidthStr;

/// The alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Returns a line of headings and a line for each row, with two spaces between columns.
///
/// Cells may hold untrusted text: it is escaped and cut, as in messages. Columns are aligned by the width
/// of characters in a terminal, which is 2 for wide characters and 0 for combining marks.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let widths = widths(columns, rows.iter());
    let lines = rows.iter().map(|row| line(columns, &widths, row));
    std::iter::once(headings(columns, &widths))
        .chain(lines)
        .collect()
}

/// Writes the same table from an iterator of rows that runs twice, to measure and to write them, so
/// that the rows need not be in memory.
pub fn write_table<R: Iterator<Item = Vec<String>>>(
    out: &mut dyn Write,
    columns: &[(&str, Align)],
    rows: impl Fn() -> R,
) -> io::Result<()> {
    let widths = widths(columns, rows());
    out.write_all(headings(columns, &widths).as_bytes())?;
    for row in rows() {
        out.write_all(line(columns, &widths, &row).as_bytes())?;
    }
    Ok(())
}

/// Returns the width of each column.
fn widths(
    columns: &[(&str, Align)],
    rows: impl Iterator<Item = impl AsRef<[String]>>,
) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|(heading, _)| heading.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = excerpt(cell).width().max(*width);
        }
    }
    widths
}

fn headings(columns: &[(&str, Align)], widths: &[usize]) -> String {
    let headings: Vec<String> = columns
        .iter()
        .map(|(heading, _)| (*heading).to_owned())
        .collect();
    line(columns, widths, &headings)
}

fn line(columns: &[(&str, Align)], widths: &[usize], cells: &[String]) -> String {
    let mut text = String::new();
    for (i, ((cell, (_, align)), width)) in cells.iter().zip(columns).zip(widths).enumerate() {
        let cell = excerpt(cell);
        let blanks = " ".repeat(width.saturating_sub(cell.width()));
        let (before, after) = match align {
            Align::Left => ("", blanks.as_str()),
            Align::Right => (blanks.as_str(), ""),
        };
        let gap = if i == 0 { "" } else { "  " };
        for part in [gap, before, &cell, after] {
            text.push_str(part);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["b\u{1b}c\n".to_owned(), "100".to_owned()],
        ];
        let columns = [("name", Align::Left), ("n", Align::Right)];
        let expected = "name          n\na             1\nb\\u{1b}c\\n  100\n";
        assert_eq!(table(&columns, &rows), expected);
        let mut written = Vec::new();
        write_table(&mut written, &columns, || rows.iter().cloned()).unwrap();
        assert_eq!(written, expected.as_bytes());
    }

    #[test]
    fn wide_characters_take_two_cells_and_marks_none() {
        let rows = ["\u{6743}\u{91cd}", "e\u{301}t\u{e9}", "\u{1f600}.w"]
            .map(|name| vec![name.to_owned(), "1".to_owned()]);
        assert_eq!(
            table(&[("name", Align::Left), ("n", Align::Right)], &rows),
            "name  n\n\u{6743}\u{91cd}  1\ne\u{301}t\u{e9}   1\n\u{1f600}.w  1\n"
        );
    }

    #[test]
    fn direction_and_line_characters_are_escaped() {
        for c in ('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain([
                '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{9b}',
            ])
        {
            let text = table(&[("name", Align::Left)], &[vec![format!("a{c}b")]]);
            assert_eq!(text, format!("name\na\\u{{{:x}}}b\n", c as u32));
        }
    }
}
