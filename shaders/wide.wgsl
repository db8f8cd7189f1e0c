// The generator and the cores for software drivers with the feature SHADER_INT64: what philox.wgsl,
// quantile.wgsl and box_muller.wgsl compute, bit for bit, with numbers kept in 64-bit registers, where taking
// 32 bits out and putting them back costs as much as a product, and four side by side, so that one does
// not wait for its own results. Needs table_uniform_u64.wgsl.

const HIGH_WORD: u64 = 0xffffffff00000000lu;
const LOW_WORD: u64 = 0xfffffffflu;

// The words of `philox`. Each number has a word in its low half and whatever in its high one, which no
// product sees.
fn philox_wide(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = vec4<u64>(counter);
    var k = key;
    for (var round = 0u; round < ROUNDS; round++) {
        let product_0 = u64(MULTIPLIER_0) * (c.x & LOW_WORD);
        let product_1 = u64(MULTIPLIER_1) * (c.z & LOW_WORD);
        c = vec4<u64>(
            ((product_1 >> 32u) ^ c.y) ^ u64(k.x),
            product_1,
            ((product_0 >> 32u) ^ c.w) ^ u64(k.y),
            product_0,
        );
        k += vec2<u32>(WEYL_0, WEYL_1);
    }
    return vec4<u32>(c);
}

// Of each word its cubic at its place: `evaluate` at `segment`. The sums are made in the high halves.
fn cubics(words: vec4<u32>) -> vec4<i32> {
    let x = segment(words.x);
    let y = segment(words.y);
    let z = segment(words.z);
    let w = segment(words.w);
    let at = vec4<i64>(vec4<u32>(x.y, y.y, z.y, w.y));
    let entry_x = fill_table[x.x];
    let entry_y = fill_table[y.x];
    let entry_z = fill_table[z.x];
    let entry_w = fill_table[w.x];
    // The coefficients of t^0 and t^1, of t^2 and t^3.
    let low = vec4<u64>(entry_x.x, entry_y.x, entry_z.x, entry_w.x);
    let high = vec4<u64>(entry_x.y, entry_y.y, entry_z.y, entry_w.y);
    let word = vec4<u32>(32u);
    let square = (vec4<i64>(high << word) + ((vec4<i64>(high) >> word) * at)) >> word;
    let linear = (vec4<i64>(low & vec4<u64>(HIGH_WORD)) + (square * at)) >> word;
    return vec4<i32>((vec4<i64>(low << word) + (linear * at)) >> word);
}

// `quantile` of four words.
fn quantiles(words: vec4<u32>) -> vec4<i32> {
    let upper = vec4<i32>(words) >> vec4<u32>(31u);
    return (cubics(words) ^ upper) - upper;
}

struct Pairs {
    cosines: vec4<i32>,
    sines: vec4<i32>,
}

// `normal_pair` of four pairs of words.
fn normal_pairs(a: vec4<u32>, b: vec4<u32>) -> Pairs {
    let r = vec4<i64>(cubics(a));
    let point = vec4<u32>(RADII << 1u) + (b >> vec4<u32>(32u - POINT_BITS));
    let units = vec4<u64>(
        table_word(point.x),
        table_word(point.y),
        table_word(point.z),
        table_word(point.w),
    );
    let cosine = vec4<i64>(vec4<i32>(vec4<u32>(units)));
    let sine = vec4<i64>(units) >> vec4<u32>(32u);
    let step = vec4<i32>((b << vec4<u32>(POINT_BITS)) >> vec4<u32>(POINT_BITS - 1u));
    let rest = step + vec4<i32>(1 - (1 << 22u));
    let short = (rest + vec4<i32>(64)) >> vec4<u32>(7u);
    let below = (((short * short) >> vec4<u32>(14u)) * vec4<i32>(25736)) >> vec4<u32>(18u);
    let along = vec4<i64>(vec4<i32>(ONE) - below);
    let across = vec4<i64>(rest);
    let half = vec4<i64>(0x40000000li);
    let x = (((cosine * along) + half) - (sine * across)) >> vec4<u32>(31u);
    let y = (((sine * along) + half) + (cosine * across)) >> vec4<u32>(31u);
    return Pairs(times(r, x), times(r, y));
}

// `mul_hi_rounded` of numbers of 32 bits.
fn times(a: vec4<i64>, b: vec4<i64>) -> vec4<i32> {
    return vec4<i32>(((a * vec4<i64>(vec4<i32>(b))) + vec4<i64>(0x80000000li)) >> vec4<u32>(32u));
}
