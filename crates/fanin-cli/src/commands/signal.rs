//! `fanin signal` shows how initializers change the signal of a deep network.

use std::ops::Range;

use fanin::Init;
use fanin_plot::{Axis, Page, Panel};
use fanin_signal::{Activation, Layer, Network, Signal, Trend, Verdict};
use rayon::prelude::*;
use serde::Serialize;

use crate::Failure;
use crate::args::SignalArguments;
use crate::format::{count, significant};
use crate::output::{check_picture, print_json, progress_bar, save_picture, status};
use crate::table::{Column, print_table};

/// The initializers that are compared by default, and their names in a picture. They are constant,
/// have a fixed std, or scale it with the size of the layer.
const DEFAULT_INITS: [(&str, &str); 7] = [
    ("zeros", "zeros"),
    ("normal(std=1)", "N(0, 1)"),
    ("normal(std=0.01)", "N(0, 0.01)"),
    ("xavier_normal", "Xavier"),
    ("kaiming_normal", "He"),
    ("lecun_normal", "LeCun"),
    ("orthogonal", "orthogonal"),
];

/// The range of a panel's variance axis. It is narrow enough to tell initializers that keep a
/// signal apart. Lines that vanish or explode leave the range.
const SHOWN: Range<f64> = 1e-20..1e20;

pub fn run(arguments: &SignalArguments) -> Result<(), Failure> {
    let network = Network {
        depth: arguments.depth,
        width: arguments.width,
        batch: arguments.batch,
        seed: arguments.seed,
    };
    if let Some(path) = &arguments.out {
        check_picture(path)?;
    }
    let inits = named_inits(&arguments.init)?;
    let runs = propagate(network, &arguments.activation, &inits).map_err(Failure::usage)?;
    if let Some(path) = &arguments.out {
        save_picture(&page(network, &runs), path, arguments.overwrite)?;
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
    let rows: Vec<_> = runs.iter().map(row).collect();
    print_table(&COLUMNS, &rows, arguments.table.width())?;
    status(&format!(
        "{}, {} inputs, seed {}; x a layer: the factor of the variance in each layer; at the last, \
         at the first: the variance there; of inputs: the share of the variance that differs \
         between inputs",
        size(network),
        network.batch,
        network.seed,
    ));
    Ok(())
}

/// Returns the network's size, such as `50 layers of 256 neurons`.
fn size(network: Network) -> String {
    format!(
        "{} of {}",
        count(network.depth as u128, "layer"),
        count(network.width as u128, "neuron")
    )
}

/// An initializer, and its text on the command line.
struct NamedInit {
    name: String,
    init: Init,
}

/// Returns the initializers of `--init`, or [`DEFAULT_INITS`].
fn named_inits(lists: &[String]) -> Result<Vec<NamedInit>, Failure> {
    let mut specs: Vec<&str> = lists.iter().flat_map(|list| split(list)).collect();
    if specs.is_empty() {
        specs = DEFAULT_INITS.map(|(spec, _)| spec).to_vec();
    }
    let inits = specs.into_iter().map(|spec| {
        let init = spec.parse::<Init>().map_err(Failure::usage)?;
        Ok(NamedInit {
            name: spec.trim().to_owned(),
            init,
        })
    });
    inits.collect()
}

/// Splits a list of specs at its commas. Commas within parentheses separate keys, not specs.
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

/// The result for one initializer and one activation.
#[derive(Serialize)]
struct Run<'a> {
    activation: Activation,
    init: &'a str,
    forward: Trend,
    backward: Trend,
    layers: Vec<Layer>,
}

/// The output of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    depth: usize,
    width: usize,
    batch: usize,
    seed: u64,
    signals: &'a [Run<'a>],
}

/// Runs every activation with every initializer, and returns the results grouped by activation.
fn propagate<'a>(
    network: Network,
    activations: &[Activation],
    inits: &'a [NamedInit],
) -> fanin::Result<Vec<Run<'a>>> {
    let total = activations.len() * inits.len();
    let bar = progress_bar(total as u64, "{wide_bar} {pos}/{len} networks {eta}");
    let mut runs = Vec::with_capacity(total);
    for named in inits {
        // All cores draw the weights once. Then each activation runs on a core of its own.
        let started = network.start(&named.init)?;
        let signals = activations.par_iter().map(|activation| {
            let signal = started.propagate(*activation);
            bar.inc(1);
            signal
        });
        let signals: Vec<Signal> = signals.collect();
        runs.extend(signals.into_iter().enumerate().map(|(i, signal)| {
            let run = Run {
                activation: signal.activation,
                init: &named.name,
                forward: signal.forward(),
                backward: signal.backward(),
                layers: signal.layers,
            };
            (i, run)
        }));
    }
    bar.finish_and_clear();
    // A stable sort, so the initializers keep their order.
    runs.sort_by_key(|(i, _)| *i);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

const COLUMNS: [Column; 9] = [
    Column::left("activation"),
    Column::left("init").text().rank(1),
    Column::right("x a layer").rank(3),
    Column::right("at the last").rank(5),
    Column::right("of inputs").rank(4),
    Column::left("activations").rank(1),
    Column::right("x a layer").rank(3),
    Column::right("at the first").rank(5),
    Column::left("gradients").rank(2),
];

fn row(run: &Run<'_>) -> Vec<String> {
    // There is no factor if the variance is 0 or has overflowed.
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

/// Returns a page with a row for each activation: the variance of activations on the left and of
/// gradients on the right.
fn page(network: Network, runs: &[Run<'_>]) -> Page {
    let title = format!("Signal by initializer, in {}", size(network));
    let mut page = Page::new(title).columns(2).note(
        "Before any training. Activations go from left to right, gradients from right to left. \
         Lines that leave a frame are cut off there.",
    );
    let is_dead = |run: &Run<'_>, pass: &Pass| (pass.trend)(run).verdict == Verdict::Dead;
    let (without, drawn): (Vec<_>, Vec<_>) = runs
        .iter()
        .partition(|run| PASSES.iter().all(|pass| is_dead(run, pass)));
    let of_pass = |pass: &'static Pass| {
        let dead = drawn.iter().filter(|run| is_dead(run, pass));
        (format!("{} of ", pass.name), dead.copied().collect())
    };
    let all = [(String::new(), without)];
    for (what, without) in all.into_iter().chain(PASSES.iter().map(of_pass)) {
        for (init, runs) in group(&without, |run| run.init) {
            let activations: Vec<&str> = runs.iter().map(|run| title_of(run.activation)).collect();
            page = page.note(format!(
                "No line: {what}{} with {}, because the variance falls to 0.",
                short_name(init),
                activations.join(", ")
            ));
        }
    }
    // An initializer has the same colour in all panels. The first row has the legends.
    let inits: Vec<&str> = group(&drawn, |run| run.init)
        .into_iter()
        .map(|(init, _)| init)
        .collect();
    for (row, (activation, runs)) in group(&drawn, |run| run.activation).into_iter().enumerate() {
        for pass in &PASSES {
            let title = format!("{}: {}", title_of(activation), pass.name);
            let x = Axis::linear("layer").range(0.0..network.depth as f64);
            let mut panel = Panel::new(title, x, Axis::log10("variance").range(SHOWN));
            for init in &inits {
                let layers = runs
                    .iter()
                    .find(|run| run.init == *init && !is_dead(run, pass))
                    .map(|run| &run.layers);
                let variances = layers.into_iter().flatten().map(pass.variance);
                let name = if row == 0 { short_name(init) } else { "" };
                panel = panel.line(name, (1..).map(f64::from).zip(variances));
            }
            page = page.panel(panel);
        }
    }
    page
}

/// Groups runs by a key, in the order in which its values first appear.
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

/// The forward or backward pass: the quantity that is drawn, and functions that read it.
struct Pass {
    name: &'static str,
    trend: fn(&Run<'_>) -> Trend,
    variance: fn(&Layer) -> f64,
}

static PASSES: [Pass; 2] = [
    Pass {
        name: "activations",
        trend: |run| run.forward,
        variance: |layer| layer.activation.variance,
    },
    Pass {
        name: "gradients",
        trend: |run| run.backward,
        variance: |layer| layer.gradient.variance,
    },
];

/// Returns an activation's name as papers write it.
fn title_of(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "ReLU",
        Activation::Gelu => "GELU",
        Activation::Selu => "SELU",
        _ => activation.name(),
    }
}

/// Returns an initializer's name in a picture.
fn short_name(init: &str) -> &str {
    let known = DEFAULT_INITS.iter().find(|(spec, _)| *spec == init);
    known.map_or(init, |(_, name)| name)
}

/// Returns three significant digits, such as `0.0640`, `1.02`, `128` or `3.91e-140`.
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
    significant(x, 3)
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
            // Unbalanced parentheses are left to the parser of specs.
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
