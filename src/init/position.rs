//! Tables with a number for each column: the frequencies of position tables, and logarithms.
//!
//! They are part of the stream, like the tables of `quantile.rs`, and use the same arithmetic.

use super::quantile::{exp, ln};

/// Returns two entries for each column. The first is the frequency in turns with 64 fraction bits,
/// low word first. The second is the phase with 32 fraction bits, a quarter turn for cosines, and 0.
///
/// Interleaved tables have the frequencies of Vaswani et al., "Attention is all you need", 2017,
/// section 3.5. The others have the frequencies of Whisper's `sinusoids`, whose last frequency is
/// exactly 1 / `max_timescale`.
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
            // The product is below 2^64, because a frequency is at most 1 and 1 / tau is below 1/6.
            let turns = frequency / std::f64::consts::TAU * 18_446_744_073_709_551_616.0;
            let turns = turns.round() as u64;
            [
                [turns as u32, (turns >> 32) as u32],
                [u32::from(cosine) << 30, 0],
            ]
        })
        .collect()
}

/// Returns the binary32 bits of `ln(c + 1)` for each column c, two columns in an entry.
pub(crate) fn log_table(columns: u64) -> Vec<[u32; 2]> {
    let bits = |number: u64| (ln(number as f64) as f32).to_bits();
    (1..=columns)
        .step_by(2)
        .map(|number| [bits(number), bits(number + 1)])
        .collect()
}
