//! Philox4x32-10 on registers.

use crate::kernel::philox::MULTIPLIER;

use super::draw::Draw;
use super::isa::Registers;

/// The results of the first rounds of Philox for the parts of the counter that all blocks share.
#[derive(Clone, Copy)]
pub(super) struct PhiloxStart {
    /// c1 after the first round, and the number whose exclusive or with the upper product is c2 there.
    first: [u32; 2],
    /// The number whose exclusive or with c3 is c2 in the second round, and c3 after it.
    second: [u32; 2],
    /// The keys of rounds 4 to 9, two rounds in one: a product's upper half goes into its own round,
    /// the lower one into the next.
    joint: [[u64; 2]; 3],
}

impl PhiloxStart {
    #[inline(always)]
    pub fn new(draw: Draw<'_>, high: u32) -> PhiloxStart {
        let [s0, s1] = draw.job.stream;
        let [k0, k1] = draw.keys[0];
        let product = u64::from(MULTIPLIER[1]) * u64::from(s0);
        let c0 = (product >> 32) as u32 ^ high ^ k0;
        let next = u64::from(MULTIPLIER[0]) * u64::from(c0);
        PhiloxStart {
            first: [product as u32, s1 ^ k1],
            second: [(next >> 32) as u32 ^ draw.keys[1][1], next as u32],
            joint: [3, 5, 7].map(|i| {
                let (key, next) = (draw.keys[i], draw.keys[i + 1]);
                [0, 1].map(|j| u64::from(key[j]) << 32 | u64::from(next[j]))
            }),
        }
    }
}

/// Returns the words of blocks, packed, 0 with 2 and 1 with 3. It computes `kernel::philox`; the
/// numbers common to all blocks come from `start`.
#[inline(always)]
pub(super) fn philox<R: Registers>(
    isa: R,
    draw: Draw<'_>,
    start: PhiloxStart,
    blocks: R::V,
) -> [R::V; 2] {
    let multiplier = [
        isa.splat64(MULTIPLIER[0].into()),
        isa.splat64(MULTIPLIER[1].into()),
    ];
    let keys = draw.keys;

    // Round 1: c0 and c1 are the same in all blocks.
    let c3 = isa.mul_u(multiplier[0], blocks);
    let c2 = isa.xor(isa.upper(c3), isa.splat(start.first[1]));
    // Round 2: so are the products with c0.
    let c1 = isa.mul_u(multiplier[1], c2);
    let c0 = isa.xor(isa.upper(c1), isa.splat(start.first[0] ^ keys[1][0]));
    let c2 = isa.xor(c3, isa.splat(start.second[0]));
    let mut c = [c0, c1, c2, isa.splat(start.second[1])];
    // Keys come last: with keys before the round, `Portable` takes a fifth longer or more.
    let alone = if R::JOINT_KEYS { 2..3 } else { 2..9 };
    for key in &keys[alone] {
        c = round(isa, c, None);
        c[0] = isa.xor(c[0], isa.splat(key[0]));
        c[2] = isa.xor(c[2], isa.splat(key[1]));
    }
    if R::JOINT_KEYS {
        for keys in start.joint {
            c = round(isa, c, Some(keys));
            c = round(isa, c, None);
        }
    }
    // Round 10, packed.
    let product_0 = isa.mul_u(multiplier[0], c[0]);
    let product_1 = isa.mul_u(multiplier[1], c[2]);
    let key = isa.pack(isa.splat(keys[9][0]), isa.splat(keys[9][1]));
    let upper = isa.pack_upper(product_1, product_0);
    [
        isa.xor(isa.xor(upper, isa.pack(c[1], c[3])), key),
        isa.pack(product_1, product_0),
    ]
}

/// Computes a round with the keys of [`PhiloxStart::joint`], or without a key, which the caller adds.
#[inline(always)]
fn round<R: Registers>(isa: R, c: [R::V; 4], keys: Option<[u64; 2]>) -> [R::V; 4] {
    let mut product_0 = isa.mul_u(isa.splat64(MULTIPLIER[0].into()), c[0]);
    let mut product_1 = isa.mul_u(isa.splat64(MULTIPLIER[1].into()), c[2]);
    if let Some(keys) = keys {
        product_0 = isa.xor(product_0, isa.splat64(keys[1]));
        product_1 = isa.xor(product_1, isa.splat64(keys[0]));
    }
    [
        isa.xor(isa.upper(product_1), c[1]),
        product_1,
        isa.xor(isa.upper(product_0), c[3]),
        product_0,
    ]
}
