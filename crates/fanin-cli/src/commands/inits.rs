//! `fanin inits` lists the initializers.

use fanin::init::{CATALOGUE, markdown};

use crate::Failure;
use crate::args::InitsArguments;
use crate::output::print;
use crate::table::{Align, table};

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
    let columns = [
        ("initializer", Align::Left),
        ("an element is", Align::Left),
        ("known as", Align::Left),
    ];
    print(&table(&columns, &rows))
}
