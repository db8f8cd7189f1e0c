//! A model in a folder, as Hugging Face lays it out: one file, or several with an index.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;

use super::contents::Contents;
use super::file_names::{INDEX, SINGLE, shard_name};
use super::folder_lock::FolderLock;
use super::header::json_text;
use super::leftovers::Leftovers;
use super::limits::{MAX_HEADER_BYTES, MAX_HEADERS_BYTES};
use super::partial::Partial;
use super::pipeline;
use super::space;
use super::write::{CompleteFile, Make, Progress, Writer, has_form, occupied};
use crate::error::{Error, Result};
use crate::fill::Fill;

/// A model split over the files of a folder.
///
/// The split depends on the fills and the size only. So any number of processes split a model alike
/// without communication. File names are those of [Hugging
/// Face](https://huggingface.co/docs/transformers/big_models): a model that fits in one shard is
/// `model.safetensors`; a larger one is `model-00001-of-000NN.safetensors` and so on, with a
/// `model.safetensors.index.json` that maps each tensor to its shard.
///
/// ```
/// use fanin::{Fill, Init, Tensor, checkpoint, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let fill = |name: &str| Fill::new(&Tensor::new(name, [64, 64])?, &Init::kaiming_normal(), 42);
/// let fills = [fill("0.weight")?, fill("1.weight")?, fill("2.weight")?];
/// let shards = checkpoint::Shards::split(&fills, 40_000, &[("format", "pt".into())])?;
/// assert_eq!(shards.files()[1].name(), "model-00002-of-00002.safetensors");
///
/// // Two processes make the same files as one, without communication.
/// let writer = checkpoint::Writer::default();
/// for rank in [1, 0] {
///     let share = checkpoint::Share { rank, size: 2 };
///     writer.save_shards(folder, &shards, share, &mut cpu::fill_range, &mut checkpoint::silent)?;
/// }
/// assert_eq!(checkpoint::read_tensor_list(folder.join("model.safetensors.index.json"))?.tensors().len(), 3);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards<'a> {
    files: Vec<Shard<'a>>,
    index: Option<String>,
}

/// One file of [`Shards`].
#[derive(Clone, Debug)]
pub struct Shard<'a> {
    name: String,
    contents: Contents<'a>,
}

impl<'a> Shard<'a> {
    /// The file's name, without the folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's contents.
    #[must_use]
    pub fn contents(&self) -> &Contents<'a> {
        &self.contents
    }
}

/// One process' share of the work: rank `rank` of `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The process' rank, from 0 to `size - 1`.
    pub rank: u64,
    /// The number of processes, at least 1.
    pub size: u64,
}

impl Share {
    /// All of the work, by one process.
    pub const ALL: Share = Share { rank: 0, size: 1 };

    /// Returns true if one process does all of the work.
    pub(super) fn is_all(self) -> bool {
        self.size <= 1
    }
}

/// The result of [`Writer::save_shards`] and [`ModelFiles::save`](super::ModelFiles::save).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The number of files in this process' share, all of which are written.
    pub files: usize,
    /// The bytes of the weights in these files.
    pub bytes: u128,
    /// The names of shards that other processes have not completed yet, or some of them. If it is
    /// empty, all shards are complete and their index is written. It is always empty for files of ranks.
    pub missing: Vec<String>,
}

/// Returns the error of files that this process has written into a folder, and that are not there any
/// more, given by their names. Returns `None` if there is no such file.
pub(super) fn lost<'a>(folder: &Path, mut names: impl Iterator<Item = &'a str>) -> Option<Error> {
    let first = names.next()?;
    let others = match names.count() {
        0 => String::new(),
        1 => ", and another file".to_owned(),
        others => format!(", and {others} other files"),
    };
    let message = format!(
        "it was complete, and somebody has removed or replaced it since{others}: write the model again \
         with resume"
    );
    let error = io::Error::new(ErrorKind::NotFound, message);
    Some(Error::io(&folder.join(first), "find")(error))
}

impl<'a> Shards<'a> {
    /// The default size of a shard in bytes, that of transformers: 5 GB.
    pub const MAX_BYTES: u64 = 5_000_000_000;

    /// Splits a model in the order of its tensors. A shard takes tensors until their bytes would
    /// exceed `max_bytes`. A larger tensor has a shard of its own.
    ///
    /// `metadata` goes into each file's `__metadata__`, and into that of the index.
    ///
    /// # Errors
    ///
    /// Those of [`Contents::safetensors`], and [`Error::Duplicate`] for a name that is used twice
    /// in the model. [`Error::Unsupported`] for an index of more than 100 MB, and for headers of
    /// more than 400 MB together, which [`Weights::open`](super::Weights::open) would not read.
    pub fn split(fills: &'a [Fill], max_bytes: u64, metadata: &[(&str, String)]) -> Result<Self> {
        let mut names = HashSet::with_capacity(fills.len());
        if let Some(second) = fills.iter().find(|fill| !names.insert(fill.name())) {
            return Err(Error::Duplicate {
                tensor: second.name().to_owned(),
            });
        }
        let files = Shards::layout(fills.iter().map(Fill::bytes), max_bytes)
            .into_iter()
            .map(|(name, range)| {
                let contents = Contents::safetensors(&fills[range], metadata)?;
                Ok(Shard { name, contents })
            })
            .collect::<Result<Vec<_>>>()?;
        let index = (files.len() > 1).then(|| index(&files, fills, metadata));
        let headers = files.iter().map(|file| file.contents.header().len() as u64);
        let index_bytes = index.as_ref().map_or(0, |index| index.len() as u64);
        if let (Some(fill), Some(_)) = (fills.first(), &index) {
            check_readable(fill.name(), index_bytes, headers.sum())?;
        }
        Ok(Shards { files, index })
    }

    /// Returns the names of the files and the tensors of each one, for tensors with these numbers
    /// of bytes. [`Shards::split`] uses it.
    #[must_use]
    pub fn layout(
        bytes: impl IntoIterator<Item = u64>,
        max_bytes: u64,
    ) -> Vec<(String, Range<usize>)> {
        let ranges = split(bytes.into_iter(), max_bytes);
        let count = ranges.len();
        let named = ranges.into_iter().enumerate();
        named
            .map(|(number, range)| (shard_name(number, count), range))
            .collect()
    }

    /// The files, in order.
    #[must_use]
    pub fn files(&self) -> &[Shard<'a>] {
        &self.files
    }

    /// The text of the index, if the model has more than one file.
    #[must_use]
    pub fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }

    /// The bytes of all weights together.
    #[must_use]
    pub fn weight_bytes(&self) -> u128 {
        let bytes = self.files.iter().map(|file| file.contents.weight_bytes());
        bytes.sum()
    }

    /// Returns the names of the files that are missing or incomplete in a folder.
    fn missing(&self, folder: &Path) -> Result<Vec<String>> {
        // List the folder first. A thousand processes that each open a thousand files would
        // overload a file system, and all processes but the last find some file missing.
        let io = || Error::io(folder, "read the folder");
        let mut there = HashSet::new();
        for entry in fs::read_dir(folder).map_err(io())? {
            there.insert(entry.map_err(io())?.file_name());
        }
        let names = self.files.iter().map(|file| &file.name);
        let missing: Vec<String> = names
            .filter(|name| !there.contains(OsStr::new(name.as_str())))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Ok(missing);
        }
        let mut missing = Vec::new();
        for file in &self.files {
            let path = folder.join(&file.name);
            if !has_form(&path, &file.contents).map_err(Error::io(&path, "read"))? {
                missing.push(file.name.clone());
            }
        }
        Ok(missing)
    }

    /// Returns the files in one process' share, in order.
    ///
    /// Files are assigned from the largest to the smallest, each to the rank with the fewest bytes
    /// so far, so that all ranks take about as long. Each file belongs to exactly one rank. A rank
    /// may have none.
    #[must_use]
    pub fn of(&self, share: Share) -> Vec<&Shard<'a>> {
        let mut by_size: Vec<usize> = (0..self.files.len()).collect();
        // Longest processing time first (Graham, "Bounds on multiprocessing timing anomalies", 1969). The
        // sort is stable, and the lower rank comes first of equal ones, so all processes agree.
        by_size.sort_by_key(|&file| Reverse(self.files[file].contents.weight_bytes()));
        // Ranks beyond the number of files get none. This also bounds the heap for any `size`.
        let busy = share.size.min(self.files.len() as u64);
        let mut ranks: BinaryHeap<_> = (0..busy).map(|rank| Reverse((0u128, rank))).collect();
        let mut mine = Vec::new();
        for file in by_size {
            let Some(Reverse((bytes, rank))) = ranks.pop() else {
                break;
            };
            if rank == share.rank {
                mine.push(file);
            }
            let bytes = bytes + self.files[file].contents.weight_bytes();
            ranks.push(Reverse((bytes, rank)));
        }
        mine.sort_unstable();
        mine.into_iter().map(|file| &self.files[file]).collect()
    }
}

/// Checks that the index and the headers of its shards are within the limits of reading.
///
/// # Errors
///
/// [`Error::Unsupported`] if they are not, with the name of the first tensor.
fn check_readable(first: &str, index_bytes: u64, headers_bytes: u64) -> Result<()> {
    let (what, bytes, most) = if index_bytes > MAX_HEADER_BYTES {
        ("an index", index_bytes, MAX_HEADER_BYTES)
    } else if headers_bytes > MAX_HEADERS_BYTES {
        ("headers", headers_bytes, MAX_HEADERS_BYTES)
    } else {
        return Ok(());
    };
    Err(Error::Unsupported {
        tensor: first.to_owned(),
        format: "a folder of shards",
        what: format!("its model, with {what} of {bytes} bytes, of which {most} are read"),
        accepted: "write parts of the model into several folders, or use shorter names",
    })
}

/// Returns ranges of tensors whose bytes stay within a limit. No range is empty, except the single
/// one of a model without tensors.
fn split(bytes: impl Iterator<Item = u64>, max_bytes: u64) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut end, mut sum) = (Vec::new(), 0, 0, 0u64);
    for bytes in bytes {
        let fits = sum.checked_add(bytes).filter(|&sum| sum <= max_bytes);
        sum = match fits {
            Some(sum) => sum,
            // A tensor above the limit begins the open shard, which is empty. The next tensor closes it.
            None if start == end => bytes,
            None => {
                ranges.push(start..end);
                start = end;
                bytes
            }
        };
        end += 1;
    }
    ranges.push(start..end);
    ranges
}

/// Makes the index in the form that transformers reads, with tensors in the model's order.
fn index(files: &[Shard<'_>], fills: &[Fill], metadata: &[(&str, String)]) -> String {
    let parameters: u128 = fills.iter().map(|fill| u128::from(fill.elements())).sum();
    let bytes: u128 = fills.iter().map(|fill| u128::from(fill.bytes())).sum();
    let file_of = files.iter().flat_map(|file| {
        let fills = file.contents.fills().iter();
        fills.map(|fill| (fill.name(), file.name.as_str()))
    });
    let file_of: HashMap<&str, &str> = file_of.collect();
    let map = fills.iter().filter_map(|fill| {
        let file = file_of.get(fill.name())?;
        Some((fill.name(), *file))
    });
    let metadata = metadata.iter().map(|(key, value)| (*key, value.as_str()));
    index_text(parameters, bytes, metadata, map)
}

/// Returns the text of the index of a model with so many parameters and bytes, with the name of each
/// tensor and that of its file.
pub(super) fn index_text<'a>(
    parameters: u128,
    bytes: u128,
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
    map: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let pair = |(key, value)| format!("    {}: {}", json_text(key), json_text(value));
    let mut about = vec![
        format!("    \"total_parameters\": {parameters}"),
        format!("    \"total_size\": {bytes}"),
    ];
    about.extend(metadata.map(pair));
    let map: Vec<String> = map.map(pair).collect();
    format!(
        "{{\n  \"metadata\": {{\n{}\n  }},\n  \"weight_map\": {{\n{}\n  }}\n}}\n",
        about.join(",\n"),
        map.join(",\n")
    )
}

impl Writer {
    /// Writes one process' share of a model into a folder, and creates the folder if it is missing.
    ///
    /// Each file is written as by [`Writer::save`]. The index is written last, by the process that
    /// finds all files complete. So if it exists, the model is complete. Processes neither wait for
    /// each other nor communicate. If a rank fails, run it again with [`Writer::with_resume`].
    ///
    /// The index of another model of fanin's that has the same files is removed before the first file is
    /// written. An index of another program and a folder with other files of another model are refused:
    /// see [`Writer::with_overwrite`].
    ///
    /// # Errors
    ///
    /// Those of [`Writer::save`], also for the index, and [`Error::Format`] if the folder holds files of
    /// another model that this one does not replace, which readers might take for its own.
    /// [`Error::Io`] if another process writes into the folder, unless both write a share of less than
    /// all, and if a file that was written is not there at the end.
    pub fn save_shards(
        &self,
        folder: impl AsRef<Path>,
        shards: &Shards<'_>,
        share: Share,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<Saved> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
        let _lock = FolderLock::take(folder, share.is_all())?;
        let index_path = folder.join(INDEX);
        let names: HashSet<&str> = shards.files.iter().map(|file| file.name.as_str()).collect();
        let has_index = shards.index.is_some();
        let is_new = |name: &str| names.contains(name) || has_index && name == INDEX;
        let leftovers = Leftovers::find(folder, is_new)?;
        leftovers.check(folder, self.overwrite)?;
        // Decided by the index that was read above. By now another process may have replaced it.
        if let Some(index) = &shards.index
            && leftovers.index_is_foreign
            && !self.overwrite
            && !holds_text(&index_path, index)?
        {
            return Err(occupied(&index_path));
        }
        let mine = shards.of(share);
        for file in &mine {
            self.check_target(&folder.join(&file.name), &file.contents)?;
        }
        let sizes = mine.iter().map(|file| (file.name(), file.contents.bytes()));
        space::check(folder, sizes)?;
        // An index whose files are all left stays until the new one replaces it: it lists the files
        // that are to be removed, even if this run does not end.
        let index_stays = !leftovers.is_empty() && !leftovers.index_lists_new;
        if let Some(index) = &shards.index
            && !index_stays
            && !holds_text(&index_path, index)?
        {
            // Removed before the first file changes: an index must not list files of two models.
            match fs::remove_file(&index_path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(&index_path, "remove")(error));
                }
                _ => {}
            }
        }

        // Waiting for the disk takes long, so a thread waits for one file while the next is made.
        let mut to_write = mine.iter();
        pipeline::write_behind(
            |written: &mut Option<CompleteFile>| {
                let Some(file) = to_write.next() else {
                    return Ok(false);
                };
                let path = folder.join(&file.name);
                *written = self.write_partial(&path, &file.contents, make, progress)?;
                Ok(true)
            },
            |written| written.take().map_or(Ok(()), CompleteFile::persist),
        )?;

        let missing = shards.missing(folder)?;
        let absent: HashSet<&str> = missing.iter().map(String::as_str).collect();
        let names = mine.iter().map(|file| file.name());
        if let Some(error) = lost(folder, names.filter(|name| absent.contains(name))) {
            return Err(error);
        }
        if missing.is_empty() {
            if let Some(index) = &shards.index
                && !holds_text(&index_path, index)?
            {
                save_text(&index_path, index)?;
            }
            // After the index, because until then the old files may be the only complete model.
            leftovers.remove(folder)?;
        }
        Ok(Saved {
            files: mine.len(),
            bytes: mine.iter().map(|file| file.contents.weight_bytes()).sum(),
            missing,
        })
    }
}

impl Writer {
    /// Writes a model as one file, as [`Writer::save`] does.
    ///
    /// Readers take the `model.safetensors` of a folder for its model. So if the file has this name,
    /// other files of a model in the folder are treated as by [`Writer::save_shards`].
    ///
    /// # Errors
    ///
    /// Those of [`Writer::save`], and [`Error::Format`] if the folder holds another model in other
    /// files: see [`Writer::with_overwrite`].
    pub fn save_single(
        &self,
        path: impl AsRef<Path>,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let path = path.as_ref();
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if path.file_name() != Some(OsStr::new(SINGLE)) || !folder.is_dir() {
            return self.save(path, contents, make, progress);
        }
        let _lock = FolderLock::take(folder, true)?;
        let leftovers = Leftovers::find(folder, |name| name == SINGLE)?;
        leftovers.check(folder, self.overwrite)?;
        self.save(path, contents, make, progress)?;
        leftovers.remove(folder)
    }
}

/// Returns true if a file exists and holds this text.
fn holds_text(path: &Path, text: &str) -> Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path, "read")(error)),
        Ok(metadata) if metadata.len() != text.len() as u64 => Ok(false),
        Ok(_) => match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(path, "read")(error)),
            Ok(bytes) => Ok(bytes == text.as_bytes()),
        },
    }
}

/// Writes a text completely or not at all. Two processes may find the model complete at the same
/// time and write the same index: one after the other does.
fn save_text(path: &Path, text: &str) -> Result<()> {
    let written = Partial::open_shared(path).and_then(|mut partial| {
        let written = io::Write::write_all(&mut partial, text.as_bytes());
        written.map_err(|error| ("write", error))?;
        partial.persist(path)
    });
    written.map_err(|(action, error)| Error::io(path, action)(error))
}
