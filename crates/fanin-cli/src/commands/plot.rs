//! `fanin plot` draws the distribution of weights, as a picture or in the terminal.

mod page;
mod probability;
mod terminal;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use fanin::checkpoint::{self, Examined, Histogram};
use fanin::init::{Distribution, DistributionKind, Law};
use fanin::text::shown;
use fanin::{Fill, FillPart, Recipe};

use crate::Failure;
use crate::args::PlotArguments;
use crate::format::count;
use crate::model::compared_with;
use crate::output::{check_picture, print, save_picture, status};

/// The maximum number of tensors that are drawn in detail.
const DETAILED: usize = 3;

/// The number of standard deviations around the mean that is drawn. Elements beyond are counted.
const REACH: f64 = 10.0;

/// A tensor that is drawn in detail.
struct Detail<'a> {
    row: &'a Examined,
    histogram: Histogram,
    expected: Option<Law>,
    /// The text of the recipe's distribution.
    drawn_from: Option<String>,
    /// The share of the elements that are random. The rest are zeros by design.
    random_share: f64,
}

pub fn run(arguments: &PlotArguments) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        check_picture(out)?;
    }
    let file = &arguments.file;
    let (recipe, fills) = compared_with(file, arguments.recipe.as_deref())?;
    let mut rows = checkpoint::examine(file, &fills)?;
    if let Some(pattern) = &arguments.tensor {
        let names: Vec<&str> = rows.iter().map(|row| row.stats.name.as_str()).collect();
        let picked = fanin::recipe::select(pattern, &names).map_err(Failure::usage)?;
        let mut picked = picked.into_iter().peekable();
        let mut i = 0;
        rows.retain(|_| {
            let keep = picked.next_if_eq(&i).is_some();
            i += 1;
            keep
        });
    }
    let fills: HashMap<&str, &Fill> = fills.iter().map(|fill| (fill.name(), fill)).collect();
    let details = details(file, &rows, &fills)?;
    let has_spread = rows.len() > 1 && spreads(&rows).iter().any(|&(_, std)| std != 0.0);
    if details.is_empty() && !has_spread {
        return Err(Failure::Run(format!(
            "{}: no selected tensor can be drawn: a tensor needs differing finite elements in f64, \
             f32, f16, bf16, f8_e4m3 or f8_e5m2, with a std and a range from {:e} to {:e}",
            shown(file),
            DRAWN.start,
            DRAWN.end
        )));
    }
    let recipe = recipe.as_ref().map(Recipe::name);
    let (detailed, more) = match &arguments.out {
        Some(out) => {
            let page = page::page(file, recipe, &rows, &details);
            save_picture(&page, out, arguments.overwrite)?;
            (details.len(), format!(", to {}", shown(out)))
        }
        None => {
            print(&terminal::view(&rows, &details))?;
            let more = "; --out FILE.svg or FILE.png draws a picture".to_owned();
            (details.len().min(terminal::DETAILED), more)
        }
    };
    // A recipe that was not asked for is named.
    let against = match (recipe, &arguments.recipe) {
        (Some(name), None) => format!(", against recipe {name} of the file's metadata"),
        _ => String::new(),
    };
    status(&format!("{}{against}{more}", drawn(&rows, detailed)));
    Ok(())
}

/// Returns the first tensors whose elements vary. Of tensors with the same expected distribution,
/// only the first is taken.
fn details<'a>(
    file: &Path,
    rows: &'a [Examined],
    fills: &HashMap<&str, &Fill>,
) -> Result<Vec<Detail<'a>>, Failure> {
    let mut texts = HashSet::new();
    let text = |row: &Examined| Some(row.expected.as_ref()?.distribution.clone());
    let varied = rows.iter().filter(|row| range(row).is_some());
    let differing = varied.filter(|row| text(row).is_none_or(|text| texts.insert(text)));
    let first: Vec<&Examined> = differing.take(DETAILED).collect();
    let wanted: Vec<_> = first
        .iter()
        .filter_map(|row| Some((row.stats.name.as_str(), range(row)?)))
        .collect();
    let histograms = checkpoint::histograms(file, &wanted)?;
    let details = first.iter().zip(histograms).map(|(row, histogram)| {
        let fill = fills.get(row.stats.name.as_str());
        Detail {
            row,
            histogram,
            expected: fill
                .filter(|fill| is_random(fill))
                .and_then(|fill| fill.law()),
            random_share: fill.map_or(1.0, |fill| random_share(fill, row)),
            drawn_from: fill.map(|fill| match fill.parts().len() {
                0 => fill.distribution().to_string(),
                parts => format!(
                    "{} in {}",
                    fill.distribution(),
                    count(parts as u128 + 1, "part")
                ),
            }),
        }
    });
    Ok(details.collect())
}

/// Returns true unless a tensor has parts, of which some are not random. Its law is that of the random ones
/// alone.
fn is_random(fill: &Fill) -> bool {
    let parts = fill.parts().iter().map(FillPart::distribution);
    let mut all = std::iter::once(fill.distribution()).chain(parts);
    fill.parts().is_empty()
        || all.all(|distribution| distribution.law().is_some() && !has_zeros(distribution))
}

/// Returns true if a distribution sets some elements to zero. Others round to zero in a narrow dtype.
fn has_zeros(distribution: &Distribution) -> bool {
    let kind = distribution.kind();
    matches!(
        kind,
        DistributionKind::Sparse { .. } | DistributionKind::NormalWithZeroRow { .. }
    )
}

fn random_share(fill: &Fill, row: &Examined) -> f64 {
    match &row.expected {
        Some(expected) if has_zeros(fill.distribution()) => {
            1.0 - expected.zeros.expected / row.stats.n as f64
        }
        _ => 1.0,
    }
}

/// Returns the range of a tensor's histogram, or `None` if its elements are all equal, not finite, or too
/// large or small to be drawn.
fn range(row: &Examined) -> Option<std::ops::Range<f64>> {
    let stats = &row.stats;
    let (mean, std) = (stats.mean?, stats.std?);
    let (min, max) = (stats.min?, stats.max?);
    let low = min.max(mean - REACH * std);
    let high = max.min(mean + REACH * std);
    (DRAWN.contains(&std) && DRAWN.contains(&(high - low))).then_some(low..high)
}

/// The standard deviations and the ranges that are drawn. Beyond them, the marks of an axis would be no
/// binary64.
const DRAWN: std::ops::Range<f64> = 1e-300..1e300;

/// Returns number, in the file's order, and std of the tensors whose std can be drawn.
fn spreads(rows: &[Examined]) -> Vec<(f64, f64)> {
    let numbered = (1..).map(f64::from).zip(rows);
    let spreads = numbered.filter_map(|(number, row)| Some((number, row.stats.std?)));
    spreads
        .filter(|(_, std)| *std == 0.0 || DRAWN.contains(std))
        .collect()
}

/// Says how many tensors are drawn and how many are not, for example "1 of 50 tensors drawn in detail
/// (--tensor selects others), and the std of 148 tensors; without 1 tensor of integers".
fn drawn(rows: &[Examined], detailed: usize) -> String {
    let number = |holds: &dyn Fn(&Examined) -> bool| rows.iter().filter(|row| holds(row)).count();
    let is_float = |row: &Examined| row.stats.std.is_some();
    let finite = |row: &Examined| row.stats.std.is_some_and(f64::is_finite);
    let empty = |row: &Examined| row.stats.n == 0;
    let varied = count(number(&|row| range(row).is_some()) as u128, "tensor");
    let mut text = format!("{detailed} of {varied} with differing elements drawn in detail");
    if number(&|row| range(row).is_some()) > detailed {
        text += " (--tensor selects others)";
    }
    if rows.len() > 1 {
        let spreads = count(spreads(rows).len() as u128, "tensor");
        text += &format!(", and the std of {spreads}");
    }
    let kinds = [
        (number(&|row| !is_float(row)), "of integers or bytes"),
        (
            number(&|row| is_float(row) && empty(row)),
            "without elements",
        ),
        (
            number(&|row| is_float(row) && !empty(row) && !finite(row)),
            "with NaN or infinities",
        ),
        (
            number(&|row| finite(row) && row.stats.std != Some(0.0) && range(row).is_none()),
            "with elements too large or too small to be drawn",
        ),
    ];
    let kinds = kinds.iter().filter(|(tensors, _)| *tensors > 0);
    let kinds: Vec<String> = kinds
        .map(|(tensors, what)| format!("{} {what}", count(*tensors as u128, "tensor")))
        .collect();
    if !kinds.is_empty() {
        text += &format!("; not drawn: {}", kinds.join(", "));
    }
    text
}
