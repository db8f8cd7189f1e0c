//! Histograms, and their expected shares from the exact distribution function.

use fanin::DType;
use fanin::init::{Distribution, DistributionKind};

/// Standard deviations that a histogram of a normal distribution shows.
const SHOWN: f64 = 4.5;

/// The part of a tail that a histogram leaves out is e^-11.5, or 1 in 100,000.
const TAIL: f64 = 11.5;

/// Returns the lower and the upper end of a histogram.
pub fn bounds(distribution: &Distribution) -> [f64; 2] {
    let around = |mean: f32, std: f32| {
        let (mean, std) = (f64::from(mean), f64::from(std));
        [mean - SHOWN * std, mean + SHOWN * std]
    };
    let [low, high] = match *distribution.kind() {
        DistributionKind::Constant { value } | DistributionKind::Diagonal { value, .. } => {
            let value = f64::from(value);
            [value.min(0.0), value.max(0.0)]
        }
        DistributionKind::Normal { mean, std }
        | DistributionKind::NormalWithZeroRow { mean, std, .. } => around(mean, std),
        DistributionKind::Uniform { low, high } => [low.into(), high.into()],
        DistributionKind::TruncatedNormal {
            mean,
            std,
            lower,
            upper,
            low,
            high,
            ..
        } => {
            let [shown_low, shown_high] = around(mean, std);
            let (low, high, std) = (f64::from(low), f64::from(high), f64::from(std));
            // The part of a tail that is closer than `width` to its bound. At most e^((bound^2 - z^2) / 2) of it
            // lies beyond z.
            let width =
                |bound: f64| std * 2.0 * TAIL / (bound + (bound * bound + 2.0 * TAIL).sqrt());
            if lower > 0.0 {
                [low, high.min(low + width(lower))]
            } else if upper < 0.0 {
                [low.max(high - width(-upper)), high]
            } else {
                [low.max(shown_low), high.min(shown_high)]
            }
        }
        DistributionKind::Sparse { std, .. } => around(0.0, std),
        DistributionKind::LogUniform { .. } | DistributionKind::TimeStep { .. } => distribution
            .law()
            .map_or([-1.0, 1.0], |law| law.support().into()),
        DistributionKind::Sinusoid { .. } => [-1.0, 1.0],
        DistributionKind::LogRamp { columns } => [0.0, (columns as f64).ln()],
        DistributionKind::Arange {
            start,
            step,
            columns,
        } => {
            let end = start + step * (columns - 1) as f64;
            [start.min(end), start.max(end)]
        }
        DistributionKind::InverseFrequencies { .. } => [0.0, 1.0],
        DistributionKind::LowerTriangle { value, .. } => {
            let value = f64::from(value);
            [value.min(0.0), value.max(0.0)]
        }
        DistributionKind::Orthogonal {
            gain,
            rows,
            columns,
            ..
        } => around(0.0, gain / (rows.max(columns) as f32).sqrt()),
        _ => [-1.0, 1.0],
    };
    // A margin on both sides, which also gives a single value some room.
    let room = (0.05 * (high - low)).max(if high > low { 0.0 } else { 0.5 });
    [low - room, high + room]
}

/// Returns the expected share of the elements in each of `bins` equal bins, or `None` if elements depend on their
/// place.
pub fn shares(distribution: &Distribution, low: f64, high: f64, bins: usize) -> Option<Vec<f64>> {
    let zero = match *distribution.kind() {
        // The zeros are one row.
        DistributionKind::NormalWithZeroRow { .. } => return None,
        // All elements are the mean.
        DistributionKind::Normal { std: 0.0, .. } => return None,
        DistributionKind::Sparse { rows, zeros, .. } => zeros as f64 / rows as f64,
        _ => 0.0,
    };
    let law = distribution.law()?;
    let below = |x| (1.0 - zero) * law.below(x) + if x > 0.0 { zero } else { 0.0 };
    let edge = |bin: usize| low + (high - low) * bin as f64 / bins as f64;
    Some(
        (0..bins)
            .map(|bin| below(edge(bin + 1)) - below(edge(bin)))
            .collect(),
    )
}

/// Adds elements, as little-endian bytes, to the counts of equal bins. Elements outside of the bins are not counted.
pub fn count(dtype: DType, bytes: &[u8], low: f64, high: f64, counts: &mut [u32]) {
    let scale = counts.len() as f64 / (high - low);
    let mut add = |value: f32| {
        let bin = (f64::from(value) - low) * scale;
        if bin >= 0.0
            && let Some(count) = counts.get_mut(bin as usize)
        {
            *count += 1;
        }
    };
    match dtype {
        DType::F32 => {
            for element in bytes.as_chunks::<4>().0 {
                add(f32::from_le_bytes(*element));
            }
        }
        DType::F16 => {
            for element in bytes.as_chunks::<2>().0 {
                add(half::f16::from_le_bytes(*element).to_f32());
            }
        }
        DType::BF16 => {
            for element in bytes.as_chunks::<2>().0 {
                add(half::bf16::from_le_bytes(*element).to_f32());
            }
        }
        // The page offers no other dtype.
        _ => {}
    }
}
