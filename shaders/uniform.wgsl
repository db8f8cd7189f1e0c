// The uniform core. Twin: src/kernel/uniform.rs.

// The core 2 (word >> 4) + 1 - 2^28, an odd multiple of 2^-28 in (-1, 1).
fn uniform_core(word: u32) -> i32 {
    return i32((word >> 3u) | 1u) - (1 << 28u);
}
