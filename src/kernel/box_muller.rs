//! The normal core: the Box-Muller transform in 32-bit fixed point.
//!
//! Twin of `shaders/box_muller.wgsl`. Box and Muller, "A note on the generation of
//! random normal deviates", Annals of Mathematical Statistics 29 (1958): with u and
//! t / 2 pi uniform on (0, 1), r cos t and r sin t with r = sqrt(-2 ln u) are two
//! independent standard normals. Both words of a pair are read at the middle of
//! their step: u = (a + 1/2) / 2^32, t = 2 pi (b + 1/2) / 2^32, so u is never 0.
//!
//! Everything is unsigned integer arithmetic modulo 2^32, so every device makes the
//! same bits. `docs/STREAM.md` derives each scale and bound; the error against the
//! exact value is at most 2^-25 for every pair of words (`tests/accuracy.rs`).

use super::mul::mul_hi;

/// `round(2^31 * 64 / (33 + k))`: reciprocal of the upper end of segment `k`, where
/// [1/2, 1) is cut into 32 segments of equal width.
pub const RECIPROCAL: [u32; 32] = [
    0xf83e0f84, 0xf0f0f0f1, 0xea0ea0ea, 0xe38e38e4, 0xdd67c8a6, 0xd79435e5, 0xd20d20d2, 0xcccccccd,
    0xc7ce0c7d, 0xc30c30c3, 0xbe82fa0c, 0xba2e8ba3, 0xb60b60b6, 0xb21642c8, 0xae4c415d, 0xaaaaaaab,
    0xa72f0539, 0xa3d70a3d, 0xa0a0a0a1, 0x9d89d89e, 0x9a90e7d9, 0x97b425ed, 0x94f2094f, 0x92492492,
    0x8fb823ee, 0x8d3dcb09, 0x8ad8f2fc, 0x88888889, 0x864b8a7e, 0x84210842, 0x82082082, 0x80000000,
];

/// `round(2^32 * ln(64 / (33 + k)))`: minus the logarithm of the same upper end. The
/// last entry is exactly 0, which keeps the relative precision as u goes to 1.
pub const LOG: [u32; 32] = [
    0xa9917134, 0xa1ecff98, 0x9a81456d, 0x934b108a, 0x8c477208, 0x8573b717, 0x7ecd62be, 0x78522869,
    0x71ffe71d, 0x6bd4a549, 0x65ce8d0c, 0x5febe8ef, 0x5a2b20fa, 0x548ab81d, 0x4f0949dd, 0x49a58845,
    0x445e3a09, 0x3f3238d9, 0x3a206fe5, 0x3527da79, 0x304782cb, 0x2b7e80d7, 0x26cbf960, 0x222f1d04,
    0x1da72764, 0x19335e5d, 0x14d3115d, 0x108598b6, 0x0c4a550a, 0x0820aec5, 0x04081596, 0x00000000,
];

/// `round(2^31 * sqrt(2 * (33 + k) / 64))` in the first half, for an even exponent,
/// and `round(2^31 * sqrt((33 + k) / 64))` in the second, for an odd one.
pub const ROOT: [u32; 64] = [
    0x81fc0fb2, 0x83f07b35, 0x85dd983d, 0x87c3b667, 0x89a31fd2, 0x8b7c19a3, 0x8d4ee47b, 0x8f1bbcdd,
    0x90e2db87, 0x92a475c9, 0x9460bdca, 0x9617e2cb, 0x97ca1161, 0x997773ac, 0x9b203182, 0x9cc470a0,
    0x9e6454cd, 0xa0000000, 0xa197927e, 0xa32b2af9, 0xa4bae6ac, 0xa646e172, 0xa7cf35de, 0xa953fd4f,
    0xaad55001, 0xac534525, 0xadcdf2eb, 0xaf456e92, 0xb0b9cc79, 0xb22b202b, 0xb3997c68, 0xb504f334,
    0x5be9ba86, 0x5d4b9437, 0x5ea84346, 0x60000000, 0x6152fece, 0x62a17094, 0x63eb8305, 0x653160eb,
    0x66733266, 0x67b11d29, 0x68eb44a8, 0x6a21ca50, 0x6b54cda6, 0x6c846c72, 0x6db0c2e1, 0x6ed9eba1,
    0x70000000, 0x71231800, 0x72434a75, 0x7360ad12, 0x747b5482, 0x75935478, 0x76a8bfbf, 0x77bba846,
    0x78cc1f31, 0x79da34e6, 0x7ae5f915, 0x7bef7ac5, 0x7cf6c85d, 0x7dfbefae, 0x7efefdfb, 0x80000000,
];

/// Where in its segment a mantissa stands: `y = 1 - m / e`, with 37 fraction bits,
/// for the mantissa m in [1/2, 1) whose bits below the leading one are `fraction`, and
/// the upper end e of its segment `fraction >> 27`. 0 < y <= 1/33.
#[inline(always)]
pub const fn segment_offset(fraction: u32) -> u32 {
    // !(fraction << 5) is 32 d - 1 for the distance d to the upper end: never an
    // overflow at d = 2^27, and with the + 1 exact where the reciprocal is 1/2 * 2^32.
    mul_hi(!(fraction << 5), RECIPROCAL[(fraction >> 27) as usize]).wrapping_add(1)
}

/// The Box-Muller radius r = sqrt(-2 ln((a + 1/2) / 2^32)), with 28 fraction bits:
/// 2^-16.5 < r < 6.77.
#[inline(always)]
pub const fn radius(a: u32) -> u32 {
    // -ln u = zeros ln 2 + ln(1 / m), u = m 2^-zeros, m in [1/2, 1).
    let zeros = a.leading_zeros();
    let shift = zeros & 31;
    let fraction = ((a << shift) << 1) | (1 << shift);
    let segment = fraction >> 27;

    // -ln(1 - y) = y + y^2 (1/2 + y/3 + ...), 37 fraction bits.
    let y = segment_offset(fraction);
    let poly = 67_097_042 + ((45_022 * (y >> 16)) >> 11);
    let tail = y.wrapping_add(mul_hi(mul_hi(y, y), poly));
    // ln(1 / m), 32 fraction bits.
    let log_m = LOG[segment as usize].wrapping_add(tail >> 5);

    // -ln u with as many fraction bits as fit: 37 next to u = 1, 32 up to u = 1/2, 27 below.
    let near_one = zeros == 0 && segment == 31;
    let below_half = (93_032_640 * zeros)
        .wrapping_sub(zeros >> 2)
        .wrapping_add(log_m >> 5);
    let log = if near_one {
        tail
    } else if zeros == 0 {
        log_m
    } else {
        below_half
    };
    let scale = if near_one {
        37 - 26
    } else if zeros == 0 {
        32 - 26
    } else {
        27 - 26
    };

    // sqrt(2 * log) = root[segment] * sqrt(1 - y) * 2^(..), by the parity of the exponent.
    let log_zeros = log.leading_zeros();
    let fraction = (log << log_zeros) << 1;
    let exponent = log_zeros + scale;
    let y = segment_offset(fraction);
    let inner = 524_114 + ((33_997 * (y >> 16)) >> 18);
    let poly = 67_108_893 + mul_hi(y, inner);
    let root = ROOT[(((exponent & 1) << 5) | (fraction >> 27)) as usize];
    root.wrapping_sub(mul_hi(root, mul_hi(y, poly))) >> (exponent >> 1)
}

/// `(cos, sin)` of `pi/4 * x`, both with 32 fraction bits, for x in (0, 1) with 32 fraction
/// bits. The cosine never reaches 1.
#[inline(always)]
pub const fn cos_sin(x: u32) -> (u32, u32) {
    let x2 = mul_hi(x, x);
    let x2_short = x2 >> 16;
    let c3 = 1_399_910 - ((60_668 * x2_short) >> 18);
    let c2 = 68_093_819 - mul_hi(x2, c3);
    let c1 = 1_324_675_871 - mul_hi(x2, c2);
    let s2 = 10_693_919 - ((38_523 * x2_short) >> 14);
    let s1 = 346_798_712 - mul_hi(x2, s2);
    let s0 = 3_373_259_379 - mul_hi(x2, s1);
    (!mul_hi(x2, c1), mul_hi(x, s0))
}

/// Box-Muller on the words `(a, b)`: the cores `(r cos t, r sin t)` with 26 fraction bits,
/// each as sign (bit 31) and magnitude (bits 0 to 30).
#[inline(always)]
pub const fn normal_pair(a: u32, b: u32) -> (u32, u32) {
    let r = radius(a);

    // t = (quadrant + offset) * pi/2 with offset in (-1/2, 1/2), so sines and cosines of an
    // eighth of a turn are enough. The half step keeps the offset from being 0.
    let quadrant = b.wrapping_add(1 << 29) >> 30;
    let offset = (b << 2) | 2;
    let negative = offset >> 31;
    let magnitude = if negative != 0 {
        offset.wrapping_neg()
    } else {
        offset
    };
    let (cosine, sine) = cos_sin(magnitude << 1);

    let swap = quadrant & 1;
    let (even, odd) = if swap != 0 {
        (sine, cosine)
    } else {
        (cosine, sine)
    };
    let even_negative = ((quadrant + 1) >> 1) ^ (swap & negative);
    let odd_negative = (quadrant >> 1) ^ ((swap ^ 1) & negative);
    (
        ((mul_hi(r, even) + 2) >> 2) | (even_negative << 31),
        ((mul_hi(r, odd) + 2) >> 2) | (odd_negative << 31),
    )
}
