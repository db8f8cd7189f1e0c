//! The drawn elements on vector registers: one kernel, written over [`Isa`], and an implementation
//! of that trait for each instruction set, chosen when the program runs.
//!
//! The kernel is the third spelling of the stream, after `src/kernel/` and `shaders/`, shaped for
//! registers. *Packed*, each 32-bit lane holds a number of its own. *Wide*, each 64-bit lane holds
//! one in its low half, and the upper half is ignored: multiplies of 64 bits take their operands
//! so, without shuffling. A packed register is two wide ones, its even lanes and its odd lanes.
//! Words of two blocks i and j come packed in groups of four lanes, as x0 of i, x0 of j, x2 of i, x2
//! of j, and x1 and x3 alike. Both pairs of Box-Muller are made side by side so, and even lanes hold
//! whole blocks i, odd lanes whole blocks j: what is made of them is stored without reordering.
//!
//! The crate `pulp` gives the instructions as safe functions of a token that only exists where the
//! processor has them. Its own portable vectors lack what this kernel lives on (widening multiplies
//! of every second lane, sums of 16-bit products), so the trait is implemented for each.

mod portable;
mod twice;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::sync::OnceLock;

use pulp::NullaryFnOnce;

use crate::init::Scaling;
use crate::job::{Core, Job};
use crate::kernel::LANES;
use crate::kernel::box_muller::POINTS;
use crate::kernel::curve::ENTRIES;
use crate::kernel::philox::{MULTIPLIER, round_keys};
use crate::kernel::value::power;
use crate::tensor::DType;

use twice::Twice;

/// The bytes of one step of any instruction set: what a short run is cut from.
const STEP_BYTES: usize = 128;
/// Bytes from the store to the prefetched address: a page, whose translation takes the longest.
const AHEAD: usize = 4096;
/// Steps that are made in two stages.
const STAGE: usize = 8;

/// The instructions of the generator, which is made [`Twice`] side by side: its rounds are a chain,
/// in which each instruction waits for the one before. Registers have `2 * BLOCKS` lanes.
///
/// A function with `u` in its name treats lanes as unsigned, with `s` as signed numbers; lanes are
/// of 32 bits, in functions whose name ends in 64 of 64 bits.
trait Registers: Copy {
    /// Blocks of the stream that are made at a time.
    const BLOCKS: usize;
    /// Whether [`philox`] takes the keys of rounds two by two, see [`Start::joint`]: 6 instructions
    /// fewer of 70, 7 % of the time of a normal with AVX2. Not for AVX-512, where an exclusive or of
    /// three registers is one instruction, nor for `Portable`, which took 2.3 x the time.
    const JOINT_KEYS: bool = false;
    /// A register.
    type V: Copy;

    /// The numbers of the blocks from `first` on, wide.
    fn blocks(self, first: u32, order: Order) -> Self::V;
    fn splat(self, number: u32) -> Self::V;
    fn splat64(self, number: u64) -> Self::V;
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// Whole products of wide numbers.
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V;
    /// The upper halves of wide lanes, wide.
    fn upper(self, a: Self::V) -> Self::V;
    /// Two wide registers as one: two lanes of the first, then two of the second, in each 128 bits.
    fn pack(self, a: Self::V, b: Self::V) -> Self::V;
    /// The same of their upper halves.
    fn pack_upper(self, a: Self::V, b: Self::V) -> Self::V;
}

/// The order of the blocks in a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Each 128 bits hold two that follow each other.
    Pairs,
    /// Even wide lanes hold the first half of the blocks, odd ones the second.
    EvenFirst,
}

/// An instruction set. What has a body here is overridden where one instruction does it.
trait Isa: Registers {
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lower 32 bits of products.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V;
    /// By a number of bits that is known when the program runs.
    fn shr_s_by(self, a: Self::V, bits: u32) -> Self::V;
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V;
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V;
    fn add64(self, a: Self::V, b: Self::V) -> Self::V;
    /// Whole products of wide numbers.
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lower and the upper words of a table's entries for packed indices mod N.
    fn entries<const N: usize>(self, table: &[[u32; 2]; N], indices: &Self::V) -> [Self::V; 2];
    /// binary32 bits of signed numbers, to nearest.
    fn convert(self, a: Self::V) -> Self::V;
    /// Sums of binary32 numbers, to nearest.
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V;
    /// Products of binary32 numbers.
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V;
    /// The upper halves of two registers, in turns.
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V;
    /// Two registers of numbers below 2^16 as one of 16-bit lanes.
    fn narrow(self, a: [Self::V; 2]) -> Self::V;
    fn store(self, a: Self::V, out: &mut [u8]);
    /// Tells the processor that a byte will be written soon.
    fn prefetch(self, byte: &u8);

    /// Sums of the products of both signed halves of lanes.
    #[inline(always)]
    fn mul16_sum(self, a: Self::V, b: Self::V) -> Self::V {
        let low = self.mul(
            self.shr_s::<16>(self.shl::<16>(a)),
            self.shr_s::<16>(self.shl::<16>(b)),
        );
        let high = self.mul(self.shr_s::<16>(a), self.shr_s::<16>(b));
        self.add(low, high)
    }
    /// Squares of the signed upper halves of lanes over 2^16, in upper halves. Lower halves are 0 if
    /// they were.
    #[inline(always)]
    fn square16(self, a: Self::V) -> Self::V {
        let half = self.shr_s::<16>(a);
        self.and(self.mul(half, half), self.splat(0xffff_0000))
    }
    /// Signed upper halves of lanes times a factor over 2^15, rounded to nearest, in upper halves.
    /// Lower halves are 0.
    #[inline(always)]
    fn mul16_rounded(self, a: Self::V, factor: u16) -> Self::V {
        let product = self.mul(self.shr_s::<16>(a), self.splat(factor.into()));
        self.shl::<16>(self.shr_s::<15>(self.add(product, self.splat(1 << 14))))
    }
    /// Halves of lanes swapped, the new lower one negated. Both lie within +-32767.
    #[inline(always)]
    fn turn16(self, a: Self::V) -> Self::V {
        let upper = self.shr_s::<16>(a);
        let negated = self.sub(self.splat(0), upper);
        self.or(self.shl::<16>(a), self.and(negated, self.splat(0xffff)))
    }
    /// The upper halves of some lanes with the lower halves of others.
    #[inline(always)]
    fn halves(self, upper: Self::V, lower: Self::V) -> Self::V {
        self.or(
            self.and(upper, self.splat(0xffff_0000)),
            self.and(lower, self.splat(0xffff)),
        )
    }
    /// The magnitude; for a negative number, one less will do: only where it is a power of two have
    /// both another highest bit, and then the bits that [`Isa::convert_down`] clears are 0.
    #[inline(always)]
    fn magnitude(self, a: Self::V) -> Self::V {
        self.xor(a, self.shr_s::<31>(a))
    }
    /// binary32 bits of signed numbers, rounded down: `kernel::value::cut`, converted.
    #[inline(always)]
    fn convert_down(self, a: Self::V) -> Self::V {
        // The bit below the 24 that are kept is cleared: rounding to nearest then rounds down. Of
        // a number's bits without its sign it is the highest after a shift by 24.
        let lost = self.shr_u::<24>(self.magnitude(a));
        self.convert(self.and(a, self.xor(lost, self.splat(u32::MAX))))
    }
    /// `kernel::value::value` of numbers, cut: with an exponent of
    /// [`FLOAT_EXPONENTS`](crate::kernel::value::FLOAT_EXPONENTS).
    #[inline(always)]
    fn values(self, a: Self::V, exponent: i32) -> Self::V {
        self.mul_f32(self.convert_down(a), self.splat(power(exponent).to_bits()))
    }
    /// `kernel::value::to_f16` of numbers that are not subnormal.
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        let sign = self.and(self.shr_u::<16>(a), self.splat(0x8000));
        // Infinity from 2^16 on.
        let magnitude = self.min_s(self.and(a, self.splat(0x7fff_ffff)), self.splat(143 << 23));
        // In the sum with a power of two 2^13 times the leading bit, or 2^-1, the last place is that
        // of the binary16: its rounding is the one that is wanted.
        let leading = self.and(magnitude, self.splat(0x7f80_0000));
        let leading = self.max_s(leading, self.splat(113 << 23));
        let sum = self.add_f32(magnitude, self.add(leading, self.splat(13 << 23)));
        // The significand and its leading bit stand in the last 12 bits.
        let exponent = self.sub(self.shr_u::<13>(sum), self.splat(126 << 10));
        let magnitude = self.add(exponent, self.and(sum, self.splat(0xfff)));
        self.or(magnitude, sign)
    }
    /// The same rounded as `kernel::value::to_bf16` does: those of two registers in the lower and the
    /// upper halves of one.
    #[inline(always)]
    fn values_bf16(self, a: [Self::V; 2], exponent: i32) -> Self::V {
        let [mut lower, mut upper] = a;
        for a in [&mut lower, &mut upper] {
            let value = self.values(*a, exponent);
            let even = self.and(self.shr_u::<16>(value), self.splat(1));
            *a = self.add(self.add(value, even), self.splat(0x7fff));
        }
        self.halves(upper, self.shr_u::<16>(lower))
    }
}

#[derive(Clone, Copy)]
struct Draw<'a> {
    job: &'a Job,
    dtype: DType,
    /// The job's, a copy: behind the reference it would be loaded again in each step.
    scaling: Scaling,
    /// The keys of the rounds: the same for all blocks.
    keys: [[u32; 2]; 10],
}

/// An instruction set that the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Set {
    /// Those that this processor has, the best one first.
    pub fn available() -> Vec<Set> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::Avx512::try_new().is_some() {
                sets.push(Set::Avx512);
            }
            if avx2::Avx2::try_new().is_some() {
                sets.push(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if neon::Neon::try_new().is_some() {
            sets.push(Set::Neon);
        }
        sets.push(Set::Portable);
        sets
    }

    /// The best one; or the one that the environment variable `FANIN_SIMD` names, to measure it,
    /// where the processor has it.
    pub fn best() -> Set {
        static BEST: OnceLock<Set> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Set::available();
            let wanted = std::env::var("FANIN_SIMD").unwrap_or_default();
            let named = available.iter().find(|set| set.name() == wanted);
            *named.unwrap_or(&available[0])
        })
    }

    /// As in `FANIN_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }
}

/// Fills `out` with the drawn elements from index `element` of the whole tensor on, in `dtype`,
/// without what depends on their place. The job's core is one that draws.
pub(super) fn draw(set: Set, job: &Job, dtype: DType, element: u64, out: &mut [u8]) {
    let draw = Draw {
        job,
        dtype,
        scaling: job.scaling,
        keys: round_keys(job.key),
    };
    // Floats of a process may flush subnormals: those are made in integers.
    let set = if job.has_extremes() {
        Set::Portable
    } else {
        set
    };
    match set {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => {
            if let Some(isa) = avx512::Avx512::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => {
            if let Some(isa) = avx2::Avx2::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "aarch64")]
        Set::Neon => {
            if let Some(isa) = neon::Neon::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        Set::Portable => {}
    }
    Run {
        isa: portable::Portable,
        draw,
        element,
        out,
    }
    .call();
}

/// A fill for one instruction set: what the call inlines is compiled for it.
struct Run<'a, F> {
    isa: F,
    draw: Draw<'a>,
    element: u64,
    out: &'a mut [u8],
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
        Core::Uniform => fill_with(isa, draw, element, out, Uniform { scaling }),
        Core::Normal => {
            let (radii, circle) = draw.job.table().split_at(ENTRIES);
            if let (Some(radii), Some(circle)) = (radii.first_chunk(), circle.first_chunk()) {
                let normal = Normal {
                    radii,
                    circle,
                    scaling,
                };
                fill_with(isa, draw, element, out, normal);
            }
        }
        Core::Quantile => {
            if let Some(table) = draw.job.table().first_chunk() {
                fill_with(isa, draw, element, out, Quantile { table, scaling });
            }
        }
        // Nothing is drawn.
        Core::Constant | Core::Sine | Core::Columns | Core::Matrix => {}
    }
}

/// Makes whole numbers of words, in two stages.
trait Source: Copy {
    /// The first stage's results, kept in memory for the second.
    type Ready<I: Isa>: Copy;
    /// Finds the table indices of words as [`philox`] gives them.
    fn ready<I: Isa>(self, isa: I, words: [I::V; 2]) -> Self::Ready<I>;
    /// The numbers of lanes 0 and 2 of the blocks, and of lanes 1 and 3, before shift and cut: for
    /// both the even and the odd packed lanes, in the upper halves of wide ones.
    fn numbers<I: Isa>(self, isa: I, ready: &Self::Ready<I>) -> [[I::V; 2]; 2];
}

/// Goes through the blocks of a run, whose ends may lie inside a block.
///
/// In two stages, for some steps at a time: words and indices first, then what becomes of them.
/// Indices are loaded one by one, and a load of what was stored a moment ago waits; the rounds of
/// Philox wait for each other, and four chains of them side by side keep the multipliers at work.
#[inline(always)]
fn fill_with<I: Isa, S: Source>(isa: I, draw: Draw<'_>, element: u64, out: &mut [u8], source: S) {
    let size = draw.dtype.size() as usize;
    let step = I::BLOCKS * LANES as usize * size;
    let mut skip = (element % LANES) as usize * size;
    let mut block = element / LANES;
    let mut start = Start::new(draw, (block >> 32) as u32);
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
            start = Start::new(draw, (block >> 32) as u32);
        }
    }
}

/// What the first rounds of Philox make of the counter's parts that all blocks share.
#[derive(Clone, Copy)]
struct Start {
    /// c1 after the first round, and what gives c2 there, xored with the upper product.
    first: [u32; 2],
    /// What gives c2 in the second round, xored with c3, and c3 after it.
    second: [u32; 2],
    /// The keys of rounds 4 to 9, two rounds in one: a product's upper half goes into its own round,
    /// the lower one into the next.
    joint: [[u64; 2]; 3],
}

impl Start {
    #[inline(always)]
    fn new(draw: Draw<'_>, high: u32) -> Start {
        let [s0, s1] = draw.job.stream;
        let [k0, k1] = draw.keys[0];
        let product = u64::from(MULTIPLIER[1]) * u64::from(s0);
        let c0 = (product >> 32) as u32 ^ high ^ k0;
        let next = u64::from(MULTIPLIER[0]) * u64::from(c0);
        Start {
            first: [product as u32, s1 ^ k1],
            second: [(next >> 32) as u32 ^ draw.keys[1][1], next as u32],
            joint: [3, 5, 7].map(|i| {
                let (key, next) = (draw.keys[i], draw.keys[i + 1]);
                [0, 1].map(|j| u64::from(key[j]) << 32 | u64::from(next[j]))
            }),
        }
    }
}

/// The words of blocks, packed, 0 with 2 and 1 with 3: `kernel::philox` with what is common to all
/// blocks taken out.
#[inline(always)]
fn philox<R: Registers>(isa: R, draw: Draw<'_>, start: Start, blocks: R::V) -> [R::V; 2] {
    let multiplier = [
        isa.splat64(MULTIPLIER[0].into()),
        isa.splat64(MULTIPLIER[1].into()),
    ];
    let keys = draw.keys;

    // Round 1: c0 and c1 are the same in all blocks.
    let c3 = isa.mul_u(multiplier[0], blocks);
    let c2 = isa.xor(isa.upper(c3), isa.splat(start.first[1]));
    // Round 2: so are the products with c0.
    let c1 = isa.mul_u(multiplier[1], c2);
    let c0 = isa.xor(isa.upper(c1), isa.splat(start.first[0] ^ keys[1][0]));
    let c2 = isa.xor(c3, isa.splat(start.second[0]));
    let mut c = [c0, c1, c2, isa.splat(start.second[1])];
    // Keys come last: with keys before the round, `Portable` takes a fifth longer or more.
    let alone = if R::JOINT_KEYS { 2..3 } else { 2..9 };
    for key in &keys[alone] {
        c = round(isa, c, None);
        c[0] = isa.xor(c[0], isa.splat(key[0]));
        c[2] = isa.xor(c[2], isa.splat(key[1]));
    }
    if R::JOINT_KEYS {
        for keys in start.joint {
            c = round(isa, c, Some(keys));
            c = round(isa, c, None);
        }
    }
    // Round 10, packed.
    let product_0 = isa.mul_u(multiplier[0], c[0]);
    let product_1 = isa.mul_u(multiplier[1], c[2]);
    let key = isa.pack(isa.splat(keys[9][0]), isa.splat(keys[9][1]));
    let upper = isa.pack_upper(product_1, product_0);
    [
        isa.xor(isa.xor(upper, isa.pack(c[1], c[3])), key),
        isa.pack(product_1, product_0),
    ]
}

/// A round, with the keys of [`Start::joint`]; or without a key, which the caller brings.
#[inline(always)]
fn round<R: Registers>(isa: R, c: [R::V; 4], keys: Option<[u64; 2]>) -> [R::V; 4] {
    let mut product_0 = isa.mul_u(isa.splat64(MULTIPLIER[0].into()), c[0]);
    let mut product_1 = isa.mul_u(isa.splat64(MULTIPLIER[1].into()), c[2]);
    if let Some(keys) = keys {
        product_0 = isa.xor(product_0, isa.splat64(keys[1]));
        product_1 = isa.xor(product_1, isa.splat64(keys[0]));
    }
    [
        isa.xor(isa.upper(product_1), c[1]),
        product_1,
        isa.xor(isa.upper(product_0), c[3]),
        product_0,
    ]
}

/// `kernel::uniform`.
#[derive(Clone, Copy)]
struct Uniform {
    scaling: Scaling,
}

impl Source for Uniform {
    type Ready<I: Isa> = [I::V; 2];

    #[inline(always)]
    fn ready<I: Isa>(self, _: I, words: [I::V; 2]) -> [I::V; 2] {
        words
    }
    #[inline(always)]
    fn numbers<I: Isa>(self, isa: I, ready: &[I::V; 2]) -> [[I::V; 2]; 2] {
        [
            uniform(isa, self.scaling, ready[0]),
            uniform(isa, self.scaling, ready[1]),
        ]
    }
}

#[inline(always)]
fn uniform<I: Isa>(isa: I, scaling: Scaling, words: I::V) -> [I::V; 2] {
    let count = isa.splat(scaling.multiplier);
    let first = isa.splat64(u64::from(scaling.offset as u32) << 32);
    [
        isa.add64(isa.mul_u(words, count), first),
        isa.add64(isa.mul_u(isa.upper(words), count), first),
    ]
}

/// What `kernel::curve::place` gives: the entry's index, mod the table's length, and the bits that
/// hold the place.
#[derive(Clone, Copy)]
struct Place<V> {
    entry: V,
    bits: V,
}

/// `kernel::curve::place`.
#[inline(always)]
fn place<I: Isa>(isa: I, words: I::V) -> Place<I::V> {
    let bits = isa.convert_down(isa.or(words, isa.splat(1)));
    let lower = isa.and(isa.shr_u::<17>(bits), isa.splat(0x7ff));
    let upper = isa.and(isa.shr_u::<20>(bits), isa.splat(!0x7ff));
    Place {
        entry: isa.or(lower, upper),
        bits,
    }
}

/// `kernel::curve`.
#[inline(always)]
fn curve<I: Isa>(isa: I, table: &[[u32; 2]; ENTRIES], place: &Place<I::V>) -> I::V {
    let [constants, coefficients] = isa.entries(table, &place.entry);
    // The place in the upper half of a lane, its highest bit turned over: from the middle.
    let t = isa.xor(isa.shl::<15>(place.bits), isa.splat(0x8000_0000));
    let powers = isa.halves(isa.square16(t), isa.shr_u::<16>(t));
    let sum = isa.mul16_sum(coefficients, powers);
    isa.add(constants, isa.shr_s::<9>(sum))
}

/// A curve of one word, scaled.
#[derive(Clone, Copy)]
struct Quantile<'a> {
    table: &'a [[u32; 2]; ENTRIES],
    scaling: Scaling,
}

impl Source for Quantile<'_> {
    type Ready<I: Isa> = [Place<I::V>; 2];

    #[inline(always)]
    fn ready<I: Isa>(self, isa: I, [front, back]: [I::V; 2]) -> Self::Ready<I> {
        [place(isa, front), place(isa, back)]
    }
    #[inline(always)]
    fn numbers<I: Isa>(self, isa: I, ready: &Self::Ready<I>) -> [[I::V; 2]; 2] {
        let factor = [isa.splat(self.scaling.multiplier); 2];
        let front = curve(isa, self.table, &ready[0]);
        let back = curve(isa, self.table, &ready[1]);
        [
            scaled(isa, self.scaling, front, factor),
            scaled(isa, self.scaling, back, factor),
        ]
    }
}

/// `kernel::box_muller`.
#[derive(Clone, Copy)]
struct Normal<'a> {
    radii: &'a [[u32; 2]; ENTRIES],
    circle: &'a [[u32; 2]; POINTS],
    scaling: Scaling,
}

impl Source for Normal<'_> {
    type Ready<I: Isa> = (Place<I::V>, I::V);

    #[inline(always)]
    fn ready<I: Isa>(self, isa: I, [a, b]: [I::V; 2]) -> Self::Ready<I> {
        (place(isa, a), b)
    }
    #[inline(always)]
    fn numbers<I: Isa>(self, isa: I, (place, b): &Self::Ready<I>) -> [[I::V; 2]; 2] {
        let radii = curve(isa, self.radii, place);
        let multiplier = isa.splat(self.scaling.multiplier);
        let half = isa.splat64(1 << 31);
        let radii = [
            isa.upper(isa.add64(isa.mul_u(radii, multiplier), half)),
            isa.upper(isa.add64(isa.mul_u(isa.upper(radii), multiplier), half)),
        ];
        let [x, y] = turn(isa, self.circle, b);
        [
            scaled(isa, self.scaling, x, radii),
            scaled(isa, self.scaling, y, radii),
        ]
    }
}

/// `kernel::box_muller::turn`.
#[inline(always)]
fn turn<I: Isa>(isa: I, circle: &[[u32; 2]; POINTS], b: &I::V) -> [I::V; 2] {
    let [cosine, sine] = isa.entries(circle, b);
    let angle = isa.mul16_rounded(*b, 25_736);
    let square = isa.shr_u::<24>(isa.add(isa.square16(angle), isa.splat(128 << 16)));
    let rest = isa.or(angle, square);
    let point = isa.halves(isa.shl::<1>(sine), isa.shr_u::<15>(cosine));
    let along = isa.mul16_sum(point, rest);
    let across = isa.mul16_sum(point, isa.turn16(rest));
    [
        isa.sub(cosine, isa.shr_s::<8>(along)),
        isa.sub(sine, isa.shr_s::<8>(across)),
    ]
}

/// Products of packed numbers with the factors of their even and odd lanes, wide: what
/// `kernel::mul::mul_shifted` makes of them, but for the shift.
#[inline(always)]
fn scaled<I: Isa>(isa: I, scaling: Scaling, numbers: I::V, factors: [I::V; 2]) -> [I::V; 2] {
    // Without a shift the offset rides on the rounding.
    let added = isa.splat64(if scaling.shift > 0 {
        0
    } else {
        u64::from(scaling.offset as u32) << 32 | 1 << 31
    });
    [
        isa.add64(isa.mul_s(numbers, factors[0]), added),
        isa.add64(isa.mul_s(isa.upper(numbers), factors[1]), added),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::Fill;
    use crate::init::Init;
    use crate::kernel::box_muller::normal_pair;
    use crate::kernel::mul::mul_shifted;
    use crate::kernel::philox::{counter, philox};
    use crate::kernel::value::{cut, to_bf16, to_f16, value};
    use crate::kernel::{curve, uniform};
    use crate::tensor::Tensor;

    /// The scalar twin: `src/kernel/`, one element at a time.
    fn element(job: &Job, index: u64) -> u32 {
        let words = philox(counter(index / LANES, 0, job.stream), job.key);
        let lane = (index % LANES) as usize;
        let scaling = job.scaling;
        let shifted = |core, factor| mul_shifted(core, factor, scaling.shift) + scaling.offset;
        let multiplier = scaling.multiplier;
        let p = match job.core {
            Core::Uniform => uniform::uniform(words[lane], multiplier, scaling.offset),
            Core::Quantile => shifted(curve::curve(words[lane], job.table()), multiplier as i32),
            Core::Normal => {
                let first = lane / 2 * 2;
                let (a, b) = (words[first], words[first + 1]);
                let (radius, (x, y)) = normal_pair(a, b, multiplier, job.table());
                shifted(radius, if lane.is_multiple_of(2) { x } else { y })
            }
            core => panic!("{core:?} draws nothing"),
        };
        let p = scaling.clamp.map_or(p, |[low, high]| p.clamp(low, high));
        value(cut(p), scaling.exponent)
    }

    fn job(init: &str, dtype: DType) -> Job {
        let tensor = Tensor::new("w", [1 << 40]).unwrap();
        let init: Init = init.parse().unwrap();
        let fill = Fill::new(&tensor, &init, 0x1234_5678_9abc_def0).unwrap();
        Job::new(&fill.with_dtype(dtype)).unwrap()
    }

    const INITS: [&str; 20] = [
        "normal(std=0.02)",
        "normal(mean=3.5)",
        "normal(mean=-1e-3,std=1e-5)",
        // Subnormal, and beyond the largest number.
        "normal(std=1e-43)",
        "normal(std=1e-40)",
        "normal(std=3e38)",
        // Subnormal and infinite in 16 bits.
        "normal(std=1e-6)",
        "normal(std=40000)",
        "uniform(low=-0.05,high=0.05)",
        "uniform(low=0,high=1)",
        "uniform(low=-1,high=0)",
        "uniform(low=-0.0,high=1e-44)",
        "uniform(low=-3e-45,high=0)",
        "uniform(low=5,high=5.00001)",
        "truncated_normal(lower=-2,upper=2)",
        "truncated_normal(lower=0,upper=9)",
        "truncated_normal(lower=-1e-30,upper=1)",
        "truncated_normal(std=0.5,lower=5,upper=6)",
        "truncated_normal(lower=-40,upper=-39)",
        "log_uniform(low=1e-3,high=1e-1)",
    ];

    #[test]
    fn every_instruction_set_makes_the_scalar_bits() {
        let sets = Set::available();
        println!("{sets:?}");
        // Starts at all places of a block, lengths below and above a step, and both sides of the
        // blocks where the upper word of the block number changes.
        let carry = 4u64 << 32;
        let runs = [
            (0, 1000),
            (1, 3),
            (2, 129),
            (3, 64),
            (4095, 700),
            (carry - 37, 200),
            (carry - 4, 4),
            (3 * carry + 5, 300),
        ];
        for init in INITS {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let job = job(init, dtype);
                let size = dtype.size() as usize;
                for (start, length) in runs {
                    let expected: Vec<u8> = (start..start + length)
                        .flat_map(|index| {
                            let bits = element(&job, index);
                            let stored = match dtype {
                                DType::F32 => bits,
                                DType::F16 => to_f16(bits),
                                DType::BF16 => to_bf16(bits),
                            };
                            stored.to_le_bytes()[..size].to_vec()
                        })
                        .collect();
                    for &set in &sets {
                        let mut got = vec![0xa5; expected.len()];
                        draw(set, &job, dtype, start, &mut got);
                        assert!(
                            got == expected,
                            "{set:?}, {init}, {dtype:?}, {length} from {start}"
                        );
                    }
                }
            }
        }
    }
}
