//! The numbers of a file's tensors, read piece by piece from every kind of file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};

use super::foreign;
use super::npy;
use super::part_of::PartOf;
use super::reader::Reader;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::read::format_error;
use crate::tensor::{DType, E4M3, E5M2, Float8};
use crate::text::shown;

/// A .npy file, or the weights that [`Weights::open`] finds.
pub(super) struct Numbers {
    path: PathBuf,
    arrays: Vec<FileArray>,
    /// `None` for a .npy file.
    weights: Option<Weights>,
    reader: Reader,
}

/// A tensor of [`Numbers`].
pub(super) struct FileArray {
    /// The tensor's name. For a .npy file it is the file's name without its ending.
    pub name: String,
    pub shape: Vec<u64>,
    /// True if the elements are stored column by column.
    pub is_column_major: bool,
    /// The whole tensor, if the file holds a part of it.
    pub part_of: Option<Arc<PartOf>>,
    /// The dtype in the file, in lower case.
    pub dtype: String,
    /// The dtype in which fanin would fill it, if it is one of floats.
    pub made_as: Option<DType>,
    /// The decoder of its numbers, or `None` for whole numbers and for floats that fanin does not
    /// fill.
    pub decoder: Option<Decoder>,
}

impl FileArray {
    /// The shape of the whole tensor, of which the file may hold a part.
    pub fn whole_shape(&self) -> &[u64] {
        match &self.part_of {
            Some(part_of) => part_of.whole.dims(),
            None => &self.shape,
        }
    }
}

/// The bytes that are read at a time. It is a multiple of every element's size and of the chunks of
/// the statistics, so that results do not depend on it.
const READ_BYTES: usize = 8 << 20;

impl Numbers {
    /// Reads the headers.
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
                foreign::refuse_file(path)?;
                return Err(format_error(
                    path,
                    None,
                    "has an unsupported file type: use .safetensors or .npy, a \
                     model.safetensors.index.json, or a folder that holds one",
                ));
            }
        };
        let arrays = weights.tensors().iter().map(|tensor| FileArray {
            name: tensor.name().to_owned(),
            shape: tensor.shape().to_vec(),
            is_column_major: false,
            part_of: tensor.part_of().cloned(),
            dtype: tensor.dtype_name(),
            made_as: Some(tensor.dtype()).filter(|dtype| dtype.is_drawn()),
            decoder: decoder(tensor.dtype()),
        });
        Ok(Numbers {
            path: path.to_owned(),
            arrays: arrays.collect(),
            weights: Some(weights),
            reader: Reader::new(),
        })
    }

    /// The tensors, in the file's order.
    pub fn arrays(&self) -> &[FileArray] {
        &self.arrays
    }

    /// Returns the slice of each tensor that the file holds, if it does not give the shapes of the
    /// whole tensors.
    pub fn slice_of_unknown(&self) -> Option<&str> {
        self.weights.as_ref()?.slice_of_unknown()
    }

    /// Returns the indices of the tensors in the order of their bytes, so that reading is
    /// sequential.
    pub fn front_to_back(&self) -> Vec<usize> {
        match &self.weights {
            Some(weights) => weights.front_to_back(),
            None => vec![0],
        }
    }

    /// Returns the bytes of a tensor's elements, or 0 for an array of a .npy file that has no decoder.
    pub fn bytes(&self, i: usize) -> u64 {
        match &self.weights {
            Some(weights) => weights.tensors()[i].total_bytes(),
            None => {
                let array = &self.arrays[i];
                let size = array.decoder.map_or(0, |decoder| decoder.size as u64);
                // No overflow: `npy::read` has compared this product with the length of the file.
                size * array.shape.iter().product::<u64>()
            }
        }
    }

    /// Calls `take` with the bytes of a tensor's elements, from the first to the last, whole
    /// elements at a time. An error of `take` ends it.
    pub fn read(&mut self, i: usize, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.bytes(i);
        let (path, reader) = (&self.path, &mut self.reader);
        let mut buffer = Vec::new();
        let mut all = |get: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>| {
            let mut offset = 0;
            while offset < bytes {
                buffer.resize((bytes - offset).min(READ_BYTES as u64) as usize, 0);
                get(offset, &mut buffer)?;
                offset += buffer.len() as u64;
                take(&buffer)?;
            }
            Ok(())
        };
        match &self.weights {
            Some(weights) => {
                let tensor = &weights.tensors()[i];
                all(&mut |offset, out| reader.read(tensor, offset, out))
            }
            None => {
                // Opened for each call, because every read of the array begins at its first element.
                let (mut file, _) = npy::read(path)?;
                // The file is at its first element, and is read in order: no seeking is needed.
                all(&mut |_, out| file.read_exact(out).map_err(Error::io(path, "read")))
            }
        }
    }
}

fn npy_array(path: &Path) -> Result<FileArray> {
    let (_, array) = npy::read(path)?;
    let dtype = array.dtype;
    Ok(FileArray {
        name: shown(Path::new(path.file_stem().unwrap_or_default())),
        dtype: dtype.name().to_owned(),
        made_as: Some(dtype).filter(|dtype| dtype.is_drawn()),
        shape: array.shape,
        is_column_major: array.is_column_major,
        part_of: None,
        decoder: decoder(dtype),
    })
}

/// Decodes the numbers of one dtype.
#[derive(Clone, Copy)]
pub(super) struct Decoder {
    /// The bytes of an element.
    pub size: usize,
    /// Appends the numbers in these bytes, which are whole elements.
    pub decode: fn(&[u8], &mut Vec<f64>),
}

/// Makes a decoder of whole chunks. One call for each element would be slower: here the loop knows
/// the element's type.
macro_rules! decoder {
    ($size:literal, $number:ty) => {
        Decoder {
            size: $size,
            decode: |bytes, out| {
                // Conversions do not round: binary64 holds all numbers of these formats.
                let numbers = bytes.as_chunks::<$size>().0.iter();
                out.extend(numbers.map(|&b| f64::from(<$number>::from_le_bytes(b))));
            },
        }
    };
}

/// Returns the decoder of a dtype of floats that fanin fills, or `None` for whole numbers and other
/// floats.
pub(super) fn decoder(dtype: DType) -> Option<Decoder> {
    Some(match dtype {
        DType::F64 => decoder!(8, f64),
        DType::F32 => decoder!(4, f32),
        DType::F16 => decoder!(2, f16),
        DType::BF16 => decoder!(2, bf16),
        DType::F8E4M3 => Decoder {
            size: 1,
            decode: |bytes, out| decode_float8(E4M3, bytes, out),
        },
        DType::F8E5M2 => Decoder {
            size: 1,
            decode: |bytes, out| decode_float8(E5M2, bytes, out),
        },
        _ => return None,
    })
}

fn decode_float8(format: Float8, bytes: &[u8], out: &mut Vec<f64>) {
    out.extend(bytes.iter().map(|&byte| f64::from(format.to_f32(byte))));
}
