// The table of a fill's distribution: cubics of a quantile function, the radii and the circle of the
// normal core, a number for each column, or a matrix.
// In a uniform buffer, as in table_uniform.wgsl, and in 64-bit words, for devices with the feature
// SHADER_INT64: half as many gathers.

// `UNIFORM_ENTRIES` of src/gpu/pipeline.rs.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec2<u64>, UNIFORM_ENTRIES>;

fn table_entry(index: u32) -> vec4<u32> {
    let entry = fill_table[index];
    return vec4<u32>(halves(entry.x), halves(entry.y));
}

// The table in halves of entries.
fn table_pair(index: u32) -> vec2<u32> {
    return halves(table_word(index));
}

fn table_word(index: u32) -> u64 {
    return fill_table[index >> 1u][index & 1u];
}

fn halves(pair: u64) -> vec2<u32> {
    return vec2<u32>(u32(pair), u32(pair >> 32u));
}
