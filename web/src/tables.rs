//! Numbers for tables, so that JavaScript uploads each once: normal fills all share one.

use std::cell::RefCell;
use std::sync::Arc;

/// Tables that are remembered, as in `fanin::gpu`: a model has a handful of distinct ones.
const REMEMBERED: usize = 16;

type Table = Arc<Vec<[u32; 2]>>;

#[derive(Default)]
struct Tables {
    /// Held, so that no other table can take the place in memory that tells one from others.
    known: Vec<(u32, Table)>,
    next: u32,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

/// Forgets all tables, where there are many.
pub fn forget() {
    TABLES.with_borrow_mut(|tables| {
        if tables.known.len() >= REMEMBERED {
            tables.known.clear();
        }
    });
}

/// The number of a table. No two tables have the same one, also those that are forgotten.
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

/// The bytes of a table, by its number, unless it is forgotten.
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
