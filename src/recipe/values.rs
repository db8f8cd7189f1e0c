//! Numbers that stand in a recipe: `values = [0.5, -1.0]`.

use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The numbers of a rule, in row-major order, each rounded once to binary32.
#[derive(Clone, Debug)]
pub(super) struct Values(Vec<u32>);

impl Values {
    /// Returns the binary32 bits.
    pub fn bits(self) -> Arc<[u32]> {
        self.0.into()
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nested;
        impl<'de> Visitor<'de> for Nested {
            type Value = Values;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a list of numbers or of such lists")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Values, E> {
                Ok(Values(vec![(number as f32).to_bits()]))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Values, E> {
                Ok(Values(vec![(number as f32).to_bits()]))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Values, E> {
                Ok(Values(vec![(number as f32).to_bits()]))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Values, E> {
                Ok(Values(vec![f32::from(u8::from(value)).to_bits()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut all = Vec::new();
                // A list of one level, the most frequent one, copies a number at a time.
                while let Some(Values(inner)) = list.next_element()? {
                    all.extend(inner);
                }
                Ok(Values(all))
            }
        }
        deserializer.deserialize_any(Nested)
    }
}
