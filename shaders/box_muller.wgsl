// Pairs of normals: the Box-Muller transform in 32-bit fixed point.
// Twin: src/kernel/box_muller.rs, which explains each step.

// Entries of the radius curve. The points of the circle follow them in the table.
const RADII: u32 = 4096u;

struct Directions {
    cosines: vec4<i32>,
    sines: vec4<i32>,
}

// cos and sin of 2 pi (k + 1/2 + (d + 1/2) / 2^16) / 1024, with 30 fraction bits. k is the lower 10
// bits of the word, d its upper 16 bits as a signed number.
fn turn(b: vec4<u32>) -> Directions {
    let point = vec4<u32>(RADII) + (b & vec4<u32>(1023u));
    let x = table_pair(point.x);
    let y = table_pair(point.y);
    let z = table_pair(point.z);
    let w = table_pair(point.w);
    let cosine = vec4<i32>(vec4<u32>(x.x, y.x, z.x, w.x));
    let sine = vec4<i32>(vec4<u32>(x.y, y.y, z.y, w.y));
    // 25736 / 2^15 is pi / 4. `angle` is the rest of the angle with 23 fraction bits, `square` half its
    // square in the same units. 1 - square and angle are its cosine and sine.
    let step = vec4<i32>(b) >> vec4<u32>(16u);
    let angle = ((step * vec4<i32>(25736)) + vec4<i32>(1 << 14u)) >> vec4<u32>(15u);
    let square = ((angle * angle) + vec4<i32>(1 << 23u)) >> vec4<u32>(24u);
    // 15 fraction bits: products with `angle` have 38 and fit in 32-bit integers.
    let c = cosine >> vec4<u32>(15u);
    let s = sine >> vec4<u32>(15u);
    return Directions(
        cosine - (((s * angle) + (c * square)) >> vec4<u32>(8u)),
        sine - (((s * square) - (c * angle)) >> vec4<u32>(8u)),
    );
}

struct Pairs {
    radii: vec4<i32>,
    directions: Directions,
}

// The Box-Muller transform of the words (a, b): the radius times multiplier / 2^32, and the cosine and
// sine with 30 fraction bits. The caller multiplies them.
fn normal_pair(a: vec4<u32>, b: vec4<u32>, multiplier: u32) -> Pairs {
    let radii = mul_hi_rounded_unsigned(vec4<u32>(curve(a)), vec4<u32>(multiplier));
    return Pairs(vec4<i32>(radii), turn(b));
}
