//! Resolved initializers: the numbers that the generator uses, rounded once.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The distribution of the elements of one tensor, as the numbers that the stream uses.
///
/// [`Init::resolve`](crate::Init::resolve) returns one for a tensor. All arithmetic before it is in
/// binary64, and every result has been rounded once to binary32. The constructors check their
/// numbers, so a `Distribution` is always valid.
///
/// Its text has the numbers that decide the elements: `normal(mean=0,std=0.02)`. serde writes all
/// fields, with the kind as `kind`. In JSON an infinite bound is `null`. [`Distribution::law`]
/// returns moments and probabilities.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Distribution(DistributionKind);

/// The numbers of a [`Distribution`], which the fills read.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DistributionKind {
    /// The same value in every element. No random number is drawn.
    Constant {
        /// The value of every element.
        value: f32,
    },
    /// `mean + std * z` for a standard normal z, in steps of about 2^-25 standard deviations. The
    /// radius of Box-Muller on 32-bit words is at most 6.661, so |z| < 6.67.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation, at least 0.
        std: f32,
    },
    /// The multiples of a power of two in `[low, high)`, with equal probabilities. There are at
    /// least 2^23 of them unless `low` and `high` are close.
    ///
    /// In binary32 no element is `high`. float16 and bfloat16 round the binary32 value and can give
    /// `high`.
    Uniform {
        /// The lower end, included.
        low: f32,
        /// The upper end, excluded.
        high: f32,
    },
    /// The conditional distribution of a normal number, given that it lies within bounds. No value
    /// lies outside the bounds, and values do not pile up on a bound. This holds for bounds far in a
    /// tail and for wide bounds.
    ///
    /// Each element maps one word by the inverse of the distribution function, with an error below
    /// 2^-21 standard deviations (`docs/STREAM.md`). Words have 32 bits, so |z| < 6.24 even for
    /// wider bounds.
    TruncatedNormal {
        /// The mean of the normal distribution before the truncation.
        mean: f32,
        /// The standard deviation before the truncation, above 0.
        std: f32,
        /// The lower bound, in standard deviations from the mean.
        lower: f64,
        /// The upper bound, in standard deviations from the mean.
        upper: f64,
        /// `upper - lower`, computed from the bounds as they were given. Far from the mean, the
        /// difference of the two numbers above would lose its digits.
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
    /// `ln(e^dt - 1)` for `dt = max(floor, e^v)`, with v drawn uniformly from `[ln min, ln max)`.
    /// Softplus turns it into dt. State space models use it as the bias of their time steps.
    TimeStep {
        /// The smallest step, above 0.
        min: f64,
        /// The largest step.
        max: f64,
        /// The lower limit of all steps.
        floor: f64,
    },
    /// `value` on the diagonal of each group of rows, 0 elsewhere. A row is a run of `columns`
    /// elements.
    Diagonal {
        /// The value on the diagonal.
        value: f32,
        /// The elements of a row, 1 to 2^31 - 1.
        columns: u64,
        /// The rows of a group.
        rows: u64,
        /// The number of rows of a group that hold `value`. They are the first rows.
        ones: u64,
        /// The distance between the columns of `value` in consecutive rows: row r of a group has it
        /// in column `r * stride + offset`.
        stride: u64,
        /// The column of `value` in the first row.
        offset: u64,
    },
    /// Normal, except for one row of zeros.
    NormalWithZeroRow {
        /// The mean of the other rows.
        mean: f32,
        /// The standard deviation of the other rows, above 0.
        std: f32,
        /// The elements of a row.
        columns: u64,
        /// The row of zeros.
        row: u64,
    },
    /// Normal with mean 0, with exactly `zeros` zeros in each column of a matrix.
    Sparse {
        /// The standard deviation of the other elements, above 0.
        std: f32,
        /// The rows of the matrix, 1 to 2^31 - 1.
        rows: u64,
        /// The columns of the matrix, 1 to 2^31 - 1.
        columns: u64,
        /// The zeros in each column.
        zeros: u64,
    },
    /// A random orthogonal matrix times `gain` in the middle tap of a kernel, 0 in the other taps.
    ///
    /// It is computed in floating point, and a slice computes the whole matrix:
    /// [`Init::orthogonal`](crate::Init::orthogonal).
    Orthogonal {
        /// The factor.
        gain: f32,
        /// The rows of the matrix.
        rows: u64,
        /// The columns of the matrix. It has fewer than 2^31 elements.
        columns: u64,
        /// The taps of the kernel, 1 if the tensor is the matrix.
        taps: u64,
        /// The tap that holds the matrix.
        middle: u64,
        /// True if the taps are the last dimensions of the tensor, false if they are the first.
        taps_last: bool,
    },
    /// A position table: sines and cosines of the row's number times a frequency that falls
    /// geometrically with the column. No random number is drawn. Values are within 2^-28 of exact
    /// for rows below 2^20.
    Sinusoid {
        /// The columns of the table, 1 to 2^24. The number is even unless the table is interleaved.
        columns: u64,
        /// The ratio of the highest frequency, 1, to the lowest.
        max_timescale: f64,
        /// True if sines and cosines alternate, false if all sines come before all cosines.
        interleaved: bool,
    },
    /// `ln(c + 1)` in column c. No random number is drawn.
    LogRamp {
        /// The columns, 1 to 2^24.
        columns: u64,
    },
    /// `start + step * c` in column c. No random number is drawn.
    Arange {
        /// The number in the first column.
        start: f64,
        /// The difference between neighbouring columns.
        step: f64,
        /// The columns, 1 to 2^24.
        columns: u64,
    },
    /// `theta^(-2c / dim)` in column c, scaled. No random number is drawn.
    InverseFrequencies {
        /// The base, above 1.
        theta: f64,
        /// The dimensions of a head that are rotated.
        dim: u64,
        /// The columns, 1 to 2^24, and at most half of `dim`, rounded up.
        columns: u64,
        /// The change of the frequencies for longer contexts.
        scaling: FrequencyScaling,
    },
    /// `value` where the column is at most the row of its matrix, 0 elsewhere.
    LowerTriangle {
        /// The value on and below the diagonal.
        value: f32,
        /// The rows of a matrix. All matrices together have fewer than 2^32.
        rows: u64,
        /// The columns of a matrix, 1 to 2^31 - 1.
        columns: u64,
    },
    /// Given numbers. Element i has number `i mod n` of n.
    Values {
        /// The binary32 bits of each number, 1 to 2^24 numbers.
        #[cfg_attr(feature = "serde", serde(skip))]
        values: Arc<[u32]>,
    },
    /// The elements that a file holds. They are copied, not made.
    Kept,
}

/// A change of rotary frequencies for contexts that are longer than those of the pretraining.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FrequencyScaling {
    /// No change.
    None,
    /// All frequencies are divided.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The base is multiplied by `stretch^(dim / (dim - 2))`.
    Dynamic {
        /// The ratio of the context to the original one, weighted by the factor.
        stretch: f64,
    },
    /// Low frequencies are divided, high ones are kept.
    Llama3 {
        /// The divisor.
        factor: f64,
        /// The waves in the original context up to which a frequency is divided.
        low: f64,
        /// The waves in the original context from which on a frequency is kept.
        high: f64,
        /// The length of the original context.
        original: f64,
    },
    /// Low frequencies are divided, high ones are kept, with a ramp over the columns between.
    Yarn {
        /// The divisor.
        factor: f64,
        /// The length of the original context.
        original: f64,
        /// The turns in the original context from which on a frequency is kept.
        beta_fast: f64,
        /// The turns in the original context up to which a frequency is divided.
        beta_slow: f64,
        /// True if the ends of the ramp are rounded to whole columns.
        truncate: bool,
    },
    /// Only the first columns rotate, and their frequencies are divided.
    Proportional {
        /// The divisor.
        factor: f64,
        /// The proportion of `dim` that rotates.
        rotated: f64,
    },
}

/// The accepted range of a number that is rounded to binary32, for messages.
const FINITE: &str = "it must be a number of magnitude at most 3.4028235e38, the largest f32";

impl Distribution {
    /// Returns the constant `value`, rounded once to binary32.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `value` is not finite in binary32.
    pub fn constant(value: f64) -> Result<Self> {
        Ok(Distribution(DistributionKind::Constant {
            value: finite("value", value)?,
        }))
    }

    /// Returns the normal distribution of this mean and standard deviation.
    ///
    /// If `std` is 0 or rounds to 0 in binary32, the result is the constant `mean`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if one of the two is not finite in binary32, or `std` is negative.
    pub fn normal(mean: f64, std: f64) -> Result<Self> {
        let (mean32, std32) = (finite("mean", mean)?, finite("std", std)?);
        // The given number is compared: a negative one can round to -0, which is not below 0.
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

    /// Returns the uniform distribution on `[low, high)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if one of the two is not finite in binary32, or `low` is not below `high`
    /// after both are rounded to binary32.
    pub fn uniform(low: f64, high: f64) -> Result<Self> {
        let (low32, high32) = (finite("low", low)?, finite("high", high)?);
        if low32 >= high32 {
            return Err(Error::parameter(
                "low",
                low,
                if low < high {
                    "it must be below high after both are rounded to f32"
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

    /// Returns the uniform distribution on `[-bound, bound)`.
    pub(super) fn around_zero(bound: f64) -> Result<Self> {
        Distribution::uniform(-bound, bound)
    }

    /// Returns the normal distribution of this mean and standard deviation, truncated to
    /// `[low, high]`. Bounds can be infinite.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `mean` or `std` is not finite in binary32, `std` is not above 0 in
    /// binary32, `low` is not below `high`, or no binary32 lies between them.
    pub fn truncated_normal(mean: f64, std: f64, low: f64, high: f64) -> Result<Self> {
        let (mean32, std32) = (finite("mean", mean)?, positive_std(std)?);
        // The elements are made with the rounded parameters, so the bounds are counted from them.
        let (m, s) = (f64::from(mean32), f64::from(std32));
        Distribution::truncated(
            [mean32, std32],
            [(low - m) / s, (high - m) / s, (high - low) / s],
            [low, high],
            ["a", "b"],
        )
    }

    /// Returns the normal distribution of this mean and standard deviation, truncated to bounds in
    /// standard deviations from the mean. Bounds can be infinite.
    ///
    /// # Errors
    ///
    /// The errors of [`Distribution::truncated_normal`].
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
                "it must be a finite or an infinite number",
            );
        }
        // Far from the mean, both bounds can be the same number of standard deviations. `width` then shows
        // that the interval is not empty.
        if low >= high || lower >= upper && width <= 0.0 {
            return refused(0, "the lower bound must be below the upper bound");
        }
        let (low32, high32) = (at_least(low), at_most(high));
        // A finite bound beyond the range of binary32 gives an infinity here.
        if low32 > high32 || low32.is_infinite() || high32.is_infinite() {
            return refused(
                0,
                "at least one f32 must lie between the lower and the upper bound",
            );
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

    /// Returns a [`DistributionKind::Diagonal`].
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

    /// Returns a normal distribution with a row of zeros. The std must be above 0.
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

    /// Returns a normal distribution of mean 0 with this number of zeros in each column of a matrix.
    /// The std must be above 0.
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

    /// Returns the distribution of a random orthogonal matrix times `gain`.
    pub(super) fn orthogonal(gain: f64, rows: u64, columns: u64) -> Result<Self> {
        Distribution::orthogonal_in_tap(gain, rows, columns, 1, 0, false)
    }

    /// Returns the distribution of a random orthogonal matrix times `gain` in one tap of a kernel.
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

    /// Returns a position table.
    pub(super) fn sinusoid(columns: u64, max_timescale: f64, interleaved: bool) -> Result<Self> {
        table_columns(columns)?;
        Ok(Distribution(DistributionKind::Sinusoid {
            columns,
            max_timescale,
            interleaved,
        }))
    }

    /// Returns `ln(c + 1)` in column c.
    pub(super) fn log_ramp(columns: u64) -> Result<Self> {
        table_columns(columns)?;
        Ok(Distribution(DistributionKind::LogRamp { columns }))
    }

    /// Returns `start + step * c` in column c.
    pub(super) fn arange(start: f64, step: f64, columns: u64) -> Result<Self> {
        table_columns(columns)?;
        finite("start", start)?;
        // The numbers are monotone, so all of them are finite if the first and the last are.
        let end = start + step * (columns - 1) as f64;
        finite("step", step)?;
        finite("start + step * (columns - 1)", end)?;
        // Whole numbers are counters, and rounded ones would repeat. Their sum in binary64 is exact if
        // the result fits, because then both parts are multiples of the same power of two.
        let whole = start.fract() == 0.0 && step.fract() == 0.0;
        if whole && !fits_multiples(start, step, end) {
            let accepted = "whole numbers must be multiples of a power of two with at most 24 bits, \
                            as f32 holds them exactly";
            return Err(Error::parameter(
                "start + step * (columns - 1)",
                end,
                accepted,
            ));
        }
        Ok(Distribution(DistributionKind::Arange {
            start,
            step,
            columns,
        }))
    }

    /// Returns rotary frequencies. `buffers.rs` checks the numbers.
    pub(super) fn inverse_frequencies(
        theta: f64,
        dim: u64,
        columns: u64,
        scaling: FrequencyScaling,
    ) -> Result<Self> {
        table_columns(columns)?;
        Ok(Distribution(DistributionKind::InverseFrequencies {
            theta,
            dim,
            columns,
            scaling,
        }))
    }

    /// Returns `value` in the lower triangle of each of `matrices` matrices.
    pub(super) fn lower_triangle(
        value: f64,
        matrices: u64,
        rows: u64,
        columns: u64,
    ) -> Result<Self> {
        below_2_31("columns", columns)?;
        // The kernels take the row in the whole tensor as 32 bits.
        let all = matrices.saturating_mul(rows);
        if all > u64::from(u32::MAX) {
            let accepted = "it must be at most 4294967295";
            return Err(Error::parameter("rows", all as f64, accepted));
        }
        Ok(Distribution(DistributionKind::LowerTriangle {
            value: finite("value", value)?,
            rows,
            columns,
        }))
    }

    /// Returns the constant 0.
    #[cfg(feature = "recipe")]
    pub(crate) fn zeros() -> Self {
        Distribution(DistributionKind::Constant { value: 0.0 })
    }

    /// Returns given numbers, as binary32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for more than 2^24 numbers.
    #[cfg(feature = "recipe")]
    pub(crate) fn values(values: &Arc<[u32]>) -> Result<Self> {
        if values.is_empty() {
            return Ok(Distribution::zeros());
        }
        table_columns(values.len() as u64)?;
        Ok(Distribution(DistributionKind::Values {
            values: Arc::clone(values),
        }))
    }

    /// Returns the distribution of a tensor that is kept: its elements are copied from a file, in any
    /// dtype.
    ///
    /// No backend makes them. `checkpoint::WithSources` reads them where a file is written or
    /// verified.
    ///
    /// ```
    /// use fanin::init::Distribution;
    /// use fanin::{DType, Fill, Tensor};
    ///
    /// let counter = Tensor::new("bn.num_batches_tracked", [])?;
    /// let fill = Fill::from_distribution(&counter, Distribution::kept(), 0).with_dtype(DType::I64);
    /// assert!(fill.is_kept());
    /// # Ok::<(), fanin::Error>(())
    /// ```
    #[must_use]
    pub fn kept() -> Self {
        Distribution(DistributionKind::Kept)
    }

    /// Returns true if the value of an element depends on its own random word or words only, and not on
    /// its row and column.
    pub(crate) fn is_elementwise(&self) -> bool {
        matches!(
            self.0,
            DistributionKind::Constant { .. }
                | DistributionKind::Normal { .. }
                | DistributionKind::Uniform { .. }
                | DistributionKind::TruncatedNormal { .. }
                | DistributionKind::LogUniform { .. }
                | DistributionKind::TimeStep { .. }
        )
    }

    /// Returns mean and standard deviation in binary32. The standard deviation must be above 0.
    pub(super) fn check_normal(mean: f64, std: f64) -> Result<[f32; 2]> {
        Ok([finite("mean", mean)?, positive_std(std)?])
    }

    /// Returns the numbers of the distribution.
    #[doc(hidden)]
    #[must_use]
    pub fn kind(&self) -> &DistributionKind {
        &self.0
    }

    /// Returns the distribution of the logarithm of a number drawn uniformly from `[low, high)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless 0 < low < high, and both are normal numbers in binary32.
    pub(crate) fn log_uniform(low: f64, high: f64) -> Result<Self> {
        positive32("low", low)?;
        positive32("high", high)?;
        ordered("low", low, high)?;
        Ok(Distribution(DistributionKind::LogUniform { low, high }))
    }

    /// Returns the distribution of the bias of a time step drawn log-uniformly from `[min, max)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless 0 < min < max <= 500 and 0 < floor < max.
    pub(crate) fn time_step(min: f64, max: f64, floor: f64) -> Result<Self> {
        positive32("min", min)?;
        positive32("floor", floor)?;
        ordered("min", min, max)?;
        // The exponential of the tables takes arguments of at most 700.
        if max > 500.0 || max.is_nan() {
            return Err(Error::parameter("max", max, "it must be at most 500"));
        }
        ordered("floor", floor, max)?;
        Ok(Distribution(DistributionKind::TimeStep { min, max, floor }))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            DistributionKind::Constant { value } => write!(f, "constant(value={})", Short(*value)),
            DistributionKind::Normal { mean, std } => {
                write!(f, "normal(mean={},std={})", Short(*mean), Short(*std))
            }
            DistributionKind::Uniform { low, high } => {
                write!(f, "uniform(low={},high={})", Short(*low), Short(*high))
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
                Short(*mean),
                Short(*std),
                Short(*low),
                Short(*high)
            ),
            DistributionKind::LogUniform { low, high } => {
                write!(f, "log_uniform(low={low},high={high})")
            }
            DistributionKind::TimeStep { min, max, floor } => {
                write!(f, "time_step(min={min},max={max},floor={floor})")
            }
            DistributionKind::Diagonal { value, .. } => {
                write!(f, "diagonal(value={})", Short(*value))
            }
            DistributionKind::NormalWithZeroRow { mean, std, row, .. } => write!(
                f,
                "normal_with_zero_row(mean={},std={},row={row})",
                Short(*mean),
                Short(*std)
            ),
            DistributionKind::Sparse { std, zeros, .. } => {
                write!(f, "sparse(std={},zeros={zeros})", Short(*std))
            }
            DistributionKind::Orthogonal {
                gain,
                rows,
                columns,
                ..
            } => write!(
                f,
                "orthogonal(gain={},rows={rows},columns={columns})",
                Short(*gain)
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
            DistributionKind::Arange {
                start,
                step,
                columns,
            } => write!(f, "arange(start={start},step={step},columns={columns})"),
            DistributionKind::InverseFrequencies {
                theta,
                dim,
                columns,
                scaling,
            } => {
                let name = scaling.name();
                write!(f, "{name}(theta={theta},dim={dim},columns={columns}")?;
                scaling.write_numbers(f)?;
                f.write_str(")")
            }
            DistributionKind::LowerTriangle {
                value,
                rows,
                columns,
            } => write!(
                f,
                "lower_triangle(value={},rows={rows},columns={columns})",
                Short(*value)
            ),
            DistributionKind::Values { values } => write!(f, "values({})", values.len()),
            DistributionKind::Kept => f.write_str("kept"),
        }
    }
}

impl FrequencyScaling {
    /// Returns the name of the initializer.
    fn name(self) -> &'static str {
        match self {
            FrequencyScaling::None => "inv_freq",
            FrequencyScaling::Linear { .. } => "inv_freq_linear",
            FrequencyScaling::Dynamic { .. } => "inv_freq_dynamic",
            FrequencyScaling::Llama3 { .. } => "inv_freq_llama3",
            FrequencyScaling::Yarn { .. } => "inv_freq_yarn",
            FrequencyScaling::Proportional { .. } => "inv_freq_proportional",
        }
    }

    /// Writes the numbers, each after a comma.
    fn write_numbers(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrequencyScaling::None => Ok(()),
            FrequencyScaling::Linear { factor } => write!(f, ",factor={factor}"),
            FrequencyScaling::Dynamic { stretch } => write!(f, ",stretch={stretch}"),
            FrequencyScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => write!(
                f,
                ",factor={factor},low={low},high={high},original={original}"
            ),
            FrequencyScaling::Yarn {
                factor,
                original,
                beta_fast,
                beta_slow,
                truncate,
            } => write!(
                f,
                ",factor={factor},original={original},beta_fast={beta_fast},\
                 beta_slow={beta_slow},truncate={truncate}"
            ),
            FrequencyScaling::Proportional { factor, rotated } => {
                write!(f, ",factor={factor},rotated={rotated}")
            }
        }
    }
}

/// Returns true if binary32 holds the whole numbers `start`, `start + step` and so on up to `end`.
fn fits_multiples(start: f64, step: f64, end: f64) -> bool {
    let mut largest = start.abs().max(end.abs());
    let (mut start, mut step) = (start, step);
    // Common factors of two go into the exponent of binary32. Halving is exact in binary64.
    while largest > 16_777_216.0 && start % 2.0 == 0.0 && step % 2.0 == 0.0 {
        (start, step, largest) = (start / 2.0, step / 2.0, largest / 2.0);
    }
    largest <= 16_777_216.0
}

/// Shows a binary32 with the fewest digits that read back as the same number. Small and large numbers
/// have an exponent.
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

/// Returns the smallest binary32 that is not below a number. For minus infinity it is the lowest
/// finite one.
fn at_least(bound: f64) -> f32 {
    // `as` rounds to nearest, so the result is at most one step below the bound.
    let near = (bound as f32).max(f32::MIN);
    if f64::from(near) < bound {
        near.next_up()
    } else {
        near
    }
}

/// Returns the largest binary32 that is not above a number. For infinity it is the highest finite one.
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

/// Checks that a number is within the positive normal numbers of binary32.
fn positive32(parameter: &'static str, value: f64) -> Result<()> {
    let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        value,
        "it must be between 1.2e-38 and 3.4e38",
    ))
}

/// Checks that a count is between 1 and 2^31 - 1, the range that the kernels take.
fn below_2_31(parameter: &'static str, value: u64) -> Result<()> {
    if (1..1 << 31).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        value as f64,
        "it must be between 1 and 2147483647",
    ))
}

/// Checks the number of columns of a table. At the limit, a position table has 256 MiB.
fn table_columns(columns: u64) -> Result<()> {
    if (1..=1 << 24).contains(&columns) {
        return Ok(());
    }
    Err(Error::parameter(
        "columns",
        columns as f64,
        "it must be between 1 and 16777216",
    ))
}

/// Rounds a standard deviation to binary32, and checks that it is above 0 there.
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

/// Rounds a number to binary32, and checks that it is finite there.
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
    fn numbers_out_of_range_are_refused() {
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
            // The digits of `lower` depend on the rounding of std, so only the text before is compared.
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
