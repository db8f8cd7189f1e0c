// The usual implementation, without the promise of the same bits: Philox4x32-10 in u32, and Box-Muller with
// the float built-ins. Devices round log, cos and sin differently. Only benches use this; fanin does not.

struct Request {
    key: vec2<u32>,
    stream: vec2<u32>,
    deviation: f32,
    // Blocks of four elements.
    blocks: u32,
    // Invocations of a row of the grid.
    row: u32,
}

@group(0) @binding(0) var<uniform> request: Request;
@group(0) @binding(1) var<storage, read_write> weights: array<vec4<f32>>;

// Returns the high and low word of a product: WGSL has no wider multiplication.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>(a1 * b1 + (middle >> 16u) + (other >> 16u), a * b);
}

fn philox(start: vec4<u32>, start_key: vec2<u32>) -> vec4<u32> {
    var counter = start;
    var key = start_key;
    for (var round = 0; round < 10; round++) {
        let x = multiply(0xd2511f53u, counter.x);
        let z = multiply(0xcd9e8d57u, counter.z);
        counter = vec4<u32>(z.x ^ counter.y ^ key.x, z.y, x.x ^ counter.w ^ key.y, x.y);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// Maps two words to two normals. The upper 23 bits of a word, plus a half, are never 0 and never 1.
fn box_muller(words: vec2<u32>) -> vec2<f32> {
    let uniform_pair = (vec2<f32>(words >> vec2<u32>(9u)) + 0.5) * 0x1p-23;
    let radius = sqrt(-2.0 * log(uniform_pair.x));
    let angle = 6.2831853 * uniform_pair.y;
    return radius * vec2<f32>(cos(angle), sin(angle));
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let block = id.y * request.row + id.x;
    if block >= request.blocks {
        return;
    }
    let words = philox(vec4<u32>(block, 0u, request.stream), request.key);
    weights[block] = request.deviation * vec4<f32>(box_muller(words.xy), box_muller(words.zw));
}
