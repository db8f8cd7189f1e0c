// The quantile core: one word of the stream through a piecewise inverse of a distribution
// function. The table is built for each distribution by src/init/quantile.rs.
// Twin: src/kernel/quantile.rs, where each step is explained.

const SEGMENT_BITS: u32 = 5u;

// Where a word falls: the table's entry and, as a fraction of two segments with 32 fraction bits,
// the place in its segment.
fn segment(word: u32) -> vec2<u32> {
    let upper = word >> 31u;
    let distance = select(word, ~word, upper != 0u);
    let odd = (distance << 1u) | 1u;
    let octave = countLeadingZeros(odd);
    let fraction = (odd << (octave & 31u)) << 1u;
    let entry = (((upper << 5u) | octave) << SEGMENT_BITS) | (fraction >> (32u - SEGMENT_BITS));
    return vec2<u32>(entry, (fraction << SEGMENT_BITS) >> 1u);
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
    return select(value, -value, (word >> 31u) != 0u);
}
