//! Initializers as text: `name` or `name(key=value,...)`. Required keys can be left out, as in
//! `constant(1e-5)`.

use std::fmt;
use std::str::FromStr;

use super::key::Key;
use super::rule::Definition;
use super::{CATALOGUE, Init, catalogue};
use crate::error::{Error, Result};
use crate::text::{excerpt, nearest, quoted};

/// Names that frameworks use for keys of the table.
const KEY_ALIASES: [(&str, &str); 6] = [
    ("stddev", "std"),
    ("minval", "low"),
    ("maxval", "high"),
    ("a", "low"),
    ("b", "high"),
    ("val", "value"),
];

impl FromStr for Init {
    type Err = Error;

    /// Reads the grammar that [`Init`] describes. It checks everything that does not depend on a
    /// shape.
    fn from_str(text: &str) -> Result<Self> {
        let refused = |reason: String| Error::spec(text, reason);
        let call = Call::parse(text).map_err(refused)?;
        let init = call.init(|key, text| key.read(text)).map_err(refused)?;
        let checked = init.check();
        checked.map_err(|error| refused(error.to_string()))?;
        Ok(init)
    }
}

/// An initializer's name with the texts of the given keys.
pub(crate) struct Call<'a> {
    definition: &'static Definition,
    /// True if the name is spelled as a class of Keras. The defaults of Keras apply then.
    keras: bool,
    /// The position and the text of each given key.
    arguments: Vec<(usize, &'a str)>,
}

impl<'a> Call<'a> {
    /// Splits a text into the name and the keys. The texts of the values are not read yet.
    ///
    /// # Errors
    ///
    /// A message, if the text does not have the form `name` or `name(key=value,...)`, or has a name
    /// or a key that the table does not hold.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let text = text.trim();
        let (name, inner) = match text.split_once('(') {
            None => (text, ""),
            // The last parenthesis closes the call, because expressions of recipes have their own.
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(inner) => (name.trim_end(), inner),
                None => return Err("its parenthesis is not closed: end it with ')'".to_owned()),
            },
        };
        let (spelled, keras) = snake_case(name);
        let Some(definition) = catalogue::find(&spelled) else {
            let names: Vec<_> = CATALOGUE.iter().flat_map(|d| d.names()).collect();
            return Err(format!(
                "unknown name {}{}; use one of {}",
                quoted(name),
                did_you_mean(&spelled, &names),
                names.join(", ")
            ));
        };
        let mut arguments: Vec<(usize, &str)> = Vec::new();
        let mut required = definition.keys.iter().filter(|key| key.required);
        for part in parts(inner) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None => (bare(part.trim(), &mut required, definition)?, part.trim()),
            };
            let Some(position) = position(definition.keys, key) else {
                let keys: Vec<&str> = definition.keys.iter().map(|key| key.name).collect();
                let takes = match &keys[..] {
                    [] => "takes no keys".to_owned(),
                    keys => format!("takes {}", keys.join(", ")),
                };
                let hint = did_you_mean(key, &keys);
                return Err(format!(
                    "unknown key {}{hint}; {spelled} {takes}",
                    quoted(key)
                ));
            };
            if arguments.iter().any(|(seen, _)| *seen == position) {
                return Err(format!("key {} is given twice", quoted(key)));
            }
            arguments.push((position, value));
        }
        Ok(Call {
            definition,
            keras,
            arguments,
        })
    }

    /// Returns the initializer with the values that `read` returns for the texts. The ranges of the
    /// values are not checked yet.
    ///
    /// # Errors
    ///
    /// The errors of `read`, and a message if a required key is not given.
    pub fn init(
        &self,
        mut read: impl FnMut(&'static Key, &'a str) -> Result<super::Value, String>,
    ) -> Result<Init, String> {
        let keys = self.definition.keys;
        let mut init = Init::with_defaults(self.definition);
        // The defaults of Keras come first, so that given values replace them.
        for (position, key) in keys.iter().enumerate() {
            if let Some(value) = key.keras_default.filter(|_| self.keras) {
                init = init.with(position, value);
            }
        }
        for &(position, text) in &self.arguments {
            init = init.with(position, read(&keys[position], text)?);
        }
        let missing = keys.iter().enumerate().find(|(position, key)| {
            key.required && self.arguments.iter().all(|(given, _)| given != position)
        });
        match missing {
            Some((_, key)) => Err(format!("{} needs {}", self.definition.name, key.name)),
            None => Ok(init),
        }
    }
}

/// Returns the key of a value that stands without one: the next of the required keys, which a signature
/// such as `constant(value)` shows without a default.
///
/// # Errors
///
/// A message, if the text is empty or no required key is left.
fn bare(
    value: &str,
    required: &mut dyn Iterator<Item = &'static Key>,
    definition: &Definition,
) -> Result<&'static str, String> {
    let key = Some(value).filter(|value| !value.is_empty());
    if let Some(key) = key.and_then(|_| required.next()) {
        return Ok(key.name);
    }
    let example = definition.keys.first().filter(|_| !value.is_empty());
    let example = example.map_or_else(String::new, |key| {
        format!(
            ": write a key before it, as in {}={}",
            key.name,
            excerpt(value)
        )
    });
    Err(format!("{} is not key=value{example}", quoted(value)))
}

/// Returns the table's spelling of a name such as `HeNormal` or `kaiming_normal_`, and true if the
/// name is spelled as a class of Keras.
fn snake_case(name: &str) -> (String, bool) {
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return (name.strip_suffix('_').unwrap_or(name).to_owned(), false);
    }
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    (snake, true)
}

/// Returns the position of a key, given its name or a framework's name for it. The name itself has
/// precedence: `a` is a key of `trunc_normal`, but an alias of `low` for other initializers.
fn position(keys: &[Key], name: &str) -> Option<usize> {
    let known = |name: &str| keys.iter().position(|key| key.name == name);
    let alias = || KEY_ALIASES.iter().find(|(alias, _)| *alias == name);
    known(name).or_else(|| known(alias()?.1))
}

/// Splits a list at the commas that are outside parentheses and quotes, because expressions of
/// recipes contain both. A comma may end the list, as in Rust and Python.
fn parts(inner: &str) -> Vec<&str> {
    let inner = inner.trim();
    if inner.is_empty() {
        return Vec::new();
    }
    let (mut depth, mut quoted, mut start) = (0usize, false, 0);
    let mut parts = Vec::new();
    for (i, c) in inner.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if start < inner.len() || parts.is_empty() {
        parts.push(&inner[start..]);
    }
    parts
}

/// Returns `, did you mean "..."?` if a candidate is near.
fn did_you_mean(text: &str, candidates: &[&str]) -> String {
    let nearest = nearest(text, candidates);
    nearest.map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
}

/// Writes the name, and the values that differ from the defaults. [`FromStr`] reads the text back as
/// an equal `Init`.
impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.definition().name)?;
        let mut separator = "(";
        for (key, value) in self.given() {
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
        }
        f.write_str(if separator == "," { ")" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyKind;
    use super::*;
    use crate::Tensor;
    use crate::init::{Family, FanMode, Nonlinearity};

    fn parse(spec: &str) -> Init {
        spec.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn defaults_are_torchs() {
        assert_eq!(parse("normal"), Init::normal(0.0, 1.0));
        assert_eq!(parse(" uniform ( ) "), Init::uniform(0.0, 1.0));
        assert_eq!(parse("kaiming_normal"), Init::kaiming_normal());
        assert_eq!(
            parse("kaiming_uniform( a = 0.1 , mode = fan_out, )"),
            Init::kaiming_uniform_with(
                FanMode::FanOut,
                Nonlinearity::LeakyRelu {
                    negative_slope: 0.1
                }
            )
        );
        assert_eq!(parse("he_normal"), Init::he_normal());
        assert_eq!(parse("HeNormal"), Init::he_normal());
        assert_eq!(parse("GlorotUniform()"), Init::xavier_uniform());
        assert_eq!(parse("kaiming_normal_"), Init::kaiming_normal());
        assert_eq!(parse("uniform_(a=-1,b=1)"), Init::uniform(-1.0, 1.0));
        assert_eq!(
            parse("TruncatedNormal(stddev=0.1)"),
            Init::truncated_normal(0.0, 0.1, -2.0, 2.0)
        );
        assert_eq!(
            parse("TruncatedNormal"),
            Init::truncated_normal(0.0, 0.05, -2.0, 2.0)
        );
        assert_eq!(parse("RandomNormal"), parse("random_normal(std=0.05)"));
        assert_eq!(parse("glorot_uniform"), Init::glorot_uniform());
        let tensor = Tensor::new("w", [5, 7]).unwrap();
        assert_eq!(
            parse("kaiming_normal(gain=3)").resolve(&tensor).unwrap(),
            Init::variance_scaling(9.0, FanMode::FanIn, Family::Normal)
                .resolve(&tensor)
                .unwrap()
        );
    }

    #[test]
    fn errors_name_the_accepted_values() {
        for (spec, expected) in [
            ("kaimng_normal", "did you mean \"kaiming_normal\"?"),
            (
                "truncated",
                "use one of zeros, lora_b, rezero, ones, constant",
            ),
            ("", "unknown name \"\""),
            (
                "normal(sd=1)",
                "did you mean \"std\"?; normal takes mean, std",
            ),
            ("zeros(value=1)", "zeros takes no keys"),
            ("normal(std=1,std=2)", "key \"std\" is given twice"),
            (
                "normal(0,1)",
                "\"0\" is not key=value: write a key before it, as in mean=0",
            ),
            ("constant(1,2)", "\"2\" is not key=value"),
            ("constant(1,value=2)", "key \"value\" is given twice"),
            ("constant(one)", "value=\"one\" is not a decimal number"),
            ("zeros(1)", "\"1\" is not key=value"),
            ("normal(std=1", "parenthesis is not closed"),
            ("normal(std=1) x", "parenthesis is not closed"),
            ("normal(std=1,,mean=0)", "\"\" is not key=value"),
            ("normal(,)", "\"\" is not key=value"),
            ("normal(std=one)", "std=\"one\" is not a decimal number"),
            ("normal(std=nan)", "std = NaN is out of range"),
            ("normal(std=inf)", "std = inf is out of range"),
            (
                "normal(std=-1)",
                "std = -1 is out of range: it must be at least 0",
            ),
            ("uniform(low=1,high=1)", "it must be below high"),
            ("constant", "constant needs value"),
            ("xavier_normal(gain=0)", "gain = 0 is out of range"),
            (
                "kaiming_normal(mode=fan_inn)",
                "use one of fan_in, fan_out, fan_avg",
            ),
            ("kaiming_normal(nonlinearity=gelu)", "leaky_relu, selu"),
            ("kaiming_normal(nonlinearity=relu,a=1)", "relu has no slope"),
            (
                "kaiming_normal(nonlinearity=relu,gain=1)",
                "one or the other",
            ),
            (
                "variance_scaling(distribution=gaussian)",
                "use one of truncated_normal, normal, untruncated_normal, uniform",
            ),
            (
                "inverse_fan(distribution=untruncated_normal)",
                "use one of truncated_normal, normal, uniform",
            ),
            ("trunc_normal(std=0)", "it must be above 0"),
            ("trunc_normal(a=2,b=2)", "must be below the upper bound"),
            ("sparse(sparsity=1.5)", "it must be between 0 and 1"),
            ("wang_init(dim=8)", "wang_init needs layers"),
            (
                "mup(role=middle,std=1,base=1)",
                "use one of input, hidden, output",
            ),
            ("small_init(dim=0)", "dim = 0 is out of range"),
            (
                "fixup(layers=3,m=1)",
                "m = 1 is out of range: it must be at least 2",
            ),
            ("kaiming_normal(a=nan)", "a = NaN is out of range"),
            ("bias_uniform(fan_in=0)", "fan_in = 0 is out of range"),
            ("bias_uniform(fan_in=-3)", "is not a whole number from 1"),
        ] {
            let error = spec.parse::<Init>().unwrap_err().to_string();
            assert!(error.contains(expected), "{spec}: {error}");
            assert!(
                error.starts_with(&format!("{spec:?} is not an initializer: ")),
                "{error}"
            );
        }
    }

    /// Each signature is a call whose required keys have no names.
    #[test]
    fn required_keys_need_no_names() {
        assert_eq!(parse("constant(1e-5)"), parse("constant(value=1e-5)"));
        assert_eq!(parse("Constant( -2 , )"), parse("constant(value=-2)"));
        assert_eq!(
            parse("wang_init(768, 12)"),
            parse("wang_init(dim=768,layers=12)")
        );
        for definition in CATALOGUE.iter() {
            let required = definition.keys.iter().filter(|key| key.required);
            let given = required.map(|key| match key.kind {
                KeyKind::Word(words) => (key.name, words[0]),
                _ => (key.name, "2"),
            });
            let given: Vec<(&str, &str)> = given.collect();
            let call = |texts: Vec<String>| format!("{}({})", definition.name, texts.join(","));
            let named = call(
                given
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect(),
            );
            let bare = call(given.iter().map(|(_, value)| (*value).to_owned()).collect());
            let read = |text: &str| {
                text.parse::<Init>()
                    .map_err(|error| error.to_string().replace(text, ""))
            };
            assert_eq!(read(&bare), read(&named), "{bare}");
        }
    }

    #[test]
    fn text_reads_back() {
        for spec in [
            "zeros",
            "ones",
            "constant(value=-0)",
            "normal(std=0.02)",
            "uniform(low=-1e-300,high=3e20)",
            "variance_scaling(scale=2,mode=fan_avg,distribution=normal)",
            "bias_uniform",
            "bias_uniform(fan_in=784)",
            "residual_normal(std=0.02,layers=12)",
            "variance_scaling(scale=2)",
            "inverse_fan(scale=3,distribution=uniform)",
            "trunc_normal(std=0.02,b=inf)",
            "truncated_normal(mean=1,std=0.5,lower=-3,upper=3)",
            "eye",
            "identity(gain=0.5)",
            "orthogonal(gain=1.5)",
            "delta_orthogonal",
            "dirac",
            "dirac(groups=4)",
            "sparse(sparsity=0.1)",
            "embedding(padding_idx=0)",
            "sinusoids",
            "sinusoidal(base=500)",
            "mamba_a_log",
            "mamba2_a_log(high=32)",
            "mamba_dt_bias(min=0.01)",
        ] {
            assert_eq!(parse(spec).to_string(), spec);
        }
    }
}
