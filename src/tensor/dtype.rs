//! The type of a stored element.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The type of a stored element.
///
/// f16 and bf16 are the binary32 value rounded to nearest, ties to even. So initializing in 16 bits
/// equals initializing in f32 and casting.
///
/// As text: `f32`, `f16`, `bf16`. The names of safetensors (`F32`, `F16`, `BF16`) and of torch
/// (`float32`, `float16`, `bfloat16`, `half`, `float`) are read too.
///
/// ```
/// use fanin::DType;
///
/// assert_eq!("bfloat16".parse::<DType>()?, DType::BF16);
/// assert_eq!(DType::BF16.to_string(), "bf16");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
}

impl DType {
    /// The bytes of an element.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// The name: `f32`, `f16` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" | "F32" | "float32" | "float" => Ok(DType::F32),
            "f16" | "F16" | "float16" | "half" => Ok(DType::F16),
            "bf16" | "BF16" | "bfloat16" => Ok(DType::BF16),
            _ => Err(Error::Unknown {
                kind: "dtype",
                value: text.to_owned(),
                accepted: "use f32, f16 or bf16".to_owned(),
            }),
        }
    }
}
