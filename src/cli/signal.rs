//! `fanin signal`: what starts do to the signal of a deep network.

use fanin::Init;
use fanin::signal::{Activation, Layer, Network, Signal, Trend};
use rayon::prelude::*;
use serde::Serialize;

use super::Failure;
use super::args::SignalArguments;
use super::output::{count, print, print_json, progress_bar, say};
use super::table::{Align, table};

/// The starts that are compared unless others are asked for: not at all random, by guess, and by
/// rule.
const STARTS: [&str; 7] = [
    "zeros",
    "normal(std=1)",
    "normal(std=0.01)",
    "xavier_normal",
    "kaiming_normal",
    "lecun_normal",
    "orthogonal",
];

pub fn run(arguments: &SignalArguments) -> Result<(), Failure> {
    let network = Network {
        depth: arguments.depth,
        width: arguments.width,
        batch: arguments.batch,
        seed: arguments.seed,
    };
    let starts = starts(&arguments.init)?;
    let runs = propagate(network, &arguments.activation, &starts).map_err(Failure::usage)?;
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
    say(&format!(
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
        specs = STARTS.to_vec();
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
