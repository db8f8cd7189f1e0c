//! Compares every initializer with the numbers of torch, Keras, JAX and the published formulas, which
//! `tests/data/frameworks.py` has recorded.

use fanin::init::{Fans, Nonlinearity};
use fanin::{FanAxes, Fill, Init, Layout, Tensor, cpu};
use serde::Deserialize;

#[derive(Deserialize)]
struct Frameworks {
    probabilities: Vec<f64>,
    samples: Vec<Sample>,
    wholes: Vec<Whole>,
    rotary: Vec<Whole>,
    sparse: Vec<Sparse>,
    fans: Vec<FansOf>,
    gains: Vec<Gain>,
    defaults: Vec<Defaults>,
}

#[derive(Deserialize)]
struct Sample {
    framework: String,
    call: String,
    spec: String,
    layout: String,
    shape: Vec<u64>,
    n: u64,
    mean: f64,
    std: f64,
    kurtosis: f64,
    min: f64,
    max: f64,
    quantiles: Vec<f64>,
}

#[derive(Deserialize)]
struct Whole {
    call: String,
    spec: String,
    layout: String,
    shape: Vec<u64>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Sparse {
    shape: Vec<u64>,
    sparsity: f64,
    zeros: usize,
}

#[derive(Deserialize)]
struct FansOf {
    layout: String,
    shape: Vec<u64>,
    axes: Option<[Vec<i64>; 3]>,
    fans: [u64; 2],
}

#[derive(Deserialize)]
struct Gain {
    nonlinearity: String,
    a: Option<f64>,
    gain: f64,
}

#[derive(Deserialize)]
struct Defaults {
    name: String,
    defaults: std::collections::BTreeMap<String, serde_json::Value>,
}

fn frameworks() -> Frameworks {
    serde_json::from_str(include_str!("../data/frameworks.json")).unwrap()
}

fn weights(spec: &str, shape: &[u64], layout: &str) -> Vec<f64> {
    let init: Init = spec.parse().unwrap_or_else(|error| panic!("{error}"));
    let layout: Layout = layout.parse().unwrap();
    let tensor = Tensor::new("w", shape).unwrap().with_layout(layout);
    let fill = Fill::new(&tensor, &init, 42).unwrap();
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(&fill, &mut out).unwrap();
    out.into_iter().map(f64::from).collect()
}

/// Two samples, theirs and ours: every statistic within 6.2 standard errors of both together. The
/// 173 samples make 2,100 comparisons; 6.2 comes by chance once in 1.8 * 10^9, so once in 800,000
/// runs with new seeds.
#[test]
fn samples_are_the_frameworks() {
    const ERRORS: f64 = 6.2;
    let all = frameworks();
    for case in &all.samples {
        let what = format!(
            "{}, {}: {} of {:?}",
            case.framework, case.call, case.spec, case.shape
        );
        let mut ours = weights(&case.spec, &case.shape, &case.layout);
        assert_eq!(ours.len() as u64, case.n, "{what}");
        let n = case.n as f64;
        let share = 2.0 / n;
        let mean = ours.iter().sum::<f64>() / n;
        let moment = |power| ours.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let (std, kurtosis) = (moment(2).sqrt(), moment(4) / moment(2).powi(2));

        let allowed = ERRORS * case.std * share.sqrt();
        assert!(
            (mean - case.mean).abs() < allowed,
            "{what}: mean {mean} for {}",
            case.mean
        );
        // The variance of a sample's variance is (kurtosis - 1) std^4 / n.
        let allowed = ERRORS * ((case.kurtosis - 1.0) / 4.0 * share).sqrt();
        assert!(
            (std / case.std - 1.0).abs() < allowed,
            "{what}: std {std} for {}",
            case.std
        );
        // That of its kurtosis is 24 / n for a normal distribution, less for bounded ones; for the
        // tails of exponential kind (kurtosis up to 9) it goes with the eighth moment, which is
        // below 40 times that of a normal.
        let tails = if case.kurtosis > 3.5 { 40.0 } else { 1.0 };
        let allowed = ERRORS * (24.0 * tails * share).sqrt();
        assert!(
            (kurtosis - case.kurtosis).abs() < allowed,
            "{what}: kurtosis {kurtosis} for {}",
            case.kurtosis
        );
        // The rank of their quantile among ours.
        ours.sort_by(f64::total_cmp);
        for (p, quantile) in all.probabilities.iter().zip(&case.quantiles) {
            let rank = ours.partition_point(|x| x <= quantile) as f64 / n;
            let allowed = ERRORS * (p * (1.0 - p) * share).sqrt() + 2.0 / n;
            assert!(
                (rank - p).abs() < allowed,
                "{what}: {quantile}, above {p} of theirs, is above {rank} of ours"
            );
        }
        // Bounded distributions end at the same places: between their extremes lies all but a
        // few n-ths of ours, and the other way round. 25 n-ths come by chance once in e^25.
        let outside = |end: f64| ours.iter().filter(|x| x.abs() > end.abs()).count();
        assert!(
            outside(case.min.abs().max(case.max.abs())) <= 25,
            "{what}: extremes"
        );
        if case.kurtosis < 2.6 {
            // Uniform and truncated at two standard deviations: their ends are sharp.
            let (low, high) = (ours[0], ours[ours.len() - 1]);
            let width = high - low;
            for (a, b) in [(low, case.min), (high, case.max)] {
                assert!(
                    (a - b).abs() < 1e-3 * width,
                    "{what}: ends at {a}, theirs at {b}"
                );
            }
        }
    }
}

/// Initializers without random numbers are compared element by element, to the precision of the framework's
/// own arithmetic (binary32 for torch and Keras).
#[test]
fn what_is_not_drawn_is_equal() {
    for case in frameworks().wholes {
        let ours = weights(&case.spec, &case.shape, &case.layout);
        assert_eq!(ours.len(), case.values.len(), "{}", case.call);
        for (i, (a, b)) in ours.iter().zip(&case.values).enumerate() {
            assert!(
                (a - b).abs() < 1e-6,
                "{}, element {i}: {a} for {b}",
                case.call
            );
        }
    }
}

/// Rotary frequencies are rounded once from binary64. transformers computes them in binary32, so its
/// numbers are a few units in the last place off.
#[test]
fn rotary_frequencies_are_transformers() {
    /// The largest relative difference, in units of 2^-24.
    const LARGEST: f64 = 7.5;
    let mut largest = 0.0f64;
    for case in frameworks().rotary {
        let ours = weights(&case.spec, &case.shape, &case.layout);
        assert_eq!(ours.len(), case.values.len(), "{}", case.call);
        for (i, (a, b)) in ours.iter().zip(&case.values).enumerate() {
            if *b == 0.0 {
                assert_eq!(a.to_bits(), 0, "{}, column {i}", case.call);
                continue;
            }
            let off = (a / b - 1.0).abs() * 2f64.powi(24);
            largest = largest.max(off);
            assert!(off < LARGEST, "{}, column {i}: {a} for {b}", case.call);
        }
    }
    println!("at most {largest:.1} * 2^-24");
    assert!(
        largest > 1.0,
        "the frameworks' numbers are compared with themselves"
    );
}

#[test]
fn sparse_columns_have_torchs_zeros() {
    for case in frameworks().sparse {
        let spec = format!("sparse(sparsity={})", case.sparsity);
        let ours = weights(&spec, &case.shape, "out_in");
        let [rows, columns] = [case.shape[0], case.shape[1]].map(|dim| dim as usize);
        for column in 0..columns {
            let zeros = (0..rows)
                .filter(|row| ours[row * columns + column] == 0.0)
                .count();
            assert_eq!(zeros, case.zeros, "{:?}, {}", case.shape, case.sparsity);
        }
    }
}

#[test]
fn fans_are_the_frameworks() {
    for case in frameworks().fans {
        let mut tensor = Tensor::new("w", case.shape.clone())
            .unwrap()
            .with_layout(case.layout.parse().unwrap());
        if let Some([inputs, outputs, batch]) = case.axes {
            tensor = tensor.with_fan_axes(FanAxes {
                inputs,
                outputs,
                batch,
            });
        }
        let fans = Fans::of(&tensor).unwrap();
        assert_eq!([fans.fan_in, fans.fan_out], case.fans, "{:?}", case.shape);
    }
}

#[test]
fn gains_are_torchs() {
    for case in frameworks().gains {
        let nonlinearity = match case.nonlinearity.as_str() {
            "sigmoid" => Nonlinearity::Sigmoid,
            "tanh" => Nonlinearity::Tanh,
            "relu" => Nonlinearity::Relu,
            "selu" => Nonlinearity::Selu,
            "leaky_relu" => Nonlinearity::LeakyRelu {
                negative_slope: case.a.unwrap(),
            },
            _ => Nonlinearity::Linear,
        };
        let gain = nonlinearity.gain();
        assert!(
            (gain / case.gain - 1.0).abs() < 1e-15,
            "{}",
            case.nonlinearity
        );
        // And by name: the std is the gain at a fan of 1.
        let slope = case.a.map(|a| format!(",a={a}")).unwrap_or_default();
        let spec = format!("kaiming_normal(nonlinearity={}{slope})", case.nonlinearity);
        let tensor = Tensor::new("w", [1, 1]).unwrap();
        let by_name = spec.parse::<Init>().unwrap().resolve(&tensor).unwrap();
        let by_gain = format!("kaiming_normal(gain={})", case.gain);
        assert_eq!(
            by_name,
            by_gain.parse::<Init>().unwrap().resolve(&tensor).unwrap()
        );
    }
}

/// An initializer without keys is the one with the framework's defaults spelled out.
#[test]
fn defaults_are_the_frameworks() {
    for case in frameworks().defaults {
        let keys: Vec<String> = case
            .defaults
            .iter()
            .map(|(key, value)| match value {
                serde_json::Value::String(text) => format!("{key}={text}"),
                value => format!("{key}={value}"),
            })
            .collect();
        // A key without a default is required in both.
        let given = if case.name == "sparse" {
            "sparsity=0.1"
        } else {
            ""
        };
        let short: Init = format!("{}({given})", case.name).parse().unwrap();
        let spelled = format!("{}({},{given})", case.name, keys.join(","));
        let spelled: Init = spelled.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(short, spelled, "{}", case.name);
        assert!(!keys.is_empty(), "{}", case.name);
    }
}
