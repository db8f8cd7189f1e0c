//! The counter-based generator Philox4x32-10.
//!
//! Twin of `shaders/philox.wgsl`. Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
//! as easy as 1, 2, 3", SC 2011: a bijection of 128-bit counters, keyed with 64 bits, whose
//! output passes BigCrush. It has no state, so any block of the stream can be made without the
//! others.

use super::mul::mul_wide;

/// Multipliers of the two halves of a round: PHILOX_M4x32 of the paper's library Random123.
pub(crate) const MULTIPLIER: [u32; 2] = [0xd2511f53, 0xcd9e8d57];
/// Increments of the round key, PHILOX_W32 of Random123: the fractional parts of the golden ratio
/// and of sqrt(3), times 2^32.
pub(crate) const WEYL: [u32; 2] = [0x9e3779b9, 0xbb67ae85];
/// Rounds of Philox4x32-10.
const ROUNDS: usize = 10;

/// One round of Philox with its round key.
#[inline(always)]
const fn round_under(c: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (low0, high0) = mul_wide(MULTIPLIER[0], c[0]);
    let (low1, high1) = mul_wide(MULTIPLIER[1], c[2]);
    [high1 ^ c[1] ^ key[0], low1, high0 ^ c[3] ^ key[1], low0]
}

/// The four random words of a counter and a key.
#[inline(always)]
pub const fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let keys = round_keys(key);
    let mut c = counter;
    let mut i = 0;
    while i < ROUNDS {
        c = round_under(c, keys[i]);
        i += 1;
    }
    c
}

/// The counter of a block and a draw. c0 and c1 hold the 48-bit block with the 16-bit draw above
/// it, c2 and c3 hold the stream id.
#[inline(always)]
pub const fn counter(block: u64, draw: u32, stream: [u32; 2]) -> [u32; 4] {
    [
        block as u32,
        ((block >> 32) as u32).wrapping_add(draw << 16),
        stream[0],
        stream[1],
    ]
}

/// The keys of the rounds. They are the same for all blocks of a fill, so the host computes them
/// once.
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

/// The part of round 1 that depends on the stream id only, for [`philox_block`]: c0 without the
/// block's high word, c1, and the number that c2 is xored with. The host computes it once.
#[inline(always)]
pub const fn first_round(stream: [u32; 2], key: [u32; 2]) -> [u32; 3] {
    let (low, high) = mul_wide(MULTIPLIER[1], stream[0]);
    [high ^ key[0], low, stream[1] ^ key[1]]
}

/// The random words of a block in draw 0: [`philox`] of its [`counter`], from [`round_keys`] and
/// [`first_round`].
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
        c = round_under(c, keys[i]);
        i += 1;
    }
    c
}
