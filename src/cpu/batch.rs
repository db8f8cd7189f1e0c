//! The inner loop of the CPU fill: a run of contiguous elements.
//!
//! What is drawn from the stream alone is made on vector registers, by `simd`. What depends on the
//! place of an element is set here, one by one, in batches of binary32 that are packed at the end.

use crate::job::{Core, Job, Mask};
use crate::kernel::pattern::{
    angle, in_range, is_sparse_zero, matrix_place, on_diagonal, row_and_column, sine, sine_value,
};
use crate::kernel::value::{to_bf16, to_f16};
use crate::tensor::DType;

use super::simd::{self, Set};

/// Elements that are made at a time where their place counts.
const BATCH: usize = 256;

/// Fills `out` with the elements from index `element` of the whole tensor on.
pub(super) fn fill_run(set: Set, job: &Job, element: u64, out: &mut [u8]) {
    let placed = job.mask != Mask::None;
    match job.core {
        Core::Uniform | Core::Normal | Core::Quantile if !placed => {
            simd::draw(set, job, job.dtype, element, out);
        }
        _ => match job.dtype {
            DType::F32 => place_run(set, job, element, out, u32::to_le_bytes),
            DType::F16 => place_run(set, job, element, out, |bits| {
                (to_f16(bits) as u16).to_le_bytes()
            }),
            DType::BF16 => place_run(set, job, element, out, |bits| {
                (to_bf16(bits) as u16).to_le_bytes()
            }),
        },
    }
}

fn place_run<const SIZE: usize>(
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
            // Wholly a matter of place.
            Core::Sine | Core::Columns | Core::Matrix => {}
        }
        place(job, first, values);
        for (bytes, &bits) in part.iter_mut().zip(&*values) {
            *bytes = pack(bits);
        }
    }
}

/// Sets what depends on where an element stands.
fn place(job: &Job, first: u64, values: &mut [u32]) {
    let by_place = matches!(job.core, Core::Sine | Core::Columns);
    if job.mask == Mask::Range {
        let [start_low, start_high, end_low, end_high] = job.pattern.map(u64::from);
        let (start, end) = (start_low | start_high << 32, end_low | end_high << 32);
        for (element, value) in (first..).zip(&mut *values) {
            if in_range(element, start, end) {
                *value = 0;
            }
        }
    }
    if job.core == Core::Matrix {
        let matrix = job.table().as_flattened();
        for (element, value) in (first..).zip(&mut *values) {
            let at = matrix_place(element, job.columns, job.pattern);
            // Outside of the middle tap, and past the end of the tensor.
            *value = matrix.get(at as usize).copied().unwrap_or(0);
        }
        return;
    }
    if !by_place && matches!(job.mask, Mask::None | Mask::Range) {
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
            Mask::None | Mask::Range => false,
            Mask::Diagonal => !on_diagonal(row, column, job.pattern),
            Mask::Sparse => is_sparse_zero(row, column, job.pattern, job.stream, job.key),
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
