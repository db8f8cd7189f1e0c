//! Cores and zeros that depend on where an element stands: its row and column.
//!
//! Twin of `shaders/pattern.wgsl`. A "row" here is a run of `columns` elements of the whole
//! tensor: row and column of element i are `i div columns` and `i mod columns`.

use super::mul::mul_hi;
use super::philox::{counter, philox};

/// Rounds of the Feistel network of [`permute`] at least.
const FEISTEL_ROUNDS: u32 = 6;

/// Row and column of an element: quotient and remainder by a number below 2^31.
#[inline(always)]
pub const fn row_and_column(element: u64, columns: u32) -> (u64, u32) {
    (element / columns as u64, (element % columns as u64) as u32)
}

/// Whether `element` lies in `[start, end)`.
#[inline(always)]
pub const fn in_range(element: u64, start: u64, end: u64) -> bool {
    start <= element && element < end
}

/// Whether a row and column are on the diagonal of their group: `rows` rows a group, in each of
/// which the row `r` has its one at column `r * stride + offset`, for r below `ones`.
#[inline(always)]
pub const fn on_diagonal(row: u32, column: u32, pattern: [u32; 4]) -> bool {
    let [rows, ones, stride, offset] = pattern;
    let r = row % rows;
    r < ones && column == r.wrapping_mul(stride).wrapping_add(offset)
}

/// A keyed permutation of the numbers below 2^(left + right), another one for each column: a
/// Feistel network (Luby and Rackoff, 1988) whose round functions are Philox. Bits: `left` low
/// ones and `right` above them, at most 16 each.
///
/// The words are those of draws 1, 2, ... of the blocks `column * 2^16 + half`. How far two numbers
/// are from independent falls by 2^bits with every two rounds, so few bits take more rounds: 2^-24
/// and two more rounds on either side.
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

/// Whether a row is among the `zeros` rows of its column that are zero. Which ones is a
/// permutation of the `rows` rows: that of [`permute`], repeated while it leads past them.
#[inline(always)]
pub const fn is_sparse_zero(
    row: u32,
    column: u32,
    pattern: [u32; 4],
    stream: [u32; 2],
    key: [u32; 2],
) -> bool {
    let [rows, zeros, left, right] = pattern;
    // Lanes past the end of the tensor: the walk might never come back.
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

/// Where in memory the number of an element stands, in a matrix that is held tall; `u32::MAX`
/// outside the middle tap. The pattern is: the mode, the middle tap, columns of the matrix, and
/// elements from one row to the next in memory; `columns` are the taps where they are last, else
/// the elements of the matrix.
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

/// The angle of a row, in turns of 2^32: the upper word of `row * frequency + phase`, the
/// frequency being a fraction of a turn in 64 bits (low word, high word).
#[inline(always)]
pub const fn angle(row: u32, frequency: [u32; 2], phase: u32) -> u32 {
    mul_hi(frequency[0], row)
        .wrapping_add(frequency[1].wrapping_mul(row))
        .wrapping_add(phase)
}

/// `(cos, sin)` of `pi/4 * x`, both with 32 fraction bits, for x in (0, 1) with 32 fraction
/// bits. The cosine never reaches 1.
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

/// The sine of an angle in turns of 2^32, with 31 fraction bits. Whole quarters of a turn are
/// exact (but for 1, which is 2^-31 short until it is rounded); other angles stand for the middle of their step.
#[inline(always)]
pub const fn sine(angle: u32) -> i32 {
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

/// A number with 31 fraction bits, rounded to binary32 bits, to nearest, ties to even.
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
        // The leading bit of the significand adds 1 to the exponent's field.
        (((126 - zeros) << 23) + rounded) | (sine as u32 & 0x8000_0000)
    }
}
