//! The numbers are what they claim to be: independent, and of their distribution.
//!
//! Seeds are fixed, so a test passes always or never; thresholds come from the sample sizes. Every
//! single check would fail for one in 10^7 streams of true random numbers ([`Z`] for what is
//! normally distributed, likewise for the others), and there are fewer than 1,000 checks: together
//! a false-alarm rate below 10^-4, once, when the seeds were chosen.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use fanin::{DType, Fill, Init, Tensor, cpu, stream_id};
use half::{bf16, f16};
use rayon::prelude::*;

/// A standard normal exceeds it in magnitude with probability 10^-7.
const Z: f64 = 5.327;
/// Elements of the large samples: 2^26.
const LARGE: u64 = 1 << 26;
/// Elements of the others: 2^22.
const SMALL: u64 = 1 << 22;

fn sample(name: &str, seed: u64, init: &Init, elements: u64) -> Vec<f32> {
    let tensor = Tensor::new(name, [elements]).unwrap();
    let fill = Fill::new(&tensor, init, seed).unwrap();
    let mut values = vec![0f32; elements as usize];
    cpu::fill_slice(&fill, &mut values).unwrap();
    values
}

fn standard_normal(name: &str, seed: u64, elements: u64) -> Vec<f32> {
    sample(name, seed, &Init::normal(0.0, 1.0), elements)
}

/// Sum over the sample in binary64.
fn sum(values: &[f32], term: impl Fn(f64) -> f64 + Sync) -> f64 {
    let parts = values.par_chunks(1 << 16);
    let sums = parts.map(|part| part.iter().map(|&x| term(f64::from(x))).sum::<f64>());
    sums.collect::<Vec<_>>().iter().sum()
}

/// Checks that a mean of `n` independent terms is within [`Z`] standard errors of its expectation.
#[track_caller]
fn check_mean(what: &str, sum: f64, n: f64, expected: f64, variance: f64) {
    let z = (sum / n - expected) / (variance / n).sqrt();
    assert!(z.abs() < Z, "{what}: {z} standard errors off");
}

/// P(X <= x) for a standard normal X.
fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Checks a chi-square statistic of equally likely cells: Wilson and Hilferty's cube root is normal
/// to far beyond [`Z`] at these degrees of freedom.
#[track_caller]
fn check_chi_square(what: &str, counts: &[u64]) {
    let n: u64 = counts.iter().sum();
    let expected = n as f64 / counts.len() as f64;
    assert!(expected >= 50.0, "{what}: too few in a cell");
    let squares = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2));
    let chi_square = squares.sum::<f64>() / expected;
    let freedom = counts.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    let z = ((chi_square / freedom).cbrt() - (1.0 - spread)) / spread.sqrt();
    assert!(
        z.abs() < Z,
        "{what}: chi-square of {chi_square} at {freedom} degrees, z = {z}"
    );
}

/// Counts in cells, given the cell of each of `n` things.
fn histogram(cells: usize, n: usize, cell: impl Fn(usize) -> usize + Sync) -> Vec<u64> {
    (0..n.div_ceil(1 << 16))
        .into_par_iter()
        .fold(
            || vec![0u64; cells],
            |mut counts, part| {
                for i in part << 16..n.min((part + 1) << 16) {
                    counts[cell(i)] += 1;
                }
                counts
            },
        )
        .reduce(
            || vec![0; cells],
            |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            },
        )
}

/// The cell of a number in [0, 1).
fn cell(u: f64, cells: usize) -> usize {
    ((u * cells as f64) as usize).min(cells - 1)
}

/// Checks that two samples of standardized values are uncorrelated, and their squares too, whose
/// variance is given.
#[track_caller]
fn check_uncorrelated<'a>(what: &str, pairs: impl Fn() -> Pairs<'a>, variance_of_square: f64) {
    let n = pairs().0.len().min(pairs().1.len());
    let (a, b) = pairs();
    let sums = (0..n.div_ceil(1 << 16)).into_par_iter().map(|part| {
        let range = part << 16..n.min((part + 1) << 16);
        let mut sums = [0.0; 2];
        for (&x, &y) in a[range.clone()].iter().zip(&b[range]) {
            let (x, y) = (f64::from(x), f64::from(y));
            sums[0] += x * y;
            sums[1] += (x * x - 1.0) * (y * y - 1.0);
        }
        sums
    });
    let [product, squares] = sums.reduce(|| [0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    check_mean(&format!("{what}: products"), product, n as f64, 0.0, 1.0);
    let variance = variance_of_square.powi(2);
    check_mean(
        &format!("{what}: squares"),
        squares,
        n as f64,
        0.0,
        variance,
    );
}

type Pairs<'a> = (&'a [f32], &'a [f32]);

#[test]
fn normal_moments() {
    for (name, seed) in [("w", 42), ("transformer.wte.weight", 0), ("b", u64::MAX)] {
        let values = standard_normal(name, seed, LARGE);
        let n = LARGE as f64;
        // E x^2k = (2k - 1)!!, so Var x^k = (2k - 1)!! - (E x^k)^2.
        let moments = [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)];
        let higher = [(5, 0.0, 945.0), (6, 15.0, 10_170.0)];
        for (power, expected, variance) in moments.into_iter().chain(higher) {
            let what = format!("{name}, seed {seed}: moment {power}");
            check_mean(
                &what,
                sum(&values, |x| x.powi(power)),
                n,
                expected,
                variance,
            );
        }
    }
}

#[test]
fn uniform_moments() {
    let values = sample("w", 42, &Init::uniform(-1.0, 1.0), LARGE);
    for power in 1..=6 {
        let even = |k: i32| {
            if k % 2 == 0 {
                1.0 / f64::from(k + 1)
            } else {
                0.0
            }
        };
        let variance = even(2 * power) - even(power).powi(2);
        let sum = sum(&values, |x| x.powi(power));
        check_mean(
            &format!("moment {power}"),
            sum,
            LARGE as f64,
            even(power),
            variance,
        );
    }
}

/// Kolmogorov-Smirnov and Anderson-Darling on a sorted sample of probabilities.
#[track_caller]
fn check_distribution(mut values: Vec<f32>, cdf: impl Fn(f64) -> f64 + Sync) {
    values.par_sort_unstable_by(f32::total_cmp);
    let n = values.len();
    let largest = |part: usize| {
        let range = part << 16..n.min((part + 1) << 16);
        let mut distance = 0f64;
        let mut anderson = 0.0;
        for i in range {
            let u = cdf(f64::from(values[i]));
            // The complement from the far side, where it keeps its precision.
            let v = cdf(-f64::from(values[n - 1 - i]));
            distance = distance.max((u - i as f64 / n as f64).abs());
            distance = distance.max((u - (i + 1) as f64 / n as f64).abs());
            anderson += (2 * i + 1) as f64 * (u.ln() + v.ln());
        }
        (distance, anderson)
    };
    let parts: Vec<_> = (0..n.div_ceil(1 << 16))
        .into_par_iter()
        .map(largest)
        .collect();
    let distance = parts.iter().map(|part| part.0).fold(0.0, f64::max);
    let anderson = -(n as f64) - parts.iter().map(|part| part.1).sum::<f64>() / n as f64;
    // Kolmogorov's distribution: P(sqrt(n) D > 2.9) = 2 exp(-2 * 2.9^2) = 10^-7.
    let kolmogorov = distance * (n as f64).sqrt();
    assert!(kolmogorov < 2.9, "Kolmogorov-Smirnov: {kolmogorov}");
    // P(A^2 > 6.0) = 0.001, and from there on it falls faster than exp(-A^2), the leading
    // eigenvalue of the limit process being 1/2: P(A^2 > 16) < 10^-3 exp(-10) < 10^-7.
    assert!(anderson < 16.0, "Anderson-Darling: {anderson}");
    // Nor closer than chance allows: P(sqrt(n) D < 0.25) < 10^-7.
    assert!(
        kolmogorov > 0.25,
        "Kolmogorov-Smirnov, too close: {kolmogorov}"
    );
}

#[test]
fn normal_distribution_function() {
    check_distribution(standard_normal("w", 42, LARGE), normal_cdf);
}

#[test]
fn uniform_distribution_function() {
    // Values that rounded to -1 have no probability below them, which a logarithm cannot take: the
    // middle of their step stands for them.
    let values = sample("w", 42, &Init::uniform(-1.0, 1.0), LARGE);
    let half_step = (-29f64).exp2();
    check_distribution(values, |x| {
        (0.5 * (x + 1.0)).clamp(half_step, 1.0 - half_step)
    });
}

#[test]
fn values_fall_equally_into_equally_likely_cells() {
    let cells = 1 << 16;
    let values = standard_normal("w", 7, LARGE);
    let counts = histogram(cells, values.len(), |i| {
        cell(normal_cdf(f64::from(values[i])), cells)
    });
    check_chi_square("normal", &counts);
    let values = sample("w", 7, &Init::uniform(0.0, 1.0), LARGE);
    let counts = histogram(cells, values.len(), |i| cell(f64::from(values[i]), cells));
    check_chi_square("uniform", &counts);
}

/// P(X >= count) and P(X <= count) for a Poisson X.
fn poisson_tails(count: u64, mean: f64) -> (f64, f64) {
    let probability = |k: u64| {
        let k = k as f64;
        (k * mean.ln() - mean - libm::lgamma(k + 1.0)).exp()
    };
    let spread = (40.0 * mean.sqrt() + 40.0) as u64;
    let low = (mean as u64).saturating_sub(spread);
    let at_most: f64 = (low..=count).map(probability).sum();
    let at_least: f64 = (count..=count.max(mean as u64) + spread)
        .map(probability)
        .sum();
    (at_least, at_most)
}

#[test]
fn tails_are_as_heavy_as_they_should_be() {
    let values = standard_normal("tail", 1, LARGE);
    for sigma in [3.0f32, 4.0, 4.5, 5.0, 5.5, 6.0] {
        for sign in [-1.0, 1.0] {
            let count = values.par_iter().filter(|&&x| sign * x > sigma).count() as u64;
            let mean = LARGE as f64 * normal_cdf(-f64::from(sigma));
            let (at_least, at_most) = poisson_tails(count, mean);
            assert!(
                at_least > 5e-8 && at_most > 5e-8,
                "{count} beyond {} sigma, {mean} expected",
                sign * sigma
            );
        }
    }
    assert!(values.par_iter().all(|x| x.abs() <= 6.77));
}

/// Neighbours, blocks, strides of powers of two: no lag shows.
#[test]
fn values_are_serially_uncorrelated() {
    let values = standard_normal("w", 42, LARGE);
    for lag in (1..=9).chain((2..=22).map(|power| 4 << power)) {
        let pairs = || (&values[lag..], &values[..values.len() - lag]);
        check_uncorrelated(&format!("normal, lag {lag}"), pairs, 2.0);
    }
    // The standardized uniform's square has variance 4/5.
    let bound = 3f64.sqrt();
    let values = sample("w", 42, &Init::uniform(-bound, bound), LARGE);
    for lag in (1..=9).chain((2..=22).map(|power| 4 << power)) {
        let pairs = || (&values[lag..], &values[..values.len() - lag]);
        check_uncorrelated(&format!("uniform, lag {lag}"), pairs, 0.8);
    }
}

/// Each lane on its own against each other one, and the parts of a Box-Muller pair: radius and angle
/// are uniform and independent.
#[test]
fn lanes_of_a_block_are_independent() {
    let values = standard_normal("w", 3, LARGE);
    let lane = |l: usize| {
        values
            .iter()
            .skip(l)
            .step_by(4)
            .copied()
            .collect::<Vec<_>>()
    };
    let lanes = [lane(0), lane(1), lane(2), lane(3)];
    for i in 0..4 {
        for j in 0..i {
            check_uncorrelated(
                &format!("lanes {j}, {i}"),
                || (&lanes[i][..], &lanes[j][..]),
                2.0,
            );
        }
    }
    for (even, odd) in [(0, 1), (2, 3)] {
        let counts = histogram(256 * 256, lanes[0].len(), |i| {
            let (x, y) = (f64::from(lanes[even][i]), f64::from(lanes[odd][i]));
            let radius = (-0.5 * (x * x + y * y)).exp();
            let angle = (y.atan2(x) / TAU).rem_euclid(1.0);
            256 * cell(radius, 256) + cell(angle, 256)
        });
        check_chi_square(&format!("radius and angle of lanes {even}, {odd}"), &counts);
    }
}

/// Pairs of neighbours, in a row and in a column of a matrix, fill the square evenly.
#[test]
fn neighbours_fill_the_square_evenly() {
    let values = standard_normal("matrix", 5, LARGE);
    let u = |i: usize| normal_cdf(f64::from(values[i]));
    for stride in [1, 2, 4, 1024, 4096] {
        // Disjoint pairs: each half of 2 * stride values with the other half.
        let counts = histogram(256 * 256, values.len() / 2, |i| {
            let first = i / stride * 2 * stride + i % stride;
            256 * cell(u(first), 256) + cell(u(first + stride), 256)
        });
        check_chi_square(&format!("stride {stride}"), &counts);
    }
}

#[test]
fn streams_and_seeds_are_uncorrelated() {
    let n = 1 << 24;
    let base = standard_normal("layers.0.weight", 42, n);
    for (name, seed) in [
        ("layers.1.weight", 42),
        ("layers.0.bias", 42),
        ("layers.0.weight", 43),
        ("layers.0.weight", 42 ^ (1 << 63)),
        ("layers.0.weight", 42 + (1 << 32)),
    ] {
        let other = standard_normal(name, seed, n);
        let what = format!("{name}, seed {seed}");
        check_uncorrelated(&what, || (&base[..], &other[..]), 2.0);
        // And shifted, should one run after the other.
        check_uncorrelated(&what, || (&base[4..], &other[..]), 2.0);
        check_uncorrelated(&what, || (&base[..], &other[4..]), 2.0);
    }
    // Stream ids that differ in one bit.
    let fill = |stream| {
        let tensor = Tensor::new("w", [n]).unwrap().with_stream_id(stream);
        let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), 42).unwrap();
        let mut values = vec![0f32; n as usize];
        cpu::fill_slice(&fill, &mut values).unwrap();
        values
    };
    let id = stream_id("w");
    let base = fill(id);
    for bit in [0, 31, 32, 63] {
        let other = fill(id ^ (1 << bit));
        check_uncorrelated(
            &format!("stream bit {bit}"),
            || (&base[..], &other[..]),
            2.0,
        );
    }
}

/// f16 and bf16 are the f32 values, rounded: whatever holds of those holds of these but for the
/// rounding.
#[test]
fn halves_are_rounded_f32() {
    for init in [
        Init::normal(0.0, 0.02),
        Init::uniform(-1.0, 1.0),
        Init::normal(0.0, 1e-6),
    ] {
        let tensor = Tensor::new("w", [SMALL]).unwrap();
        let fill = Fill::new(&tensor, &init, 9).unwrap();
        let full = sample("w", 9, &init, SMALL);
        let mut half = vec![f16::ZERO; SMALL as usize];
        cpu::fill_slice(&fill.clone().with_dtype(DType::F16), &mut half).unwrap();
        assert!(
            half.iter()
                .zip(&full)
                .all(|(h, &x)| h.to_bits() == f16::from_f32(x).to_bits())
        );
        let mut brain = vec![bf16::ZERO; SMALL as usize];
        cpu::fill_slice(&fill.with_dtype(DType::BF16), &mut brain).unwrap();
        assert!(
            brain
                .iter()
                .zip(&full)
                .all(|(b, &x)| b.to_bits() == bf16::from_f32(x).to_bits())
        );
    }
}

/// The variance of every rule is what its paper says, for the shape at hand.
#[test]
fn rules_have_their_variance() {
    // (rule, dims, variance, variance of the square of a standardized value)
    let cases: [(Init, &[u64], f64, f64); 9] = [
        (Init::xavier_normal(), &[512, 2048], 2.0 / 2560.0, 2.0),
        (Init::xavier_uniform(), &[512, 2048], 2.0 / 2560.0, 0.8),
        (Init::he_normal(), &[512, 2048], 2.0 / 2048.0, 2.0),
        (Init::he_uniform(), &[512, 2048], 2.0 / 2048.0, 0.8),
        (Init::lecun_normal(), &[512, 2048], 1.0 / 2048.0, 2.0),
        (Init::lecun_uniform(), &[512, 2048], 1.0 / 2048.0, 0.8),
        (Init::he_normal(), &[256, 128, 3, 3], 2.0 / 1152.0, 2.0),
        (
            Init::bias_uniform(784),
            &[1 << 20],
            1.0 / (3.0 * 784.0),
            0.8,
        ),
        (
            Init::residual_normal(0.02, 12),
            &[768, 3072],
            0.0004 / 24.0,
            2.0,
        ),
    ];
    for (init, dims, variance, of_square) in cases {
        let tensor = Tensor::new("w", dims).unwrap();
        let fill = Fill::new(&tensor, &init, 11).unwrap();
        let mut values = vec![0f32; fill.elements() as usize];
        cpu::fill_slice(&fill, &mut values).unwrap();
        let n = values.len() as f64;
        check_mean(
            &format!("{init}: mean"),
            sum(&values, |x| x),
            n,
            0.0,
            variance,
        );
        let squares = sum(&values, |x| x * x / variance);
        check_mean(&format!("{init}: variance"), squares, n, 1.0, of_square);
    }
}
