// The quantile core: one word of the stream through a piecewise inverse of a distribution
// function. The table is built for each distribution by src/init/quantile.rs.
// Twin: src/kernel/quantile.rs, where each step is explained.

const SEGMENT_BITS: u32 = 5u;
const SEGMENTS: u32 = 1u << SEGMENT_BITS;
// Entries of a half of the table.
const HALF: u32 = SEGMENTS << 5u;

// Where a word falls: the table's entry and, as a fraction of two segments with 32 fraction bits,
// the place in its segment.
fn segment(word: u32) -> vec2<u32> {
    let upper = sign_mask(word);
    let odd = ((word ^ upper) << 1u) | 1u;
    let octave = countLeadingZeros(odd);
    let mantissa = odd << (octave & 31u);
    // The leading bit of the mantissa counts as a segment's number too, 32 to 63.
    let entry = (octave << SEGMENT_BITS) + (mantissa >> (31u - SEGMENT_BITS)) + (upper & HALF) - SEGMENTS;
    return vec2<u32>(entry, (mantissa << (SEGMENT_BITS + 1u)) >> 1u);
}

// All bits set for words of the upper half, none for the others.
fn sign_mask(word: u32) -> u32 {
    return u32(i32(word) >> 31u);
}

// The cubic of an entry at t.
fn evaluate(entry: vec4<u32>, t: u32) -> i32 {
    let square = i32(entry.z) + mul_hi_signed(i32(entry.w), i32(t));
    let linear = i32(entry.y) + mul_hi_signed(square, i32(t));
    return i32(entry.x) + mul_hi_signed(linear, i32(t));
}

// The core of a word. The upper half of the table holds the negated quantile.
fn quantile(word: u32) -> i32 {
    let place = segment(word);
    let value = evaluate(table_entry(place.x), place.y);
    let upper = i32(sign_mask(word));
    return (value ^ upper) - upper;
}
