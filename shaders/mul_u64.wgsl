// The 32 x 32 -> 64 bit multiply in u64, for devices with the feature SHADER_INT64: one
// instruction there. Same bits as mul_u32.wgsl.
// Twin: src/kernel/mul.rs.

// The high 32 bits of the 64-bit product a * b.
fn mul_hi(a: u32, b: u32) -> u32 {
    return u32((u64(a) * u64(b)) >> 32u);
}

// The 64-bit product a * b as (low, high) words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let product = u64(a) * u64(b);
    return vec2<u32>(u32(product), u32(product >> 32u));
}
