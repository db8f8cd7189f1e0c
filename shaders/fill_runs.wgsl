// Entry points for software drivers with the feature SHADER_INT64: whole blocks, four to an invocation,
// stored in 64-bit words. fill.wgsl has the entry points for all devices.
// Mesa's llvmpipe runs eight invocations in one function call. With one block to an invocation, each
// instruction waits for the one before it. Stores are a loop over the invocations, one component at a time,
// and 64-bit words halve its passes. docs/PERFORMANCE.md has the measurements.

// The same memory as `destination`. Runs start at a multiple of 32 bytes, the size of an element here.
@group(0) @binding(1) var<storage, read_write> destination_64: array<vec4<u64>>;

// Joins two words to one of 64 bits. The shift is always 32, since there are fewer than 2^31 invocations,
// but the compiler cannot see that. With a constant shift, llvmpipe joins the words inside the loop that
// stores, from two vectors in place of one.
fn join(words: vec2<u32>) -> u64 {
    return u64(words.x) | (u64(words.y) << (32u + (request.invocations >> 31u)));
}

// Joins eight 32-bit elements.
fn join_all(blocks: Blocks) -> vec4<u64> {
    return vec4<u64>(
        join(blocks.front.xy),
        join(blocks.front.zw),
        join(blocks.back.xy),
        join(blocks.back.zw),
    );
}

// Joins four 16-bit elements.
fn join_halves(block: vec4<u32>) -> u64 {
    return join(halves(block));
}

// `philox_block` in 64-bit integers: taking the high word out of a product and widening it again costs
// llvmpipe as much as a product. Each number has a random word in its low half. The high half is arbitrary,
// and is masked before a product.
// Round keys are added up here, not read from the request: each number that is read from it costs llvmpipe
// a bounds check, a load and a broadcast.
fn philox_wide(block: vec2<u32>) -> vec4<u64> {
    let product = u64(MULTIPLIER_0) * u64(block.x);
    let first = vec4<u64>(request.first_round);
    var c = vec4<u64>(first.x ^ u64(block.y), first.y, (product >> 32u) ^ first.z, product);
    var k = vec2<u64>(request.keys[0].xy);
    for (var i = 1u; i < ROUNDS; i++) {
        k += vec2<u64>(u64(WEYL_0), u64(WEYL_1));
        let product_0 = u64(MULTIPLIER_0) * (c.x & 0xfffffffflu);
        let product_1 = u64(MULTIPLIER_1) * (c.z & 0xfffffffflu);
        c = vec4<u64>(
            ((product_1 >> 32u) ^ c.y) ^ k.x,
            product_1,
            ((product_0 >> 32u) ^ c.w) ^ k.y,
            product_0,
        );
    }
    return c;
}

// The elements of a block with an even number and of the next block.
fn neighbours(number: u32) -> Blocks {
    if (!is_drawn()) {
        return drawn_blocks(vec2<u32>(), vec2<u32>());
    }
    let front = vec4<u32>(philox_wide(whole_block(number)));
    return drawn_values(front, vec4<u32>(philox_wide(whole_block(number | 1u))));
}

// The base 2 logarithm of the blocks of an invocation, `RUN` of src/gpu/dispatch.rs.
const RUN_BITS: u32 = 2u;

// Each invocation makes four blocks of the stream and stores them whole.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_runs_32(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let first = invocation << RUN_BITS;
    let a = neighbours(first);
    let b = neighbours(first | 2u);
    let at = (request.destination >> 3u) + (invocation << 1u);
    destination_64[at] = join_all(a);
    destination_64[at + 1u] = join_all(b);
}

// `fill_runs_32` for 16-bit elements, four in a 64-bit word.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_runs_16(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let first = invocation << RUN_BITS;
    let a = neighbours(first);
    let b = neighbours(first | 2u);
    destination_64[(request.destination >> 4u) + invocation] = vec4<u64>(
        join_halves(a.front),
        join_halves(a.back),
        join_halves(b.front),
        join_halves(b.back),
    );
}
