//! `fanin signal`: what starts do to the signal of a deep network.

use std::ops::Range;

use fanin::Init;
use fanin_plot::{Axis, Page, Panel};
use fanin_signal::{Activation, Layer, Network, Signal, Trend, Verdict};
use rayon::prelude::*;
use serde::Serialize;

use crate::Failure;
use crate::args::SignalArguments;
use crate::format::count;
use crate::output::{print, print_json, progress_bar, status};
use crate::table::{Align, table};

/// The starts that are compared unless others are asked for: not at all random, by guess, and by
/// rule; and their names in a picture.
const STARTS: [(&str, &str); 7] = [
    ("zeros", "zeros"),
    ("normal(std=1)", "N(0, 1)"),
    ("normal(std=0.01)", "N(0, 0.01)"),
    ("xavier_normal", "Xavier"),
    ("kaiming_normal", "He"),
    ("lecun_normal", "LeCun"),
    ("orthogonal", "orthogonal"),
];

/// Where a panel's axis of variances ends: within it are the starts that keep a signal, apart
/// from each other; what vanishes or explodes leaves it.
const SHOWN: Range<f64> = 1e-20..1e20;

pub fn run(arguments: &SignalArguments) -> Result<(), Failure> {
    let network = Network {
        depth: arguments.depth,
        width: arguments.width,
        batch: arguments.batch,
        seed: arguments.seed,
    };
    if let Some(path) = &arguments.out {
        Page::check_path(path).map_err(Failure::usage)?;
    }
    let starts = starts(&arguments.init)?;
    let runs = propagate(network, &arguments.activation, &starts).map_err(Failure::usage)?;
    if let Some(path) = &arguments.out {
        page(network, &runs).save(path)?;
    }
    if arguments.json {
        return print_json(&Report {
            depth: network.depth,
            width: network.width,
            batch: network.batch,
            seed: network.seed,
            signals: &runs,
        });
    }
    print(&table(&COLUMNS, &runs.iter().map(row).collect::<Vec<_>>()))?;
    status(&format!(
        "{}, {} inputs, seed {}: what a layer multiplies the variance by, and what arrives; of \
         inputs: the share of the variance that tells inputs apart",
        size(network),
        network.batch,
        network.seed,
    ));
    Ok(())
}

/// `50 layers of 256 neurons`.
fn size(network: Network) -> String {
    format!(
        "{} of {}",
        count(network.depth as u128, "layer"),
        count(network.width as u128, "neuron")
    )
}

/// A start, and how it was called.
struct Start {
    name: String,
    init: Init,
}

/// Those that were asked for, or all of [`STARTS`].
fn starts(asked: &[String]) -> Result<Vec<Start>, Failure> {
    let mut specs: Vec<&str> = asked.iter().flat_map(|list| split(list)).collect();
    if specs.is_empty() {
        specs = STARTS.map(|(spec, _)| spec).to_vec();
    }
    let starts = specs.into_iter().map(|spec| {
        let init = spec.parse::<Init>().map_err(Failure::usage)?;
        Ok(Start {
            name: spec.trim().to_owned(),
            init,
        })
    });
    starts.collect()
}

/// The specs of a list: commas within parentheses separate keys, not specs.
fn split(list: &str) -> Vec<&str> {
    let mut open = 0u32;
    let parts = list.split(move |c| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        c == ',' && open == 0
    });
    parts.collect()
}

/// One start under one activation.
#[derive(Serialize)]
struct Run<'a> {
    activation: Activation,
    init: &'a str,
    forward: Trend,
    backward: Trend,
    layers: Vec<Layer>,
}

/// All that is shown, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    depth: usize,
    width: usize,
    batch: usize,
    seed: u64,
    signals: &'a [Run<'a>],
}

/// Every start under every activation, an activation after the other.
fn propagate<'a>(
    network: Network,
    activations: &[Activation],
    starts: &'a [Start],
) -> fanin::Result<Vec<Run<'a>>> {
    let total = activations.len() * starts.len();
    let bar = progress_bar(total as u64, "{wide_bar} {pos}/{len} networks {eta}");
    let mut runs = Vec::with_capacity(total);
    for start in starts {
        // Weights are drawn once, on all cores; then each activation has a core.
        let started = network.start(&start.init)?;
        let signals = activations.par_iter().map(|activation| {
            let signal = started.propagate(*activation);
            bar.inc(1);
            signal
        });
        let signals: Vec<Signal> = signals.collect();
        runs.extend(signals.into_iter().enumerate().map(|(i, signal)| {
            let run = Run {
                activation: signal.activation,
                init: &start.name,
                forward: signal.forward(),
                backward: signal.backward(),
                layers: signal.layers,
            };
            (i, run)
        }));
    }
    bar.finish_and_clear();
    // Stable: starts stay in their order.
    runs.sort_by_key(|(i, _)| *i);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

const COLUMNS: [(&str, Align); 9] = [
    ("activation", Align::Left),
    ("init", Align::Left),
    ("x a layer", Align::Right),
    ("at the last", Align::Right),
    ("of inputs", Align::Right),
    ("activations", Align::Left),
    ("x a layer", Align::Right),
    ("at the first", Align::Right),
    ("gradients", Align::Left),
];

fn row(run: &Run<'_>) -> Vec<String> {
    // Where nothing arrives, or all has overflowed, there is none.
    let factor = |trend: &Trend| trend.factor.map_or_else(|| "-".to_owned(), short);
    let share = run
        .layers
        .last()
        .map_or(f64::NAN, |layer| layer.across_inputs);
    vec![
        run.activation.to_string(),
        run.init.to_owned(),
        factor(&run.forward),
        short(run.forward.last),
        short(share),
        run.forward.verdict.to_string(),
        factor(&run.backward),
        short(run.backward.last),
        run.backward.verdict.to_string(),
    ]
}

/// A row an activation: its activations' variance on the left, its gradients' on the right.
fn page(network: Network, runs: &[Run<'_>]) -> Page {
    let title = format!("What starts do to a signal: {}", size(network));
    let mut page = Page::new(title).columns(2).note(
        "Before any training. Activations go from left to right, gradients from right to left; \
         lines that leave a frame go on.",
    );
    let dead = |run: &Run<'_>| {
        WAYS.iter()
            .any(|way| (way.trend)(run).verdict == Verdict::Dead)
    };
    let (without, drawn): (Vec<_>, Vec<_>) = runs.iter().partition(|run| dead(run));
    for (init, runs) in group(&without, |run| run.init) {
        let activations: Vec<&str> = runs.iter().map(|run| title_of(run.activation)).collect();
        page = page.note(format!(
            "No line: {} under {}, where nothing arrives.",
            short_name(init),
            activations.join(", ")
        ));
    }
    // A start has its colour in all panels, and its name in those of the first row.
    let starts: Vec<&str> = group(&drawn, |run| run.init)
        .into_iter()
        .map(|(init, _)| init)
        .collect();
    for (row, (activation, runs)) in group(&drawn, |run| run.activation).into_iter().enumerate() {
        for way in &WAYS {
            let title = format!("{}: {}", title_of(activation), way.name);
            let x = Axis::linear("layer").range(0.0..network.depth as f64);
            let mut panel = Panel::new(title, x, Axis::log10("variance").range(SHOWN));
            for start in &starts {
                let layers = runs
                    .iter()
                    .find(|run| run.init == *start)
                    .map(|run| &run.layers);
                let variances = layers.into_iter().flatten().map(way.variance);
                let name = if row == 0 { short_name(start) } else { "" };
                panel = panel.line(name, (1..).map(f64::from).zip(variances));
            }
            page = page.panel(panel);
        }
    }
    page
}

/// The runs by a property, in the order in which its values come up.
fn group<'a, K: PartialEq>(
    runs: &[&'a Run<'a>],
    key: impl Fn(&'a Run<'a>) -> K,
) -> Vec<(K, Vec<&'a Run<'a>>)> {
    let mut groups: Vec<(K, Vec<&Run<'_>>)> = Vec::new();
    for &run in runs {
        let key = key(run);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(run),
            None => groups.push((key, vec![run])),
        }
    }
    groups
}

/// Up or down: its name, how it goes, and its variance in a layer.
struct Way {
    name: &'static str,
    trend: fn(&Run<'_>) -> Trend,
    variance: fn(&Layer) -> f64,
}

const WAYS: [Way; 2] = [
    Way {
        name: "activations",
        trend: |run| run.forward,
        variance: |layer| layer.activation.variance,
    },
    Way {
        name: "gradients",
        trend: |run| run.backward,
        variance: |layer| layer.gradient.variance,
    },
];

/// An activation's name as papers write it.
fn title_of(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "ReLU",
        Activation::Gelu => "GELU",
        Activation::Selu => "SELU",
        _ => activation.name(),
    }
}

/// A start's name in a picture.
fn short_name(init: &str) -> &str {
    let known = STARTS.iter().find(|(spec, _)| *spec == init);
    known.map_or(init, |(_, name)| name)
}

/// Three significant digits: `0.0640`, `1.02`, `128`, `3.91e-140`.
fn short(x: f64) -> String {
    if x.is_nan() {
        return "-".to_owned();
    }
    if x == 0.0 || x.is_infinite() {
        return format!("{x}");
    }
    if !(1e-3..1e4).contains(&x) {
        return format!("{x:.2e}");
    }
    let digits_before = x.log10().floor() as i32 + 1;
    let decimals = usize::try_from(3 - digits_before).unwrap_or(0);
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::{short, split};

    #[test]
    fn specs_keep_their_commas() {
        for (list, specs) in [
            ("zeros", vec!["zeros"]),
            ("zeros,ones", vec!["zeros", "ones"]),
            (
                "normal(mean=0,std=1),uniform(low=-1,high=1),zeros",
                vec!["normal(mean=0,std=1)", "uniform(low=-1,high=1)", "zeros"],
            ),
            // What is wrong is left to whom reads the spec.
            ("a),b(,c", vec!["a)", "b(,c"]),
            ("", vec![""]),
        ] {
            assert_eq!(split(list), specs);
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        for (x, text) in [
            (0.0, "0"),
            (0.064, "0.0640"),
            (0.5, "0.500"),
            (1.0, "1.00"),
            (128.4, "128"),
            (3.914e-140, "3.91e-140"),
            (1.5e5, "1.50e5"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(short(x), text);
        }
    }
}
