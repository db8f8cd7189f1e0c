//! Tables of numbers for each column: frequencies of position tables, logarithms.
//!
//! Like the tables of `quantile.rs` they are part of the stream, and made with the same
//! arithmetic.

use super::quantile::{exp, ln};

/// For each column two entries: its frequency as a fraction of a turn in 64 bits (low word, high
/// word), then its phase in turns of 2^32, a quarter for cosines, and 0.
pub(crate) fn position_table(columns: u64, max_timescale: f64, interleaved: bool) -> Vec<[u32; 2]> {
    let half = columns.div_ceil(2);
    (0..columns)
        .flat_map(|column| {
            let (k, steps, cosine) = if interleaved {
                (column / 2, columns as f64 / 2.0, column % 2 == 1)
            } else {
                (column % half, (half - 1).max(1) as f64, column >= half)
            };
            let frequency = exp(-(ln(max_timescale) * k as f64 / steps));
            // Below 2^64: a frequency of 1 is less than a sixth of a turn.
            let turns = frequency / std::f64::consts::TAU * 18_446_744_073_709_551_616.0;
            let turns = turns.round() as u64;
            [
                [turns as u32, (turns >> 32) as u32],
                [u32::from(cosine) << 30, 0],
            ]
        })
        .collect()
}

/// For each column c the binary32 bits of `ln(c + 1)`, two columns an entry.
pub(crate) fn log_table(columns: u64) -> Vec<[u32; 2]> {
    let bits = |number: u64| (ln(number as f64) as f32).to_bits();
    (1..=columns)
        .step_by(2)
        .map(|number| [bits(number), bits(number + 1)])
        .collect()
}
