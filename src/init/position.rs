//! Tables with a number for each column: the frequencies of position tables, logarithms, counters and
//! rotary frequencies.
//!
//! They are part of the stream, like the tables of `quantile.rs`, and use the same arithmetic.

use std::f64::consts::TAU;

use super::distribution::FrequencyScaling;
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
            let turns = frequency / TAU * 18_446_744_073_709_551_616.0;
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
    table(columns, |column| ln((column + 1) as f64))
}

/// Returns the binary32 bits of `start + step * c` for each column c, two columns in an entry.
pub(crate) fn arange_table(start: f64, step: f64, columns: u64) -> Vec<[u32; 2]> {
    table(columns, |column| start + step * column as f64)
}

/// Returns the binary32 bits of the number of each column, rounded once, two columns in an entry.
fn table(columns: u64, number: impl Fn(u64) -> f64) -> Vec<[u32; 2]> {
    let bits = |column| (number(column) as f32).to_bits();
    (0..columns)
        .step_by(2)
        // With an odd number of columns, the last entry has a second number that no element reads.
        .map(|column| [bits(column), bits(column + 1)])
        .collect()
}

/// Returns the binary32 bits of the rotary frequency of each column, two columns in an entry.
///
/// The formulas are those of `ROPE_INIT_FUNCTIONS` in transformers, `modeling_rope_utils.py`, in
/// binary64. transformers itself computes them in binary32.
pub(crate) fn frequency_table(
    theta: f64,
    dim: u64,
    columns: u64,
    scaling: FrequencyScaling,
) -> Vec<[u32; 2]> {
    let size = dim as f64;
    let log_theta = ln(theta);
    // The stream defines this order, product before quotient. Another one would change last bits.
    let power = |log_base: f64, column: u64| exp(-(log_base * (2 * column) as f64 / size));
    let plain = |column| power(log_theta, column);
    match scaling {
        FrequencyScaling::None => table(columns, plain),
        FrequencyScaling::Linear { factor } => table(columns, |column| plain(column) / factor),
        FrequencyScaling::Dynamic { stretch } => {
            // NTK-aware scaling multiplies theta by stretch^(dim / (dim - 2)), which is a sum of logarithms.
            let log_base = log_theta + ln(stretch) * (size / (size - 2.0));
            table(columns, |column| power(log_base, column))
        }
        FrequencyScaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => table(columns, |column| {
            let frequency = plain(column);
            let waves = original * frequency / TAU;
            if waves < low {
                frequency / factor
            } else if waves > high {
                frequency
            } else {
                let kept = (waves - low) / (high - low);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }),
        FrequencyScaling::Yarn {
            factor,
            original,
            beta_fast,
            beta_slow,
            truncate,
        } => {
            // The column, as a fraction, whose wave turns this many times in the original length.
            let column_of = |turns: f64| size * ln(original / (turns * TAU)) / (2.0 * log_theta);
            let (mut low, mut high) = (column_of(beta_fast), column_of(beta_slow));
            if truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            (low, high) = (low.max(0.0), high.min(size - 1.0));
            // As in `linear_ramp_factor` of transformers, against a division by 0.
            if low == high {
                high += 0.001;
            }
            table(columns, |column| {
                let divided = ((column as f64 - low) / (high - low)).clamp(0.0, 1.0);
                let frequency = plain(column);
                frequency / factor * divided + frequency * (1.0 - divided)
            })
        }
        FrequencyScaling::Proportional { factor, rotated } => {
            let rotating = (rotated * size / 2.0).floor() as u64;
            table(columns, |column| {
                if column < rotating {
                    plain(column) / factor
                } else {
                    0.0
                }
            })
        }
    }
}
