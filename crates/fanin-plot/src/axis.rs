//! Axes: the mapping from numbers to positions, and the ticks.

use std::ops::Range;

use crate::error::{Error, Result};

/// An axis of a [`Panel`](super::Panel): a label, a scale and optionally a range.
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
    has_zero: bool,
    is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log2,
    Log10,
}

/// The largest magnitude that has a place on an axis. Beyond it, differences would overflow. Its
/// inverse is the smallest magnitude that is distinguished from 0.
const LARGEST: f64 = 1e300;

impl Scale {
    /// Returns the number itself, or its logarithm, or `None` if the number has no place on the
    /// scale.
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
    /// Returns a linear axis.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Linear)
    }

    /// Returns a linear axis whose ticks are whole numbers, for what is counted.
    #[must_use]
    pub fn whole(label: impl Into<String>) -> Self {
        Axis {
            is_whole: true,
            ..Axis::linear(label)
        }
    }

    /// Returns a logarithmic axis with ticks at powers of ten. Numbers that are not above 0 have no
    /// place on it.
    #[must_use]
    pub fn log10(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Log10)
    }

    /// Returns a logarithmic axis with ticks at powers of two. Numbers that are not above 0 have no
    /// place on it.
    #[must_use]
    pub fn log2(label: impl Into<String>) -> Self {
        Axis::new(label.into(), Scale::Log2)
    }

    fn new(label: String, scale: Scale) -> Self {
        Axis {
            label,
            scale,
            range: None,
            has_zero: false,
            is_whole: false,
        }
    }

    /// Gives the number 0 a place below all others on a logarithmic axis, with a tick, if the data
    /// have it.
    #[must_use]
    pub fn with_zero(mut self) -> Self {
        self.has_zero = true;
        self
    }

    /// Sets the range. Data outside of it are cut off. \[default: the range of the data]
    #[must_use]
    pub fn range(mut self, range: Range<f64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Returns the axis' span: the range that was set, or that of the data with a margin. With
    /// `from_zero`, the span of a linear axis includes 0, as bars need.
    pub(super) fn span(&self, data: impl Iterator<Item = f64>, from_zero: bool) -> Result<Span> {
        let scale = self.scale;
        if let Some(range) = &self.range {
            let ends = (scale.measure(range.start), scale.measure(range.end));
            return match ends {
                (Some(low), Some(high)) if low < high => Ok(self.spanning(low, high)),
                _ => Err(Error::Chart {
                    chart: self.label.clone(),
                    reason: format!(
                        "range {:?} is invalid: use two finite numbers{}, the smaller one first",
                        range,
                        match scale {
                            Scale::Linear => "",
                            Scale::Log2 | Scale::Log10 => " above 0",
                        }
                    ),
                }),
            };
        }
        let is_log = scale != Scale::Linear;
        let zero = (from_zero && !is_log).then_some(0.0);
        let mut holds_zero = false;
        let data = data.inspect(|&x| holds_zero |= x == 0.0);
        let measures = data.filter_map(|x| scale.measure(x)).chain(zero);
        let (mut low, mut high) = measures.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| {
            (a.min(x), b.max(x))
        });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A single number is centred in a span around it.
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
            // Bars touch the axis: no margin at 0.
            let at_zero = |end| zero == Some(end);
            (low, high) = (
                if at_zero(low) { low } else { low - margin },
                if at_zero(high) { high } else { high + margin },
            );
        }
        let mut span = self.spanning(low, high);
        if self.has_zero && is_log && holds_zero {
            // A row of its own below the numbers.
            span.low -= ZERO_ROW * (high - low);
            span.zero = Some(span.low + 0.5 * ZERO_ROW * (high - low));
        }
        Ok(span)
    }

    /// Returns the span between two measures, without a row of 0.
    fn spanning(&self, low: f64, high: f64) -> Span {
        Span {
            scale: self.scale,
            is_whole: self.is_whole,
            low,
            high,
            zero: None,
        }
    }
}

/// The height of the row of 0 on a logarithmic axis, as a share of the extent of all others.
const ZERO_ROW: f64 = 0.15;

/// The margin beside the outermost data, as a share of their extent.
const MARGIN: f64 = 0.04;

/// An axis from its low end to its high end, as [`Scale::measure`] gives them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    scale: Scale,
    is_whole: bool,
    low: f64,
    high: f64,
    /// The measure at which a logarithmic axis has 0, if it has it.
    zero: Option<f64>,
}

/// A tick: its position, from 0 at the low end of the axis to 1 at the high end, and its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

impl Span {
    /// Returns the measure of the lowest number that is not 0.
    fn lowest(&self) -> f64 {
        self.zero.map_or(self.low, |zero| 2.0 * zero - self.low)
    }

    /// Returns the position of the line between the row of 0 and the other numbers.
    pub fn break_at(&self) -> Option<f64> {
        let place = (self.lowest() - self.low) / (self.high - self.low);
        self.zero.map(|_| place)
    }

    /// Returns a number's position, from 0 at the low end to 1 at the high end. Numbers outside the
    /// span have positions outside 0 to 1. Numbers that the scale cannot hold have none.
    pub fn place(&self, x: f64) -> Option<f64> {
        let measure = match self.zero {
            Some(zero) if x == 0.0 => zero,
            _ => self.scale.measure(x)?,
        };
        Some((measure - self.low) / (self.high - self.low))
    }

    /// Returns ticks at round numbers, at most `most + 1` of them.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        let most = most.max(2);
        let mut ticks = match self.scale {
            Scale::Linear => self.round_numbers(self.low, self.high, most),
            Scale::Log2 => self.powers(2, most),
            Scale::Log10 => self.powers(10, most),
        };
        if self.zero.is_some() {
            ticks.extend(self.place(0.0).map(|at| Tick {
                at,
                label: "0".to_owned(),
            }));
        }
        ticks
    }

    fn powers(&self, base: u8, most: usize) -> Vec<Tick> {
        let (first, last) = (self.lowest().ceil(), self.high.floor());
        if last - first < 1.0 {
            return self.between_powers(base, most);
        }
        let stride = round_step((last - first + 1.0) / most as f64).0.max(1.0);
        // Multiples of the stride, so that exponent 0 is among them.
        let first = (self.lowest() / stride).ceil();
        let last = (self.high / stride).floor();
        let exponents = steps(first, last).map(|step| step * stride);
        let ticks = exponents.map(|exponent| Tick {
            at: (exponent - self.low) / (self.high - self.low),
            label: power(base, exponent),
        });
        ticks.collect()
    }

    /// Returns ticks for an axis that holds fewer than two powers of the base.
    fn between_powers(&self, base: u8, most: usize) -> Vec<Tick> {
        let base = f64::from(base);
        let (low, high) = (base.powf(self.lowest()), base.powf(self.high));
        self.round_numbers(low, high, most)
    }

    fn round_numbers(&self, low: f64, high: f64, most: usize) -> Vec<Tick> {
        let mut least = (high - low) / most as f64;
        if self.is_whole {
            least = least.max(1.0);
        }
        let (step, exponent) = round_step(least);
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

/// Returns the integers from the first to the last.
fn steps(first: f64, last: f64) -> impl Iterator<Item = f64> {
    /// More ticks than any axis has room for.
    const MOST: f64 = 1000.0;
    let count = (last - first + 1.0).clamp(0.0, MOST) as u32;
    (0..count).map(move |i| first + f64::from(i))
}

/// Returns the smallest of 1, 2 or 5 times a power of ten that is at least `least`, and the power's
/// exponent.
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

/// Returns a tick's label, with the decimals that distinguish steps of the decimal exponent
/// `exponent`.
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

/// Returns a power as text, such as `10⁻³`.
fn power(base: u8, exponent: f64) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let mut text = base.to_string();
    for c in format!("{exponent:.0}").chars() {
        match c.to_digit(10) {
            Some(digit) => text.push(RAISED[digit as usize]),
            // The exponent may be -0.0, whose sign is left out.
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
    fn what_is_counted_has_whole_ticks() {
        for (most, count) in [(10, 3.0), (10, 1.0), (4, 30.0), (7, 300.0)] {
            let axis = Axis::whole("tensor").range(0.5..count + 0.5);
            let labels = labels(&axis, &[], most);
            assert!(!labels.is_empty());
            for label in &labels {
                let number: f64 = label.parse().unwrap();
                assert!(number.fract() == 0.0 && number <= count, "{labels:?}");
            }
        }
    }

    #[test]
    fn zero_has_a_row_of_its_own_on_a_logarithmic_axis() {
        let axis = Axis::log10("std").with_zero();
        let span = axis.span([0.0, 0.02, 0.05].into_iter(), false).unwrap();
        let zero = span.place(0.0).unwrap();
        assert!(0.0 < zero && zero < span.break_at().unwrap());
        assert!(span.break_at().unwrap() < span.place(0.02).unwrap());
        assert_eq!(labels(&axis, &[0.0, 0.02, 0.05], 4).last().unwrap(), "0");
        let without = axis.span([0.02, 0.05].into_iter(), false).unwrap();
        assert_eq!((without.place(0.0), without.break_at()), (None, None));
        let zeros = axis.span([0.0, 0.0].into_iter(), false).unwrap();
        assert!(zeros.place(0.0).is_some());
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
    fn data_of_any_magnitude_have_an_axis() {
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
    fn invalid_ranges_are_refused() {
        for range in [1.0..1.0, 2.0..1.0, f64::NAN..1.0, 0.0..f64::INFINITY] {
            let error = Axis::linear("x").range(range).span([].into_iter(), false);
            assert!(error.is_err());
        }
        let error = Axis::log10("y").range(0.0..1.0).span([].into_iter(), false);
        let message = error.unwrap_err().to_string();
        assert!(message.contains("above 0"), "{message}");
    }
}
