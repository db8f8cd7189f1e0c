// Uniform whole numbers. Twin: src/kernel/uniform.rs.

// One of the `count` whole numbers from `first` on for each word: first + floor(word * count / 2^32).
// It is never first + count, so the range is half-open by construction. The twin is called `uniform`,
// which WGSL has as the name of an address space.
fn uniform_numbers(words: vec4<u32>, count: u32, first: i32) -> vec4<i32> {
    let above = vec4<u32>(
        mul_hi(words.x, count),
        mul_hi(words.y, count),
        mul_hi(words.z, count),
        mul_hi(words.w, count),
    );
    return vec4<i32>(first) + vec4<i32>(above);
}
