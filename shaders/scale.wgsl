// From the fixed-point core to the stored bits: exact scaling, rounding and packing, binary32
// arithmetic done in integers, because a device may contract, reassociate or flush its floats.
// Twin: src/kernel/scale.rs.

const INFINITY: u32 = 0x7f800000u;

// significand / 128, rounded to nearest, ties to even. Below 2^31, so that the sum does not overflow.
fn round_off_7_bits(significand: u32) -> u32 {
    return (significand + 0x3fu + ((significand >> 7u) & 1u)) >> 7u;
}

// significand / 256, rounded to nearest, ties to even.
fn round_off_8_bits(significand: u32) -> u32 {
    let quotient = significand >> 8u;
    return quotient + (((significand & 0xffu) + 0x7fu + (quotient & 1u)) >> 8u);
}

// RNE(scale * core) as binary32 bits. Mantissa and exponent are those of `Scale::new` in
// src/kernel/scale.rs. A core of 0 gives +0.
fn scale(core: i32, mantissa: u32, exponent: i32) -> u32 {
    let magnitude = u32(abs(core));
    let zeros = countLeadingZeros(magnitude);
    let product = mul_wide(magnitude << (zeros & 31u), mantissa);
    // The low word can only break ties: one sticky bit stands for it.
    let sticky = product.y | min(product.x, 1u);
    let shift = (product.y >> 30u) ^ 1u;
    var significand = sticky << shift;
    var biased = exponent - i32(zeros) - i32(shift);
    if (EXTREMES && (biased < 1)) {
        // Subnormal: shifted to the fixed exponent, what falls out stays sticky.
        let underflow = u32(min(1 - biased, 31));
        let lost = significand << (32u - underflow);
        significand = (significand >> underflow) | min(lost, 1u);
        biased = 1;
    }
    // The leading bit of the significand adds 1 to the exponent field.
    let bits = (u32(biased - 1) << 23u) + round_off_7_bits(significand);
    let finite = select(bits, min(bits, INFINITY), EXTREMES);
    let signed_bits = finite | (u32(core) & 0x80000000u);
    return select(signed_bits, 0u, magnitude == 0u);
}

// RNE(a + b) as binary32 bits, for a and b that are no NaN and not both infinite.
fn add(a: u32, b: u32) -> u32 {
    let a_is_larger = (a << 1u) >= (b << 1u);
    let x = select(b, a, a_is_larger);
    let y = select(a, b, a_is_larger);
    let x_field = (x >> 23u) & 0xffu;
    let y_field = (y >> 23u) & 0xffu;
    // Subnormals have the exponent of field 1 and no leading bit.
    let x_exponent = max(x_field, 1u);
    let y_exponent = max(y_field, 1u);
    let x_significand = ((x & 0x7fffffu) | select(0u, 0x800000u, x_field != 0u)) << 7u;
    let y_significand = ((y & 0x7fffffu) | select(0u, 0x800000u, y_field != 0u)) << 7u;

    let distance = min(x_exponent - y_exponent, 31u);
    let lost = (y_significand << 1u) << (31u - distance);
    let aligned = (y_significand >> distance) | select(0u, 1u, lost != 0u);
    let same_sign = ((x ^ y) >> 31u) == 0u;
    let sum = select(x_significand - aligned, x_significand + aligned, same_sign);

    // Not below the exponent of the subnormals.
    let shift = min(countLeadingZeros(sum), x_exponent);
    let significand = sum << (shift & 31u);
    let bits = ((x_exponent - shift) << 23u) + round_off_8_bits(significand);
    let sign = x & 0x80000000u;
    let finite = min(bits, INFINITY) | sign;
    let zero = select(0u, sign, same_sign);
    return select(select(finite, zero, sum == 0u), x, x_field == 0xffu);
}

// A key that orders binary32 bits as the numbers they stand for (-0 just below +0).
fn order(bits: u32) -> u32 {
    return bits ^ (u32(i32(bits) >> 31u) | 0x80000000u);
}

// The bits of a key.
fn from_order(key: u32) -> u32 {
    return key ^ (~u32(i32(key) >> 31u) | 0x80000000u);
}

// `bits` clamped into [low, high], all binary32 bits of numbers. (WGSL has a clamp of its own.)
fn clamp_bits(bits: u32, low: u32, high: u32) -> u32 {
    return from_order(min(max(order(bits), order(low)), order(high)));
}

// The same where low has its sign set and high has not: as a signed number, whatever has its sign set is
// below high, and as an unsigned one, above low if it is farther from zero, and below it otherwise.
fn clamp_across_zero(bits: u32, low: u32, high: u32) -> u32 {
    return min(u32(min(i32(bits), i32(high))), low);
}

// binary32 bits rounded to bfloat16 bits.
fn to_bf16(bits: u32) -> u32 {
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// binary32 bits rounded to binary16 bits.
fn to_f16(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    let field = magnitude >> 23u;
    // 2^-14 and above: rebias the exponent, a carry out of the significand goes into it.
    let rebiased = magnitude - (112u << 23u);
    let normal = (rebiased + 0xfffu + ((rebiased >> 13u) & 1u)) >> 13u;
    // Below: a multiple of 2^-24.
    let shift = min(126u - field, 31u);
    let significand = (magnitude & 0x7fffffu) | select(0u, 0x800000u, field != 0u);
    let quotient = significand >> shift;
    let rest = significand & ((1u << shift) - 1u);
    let half = (1u << shift) >> 1u;
    let up = (rest > half) || ((rest == half) && ((quotient & 1u) == 1u));
    let subnormal = quotient + select(0u, 1u, up);

    let finite = select(normal, subnormal, magnitude < (113u << 23u));
    return select(finite, 0x7c00u, magnitude >= (143u << 23u)) | sign;
}
