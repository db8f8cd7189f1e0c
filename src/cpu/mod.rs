//! Fills of host memory on all cores, with the same bits as `fanin::gpu`.
//!
//! Use it without a GPU, for weights that are needed on the host, and to check a device. Work is
//! spread over rayon's current thread pool. Run it inside [`rayon::ThreadPool::install`] to choose
//! the number of threads.
//!
//! ```
//! use fanin::{Fill, Init, Tensor, cpu};
//!
//! let tensor = Tensor::new("fc.weight", [256, 784])?;
//! let fill = Fill::new(&tensor, &Init::kaiming_normal(), 42)?;
//! let mut weights = vec![0f32; fill.elements() as usize];
//! cpu::fill_slice(&fill, &mut weights)?;
//!
//! // Rows 16 to 32 alone are the rows 16 to 32 of the whole.
//! let rows = fill.clone().slice([16..32, 0..784])?;
//! let mut part = vec![0f32; rows.elements() as usize];
//! cpu::fill_slice(&rows, &mut part)?;
//! assert_eq!(part, weights[16 * 784..32 * 784]);
//! # Ok::<(), fanin::Error>(())
//! ```

mod batch;
#[cfg_attr(not(feature = "orthogonal"), path = "no_orthogonal.rs")]
mod orthogonal;
mod simd;

use std::collections::BTreeSet;

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Jobs, PartJob};
use crate::tensor::DType;

/// A type that weights can be stored in.
pub trait Element: bytemuck::Pod {
    /// The dtype with the same memory layout.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
}

/// Implements [`Element`] for the numbers that a fill stores by conversion.
macro_rules! converted {
    ($($number:ident: $dtype:ident),*) => {
        $(
            impl Element for $number {
                const DTYPE: DType = DType::$dtype;
            }
        )*
    };
}
converted!(f64: F64, i8: I8, i16: I16, i32: I32, i64: I64, u8: U8, u16: U16, u32: U32, u64: U64);

/// Fills `out` with raw little-endian elements of the fill's part, row-major.
///
/// # Errors
///
/// [`Error::LengthMismatch`] unless `out` has exactly [`Fill::bytes`] bytes. [`Error::DType`],
/// naming the tensor, if the dtype cannot hold the elements, and [`Error::Kept`] if the tensor is
/// kept from a file.
pub fn fill(fill: &Fill, out: &mut [u8]) -> Result<()> {
    if out.len() as u64 != fill.bytes() {
        return Err(Error::LengthMismatch {
            tensor: fill.name().to_owned(),
            expected: fill.elements(),
            got: out.len() as u64 * 8 / fill.dtype().bits(),
        });
    }
    fill_range(fill, 0, out)
}

/// Fills `out` with the elements of the fill's part, row-major.
///
/// # Errors
///
/// [`Error::DTypeMismatch`] if `T` is not the fill's dtype, [`Error::LengthMismatch`] unless
/// `out` has exactly [`Fill::elements`] elements, and the other errors of [`fill`].
pub fn fill_slice<T: Element>(fill: &Fill, out: &mut [T]) -> Result<()> {
    if T::DTYPE != fill.dtype() {
        return Err(Error::DTypeMismatch {
            tensor: fill.name().to_owned(),
            expected: fill.dtype().name(),
            got: T::DTYPE.name(),
        });
    }
    self::fill(fill, bytemuck::cast_slice_mut(out))
}

/// Fills `out` with the elements from `start` on, counted in the part's own row-major order.
///
/// So a large tensor can be made piece by piece in bounded memory. An orthogonal matrix is the
/// exception: every piece needs the whole matrix, which is kept until its last piece or the next
/// matrix is made.
///
/// # Errors
///
/// [`Error::LengthMismatch`] if `out` is not a whole number of elements or reaches past the end of
/// the part, and the other errors of [`fill`].
///
/// ```
/// use fanin::{Fill, Init, Tensor, cpu};
///
/// let tensor = Tensor::new("emb.weight", [1000, 64])?;
/// let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 1)?;
/// let mut whole = vec![0; fill.bytes() as usize];
/// cpu::fill(&fill, &mut whole)?;
/// let mut piece = vec![0; 400];
/// cpu::fill_range(&fill, 12_345, &mut piece)?;
/// assert_eq!(piece, whole[4 * 12_345..][..400]);
/// # Ok::<(), fanin::Error>(())
/// ```
pub fn fill_range(fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
    let mut jobs = Jobs::new(fill)?;
    let size = fill.dtype().size();
    fill.check_range(start, out.len() as u64)?;
    let end = start + out.len() as u64 / size;
    if jobs.all().iter().any(PartJob::is_matrix) {
        // Only matrices that hold one of the elements are made.
        let needed: BTreeSet<usize> = jobs.pieces(start..end).map(|piece| piece.owner).collect();
        for owner in needed {
            let PartJob { job, fill, .. } = &mut jobs.all_mut()[owner];
            *job = orthogonal::with_matrix(job.clone(), fill)?;
        }
    }
    batch::fill_jobs(&jobs, start, out);
    // The last piece frees the matrix.
    if end == fill.elements() && jobs.all().iter().any(PartJob::is_matrix) {
        orthogonal::forget();
    }
    Ok(())
}
