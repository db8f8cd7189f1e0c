//! An initializer with its values, and the numbers that it gives for a tensor.

use std::fmt;

use super::definition::{Definition, MAX_KEYS, Value};
use super::{Distribution, FanMode, Fans, catalogue};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A rule that initializes a tensor: an initializer of the [`CATALOGUE`](super::CATALOGUE) with
/// the values of its keys.
///
/// Make one with the constructors, which have the names and defaults of the frameworks, or read
/// it from text. Values are checked when the rule is read from text. The values of a constructor
/// are checked for the first tensor, in [`Init::resolve`].
///
/// # As text
///
/// The text is `name` or `name(key=value,...)`, both on the command line and in recipes. Blanks
/// around the parts are allowed, every key may be given once, and numbers are decimal.
/// `docs/INITIALIZERS.md` of the repository and the output of `fanin inits` list all names, with
/// keys, defaults, formulas and sources. The class names of Keras (`HeNormal`) and the function
/// names of torch (`kaiming_normal_`) are accepted too.
///
/// ```
/// use fanin::{Init, Tensor, init::{Distribution, FanMode, Nonlinearity}};
///
/// let init: Init = "kaiming_normal(mode=fan_out, nonlinearity=relu)".parse()?;
/// assert_eq!(init, Init::kaiming_normal_with(FanMode::FanOut, Nonlinearity::Relu));
///
/// let weight = Tensor::new("layer1.0.conv1.weight", [64, 64, 3, 3])?;
/// let std = (2.0f64 / (64.0 * 9.0)).sqrt();
/// assert_eq!(init.resolve(&weight)?, Distribution::normal(0.0, std)?);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # One name, two meanings
///
/// `xavier_normal` and `kaiming_normal` are torch's names, and torch does not truncate them.
/// `glorot_normal`, `he_normal` and `lecun_normal` are the names of Keras and JAX, which truncate
/// them at two standard deviations and widen them to keep the variance. Each name here means the
/// same as in its framework. The uniform rules are the same in all frameworks. (JAX also has the
/// names `xavier_normal` and `kaiming_normal`. There they are truncated.)
#[derive(Clone, Copy)]
pub struct Init {
    definition: &'static Definition,
    values: [Value; MAX_KEYS],
}

/// The family of a distribution whose scale is computed from the fans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Normal, not truncated. Keras calls it `untruncated_normal`.
    Normal,
    /// Uniform around 0, with the same variance.
    Uniform,
    /// Normal, truncated at two standard deviations and widened to have the same variance. As in
    /// Keras and JAX, the standard deviation before the truncation is the one after it divided by
    /// 0.87962566103423978.
    TruncatedNormal,
}

/// The computation that turns checked values and a tensor into a distribution.
pub(super) enum Rule {
    /// The same distribution for every tensor.
    Fixed(Distribution),
    /// Variance `scale / fan`.
    Variance {
        scale: f64,
        mode: FanMode,
        family: Family,
    },
    /// Standard deviation (normal) or bound (uniform) `scale / fan`.
    InverseFan {
        scale: f64,
        mode: FanMode,
        family: Family,
    },
    /// A function of the shape.
    OfShape(fn(&Init, &Tensor) -> Result<Distribution>),
    /// A rule without a number that only a recipe can find.
    Incomplete(Missing),
}

/// A number that a recipe finds in the list of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The fan_in of the weight beside a bias.
    FanIn,
    /// The number of layers.
    Layers,
}

/// The standard deviation of a standard normal that is truncated at -2 and 2, with the digits of
/// `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

impl Init {
    /// Returns an initializer of the table with these values, and defaults for the other keys.
    ///
    /// # Panics
    ///
    /// If the table lacks the name or a key. All callers are constructors of this crate, and
    /// `catalogue.rs` tests each of them.
    pub(super) fn named(name: &str, values: &[(&str, Value)]) -> Init {
        let definition = catalogue::find(name);
        let definition = definition.unwrap_or_else(|| panic!("{name} is not in the table"));
        let mut init = Init::with_defaults(definition);
        for &(key, value) in values {
            init = init.with(definition.position(key), value);
        }
        init
    }

    /// Returns an initializer with the defaults of its keys. Required keys have no value yet.
    pub(crate) fn with_defaults(definition: &'static Definition) -> Init {
        Init {
            definition,
            values: definition.defaults(),
        }
    }

    /// Returns the same initializer with another value for the key at this position.
    pub(crate) fn with(mut self, key: usize, value: Value) -> Init {
        self.values[key] = value;
        self
    }

    /// Returns the same initializer with the number that a recipe has found.
    pub(crate) fn completed(self, missing: Missing, number: u64) -> Init {
        let key = match missing {
            Missing::FanIn => "fan_in",
            Missing::Layers => "layers",
        };
        self.with(self.definition.position(key), Value::Count(number))
    }

    /// Returns the number that only a recipe can find, if there is one.
    pub(crate) fn missing(&self) -> Option<Missing> {
        match self.rule() {
            Ok(Rule::Incomplete(missing)) => Some(missing),
            _ => None,
        }
    }

    /// Returns the entry of the table.
    #[must_use]
    pub fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// Returns the fan of the tensor that the rule is computed from, or `None` if it needs none.
    #[must_use]
    pub fn fan_mode(&self) -> Option<FanMode> {
        match self.rule() {
            Ok(Rule::Variance { mode, .. } | Rule::InverseFan { mode, .. }) => Some(mode),
            _ => None,
        }
    }

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
        let resolved = self.rule().and_then(|rule| {
            // Rules of an empty tensor would divide by a fan of 0, or make a matrix without rows.
            if tensor.shape().elements() == 0 {
                return Distribution::constant(0.0);
            }
            self.apply(rule, tensor)
        });
        resolved.map_err(|error| error.named(tensor.name()))
    }

    fn apply(&self, rule: Rule, tensor: &Tensor) -> Result<Distribution> {
        match rule {
            Rule::Fixed(distribution) => Ok(distribution),
            Rule::Variance {
                scale,
                mode,
                family,
            } => {
                let fan = Fans::of(tensor)?.get(mode);
                match family {
                    Family::Normal => Distribution::normal(0.0, (scale / fan).sqrt()),
                    Family::Uniform => around_zero((3.0 * scale / fan).sqrt()),
                    Family::TruncatedNormal => two_stds((scale / fan).sqrt()),
                }
            }
            Rule::InverseFan {
                scale,
                mode,
                family,
            } => {
                let size = scale / Fans::of(tensor)?.get(mode);
                match family {
                    Family::Normal => Distribution::normal(0.0, size),
                    Family::Uniform => around_zero(size),
                    Family::TruncatedNormal => two_stds(size),
                }
            }
            Rule::OfShape(distribution) => distribution(self, tensor),
            Rule::Incomplete(missing) => Err(Error::context(
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

    /// Checks everything that does not depend on a shape.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Context`], without a tensor's name.
    pub(crate) fn check(&self) -> Result<()> {
        self.rule().map(drop)
    }

    /// Checks the values against the ranges of their keys, and returns the rule.
    fn rule(&self) -> Result<Rule> {
        for (key, &value) in self.definition.keys.iter().zip(&self.values) {
            key.check(value)?;
        }
        (self.definition.rule)(self)
    }

    fn value(&self, key: &str) -> Value {
        self.values[self.definition.position(key)]
    }

    /// Returns the number of a key, or NaN if the key has none.
    pub(super) fn number(&self, key: &str) -> f64 {
        self.number_if_given(key).unwrap_or(f64::NAN)
    }

    pub(super) fn number_if_given(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Value::Number(x) => Some(x),
            _ => None,
        }
    }

    /// Returns the whole number of a key, or 0 if the key has none.
    pub(super) fn count(&self, key: &str) -> u64 {
        self.count_if_given(key).unwrap_or(0)
    }

    pub(super) fn count_if_given(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Value::Count(n) => Some(n),
            _ => None,
        }
    }

    /// Returns the word of a key, or an empty text if the key has none.
    pub(super) fn word(&self, key: &str) -> &'static str {
        match self.value(key) {
            Value::Word(word) => word,
            _ => "",
        }
    }

    /// Returns the keys whose values differ from their defaults, with these values.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let keys = self.definition.keys.iter().zip(self.values);
        keys.filter(|(key, value)| !value.is_same(key.default))
            .map(|(key, value)| (key.name, value))
    }
}

impl Value {
    /// Compares the bits of numbers, so that a mean of -0 differs from the default 0.
    fn is_same(self, other: Value) -> bool {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits(),
            _ => self == other,
        }
    }
}

/// Two rules are equal if they are the same initializer with the same values. `normal(std=0)` and
/// `zeros` are different rules for the same weights.
impl PartialEq for Init {
    fn eq(&self, other: &Init) -> bool {
        self.definition.name == other.definition.name && self.values == other.values
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Init({self})")
    }
}

/// Returns the uniform distribution on `[-bound, bound)`.
pub(super) fn around_zero(bound: f64) -> Result<Distribution> {
    Distribution::uniform(-bound, bound)
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
