//! Kept tensors: their elements are copied from a file, bit for bit.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reader::Reader;
use super::weights::{StoredTensor, Weights};
use super::write::Make;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::Regions;
use crate::read::format_error;
use crate::recipe::{Assigned, Plan};
use crate::text::dims_text;

/// The files from which tensors are kept: one for a whole model, and others for single tensors.
///
/// ```
/// use fanin::checkpoint::{self, Contents, Sources, Weights, WithSources, silent};
/// use fanin::init::Distribution;
/// use fanin::{DType, Fill, Init, Tensor, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let (old, new) = (folder.path().join("old.safetensors"), folder.path().join("new.safetensors"));
/// let steps = Tensor::new("bn.num_batches_tracked", [])?;
/// let old_fills = [Fill::new(&steps, &Init::constant(12.0), 0)?.with_dtype(DType::I64)];
/// let contents = Contents::safetensors(&old_fills, &[])?;
/// checkpoint::save(&old, &contents, &mut cpu::fill_range, &mut silent)?;
///
/// let sources = Sources::of(Weights::open(&old)?);
/// let mut fills = [
///     Fill::new(&Tensor::new("fc.weight", [4, 3])?, &Init::kaiming_normal(), 42)?,
///     Fill::from_distribution(&steps, Distribution::kept(), 42).with_dtype(DType::I64),
/// ];
/// sources.apply(&mut fills)?;
/// let contents = Contents::safetensors(&fills, &[])?;
/// let mut make = cpu::fill_range;
/// checkpoint::save(&new, &contents, &mut WithSources::new(&mut make, &sources), &mut silent)?;
/// # let file = Weights::open(&new)?;
/// # let mut bytes = [0; 8];
/// # checkpoint::Reader::new().read(file.get("bn.num_batches_tracked").unwrap(), 0, &mut bytes)?;
/// # assert_eq!(i64::from_le_bytes(bytes), 12);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sources {
    model: Option<Arc<Weights>>,
    /// The files of single tensors, by the tensor's name.
    tensors: HashMap<String, Arc<Weights>>,
}

impl Sources {
    /// Makes sources without any file.
    #[must_use]
    pub fn new() -> Self {
        Sources::default()
    }

    /// Makes sources that keep every tensor from these weights.
    #[must_use]
    pub fn of(weights: Weights) -> Self {
        Sources {
            model: Some(Arc::new(weights)),
            tensors: HashMap::new(),
        }
    }

    /// Sets the weights from which the tensor of this name is kept, whatever the others are kept
    /// from.
    #[must_use]
    pub fn with_tensor(mut self, name: impl Into<String>, weights: Arc<Weights>) -> Self {
        self.tensors.insert(name.into(), weights);
        self
    }

    /// Finds the files of a plan: those that its rules name, and the one that the list of tensors was
    /// read from, at `list`. Only files from which a tensor is kept are opened. Without `list`, the
    /// tensors that are kept from there have no file.
    ///
    /// # Errors
    ///
    /// The errors of [`Weights::open`].
    pub fn of_plan(plan: &Plan, list: Option<&Path>) -> Result<Self> {
        let mut sources = Sources::new();
        let mut opened: HashMap<&Path, Arc<Weights>> = HashMap::new();
        for entry in &plan.entries {
            match (&entry.init, list) {
                (Assigned::Kept { from: None }, Some(list)) if sources.model.is_none() => {
                    sources.model = Some(Arc::new(Weights::open(list)?));
                }
                (Assigned::Kept { from: Some(path) }, _) => {
                    let weights = match opened.get(path.as_path()) {
                        Some(weights) => Arc::clone(weights),
                        None => {
                            let weights = Arc::new(Weights::open(path)?);
                            opened.insert(path, Arc::clone(&weights));
                            weights
                        }
                    };
                    sources = sources.with_tensor(entry.fill.name(), weights);
                }
                _ => {}
            }
        }
        Ok(sources)
    }

    /// Returns the files that hold these tensors. An output must be none of them: it would be
    /// written while it is read.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let all = self.tensors.values().chain(&self.model);
        let files: BTreeSet<PathBuf> = all.flat_map(|weights| weights.paths()).collect();
        files.into_iter()
    }

    /// Gives kept tensors the dtypes that they have in their files, and checks that each one is in
    /// its file with its shape. No element is read. A writer finds the same errors, but only when
    /// it comes to the tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Kept`] for a kept tensor without a file. [`Error::Format`], naming file and tensor,
    /// if the file lacks it or has another shape. [`Error::DType`] for a part of a tensor of 4 or 6
    /// bits that does not begin and end at whole bytes.
    pub fn apply<'a>(&self, fills: impl IntoIterator<Item = &'a mut Fill>) -> Result<()> {
        for fill in fills.into_iter().filter(|fill| fill.is_kept()) {
            let dtype = self.found(fill)?.dtype();
            *fill = fill.clone().with_dtype(dtype);
            // Only these parts can begin within a byte, and whole tensors never do.
            if fill.dtype().bits() < 8 && !fill.is_whole() {
                let regions = Regions::new(fill.shape(), fill.local());
                for (element, length) in regions.runs(0..fill.elements()) {
                    byte_range(fill, element, length)?;
                }
            }
        }
        Ok(())
    }

    /// Returns true if the tensor of a fill is kept and has a file, whatever it holds.
    #[must_use]
    pub fn has(&self, fill: &Fill) -> bool {
        fill.is_kept() && self.weights(fill).is_some()
    }

    /// Returns the weights from which the tensor of a fill is kept.
    fn weights(&self, fill: &Fill) -> Option<&Weights> {
        let own = self.tensors.get(fill.name());
        own.or(self.model.as_ref()).map(Arc::as_ref)
    }

    /// Returns the stored tensor of a fill, in whatever dtype.
    fn found(&self, fill: &Fill) -> Result<&StoredTensor> {
        let weights = self.weights(fill).ok_or_else(|| Error::Kept {
            tensor: fill.name().to_owned(),
        })?;
        let refused = |reason: String| format_error(weights.path(), Some(fill.name()), reason);
        let stored = weights.get(fill.name()).ok_or_else(|| {
            refused(
                "is to be kept from this file, which lacks it: name another file, give it an init, \
                 or skip it"
                    .to_owned(),
            )
        })?;
        if stored.shape() != fill.shape().dims() {
            return Err(refused(format!(
                "has shape {}, but is to be kept with shape {}: name another file, give it an init, or \
                 skip it",
                dims_text(stored.shape()),
                dims_text(fill.shape().dims())
            )));
        }
        Ok(stored)
    }

    /// Returns the stored tensor of a fill, which has its dtype.
    fn stored(&self, fill: &Fill) -> Result<&StoredTensor> {
        let stored = self.found(fill)?;
        if stored.dtype() == fill.dtype() {
            return Ok(stored);
        }
        let (found, wanted) = (stored.dtype(), fill.dtype());
        let reason = format!(
            "has dtype {found}, but is to be kept as {wanted}: a kept tensor is copied to the bit, \
             so give its fill the dtype {found}"
        );
        Err(format_error(stored.file(), Some(stored.name()), reason))
    }
}

/// A [`Make`] that copies the elements of kept tensors from their files, and leaves the others to
/// another `Make`.
pub struct WithSources<'a> {
    make: &'a mut dyn Make,
    sources: &'a Sources,
    window: Window,
}

impl<'a> WithSources<'a> {
    /// Makes it of the `Make` for the other tensors, and the files of the kept ones.
    #[must_use]
    pub fn new(make: &'a mut dyn Make, sources: &'a Sources) -> Self {
        WithSources {
            make,
            sources,
            window: Window::default(),
        }
    }
}

impl Make for WithSources<'_> {
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        if !fill.is_kept() {
            return self.make.make(fill, start, out);
        }
        fill.check_range(start, out.len() as u64)?;
        let stored = self.sources.stored(fill)?;
        self.window.clear();
        let elements = out.len() as u64 * 8 / fill.dtype().bits();
        let regions = Regions::new(fill.shape(), fill.local());
        let mut rest = out;
        for (element, length) in regions.runs(start..start + elements) {
            let bytes = byte_range(fill, element, length)?;
            let (part, after) = rest.split_at_mut((bytes.end - bytes.start) as usize);
            self.window.read(stored, bytes.start, part)?;
            rest = after;
        }
        Ok(())
    }

    fn makes(&self, fill: &Fill) -> bool {
        if fill.is_kept() {
            self.sources.has(fill)
        } else {
            self.make.makes(fill)
        }
    }

    fn depth(&self) -> usize {
        self.make.depth()
    }

    fn reset(&mut self) {
        self.make.reset();
    }

    fn ahead(&mut self, fill: &Fill, range: Range<u64>) -> Result<()> {
        if fill.is_kept() {
            return Ok(());
        }
        self.make.ahead(fill, range)
    }
}

/// Returns the bytes of a run of a kept tensor's elements.
fn byte_range(fill: &Fill, element: u64, length: u64) -> Result<Range<u64>> {
    let bits = fill.dtype().bits();
    let [start, end] = [element, element + length].map(|element| element * bits);
    if start % 8 != 0 || end % 8 != 0 {
        let reason = format!(
            "has {bits} bits, and elements {element} to {} do not begin and end at whole bytes: \
             keep the whole tensor, or skip it",
            element + length
        );
        return Err(Error::dtype(fill.dtype(), reason).named(fill.name()));
    }
    Ok(start / 8..end / 8)
}

/// Reads short runs that lie near each other together: a slice of columns has a run for each row.
#[derive(Default)]
struct Window {
    reader: Reader,
    /// The place of the bytes in the tensor.
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The bytes that are read at a time. Reading so few takes hardly longer than a call to the
    /// system, so little is lost if only one run lies in them.
    const BYTES: u64 = 32 << 10;

    /// Forgets the bytes: they are those of one tensor and one piece.
    fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Fills `out` with a tensor's bytes from `offset` on.
    fn read(&mut self, tensor: &StoredTensor, offset: u64, out: &mut [u8]) -> Result<()> {
        let length = out.len() as u64;
        if length >= Window::BYTES {
            return self.reader.read(tensor, offset, out);
        }
        if offset < self.start || offset + length > self.start + self.bytes.len() as u64 {
            let left = tensor.total_bytes().saturating_sub(offset);
            // Empty if it fails, so that no wrong bytes stay.
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(left.min(Window::BYTES) as usize, 0);
            self.reader.read(tensor, offset, &mut bytes)?;
            (self.start, self.bytes) = (offset, bytes);
        }
        let at = (offset - self.start) as usize;
        match self.bytes.get(at..at + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            // The tensor is shorter than its shape: the reader has the error.
            None => self.reader.read(tensor, offset, out)?,
        }
        Ok(())
    }
}
