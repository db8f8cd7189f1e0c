//! Writing files piece by piece, in bounded memory. A file appears complete, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::partial::Partial;
use super::pipeline;
use super::space;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::fill::Fill;
#[cfg(feature = "gpu")]
use crate::job::Parts;

/// A source of weights: [`cpu::fill_range`](crate::cpu::fill_range), a
/// [`gpu::ReadBack`](crate::gpu::ReadBack), or any closure of the signature of `fill_range`.
pub trait Make {
    /// Makes the elements from `start` on, counted in the slice's own row-major order. `out` has
    /// room for whole elements.
    ///
    /// # Errors
    ///
    /// Any error that prevents it.
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()>;

    /// Returns whether it can make these elements at all: all that are not kept from a file.
    fn makes(&self, fill: &Fill) -> bool {
        !fill.is_kept()
    }

    /// Returns the number of pieces that it can work ahead of the one that is asked for.
    fn depth(&self) -> usize {
        0
    }

    /// Discards the pieces that were announced but not asked for.
    fn reset(&mut self) {}

    /// Announces a piece that will be asked for, after those that were announced before.
    ///
    /// # Errors
    ///
    /// Any error that prevents the work from starting.
    fn ahead(&mut self, _fill: &Fill, _range: Range<u64>) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Fill, u64, &mut [u8]) -> Result<()>> Make for F {
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        self(fill, start, out)
    }
}

#[cfg(feature = "gpu")]
impl Make for crate::gpu::ReadBack<'_> {
    /// Takes the elements from the device. If the parts of a fill are scattered over short runs, the
    /// CPU makes them instead: a device would need a request for each run.
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        if Parts::are_scattered(fill) {
            return crate::cpu::fill_range(fill, start, out);
        }
        self.take(fill, start, out)
    }

    fn depth(&self) -> usize {
        crate::gpu::ReadBack::DEPTH - 1
    }

    fn reset(&mut self) {
        crate::gpu::ReadBack::reset(self);
    }

    fn ahead(&mut self, fill: &Fill, range: Range<u64>) -> Result<()> {
        if Parts::are_scattered(fill) {
            return Ok(());
        }
        self.begin(fill, range)
    }
}

/// Announces the next pieces to a [`Make`], as many as it can work ahead.
pub(super) struct Ahead<I> {
    pieces: I,
    /// The pieces that the next call announces.
    due: usize,
}

impl<'a, I: Iterator<Item = (&'a Fill, Range<u64>)>> Ahead<I> {
    /// Takes all pieces that will be asked for, in order.
    pub fn new(pieces: I, make: &mut dyn Make) -> Self {
        make.reset();
        Ahead {
            pieces,
            // The first call announces the piece that follows it, and those ahead of that one.
            due: make.depth() + 1,
        }
    }

    /// Announces what is due. Call it before each piece is asked for.
    pub fn announce(&mut self, make: &mut dyn Make) -> Result<()> {
        if make.depth() > 0 {
            for (fill, range) in self.pieces.by_ref().take(self.due) {
                make.ahead(fill, range)?;
            }
        }
        self.due = 1;
        Ok(())
    }
}

/// A callback for progress. It gets the bytes of weights since the last call, and stops the work
/// with [`ControlFlow::Break`].
pub type Progress<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Ignores the progress and never stops: a [`Progress`].
pub fn silent(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The largest piece, in bytes, that is made, read or written at a time. It keeps a GPU and all
/// cores busy; larger ones were not faster.
pub(super) const PIECE_BYTES: usize = 32 << 20;

/// Writes a file completely or not at all, as [`Writer::save`] does with the defaults.
///
/// # Errors
///
/// Those of [`Writer::save`].
pub fn save(
    path: impl AsRef<Path>,
    contents: &Contents<'_>,
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<()> {
    Writer::default().save(path, contents, make, progress)
}

/// Writes header and weights to `out`, as [`Writer::write_to`] does with the defaults.
///
/// # Errors
///
/// Those of [`Writer::write_to`].
pub fn write_to(
    out: &mut (dyn Write + Send),
    path: impl AsRef<Path>,
    contents: &Contents<'_>,
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<()> {
    Writer::default().write_to(out, path, contents, make, progress)
}

/// Writes weights to files, in bounded memory.
///
/// ```
/// use fanin::{Fill, Init, Tensor, checkpoint, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("w.bin");
/// let weight = Tensor::new("w", [1 << 20])?;
/// let fill = Fill::new(&weight, &Init::normal(0.0, 0.02), 42)?;
/// let contents = checkpoint::Contents::raw(&fill);
/// let writer = checkpoint::Writer::default().with_memory(16 << 20).with_resume(true);
/// writer.save(&path, &contents, &mut cpu::fill_range, &mut checkpoint::silent)?;
/// assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 << 20);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Writer {
    memory: u64,
    resume: bool,
    pub(super) overwrite: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            memory: Writer::MEMORY,
            resume: false,
            overwrite: false,
        }
    }
}

impl Writer {
    /// The default of [`Writer::with_memory`]: 256 MiB.
    pub const MEMORY: u64 = 256 << 20;

    /// The number of pieces that share the memory: three in work on a GPU, each once in its own
    /// memory and once in the buffer that is read back (with a software driver both are host
    /// memory), one that is being made or compared, and one that is being written.
    const PIECES: u64 = 8;

    /// The smallest piece in bytes. Below it, the cost of a piece exceeds that of its bytes.
    const MIN_PIECE_BYTES: u64 = 64 << 10;

    /// Sets the memory, in bytes, for weights on their way to a file. It does not grow with the
    /// model. Less than 512 KiB counts as 512 KiB. An orthogonal matrix needs memory for itself
    /// besides.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets whether to continue from what an earlier run has left. Existing bytes are compared with
    /// the right ones, and only missing or different bytes are written. A file with another header or
    /// length is not of an earlier run, so it is not replaced.
    ///
    /// With `true`, a run that fails leaves the beginning of a file for the next one. It has
    /// another name (`.fanin-NAME.partial`) until it is complete.
    #[must_use]
    pub fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets whether existing files may be replaced, and whether a model may take the place of another
    /// one that has other files in its folder, as the same model with shards of another size or another
    /// number of ranks has.
    ///
    /// With `false`, a file that exists must hold what would be written, to the bit. It stays as it is
    /// then. [`Writer::save_shards`] and [`Writer::save_rank`] also refuse a folder with other files,
    /// before they write anything. With `true`, the old files are removed once the new model is complete
    /// and its index is written, by the process that finds it complete. Only files that fanin wrote
    /// are removed: their metadata have the key `fanin`, and an index with this key lists them, or
    /// their name is `model.safetensors` or that of a rank's file. A folder with other leftovers is
    /// refused.
    #[must_use]
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// The bytes that are made and written at a time.
    #[must_use]
    pub fn piece_bytes(&self) -> u64 {
        let share = self.memory / Writer::PIECES;
        // A multiple of 4 is whole elements of every dtype, and whole words of a GPU.
        share.clamp(Writer::MIN_PIECE_BYTES, PIECE_BYTES as u64) / 4 * 4
    }

    /// Writes a file completely or not at all.
    ///
    /// The bytes go to `.fanin-NAME.partial` beside the target. Once it is complete and on the
    /// disk, it is renamed to the target. A failure before that, even of the power, leaves the
    /// target as it was. An error also removes the partial file, unless
    /// [`with_resume`](Writer::with_resume) keeps it. A killed process leaves its partial file, and
    /// the next run takes it over. A symbolic link is followed. A target that is not a regular file
    /// (a device, a pipe) is written directly.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be written, another process is writing it, or it exists with
    /// other contents and [`with_overwrite`](Writer::with_overwrite) does not allow to replace it,
    /// [`Error::Interrupted`] if `progress` stops it, and the errors of `make`.
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        match self.write_partial(path.as_ref(), contents, make, progress)? {
            Some(written) => written.persist(),
            None => Ok(()),
        }
    }

    /// Writes a file, but does not rename it to its target yet. Returns `None` if nothing is left
    /// to do: the target has these contents already, or is not a regular file.
    pub(super) fn write_partial(
        &self,
        path: &Path,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<Option<CompleteFile>> {
        // Resolve links, so that the file is replaced and not the link. This fails for a new file.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                let error = io::Error::from(io::ErrorKind::IsADirectory);
                return Err(Error::io(path, "write")(error));
            }
            Ok(metadata) if !metadata.is_file() => {
                let device = File::options().write(true).open(&target);
                let mut device = device.map_err(Error::io(path, "open"))?;
                self.write_to(&mut device, path, contents, make, progress)?;
                return Ok(None);
            }
            // With overwrite and without resume, the old file is replaced whatever it holds.
            Ok(_) if self.resume || !self.overwrite => {
                let has_form = has_form(&target, contents).map_err(Error::io(path, "read"))?;
                // The form is checked first, because comparing the weights takes as long as making them.
                if has_form && self.holds(&target, path, contents, make, progress)? {
                    Partial::discard(&target)
                        .map_err(|(action, error)| Error::io(path, action)(error))?;
                    return Ok(None);
                }
                let is_damaged = self.resume && has_form; // a file of an earlier run
                if !(self.overwrite || is_damaged) {
                    return Err(occupied(path));
                }
            }
            _ => {}
        }

        let mut partial = Partial::open(&target, self.resume)
            .map_err(|(action, error)| Error::io(path, action)(error))?;
        let rest = contents.bytes().saturating_sub(partial.left().into());
        space::check_file(path, &target, rest)?;
        self.write_to(&mut partial, path, contents, make, progress)?;
        Ok(Some(CompleteFile {
            partial,
            target,
            path: path.to_owned(),
        }))
    }

    /// Checks that a file may be written: that there is none, that it may be replaced, or that it has
    /// the form of these contents. The weights are not compared.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], with what the file holds.
    pub(super) fn check_target(&self, path: &Path, contents: &Contents<'_>) -> Result<()> {
        let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        if !is_file
            || self.overwrite
            || has_form(path, contents).map_err(Error::io(path, "read"))?
        {
            return Ok(());
        }
        Err(occupied(path))
    }

    /// Writes bytes to a file completely or not at all, as [`save_bytes`] does, unless it exists with
    /// other contents and [`with_overwrite`](Writer::with_overwrite) does not allow to replace it.
    ///
    /// # Errors
    ///
    /// Those of [`save_bytes`], and [`Error::Io`] with what the file holds.
    pub fn save_bytes(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        let path = path.as_ref();
        let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        if is_file && !self.overwrite {
            return match fs::read(path).map_err(Error::io(path, "read"))? == bytes {
                true => Ok(()),
                false => Err(occupied(path)),
            };
        }
        save_bytes(path, bytes)
    }

    /// Returns true if a file of the form of these contents has them already, to the bit.
    fn holds(
        &self,
        target: &Path,
        path: &Path,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<bool> {
        let file = File::open(target).map_err(Error::io(path, "read"))?;
        let mut compared = Compare {
            file,
            buffer: Vec::new(),
            differs: false,
        };
        let result = self.write_to(&mut compared, path, contents, make, progress);
        // `Compare` stops the writing by an error, which stands for a difference and not for a failure.
        if compared.differs {
            return Ok(false);
        }
        result.map(|()| true)
    }

    /// Writes header and weights to `out`, making one piece while the one before is written.
    ///
    /// Messages call the output `path`.
    ///
    /// # Errors
    ///
    /// As [`Writer::save`]. Part of the contents may have been written then.
    pub fn write_to(
        &self,
        out: &mut (dyn Write + Send),
        path: impl AsRef<Path>,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let path = path.as_ref();
        out.write_all(contents.header())
            .map_err(Error::io(path, "write"))?;
        // Two iterators over the same pieces: the first one announces what the second one will ask for.
        let mut ahead = Ahead::new(self.pieces(contents), make);
        let mut pieces = self.pieces(contents);
        pipeline::write_behind(
            |piece: &mut Vec<u8>| {
                let Some((fill, range)) = pieces.next() else {
                    return Ok(false);
                };
                ahead.announce(make)?;
                let bytes = fill.dtype().bytes_of(range.end - range.start);
                // Pieces are the largest buffers, and the caller chooses their size.
                piece
                    .try_reserve_exact((bytes as usize).saturating_sub(piece.len()))
                    .map_err(|error| Error::io(path, "get memory for a piece of")(error.into()))?;
                piece.resize(bytes as usize, 0);
                make.make(fill, range.start, piece)?;
                match progress(bytes) {
                    ControlFlow::Continue(()) => Ok(true),
                    ControlFlow::Break(()) => Err(Error::Interrupted),
                }
            },
            |piece| out.write_all(piece).map_err(Error::io(path, "write")),
        )?;
        out.flush().map_err(Error::io(path, "write"))
    }

    /// Returns the pieces of all fills, in the file's order: ranges of elements in the slice's own
    /// row-major order.
    fn pieces<'a>(
        &self,
        contents: &'a Contents<'_>,
    ) -> impl Iterator<Item = (&'a Fill, Range<u64>)> + use<'a> {
        let bytes = self.piece_bytes();
        contents.fills().iter().flat_map(move |&fill| {
            // A device makes binary32 for the dtypes that the host converts to, so their pieces have
            // no more elements than pieces of f32.
            let bits = fill.dtype().bits().max(32);
            let step = match fill.dtype().is_packed_by_kernels() || fill.is_kept() {
                true => fill.dtype().elements_in(bytes),
                false => bytes * 8 / bits,
            };
            let elements = fill.elements();
            let starts = (0..elements.div_ceil(step)).map(move |piece| piece * step);
            starts.map(move |start| (fill, start..elements.min(start + step)))
        })
    }
}

/// A complete file that does not have its final name yet, and may not be on the disk yet.
pub(super) struct CompleteFile {
    partial: Partial,
    target: PathBuf,
    /// The path that messages name.
    path: PathBuf,
}

impl CompleteFile {
    /// Waits for the disk, then renames the file to its target.
    pub fn persist(mut self) -> Result<()> {
        let persisted = self.partial.persist(&self.target);
        persisted.map_err(|(action, error)| Error::io(&self.path, action)(error))
    }
}

/// Returns the error of a file that is not to be replaced, with what it holds.
pub(super) fn occupied(path: &Path) -> Error {
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let tensors = match Weights::open(path) {
        Ok(weights) => match weights.tensors().len() {
            1 => "1 tensor, ".to_owned(),
            all => format!("{all} tensors, "),
        },
        Err(_) => String::new(),
    };
    let message = format!(
        "it holds {tensors}{bytes} bytes, which are not those that would be written: set overwrite to \
         replace it, or use another path"
    );
    Error::io(path, "replace")(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

/// Writes bytes to a file completely or not at all, as [`Writer::save`] does. It replaces a file.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be written. An existing file is unchanged then.
pub fn save_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        // A device or a pipe is written directly. A folder gives the system's own error.
        return fs::write(&target, bytes).map_err(Error::io(path, "write"));
    }
    let written = Partial::open(&target, false).and_then(|mut partial| {
        let all = partial.write_all(bytes).map_err(|error| ("write", error));
        all.and_then(|()| partial.persist(&target))
    });
    written.map_err(|(action, error)| Error::io(path, action)(error))
}

/// Returns true if a file has the header and the length of these contents: all that can be checked
/// without making the weights.
///
/// A file was complete when it got its final name, and its header contains recipe and seed. So if
/// the header is the same, the weights are the same, unless somebody has changed them since.
pub(super) fn has_form(path: &Path, contents: &Contents<'_>) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = contents.header().len() as u128 + contents.weight_bytes();
    if u128::from(file.metadata()?.len()) != length {
        return Ok(false);
    }
    let mut header = vec![0; contents.header().len()];
    io::Read::read_exact(&mut file, &mut header)?;
    Ok(header == contents.header())
}

/// A writer that compares what is written with a file, and fails at the first difference.
struct Compare {
    file: File,
    buffer: Vec<u8>,
    differs: bool,
}

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Compare in small windows: a third piece would exceed the memory limit.
        let part = &bytes[..bytes.len().min(1 << 20)];
        self.buffer.resize(part.len(), 0);
        io::Read::read_exact(&mut self.file, &mut self.buffer)?;
        if self.buffer != part {
            self.differs = true;
            return Err(io::Error::other("the file holds other weights"));
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
