//! Existing weights: one safetensors file, the shards of an index or the files of all ranks, read
//! piece by piece.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::foreign;
use super::header::{self, Header, HeaderEntry};
use super::json::{Json, listed, read_json};
use super::limits::{MAX_HEADERS_BYTES, MAX_TENSORS};
use super::metadata::Metadata;
use super::part_of::{PartMetadata, PartOf};
use super::pipeline;
use super::ranks;
use super::shards::{INDEX, SINGLE, rank_file_name};
use crate::error::{Error, Result};
use crate::job::Regions;
use crate::part::Part;
use crate::read::{format_error, open_regular};
use crate::tensor::{DType, ListedTensor, TensorList};
use crate::text::{quoted, shown};

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
    metadata: Metadata,
    /// Indices of the tensors, sorted by name, so that `get` takes O(log n) without a copy of the
    /// names.
    by_name: Vec<usize>,
    /// The metadata `slice` of a file that does not give the shapes of the whole tensors.
    slice_alone: Option<String>,
    unlisted: Vec<String>,
    /// The number of ranks whose files hold the tensors together, or 0. Their files are opened one at a
    /// time, because each lists all tensors.
    ranks: u64,
    /// The bytes of all tensors in all files.
    stored_bytes: u64,
}

/// A tensor of [`Weights`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    name: String,
    shape: Vec<u64>,
    dtype: DType,
    place: Place,
    /// The whole tensor that this one is a part of, shared by the tensors of one shape.
    part_of: Option<Arc<PartOf>>,
}

/// The place of a tensor's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All elements, one after the other.
    One(Stretch),
    /// Parts with elements, in which each element is once.
    Parts(Arc<[Held]>),
}

/// A range of bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub file: Arc<Path>,
    pub bytes: Range<u64>,
}

/// A part of a tensor in the file of a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub stretch: Stretch,
    pub regions: Arc<Regions>,
}

impl StoredTensor {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions, outermost first. Some may be 0, because files can hold empty tensors.
    ///
    /// If the file holds a part of a larger tensor, these are the dimensions of the part.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The dimensions of the whole tensor, of which the file may hold a part.
    #[must_use]
    pub fn whole_shape(&self) -> &[u64] {
        match &self.part_of {
            Some(part_of) => part_of.whole.dims(),
            None => &self.shape,
        }
    }

    /// The part of the whole tensor that the file holds, as its metadata gives it, or `None` if it
    /// holds the whole.
    #[must_use]
    pub fn part(&self) -> Option<&Part> {
        self.part_of.as_deref().map(|part_of| &part_of.part)
    }

    /// The part, with the shape of the whole tensor.
    pub(super) fn part_of(&self) -> Option<&Arc<PartOf>> {
        self.part_of.as_ref()
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

    /// The file that holds the tensor. If the files of several ranks hold parts of it, it is the
    /// first of them.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.first().map_or(Path::new(""), |stretch| &stretch.file)
    }

    /// The byte range of the elements, from the start of the file: of those that
    /// [`StoredTensor::file`] holds.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.first().map_or(0..0, |stretch| stretch.bytes.clone())
    }

    /// The number of bytes of all elements together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        match &self.place {
            Place::One(stretch) => stretch.bytes.end - stretch.bytes.start,
            Place::Parts(parts) => {
                let bytes = parts.iter().map(|held| &held.stretch.bytes);
                bytes.map(|bytes| bytes.end - bytes.start).sum()
            }
        }
    }

    /// Returns the whole tensor as one of a list.
    fn listed(&self) -> Result<ListedTensor> {
        let shape = self.whole_shape().to_vec();
        listed(
            self.file(),
            self.name.clone(),
            shape,
            Some(self.dtype.name()),
        )
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The first range of bytes. An empty tensor that is put together has none.
    fn first(&self) -> Option<&Stretch> {
        match &self.place {
            Place::One(stretch) => Some(stretch),
            Place::Parts(parts) => parts.first().map(|held| &held.stretch),
        }
    }

    /// Returns the whole tensor of the same name and dtype, with its elements in another place.
    pub(super) fn whole_at(&self, place: Place) -> StoredTensor {
        StoredTensor {
            name: self.name.clone(),
            shape: self.whole_shape().to_vec(),
            dtype: self.dtype,
            place,
            part_of: None,
        }
    }
}

impl Weights {
    /// Opens weights: finds the files, reads their headers and closes them again.
    ///
    /// | path | what is read |
    /// |---|---|
    /// | `*.safetensors` | that file |
    /// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the shards that it names, which lie beside it, without tensors that it does not name |
    /// | a folder | its `model.safetensors`, or else its `model.safetensors.index.json`, as in transformers, or else its `model-rank-00000-of-0000N.safetensors` and the files of all other ranks, whose parts make up whole tensors |
    ///
    /// A single file may hold parts of tensors, as the files of ranks do. The metadata gives the
    /// parts then: see [`StoredTensor::part`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be read. [`Error::Format`] for a file of another kind
    /// or one that is damaged, for an index whose shards are not there, for metadata of parts that
    /// do not agree with the tensors, and for files of ranks that are not one complete model.
    /// [`Error::Duplicate`] for a name that an index lists twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            ranks::check_alone(path)?;
            let mut inside = [SINGLE, INDEX].map(|name| path.join(name)).into_iter();
            return match inside.find(|path| path.exists()) {
                // A folder of that name is not searched in turn.
                Some(path) if !path.is_dir() => Weights::open(path),
                _ => match ranks::open(path)? {
                    Some(weights) => Ok(weights),
                    None => Err(format_error(
                        path,
                        None,
                        format!(
                            "is a folder that holds neither {SINGLE} nor {INDEX} nor files of \
                             ranks (model-rank-00000-of-0000N.safetensors)"
                        ),
                    )),
                },
            };
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => {
                let weights = Weights::of_file(path)?;
                ranks::check_name(&weights)?;
                Ok(weights)
            }
            Some("json") => match read_json(path)? {
                Json::Index(map) => Weights::of_index(path, &map),
                Json::List(_) => Err(format_error(
                    path,
                    None,
                    "is a list of tensors without their weights: use an index with a \
                     \"weight_map\", or a .safetensors file",
                )),
            },
            _ => {
                foreign::refuse_file(path)?;
                Err(format_error(
                    path,
                    None,
                    format!(
                        "has an unsupported file type: use a .safetensors file, a {INDEX} or a folder \
                     that holds one"
                    ),
                ))
            }
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        Weights::of_header(path, header::read(path)?)
    }

    /// Makes the weights of a file with this header.
    pub(super) fn of_header(path: &Path, header: Header) -> Result<Self> {
        let Header {
            entries,
            metadata,
            data_start,
        } = header;
        let mut parts = PartMetadata::new(path, &metadata, entries.len());
        let slice_alone = parts.slice_alone().map(str::to_owned);
        let file = Arc::from(path);
        let entries = entries.into_iter();
        let tensors = entries.map(|entry| stored(entry, &file, data_start, &mut parts));
        let tensors = tensors.collect::<Result<_>>()?;
        let mut weights = Weights::new(path, tensors, metadata)?;
        weights.slice_alone = slice_alone;
        Ok(weights)
    }

    /// Makes weights of tensors that are put together from the files of this number of ranks, which have
    /// this number of bytes of tensors.
    pub(super) fn of_ranks(
        folder: &Path,
        tensors: Vec<StoredTensor>,
        metadata: Metadata,
        ranks: u64,
        stored_bytes: u64,
    ) -> Result<Self> {
        Ok(Weights {
            ranks,
            stored_bytes,
            ..Weights::new(folder, tensors, metadata)?
        })
    }

    /// Finds the tensors that an index names in the headers of its shards.
    pub(super) fn of_index(path: &Path, map: &[(String, String)]) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut files: Vec<&str> = Vec::new();
        let mut known: HashSet<&str> = HashSet::new();
        for (name, file) in map {
            if !known.insert(file) {
                continue;
            }
            // The index is untrusted input: a path in it must not lead out of its folder.
            let mut components = Path::new(file).components();
            let plain = matches!(components.next(), Some(Component::Normal(_)))
                && components.next().is_none()
                && !file.contains(['/', '\\']);
            if !plain {
                let reason = format!(
                    "is listed in shard {}: a shard must lie beside its index",
                    quoted(file)
                );
                return Err(format_error(path, Some(name), reason));
            }
            files.push(file);
        }
        shards_are_there(path, folder, &files)?;
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(map.len());
        for (place, (name, _)) in map.iter().enumerate() {
            if places.insert(name, place).is_some() {
                return Err(Error::Duplicate {
                    tensor: name.clone(),
                });
            }
        }
        let mut found: Vec<Option<StoredTensor>> = vec![None; map.len()];
        let mut unlisted = Vec::new();
        let mut metadata = Metadata::default();
        let (mut headers_bytes, mut tensors) = (0, 0);
        let mut slice_alone = None;
        for file in files {
            let shard_path = folder.join(file);
            let header = header::read(&shard_path)?;
            headers_bytes += header.data_start;
            tensors += header.entries.len();
            let refused = |reason: String| Err(format_error(path, None, reason));
            if headers_bytes > MAX_HEADERS_BYTES {
                return refused(format!(
                    "names shards whose headers have more than {MAX_HEADERS_BYTES} bytes \
                     together, the most that is read"
                ));
            }
            if tensors > MAX_TENSORS {
                return refused(format!(
                    "names shards with more than {MAX_TENSORS} tensors together, the most that are \
                     read"
                ));
            }
            let mut parts = PartMetadata::new(&shard_path, &header.metadata, header.entries.len());
            let alone = parts.slice_alone();
            slice_alone = slice_alone.or(alone.map(str::to_owned));
            let stored_in: Arc<Path> = Arc::from(shard_path.as_path());
            for entry in header.entries {
                match places.get(entry.name.as_str()) {
                    Some(&place) if map[place].1 == file => {
                        let tensor = stored(entry, &stored_in, header.data_start, &mut parts)?;
                        found[place] = Some(tensor);
                    }
                    // The index lists the tensor of another shard.
                    Some(_) => {}
                    None => unlisted.push(entry.name),
                }
            }
            let added = metadata.extend(&header.metadata);
            added.map_err(|reason| format_error(path, None, format!("its shards: {reason}")))?;
        }
        let tensors = found.into_iter().zip(map).map(|(found, (name, file))| {
            found.ok_or_else(|| {
                let reason = format!("is listed in shard {}, which lacks it", quoted(file));
                format_error(path, Some(name), reason)
            })
        });
        let mut weights = Weights::new(path, tensors.collect::<Result<_>>()?, metadata)?;
        weights.slice_alone = slice_alone;
        weights.unlisted = unlisted;
        Ok(weights)
    }

    fn new(path: &Path, tensors: Vec<StoredTensor>, metadata: Metadata) -> Result<Self> {
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
            stored_bytes: tensors.iter().map(StoredTensor::total_bytes).sum(),
            tensors,
            metadata,
            by_name,
            slice_alone: None,
            unlisted: Vec::new(),
            ranks: 0,
        })
    }

    /// The file or index that was opened. For a folder, it is the one that was found in it, or the
    /// folder itself if it holds the files of ranks.
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
        self.metadata.get(key)
    }

    /// The pairs of the metadata, in the order of the files.
    pub(super) fn all_metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the metadata `slice` of files that hold this slice of each tensor, but do not give
    /// the shapes of the whole tensors. [`Weights::tensor_list`] has the shapes of the slices then.
    #[must_use]
    pub fn slice_of_unknown(&self) -> Option<&str> {
        self.slice_alone.as_deref()
    }

    /// Returns a warning if the shards of an index hold tensors that it does not list. They are not
    /// read, as in transformers, but a list without them may be a mistake.
    #[must_use]
    pub fn unlisted_message(&self) -> Option<String> {
        let first = self.unlisted.first()?;
        let tensors = match self.unlisted.len() {
            1 => "1 tensor".to_owned(),
            count => format!("{count} tensors"),
        };
        Some(format!(
            "{}: its shards hold {tensors} that it does not list, such as {}: not read",
            shown(&self.path),
            quoted(first),
        ))
    }

    /// The names of the tensors that are in the shards, but that the index does not list, in the
    /// order of the shards. They are not read, as in transformers.
    #[must_use]
    pub fn unlisted(&self) -> &[String] {
        &self.unlisted
    }

    /// The bytes of all tensors together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.tensors.iter().map(StoredTensor::total_bytes).sum()
    }

    /// The bytes of all tensors in all files. It is more than [`Weights::total_bytes`] if files of
    /// several ranks hold the same elements.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Opens the files of all ranks, one after the other, or else returns the weights themselves.
    pub(super) fn files(&self) -> impl Iterator<Item = Result<Cow<'_, Weights>>> {
        let itself = (self.ranks == 0).then_some(Ok(Cow::Borrowed(self)));
        let files = (0..self.ranks).map(|rank| {
            let path = self.path.join(rank_file_name(rank, self.ranks));
            Weights::of_file(&path).map(Cow::Owned)
        });
        itself.into_iter().chain(files)
    }

    /// Returns the tensors as a list that a recipe can be resolved against, with the shapes of the
    /// whole tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Format`], naming the tensor, for a shape with too many elements.
    pub fn tensor_list(&self) -> Result<TensorList> {
        let tensors = self.tensors.iter().map(StoredTensor::listed);
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
            let bytes = tensor.bytes();
            (files[tensor.file()], bytes.start, bytes.end)
        };
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        order.sort_by_key(place);
        order
    }
}

/// Checks that all shards of an index are files.
///
/// # Errors
///
/// [`Error::Format`] for the index, with the number of shards and the first one that is missing:
/// often only the index was downloaded.
fn shards_are_there(path: &Path, folder: &Path, files: &[&str]) -> Result<()> {
    let is_there = |file: &str| match folder.join(file).metadata() {
        Err(error) => error.kind() != ErrorKind::NotFound,
        // Reading reports every other fault.
        Ok(_) => true,
    };
    let missing: Vec<&str> = files.iter().copied().filter(|it| !is_there(it)).collect();
    let [first, ..] = missing.as_slice() else {
        return Ok(());
    };
    let found = match files.len() - missing.len() {
        0 => "was found without its shards".to_owned(),
        found => format!("was found with {found} of its {} shards", files.len()),
    };
    let shards = match files.len() {
        1 => "1 shard".to_owned(),
        all => format!("{all} shards"),
    };
    Err(format_error(
        path,
        None,
        format!(
            "{found}: it names {shards}, and {} is not beside it; download the shards into the same \
             folder, or give a list of tensors with their shapes, {{\"tensors\": [{{\"name\": ..., \
             \"shape\": [...]}}]}}",
            quoted(first)
        ),
    ))
}

fn stored(
    entry: HeaderEntry,
    file: &Arc<Path>,
    data_start: u64,
    metadata: &mut PartMetadata<'_>,
) -> Result<StoredTensor> {
    Ok(StoredTensor {
        part_of: metadata.part_of(&entry)?,
        name: entry.name,
        shape: entry.shape,
        dtype: entry.dtype,
        place: Place::One(Stretch {
            file: Arc::clone(file),
            // No overflow: the header was checked against the file's length.
            bytes: data_start + entry.bytes.start..data_start + entry.bytes.end,
        }),
    })
}

/// Reads elements of [`Weights`]. It keeps one file open at a time, because a model may have more
/// shards than a process may have open files.
#[derive(Debug, Default)]
pub struct Reader {
    open: Option<(Arc<Path>, File)>,
    /// Elements on their way to their places in the whole tensor.
    buffer: Vec<u8>,
}

/// The most bytes of a whole tensor that are read at a time, if a part of it is wanted whose runs
/// are shorter.
const WINDOW_BYTES: u64 = 1 << 20;

/// The longest gap between two runs that is read along with them: reading that much takes about as
/// long as another call of the system.
const GAP_BYTES: u64 = 16 << 10;

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
        let left = tensor.total_bytes().saturating_sub(offset);
        if out.len() as u64 > left {
            let elements = |bytes: u64| bytes.saturating_mul(8) / tensor.dtype.bits();
            return Err(Error::LengthMismatch {
                tensor: tensor.name.clone(),
                expected: elements(left),
                got: elements(out.len() as u64),
            });
        }
        match &tensor.place {
            Place::One(stretch) => self.read_bytes(tensor, stretch, offset, out),
            Place::Parts(parts) => self.gather(tensor, parts, offset, out),
        }
    }

    /// Reads a range of bytes that lies within a stretch of a file.
    fn read_bytes(
        &mut self,
        tensor: &StoredTensor,
        stretch: &Stretch,
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let path = &*stretch.file;
        let file = match &mut self.open {
            Some((open, file)) if **open == *path => file,
            open => {
                // Close the old file first: only one is open at a time.
                *open = None;
                let file = open_regular(path)?;
                &mut open.insert((Arc::clone(&stretch.file), file)).1
            }
        };
        let start = stretch.bytes.start + offset;
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

    /// Reads a range of bytes of a tensor whose parts are in several files.
    ///
    /// The elements that a part has in a range of the whole tensor are one after the other in its
    /// file. So each file is read once, and its runs are copied to their places.
    fn gather(
        &mut self,
        tensor: &StoredTensor,
        parts: &[Held],
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let size = tensor.dtype.bits() / 8;
        let end = offset + out.len() as u64;
        if !offset.is_multiple_of(size) || !end.is_multiple_of(size) {
            // Whole elements around the range.
            let first = offset / size * size;
            let mut whole = vec![0; (end.next_multiple_of(size) - first) as usize];
            self.gather(tensor, parts, first, &mut whole)?;
            let from = (offset - first) as usize;
            out.copy_from_slice(&whole[from..from + out.len()]);
            return Ok(());
        }
        let (first, end) = (offset / size, end / size);
        // Taken, because reading borrows the reader.
        let mut buffer = std::mem::take(&mut self.buffer);
        for held in parts {
            let wanted = held.regions.before(first)..held.regions.before(end);
            if wanted.is_empty() {
                continue;
            }
            buffer.resize(((wanted.end - wanted.start) * size) as usize, 0);
            self.read_bytes(tensor, &held.stretch, wanted.start * size, &mut buffer)?;
            let mut rest = buffer.as_slice();
            for (start, length) in held.regions.runs(wanted) {
                let (run, after) = rest.split_at((length * size) as usize);
                let at = ((start - first) * size) as usize;
                out[at..at + run.len()].copy_from_slice(run);
                rest = after;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Fills `out` with elements of a part of a whole tensor, from the element `start` of the part
    /// on. `out` has room for whole elements, all of which are in the part.
    pub(super) fn read_part(
        &mut self,
        tensor: &StoredTensor,
        regions: &Regions,
        start: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let size = tensor.dtype.bits() / 8;
        let elements = out.len() as u64 / size;
        let mut runs = regions.runs(start..start + elements).peekable();
        let mut window = Vec::new();
        let mut rest = out;
        while let Some((first, length)) = runs.next() {
            let mut end = first + length;
            // The runs of a part that cuts the last dimension are short, and many.
            let mut together = vec![(first, length)];
            while let Some(&(start, length)) = runs.peek() {
                let is_near = (start - end) * size <= GAP_BYTES;
                if !is_near || (start + length - first) * size > WINDOW_BYTES {
                    break;
                }
                together.push((start, length));
                end = start + length;
                runs.next();
            }
            if let [(_, length)] = together[..] {
                let (run, after) = rest.split_at_mut((length * size) as usize);
                self.read(tensor, first * size, run)?;
                rest = after;
                continue;
            }
            window.resize(((end - first) * size) as usize, 0);
            self.read(tensor, first * size, &mut window)?;
            for (start, length) in together {
                let (run, after) = rest.split_at_mut((length * size) as usize);
                let at = ((start - first) * size) as usize;
                run.copy_from_slice(&window[at..at + run.len()]);
                rest = after;
            }
        }
        Ok(())
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

/// Runs `read` on a thread of its own, one piece ahead of `take`, which runs on this thread.
/// Buffers are reused.
pub(super) fn read_pieces_ahead<B: Default + Send>(
    mut pieces: impl Iterator<Item = TensorPiece> + Send,
    mut read: impl FnMut(&TensorPiece, &mut B) -> Result<()> + Send,
    mut take: impl FnMut(&TensorPiece, &B) -> Result<()>,
) -> Result<()> {
    pipeline::read_ahead(
        |(piece, buffer): &mut (Option<TensorPiece>, B)| {
            *piece = pieces.next();
            match piece {
                Some(piece) => read(piece, buffer).map(|()| true),
                None => Ok(false),
            }
        },
        |(piece, buffer)| piece.iter().try_for_each(|piece| take(piece, buffer)),
    )
}
