//! Initializers as text: `name` or `name(key=value,...)`.

use std::fmt;
use std::str::FromStr;

use super::{
    CATALOGUE, Entry, Family, FanMode, Init, MupRole, Nonlinearity, TransformerSide, positive,
    square,
};
use crate::error::{Error, Result};

/// Keys by which frameworks know those of the catalogue.
const KEY_ALIASES: [(&str, &str); 6] = [
    ("stddev", "std"),
    ("minval", "low"),
    ("maxval", "high"),
    ("a", "low"),
    ("b", "high"),
    ("val", "value"),
];

/// The catalogue's entry of a name, under whichever of its spellings, and the name as the
/// catalogue has it.
fn find(name: &str) -> Option<(&'static Entry, &'static str)> {
    CATALOGUE.iter().find_map(|entry| {
        let names = std::iter::once(&entry.name).chain(entry.aliases);
        let known = names.copied().find(|known| *known == name)?;
        Some((entry, known))
    })
}

/// `HeNormal` and `kaiming_normal_` as the catalogue spells them; whether it was Keras' spelling.
fn catalogued(name: &str) -> (String, bool) {
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

/// Whether name and keys are those of the catalogue, whatever the values are worth.
///
/// # Errors
///
/// What is wrong with them, and what would be accepted.
#[cfg(feature = "recipe")]
pub(crate) fn check_call(spec: &str) -> Result<(), String> {
    Call::parse(spec).map(drop)
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

/// A name with its keys and values, the name and keys being those of the catalogue.
struct Call<'a> {
    name: &'static str,
    /// Written as a class of Keras, whose defaults then hold.
    keras: bool,
    arguments: Vec<(&'static str, &'a str)>,
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
        let (spelled, keras) = catalogued(name);
        let Some((entry, known)) = find(&spelled) else {
            let names: Vec<_> = CATALOGUE
                .iter()
                .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
                .collect();
            return Err(format!(
                "unknown name {name:?}{}; use one of {}",
                did_you_mean(&spelled, &names),
                names.join(", ")
            ));
        };
        let name = known;
        let keys: Vec<&'static str> = entry.keys.iter().map(|(key, _)| *key).collect();
        let mut arguments: Vec<(&'static str, &str)> = Vec::new();
        // A single comma may end the list, as in Rust and Python.
        let inner = inner.trim();
        let list = inner.strip_suffix(',').unwrap_or(inner);
        let parts = list.split(',').filter(|_| !inner.is_empty());
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("{:?} is not key=value", part.trim()));
            };
            let (key, value) = (key.trim(), value.trim());
            let alias = KEY_ALIASES.iter().find(|(alias, _)| *alias == key);
            let candidates = [Some(key), alias.map(|(_, known)| *known)];
            let mut candidates = candidates.into_iter().flatten();
            let found = candidates.find_map(|key| keys.iter().find(|known| **known == key));
            let Some(&key) = found else {
                let takes = match &keys[..] {
                    [] => "takes no keys".to_owned(),
                    keys => format!("takes {}", keys.join(", ")),
                };
                let hint = did_you_mean(key, &keys);
                return Err(format!("unknown key {key:?}{hint}; {name} {takes}"));
            };
            if arguments.iter().any(|(seen, _)| *seen == key) {
                return Err(format!("key {key:?} is given twice"));
            }
            arguments.push((key, value));
        }
        Ok(Call {
            name,
            keras,
            arguments,
        })
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

    /// The number of a key, or its default.
    fn number_or(&self, key: &str, default: f64) -> Result<f64, Fault> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    /// A count of at least 1 that must be given.
    fn required_count(&self, key: &str) -> Result<u64, Fault> {
        match self.required(key, self.count(key)?)? {
            0 => Err(Fault::Reason(format!(
                "{key}=0 is out of range: it must be at least 1"
            ))),
            count => Ok(count),
        }
    }

    /// One of two or three words.
    fn choice<T: Copy>(
        &self,
        key: &str,
        default: Option<T>,
        words: &[(&str, T)],
    ) -> Result<T, Fault> {
        let Some(text) = self.text(key) else {
            return self.required(key, default);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let accepted = words.join(", ");
                Err(Fault::Reason(format!(
                    "unknown {key} {text:?}; use one of {accepted}"
                )))
            }
        }
    }

    fn init(&self) -> Result<Init, Fault> {
        let family = match self.name {
            "glorot_normal" | "he_normal" | "lecun_normal" => Family::TruncatedNormal,
            name if name.ends_with("_normal") => Family::Normal,
            _ => Family::Uniform,
        };
        Ok(match self.name {
            "zeros" | "lora_b" | "rezero" => Init::zeros(),
            "ones" => Init::ones(),
            "constant" => Init::constant(self.required("value", self.number("value")?)?),
            "normal" => Init::normal(self.number_or("mean", 0.0)?, self.number_or("std", 1.0)?),
            "random_normal" => {
                Init::normal(self.number_or("mean", 0.0)?, self.number_or("std", 0.05)?)
            }
            "uniform" => Init::uniform(self.number_or("low", 0.0)?, self.number_or("high", 1.0)?),
            "random_uniform" => {
                Init::uniform(self.number_or("low", -0.05)?, self.number_or("high", 0.05)?)
            }
            "trunc_normal" => Init::trunc_normal(
                self.number_or("mean", 0.0)?,
                self.number_or("std", 1.0)?,
                self.number_or("a", -2.0)?,
                self.number_or("b", 2.0)?,
            ),
            "truncated_normal" => Init::truncated_normal(
                self.number_or("mean", 0.0)?,
                self.number_or("std", if self.keras { 0.05 } else { 1.0 })?,
                self.number_or("lower", -2.0)?,
                self.number_or("upper", 2.0)?,
            ),
            "xavier_uniform" | "xavier_normal" | "glorot_uniform" | "glorot_normal" => {
                let gain = positive("gain", self.number_or("gain", 1.0)?)?;
                Init::variance_scaling(square(gain), FanMode::FanAvg, family)
            }
            "kaiming_uniform" | "kaiming_normal" | "he_uniform" | "he_normal" => {
                Init::variance_scaling(self.kaiming_scale()?, self.mode()?, family)
            }
            "lecun_uniform" | "lecun_normal" => Init::variance_scaling(1.0, self.mode()?, family),
            "variance_scaling" => {
                let family = self.choice(
                    "distribution",
                    Some(Family::TruncatedNormal),
                    &[
                        ("truncated_normal", Family::TruncatedNormal),
                        ("normal", Family::Normal),
                        ("untruncated_normal", Family::Normal),
                        ("uniform", Family::Uniform),
                    ],
                )?;
                Init::variance_scaling(self.number_or("scale", 1.0)?, self.mode()?, family)
            }
            "inverse_fan" => Init::InverseFan {
                scale: self.number_or("scale", 1.0)?,
                mode: self.mode()?,
                distribution: self.choice(
                    "distribution",
                    Some(Family::Normal),
                    &[
                        ("truncated_normal", Family::TruncatedNormal),
                        ("normal", Family::Normal),
                        ("uniform", Family::Uniform),
                    ],
                )?,
            },
            "torch_linear" | "lora_a" => Init::torch_linear(),
            "bias_uniform" => Init::BiasUniform {
                fan_in: self.count("fan_in")?,
            },
            "residual_normal" => Init::ResidualNormal {
                std: self.required("std", self.number("std")?)?,
                layers: self.count("layers")?,
            },
            "embedding" => {
                let (mean, std) = (self.number_or("mean", 0.0)?, self.number_or("std", 1.0)?);
                match self.count("padding_idx")? {
                    None => Init::normal(mean, std),
                    Some(padding_idx) => Init::Embedding {
                        mean,
                        std,
                        padding_idx,
                    },
                }
            }
            "eye" => Init::eye(),
            "identity" => Init::identity(self.number_or("gain", 1.0)?),
            "orthogonal" => Init::orthogonal_with(self.number_or("gain", 1.0)?),
            "delta_orthogonal" => Init::DeltaOrthogonal {
                gain: self.number_or("gain", 1.0)?,
            },
            "dirac" => Init::Dirac {
                groups: self.count("groups")?,
            },
            "sparse" => Init::sparse(
                self.required("sparsity", self.number("sparsity")?)?,
                self.number_or("std", 0.01)?,
            ),
            "small_init" => Init::small_init(self.required_count("dim")?),
            "wang_init" => {
                Init::wang_init(self.required_count("dim")?, self.required_count("layers")?)
            }
            "mup" => {
                let role = self.choice(
                    "role",
                    None,
                    &[
                        ("input", MupRole::Input),
                        ("hidden", MupRole::Hidden),
                        ("output", MupRole::Output),
                    ],
                )?;
                let std = positive("std", self.required("std", self.number("std")?)?)?;
                Init::mup(role, std, self.required_count("base")?)
            }
            "deepnorm" => Init::deepnorm(self.required_count("layers")?),
            "fixup" => {
                let m = self.count("m")?.unwrap_or(2);
                if m < 2 {
                    return Err(Fault::Reason(format!(
                        "m={m} is out of range: a branch has at least 2 layers"
                    )));
                }
                Init::fixup(self.required_count("layers")?, m)
            }
            "t_fixup" => {
                let side = self.choice(
                    "side",
                    Some(TransformerSide::Encoder),
                    &[
                        ("encoder", TransformerSide::Encoder),
                        ("decoder", TransformerSide::Decoder),
                    ],
                )?;
                Init::t_fixup(self.required_count("layers")?, side)
            }
            "layer_scale" => Init::layer_scale(self.required_count("depth")?),
            "siren_first" => Init::siren_first(),
            "siren" => Init::siren(positive("omega", self.number_or("omega", 30.0)?)?),
            "sinusoids" => Init::Sinusoid {
                max_timescale: self.number_or("max_timescale", 10_000.0)?,
                interleaved: false,
            },
            "sinusoidal" => Init::Sinusoid {
                max_timescale: self.number_or("base", 10_000.0)?,
                interleaved: true,
            },
            "mamba_a_log" | "s4d_real" => Init::LogRamp,
            "mamba2_a_log" | "log_uniform" => Init::LogUniform {
                low: self.number_or("low", 1.0)?,
                high: self.number_or("high", 16.0)?,
            },
            "mamba_dt_bias" => Init::TimeStep {
                min: self.number_or("min", 0.001)?,
                max: self.number_or("max", 0.1)?,
                floor: self.number_or("floor", 1e-4)?,
            },
            // `Call::parse` lets only the names of the catalogue through.
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

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Normal => "normal",
        Family::Uniform => "uniform",
        Family::TruncatedNormal => "truncated_normal",
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
                let distribution = family_name(distribution);
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
            Init::TruncNormal { mean, std, a, b } => write!(
                f,
                "trunc_normal(mean={},std={},a={},b={})",
                Number(mean),
                Number(std),
                Number(a),
                Number(b)
            ),
            Init::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
            } => write!(
                f,
                "truncated_normal(mean={},std={},lower={},upper={})",
                Number(mean),
                Number(std),
                Number(lower),
                Number(upper)
            ),
            Init::InverseFan {
                scale,
                mode,
                distribution,
            } => {
                let (scale, distribution) = (Number(scale), family_name(distribution));
                write!(
                    f,
                    "inverse_fan(scale={scale},mode={mode},distribution={distribution})"
                )
            }
            Init::Identity { gain: 1.0 } => f.write_str("eye"),
            Init::Identity { gain } => write!(f, "identity(gain={})", Number(gain)),
            Init::Orthogonal { gain } => write!(f, "orthogonal(gain={})", Number(gain)),
            Init::DeltaOrthogonal { gain } => write!(f, "delta_orthogonal(gain={})", Number(gain)),
            Init::Dirac { groups: None } => f.write_str("dirac"),
            Init::Dirac {
                groups: Some(groups),
            } => write!(f, "dirac(groups={groups})"),
            Init::Sparse { sparsity, std } => {
                write!(
                    f,
                    "sparse(sparsity={},std={})",
                    Number(sparsity),
                    Number(std)
                )
            }
            Init::Embedding {
                mean,
                std,
                padding_idx,
            } => write!(
                f,
                "embedding(mean={},std={},padding_idx={padding_idx})",
                Number(mean),
                Number(std)
            ),
            Init::Sinusoid {
                max_timescale,
                interleaved: false,
            } => write!(f, "sinusoids(max_timescale={})", Number(max_timescale)),
            Init::Sinusoid {
                max_timescale,
                interleaved: true,
            } => write!(f, "sinusoidal(base={})", Number(max_timescale)),
            Init::LogRamp => f.write_str("mamba_a_log"),
            Init::LogUniform { low, high } => {
                write!(f, "mamba2_a_log(low={},high={})", Number(low), Number(high))
            }
            Init::TimeStep { min, max, floor } => write!(
                f,
                "mamba_dt_bias(min={},max={},floor={})",
                Number(min),
                Number(max),
                Number(floor)
            ),
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
        assert_eq!(parse("RandomNormal"), Init::normal(0.0, 0.05));
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
                "variance_scaling(distribution=gaussian)",
                "use one of truncated_normal, normal, untruncated_normal, uniform",
            ),
            ("trunc_normal(std=0)", "it must be above 0"),
            ("trunc_normal(a=2,b=2)", "must be below the upper bound"),
            ("sparse(sparsity=1.5)", "it must be between 0 and 1"),
            ("wang_init(dim=8)", "wang_init needs layers"),
            (
                "mup(role=middle,std=1,base=1)",
                "use one of input, hidden, output",
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
            "variance_scaling(scale=2,mode=fan_in,distribution=truncated_normal)",
            "inverse_fan(scale=3,mode=fan_in,distribution=uniform)",
            "trunc_normal(mean=0,std=0.02,a=-2,b=inf)",
            "truncated_normal(mean=1,std=0.5,lower=-3,upper=3)",
            "eye",
            "identity(gain=0.5)",
            "orthogonal(gain=1.5)",
            "delta_orthogonal(gain=1)",
            "dirac",
            "dirac(groups=4)",
            "sparse(sparsity=0.1,std=0.01)",
            "embedding(mean=0,std=1,padding_idx=0)",
            "sinusoids(max_timescale=10000)",
            "sinusoidal(base=500)",
            "mamba_a_log",
            "mamba2_a_log(low=1,high=16)",
            "mamba_dt_bias(min=0.001,max=0.1,floor=0.0001)",
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
