// The table of a fill's distribution. An entry is a quadratic of a curve or a point of the circle; in other
// tables it is two numbers of columns or of a matrix.
// Here it is in a uniform buffer, as in table_uniform.wgsl, and in 64-bit words, for devices with the
// feature SHADER_INT64: this takes llvmpipe half as many gathers.

// `UNIFORM_ENTRIES` of src/gpu/device/pipeline.rs: 4096 quadratics and 1024 points, two to an element, since
// elements of uniform arrays are 16 bytes apart.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec2<u64>, UNIFORM_ENTRIES>;

// An entry of the table.
fn table_pair(index: u32) -> vec2<u32> {
    let pair = fill_table[index >> 1u][index & 1u];
    return vec2<u32>(u32(pair), u32(pair >> 32u));
}
