//! The contents of a file that is to be written: header and fills.

use std::collections::HashSet;

use super::header::{METADATA, json, member};
use super::limits::{MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_SHAPE_BYTES, MAX_TENSORS};
use super::metadata::Metadata;
use super::npy;
use crate::error::{Error, Result};
use crate::fill::Fill;

/// The contents of a file: the bytes before the weights, and the fills in the file's order.
///
/// They depend on the fills and the metadata only. So a file has the same bytes whichever backend
/// makes its weights.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    header: Vec<u8>,
    fills: Vec<&'a Fill>,
}

impl<'a> Contents<'a> {
    /// Makes a safetensors file of these fills.
    ///
    /// The tensors keep the given order, except that those with larger elements come first. So each
    /// one starts at a multiple of its element's size, as readers that map the file need. The header is
    /// padded with blanks to a multiple of 8 bytes. `metadata` goes into `__metadata__` in the
    /// given order.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] for a name that is used twice. [`Error::Unsupported`] for a tensor with
    /// the name `__metadata__`, for elements of 4 or 6 bits that do not fill whole bytes, and for a
    /// header longer than the 100 MB that readers accept.
    pub fn safetensors(fills: &'a [Fill], metadata: &[(&str, String)]) -> Result<Self> {
        let mut names = HashSet::with_capacity(fills.len());
        for fill in fills {
            if fill.name() == METADATA {
                return Err(Error::Unsupported {
                    tensor: fill.name().to_owned(),
                    format: "safetensors",
                    what: "a tensor of this name, which is reserved".to_owned(),
                    accepted: "use another name",
                });
            }
            if !names.insert(fill.name()) {
                return Err(Error::Duplicate {
                    tensor: fill.name().to_owned(),
                });
            }
        }
        check_readable(fills, metadata)?;
        let mut fills: Vec<&Fill> = fills.iter().collect();
        // A stable sort: tensors with elements of one size keep the given order.
        fills.sort_by_key(|fill| std::cmp::Reverse(fill.dtype().bits()));

        let mut members = Vec::with_capacity(fills.len());
        let mut offset = 0u64;
        for fill in &fills {
            if !fill.dtype().fills_whole_bytes(fill.elements()) {
                return Err(Error::Unsupported {
                    tensor: fill.name().to_owned(),
                    format: "safetensors",
                    what: format!(
                        "{} elements of {}, which are not whole bytes",
                        fill.elements(),
                        fill.dtype()
                    ),
                    accepted: "keep the whole tensor, or skip it",
                });
            }
            // 2^13 fills of the largest size would overflow the 64 bits of an offset.
            let end = offset.checked_add(fill.bytes());
            let end = end.ok_or_else(|| too_large(fill, "more than 2^64 bytes of weights"))?;
            members.push(member(
                fill.name(),
                fill.dtype(),
                &fill.local().dims(),
                offset..end,
            ));
            offset = end;
        }
        let metadata = metadata.iter().map(|(key, value)| (*key, value.as_str()));
        let json = json(metadata, members.into_iter());
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

    /// Makes a numpy file, format 1.0, of one tensor in C order.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for bf16 and other dtypes that numpy does not have, and for a shape
    /// whose text exceeds the 65535 bytes of a header.
    pub fn npy(fill: &'a Fill) -> Result<Self> {
        let Some(descr) = fill.dtype().numpy_name() else {
            return Err(Error::Unsupported {
                tensor: fill.name().to_owned(),
                format: "npy",
                what: fill.dtype().to_string(),
                accepted: "use f32, f16, f64, bool or whole numbers, or write .safetensors or .bin",
            });
        };
        Ok(Contents {
            header: npy::header(&descr, &fill.local().dims()).ok_or_else(|| {
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

    /// Makes a file of one tensor's elements, little-endian, without a header.
    #[must_use]
    pub fn raw(fill: &'a Fill) -> Self {
        Contents {
            header: Vec::new(),
            fills: vec![fill],
        }
    }

    /// Makes a file of the weights of these fills, one after the other, without a header. It is for
    /// measurements, which discard the weights.
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

    /// The bytes of all weights together.
    #[must_use]
    pub fn weight_bytes(&self) -> u128 {
        self.fills.iter().map(|fill| u128::from(fill.bytes())).sum()
    }

    /// The bytes of the file: the header and all weights.
    pub(super) fn bytes(&self) -> u128 {
        self.header.len() as u128 + self.weight_bytes()
    }
}

/// Checks that a file of these fills is within the limits of reading.
fn check_readable(fills: &[Fill], metadata: &[(&str, String)]) -> Result<()> {
    for fill in fills {
        if fill.name().len() > MAX_NAME_BYTES {
            return Err(too_large(
                fill,
                "a longer name than the 65536 bytes that are read",
            ));
        }
        // A dimension takes at most 21 bytes of text.
        let shape = fill.local().dims();
        if shape.len() > MAX_SHAPE_BYTES / 22 && format!("{shape:?}").len() > MAX_SHAPE_BYTES {
            return Err(too_large(
                fill,
                "a shape of more than the 4096 characters that are read",
            ));
        }
    }
    if let [.., last] = fills
        && fills.len() > MAX_TENSORS
    {
        return Err(too_large(last, "more than the 2^20 tensors that are read"));
    }
    let mut readable = Metadata::default();
    let mut pairs = metadata.iter();
    let pairs = pairs.try_for_each(|(key, value)| readable.push(key, value));
    match (pairs, fills) {
        (Err(reason), [first, ..]) => Err(too_large(first, &format!("a file that {reason}"))),
        _ => Ok(()),
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
