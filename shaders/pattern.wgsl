// Values and zeros that depend on the row and column of an element. A "row" is a run of `columns`
// elements of the whole tensor: row and column of element i are i div columns and i mod columns.
// Twin: src/kernel/pattern.rs, which explains each step.

// The fewest rounds of the Feistel network of `permute`.
const FEISTEL_ROUNDS: u32 = 6u;

// The row (low word, high word) and column of an element below 2^50, for fewer than 2^31 columns. Long
// division in binary: the remainder is below 2^31, so doubling it does not overflow.
fn row_and_column(element: vec2<u32>, columns: u32) -> vec3<u32> {
    if (element.y == 0u) {
        return vec3<u32>(element.x / columns, 0u, element.x % columns);
    }
    var row = vec2<u32>(0u, element.y / columns);
    var column = element.y % columns;
    for (var bit = 0u; bit < 32u; bit++) {
        column = (column << 1u) | ((element.x >> (31u - bit)) & 1u);
        let fits = column >= columns;
        column -= select(0u, columns, fits);
        row.x = (row.x << 1u) | select(0u, 1u, fits);
    }
    return vec3<u32>(row, column);
}

// Returns true if an element lies in [start, end). The range is (start, end), two words each.
fn in_range(element: vec2<u32>, range: vec4<u32>) -> bool {
    let from_start = (element.y > range.y) || ((element.y == range.y) && (element.x >= range.x));
    let before_end = (element.y < range.w) || ((element.y == range.w) && (element.x < range.z));
    return from_start && before_end;
}

// Returns true if a row and column are on the diagonal of their group of rows. The pattern is: rows of a
// group, ones of a group, columns from a one to the next, column of the first.
fn on_diagonal(row: u32, column: u32, pattern: vec4<u32>) -> bool {
    let r = row % pattern.x;
    return (r < pattern.y) && (column == ((r * pattern.z) + pattern.w));
}

// Returns true if a row and column are on or below the diagonal of their matrix. The pattern is: rows of a
// matrix, and three numbers without use.
fn in_lower_triangle(row: u32, column: u32, pattern: vec4<u32>) -> bool {
    return column <= (row % pattern.x);
}

// A keyed permutation of the numbers below 2^(left + right), a different one for each column: a Feistel
// network whose round functions are Philox. Draws start at 1, because values take draw 0.
fn permute(number: u32, column: u32, left: u32, right: u32, stream: vec2<u32>, key: vec2<u32>) -> u32 {
    let left_mask = (1u << left) - 1u;
    let right_mask = (1u << right) - 1u;
    var low = number & left_mask;
    var high = number >> left;
    let rounds = max(4u + (48u / (left + right)), FEISTEL_ROUNDS);
    for (var round = 0u; round < rounds; round++) {
        let even = (round & 1u) == 0u;
        let half = select(low, high, even);
        let block = vec2<u32>((column << 16u) | half, column >> 16u);
        let word = philox(counter(block, round + 1u, stream), key).x;
        low ^= select(0u, word & left_mask, even);
        high ^= select(word & right_mask, 0u, even);
    }
    return (high << left) | low;
}

// Returns true if a row is one of the zero rows of its column. The pattern is: rows, zeros of a column,
// and the bits of the permutation's two halves.
fn is_sparse_zero(row: u32, column: u32, pattern: vec4<u32>, stream: vec2<u32>, key: vec2<u32>) -> bool {
    // Lanes past the end of the tensor: the loop below ends only for rows of the tensor.
    if (row >= pattern.x) {
        return false;
    }
    var place = permute(row, column, pattern.z, pattern.w, stream, key);
    while (place >= pattern.x) {
        place = permute(place, column, pattern.z, pattern.w, stream, key);
    }
    return place < pattern.y;
}

// Bits of the mode of `matrix_place`.
const MATRIX_TAPS_LAST: u32 = 1u;
const MATRIX_TRANSPOSED: u32 = 4u;

// The index in memory of an element's number, in a matrix that is stored tall; all ones outside the middle
// tap, where elements are 0. The pattern is: mode, middle tap, columns of the matrix, stride.
fn matrix_place(element: vec2<u32>, columns: u32, pattern: vec4<u32>) -> u32 {
    let divided = row_and_column(element, columns);
    let taps_last = (pattern.x & 3u) == MATRIX_TAPS_LAST;
    let index = select(divided.z, divided.x, taps_last);
    let tap = select(divided.x, divided.z, taps_last);
    let row = index / pattern.z;
    let column = index % pattern.z;
    let transposed = (pattern.x & MATRIX_TRANSPOSED) != 0u;
    let at = select((row * pattern.w) + column, (column * pattern.w) + row, transposed);
    return select(0xffffffffu, at, tap == pattern.y);
}

// The angle of a row, in units of 2^-32 turns: the upper word of row * frequency, plus the phase. The
// frequency is a fraction of a turn in 64 bits (low word, high word).
fn angle(row: u32, frequency: vec2<u32>, phase: u32) -> u32 {
    return mul_hi(frequency.x, row) + (frequency.y * row) + phase;
}

// (cos, sin) of pi/4 * x, both with 32 fraction bits, for x in (0, 1) with 32 fraction bits. Fitted
// polynomials of degree 8 and 7, off by at most 2^-30.7 and 2^-29.0.
fn cos_sin(x: u32) -> vec2<u32> {
    let x2 = mul_hi(x, x);
    let x2_short = x2 >> 16u;
    let c3 = 1399910u - ((60668u * x2_short) >> 18u);
    let c2 = 68093819u - mul_hi(x2, c3);
    let c1 = 1324675871u - mul_hi(x2, c2);
    let s2 = 10693919u - ((38523u * x2_short) >> 14u);
    let s1 = 346798712u - mul_hi(x2, s2);
    let s0 = 3373259379u - mul_hi(x2, s1);
    return vec2<u32>(~mul_hi(x2, c1), mul_hi(x, s0));
}

// The sine, with 31 fraction bits, of an angle in units of 2^-32 turns.
fn sine(turns: u32) -> i32 {
    let quadrant = (turns + (1u << 29u)) >> 30u;
    let offset = (turns << 2u) | select(0u, 2u, (turns << 2u) != 0u);
    let negative = offset >> 31u;
    let magnitude = select(offset, 0u - offset, negative != 0u);
    let cosine_sine = cos_sin(magnitude << 1u);
    let swap = quadrant & 1u;
    let value = i32(select(cosine_sine.y, cosine_sine.x, swap != 0u) >> 1u);
    let sign = (quadrant >> 1u) ^ ((swap ^ 1u) & negative);
    return select(value, -value, sign != 0u);
}

// A number with 31 fraction bits, rounded to binary32, to nearest, ties to even; as bits.
fn sine_value(sine: i32) -> u32 {
    let magnitude = u32(abs(sine));
    let zeros = countLeadingZeros(magnitude);
    let significand = magnitude << (zeros & 31u);
    let quotient = significand >> 8u;
    let rounded = quotient + (((significand & 0xffu) + 0x7fu + (quotient & 1u)) >> 8u);
    // The leading bit has the weight 2^-zeros and the field 127 - zeros, of which the significand's own
    // leading bit adds 1.
    let bits = (((126u - zeros) << 23u) + rounded) | (u32(sine) & 0x80000000u);
    return select(bits, 0u, magnitude == 0u);
}
