// The table of a fill's distribution. An entry is a quadratic of a curve or a point of the circle; in other
// tables it is two numbers of columns or of a matrix.
// Here it is in a uniform buffer, for curves and the circle only. Where each invocation reads a different
// entry, Mesa's llvmpipe reads a uniform buffer several times faster than a storage buffer: by a gather
// without branches. On hardware a storage buffer is faster. table_storage.wgsl and table_uniform_u64.wgsl
// have the same function.

// `UNIFORM_ENTRIES` of src/gpu/device/pipeline.rs: 4096 quadratics and 1024 points, two to an element, since
// elements of uniform arrays are 16 bytes apart.
const UNIFORM_ENTRIES: u32 = 2560u;

@group(0) @binding(2) var<uniform> fill_table: array<vec4<u32>, UNIFORM_ENTRIES>;

// An entry of the table.
fn table_pair(index: u32) -> vec2<u32> {
    let entry = index >> 1u;
    let half = (index & 1u) << 1u;
    return vec2<u32>(fill_table[entry][half], fill_table[entry][half | 1u]);
}
