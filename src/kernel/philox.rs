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
const ROUNDS: usize = 10;

/// One round under its key.
#[inline(always)]
const fn round(c: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (low0, high0) = mul_wide(MULTIPLIER[0], c[0]);
    let (low1, high1) = mul_wide(MULTIPLIER[1], c[2]);
    [high1 ^ c[1] ^ key[0], low1, high0 ^ c[3] ^ key[1], low0]
}

/// The four words that Philox4x32-10 gives for a counter under a key.
#[inline(always)]
pub const fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let keys = round_keys(key);
    let mut c = counter;
    let mut i = 0;
    while i < ROUNDS {
        c = round(c, keys[i]);
        i += 1;
    }
    c
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

/// The keys of the rounds: the same for all blocks of a fill, so devices get them ready made.
#[inline(always)]
pub const fn round_keys(key: [u32; 2]) -> [[u32; 2]; ROUNDS] {
    let mut keys = [key; ROUNDS];
    let mut i = 1;
    while i < ROUNDS {
        keys[i] = [
            keys[i - 1][0].wrapping_add(WEYL[0]),
            keys[i - 1][1].wrapping_add(WEYL[1]),
        ];
        i += 1;
    }
    keys
}

/// What round 1 makes of the stream id alone, for [`philox_block`]: c0 without the block's high
/// word, c1, and what c2 is xored with.
#[inline(always)]
pub const fn first_round(stream: [u32; 2], key: [u32; 2]) -> [u32; 3] {
    let (low, high) = mul_wide(MULTIPLIER[1], stream[0]);
    [high ^ key[0], low, stream[1] ^ key[1]]
}

/// The words of a block in draw 0: `philox` of its counter, from round keys and a first round that
/// were made once.
#[inline(always)]
pub const fn philox_block(block: u64, keys: &[[u32; 2]; ROUNDS], first: [u32; 3]) -> [u32; 4] {
    let (low, high) = mul_wide(MULTIPLIER[0], block as u32);
    let mut c = [
        first[0] ^ (block >> 32) as u32,
        first[1],
        high ^ first[2],
        low,
    ];
    let mut i = 1;
    while i < ROUNDS {
        c = round(c, keys[i]);
        i += 1;
    }
    c
}
