//! The loops of the CPU fill.
//!
//! Values that depend only on the stream are made on vector registers, by `simd`. Values that depend
//! on the row and column are set here, one by one, in batches of binary32 that are packed at the
//! end.

use rayon::prelude::*;

use crate::job::{Core, Job, Jobs, Mask};
use crate::kernel::pattern::{
    angle, in_lower_triangle, in_range, is_sparse_zero, matrix_place, on_diagonal, row_and_column,
    sine, sine_value,
};
use crate::kernel::value::{to_bf16, to_f16};
use crate::tensor::DType;

use super::simd::{self, Set};

/// Bytes that one task fills: enough to hide rayon's overhead, few enough to balance the cores.
const TASK_BYTES: usize = 1 << 18;

/// Elements of a batch: its binary32 numbers stay in the first-level cache.
const BATCH: usize = 256;

/// Fills `out` with the elements of a fill's jobs from position `start` on, as little-endian bytes.
pub(super) fn fill_jobs(jobs: &Jobs, start: u64, out: &mut [u8]) {
    let size = jobs.all()[0].job.dtype.size();
    let set = Set::best();
    let task_elements = TASK_BYTES as u64 / size;
    out.par_chunks_mut(TASK_BYTES)
        .enumerate()
        .for_each(|(task, mut part)| {
            let first = start + task as u64 * task_elements;
            let last = first + part.len() as u64 / size;
            for piece in jobs.pieces(first..last) {
                let job = &jobs.all()[piece.owner].job;
                for (element, length) in job.regions.runs(piece.start..piece.start + piece.length) {
                    let (run, rest) = part.split_at_mut((length * size) as usize);
                    fill_run(set, job, element, run);
                    part = rest;
                }
            }
        });
}

/// Fills `out` with the elements from index `element` of the whole tensor on.
fn fill_run(set: Set, job: &Job, element: u64, out: &mut [u8]) {
    let Some(stored) = job.stored else {
        return fill_packed(set, job, job.dtype, element, out);
    };
    let size = job.dtype.size() as usize;
    let mut values = [0; 4 * BATCH];
    for (first, part) in (element..).step_by(BATCH).zip(out.chunks_mut(BATCH * size)) {
        let values = &mut values[..4 * (part.len() / size)];
        fill_packed(set, job, DType::F32, first, values);
        stored.convert(values, part);
    }
}

/// Fills `out` in a dtype that the kernels pack.
fn fill_packed(set: Set, job: &Job, dtype: DType, element: u64, out: &mut [u8]) {
    match job.core {
        Core::Uniform | Core::Normal | Core::Quantile if job.mask == Mask::None => {
            simd::draw(set, job, dtype, element, out);
        }
        _ => match dtype {
            DType::F16 => fill_batches(set, job, element, out, |bits| {
                (to_f16(bits) as u16).to_le_bytes()
            }),
            DType::BF16 => fill_batches(set, job, element, out, |bits| {
                (to_bf16(bits) as u16).to_le_bytes()
            }),
            _ => fill_batches(set, job, element, out, u32::to_le_bytes),
        },
    }
}

/// Fills `out` in batches of binary32 numbers, which `pack` turns into elements.
fn fill_batches<const SIZE: usize>(
    set: Set,
    job: &Job,
    element: u64,
    out: &mut [u8],
    pack: impl Fn(u32) -> [u8; SIZE],
) {
    let (out, _) = out.as_chunks_mut::<SIZE>();
    if job.core == Core::Constant && job.mask == Mask::None {
        out.fill(pack(job.constant));
        return;
    }
    let mut bytes = [0; 4 * BATCH];
    let mut values = [0; BATCH];
    for (first, part) in (element..).step_by(BATCH).zip(out.chunks_mut(BATCH)) {
        let values = &mut values[..part.len()];
        match job.core {
            Core::Constant => values.fill(job.constant),
            Core::Uniform | Core::Normal | Core::Quantile => {
                let bytes = &mut bytes[..4 * part.len()];
                simd::draw(set, job, DType::F32, first, bytes);
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = u32::from_le_bytes(*bytes);
                }
            }
            // `apply_pattern` sets all of these.
            Core::Sine | Core::Columns | Core::Matrix => {}
        }
        apply_pattern(job, first, values);
        for (bytes, &bits) in part.iter_mut().zip(&*values) {
            *bytes = pack(bits);
        }
    }
}

/// Sets the values that depend on the element's index, row or column.
fn apply_pattern(job: &Job, first: u64, values: &mut [u32]) {
    let pattern = job.pattern();
    if let Mask::Range { start, end } = job.mask {
        for (element, value) in (first..).zip(&mut *values) {
            if in_range(element, start, end) {
                *value = 0;
            }
        }
    }
    if job.core == Core::Matrix {
        let matrix = job.table().as_flattened();
        for (element, value) in (first..).zip(&mut *values) {
            let at = matrix_place(element, job.columns, pattern);
            // Elements outside the middle tap have no place in the matrix.
            *value = matrix.get(at as usize).copied().unwrap_or(0);
        }
        return;
    }
    let by_column = matches!(job.core, Core::Sine | Core::Columns);
    if !by_column && matches!(job.mask, Mask::None | Mask::Range { .. }) {
        return;
    }
    let (row, mut column) = row_and_column(first, job.columns);
    let mut row = row as u32;
    for value in values {
        match job.core {
            Core::Sine => {
                let [frequency, phase] = [0, 1].map(|i| job.table()[2 * column as usize + i]);
                *value = sine_value(sine(angle(row, frequency, phase[0])));
            }
            Core::Columns => *value = job.table().as_flattened()[column as usize],
            _ => {}
        }
        let masked = match job.mask {
            Mask::None | Mask::Range { .. } => false,
            Mask::Diagonal { .. } => !on_diagonal(row, column, pattern),
            Mask::Lower { .. } => !in_lower_triangle(row, column, pattern),
            Mask::Sparse { .. } => is_sparse_zero(row, column, pattern, job.stream, job.key),
        };
        if masked {
            *value = 0;
        }
        column += 1;
        if column == job.columns {
            column = 0;
            row = row.wrapping_add(1);
        }
    }
}
