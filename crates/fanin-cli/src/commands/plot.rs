//! `fanin plot`: how weights are distributed, as a picture or in the terminal.

mod terminal;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use fanin::checkpoint::{self, Examined, Histogram};
use fanin::init::Law;
use fanin::{Fill, recipe};
use fanin_plot::{Axis, Page, Panel};

use crate::Failure;
use crate::args::PlotArguments;
use crate::format::{count, short_text};
use crate::model::expected_fills;
use crate::output::{print, status};

/// The tensors that are drawn in detail at most.
const DETAILED: usize = 3;

/// Beyond so many standard deviations from the mean, elements are counted only.
const REACH: f64 = 10.0;

/// A tensor that is drawn in detail.
struct Detail<'a> {
    row: &'a Examined,
    histogram: Histogram,
    expected: Option<Law>,
    /// The recipe's initializer, as text.
    drawn_from: Option<String>,
}

pub fn run(arguments: &PlotArguments) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        Page::check_path(out).map_err(Failure::usage)?;
    }
    let file = &arguments.file;
    let fills = match &arguments.recipe {
        Some(name) => expected_fills(file, name)?,
        None => Vec::new(),
    };
    let mut rows = checkpoint::examine(file, &fills)?;
    if let Some(pattern) = &arguments.tensor {
        let names: Vec<&str> = rows.iter().map(|row| row.stats.name.as_str()).collect();
        let picked = recipe::select(pattern, &names).map_err(Failure::usage)?;
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
    for line in left_out(&rows, details.len()) {
        status(&line);
    }
    if details.is_empty() && spreads(&rows).is_empty() {
        return Err(Failure::Run(format!(
            "{}: no tensor that was asked for has elements that differ, in f64, f32, f16 or bf16",
            file.display()
        )));
    }
    match &arguments.out {
        Some(out) => {
            page(arguments, &rows, &details).save(out)?;
            let tensors = count(rows.len() as u128, "tensor");
            status(&format!("{tensors}, to {}", out.display()));
            Ok(())
        }
        None => print(&terminal::view(&rows, &details)),
    }
}

/// The first tensors that have a distribution to be drawn, each another one.
fn details<'a>(
    file: &Path,
    rows: &'a [Examined],
    fills: &HashMap<&str, &Fill>,
) -> Result<Vec<Detail<'a>>, Failure> {
    let mut texts = HashSet::new();
    let text = |row: &Examined| Some(row.expected.as_ref()?.distribution.clone());
    // Of those that a recipe says are alike, one.
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
            expected: fill.and_then(|fill| fill.distribution().law()),
            drawn_from: fill.map(|fill| fill.distribution().to_string()),
        }
    });
    Ok(details.collect())
}

/// Where a tensor's elements are counted; None where they are all equal, or not finite.
fn range(row: &Examined) -> Option<std::ops::Range<f64>> {
    let stats = &row.stats;
    let (mean, std) = (stats.mean?, stats.std?);
    let (min, max) = (stats.min?, stats.max?);
    let low = min.max(mean - REACH * std);
    let high = max.min(mean + REACH * std);
    (std > 0.0 && (high - low).is_finite() && low < high).then_some(low..high)
}

/// Number in the file's order, and std, of the tensors that have one above 0.
fn spreads(rows: &[Examined]) -> Vec<(f64, f64)> {
    let numbered = (1..).map(f64::from).zip(rows);
    let spreads = numbered.filter_map(|(number, row)| Some((number, row.stats.std?)));
    spreads
        .filter(|(_, std)| *std > 0.0 && std.is_finite())
        .collect()
}

/// What is not drawn, and why.
fn left_out(rows: &[Examined], detailed: usize) -> Vec<String> {
    let number = |holds: &dyn Fn(&Examined) -> bool| rows.iter().filter(|row| holds(row)).count();
    let is_float = |row: &Examined| row.stats.std.is_some();
    let finite = |row: &Examined| row.stats.std.is_some_and(f64::is_finite);
    let empty = |row: &Examined| row.stats.n == 0;
    let kinds = [
        (
            number(&|row| !is_float(row)),
            "of integers, or floats of a byte",
        ),
        (
            number(&|row| is_float(row) && empty(row)),
            "without elements",
        ),
        (
            number(&|row| is_float(row) && !empty(row) && !finite(row)),
            "with NaN or infinities",
        ),
        (
            number(&|row| row.stats.std == Some(0.0)),
            "of equal elements",
        ),
    ];
    let mut lines: Vec<String> = kinds
        .iter()
        .filter(|(tensors, _)| *tensors > 0)
        .map(|(tensors, what)| format!("{} {what}: not drawn", count(*tensors as u128, "tensor")))
        .collect();
    let varied = number(&|row| range(row).is_some());
    if varied > detailed {
        lines.push(format!(
            "{} of {} drawn in detail: --tensor picks others",
            detailed,
            count(varied as u128, "tensor")
        ));
    }
    lines
}

fn page(arguments: &PlotArguments, rows: &[Examined], details: &[Detail]) -> Page {
    let name = arguments
        .file
        .file_name()
        .unwrap_or(arguments.file.as_os_str());
    let elements: u128 = rows.iter().map(|row| u128::from(row.stats.n)).sum();
    let flagged = rows.iter().filter(|row| !row.flags.is_empty()).count();
    let against = match &arguments.recipe {
        Some(recipe) => format!(
            ", against recipe {recipe}: {}",
            match flagged {
                0 => "nothing beyond chance".to_owned(),
                _ => format!(
                    "{} off by more than chance",
                    count(flagged as u128, "tensor")
                ),
            }
        ),
        None => String::new(),
    };
    let note = format!(
        "{} in {}{against}",
        count(elements, "parameter"),
        count(rows.len() as u128, "tensor")
    );
    let mut page = Page::new(name.to_string_lossy()).note(note).columns(2);
    for detail in details {
        page = page
            .panel(histogram_panel(detail))
            .panel(quantile_panel(detail));
    }
    if rows.len() > 1 {
        page = page.panel(spread_panel(rows));
    }
    page
}

/// Laws to compare with, and what they are called.
fn laws(detail: &Detail) -> Vec<(String, Law)> {
    match (detail.expected, &detail.drawn_from) {
        (Some(law), Some(text)) => vec![(format!("expected: {text}"), law)],
        // Drawn from something that has no density: nothing is guessed.
        (None, Some(_)) => Vec::new(),
        _ => {
            let (mean, std) = mean_and_std(detail);
            let half = std * 3f64.sqrt();
            vec![
                ("fitted normal".to_owned(), Law::normal(mean, std)),
                (
                    "fitted uniform".to_owned(),
                    Law::uniform(mean - half, mean + half),
                ),
            ]
        }
    }
}

fn mean_and_std(detail: &Detail) -> (f64, f64) {
    let stats = &detail.row.stats;
    (
        stats.mean.unwrap_or(f64::NAN),
        stats.std.unwrap_or(f64::NAN),
    )
}

/// The share of a tensor that is drawn; the rest are zeros by design.
fn drawn_share(detail: &Detail) -> f64 {
    let expected = detail.row.expected.as_ref();
    let zeros = expected.map_or(0.0, |expected| expected.zeros.expected);
    1.0 - zeros / detail.row.stats.n as f64
}

fn histogram_panel(detail: &Detail) -> Panel {
    let stats = &detail.row.stats;
    let shape: Vec<String> = stats.shape.iter().map(u64::to_string).collect();
    let mut note = format!("{} {}", stats.dtype, shape.join(" × "));
    if let Some(std) = stats.std {
        note += &format!(", std {}", short_text(std));
    }
    if let Some(kurtosis) = stats.kurtosis.filter(|kurtosis| kurtosis.is_finite()) {
        note += &format!(", kurtosis {}", short_text(kurtosis));
    }
    if detail.histogram.outside() > 0 {
        let outside = count(detail.histogram.outside().into(), "element");
        note += &format!("; {outside} beyond {REACH} std, not drawn");
    }
    for flag in &detail.row.flags {
        note += &format!("; {}", flag.text);
    }
    // More elements show finer detail.
    let bins = (2.0 * (stats.n as f64).cbrt()).clamp(8.0, 64.0) as usize;
    let mut panel = Panel::new(&stats.name, Axis::linear("weight"), Axis::linear("density"))
        .note(note)
        .bars("seen", detail.histogram.bars(bins));
    let Some(range) = range(detail.row) else {
        return panel;
    };
    for (i, (name, law)) in laws(detail).into_iter().enumerate() {
        let share = drawn_share(detail);
        let curve = curve(&law, &range).into_iter().map(|(x, y)| (x, share * y));
        panel = panel.line(name, curve);
        panel = if i == 0 {
            panel.reference()
        } else {
            panel.thin()
        };
    }
    panel
}

/// The density along a range, and around it where the law ends there.
fn curve(law: &Law, range: &std::ops::Range<f64>) -> Vec<(f64, f64)> {
    const POINTS: u32 = 240;
    let (low, high) = law.support();
    let step = (range.end - range.start) / f64::from(POINTS);
    let mut xs: Vec<f64> = (0..=POINTS)
        .map(|i| range.start + step * f64::from(i))
        .collect();
    // Where it jumps, it is upright.
    for end in [low, high] {
        if end.is_finite() {
            let next = 1e-9 * (range.end - range.start);
            xs.extend([end - next, end, end + next]);
        }
    }
    xs.sort_by(f64::total_cmp);
    xs.into_iter().map(|x| (x, law.density(x))).collect()
}

fn quantile_panel(detail: &Detail) -> Panel {
    let panel =
        |title: &str, x: &str| Panel::new(title, Axis::linear(x), Axis::linear("seen quantile"));
    let laws = laws(detail);
    let share = drawn_share(detail);
    if laws.is_empty() || share < 0.999 {
        let what = detail.drawn_from.as_deref().unwrap_or_default();
        let title = format!("Quantiles: none are compared, of {what}");
        return panel(&title, "share")
            .points(
                "seen",
                shares(detail.row.stats.n)
                    .into_iter()
                    .map(|p| (p.value(), detail.histogram.quantile(p.value()))),
            )
            .thin();
    }
    let fitted = detail.drawn_from.is_none();
    let x = if fitted {
        "fitted quantile"
    } else {
        "expected quantile"
    };
    let n = detail.row.stats.n as f64;
    let shares = shares(detail.row.stats.n);
    let mut chart = panel("Quantiles", x).note(match fitted {
        true => "on the line, the weights are of the fitted distribution",
        false => "on the line, the weights are as expected",
    });
    for (i, (name, law)) in laws.iter().enumerate() {
        let at = |share: Share| law_quantile(law, share);
        if i == 0 {
            let (low, high) = (at(shares[0]), at(shares[shares.len() - 1]));
            chart = chart.line("", [(low, low), (high, high)]).reference();
            let band = shares.iter().map(|&p| {
                let (from, to) = p.band(n);
                (at(p), at(from), at(to))
            });
            chart = chart
                .band("99 % of samples, at each point", band)
                .reference();
        }
        let seen = |p: Share| detail.histogram.quantile(p.value());
        let name = if fitted {
            format!("against {name}")
        } else {
            "seen".to_owned()
        };
        chart = chart
            .points(name, shares.iter().map(|&p| (at(p), seen(p))))
            .thin();
    }
    chart
}

/// A share of a distribution, by its smaller side, so that it has digits in both tails.
#[derive(Clone, Copy)]
struct Share {
    tail: f64,
    upper: bool,
}

impl Share {
    fn value(self) -> f64 {
        if self.upper {
            1.0 - self.tail
        } else {
            self.tail
        }
    }

    /// Where the quantile of this share of n draws lies in 99 of 100 samples, as shares of the
    /// distribution. The number of draws below a point is binomial; by Chernoff's bound it is off by
    /// more with a probability below exp(-n times the relative entropy).
    fn band(self, n: f64) -> (Share, Share) {
        let needed = (2.0f64 / 0.01).ln() / n;
        let p = self.tail;
        let entropy = |q: f64| {
            let part = |a: f64, b: f64| if a <= 0.0 { 0.0 } else { a * (a / b).ln() };
            part(p, q) + part(1.0 - p, 1.0 - q)
        };
        let edge = |end: f64| {
            let (mut near, mut far) = (p, end);
            for _ in 0..60 {
                // By ratios, for the small side; by differences, for the other.
                let middle = if end < p {
                    (near * far.max(1e-300)).sqrt()
                } else {
                    0.5 * (near + far)
                };
                if entropy(middle) < needed {
                    near = middle;
                } else {
                    far = middle;
                }
            }
            far
        };
        let share = |tail: f64| match tail <= 0.5 {
            true => Share {
                tail,
                upper: self.upper,
            },
            false => Share {
                tail: 1.0 - tail,
                upper: !self.upper,
            },
        };
        let (less, more) = (share(edge(0.0)), share(edge(1.0)));
        if self.upper {
            (more, less)
        } else {
            (less, more)
        }
    }
}

fn law_quantile(law: &Law, share: Share) -> f64 {
    match share.upper {
        true => law.quantile_above(share.tail),
        false => law.quantile_below(share.tail),
    }
}

/// Shares that lie evenly on the scale of a normal distribution, from the first of n draws to the
/// last.
fn shares(n: u64) -> Vec<Share> {
    const HALF: i32 = 40;
    let normal = Law::normal(0.0, 1.0);
    let farthest = normal.quantile_above((0.5 / n as f64).min(0.4));
    let steps = (-HALF..=HALF).map(|i| {
        let z = farthest * f64::from(i) / f64::from(HALF);
        Share {
            tail: normal.above(z.abs()),
            upper: i > 0,
        }
    });
    steps.collect()
}

fn spread_panel(rows: &[Examined]) -> Panel {
    let expected = (1..)
        .map(f64::from)
        .zip(rows)
        .filter_map(|(number, row)| Some((number, row.expected.as_ref()?.std.expected)));
    let expected: Vec<(f64, f64)> = expected.collect();
    let mut panel = Panel::new(
        "Spread of each tensor",
        Axis::linear("tensor, in the file's order"),
        Axis::log10("std, log scale"),
    )
    .wide();
    let seen = spreads(rows);
    if !expected.is_empty() {
        // A short mark at each tensor, which the point of what is seen lies on.
        let marks = expected.iter().flat_map(|&(number, std)| {
            [(number - 1.2, std), (number + 1.2, std), (number, f64::NAN)]
        });
        panel = panel.line("expected", marks).reference().solid();
    }
    panel.points("seen", seen).thin()
}
