// A function of one random word as a table of quadratics in fixed point: the inverse of a distribution
// function, or the radius of Box-Muller. src/init/quantile.rs builds the table.
// Twin: src/kernel/curve.rs, which explains each step.

struct Places {
    entries: vec4<u32>,
    t: vec4<i32>,
}

// The table entries of words, and their places in the segments: t, in units of 2^-15, counted from the
// middle.
fn place(words: vec4<u32>) -> Places {
    // `cut(words | 1)`: no word stands for probability 0. The last bit does not change which bits are
    // kept, so `kept` need not wait for the "or".
    let odd = vec4<i32>(words | vec4<u32>(1u)) & kept(vec4<i32>(words));
    let bits = bitcast<vec4<u32>>(vec4<f32>(odd));
    // 5 bits of the exponent, then 6 of the significand. The sign bit selects the half of the table.
    let segment = (bits >> vec4<u32>(17u)) & vec4<u32>(0x7ffu);
    let half = (bits >> vec4<u32>(20u)) & vec4<u32>(0x800u);
    let t = vec4<i32>((bits >> vec4<u32>(1u)) & vec4<u32>(0xffffu)) - vec4<i32>(0x8000);
    return Places(segment | half, t);
}

// The quadratics of entries at t. An entry is the constant, then in one word the coefficients of t (low
// half) and of t^2 (high half).
fn evaluate(constants: vec4<u32>, coefficients: vec4<u32>, t: vec4<i32>) -> vec4<i32> {
    let half = vec4<u32>(16u);
    let linear = vec4<i32>(coefficients << half) >> half;
    let square = vec4<i32>(coefficients) >> half;
    // With t = 2^15 s, the table holds b / 2^6 and c / 2^5 for the quadratic a + b s + c s^2: both
    // products are 2^9 times too large, and their sum is below 2^31.
    let q = (t * t) >> half;
    return vec4<i32>(constants) + (((linear * t) + (square * q)) >> vec4<u32>(9u));
}

// The values of the table's function at words, in the table's units.
fn curve(words: vec4<u32>) -> vec4<i32> {
    let at = place(words);
    let x = table_pair(at.entries.x);
    let y = table_pair(at.entries.y);
    let z = table_pair(at.entries.z);
    let w = table_pair(at.entries.w);
    return evaluate(vec4<u32>(x.x, y.x, z.x, w.x), vec4<u32>(x.y, y.y, z.y, w.y), at.t);
}
