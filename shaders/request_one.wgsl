// Where an invocation finds its request: a dispatch that fills one tensor.
// The other spelling of the same functions: request_many.wgsl.

@group(0) @binding(0) var<uniform> bound_request: Fill;

// Sets `request`. Returns the invocation's number within it.
fn begin(workgroup: vec3<u32>, local: u32) -> u32 {
    request = bound_request;
    return (((workgroup.y * GRID_WIDTH) + workgroup.x) * WORKGROUP_SIZE) + local;
}

// Of the outer dimensions of the request, the innermost first.
fn outer_dimension(d: u32) -> vec4<u32> {
    return bound_request.dimension[d];
}
