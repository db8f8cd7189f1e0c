// The fill: from an invocation's number to stored words. Shared by every entry point: the dispatch
// parameters, and the value of an element. `begin` and `outer_dimension` are in request_one.wgsl or
// request_many.wgsl.
// Host side: src/gpu/dispatch.rs, which lays out `Fill` and chooses the entry point.

// Constants of a pipeline. The numbers are those of src/gpu/shader.rs.
override CORE: u32;
override DTYPE: u32;
// Drawn numbers are shifted and an offset is added: a mean that is not 0.
override SHIFTED: bool;
// Drawn numbers end in a clamp.
override CLAMPED: bool;
// Values are made in integers: some would be subnormal or overflow, or the device breaks the rules
// of WGSL for floats.
override INTEGERS: bool;
// More than one row: a slice that is not contiguous in the whole tensor.
override SLICED: bool;
// Elements that are zero by their place.
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
const DTYPE_F32: u32 = 0u;
const DTYPE_F16: u32 = 1u;
const DTYPE_BF16: u32 = 2u;

// Outer dimensions of a slice that one dispatch can cross.
const MAX_DIMENSIONS: u32 = 4u;
// Workgroups in a row of the grid, where there is more than one row.
const GRID_WIDTH: u32 = 65535u;

// 64-bit numbers are (low, high) words. A "row" is a run of elements that is contiguous in the
// whole tensor; "position" counts the elements of the rows from the start of the first one.
struct Fill {
    // The keys of the ten rounds of Philox, two a vector, and what round 1 makes of the stream id.
    keys: array<vec4<u32>, 5>,
    first_round: vec4<u32>,
    stream: vec2<u32>,
    // Index, in the whole tensor, of the element at digits 0, 0, ...
    base: vec2<u32>,
    // Of drawn numbers, see src/init/scaling.rs. The offset is also the bits of a constant.
    multiplier: u32,
    offset: i32,
    shift: u32,
    low: i32,
    high: i32,
    // Values are whole numbers times 2^exponent, which is `power`.
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
    // Elements of a row of the whole tensor, where the place counts, and the numbers of the mask.
    columns: u32,
    pattern: vec4<u32>,
    // Of each outer dimension, innermost first: its size, the digit of the first row, and the
    // stride, in elements of the whole tensor, as two words.
    dimension: array<vec4<u32>, MAX_DIMENSIONS>,
}

// The request that the invocation's workgroup fills, once `begin` has run. A copy, made before control
// flow diverges: software drivers load uniform data once for all invocations only where all are active.
var<private> request: Fill;
@group(0) @binding(1) var<storage, read_write> destination: array<u32>;
// The same memory, for whole blocks of 32-bit and of 16-bit elements.
@group(0) @binding(1) var<storage, read_write> destination_32: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination_16: array<vec2<u32>>;

fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

// The index in the whole tensor of a row's first element.
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

fn block_of(element: vec2<u32>) -> vec2<u32> {
    return vec2<u32>((element.x >> 2u) | (element.y << 30u), element.y >> 2u);
}

// Drawn numbers with their offset: src/init/scaling.rs.
fn scaled(numbers: vec4<i32>, factors: vec4<i32>) -> vec4<i32> {
    if (SHIFTED) {
        return vec4<i32>(request.offset) + mul_shifted(numbers, factors, request.shift);
    }
    return mul_hi_rounded(numbers, factors);
}

// From drawn numbers to the bits that are stored: 32, or 16 in the low half.
fn finish(numbers: vec4<i32>) -> vec4<u32> {
    var p = numbers;
    if (CLAMPED) {
        p = clamp(p, vec4<i32>(request.low), vec4<i32>(request.high));
    }
    // Uniform numbers have at most 24 bits.
    if (CORE != CORE_UNIFORM) {
        p = cut(p);
    }
    if (INTEGERS) {
        return pack(value(p, request.exponent));
    }
    return pack(float_value(p, request.power));
}

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

// Whether an element is zero by its place.
fn is_masked(element: vec2<u32>, row: u32, column: u32) -> bool {
    if (MASK == MASK_DIAGONAL) {
        return !on_diagonal(row, column, request.pattern);
    }
    if (MASK == MASK_RANGE) {
        return in_range(element, request.pattern);
    }
    if (MASK == MASK_SPARSE) {
        return is_sparse_zero(row, column, request.pattern, request.stream, request.keys[0].xy);
    }
    return false;
}

// The stored bits of an element, given those that its words alone make.
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

// A number of a table that holds two an entry.
fn table_number(index: u32) -> u32 {
    let pair = table_pair(index >> 1u);
    return select(pair.x, pair.y, (index & 1u) != 0u);
}

// Whether the value of an element depends on where it stands.
fn has_place() -> bool {
    return has_rows() || (MASK == MASK_RANGE) || (CORE == CORE_MATRIX);
}

// Whether it depends on its row and column.
fn has_rows() -> bool {
    return (CORE == CORE_SINE) || (CORE == CORE_COLUMNS) || (MASK == MASK_DIAGONAL) || (MASK == MASK_SPARSE);
}

// The elements of two blocks.
struct Blocks {
    front: vec4<u32>,
    back: vec4<u32>,
}

// Two blocks at a time: what is common to them is done once, and one does not wait for its own results.
fn two_blocks(front: vec2<u32>, back: vec2<u32>) -> Blocks {
    let drawn = drawn_blocks(front, back);
    if (!has_place()) {
        return drawn;
    }
    return Blocks(placed_block(front, drawn.front), placed_block(back, drawn.back));
}

// The elements of a block, given those that its words alone make.
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

// Whether elements are drawn from the stream.
fn is_drawn() -> bool {
    return (CORE == CORE_UNIFORM) || (CORE == CORE_NORMAL) || (CORE == CORE_QUANTILE);
}

// The elements of two blocks, as their words alone make them.
fn drawn_blocks(front: vec2<u32>, back: vec2<u32>) -> Blocks {
    if (!is_drawn()) {
        let all = pack(vec4<u32>(u32(request.offset)));
        return Blocks(all, all);
    }
    return drawn_values(philox_block(front), philox_block(back));
}

fn drawn_values(front: vec4<u32>, back: vec4<u32>) -> Blocks {
    if (CORE == CORE_NORMAL) {
        let a = vec4<u32>(front.xz, back.xz);
        let b = vec4<u32>(front.yw, back.yw);
        let pairs = normal_pairs(a, b, request.multiplier);
        let x = finish(scaled(pairs.radii, pairs.directions.cosines));
        let y = finish(scaled(pairs.radii, pairs.directions.sines));
        return Blocks(vec4<u32>(x.x, y.x, x.y, y.y), vec4<u32>(x.z, y.z, x.w, y.w));
    }
    return Blocks(word_values(front), word_values(back));
}

// The elements of words, one each.
fn word_values(words: vec4<u32>) -> vec4<u32> {
    if (CORE == CORE_UNIFORM) {
        return finish(uniform_numbers(words, request.multiplier, request.offset));
    }
    return finish(scaled(curve(words), vec4<i32>(i32(request.multiplier))));
}

// One element on its own.
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

// Stores a 16-bit value and keeps the other half of its word. Only at the ends of a fill: the
// word belongs to one invocation, and the other half to a neighbour that is not being written.
fn store_half(element: u32, value: u32) {
    let shift = (element & 1u) << 4u;
    let word = element >> 1u;
    destination[word] = (destination[word] & (0xffff0000u >> shift)) | (value << shift);
}

// The block with a number, where each one fills an aligned group of four elements of the destination.
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

// Each invocation makes two blocks of the stream, as far apart as the workgroup is wide, and stores
// them whole: the fastest way, for fills whose blocks line up with the destination. (But see
// fill_runs.wgsl.)
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

// The same for 16-bit elements, two in a word.
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

// Of twice as many blocks as a workgroup has invocations, the first one of an invocation.
fn first_of_two(invocation: u32, local: u32) -> u32 {
    return (invocation << 1u) - local;
}

// Four 16-bit elements in two words.
fn halves(block: vec4<u32>) -> vec2<u32> {
    return block.xz | (block.yw << vec2<u32>(16u));
}

// Each invocation makes one block of the stream and stores those of its elements that are asked
// for. 16-bit elements need a word to hold two elements of one pair of lanes: the host checks.
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
    // Column and distance from the first element of lane 0; before the start they wrap around
    // to large numbers, which the comparisons below refuse.
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

// Each invocation makes one 32-bit word of two 16-bit elements that may come from anywhere.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_words(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let word = (request.destination >> 1u) + invocation;
    var value = 0u;
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
