// The table of a fill's distribution: quadratics of a curve and points of the circle, an entry each; or
// numbers of columns or of a matrix, two an entry.
// In a uniform buffer, as in table_uniform.wgsl, and in 64-bit words, for devices with the feature
// SHADER_INT64: half as many gathers.

// `UNIFORM_ENTRIES` of src/gpu/device/pipeline.rs. Elements of uniform arrays are 16 bytes apart.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec2<u64>, UNIFORM_ENTRIES>;

fn table_pair(index: u32) -> vec2<u32> {
    let pair = fill_table[index >> 1u][index & 1u];
    return vec2<u32>(u32(pair), u32(pair >> 32u));
}
