//! Initializers as text: `name` or `name(key=value,...)`.

use std::fmt;
use std::str::FromStr;

use super::{Family, FanMode, Init, Nonlinearity, positive, square};
use crate::error::{Error, Result};

/// Every name, with the keys that it takes.
const NAMES: &[(&str, &[&str])] = &[
    ("zeros", &[]),
    ("ones", &[]),
    ("constant", &["value"]),
    ("normal", &["mean", "std"]),
    ("uniform", &["low", "high"]),
    ("xavier_uniform", &["gain"]),
    ("xavier_normal", &["gain"]),
    ("glorot_uniform", &["gain"]),
    ("glorot_normal", &["gain"]),
    ("kaiming_uniform", KAIMING),
    ("kaiming_normal", KAIMING),
    ("he_uniform", KAIMING),
    ("he_normal", KAIMING),
    ("lecun_uniform", &["mode"]),
    ("lecun_normal", &["mode"]),
    ("variance_scaling", &["scale", "mode", "distribution"]),
    ("bias_uniform", &["fan_in"]),
    ("residual_normal", &["std", "layers"]),
];
const KAIMING: &[&str] = &["a", "mode", "nonlinearity", "gain"];

impl FromStr for Init {
    type Err = Error;

    /// Reads the grammar that [`Init`] describes.
    ///
    /// Numbers are checked as far as they can be without a shape.
    fn from_str(spec: &str) -> Result<Self> {
        let refused = |reason| Error::Spec {
            tensor: None,
            spec: spec.to_owned(),
            reason,
        };
        let call = Call::parse(spec).map_err(refused)?;
        let init = call.init().map_err(|fault| match fault {
            Fault::Reason(reason) => refused(reason),
            // The reason of a value that has an error of its own, in this one's frame.
            Fault::Error(error) => refused(error.to_string()),
        })?;
        init.check()
            .map_err(|error| refused(error.to_string()))
            .map(|()| init)
    }
}

/// Why a call is no initializer.
enum Fault {
    Reason(String),
    Error(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Error(error)
    }
}

/// A name with its keys and values, the name and keys being known ones.
struct Call<'a> {
    name: &'a str,
    arguments: Vec<(&'a str, &'a str)>,
}

impl<'a> Call<'a> {
    fn parse(spec: &'a str) -> Result<Self, String> {
        let spec = spec.trim();
        let (name, inner) = match spec.split_once('(') {
            None => (spec, ""),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(inner) => (name.trim_end(), inner),
                None => return Err("its parenthesis is not closed at its end".to_owned()),
            },
        };
        let Some((_, keys)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "unknown name {name:?}{}; use one of {}",
                did_you_mean(name, &names),
                names.join(", ")
            ));
        };
        let mut arguments: Vec<(&str, &str)> = Vec::new();
        // A single comma may end the list, as in Rust and Python.
        let inner = inner.trim();
        let list = inner.strip_suffix(',').unwrap_or(inner);
        let parts = list.split(',').filter(|_| !inner.is_empty());
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("{:?} is not key=value", part.trim()));
            };
            let (key, value) = (key.trim(), value.trim());
            if !keys.contains(&key) {
                let takes = match keys {
                    [] => "takes no keys".to_owned(),
                    keys => format!("takes {}", keys.join(", ")),
                };
                let hint = did_you_mean(key, keys);
                return Err(format!("unknown key {key:?}{hint}; {name} {takes}"));
            }
            if arguments.iter().any(|(seen, _)| *seen == key) {
                return Err(format!("key {key:?} is given twice"));
            }
            arguments.push((key, value));
        }
        Ok(Call { name, arguments })
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        let found = self.arguments.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| *value)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Fault> {
        self.text(key)
            .map(|text| {
                text.parse()
                    .map_err(|_| Fault::Reason(format!("{key}={text:?} is not a decimal number")))
            })
            .transpose()
    }

    fn count(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.text(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Fault::Reason(format!("{key}={text:?} is not a whole number from 1"))
                })
            })
            .transpose()
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| Fault::Reason(format!("{} needs {key}", self.name)))
    }

    fn mode(&self) -> Result<FanMode, Fault> {
        Ok(self.text("mode").unwrap_or("fan_in").parse()?)
    }

    /// The square of the gain that torch's `kaiming_...` would use, or that `gain` overrides.
    fn kaiming_scale(&self) -> Result<f64, Fault> {
        let (a, nonlinearity) = (self.number("a")?, self.text("nonlinearity"));
        if let Some(gain) = self.number("gain")? {
            return match (a, nonlinearity) {
                (None, None) => Ok(square(positive("gain", gain)?)),
                _ => Err(Fault::Reason(
                    "gain stands in place of a and nonlinearity: give one or the other".to_owned(),
                )),
            };
        }
        if let Some(a) = a
            && !a.is_finite()
        {
            return Err(Fault::Reason(format!("a={a} is not a finite number")));
        }
        let name = nonlinearity.unwrap_or("leaky_relu");
        if a.is_some() && name != "leaky_relu" {
            return Err(Fault::Reason(format!(
                "a is the slope of leaky_relu; {name} has none: leave it out"
            )));
        }
        Ok(Nonlinearity::from_name(name, a.unwrap_or(0.0))?.gain_squared())
    }

    fn init(&self) -> Result<Init, Fault> {
        let family = if self.name.ends_with("_normal") {
            Family::Normal
        } else {
            Family::Uniform
        };
        Ok(match self.name {
            "zeros" => Init::zeros(),
            "ones" => Init::ones(),
            "constant" => Init::constant(self.required("value", self.number("value")?)?),
            "normal" => Init::normal(
                self.number("mean")?.unwrap_or(0.0),
                self.number("std")?.unwrap_or(1.0),
            ),
            "uniform" => Init::uniform(
                self.number("low")?.unwrap_or(0.0),
                self.number("high")?.unwrap_or(1.0),
            ),
            "xavier_uniform" | "xavier_normal" | "glorot_uniform" | "glorot_normal" => {
                let gain = positive("gain", self.number("gain")?.unwrap_or(1.0))?;
                Init::variance_scaling(square(gain), FanMode::FanAvg, family)
            }
            "kaiming_uniform" | "kaiming_normal" | "he_uniform" | "he_normal" => {
                Init::variance_scaling(self.kaiming_scale()?, self.mode()?, family)
            }
            "lecun_uniform" | "lecun_normal" => Init::variance_scaling(1.0, self.mode()?, family),
            "variance_scaling" => {
                let scale = self.number("scale")?.unwrap_or(1.0);
                // Keras and JAX draw from a truncated normal unless told otherwise. There is
                // none here yet, so what is drawn must be said.
                let family = match self.required("distribution", self.text("distribution"))? {
                    "normal" => Family::Normal,
                    "uniform" => Family::Uniform,
                    other => {
                        return Err(Fault::Reason(format!(
                            "unknown distribution {other:?}; use normal (not truncated) or uniform"
                        )));
                    }
                };
                Init::variance_scaling(scale, self.mode()?, family)
            }
            "bias_uniform" => Init::BiasUniform {
                fan_in: self.count("fan_in")?,
            },
            "residual_normal" => Init::ResidualNormal {
                std: self.required("std", self.number("std")?)?,
                layers: self.count("layers")?,
            },
            // `Call::parse` lets only the names of the table through.
            name => return Err(Fault::Reason(format!("unknown name {name:?}"))),
        })
    }
}

/// `, did you mean "..."?` where a candidate is near.
pub(crate) fn did_you_mean(text: &str, candidates: &[&str]) -> String {
    // A name of hundreds of letters is no typing mistake.
    if text.len() > 64 {
        return String::new();
    }
    candidates
        .iter()
        .map(|candidate| (edit_distance(text, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .map(|(_, candidate)| format!(", did you mean {candidate:?}?"))
        .unwrap_or_default()
}

/// Levenshtein's distance: insertions, deletions and substitutions from one to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A number that reads back as the same bits, in the shorter of Rust's two notations.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// Writes what [`FromStr`] reads back as an equal `Init`: `variance_scaling` for the rules that
/// come down to it.
impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Init::Constant { value } if value.to_bits() == 0 => f.write_str("zeros"),
            Init::Constant { value: 1.0 } => f.write_str("ones"),
            Init::Constant { value } => write!(f, "constant(value={})", Number(value)),
            Init::Normal { mean, std } => {
                write!(f, "normal(mean={},std={})", Number(mean), Number(std))
            }
            Init::Uniform { low, high } => {
                write!(f, "uniform(low={},high={})", Number(low), Number(high))
            }
            Init::VarianceScaling {
                scale,
                mode,
                distribution,
            } => {
                let distribution = match distribution {
                    Family::Normal => "normal",
                    Family::Uniform => "uniform",
                };
                let scale = Number(scale);
                write!(
                    f,
                    "variance_scaling(scale={scale},mode={mode},distribution={distribution})"
                )
            }
            Init::BiasUniform { fan_in: None } => f.write_str("bias_uniform"),
            Init::BiasUniform {
                fan_in: Some(fan_in),
            } => write!(f, "bias_uniform(fan_in={fan_in})"),
            Init::ResidualNormal { std, layers: None } => {
                write!(f, "residual_normal(std={})", Number(std))
            }
            Init::ResidualNormal {
                std,
                layers: Some(layers),
            } => write!(f, "residual_normal(std={},layers={layers})", Number(std)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(parse("glorot_uniform"), Init::glorot_uniform());
        assert_eq!(
            parse("kaiming_normal(gain=3)"),
            Init::variance_scaling(9.0, FanMode::FanIn, Family::Normal)
        );
    }

    #[test]
    fn faults_say_what_is_accepted() {
        for (spec, expected) in [
            ("kaimng_normal", "did you mean \"kaiming_normal\"?"),
            ("truncated", "use one of zeros, ones, constant"),
            ("", "unknown name \"\""),
            (
                "normal(sd=1)",
                "did you mean \"std\"?; normal takes mean, std",
            ),
            ("zeros(value=1)", "zeros takes no keys"),
            ("normal(std=1,std=2)", "key \"std\" is given twice"),
            ("normal(0,1)", "\"0\" is not key=value"),
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
                "use fan_in, fan_out or fan_avg",
            ),
            ("kaiming_normal(nonlinearity=gelu)", "leaky_relu or selu"),
            ("kaiming_normal(nonlinearity=relu,a=1)", "relu has none"),
            (
                "kaiming_normal(nonlinearity=relu,gain=1)",
                "one or the other",
            ),
            (
                "variance_scaling(scale=2)",
                "variance_scaling needs distribution",
            ),
            (
                "variance_scaling(distribution=truncated_normal)",
                "use normal (not truncated)",
            ),
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

    #[test]
    fn text_reads_back() {
        for spec in [
            "zeros",
            "ones",
            "constant(value=-0)",
            "normal(mean=0,std=0.02)",
            "uniform(low=-1e-300,high=3e20)",
            "variance_scaling(scale=2,mode=fan_avg,distribution=normal)",
            "bias_uniform",
            "bias_uniform(fan_in=784)",
            "residual_normal(std=0.02,layers=12)",
        ] {
            assert_eq!(parse(spec).to_string(), spec);
        }
    }

    #[test]
    fn distance() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }
}
