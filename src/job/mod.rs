//! A [`Fill`] reduced to the numbers that the kernels of both backends take.

mod of_fill;
mod parts;
#[cfg(feature = "program")]
pub mod program;
mod regions;
mod stored;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{
    DistributionKind, Quantile, Scaling, arange_table, frequency_table, inverse_softplus_of_exp,
    ln, log_table, normal_table, position_table,
};
use crate::kernel::pattern::{MATRIX, MATRIX_TAPS_FIRST, MATRIX_TAPS_LAST, MATRIX_TRANSPOSED};
use crate::kernel::value::FLOAT_EXPONENTS;
use crate::tensor::DType;

#[cfg(feature = "checkpoint")]
pub(crate) use parts::Parts;
#[cfg(feature = "raw")]
pub(crate) use parts::Piece;
pub(crate) use parts::{Jobs, PartJob};
#[cfg(feature = "raw")]
pub(crate) use regions::OuterDimension;
pub(crate) use regions::Regions;
pub(crate) use stored::Stored;

/// A lookup table of one fill, in the layout that the shaders bind.
pub(crate) type FillTable = Arc<Vec<[u32; 2]>>;

/// The way in which elements get their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Core {
    /// Every element is the constant.
    Constant,
    /// Elements are uniform whole numbers, scaled.
    Uniform,
    /// Elements are normal numbers, made in pairs from two words, scaled.
    Normal,
    /// Elements are a piecewise quadratic curve of one word, scaled.
    Quantile,
    /// Elements are the sine of an angle that the row and the table's entry for the column give.
    Sine,
    /// Elements are the number, as binary32 bits, that the table holds for their column.
    Columns,
    /// Elements are the binary32 numbers of a matrix, which the table holds whole.
    Matrix,
}

/// The elements that are zero because of their position. The numbers are those that
/// `src/kernel/pattern.rs` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// No element is masked.
    None,
    /// Elements off the diagonal are zero. Rows come in groups of `rows`. In a group, row `r` has
    /// its diagonal element at column `r * stride + offset` if `r` is below `ones`, else none.
    Diagonal {
        rows: u32,
        ones: u32,
        stride: u32,
        offset: u32,
    },
    /// Elements above the diagonal are zero. Rows come in matrices of `rows`.
    Lower { rows: u32 },
    /// Elements of a half-open range are zero.
    Range { start: u64, end: u64 },
    /// In each column, `zeros` of the `rows` elements are zero. A permutation of numbers of
    /// `left + right` bits chooses them.
    Sparse {
        rows: u32,
        zeros: u32,
        left: u32,
        right: u32,
    },
}

/// The place of a tensor's elements in a matrix in memory. The numbers are those that
/// `src/kernel/pattern.rs` takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixLayout {
    mode: u32,
    /// The tap of a convolution's kernel that holds the matrix.
    middle: u32,
    columns: u32,
    /// Elements from one row to the next in memory.
    stride: u32,
}

/// A fill as the numbers that the kernels take.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub key: [u32; 2],
    pub stream: [u32; 2],
    pub dtype: DType,
    /// The conversion to the dtype, unless the kernels pack it. They make binary32 then.
    pub stored: Option<Stored>,
    pub core: Core,
    /// The scaling from drawn numbers to elements. Unused by cores that draw none.
    pub scaling: Scaling,
    /// The binary32 bits of every element of a constant core.
    pub constant: u32,
    /// The table of normal, quantile, sine and column fills, or the matrix.
    pub table: Option<FillTable>,
    pub mask: Mask,
    /// Elements of a row of the whole tensor, if rows and columns matter; else 0.
    pub columns: u32,
    /// The layout of a matrix core.
    matrix: Option<MatrixLayout>,
    pub regions: Regions,
}

impl Job {
    /// Returns the job of a fill. A matrix core still needs its table and
    /// [`with_stride`](Job::with_stride), because each backend makes the matrix itself.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], naming the tensor, if no value of the fill's dtype lies within the
    /// bounds of its distribution, or nearly none of its values does. [`Error::DType`] if the dtype
    /// cannot hold the elements, [`Error::Kept`] for a tensor that is kept from a file.
    pub fn new(fill: &Fill) -> Result<Job> {
        let job = Job::unchecked(fill)?;
        stored::check(&job, fill)?;
        Ok(job)
    }

    fn unchecked(fill: &Fill) -> Result<Job> {
        let job = Job {
            key: words(fill.seed()),
            stream: words(fill.stream()),
            dtype: fill.dtype(),
            stored: Stored::new(fill)?,
            core: Core::Constant,
            scaling: Scaling::default(),
            constant: 0,
            table: None,
            mask: Mask::None,
            columns: 0,
            matrix: None,
            regions: Regions::new(fill.shape(), fill.local()),
        };
        Ok(match *fill.distribution().kind() {
            DistributionKind::Kept => {
                return Err(Error::Kept {
                    tensor: fill.name().to_owned(),
                });
            }
            DistributionKind::Values { ref values } => Job {
                core: Core::Columns,
                table: Some(Arc::new(pairs(values))),
                columns: values.len() as u32,
                ..job
            },
            DistributionKind::Constant { value } => Job {
                constant: value.to_bits(),
                ..job
            },
            DistributionKind::Normal { mean, std } => job.with_normal(mean, std),
            DistributionKind::Uniform { low, high } => Job {
                core: Core::Uniform,
                scaling: Scaling::uniform(low, high),
                ..job
            },
            DistributionKind::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
                width,
                low,
                high,
            } => {
                // Counted from the bound nearest to the mean if the mean lies outside, because
                // offsets from there are small and keep more bits.
                let anchor = if lower > 0.0 {
                    low
                } else if upper < 0.0 {
                    high
                } else {
                    mean
                };
                let quantile = Quantile::TruncatedNormal {
                    lower,
                    upper,
                    width,
                };
                let bounds = within(fill.dtype(), low, high);
                let bounds = bounds.ok_or_else(|| stored::no_number_between(fill, low))?;
                job.with_quantile(fill, quantile, anchor, std, bounds)?
            }
            DistributionKind::LogUniform { low, high } => {
                // The exact curve ends at these bounds. The clamp removes errors of the quadratics.
                let bounds = [ln(low), ln(high)].map(|bound| bound as f32);
                job.with_quantile(fill, Quantile::LogUniform { low, high }, 0.0, 1.0, bounds)?
            }
            DistributionKind::TimeStep { min, max, floor } => {
                // The clamp applies the floor, so the curve itself has no corner.
                let bounds = [min.max(floor), max];
                let bounds = bounds.map(|step| inverse_softplus_of_exp(ln(step)) as f32);
                job.with_quantile(fill, Quantile::TimeStep { min, max }, 0.0, 1.0, bounds)?
            }
            DistributionKind::Diagonal {
                value,
                columns,
                rows,
                ones,
                stride,
                offset,
            } => Job {
                constant: value.to_bits(),
                mask: Mask::Diagonal {
                    rows: rows as u32,
                    ones: ones as u32,
                    stride: stride as u32,
                    offset: offset as u32,
                },
                columns: columns as u32,
                ..job
            },
            DistributionKind::NormalWithZeroRow {
                mean,
                std,
                columns,
                row,
            } => Job {
                mask: Mask::Range {
                    start: row.saturating_mul(columns),
                    end: row.saturating_add(1).saturating_mul(columns),
                },
                ..job.with_normal(mean, std)
            },
            DistributionKind::Sparse {
                std,
                rows,
                columns,
                zeros,
            } => {
                // The bits of the largest row's number, at least one in each half.
                let bits = (64 - (rows - 1).leading_zeros()).max(2);
                Job {
                    mask: Mask::Sparse {
                        rows: rows as u32,
                        zeros: zeros as u32,
                        // At most 15 and 16 bits, as rows are below 2^31. `permute` has room for 16.
                        left: bits / 2,
                        right: bits - bits / 2,
                    },
                    columns: columns as u32,
                    ..job.with_normal(0.0, std)
                }
            }
            DistributionKind::Sinusoid {
                columns,
                max_timescale,
                interleaved,
            } => Job {
                core: Core::Sine,
                table: Some(Arc::new(position_table(
                    columns,
                    max_timescale,
                    interleaved,
                ))),
                columns: columns as u32,
                ..job
            },
            DistributionKind::Orthogonal {
                rows,
                columns,
                taps,
                middle,
                taps_last,
                ..
            } => {
                // Products are below 2^31. With one tap, the quotient of every element is 0, the middle tap.
                let (mode, divisor) = match (taps, taps_last) {
                    (1, _) => (MATRIX, rows * columns),
                    (_, true) => (MATRIX_TAPS_LAST, taps),
                    (_, false) => (MATRIX_TAPS_FIRST, rows * columns),
                };
                // Backends hold the matrix tall.
                let transposed = if rows < columns { MATRIX_TRANSPOSED } else { 0 };
                Job {
                    core: Core::Matrix,
                    columns: divisor as u32,
                    matrix: Some(MatrixLayout {
                        mode: mode | transposed,
                        middle: middle as u32,
                        columns: columns as u32,
                        stride: 0,
                    }),
                    ..job
                }
            }
            DistributionKind::LogRamp { columns } => job.with_columns(columns, log_table(columns)),
            DistributionKind::Arange {
                start,
                step,
                columns,
            } => job.with_columns(columns, arange_table(start, step, columns)),
            DistributionKind::InverseFrequencies {
                theta,
                dim,
                columns,
                scaling,
            } => job.with_columns(columns, frequency_table(theta, dim, columns, scaling)),
            DistributionKind::LowerTriangle {
                value,
                rows,
                columns,
            } => Job {
                constant: value.to_bits(),
                mask: Mask::Lower { rows: rows as u32 },
                columns: columns as u32,
                ..job
            },
        })
    }

    /// Returns the table, empty if there is none.
    pub fn table(&self) -> &[[u32; 2]] {
        self.table.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Returns whether elements are subnormal or overflow, which devices may flush or round
    /// differently in floats.
    pub fn has_extremes(&self) -> bool {
        !FLOAT_EXPONENTS.contains(&self.scaling.exponent)
    }

    /// Sets the number of elements from one row of the matrix to the next in memory.
    #[cfg(any(feature = "gpu", feature = "orthogonal"))]
    pub fn with_stride(self, stride: u32) -> Job {
        let matrix = self.matrix.map(|matrix| MatrixLayout { stride, ..matrix });
        Job { matrix, ..self }
    }

    /// Returns the numbers of the mask or of the matrix, as `src/kernel/pattern.rs` and
    /// `shaders/pattern.wgsl` take them.
    pub fn pattern(&self) -> [u32; 4] {
        match (self.mask, self.matrix) {
            (
                Mask::Diagonal {
                    rows,
                    ones,
                    stride,
                    offset,
                },
                _,
            ) => [rows, ones, stride, offset],
            (Mask::Lower { rows }, _) => [rows, 0, 0, 0],
            (Mask::Range { start, end }, _) => {
                let ([start_low, start_high], [end_low, end_high]) = (words(start), words(end));
                [start_low, start_high, end_low, end_high]
            }
            (
                Mask::Sparse {
                    rows,
                    zeros,
                    left,
                    right,
                },
                _,
            ) => [rows, zeros, left, right],
            (Mask::None, Some(matrix)) => {
                [matrix.mode, matrix.middle, matrix.columns, matrix.stride]
            }
            (Mask::None, None) => [0; 4],
        }
    }

    /// Returns the job whose elements are the numbers of their columns, as binary32 bits.
    fn with_columns(self, columns: u64, table: Vec<[u32; 2]>) -> Job {
        Job {
            core: Core::Columns,
            table: Some(Arc::new(table)),
            columns: columns as u32,
            ..self
        }
    }

    fn with_normal(self, mean: f32, std: f32) -> Job {
        Job {
            core: Core::Normal,
            table: Some(normal_table()),
            scaling: Scaling::normal(mean, std),
            ..self
        }
    }

    fn with_quantile(
        self,
        fill: &Fill,
        quantile: Quantile,
        anchor: f32,
        scale: f32,
        bounds: [f32; 2],
    ) -> Result<Job> {
        let table = quantile.table();
        let scaling = Scaling::quantile(&table, anchor, scale, bounds);
        let scaling = scaling.ok_or_else(|| {
            Error::parameter(
                "std",
                scale.into(),
                "it must be small enough that values fit the dtype",
            )
            .named(fill.name())
        })?;
        Ok(Job {
            core: Core::Quantile,
            table: Some(Arc::clone(&table.entries)),
            scaling,
            ..self
        })
    }
}

/// Returns the lowest and the highest number of a dtype within bounds, so that rounding to the
/// dtype stays within them.
fn within(dtype: DType, low: f32, high: f32) -> Option<[f32; 2]> {
    let (low, high) = match dtype {
        DType::F16 | DType::BF16 => (not_below(dtype, low), -not_below(dtype, -high)),
        // `Stored` holds the others within their bounds.
        _ => (low, high),
    };
    (low <= high).then_some([low, high])
}

/// Returns the lowest number of a 16-bit dtype that is not below `bound`.
fn not_below(dtype: DType, bound: f32) -> f32 {
    let half = dtype == DType::F16;
    let bits = if half {
        half::f16::from_f32(bound).to_bits()
    } else {
        half::bf16::from_f32(bound).to_bits()
    };
    let from = |bits| {
        if half {
            half::f16::from_bits(bits).to_f32()
        } else {
            half::bf16::from_bits(bits).to_f32()
        }
    };
    if from(bits) >= bound && from(bits) != f32::NEG_INFINITY {
        return from(bits);
    }
    // The next number up: a smaller magnitude if negative, and after -0 the smallest above 0.
    from(match bits {
        0x8000 => 1,
        // Minus infinity becomes the lowest finite number.
        bits if bits & 0x8000 != 0 => bits - 1,
        bits => bits + 1,
    })
}

/// Returns binary32 numbers as a table, two in an entry.
fn pairs(values: &[u32]) -> Vec<[u32; 2]> {
    let pair = |pair: &[u32]| [pair[0], pair.get(1).copied().unwrap_or(0)];
    values.chunks(2).map(pair).collect()
}

/// Splits a number into its low and high 32 bits.
fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}
