//! From whole numbers to the stored bits.
//!
//! Twin of `shaders/value.wgsl`. Every drawn element is `p * 2^e`: p a whole number of at most 24
//! significant bits, e one number for the whole tensor. Such a number is a binary32 exactly, so
//! there is nothing to round, whatever a device does to its floats. What is not drawn, and the
//! 16-bit types, are rounded here in integers: to nearest, ties to even, subnormals kept.

/// +infinity in binary32, as bits.
const INFINITY: u32 = 0x7f80_0000;

/// The exponents with which a device makes values in floats: no product with a whole number of at
/// most 28 bits is subnormal or overflows there.
pub const FLOAT_EXPONENTS: std::ops::RangeInclusive<i32> = -126..=99;

/// `2^exponent` in binary32, for [`FLOAT_EXPONENTS`].
#[inline(always)]
pub const fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// `x` rounded down to 24 significant bits: its conversion to binary32 is exact.
#[inline(always)]
pub const fn cut(x: i32) -> i32 {
    x & kept(x)
}

/// The bits that [`cut`] keeps.
#[inline(always)]
pub const fn kept(x: i32) -> i32 {
    // The highest bit that differs from the sign, which WGSL calls firstLeadingBit.
    let highest = 31 - (x ^ (x >> 31)).leading_zeros() as i32;
    -1 << if highest > 23 { highest - 23 } else { 0 }
}

/// `p * 2^exponent` as binary32 bits, for p that [`cut`] leaves as it is and an exponent of at
/// least -149. Exact, but for an infinity beyond the largest number. A p of 0 gives +0.
#[inline(always)]
pub const fn value(p: i32, exponent: i32) -> u32 {
    let magnitude = p.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    let field = 158 + exponent - zeros as i32;
    let bits = if magnitude == 0 {
        0
    } else if field < 1 {
        // Subnormal: a multiple of 2^-149.
        magnitude << ((exponent + 149) & 31)
    } else if field > 254 {
        INFINITY
    } else {
        // The leading bit of the significand adds 1 to the exponent's field.
        (((field - 1) as u32) << 23) + ((magnitude << (zeros & 31)) >> 8)
    };
    bits | (p as u32 & 0x8000_0000)
}

/// binary32 bits rounded to bfloat16 bits.
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
    // 2^-14 and above: rebias the exponent, a carry out of the significand goes into it.
    let rebiased = magnitude.wrapping_sub(112 << 23);
    let normal = rebiased.wrapping_add(0xfff + ((rebiased >> 13) & 1)) >> 13;
    // Below: a multiple of 2^-24.
    let shift = 126u32.wrapping_sub(field);
    let shift = if shift < 31 { shift } else { 31 };
    let significand = (magnitude & 0x7f_ffff) | (((field != 0) as u32) << 23);
    let quotient = significand >> shift;
    let rest = significand & ((1 << shift) - 1);
    let half = (1u32 << shift) >> 1;
    let up = rest > half || (rest == half && quotient & 1 == 1);
    let subnormal = quotient + up as u32;

    let half_bits = if magnitude >= 143 << 23 {
        0x7c00
    } else if magnitude < 113 << 23 {
        subnormal
    } else {
        normal
    };
    half_bits | sign
}
