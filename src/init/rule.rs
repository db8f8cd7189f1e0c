//! The definition of an initializer, and an initializer with its values.

use std::fmt;

use super::key::{Key, MAX_KEYS, Value};
use super::{Distribution, FanMode};
use crate::error::Result;
use crate::tensor::Tensor;

/// One initializer of the [`CATALOGUE`](super::CATALOGUE): its names, its keys with defaults and
/// ranges, its documentation, and the function that turns it into numbers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Definition {
    /// The name in text.
    pub name: &'static str,
    /// Other names of the same rule.
    pub aliases: &'static [&'static str],
    /// The keys, in the order in which they are printed.
    pub keys: &'static [Key],
    /// The distribution or value of an element.
    pub formula: &'static str,
    /// The names that frameworks use.
    pub frameworks: &'static str,
    /// The paper, or the function of a framework, that defines the rule.
    pub source: &'static str,
    /// The use that the rule was made for.
    pub when: &'static str,
    /// Turns the values of the keys, which are within their ranges, into a rule.
    pub(super) compute: fn(&Init) -> Result<Computation>,
}

impl Definition {
    /// Returns `name(key=default,...)`. A required key has no `=default`. A key that can be left out
    /// but has no default is in brackets.
    #[must_use]
    pub fn signature(&self) -> String {
        if self.keys.is_empty() {
            return self.name.to_owned();
        }
        let keys = self.keys.iter().map(|key| match key.default {
            Value::Unset if key.required => key.name.to_owned(),
            Value::Unset => format!("[{}]", key.name),
            default => format!("{}={default}", key.name),
        });
        format!("{}({})", self.name, keys.collect::<Vec<_>>().join(","))
    }

    /// Returns the guarantee about the bits of the elements.
    #[must_use]
    pub fn exactness(&self) -> &'static str {
        // Only `orthogonal` and `delta_orthogonal` make elements in floating point.
        if self.name.ends_with("orthogonal") {
            "1e-5 across devices; same bits on one device; a slice computes the whole matrix"
        } else {
            "same bits everywhere, any slice"
        }
    }

    /// Returns all names, the main one first.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Returns the values that the keys have by default.
    pub(super) fn defaults(&self) -> [Value; MAX_KEYS] {
        let mut values = [Value::Unset; MAX_KEYS];
        for (value, key) in values.iter_mut().zip(self.keys) {
            *value = key.default;
        }
        values
    }

    /// Returns the position of a key.
    ///
    /// # Panics
    ///
    /// If there is no such key. All callers are in this crate, and the tests of the table run each
    /// of them.
    pub(crate) fn position(&self, key: &str) -> usize {
        let found = self.keys.iter().position(|known| known.name == key);
        found.unwrap_or_else(|| panic!("{} has no key {key}", self.name))
    }
}

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
/// around the parts are allowed, every key may be given once, and numbers are decimal. A key that must be given needs no name:
/// `constant(1e-5)` is `constant(value=1e-5)`.
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
pub(super) enum Computation {
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

impl Init {
    /// Returns an initializer of a family of the table with these values, and defaults for the other keys.
    ///
    /// # Panics
    ///
    /// If the family lacks the name or a key. All callers are constructors of this crate, and
    /// `catalogue.rs` tests each of them.
    pub(super) fn named(
        family: &'static [Definition],
        name: &str,
        values: &[(&str, Value)],
    ) -> Init {
        let definition = family.iter().find(|definition| definition.name == name);
        let definition = definition.unwrap_or_else(|| panic!("{name} is not in its family"));
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
        match self.computation() {
            Ok(Computation::Incomplete(missing)) => Some(missing),
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
        match self.computation() {
            Ok(Computation::Variance { mode, .. } | Computation::InverseFan { mode, .. }) => {
                Some(mode)
            }
            _ => None,
        }
    }

    /// Checks everything that does not depend on a shape.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Context`], without a tensor's name.
    pub(crate) fn check(&self) -> Result<()> {
        self.computation().map(drop)
    }

    /// Checks the values against the ranges of their keys, and returns the rule.
    pub(super) fn computation(&self) -> Result<Computation> {
        for (key, &value) in self.definition.keys.iter().zip(&self.values) {
            key.check(value)?;
        }
        (self.definition.compute)(self)
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

    /// Returns the index of a key, which counts from the end if it is negative.
    pub(super) fn index_if_given(&self, key: &str) -> Option<i64> {
        match self.value(key) {
            Value::Index(n) => Some(n),
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
