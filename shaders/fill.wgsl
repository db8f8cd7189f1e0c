// The fill: from an invocation's number to stored words. Shared by every entry point: what a
// dispatch is told, and the value of an element. `begin` and `outer_dimension` are in request_one.wgsl
// or request_many.wgsl.
// Host side: src/gpu/dispatch.rs, which lays out `Fill` and chooses the entry point.

// What is specialized when a pipeline is made. The numbers are those of src/gpu/shader.rs.
override CORE: u32;
override DTYPE: u32;
// mean != 0: the outer addition.
override SHIFTED: bool;
// Uniform and truncated distributions end in a clamp.
override CLAMP: u32;
// More than one row: a slice that is not contiguous in the whole tensor.
override SLICED: bool;
// What of the rest is zero, by its place.
override MASK: u32;
// Products of core and scale can be subnormal or overflow.
override EXTREMES: bool;
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
const CLAMP_NONE: u32 = 0u;
const CLAMP_ACROSS_ZERO: u32 = 1u;
const CLAMP_ANY: u32 = 2u;
const DTYPE_F32: u32 = 0u;
const DTYPE_F16: u32 = 1u;
const DTYPE_BF16: u32 = 2u;

// Outer dimensions of a slice that one dispatch can cross.
const MAX_DIMENSIONS: u32 = 7u;
// Workgroups in a row of the grid, where there is more than one row.
const GRID_WIDTH: u32 = 65535u;

// 64-bit numbers are (low, high) words. A "row" is a run of elements that is contiguous in the
// whole tensor; "position" counts the elements of the rows from the start of the first one.
struct Fill {
    key: vec2<u32>,
    stream: vec2<u32>,
    // Index, in the whole tensor, of the element at digits 0, 0, ...
    base: vec2<u32>,
    // Of the scale, see src/kernel/scale.rs.
    mantissa: u32,
    exponent: i32,
    // binary32 bits. The mean is also the value of a constant.
    mean: u32,
    low: u32,
    high: u32,
    // Elements of the bound range before the first one of this dispatch.
    destination: u32,
    // Elements of this dispatch, and the position of its first one.
    count: u32,
    first: u32,
    row_length: u32,
    blocks_per_row: u32,
    // Invocations that have work, and the number of their first workgroup.
    invocations: u32,
    first_workgroup: u32,
    dimensions: u32,
    // Elements of a row of the whole tensor, where the place counts, and what the mask is told.
    columns: u32,
    pattern: vec4<u32>,
    // Of each outer dimension, innermost first: its size, the digit of the first row, and the
    // stride, in elements of the whole tensor, as two words.
    dimension: array<vec4<u32>, MAX_DIMENSIONS>,
}

// What the invocation's workgroup fills, once `begin` has run. A copy, made before invocations part:
// software drivers load what is uniform once for all of them only where all of them are active.
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

// From a core to the bits that are stored: 32, or 16 in the low half.
fn finish(core: i32) -> u32 {
    var bits = scale(core, request.mantissa, request.exponent);
    if (SHIFTED) {
        bits = add(bits, request.mean);
    }
    if (CLAMP == CLAMP_ACROSS_ZERO) {
        bits = clamp_across_zero(bits, request.low, request.high);
    } else if (CLAMP == CLAMP_ANY) {
        bits = clamp_bits(bits, request.low, request.high);
    }
    return pack(bits);
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
        return is_sparse_zero(row, column, request.pattern, request.stream, request.key);
    }
    return false;
}

// The stored bits of an element, given what its words alone would make of it.
fn place(element: vec2<u32>, row: u32, column: u32, drawn: u32) -> u32 {
    if (is_masked(element, row, column)) {
        return 0u;
    }
    if (CORE == CORE_SINE) {
        return finish(sine(angle(row, table_entry(column))));
    }
    if (CORE == CORE_COLUMNS) {
        return pack(table_entry(column).x);
    }
    if (CORE == CORE_MATRIX) {
        let at = matrix_place(element, request.columns, request.pattern);
        if (at == 0xffffffffu) {
            return 0u;
        }
        return pack(table_entry(at >> 2u)[at & 3u]);
    }
    return drawn;
}

// Whether it matters where an element stands.
fn has_place() -> bool {
    return has_rows() || (MASK == MASK_RANGE) || (CORE == CORE_MATRIX);
}

// Whether rows and columns do.
fn has_rows() -> bool {
    return (CORE == CORE_SINE) || (CORE == CORE_COLUMNS) || (MASK == MASK_DIAGONAL) || (MASK == MASK_SPARSE);
}

fn pack(bits: u32) -> u32 {
    if (DTYPE == DTYPE_F16) {
        return to_f16(bits);
    }
    if (DTYPE == DTYPE_BF16) {
        return to_bf16(bits);
    }
    return bits;
}

// The four elements of a block.
fn block_values(block: vec2<u32>) -> vec4<u32> {
    let drawn = drawn_values(block);
    if (!has_place()) {
        return drawn;
    }
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
        values[lane] = place(vec2<u32>(first.x + lane, first.y), row, column, drawn[lane]);
        column += 1u;
        if (column == request.columns) {
            column = 0u;
            row += 1u;
        }
    }
    return values;
}

// The four elements of a block, as their words alone make them.
fn drawn_values(block: vec2<u32>) -> vec4<u32> {
    if (CORE == CORE_CONSTANT) {
        return vec4<u32>(pack(request.mean));
    }
    if ((CORE == CORE_SINE) || (CORE == CORE_COLUMNS) || (CORE == CORE_MATRIX)) {
        return vec4<u32>();
    }
    return finish_all(drawn_cores(philox(counter(block, 0u, request.stream), request.key)));
}

fn finish_all(cores: vec4<i32>) -> vec4<u32> {
    return vec4<u32>(finish(cores.x), finish(cores.y), finish(cores.z), finish(cores.w));
}

// The cores of the four words of a block.
fn drawn_cores(words: vec4<u32>) -> vec4<i32> {
    if (CORE == CORE_UNIFORM) {
        return vec4<i32>(
            uniform_core(words.x),
            uniform_core(words.y),
            uniform_core(words.z),
            uniform_core(words.w),
        );
    }
    if (CORE == CORE_QUANTILE) {
        return vec4<i32>(quantile(words.x), quantile(words.y), quantile(words.z), quantile(words.w));
    }
    return vec4<i32>(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
}

// One element on its own.
fn element_value(element: vec2<u32>) -> u32 {
    if (!has_place()) {
        return drawn_value(element);
    }
    var start = vec3<u32>();
    if (has_rows()) {
        start = row_and_column(element, request.columns);
    }
    return place(element, start.x, start.z, drawn_value(element));
}

fn drawn_value(element: vec2<u32>) -> u32 {
    if (CORE == CORE_CONSTANT) {
        return pack(request.mean);
    }
    if ((CORE == CORE_SINE) || (CORE == CORE_COLUMNS) || (CORE == CORE_MATRIX)) {
        return 0u;
    }
    let words = philox(counter(block_of(element), 0u, request.stream), request.key);
    let pair = select(words.xy, words.zw, (element.x & 2u) != 0u);
    let odd = (element.x & 1u) != 0u;
    if (CORE == CORE_UNIFORM) {
        return finish(uniform_core(select(pair.x, pair.y, odd)));
    }
    if (CORE == CORE_QUANTILE) {
        return finish(quantile(select(pair.x, pair.y, odd)));
    }
    let cores = normal_pair(pair.x, pair.y);
    return finish(select(cores.x, cores.y, odd));
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

// Each invocation makes one block of the stream and stores it whole: the fastest way, for fills
// whose blocks line up with the destination. (But see fill_runs.wgsl.)
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_whole_blocks_32(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    destination_32[(request.destination >> 2u) + invocation] = block_values(whole_block(invocation));
}

// The same for 16-bit elements, two in a word.
@compute @workgroup_size(WORKGROUP_SIZE)
fn fill_whole_blocks_16(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let invocation = begin(workgroup, local);
    if (invocation >= request.invocations) {
        return;
    }
    let values = block_values(whole_block(invocation));
    destination_16[(request.destination >> 2u) + invocation] = values.xz | (values.yw << vec2<u32>(16u));
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

    let values = block_values(block);
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
