//! Fills as numbers, for hosts that have an arithmetic of their own.

use std::ops::Range;
use std::sync::Arc;

use super::{Core, Job, Jobs, Mask, words};
use crate::error::Result;
use crate::fill::Fill;
use crate::init::{DistributionKind, Scaling, normal_table};

/// The numbers of one initializer of a fill. `docs/STREAM.md` says how they make an element.
#[derive(Clone, Debug)]
pub struct Program {
    /// The box of elements, in indices of the whole tensor.
    pub ranges: Vec<Range<u64>>,
    /// The shape that indices, rows and columns refer to: that of the tensor, or that of the box if
    /// elements depend on their row and column.
    pub dims: Vec<u64>,
    /// The key, low word first.
    pub key: [u32; 2],
    /// The stream id, low word first.
    pub stream: [u32; 2],
    /// The way in which elements get their values: `constant`, `uniform`, `normal`, `quantile`, `sine`,
    /// `columns` or `matrix`.
    pub core: &'static str,
    /// The e of `p * 2^e`. The scaling is that of standard normal numbers for a matrix.
    pub exponent: i32,
    /// The factor m. For uniform numbers it is the number of different values.
    pub multiplier: u32,
    /// The shift s.
    pub shift: u32,
    /// The offset A.
    pub offset: i32,
    /// The lowest and the highest p of quantiles.
    pub clamp: Option<[i32; 2]>,
    /// The binary32 bits of a constant, or of a matrix's gain.
    pub constant: u32,
    /// The table: of the curve and the circle for normal numbers and a matrix, of the curve for
    /// quantiles, of frequencies and phases for sines, and else of the columns' binary32 numbers, two
    /// in an entry.
    pub table: Arc<Vec<[u32; 2]>>,
    /// The elements that are 0: `none`, `diagonal` (those off it), `lower` (those above the diagonal),
    /// `range` or `sparse`.
    pub mask: &'static str,
    /// The numbers of the mask. `diagonal`: rows of a group, ones of a group, columns from a one to the
    /// next, column of the first. `lower`: rows of a matrix. `range`: start and end, low words first.
    /// `sparse`: rows, zeros of a column, bits of both halves of the permuted numbers.
    pub pattern: [u32; 4],
    /// Elements of a row, if rows and columns matter, else 0.
    pub columns: u64,
    /// The matrix of a matrix core.
    pub matrix: Option<Matrix>,
    /// The numbers that hold the elements of a truncated distribution in a float of 8 bits.
    pub bounds: Option<[f32; 2]>,
}

/// The place of an orthogonal matrix in a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Rows of the matrix.
    pub rows: u64,
    /// Columns of the matrix. A matrix with more columns than rows is the transpose of a tall one.
    pub columns: u64,
    /// Taps of the kernel, 1 if the tensor is the matrix.
    pub taps: u64,
    /// The tap that holds the matrix. Elements of the others are 0.
    pub middle: u64,
    /// True if the taps are the last dimensions of the tensor, false if they are the first.
    pub taps_last: bool,
}

/// Returns the programs of a fill of a whole tensor: that of the tensor itself, then those of its
/// parts. The first part that holds an element applies, else the tensor itself.
///
/// ```
/// use fanin::{Fill, Init, Tensor, program::programs};
///
/// let fill = Fill::new(&Tensor::new("w", [5, 3])?, &Init::normal(0.0, 1.0), 42)?;
/// let programs = programs(&fill)?;
/// assert_eq!((programs.len(), programs[0].core, programs[0].exponent), (1, "normal", -25));
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`Fill::check`]. [`Error::Kept`](crate::Error::Kept) for a tensor that is kept from a file.
pub fn programs(fill: &Fill) -> Result<Vec<Program>> {
    let jobs = Jobs::new(fill)?;
    let whole: Vec<_> = fill.shape().dims().iter().map(|&dim| 0..dim).collect();
    let boxes = fill
        .parts()
        .iter()
        .map(|part| part.slice().ranges().to_vec());
    let boxes = std::iter::once(whole).chain(boxes);
    let one = |(part, ranges): (&super::PartJob, _)| Program::new(&part.job, &part.fill, ranges);
    Ok(jobs.all().iter().zip(boxes).map(one).collect())
}

impl Program {
    fn new(job: &Job, fill: &Fill, ranges: Vec<Range<u64>>) -> Program {
        let program = Program {
            ranges,
            dims: fill.shape().dims().to_vec(),
            key: words(fill.seed()),
            stream: job.stream,
            core: match job.core {
                Core::Constant => "constant",
                Core::Uniform => "uniform",
                Core::Normal => "normal",
                Core::Quantile => "quantile",
                Core::Sine => "sine",
                Core::Columns => "columns",
                Core::Matrix => "matrix",
            },
            exponent: job.scaling.exponent,
            multiplier: job.scaling.multiplier,
            shift: job.scaling.shift,
            offset: job.scaling.offset,
            clamp: job.scaling.clamp,
            constant: job.constant,
            table: job.table.clone().unwrap_or_default(),
            mask: match job.mask {
                Mask::None => "none",
                Mask::Diagonal { .. } => "diagonal",
                Mask::Lower { .. } => "lower",
                Mask::Range { .. } => "range",
                Mask::Sparse { .. } => "sparse",
            },
            pattern: job.pattern(),
            columns: job.columns.into(),
            matrix: None,
            bounds: job.stored.and_then(|stored| stored.bounds()),
        };
        let DistributionKind::Orthogonal {
            gain,
            rows,
            columns,
            taps,
            middle,
            taps_last,
        } = *fill.distribution().kind()
        else {
            return program;
        };
        let scaling = Scaling::normal(0.0, 1.0);
        Program {
            exponent: scaling.exponent,
            multiplier: scaling.multiplier,
            shift: scaling.shift,
            offset: scaling.offset,
            constant: gain.to_bits(),
            table: normal_table(),
            // `matrix` has these numbers. The pattern of a matrix job also has the stride of a backend.
            pattern: [0; 4],
            matrix: Some(Matrix {
                rows,
                columns,
                taps,
                middle,
                taps_last,
            }),
            ..program
        }
    }
}
