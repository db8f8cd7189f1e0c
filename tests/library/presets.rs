//! Compares presets with the models of the frameworks themselves. `tests/data/models.py` built each model and
//! recorded its tensors and their statistics.

use std::path::Path;

use fanin::checkpoint::read_tensor_list;
use fanin::init::{Distribution, DistributionKind};
use fanin::{Fill, Recipe, cpu};
use serde::Deserialize;

/// The standard errors that two statistics may differ by. Chance exceeds 6.5 once in 10^10. The presets' tests
/// make some 5,000 comparisons, so that is once in 2 million runs with new seeds.
const ERRORS: f64 = 6.5;

/// Elements of a tensor that are filled at most: the leading ones.
const MOST: u64 = 1 << 20;

#[derive(Deserialize)]
struct Model {
    tensors: Vec<Seen>,
}

/// A tensor as its framework initialized it.
#[derive(Deserialize)]
struct Seen {
    name: String,
    shape: Vec<u64>,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    kurtosis: Option<f64>,
    #[serde(default)]
    zero_rows: Vec<u64>,
}

struct Statistics {
    n: f64,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    kurtosis: f64,
}

fn statistics(sample: &[f32]) -> Statistics {
    let n = sample.len() as f64;
    let mean = sample.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let moment = |power| {
        sample
            .iter()
            .map(|&x| (f64::from(x) - mean).powi(power))
            .sum::<f64>()
            / n
    };
    let variance = moment(2);
    Statistics {
        n,
        mean,
        std: variance.sqrt(),
        min: sample.iter().copied().fold(f32::INFINITY, f32::min).into(),
        max: sample
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max)
            .into(),
        kurtosis: moment(4) / (variance * variance),
    }
}

/// The leading rows of the tensor, but for those of zeros.
fn sample(fill: &Fill, zero_rows: &[u64]) -> Vec<f32> {
    let dims = fill.shape().dims();
    if dims.is_empty() {
        let mut out = [0f32];
        cpu::fill_slice(fill, &mut out).unwrap();
        return out.to_vec();
    }
    let row: u64 = dims[1..].iter().product();
    let rows = dims[0].min((MOST / row).max(1));
    let mut ranges: Vec<_> = dims.iter().map(|&dim| 0..dim).collect();
    ranges[0] = 0..rows;
    let part = fill.clone().slice(&ranges).unwrap();
    let mut out = vec![0f32; part.elements() as usize];
    cpu::fill_slice(&part, &mut out).unwrap();
    let kept = out
        .chunks(row as usize)
        .zip(0..)
        .filter(|(_, i)| !zero_rows.contains(i));
    kept.flat_map(|(values, _)| values.to_vec()).collect()
}

/// The number that a standard normal exceeds with this chance.
fn upper_quantile(chance: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if libm::erfc(middle / std::f64::consts::SQRT_2) / 2.0 > chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Returns an interval for the largest of n draws. Each end is missed once in 10^10.
fn largest(distribution: &Distribution, n: f64) -> (f64, f64) {
    let normal = |mean: f64, std: f64| {
        let at = |chance: f64| mean + std * upper_quantile(chance);
        // No draw above it: (1 - 23/n)^n = 1e-10.
        (at((23.0 / n).min(0.999)), at(1e-10 / n))
    };
    match *distribution.kind() {
        DistributionKind::Normal { mean, std }
        | DistributionKind::NormalWithZeroRow { mean, std, .. } => normal(mean.into(), std.into()),
        DistributionKind::Uniform { low, high, .. } => {
            let (low, high) = (f64::from(low), f64::from(high));
            (high - (high - low) * (23.0 / n).min(1.0), high)
        }
        DistributionKind::TruncatedNormal {
            mean,
            std,
            upper,
            high,
            ..
        } => {
            let (low, most) = normal(mean.into(), std.into());
            if upper > 8.0 {
                (low, most)
            } else {
                // Near the bound the density is above a hundredth of a standard normal's.
                let high = f64::from(high);
                (high - f64::from(std) * (23.0 / n / 4e-3).min(10.0), high)
            }
        }
        ref other => panic!("{other:?} is not drawn"),
    }
}

fn check(preset: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/models/{preset}.json"));
    let model: Model = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let list = read_tensor_list(&path).unwrap();
    let plan = Recipe::preset(preset)
        .unwrap()
        .resolve(&list, Some(1), None)
        .unwrap();
    assert_eq!(plan.entries.len(), model.tensors.len());
    let mut drawn = 0;
    let mut outliers = 0;
    for (entry, seen) in plan.entries.iter().zip(&model.tensors) {
        let what = format!("{preset}: {} {:?} by {}", seen.name, seen.shape, entry.init);
        assert_eq!(entry.fill.name(), seen.name);
        assert_eq!(entry.fill.shape().dims(), seen.shape);
        let ours = sample(&entry.fill, &seen.zero_rows);
        if seen.std == 0.0 {
            let close = |x: f32| (f64::from(x) - seen.mean).abs() <= 1e-6 * seen.mean.abs();
            assert!(
                ours.iter().all(|&x| close(x)),
                "{what}: not all {}",
                seen.mean
            );
            continue;
        }
        for &row in &seen.zero_rows {
            let mut ranges: Vec<_> = seen.shape.iter().map(|&dim| 0..dim).collect();
            ranges[0] = row..row + 1;
            let row = entry.fill.clone().slice(&ranges).unwrap();
            let mut out = vec![1f32; row.elements() as usize];
            cpu::fill_slice(&row, &mut out).unwrap();
            assert!(
                out.iter().all(|x| x.to_bits() == 0),
                "{what}: no row of zeros"
            );
        }
        let ours = statistics(&ours);
        if let DistributionKind::Sinusoid { .. } = entry.fill.distribution().kind() {
            // Not drawn: the same numbers, but for the framework's rounding.
            for (a, b) in [
                (ours.mean, seen.mean),
                (ours.std, seen.std),
                (ours.min, seen.min),
                (ours.max, seen.max),
            ] {
                assert!((a - b).abs() < 1e-5, "{what}: {a} for {b}");
            }
            continue;
        }
        let orthogonal = matches!(
            entry.fill.distribution().kind(),
            DistributionKind::Orthogonal { .. }
        );
        drawn += 1;
        let n = seen.shape.iter().product::<u64>() as f64;
        let kurtosis = ours.kurtosis.min(seen.kurtosis.unwrap()).max(1.5);
        // PyTorch's trunc_normal_ draws values on its bounds, a hundred standard deviations out:
        // pytorch#155588. Where it did, its extremes, kurtosis and std are not the model's.
        let outlier = seen.max.max(-seen.min) > 50.0 * ours.std;
        outliers += usize::from(outlier);

        let share = 1.0 / n + 1.0 / ours.n;
        let std = if outlier { ours.std } else { seen.std };
        // Rows of zeros are in the framework's numbers, not in ours; their part is far below the
        // error. One outlier moves the mean by 100 std / n.
        let moved = if outlier { 100.0 * 20.0 * std / n } else { 0.0 };
        let allowed = ERRORS * std * share.sqrt() + moved;
        assert!(
            (ours.mean - seen.mean).abs() <= allowed,
            "{what}: mean {} for {}",
            ours.mean,
            seen.mean
        );
        // The relative error of a sample's std is sqrt((kurtosis - 1) / 4n); small samples are
        // skewed, which the second term allows for.
        let allowed = ERRORS * ((kurtosis - 1.0) / 4.0 * share).sqrt() + ERRORS * ERRORS * share;
        let off = ours.std / seen.std - 1.0;
        let low_enough = if outlier {
            off <= allowed
        } else {
            off.abs() <= allowed
        };
        assert!(low_enough, "{what}: std {} for {}", ours.std, seen.std);
        if orthogonal {
            // Rows or columns are unit vectors, so the mean square of the elements is exact.
            let square = |mean: f64, std: f64| mean * mean + std * std;
            let off = square(ours.mean, ours.std) / square(seen.mean, seen.std) - 1.0;
            assert!(off.abs() < 1e-5, "{what}: mean square is {off} off");
            continue;
        }
        if n.min(ours.n) >= 1000.0 && !outlier {
            // 24/n is the variance of a normal sample's kurtosis; bounded ones have less.
            let allowed = ERRORS * (24.0 * share).sqrt() + 2.0 * ERRORS.powi(3) * share;
            let off = ours.kurtosis - seen.kurtosis.unwrap();
            assert!(
                off.abs() <= allowed,
                "{what}: kurtosis {} for {:?}",
                ours.kurtosis,
                seen.kurtosis
            );
        }
        if n >= 1000.0 && !outlier {
            for (n, min, max) in [(n, seen.min, seen.max), (ours.n, ours.min, ours.max)] {
                // The distributions of presets are symmetric. A ten-millionth for the rounding of
                // what was written down.
                let (least, most) = largest(entry.fill.distribution(), n);
                for extreme in [-min, max] {
                    let slack = 1e-6 * most.abs();
                    assert!(
                        least - slack <= extreme && extreme <= most + slack,
                        "{what}: {extreme} of {n} is not within {least} and {most}"
                    );
                }
            }
        }
    }
    println!(
        "{preset}: {} tensors, {drawn} of them drawn, {outliers} with the framework's outliers",
        plan.entries.len()
    );
}

/// Large models, of which there are only names and shapes: every tensor has its rule.
#[test]
fn large_models_are_matched_whole() {
    for (preset, name, tensors, parameters) in [
        ("llama", "llama-3-8b", 291, 8_030_261_248u128),
        ("mixtral", "mixtral-8x7b", 291, 46_702_792_704),
    ] {
        let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/lists");
        let list = read_tensor_list(lists.join(format!("{name}.json"))).unwrap();
        let plan = Recipe::preset(preset)
            .unwrap()
            .resolve(&list, Some(1), None)
            .unwrap();
        assert_eq!(
            (plan.entries.len(), plan.elements()),
            (tensors, parameters),
            "{name}"
        );
    }
}

macro_rules! presets {
    ($($preset:ident),*) => {
        $(
            #[test]
            fn $preset() {
                check(stringify!($preset));
            }
        )*

        /// Each preset of a model is tested here; the others are rules for any model, and burn's are
        /// tested against burn itself, in integrations/burn.
        #[test]
        fn no_preset_is_left_out() {
            let tested = [$(stringify!($preset)),*];
            for preset in Recipe::presets() {
                let general = ["buffers", "burn", "kaiming", "lecun", "xavier"].contains(&preset);
                assert!(general || tested.contains(&preset), "{preset}");
            }
        }
    };
}

presets!(
    bert,
    convnext,
    flax,
    gemma,
    gpt2,
    keras,
    llama,
    llama_torchtitan,
    mixtral,
    mobilenet_v3,
    resnet,
    t5,
    torch,
    vit,
    whisper
);
