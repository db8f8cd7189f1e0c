// The normal core: the Box-Muller transform in 32-bit fixed point.
// Twin: src/kernel/box_muller.rs, where the tables stand and each step is explained.

// Reciprocals (32 entries), logarithms (32) and roots (2 * 32) of the segment ends.
const RECIPROCAL: u32 = 0u;
const LOG: u32 = 32u;
const ROOT: u32 = 64u;
const TABLE_ENTRIES: u32 = 128u;

@group(0) @binding(2) var<storage, read> tables: array<u32, TABLE_ENTRIES>;

// A copy near the multipliers: every element reads it four times.
var<workgroup> table: array<u32, TABLE_ENTRIES>;

// Where in its segment a mantissa stands: y = 1 - m / e, with 37 fraction bits, for the mantissa
// m in [1/2, 1) whose bits below the leading one are `fraction`, and the upper end e of its
// segment.
fn segment_offset(fraction: u32) -> u32 {
    return mul_hi(~(fraction << 5u), table[RECIPROCAL + (fraction >> 27u)]) + 1u;
}

// The Box-Muller radius r = sqrt(-2 ln((a + 1/2) / 2^32)), with 28 fraction bits.
fn radius(a: u32) -> u32 {
    // -ln u = zeros ln 2 + ln(1 / m), u = m 2^-zeros, m in [1/2, 1).
    let zeros = countLeadingZeros(a);
    let shift = zeros & 31u;
    let log_fraction = ((a << shift) << 1u) | (1u << shift);
    let segment = log_fraction >> 27u;

    // -ln(1 - y), 37 fraction bits; ln(1 / m), 32 fraction bits.
    let log_y = segment_offset(log_fraction);
    let log_poly = 67097042u + ((45022u * (log_y >> 16u)) >> 11u);
    let tail = log_y + mul_hi(mul_hi(log_y, log_y), log_poly);
    let log_m = table[LOG + segment] + (tail >> 5u);

    // -ln u with as many fraction bits as fit: 37 next to u = 1, 32 up to u = 1/2, 27 below.
    let near_one = (zeros == 0u) && (segment == 31u);
    let below_half = (93032640u * zeros) - (zeros >> 2u) + (log_m >> 5u);
    let log = select(select(below_half, log_m, zeros == 0u), tail, near_one);
    let scale = select(select(27u - 26u, 32u - 26u, zeros == 0u), 37u - 26u, near_one);

    // sqrt(2 * log) = root[segment] * sqrt(1 - y) * 2^(..), by the parity of the exponent.
    let log_zeros = countLeadingZeros(log);
    let fraction = (log << (log_zeros & 31u)) << 1u;
    let exponent = log_zeros + scale;
    let y = segment_offset(fraction);
    let inner = 524114u + ((33997u * (y >> 16u)) >> 18u);
    let poly = 67108893u + mul_hi(y, inner);
    let root = table[ROOT + (((exponent & 1u) << 5u) | (fraction >> 27u))];
    return (root - mul_hi(root, mul_hi(y, poly))) >> (exponent >> 1u);
}

// (cos, sin) of pi/4 * x, both with 32 fraction bits, for x in (0, 1) with 32 fraction bits.
fn cos_sin(x: u32) -> vec2<u32> {
    let x2 = mul_hi(x, x);
    let x2_short = x2 >> 16u;
    let c3 = 1399910u - ((60668u * x2_short) >> 18u);
    let c2 = 68093819u - mul_hi(x2, c3);
    let c1 = 1324675871u - mul_hi(x2, c2);
    let s2 = 10693919u - ((38523u * x2_short) >> 14u);
    let s1 = 346798712u - mul_hi(x2, s2);
    let s0 = 3373259379u - mul_hi(x2, s1);
    return vec2<u32>(~mul_hi(x2, c1), mul_hi(x, s0));
}

// Box-Muller on the words (a, b): the cores (r cos t, r sin t) with 26 fraction bits, each as
// sign (bit 31) and magnitude (bits 0 to 30).
fn normal_pair(a: u32, b: u32) -> vec2<u32> {
    let r = radius(a);

    // t = (quadrant + offset) * pi/2 with offset in (-1/2, 1/2), never 0.
    let quadrant = (b + (1u << 29u)) >> 30u;
    let offset = (b << 2u) | 2u;
    let negative = offset >> 31u;
    let magnitude = select(offset, 0u - offset, negative != 0u);
    let cosine_sine = cos_sin(magnitude << 1u);

    let swap = quadrant & 1u;
    let even_odd = select(cosine_sine, cosine_sine.yx, swap != 0u);
    let even_negative = ((quadrant + 1u) >> 1u) ^ (swap & negative);
    let odd_negative = (quadrant >> 1u) ^ ((swap ^ 1u) & negative);
    return vec2<u32>(
        ((mul_hi(r, even_odd.x) + 2u) >> 2u) | (even_negative << 31u),
        ((mul_hi(r, even_odd.y) + 2u) >> 2u) | (odd_negative << 31u),
    );
}
