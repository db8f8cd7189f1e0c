// The table of a fill's distribution: cubics of a quantile function, the radii and the circle of the
// normal core, a number for each column, or a matrix.
// In a storage buffer, of any length. The other spellings of the same functions: table_uniform.wgsl,
// table_uniform_u64.wgsl.

@group(0) @binding(2) var<storage, read> fill_table: array<vec4<u32>>;

fn table_entry(index: u32) -> vec4<u32> {
    return fill_table[index];
}

// The table in halves of entries.
fn table_pair(index: u32) -> vec2<u32> {
    let entry = fill_table[index >> 1u];
    return select(entry.xy, entry.zw, (index & 1u) != 0u);
}
