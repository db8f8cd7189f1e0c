// The request of an invocation, for a dispatch that fills many tensors at once.
// request_one.wgsl has the same functions for a dispatch that fills one.

// `MAX_REQUESTS` of src/gpu/shader.rs. A power of two, for the binary search in `begin`.
const MAX_REQUESTS: u32 = 64u;

// In the order of their first workgroups. Unused entries have a first workgroup beyond every dispatch.
@group(0) @binding(0) var<uniform> requests: array<Fill, MAX_REQUESTS>;
// The invocation's request: the last one that begins no later than its workgroup.
var<private> request_index: u32;

// Sets `request` and returns the invocation's number within it.
fn begin(workgroup: vec3<u32>, local: u32) -> u32 {
    let number = (workgroup.y * GRID_WIDTH) + workgroup.x;
    for (var skip = MAX_REQUESTS >> 1u; skip > 0u; skip >>= 1u) {
        if (requests[request_index + skip].first_workgroup <= number) {
            request_index += skip;
        }
    }
    request = requests[request_index];
    return ((number - request.first_workgroup) * WORKGROUP_SIZE) + local;
}

// Outer dimension d of the request, counted from the innermost.
fn outer_dimension(d: u32) -> vec4<u32> {
    return requests[request_index].dimension[d];
}
