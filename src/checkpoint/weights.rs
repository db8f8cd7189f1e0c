//! Weights that are there: one safetensors file, or the shards of an index, read piece by piece.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::file_dtype::FileDType;
use super::header::{self, Entry, Header, MAX_HEADER_BYTES};
use super::shards::{INDEX, SINGLE};
use super::source::{Json, fault, listed, read_json};
use crate::error::{Error, Result};
use crate::tensor::{DType, TensorList};

/// The most bytes that the headers of all shards may have together. They list what the index
/// lists, which is read up to [`MAX_HEADER_BYTES`], and some more for each tensor.
const MAX_HEADERS_BYTES: u64 = 4 * MAX_HEADER_BYTES;

/// The weights of a model, where they stand: what tensors there are, in which file, and where in
/// it.
///
/// Opening reads headers and nothing else; a [`Reader`] gets the elements.
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
/// assert_eq!((tensor.shape(), tensor.dtype()), (&[3, 2][..], Some(DType::F32)));
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
    /// Indices of the tensors, sorted by their names.
    by_name: Vec<usize>,
}

/// A tensor of [`Weights`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    name: String,
    shape: Vec<u64>,
    kind: FileDType,
    file: Arc<Path>,
    bytes: Range<u64>,
}

impl StoredTensor {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions, outermost first. Some may be 0: files can hold empty tensors.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The dtype, if it is one that fanin fills.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        self.kind.filled()
    }

    /// The dtype's name in lower case: `f32`, `bf16`, `i64`, `f8_e4m3`, ...
    #[must_use]
    pub fn dtype_name(&self) -> String {
        self.kind.name().to_lowercase()
    }

    /// The dtype, as safetensors has it.
    pub(super) fn kind(&self) -> FileDType {
        self.kind
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The file that it is in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where in the file its elements lie, in bytes from the file's start.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }
}

impl Weights {
    /// Finds the weights and reads their headers; each file is closed again.
    ///
    /// | path | what is read |
    /// |---|---|
    /// | `*.safetensors` | that file |
    /// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the shards that it names, which lie beside it; tensors that it does not name are left out |
    /// | a folder | `model.safetensors` in it, else `model.safetensors.index.json`, as transformers has it |
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be read, [`Error::Format`] for one that is none of
    /// these or not sound, [`Error::Duplicate`] for a name that an index has twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            let mut inside = [SINGLE, INDEX].map(|name| path.join(name)).into_iter();
            return match inside.find(|path| path.exists()) {
                // A folder by that name is refused when it is read.
                Some(path) if !path.is_dir() => Weights::open(path),
                _ => Err(fault(
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
                Json::List(_) => Err(fault(
                    path,
                    None,
                    "is a list of tensors, without their weights: use an index with a \
                     \"weight_map\", or a .safetensors file",
                )),
            },
            _ => Err(fault(
                path,
                None,
                format!(
                    "is of no kind that is read: use a .safetensors file, a {INDEX} or a folder that holds one"
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

    /// The tensors that an index names, each as its shard's header has it.
    pub(super) fn of_index(path: &Path, map: &[(String, String)]) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut shards: HashMap<&str, Shard> = HashMap::new();
        let mut metadata: Vec<(String, String)> = Vec::new();
        let mut headers_bytes = 0;
        for (name, file) in map {
            if shards.contains_key(file.as_str()) {
                continue;
            }
            // An index is data: it may name files beside it, and no others.
            let mut components = Path::new(file).components();
            let plain = matches!(components.next(), Some(Component::Normal(_)))
                && components.next().is_none()
                && !file.contains(['/', '\\']);
            if !plain {
                let reason =
                    format!("is said to be in {file:?}: a shard must lie beside its index");
                return Err(fault(path, Some(name), reason));
            }
            let shard_path = folder.join(file);
            let header = header::read(&shard_path)?;
            headers_bytes += header.data_start;
            if headers_bytes > MAX_HEADERS_BYTES {
                let reason = format!(
                    "names shards whose headers have more than {MAX_HEADERS_BYTES} bytes \
                     together, the most that is read"
                );
                return Err(fault(path, None, reason));
            }
            for (key, value) in &header.metadata {
                if metadata.iter().all(|(known, _)| known != key) {
                    metadata.push((key.clone(), value.clone()));
                }
            }
            shards.insert(file, Shard::new(shard_path, header));
        }
        let tensors = map.iter().map(|(name, file)| {
            let shard = shards.get(file.as_str());
            shard.and_then(|shard| shard.get(name)).ok_or_else(|| {
                let reason = format!("is said to be in {file:?}, which lacks it");
                fault(path, Some(name), reason)
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
        if let Some(twins) = by_name.windows(2).find(|w| name(&w[0]) == name(&w[1])) {
            return Err(Error::Duplicate {
                tensor: name(&twins[0]).to_owned(),
            });
        }
        Ok(Weights {
            path: path.to_owned(),
            tensors,
            metadata,
            by_name,
        })
    }

    /// The file or index that was opened; within a folder, the one that was found there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors, in the order of the header or the index.
    #[must_use]
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        let found = self
            .by_name
            .binary_search_by(|&i| self.tensors[i].name.as_str().cmp(name));
        found.ok().map(|at| &self.tensors[self.by_name[at]])
    }

    /// What the files say of themselves under this key, in `__metadata__`; where shards say
    /// different things, the first of them. Anyone can have written it.
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

    /// The tensors as a list that a recipe resolves against.
    ///
    /// # Errors
    ///
    /// [`Error::Format`], naming the tensor, for a dtype other than f32, f16 and bf16, and for
    /// a shape with a 0.
    pub fn tensor_list(&self) -> Result<TensorList> {
        let tensors = self.tensors.iter().map(|tensor| {
            listed(
                &tensor.file,
                tensor.name.clone(),
                tensor.shape.clone(),
                Some(tensor.kind.name()),
            )
        });
        TensorList::new(tensors.collect::<Result<_>>()?)
    }

    /// Indices of the tensors in the order of their bytes, a file after the other: to read it
    /// all from front to back.
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

/// The header of one shard.
struct Shard {
    path: Arc<Path>,
    data_start: u64,
    by_name: HashMap<String, Entry>,
}

impl Shard {
    fn new(path: PathBuf, header: Header) -> Self {
        let entries = header.entries.into_iter();
        Shard {
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

fn stored(entry: Entry, file: &Arc<Path>, data_start: u64) -> StoredTensor {
    StoredTensor {
        name: entry.name,
        shape: entry.shape,
        kind: entry.dtype,
        file: Arc::clone(file),
        // The header was checked against the file's length: this is no more than that.
        bytes: data_start + entry.bytes.start..data_start + entry.bytes.end,
    }
}

/// Reads elements of [`Weights`]. It keeps one file open at a time, however many shards there
/// are.
#[derive(Debug, Default)]
pub struct Reader {
    open: Option<(Arc<Path>, File)>,
}

impl Reader {
    /// A reader without a file.
    #[must_use]
    pub fn new() -> Self {
        Reader::default()
    }

    /// Fills `out` with the tensor's bytes from `offset` on, counted from its first; elements
    /// are little-endian, in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if `out` reaches past the end of the tensor, [`Error::Io`]
    /// where the file cannot be read, [`Error::Format`] where it has become shorter since its
    /// header was read.
    pub fn read(&mut self, tensor: &StoredTensor, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = tensor.bytes.end - tensor.bytes.start;
        let left = bytes.saturating_sub(offset);
        if out.len() as u64 > left {
            let elements = |bytes: u64| bytes.saturating_mul(8) / tensor.kind.bits();
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
                // The old file is closed before the next is opened.
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
            ErrorKind::UnexpectedEof => fault(
                path,
                Some(&tensor.name),
                format!(
                    "ends before byte {}, which was there when its header was read",
                    start + out.len() as u64
                ),
            ),
            _ => Error::io(path, "read")(error),
        })
    }
}

/// Some elements of a tensor, to be read and compared.
pub(super) struct Piece {
    /// The tensor's index.
    pub tensor: usize,
    /// The first element.
    pub start: u64,
    /// The number of elements, at least 1.
    pub elements: u64,
}

/// Cuts tensors into pieces of at most so many elements: pairs of a tensor's index and its
/// elements, in the given order. Tensors without elements have no piece.
pub(super) fn pieces(
    tensors: impl Iterator<Item = (usize, u64, u64)>,
) -> impl Iterator<Item = Piece> {
    tensors.flat_map(|(tensor, elements, most)| {
        let mut start = 0;
        std::iter::from_fn(move || {
            let piece = Piece {
                tensor,
                start,
                elements: most.min(elements - start),
            };
            start += piece.elements;
            (piece.elements > 0).then_some(piece)
        })
    })
}

/// Buffers of pieces: while one is used, the next is read.
const BUFFERS: usize = 2;

/// Has a thread `read` the pieces one ahead of `take`, which runs on this thread. Buffers come
/// back for reuse.
pub(super) fn read_ahead<B: Default + Send>(
    pieces: impl Iterator<Item = Piece> + Send,
    mut read: impl FnMut(&Piece, &mut B) -> Result<()> + Send,
    mut take: impl FnMut(&Piece, &B) -> Result<()>,
) -> Result<()> {
    let (full, to_take) = mpsc::sync_channel::<(Piece, B)>(1);
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
                        // The other side has failed, and will say why.
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
            // The other side is gone once it has read its last piece.
            let _ = empty.send(buffer);
            Ok(())
        });
        // Tells the reader that no more is wanted.
        drop((to_take, empty));
        match reader.join() {
            // Where the reader failed, this side only knows that there is no more.
            Ok(read) => taken.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
