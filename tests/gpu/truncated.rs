//! The truncated normal: no value outside its bounds, none piled up on them, the exact
//! distribution for any bounds. (Cores against arbitrary precision: `src/init/quantile.rs`.)

use fanin::init::DistributionKind;
use fanin::{DType, Fill, Init, Tensor, cpu};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::devices::devices;

fn fill(init: &Init, n: u64, seed: u64) -> Fill {
    Fill::new(&Tensor::new("w", [n]).unwrap(), init, seed).unwrap()
}

fn weights(fill: &Fill) -> Vec<f32> {
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(fill, &mut out).unwrap();
    out
}

/// The largest distance between the sample's distribution function and the truth.
fn kolmogorov(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let mut largest: f64 = 0.0;
    let mut start = 0;
    // Equal values (f32 has few of them far from 0) make one step of the function.
    while start < sample.len() {
        let end = start
            + sample[start..]
                .iter()
                .take_while(|x| **x == sample[start])
                .count();
        let truth = cdf(sample[start]);
        // Between a value's own step and the next one's, the truth may be on either side by the
        // share that rounds to the value: counted at the middle.
        let middle = (start + end) as f64 / 2.0 / n;
        largest = largest.max((middle - truth).abs());
        start = end;
    }
    largest
}

/// The share of a standard normal in [a, b], without cancellation in either tail.
fn share(a: f64, b: f64) -> f64 {
    let upper = |x: f64| libm::erfc(x / std::f64::consts::SQRT_2) / 2.0;
    if a > 0.0 {
        upper(a) - upper(b)
    } else {
        upper(-b) - upper(-a)
    }
}

/// Kolmogorov and Smirnov's test: a distance above 2.65 / sqrt(n) comes by chance once in
/// 630,000 (2 exp(-2 * 2.65^2) = 1.6e-6); over 14 bounds 2e-5.
#[test]
fn the_distribution_is_exact_within_any_bounds() {
    let n = 1u64 << 20;
    for (seed, (mean, std, a, b)) in (0..).zip([
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -2.0, 2.0),
        (0.0, 0.02, -0.06, 0.06),
        (0.3, 2.0, -1.0, 0.5),
        (0.0, 1.0, -0.01, 0.01),
        (0.0, 1.0, 0.0, f64::INFINITY),
        (0.0, 1.0, -1.0, 30.0),
        (0.0, 1.0, 2.0, 10.0),
        (0.0, 1.0, 4.0, f64::INFINITY),
        (0.0, 1.0, -9.0, -8.0),
        (0.0, 1.0, 20.0, 37.0),
        (1.0, 0.5, f64::NEG_INFINITY, -4.0),
        (0.0, 1.0, 3.0, 3.001),
        (0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY),
    ]) {
        // Each its own seed: with the same words all of them would have the same distance.
        let sample = weights(&fill(&Init::trunc_normal(mean, std, a, b), n, seed));
        assert!(
            sample
                .iter()
                .all(|&x| a <= f64::from(x) && f64::from(x) <= b),
            "[{a}, {b}]"
        );
        let (low, high) = ((a - mean) / std, (b - mean) / std);
        let all = share(low, high);
        let distance = kolmogorov(sample.iter().map(|&x| f64::from(x)).collect(), |x| {
            share(low, (x - mean) / std) / all
        });
        let limit = 2.65 / (n as f64).sqrt();
        println!(
            "N({mean}, {std}^2) in [{a}, {b}]: {:.3} of the limit",
            distance / limit
        );
        assert!(distance < limit, "[{a}, {b}]: {distance} of {limit}");
    }
}

/// pytorch#155588: at std 0.02 and bounds of 100 standard deviations the way through erfinv gives
/// values on the bounds. 10^9 draws; a word cannot give more than 6.34 standard deviations, and
/// 10^9 of them reach 6 with a chance of 86 %.
#[test]
fn a_billion_draws_have_no_outlier() {
    let std = 0.02;
    let all = fill(&Init::trunc_normal(0.0, std, -2.0, 2.0), 1_000_000_000, 42);
    let mut largest: f32 = 0.0;
    let mut part = vec![0; 4 * 10_000_000];
    for start in (0..all.elements()).step_by(10_000_000) {
        cpu::fill_range(&all, start, &mut part).unwrap();
        for value in part.as_chunks().0 {
            largest = largest.max(f32::from_le_bytes(*value).abs());
        }
    }
    let stds = f64::from(largest) / std;
    println!("largest |x| of 10^9: {stds:.4} std");
    assert!((5.5..6.4).contains(&stds), "{stds}");
}

/// Words that are drawn cannot be chosen, but the ends of the distribution function can be
/// reached by bounds: the outermost 2^-20 of the draws lie where they should, on both sides.
#[test]
fn nothing_piles_up_on_the_bounds() {
    let n = 1u64 << 22;
    for (a, b) in [(-2.0, 2.0), (-0.5, 3.0), (1.0, 2.0), (-100.0, 100.0)] {
        let sample = weights(&fill(&Init::trunc_normal(0.0, 1.0, a, b), n, 7));
        let DistributionKind::TruncatedNormal { low, high, .. } =
            *fill(&Init::trunc_normal(0.0, 1.0, a, b), 1, 7)
                .distribution()
                .kind()
        else {
            panic!("not truncated");
        };
        // A bound is one binary32 among those near it: the density there is at most 1, so that
        // at most n ulp / share of them round to it. With 2^22 draws that is below 1.
        for bound in [low, high] {
            let on = sample.iter().filter(|&&x| x == bound).count();
            let ulp = f64::from(bound.next_up() - bound);
            let density = (-f64::from(bound).powi(2) / 2.0).exp() / 2.5066 / share(a, b);
            let expected = n as f64 * ulp * density;
            // Poisson: beyond expected + 6 sqrt(expected) + 6 with a chance below 1e-7.
            let most = expected + 6.0 * expected.sqrt() + 6.0;
            assert!(
                on as f64 <= most,
                "[{a}, {b}]: {on} on {bound}, expected {expected}"
            );
        }
    }
}

/// 16-bit weights stay within the bounds too, where rounding alone would lead outside.
#[test]
fn sixteen_bits_stay_within() {
    let init = Init::trunc_normal(0.0, 1.0, -0.300_1, 0.700_9);
    let tensor = Tensor::new("w", [1 << 20]).unwrap();
    let whole = Fill::new(&tensor, &init, 3).unwrap();
    let mut half = vec![f16::ZERO; 1 << 20];
    cpu::fill_slice(&whole.clone().with_dtype(DType::F16), &mut half).unwrap();
    let mut brain = vec![bf16::ZERO; 1 << 20];
    cpu::fill_slice(&whole.clone().with_dtype(DType::BF16), &mut brain).unwrap();
    let within = |x: f64| (-0.300_1..=0.700_9).contains(&x);
    assert!(half.iter().all(|x| within(x.to_f64())));
    assert!(brain.iter().all(|x| within(x.to_f64())));
    // But for those, they are the rounded 32-bit weights.
    let full = weights(&whole);
    let differ = |i: &usize| brain[*i] != bf16::from_f32(full[*i]);
    let changed: Vec<usize> = (0..64).filter(differ).collect();
    assert!(changed.len() < 8, "{changed:?}");

    // Between two neighbours of bfloat16 there is nothing to give.
    let narrow = Init::trunc_normal(0.0, 1.0, 1.001, 1.002);
    let fill = Fill::new(&tensor, &narrow, 3)
        .unwrap()
        .with_dtype(DType::BF16);
    let error = cpu::fill_slice(&fill, &mut brain).unwrap_err().to_string();
    assert!(
        error.starts_with("tensor \"w\": lower bound = 1.001") && error.contains("dtype"),
        "{error}"
    );
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    let tensor = Tensor::new("enc.weight", [4]).unwrap();
    for (init, expected) in [
        (
            Init::trunc_normal(0.0, 1.0, 2.0, -2.0),
            "a = 2 is out of range",
        ),
        (
            Init::trunc_normal(0.0, 1.0, f64::NAN, 2.0),
            "a = NaN is out of range",
        ),
        (
            Init::trunc_normal(0.0, 1.0, 0.0, f64::NAN),
            "b = NaN is out of range",
        ),
        (
            Init::trunc_normal(0.0, 0.0, -1.0, 1.0),
            "std = 0 is out of range",
        ),
        (
            Init::trunc_normal(0.0, -1.0, -1.0, 1.0),
            "std = -1 is out of range",
        ),
        (
            Init::trunc_normal(0.0, 1.0, 1.000_000_001, 1.000_000_002),
            "a = 1.000000001 is out of range: at least one f32 must lie between",
        ),
        (
            Init::truncated_normal(0.0, 1.0, 3.0, 3.0),
            "lower = 3 is out of range",
        ),
    ] {
        let error = init.resolve(&tensor).unwrap_err().to_string();
        let expected = format!("tensor \"enc.weight\": {expected}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

/// A table with the moments that scipy gives: scipy.stats.truncnorm.stats(a, b, moments="mvk").
/// Six standard errors of 2^22 draws: by chance 2e-9 a check.
#[test]
fn moments_are_scipys() {
    let n = 1u64 << 22;
    for (a, b, mean, variance) in [
        (-2.0, 2.0, 0.0, 0.773_741_303_549_923_1),
        (
            0.0,
            f64::INFINITY,
            0.797_884_560_802_865_4,
            0.363_380_227_632_418_6,
        ),
        (-1.0, 3.0, 0.282_786_110_727_154, 0.616_141_735_357_829_3),
        (
            5.0,
            f64::INFINITY,
            5.186_503_967_125_842,
            0.032_696_434_617_112_22,
        ),
    ] {
        let sample = weights(&fill(&Init::trunc_normal(0.0, 1.0, a, b), n, 11));
        let count = n as f64;
        let got = sample.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = sample.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let spread = squares.sum::<f64>() / count;
        let error = (variance / count).sqrt();
        assert!((got - mean).abs() < 6.0 * error, "[{a}, {b}]: mean {got}");
        // No kurtosis here exceeds 9, that of an exponential tail.
        let error = variance * (8.0 / count).sqrt();
        assert!(
            (spread - variance).abs() < 6.0 * error,
            "[{a}, {b}]: variance {spread}"
        );
    }
}

/// A std that takes nearly all values beyond float16 is refused there; where steps are only a little
/// coarser, values are as many as ever.
#[test]
fn stds_far_beyond_float16_are_refused() {
    let made = |std: f64, a: f64, b: f64, dtype: DType| {
        let tensor = Tensor::new("w", [10_000]).unwrap();
        let fill = Fill::new(&tensor, &Init::trunc_normal(0.0, std, a, b), 1).unwrap();
        let mut bytes = vec![0; 10_000 * dtype.size() as usize];
        cpu::fill(&fill.with_dtype(dtype), &mut bytes).map(|()| bytes)
    };
    let infinity = f64::INFINITY;
    for (std, a, b) in [
        (3e38, -infinity, infinity),
        (1e30, 0.18, 1e20),
        (1e9, -1e9, 1e9),
        (1e20, -2e20, 2e20),
    ] {
        let message = made(std, a, b, DType::F16).unwrap_err().to_string();
        assert!(
            message.contains("\"w\"") && message.contains("std"),
            "{message}"
        );
        assert!(made(std, a, b, DType::F32).is_ok());
        assert!(made(std, a, b, DType::BF16).is_ok());
    }
    for std in [1e3, 3e4, 1e5, 1e6] {
        let bytes = made(std, -infinity, infinity, DType::F16).unwrap();
        let distinct: std::collections::HashSet<&[u8]> = bytes.chunks(2).collect();
        let inside = 65_504.0 / std / 2.0;
        let share = libm::erf(inside * std::f64::consts::SQRT_2).min(1.0);
        // Of the draws within the range of float16 a tenth differ, at the least.
        assert!(
            distinct.len() as f64 > 0.1 * share * 10_000.0,
            "{std}: {}",
            distinct.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bounds_hold(
        mean in -10.0..10.0f64,
        std in prop::sample::select(vec![1e-30, 1e-3, 1.0, 1e4, 1e30]),
        low in -1.0..1.0f64,
        width in prop::sample::select(vec![1e-5, 0.1, 3.0, 1e3, 1e20]),
        reach in prop::sample::select(vec![0.1, 3.0, 40.0, 1e6, 1e25]),
        seed: u64,
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
    ) {
        let (a, b) = (low * reach, low * reach + width);
        prop_assume!(a < b);
        let tensor = Tensor::new("w", [500]).unwrap();
        let init = Init::trunc_normal(mean, std, a, b);
        // Bounds between two neighbours of the dtype are refused; overflow cannot happen within.
        let Ok(fill) = Fill::new(&tensor, &init, seed) else { return Ok(()) };
        let fill = fill.with_dtype(dtype);
        let mut bytes = vec![0; fill.bytes() as usize];
        if cpu::fill(&fill, &mut bytes).is_err() {
            prop_assume!(dtype != DType::F32);
            return Ok(());
        }
        for element in bytes.chunks(dtype.size() as usize) {
            let value = match (dtype, element) {
                (DType::F32, &[p, q, r, s]) => f64::from(f32::from_le_bytes([p, q, r, s])),
                (DType::F16, &[p, q]) => f16::from_le_bytes([p, q]).to_f64(),
                (_, &[p, q]) => bf16::from_le_bytes([p, q]).to_f64(),
                _ => unreachable!(),
            };
            prop_assert!(a <= value && value <= b, "{value} outside [{a}, {b}]");
        }
    }
}

/// On every device too: the slowest part of the range, at the word's ends.
#[test]
fn devices_agree_on_a_large_fill() {
    let fill = fill(&Init::trunc_normal(0.0, 0.02, -2.0, 2.0), 3_000_017, 5);
    let expected = weights(&fill);
    for (name, gpu) in devices() {
        let mut bytes = vec![0; fill.bytes() as usize];
        gpu.fill_range_to_host(&fill, 0, &mut bytes).unwrap();
        assert!(
            bytes == bytemuck::cast_slice::<f32, u8>(&expected),
            "{name}"
        );
    }
}
