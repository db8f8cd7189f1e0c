//! Orthogonal matrices on the CPU: the product of Householder reflections of Gaussian vectors, in
//! binary64.
//!
//! The method, and why it needs no factorization, is in `docs/STREAM.md`. In binary64 the result
//! is the exact product rounded once, but for rare ties: CPUs differ in an element or two of a
//! large matrix, if at all.

use std::sync::{Arc, Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::error::Result;
use crate::fill::Fill;
use crate::init::{DistributionKind, Init};
use crate::job::{FillTable, Job};
use crate::tensor::Tensor;

/// Reflections that are applied together.
const BLOCK: usize = 128;

/// What a matrix depends on.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    seed: u64,
    stream: u64,
    tall: [usize; 2],
    gain: f32,
}

/// The matrix that was made last, so that a tensor that is asked for in pieces is made once.
static LAST: Mutex<Option<(Key, FillTable)>> = Mutex::new(None);

/// Gives the job of an orthogonal fill its matrix; nothing for other fills.
pub(super) fn prepare(job: &mut Job, fill: &Fill) -> Result<()> {
    let DistributionKind::Orthogonal {
        gain,
        rows,
        columns,
        ..
    } = *fill.distribution().kind()
    else {
        return Ok(());
    };
    let key = Key {
        seed: fill.seed(),
        stream: fill.stream(),
        tall: [rows.max(columns) as usize, rows.min(columns) as usize],
        gain,
    };
    // One at a time: two threads that need the same matrix make it once.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let table = match &*last {
        Some((known, table)) if *known == key => Arc::clone(table),
        _ => {
            *last = None;
            let table = Arc::new(matrix(key)?);
            *last = Some((key, Arc::clone(&table)));
            table
        }
    };
    job.table = Some(table);
    job.set_stride(stride(key.tall[1]) as u32);
    Ok(())
}

/// Lets go of the matrix that was made last: the last piece of its tensor is done.
pub(super) fn forget() {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Elements of a row in memory: whole entries of a table.
fn stride(columns: usize) -> usize {
    columns.next_multiple_of(2)
}

/// From one row or column of so many numbers to the next where products are made: an odd number of
/// cache lines, so that those of a tile fall into all sets of a cache, also where the length is a
/// power of two.
fn pitch(length: usize) -> usize {
    const LINE: usize = 8;
    (length.div_ceil(LINE) | 1) * LINE
}

/// The tall matrix of orthonormal columns, times the gain, as binary32 bits.
fn matrix(key: Key) -> Result<Vec<[u32; 2]>> {
    let [m, n] = key.tall;
    let (vectors, signs) = reflectors(key)?;
    let column_pitch = pitch(m);
    let mut product = vec![0.0; n * column_pitch];
    for (i, sign) in signs.into_iter().enumerate() {
        product[i * column_pitch + i] = sign * f64::from(key.gain);
    }
    #[cfg(not(target_family = "wasm"))]
    let par = Par::rayon(0);
    #[cfg(target_family = "wasm")]
    let par = Par::Seq;
    let vectors = MatRef::from_row_major_slice_with_stride(&vectors, m, n, pitch(n));
    // Column by column, as the products below like it best.
    let mut product =
        MatMut::from_column_major_slice_with_stride_mut(&mut product, m, n, column_pitch);
    for start in (0..n).step_by(BLOCK).rev() {
        let width = BLOCK.min(n - start);
        let block = vectors.submatrix(start, start, m - start, width);
        let mut inner = Mat::<f64>::zeros(width, width);
        matmul(
            &mut inner,
            Accum::Replace,
            block.transpose(),
            block,
            1.0,
            par,
        );
        let factor = triangular_factor(&inner);
        let mut rest = product
            .rb_mut()
            .submatrix_mut(start, start, m - start, n - start);
        let mut projected = Mat::<f64>::zeros(width, n - start);
        matmul(
            &mut projected,
            Accum::Replace,
            block.transpose(),
            rest.rb(),
            1.0,
            par,
        );
        let mut transformed = Mat::<f64>::zeros(width, n - start);
        matmul(
            &mut transformed,
            Accum::Replace,
            &factor,
            &projected,
            1.0,
            par,
        );
        matmul(&mut rest, Accum::Add, block, &transformed, -1.0, par);
    }
    let stride = stride(n);
    let mut table = vec![[0; 2]; m * stride / 2];
    let product = product.rb();
    table
        .as_flattened_mut()
        .par_chunks_mut(stride)
        .enumerate()
        .for_each(|(row, out)| {
            for (column, bits) in out[..n].iter_mut().enumerate() {
                *bits = (product[(row, column)] as f32).to_bits();
            }
        });
    Ok(table)
}

/// The vectors v of the reflections I - v v^T (the factor 2 / v^T v is 1), one a column, row-major at
/// the [`pitch`], and the signs that make the diagonal of the triangular factor positive.
fn reflectors(key: Key) -> Result<(Vec<f64>, Vec<f64>)> {
    let [m, n] = key.tall;
    let tensor = Tensor::new("orthogonal", [m as u64, n as u64])?.with_stream_id(key.stream);
    let gaussian = Fill::new(&tensor, &Init::normal(0.0, 1.0), key.seed)?;
    let mut drawn = vec![0f32; m * n];
    super::fill_slice(&gaussian, &mut drawn)?;
    // Each column's sum runs down its rows, whatever the threads.
    let mut below = vec![0.0f64; n];
    below
        .par_chunks_mut(64)
        .enumerate()
        .for_each(|(part, sums)| {
            let first = part * 64;
            for row in first..m {
                let values = &drawn[row * n..][..n];
                for (sum, column) in sums.iter_mut().zip(first..row.min(n)) {
                    *sum += f64::from(values[column]) * f64::from(values[column]);
                }
            }
        });
    let (mut heads, mut factors, mut signs) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        let x = f64::from(drawn[i * n + i]);
        let norm = (x * x + below[i]).sqrt();
        let sign = if x >= 0.0 { 1.0 } else { -1.0 };
        // A vector of zeros (a normal number can be 0, and the last column of a square matrix has one)
        // is turned around.
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

/// T of `H_1 ... H_b = I - V T V^T`: the inverse of the upper triangle of V^T V with half of its
/// diagonal. (Puglisi, "Modification of the Householder method based on the compact WY
/// representation", 1992.)
fn triangular_factor(inner: &Mat<f64>) -> Mat<f64> {
    let b = inner.nrows();
    let mut factor = Mat::<f64>::zeros(b, b);
    for column in 0..b {
        for row in (0..=column).rev() {
            let mut sum = if row == column { 1.0 } else { 0.0 };
            for k in row + 1..=column {
                sum -= inner[(row, k)] * factor[(k, column)];
            }
            factor[(row, column)] = sum / (inner[(row, row)] / 2.0);
        }
    }
    factor
}
