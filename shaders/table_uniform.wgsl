// The table of a fill's distribution: quadratics of a curve and points of the circle, an entry each; or
// numbers of columns or of a matrix, two an entry.
// In a uniform buffer, for curves and the circle only. Mesa's llvmpipe reads it several times faster than
// a storage buffer where each invocation reads another entry: a gather without branches, a word at a
// time. On hardware it is the other way about. The other spellings of the same function:
// table_storage.wgsl, table_uniform_u64.wgsl.

// `UNIFORM_ENTRIES` of src/gpu/device/pipeline.rs. Elements of uniform arrays are 16 bytes apart.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec4<u32>, UNIFORM_ENTRIES>;

fn table_pair(index: u32) -> vec2<u32> {
    let entry = index >> 1u;
    let half = (index & 1u) << 1u;
    return vec2<u32>(fill_table[entry][half], fill_table[entry][half | 1u]);
}
