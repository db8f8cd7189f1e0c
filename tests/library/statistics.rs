//! Statistical tests of large samples of the CPU fill: their distributions and their independence.
//!
//! Seeds are fixed, so a test passes always or never. With another seed, correct weights would fail a single check
//! with a probability of about 1e-6, [`FALSE_ALARM`], and any of the some 600 checks of this file with 6e-4. If only
//! a bound of the probability is known, the bound is 1e-6.
//!
//! `cargo test --test library -- --nocapture statistics::` shows every statistic with its limits.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use fanin::{DType, Fill, Init, Layout, Tensor, cpu};
use half::{bf16, f16};
use rayon::prelude::*;

/// The probability that a check of correct weights fails, over all seeds.
const FALSE_ALARM: f64 = 1e-6;
/// A normal variable is farther than this from its mean with probability [`FALSE_ALARM`].
const SIGMAS: f64 = 4.891_638_475_698_77;
/// The Anderson-Darling statistic is larger with probability [`FALSE_ALARM`]: its tail goes to
/// sqrt(3) erfc(sqrt(x)) from above (Zolotarev, "Concerning a certain probability problem",
/// Theory of Probability and its Applications 6, 1961), by 5 % at x = 8.
const ANDERSON_DARLING: f64 = 12.6;

/// Elements of the large samples.
const SAMPLES: usize = 1 << 26;
/// Elements of a thread's task.
const CHUNK: usize = 1 << 16;

fn fill<T: cpu::Element>(fill: &Fill) -> Vec<T> {
    let mut out = vec![T::zeroed(); fill.elements() as usize];
    cpu::fill_slice(fill, &mut out).unwrap();
    out
}

// -------------------------------------------------------------------------------- the checks

#[track_caller]
fn check(what: impl Debug, statistic: f64, limits: RangeInclusive<f64>) {
    println!("{what:?}: {statistic:e} in {limits:?}");
    assert!(
        limits.contains(&statistic),
        "{what:?}: {statistic:e} is not in {limits:?}"
    );
}

/// Checks the mean of `n` independent terms with this expectation and variance, for large n.
#[track_caller]
fn check_mean(what: impl Debug, sum: f64, n: usize, expectation: f64, variance: f64) {
    let n = n as f64;
    let reach = SIGMAS * (variance / n).sqrt();
    check(
        ("mean", what),
        sum / n,
        expectation - reach..=expectation + reach,
    );
}

/// Checks a variable of the chi-square distribution with `freedom` degrees of freedom, on both sides.
///
/// The limits are from Laurent and Massart, "Adaptive estimation of a quadratic functional by model selection", Annals
/// of Statistics 28 (2000), lemma 1.
#[track_caller]
fn check_chi_square(what: impl Debug, statistic: f64, freedom: f64) {
    let t = (2.0 / FALSE_ALARM).ln();
    let reach = 2.0 * (freedom * t).sqrt();
    check(
        ("chi-square", what),
        statistic,
        freedom - reach..=freedom + reach + 2.0 * t,
    );
}

/// Checks counts of cells that all have the same probability, by Pearson's chi-square.
#[track_caller]
fn check_even(what: impl Debug, counts: &[u64]) {
    let n: u64 = counts.iter().sum();
    let expected = n as f64 / counts.len() as f64;
    // With fewer, Pearson's statistic is not close to a chi-square distribution.
    assert!(expected > 100.0, "{what:?}: {expected} elements in a cell");
    let statistic = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected)
        .sum();
    check_chi_square(what, statistic, counts.len() as f64 - 1.0);
}

/// Checks a number of rare events, by the Poisson distribution. Its tails are heavier than those of the binomial
/// distribution.
#[track_caller]
fn check_rare(what: impl Debug, count: usize, expected: f64) {
    let count = count as f64;
    let term = |k: f64| (k * expected.ln() - expected - libm::lgamma(k + 1.0)).exp();
    // The probability of the tail that begins at the count. Its terms fall until they underflow.
    let step = if count < expected { -1.0 } else { 1.0 };
    let tail: f64 = (0..)
        .map(|i| count + step * f64::from(i))
        .take_while(|&k| k >= 0.0)
        .map(term)
        .take_while(|&term| term > 0.0)
        .sum();
    check(
        ("probability of so many", what, count, expected),
        tail,
        FALSE_ALARM / 2.0..=1.0,
    );
}

/// Returns the sums of terms over `0..n`.
fn sums<const N: usize>(n: usize, terms: impl Fn(usize) -> [f64; N] + Sync) -> [f64; N] {
    let add = |a: [f64; N], b: [f64; N]| std::array::from_fn(|i| a[i] + b[i]);
    (0..n.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            (chunk * CHUNK..n.min((chunk + 1) * CHUNK)).fold([0.0; N], |sum, i| add(sum, terms(i)))
        })
        .reduce(|| [0.0; N], add)
}

/// Counts how often each cell occurs over `0..n`.
fn counts(n: usize, cells: usize, cell: impl Fn(usize) -> usize + Sync) -> Vec<u64> {
    let tasks = n.div_ceil(8 * rayon::current_num_threads()).max(CHUNK);
    (0..n.div_ceil(tasks))
        .into_par_iter()
        .map(|task| {
            let mut counts = vec![0; cells];
            for i in task * tasks..n.min((task + 1) * tasks) {
                counts[cell(i)] += 1;
            }
            counts
        })
        .reduce(
            || vec![0; cells],
            |a, b| a.iter().zip(b).map(|(a, b)| a + b).collect(),
        )
}

// --------------------------------------------------------------------------- the distributions

#[derive(Clone, Copy, Debug, PartialEq)]
enum Law {
    /// Standard normal.
    Normal,
    /// Uniform on (-1, 1).
    Uniform,
}

impl Law {
    fn init(self) -> Init {
        match self {
            Law::Normal => Init::normal(0.0, 1.0),
            Law::Uniform => Init::uniform(-1.0, 1.0),
        }
    }

    /// Returns the probability of less than x. The probability of more than x is `below(-x)`.
    fn below(self, x: f64) -> f64 {
        match self {
            Law::Normal => libm::erfc(-x * FRAC_1_SQRT_2) / 2.0,
            Law::Uniform => x.clamp(-1.0, 1.0).midpoint(1.0),
        }
    }

    /// Returns the expectation of x^k.
    fn moment(self, k: i32) -> f64 {
        match self {
            _ if k % 2 == 1 => 0.0,
            Law::Normal => (1..k).step_by(2).map(f64::from).product(),
            Law::Uniform => 1.0 / f64::from(k + 1),
        }
    }
}

/// Elements from the start of a stream.
struct Sample {
    law: Law,
    values: Vec<f32>,
    /// The number of each element's interval, out of 256 of equal probability.
    intervals: Vec<u8>,
}

impl Sample {
    fn new(law: Law, tensor: &Tensor, seed: u64) -> Self {
        Sample::of(law, &Fill::new(tensor, &law.init(), seed).unwrap())
    }

    fn of(law: Law, request: &Fill) -> Self {
        let values: Vec<f32> = fill(request);
        let intervals = values
            .par_iter()
            .map(|&x| (256.0 * law.below(x.into())) as u8)
            .collect();
        Sample {
            law,
            values,
            intervals,
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

fn large(law: Law) -> Sample {
    let tensor = Tensor::new("statistics", [SAMPLES as u64]).unwrap();
    Sample::new(law, &tensor, 20_240_229)
}

static NORMAL: LazyLock<Sample> = LazyLock::new(|| large(Law::Normal));
static UNIFORM: LazyLock<Sample> = LazyLock::new(|| large(Law::Uniform));

fn large_samples() -> [&'static Sample; 2] {
    [&NORMAL, &UNIFORM]
}

/// Checks that pairs of elements `(x[i], y[i])` are not correlated, nor their squares.
///
/// This is valid even if x and y are the same sequence, shifted: the products have the same variance and are
/// uncorrelated too.
#[track_caller]
fn check_uncorrelated(what: impl Debug, law: Law, x: &[f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    let variance = law.moment(2);
    let of_squares = law.moment(4) - variance * variance;
    let [products, of_square_products] = sums(x.len(), |i| {
        let (x, y) = (f64::from(x[i]), f64::from(y[i]));
        [x * y, (x * x - variance) * (y * y - variance)]
    });
    let n = x.len();
    check_mean(("x y", &what), products, n, 0.0, variance.powi(2));
    check_mean(
        ("x^2 y^2", &what),
        of_square_products,
        n,
        0.0,
        of_squares.powi(2),
    );
}

/// Checks that pairs of elements fill all 64 x 64 cells of a square equally. No element is in two pairs.
#[track_caller]
fn check_independent(what: impl Debug, n: usize, pair: impl Fn(usize) -> (u8, u8) + Sync) {
    let cells = counts(n, 1 << 12, |i| {
        let (x, y) = pair(i);
        usize::from(x >> 2) << 6 | usize::from(y >> 2)
    });
    check_even(("pairs", what), &cells);
}

/// Checks that pairs of elements that are `distance` apart are independent. No element is in two pairs.
#[track_caller]
fn check_independent_at(what: impl Debug, sample: &Sample, distance: usize) {
    let pairs = sample.len() / (2 * distance) * distance;
    check_independent((what, distance), pairs, |i| {
        let first = i / distance * 2 * distance + i % distance;
        (sample.intervals[first], sample.intervals[first + distance])
    });
}

// -------------------------------------------------------------------- one element on its own

#[test]
fn moments_are_those_of_the_distribution() {
    for sample in large_samples() {
        let law = sample.law;
        let powers = [1, 2, 3, 4, 5, 6, 8];
        let moments = sums(sample.len(), |i| {
            let x = f64::from(sample.values[i]);
            powers.map(|k| x.powi(k))
        });
        for (k, sum) in powers.into_iter().zip(moments) {
            let variance = law.moment(2 * k) - law.moment(k).powi(2);
            check_mean(
                (law, "x to the", k),
                sum,
                sample.len(),
                law.moment(k),
                variance,
            );
        }
    }
}

/// The Kolmogorov-Smirnov test and the Anderson-Darling test, on all elements.
#[test]
fn the_distribution_function_is_that_of_the_distribution() {
    for sample in large_samples() {
        let law = sample.law;
        let mut sorted = sample.values.clone();
        sorted.par_sort_unstable_by(f32::total_cmp);
        let n = sorted.len() as f64;

        let largest_gap = (0..sorted.len())
            .into_par_iter()
            .map(|i| {
                let below = law.below(sorted[i].into());
                (below - i as f64 / n)
                    .abs()
                    .max((below - (i + 1) as f64 / n).abs())
            })
            .reduce(|| 0.0, f64::max);
        // The inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant, which holds for every n.
        let limit = ((2.0 / FALSE_ALARM).ln() / (2.0 * n)).sqrt();
        check((law, "Kolmogorov-Smirnov"), largest_gap, 0.0..=limit);

        let [sum] = sums(sorted.len(), |i| {
            let x = f64::from(sorted[i]);
            let rank = (2 * i + 1) as f64;
            [rank * law.below(x).ln() + (2.0 * n - rank) * law.below(-x).ln()]
        });
        let anderson_darling = -n - sum / n;
        check(
            (law, "Anderson-Darling"),
            anderson_darling,
            0.0..=ANDERSON_DARLING,
        );
    }
}

#[test]
fn intervals_of_equal_probability_are_equally_full() {
    for sample in large_samples() {
        let law = sample.law;
        let cells = counts(sample.len(), 1 << 16, |i| {
            let below = law.below(sample.values[i].into());
            ((65536.0 * below) as usize).min(65535)
        });
        check_even((law, "all"), &cells);
        for lane in 0..4 {
            let cells = counts(sample.len() / 4, 256, |i| {
                sample.intervals[4 * i + lane].into()
            });
            check_even((law, "lane", lane), &cells);
        }
    }
}

#[test]
fn tails_are_as_heavy_as_they_should_be() {
    let values = &NORMAL.values;
    for sigmas in 3..=6 {
        let limit = sigmas as f32;
        let probability = Law::Normal.below(-f64::from(limit));
        let expected = probability * values.len() as f64;
        let below = values.par_iter().filter(|&&x| x < -limit).count();
        let above = values.par_iter().filter(|&&x| x > limit).count();
        check_rare(("below", sigmas), below, expected);
        check_rare(("above", sigmas), above, expected);
    }
    // The ends of a uniform sample, whose steps of 2^-24 begin at -1 and end before 1.
    let values = &UNIFORM.values;
    for exponent in [10, 16, 20, 22, 24] {
        let reach = (-f64::from(exponent)).exp2();
        let expected = reach / 2.0 * values.len() as f64;
        let limit = (1.0 - reach) as f32;
        let below = values.par_iter().filter(|&&x| x < -limit).count();
        let above = values.par_iter().filter(|&&x| x >= limit).count();
        check_rare(("low end", exponent), below, expected);
        check_rare(("high end", exponent), above, expected);
        assert!(values.par_iter().all(|x| (-1.0..1.0).contains(x)));
    }
}

/// The intervals of the other tests are too coarse for these bits. Elements below 2^24 steps are not cut, so they are
/// whole numbers of steps. The test takes the low bits of these numbers, each alone and with its neighbour.
#[test]
fn low_bits_of_the_steps_are_fair() {
    for (sample, fraction_bits, limit) in [(&NORMAL, 25, 0.25), (&UNIFORM, 24, 1.0)] {
        let small: Vec<u32> = sample
            .values
            .par_iter()
            .filter(|x| x.abs() < limit)
            .map(|&x| (x.abs() * (1u64 << fraction_bits) as f32) as u32)
            .collect();
        for bit in 0..13 {
            let cells = counts(small.len(), 4, |i| (small[i] >> bit) as usize % 4);
            check_even((sample.law, "bits", bit), &cells);
        }
        let cells = counts(small.len(), 1 << 12, |i| small[i] as usize % 4096);
        check_even((sample.law, "low bits"), &cells);
    }
}

// ------------------------------------------------------------------ elements of one tensor

/// Pairs of near neighbours, and of elements whose blocks differ in one bit of the counter.
#[test]
fn elements_are_not_correlated_with_later_ones() {
    let strides = (0..=22).map(|k| 4 << k);
    let lags: Vec<usize> = (1..=8).chain(strides).collect();
    for sample in large_samples() {
        for &lag in &lags {
            let (x, y) = (&sample.values[..sample.len() - lag], &sample.values[lag..]);
            check_uncorrelated((sample.law, "lag", lag), sample.law, x, y);
        }
    }
}

/// Elements in the same column of consecutive rows are one row length apart.
#[test]
fn rows_of_a_matrix_are_independent() {
    for sample in large_samples() {
        for row_length in [1, 2, 3, 64, 768, 1000, 1023, 4096, 50_257] {
            check_independent_at((sample.law, "row length"), sample, row_length);
        }
    }
}

#[test]
fn lanes_of_a_block_are_independent() {
    for sample in large_samples() {
        let blocks = sample.len() / 4;
        for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            check_independent((sample.law, "lanes", first, second), blocks, |i| {
                (
                    sample.intervals[4 * i + first],
                    sample.intervals[4 * i + second],
                )
            });
        }
        // All four lanes at once, in 8^4 cells.
        let cells = counts(blocks, 1 << 12, |i| {
            (0..4).fold(0, |cell, lane| {
                cell << 3 | usize::from(sample.intervals[4 * i + lane] >> 5)
            })
        });
        check_even((sample.law, "all lanes"), &cells);
    }
}

/// For the two normals of a Box-Muller pair, the angle is uniform, exp(-r^2 / 2) is uniform, and the two are
/// independent.
#[test]
fn radius_and_angle_of_a_pair_are_independent() {
    let pairs: Vec<(u8, u8)> = NORMAL
        .values
        .par_chunks_exact(2)
        .map(|pair| {
            let (x, y) = (f64::from(pair[0]), f64::from(pair[1]));
            let turns = libm::atan2(y, x) / TAU + 0.5;
            let u = libm::exp(-(x * x + y * y) / 2.0);
            ((256.0 * turns) as u8, (256.0 * u) as u8)
        })
        .collect();
    let cells = counts(pairs.len(), 1 << 16, |i| {
        usize::from(pairs[i].0) << 8 | usize::from(pairs[i].1)
    });
    check_even("angle and radius", &cells);
    // The two pairs of one block, and pairs of consecutive blocks.
    let second = |i: usize| (pairs[2 * i], pairs[2 * i + 1]);
    let n = pairs.len() / 2;
    check_independent("radii of a block", n, |i| (second(i).0.1, second(i).1.1));
    check_independent("angles of a block", n, |i| (second(i).0.0, second(i).1.0));
    check_independent("radius and next angle", n, |i| {
        (second(i).0.1, second(i).1.0)
    });
    check_independent("angle and next radius", n, |i| {
        (second(i).0.0, second(i).1.1)
    });
}

// ------------------------------------------------------------- tensors, seeds, far elements

/// Streams that a poor generator would correlate: their names, stream ids, seeds or blocks differ in one bit, or have
/// the same halves in another order.
#[test]
fn streams_are_independent() {
    const N: u64 = 1 << 22;
    let named = |name: &str| Tensor::new(name, [fanin::MAX_ELEMENTS]).unwrap();
    let numbered = |stream| named("n").with_stream_id(stream);
    let from = |tensor: Tensor, seed, start: u64| (tensor, seed, start);
    for law in [Law::Normal, Law::Uniform] {
        for (what, one, other) in [
            ("names", from(named("a"), 1, 0), from(named("b"), 1, 0)),
            (
                "layers",
                from(named("layers.0.weight"), 1, 0),
                from(named("layers.1.weight"), 1, 0),
            ),
            (
                "streams 0, 1",
                from(numbered(0), 1, 0),
                from(numbered(1), 1, 0),
            ),
            (
                "streams 1, 2^32",
                from(numbered(1), 1, 0),
                from(numbered(1 << 32), 1, 0),
            ),
            (
                "streams 0, 2^63",
                from(numbered(0), 1, 0),
                from(numbered(1 << 63), 1, 0),
            ),
            ("seeds 0, 1", from(named("w"), 0, 0), from(named("w"), 1, 0)),
            (
                "seeds 1, 2^32",
                from(named("w"), 1, 0),
                from(named("w"), 1 << 32, 0),
            ),
            (
                "seeds 0, 2^63",
                from(named("w"), 0, 0),
                from(named("w"), 1 << 63, 0),
            ),
            (
                "seed and stream",
                from(numbered(5), 9, 0),
                from(numbered(9), 5, 0),
            ),
            (
                "block + 2^32",
                from(named("w"), 1, 0),
                from(named("w"), 1, 1 << 34),
            ),
            (
                "block + 2^47",
                from(named("w"), 1, 0),
                from(named("w"), 1, 1 << 49),
            ),
        ] {
            let [one, other] = [one, other].map(|(tensor, seed, start)| {
                let request = Fill::new(&tensor, &law.init(), seed)
                    .unwrap()
                    .slice(std::slice::from_ref(&(start..start + N)))
                    .unwrap();
                Sample::of(law, &request)
            });
            let n = one.len();
            for shift in [0, 1, 2, 3, 4] {
                let (x, y) = (&one.values[..n - shift], &other.values[shift..]);
                check_uncorrelated((law, what, shift), law, x, y);
            }
            check_independent((law, what), n, |i| (one.intervals[i], other.intervals[i]));
        }
    }
}

/// The first elements of many small tensors, in the order of names and seeds, pass the same tests as the elements of
/// a single tensor.
#[test]
fn first_elements_of_many_tensors_are_a_sample() {
    const TENSORS: u64 = 1 << 18;
    let first = |name: String, seed| {
        let tensor = Tensor::new(name, [4]).unwrap();
        fill::<f32>(&Fill::new(&tensor, &Init::normal(0.0, 1.0), seed).unwrap())
    };
    let by_name: Vec<f32> = (0..TENSORS)
        .into_par_iter()
        .flat_map_iter(|i| first(format!("layers.{i}.bias"), 1))
        .collect();
    let by_seed: Vec<f32> = (0..TENSORS)
        .into_par_iter()
        .flat_map_iter(|i| first("bias".to_owned(), i))
        .collect();
    for (what, values) in [("names", by_name), ("seeds", by_seed)] {
        let n = values.len();
        let [sum, squares] = sums(n, |i| {
            let x = f64::from(values[i]);
            [x, x * x]
        });
        check_mean((what, "x"), sum, n, 0.0, 1.0);
        check_mean((what, "x^2"), squares, n, 1.0, 2.0);
        for lag in [4, 8, 16, 40, 400] {
            check_uncorrelated((what, lag), Law::Normal, &values[..n - lag], &values[lag..]);
        }
        let cells = counts(n, 4096, |i| {
            (4096.0 * Law::Normal.below(values[i].into())) as usize
        });
        check_even(what, &cells);
    }
}

// ------------------------------------------------------------------------------ 16 bits

/// Returns the numbers of a 16-bit dtype from 0 up to 64. The probability of larger ones is 0 in binary64.
fn magnitudes(dtype: DType) -> Vec<f64> {
    let number = |bits| match dtype {
        DType::F16 => f16::from_bits(bits).to_f64(),
        _ => bf16::from_bits(bits).to_f64(),
    };
    (0..).map(number).take_while(|&x| x < 64.0).collect()
}

/// Returns the bits of a fill's elements.
fn half_bits(request: &Fill) -> Vec<u16> {
    match request.dtype() {
        DType::F16 => fill::<f16>(request).into_iter().map(f16::to_bits).collect(),
        _ => fill::<bf16>(request)
            .into_iter()
            .map(bf16::to_bits)
            .collect(),
    }
}

/// After rounding to 16 bits, a number has the probability of the interval that rounds to it. The frequencies and the
/// moments are those of this discrete distribution.
#[test]
fn sixteen_bits_have_the_distribution_of_rounded_values() {
    let n = 1usize << 24;
    let tensor = Tensor::new("half", [n as u64]).unwrap();
    for law in [Law::Normal, Law::Uniform] {
        for dtype in [DType::F16, DType::BF16] {
            let request = Fill::new(&tensor, &law.init(), 5)
                .unwrap()
                .with_dtype(dtype);
            let bits = half_bits(&request);
            let counts = counts(n, 1 << 16, |i| bits[i].into());

            let values = magnitudes(dtype);
            // The interval ends half way to the next smaller and to the next larger number. For 0, +0 and -0
            // share the interval around it.
            let probability = |i: usize| {
                let from = if i == 0 {
                    0.0
                } else {
                    values[i - 1].midpoint(values[i])
                };
                let to = values
                    .get(i + 1)
                    .map_or(f64::INFINITY, |&next| values[i].midpoint(next));
                law.below(-from) - law.below(-to)
            };
            let probabilities: Vec<f64> = (0..values.len()).map(probability).collect();

            for k in [1, 2, 3, 4, 6] {
                let exact = |k: i32| -> f64 {
                    let moment = |(x, p): (&f64, &f64)| 2.0 * p * x.powi(k);
                    if k % 2 == 1 {
                        return 0.0;
                    }
                    values.iter().zip(&probabilities).map(moment).sum()
                };
                let sum = (0..values.len())
                    .map(|i| {
                        let (above, below) = (counts[i] as f64, counts[i | 1 << 15] as f64);
                        let odd = if k % 2 == 1 {
                            above - below
                        } else {
                            above + below
                        };
                        odd * values[i].powi(k)
                    })
                    .sum();
                let variance = exact(2 * k) - exact(k).powi(2);
                check_mean((law, dtype, "x to the", k), sum, n, exact(k), variance);
            }

            // Pearson's chi-square. Numbers that are too rare for it share a cell with their neighbours.
            let mut statistic = 0.0;
            let mut cells = 0;
            for sign in [0, 1 << 15] {
                let (mut count, mut expected) = (0.0, 0.0);
                let mut left: f64 = 0.5 * n as f64;
                for (i, p) in probabilities.iter().enumerate() {
                    count += counts[i | sign] as f64;
                    expected += p * n as f64;
                    left -= p * n as f64;
                    // The last cell includes the tail.
                    if expected >= 200.0 && left >= 200.0 || i + 1 == probabilities.len() {
                        statistic += (count - expected).powi(2) / expected;
                        cells += 1;
                        (count, expected) = (0.0, 0.0);
                    }
                }
            }
            check_chi_square((law, dtype, cells), statistic, f64::from(cells - 1));
        }
    }
}

// ------------------------------------------------------------------------------ the rules

/// Weights have the variance of their rule's formula with the fans of the layer.
#[test]
fn weights_have_the_variance_of_their_rule() {
    let linear = Tensor::new("fc.weight", [1024, 784]).unwrap();
    let keras = linear.clone().with_layout(Layout::InOut);
    let conv = Tensor::new("conv.weight", [256, 128, 3, 3]).unwrap();
    for (tensor, fan_in, fan_out) in [
        (&linear, 784.0, 1024.0),
        (&keras, 1024.0, 784.0),
        (&conv, 1152.0, 2304.0),
    ] {
        for (rule, variance) in [
            ("xavier", 2.0 / (fan_in + fan_out)),
            ("kaiming", 2.0 / fan_in),
            ("lecun", 1.0 / fan_in),
        ] {
            for family in ["normal", "uniform"] {
                let init: Init = format!("{rule}_{family}").parse().unwrap();
                let request = Fill::new(tensor, &init, 99).unwrap();
                let weights: Vec<f32> = fill(&request);
                let n = weights.len();
                let [sum, squares] = sums(n, |i| {
                    let x = f64::from(weights[i]);
                    [x, x * x / variance]
                });
                let what = (rule, family, tensor.name(), tensor.layout());
                check_mean(what, sum, n, 0.0, variance);
                if family == "normal" {
                    check_chi_square(what, squares, n as f64);
                    continue;
                }
                // x^2 / variance has the expectation 1 and the variance 9/5 - 1.
                check_mean(("x^2", what), squares, n, 1.0, 0.8);
                // The distance of the largest of n from the bound, relative to the bound, is exponentially
                // distributed with mean 1 / n.
                let bound = (3.0 * variance).sqrt();
                let largest = weights.iter().fold(0f32, |max, x| max.max(x.abs()));
                let share = 1.0 - f64::from(largest) / bound;
                let rounding = f64::from(f32::EPSILON);
                check(
                    ("distance to the bound", what),
                    share,
                    -rounding..=(1.0 / FALSE_ALARM).ln() / n as f64,
                );
            }
        }
    }
}
