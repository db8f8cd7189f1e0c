//! The keys of initializers: types, defaults and ranges.

use crate::error::{Error, Result};
use crate::text::quoted;

/// The largest number of keys of an initializer.
pub(super) const MAX_KEYS: usize = 7;

/// A key of an initializer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Key {
    /// The name in text.
    pub name: &'static str,
    /// The kind and range of its value.
    pub(super) kind: KeyKind,
    /// The value that the key has if it is not given.
    pub(super) default: Value,
    /// The default if the name is spelled as a class of Keras, where that default differs.
    pub(super) keras_default: Option<Value>,
    /// True if the key must be given.
    pub required: bool,
}

/// The kind of value that a key takes.
#[derive(Debug)]
pub(super) enum KeyKind {
    /// A binary64 within a range.
    Number(Range),
    /// A whole number of at least 0, 1 or 2.
    Count(u64),
    /// A whole number that counts from the end if it is negative.
    Index,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A range of numbers, with the words that errors use for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    holds: fn(f64) -> bool,
    accepted: &'static str,
}

impl Range {
    /// All numbers. The constructors of [`Distribution`](super::Distribution) check these keys:
    /// bounds of truncated normals can be infinite, and two bounds must be in order.
    pub const ANY: Range = Range {
        holds: |_| true,
        accepted: "",
    };
    /// A factor that must not be 0: a gain, a scale, an angular frequency.
    pub const POSITIVE: Range = Range {
        holds: |x| x.is_finite() && x > 0.0,
        accepted: "it must be a finite number above 0",
    };
    /// A slope.
    pub const FINITE: Range = Range {
        holds: f64::is_finite,
        accepted: "it must be a finite number",
    };
    /// The gain of an orthogonal matrix. NaN passes, because `Distribution::constant` refuses it with
    /// the message for numbers that are not finite.
    pub const NOT_NEGATIVE: Range = Range {
        holds: |x| x >= 0.0 || x.is_nan(),
        accepted: "it must be at least 0",
    };
    /// The ratio of the longest to the shortest wavelength of a position table.
    pub const TIMESCALE: Range = Range {
        holds: |x| x.is_finite() && x >= 1.0,
        accepted: "it must be at least 1 and finite",
    };
    /// The base of the frequencies of rotary embeddings.
    pub const BASE: Range = Range {
        holds: |x| x.is_finite() && x > 1.0,
        accepted: "it must be above 1 and finite",
    };
    /// A factor that scales frequencies, or a length in tokens. The products of a few of them are
    /// normal numbers.
    pub const FACTOR: Range = Range {
        holds: |x| (1e-30..=1e30).contains(&x),
        accepted: "it must be between 1e-30 and 1e30",
    };
    /// A proportion.
    pub const SHARE: Range = Range {
        holds: |x| (0.0..=1.0).contains(&x),
        accepted: "it must be between 0 and 1",
    };
}

impl Key {
    const fn new(name: &'static str, kind: KeyKind, default: Value) -> Key {
        Key {
            name,
            kind,
            default,
            keras_default: None,
            required: false,
        }
    }

    /// A number with a default.
    pub(super) const fn number(name: &'static str, range: Range, default: f64) -> Key {
        Key::new(name, KeyKind::Number(range), Value::Number(default))
    }

    /// A whole number of at least `least`, with a default.
    pub(super) const fn count(name: &'static str, least: u64, default: u64) -> Key {
        Key::new(name, KeyKind::Count(least), Value::Count(default))
    }

    /// An index that counts from the end if it is negative. It can be left out.
    pub(super) const fn index(name: &'static str) -> Key {
        Key::new(name, KeyKind::Index, Value::Unset)
    }

    /// One of a list of words, with a default.
    pub(super) const fn word(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
    ) -> Key {
        Key::new(name, KeyKind::Word(words), Value::Word(default))
    }

    /// The key with another default for the spelling of Keras.
    pub(super) const fn keras(mut self, default: f64) -> Key {
        self.keras_default = Some(Value::Number(default));
        self
    }

    /// The key without its default: it must be given.
    pub(super) const fn required(mut self) -> Key {
        self.default = Value::Unset;
        self.required = true;
        self
    }

    /// The key without its default. It can be left out, and the rule handles that case.
    pub(super) const fn optional(mut self) -> Key {
        self.default = Value::Unset;
        self
    }

    /// Returns true if the value is a number. A recipe can compute it then.
    #[cfg(feature = "recipe")]
    pub(crate) fn is_numeric(&self) -> bool {
        !matches!(self.kind, KeyKind::Word(_))
    }

    /// Reads a value from text.
    ///
    /// # Errors
    ///
    /// A message that does not name the initializer.
    pub(crate) fn read(&self, text: &str) -> Result<Value, String> {
        let name = self.name;
        match self.kind {
            KeyKind::Number(_) => text
                .parse()
                .map(Value::Number)
                .map_err(|_| format!("{name}={} is not a decimal number", quoted(text))),
            KeyKind::Count(least) => text
                .parse()
                .map(Value::Count)
                .map_err(|_| format!("{name}={} is not a whole number from {least}", quoted(text))),
            KeyKind::Index => text
                .parse()
                .map(Value::Index)
                .map_err(|_| format!("{name}={} is not a whole number", quoted(text))),
            KeyKind::Word(words) => match words.iter().find(|word| **word == text) {
                Some(word) => Ok(Value::Word(word)),
                None => Err(format!(
                    "unknown {name} {}; use one of {}",
                    quoted(text),
                    words.join(", ")
                )),
            },
        }
    }

    /// Returns a computed number as a value of this key.
    #[cfg(feature = "recipe")]
    ///
    /// # Errors
    ///
    /// A message, if the key takes whole numbers and the number is not whole.
    pub(crate) fn computed(&self, number: f64) -> Result<Value, String> {
        match self.kind {
            KeyKind::Count(least) => {
                // 2^64 is the first number that u64 cannot hold.
                let whole =
                    number.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&number);
                if whole {
                    Ok(Value::Count(number as u64))
                } else {
                    Err(format!(
                        "{}={number} is not a whole number from {least}",
                        self.name
                    ))
                }
            }
            KeyKind::Index => {
                // Larger numbers are no index of a shape, and binary64 holds all smaller ones.
                if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
                    Ok(Value::Index(number as i64))
                } else {
                    Err(format!("{}={number} is not a whole number", self.name))
                }
            }
            KeyKind::Number(_) | KeyKind::Word(_) => Ok(Value::Number(number)),
        }
    }

    /// Checks that a value is within the range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] without a tensor's name.
    pub(super) fn check(&self, value: Value) -> Result<()> {
        let (value, accepted) = match (&self.kind, value) {
            (KeyKind::Number(range), Value::Number(x)) if !(range.holds)(x) => (x, range.accepted),
            (KeyKind::Count(least), Value::Count(n)) if n < *least => (
                n as f64,
                match least {
                    0 | 1 => "it must be at least 1",
                    _ => "it must be at least 2",
                },
            ),
            _ => return Ok(()),
        };
        Err(Error::parameter(self.name, value, accepted))
    }
}

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Count(u64),
    Index(i64),
    Word(&'static str),
    /// No value: the key is not given and has no default.
    Unset,
}

impl std::fmt::Display for Value {
    /// Writes text that reads back as the same value: numbers in the shorter of Rust's two notations.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Value::Number(x) if x == 0.0 || (1e-4..1e16).contains(&x.abs()) => write!(f, "{x}"),
            Value::Number(x) => write!(f, "{x:e}"),
            Value::Count(n) => write!(f, "{n}"),
            Value::Index(n) => write!(f, "{n}"),
            Value::Word(word) => f.write_str(word),
            Value::Unset => Ok(()),
        }
    }
}

impl Value {
    /// Compares the bits of numbers, so that a mean of -0 differs from the default 0.
    pub(super) fn is_same(self, other: Value) -> bool {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits(),
            _ => self == other,
        }
    }
}
