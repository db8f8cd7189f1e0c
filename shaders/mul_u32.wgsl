// The 32 x 32 -> 64 bit multiply in plain u32, for every device.
// Twin: src/kernel/mul.rs. The other spelling of the same functions: mul_u64.wgsl.

// The high 32 bits of the 64-bit product a * b.
fn mul_hi(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    // Neither sum can overflow: (2^16 - 1)^2 + 2 (2^16 - 1) = 2^32 - 1.
    let low = (a1 * b0) + ((a0 * b0) >> 16u);
    let middle = (a0 * b1) + (low & 0xffffu);
    return (a1 * b1) + (low >> 16u) + (middle >> 16u);
}

// The 64-bit product a * b as (low, high) words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, mul_hi(a, b));
}
