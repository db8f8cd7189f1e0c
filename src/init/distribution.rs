//! A resolved initializer: numbers only, rounded once, ready for the generator.

use std::fmt;

use crate::error::{Error, Result};

/// The distribution of the elements of one tensor, as the numbers that the stream uses.
///
/// [`Init`](crate::Init) with a shape gives one. All arithmetic before it is in binary64; here
/// every number has been rounded once to binary32. The constructors check their numbers, so a
/// `Distribution` is always valid.
///
/// As text it shows the numbers that decide the elements: `normal(mean=0,std=0.02)`. serde writes all
/// fields, with the kind as `kind`; in JSON an infinite bound is `null`. [`Distribution::law`] gives
/// moments and probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Distribution(DistributionKind);

/// The numbers of a [`Distribution`], to be read by the fills.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DistributionKind {
    /// Every element is `value`; no random number is drawn.
    Constant {
        /// The value of every element.
        value: f32,
    },
    /// `mean + std * z`, z standard normal with |z| < 6.67, in steps of about 2^-25 standard
    /// deviations.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation, at least 0.
        std: f32,
    },
    /// The multiples of a power of two in `[low, high)`, each as likely as any other: at least
    /// 2^23 of them, unless `low` and `high` are close.
    ///
    /// In binary32 `high` is never reached. float16 and bfloat16 round the binary32 value, and can
    /// reach it.
    Uniform {
        /// The lower end, included.
        low: f32,
        /// The upper end, not included.
        high: f32,
    },
    /// Normal, given that it lies within bounds: no value lies outside, none piles up on a
    /// bound, however far in a tail or wide apart the bounds are.
    ///
    /// One word an element goes through the inverse of the distribution function, which is within
    /// 2^-21 standard deviations of exact: `docs/STREAM.md`. Words have 32 bits: |z| < 6.24 however
    /// wide the bounds.
    TruncatedNormal {
        /// The mean of the normal distribution, before it is cut.
        mean: f32,
        /// Its standard deviation, before it is cut; above 0.
        std: f32,
        /// The lower bound, in standard deviations from the mean.
        lower: f64,
        /// The upper bound, in standard deviations from the mean.
        upper: f64,
        /// `upper - lower`, more exactly than from the two where they are far from the mean.
        width: f64,
        /// The smallest binary32 that is not below the lower bound.
        low: f32,
        /// The largest binary32 that is not above the upper bound.
        high: f32,
    },
    /// The logarithm of a number drawn uniformly from `[low, high)`.
    LogUniform {
        /// The lower end of the number, above 0.
        low: f64,
        /// The upper end of the number.
        high: f64,
    },
    /// `ln(e^dt - 1)`, which softplus turns into `dt = max(floor, e^v)`, v drawn uniformly from
    /// `[ln min, ln max)`: the bias of a time step in state space models.
    TimeStep {
        /// The smallest step, above 0.
        min: f64,
        /// The largest step.
        max: f64,
        /// No step is below it.
        floor: f64,
    },
    /// `value` on the diagonal of each group of rows, 0 elsewhere. Rows are runs of `columns`
    /// elements.
    Diagonal {
        /// The value on the diagonal.
        value: f32,
        /// Elements of a row, 1 to 2^31 - 1.
        columns: u64,
        /// Rows of a group.
        rows: u64,
        /// Rows of a group that have a one: the first ones.
        ones: u64,
        /// The one of row r of a group stands in column `r * stride + offset`.
        stride: u64,
        /// The column of the first row's one.
        offset: u64,
    },
    /// Normal, but for one row of zeros.
    NormalWithZeroRow {
        /// The mean of the other rows.
        mean: f32,
        /// The standard deviation of the other rows, above 0.
        std: f32,
        /// Elements of a row.
        columns: u64,
        /// The row of zeros.
        row: u64,
    },
    /// Normal of mean 0, with exactly `zeros` zeros in each column of a matrix.
    Sparse {
        /// The standard deviation of what is not zero, above 0.
        std: f32,
        /// Rows of the matrix, 1 to 2^31 - 1.
        rows: u64,
        /// Columns of the matrix, 1 to 2^31 - 1.
        columns: u64,
        /// Zeros in each column.
        zeros: u64,
    },
    /// A random orthogonal matrix times `gain`, in the middle tap of a kernel, 0 in its others.
    ///
    /// Made in floating point, all of it for any part: see [`Init::Orthogonal`].
    ///
    /// [`Init::Orthogonal`]: crate::Init::Orthogonal
    Orthogonal {
        /// The factor.
        gain: f32,
        /// Rows of the matrix.
        rows: u64,
        /// Columns of the matrix; with the rows below 2^31 elements.
        columns: u64,
        /// Taps of the kernel; 1 where the tensor is the matrix.
        taps: u64,
        /// The tap that the matrix stands in.
        middle: u64,
        /// Whether the taps are the last dimensions of the tensor, or the first.
        taps_last: bool,
    },
    /// Sines and cosines of the row's number times a frequency that falls geometrically with the
    /// column: position tables. No random number is drawn; values are within 2^-28 of exact for
    /// rows below 2^20.
    Sinusoid {
        /// Columns of the table, 1 to 2^24; even but for interleaved ones.
        columns: u64,
        /// Frequencies fall from 1 to 1 / `max_timescale`.
        max_timescale: f64,
        /// Sines and cosines in turns; else all sines, then all cosines.
        interleaved: bool,
    },
    /// `ln(c + 1)` in column c; no random number is drawn.
    LogRamp {
        /// Columns, 1 to 2^24.
        columns: u64,
    },
}

/// The largest magnitude that rounds to a finite binary32, for messages.
const FINITE: &str = "it must be a number of magnitude at most 3.4028235e38, as f32 holds";

impl Distribution {
    /// Every element is `value`, rounded once to binary32.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where `value` is not finite, or not finite in binary32.
    pub fn constant(value: f64) -> Result<Self> {
        Ok(Distribution(DistributionKind::Constant {
            value: finite("value", value)?,
        }))
    }

    /// The normal distribution of this mean and standard deviation.
    ///
    /// A `std` of 0, or one that rounds to 0 in binary32, gives the constant `mean`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where one of the two is not finite, or not finite in binary32, or
    /// `std` is negative.
    pub fn normal(mean: f64, std: f64) -> Result<Self> {
        let (mean32, std32) = (finite("mean", mean)?, finite("std", std)?);
        if std < 0.0 {
            return Err(Error::parameter("std", std, "it must be at least 0"));
        }
        Ok(Distribution(if std32 == 0.0 {
            DistributionKind::Constant { value: mean32 }
        } else {
            DistributionKind::Normal {
                mean: mean32,
                std: std32,
            }
        }))
    }

    /// The uniform distribution on `[low, high)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where one of the two is not finite, or not finite in binary32, or
    /// `low` is not below `high` once both are rounded to binary32.
    pub fn uniform(low: f64, high: f64) -> Result<Self> {
        let (low32, high32) = (finite("low", low)?, finite("high", high)?);
        if low32 >= high32 {
            return Err(Error::parameter(
                "low",
                low,
                if low < high {
                    "high must still be above it when both are rounded to f32"
                } else {
                    "it must be below high"
                },
            ));
        }
        Ok(Distribution(DistributionKind::Uniform {
            low: low32,
            high: high32,
        }))
    }

    /// The normal distribution of this mean and standard deviation, given that it lies in
    /// `[low, high]`. Bounds can be infinite.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where `mean` or `std` is not finite in binary32, `std` is not above 0
    /// there, `low` is not below `high`, or no binary32 lies between them.
    pub fn truncated_normal(mean: f64, std: f64, low: f64, high: f64) -> Result<Self> {
        let (mean32, std32) = (finite("mean", mean)?, positive_std(std)?);
        // Counted from the rounded parameters: these are what the elements are made with.
        let (m, s) = (f64::from(mean32), f64::from(std32));
        Distribution::truncated(
            [mean32, std32],
            [(low - m) / s, (high - m) / s, (high - low) / s],
            [low, high],
            ["a", "b"],
        )
    }

    /// The same, with the bounds counted in standard deviations from the mean.
    ///
    /// # Errors
    ///
    /// As [`Distribution::truncated_normal`].
    pub fn truncated_normal_at(mean: f64, std: f64, lower: f64, upper: f64) -> Result<Self> {
        let (mean32, std32) = (finite("mean", mean)?, positive_std(std)?);
        let (m, s) = (f64::from(mean32), f64::from(std32));
        Distribution::truncated(
            [mean32, std32],
            [lower, upper, upper - lower],
            [m + s * lower, m + s * upper],
            ["lower", "upper"],
        )
    }

    fn truncated(
        [mean, std]: [f32; 2],
        [lower, upper, width]: [f64; 3],
        [low, high]: [f64; 2],
        names: [&'static str; 2],
    ) -> Result<Self> {
        let refused =
            |i: usize, accepted| Err(Error::parameter(names[i], [low, high][i], accepted));
        if low.is_nan() || high.is_nan() {
            return refused(
                usize::from(!low.is_nan()),
                "it must be a number, or infinite",
            );
        }
        if low >= high || lower >= upper && width <= 0.0 {
            return refused(0, "the lower bound must be below the upper bound");
        }
        let (low32, high32) = (at_least(low), at_most(high));
        if low32 > high32 || low32.is_infinite() || high32.is_infinite() {
            return refused(0, "some f32 must lie between the lower and the upper bound");
        }
        Ok(Distribution(DistributionKind::TruncatedNormal {
            mean,
            std,
            lower,
            upper,
            width,
            low: low32,
            high: high32,
        }))
    }

    /// `value` on the diagonal of each group of `rows` rows, in the first `ones` of them, 0
    /// elsewhere: row r has it in column `r * stride + offset`.
    pub(super) fn diagonal(
        value: f64,
        rows: u64,
        columns: u64,
        ones: u64,
        stride: u64,
        offset: u64,
    ) -> Result<Self> {
        below_2_31("columns", columns)?;
        below_2_31("rows", rows)?;
        Ok(Distribution(DistributionKind::Diagonal {
            value: finite("gain", value)?,
            columns,
            rows,
            ones,
            stride,
            offset,
        }))
    }

    /// Normal, with a row of zeros. The std must be above 0.
    pub(super) fn normal_with_zero_row(
        mean: f64,
        std: f64,
        columns: u64,
        row: u64,
    ) -> Result<Self> {
        let [mean, std] = Distribution::check_normal(mean, std)?;
        Ok(Distribution(DistributionKind::NormalWithZeroRow {
            mean,
            std,
            columns,
            row,
        }))
    }

    /// Normal of mean 0, with this many zeros in each column of a matrix. The std must be above 0.
    pub(super) fn sparse(std: f64, rows: u64, columns: u64, zeros: u64) -> Result<Self> {
        below_2_31("rows", rows)?;
        below_2_31("columns", columns)?;
        Ok(Distribution(DistributionKind::Sparse {
            std: positive_std(std)?,
            rows,
            columns,
            zeros,
        }))
    }

    /// A random orthogonal matrix times `gain`.
    pub(super) fn orthogonal(gain: f64, rows: u64, columns: u64) -> Result<Self> {
        Distribution::orthogonal_in_tap(gain, rows, columns, 1, 0, false)
    }

    /// A random orthogonal matrix times `gain` in one tap of a kernel.
    pub(super) fn orthogonal_in_tap(
        gain: f64,
        rows: u64,
        columns: u64,
        taps: u64,
        middle: u64,
        taps_last: bool,
    ) -> Result<Self> {
        below_2_31("elements of the matrix", rows.saturating_mul(columns))?;
        below_2_31("taps", taps)?;
        Ok(Distribution(DistributionKind::Orthogonal {
            gain: finite("gain", gain)?,
            rows,
            columns,
            taps,
            middle,
            taps_last,
        }))
    }

    /// A position table.
    pub(super) fn sinusoid(columns: u64, max_timescale: f64, interleaved: bool) -> Result<Self> {
        table_columns(columns)?;
        Ok(Distribution(DistributionKind::Sinusoid {
            columns,
            max_timescale,
            interleaved,
        }))
    }

    /// `ln(c + 1)` in column c.
    pub(super) fn log_ramp(columns: u64) -> Result<Self> {
        table_columns(columns)?;
        Ok(Distribution(DistributionKind::LogRamp { columns }))
    }

    /// Rounds mean and standard deviation, which must be above 0.
    pub(super) fn check_normal(mean: f64, std: f64) -> Result<[f32; 2]> {
        Ok([finite("mean", mean)?, positive_std(std)?])
    }

    /// Returns the numbers.
    #[doc(hidden)]
    #[must_use]
    pub fn kind(&self) -> &DistributionKind {
        &self.0
    }

    /// The logarithm of a number drawn uniformly from `[low, high)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless 0 < low < high, both finite in binary32.
    pub(crate) fn log_uniform(low: f64, high: f64) -> Result<Self> {
        positive32("low", low)?;
        positive32("high", high)?;
        ordered("low", low, high)?;
        Ok(Distribution(DistributionKind::LogUniform { low, high }))
    }

    /// The bias of a time step drawn log-uniformly from `[min, max)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless 0 < min < max <= 500 and floor is above 0 and below max.
    pub(crate) fn time_step(min: f64, max: f64, floor: f64) -> Result<Self> {
        positive32("min", min)?;
        positive32("floor", floor)?;
        ordered("min", min, max)?;
        if max > 500.0 || max.is_nan() {
            return Err(Error::parameter("max", max, "it must be at most 500"));
        }
        ordered("floor", floor, max)?;
        Ok(Distribution(DistributionKind::TimeStep { min, max, floor }))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DistributionKind::Constant { value } => write!(f, "constant(value={})", Short(value)),
            DistributionKind::Normal { mean, std } => {
                write!(f, "normal(mean={},std={})", Short(mean), Short(std))
            }
            DistributionKind::Uniform { low, high } => {
                write!(f, "uniform(low={},high={})", Short(low), Short(high))
            }
            DistributionKind::TruncatedNormal {
                mean,
                std,
                low,
                high,
                ..
            } => write!(
                f,
                "truncated_normal(mean={},std={},low={},high={})",
                Short(mean),
                Short(std),
                Short(low),
                Short(high)
            ),
            DistributionKind::LogUniform { low, high } => {
                write!(f, "log_uniform(low={low},high={high})")
            }
            DistributionKind::TimeStep { min, max, floor } => {
                write!(f, "time_step(min={min},max={max},floor={floor})")
            }
            DistributionKind::Diagonal { value, .. } => {
                write!(f, "diagonal(value={})", Short(value))
            }
            DistributionKind::NormalWithZeroRow { mean, std, row, .. } => write!(
                f,
                "normal_with_zero_row(mean={},std={},row={row})",
                Short(mean),
                Short(std)
            ),
            DistributionKind::Sparse { std, zeros, .. } => {
                write!(f, "sparse(std={},zeros={zeros})", Short(std))
            }
            DistributionKind::Orthogonal {
                gain,
                rows,
                columns,
                ..
            } => write!(
                f,
                "orthogonal(gain={},rows={rows},columns={columns})",
                Short(gain)
            ),
            DistributionKind::Sinusoid {
                columns,
                max_timescale,
                ..
            } => write!(
                f,
                "sinusoid(columns={columns},max_timescale={max_timescale})"
            ),
            DistributionKind::LogRamp { columns } => write!(f, "log_ramp(columns={columns})"),
        }
    }
}

/// A binary32 in the fewest digits that give it back, with an exponent where there were many zeros.
struct Short(f32);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Short(x) = self;
        if *x == 0.0 || (1e-5..1e7).contains(&x.abs()) {
            write!(f, "{x}")
        } else {
            write!(f, "{x:e}")
        }
    }
}

/// The smallest binary32 that is not below a number; for minus infinity the lowest finite one.
fn at_least(bound: f64) -> f32 {
    let near = (bound as f32).max(f32::MIN);
    if f64::from(near) < bound {
        near.next_up()
    } else {
        near
    }
}

/// The largest binary32 that is not above a number; for infinity the highest finite one.
fn at_most(bound: f64) -> f32 {
    -at_least(-bound)
}

fn ordered(parameter: &'static str, low: f64, high: f64) -> Result<()> {
    if low < high {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        low,
        "it must be below the upper end",
    ))
}

/// A number above 0 that is a normal, finite binary32.
fn positive32(parameter: &'static str, value: f64) -> Result<()> {
    let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        value,
        "it must be above 0, between 1.2e-38 and 3.4e38",
    ))
}

pub(super) fn below_2_31(parameter: &'static str, value: u64) -> Result<()> {
    if (1..1 << 31).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        value as f64,
        "it must be between 1 and 2147483647",
    ))
}

pub(super) fn table_columns(columns: u64) -> Result<()> {
    if (1..=1 << 24).contains(&columns) {
        return Ok(());
    }
    Err(Error::parameter(
        "columns",
        columns as f64,
        "it must be between 1 and 16777216",
    ))
}

/// A standard deviation that is above 0 once rounded to binary32.
fn positive_std(std: f64) -> Result<f32> {
    let rounded = finite("std", std)?;
    if rounded > 0.0 {
        return Ok(rounded);
    }
    Err(Error::parameter(
        "std",
        std,
        "it must be above 0 when rounded to f32",
    ))
}

/// Rounds once to binary32, refusing what is not finite before or after.
fn finite(parameter: &'static str, value: f64) -> Result<f32> {
    let rounded = value as f32;
    if rounded.is_finite() {
        Ok(rounded)
    } else {
        Err(Error::parameter(parameter, value, FINITE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_once() {
        assert_eq!(
            Distribution::normal(0.0, 0.02).unwrap(),
            Distribution(DistributionKind::Normal {
                mean: 0.0,
                std: 0.02
            })
        );
        assert_eq!(
            Distribution::uniform(0.1, 0.2).unwrap(),
            Distribution(DistributionKind::Uniform {
                low: 0.1,
                high: 0.2
            })
        );
    }

    #[test]
    fn what_is_not_a_distribution_is_refused() {
        let refused = |result: Result<Distribution>| result.unwrap_err().to_string();
        for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY, 3.41e38, -1e300] {
            assert!(refused(Distribution::constant(bad)).starts_with("value = "));
            assert!(refused(Distribution::normal(bad, 1.0)).starts_with("mean = "));
            assert!(refused(Distribution::normal(0.0, bad)).starts_with("std = "));
            assert!(refused(Distribution::uniform(bad, 1.0)).starts_with("low = "));
            assert!(refused(Distribution::uniform(0.0, bad)).starts_with("high = "));
        }
        assert_eq!(
            refused(Distribution::normal(0.0, -0.5)),
            "std = -0.5 is out of range: it must be at least 0"
        );
        assert!(refused(Distribution::uniform(1.0, 1.0)).ends_with("below high"));
        assert!(refused(Distribution::uniform(1.0, 1.0 + 1e-12)).ends_with("rounded to f32"));
    }

    #[test]
    fn as_text_and_as_json() {
        let wide = Distribution::truncated_normal(0.0, 1e-8, -1.0, f64::INFINITY).unwrap();
        for (distribution, text, json) in [
            (
                Distribution::normal(0.0, 0.02).unwrap(),
                "normal(mean=0,std=0.02)",
                r#"{"kind":"normal","mean":0.0,"std":0.02}"#,
            ),
            (
                Distribution::uniform(-0.1, 0.5).unwrap(),
                "uniform(low=-0.1,high=0.5)",
                r#"{"kind":"uniform","low":-0.1,"high":0.5}"#,
            ),
            (
                wide,
                "truncated_normal(mean=0,std=1e-8,low=-1,high=3.4028235e38)",
                r#"{"kind":"truncated_normal","mean":0.0,"std":1e-8,"lower":-100000001.07747,"upper":null,"width":null,"low":-1.0,"high":3.4028235e38}"#,
            ),
        ] {
            assert_eq!(distribution.to_string(), text);
            let written = serde_json::to_string(&distribution).unwrap();
            // Digits of bounds that are counted in stds of a rounded std are not the point here.
            let digits = written.find(",\"lower\"").unwrap_or(written.len());
            assert_eq!(written[..digits], json[..digits]);
            let null = |text: &str| text.matches("null").count();
            assert_eq!(null(&written), null(json));
        }
    }

    #[test]
    fn a_std_of_zero_is_a_constant() {
        for std in [0.0, -0.0, 1e-60] {
            assert_eq!(
                Distribution::normal(2.5, std).unwrap(),
                Distribution(DistributionKind::Constant { value: 2.5 })
            );
        }
    }

    #[test]
    fn the_widest_uniform_does_not_overflow() {
        let max = f64::from(f32::MAX);
        assert_eq!(
            Distribution::uniform(-max, max).unwrap(),
            Distribution(DistributionKind::Uniform {
                low: f32::MIN,
                high: f32::MAX
            })
        );
    }
}
