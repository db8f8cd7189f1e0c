//! Numbers for tables, so that JavaScript uploads each table once. All normal fills share one table.

use std::cell::RefCell;
use std::sync::Arc;

/// The number of tables that are remembered, `TABLES` of `fanin.js`. A model has only a few different ones.
const REMEMBERED: usize = 16;

type Table = Arc<Vec<[u32; 2]>>;

#[derive(Default)]
struct Tables {
    /// A table is identified by its address. Holding it here keeps another table from getting the same address.
    known: Vec<(u32, Table)>,
    next: u32,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

/// Forgets all tables if there are too many.
pub fn forget() {
    TABLES.with_borrow_mut(|tables| {
        if tables.known.len() >= REMEMBERED {
            tables.known.clear();
        }
    });
}

/// Returns the number of a table. It is unique, even among forgotten tables.
pub fn number(table: &Table) -> u32 {
    TABLES.with_borrow_mut(|tables| {
        if let Some((number, _)) = tables
            .known
            .iter()
            .find(|(_, known)| Arc::ptr_eq(known, table))
        {
            return *number;
        }
        let number = tables.next;
        tables.next += 1;
        tables.known.push((number, Arc::clone(table)));
        number
    })
}

/// Returns the bytes of a table by its number, or `None` if it is forgotten.
pub fn contents(number: u32) -> Option<Vec<u8>> {
    TABLES.with_borrow(|tables| {
        let (_, table) = tables.known.iter().find(|(known, _)| *known == number)?;
        Some(
            table
                .iter()
                .flatten()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        )
    })
}
