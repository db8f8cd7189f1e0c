// The counter-based generator Philox4x32-10. Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011: a bijection of 128-bit counters, keyed with 64 bits. It has
// no state, so any block of the stream can be made without the others.
// Twin: src/kernel/philox.rs, which also has `round_keys` and `first_round`: they run on the host only.

// Multipliers of the two halves of a round: PHILOX_M4x32 of the paper's library Random123.
const MULTIPLIER_0: u32 = 0xd2511f53u;
const MULTIPLIER_1: u32 = 0xcd9e8d57u;
// Increments of the round key, PHILOX_W32 of Random123: the fractional parts of the golden ratio and of
// sqrt(3), times 2^32.
const WEYL_0: u32 = 0x9e3779b9u;
const WEYL_1: u32 = 0xbb67ae85u;
const ROUNDS: u32 = 10u;

// One round of Philox with its round key.
fn round_under(c: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    let product_0 = mul_wide(MULTIPLIER_0, c.x);
    let product_1 = mul_wide(MULTIPLIER_1, c.z);
    return vec4<u32>((product_1.y ^ c.y) ^ key.x, product_1.x, (product_0.y ^ c.w) ^ key.y, product_0.x);
}

// The four random words of a counter and a key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var i = 0u; i < ROUNDS; i++) {
        c = round_under(c, k);
        k += vec2<u32>(WEYL_0, WEYL_1);
    }
    return c;
}

// The counter of a block (low word, high word) and a draw. c0 and c1 hold the 48-bit block with
// the 16-bit draw above it, c2 and c3 hold the stream id.
fn counter(block: vec2<u32>, draw: u32, stream: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(block.x, block.y + (draw << 16u), stream);
}

// The random words of a block in draw 0. The round keys are the same for all blocks of a fill, and so is
// the half of round 1 that multiplies the stream id: the host computes both once.
fn philox_block(block: vec2<u32>) -> vec4<u32> {
    let product = mul_wide(MULTIPLIER_0, block.x);
    let first = request.first_round;
    var c = vec4<u32>(first.x ^ block.y, first.y, product.y ^ first.z, product.x);
    c = round_under(c, request.keys[0].zw);
    c = round_under(c, request.keys[1].xy);
    c = round_under(c, request.keys[1].zw);
    c = round_under(c, request.keys[2].xy);
    c = round_under(c, request.keys[2].zw);
    c = round_under(c, request.keys[3].xy);
    c = round_under(c, request.keys[3].zw);
    c = round_under(c, request.keys[4].xy);
    return round_under(c, request.keys[4].zw);
}
