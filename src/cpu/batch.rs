//! The inner loop of the CPU fill: a run of contiguous elements, in batches of blocks laid out
//! lane by lane, so that the compiler can keep them in vector registers.

use crate::job::{Core, Job, Mask};
use crate::kernel::LANES;
use crate::kernel::box_muller::normal_pair;
use crate::kernel::pattern::{
    angle, in_range, is_sparse_zero, matrix_place, on_diagonal, row_and_column, sine,
};
use crate::kernel::philox::{counter, philox};
use crate::kernel::quantile::quantile;
use crate::kernel::scale::{add, clamp, scale, to_bf16, to_f16};
use crate::kernel::uniform::uniform;
use crate::tensor::DType;

/// Blocks that are made at a time.
const BLOCKS: usize = 64;
/// Elements of a batch.
const BATCH: usize = BLOCKS * LANES as usize;

/// Fills `out` with the elements from index `element` of the whole tensor on.
pub(super) fn fill_run(job: &Job, element: u64, out: &mut [u8]) {
    match job.dtype {
        DType::F32 => fill_run_as(job, element, out, u32::to_le_bytes),
        DType::F16 => fill_run_as(job, element, out, |bits| {
            (to_f16(bits) as u16).to_le_bytes()
        }),
        DType::BF16 => fill_run_as(job, element, out, |bits| {
            (to_bf16(bits) as u16).to_le_bytes()
        }),
    }
}

#[inline(always)]
fn fill_run_as<const SIZE: usize>(
    job: &Job,
    element: u64,
    out: &mut [u8],
    pack: impl Fn(u32) -> [u8; SIZE],
) {
    let (out, _) = out.as_chunks_mut::<SIZE>();
    let mut values = [0; BATCH];
    // A run may start inside a block, and a batch end inside one.
    let mut skip = (element % LANES) as usize;
    let mut block = element / LANES;
    let mut rest = out;
    while !rest.is_empty() {
        let length = rest.len().min(BATCH - skip);
        let (part, after) = rest.split_at_mut(length);
        let blocks = (skip + length).div_ceil(LANES as usize);
        fill_batch(job, block, blocks, &mut values);
        for (bytes, &bits) in part.iter_mut().zip(&values[skip..]) {
            *bytes = pack(bits);
        }
        rest = after;
        block += BLOCKS as u64;
        skip = 0;
    }
}

/// The binary32 bits of the elements of `blocks` blocks (or more: whole batches are not cut) from
/// `block` on.
fn fill_batch(job: &Job, block: u64, blocks: usize, values: &mut [u32; BATCH]) {
    match job.core {
        Core::Constant => values.fill(job.mean),
        Core::Uniform | Core::Normal | Core::Quantile => draw_batch(job, block, blocks, values),
        Core::Sine | Core::Columns | Core::Matrix => {}
    }
    let elements = &mut values[..blocks * LANES as usize];
    place(job, block * LANES, elements);
}

/// What the words make of the elements.
fn draw_batch(job: &Job, block: u64, blocks: usize, values: &mut [u32; BATCH]) {
    // Short runs (narrow slices, biases) pay for the blocks that they touch.
    if blocks == BLOCKS {
        fill_blocks::<BLOCKS>(job, block, values);
    } else {
        for (i, part) in values
            .chunks_exact_mut(LANES as usize)
            .take(blocks)
            .enumerate()
        {
            fill_blocks::<1>(job, block + i as u64, part);
        }
    }
}

#[inline(always)]
fn fill_blocks<const N: usize>(job: &Job, block: u64, values: &mut [u32]) {
    let mut lanes = [[0; N]; LANES as usize];
    for i in 0..N {
        let words = philox(counter(block + i as u64, 0, job.stream), job.key);
        for (lane, word) in lanes.iter_mut().zip(words) {
            lane[i] = word;
        }
    }
    match job.core {
        Core::Constant | Core::Sine | Core::Columns | Core::Matrix => {}
        Core::Quantile => {
            let table = job.table();
            for word in lanes.as_flattened_mut() {
                *word = quantile(*word, table);
            }
        }
        Core::Uniform => {
            for word in lanes.as_flattened_mut() {
                *word = uniform(*word);
            }
        }
        Core::Normal => {
            let (front, back) = lanes.split_at_mut(2);
            for pair in [front, back] {
                let [even, odd] = pair else { continue };
                for i in 0..N {
                    (even[i], odd[i]) = normal_pair(even[i], odd[i]);
                }
            }
        }
    }
    finish(job, lanes.as_flattened_mut());
    for (i, block) in values.chunks_exact_mut(LANES as usize).enumerate().take(N) {
        for (value, lane) in block.iter_mut().zip(&lanes) {
            *value = lane[i];
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
                let core = sine(angle(row, job.table()[column as usize]));
                *value = scale(core, job.scale.mantissa, job.scale.exponent);
            }
            Core::Columns => *value = job.table()[column as usize][0],
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

/// From cores to the binary32 bits of values, in place.
#[inline(always)]
fn finish(job: &Job, cores: &mut [u32]) {
    for core in &mut *cores {
        *core = scale(*core, job.scale.mantissa, job.scale.exponent);
    }
    if job.shifted() {
        for value in &mut *cores {
            *value = add(*value, job.mean);
        }
    }
    if let Some([low, high]) = job.clamp {
        for value in &mut *cores {
            *value = clamp(*value, low, high);
        }
    }
}
