//! A resolved initializer: numbers only, rounded once, ready for the generator.

use crate::error::{Error, Result};

/// What the elements of a tensor are drawn from, as the numbers that the stream uses.
///
/// [`Init`](crate::Init) with a shape gives one of these. All arithmetic before it is in
/// binary64; here every number has been rounded once to binary32. The fields can be read and
/// matched; build with [`Distribution::constant`], [`Distribution::normal`] and
/// [`Distribution::uniform`], which keep them consistent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Every element is `value`; no random number is drawn.
    Constant {
        /// The value of every element.
        value: f32,
    },
    /// `RNE(mean + RNE(std * z))` with z of the standard normal core, |z| <= 6.77.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation, at least 0.
        std: f32,
    },
    /// `RNE(mean + RNE(scale * s))` with s of the uniform core on (-1, 1), clamped into
    /// `[low, high)`: from `low` to the largest binary32 below `high`.
    Uniform {
        /// The lower end, included.
        low: f32,
        /// The upper end, not included.
        high: f32,
        /// `(low + high) / 2`, computed in binary64 and rounded once.
        mean: f32,
        /// `(high - low) / 2`, computed in binary64 and rounded once.
        scale: f32,
    },
}

/// The largest magnitude that rounds to a finite binary32, for messages.
const FINITE: &str = "it must be a number of magnitude at most 3.4028235e38, as f32 holds";

impl Distribution {
    /// Every element is `value`, rounded once to binary32.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where `value` is not finite, or not finite in binary32.
    pub fn constant(value: f64) -> Result<Self> {
        Ok(Distribution::Constant {
            value: finite("value", value)?,
        })
    }

    /// The normal distribution of this mean and standard deviation.
    ///
    /// A `std` of 0, or one that rounds to 0 in binary32, gives the constant `mean`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where one of the two is not finite, or not finite in binary32, or
    /// `std` is negative.
    pub fn normal(mean: f64, std: f64) -> Result<Self> {
        let rounded = Distribution::Normal {
            mean: finite("mean", mean)?,
            std: finite("std", std)?,
        };
        if std < 0.0 {
            return Err(Error::Parameter {
                tensor: None,
                parameter: "std",
                value: std,
                accepted: "it must be at least 0",
            });
        }
        match rounded {
            Distribution::Normal { mean, std: 0.0 } => Ok(Distribution::Constant { value: mean }),
            normal => Ok(normal),
        }
    }

    /// The uniform distribution on `[low, high)`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where one of the two is not finite, or not finite in binary32, or
    /// `low` is not below `high` once both are rounded to binary32.
    pub fn uniform(low: f64, high: f64) -> Result<Self> {
        let (low32, high32) = (finite("low", low)?, finite("high", high)?);
        if low32 >= high32 {
            return Err(Error::Parameter {
                tensor: None,
                parameter: "low",
                value: low,
                accepted: if low < high {
                    "high must still be above it when both are rounded to f32"
                } else {
                    "it must be below high"
                },
            });
        }
        // Halved before they meet: the sum or difference itself could overflow only where
        // `low` and `high` are far beyond binary32, but so it plainly cannot.
        Ok(Distribution::Uniform {
            low: low32,
            high: high32,
            mean: (low / 2.0 + high / 2.0) as f32,
            scale: (high / 2.0 - low / 2.0) as f32,
        })
    }

    /// Checks numbers that did not come from the constructors.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], as the constructors.
    pub(crate) fn check(&self) -> Result<()> {
        match *self {
            Distribution::Constant { value } => Distribution::constant(value.into()),
            Distribution::Normal { mean, std } => Distribution::normal(mean.into(), std.into()),
            Distribution::Uniform {
                low,
                high,
                mean,
                scale,
            } => Distribution::normal(mean.into(), scale.into())
                .and_then(|_| Distribution::uniform(low.into(), high.into())),
        }
        .map(drop)
    }
}

/// Rounds once to binary32, refusing what is not finite before or after.
fn finite(parameter: &'static str, value: f64) -> Result<f32> {
    let rounded = value as f32;
    if rounded.is_finite() {
        Ok(rounded)
    } else {
        Err(Error::Parameter {
            tensor: None,
            parameter,
            value,
            accepted: FINITE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_once() {
        assert_eq!(
            Distribution::normal(0.0, 0.02).unwrap(),
            Distribution::Normal {
                mean: 0.0,
                std: 0.02
            }
        );
        // Rounding low and high first, then taking the mean, would give another last bit.
        let (low, high) = (0.1f64, 0.1f64 + 3.0 * f64::from(f32::EPSILON));
        let Distribution::Uniform { mean, scale, .. } = Distribution::uniform(low, high).unwrap()
        else {
            panic!("not uniform")
        };
        assert_eq!(mean, ((low + high) / 2.0) as f32);
        assert_eq!(scale, ((high - low) / 2.0) as f32);
    }

    #[test]
    fn what_is_not_a_distribution_is_refused() {
        let refused = |result: Result<Distribution>| result.unwrap_err().to_string();
        for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY, 3.41e38, -1e300] {
            assert!(refused(Distribution::constant(bad)).starts_with("value = "));
            assert!(refused(Distribution::normal(bad, 1.0)).starts_with("mean = "));
            assert!(refused(Distribution::normal(0.0, bad)).starts_with("std = "));
            assert!(refused(Distribution::uniform(bad, 1.0)).starts_with("low = "));
            assert!(refused(Distribution::uniform(0.0, bad)).starts_with("high = "));
        }
        assert_eq!(
            refused(Distribution::normal(0.0, -0.5)),
            "std = -0.5 is out of range: it must be at least 0"
        );
        assert!(refused(Distribution::uniform(1.0, 1.0)).ends_with("below high"));
        assert!(refused(Distribution::uniform(1.0, 1.0 + 1e-12)).ends_with("rounded to f32"));
    }

    #[test]
    fn a_std_of_zero_is_a_constant() {
        for std in [0.0, -0.0, 1e-60] {
            assert_eq!(
                Distribution::normal(2.5, std).unwrap(),
                Distribution::Constant { value: 2.5 }
            );
        }
    }

    #[test]
    fn the_widest_uniform_does_not_overflow() {
        let max = f64::from(f32::MAX);
        assert_eq!(
            Distribution::uniform(-max, max).unwrap(),
            Distribution::Uniform {
                low: f32::MIN,
                high: f32::MAX,
                mean: 0.0,
                scale: f32::MAX
            }
        );
    }
}
