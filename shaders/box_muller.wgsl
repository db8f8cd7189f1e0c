// Pairs of normals: the Box-Muller transform in 32-bit fixed point.
// Twin: src/kernel/box_muller.rs, where each step is explained.

// Entries of the table before the points of the circle: the curve of the radius.
const RADII: u32 = 4096u;

struct Directions {
    cosines: vec4<i32>,
    sines: vec4<i32>,
}

// (cos, sin) of 2 pi (k + 1/2 + (d + 1/2) / 2^16) / 1024, with 30 fraction bits: k is the lower 10
// bits of the word, d its upper 16 as a signed number.
fn turn(b: vec4<u32>) -> Directions {
    let point = vec4<u32>(RADII) + (b & vec4<u32>(1023u));
    let x = table_pair(point.x);
    let y = table_pair(point.y);
    let z = table_pair(point.z);
    let w = table_pair(point.w);
    let cosine = vec4<i32>(vec4<u32>(x.x, y.x, z.x, w.x));
    let sine = vec4<i32>(vec4<u32>(x.y, y.y, z.y, w.y));
    let step = vec4<i32>(b) >> vec4<u32>(16u);
    let angle = ((step * vec4<i32>(25736)) + vec4<i32>(1 << 14u)) >> vec4<u32>(15u);
    let square = ((angle * angle) + vec4<i32>(1 << 23u)) >> vec4<u32>(24u);
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

// Box-Muller on the words (a, b): the radius times multiplier / 2^32, and cosine and sine with 30
// fraction bits. Their products are the pair.
fn normal_pairs(a: vec4<u32>, b: vec4<u32>, multiplier: u32) -> Pairs {
    let radii = mul_hi_rounded_unsigned(vec4<u32>(curve(a)), vec4<u32>(multiplier));
    return Pairs(vec4<i32>(radii), turn(b));
}
