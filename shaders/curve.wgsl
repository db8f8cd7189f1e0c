// A function of one word as a table of quadratics: the inverse of a distribution function, and the
// radius of Box-Muller. The table is built by src/init/quantile.rs.
// Twin: src/kernel/curve.rs, where each step is explained.

struct Places {
    entries: vec4<u32>,
    t: vec4<i32>,
}

// Where words fall: the entries of the table, and the places in their segments in units of 2^-15,
// from the middle.
fn place(words: vec4<u32>) -> Places {
    // The last bit does not change how many are kept.
    let odd = vec4<i32>(words | vec4<u32>(1u)) & kept(vec4<i32>(words));
    let bits = bitcast<vec4<u32>>(vec4<f32>(odd));
    let segment = (bits >> vec4<u32>(17u)) & vec4<u32>(0x7ffu);
    let half = (bits >> vec4<u32>(20u)) & vec4<u32>(0x800u);
    let t = vec4<i32>((bits >> vec4<u32>(1u)) & vec4<u32>(0xffffu)) - vec4<i32>(0x8000);
    return Places(segment | half, t);
}

// The quadratics of entries at t.
fn evaluate(constants: vec4<u32>, coefficients: vec4<u32>, t: vec4<i32>) -> vec4<i32> {
    let half = vec4<u32>(16u);
    let linear = vec4<i32>(coefficients << half) >> half;
    let square = vec4<i32>(coefficients) >> half;
    let q = (t * t) >> half;
    return vec4<i32>(constants) + (((linear * t) + (square * q)) >> vec4<u32>(9u));
}

// The values of the table's function at words.
fn curve(words: vec4<u32>) -> vec4<i32> {
    let at = place(words);
    let x = table_pair(at.entries.x);
    let y = table_pair(at.entries.y);
    let z = table_pair(at.entries.z);
    let w = table_pair(at.entries.w);
    return evaluate(vec4<u32>(x.x, y.x, z.x, w.x), vec4<u32>(x.y, y.y, z.y, w.y), at.t);
}
