// Entry points for software drivers with the feature SHADER_INT64: whole blocks, four to an invocation,
// stored in 64-bit words. Mesa's llvmpipe calls a function for eight invocations at a time, which waits
// for its own results unless there is more than one block in it, and stores in a loop over them, a
// component at a time. The entry points for all devices: fill.wgsl.

// The same memory as destination, whose runs start at a multiple of 32 bytes.
@group(0) @binding(1) var<storage, read_write> destination_64: array<vec4<u64>>;

// Two words as one. The shift is 32, but no compiler can know: where it is known, the words are put
// together in the loop that stores, out of two vectors in place of one.
fn join(words: vec2<u32>) -> u64 {
    return u64(words.x) | (u64(words.y) << (32u + (request.invocations >> 31u)));
}

// Eight 32-bit elements.
fn join_all(blocks: Blocks) -> vec4<u64> {
    return vec4<u64>(
        join(blocks.front.xy),
        join(blocks.front.zw),
        join(blocks.back.xy),
        join(blocks.back.zw),
    );
}

// Four 16-bit elements.
fn join_halves(block: vec4<u32>) -> u64 {
    return join(halves(block));
}

// The words of `philox_block`, in 64-bit registers, where taking 32 bits out and putting them back
// costs as much as a product. Each number has a word in its low half; products ignore the high one.
// Keys are added up: each number that a request holds costs llvmpipe a bounds check, a load and a
// broadcast.
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

// The elements of the block with an even number and of the one behind it.
fn neighbours(number: u32) -> Blocks {
    if (!is_drawn()) {
        return drawn_blocks(vec2<u32>(), vec2<u32>());
    }
    let front = vec4<u32>(philox_wide(whole_block(number)));
    return drawn_values(front, vec4<u32>(philox_wide(whole_block(number | 1u))));
}

// `RUN` of src/gpu/dispatch.rs: blocks of an invocation, as its base 2 logarithm.
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

// The same for 16-bit elements, four in a word.
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
