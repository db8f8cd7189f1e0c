// Where an invocation finds its request: a dispatch that fills many tensors at once.
// The other spelling of the same functions: request_one.wgsl.

// A power of two, `MAX_REQUESTS` of src/gpu/shader.rs.
const MAX_REQUESTS: u32 = 64u;

// In the order of the workgroups. Entries that are not used have a first workgroup that no dispatch
// reaches.
@group(0) @binding(0) var<uniform> requests: array<Fill, MAX_REQUESTS>;
// The one that the invocation works for: the last that begins no later than its workgroup.
var<private> request_index: u32;

// Sets `request`. Returns the invocation's number within it.
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

// Of the outer dimensions of the request, the innermost first.
fn outer_dimension(d: u32) -> vec4<u32> {
    return requests[request_index].dimension[d];
}
