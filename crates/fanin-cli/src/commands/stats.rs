//! `fanin stats` shows statistics of the tensors in a file, and flags values that cannot be chance.

use fanin::checkpoint::{self, Bounds, Examined, Expected, FALSE_ALARMS};

use crate::Failure;
use crate::args::StatsArguments;
use crate::format::{count, number_text, short_text};
use crate::model::{expected_fills, recipe_to_compare, warn_of_unlisted_in};
use crate::output::{print, print_json, status};
use crate::table::{Align, table};

pub fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    warn_of_unlisted_in(&arguments.file);
    let recipe = recipe_to_compare(&arguments.file, arguments.recipe.as_deref())?;
    let fills = match &recipe {
        Some(recipe) => expected_fills(&arguments.file, recipe)?,
        None => Vec::new(),
    };
    let rows = checkpoint::examine(&arguments.file, &fills)?;
    if arguments.json {
        return print_json(&rows);
    }
    let compared = recipe.is_some();
    let flagged = rows.iter().filter(|row| !row.flags.is_empty()).count();
    let mut columns = vec![
        ("name", Align::Left),
        ("shape", Align::Left),
        ("dtype", Align::Left),
        ("n", Align::Right),
    ];
    for (statistic, ..) in STATISTICS {
        columns.push((statistic, Align::Right));
        if compared {
            columns.push(("expected", Align::Right));
        }
    }
    if compared || flagged > 0 {
        columns.push(("flags", Align::Left));
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
    print(&table(&columns, &cells.collect::<Vec<_>>()))?;
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

/// A statistic's name, the function that reads its expected value, and the one that writes it.
type Statistic = (&'static str, fn(&Expected) -> &Bounds, fn(f64) -> String);

/// The statistics that are compared with a recipe.
const STATISTICS: [Statistic; 6] = [
    ("mean", |expected| &expected.mean, short_text),
    ("std", |expected| &expected.std, short_text),
    ("min", |expected| &expected.min, short_text),
    ("max", |expected| &expected.max, short_text),
    ("kurtosis", |expected| &expected.kurtosis, short_text),
    // Zeros are counted.
    (
        "zeros",
        |expected| &expected.zeros,
        |zeros| format!("{zeros:.0}"),
    ),
];

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
    for (seen, (_, of, text)) in seen.into_iter().zip(STATISTICS) {
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
