//! The numbers that an initializer gives for a tensor.

use super::rule::{Computation, Missing};
use super::{Distribution, Family, Fans, Init};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The standard deviation of a standard normal that is truncated at -2 and 2, with the digits of
/// `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

impl Init {
    /// Returns the distribution of the rule for this tensor's shape, layout and groups.
    ///
    /// The arithmetic is binary64, and each result is rounded once to binary32. An empty tensor
    /// gets the constant 0 from every rule. As in torch, initializing it is not an error.
    ///
    /// # Errors
    ///
    /// All errors name the tensor: [`Error::Parameter`] for a number out of range, [`Error::Fans`]
    /// if the rule needs fans and the shape has none, [`Error::Shape`] if the rule cannot fill the
    /// shape, and [`Error::Context`] if a number is missing that only a recipe can find.
    pub fn resolve(&self, tensor: &Tensor) -> Result<Distribution> {
        // The values are checked before the shape, so an empty tensor does not hide a faulty rule.
        let resolved = self.computation().and_then(|computation| {
            // Rules of an empty tensor would divide by a fan of 0, or make a matrix without rows.
            if tensor.shape().elements() == 0 {
                return Distribution::constant(0.0);
            }
            self.apply(computation, tensor)
        });
        resolved.map_err(|error| error.named(tensor.name()))
    }

    fn apply(&self, computation: Computation, tensor: &Tensor) -> Result<Distribution> {
        match computation {
            Computation::Fixed(distribution) => Ok(distribution),
            Computation::Variance {
                scale,
                mode,
                family,
            } => {
                let fan = Fans::of(tensor)?.get(mode);
                match family {
                    Family::Normal => Distribution::normal(0.0, (scale / fan).sqrt()),
                    // U(-b, b) has the variance b^2 / 3.
                    Family::Uniform => Distribution::around_zero((3.0 * scale / fan).sqrt()),
                    Family::TruncatedNormal => two_stds((scale / fan).sqrt()),
                }
            }
            Computation::InverseFan {
                scale,
                mode,
                family,
            } => {
                let size = scale / Fans::of(tensor)?.get(mode);
                match family {
                    Family::Normal => Distribution::normal(0.0, size),
                    Family::Uniform => Distribution::around_zero(size),
                    Family::TruncatedNormal => two_stds(size),
                }
            }
            Computation::OfShape(distribution) => distribution(self, tensor),
            Computation::Incomplete(missing) => Err(Error::context(
                self.to_string(),
                match missing {
                    Missing::FanIn => {
                        "needs the fan_in of the layer's weight: write bias_uniform(fan_in=N), or \
                         use it in a recipe, for a tensor <prefix>.bias beside a <prefix>.weight"
                    }
                    Missing::Layers => {
                        "needs the number of layers: write layers=N, or use it in a recipe, for \
                         tensors with their layer's number in their name"
                    }
                },
            )),
        }
    }
}

/// Returns the normal distribution around 0, truncated at two standard deviations, that has this
/// standard deviation after the truncation.
fn two_stds(std: f64) -> Result<Distribution> {
    Distribution::truncated_normal_at(0.0, std / TRUNCATED_STD, -2.0, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(spec: &str, dims: &[u64]) -> Distribution {
        let tensor = Tensor::new("t.weight", dims).unwrap();
        spec.parse::<Init>().unwrap().resolve(&tensor).unwrap()
    }

    fn normal(std: f64) -> Distribution {
        Distribution::normal(0.0, std).unwrap()
    }

    fn two_stds(std: f64) -> Distribution {
        let std = std / 0.879_625_661_034_239_8;
        Distribution::truncated_normal_at(0.0, std, -2.0, 2.0).unwrap()
    }

    fn bound(bound: f64) -> Distribution {
        Distribution::uniform(-bound, bound).unwrap()
    }

    #[test]
    fn rules_have_the_formulas_of_their_papers() {
        let dims = [512, 784];
        let (fan_in, fan_out) = (784.0f64, 512.0f64);
        let sum = fan_in + fan_out;
        assert_eq!(resolve("xavier_uniform", &dims), bound((6.0 / sum).sqrt()));
        assert_eq!(
            resolve("glorot_normal", &dims),
            two_stds((2.0 / sum).sqrt())
        );
        assert_eq!(
            resolve("xavier_normal(gain=2)", &dims),
            normal(2.0 * (2.0 / sum).sqrt())
        );
        assert_eq!(resolve("he_normal", &dims), two_stds((2.0 / fan_in).sqrt()));
        assert_eq!(
            resolve("kaiming_normal", &dims),
            normal((2.0 / fan_in).sqrt())
        );
        assert_eq!(
            resolve("kaiming_uniform", &dims),
            bound((6.0 / fan_in).sqrt())
        );
        assert_eq!(
            resolve("he_uniform(mode=fan_out)", &dims),
            bound((6.0 / fan_out).sqrt())
        );
        assert_eq!(
            resolve("kaiming_normal(mode=fan_avg,nonlinearity=selu)", &dims),
            normal(0.75 * (2.0 / sum).sqrt())
        );
        assert_eq!(
            resolve("lecun_normal", &dims),
            two_stds((1.0 / fan_in).sqrt())
        );
        assert_eq!(
            resolve("lecun_uniform", &dims),
            bound((3.0 / fan_in).sqrt())
        );
        // torch.nn.Linear's default weight, and the bias beside it.
        assert_eq!(
            resolve("kaiming_uniform(a=2.23606797749979)", &dims),
            bound(1.0 / 28.0)
        );
        assert_eq!(
            resolve("bias_uniform(fan_in=784)", &[512]),
            bound(1.0 / 28.0)
        );
        assert_eq!(
            resolve("residual_normal(std=0.02,layers=12)", &dims),
            normal(0.02 / 24f64.sqrt())
        );
    }

    #[test]
    fn errors_name_the_tensor_the_value_and_the_accepted_values() {
        let tensor = Tensor::new("enc.weight", [4, 4]).unwrap();
        for (init, expected) in [
            (
                Init::normal(0.0, f64::NAN),
                "std = NaN is out of range: it must be a number",
            ),
            (
                Init::normal(0.0, -1.0),
                "std = -1 is out of range: it must be at least 0",
            ),
            (
                Init::uniform(1.0, 0.0),
                "low = 1 is out of range: it must be below high",
            ),
            (
                Init::xavier_normal_with(-1.0),
                "gain = -1 is out of range: it must be a finite",
            ),
            (
                Init::bias_uniform(0),
                "fan_in = 0 is out of range: it must be at least 1",
            ),
            (
                "bias_uniform".parse().unwrap(),
                "bias_uniform needs the fan_in of the layer",
            ),
            (
                "residual_normal(std=0.02)".parse().unwrap(),
                "residual_normal(std=0.02) needs the number of layers",
            ),
        ] {
            let error = init.resolve(&tensor).unwrap_err().to_string();
            let expected = format!("tensor \"enc.weight\": {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
