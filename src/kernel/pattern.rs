//! Values and zeros that depend on the row and column of an element.
//!
//! Twin of `shaders/pattern.wgsl`. A "row" is a run of `columns` elements of the whole tensor: row
//! and column of element i are `i div columns` and `i mod columns`.

use super::mul::mul_hi;
use super::philox::{counter, philox};

/// The fewest rounds of the Feistel network of [`permute`].
const FEISTEL_ROUNDS: u32 = 6;

/// The row and column of an element below 2^50, for fewer than 2^31 columns.
#[inline(always)]
pub const fn row_and_column(element: u64, columns: u32) -> (u64, u32) {
    (element / columns as u64, (element % columns as u64) as u32)
}

/// Returns true if an element lies in `[start, end)`.
#[inline(always)]
pub const fn in_range(element: u64, start: u64, end: u64) -> bool {
    start <= element && element < end
}

/// Returns true if a row and column are on the diagonal of their group of rows. The pattern is: rows
/// of a group, ones of a group, columns from a one to the next, column of the first.
#[inline(always)]
pub const fn on_diagonal(row: u32, column: u32, pattern: [u32; 4]) -> bool {
    let [rows, ones, stride, offset] = pattern;
    let r = row % rows;
    r < ones && column == r.wrapping_mul(stride).wrapping_add(offset)
}

/// Returns true if a row and column are on or below the diagonal of their matrix. The pattern is: rows
/// of a matrix, and three numbers without use.
#[inline(always)]
pub const fn in_lower_triangle(row: u32, column: u32, pattern: [u32; 4]) -> bool {
    column <= row % pattern[0]
}

/// A keyed permutation of the numbers below 2^(left + right), a different one for each column: a
/// Feistel network (Luby and Rackoff, 1988) whose round functions are Philox. The halves of a number
/// are its `left` low bits and the `right` bits above them, at most 16 each.
///
/// Round r takes the first word of block `column * 2^16 + half` in draw r + 1, because values take
/// draw 0. Every two rounds bring the images of two numbers closer to independent by a factor of
/// 2^bits. So numbers of few bits take more rounds: 48 / bits of them reach 2^-24, and two more
/// stand at either end.
#[inline(always)]
pub const fn permute(
    number: u32,
    column: u32,
    left: u32,
    right: u32,
    stream: [u32; 2],
    key: [u32; 2],
) -> u32 {
    let left_mask = (1 << left) - 1;
    let right_mask = (1 << right) - 1;
    let mut low = number & left_mask;
    let mut high = number >> left;
    let wanted = 4 + 48 / (left + right);
    let rounds = if wanted < FEISTEL_ROUNDS {
        FEISTEL_ROUNDS
    } else {
        wanted
    };
    let mut round = 0;
    while round < rounds {
        let even = round & 1 == 0;
        let half = if even { high } else { low };
        let block = ((column as u64) << 16) | half as u64;
        let word = philox(counter(block, round + 1, stream), key)[0];
        if even {
            low ^= word & left_mask;
        } else {
            high ^= word & right_mask;
        }
        round += 1;
    }
    (high << left) | low
}

/// Returns true if a row is one of the zero rows of its column. The pattern is: rows, zeros of a
/// column, and the bits of the permutation's two halves.
///
/// The zero rows are those that a permutation of the rows takes below `zeros`. The permutation is
/// [`permute`], repeated while it leads outside of the rows (cycle walking: Black and Rogaway,
/// "Ciphers with arbitrary finite domains", 2002).
#[inline(always)]
pub const fn is_sparse_zero(
    row: u32,
    column: u32,
    pattern: [u32; 4],
    stream: [u32; 2],
    key: [u32; 2],
) -> bool {
    let [rows, zeros, left, right] = pattern;
    // Lanes past the end of the tensor: the loop below ends only for rows of the tensor.
    if row >= rows {
        return false;
    }
    let mut place = permute(row, column, left, right, stream, key);
    while place >= rows {
        place = permute(place, column, left, right, stream, key);
    }
    place < zeros
}

/// Modes of [`matrix_place`]: the tensor is the matrix.
pub const MATRIX: u32 = 0;
/// The taps of a kernel are the last dimensions of the tensor.
pub const MATRIX_TAPS_LAST: u32 = 1;
/// The taps of a kernel are the first dimensions of the tensor.
pub const MATRIX_TAPS_FIRST: u32 = 2;
/// Added to the mode where the matrix is held transposed.
pub const MATRIX_TRANSPOSED: u32 = 4;

/// The index in memory of an element's number, in a matrix that is stored tall; `u32::MAX` outside
/// the middle tap, where elements are 0. The pattern is: mode, middle tap, columns of the matrix,
/// stride. The stride is the elements from one row to the next in memory. `columns` is the number of
/// taps where they are the last dimensions, else the number of elements of the matrix.
#[inline(always)]
pub const fn matrix_place(element: u64, columns: u32, pattern: [u32; 4]) -> u32 {
    let [mode, middle, matrix_columns, stride] = pattern;
    let (quotient, remainder) = row_and_column(element, columns);
    let (index, tap) = if mode & 3 == MATRIX_TAPS_LAST {
        (quotient as u32, remainder)
    } else {
        (remainder, quotient as u32)
    };
    let row = index / matrix_columns;
    let column = index % matrix_columns;
    let at = if mode & MATRIX_TRANSPOSED != 0 {
        column.wrapping_mul(stride).wrapping_add(row)
    } else {
        row.wrapping_mul(stride).wrapping_add(column)
    };
    if tap == middle { at } else { u32::MAX }
}

/// The angle of a row, in units of 2^-32 turns: the upper word of `row * frequency`, plus the phase.
/// The frequency is a fraction of a turn in 64 bits (low word, high word).
#[inline(always)]
pub const fn angle(row: u32, frequency: [u32; 2], phase: u32) -> u32 {
    mul_hi(frequency[0], row)
        .wrapping_add(frequency[1].wrapping_mul(row))
        .wrapping_add(phase)
}

/// `(cos, sin)` of `pi/4 * x`, both with 32 fraction bits, for x in (0, 1) with 32 fraction bits.
///
/// The cosine is an even polynomial of degree 8, the sine an odd one of degree 7. Their coefficients
/// are near those of Taylor's series, fitted so that the error is spread over the interval. They are
/// off by at most 2^-30.7 and 2^-29.0, roundings included (compared with binary64 at every 17th x);
/// `tests/library/patterns.rs` allows 2^-28. The terms of highest degree are small enough for 32-bit
/// products with a 16-bit square. The cosine ends with `!y`, which is 1 - y less a unit: 1 itself has
/// no 32 fraction bits.
#[inline(always)]
pub const fn cos_sin(x: u32) -> (u32, u32) {
    let x2 = mul_hi(x, x);
    let x2_short = x2 >> 16;
    let c3 = 1_399_910 - ((60_668 * x2_short) >> 18);
    let c2 = 68_093_819 - mul_hi(x2, c3);
    let c1 = 1_324_675_871 - mul_hi(x2, c2);
    let s2 = 10_693_919 - ((38_523 * x2_short) >> 14);
    let s1 = 346_798_712 - mul_hi(x2, s2);
    let s0 = 3_373_259_379 - mul_hi(x2, s1);
    (!mul_hi(x2, c1), mul_hi(x, s0))
}

/// The sine, with 31 fraction bits, of an angle in units of 2^-32 turns. Whole quarters of a turn are
/// exact after rounding to binary32. Other angles stand for the middle of their step.
#[inline(always)]
pub const fn sine(angle: u32) -> i32 {
    // The nearest quarter turn, and the distance from it in units of 2^-31 of an eighth of a turn. The
    // step is 4 of these units, so its middle is at 2.
    let quadrant = angle.wrapping_add(1 << 29) >> 30;
    let offset = (angle << 2) | (if angle << 2 != 0 { 2 } else { 0 });
    let negative = offset >> 31;
    let magnitude = if negative != 0 {
        offset.wrapping_neg()
    } else {
        offset
    };
    let (cos, sin) = cos_sin(magnitude << 1);
    let swap = quadrant & 1;
    let value = if swap != 0 { cos } else { sin };
    let sign = (quadrant >> 1) ^ ((swap ^ 1) & negative);
    let magnitude = (value >> 1) as i32;
    if sign != 0 { -magnitude } else { magnitude }
}

/// A number with 31 fraction bits, rounded to binary32, to nearest, ties to even; as bits.
#[inline(always)]
pub const fn sine_value(sine: i32) -> u32 {
    let magnitude = sine.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    let significand = magnitude << (zeros & 31);
    let quotient = significand >> 8;
    let rounded = quotient + (((significand & 0xff) + 0x7f + (quotient & 1)) >> 8);
    if magnitude == 0 {
        0
    } else {
        // The leading bit has the weight 2^-zeros and the field 127 - zeros, of which the significand's
        // own leading bit adds 1.
        (((126 - zeros) << 23) + rounded) | (sine as u32 & 0x8000_0000)
    }
}
