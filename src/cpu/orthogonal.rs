//! Orthogonal matrices on the CPU: the product of Householder reflections of Gaussian vectors, in
//! binary64.
//!
//! `docs/STREAM.md` describes the method, and why it needs no factorization. In binary64 the result
//! is the exact product rounded once, except for rare ties: two CPUs differ in an element or two of
//! a large matrix, if at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, ShapeBuilder};
use rayon::prelude::*;

use crate::error::Result;
use crate::fill::Fill;
use crate::init::{DistributionKind, Init};
use crate::job::{FillTable, Job, Jobs};
use crate::tensor::Tensor;

use super::batch::fill_jobs;

/// The number of reflections that are applied together.
const BLOCK: usize = 128;

/// The number of columns that one thread takes at a time. It divides [`BLOCK`].
const PANEL: usize = 64;

/// The numbers that a matrix depends on.
#[derive(Clone, Copy, PartialEq)]
struct MatrixKey {
    seed: u64,
    stream: u64,
    /// Rows and columns of the matrix or its transpose, rows not below columns.
    tall: [usize; 2],
    gain: f32,
}

/// The last matrix made, kept so that a tensor filled in pieces is made once.
static LAST: Mutex<Option<(MatrixKey, FillTable)>> = Mutex::new(None);

/// Adds the matrix to the job of an orthogonal fill. Returns other jobs as they are.
pub(super) fn with_matrix(job: Job, fill: &Fill) -> Result<Job> {
    let DistributionKind::Orthogonal {
        gain,
        rows,
        columns,
        ..
    } = *fill.distribution().kind()
    else {
        return Ok(job);
    };
    let key = MatrixKey {
        seed: fill.seed(),
        stream: fill.stream(),
        tall: [rows.max(columns) as usize, rows.min(columns) as usize],
        gain,
    };
    // The Arc keeps the table alive if another thread forgets the matrix meanwhile.
    let known = match &*last() {
        Some((known, table)) if *known == key => Some(Arc::clone(table)),
        _ => None,
    };
    let table = match known {
        Some(table) => table,
        None => {
            // Freed first, so that one matrix is in memory. Not locked while the matrix is made: a thread
            // of rayon that waits for the others may begin another fill meanwhile, and would wait for
            // itself. At worst two threads make the same matrix.
            forget();
            let table = Arc::new(matrix(key)?);
            *last() = Some((key, Arc::clone(&table)));
            table
        }
    };
    let mut job = job.with_stride(stride(key.tall[1]) as u32);
    job.table = Some(table);
    Ok(job)
}

/// Frees the last matrix made.
pub(super) fn forget() {
    *last() = None;
}

/// Locks the last matrix made.
fn last() -> MutexGuard<'static, Option<(MatrixKey, FillTable)>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the elements of a row in memory: a table's entries hold two.
fn stride(columns: usize) -> usize {
    columns.next_multiple_of(2)
}

/// Returns the distance from one row or column of `length` numbers to the next in the operands of
/// products. It is an odd number of cache lines, so that the rows of a tile spread over all sets of
/// a cache even if the length is a power of two.
fn pitch(length: usize) -> usize {
    const LINE: usize = 8;
    (length.div_ceil(LINE) | 1) * LINE
}

/// Returns the tall matrix of orthonormal columns, times the gain, as binary32 bits.
fn matrix(key: MatrixKey) -> Result<Vec<[u32; 2]>> {
    let [m, n] = key.tall;
    let (vectors, signs) = reflectors(key)?;
    let column_pitch = pitch(m);
    // Stored by columns, so that a panel is contiguous and belongs to one thread. It begins as the
    // first n columns of gain * D, to which the reflections are applied.
    let mut product = vec![0.0; n * column_pitch];
    for (i, sign) in signs.into_iter().enumerate() {
        product[i * column_pitch + i] = sign * f64::from(key.gain);
    }
    let vector_pitch = pitch(n);
    // The reflections of a block, from the row of the first one on.
    let block = |start: usize| {
        // The vectors of a block are 0 above its first row, so the rows above stay as they are.
        let shape = (m - start, BLOCK.min(n - start)).strides((vector_pitch, 1));
        ArrayView2::from_shape(shape, &vectors[start * vector_pitch + start..])
            .expect("the rows are at the pitch")
    };
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let factors: Vec<Array2<f64>> = starts
        .par_iter()
        .map(|&start| triangular_factor(&block(start).t().dot(&block(start))))
        .collect();
    // Column c is a unit vector before its own reflection, so only the reflections up to it change
    // it. The last columns take longest and come first.
    product
        .par_chunks_mut(PANEL * column_pitch)
        .enumerate()
        .rev()
        .for_each(|(i, panel)| {
            let columns = panel.len() / column_pitch;
            // The rightmost reflections act first: the matrix is H_0 H_1 ... times D.
            for (&start, factor) in starts.iter().zip(&factors).rev() {
                // BLOCK is a multiple of PANEL, so a block never begins within a panel.
                if start <= i * PANEL {
                    let shape = (m - start, columns).strides((1, column_pitch));
                    let rest = ArrayViewMut2::from_shape(shape, &mut panel[start..])
                        .expect("the columns are at the pitch");
                    reflect(block(start), factor, rest);
                }
            }
        });
    let stride = stride(n);
    let mut table = vec![[0; 2]; m * stride / 2];
    table
        .as_flattened_mut()
        .par_chunks_mut(stride)
        .enumerate()
        .for_each(|(row, out)| {
            for (column, bits) in out[..n].iter_mut().enumerate() {
                *bits = (product[column * column_pitch + row] as f32).to_bits();
            }
        });
    Ok(table)
}

/// Applies the reflections of a block, `I - V T V^T`, to columns.
fn reflect(block: ArrayView2<f64>, factor: &Array2<f64>, mut columns: ArrayViewMut2<f64>) {
    // From the right to the left: V T V^T itself would be a square matrix of all rows.
    let transformed = factor.dot(&block.t().dot(&columns));
    general_mat_mul(-1.0, &block, &transformed, 1.0, &mut columns);
}

/// Returns the vectors v of the reflections I - v v^T, scaled so that v^T v is 2, and the signs that
/// make the diagonal of the triangular factor positive. The vectors are the columns of a row-major
/// matrix with rows at the [`pitch`].
fn reflectors(key: MatrixKey) -> Result<(Vec<f64>, Vec<f64>)> {
    let [m, n] = key.tall;
    // The shape is the tall one for a wide matrix, too: element r n + i is row r and column i.
    let tensor = Tensor::new("orthogonal", [m as u64, n as u64])?.with_stream_id(key.stream);
    let gaussian = Fill::new(&tensor, &Init::normal(0.0, 1.0), key.seed)?;
    let mut drawn = vec![0f32; m * n];
    fill_jobs(
        &Jobs::new(&gaussian)?,
        0,
        bytemuck::cast_slice_mut(&mut drawn),
    );
    // Each column is summed in the order of its rows, so the sum does not depend on threads.
    let mut below = vec![0.0f64; n];
    below
        .par_chunks_mut(64)
        .enumerate()
        .for_each(|(part, sums)| {
            let first = part * 64;
            for row in first..m {
                let values = &drawn[row * n..][..n];
                // Only elements below the diagonal. The square of a binary32 number is exact in binary64.
                for (sum, column) in sums.iter_mut().zip(first..row.min(n)) {
                    *sum += f64::from(values[column]) * f64::from(values[column]);
                }
            }
        });
    let (mut heads, mut factors, mut signs) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        let x = f64::from(drawn[i * n + i]);
        let norm = (x * x + below[i]).sqrt();
        // With the sign of x, the sum x + s |x| loses no digits.
        let sign = if x >= 0.0 { 1.0 } else { -1.0 };
        // A vector of zeros reflects its axis. The last column of a square matrix has a single
        // element, and a normal number can be 0.
        heads[i] = if norm == 0.0 { 1.0 } else { x + sign * norm };
        factors[i] = (2.0 / (heads[i] * heads[i] + below[i])).sqrt();
        signs[i] = -sign;
    }
    let pitch = pitch(n);
    let mut vectors = vec![0.0; m * pitch];
    vectors
        .par_chunks_mut(pitch)
        .zip(drawn.par_chunks(n))
        .enumerate()
        .for_each(|(row, (out, values))| {
            for column in 0..n.min(row) {
                out[column] = f64::from(values[column]) * factors[column];
            }
            if row < n {
                out[row] = heads[row] * factors[row];
            }
        });
    Ok((vectors, signs))
}

/// Returns T of `H_1 ... H_b = I - V T V^T`: the inverse of the upper triangle of V^T V with half of
/// its diagonal. (Puglisi, "Modification of the Householder method based on the compact WY
/// representation", 1992.)
fn triangular_factor(inner: &Array2<f64>) -> Array2<f64> {
    let b = inner.nrows();
    let mut factor = Array2::zeros((b, b));
    for column in 0..b {
        // Back substitution, from the diagonal up: rows k > row of this column are known.
        for row in (0..=column).rev() {
            let mut sum = if row == column { 1.0 } else { 0.0 };
            for k in row + 1..=column {
                sum -= inner[(row, k)] * factor[(k, column)];
            }
            // v^T v / 2 is 1 up to rounding, so this never divides by 0.
            factor[(row, column)] = sum / (inner[(row, row)] / 2.0);
        }
    }
    factor
}
