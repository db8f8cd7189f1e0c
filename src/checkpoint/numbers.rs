//! The numbers of a file's tensors, whatever kind of file it is, piece by piece.

use std::io::Read;
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::file_dtype::FileDType;
use super::npy;
use super::source::fault;
use super::weights::{Reader, Weights};
use crate::error::{Error, Result};
use crate::tensor::DType;
use crate::text::shown;

/// A .npy file, or whatever [`Weights::open`] takes.
pub(super) struct Numbers {
    path: PathBuf,
    arrays: Vec<Array>,
    /// None for a .npy file.
    weights: Option<Weights>,
    reader: Reader,
}

/// A tensor of [`Numbers`].
pub(super) struct Array {
    /// The tensor's name; for a .npy file, the file's without its ending.
    pub name: String,
    pub shape: Vec<u64>,
    /// As the file has it, in lower case.
    pub dtype: String,
    /// How its numbers are read; None for integers, and for floats of a byte or less.
    pub decoder: Option<Decoder>,
}

impl Array {
    /// The dtype in which fanin would make it: f32 for f64.
    pub fn made_as(&self) -> Option<DType> {
        match self.dtype.as_str() {
            "f64" => Some(DType::F32),
            dtype => dtype.parse().ok(),
        }
    }
}

/// Bytes that are read at a time; a multiple of every element's size and of what is computed at a
/// time.
const READ_BYTES: usize = 8 << 20;

impl Numbers {
    /// Reads what there is, but no elements.
    pub fn open(path: &Path) -> Result<Self> {
        let weights = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => {
                return Ok(Numbers {
                    path: path.to_owned(),
                    arrays: vec![npy_array(path)?],
                    weights: None,
                    reader: Reader::new(),
                });
            }
            Some("safetensors" | "json") => Weights::open(path)?,
            _ if path.is_dir() => Weights::open(path)?,
            _ => {
                return Err(fault(
                    path,
                    None,
                    "is of no kind that is read: use .safetensors or .npy, a \
                     model.safetensors.index.json, or a folder that holds one",
                ));
            }
        };
        let arrays = weights.tensors().iter().map(|tensor| Array {
            name: tensor.name().to_owned(),
            shape: tensor.shape().to_vec(),
            dtype: tensor.dtype_name(),
            decoder: decoder(tensor.kind()),
        });
        Ok(Numbers {
            path: path.to_owned(),
            arrays: arrays.collect(),
            weights: Some(weights),
            reader: Reader::new(),
        })
    }

    /// The tensors, in the file's order.
    pub fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    /// What the file says of itself under a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.weights.as_ref()?.metadata(key)
    }

    /// Indices of the tensors, in the order in which they are read fastest.
    pub fn front_to_back(&self) -> Vec<usize> {
        match &self.weights {
            Some(weights) => weights.front_to_back(),
            None => vec![0],
        }
    }

    /// Hands over the bytes of a tensor's elements, from the first to the last, whole elements at a
    /// time.
    pub fn read(&mut self, i: usize, mut take: impl FnMut(&[u8])) -> Result<()> {
        let (path, reader) = (&self.path, &mut self.reader);
        let mut buffer = Vec::new();
        let mut all = |bytes: u64, get: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>| {
            let mut offset = 0;
            while offset < bytes {
                buffer.resize((bytes - offset).min(READ_BYTES as u64) as usize, 0);
                get(offset, &mut buffer)?;
                offset += buffer.len() as u64;
                take(&buffer);
            }
            Ok(())
        };
        match &self.weights {
            Some(weights) => {
                let tensor = &weights.tensors()[i];
                let bytes = tensor.bytes().end - tensor.bytes().start;
                all(bytes, &mut |offset, out| reader.read(tensor, offset, out))
            }
            None => {
                let (mut file, array) = npy::read(path)?;
                let size = self.arrays[i]
                    .decoder
                    .map_or(0, |decoder| decoder.size as u64);
                let bytes = size * array.shape.iter().product::<u64>();
                // The array is read from its beginning to its end: where that is, the file knows.
                all(bytes, &mut |_, out| {
                    file.read_exact(out).map_err(Error::io(path, "read"))
                })
            }
        }
    }
}

fn npy_array(path: &Path) -> Result<Array> {
    let (_, array) = npy::read(path)?;
    let (dtype, decoder) = match array.descr.as_str() {
        "f8" => ("f64", decoder(FileDType::F64)),
        "f4" => ("f32", decoder(FileDType::F32)),
        "f2" => ("f16", decoder(FileDType::F16)),
        other => (other, None),
    };
    Ok(Array {
        name: shown(Path::new(path.file_stem().unwrap_or_default())),
        dtype: dtype.to_owned(),
        shape: array.shape,
        decoder,
    })
}

/// How numbers are read.
#[derive(Clone, Copy)]
pub(super) struct Decoder {
    /// Bytes of an element.
    pub size: usize,
    /// Appends the numbers that these bytes, whole elements, hold.
    pub decode: fn(&[u8], &mut Vec<f64>),
}

/// Decoding of a whole chunk, so that the loop knows the element's type.
macro_rules! decoder {
    ($size:literal, $number:ty) => {
        Decoder {
            size: $size,
            decode: |bytes, out| {
                let numbers = bytes.as_chunks::<$size>().0.iter();
                out.extend(numbers.map(|&b| f64::from(<$number>::from_le_bytes(b))));
            },
        }
    };
}

/// How a dtype's numbers are read; `None` for integers, and for floats of a byte or less.
pub(super) fn decoder(dtype: FileDType) -> Option<Decoder> {
    match dtype {
        FileDType::F64 => Some(decoder!(8, f64)),
        dtype => dtype.filled().map(decoder_of),
    }
}

/// How numbers of a dtype that fanin makes are read.
pub(super) fn decoder_of(dtype: DType) -> Decoder {
    match dtype {
        DType::F32 => decoder!(4, f32),
        DType::F16 => decoder!(2, f16),
        DType::BF16 => decoder!(2, bf16),
    }
}
