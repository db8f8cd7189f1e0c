// The normal core: the Box-Muller transform in 32-bit fixed point.
// Twin: src/kernel/box_muller.rs, where each step is explained.

// Entries of the table before the points of the circle: the cubics of the radius.
const RADII: u32 = 2048u;
const POINT_BITS: u32 = 10u;
const ONE: i32 = 1367132160;

// The Box-Muller radius sqrt(-2 ln((a + 1/2) / 2^32)), in units of ONE / 2^58.
fn radius(a: u32) -> i32 {
    let place = segment(a);
    return evaluate(table_entry(place.x), place.y);
}

// (cos, sin) of 2 pi (b + 1/2) / 2^32, in units of 1 / ONE.
fn turn(b: u32) -> vec2<i32> {
    let point = b >> (32u - POINT_BITS);
    let unit = vec2<i32>(table_pair((RADII << 1u) + point));
    let rest = i32((b << POINT_BITS) >> (POINT_BITS - 1u)) + (1 - (1 << 22u));
    let short = (rest + 64) >> 7u;
    let along = ONE - ((((short * short) >> 14u) * 25736) >> 18u);
    return vec2<i32>(
        mul_sum_rounded(unit.x, along, unit.y, -rest),
        mul_sum_rounded(unit.y, along, unit.x, rest),
    );
}

// Box-Muller on the words (a, b): the cores (r cos t, r sin t) with 26 fraction bits.
fn normal_pair(a: u32, b: u32) -> vec2<i32> {
    let r = radius(a);
    let direction = turn(b);
    return vec2<i32>(mul_hi_rounded(r, direction.x), mul_hi_rounded(r, direction.y));
}
