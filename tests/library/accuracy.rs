//! The errors of normal numbers against the exact Box-Muller transform, and of their moments against those of
//! the normal distribution.
//!
//! There are 2^64 pairs of words, but the error splits into parts. An element is `p * u` standard deviations,
//! where u is its step. Let r and s be the exact radius and the exact sine or cosine, and R and S the kernel's:
//!
//! ```text
//! |p u - r s|  <=  |p u - R S| + R |S - s| + |R - r| |s|
//!              <=  (5/8 u + 2^-23 (R |S| + 5/8 u)) + R D + |R - r|
//! ```
//!
//! D is the largest |S - s| of all directions. The kernel rounds R to a quarter of a step and the product to a
//! step, which adds up to 1/8 + 1/2 of a step. The cut to 24 bits removes less than 2^-23 of the product. The
//! rest depends on one word only, so its maximum over that word is a bound for all pairs.
//!
//! A word has more bits than the kernel uses. There are 2^27 groups of words with the same radius and 2^26
//! groups with the same direction. The ordinary tests take one word of each group. The ignored test takes all
//! 2^32 words and prints the tables of `docs/STREAM.md`:
//!
//! ```text
//! cargo test --release --test library -- --ignored --nocapture accuracy::
//! ```

use std::f64::consts::TAU;
use std::fmt;
use std::sync::LazyLock;

use fanin::init::normal_table;
use fanin::kernel::box_muller::{self, RADIUS_BITS};
use fanin::kernel::curve;
use fanin::kernel::philox::{counter, philox};
use fanin::kernel::value::cut;
use fanin::{Fill, Init, Tensor, cpu};
use rayon::prelude::*;

/// The bound of the error of a radius, 2^-22. The largest error is 2^-22.003.
const RADIUS_PROMISE: f64 = 1.0 / (1u64 << 22) as f64;
/// The bound of the error of a cosine or sine, 2^-22.3. The largest error is 2^-22.396.
const DIRECTION_PROMISE: f64 = 1.9365e-7;
/// The bound of the error of an element with mean 0, 2^-18.8 standard deviations. Over all pairs of words the
/// computed bound is 2^-18.85.
const VALUE_PROMISE: f64 = 2.1909e-6;
/// The largest step, in standard deviations: 7 standard deviations are more than 2^27 steps.
const LARGEST_STEP: f64 = 14.0 / (1u64 << 28) as f64;
/// The bits of a word b that no direction depends on.
const UNUSED_BITS: u32 = 0xfc00;

static TABLE: LazyLock<Vec<[u32; 2]>> = LazyLock::new(|| normal_table().to_vec());
static RADII: LazyLock<Radii> = LazyLock::new(|| Radii::of(groups_of_radii()));
static DIRECTIONS: LazyLock<Directions> = LazyLock::new(Directions::all);

/// The radius of the word a, with 28 fraction bits.
fn radius(a: u32) -> i32 {
    curve::curve(a, &TABLE)
}

/// Cosine and sine of the word b, with 30 fraction bits.
fn turn(b: u32) -> (i32, i32) {
    box_muller::turn(b, &TABLE)
}

fn real_radius(radius: i32) -> f64 {
    f64::from(radius) / f64::from(1u32 << RADIUS_BITS)
}

fn real_direction(x: i32) -> f64 {
    f64::from(x) / f64::from(1u32 << 30)
}

/// A bound of the error of the binary64 references here. It is added before each comparison.
///
/// The errors of `libm`'s log, log1p, sin and cos are below one unit in the last place, the
/// arguments of the logarithms are exact, and no angle is off by more than 2^-51 (2^-53 for each
/// of pi and a product, both times at most 2 pi). With a radius below 8 the sum is less than 2^-47.
const REFERENCE: f64 = 1.0 / (1u64 << 47) as f64;

/// The exact radius, `sqrt(-2 ln u)`: u is z / 2^32 from 0 or from 1, where z is the word cut to 24 bits.
fn exact_radius(a: u32) -> f64 {
    const STEPS: f64 = (1u64 << 32) as f64;
    let z = f64::from(cut((a | 1) as i32));
    let log = if z > 0.0 {
        libm::log(z / STEPS)
    } else {
        libm::log1p(z / STEPS)
    };
    (-2.0 * log).sqrt()
}

/// Cosine and sine of the middle of the angles that share the k and d of a word: one of 1024 parts
/// of the circle, and one of 2^16 parts of that.
fn exact_direction(b: u32) -> (f64, f64) {
    let (k, d) = (b % 1024, b as i32 >> 16);
    let turns = (f64::from(k) + 0.5 + (f64::from(d) + 0.5) / 65_536.0) / 1024.0;
    let (sin, cos) = libm::sincos(TAU * turns);
    (cos, sin)
}

/// The size of the group of words with the same radius. The kernel sets the last bit and cuts to 24 bits. A
/// group starts at a multiple of its size.
fn group_size(a: u32) -> u32 {
    let sign = (a as i32 >> 31) as u32;
    let bits = 32 - (a ^ sign).leading_zeros();
    1 << bits.saturating_sub(24).max(1)
}

/// The first word of each group of words with the same radius, and the size of the group, in runs.
fn groups_of_radii() -> impl ParallelIterator<Item = (impl Iterator<Item = u32>, u32)> {
    (0..1u32 << 16).into_par_iter().map(|run| {
        let first = run << 16;
        // The size of groups changes only at powers of two from 2^25 on, where a run starts.
        let size = group_size(first);
        let words = (first..=first | 0xffff).step_by(size as usize);
        (words, size)
    })
}

/// All words, in runs.
fn all_words() -> impl ParallelIterator<Item = impl Iterator<Item = u32>> {
    (0..1u32 << 16)
        .into_par_iter()
        .map(|run| run << 16..=run << 16 | 0xffff)
}

/// The words up to `reach` away from `center`, cut off at the ends.
fn around(center: u64, reach: u64) -> impl Iterator<Item = u32> {
    (center.saturating_sub(reach)..=(center + reach).min(u32::MAX.into())).map(|word| word as u32)
}

/// Statistics of the kernel's directions.
#[derive(Clone, Copy, Debug, Default)]
struct Directions {
    /// The largest errors of a cosine and of a sine, and the words that have them.
    cosine: (f64, u32),
    sine: (f64, u32),
    /// The largest magnitude of a cosine or a sine, with 30 fraction bits.
    largest: u32,
    /// Means of x, y, x^2, y^2, x^4, y^4 and x y.
    means: [f64; 7],
}

impl Directions {
    fn all() -> Self {
        (0..1024u32)
            .into_par_iter()
            .map(|k| {
                let mut seen = Directions::default();
                for d in 0..1u32 << 16 {
                    seen.see(d << 16 | k);
                }
                seen.means = seen.means.map(|sum| sum / f64::from(1u32 << 26));
                seen
            })
            .reduce(Directions::default, Directions::merge)
    }

    fn see(&mut self, b: u32) {
        let (cosine, sine) = turn(b);
        let (x, y) = (real_direction(cosine), real_direction(sine));
        let (exact_x, exact_y) = exact_direction(b);
        self.cosine = larger(self.cosine, ((x - exact_x).abs(), b));
        self.sine = larger(self.sine, ((y - exact_y).abs(), b));
        let largest = cosine.unsigned_abs().max(sine.unsigned_abs());
        self.largest = self.largest.max(largest);
        let (x2, y2) = (x * x, y * y);
        let terms = [x, y, x2, y2, x2 * x2, y2 * y2, x * y];
        for (sum, term) in self.means.iter_mut().zip(terms) {
            *sum += term;
        }
    }

    fn merge(self, other: Self) -> Self {
        Directions {
            cosine: larger(self.cosine, other.cosine),
            sine: larger(self.sine, other.sine),
            largest: self.largest.max(other.largest),
            means: std::array::from_fn(|i| self.means[i] + other.means[i]),
        }
    }

    /// Returns D, with the error of the reference.
    fn error(&self) -> f64 {
        self.cosine.0.max(self.sine.0) + REFERENCE
    }

    /// Returns the differences of the means from those of a uniform direction: 0, 1/2 and 3/8.
    fn moments(&self) -> [f64; 7] {
        let exact = [0.0, 0.0, 0.5, 0.5, 0.375, 0.375, 0.0];
        std::array::from_fn(|i| self.means[i] - exact[i])
    }
}

/// Returns the larger error with its word, and the lower word if both are equal.
fn larger(a: (f64, u32), b: (f64, u32)) -> (f64, u32) {
    if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) {
        b
    } else {
        a
    }
}

impl fmt::Display for Directions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (error, at)) in [("cosine", self.cosine), ("sine", self.sine)] {
            let bits = error.log2();
            writeln!(f, "|{name}| off by at most 2^{bits:.3}, at b = {at:08x}")?;
        }
        let largest = self.largest;
        writeln!(f, "largest magnitude {largest}, with 30 fraction bits")?;
        let [x, y, x2, y2, x4, y4, xy] = self.moments();
        writeln!(f, "E x {x:.3e}, E y {y:.3e}, E xy {xy:.3e}")?;
        writeln!(f, "E x^2 - 1/2 {x2:.3e}, E y^2 - 1/2 {y2:.3e}")?;
        write!(f, "E x^4 - 3/8 {x4:.3e}, E y^4 - 3/8 {y4:.3e}")
    }
}

/// Statistics of the radii in `[n, n + 1)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct RadiusBin {
    words: u64,
    /// The largest |R - r| and a word that has it.
    error: (f64, u32),
    /// The largest bound of an element's error, in standard deviations.
    bound: f64,
}

/// Statistics of the kernel's radii.
#[derive(Clone, Copy, Debug)]
struct Radii {
    bins: [RadiusBin; 7],
    smallest: i32,
    largest: i32,
    /// Means of r^2 and r^4.
    means: [f64; 2],
}

impl Radii {
    /// Collects the statistics over runs of words. Each word of a run represents a number of words.
    fn of(runs: impl ParallelIterator<Item = (impl Iterator<Item = u32>, u32)>) -> Self {
        // This runs a loop of its own on all threads, so it must come before the loop below.
        let direction = DIRECTIONS.error();
        runs.map(|(words, weight)| {
            let mut seen = Radii::default();
            words.for_each(|a| seen.see(a, weight, direction));
            seen.means = seen.means.map(|sum| sum / (1u64 << 32) as f64);
            seen
        })
        .reduce(Radii::default, Radii::merge)
    }

    fn see(&mut self, a: u32, weight: u32, direction: f64) {
        let radius = radius(a);
        let real = real_radius(radius);
        let error = (real - exact_radius(a)).abs();
        let bin = &mut self.bins[(real as usize).min(6)];
        bin.words += u64::from(weight);
        bin.error = larger(bin.error, (error, a));
        let rounding = 0.625 * LARGEST_STEP;
        let cutting = (real * (1.0 + direction) + rounding) / (1u64 << 23) as f64;
        let bound = rounding + cutting + real * direction + error + REFERENCE;
        bin.bound = bin.bound.max(bound);
        self.smallest = self.smallest.min(radius);
        self.largest = self.largest.max(radius);
        let square = real * real;
        self.means[0] += f64::from(weight) * square;
        self.means[1] += f64::from(weight) * (square * square);
    }

    fn merge(mut self, other: Self) -> Self {
        for (bin, other) in self.bins.iter_mut().zip(other.bins) {
            bin.words += other.words;
            bin.error = larger(bin.error, other.error);
            bin.bound = bin.bound.max(other.bound);
        }
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        self.means = std::array::from_fn(|i| self.means[i] + other.means[i]);
        self
    }

    fn error(&self) -> (f64, u32) {
        let errors = self.bins.iter().map(|bin| bin.error);
        errors.fold((0.0, u32::MAX), larger)
    }

    fn bound(&self) -> f64 {
        self.bins
            .iter()
            .fold(0.0, |bound, bin| bin.bound.max(bound))
    }

    /// Returns the differences of the means from those of the radius of two normals: 2 and 8.
    fn moments(&self) -> [f64; 2] {
        [self.means[0] - 2.0, self.means[1] - 8.0]
    }
}

impl Default for Radii {
    fn default() -> Self {
        Radii {
            bins: Default::default(),
            smallest: i32::MAX,
            largest: 0,
            means: [0.0; 2],
        }
    }
}

impl fmt::Display for Radii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "radius        words a   |R - r|       at a  any element")?;
        for (n, bin) in self.bins.iter().enumerate() {
            writeln!(
                f,
                "[{n}, {})  {:>13}  2^{:.3}   {:08x}     2^{:.3}",
                n + 1,
                bin.words,
                bin.error.0.log2(),
                bin.error.1,
                bin.bound.log2()
            )?;
        }
        let [smallest, largest] = [self.smallest, self.largest].map(real_radius);
        writeln!(f, "radii from {smallest:.9} to {largest:.9}")?;
        let [square, fourth] = self.moments();
        write!(f, "E r^2 - 2 {square:.3e}, E r^4 - 8 {fourth:.3e}")
    }
}

/// Returns the variance - 1 and the fourth moment - 3 of even and of odd elements, before elements are rounded to
/// their steps. The radius and the direction are independent.
fn normal_moments(radii: &Radii, directions: &Directions) -> [f64; 4] {
    let [r2, r4] = radii.means;
    let [_, _, x2, y2, x4, y4, _] = directions.means;
    [r2 * x2 - 1.0, r2 * y2 - 1.0, r4 * x4 - 3.0, r4 * y4 - 3.0]
}

fn assert_between(x: f64, low: f64, high: f64, what: &str) {
    assert!(low <= x && x <= high, "{what}: {x:e}");
}

#[test]
fn words_of_a_group_have_the_same_radius_and_direction() {
    // This searches for a difference, rather than to assert in parallel: a change of the kernel would fail at
    // millions of words.
    let differs = |&word: &u32| {
        let first = word & !(group_size(word) - 1);
        radius(word) != radius(first) || turn(word) != turn(word & !UNUSED_BITS)
    };
    let sampled = (0..u32::MAX / 101).into_par_iter().map(|i| 101 * i);
    assert_eq!(sampled.find_any(differs), None);
    for octave in 0..=32 {
        assert_eq!(around(1 << octave, 1 << 12).find(differs), None);
        let from_end = (1 << 32) - (1 << octave);
        assert_eq!(around(from_end, 1 << 12).find(differs), None);
    }
}

#[test]
fn all_radii_keep_the_promise() {
    let radii = &*RADII;
    assert_eq!(radii.bins.iter().map(|bin| bin.words).sum::<u64>(), 1 << 32);
    let (error, at) = radii.error();
    assert!(error + REFERENCE <= RADIUS_PROMISE, "{error:e} at {at:#x}");
    // The error is near the bound, so the test does not compare the kernel with itself.
    assert!(error >= 0.98 * RADIUS_PROMISE, "{error:e} at {at:#x}");
    for (n, bin) in radii.bins.iter().enumerate() {
        assert!(bin.words > 0, "no radius in [{n}, {})", n + 1);
    }
}

#[test]
fn all_directions_keep_the_promise() {
    for (error, at) in [DIRECTIONS.cosine, DIRECTIONS.sine] {
        assert!(
            error + REFERENCE <= DIRECTION_PROMISE,
            "{error:e} at {at:#x}"
        );
        assert!(error >= 0.9 * DIRECTION_PROMISE, "{error:e} at {at:#x}");
    }
}

#[test]
fn all_pairs_keep_the_promise() {
    assert_between(
        RADII.bound(),
        0.95 * VALUE_PROMISE,
        VALUE_PROMISE,
        "any element",
    );
}

/// The moments are over all words. A sample of n numbers cannot resolve less than sqrt(2 / n) in the variance.
#[test]
fn moments_are_those_of_the_normal_distribution() {
    let [square, fourth] = RADII.moments();
    assert_between(square, 2.8e-8, 3e-8, "E r^2 - 2");
    assert_between(fourth, 7e-9, 9e-9, "E r^4 - 8");
    let [x, y, x2, y2, x4, y4, xy] = DIRECTIONS.moments();
    for (mean, what) in [(x, "E x"), (y, "E y")] {
        assert_between(mean, 4.5e-10, 5.2e-10, what);
    }
    for (square, what) in [(x2, "E x^2 - 1/2"), (y2, "E y^2 - 1/2")] {
        assert_between(square, 1.2e-9, 1.4e-9, what);
    }
    for (fourth, what) in [(x4, "E x^4 - 3/8"), (y4, "E y^4 - 3/8")] {
        assert_between(fourth, 1.8e-9, 2e-9, what);
    }
    assert_between(xy, -1e-11, 1e-11, "E xy");
    let [even, odd, even_fourth, odd_fourth] = normal_moments(&RADII, &DIRECTIONS);
    assert_between(even, 1.6e-8, 1.8e-8, "variance - 1, even");
    assert_between(odd, 1.6e-8, 1.8e-8, "variance - 1, odd");
    assert_between(even_fourth, 1.7e-8, 2e-8, "fourth moment - 3, even");
    assert_between(odd_fourth, 1.7e-8, 2e-8, "fourth moment - 3, odd");
}

#[test]
fn tails_end_with_the_words() {
    // The exact transform of these words ends there too, because u is at least 2^-32.
    let end = exact_radius(0);
    assert_between(end, 6.66, 6.67, "the exact radius of word 0");
    assert_eq!((radius(0), radius(1)), (RADII.largest, RADII.largest));
    assert_between(
        real_radius(RADII.largest),
        end - RADIUS_PROMISE,
        end + RADIUS_PROMISE,
        "the largest radius",
    );
    assert!(radius(2) < RADII.largest);
    // The other end is just above 0.
    assert_eq!(radius(u32::MAX), RADII.smallest);
    assert_between(
        real_radius(RADII.smallest),
        exact_radius(u32::MAX) - RADIUS_PROMISE,
        exact_radius(u32::MAX) + RADIUS_PROMISE,
        "the smallest radius",
    );
    assert!(RADII.smallest > 0);
    // The step of a tensor has room for 7 standard deviations.
    let farthest = real_radius(RADII.largest) * f64::from(DIRECTIONS.largest) / f64::from(1 << 30);
    assert!(farthest < 6.67, "{farthest}");
}

/// Errors of the elements of a fill, in standard deviations.
#[derive(Clone, Copy, Debug, Default)]
struct ValueErrors {
    largest: f64,
    mean: f64,
    square: f64,
    farthest: f64,
    /// The distance of a product from the numbers that are cut to its value, in steps.
    outside: f64,
}

impl ValueErrors {
    /// The errors of the elements of one block.
    fn of(std: f64, words: [u32; 4], values: &[f32]) -> Self {
        // 2^e: the smallest step with 7 std <= 2^28 steps.
        let step = ((7.0 * std).log2().ceil() - 28.0).exp2();
        let mut seen = ValueErrors::default();
        for (word, value) in words.chunks(2).zip(values.chunks(2)) {
            let (a, b) = (word[0], word[1]);
            let (x, y) = turn(b);
            let (cosine, sine) = exact_direction(b);
            for ((&value, exact), computed) in value.iter().zip([cosine, sine]).zip([x, y]) {
                let real = f64::from(value);
                // The cut rounds down, so a value represents all whole numbers of steps up to the next number of
                // 24 bits.
                let product = real_radius(radius(a)) * real_direction(computed) * std;
                let last = f64::from(value.next_up()).max(real + step) - step;
                let outside = (real - product).max(product - last) / step;
                seen.outside = seen.outside.max(outside);
                let error = real / std - exact_radius(a) * exact;
                seen.largest = seen.largest.max(error.abs());
                seen.mean += error;
                seen.square += error * error;
                seen.farthest = seen.farthest.max((real / std).abs());
            }
        }
        seen
    }

    fn merge(self, other: Self) -> Self {
        ValueErrors {
            largest: self.largest.max(other.largest),
            mean: self.mean + other.mean,
            square: self.square + other.square,
            farthest: self.farthest.max(other.farthest),
            outside: self.outside.max(other.outside),
        }
    }
}

#[test]
fn values_are_close_to_binary64() {
    const ELEMENTS: usize = 1 << 23;
    const SEED: u64 = 9;
    let mut values = vec![0f32; ELEMENTS];
    // The step of 1.14 would be different if 8 standard deviations had to fit instead of 7.
    for std in [1f32, 0.02, 0.0221, 3e-5, 1.14, 1.9] {
        let tensor = Tensor::new(format!("std {std}"), [ELEMENTS as u64]).unwrap();
        let fill = Fill::new(&tensor, &Init::normal(0.0, f64::from(std)), SEED).unwrap();
        cpu::fill_slice(&fill, &mut values).unwrap();
        let stream = [tensor.stream() as u32, (tensor.stream() >> 32) as u32];
        let seen = values
            .par_chunks(4)
            .enumerate()
            .map(|(block, values)| {
                let words = philox(counter(block as u64, 0, stream), [SEED as u32, 0]);
                ValueErrors::of(f64::from(std), words, values)
            })
            .reduce(ValueErrors::default, ValueErrors::merge);
        let mean = seen.mean / ELEMENTS as f64;
        let rms = (seen.square / ELEMENTS as f64).sqrt();
        println!(
            "std {std}: 2^{ELEMENTS_BITS} values off by 2^{:.2} std at most, rms 2^{:.2}, \
             mean {mean:.2e} std, up to {:.3} std",
            seen.largest.log2(),
            rms.log2(),
            seen.farthest,
            ELEMENTS_BITS = ELEMENTS.ilog2(),
        );
        // 1/8 of a step for the radius and 1/2 for the product.
        assert_between(seen.outside, 0.49, 0.625, "rounding");
        assert_between(seen.largest.log2(), -20.5, -19.0, "largest error");
        assert_between(rms.log2(), -23.6, -23.4, "root mean square error");
        // The cut rounds down, so values are too low by half of what it removes on average.
        assert_between(mean, -2.5e-8, -1e-8, "mean error");
        assert_between(seen.farthest, 5.0, 6.67, "farthest element");
    }
}

#[test]
#[ignore = "exhaustive, a few minutes in release on two cores: \
            cargo test --release --test library -- --ignored --nocapture accuracy::"]
fn all_words_have_the_radius_and_direction_of_their_group() {
    let directions = &*DIRECTIONS;
    let differs = |&b: &u32| turn(b) != turn(b & !UNUSED_BITS);
    assert_eq!(all_words().flatten_iter().find_any(differs), None);
    println!("all 2^32 words b:\n{directions}\n");
    let radii = Radii::of(all_words().map(|words| (words, 1)));
    println!("all 2^32 words a:\n{radii}\n");
    assert_eq!(radii.bins, RADII.bins);
    assert_eq!(radii.smallest, RADII.smallest);
    assert_eq!(radii.largest, RADII.largest);
    for (all, distinct) in radii.means.into_iter().zip(RADII.means) {
        assert_between(all - distinct, -1e-12, 1e-12, "a mean");
    }
    let [even, odd, even_fourth, odd_fourth] = normal_moments(&radii, directions);
    println!("all 2^64 pairs of words, before elements are rounded to their steps:");
    println!("variance - 1: {even:.3e} (even), {odd:.3e} (odd)");
    println!("fourth moment - 3: {even_fourth:.3e} (even), {odd_fourth:.3e} (odd)");
}
