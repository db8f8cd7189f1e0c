// The request of an invocation, for a dispatch that fills one tensor.
// request_many.wgsl has the same functions for a dispatch that fills many.

@group(0) @binding(0) var<uniform> bound_request: Fill;

// Sets `request` and returns the invocation's number within it.
fn begin(workgroup: vec3<u32>, local: u32) -> u32 {
    request = bound_request;
    return (((workgroup.y * GRID_WIDTH) + workgroup.x) * WORKGROUP_SIZE) + local;
}

// Outer dimension d of the request, counted from the innermost.
fn outer_dimension(d: u32) -> vec4<u32> {
    return bound_request.dimension[d];
}
