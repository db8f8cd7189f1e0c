//! Existing weights: one safetensors file, the shards of an index or the files of all ranks, read
//! piece by piece.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_names::rank_file_name;
use super::header::{self, Header, HeaderEntry};
use super::json::listed;
use super::metadata::Metadata;
use super::part_of::{PartMetadata, PartOf};
use crate::error::{Error, Result};
use crate::job::Regions;
use crate::part::Part;
use crate::tensor::{DType, ListedTensor, TensorList};
use crate::text::{quoted, shown};

/// The weights of a model on disk: the tensors, with the file and the byte range of each.
///
/// Opening reads the headers only. A [`Reader`](super::Reader) reads the elements.
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
    pub(super) slice_alone: Option<String>,
    pub(super) unlisted: Vec<String>,
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
    pub(super) fn of_file(path: &Path) -> Result<Self> {
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

    pub(super) fn new(path: &Path, tensors: Vec<StoredTensor>, metadata: Metadata) -> Result<Self> {
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
        let files = self.rank_paths();
        let files = files.map(|path| Weights::of_file(&path).map(Cow::Owned));
        itself.into_iter().chain(files)
    }

    /// Returns the paths of the files of all ranks, or else of the files of the tensors.
    pub(super) fn paths(&self) -> BTreeSet<PathBuf> {
        // A file of a rank whose elements are in others, too, has no tensor of its own here.
        match self.ranks {
            0 => {
                let files: BTreeSet<&Path> = self.tensors.iter().map(StoredTensor::file).collect();
                files.into_iter().map(Path::to_owned).collect()
            }
            _ => self.rank_paths().collect(),
        }
    }

    fn rank_paths(&self) -> impl Iterator<Item = PathBuf> {
        let ranks = 0..self.ranks;
        ranks.map(|rank| self.path.join(rank_file_name(rank, self.ranks)))
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

pub(super) fn stored(
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
