//! The drawn cores on vector registers: one kernel, written over [`Face`], and a face for each
//! instruction set, chosen when the program runs.
//!
//! The kernel is the third spelling of the stream, after `src/kernel/` and `shaders/`, shaped for
//! registers. Words travel two ways. *Packed*, each 32-bit lane holds a number of its own. *Wide*,
//! each 64-bit lane holds one in its low half, and what stands in the upper half is of no meaning:
//! so multiplied, a number needs no shuffling. A packed register is two wide ones, its even lanes
//! and its odd lanes.
//!
//! The crate `pulp` gives the instructions as safe functions of a token that only exists where the
//! processor has them. Its own portable vectors lack what this kernel lives on (leading zeros,
//! widening multiplies of every second lane), so a face is written for each.
//!
//! Products of core and scale are made in binary64: 29 and 24 bits fit, so the one rounding is that
//! to binary32, as in `kernel::scale`, where integers do the same. Cores come with a bias that makes
//! them positive: so they take fewer instructions to convert, and a fused multiply-add takes it away
//! again without a rounding.

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

use crate::job::{Core, Job};
use crate::kernel::LANES;
use crate::kernel::box_muller::{ONE, POINTS};
use crate::kernel::philox::{MULTIPLIER, WEYL};
use crate::kernel::quantile::ENTRIES;
use crate::tensor::DType;

use twice::Twice;

/// The bytes of one step of any face: what a short run is cut from.
const STEP_BYTES: usize = 128;
/// Bytes from what is stored to what the processor is told to look for: a page, whose place takes the
/// longest to find.
const AHEAD: usize = 4096;
/// Steps that are made in two stages.
const STAGE: usize = 8;

/// What the parts of the kernel take that are long chains, and are made [`Twice`] side by side: the
/// instructions of a kind of processor, on registers of `2 * BLOCKS` lanes.
///
/// A function with `u` in its name treats lanes as unsigned, with `s` as signed numbers; lanes are
/// of 32 bits, in functions whose name ends in 64 of 64 bits.
trait Registers: Copy {
    /// Blocks of the stream that are made at a time.
    const BLOCKS: usize;
    /// A register.
    type V: Copy;

    /// The numbers of the blocks from `first` on, wide, in the order that suits [`Face::values`].
    fn blocks(self, first: u32) -> Self::V;
    fn splat(self, number: u32) -> Self::V;
    fn splat64(self, number: u64) -> Self::V;
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn add64(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V;
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V;
    /// Whole products of wide numbers.
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V;
    /// The upper halves of wide lanes, wide.
    fn upper(self, a: Self::V) -> Self::V;
    /// Two wide registers as one that is packed.
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V;
    /// The upper halves of two registers as one that is packed.
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V;
    /// The upper halves of the sums of lanes, wide.
    #[inline(always)]
    fn upper_sum(self, a: Self::V, b: Self::V) -> Self::V {
        self.upper(self.add(a, b))
    }
}

/// The other instructions of a kind of processor.
trait Face: Registers {
    /// `BLOCKS` numbers of binary64.
    type D: Copy;
    /// What [`Face::scaled`] multiplies by.
    type Factor: Copy;

    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lower 32 bits of products.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V;
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V;
    /// Each lane by a count of its own, below 32.
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V;
    /// The squares of signed numbers in the lower halves of lanes, whose upper halves are zero.
    fn square16(self, a: Self::V) -> Self::V;
    /// Of odd numbers.
    fn leading_zeros(self, a: Self::V) -> Self::V;
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V;
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V;
    /// Of binary32 numbers that are not both zero.
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V;
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V;
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V;
    /// Entries of a table, for packed indices below its length, in the halves of wide lanes: their
    /// numbers 0 and 1 for the even and for the odd lanes, then 3 and 2.
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2];
    /// The same of entries of two numbers.
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2];
    /// A factor for cores that come with a bias, below 2^31.
    fn factor(self, factor: f64, bias: u32) -> Self::Factor;
    /// The cores in the upper halves of wide lanes, without their bias, times a factor.
    fn scaled(self, a: Self::V, factor: Self::Factor) -> Self::D;
    /// Rounded to binary32 and put in the order of memory: element l of each block is in `lanes[l]`.
    fn values(self, lanes: [Self::D; 4]) -> [Self::V; 2];
    /// The sum of binary32 numbers.
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V;
    /// binary32 rounded to binary16, in the lower halves of lanes.
    fn to_f16(self, a: Self::V) -> Self::V;
    /// binary32 rounded to bfloat16, in the upper halves of lanes; the lower halves are of no meaning.
    fn to_bf16(self, a: Self::V) -> Self::V;
    /// The lower halves of the lanes of two registers.
    fn narrow(self, a: [Self::V; 2]) -> Self::V;
    /// The upper halves of the lanes of two registers.
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V;
    fn store(self, a: Self::V, out: &mut [u8]);
    /// Has the processor look for a byte's place in memory, and go on.
    fn prefetch(self, byte: &u8);
}

/// A fill of drawn numbers, as the kernel takes it.
#[derive(Clone, Copy)]
struct Draw<'a> {
    job: &'a Job,
    dtype: DType,
    /// The keys of the rounds: the same for all blocks.
    keys: [[u32; 2]; 10],
}

impl Draw<'_> {
    fn new(job: &Job, dtype: DType) -> Draw<'_> {
        let round =
            |i: usize, key: usize| job.key[key].wrapping_add(WEYL[key].wrapping_mul(i as u32));
        Draw {
            job,
            dtype,
            keys: std::array::from_fn(|i| [round(i, 0), round(i, 1)]),
        }
    }
}

/// An instruction set that the kernel has a face for.
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
    let draw = Draw::new(job, dtype);
    match set {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => {
            if let Some(face) = avx512::Avx512::try_new() {
                return face.run(Run {
                    face,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => {
            if let Some(face) = avx2::Avx2::try_new() {
                return face.run(Run {
                    face,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "aarch64")]
        Set::Neon => {
            if let Some(face) = neon::Neon::try_new() {
                return face.run(Run {
                    face,
                    draw,
                    element,
                    out,
                });
            }
        }
        Set::Portable => {}
    }
    Run {
        face: portable::Portable,
        draw,
        element,
        out,
    }
    .call();
}

/// A fill as a face takes it: what is compiled for its instruction set is what the call inlines.
struct Run<'a, F> {
    face: F,
    draw: Draw<'a>,
    element: u64,
    out: &'a mut [u8],
}

impl<F: Face> NullaryFnOnce for Run<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        fill(self.face, self.draw, self.element, self.out);
    }
}

/// The whole fill, made for one face: called where the compiler may use its instructions.
///
/// All below it is inlined into it, and written without closures that might not be: a function on
/// its own would lack those instructions.
#[inline(always)]
fn fill<F: Face>(face: F, draw: Draw<'_>, element: u64, out: &mut [u8]) {
    match draw.job.core {
        Core::Uniform => fill_with(face, draw, element, out, Uniform),
        Core::Normal => {
            let (radii, circle) = draw.job.table().split_at(ENTRIES);
            let circle = bytemuck::cast_slice(circle);
            if let (Some(radii), Some(circle)) = (radii.first_chunk(), circle.first_chunk()) {
                fill_with(face, draw, element, out, Normal { radii, circle });
            }
        }
        Core::Quantile => {
            if let Some(table) = draw.job.table().first_chunk() {
                fill_with(face, draw, element, out, Quantile { table });
            }
        }
        // Nothing is drawn.
        Core::Constant | Core::Sine | Core::Columns | Core::Matrix => {}
    }
}

/// What makes cores of words, in two stages.
trait Cores: Copy {
    /// What the first stage leaves for the second, in memory.
    type Ready<F: Face>: Copy;
    /// What is added to cores, so that they are positive.
    const BIAS: u32;
    /// Finds where in the tables to look for words as [`philox`] gives them.
    fn ready<F: Face>(self, face: F, words: [F::V; 2]) -> Self::Ready<F>;
    /// The cores of the four lanes of blocks, and [`BIAS`](Cores::BIAS), in the upper halves of wide
    /// lanes.
    fn cores<F: Face>(self, face: F, ready: &Self::Ready<F>) -> [F::V; 4];
}

/// Goes through the blocks of a run, whose ends may lie inside a block.
///
/// In two stages, for some steps at a time: words and indices first, then what becomes of them.
/// Indices are loaded one by one, and a load of what was stored a moment ago waits; the rounds of
/// Philox wait for each other, and four chains of them side by side keep the multipliers at work.
#[inline(always)]
fn fill_with<F: Face, S: Cores>(face: F, draw: Draw<'_>, element: u64, out: &mut [u8], source: S) {
    let size = draw.dtype.size() as usize;
    let step = F::BLOCKS * LANES as usize * size;
    let mut skip = (element % LANES) as usize * size;
    let mut block = element / LANES;
    let mut start = Start::new(draw, (block >> 32) as u32);
    let mut rest = out;
    let mut whole = [0; STEP_BYTES];
    let four = Twice(Twice(face));
    let none = source.ready(face, [face.splat(0); 2]);
    let mut stage = [none; STAGE];
    let factor = face.factor(draw.job.factor, S::BIAS);
    while !rest.is_empty() {
        // Where the upper word of the block number changes, a stage ends before its time.
        let before_carry = (1 << 32) - (block & 0xffff_ffff);
        let blocks = ((STAGE * F::BLOCKS) as u64).min(before_carry);
        let length = rest
            .len()
            .min(blocks as usize * LANES as usize * size - skip);
        let (bytes, after) = rest.split_at_mut(length);
        let steps = (skip + length).div_ceil(step);
        if steps == 1 {
            let words = philox(face, draw, start, face.blocks(block as u32));
            stage[0] = source.ready(face, words);
        }
        for (i, ready) in stage.chunks_exact_mut(4).enumerate() {
            if steps == 1 || 4 * i >= steps {
                break;
            }
            let first = (block as u32).wrapping_add((4 * i * F::BLOCKS) as u32);
            let [front, back] = philox(four, draw, start, four.blocks(first));
            ready[0] = source.ready(face, [front[0][0], back[0][0]]);
            ready[1] = source.ready(face, [front[0][1], back[0][1]]);
            ready[2] = source.ready(face, [front[1][0], back[1][0]]);
            ready[3] = source.ready(face, [front[1][1], back[1][1]]);
        }
        let ready = std::hint::black_box(&stage);
        let mut bytes = bytes;
        for (i, ready) in ready[..steps].iter().enumerate() {
            if let Some(byte) = after.get(AHEAD + i * step) {
                face.prefetch(byte);
            }
            let length = bytes.len().min(step - skip);
            let (part, after) = std::mem::take(&mut bytes).split_at_mut(length);
            let cores = source.cores(face, ready);
            if length == step {
                finish(face, draw, factor, cores, part);
            } else {
                finish(face, draw, factor, cores, &mut whole[..step]);
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
        }
    }
}

/// The words of blocks, packed, 0 with 2 and 1 with 3: `kernel::philox` with what is common to all
/// blocks taken out.
#[inline(always)]
fn philox<F: Registers>(face: F, draw: Draw<'_>, start: Start, blocks: F::V) -> [F::V; 2] {
    let multiplier = [
        face.splat64(MULTIPLIER[0].into()),
        face.splat64(MULTIPLIER[1].into()),
    ];
    let keys = draw.keys;

    // Round 1: c0 and c1 are the same in all blocks.
    let c3 = face.mul_u(multiplier[0], blocks);
    let c2 = face.xor(face.upper(c3), face.splat(start.first[1]));
    // Round 2: so are the products with c0.
    let c1 = face.mul_u(multiplier[1], c2);
    let c0 = face.xor(face.upper(c1), face.splat(start.first[0] ^ keys[1][0]));
    let c2 = face.xor(c3, face.splat(start.second[0]));
    let mut c = [c0, c1, c2, face.splat(start.second[1])];
    for key in &keys[2..9] {
        let product_0 = face.mul_u(multiplier[0], c[0]);
        let product_1 = face.mul_u(multiplier[1], c[2]);
        c = [
            face.xor(face.xor(face.upper(product_1), c[1]), face.splat(key[0])),
            product_1,
            face.xor(face.xor(face.upper(product_0), c[3]), face.splat(key[1])),
            product_0,
        ];
    }
    // Round 10, packed.
    let product_0 = face.mul_u(multiplier[0], c[0]);
    let product_1 = face.mul_u(multiplier[1], c[2]);
    let key = face.splat64(u64::from(keys[9][1]) << 32 | u64::from(keys[9][0]));
    let upper = face.zip_upper(product_1, product_0);
    [
        face.xor(face.xor(upper, face.zip(c[1], c[3])), key),
        face.zip(product_1, product_0),
    ]
}

/// `kernel::uniform`.
#[derive(Clone, Copy)]
struct Uniform;

impl Cores for Uniform {
    type Ready<F: Face> = [F::V; 2];
    // What the words come with.
    const BIAS: u32 = 1 << 28;

    #[inline(always)]
    fn ready<F: Face>(self, _: F, words: [F::V; 2]) -> [F::V; 2] {
        words
    }
    #[inline(always)]
    fn cores<F: Face>(self, face: F, ready: &[F::V; 2]) -> [F::V; 4] {
        lanes(face, uniform(face, ready[0]), uniform(face, ready[1]))
    }
}

#[inline(always)]
fn uniform<F: Face>(face: F, words: F::V) -> F::V {
    face.or(face.shr_u::<3>(words), face.splat(1))
}

/// Packed cores of the lanes 0 and 2, and 1 and 3, in upper halves.
#[inline(always)]
fn lanes<F: Face>(face: F, even: F::V, odd: F::V) -> [F::V; 4] {
    [face.shl64::<32>(even), face.shl64::<32>(odd), even, odd]
}

/// What `kernel::quantile::segment` gives.
#[derive(Clone, Copy)]
struct Segment<V> {
    entries: V,
    places: V,
}

/// `kernel::quantile::segment`.
#[inline(always)]
fn segment<F: Face>(face: F, words: F::V) -> Segment<F::V> {
    let sign = face.shr_s::<31>(words);
    let odd = face.or(face.xor(face.add(words, words), sign), face.splat(1));
    let octave = face.leading_zeros(odd);
    let mantissa = face.shl_each(odd, octave);
    // The leading bit of the mantissa is no part of the segment's number.
    let segment = face.xor(face.shr_u::<26>(mantissa), face.splat(32));
    let half = face.and(sign, face.splat(ENTRIES as u32 / 2));
    Segment {
        entries: face.xor(face.or(face.shl::<5>(octave), half), segment),
        places: face.shr_u::<1>(face.shl::<6>(mantissa)),
    }
}

/// `kernel::quantile::evaluate`, in the low halves of wide lanes.
#[inline(always)]
fn evaluate<F: Registers>(face: F, [low, high]: [F::V; 2], t: F::V) -> F::V {
    // In upper halves: lanes of 32 bits carry nothing from half to half.
    let square = face.upper_sum(high, face.mul_s(high, t));
    let linear = face.upper_sum(low, face.mul_s(square, t));
    face.add(low, face.upper(face.mul_s(linear, t)))
}

/// `kernel::quantile`.
#[derive(Clone, Copy)]
struct Quantile<'a> {
    table: &'a [[u32; 4]; ENTRIES],
}

impl Cores for Quantile<'_> {
    type Ready<F: Face> = [(Segment<F::V>, F::V); 2];
    // Cores have 29 bits.
    const BIAS: u32 = 1 << 30;

    #[inline(always)]
    fn ready<F: Face>(self, face: F, [front, back]: [F::V; 2]) -> Self::Ready<F> {
        [(segment(face, front), front), (segment(face, back), back)]
    }
    #[inline(always)]
    fn cores<F: Face>(self, face: F, ready: &Self::Ready<F>) -> [F::V; 4] {
        let front = quantile(face, self.table, &ready[0]);
        let back = quantile(face, self.table, &ready[1]);
        lanes(face, front, back)
    }
}

#[inline(always)]
fn quantile<F: Face>(
    face: F,
    table: &[[u32; 4]; ENTRIES],
    (segment, words): &(Segment<F::V>, F::V),
) -> F::V {
    let cubics = face.cubics(table, &segment.entries);
    let [even, odd] = evaluate(Twice(face), cubics, halves(face, segment.places));
    let sign = face.shr_s::<31>(*words);
    let bias = face.splat(Quantile::BIAS);
    face.add(face.xor(face.zip(even, odd), sign), face.sub(bias, sign))
}

/// `kernel::box_muller`.
#[derive(Clone, Copy)]
struct Normal<'a> {
    radii: &'a [[u32; 4]; ENTRIES],
    circle: &'a [[u32; 2]; POINTS],
}

/// Words `a` and `b` and where to look for them.
#[derive(Clone, Copy)]
struct NormalReady<V> {
    segment: Segment<V>,
    points: V,
    b: V,
}

impl Cores for Normal<'_> {
    type Ready<F: Face> = NormalReady<F::V>;
    // Cores have 29 bits.
    const BIAS: u32 = 1 << 30;

    #[inline(always)]
    fn ready<F: Face>(self, face: F, [a, b]: [F::V; 2]) -> NormalReady<F::V> {
        NormalReady {
            segment: segment(face, a),
            points: face.shr_u::<22>(b),
            b,
        }
    }
    #[inline(always)]
    fn cores<F: Face>(self, face: F, ready: &NormalReady<F::V>) -> [F::V; 4] {
        let points = face.points(self.circle, &ready.points);
        let cubics = face.cubics(self.radii, &ready.segment.entries);

        let low = face.shl::<10>(ready.b);
        let rest = face.sub(face.shr_u::<9>(low), face.splat((1 << 22) - 1));
        // 2^15 comes out as -2^15, which has the same square.
        let short = face.shr_u::<16>(face.sub(low, face.splat(((1 << 22) - 65) << 9)));
        let square = face.shr_u::<14>(face.square16(short));
        let loss = face.shr_u::<18>(face.mul(square, face.splat(25_736)));
        let along = face.sub(face.splat(ONE as u32), loss);

        let twice = Twice(face);
        let radius = evaluate(twice, cubics, halves(face, ready.segment.places));
        let (along, rest) = (halves(face, along), halves(face, rest));
        let [x, y] = normal_pair(twice, radius, points, along, rest);
        [x[0], y[0], x[1], y[1]]
    }
}

/// The even and the odd lanes of a packed register, wide.
#[inline(always)]
fn halves<F: Registers>(face: F, packed: F::V) -> [F::V; 2] {
    [packed, face.upper(packed)]
}

/// The products of radius and direction, all of them wide: the cores are their upper halves.
#[inline(always)]
fn normal_pair<F: Registers>(
    face: F,
    radius: F::V,
    point: F::V,
    along: F::V,
    rest: F::V,
) -> [F::V; 2] {
    let (cosine, sine) = (point, face.upper(point));
    let x = face.sub64(face.mul_s(cosine, along), face.mul_s(sine, rest));
    let y = face.add64(face.mul_s(sine, along), face.mul_s(cosine, rest));
    [
        rounded_product(face, radius, x),
        rounded_product(face, radius, y),
    ]
}

/// `mul_hi_rounded` of the radius and what `mul_sum_rounded` makes of a sum, biased, in upper halves.
#[inline(always)]
fn rounded_product<F: Registers>(face: F, radius: F::V, sum: F::V) -> F::V {
    let direction = face.shr_u64::<31>(face.add64(sum, face.splat64(1 << 30)));
    let product = face.mul_s(radius, direction);
    face.add64(
        product,
        face.splat64(u64::from(Normal::BIAS) << 32 | 1 << 31),
    )
}

/// From cores to stored bytes, `4 * BLOCKS` elements.
#[inline(always)]
fn finish<F: Face>(
    face: F,
    draw: Draw<'_>,
    factor: F::Factor,
    [l0, l1, l2, l3]: [F::V; 4],
    out: &mut [u8],
) {
    let mut values = face.values([
        face.scaled(l0, factor),
        face.scaled(l1, factor),
        face.scaled(l2, factor),
        face.scaled(l3, factor),
    ]);
    if draw.job.shifted() {
        let mean = face.splat(draw.job.mean);
        values = [face.add_f32(values[0], mean), face.add_f32(values[1], mean)];
    }
    if let Some(bounds) = draw.job.clamp {
        let [low, high] = [face.splat(bounds[0]), face.splat(bounds[1])];
        // Where a bound is 0 the sign of a value that is 0 counts too.
        values = if bounds[0] << 1 != 0 && bounds[1] << 1 != 0 {
            [
                face.min_f32(face.max_f32(values[0], low), high),
                face.min_f32(face.max_f32(values[1], low), high),
            ]
        } else {
            [
                clamp(face, values[0], low, high),
                clamp(face, values[1], low, high),
            ]
        };
    }
    match draw.dtype {
        DType::F32 => {
            let (first, second) = out.split_at_mut(out.len() / 2);
            face.store(values[0], first);
            face.store(values[1], second);
        }
        DType::F16 => {
            let halves = [face.to_f16(values[0]), face.to_f16(values[1])];
            face.store(face.narrow(halves), out);
        }
        DType::BF16 => {
            let halves = [face.to_bf16(values[0]), face.to_bf16(values[1])];
            face.store(face.narrow_upper(halves), out);
        }
    }
}

/// Numbers of binary32 in an order that signed integers have too, and back: the order of
/// `kernel::scale::clamp`, in which -0 is just below +0.
#[inline(always)]
fn order<F: Face>(face: F, bits: F::V) -> F::V {
    face.xor(bits, face.shr_u::<1>(face.shr_s::<31>(bits)))
}

/// `kernel::scale::clamp`.
#[inline(always)]
fn clamp<F: Face>(face: F, bits: F::V, low: F::V, high: F::V) -> F::V {
    let raised = face.max_s(order(face, bits), order(face, low));
    order(face, face.min_s(raised, order(face, high)))
}

/// `kernel::scale::to_bf16`, for faces that know nothing shorter.
#[inline(always)]
fn to_bf16<F: Face>(face: F, bits: F::V) -> F::V {
    let even = face.and(face.shr_u::<16>(bits), face.splat(1));
    face.add(face.add(bits, even), face.splat(0x7fff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::Fill;
    use crate::init::Init;
    use crate::kernel::philox::{counter, philox};
    use crate::kernel::scale::{add, clamp, scale, to_bf16, to_f16};
    use crate::kernel::{box_muller, quantile, uniform};
    use crate::tensor::Tensor;

    /// The scalar twin: `src/kernel/`, one element at a time.
    fn element(job: &Job, index: u64) -> u32 {
        let words = philox(counter(index / LANES, 0, job.stream), job.key);
        let lane = (index % LANES) as usize;
        let core = match job.core {
            Core::Uniform => uniform::uniform(words[lane]),
            Core::Quantile => quantile::quantile(words[lane], job.table()),
            Core::Normal => {
                let first = lane / 2 * 2;
                let (even, odd) =
                    box_muller::normal_pair(words[first], words[first + 1], job.table());
                if lane.is_multiple_of(2) { even } else { odd }
            }
            core => panic!("{core:?} draws nothing"),
        };
        let mut bits = scale(core, job.scale.mantissa, job.scale.exponent);
        if job.shifted() {
            bits = add(bits, job.mean);
        }
        if let Some([low, high]) = job.clamp {
            bits = clamp(bits, low, high);
        }
        bits
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
