//! The cuts of a fill into chunks, which a dispatch can fill each.
//!
//! A chunk lies in one binding, which has an aligned start and a largest size, and its positions fit
//! 32-bit arithmetic. No bit depends on the cuts.

use crate::job::{Core, Job, Jobs, Mask, OuterDimension, Piece};
use crate::kernel::LANES;
use crate::kernel::philox::{first_round, round_keys};
use crate::kernel::value::{FLOAT_EXPONENTS, power};
use crate::tensor::DType;

use super::limits::Limits;
use super::shader::{EntryPoint, Variant, has_short_table};

/// Outer dimensions that one chunk can cross: `MAX_DIMENSIONS` in `shaders/fill.wgsl`.
const MAX_DIMENSIONS: usize = 4;

/// The most elements of a chunk. The device never divides by a row or dimension of this size or more,
/// so that sums of positions and indices stay below 2^32.
pub(super) const MAX_CHUNK: u64 = 1 << 30;

/// Blocks of an invocation that makes a run of them: `RUN_BITS` of `shaders/fill_runs.wgsl`.
pub(super) const RUN: u64 = 4;

/// Bytes that `shaders/fill_runs.wgsl` stores at a time.
const RUN_STORE: u64 = 32;

/// A chunk of at least this many elements leaves the last few, which do not fill a block or run, to a
/// chunk of their own, so that the others can be stored a block at a time.
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
    /// Returns a request without work: its first workgroup is past the last one.
    pub fn unused() -> Request {
        Request {
            first_workgroup: u32::MAX,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

/// A part of a fill that one dispatch can make: its binding and its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub variant: Variant,
    /// Bytes from the start of the buffer.
    pub binding_offset: u64,
    /// Bytes, a multiple of 4.
    pub binding_size: u64,
    pub request: Request,
    pub workgroups: u32,
    /// Differs from the turn of the chunk before it in the same fill if both write halves of one
    /// 32-bit word. Chunks of different turns go to different dispatches, which avoids a race.
    pub turn: bool,
}

/// Returns a grid of at least `workgroups` workgroups. The shader gives surplus ones no work.
pub(super) fn grid(workgroups: u32) -> [u32; 2] {
    let width = workgroups.min(GRID_WIDTH);
    [width, workgroups.div_ceil(width)]
}

/// Returns the pieces of a fill whose elements go to `offset` (in elements) of a buffer, each with a turn.
/// The turn differs from that of the piece before it if both write halves of one 32-bit word.
pub(super) fn pieces(
    jobs: &Jobs,
    positions: std::ops::Range<u64>,
    offset: u64,
) -> impl Iterator<Item = (Piece, bool)> + '_ {
    let size = jobs.all()[0].job.dtype.size();
    let origin = positions.start;
    let mut turn = false;
    jobs.pieces(positions).map(move |mut piece| {
        piece.at = offset + (piece.at - origin);
        let begins_in_a_word = !(piece.at * size).is_multiple_of(4);
        turn = piece.at > offset && begins_in_a_word && !turn;
        (piece, turn)
    })
}

/// Cuts a job whose elements go to `offset` (in elements) of a buffer. With `runs`, an invocation
/// makes several blocks if the alignment allows it: the device must have 64-bit integers and its
/// table in a uniform buffer.
pub(super) fn chunks(
    job: &Job,
    positions: std::ops::Range<u64>,
    offset: u64,
    limits: Limits,
    runs: bool,
) -> impl Iterator<Item = Chunk> + '_ {
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
        let mut chunk = next_chunk(job, position..positions.end, target, limits, runs);
        chunk.turn = turn;
        position += u64::from(chunk.request.count);
        Some(chunk)
    })
}

/// Returns the longest possible chunk from the start of `positions` on, to element `target` of the
/// buffer.
fn next_chunk(
    job: &Job,
    positions: std::ops::Range<u64>,
    target: u64,
    limits: Limits,
    runs: bool,
) -> Chunk {
    let size = job.dtype.size();
    // The alignment is a multiple of 4 bytes, and so of an element: the divisions by `size` are exact.
    let binding_offset = target * size / limits.binding_alignment * limits.binding_alignment;
    let destination = target - binding_offset / size;
    // At least one element, because `Limits::check` requires room for two alignments.
    let fits = limits.binding_size / size - destination;
    let length = (positions.end - positions.start).min(fits).min(MAX_CHUNK);

    let mut rows = RowSpan::new(job, positions.start, length);
    let sliced = rows.dimensions > 0;
    let whole = rows.blocks_line_up(destination) && limits.binding_alignment.is_multiple_of(16);
    // A batch moves the destination by a multiple of the binding alignment, so that must keep the
    // alignment of runs.
    let runs = runs
        && whole
        && has_short_table(job.core)
        && job.mask == Mask::None
        && limits.binding_alignment.is_multiple_of(RUN_STORE)
        && (destination * size).is_multiple_of(RUN_STORE);
    // The length in whole units, if nothing is left over or the chunk is long enough for a second one.
    let all_of = |unit: u64| {
        let tail = rows.length % unit;
        (tail == 0 || rows.length >= WORTH_A_TAIL).then_some(rows.length - tail)
    };
    let in_runs = all_of(RUN * LANES).filter(|_| runs);
    let in_blocks = all_of(LANES).filter(|_| whole);
    let entry = if let Some(length) = in_runs {
        rows.length = length;
        match job.dtype {
            DType::F32 => EntryPoint::Runs32,
            _ => EntryPoint::Runs16,
        }
    } else if let Some(length) = in_blocks {
        rows.length = length;
        match job.dtype {
            DType::F32 => EntryPoint::WholeBlocks32,
            _ => EntryPoint::WholeBlocks16,
        }
    } else if job.dtype == DType::F32 || rows.words_line_up(destination) {
        EntryPoint::Blocks
    } else {
        EntryPoint::Words
    };
    let blocks_per_row = rows.blocks_per_row();
    let invocations = match entry {
        EntryPoint::Runs32 | EntryPoint::Runs16 => rows.length / (RUN * LANES),
        EntryPoint::WholeBlocks32 | EntryPoint::WholeBlocks16 => rows.length / LANES,
        // No row touches more blocks than it has elements, so the product fits 32 bits.
        EntryPoint::Blocks => rows.touched() * blocks_per_row,
        EntryPoint::Words => (destination + rows.length).div_ceil(2) - destination / 2,
    };
    let per_workgroup = match entry {
        // An invocation makes two blocks, and `invocations` counts blocks here.
        EntryPoint::WholeBlocks32 | EntryPoint::WholeBlocks16 => {
            2 * u64::from(limits.workgroup_size)
        }
        _ => u64::from(limits.workgroup_size),
    };
    let workgroups = invocations.div_ceil(per_workgroup) as u32;
    let scaling = job.scaling;
    let [low, high] = scaling.clamp.unwrap_or_default();
    let [c0, c1, c2] = first_round(job.stream, job.key);
    Chunk {
        variant: Variant::new(job, entry, sliced, limits.exact_floats),
        binding_offset,
        // Stores are whole words, so the last one is bound whole.
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
            // The shader does not read it for other exponents: their values are made in integers.
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

/// The rows that a chunk crosses, in numbers that fit the device's arithmetic.
struct RowSpan {
    base: u64,
    row_length: u64,
    /// Position of the first element, counted from the start of its row.
    first: u64,
    /// Elements, as many as asked for or fewer.
    length: u64,
    dimensions: usize,
    dimension: [[u32; 4]; MAX_DIMENSIONS],
    /// The bitwise or of all strides: its trailing zeros are those that all of them share.
    strides: u64,
}

impl RowSpan {
    fn new(job: &Job, position: u64, length: u64) -> RowSpan {
        // A chunk stays in one region.
        let (region, start) = job.regions.at(position);
        let position = position - start;
        let length = length.min(region.elements() - position);
        let row = position / region.row_length;
        let first = position % region.row_length;
        let rest_of_row = region.row_length - first;
        // A part of one row, or of a row too long for the device to divide by.
        if length <= rest_of_row || region.row_length >= MAX_CHUNK {
            let base = region.row_start(row) + first;
            let length = length.min(rest_of_row);
            return RowSpan {
                base,
                row_length: length,
                first: 0,
                length,
                dimensions: 0,
                dimension: Default::default(),
                strides: 0,
            };
        }
        let mut rows = RowSpan {
            base: region.base,
            row_length: region.row_length,
            first,
            length,
            dimensions: 0,
            dimension: Default::default(),
            strides: 0,
        };
        let mut row = row;
        // Positions from one index of the current dimension to the next.
        let mut span = region.row_length;
        let mut open = true;
        for &OuterDimension { size, stride } in &region.outer {
            let index = row % size;
            row /= size;
            if !open {
                // The chunk does not cross this dimension, so its index is the same for all elements.
                rows.base += index * stride;
                continue;
            }
            if size < MAX_CHUNK && rows.dimensions < MAX_DIMENSIONS {
                // The device counts on from this index, with a carry into the next dimension.
                rows.push(size as u32, index as u32, stride);
                span *= size;
                continue;
            }
            // The dimension is too long for the device to divide by, or there are too many: the
            // chunk ends before the first index that the device cannot carry to.
            if rows.dimensions < MAX_DIMENSIONS {
                // No index reaches this size, so the device never carries out of this dimension.
                rows.push(u32::MAX, 0, stride);
                span = span.saturating_mul(size);
            }
            rows.base += index * stride;
            rows.length = rows.length.min(span - position % span);
            open = false;
        }
        rows
    }

    fn push(&mut self, size: u32, index: u32, stride: u64) {
        self.dimension[self.dimensions] = [size, index, stride as u32, (stride >> 32) as u32];
        self.dimensions += 1;
        self.strides |= stride;
    }

    /// RowSpan that have an element in the dispatch.
    fn touched(&self) -> u64 {
        (self.first + self.length).div_ceil(self.row_length)
    }

    /// Returns the most blocks that a row touches, for every start of a row within a block.
    fn blocks_per_row(&self) -> u64 {
        // If strides are whole blocks, every row starts in the same lane as the base.
        let lead = if self.strides.is_multiple_of(LANES) {
            self.base % LANES
        } else {
            LANES - 1
        };
        (lead + self.row_length).div_ceil(LANES)
    }

    /// Returns whether each aligned group of four elements in the destination is one block.
    fn blocks_line_up(&self, destination: u64) -> bool {
        let rows = if self.dimensions == 0 {
            0
        } else {
            self.strides | self.row_length | self.first
        };
        (self.base | destination | rows).is_multiple_of(LANES)
    }

    /// Returns whether each 32-bit word of two 16-bit elements holds lanes 0 and 1 or 2 and 3 of one
    /// block. The words at both ends of the chunk do not count.
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

    /// EntryPoint points and lengths of the dispatches of a fill to element `offset`.
    fn cut(init: &str, length: u64, dtype: DType, offset: u64) -> Vec<(EntryPoint, u32)> {
        let tensor = Tensor::new("w", [1, length]).unwrap();
        let init: Init = init.parse().unwrap();
        let fill = Fill::new(&tensor, &init, 42).unwrap().with_dtype(dtype);
        let job = Job::new(&fill).unwrap();
        let made = chunks(&job, 0..length, offset, Limits::default(), true);
        made.map(|made| (made.variant.entry, made.request.count))
            .collect()
    }

    #[test]
    fn runs_where_they_fit() {
        let normal = "normal(mean=0, std=1)";
        let f32 = |length, offset| cut(normal, length, DType::F32, offset);
        assert_eq!(f32(48, 8), [(EntryPoint::Runs32, 48)]);
        // Neither a multiple of a run, nor worth a second chunk.
        assert_eq!(f32(52, 8), [(EntryPoint::WholeBlocks32, 52)]);
        assert_eq!(f32(50, 8), [(EntryPoint::Blocks, 50)]);
        // Not aligned to 32 bytes.
        assert_eq!(f32(48, 4), [(EntryPoint::WholeBlocks32, 48)]);
        assert_eq!(f32(48, 1), [(EntryPoint::Blocks, 48)]);
        let rest = f32((1 << 14) + 13, 0);
        assert_eq!(
            rest,
            [(EntryPoint::Runs32, 1 << 14), (EntryPoint::Blocks, 13)]
        );

        let bf16 = |offset| cut(normal, 48, DType::BF16, offset);
        assert_eq!(bf16(16), [(EntryPoint::Runs16, 48)]);
        assert_eq!(bf16(8), [(EntryPoint::WholeBlocks16, 48)]);

        let by_place = cut("sinusoidal", 48, DType::F32, 0);
        assert_eq!(by_place, [(EntryPoint::WholeBlocks32, 48)]);
    }
}
