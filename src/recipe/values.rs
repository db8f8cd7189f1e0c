//! Numbers that stand in a recipe: `values = [0.5, -1.0]`.

use std::sync::Arc;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The numbers of a rule, in row-major order, each rounded once to binary32.
#[derive(Clone, Debug)]
pub(super) struct Values {
    bits: Arc<[u32]>,
    /// The lengths of the nested lists, outermost first.
    dims: Vec<u64>,
}

impl Values {
    /// The binary32 bits.
    pub fn bits(&self) -> &Arc<[u32]> {
        &self.bits
    }

    /// The number of numbers.
    pub fn count(&self) -> u64 {
        self.bits.len() as u64
    }

    /// The lengths of the nested lists, outermost first. A single number has none.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }
}

/// Numbers while they are read.
struct Read {
    bits: Vec<u32>,
    dims: Vec<u64>,
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { bits, dims } = Read::deserialize(deserializer)?;
        Ok(Values {
            bits: bits.into(),
            dims,
        })
    }
}

impl Read {
    fn number(number: f32) -> Self {
        Read {
            bits: vec![number.to_bits()],
            dims: Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nested;
        impl<'de> Visitor<'de> for Nested {
            type Value = Read;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a list of numbers or of such lists")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Read, E> {
                let rounded = number as f32;
                if rounded.is_infinite() && number.is_finite() {
                    return Err(E::custom(format_args!(
                        "{number:e} is beyond the numbers of f32: use -3.4e38 to 3.4e38, or inf"
                    )));
                }
                Ok(Read::number(rounded))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Read, E> {
                // Converted directly: by way of binary64, a large number would be rounded twice.
                Ok(Read::number(number as f32))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Read, E> {
                Ok(Read::number(number as f32))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
                Ok(Read::number(f32::from(u8::from(value))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
                let mut bits = Vec::new();
                let mut inner: Option<Vec<u64>> = None;
                let mut length = 0;
                while let Some(next) = list.next_element::<Read>()? {
                    length += 1;
                    bits.extend(next.bits);
                    if inner.get_or_insert_with(|| next.dims.clone()) != &next.dims {
                        let reason =
                            "the lists within a list differ in length: all must have the same";
                        return Err(A::Error::custom(reason));
                    }
                }
                let mut dims = vec![length];
                dims.extend(inner.unwrap_or_default());
                Ok(Read { bits, dims })
            }
        }
        deserializer.deserialize_any(Nested)
    }
}
