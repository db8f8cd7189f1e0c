//! From whole numbers to the stored bits.
//!
//! Twin of `shaders/value.wgsl`. Every drawn element is `p * 2^e`, where p has at most 24
//! significant bits and e is one number for the whole tensor. It is exact in binary32, so no device
//! can round it differently. The 16-bit types are rounded in integers: to nearest, ties to even,
//! subnormals kept. `float_value` of the shader has no twin: on the host it is a conversion and a
//! product.

/// Positive infinity in binary32, as bits.
const INFINITY: u32 = 0x7f80_0000;

/// The exponents with which a device makes values in floats. With them 2^e is a normal number, and
/// its product with a whole number of at most 28 bits is at most 2^127, so nothing is subnormal or
/// overflows.
pub const FLOAT_EXPONENTS: std::ops::RangeInclusive<i32> = -126..=99;

/// `2^exponent` in binary32, for [`FLOAT_EXPONENTS`]. The host computes it.
#[inline(always)]
pub const fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// `x` rounded down to 24 significant bits, which convert to binary32 exactly.
#[inline(always)]
pub const fn cut(x: i32) -> i32 {
    x & kept(x)
}

/// The mask of the bits that [`cut`] keeps.
#[inline(always)]
pub const fn kept(x: i32) -> i32 {
    // The highest bit that differs from the sign, which WGSL calls firstLeadingBit; -1 for 0 and -1.
    let highest = 31 - (x ^ (x >> 31)).leading_zeros() as i32;
    -1 << if highest > 23 { highest - 23 } else { 0 }
}

/// `p * 2^exponent` as binary32 bits, made in integers. Exact for p of at most 24 significant bits
/// and an exponent of at least -149; beyond the largest binary32 it is infinity. p = 0 gives +0.
#[inline(always)]
pub const fn value(p: i32, exponent: i32) -> u32 {
    let magnitude = p.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    // The exponent's field: the bias 127, plus 31 - zeros for the position of the leading bit.
    let field = 158 + exponent - zeros as i32;
    let bits = if magnitude == 0 {
        0
    } else if field < 1 {
        // Subnormal: a multiple of 2^-149.
        magnitude << ((exponent + 149) & 31)
    } else if field > 254 {
        INFINITY
    } else {
        // The leading bit of the significand adds 1 to the exponent's field, hence field - 1.
        (((field - 1) as u32) << 23) + ((magnitude << (zeros & 31)) >> 8)
    };
    bits | (p as u32 & 0x8000_0000)
}

/// binary32 bits rounded to bfloat16 bits. The addend is just below half a unit, and half a unit
/// where the last bit that is kept is odd: ties go to even.
#[inline(always)]
pub const fn to_bf16(bits: u32) -> u32 {
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}

/// binary32 bits rounded to binary16 bits.
#[inline(always)]
pub const fn to_f16(bits: u32) -> u32 {
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let field = magnitude >> 23;
    // From 2^-14 (field 113) on: a normal number. The bias goes from 127 to 15, which is 112 less,
    // and 13 bits of the significand are dropped. A carry out of the significand goes into the
    // exponent.
    let rebiased = magnitude.wrapping_sub(112 << 23);
    let normal = rebiased.wrapping_add(0xfff + ((rebiased >> 13) & 1)) >> 13;
    // Below: a multiple of 2^-24, which is the significand shifted by 126 - field. A shift of 31
    // leaves nothing of it.
    let shift = 126u32.wrapping_sub(field);
    let shift = if shift < 31 { shift } else { 31 };
    let significand = (magnitude & 0x7f_ffff) | (((field != 0) as u32) << 23);
    let quotient = significand >> shift;
    let rest = significand & ((1 << shift) - 1);
    let half = (1u32 << shift) >> 1;
    let up = rest > half || (rest == half && quotient & 1 == 1);
    let subnormal = quotient + up as u32;

    // From 2^16 (field 143) on: infinity.
    let half_bits = if magnitude >= 143 << 23 {
        0x7c00
    } else if magnitude < 113 << 23 {
        subnormal
    } else {
        normal
    };
    half_bits | sign
}
