// Where an invocation finds what it is told: a dispatch that fills one tensor.
// The other spelling of the same functions: request_many.wgsl.

@group(0) @binding(0) var<uniform> told: Fill;

// Sets `request`. Returns the invocation's number within it.
fn begin(workgroup: vec3<u32>, local: u32) -> u32 {
    request = told;
    return (((workgroup.y * GRID_WIDTH) + workgroup.x) * WORKGROUP_SIZE) + local;
}

// Of the outer dimensions of the request, the innermost first.
fn outer_dimension(d: u32) -> vec4<u32> {
    return told.dimension[d];
}
