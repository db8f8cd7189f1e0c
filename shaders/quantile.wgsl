// The quantile core: one word of the stream through a piecewise inverse of a distribution
// function. The table is built for each distribution by src/init/quantile.rs.
// Twin: src/kernel/quantile.rs, where each step is explained.

const SEGMENT_BITS: u32 = 4u;

// Numbers that belong to one fill: cubics of a quantile function, or a number for each column.
@group(0) @binding(3) var<storage, read> fill_table: array<vec4<u32>>;

// The upper 32 bits of the product of a, a signed number in two's complement, and b.
fn mul_hi_signed(a: u32, b: u32) -> u32 {
    return mul_hi(a, b) - select(0u, b, (a >> 31u) != 0u);
}

// Where a word falls: the table's entry and, in 32 fraction bits, the place in its segment.
fn segment(word: u32) -> vec2<u32> {
    let upper = word >> 31u;
    let distance = select(word, ~word, upper != 0u);
    let odd = (distance << 1u) | 1u;
    let octave = countLeadingZeros(odd);
    let fraction = (odd << (octave & 31u)) << 1u;
    let entry = (((upper << 5u) | octave) << SEGMENT_BITS) | (fraction >> (32u - SEGMENT_BITS));
    return vec2<u32>(entry, fraction << SEGMENT_BITS);
}

// The cubic of an entry at t, in 32 fraction bits, as sign (bit 31) and magnitude (bits 0 to 30).
// Entries of the upper half hold the negated quantile.
fn evaluate(word: u32, entry: vec4<u32>, t: u32) -> u32 {
    let square = entry.z + mul_hi_signed(entry.w, t);
    let linear = entry.y + mul_hi_signed(square, t);
    let value = entry.x + mul_hi_signed(linear, t);
    let negative = value & 0x80000000u;
    let magnitude = select(value, 0u - value, negative != 0u);
    return magnitude | (negative ^ (word & 0x80000000u));
}

// The core of a word, as sign and magnitude.
fn quantile(word: u32) -> u32 {
    let place = segment(word);
    return evaluate(word, fill_table[place.x], place.y);
}
