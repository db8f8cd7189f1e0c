//! Tables of text, which fit the terminal.

mod cut;
mod fit;

use std::io::{self, IsTerminal, Write};

use fanin::text::excerpt;
use unicode_width::UnicodeWidthStr;

use self::cut::cut_end;
pub use self::cut::{cut_middle, folded};
use self::fit::{Fit, fit};
use crate::Failure;
use crate::output::{print, status};

/// The blanks between two columns.
const GAP: &str = "  ";

/// A column of a table.
#[derive(Clone, Copy)]
pub struct Column {
    heading: &'static str,
    align: Align,
    kind: Kind,
    /// The place in the order in which columns are left out where the terminal is narrow: the highest
    /// rank first. A column of rank 0 is always shown.
    rank: u8,
}

/// The alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// The treatment of cells that are too long for the terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// They stay whole. A number that is cut would be another number.
    Whole,
    /// They are cut in the middle.
    Name,
    /// They are cut at the end.
    Text,
    /// They are folded into several lines.
    Folded,
}

impl Column {
    /// Returns a column of cells that stay whole and begin at the left.
    pub const fn left(heading: &'static str) -> Self {
        Column {
            heading,
            align: Align::Left,
            kind: Kind::Whole,
            rank: 0,
        }
    }

    /// Returns a column of numbers, which end at the right.
    pub const fn right(heading: &'static str) -> Self {
        Column {
            align: Align::Right,
            ..Column::left(heading)
        }
    }

    /// Makes the cells names, which can be cut in the middle.
    pub const fn name(mut self) -> Self {
        self.kind = Kind::Name;
        self
    }

    /// Makes the cells texts, which can be cut at the end.
    pub const fn text(mut self) -> Self {
        self.kind = Kind::Text;
        self
    }

    /// Makes the cells texts that can be folded into several lines.
    pub const fn folded(mut self) -> Self {
        self.kind = Kind::Folded;
        self
    }

    /// Sets the place in the order in which columns are left out: the highest rank first.
    pub const fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }

    /// Returns the text of a cell. It may hold untrusted text, which is escaped and cut as in messages.
    /// Texts that are folded are fanin's own.
    fn text_of(&self, cell: &str) -> String {
        match self.kind {
            Kind::Folded => cell.to_owned(),
            _ => excerpt(cell),
        }
    }

    /// Returns the lines of a cell.
    fn lines(&self, cell: &str, width: usize) -> Vec<String> {
        let cell = self.text_of(cell);
        match self.kind {
            _ if cell.width() <= width => vec![cell],
            Kind::Folded => folded(&cell, width),
            Kind::Text => vec![cut_end(&cell, width)],
            Kind::Name | Kind::Whole => vec![cut_middle(&cell, width)],
        }
    }
}

/// Returns the width of the terminal that standard output leads to, in characters, or `None` for a file
/// or a pipe. If the terminal does not know its width, `COLUMNS` gives it.
pub fn terminal_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = console::Term::stdout().size_checked();
    let width = size.map(|(_, columns)| usize::from(columns));
    let given = || std::env::var("COLUMNS").ok()?.parse().ok();
    width.or_else(given).filter(|&width| width > 0)
}

/// Prints a table that fits the width, if there is one, and says what it has no room for.
pub fn print_table(
    columns: &[Column],
    rows: &[Vec<String>],
    width: Option<usize>,
) -> Result<(), Failure> {
    let mut text = Vec::new();
    let fit = write_table(&mut text, columns, || rows.iter().cloned(), width);
    print(&String::from_utf8_lossy(&text))?;
    if let Some(unfit) = fit.ok().and_then(|fit| unfit(columns, &fit)) {
        status(&unfit);
    }
    Ok(())
}

/// Returns a line that says what a table has no room for, if anything.
pub fn unfit(columns: &[Column], fit: &Fit) -> Option<String> {
    let is_shown = |heading: &str| {
        let mut shown = fit.shown.iter();
        shown.any(|(i, _)| columns[*i].heading == heading)
    };
    let mut hidden: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    hidden.retain(|heading| !is_shown(heading));
    hidden.dedup();
    if fit.shown.len() < columns.len() {
        let hidden = hidden.join(", ");
        Some(format!("no room for {hidden}: --wide prints all"))
    } else {
        let line = "… stands for text that was cut: --wide prints all of it";
        fit.is_cut.then(|| line.to_owned())
    }
}

/// Writes a line of headings and the lines of each row, with two spaces between columns, and returns what
/// fits the width.
///
/// The iterator of rows runs twice, to measure and to write them, so that they need not be in memory.
/// Columns are aligned by the width of characters in a terminal, which is 2 for wide characters and 0 for
/// combining marks.
pub fn write_table<R: Iterator<Item = Vec<String>>>(
    out: &mut dyn Write,
    columns: &[Column],
    rows: impl Fn() -> R,
    width: Option<usize>,
) -> io::Result<Fit> {
    let fit = fit(columns, &widths(columns, rows()), width);
    let headings = columns.iter().map(|column| column.heading.to_owned());
    for row in std::iter::once(headings.collect()).chain(rows()) {
        out.write_all(lines(columns, &fit, &row).as_bytes())?;
    }
    Ok(fit)
}

/// Returns the width that each column needs.
fn widths(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .map(|column| column.heading.width())
        .collect();
    for row in rows {
        for ((width, cell), column) in widths.iter_mut().zip(&row).zip(columns) {
            *width = column.text_of(cell).width().max(*width);
        }
    }
    widths
}

/// Returns the lines of a row: one, or more if a cell is folded.
fn lines(columns: &[Column], fit: &Fit, row: &[String]) -> String {
    let cells = fit.shown.iter().map(|&(i, width)| {
        let cell = row.get(i).map_or("", String::as_str);
        (columns[i].align, width, columns[i].lines(cell, width))
    });
    let cells: Vec<(Align, usize, Vec<String>)> = cells.collect();
    let height = cells.iter().map(|(_, _, lines)| lines.len()).max();
    let mut text = String::new();
    for at in 0..height.unwrap_or(0) {
        for (column, (align, width, lines)) in cells.iter().enumerate() {
            let cell = lines.get(at).map_or("", String::as_str);
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            let gap = if column == 0 { "" } else { GAP };
            match align {
                Align::Left => text.extend([gap, cell, &blanks]),
                Align::Right => text.extend([gap, &blanks, cell]),
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
        let mut text = Vec::new();
        write_table(&mut text, columns, || rows.iter().cloned(), width).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_narrow_table_is_cut_and_folded() {
        let rows = [[
            "h.0.attn.c_attn.weight",
            "2359296",
            "two words that are folded",
        ]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let columns = [
            Column::left("name").name(),
            Column::right("bytes").rank(1),
            Column::left("note").folded(),
        ];
        assert_eq!(
            table(&columns, &rows, Some(48)),
            "name                   bytes  note
h.0…n.c_attn.weight  2359296  two words that are
                              folded
"
        );
        assert_eq!(
            table(&columns, &rows, Some(38)),
            "name                note
h.0….c_attn.weight  two words that are
                    folded
"
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["b\u{1b}c\n".to_owned(), "100".to_owned()],
        ];
        assert_eq!(
            table(&[Column::left("name"), Column::right("n")], &rows, None),
            "name          n\na             1\nb\\u{1b}c\\n  100\n"
        );
    }

    #[test]
    fn wide_characters_take_two_cells_and_marks_none() {
        let rows = ["\u{6743}\u{91cd}", "e\u{301}t\u{e9}", "\u{1f600}.w"]
            .map(|name| vec![name.to_owned(), "1".to_owned()]);
        assert_eq!(
            table(&[Column::left("name"), Column::right("n")], &rows, None),
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
            let text = table(&[Column::left("name")], &[vec![format!("a{c}b")]], None);
            assert_eq!(text, format!("name\na\\u{{{:x}}}b\n", c as u32));
        }
    }
}
