// Orthogonal matrices: the product of Householder reflections of Gaussian vectors, in blocks of 64.
// docs/STREAM.md has the method and its sources. Host side: src/gpu/orthogonal.rs.
// The arithmetic is in floating point, so devices agree to a stated tolerance only. Every sum has a fixed
// order, so one device always gives the same bits.
//
// The matrix is tall: `rows` x `columns`, rows >= columns. In memory both are padded with zeros to
// multiples of 64 (`padded_rows` x `stride`), except for the Gaussian vectors.

// Reflections that are applied together, and the edge of a tile: `BLOCK` of src/gpu/orthogonal.rs.
const BLOCK: u32 = 64u;
// Invocations of a workgroup: 16 x 16, each of which makes 4 x 4 numbers of a tile.
const THREADS: u32 = 256u;
// Inner dimension of a tile in workgroup memory. `left` and `right` hold DEPTH * BLOCK numbers.
const DEPTH: u32 = 16u;

struct Shape {
    rows: u32,
    columns: u32,
    padded_rows: u32,
    stride: u32,
    // First row, and first column, of the block of reflections that is applied.
    start: u32,
    // A sum over rows is split into `parts` parts of `part_rows` rows, one for each workgroup.
    part_rows: u32,
    parts: u32,
    gain: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// The vectors of the reflections, one in each column. Their squared length is 2 (up to rounding), so that a
// reflection is I - v v^T.
@group(0) @binding(1) var<storage, read_write> vectors: array<f32>;
// The product, built from the right to the left.
@group(0) @binding(2) var<storage, read_write> product: array<f32>;
// The triangular factors of all blocks, 64 x 64 each.
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;
// First the Gaussian vectors, `rows` x `columns`, which only `reflectors` reads. They share the buffer with what
// comes later, because some devices bind no more than four storage buffers.
// Then the inner products of the block's vectors with the product's columns: `parts` partial sums of 64 rows
// each. After them come 64 rows of the sums times the factor.
@group(0) @binding(4) var<storage, read_write> scratch: array<f32>;

var<workgroup> left: array<f32, 1024>;
var<workgroup> right: array<f32, 1024>;

// Makes the vectors of the reflections that take the Gaussian vectors to the axes, and starts the product as
// the diagonal matrix gain * D. D holds the signs that make the triangular factor's diagonal positive.
// One workgroup for 64 columns; four invocations share a column, each with every fourth row.
@compute @workgroup_size(THREADS)
fn reflectors(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % BLOCK;
    let quarter = local / BLOCK;
    let column = (workgroup.x * BLOCK) + lane;
    // The sum of thousands of squares is made from sums of 32, which keeps the rounding error small.
    var total = 0.0;
    var part = 0.0;
    var count = 0u;
    for (var row = quarter; row < shape.rows; row += 4u) {
        if ((row > column) && (column < shape.columns)) {
            let x = scratch[(row * shape.columns) + column];
            part += x * x;
        }
        count += 1u;
        if (count == 32u) {
            total += part;
            part = 0.0;
            count = 0u;
        }
    }
    left[local] = total + part;
    workgroupBarrier();
    var factor = 0.0;
    var head = 0.0;
    if (column < shape.columns) {
        let below = (left[lane] + left[lane + 64u]) + (left[lane + 128u] + left[lane + 192u]);
        let x = scratch[(column * shape.columns) + column];
        let norm = sqrt((x * x) + below);
        // x + s |x|, of the same sign as x, so nothing cancels. A vector of zeros, which the last column of
        // a square matrix can have, counts as e1.
        head = select(x + select(-norm, norm, x >= 0.0), 1.0, norm == 0.0);
        let squared = (head * head) + below;
        factor = sqrt(2.0 / squared);
        if (quarter == 0u) {
            product[(column * shape.stride) + column] = select(shape.gain, -shape.gain, x >= 0.0);
        }
    }
    for (var row = quarter; row < shape.padded_rows; row += 4u) {
        var value = 0.0;
        if ((row < shape.rows) && (column < shape.columns)) {
            if (row == column) {
                value = head * factor;
            } else if (row > column) {
                value = scratch[(row * shape.columns) + column] * factor;
            }
        }
        vectors[(row * shape.stride) + column] = value;
    }
}

// Loads DEPTH rows of 64 columns of the vectors.
fn load_vectors(local: u32, first_row: u32, first_column: u32) {
    for (var i = local; i < (DEPTH * BLOCK); i += THREADS) {
        left[i] = vectors[((first_row + (i / BLOCK)) * shape.stride) + first_column + (i % BLOCK)];
    }
}

// Loads DEPTH rows of 64 columns of the product.
fn load_product(local: u32, first_row: u32, first_column: u32) {
    for (var i = local; i < (DEPTH * BLOCK); i += THREADS) {
        right[i] = product[((first_row + (i / BLOCK)) * shape.stride) + first_column + (i % BLOCK)];
    }
}

// Adds left^T * right to the sums, 4 x 4 numbers for each invocation. The sum over DEPTH is made on its own
// first, which keeps the rounding error small.
fn multiply(x: u32, y: u32, sums: ptr<function, array<vec4<f32>, 4>>) {
    var inner = array<vec4<f32>, 4>();
    for (var k = 0u; k < DEPTH; k++) {
        let at = k * BLOCK;
        let a = vec4<f32>(
            left[at + (y * 4u)],
            left[at + (y * 4u) + 1u],
            left[at + (y * 4u) + 2u],
            left[at + (y * 4u) + 3u],
        );
        let b = vec4<f32>(
            right[at + (x * 4u)],
            right[at + (x * 4u) + 1u],
            right[at + (x * 4u) + 2u],
            right[at + (x * 4u) + 3u],
        );
        inner[0] += a.x * b;
        inner[1] += a.y * b;
        inner[2] += a.z * b;
        inner[3] += a.w * b;
    }
    (*sums)[0] += inner[0];
    (*sums)[1] += inner[1];
    (*sums)[2] += inner[2];
    (*sums)[3] += inner[3];
}

// Makes the inner products of a block's vectors, V^T V. One workgroup for each block.
@compute @workgroup_size(THREADS)
fn inner_products(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = workgroup.x * BLOCK;
    let x = local % 16u;
    let y = local / 16u;
    var sums = array<vec4<f32>, 4>();
    for (var row = first; row < shape.padded_rows; row += DEPTH) {
        load_vectors(local, row, first);
        for (var i = local; i < (DEPTH * BLOCK); i += THREADS) {
            right[i] = left[i];
        }
        workgroupBarrier();
        multiply(x, y, &sums);
        workgroupBarrier();
    }
    let base = workgroup.x * (BLOCK * BLOCK);
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            factors[base + (((y * 4u) + i) * BLOCK) + (x * 4u) + j] = sums[i][j];
        }
    }
}

// The upper triangle of a block, row by row, without the zeros below it: 64 * 65 / 2 numbers. The whole block
// would take 16,384 bytes, and some devices have 16,352 for a workgroup.
var<workgroup> triangle: array<f32, 2080>;

// Returns the index of an element of the upper triangle, row <= column.
fn in_triangle(row: u32, column: u32) -> u32 {
    return ((row * (127u - row)) / 2u) + column;
}

// Makes the triangular factor T of a block: the inverse of the upper triangle of V^T V with half of its
// diagonal (Puglisi 1992), by back substitution. One workgroup for each block, one invocation for each column.
@compute @workgroup_size(64)
fn invert(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let base = workgroup.x * (BLOCK * BLOCK);
    for (var up = 0u; up <= local; up++) {
        let row = local - up;
        var sum = select(0.0, 1.0, up == 0u);
        for (var k = row + 1u; k <= local; k++) {
            sum -= factors[base + (row * BLOCK) + k] * triangle[in_triangle(k, local)];
        }
        let diagonal = factors[base + (row * BLOCK) + row] / 2.0;
        // A vector of padding is zero and reflects nothing.
        triangle[in_triangle(row, local)] = select(sum / diagonal, 0.0, diagonal == 0.0);
    }
    storageBarrier();
    workgroupBarrier();
    for (var row = 0u; row < BLOCK; row++) {
        var value = 0.0;
        if (row <= local) {
            value = triangle[in_triangle(row, local)];
        }
        factors[base + (row * BLOCK) + local] = value;
    }
}

// Makes the inner products of the block's vectors with the product's columns, V^T P.
// workgroup.x: a tile of 64 columns, from the block's first column on. workgroup.y: a part of the rows.
@compute @workgroup_size(THREADS)
fn project(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_column = shape.start + (workgroup.x * BLOCK);
    let x = local % 16u;
    let y = local / 16u;
    var sums = array<vec4<f32>, 4>();
    let first_row = shape.start + (workgroup.y * shape.part_rows);
    let end = min(first_row + shape.part_rows, shape.padded_rows);
    for (var row = first_row; row < end; row += DEPTH) {
        load_vectors(local, row, shape.start);
        load_product(local, row, first_column);
        workgroupBarrier();
        multiply(x, y, &sums);
        workgroupBarrier();
    }
    let base = workgroup.y * (BLOCK * shape.stride);
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            scratch[base + (((y * 4u) + i) * shape.stride) + first_column + (x * 4u) + j] = sums[i][j];
        }
    }
}

// Adds up the parts and multiplies the sum by the block's triangular factor: T V^T P.
// workgroup.x: a tile of 64 columns.
@compute @workgroup_size(THREADS)
fn transform(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_column = shape.start + (workgroup.x * BLOCK);
    let base = shape.start * BLOCK;
    let x = local % 16u;
    let y = local / 16u;
    var sums = array<vec4<f32>, 4>();
    for (var row = 0u; row < BLOCK; row += DEPTH) {
        for (var i = local; i < (DEPTH * BLOCK); i += THREADS) {
            // Transposed: `multiply` takes its left tile by columns.
            left[i] = factors[base + ((i % BLOCK) * BLOCK) + row + (i / BLOCK)];
            var sum = 0.0;
            for (var part = 0u; part < shape.parts; part++) {
                let at = (((part * BLOCK) + row + (i / BLOCK)) * shape.stride) + first_column + (i % BLOCK);
                sum += scratch[at];
            }
            right[i] = sum;
        }
        workgroupBarrier();
        multiply(x, y, &sums);
        workgroupBarrier();
    }
    let out = shape.parts * (BLOCK * shape.stride);
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            scratch[out + (((y * 4u) + i) * shape.stride) + first_column + (x * 4u) + j] = sums[i][j];
        }
    }
}

// Subtracts V (T V^T P) from the product: the block's vectors times the result of `transform`.
// workgroup.x, workgroup.y: a tile of 64 x 64 of the product, from the block's first column and row on.
@compute @workgroup_size(THREADS)
fn apply(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_row = shape.start + (workgroup.y * BLOCK);
    let first_column = shape.start + (workgroup.x * BLOCK);
    let x = local % 16u;
    let y = local / 16u;
    let transformed = shape.parts * (BLOCK * shape.stride);
    var sums = array<vec4<f32>, 4>();
    for (var k = 0u; k < BLOCK; k += DEPTH) {
        for (var i = local; i < (DEPTH * BLOCK); i += THREADS) {
            // Transposed: `multiply` takes its left tile by columns. DEPTH neighbours in memory are read
            // together.
            let column = i % DEPTH;
            let row = i / DEPTH;
            left[(column * BLOCK) + row] = vectors[((first_row + row) * shape.stride) + shape.start + k + column];
            right[i] = scratch[transformed + ((k + (i / BLOCK)) * shape.stride) + first_column + (i % BLOCK)];
        }
        workgroupBarrier();
        multiply(x, y, &sums);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let at = ((first_row + (y * 4u) + i) * shape.stride) + first_column + (x * 4u) + j;
            product[at] -= sums[i][j];
        }
    }
}
