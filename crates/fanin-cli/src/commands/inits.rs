//! `fanin inits` lists the initializers.

use fanin::init::{CATALOGUE, markdown};

use crate::Failure;
use crate::args::InitsArguments;
use crate::output::print;
use crate::table::{Column, folded, print_table};

pub fn run(arguments: &InitsArguments) -> Result<(), Failure> {
    if arguments.markdown {
        return print(&markdown());
    }
    let rows: Vec<Vec<String>> = CATALOGUE
        .iter()
        .map(|entry| {
            vec![
                entry.signature(),
                entry.formula.to_owned(),
                entry.frameworks.to_owned(),
            ]
        })
        .collect();
    match arguments.table.width() {
        Some(width) => print(&list(&rows, width)),
        None => {
            let columns = ["initializer", "an element is", "known as"].map(Column::left);
            print_table(&columns, &rows, None)
        }
    }
}

/// Returns the rows as a list, because three columns of sentences do not fit a terminal: each cell on
/// lines of its own, the initializer at the margin.
fn list(rows: &[Vec<String>], width: usize) -> String {
    const INDENT: &str = "    ";
    let mut text = String::new();
    for (row, cell) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let lines = folded(cell, width.saturating_sub(INDENT.len()));
        for (line, cell) in lines.iter().enumerate() {
            let is_margin = row == 0 && line == 0;
            text.extend([if is_margin { "" } else { INDENT }, cell, "\n"]);
        }
    }
    text
}
