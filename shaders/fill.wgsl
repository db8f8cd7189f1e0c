// The fill: dispatch parameters, element values and stores. `begin` and `outer_dimension` are in
// request_one.wgsl or request_many.wgsl, `table_pair` is in one of table_*.wgsl.
// Host side: src/gpu/dispatch.rs, which lays out `Fill` and selects the entry point.

// Constants of a pipeline. src/gpu/shader.rs sets them, with the same numbers.
// The source of values.
override CORE: u32;
override DTYPE: u32;
// Drawn numbers are shifted and an offset is added, as for a mean that is not 0.
override SHIFTED: bool;
// Drawn numbers are clamped.
override CLAMPED: bool;
// Values are made in integers, because some are subnormal or overflow, or because the device breaks the
// rules of WGSL for floats.
override INTEGERS: bool;
// More than one row: a slice that is not contiguous in the whole tensor.
override SLICED: bool;
// The set of elements that are zero by their place.
override MASK: u32;
override WORKGROUP_SIZE: u32;

const CORE_CONSTANT: u32 = 0u;
const CORE_UNIFORM: u32 = 1u;
const CORE_NORMAL: u32 = 2u;
const CORE_QUANTILE: u32 = 3u;
const CORE_SINE: u32 = 4u;
const CORE_COLUMNS: u32 = 5u;
const CORE_MATRIX: u32 = 6u;
const MASK_NONE: u32 = 0u;
const MASK_DIAGONAL: u32 = 1u;
const MASK_RANGE: u32 = 2u;
const MASK_SPARSE: u32 = 3u;
const MASK_LOWER: u32 = 4u;
const DTYPE_F32: u32 = 0u;
const DTYPE_F16: u32 = 1u;
const DTYPE_BF16: u32 = 2u;

// Outer dimensions of a slice that one dispatch can cross: `MAX_DIMENSIONS` of src/gpu/dispatch.rs.
const MAX_DIMENSIONS: u32 = 4u;
// Workgroups in a row of the grid, where there is more than one row: the default WebGPU limit
// maxComputeWorkgroupsPerDimension, which every device has.
const GRID_WIDTH: u32 = 65535u;

// 64-bit numbers are (low, high) words. A "row" is a run of elements that is contiguous in the
// whole tensor; "position" counts the elements of the rows from the start of the first one.
struct Fill {
    // The keys of the ten rounds of Philox, two to a vector, and the part of round 1 that depends on the
    // stream id only: see philox.wgsl.
    keys: array<vec4<u32>, 5>,
    first_round: vec4<u32>,
    stream: vec2<u32>,
    // Index, in the whole tensor, of the element at digits 0, 0, ...
    base: vec2<u32>,
    // The scaling of drawn numbers: src/init/scaling.rs. The offset is also the bits of a constant.
    multiplier: u32,
    offset: i32,
    shift: u32,
    low: i32,
    high: i32,
    // Values are whole numbers times 2^exponent. `power` is 2^exponent as a float.
    exponent: i32,
    power: f32,
    // Elements of the bound range before the first one of this dispatch.
    destination: u32,
    // Elements of this dispatch, and the position of its first one.
    count: u32,
    first: u32,
    row_length: u32,
    blocks_per_row: u32,
    // Blocks, runs or words that this dispatch makes, and the number of its first workgroup.
    invocations: u32,
    first_workgroup: u32,
    dimensions: u32,
    // Elements of a row of the whole tensor, where values depend on the row or column, and the parameters
    // of the mask or the matrix: src/kernel/pattern.rs.
    columns: u32,
    pattern: vec4<u32>,
    // The outer dimensions, innermost first: the size, the digit of the first row, and the stride as two
    // words, in elements of the whole tensor.
    dimension: array<vec4<u32>, MAX_DIMENSIONS>,
}

// The request that the invocation's workgroup fills. `begin` copies it before control flow diverges:
// llvmpipe loads uniform data once for all invocations only where all are active.
var<private> request: Fill;
@group(0) @binding(1) var<storage, read_write> destination: array<u32>;
// The same memory, for whole blocks of 32-bit and of 16-bit elements.
@group(0) @binding(1) var<storage, read_write> destination_32: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination_16: array<vec2<u32>>;

// The 64-bit sum.
fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

// The index in the whole tensor of a row's first element. The digits of the row's number count the outer
// dimensions.
fn row_start(row: u32) -> vec2<u32> {
    var start = request.base;
    if (SLICED) {
        var rest = row;
        for (var d = 0u; d < request.dimensions; d++) {
            let dimension = outer_dimension(d);
            let counted = rest + dimension.y;
            let digit = counted % dimension.x;
            rest = counted / dimension.x;
            let product = mul_wide(dimension.z, digit);
            start = add_wide(start, vec2<u32>(product.x, product.y + (dimension.w * digit)));
        }
    }
    return start;
}

// The block of an element: its index / 4.
fn block_of(element: vec2<u32>) -> vec2<u32> {
    return vec2<u32>((element.x >> 2u) | (element.y << 30u), element.y >> 2u);
}

// Drawn numbers, scaled: offset + round(number * factor / 2^(32 + shift)), see src/init/scaling.rs. Without
// offset and shift this is one rounded product.
fn scaled(numbers: vec4<i32>, factors: vec4<i32>) -> vec4<i32> {
    if (SHIFTED) {
        return vec4<i32>(request.offset) + mul_shifted(numbers, factors, request.shift);
    }
    return mul_hi_rounded(numbers, factors);
}

// The stored bits of drawn numbers: 32, or 16 in the low half.
fn finish(numbers: vec4<i32>) -> vec4<u32> {
    var p = numbers;
    if (CLAMPED) {
        p = clamp(p, vec4<i32>(request.low), vec4<i32>(request.high));
    }
    // Uniform numbers have at most 24 significant bits already.
    if (CORE != CORE_UNIFORM) {
        p = cut(p);
    }
    if (INTEGERS) {
        return pack(value(p, request.exponent));
    }
    return pack(float_value(p, request.power));
}

// binary32 bits, rounded to the dtype.
fn pack(bits: vec4<u32>) -> vec4<u32> {
    if (DTYPE == DTYPE_F16) {
        return to_f16(bits);
    }
    if (DTYPE == DTYPE_BF16) {
        return to_bf16(bits);
    }
    return bits;
}

fn pack_one(bits: u32) -> u32 {
    return pack(vec4<u32>(bits)).x;
}

// Returns true if an element is zero by its place.
fn is_masked(element: vec2<u32>, row: u32, column: u32) -> bool {
    if (MASK == MASK_DIAGONAL) {
        return !on_diagonal(row, column, request.pattern);
    }
    if (MASK == MASK_LOWER) {
        return !in_lower_triangle(row, column, request.pattern);
    }
    if (MASK == MASK_RANGE) {
        return in_range(element, request.pattern);
    }
    if (MASK == MASK_SPARSE) {
        return is_sparse_zero(row, column, request.pattern, request.stream, request.keys[0].xy);
    }
    return false;
}

// The stored bits of an element, from its place and from the bits that were drawn for it.
fn place_value(element: vec2<u32>, row: u32, column: u32, drawn: u32) -> u32 {
    if (is_masked(element, row, column)) {
        return 0u;
    }
    if (CORE == CORE_SINE) {
        let frequency = table_pair(column << 1u);
        let phase = table_pair((column << 1u) | 1u).x;
        return pack_one(sine_value(sine(angle(row, frequency, phase))));
    }
    if (CORE == CORE_COLUMNS) {
        return pack_one(table_number(column));
    }
    if (CORE == CORE_MATRIX) {
        let at = matrix_place(element, request.columns, request.pattern);
        if (at == 0xffffffffu) {
            return 0u;
        }
        return pack_one(table_number(at));
    }
    return drawn;
}

// A number of a table that holds two to an entry.
fn table_number(index: u32) -> u32 {
    let pair = table_pair(index >> 1u);
    return select(pair.x, pair.y, (index & 1u) != 0u);
}

// Returns true if values depend on the place of an element, not only on its random words.
fn has_place() -> bool {
    return has_rows() || (MASK == MASK_RANGE) || (CORE == CORE_MATRIX);
}

// Returns true if values depend on the row and column of an element.
fn has_rows() -> bool {
    return (CORE == CORE_SINE) || (CORE == CORE_COLUMNS) || (MASK == MASK_DIAGONAL) || (MASK == MASK_SPARSE) ||
        (MASK == MASK_LOWER);
}

// The elements of two blocks.
struct Blocks {
    front: vec4<u32>,
    back: vec4<u32>,
}

// The elements of two blocks. Making two at a time shares the work that is common to both, and the
// instructions of one block run while those of the other wait for their operands.
fn two_blocks(front: vec2<u32>, back: vec2<u32>) -> Blocks {
    let drawn = drawn_blocks(front, back);
    if (!has_place()) {
        return drawn;
    }
    return Blocks(placed_block(front, drawn.front), placed_block(back, drawn.back));
}

// The elements of a block, from their places and from the bits that were drawn for them.
fn placed_block(block: vec2<u32>, drawn: vec4<u32>) -> vec4<u32> {
    let first = vec2<u32>(block.x << 2u, (block.y << 2u) | (block.x >> 30u));
    var row = 0u;
    var column = 0u;
    if (has_rows()) {
        let start = row_and_column(first, request.columns);
        row = start.x;
        column = start.z;
    }
    var values = drawn;
    for (var lane = 0u; lane < 4u; lane++) {
        values[lane] = place_value(vec2<u32>(first.x + lane, first.y), row, column, drawn[lane]);
        column += 1u;
        if (column == request.columns) {
            column = 0u;
            row += 1u;
        }
    }
    return values;
}

// Returns true if values are drawn from the stream.
fn is_drawn() -> bool {
    return (CORE == CORE_UNIFORM) || (CORE == CORE_NORMAL) || (CORE == CORE_QUANTILE);
}

// The elements of two blocks, from their random words, or the constant.
fn drawn_blocks(front: vec2<u32>, back: vec2<u32>) -> Blocks {
    if (!is_drawn()) {
        let all = pack(vec4<u32>(u32(request.offset)));
        return Blocks(all, all);
    }
    return drawn_values(philox_block(front), philox_block(back));
}

// The elements of two blocks, from their random words. A normal pair takes two words, so the four pairs of
// both blocks are made in one vector.
fn drawn_values(front: vec4<u32>, back: vec4<u32>) -> Blocks {
    if (CORE == CORE_NORMAL) {
        let a = vec4<u32>(front.xz, back.xz);
        let b = vec4<u32>(front.yw, back.yw);
        let pairs = normal_pair(a, b, request.multiplier);
        let x = finish(scaled(pairs.radii, pairs.directions.cosines));
        let y = finish(scaled(pairs.radii, pairs.directions.sines));
        return Blocks(vec4<u32>(x.x, y.x, x.y, y.y), vec4<u32>(x.z, y.z, x.w, y.w));
    }
    return Blocks(word_values(front), word_values(back));
}

// The elements of words, one element for each word.
fn word_values(words: vec4<u32>) -> vec4<u32> {
    if (CORE == CORE_UNIFORM) {
        return finish(uniform_numbers(words, request.multiplier, request.offset));
    }
    return finish(scaled(curve(words), vec4<i32>(i32(request.multiplier))));
}

// The stored bits of one element.
fn element_value(element: vec2<u32>) -> u32 {
    let block = block_of(element);
    let drawn = drawn_blocks(block, block).front[element.x & 3u];
    if (!has_place()) {
        return drawn;
    }
    var start = vec3<u32>();
    if (has_rows()) {
        start = row_and_column(element, request.columns);
    }
    return place_value(element, start.x, start.z, drawn);
}

// Stores a 16-bit value and keeps the other half of its word. It is called only at the ends of a fill. No
// other invocation of the dispatch writes to this word, so there is no data race.
fn store_half(element: u32, value: u32) {
    let shift = (element & 1u) << 4u;
    let word = element >> 1u;
    destination[word] = (destination[word] & (0xffff0000u >> shift)) | (value << shift);
}

// The block with this number among the blocks of the dispatch. Each block fills an aligned group of four
// elements of the destination.
fn whole_block(number: u32) -> vec2<u32> {
    var row = 0u;
    var column = number << 2u;
    if (SLICED) {
        let position = request.first + column;
        row = position / request.row_length;
        column = position % request.row_length;
    }
    return add_wide(block_of(row_start(row)), vec2<u32>(column >> 2u, 0u));
}

// Each invocation makes two blocks of the stream and stores them whole: for fills whose blocks line up with
// the destination. This is the fastest entry point on hardware; fill_runs.wgsl has those for software
// drivers. The two blocks are WORKGROUP_SIZE apart, so that neighbouring invocations store side by side.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_whole_blocks_32(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let front = first_of_two(begin(workgroup, local), local);
    let back = front + WORKGROUP_SIZE;
    if (front >= request.invocations) {
        return;
    }
    let values = two_blocks(whole_block(front), whole_block(back));
    let at = request.destination >> 2u;
    destination_32[at + front] = values.front;
    if (back < request.invocations) {
        destination_32[at + back] = values.back;
    }
}

// `fill_whole_blocks_32` for 16-bit elements, two in a word.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_whole_blocks_16(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let front = first_of_two(begin(workgroup, local), local);
    let back = front + WORKGROUP_SIZE;
    if (front >= request.invocations) {
        return;
    }
    let values = two_blocks(whole_block(front), whole_block(back));
    let at = request.destination >> 2u;
    destination_16[at + front] = halves(values.front);
    if (back < request.invocations) {
        destination_16[at + back] = halves(values.back);
    }
}

// The first of an invocation's two blocks: 2 * WORKGROUP_SIZE for each workgroup before this one, plus local.
fn first_of_two(invocation: u32, local: u32) -> u32 {
    return (invocation << 1u) - local;
}

// Four 16-bit elements in two words.
fn halves(block: vec4<u32>) -> vec2<u32> {
    return block.xz | (block.yw << vec2<u32>(16u));
}

// Each invocation makes one block of the stream and stores those of its elements that are wanted. With
// 16-bit elements, each word of the destination must hold lanes 0 and 1 or lanes 2 and 3 of one block: the
// host selects `fill_words` otherwise.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_blocks(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    var row = 0u;
    var block_in_row = invocation;
    if (SLICED) {
        row = invocation / request.blocks_per_row;
        block_in_row = invocation % request.blocks_per_row;
    }
    let start = row_start(row);
    let block = add_wide(block_of(start), vec2<u32>(block_in_row, 0u));
    // The column of lane 0, and its distance from the first wanted element. Before the start both wrap
    // around to large numbers, which fail the comparisons below.
    let column = (block_in_row << 2u) - (start.x & 3u);
    let distance = ((row * request.row_length) + column) - request.first;
    let lanes = vec4<u32>(0u, 1u, 2u, 3u);
    let wanted = (column + lanes < vec4<u32>(request.row_length))
        & (distance + lanes < vec4<u32>(request.count));
    let target_element = request.destination + distance;

    let values = two_blocks(block, block).front;
    if (DTYPE == DTYPE_F32) {
        for (var lane = 0u; lane < 4u; lane++) {
            if (wanted[lane]) {
                destination[target_element + lane] = values[lane];
            }
        }
    } else {
        for (var lane = 0u; lane < 4u; lane += 2u) {
            let element = target_element + lane;
            if (wanted[lane] && wanted[lane + 1u]) {
                destination[element >> 1u] = values[lane] | (values[lane + 1u] << 16u);
            } else if (wanted[lane]) {
                store_half(element, values[lane]);
            } else if (wanted[lane + 1u]) {
                store_half(element + 1u, values[lane + 1u]);
            }
        }
    }
}

// Each invocation makes one 32-bit word of two 16-bit elements, which may come from different blocks.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_words(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let word = (request.destination >> 1u) + invocation;
    var value = 0u;
    // The bits of the word that are not part of the fill.
    var kept = 0u;
    for (var half = 0u; half < 2u; half++) {
        let distance = ((word << 1u) + half) - request.destination;
        if (distance < request.count) {
            let position = request.first + distance;
            var row = 0u;
            var column = position;
            if (SLICED) {
                row = position / request.row_length;
                column = position % request.row_length;
            }
            let element = add_wide(row_start(row), vec2<u32>(column, 0u));
            value |= element_value(element) << (half << 4u);
        } else {
            kept |= 0xffffu << (half << 4u);
        }
    }
    if (kept != 0u) {
        value |= destination[word] & kept;
    }
    destination[word] = value;
}
