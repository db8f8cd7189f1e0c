// The table of a fill's distribution. An entry is a quadratic of a curve or a point of the circle; in other
// tables it is two numbers of columns or of a matrix.
// Here it is in a storage buffer, of any length. table_uniform.wgsl and table_uniform_u64.wgsl have the same
// function for a uniform buffer.

@group(0) @binding(2) var<storage, read> fill_table: array<vec2<u32>>;

// An entry of the table.
fn table_pair(index: u32) -> vec2<u32> {
    return fill_table[index];
}
