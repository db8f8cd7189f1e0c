//! `fanin recipe` lists the presets, or prints one, to read or as a starting point for your own.

use fanin::Recipe;

use crate::Failure;
use crate::args::RecipeArguments;
use crate::output::print;
use crate::table::{Column, print_table, terminal_width};

pub fn run(arguments: &RecipeArguments) -> Result<(), Failure> {
    match &arguments.name {
        Some(name) => print(Recipe::preset(name).map_err(Failure::usage)?.text()),
        None => print_table(
            &[Column::left("preset"), Column::left("for").folded()],
            &rows()?,
            terminal_width(),
        ),
    }
}

/// Returns a row for each preset: its name, and what it is for.
fn rows() -> Result<Vec<Vec<String>>, Failure> {
    let row = |name: &'static str| Ok(vec![name.to_owned(), about(Recipe::preset(name)?.text())]);
    Recipe::presets().map(row).collect()
}

/// Returns the beginning of a recipe's first comment, up to its first full stop or colon.
fn about(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    let words = comment.flat_map(str::split_whitespace);
    let mut about = String::new();
    for word in words {
        if !about.is_empty() {
            about.push(' ');
        }
        match word.strip_suffix(['.', ':']) {
            Some(last) => {
                about += last;
                break;
            }
            None => about += word,
        }
    }
    // A full stop can stand within parentheses.
    match about.rfind('(') {
        Some(open) if !about[open..].contains(')') => about[..open].trim_end().to_owned(),
        _ => about,
    }
}
