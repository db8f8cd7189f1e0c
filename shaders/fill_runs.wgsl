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

// Four 16-bit elements.
fn join_halves(block: vec4<u32>) -> u64 {
    return join(block.xz | (block.yw << vec2<u32>(16u)));
}

// The words of `philox`. Each number holds a word in its low half and whatever in its high one, which no
// product sees: words need not be taken out of products and put back.
fn philox_wide(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = vec4<u64>(counter);
    var k = key;
    for (var round = 0u; round < ROUNDS; round++) {
        let product_0 = u64(MULTIPLIER_0) * (c.x & 0xfffffffflu);
        let product_1 = u64(MULTIPLIER_1) * (c.z & 0xfffffffflu);
        c = vec4<u64>(
            ((product_1 >> 32u) ^ c.y) ^ u64(k.x),
            product_1,
            ((product_0 >> 32u) ^ c.w) ^ u64(k.y),
            product_0,
        );
        k += vec2<u32>(WEYL_0, WEYL_1);
    }
    return vec4<u32>(c);
}

// The four elements of the block with a number.
fn run_block(number: u32) -> vec4<u32> {
    if (CORE == CORE_CONSTANT) {
        return vec4<u32>(pack(request.mean));
    }
    return values_of(philox_wide(counter(whole_block(number), 0u, request.stream), request.key));
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
    let a = run_block(first);
    let b = run_block(first | 1u);
    let c = run_block(first | 2u);
    let d = run_block(first | 3u);
    let at = (request.destination >> 3u) + (invocation << 1u);
    destination_64[at] = vec4<u64>(join(a.xy), join(a.zw), join(b.xy), join(b.zw));
    destination_64[at + 1u] = vec4<u64>(join(c.xy), join(c.zw), join(d.xy), join(d.zw));
}

// The same for 16-bit elements, four in a word.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_runs_16(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let first = invocation << RUN_BITS;
    let a = run_block(first);
    let b = run_block(first | 1u);
    let c = run_block(first | 2u);
    let d = run_block(first | 3u);
    destination_64[(request.destination >> 4u) + invocation]
        = vec4<u64>(join_halves(a), join_halves(b), join_halves(c), join_halves(d));
}
