//! The whole numbers of a distribution, from the words of Philox.

use crate::init::Scaling;
use crate::kernel::box_muller::POINTS;
use crate::kernel::curve::ENTRIES;

use super::isa::Isa;

/// Makes whole numbers of words, in two stages.
pub(super) trait NumberSource: Copy {
    /// The first stage's results, kept in memory for the second.
    type Ready<I: Isa>: Copy;
    /// Finds the table indices of words as [`philox`] gives them.
    fn ready<I: Isa>(self, isa: I, words: [I::V; 2]) -> Self::Ready<I>;
    /// The numbers of lanes 0 and 2 of the blocks, and of lanes 1 and 3, before shift and cut: for
    /// both the even and the odd packed lanes, in the upper halves of wide ones.
    fn numbers<I: Isa>(self, isa: I, ready: &Self::Ready<I>) -> [[I::V; 2]; 2];
}

/// `kernel::uniform`.
#[derive(Clone, Copy)]
pub(super) struct UniformSource {
    pub scaling: Scaling,
}

impl NumberSource for UniformSource {
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

/// The result of `kernel::curve::place`: the index of the entry, modulo the length of the table, and
/// the bits that hold the place.
#[derive(Clone, Copy)]
pub(super) struct CurvePlace<V> {
    entry: V,
    bits: V,
}

/// `kernel::curve::place`.
#[inline(always)]
fn place<I: Isa>(isa: I, words: I::V) -> CurvePlace<I::V> {
    let bits = isa.convert_down(isa.or(words, isa.splat(1)));
    let lower = isa.and(isa.shr_u::<17>(bits), isa.splat(0x7ff));
    let upper = isa.and(isa.shr_u::<20>(bits), isa.splat(!0x7ff));
    CurvePlace {
        entry: isa.or(lower, upper),
        bits,
    }
}

/// `kernel::curve`.
#[inline(always)]
fn curve<I: Isa>(isa: I, table: &[[u32; 2]; ENTRIES], place: &CurvePlace<I::V>) -> I::V {
    let [constants, coefficients] = isa.entries(table, &place.entry);
    // The place in the upper half of a lane, its highest bit turned over: from the middle.
    let t = isa.xor(isa.shl::<15>(place.bits), isa.splat(0x8000_0000));
    let powers = isa.halves(isa.square16(t), isa.shr_u::<16>(t));
    let sum = isa.mul16_sum(coefficients, powers);
    isa.add(constants, isa.shr_s::<9>(sum))
}

/// A curve of one word, scaled.
#[derive(Clone, Copy)]
pub(super) struct QuantileSource<'a> {
    pub table: &'a [[u32; 2]; ENTRIES],
    pub scaling: Scaling,
}

impl NumberSource for QuantileSource<'_> {
    type Ready<I: Isa> = [CurvePlace<I::V>; 2];

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
pub(super) struct NormalSource<'a> {
    pub radii: &'a [[u32; 2]; ENTRIES],
    pub circle: &'a [[u32; 2]; POINTS],
    pub scaling: Scaling,
}

impl NumberSource for NormalSource<'_> {
    type Ready<I: Isa> = (CurvePlace<I::V>, I::V);

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

/// Products of packed numbers with the factors of their even and odd lanes, wide:
/// `kernel::mul::mul_shifted` without the shift.
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
