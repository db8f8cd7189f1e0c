//! `fanin stats`: what the weights in a file look like, and what of it cannot be chance.

use std::path::Path;

use fanin::Fill;
use fanin::checkpoint::{self, Bounds, Examined, Expected, FALSE_ALARMS};

use super::Failure;
use super::args::StatsArguments;
use super::init::{recipe, resolve};
use super::output::{count, print, print_json, say};
use super::table::{Align, table};

pub fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    let fills = match &arguments.recipe {
        Some(name) => expected_fills(&arguments.file, name)?,
        None => Vec::new(),
    };
    let rows = checkpoint::examine(&arguments.file, &fills)?;
    if arguments.json {
        return print_json(&rows);
    }
    let compared = arguments.recipe.is_some();
    let flagged = rows.iter().filter(|row| !row.flags.is_empty()).count();
    let mut columns = vec![
        ("name", Align::Left),
        ("shape", Align::Left),
        ("dtype", Align::Left),
        ("n", Align::Right),
    ];
    for (statistic, _) in STATISTICS {
        columns.push((statistic, Align::Right));
        if compared {
            columns.push(("expected", Align::Right));
        }
    }
    if compared || flagged > 0 {
        columns.push(("flags", Align::Left));
    }
    let cells = rows.iter().map(|row| {
        let mut cells = cells(row, compared);
        cells.truncate(columns.len());
        cells
    });
    print(&table(&columns, &cells.collect::<Vec<_>>()))?;
    if compared || flagged > 0 {
        say(&format!(
            "{} of {} flagged; by chance alone, one file in {:.0} has a flag",
            flagged,
            count(rows.len() as u128, "tensor"),
            1.0 / FALSE_ALARMS
        ));
    }
    Ok(())
}

/// What a recipe makes of the tensors of a file; of their distributions, no seed is part.
pub fn expected_fills(file: &Path, name: &str) -> Result<Vec<Fill>, Failure> {
    let recipe = recipe(name)?;
    let list = checkpoint::float_tensors(file)?;
    Ok(resolve(&recipe, &list, Some(0), None)?.into_fills())
}

/// A statistic's name, and where what is expected of it stands.
type Statistic = (&'static str, fn(&Expected) -> &Bounds);

/// The statistics that are compared.
const STATISTICS: [Statistic; 6] = [
    ("mean", |expected| &expected.mean),
    ("std", |expected| &expected.std),
    ("min", |expected| &expected.min),
    ("max", |expected| &expected.max),
    ("kurtosis", |expected| &expected.kurtosis),
    ("zeros", |expected| &expected.zeros),
];

fn cells(row: &Examined, compared: bool) -> Vec<String> {
    let missing = || "-".to_owned();
    let stats = &row.stats;
    // An empty tensor has no mean: nothing is wrong with it.
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
        // Where all elements are equal there is none: nothing is wrong with the tensor.
        number(stats.kurtosis.filter(|kurtosis| !kurtosis.is_nan())),
        stats.zeros.map_or_else(missing, |zeros| zeros.to_string()),
    ];
    let mut cells = vec![
        stats.name.clone(),
        format!("{:?}", stats.shape),
        stats.dtype.clone(),
        stats.n.to_string(),
    ];
    for (seen, (_, of)) in seen.into_iter().zip(STATISTICS) {
        cells.push(seen);
        if compared {
            let expected = row.expected.as_ref().map(|expected| of(expected).expected);
            let expected = expected.filter(|expected| !expected.is_nan());
            cells.push(expected.map_or_else(missing, short_text));
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

/// Four significant digits, without trailing zeros: what is expected is often a round number.
pub fn short_text(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    match rounded.abs() {
        0.0 => "0".to_owned(),
        size if (1e-4..1e7).contains(&size) => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

/// Six significant digits, like C's `%.6g`, but for trailing zeros that line columns up.
pub fn number_text(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    let magnitude = x.abs();
    if x == 0.0 || x == 1.0 || x == -1.0 || magnitude.is_infinite() {
        format!("{x}")
    } else if (1e-4..1e6).contains(&magnitude) {
        let digits_before = magnitude.log10().floor() as i32 + 1;
        let decimals = usize::try_from(6 - digits_before.min(6)).unwrap_or(0);
        format!("{x:.decimals$}")
    } else {
        format!("{x:.5e}")
    }
}

#[cfg(test)]
mod tests {
    use super::number_text;

    #[test]
    fn numbers_have_six_digits() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.019_999_461_470_250_85, "0.0199995"),
            (-3.25, "-3.25000"),
            (4.295_632_828e-6, "4.29563e-6"),
            (123_456.7, "123457"),
            (1e9, "1.00000e9"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number_text(x), text);
        }
    }
}
