//! The `init` of a rule: an initializer whose numbers can be expressions.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::expression::{Expression, Variable};
use crate::error::{Error, Result};
use crate::init::{Call, Init, Value};

/// The most bytes of an initializer's text. It bounds the time and memory for an untrusted recipe.
const MAX_LENGTH: usize = 4096;

/// An initializer with the expressions of its computed numbers.
#[derive(Clone, Debug)]
pub(super) struct Template {
    init: Init,
    /// The text, if it has expressions. Another initializer prints as it was written.
    text: Option<String>,
    /// The positions of the keys with expressions, and the expressions.
    computed: Vec<(usize, Expression)>,
}

impl Template {
    /// Reads an initializer. Numbers without expressions are checked now.
    ///
    /// # Errors
    ///
    /// A message.
    pub fn parse(text: &str) -> Result<Template, String> {
        // This check comes first, and its message does not quote the long text.
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "is not an initializer: it has {} bytes, where at most {MAX_LENGTH} are read",
                text.len()
            ));
        }
        let refused = |reason: String| Error::spec(text, reason).to_string();
        let call = Call::parse(text).map_err(refused)?;
        let mut computed = Vec::new();
        let init = call.init(|key, text| {
            let plain = key.read(text);
            // `fan_in` is a variable of expressions, but it is also a word that a mode can have.
            if plain.is_ok() || !key.is_numeric() {
                return plain;
            }
            match Expression::parse(text) {
                Ok(expression) if expression.is_computed() => {
                    computed.push((key.name, expression));
                    Ok(Value::Unset)
                }
                // The operators show that the text is a faulty expression, and not a misspelled number.
                Err(reason) if text.contains(['(', '*', '/', '+']) => {
                    Err(format!("{}: {reason}", key.name))
                }
                _ => plain,
            }
        });
        let init = init.map_err(refused)?;
        // A computed key has no value yet, so `init` checks it for each tensor.
        if computed.is_empty() {
            init.check().map_err(|error| refused(error.to_string()))?;
        }
        let position = |(name, expression)| (init.definition().position(name), expression);
        Ok(Template {
            init,
            text: (!computed.is_empty()).then(|| text.to_owned()),
            computed: computed.into_iter().map(position).collect(),
        })
    }

    /// Returns the initializer with the values of its expressions. `look_up` gives the values of
    /// variables.
    ///
    /// # Errors
    ///
    /// The errors of `look_up`, and [`Error::Spec`] for a value that is out of range.
    pub fn init(&self, look_up: &impl Fn(&Variable) -> Result<f64>) -> Result<Init> {
        // Without expressions it was checked when it was read, and is the same for every tensor.
        if self.computed.is_empty() {
            return Ok(self.init);
        }
        let mut init = self.init;
        for (position, expression) in &self.computed {
            let number = expression.value(look_up)?;
            let value = init.definition().keys[*position].computed(number);
            let value = value.map_err(|reason| Error::spec(&init.to_string(), reason))?;
            init = init.with(*position, value);
        }
        let checked = init.check();
        checked.map_err(|error| Error::spec(&init.to_string(), error.to_string()))?;
        Ok(init)
    }

    /// Returns the text as the recipe has it.
    pub fn text(&self) -> String {
        let text = self.text.clone();
        text.unwrap_or_else(|| self.init.to_string())
    }

    /// Returns the globs of the expressions.
    pub fn globs(&self) -> Vec<&str> {
        let mut globs = Vec::new();
        for (_, expression) in &self.computed {
            expression.add_globs(&mut globs);
        }
        globs
    }

    /// Returns true if the value of an expression depends on the tensor's fans.
    pub fn uses_fans(&self) -> bool {
        self.computed
            .iter()
            .any(|(_, expression)| expression.uses_fans())
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Template::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mode_is_not_an_expression() {
        let template = Template::parse("kaiming_normal(mode=fan_out,gain=1/layers)").unwrap();
        let init = template.init(&|_| Ok(12.0)).unwrap();
        let expected: Init = "kaiming_normal(mode=fan_out,gain=0.08333333333333333)"
            .parse()
            .unwrap();
        assert_eq!(init, expected);
    }

    #[test]
    fn templates_are_checked_when_they_are_read() {
        for (text, computed) in [
            ("normal(std=0.02/sqrt(2*layers))", 1),
            ("uniform(low=-1/sqrt(fan_in),high=1/sqrt(fan_in))", 2),
            ("kaiming_normal(mode=fan_out,gain=1/layers)", 1),
            ("embedding(padding_idx=size(\"a,b\", 0)-1)", 1),
            ("zeros", 0),
            ("normal(std=0.02)", 0),
            ("kaiming_normal(mode=fan_out)", 0),
        ] {
            assert_eq!(
                Template::parse(text).unwrap().computed.len(),
                computed,
                "{text}"
            );
        }
        for (text, expected) in [
            ("normal(std=1/width)", "std: unknown name \"width\""),
            (
                "normal(sd=1/layers)",
                "unknown key \"sd\", did you mean \"std\"?",
            ),
            ("norml(std=1/layers)", "did you mean \"normal\"?"),
            ("normal(std=1/layers,std=2)", "key \"std\" is given twice"),
            ("normal(std=(1)", "')' is expected"),
            ("normal(std=wide)", "std=\"wide\" is not a decimal number"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(
                error.starts_with(&format!("{text:?} is not an initializer: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn computed_counts_are_whole() {
        let template = Template::parse("small_init(dim=dim(0)/2)").unwrap();
        assert_eq!(template.init(&|_| Ok(64.0)).unwrap(), Init::small_init(32));
        for (dim, expected) in [
            (65.0, "dim=32.5 is not a whole number from 1"),
            (0.0, "dim = 0 is out of range: it must be at least 1"),
            (-2.0, "dim=-1 is not a whole number from 1"),
            (f64::NAN, "dim=NaN is not a whole number from 1"),
            (1e300, "is not a whole number from 1"),
        ] {
            let error = template.init(&|_| Ok(dim)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+*/().,=a-z0-9 \"]{0,60}") {
            let _ = Template::parse(&text);
        }
    }
}
