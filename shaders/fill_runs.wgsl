// Entry points for software drivers with the feature SHADER_INT64: whole blocks, four to an invocation,
// stored in 64-bit words. Mesa's llvmpipe calls a function for eight invocations at a time, which waits
// for its own results unless there is more than one block in it, and stores in a loop over them, a
// component at a time. Needs wide.wgsl. The entry points for all devices: fill.wgsl.

// The same memory as destination, whose runs start at a multiple of 32 bytes.
@group(0) @binding(1) var<storage, read_write> destination_64: array<vec4<u64>>;

struct Blocks {
    front: vec4<u32>,
    back: vec4<u32>,
}

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
    return join(block.xz | (block.yw << vec2<u32>(16u)));
}

// The elements of the block with an even number and of the one behind it.
fn two_blocks(number: u32) -> Blocks {
    if (CORE == CORE_CONSTANT) {
        let all = vec4<u32>(pack(request.mean));
        return Blocks(all, all);
    }
    let front = philox_wide(counter(whole_block(number), 0u, request.stream), request.key);
    let back = philox_wide(counter(whole_block(number | 1u), 0u, request.stream), request.key);
    if (CORE == CORE_UNIFORM) {
        return Blocks(finish_all(drawn_cores(front)), finish_all(drawn_cores(back)));
    }
    if (CORE == CORE_QUANTILE) {
        return Blocks(finish_all(quantiles(front)), finish_all(quantiles(back)));
    }
    let pairs = normal_pairs(vec4<u32>(front.xz, back.xz), vec4<u32>(front.yw, back.yw));
    let x = finish_all(pairs.cosines);
    let y = finish_all(pairs.sines);
    return Blocks(vec4<u32>(x.x, y.x, x.y, y.y), vec4<u32>(x.z, y.z, x.w, y.w));
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
    let a = two_blocks(first);
    let b = two_blocks(first | 2u);
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
    let a = two_blocks(first);
    let b = two_blocks(first | 2u);
    destination_64[(request.destination >> 4u) + invocation] = vec4<u64>(
        join_halves(a.front),
        join_halves(a.back),
        join_halves(b.front),
        join_halves(b.back),
    );
}
