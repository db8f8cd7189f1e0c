// The table of a fill's distribution: cubics of a quantile function, the radii and the circle of the
// normal core, a number for each column, or a matrix.
// In a uniform buffer, for cubics and the circle only. Mesa's llvmpipe reads it several times faster than
// a storage buffer where each invocation reads another entry: a gather without branches, a word at a
// time. On hardware it is the other way about. The other spellings of the same functions:
// table_storage.wgsl, table_uniform_u64.wgsl.

// `UNIFORM_ENTRIES` of src/gpu/pipeline.rs.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec4<u32>, UNIFORM_ENTRIES>;

fn table_entry(index: u32) -> vec4<u32> {
    return fill_table[index];
}

// The table in halves of entries.
fn table_pair(index: u32) -> vec2<u32> {
    let entry = index >> 1u;
    let half = (index & 1u) << 1u;
    return vec2<u32>(fill_table[entry][half], fill_table[entry][half | 1u]);
}
