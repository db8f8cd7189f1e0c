//! The fill, written once for all instruction sets.

use pulp::NullaryFnOnce;

use crate::init::Scaling;
use crate::job::Core;
use crate::kernel::LANES;
use crate::kernel::curve::ENTRIES;
use crate::tensor::DType;

use super::draw::Draw;
use super::isa::{Isa, Order, Registers};
use super::philox::{PhiloxStart, philox};
use super::source::{NormalSource, NumberSource, QuantileSource, UniformSource};
use super::twice::Twice;

/// The bytes of one step of any instruction set: what a short run is cut from.
const STEP_BYTES: usize = 128;
/// Bytes from the store to the prefetched address: a page, whose translation takes the longest.
const AHEAD: usize = 4096;
/// Steps that are made in two stages.
const STAGE: usize = 8;

/// A fill for one instruction set: what the call inlines is compiled for it.
pub(super) struct Run<'a, F> {
    pub isa: F,
    pub draw: Draw<'a>,
    pub element: u64,
    pub out: &'a mut [u8],
}

impl<F: Isa> NullaryFnOnce for Run<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        fill(self.isa, self.draw, self.element, self.out);
    }
}

/// The whole fill, for one instruction set: called where the compiler may use its instructions.
///
/// All below it is inlined into it, and written without closures that might not be: a function on
/// its own would lack those instructions.
#[inline(always)]
fn fill<F: Isa>(isa: F, draw: Draw<'_>, element: u64, out: &mut [u8]) {
    let scaling = draw.scaling;
    match draw.job.core {
        Core::Uniform => fill_with(isa, draw, element, out, UniformSource { scaling }),
        Core::Normal => {
            let (radii, circle) = draw.job.table().split_at(ENTRIES);
            if let (Some(radii), Some(circle)) = (radii.first_chunk(), circle.first_chunk()) {
                let normal = NormalSource {
                    radii,
                    circle,
                    scaling,
                };
                fill_with(isa, draw, element, out, normal);
            }
        }
        Core::Quantile => {
            if let Some(table) = draw.job.table().first_chunk() {
                fill_with(isa, draw, element, out, QuantileSource { table, scaling });
            }
        }
        // Nothing is drawn.
        Core::Constant | Core::Sine | Core::Columns | Core::Matrix => {}
    }
}

/// Goes through the blocks of a run, whose ends may lie inside a block.
///
/// In two stages, for some steps at a time: words and indices first, then what becomes of them.
/// Indices are loaded one by one, and a load of what was stored a moment ago waits; the rounds of
/// Philox wait for each other, and four chains of them side by side keep the multipliers at work.
#[inline(always)]
fn fill_with<I: Isa, S: NumberSource>(
    isa: I,
    draw: Draw<'_>,
    element: u64,
    out: &mut [u8],
    source: S,
) {
    let size = draw.dtype.size() as usize;
    let step = I::BLOCKS * LANES as usize * size;
    let mut skip = (element % LANES) as usize * size;
    let mut block = element / LANES;
    let mut start = PhiloxStart::new(draw, (block >> 32) as u32);
    let mut rest = out;
    let mut whole = [0; STEP_BYTES];
    let four = Twice(Twice(isa));
    let order = match draw.dtype {
        DType::BF16 => Order::Pairs,
        _ => Order::EvenFirst,
    };
    let none = source.ready(isa, [isa.splat(0); 2]);
    let mut stage = [none; STAGE];
    while !rest.is_empty() {
        // Where the upper word of the block number changes, a stage ends before its time.
        let before_carry = (1 << 32) - (block & 0xffff_ffff);
        let blocks = ((STAGE * I::BLOCKS) as u64).min(before_carry);
        let length = rest
            .len()
            .min(blocks as usize * LANES as usize * size - skip);
        let (bytes, after) = rest.split_at_mut(length);
        let steps = (skip + length).div_ceil(step);
        if steps == 1 {
            let words = philox(isa, draw, start, isa.blocks(block as u32, order));
            stage[0] = source.ready(isa, words);
        }
        for (i, ready) in stage.chunks_exact_mut(4).enumerate() {
            if steps == 1 || 4 * i >= steps {
                break;
            }
            let first = (block as u32).wrapping_add((4 * i * I::BLOCKS) as u32);
            let [front, back] = philox(four, draw, start, four.blocks(first, order));
            ready[0] = source.ready(isa, [front[0][0], back[0][0]]);
            ready[1] = source.ready(isa, [front[0][1], back[0][1]]);
            ready[2] = source.ready(isa, [front[1][0], back[1][0]]);
            ready[3] = source.ready(isa, [front[1][1], back[1][1]]);
        }
        let ready = std::hint::black_box(&stage);
        let mut bytes = bytes;
        for (i, ready) in ready[..steps].iter().enumerate() {
            if let Some(byte) = after.get(AHEAD + i * step) {
                isa.prefetch(byte);
            }
            let length = bytes.len().min(step - skip);
            let (part, after) = std::mem::take(&mut bytes).split_at_mut(length);
            let numbers = source.numbers(isa, ready);
            if length == step {
                finish(isa, draw, numbers, part);
            } else {
                finish(isa, draw, numbers, &mut whole[..step]);
                part.copy_from_slice(&whole[skip..skip + length]);
            }
            bytes = after;
            skip = 0;
        }
        rest = after;
        block += blocks;
        if block & 0xffff_ffff == 0 {
            start = PhiloxStart::new(draw, (block >> 32) as u32);
        }
    }
}

/// From whole numbers to stored bytes, `4 * BLOCKS` elements.
#[inline(always)]
fn finish<I: Isa>(isa: I, draw: Draw<'_>, numbers: [[I::V; 2]; 2], out: &mut [u8]) {
    let [front, back] = numbers;
    let scaling = draw.scaling;
    if draw.dtype == DType::BF16 {
        // Neighbours in memory come in the same lane of two registers, and go into one.
        let [front, back] = [
            isa.pack_upper(front[0], front[1]),
            isa.pack_upper(back[0], back[1]),
        ];
        let numbers = bounded(isa, scaling, [front, back]);
        isa.store(isa.values_bf16(numbers, scaling.exponent), out);
        return;
    }
    let [even, odd] = [
        isa.zip_upper(front[0], back[0]),
        isa.zip_upper(front[1], back[1]),
    ];
    let [even, odd] = bounded(isa, scaling, [even, odd]);
    let even = isa.values(even, scaling.exponent);
    let odd = isa.values(odd, scaling.exponent);
    if draw.dtype == DType::F16 {
        isa.store(isa.narrow([isa.to_f16(even), isa.to_f16(odd)]), out);
    } else {
        let (first, second) = out.split_at_mut(out.len() / 2);
        isa.store(even, first);
        isa.store(odd, second);
    }
}

/// Numbers shifted and held within bounds.
#[inline(always)]
fn bounded<I: Isa>(isa: I, scaling: Scaling, numbers: [I::V; 2]) -> [I::V; 2] {
    let [mut a, mut b] = numbers;
    if scaling.shift > 0 {
        let half = isa.splat(1 << (scaling.shift - 1));
        let offset = isa.splat(scaling.offset as u32);
        a = isa.add(isa.shr_s_by(isa.add(a, half), scaling.shift), offset);
        b = isa.add(isa.shr_s_by(isa.add(b, half), scaling.shift), offset);
    }
    if let Some([low, high]) = scaling.clamp {
        let [low, high] = [isa.splat(low as u32), isa.splat(high as u32)];
        a = isa.min_s(isa.max_s(a, low), high);
        b = isa.min_s(isa.max_s(b, low), high);
    }
    [a, b]
}
