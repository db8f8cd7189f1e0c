// From whole numbers to the stored bits. Every drawn element is p * 2^e, p a whole number of at most
// 24 significant bits: exact in binary32, so there is nothing to round, whatever a device does to its
// floats. The 16-bit types are rounded in integers.
// Twin: src/kernel/value.rs.

const INFINITY: u32 = 0x7f800000u;

// x rounded down to 24 significant bits: its conversion to binary32 is exact.
fn cut(x: vec4<i32>) -> vec4<i32> {
    return x & kept(x);
}

// The bits that `cut` keeps.
fn kept(x: vec4<i32>) -> vec4<i32> {
    let lost = max(firstLeadingBit(x) - vec4<i32>(23), vec4<i32>(0));
    return vec4<i32>(-1) << vec4<u32>(lost);
}

// p * 2^exponent as binary32 bits in integers, for p that cut leaves as it is and an exponent of at
// least -149. A p of 0 gives +0.
fn value(p: vec4<i32>, exponent: i32) -> vec4<u32> {
    let magnitude = vec4<u32>(abs(p));
    let zeros = countLeadingZeros(magnitude);
    let field = vec4<i32>(158 + exponent) - vec4<i32>(zeros);
    // The leading bit of the significand adds 1 to the exponent's field.
    let significand = (magnitude << (zeros & vec4<u32>(31u))) >> vec4<u32>(8u);
    let normal = (vec4<u32>(field - vec4<i32>(1)) << vec4<u32>(23u)) + significand;
    // A multiple of 2^-149.
    let subnormal = magnitude << vec4<u32>(u32(exponent + 149) & 31u);
    let small = select(normal, subnormal, field < vec4<i32>(1));
    let finite = select(small, vec4<u32>(INFINITY), field > vec4<i32>(254));
    return select(finite | (vec4<u32>(p) & vec4<u32>(0x80000000u)), vec4<u32>(), p == vec4<i32>());
}

// The same in floats. Exact by the rules of WGSL (docs/STREAM.md), where no product is subnormal or
// overflows; a device that breaks them is found by the probe of probe.wgsl.
fn float_value(p: vec4<i32>, power: f32) -> vec4<u32> {
    return bitcast<vec4<u32>>(vec4<f32>(p) * power);
}

// binary32 bits rounded to bfloat16 bits.
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
    // 2^-14 and above: rebias the exponent, a carry out of the significand goes into it.
    let rebiased = magnitude - vec4<u32>(112u << 23u);
    let thirteen = vec4<u32>(13u);
    let normal = (rebiased + vec4<u32>(0xfffu) + ((rebiased >> thirteen) & one)) >> thirteen;
    // Below: a multiple of 2^-24.
    let shift = min(vec4<u32>(126u) - field, vec4<u32>(31u));
    let leading = select(vec4<u32>(), vec4<u32>(0x800000u), field != vec4<u32>());
    let significand = (magnitude & vec4<u32>(0x7fffffu)) | leading;
    let quotient = significand >> shift;
    let rest = significand & ((one << shift) - one);
    let half = (one << shift) >> one;
    let up = (rest > half) | ((rest == half) & ((quotient & one) == one));
    let subnormal = quotient + select(vec4<u32>(), one, up);

    let finite = select(normal, subnormal, magnitude < vec4<u32>(113u << 23u));
    return select(finite, vec4<u32>(0x7c00u), magnitude >= vec4<u32>(143u << 23u)) | sign;
}
