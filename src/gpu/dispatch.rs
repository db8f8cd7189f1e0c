//! Cutting a fill into dispatches: what each one binds, and what it is told.
//!
//! A dispatch covers positions that lie in one binding (bindings have an aligned start and a
//! largest size) and that 32-bit arithmetic can reach. No bit depends on where the cuts are.

use crate::error::{Error, Result};
use crate::job::{Core, Job, Mask, OuterDimension};
use crate::kernel::LANES;
use crate::kernel::philox::{first_round, round_keys};
use crate::kernel::value::{FLOAT_EXPONENTS, power};
use crate::tensor::DType;

use super::raw::Limits;
use super::shader::{Entry, Variant, has_short_table};

/// Outer dimensions that one dispatch can cross: `MAX_DIMENSIONS` in `shaders/fill.wgsl`.
const MAX_DIMENSIONS: usize = 4;

/// Elements of one dispatch at most, and the size from which on a row or a dimension is not
/// divided by on the device, so that sums of positions and digits stay below 2^32.
pub(super) const MAX_DISPATCH: u64 = 1 << 30;

/// Blocks of an invocation that makes several: `RUN_BITS` of `shaders/fill_runs.wgsl`.
pub(super) const RUN: u64 = 4;

/// Bytes of a number that `shaders/fill_runs.wgsl` stores.
const RUN_STORE: u64 = 32;

/// Elements from which on the few at the end that fill no block, or no run, get a dispatch of their
/// own, so that the others can be stored a block at a time.
const WORTH_A_TAIL: u64 = 1 << 14;

/// Workgroups along one dimension of a grid: the WebGPU default of
/// `max_compute_workgroups_per_dimension`, which every device has. `GRID_WIDTH` in
/// `shaders/fill.wgsl`.
const GRID_WIDTH: u32 = 65_535;

/// `struct Fill` of `shaders/fill.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Request {
    keys: [[u32; 2]; 10],
    first_round: [u32; 4],
    stream: [u32; 2],
    base: [u32; 2],
    multiplier: u32,
    offset: i32,
    shift: u32,
    low: i32,
    high: i32,
    exponent: i32,
    power: f32,
    pub destination: u32,
    pub count: u32,
    first: u32,
    row_length: u32,
    blocks_per_row: u32,
    invocations: u32,
    pub first_workgroup: u32,
    dimensions: u32,
    columns: u32,
    pattern: [u32; 4],
    dimension: [[u32; 4]; MAX_DIMENSIONS],
}

impl Request {
    /// One that no invocation works for: its first workgroup is past all that there are.
    pub fn unused() -> Request {
        Request {
            first_workgroup: u32::MAX,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

/// One dispatch: the range of the buffer that it binds, and its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dispatch {
    pub variant: Variant,
    /// Bytes from the start of the buffer.
    pub binding_offset: u64,
    /// Bytes, a multiple of 4.
    pub binding_size: u64,
    pub request: Request,
    pub workgroups: u32,
    /// Another one than that of the dispatch before it in the same fill, if both write halves of
    /// one 32-bit word: run as one dispatch they would race.
    pub turn: bool,
}

/// The grid of a number of workgroups, or of a few more: those find that they have no work.
pub(super) fn grid(workgroups: u32) -> [u32; 2] {
    let width = workgroups.min(GRID_WIDTH);
    [width, workgroups.div_ceil(width)]
}

/// Refuses limits that a fill cannot be cut to.
pub(super) fn check(limits: Limits) -> Result<()> {
    let refuse = |detail| {
        Err(Error::Device {
            context: "cutting a fill into dispatches".into(),
            detail,
        })
    };
    let Limits {
        binding_size,
        binding_alignment,
        workgroup_size,
        exact_floats: _,
    } = limits;
    if binding_alignment == 0 || binding_alignment % 4 != 0 {
        return refuse(format!(
            "bindings aligned to {binding_alignment} bytes, but a multiple of 4 is needed"
        ));
    }
    // The start of a binding may lie almost one alignment before the first element.
    if binding_size % 4 != 0 || binding_size < 2 * binding_alignment {
        return refuse(format!(
            "bindings of {binding_size} bytes, but a multiple of 4 of at least {} is needed",
            2 * binding_alignment
        ));
    }
    if workgroup_size == 0 {
        return refuse("workgroups of no invocation".into());
    }
    Ok(())
}

/// Cuts a job whose elements go to `offset` (in elements) of a buffer. With `runs`, invocations make
/// several blocks where that fits: the device must have 64-bit integers and its table in a uniform
/// buffer.
pub(super) fn dispatches(
    job: &Job,
    positions: std::ops::Range<u64>,
    offset: u64,
    limits: Limits,
    runs: bool,
) -> impl Iterator<Item = Dispatch> + '_ {
    let mut position = positions.start;
    let origin = positions.start;
    let mut turn = false;
    std::iter::from_fn(move || {
        if position >= positions.end {
            return None;
        }
        let target = offset + (position - origin);
        let begins_in_a_word = !(target * job.dtype.size()).is_multiple_of(4);
        turn = position > origin && begins_in_a_word && !turn;
        let mut dispatch = next_dispatch(job, position..positions.end, target, limits, runs);
        dispatch.turn = turn;
        position += u64::from(dispatch.request.count);
        Some(dispatch)
    })
}

/// The dispatch for as much as possible of `positions`, from its start, to element `target` of
/// the buffer.
fn next_dispatch(
    job: &Job,
    positions: std::ops::Range<u64>,
    target: u64,
    limits: Limits,
    runs: bool,
) -> Dispatch {
    let size = job.dtype.size();
    let binding_offset = target * size / limits.binding_alignment * limits.binding_alignment;
    let destination = target - binding_offset / size;
    let fits = limits.binding_size / size - destination;
    let length = (positions.end - positions.start)
        .min(fits)
        .min(MAX_DISPATCH);

    let mut rows = Rows::new(job, positions.start, length);
    let sliced = rows.dimensions > 0;
    let whole = rows.blocks_line_up(destination) && limits.binding_alignment.is_multiple_of(16);
    // Batches move destinations by multiples of the alignment.
    let runs = runs
        && whole
        && has_short_table(job.core)
        && job.mask == Mask::None
        && limits.binding_alignment.is_multiple_of(RUN_STORE)
        && (destination * size).is_multiple_of(RUN_STORE);
    // All but a few at the end, if those are worth a dispatch.
    let all_of = |unit: u64| {
        let tail = rows.length % unit;
        (tail == 0 || rows.length >= WORTH_A_TAIL).then_some(rows.length - tail)
    };
    let in_runs = all_of(RUN * LANES).filter(|_| runs);
    let in_blocks = all_of(LANES).filter(|_| whole);
    let entry = if let Some(length) = in_runs {
        rows.length = length;
        match job.dtype {
            DType::F32 => Entry::Runs32,
            DType::F16 | DType::BF16 => Entry::Runs16,
        }
    } else if let Some(length) = in_blocks {
        rows.length = length;
        match job.dtype {
            DType::F32 => Entry::WholeBlocks32,
            DType::F16 | DType::BF16 => Entry::WholeBlocks16,
        }
    } else if job.dtype == DType::F32 || rows.words_line_up(destination) {
        Entry::Blocks
    } else {
        Entry::Words
    };
    let blocks_per_row = rows.blocks_per_row();
    let invocations = match entry {
        Entry::Runs32 | Entry::Runs16 => rows.length / (RUN * LANES),
        Entry::WholeBlocks32 | Entry::WholeBlocks16 => rows.length / LANES,
        Entry::Blocks => rows.touched() * blocks_per_row,
        Entry::Words => (destination + rows.length).div_ceil(2) - destination / 2,
    };
    let per_workgroup = match entry {
        Entry::WholeBlocks32 | Entry::WholeBlocks16 => 2 * u64::from(limits.workgroup_size),
        _ => u64::from(limits.workgroup_size),
    };
    let workgroups = invocations.div_ceil(per_workgroup) as u32;
    let scaling = job.scaling;
    let [low, high] = scaling.clamp.unwrap_or_default();
    let [c0, c1, c2] = first_round(job.stream, job.key);
    Dispatch {
        variant: Variant::new(job, entry, sliced, limits.exact_floats),
        binding_offset,
        binding_size: ((destination + rows.length) * size).next_multiple_of(4),
        request: Request {
            keys: round_keys(job.key),
            first_round: [c0, c1, c2, 0],
            stream: job.stream,
            base: [rows.base as u32, (rows.base >> 32) as u32],
            multiplier: scaling.multiplier,
            offset: match job.core {
                Core::Constant => job.constant as i32,
                _ => scaling.offset,
            },
            shift: scaling.shift,
            low,
            high,
            exponent: scaling.exponent,
            power: match FLOAT_EXPONENTS.contains(&scaling.exponent) {
                true => power(scaling.exponent),
                false => 0.0,
            },
            destination: destination as u32,
            count: rows.length as u32,
            first: rows.first as u32,
            row_length: rows.row_length as u32,
            blocks_per_row: blocks_per_row as u32,
            invocations: invocations as u32,
            first_workgroup: 0,
            dimensions: rows.dimensions as u32,
            columns: job.columns,
            pattern: job.pattern(),
            dimension: rows.dimension,
        },
        workgroups,
        turn: false,
    }
}

/// The rows that a dispatch crosses, in numbers that fit the device's arithmetic.
struct Rows {
    base: u64,
    row_length: u64,
    /// Position of the first element, counted from the start of its row.
    first: u64,
    /// Elements: what was asked for, or less.
    length: u64,
    dimensions: usize,
    dimension: [[u32; 4]; MAX_DIMENSIONS],
    /// All strides, or-ed: what they have in common below their lowest bit.
    strides: u64,
}

impl Rows {
    fn new(job: &Job, position: u64, length: u64) -> Rows {
        // A dispatch stays in one region.
        let (region, start) = job.regions.at(position);
        let position = position - start;
        let length = length.min(region.elements() - position);
        let row = position / region.row_length;
        let first = position % region.row_length;
        let rest_of_row = region.row_length - first;
        // One row, or a row too long to divide by: a run on its own.
        if length <= rest_of_row || region.row_length >= MAX_DISPATCH {
            let base = region.row_start(row) + first;
            let length = length.min(rest_of_row);
            return Rows {
                base,
                row_length: length,
                first: 0,
                length,
                dimensions: 0,
                dimension: Default::default(),
                strides: 0,
            };
        }
        let mut rows = Rows {
            base: region.base,
            row_length: region.row_length,
            first,
            length,
            dimensions: 0,
            dimension: Default::default(),
            strides: 0,
        };
        let mut row = row;
        // Positions from one digit of the current dimension to the next.
        let mut span = region.row_length;
        let mut open = true;
        for &OuterDimension { size, stride } in &region.outer {
            let digit = row % size;
            row /= size;
            if !open {
                rows.base += digit * stride;
                continue;
            }
            if size < MAX_DISPATCH && rows.dimensions < MAX_DIMENSIONS {
                rows.push(size as u32, digit as u32, stride);
                span *= size;
                continue;
            }
            // The last one that the device counts, or one too many: the dispatch ends where this
            // dimension, or the one inside it, would be carried out of.
            if rows.dimensions < MAX_DIMENSIONS {
                rows.push(u32::MAX, 0, stride);
                span = span.saturating_mul(size);
            }
            rows.base += digit * stride;
            rows.length = rows.length.min(span - position % span);
            open = false;
        }
        rows
    }

    fn push(&mut self, size: u32, digit: u32, stride: u64) {
        self.dimension[self.dimensions] = [size, digit, stride as u32, (stride >> 32) as u32];
        self.dimensions += 1;
        self.strides |= stride;
    }

    /// Rows that have an element in the dispatch.
    fn touched(&self) -> u64 {
        (self.first + self.length).div_ceil(self.row_length)
    }

    /// Blocks that a row touches at most, wherever in a block it starts.
    fn blocks_per_row(&self) -> u64 {
        let lead = if self.strides.is_multiple_of(LANES) {
            self.base % LANES
        } else {
            LANES - 1
        };
        (lead + self.row_length).div_ceil(LANES)
    }

    /// Whether each aligned group of four elements in the destination is one block.
    fn blocks_line_up(&self, destination: u64) -> bool {
        let rows = if self.dimensions == 0 {
            0
        } else {
            self.strides | self.row_length | self.first
        };
        (self.base | destination | rows).is_multiple_of(LANES)
    }

    /// Whether each 32-bit word of two 16-bit elements holds lanes 0 and 1 or 2 and 3 of one block,
    /// with the words at both ends of the dispatch excepted.
    fn words_line_up(&self, destination: u64) -> bool {
        if self.dimensions == 0 {
            return (self.base ^ destination) & 1 == 0;
        }
        let all_rows = self.base | self.strides | self.row_length | (self.first ^ destination);
        all_rows & 1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::Fill;
    use crate::init::Init;
    use crate::tensor::Tensor;

    /// Entry points and lengths of the dispatches of a fill to element `offset`.
    fn cut(init: &str, length: u64, dtype: DType, offset: u64) -> Vec<(Entry, u32)> {
        let tensor = Tensor::new("w", [1, length]).unwrap();
        let init: Init = init.parse().unwrap();
        let fill = Fill::new(&tensor, &init, 42).unwrap().with_dtype(dtype);
        let job = Job::new(&fill).unwrap();
        let made = dispatches(&job, 0..length, offset, Limits::default(), true);
        made.map(|made| (made.variant.entry, made.request.count))
            .collect()
    }

    #[test]
    fn runs_where_they_fit() {
        let normal = "normal(mean=0, std=1)";
        let f32 = |length, offset| cut(normal, length, DType::F32, offset);
        assert_eq!(f32(48, 8), [(Entry::Runs32, 48)]);
        // Neither a multiple of a run, nor worth a second dispatch.
        assert_eq!(f32(52, 8), [(Entry::WholeBlocks32, 52)]);
        assert_eq!(f32(50, 8), [(Entry::Blocks, 50)]);
        // Not where 32 bytes begin.
        assert_eq!(f32(48, 4), [(Entry::WholeBlocks32, 48)]);
        assert_eq!(f32(48, 1), [(Entry::Blocks, 48)]);
        let rest = f32((1 << 14) + 13, 0);
        assert_eq!(rest, [(Entry::Runs32, 1 << 14), (Entry::Blocks, 13)]);

        let bf16 = |offset| cut(normal, 48, DType::BF16, offset);
        assert_eq!(bf16(16), [(Entry::Runs16, 48)]);
        assert_eq!(bf16(8), [(Entry::WholeBlocks16, 48)]);

        let by_place = cut("sinusoidal", 48, DType::F32, 0);
        assert_eq!(by_place, [(Entry::WholeBlocks32, 48)]);
    }
}
