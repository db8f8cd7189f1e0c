//! The counter-based generator Philox4x32-10.
//!
//! Twin of `shaders/philox.wgsl`. Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
//! as easy as 1, 2, 3", SC 2011: a bijection of 128-bit counters, keyed with 64 bits, whose
//! output passes BigCrush. No state: any block of the stream is made on its own.

use super::mul::mul_wide;

/// Multipliers of the two halves of a round (PHILOX_M4x32 in the paper's Random123).
pub(crate) const MULTIPLIER: [u32; 2] = [0xd2511f53, 0xcd9e8d57];
/// Weyl increments of the key: the golden ratio and sqrt(3) - 1 (PHILOX_W32).
pub(crate) const WEYL: [u32; 2] = [0x9e3779b9, 0xbb67ae85];
/// Rounds of Philox4x32-10.
const ROUNDS: u32 = 10;

/// The four words that Philox4x32-10 gives for a counter under a key.
#[inline(always)]
pub const fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < ROUNDS {
        let (low0, high0) = mul_wide(MULTIPLIER[0], c0);
        let (low1, high1) = mul_wide(MULTIPLIER[1], c2);
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [c0, c1, c2, c3]
}

/// The counter of a block and draw: c0 and c1 hold the 48-bit block with the 16-bit draw
/// above it, c2 and c3 the stream id.
#[inline(always)]
pub const fn counter(block: u64, draw: u32, stream: [u32; 2]) -> [u32; 4] {
    [
        block as u32,
        ((block >> 32) as u32).wrapping_add(draw << 16),
        stream[0],
        stream[1],
    ]
}
