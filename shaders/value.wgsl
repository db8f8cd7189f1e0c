// From whole numbers to the stored bits. Every drawn element is p * 2^e, where p has at most 24
// significant bits. It is exact in binary32, so no device can round it differently. The 16-bit types are
// rounded in integers: to nearest, ties to even, subnormals kept.
// Twin: src/kernel/value.rs, which also has `power`: it runs on the host only. `float_value` is here only.

// Positive infinity in binary32, as bits.
const INFINITY: u32 = 0x7f800000u;

// x rounded down to 24 significant bits, which convert to binary32 exactly.
fn cut(x: vec4<i32>) -> vec4<i32> {
    return x & kept(x);
}

// The mask of the bits that `cut` keeps. firstLeadingBit gives the highest bit that differs from the
// sign, and -1 for 0 and -1.
fn kept(x: vec4<i32>) -> vec4<i32> {
    let lost = max(firstLeadingBit(x) - vec4<i32>(23), vec4<i32>(0));
    return vec4<i32>(-1) << vec4<u32>(lost);
}

// p * 2^exponent as binary32 bits, made in integers. Exact for p of at most 24 significant bits and an
// exponent of at least -149; beyond the largest binary32 it is infinity. p = 0 gives +0.
fn value(p: vec4<i32>, exponent: i32) -> vec4<u32> {
    let magnitude = vec4<u32>(abs(p));
    let zeros = countLeadingZeros(magnitude);
    // The exponent's field: the bias 127, plus 31 - zeros for the position of the leading bit.
    let field = vec4<i32>(158 + exponent) - vec4<i32>(zeros);
    // The leading bit of the significand adds 1 to the exponent's field, hence field - 1. Shifts are masked
    // to 31 for p = 0 and for lanes whose result is not selected.
    let significand = (magnitude << (zeros & vec4<u32>(31u))) >> vec4<u32>(8u);
    let normal = (vec4<u32>(field - vec4<i32>(1)) << vec4<u32>(23u)) + significand;
    // Subnormal: a multiple of 2^-149.
    let subnormal = magnitude << vec4<u32>(u32(exponent + 149) & 31u);
    let small = select(normal, subnormal, field < vec4<i32>(1));
    let finite = select(small, vec4<u32>(INFINITY), field > vec4<i32>(254));
    return select(finite | (vec4<u32>(p) & vec4<u32>(0x80000000u)), vec4<u32>(), p == vec4<i32>());
}

// p * power as binary32 bits, made in floats. The rules of WGSL make it exact where no product is
// subnormal or overflows (docs/STREAM.md). The probe of probe.wgsl finds devices that break the rules.
fn float_value(p: vec4<i32>, power: f32) -> vec4<u32> {
    return bitcast<vec4<u32>>(vec4<f32>(p) * power);
}

// binary32 bits rounded to bfloat16 bits. The addend is just below half a unit, and half a unit where the
// last bit that is kept is odd: ties go to even.
fn to_bf16(bits: vec4<u32>) -> vec4<u32> {
    let half = vec4<u32>(16u);
    return (bits + vec4<u32>(0x7fffu) + ((bits >> half) & vec4<u32>(1u))) >> half;
}

// binary32 bits rounded to binary16 bits.
fn to_f16(bits: vec4<u32>) -> vec4<u32> {
    let one = vec4<u32>(1u);
    let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    let field = magnitude >> vec4<u32>(23u);
    // From 2^-14 (field 113) on: a normal number. The bias goes from 127 to 15, which is 112 less, and 13
    // bits of the significand are dropped. A carry out of the significand goes into the exponent.
    let rebiased = magnitude - vec4<u32>(112u << 23u);
    let thirteen = vec4<u32>(13u);
    let normal = (rebiased + vec4<u32>(0xfffu) + ((rebiased >> thirteen) & one)) >> thirteen;
    // Below: a multiple of 2^-24, which is the significand shifted by 126 - field. A shift of 31 leaves
    // nothing of it.
    let shift = min(vec4<u32>(126u) - field, vec4<u32>(31u));
    let leading = select(vec4<u32>(), vec4<u32>(0x800000u), field != vec4<u32>());
    let significand = (magnitude & vec4<u32>(0x7fffffu)) | leading;
    let quotient = significand >> shift;
    let rest = significand & ((one << shift) - one);
    let half = (one << shift) >> one;
    let up = (rest > half) | ((rest == half) & ((quotient & one) == one));
    let subnormal = quotient + select(vec4<u32>(), one, up);

    let finite = select(normal, subnormal, magnitude < vec4<u32>(113u << 23u));
    // From 2^16 (field 143) on: infinity.
    return select(finite, vec4<u32>(0x7c00u), magnitude >= vec4<u32>(143u << 23u)) | sign;
}
