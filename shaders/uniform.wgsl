// The uniform core. Twin: src/kernel/uniform.rs.

// The core 2 (word >> 4) + 1 - 2^28, an odd multiple of 2^-28 in (-1, 1), as sign (bit 31) and
// magnitude (bits 0 to 30). Words below 2^31 are the negative half, mirrored.
fn uniform_core(word: u32) -> u32 {
    let negative = (~word) & 0x80000000u;
    let mirrored = select(word, ~word, negative != 0u);
    return (((mirrored & 0x7fffffffu) >> 3u) | 1u) | negative;
}
