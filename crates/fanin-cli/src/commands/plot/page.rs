//! The page that `fanin plot` saves: histograms, quantiles, and the std of each tensor.

use std::path::Path;

use fanin::checkpoint::Examined;
use fanin::init::Law;
use fanin_plot::{Axis, Page, Panel};

use super::probability::{Probability, quantile, spaced};
use super::{Detail, REACH, range, spreads};
use crate::format::{count, short_text};

/// Returns the page with two panels for each tensor in detail, and one with the std of all tensors.
pub fn page(file: &Path, recipe: Option<&str>, rows: &[Examined], details: &[Detail]) -> Page {
    let name = file.file_name().unwrap_or(file.as_os_str());
    let elements: u128 = rows.iter().map(|row| u128::from(row.stats.n)).sum();
    let flagged = rows.iter().filter(|row| !row.flags.is_empty()).count();
    let against = match recipe {
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

/// Returns the names and laws of the distributions to compare with.
pub fn laws(detail: &Detail) -> Vec<(String, Law)> {
    match (detail.expected.clone(), &detail.drawn_from) {
        (Some(law), Some(text)) => vec![(format!("expected: {text}"), law)],
        // The expected distribution has no density, so none is drawn.
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

/// Returns the tensor's mean and std.
fn mean_and_std(detail: &Detail) -> (f64, f64) {
    let stats = &detail.row.stats;
    (
        stats.mean.unwrap_or(f64::NAN),
        stats.std.unwrap_or(f64::NAN),
    )
}

/// Returns the panel with a tensor's histogram and the densities to compare it with.
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
    // The Rice rule: the number of bins grows with the cube root of the number of elements.
    let bins = (2.0 * (stats.n as f64).cbrt()).clamp(8.0, 64.0) as usize;
    let mut panel = Panel::new(&stats.name, Axis::linear("weight"), Axis::linear("density"))
        .note(note)
        .bars("seen", detail.histogram.bars(bins));
    let Some(range) = range(detail.row) else {
        return panel;
    };
    for (i, (name, law)) in laws(detail).into_iter().enumerate() {
        let share = detail.random_share;
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

/// Returns points of the density along a range.
fn curve(law: &Law, range: &std::ops::Range<f64>) -> Vec<(f64, f64)> {
    const POINTS: u32 = 240;
    let (low, high) = law.support();
    let step = (range.end - range.start) / f64::from(POINTS);
    let mut xs: Vec<f64> = (0..=POINTS)
        .map(|i| range.start + step * f64::from(i))
        .collect();
    // Points on both sides of the ends of the support make jumps of the density vertical.
    for end in [low, high] {
        if end.is_finite() {
            let next = 1e-9 * (range.end - range.start);
            xs.extend([end - next, end, end + next]);
        }
    }
    xs.sort_by(f64::total_cmp);
    xs.into_iter().map(|x| (x, law.density(x))).collect()
}

/// Returns the panel that compares a tensor's quantiles with those of a distribution.
fn quantile_panel(detail: &Detail) -> Panel {
    let panel =
        |title: &str, x: &str| Panel::new(title, Axis::linear(x), Axis::linear("seen quantile"));
    let laws = laws(detail);
    if laws.is_empty() || detail.random_share < 0.999 {
        let what = detail.drawn_from.as_deref().unwrap_or_default();
        let title = format!("Quantiles, not compared: {what}");
        return panel(&title, "share")
            .points(
                "seen",
                spaced(detail.row.stats.n)
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
    let points = spaced(detail.row.stats.n);
    let mut chart = panel("Quantiles", x).note(match fitted {
        true => "points on the line: the weights have the fitted distribution",
        false => "points on the line: the weights are as expected",
    });
    for (i, (name, law)) in laws.iter().enumerate() {
        let at = |p: Probability| quantile(law, p);
        if i == 0 {
            let (low, high) = (at(points[0]), at(points[points.len() - 1]));
            chart = chart.line("", [(low, low), (high, high)]).reference();
            let band = points.iter().map(|&p| {
                let (from, to) = p.band(n);
                (at(p), at(from), at(to))
            });
            chart = chart
                .band("99 % of samples, at each point", band)
                .reference();
        }
        let seen = |p: Probability| detail.histogram.quantile(p.value());
        let name = if fitted {
            format!("against {name}")
        } else {
            "seen".to_owned()
        };
        chart = chart
            .points(name, points.iter().map(|&p| (at(p), seen(p))))
            .thin();
    }
    chart
}

/// Returns the panel with the std of every tensor.
fn spread_panel(rows: &[Examined]) -> Panel {
    let expected = (1..)
        .map(f64::from)
        .zip(rows)
        .filter_map(|(number, row)| Some((number, row.expected.as_ref()?.std.expected)));
    let expected: Vec<(f64, f64)> = expected.collect();
    let mut panel = Panel::new(
        "Spread of each tensor",
        Axis::whole("tensor, in the file's order").range(0.5..rows.len() as f64 + 0.5),
        Axis::log10("std, log scale").with_zero(),
    )
    .wide();
    let seen = spreads(rows);
    if !expected.is_empty() {
        // A short horizontal mark at each tensor, behind the point of the measured std.
        let marks = expected.iter().flat_map(|&(number, std)| {
            [(number - 0.4, std), (number + 0.4, std), (number, f64::NAN)]
        });
        panel = panel.line("expected", marks).reference().solid();
    }
    panel.points("seen", seen).thin()
}
