//! Counts of many draws, compared with exact probabilities.

use fanin::{Fill, Init, Tensor, cpu};

use crate::Failure;
use crate::normal::{above, below, chi_square_tail};

/// Elements that are made at a time.
const CHUNK: usize = 1 << 22;

/// Calls `count` with all of `draws` elements, a chunk at a time.
fn each_chunk(
    init: &Init,
    draws: u64,
    seed: u64,
    mut count: impl FnMut(&[f32]),
) -> Result<(), Failure> {
    let tensor = Tensor::new("trust.counts", [draws])?;
    let fill = Fill::new(&tensor, init, seed)?;
    let mut chunk = vec![0f32; CHUNK];
    let mut start = 0;
    while start < draws {
        let length = (draws - start).min(CHUNK as u64) as usize;
        cpu::fill_range(&fill, start, bytes_of(&mut chunk[..length]))?;
        count(&chunk[..length]);
        start += length as u64;
    }
    Ok(())
}

fn bytes_of(values: &mut [f32]) -> &mut [u8] {
    bytemuck::cast_slice_mut(values)
}

/// Returns a line on a count with this probability, with the p of a deviation as large on either side.
fn line(what: &str, count: u64, draws: u64, probability: f64) -> String {
    let expected = draws as f64 * probability;
    let deviations = (count as f64 - expected) / (expected * (1.0 - probability)).sqrt();
    let p = 2.0 * above(deviations.abs());
    format!("{what:<22} {count:>12} {expected:>16.1} {deviations:>7.2} sigma  p = {p:.4}")
}

/// Counts values beyond thresholds, on each side.
fn tails(
    init: &Init,
    draws: u64,
    seed: u64,
    expected: &[(f64, f64, f64)],
) -> Result<Vec<String>, Failure> {
    let mut counts = vec![[0u64; 2]; expected.len()];
    each_chunk(init, draws, seed, |chunk| {
        for (count, (bound, ..)) in counts.iter_mut().zip(expected) {
            let bound = *bound as f32;
            // Blocks of a size whose count fits 32 bits, so that the compiler vectorizes the loop.
            let (below, above) = chunk.iter().fold((0u32, 0u32), |(below, above), &x| {
                (below + u32::from(x < -bound), above + u32::from(x >= bound))
            });
            count[0] += u64::from(below);
            count[1] += u64::from(above);
        }
    })?;
    let lines = counts
        .iter()
        .zip(expected)
        .flat_map(|(count, (bound, low, high))| {
            [
                line(&format!("x < -{bound}"), count[0], draws, *low),
                line(&format!("x >= {bound}"), count[1], draws, *high),
            ]
        });
    Ok(lines.collect())
}

/// Counts normal numbers beyond 0 to 6 standard deviations.
pub fn normal_tails(draws: u64, seed: u64) -> Result<Vec<String>, Failure> {
    let bounds = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0];
    let expected: Vec<_> = bounds.iter().map(|&k| (k, above(k), above(k))).collect();
    tails(&Init::normal(0.0, 1.0), draws, seed, &expected)
}

/// Counts numbers of a normal distribution truncated to [-5.5, 4.5].
pub fn truncated_tails(draws: u64, seed: u64) -> Result<Vec<String>, Failure> {
    let (low, high) = (-5.5, 4.5);
    let mass = below(high) - below(low);
    let bounds = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 4.25];
    let expected: Vec<_> = bounds
        .iter()
        .map(|&k| {
            (
                k,
                (above(k) - above(-low)) / mass,
                (above(k) - above(high)) / mass,
            )
        })
        .collect();
    tails(
        &Init::trunc_normal(0.0, 1.0, low, high),
        draws,
        seed,
        &expected,
    )
}

/// Counts bytes of uniform numbers of 24 bits: a chi-square of 256 counts for each of the three bytes.
pub fn uniform_bits(draws: u64, seed: u64) -> Result<Vec<String>, Failure> {
    let mut counts = vec![[0u64; 256]; 3];
    each_chunk(&Init::uniform(0.0, 1.0), draws, seed, |chunk| {
        for &x in chunk {
            let bits = (x * 16_777_216.0) as u32;
            for (place, counts) in counts.iter_mut().enumerate() {
                counts[((bits >> (16 - 8 * place)) & 255) as usize] += 1;
            }
        }
    })?;
    let expected = draws as f64 / 256.0;
    let lines = counts
        .iter()
        .zip(["high byte", "middle byte", "low byte"])
        .map(|(counts, what)| {
            let square = |&count: &u64| (count as f64 - expected).powi(2) / expected;
            let statistic: f64 = counts.iter().map(square).sum();
            let p = chi_square_tail(statistic, 255.0);
            format!("{what:<22} chi-square {statistic:.1} of 255 degrees of freedom  p = {p:.4}")
        });
    Ok(lines.collect())
}
