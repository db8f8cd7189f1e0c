//! From the fixed-point core to the stored bits: exact scaling, rounding and packing.
//!
//! Twin of `shaders/scale.wgsl`. A device may contract, reassociate or flush its floats, so
//! binary32 arithmetic is done here in integers: each function gives exactly what IEEE 754
//! asks for, round to nearest, ties to even, subnormals kept.

use super::mul::mul_wide;

/// +infinity in binary32, as bits.
const INFINITY: u32 = 0x7f80_0000;

/// `significand / 128`, rounded to nearest, ties to even. Below 2^31, so that the sum does not
/// overflow.
#[inline(always)]
const fn round_off_7_bits(significand: u32) -> u32 {
    (significand + 0x3f + ((significand >> 7) & 1)) >> 7
}

/// `significand / 256`, rounded to nearest, ties to even.
#[inline(always)]
const fn round_off_8_bits(significand: u32) -> u32 {
    let quotient = significand >> 8;
    quotient + (((significand & 0xff) + 0x7f + (quotient & 1)) >> 8)
}

/// `RNE(scale * core)` as binary32 bits.
///
/// The scale is `mantissa * 2^(exponent - 189 + fraction)` with
/// the mantissa's bit 30 set, where `fraction` is the core's number of fraction bits: see
/// [`Scale::new`]. A core of 0 gives +0.
#[inline(always)]
pub const fn scale(core: i32, mantissa: u32, exponent: i32) -> u32 {
    let magnitude = core.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    let (low, high) = mul_wide(magnitude << (zeros & 31), mantissa);
    // The low word can only break ties: one sticky bit stands for it.
    let sticky = high | (low != 0) as u32;
    let shift = (high >> 30) ^ 1;
    let mut significand = sticky << shift;
    let mut biased = exponent - zeros as i32 - shift as i32;
    if biased < 1 {
        // Subnormal: shifted to the fixed exponent, what falls out stays sticky.
        let underflow = if 1 - biased < 31 { 1 - biased } else { 31 } as u32;
        let lost = (significand << (32 - underflow)) != 0;
        significand = (significand >> underflow) | lost as u32;
        biased = 1;
    }
    // The leading bit of the significand adds 1 to the exponent field.
    let bits = (((biased - 1) as u32) << 23).wrapping_add(round_off_7_bits(significand));
    let finite = if bits < INFINITY { bits } else { INFINITY };
    if magnitude == 0 {
        0
    } else {
        finite | (core as u32 & 0x8000_0000)
    }
}

/// `RNE(a + b)` as binary32 bits, for `a` and `b` that are no NaN and not both infinite.
#[inline(always)]
pub const fn add(a: u32, b: u32) -> u32 {
    let a_is_larger = (a << 1) >= (b << 1);
    let (x, y) = if a_is_larger { (a, b) } else { (b, a) };
    let x_field = (x >> 23) & 0xff;
    let y_field = (y >> 23) & 0xff;
    // Subnormals have the exponent of field 1 and no leading bit.
    let x_exponent = if x_field == 0 { 1 } else { x_field };
    let y_exponent = if y_field == 0 { 1 } else { y_field };
    let x_significand = ((x & 0x7f_ffff) | (((x_field != 0) as u32) << 23)) << 7;
    let y_significand = ((y & 0x7f_ffff) | (((y_field != 0) as u32) << 23)) << 7;

    let distance = x_exponent - y_exponent;
    let distance = if distance < 31 { distance } else { 31 };
    let lost = ((y_significand << 1) << (31 - distance)) != 0;
    let aligned = (y_significand >> distance) | lost as u32;
    let same_sign = (x ^ y) >> 31 == 0;
    let sum = if same_sign {
        x_significand + aligned
    } else {
        x_significand - aligned
    };

    let zeros = sum.leading_zeros();
    // Not below the exponent of the subnormals.
    let shift = if zeros < x_exponent {
        zeros
    } else {
        x_exponent
    };
    let significand = sum << (shift & 31);
    let bits = ((x_exponent.wrapping_sub(shift)) << 23).wrapping_add(round_off_8_bits(significand));
    let finite = if bits < INFINITY { bits } else { INFINITY };
    let sign = x & 0x8000_0000;
    if x_field == 0xff {
        x
    } else if sum == 0 {
        if same_sign { sign } else { 0 }
    } else {
        finite | sign
    }
}

/// A key that orders binary32 bits as the numbers they stand for (-0 just below +0).
#[inline(always)]
const fn order(bits: u32) -> u32 {
    bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000)
}

/// The bits of a key.
#[inline(always)]
const fn from_order(key: u32) -> u32 {
    key ^ (!((key as i32) >> 31) as u32 | 0x8000_0000)
}

/// `bits` clamped into `[low, high]`, all binary32 bits of numbers.
#[inline(always)]
pub const fn clamp(bits: u32, low: u32, high: u32) -> u32 {
    let (key, low, high) = (order(bits), order(low), order(high));
    from_order(if key < low {
        low
    } else if key > high {
        high
    } else {
        key
    })
}

/// [`clamp`] where `low` has its sign set and `high` has not: as a signed number, whatever has its sign
/// set is below `high`, and as an unsigned one, above `low` if it is farther from zero.
#[inline(always)]
pub const fn clamp_across_zero(bits: u32, low: u32, high: u32) -> u32 {
    let lowered = if bits as i32 > high as i32 {
        high
    } else {
        bits
    };
    if lowered > low { low } else { lowered }
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

/// A binary32 scale, taken apart on the host for [`scale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The significand, with bit 30 set and at most the 23 bits below it.
    pub mantissa: u32,
    /// Biased so that the exponent field of the product is `exponent` less the leading zeros of
    /// the core's magnitude and of the product.
    pub exponent: i32,
}

impl Scale {
    /// Takes apart a finite scale > 0 for a core with `fraction_bits` fraction bits.
    #[inline]
    pub const fn new(scale: f32, fraction_bits: i32) -> Scale {
        let bits = scale.to_bits();
        let field = (bits >> 23) & 0xff;
        let significand = (bits & 0x7f_ffff) | (((field != 0) as u32) << 23);
        let zeros = significand.leading_zeros();
        let power = if field == 0 { 1 } else { field as i32 } - 150 - zeros as i32;
        // Normalized to 2^62, a product stands for 1.0 * 2^(63 + power - fraction_bits): the mantissa
        // is half of the normalized significand.
        Scale {
            mantissa: (significand << (zeros & 31)) >> 1,
            exponent: 127 + 63 + power - fraction_bits,
        }
    }
}
