//! How close the normal core is to the exact Box-Muller transform: |f * 2^-26 - exact| <= 2^-25
//! for every pair of words.
//!
//! There are 2^64 pairs, but the error takes apart. With r and s for the exact radius and the
//! exact sine or cosine, R and S for what the kernel computes in their place,
//!
//! ```text
//! |f 2^-26 - r s|  <=  |f 2^-26 - R S| + R |S - s| + |R - r| |s|  <=  2^-27 + R D + |R - r|
//! ```
//!
//! where D is the largest |S - s| of all angles. What is left depends on the word a alone, so its
//! maximum over all a is a bound for all pairs. That f is R S rounded to nearest is checked to the
//! bit. The ignored tests go through all 2^32 words of either kind and print what they find:
//!
//! ```text
//! cargo test --release --test accuracy -- --ignored --nocapture
//! ```

use std::f64::consts::TAU;
use std::fmt;
use std::sync::LazyLock;

use fanin::init::normal_table;
use fanin::kernel::box_muller::{self, ONE};
use fanin::kernel::philox::philox;
use rayon::prelude::*;

/// 2^-25: what is promised.
const PROMISE: f64 = 1.0 / (1u64 << 25) as f64;
/// 2^-27, half a unit of the last of 26 fraction bits: what rounding to nearest takes.
const ROUNDING: f64 = 1.0 / (1u64 << 27) as f64;
/// The largest magnitude, in units of 2^-26: the smallest u, next to an axis.
const LARGEST: i32 = 453_904_602;

static TABLE: LazyLock<Vec<[u32; 4]>> = LazyLock::new(|| normal_table().to_vec());

fn radius(a: u32) -> i32 {
    box_muller::radius(a, &TABLE)
}

fn turn(b: u32) -> (i32, i32) {
    box_muller::turn(b, &TABLE)
}

fn normal_pair(a: u32, b: u32) -> (i32, i32) {
    box_muller::normal_pair(a, b, &TABLE)
}

/// More than the binary64 references here are off by, always added before a comparison.
///
/// The errors of `libm`'s log, log1p, sin and cos are below one unit in the last place, the
/// arguments of the logarithms are exact, and no angle is off by more than 2^-51 (2^-53 for each
/// of pi, a product and a sum, all of them times at most 2 pi). With a radius below 8 that makes
/// less than 2^-47.
const REFERENCE: f64 = 1.0 / (1u64 << 47) as f64;

/// `sqrt(-2 ln((a + 1/2) / 2^32))`.
fn exact_radius(a: u32) -> f64 {
    const STEPS: f64 = (1u64 << 32) as f64;
    let log = if a < 1 << 31 {
        libm::log((f64::from(a) + 0.5) / STEPS)
    } else {
        // ln u = ln(1 - v), with v exact: u itself goes to 1, v to 0.
        libm::log1p(-((f64::from(!a) + 0.5) / STEPS))
    };
    (-2.0 * log).sqrt()
}

/// Cosine and sine of `2 pi (b + 1/2) / 2^32`.
fn exact_cos_sin(b: u32) -> (f64, f64) {
    let turns = (f64::from(b) + 0.5) / (1u64 << 32) as f64;
    let (sin, cos) = libm::sincos(TAU * turns);
    (cos, sin)
}

fn computed_radius(a: u32) -> f64 {
    f64::from(radius(a)) * (f64::from(ONE) / (1u64 << 58) as f64)
}

/// The number that a core stands for.
fn value(core: i32) -> f64 {
    f64::from(core) / f64::from(1 << 26)
}

/// Every `step`-th word, in runs.
fn words(step: u64) -> impl ParallelIterator<Item = impl Iterator<Item = u32>> {
    (0..1u64 << 16).into_par_iter().map(move |run| {
        let first = (run << 16).next_multiple_of(step);
        (first..(run + 1) << 16)
            .step_by(step as usize)
            .map(|word| word as u32)
    })
}

/// The words up to `reach` away from `center`, cut off at the ends.
fn around(center: u64, reach: u64) -> impl Iterator<Item = u32> {
    (center.saturating_sub(reach)..=(center + reach).min(u32::MAX.into())).map(|word| word as u32)
}

/// Words a where the radius changes its ways: the ends, the powers of two, and the segments of
/// each octave, from both ends.
fn notable_radius_words() -> Vec<u32> {
    let mut words: Vec<u32> = around(0, 1 << 16).collect();
    words.extend(around(1 << 32, 1 << 16));
    for octave in 0..32 {
        words.extend(around(1 << octave, 64));
        for segment in 33..64u64 {
            words.extend(around((segment << octave) >> 5, 8));
            words.extend(around((1 << 32) - ((segment << octave) >> 5), 8));
        }
    }
    words
}

/// Words b next to the axes and the diagonals, where cosine and sine are smallest and equal, and
/// at the ends of the parts that points of the circle stand for.
fn notable_angle_words() -> Vec<u32> {
    let axes = (0..=8).flat_map(|eighth| around(eighth << 29, 1 << 12));
    axes.chain((0..=1024).flat_map(|part| around(part << 22, 4)))
        .collect()
}

/// The largest error of the kernel's cosines and sines.
#[derive(Clone, Copy, Debug, Default)]
struct AngleError {
    cosine: f64,
    sine: f64,
}

impl AngleError {
    fn with(self, b: u32, (exact_cosine, exact_sine): (f64, f64)) -> Self {
        let (cosine, sine) = turn(b);
        let error = |n: i32, exact: f64| (f64::from(n) / f64::from(ONE) - exact).abs();
        AngleError {
            cosine: self.cosine.max(error(cosine, exact_cosine)),
            sine: self.sine.max(error(sine, exact_sine)),
        }
    }

    fn merge(self, other: Self) -> Self {
        AngleError {
            cosine: self.cosine.max(other.cosine),
            sine: self.sine.max(other.sine),
        }
    }

    fn largest(self) -> f64 {
        self.cosine.max(self.sine)
    }
}

fn angle_error(words: impl ParallelIterator<Item = impl Iterator<Item = u32>>) -> AngleError {
    words
        .map(|run| {
            run.fold(AngleError::default(), |worst, b| {
                worst.with(b, exact_cos_sin(b))
            })
        })
        .reduce(AngleError::default, AngleError::merge)
}

/// What the radii in `[n, n + 1)` come to.
#[derive(Clone, Copy, Debug, Default)]
struct RadiusBin {
    words: u64,
    /// The largest |R - r| and the word that has it.
    error: f64,
    at: u32,
    /// The largest 2^-27 + R D + |R - r|.
    bound: f64,
}

/// The errors of the kernel's radii, by the integer part of the radius.
#[derive(Clone, Copy, Debug)]
struct RadiusError {
    /// D, with the error of the reference.
    angle: f64,
    bins: [RadiusBin; 7],
    smallest: i32,
    largest: i32,
}

impl RadiusError {
    fn new(angle: f64) -> Self {
        RadiusError {
            angle,
            bins: Default::default(),
            smallest: i32::MAX,
            largest: 0,
        }
    }

    fn see(&mut self, a: u32) {
        let computed = computed_radius(a);
        let error = (computed - exact_radius(a)).abs();
        let bin = &mut self.bins[computed as usize];
        bin.words += 1;
        if error > bin.error {
            (bin.error, bin.at) = (error, a);
        }
        bin.bound = bin
            .bound
            .max(ROUNDING + computed * self.angle + error + REFERENCE);
        self.smallest = self.smallest.min(radius(a));
        self.largest = self.largest.max(radius(a));
    }

    fn merge(mut self, other: Self) -> Self {
        for (bin, other) in self.bins.iter_mut().zip(other.bins) {
            bin.words += other.words;
            if other.error > bin.error {
                (bin.error, bin.at) = (other.error, other.at);
            }
            bin.bound = bin.bound.max(other.bound);
        }
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        self
    }

    fn of(words: impl ParallelIterator<Item = impl Iterator<Item = u32>>, angle: f64) -> Self {
        words
            .map(|run| {
                let mut error = RadiusError::new(angle);
                run.for_each(|a| error.see(a));
                error
            })
            .reduce(|| RadiusError::new(angle), RadiusError::merge)
    }

    /// The promise, for all pairs of the words a that were seen and the angles behind `angle`.
    fn check(&self) {
        for (n, bin) in self.bins.iter().enumerate() {
            assert!(bin.words > 0, "no radius in [{n}, {})", n + 1);
            assert!(bin.bound <= PROMISE, "radii in [{n}, {}): {bin:?}", n + 1);
        }
        assert!(self.smallest > 0);
        assert_eq!(self.largest, radius(0));
        assert_eq!(normal_pair(0, 0).0, LARGEST);
    }
}

impl fmt::Display for RadiusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: f64 = (1u64 << 27) as f64;
        writeln!(f, "in units of 2^-27; the promise is 4 for the sum")?;
        writeln!(f, "radius        words a  |R - r|     at a       sum")?;
        for (n, bin) in self.bins.iter().enumerate() {
            writeln!(
                f,
                "[{n}, {})  {:>13}  {:.4}   {:08x}  {:.4}",
                n + 1,
                bin.words,
                bin.error * UNIT,
                bin.at,
                bin.bound * UNIT
            )?;
        }
        let radius = |r: i32| f64::from(r) * (f64::from(ONE) / (1u64 << 58) as f64);
        write!(
            f,
            "radii from {:.9} to {:.9}",
            radius(self.smallest),
            radius(self.largest)
        )
    }
}

/// `|kernel(a, b) - exact|`, the larger of the two lanes, given the exact values.
fn pair_error(a: u32, b: u32, radius: f64, (cosine, sine): (f64, f64)) -> f64 {
    let (even, odd) = normal_pair(a, b);
    let error = (value(even) - radius * cosine).abs();
    error.max((value(odd) - radius * sine).abs())
}

/// What is exact about a pair: it is the product of radius and direction, rounded to nearest, and
/// has the signs of cosine and sine, where it is more than a unit of the last place.
fn check_pair(a: u32, b: u32, (cosine, sine): (f64, f64)) {
    let (even, odd) = normal_pair(a, b);
    let (x, y) = turn(b);
    let product = |s: i32| ((i64::from(radius(a)) * i64::from(s) + (1 << 31)) >> 32) as i32;
    assert_eq!(
        (even, odd),
        (product(x), product(y)),
        "words {a:#010x} {b:#010x}"
    );
    for (core, exact) in [(even, cosine), (odd, sine)] {
        assert!(
            core.abs() <= 1 || (core < 0) == (exact < 0.0),
            "words {a:#010x} {b:#010x}"
        );
    }
}

/// A pair turns and mirrors with its angle, but for halves, which are rounded up: those of the
/// direction may move the product by one. Counts the numbers that are not the same.
fn asymmetries(a: u32, b: u32) -> u32 {
    let (x, y) = normal_pair(a, b);
    let mut moved = 0;
    for (word, expected) in [
        (b.wrapping_add(1 << 30), (-y, x)),
        (b.wrapping_add(1 << 31), (-x, -y)),
        (!b, (x, -y)),
    ] {
        let (even, odd) = normal_pair(a, word);
        for (core, expected) in [(even, expected.0), (odd, expected.1)] {
            assert!(core.abs_diff(expected) <= 1, "words {a:#010x} {b:#010x}");
            moved += u32::from(core != expected);
        }
    }
    assert!(x.abs() <= LARGEST && y.abs() <= LARGEST);
    moved
}

#[test]
fn sampled_words_keep_the_promise() {
    let notable = rayon::iter::once(notable_angle_words().into_iter());
    let angle = angle_error(words(37)).merge(angle_error(notable)).largest() + REFERENCE;
    RadiusError::of(words(101), angle).check();
    RadiusError::of(rayon::iter::once(notable_radius_words().into_iter()), angle).check();
}

#[test]
fn sampled_pairs_are_exact_products_with_the_right_signs() {
    let radii = [0, 1, 0x1e5d_9147, 0x8000_0000, 0xf800_0000, u32::MAX];
    let moved: u32 = words(1009)
        .flatten_iter()
        .chain(notable_angle_words().into_par_iter())
        .map(|b| {
            radii
                .map(|a| {
                    check_pair(a, b, exact_cos_sin(b));
                    asymmetries(a, b)
                })
                .iter()
                .sum::<u32>()
        })
        .sum();
    // Of more than 10^8 numbers; a half is one in 2^31 for a direction.
    assert!(moved < 100, "{moved} numbers are not symmetric");
}

#[test]
fn notable_pairs_are_close_to_binary64() {
    let angles = notable_angle_words();
    notable_radius_words()
        .into_par_iter()
        .enumerate()
        .for_each(|(i, a)| {
            let radius = exact_radius(a);
            // 16 of the angles, others for each radius.
            for &b in angles
                .iter()
                .cycle()
                .skip(i % angles.len())
                .step_by(4567)
                .take(16)
            {
                let error = pair_error(a, b, radius, exact_cos_sin(b));
                assert!(error + REFERENCE <= PROMISE, "words {a:#010x} {b:#010x}");
            }
        });
}

#[test]
fn random_pairs_are_close_to_binary64() {
    let worst = (0..1u32 << 22)
        .into_par_iter()
        .map(|i| {
            let [a, b, ..] = philox([i, 0, 0, 0], [1, 0]);
            pair_error(a, b, exact_radius(a), exact_cos_sin(b))
        })
        .reduce(|| 0.0, f64::max);
    assert!(worst + REFERENCE <= PROMISE, "{worst:e}");
    // Not a comparison of something with itself: rounding alone takes half of 2^-26.
    assert!(worst > ROUNDING, "{worst:e}");
}

#[test]
#[ignore = "exhaustive, some minutes in release on two cores: \
            cargo test --release --test accuracy -- --ignored --nocapture"]
fn all_words_keep_the_promise() {
    let angle = angle_error(words(1));
    println!(
        "all 2^32 angles, in units of 2^-32: |cosine| off by {:.4}, |sine| off by {:.4}",
        angle.cosine * (1u64 << 32) as f64,
        angle.sine * (1u64 << 32) as f64
    );
    let radii = RadiusError::of(words(1), angle.largest() + REFERENCE);
    println!("all 2^32 radii, {radii}");
    assert_eq!(radii.bins.iter().map(|bin| bin.words).sum::<u64>(), 1 << 32);
    radii.check();
}

#[test]
#[ignore = "exhaustive, some minutes in release on two cores: \
            cargo test --release --test accuracy -- --ignored --nocapture"]
fn all_angles_are_exact_products_with_the_right_signs() {
    const STEPS: u32 = 1 << 12;
    // Within a chunk of words, angles are added by the theorem: exact to a few 2^-53.
    let steps: Vec<(f64, f64)> = (0..STEPS).map(exact_cos_sin).collect();
    let radii = [0, 0x1e5d_9147].map(|a| (a, exact_radius(a)));
    let worst = (0..u32::MAX / STEPS + 1)
        .into_par_iter()
        .map(|chunk| {
            let start = TAU * f64::from(chunk) / f64::from(u32::MAX / STEPS + 1);
            let (start_sine, start_cosine) = libm::sincos(start);
            let mut worst = [0f64; 2];
            for (b, &(cosine, sine)) in (chunk * STEPS..).zip(&steps) {
                let exact = (
                    start_cosine * cosine - start_sine * sine,
                    start_sine * cosine + start_cosine * sine,
                );
                for ((a, radius), worst) in radii.into_iter().zip(&mut worst) {
                    check_pair(a, b, exact);
                    *worst = worst.max(pair_error(a, b, radius, exact));
                }
            }
            worst
        })
        .reduce(|| [0.0; 2], |x, y| std::array::from_fn(|i| x[i].max(y[i])));
    for ((a, radius), worst) in radii.into_iter().zip(worst) {
        println!(
            "a = {a:08x}, radius {radius:.4}, all 2^32 words b: off by {:.4} units of 2^-27",
            worst * (1u64 << 27) as f64
        );
        assert!(worst + REFERENCE <= PROMISE);
    }
}
