//! Axes: from numbers to places along them, and where the ticks stand.

use std::ops::Range;

use crate::error::{Error, Result};

/// An axis of a [`Panel`](super::Panel): what it shows, with its unit, and how numbers are laid
/// along it.
///
/// ```
/// use fanin_plot::Axis;
///
/// let layer = Axis::linear("layer");
/// let variance = Axis::log10("variance of the activations").range(1e-6..1e2);
/// ```
#[derive(Clone, Debug)]
pub struct Axis {
    pub(super) label: String,
    scale: Scale,
    range: Option<Range<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log2,
    Log10,
}

/// Numbers beyond this, which no weight or time is near, count as infinite: their differences
/// would be. Its inverse is the least number that is not taken for 0.
const LARGEST: f64 = 1e300;

impl Scale {
    /// Where a number lies, on the scale's own measure; None where it is not on it.
    fn measure(self, x: f64) -> Option<f64> {
        let size = x.abs();
        match self {
            _ if x.is_nan() || size > LARGEST => None,
            Scale::Linear if size < 1.0 / LARGEST => Some(0.0),
            Scale::Linear => Some(x),
            _ if x < 1.0 / LARGEST => None,
            Scale::Log2 => Some(x.log2()),
            Scale::Log10 => Some(x.log10()),
        }
    }
}

impl Axis {
    /// Equal steps, equal lengths.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Linear)
    }

    /// Equal ratios, equal lengths, with ticks at powers of ten. Numbers that are not above 0 are
    /// not on it.
    #[must_use]
    pub fn log10(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Log10)
    }

    /// As [`Axis::log10`], with ticks at powers of two.
    #[must_use]
    pub fn log2(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Log2)
    }

    fn new(label: String, scale: Scale) -> Self {
        Axis {
            label,
            scale,
            range: None,
        }
    }

    /// From where to where it goes; what lies outside is cut off. \[default: what the data need]
    #[must_use]
    pub fn range(mut self, range: Range<f64>) -> Self {
        self.range = Some(range);
        self
    }

    /// The axis from end to end: the range that it was given, or one in which the data have room.
    /// `from_zero` says that 0 bears a meaning, as the foot of a bar.
    pub(super) fn span(&self, data: impl Iterator<Item = f64>, from_zero: bool) -> Result<Span> {
        let scale = self.scale;
        if let Some(range) = &self.range {
            let ends = (scale.measure(range.start), scale.measure(range.end));
            return match ends {
                (Some(low), Some(high)) if low < high => Ok(Span { scale, low, high }),
                _ => Err(Error::Chart {
                    chart: self.label.clone(),
                    reason: format!(
                        "{:?} is no range of an axis: use two numbers, the smaller one first{}",
                        range,
                        match scale {
                            Scale::Linear => "",
                            Scale::Log2 | Scale::Log10 => ", above 0 on a logarithmic one",
                        }
                    ),
                }),
            };
        }
        let zero = (from_zero && scale == Scale::Linear).then_some(0.0);
        let measures = data.filter_map(|x| scale.measure(x)).chain(zero);
        let (mut low, mut high) = measures.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| {
            (a.min(x), b.max(x))
        });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // Of a single number, something to see on both sides.
        let least = match scale {
            Scale::Linear => 1e-9 * low.abs().max(high.abs()),
            Scale::Log2 | Scale::Log10 => 1e-9,
        };
        if high - low <= least {
            let half = match scale {
                Scale::Linear if low == 0.0 => 1.0,
                Scale::Linear => 0.5 * low.abs(),
                Scale::Log2 | Scale::Log10 => 0.5,
            };
            (low, high) = (low - half, high + half);
        } else {
            let margin = MARGIN * (high - low);
            let stands = |end| zero == Some(end);
            (low, high) = (
                if stands(low) { low } else { low - margin },
                if stands(high) { high } else { high + margin },
            );
        }
        Ok(Span { scale, low, high })
    }
}

/// What is left free beside the outermost data, as a part of their extent.
const MARGIN: f64 = 0.04;

/// An axis from its low end to its high end, on its scale's own measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    scale: Scale,
    low: f64,
    high: f64,
}

/// Where a tick stands, from 0 at the low end to 1 at the high one, and what is written there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

impl Span {
    /// Where a number lies, from 0 at the low end to 1 at the high one; beyond them, where it is
    /// outside. None where it is not on this axis at all.
    pub fn place(&self, x: f64) -> Option<f64> {
        let measure = self.scale.measure(x)?;
        Some((measure - self.low) / (self.high - self.low))
    }

    /// Ticks at round numbers, at most one more than `most`.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        let most = most.max(2);
        match self.scale {
            Scale::Linear => self.round_numbers(self.low, self.high, most),
            Scale::Log2 => self.powers(2, most),
            Scale::Log10 => self.powers(10, most),
        }
    }

    fn powers(&self, base: u8, most: usize) -> Vec<Tick> {
        let (first, last) = (self.low.ceil(), self.high.floor());
        if last - first < 1.0 {
            return self.between_powers(base, most);
        }
        let stride = round_step((last - first + 1.0) / most as f64).0.max(1.0);
        // At multiples of the stride, so that 0 is one of them.
        let first = (self.low / stride).ceil();
        let last = (self.high / stride).floor();
        let exponents = steps(first, last).map(|step| step * stride);
        let ticks = exponents.map(|exponent| Tick {
            at: (exponent - self.low) / (self.high - self.low),
            label: power(base, exponent),
        });
        ticks.collect()
    }

    /// Where the axis holds no two powers: the numbers between them.
    fn between_powers(&self, base: u8, most: usize) -> Vec<Tick> {
        let base = f64::from(base);
        let (low, high) = (base.powf(self.low), base.powf(self.high));
        self.round_numbers(low, high, most)
    }

    fn round_numbers(&self, low: f64, high: f64, most: usize) -> Vec<Tick> {
        let (step, exponent) = round_step((high - low) / most as f64);
        let numbers = steps((low / step).ceil(), (high / step).floor()).map(|i| i * step);
        let numbers: Vec<f64> = numbers.collect();
        let largest = numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let ticks = numbers.iter().filter_map(|&x| {
            Some(Tick {
                at: self.place(x)?,
                label: number(x, largest, exponent),
            })
        });
        ticks.collect()
    }
}

/// Whole numbers from the first to the last, as floating-point ones.
fn steps(first: f64, last: f64) -> impl Iterator<Item = f64> {
    /// More than any axis has room for.
    const MOST: f64 = 1000.0;
    let count = (last - first + 1.0).clamp(0.0, MOST) as u32;
    (0..count).map(move |i| first + f64::from(i))
}

/// The least of 1, 2 or 5 times a power of ten that is not below `least`, and the power's exponent.
fn round_step(least: f64) -> (f64, i32) {
    let exponent = least.log10().floor();
    let unit = 10f64.powf(exponent);
    let exponent = exponent as i32;
    for digit in [1.0, 2.0, 5.0] {
        if digit * unit >= least * (1.0 - 1e-9) {
            return (digit * unit, exponent);
        }
    }
    (10.0 * unit, exponent + 1)
}

/// A number at a tick: with the decimals that its step, of the exponent `exponent`, asks for.
fn number(x: f64, largest: f64, exponent: i32) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if largest < 1e6 && exponent >= -5 {
        let decimals = usize::try_from(-exponent).unwrap_or(0);
        return format!("{x:.decimals$}").replace('-', "\u{2212}");
    }
    let digits = (x.abs().log10().floor() as i32 - exponent).clamp(0, 15);
    let decimals = digits as usize;
    format!("{x:.decimals$e}").replace('-', "\u{2212}")
}

/// `10⁻³`
fn power(base: u8, exponent: f64) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let mut text = base.to_string();
    for c in format!("{exponent:.0}").chars() {
        match c.to_digit(10) {
            Some(digit) => text.push(RAISED[digit as usize]),
            // Of 0, which may bear a sign here, nobody wants it.
            None if exponent != 0.0 => text.push('⁻'),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, data: &[f64], most: usize) -> Vec<String> {
        let span = axis.span(data.iter().copied(), false).unwrap();
        let ticks = span.ticks(most);
        for tick in &ticks {
            assert!((-1e-9..=1.0 + 1e-9).contains(&tick.at), "{tick:?}");
        }
        ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::linear("x");
        let between = |range| linear.clone().range(range);
        assert_eq!(
            labels(&between(0.0..10.0), &[], 6),
            ["0", "2", "4", "6", "8", "10"]
        );
        assert_eq!(
            labels(&between(-0.05..0.05), &[], 5),
            ["\u{2212}0.04", "\u{2212}0.02", "0", "0.02", "0.04"]
        );
        assert_eq!(
            labels(&between(0.0..3e7), &[], 4),
            ["0", "1e7", "2e7", "3e7"]
        );
        assert_eq!(
            labels(&between(1e-9..3e-9), &[], 3),
            ["1e\u{2212}9", "2e\u{2212}9", "3e\u{2212}9"]
        );
    }

    #[test]
    fn logarithmic_ticks_are_powers() {
        let decades = Axis::log10("y").range(1e-3..1e2);
        assert_eq!(
            labels(&decades, &[], 9),
            ["10⁻³", "10⁻²", "10⁻¹", "10⁰", "10¹", "10²"]
        );
        let many = Axis::log10("y").range(1e-30..1e30);
        assert_eq!(
            labels(&many, &[], 7),
            ["10⁻³⁰", "10⁻²⁰", "10⁻¹⁰", "10⁰", "10¹⁰", "10²⁰", "10³⁰"]
        );
        let octaves = Axis::log2("x").range(16.0..128.0);
        assert_eq!(labels(&octaves, &[], 9), ["2⁴", "2⁵", "2⁶", "2⁷"]);
        let few = Axis::log10("y").range(0.011..0.045);
        assert_eq!(labels(&few, &[], 4), ["0.02", "0.03", "0.04"]);
    }

    #[test]
    fn data_of_any_size_have_an_axis() {
        let hostile = [
            vec![],
            vec![0.0],
            vec![5.0],
            vec![f64::NAN, f64::INFINITY],
            vec![f64::MAX, f64::MIN],
            vec![-LARGEST, LARGEST],
            vec![f64::MIN_POSITIVE, 5e-324],
            vec![1.0, 1.0 + f64::EPSILON],
            vec![1e15, 1e15 + 1.0],
            vec![-1.0, 0.0],
            vec![0.0, 5e-324],
        ];
        for data in hostile {
            for axis in [Axis::linear("x"), Axis::log2("x"), Axis::log10("x")] {
                for most in [0, 1, 7] {
                    assert!(labels(&axis, &data, most).len() < 20, "{data:?}");
                }
            }
        }
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for range in [1.0..1.0, 2.0..1.0, f64::NAN..1.0, 0.0..f64::INFINITY] {
            let error = Axis::linear("x").range(range).span([].into_iter(), false);
            assert!(error.is_err());
        }
        let error = Axis::log10("y").range(0.0..1.0).span([].into_iter(), false);
        let message = error.unwrap_err().to_string();
        assert!(message.contains("above 0"), "{message}");
    }
}
