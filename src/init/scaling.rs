//! The whole numbers that the kernels take, computed from the numbers of a distribution.
//!
//! Every drawn element is `p * 2^e`. The step `2^e` is the same for the whole tensor, and p is
//! computed in integers. The sections "Uniform numbers", "Normal pairs" and "Quantiles" of
//! `docs/STREAM.md` are the normative text of the three functions of [`Scaling`].

use crate::kernel::box_muller::RADIUS_BITS;

use super::quantile::{Table, power_of_two};
#[cfg(feature = "checkpoint")]
use super::{Distribution, DistributionKind};

#[cfg(feature = "checkpoint")]
impl Distribution {
    /// Returns the distance between neighbouring values of elements, if they are normal or uniform.
    pub(crate) fn step(&self) -> Option<f64> {
        let scaling = match *self.kind() {
            DistributionKind::Normal { mean, std }
            | DistributionKind::NormalWithZeroRow { mean, std, .. } => Scaling::normal(mean, std),
            DistributionKind::Sparse { std, .. } => Scaling::normal(0.0, std),
            DistributionKind::Uniform { low, high } => Scaling::uniform(low, high),
            _ => return None,
        };
        Some(power_of_two(scaling.exponent))
    }
}

/// The exponent of the smallest binary32 above 0.
const MIN_EXPONENT: i32 = -149;
/// An upper bound of a normal element in standard deviations. The largest radius of Box-Muller on
/// 32-bit words is 6.661.
const NORMAL_REACH: f64 = 7.0;
/// The largest shift. A scale that would need a larger one moves no element by half a step from the
/// mean.
const MAX_SHIFT: u32 = 30;
/// The largest number of powers of two by which a scale may coarsen the steps of quantiles. 2^18 steps
/// remain up to the farther bound, and float16 has only 11 significant bits.
const MAX_COARSENING: i32 = 8;
/// The largest offset of quantiles, 2^30. Values lie within 2^29 of it, so sums fit in 32 bits.
const MAX_OFFSET: f64 = 1_073_741_824.0;

/// The numbers that turn the core of a kernel into `p`:
/// `p = offset + round(core * multiplier / 2^(32 + shift))`, clamped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scaling {
    /// The e of `p * 2^e`.
    pub exponent: i32,
    /// The factor of the formula. For uniform numbers it is the number of different values.
    pub multiplier: u32,
    pub shift: u32,
    /// The mean, or the smallest uniform number, in steps.
    pub offset: i32,
    /// The lowest and the highest p.
    pub clamp: Option<[i32; 2]>,
}

impl Scaling {
    /// Returns the numbers for uniform elements in `[low, high)`.
    pub fn uniform(low: f32, high: f32) -> Scaling {
        let (low, high) = (f64::from(low), f64::from(high));
        // |p| <= 2^24, so every p is a binary32.
        let exponent = exponent(low.abs().max(high.abs()), 24);
        // Scaling by a power of two is exact in binary64, so `ceil` has the exact quotient.
        let steps = power_of_two(-exponent);
        // The first multiple of the step in the range, and the first one beyond it: half-open by
        // construction.
        let first = (low * steps).ceil();
        Scaling {
            exponent,
            // At least 1: the end of larger magnitude is a multiple of the step, and its neighbours in
            // binary32 are at least one step away.
            multiplier: ((high * steps).ceil() - first) as u32,
            shift: 0,
            offset: first as i32,
            clamp: None,
        }
    }

    /// Returns the numbers for normal elements.
    pub fn normal(mean: f32, std: f32) -> Scaling {
        let (mean, std) = (f64::from(mean), f64::from(std));
        // |p| <= 2^28: 4 bits more than a binary32 has, so that sums are rounded finely. `cut` keeps 24.
        let exponent = exponent(mean.abs() + NORMAL_REACH * std, 28);
        // A radius has 28 fraction bits and a direction has 30. The products with the multiplier and the
        // direction remove 32 bits each.
        let unit = std * power_of_two(64 - RADIUS_BITS - 30 - exponent);
        // The product of radius and multiplier is rounded to a whole number, so the multiplier needs
        // many bits. It stays below 2^32: NORMAL_REACH * std is at most 2^(28 + e).
        let (multiplier, shift) = multiplier(unit, 1 << 30);
        Scaling {
            exponent,
            multiplier,
            shift,
            offset: (mean * power_of_two(-exponent)).round_ties_even() as i32,
            clamp: None,
        }
    }

    /// Returns the numbers for elements `anchor + scale * quantile`, clamped to bounds.
    ///
    /// It is `None` if the steps that the scale needs are too coarse for the bounds. Only the bounds of
    /// float16 can be so narrow. Nearly all quantiles lie beyond them then.
    pub fn quantile(
        table: &Table,
        anchor: f32,
        scale: f32,
        [low, high]: [f32; 2],
    ) -> Option<Scaling> {
        let (anchor, scale) = (f64::from(anchor), f64::from(scale));
        let (low, high) = (f64::from(low), f64::from(high));
        // A bound that no element comes near must not coarsen the steps. A bound to which all elements
        // are clamped must fit.
        let reach = anchor.abs() + scale * table.reach;
        let bound = low.abs().max(high.abs()).min(reach).max(low).max(-high);
        let finest = exponent(bound, 27);
        let mut exponent = finest;
        // Values of the table have `fraction_bits`, and the product removes 32 bits.
        let unit = |exponent: i32| scale * power_of_two(32 - table.fraction_bits - exponent);
        // The kernels multiply it with the signed curve, so it must be below 2^31.
        while unit(exponent) >= f64::from(1u32 << 31) {
            exponent += 1;
        }
        if exponent - finest > MAX_COARSENING {
            return None;
        }
        // 24 bits hold a binary32 scale exactly.
        let (multiplier, shift) = multiplier(unit(exponent), 1 << 24);
        let steps = power_of_two(-exponent);
        Some(Scaling {
            exponent,
            multiplier,
            shift,
            // A binary32 anchor can be far outside the bounds of a smaller dtype. At MAX_OFFSET all
            // elements are still clamped to the same bound, and sums fit in 32 bits.
            offset: (anchor * steps)
                .round_ties_even()
                .clamp(-MAX_OFFSET, MAX_OFFSET) as i32,
            // `as` clamps to 32 bits. No element reaches a bound beyond them.
            clamp: Some([(low * steps).ceil() as i32, (high * steps).floor() as i32]),
        })
    }
}

/// Returns the smallest exponent e of at least -149 with `bound <= 2^(bits + e)`.
fn exponent(bound: f64, bits: i32) -> i32 {
    // Comparisons with powers of two are exact. A logarithm could be rounded to the other side of one.
    let mut exponent = MIN_EXPONENT;
    while bound > power_of_two(bits + exponent) {
        exponent += 1;
    }
    exponent
}

/// Returns `unit * 2^shift` as a whole number, and the smallest shift that makes it at least `least`.
/// The shift is at most [`MAX_SHIFT`].
fn multiplier(unit: f64, least: u32) -> (u32, u32) {
    let scaled = |shift: u32| unit * power_of_two(shift as i32);
    let shift = (0..MAX_SHIFT).find(|&shift| scaled(shift) >= f64::from(least));
    let shift = shift.unwrap_or(MAX_SHIFT);
    // It fits in 32 bits: with shift 0 the callers bound `unit`, and else the number is below 2 * `least`.
    (scaled(shift).round_ties_even() as u32, shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn finite() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<u32>().prop_map(f32::from_bits),
            -10f32..10f32,
            (-140i32..120).prop_map(|e| (e as f32).exp2()),
        ]
        .prop_filter("finite", |x| x.is_finite())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn uniform_numbers_are_within_the_half_open_range(low in finite(), high in finite(), word: u32) {
            prop_assume!(low != high);
            let (low, high) = (low.min(high), low.max(high));
            let Scaling { exponent, multiplier, offset, .. } = Scaling::uniform(low, high);
            prop_assert!((1..=1 << 25).contains(&multiplier));
            for word in [0, word, u32::MAX] {
                let p = crate::kernel::uniform::uniform(word, multiplier, offset);
                prop_assert!(p.unsigned_abs() <= 1 << 24, "{p}");
                let x = f64::from(p) * power_of_two(exponent);
                prop_assert!(f64::from(low) <= x && x < f64::from(high), "{p} 2^{exponent}");
            }
        }

        #[test]
        fn normal_numbers_fit_and_are_exact_for_a_mean_of_0(mean in finite(), std in finite()) {
            let std = std.abs();
            prop_assume!(std > 0.0);
            for mean in [0.0, mean] {
                let made = Scaling::normal(mean, std);
                // The largest radius with 28 fraction bits, and a direction along an axis.
                let radius = crate::kernel::mul::mul_hi_rounded_unsigned(1_787_934_000, made.multiplier);
                prop_assert!(radius < 1 << 31);
                let p = crate::kernel::mul::mul_shifted(radius as i32, 1 << 30, made.shift);
                prop_assert!(made.offset.unsigned_abs() + p.unsigned_abs() <= 1 << 28);
                if mean == 0.0 && made.exponent > MIN_EXPONENT {
                    prop_assert_eq!((made.offset, made.shift), (0, 0));
                    let unit = f64::from(std) * power_of_two(6 - made.exponent);
                    prop_assert_eq!(f64::from(made.multiplier), unit);
                }
            }
        }
    }
}
