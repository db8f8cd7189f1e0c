//! The instructions that the kernel needs, as traits.

use crate::kernel::value::power;

/// The instructions of the generator, which works on [`Twice`](super::twice::Twice) the registers: its rounds are a chain,
/// in which each instruction waits for the one before. Registers have `2 * BLOCKS` lanes.
///
/// A function with `u` in its name treats lanes as unsigned, with `s` as signed numbers; lanes are
/// of 32 bits, in functions whose name ends in 64 of 64 bits.
pub(super) trait Registers: Copy {
    /// Blocks of the stream that are made at a time.
    const BLOCKS: usize;
    /// True if [`philox`](super::philox::philox) takes the keys of two rounds at once. This saves 6 of 70
    /// instructions and 7 % of the time of a normal with AVX2. AVX-512 has an exclusive or of three
    /// registers, so it saves nothing there, and `Portable` took 2.3 x the time.
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
pub(super) enum Order {
    /// Each 128 bits hold two that follow each other.
    Pairs,
    /// Even wide lanes hold the first half of the blocks, odd ones the second.
    EvenFirst,
}

/// An instruction set. Functions with a body are overridden where one instruction does the same.
pub(super) trait Isa: Registers {
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
