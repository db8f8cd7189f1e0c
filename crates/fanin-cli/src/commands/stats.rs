//! `fanin stats` shows statistics of the tensors in a file, and flags values that cannot be chance.

use fanin::checkpoint::{self, Bounds, Examined, Expected, FALSE_ALARMS};

use crate::Failure;
use crate::args::StatsArguments;
use crate::format::{count, number_text, short_text};
use crate::model::compared_with;
use crate::output::{print_json, status};
use crate::table::{Column, print_table};

pub fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    let (recipe, fills) = compared_with(&arguments.file, arguments.recipe.as_deref())?;
    if let (Some(recipe), None) = (&recipe, &arguments.recipe) {
        let name = recipe.name();
        status(&format!(
            "compared with recipe {name}, which the file's metadata name"
        ));
    }
    let rows = checkpoint::examine(&arguments.file, &fills)?;
    if arguments.json {
        return print_json(&rows);
    }
    let compared = recipe.is_some();
    let flagged = rows.iter().filter(|row| !row.flags.is_empty()).count();
    let mut columns = vec![
        Column::left("name").name(),
        Column::left("shape").rank(LEAST - 2),
        Column::left("dtype").rank(LEAST),
        Column::right("n").rank(LEAST - 1),
    ];
    for Statistic { name, rank, .. } in STATISTICS {
        columns.push(Column::right(name).rank(rank));
        if compared {
            columns.push(Column::right("expected").rank(rank + 1));
        }
    }
    if compared || flagged > 0 {
        columns.push(Column::left("flags").folded().rank(1));
    }
    // A tensor's row, and one for each of its parts.
    let all = rows
        .iter()
        .flat_map(|row| std::iter::once(row).chain(&row.parts));
    let cells = all.map(|row| {
        let mut cells = cells(row, compared);
        cells.truncate(columns.len());
        cells
    });
    let cells: Vec<_> = cells.collect();
    print_table(&columns, &cells, arguments.table.width())?;
    if compared || flagged > 0 {
        status(&format!(
            "{} of {} flagged; one file in {:.0} has a flag by chance",
            flagged,
            count(rows.len() as u128, "tensor"),
            1.0 / FALSE_ALARMS
        ));
    }
    Ok(())
}

/// A statistic that is compared with a recipe.
struct Statistic {
    name: &'static str,
    /// Reads its expected value.
    of: fn(&Expected) -> &Bounds,
    /// Writes its expected value.
    text: fn(f64) -> String,
    /// The place in the order in which columns are left out. The next one is that of the expected value.
    rank: u8,
}

/// The highest rank: that of the column that is left out first.
const LEAST: u8 = 15;

const STATISTICS: [Statistic; 6] = [
    statistic("mean", |expected| &expected.mean, 3),
    statistic("std", |expected| &expected.std, 1),
    statistic("min", |expected| &expected.min, 5),
    statistic("max", |expected| &expected.max, 7),
    statistic("kurtosis", |expected| &expected.kurtosis, 11),
    Statistic {
        // Zeros are counted.
        text: |zeros| format!("{zeros:.0}"),
        ..statistic("zeros", |expected| &expected.zeros, 9)
    },
];

const fn statistic(name: &'static str, of: fn(&Expected) -> &Bounds, rank: u8) -> Statistic {
    Statistic {
        name,
        of,
        text: short_text,
        rank,
    }
}

fn cells(row: &Examined, compared: bool) -> Vec<String> {
    let missing = || "-".to_owned();
    let stats = &row.stats;
    // The mean of an empty tensor is NaN, which is no fault.
    let number = |number: Option<f64>| {
        number
            .filter(|_| stats.n > 0)
            .map_or_else(missing, number_text)
    };
    let seen = [
        number(stats.mean),
        number(stats.std),
        number(stats.min),
        number(stats.max),
        // The kurtosis of equal elements is undefined, which is no fault.
        number(stats.kurtosis.filter(|kurtosis| !kurtosis.is_nan())),
        stats.zeros.map_or_else(missing, |zeros| zeros.to_string()),
    ];
    let mut cells = vec![
        stats.name.clone(),
        format!("{:?}", stats.shape),
        stats.dtype.clone(),
        stats.n.to_string(),
    ];
    for (seen, Statistic { of, text, .. }) in seen.into_iter().zip(STATISTICS) {
        cells.push(seen);
        if compared {
            let expected = row.expected.as_ref().map(|expected| of(expected).expected);
            let expected = expected.filter(|expected| !expected.is_nan());
            cells.push(expected.map_or_else(missing, text));
        }
    }
    let flags: Vec<&str> = row.flags.iter().map(|flag| flag.text.as_str()).collect();
    cells.push(if flags.is_empty() {
        missing()
    } else {
        flags.join(", ")
    });
    cells
}
