//! Existing weights: one safetensors file, or the shards of an index, read piece by piece.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::header::{self, Header, HeaderEntry, MAX_HEADER_BYTES};
use super::json::{Json, listed, read_json};
use super::shards::{INDEX, SINGLE};
use crate::error::{Error, Result};
use crate::read::format_error;
use crate::tensor::{DType, TensorList};

/// The limit in bytes for the headers of all shards together. They list the tensors of the index,
/// which has at most [`MAX_HEADER_BYTES`], and have some more bytes for each tensor.
const MAX_HEADERS_BYTES: u64 = 4 * MAX_HEADER_BYTES;

/// The weights of a model on disk: the tensors, with the file and the byte range of each.
///
/// Opening reads the headers only. A [`Reader`] reads the elements.
///
/// ```
/// use fanin::checkpoint::{self, Contents, Reader, Weights};
/// use fanin::{DType, Fill, Init, Tensor};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// let fills = [Fill::new(&Tensor::new("w", [3, 2])?, &Init::ones(), 42)?];
/// let contents = Contents::safetensors(&fills, &[("seed", "42".into())])?;
/// checkpoint::save(&path, &contents, &mut fanin::cpu::fill_range, &mut checkpoint::silent)?;
///
/// let weights = Weights::open(&path)?;
/// assert_eq!(weights.metadata("seed"), Some("42"));
/// let tensor = weights.get("w").expect("it was written");
/// assert_eq!((tensor.shape(), tensor.dtype()), (&[3, 2][..], DType::F32));
/// // The last of its elements.
/// let mut last = [0; 4];
/// Reader::new().read(tensor, 5 * 4, &mut last)?;
/// assert_eq!(f32::from_le_bytes(last), 1.0);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: Vec<StoredTensor>,
    metadata: Vec<(String, String)>,
    /// Indices of the tensors, sorted by name, so that `get` takes O(log n) without a copy of the
    /// names.
    by_name: Vec<usize>,
}

/// A tensor of [`Weights`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    name: String,
    shape: Vec<u64>,
    dtype: DType,
    file: Arc<Path>,
    bytes: Range<u64>,
}

impl StoredTensor {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions, outermost first. Some may be 0, because files can hold empty tensors.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The dtype.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dtype's name in lower case: `f32`, `bf16`, `i64`, `f8_e4m3`, ...
    #[must_use]
    pub fn dtype_name(&self) -> String {
        self.dtype.name().to_owned()
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The file that holds the tensor.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The byte range of the elements, from the start of the file.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }
}

impl Weights {
    /// Opens weights: finds the files, reads their headers and closes them again.
    ///
    /// | path | what is read |
    /// |---|---|
    /// | `*.safetensors` | that file |
    /// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the shards that it names, which lie beside it, without tensors that it does not name |
    /// | a folder | its `model.safetensors`, or else its `model.safetensors.index.json`, as in transformers |
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be read, [`Error::Format`] for a file of another kind
    /// or one that is damaged, [`Error::Duplicate`] for a name that an index lists twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            let mut inside = [SINGLE, INDEX].map(|name| path.join(name)).into_iter();
            return match inside.find(|path| path.exists()) {
                // A folder of that name is not searched in turn.
                Some(path) if !path.is_dir() => Weights::open(path),
                _ => Err(format_error(
                    path,
                    None,
                    format!("is a folder that holds neither {SINGLE} nor {INDEX}"),
                )),
            };
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Weights::of_file(path),
            Some("json") => match read_json(path)? {
                Json::Index(map) => Weights::of_index(path, &map),
                Json::List(_) => Err(format_error(
                    path,
                    None,
                    "is a list of tensors without their weights: use an index with a \
                     \"weight_map\", or a .safetensors file",
                )),
            },
            _ => Err(format_error(
                path,
                None,
                format!(
                    "has an unsupported file type: use a .safetensors file, a {INDEX} or a folder \
                     that holds one"
                ),
            )),
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let header = header::read(path)?;
        let file = Arc::from(path);
        let tensors = header.entries.into_iter();
        let tensors = tensors.map(|entry| stored(entry, &file, header.data_start));
        Weights::new(path, tensors.collect(), header.metadata)
    }

    /// Finds the tensors that an index names in the headers of its shards.
    pub(super) fn of_index(path: &Path, map: &[(String, String)]) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut shards: HashMap<&str, ShardHeader> = HashMap::new();
        let mut metadata: Vec<(String, String)> = Vec::new();
        let mut headers_bytes = 0;
        for (name, file) in map {
            if shards.contains_key(file.as_str()) {
                continue;
            }
            // The index is untrusted input: a path in it must not lead out of its folder.
            let mut components = Path::new(file).components();
            let plain = matches!(components.next(), Some(Component::Normal(_)))
                && components.next().is_none()
                && !file.contains(['/', '\\']);
            if !plain {
                let reason =
                    format!("is listed in shard {file:?}: a shard must lie beside its index");
                return Err(format_error(path, Some(name), reason));
            }
            let shard_path = folder.join(file);
            let header = header::read(&shard_path)?;
            headers_bytes += header.data_start;
            if headers_bytes > MAX_HEADERS_BYTES {
                let reason = format!(
                    "names shards whose headers have more than {MAX_HEADERS_BYTES} bytes \
                     together, the most that is read"
                );
                return Err(format_error(path, None, reason));
            }
            for (key, value) in &header.metadata {
                if metadata.iter().all(|(known, _)| known != key) {
                    metadata.push((key.clone(), value.clone()));
                }
            }
            shards.insert(file, ShardHeader::new(shard_path, header));
        }
        let tensors = map.iter().map(|(name, file)| {
            let shard = shards.get(file.as_str());
            shard.and_then(|shard| shard.get(name)).ok_or_else(|| {
                let reason = format!("is listed in shard {file:?}, which lacks it");
                format_error(path, Some(name), reason)
            })
        });
        Weights::new(path, tensors.collect::<Result<_>>()?, metadata)
    }

    fn new(
        path: &Path,
        tensors: Vec<StoredTensor>,
        metadata: Vec<(String, String)>,
    ) -> Result<Self> {
        let name = |i: &usize| tensors[*i].name.as_str();
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        by_name.sort_by(|a, b| name(a).cmp(name(b)));
        if let Some(pair) = by_name.windows(2).find(|w| name(&w[0]) == name(&w[1])) {
            return Err(Error::Duplicate {
                tensor: name(&pair[0]).to_owned(),
            });
        }
        Ok(Weights {
            path: path.to_owned(),
            tensors,
            metadata,
            by_name,
        })
    }

    /// The file or index that was opened. For a folder, it is the one that was found in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors, in the order of the header or the index.
    #[must_use]
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// Returns the tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        let found = self
            .by_name
            .binary_search_by(|&i| self.tensors[i].name.as_str().cmp(name));
        found.ok().map(|at| &self.tensors[self.by_name[at]])
    }

    /// Returns the text of a key in the files' `__metadata__`. If shards differ, the first one
    /// wins. The text is untrusted input.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut pairs = self.metadata.iter();
        pairs
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    /// The bytes of all tensors together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.tensors
            .iter()
            .map(|t| t.bytes.end - t.bytes.start)
            .sum()
    }

    /// Returns the tensors as a list that a recipe can be resolved against.
    ///
    /// # Errors
    ///
    /// [`Error::Format`], naming the tensor, for a shape with too many elements.
    pub fn tensor_list(&self) -> Result<TensorList> {
        let tensors = self.tensors.iter().map(|tensor| {
            listed(
                &tensor.file,
                tensor.name.clone(),
                tensor.shape.clone(),
                Some(tensor.dtype.name()),
            )
        });
        Ok(TensorList::new(tensors.collect::<Result<_>>()?)?.of_weights())
    }

    /// Returns the indices of the tensors in the order of their bytes, file by file, so that
    /// reading is sequential.
    pub(super) fn front_to_back(&self) -> Vec<usize> {
        let mut files = HashMap::new();
        for tensor in &self.tensors {
            let next = files.len();
            files.entry(tensor.file()).or_insert(next);
        }
        let place = |i: &usize| {
            let tensor = &self.tensors[*i];
            (files[tensor.file()], tensor.bytes.start, tensor.bytes.end)
        };
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        order.sort_by_key(place);
        order
    }
}

/// The header of one shard of an index.
struct ShardHeader {
    path: Arc<Path>,
    data_start: u64,
    by_name: HashMap<String, HeaderEntry>,
}

impl ShardHeader {
    fn new(path: PathBuf, header: Header) -> Self {
        let entries = header.entries.into_iter();
        ShardHeader {
            path: Arc::from(path),
            data_start: header.data_start,
            by_name: entries.map(|entry| (entry.name.clone(), entry)).collect(),
        }
    }

    fn get(&self, name: &str) -> Option<StoredTensor> {
        let entry = self.by_name.get(name)?.clone();
        Some(stored(entry, &self.path, self.data_start))
    }
}

fn stored(entry: HeaderEntry, file: &Arc<Path>, data_start: u64) -> StoredTensor {
    StoredTensor {
        name: entry.name,
        shape: entry.shape,
        dtype: entry.dtype,
        file: Arc::clone(file),
        // No overflow: the header was checked against the file's length.
        bytes: data_start + entry.bytes.start..data_start + entry.bytes.end,
    }
}

/// Reads elements of [`Weights`]. It keeps one file open at a time, because a model may have more
/// shards than a process may have open files.
#[derive(Debug, Default)]
pub struct Reader {
    open: Option<(Arc<Path>, File)>,
}

impl Reader {
    /// Makes a reader without an open file.
    #[must_use]
    pub fn new() -> Self {
        Reader::default()
    }

    /// Fills `out` with the tensor's bytes from `offset` on, counted from its first byte. Elements
    /// are little-endian, in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if `out` reaches past the end of the tensor, [`Error::Io`] if the
    /// file cannot be read, [`Error::Format`] if it has become shorter since its header was read.
    pub fn read(&mut self, tensor: &StoredTensor, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = tensor.bytes.end - tensor.bytes.start;
        let left = bytes.saturating_sub(offset);
        if out.len() as u64 > left {
            let elements = |bytes: u64| bytes.saturating_mul(8) / tensor.dtype.bits();
            return Err(Error::LengthMismatch {
                tensor: tensor.name.clone(),
                expected: elements(left),
                got: elements(out.len() as u64),
            });
        }
        let path = tensor.file();
        let file = match &mut self.open {
            Some((open, file)) if **open == *path => file,
            open => {
                // Close the old file first: only one is open at a time.
                *open = None;
                let file = File::open(path).map_err(Error::io(path, "open"))?;
                &mut open.insert((Arc::clone(&tensor.file), file)).1
            }
        };
        let start = tensor.bytes.start + offset;
        let read = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(out));
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => format_error(
                path,
                Some(&tensor.name),
                format!(
                    "ends before byte {}, but was longer when its header was read",
                    start + out.len() as u64
                ),
            ),
            _ => Error::io(path, "read")(error),
        })
    }
}

/// A range of elements of a tensor, to be read and compared.
pub(super) struct TensorPiece {
    /// The tensor's index.
    pub tensor: usize,
    /// The first element.
    pub start: u64,
    /// The number of elements, at least 1.
    pub elements: u64,
}

/// Cuts tensors into pieces, in the given order. Each tensor is given by its index, its elements
/// and the most elements of a piece. Tensors without elements have no piece.
pub(super) fn pieces(
    tensors: impl Iterator<Item = (usize, u64, u64)>,
) -> impl Iterator<Item = TensorPiece> {
    tensors.flat_map(|(tensor, elements, most)| {
        let mut start = 0;
        std::iter::from_fn(move || {
            let piece = TensorPiece {
                tensor,
                start,
                elements: most.min(elements - start),
            };
            start += piece.elements;
            (piece.elements > 0).then_some(piece)
        })
    })
}

/// The number of buffers: while one piece is used, the next one is read.
const BUFFERS: usize = 2;

/// Runs `read` on a thread of its own, one piece ahead of `take`, which runs on this thread.
/// Buffers are reused.
pub(super) fn read_ahead<B: Default + Send>(
    pieces: impl Iterator<Item = TensorPiece> + Send,
    mut read: impl FnMut(&TensorPiece, &mut B) -> Result<()> + Send,
    mut take: impl FnMut(&TensorPiece, &B) -> Result<()>,
) -> Result<()> {
    let (full, to_take) = mpsc::sync_channel::<(TensorPiece, B)>(1);
    let (empty, to_fill) = mpsc::channel::<B>();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> Result<()> {
            let mut buffers = 0;
            for piece in pieces {
                let mut buffer = if buffers < BUFFERS {
                    buffers += 1;
                    B::default()
                } else {
                    match to_fill.recv() {
                        Ok(buffer) => buffer,
                        // `take` has failed, and its error is returned below.
                        Err(mpsc::RecvError) => return Ok(()),
                    }
                };
                read(&piece, &mut buffer)?;
                if full.send((piece, buffer)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        let taken = to_take.iter().try_for_each(|(piece, buffer)| {
            take(&piece, &buffer)?;
            // An error only means that the reader has read its last piece and has ended.
            let _ = empty.send(buffer);
            Ok(())
        });
        // Ends the reader if `take` failed: it may be waiting for a buffer or for room.
        drop((to_take, empty));
        match reader.join() {
            // If the reader failed, `take` only saw fewer pieces, so the reader's error comes
            // first.
            Ok(read) => taken.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
