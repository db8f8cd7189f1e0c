//! What a file will hold, and the header that says so.

use std::collections::HashSet;

use serde_json::Value;

use super::header::{MAX_HEADER_BYTES, METADATA};
use super::npy;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::tensor::DType;

/// What a file will hold: the bytes before the weights, and the fills in the file's order.
///
/// It is a function of the fills alone, so that a file is the same to the byte whichever
/// backend made its weights.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    header: Vec<u8>,
    fills: Vec<&'a Fill>,
}

impl<'a> Contents<'a> {
    /// A safetensors file of these fills.
    ///
    /// The tensors stand in the given order, except that f32 goes before f16 and bf16: so each
    /// starts at a multiple of its element's size, which readers that map the file rely on.
    /// The header is padded with blanks to a multiple of 8 bytes. `metadata` goes into
    /// `__metadata__` in the given order.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] for a name that stands twice; [`Error::Unsupported`] for a tensor
    /// by the name `__metadata__`, and for a header that would be longer than the 100 MB that
    /// readers accept.
    pub fn safetensors(fills: &'a [Fill], metadata: &[(&str, String)]) -> Result<Self> {
        let mut names = HashSet::with_capacity(fills.len());
        for fill in fills {
            if fill.name() == METADATA {
                return Err(Error::Unsupported {
                    tensor: fill.name().to_owned(),
                    format: "safetensors",
                    what: "a tensor of this name, which it keeps for itself".to_owned(),
                    accepted: "use another name",
                });
            }
            if !names.insert(fill.name()) {
                return Err(Error::Duplicate {
                    tensor: fill.name().to_owned(),
                });
            }
        }
        let mut fills: Vec<&Fill> = fills.iter().collect();
        fills.sort_by_key(|fill| std::cmp::Reverse(fill.dtype().size()));

        // Written by hand for its order, which a map would not keep; `Value` does the quoting.
        let quoted = |text: &str| Value::from(text).to_string();
        let mut members = Vec::with_capacity(fills.len() + 1);
        if !metadata.is_empty() {
            let pairs: Vec<String> = metadata
                .iter()
                .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
                .collect();
            members.push(format!("{}:{{{}}}", quoted(METADATA), pairs.join(",")));
        }
        let mut offset = 0u64;
        for fill in &fills {
            let dims: Vec<String> = fill.local().dims().iter().map(u64::to_string).collect();
            // 2^13 fills of the largest size would overflow; a header cannot say it then.
            let end = offset.checked_add(fill.bytes());
            let end = end.ok_or_else(|| too_large(fill, "more than 2^64 bytes of weights"))?;
            members.push(format!(
                "{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{offset},{end}]}}",
                quoted(fill.name()),
                fill.dtype().name().to_uppercase(),
                dims.join(","),
            ));
            offset = end;
        }
        let mut json = format!("{{{}}}", members.join(","));
        let padded = json.len().next_multiple_of(8);
        json.extend(std::iter::repeat_n(' ', padded - json.len()));
        if let Some(fill) = fills.first()
            && json.len() as u64 > MAX_HEADER_BYTES
        {
            return Err(too_large(
                fill,
                "it: the names and shapes exceed the header's 100 MB",
            ));
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend(json.into_bytes());
        Ok(Contents { header, fills })
    }

    /// A numpy file, format 1.0, of one tensor in C order.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for bf16, which numpy does not have.
    pub fn npy(fill: &'a Fill) -> Result<Self> {
        if fill.dtype() == DType::BF16 {
            return Err(Error::Unsupported {
                tensor: fill.name().to_owned(),
                format: "npy",
                what: "bf16".to_owned(),
                accepted: "use f32 or f16, or write .safetensors or .bin",
            });
        }
        Ok(Contents {
            header: npy::header(fill.dtype(), &fill.local().dims()).ok_or_else(|| {
                Error::Unsupported {
                    tensor: fill.name().to_owned(),
                    format: "npy",
                    what: format!("rank {}", fill.shape().rank()),
                    accepted: "its header is limited to 65535 bytes; write .safetensors or .bin",
                }
            })?,
            fills: vec![fill],
        })
    }

    /// The elements of one tensor, little-endian, and nothing else.
    #[must_use]
    pub fn raw(fill: &'a Fill) -> Self {
        Contents {
            header: Vec::new(),
            fills: vec![fill],
        }
    }

    /// The weights of these fills, one after the other, without a header: what is filled to be
    /// measured and thrown away.
    #[must_use]
    pub fn bare(fills: &'a [Fill]) -> Self {
        Contents {
            header: Vec::new(),
            fills: fills.iter().collect(),
        }
    }

    /// The bytes before the weights.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The fills, in the file's order.
    #[must_use]
    pub fn fills(&self) -> &[&'a Fill] {
        &self.fills
    }

    /// The bytes of the weights together.
    #[must_use]
    pub fn weight_bytes(&self) -> u128 {
        self.fills.iter().map(|fill| u128::from(fill.bytes())).sum()
    }
}

fn too_large(fill: &Fill, what: &str) -> Error {
    Error::Unsupported {
        tensor: fill.name().to_owned(),
        format: "safetensors",
        what: what.to_owned(),
        accepted: "split the model over several files",
    }
}
