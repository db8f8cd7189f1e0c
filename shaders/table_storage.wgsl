// The table of a fill's distribution: quadratics of a curve and points of the circle, an entry each; or
// numbers of columns or of a matrix, two an entry.
// In a storage buffer, of any length. The other spellings of the same function: table_uniform.wgsl,
// table_uniform_u64.wgsl.

@group(0) @binding(2) var<storage, read> fill_table: array<vec2<u32>>;

fn table_pair(index: u32) -> vec2<u32> {
    return fill_table[index];
}
