//! Writing weights piece by piece, all or nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::Contents;
use super::partial::Partial;
use crate::error::{Error, Result};
use crate::fill::Fill;

/// What makes the weights: [`cpu::fill_range`](crate::cpu::fill_range), a
/// [`gpu::ReadBack`](crate::gpu::ReadBack), or any closure of the first's form.
pub trait Make {
    /// Makes the elements from `start` on, counted in the slice's own row-major order: `out`
    /// has room for whole elements.
    ///
    /// # Errors
    ///
    /// Whatever keeps the weights from being made.
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()>;

    /// How many pieces beyond the one that is asked for it wants to hear of, to work ahead.
    fn depth(&self) -> usize {
        0
    }

    /// Forgets the pieces that were said and have not been asked for: others come now.
    fn reset(&mut self) {}

    /// Says that this piece will be asked for, after those that were said before.
    ///
    /// # Errors
    ///
    /// Whatever keeps the work from being begun.
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
    fn make(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        self.take(fill, start, out)
    }

    fn depth(&self) -> usize {
        crate::gpu::ReadBack::DEPTH - 1
    }

    fn reset(&mut self) {
        crate::gpu::ReadBack::reset(self);
    }

    fn ahead(&mut self, fill: &Fill, range: Range<u64>) -> Result<()> {
        self.begin(fill, range)
    }
}

/// Tells a [`Make`] of the pieces to come, as many ahead as it wants to hear of.
pub(super) struct Ahead<I> {
    pieces: I,
    news: usize,
}

impl<'a, I: Iterator<Item = (&'a Fill, Range<u64>)>> Ahead<I> {
    /// For all pieces that will be asked for, in order.
    pub fn new(pieces: I, make: &mut dyn Make) -> Self {
        make.reset();
        Ahead {
            pieces,
            news: make.depth() + 1,
        }
    }

    /// To be called before each piece is asked for.
    pub fn say(&mut self, make: &mut dyn Make) -> Result<()> {
        if make.depth() > 0 {
            for (fill, range) in self.pieces.by_ref().take(self.news) {
                make.ahead(fill, range)?;
            }
        }
        self.news = 1;
        Ok(())
    }
}

/// Is told the bytes of weights made since the last call; [`ControlFlow::Break`] stops.
pub type Progress<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// A [`Progress`] that says nothing and never stops.
pub fn silent(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Bytes that are made, read or written at a time at most: enough for a backend to stretch in, and
/// more makes nothing faster.
pub(super) const PIECE_BYTES: usize = 32 << 20;

/// Writes a file: completely, or not at all. [`Writer::save`] with the defaults.
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

/// Writes header and weights to `out`. [`Writer::write_to`] with the defaults.
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
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            memory: Writer::MEMORY,
            resume: false,
        }
    }
}

impl Writer {
    /// The default of [`Writer::with_memory`]: 256 MiB.
    pub const MEMORY: u64 = 256 << 20;

    /// How many pieces the memory is shared by: three that a GPU works at, each once in its
    /// own memory and once on the way out of it (a software driver has both on the host), one
    /// that is being made or compared, one that is being written.
    const PIECES: u64 = 8;

    /// The smallest piece: below it, each costs more than its bytes.
    const MIN_PIECE_BYTES: u64 = 64 << 10;

    /// Bounds the memory, in bytes, that weights on their way to a file take up, whatever the
    /// size of the model. Less than 512 KiB is taken for 512 KiB. An orthogonal matrix alone
    /// needs room for itself besides.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Whether to go on with what an earlier run has left: what is there is compared with what
    /// should be, to the bit, and only what is missing or differs is written.
    ///
    /// With this, a run that fails leaves the beginning of a file for the next one; it has
    /// another name (`.fanin-NAME.partial`) until it is complete.
    #[must_use]
    pub fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Bytes that are made, and written, at a time.
    #[must_use]
    pub fn piece_bytes(&self) -> u64 {
        let share = self.memory / Writer::PIECES;
        // Whole elements of every dtype, and whole words of a GPU.
        share.clamp(Writer::MIN_PIECE_BYTES, PIECE_BYTES as u64) / 4 * 4
    }

    /// Writes a file: completely, or not at all.
    ///
    /// The bytes go to `.fanin-NAME.partial` beside the target, which takes the target's place
    /// once it is complete and on the disk. Whatever fails before, be it the power, leaves the
    /// target as it was. An error leaves nothing beside it, unless
    /// [`with_resume`](Writer::with_resume) asks for it; a process that is killed cannot tidy
    /// up, and the next run takes over what it left. A symbolic link is followed. A target that
    /// exists and is no regular file (a device, a pipe) is written to directly.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be written, or another process is writing it;
    /// [`Error::Interrupted`] where `progress` stops it, and what `make` reports.
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

    /// Writes a file all but for its name; nothing is left to do where it has its contents already,
    /// or is no regular file.
    pub(super) fn write_partial(
        &self,
        path: &Path,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Written>> {
        // The file that a link leads to is replaced, not the link. What does not exist is itself.
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
            Ok(_) if self.resume && self.holds(&target, path, contents, make, progress)? => {
                return Ok(None);
            }
            _ => {}
        }

        let mut partial = Partial::open(&target, self.resume)
            .map_err(|(action, error)| Error::io(path, action)(error))?;
        self.write_to(&mut partial, path, contents, make, progress)?;
        Ok(Some(Written {
            partial,
            target,
            path: path.to_owned(),
        }))
    }

    /// Whether the file holds these contents already, to the bit.
    fn holds(
        &self,
        target: &Path,
        path: &Path,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<bool> {
        if !has_form(target, contents).map_err(Error::io(path, "read"))? {
            return Ok(false);
        }
        let file = File::open(target).map_err(Error::io(path, "read"))?;
        let mut compared = Compare {
            file,
            buffer: Vec::new(),
            differs: false,
        };
        let result = self.write_to(&mut compared, path, contents, make, progress);
        if compared.differs {
            return Ok(false);
        }
        result.map(|()| true)
    }

    /// Writes header and weights to `out`, making one piece while the one before is written.
    ///
    /// `path` is what messages call it.
    ///
    /// # Errors
    ///
    /// As [`Writer::save`]; part of the contents may have been written by then.
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
        let (full, to_write) = mpsc::sync_channel::<Vec<u8>>(1);
        let (empty, to_fill) = mpsc::channel::<Vec<u8>>();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> io::Result<()> {
                for piece in to_write {
                    out.write_all(&piece)?;
                    // The other side is gone once it has sent its last piece.
                    let _ = empty.send(piece);
                }
                out.flush()
            });
            let made = self.make_pieces(contents, make, progress, &full, &to_fill);
            // Tells the writer that there is no more.
            drop(full);
            let written = match writer.join() {
                Ok(written) => written.map_err(Error::io(path, "write")),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // Where the writer failed, the maker only knows that it is gone.
            written.and(made)
        })
    }

    /// Makes all weights and sends them off, in at most two buffers that come back for reuse.
    fn make_pieces(
        &self,
        contents: &Contents<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
        full: &mpsc::SyncSender<Vec<u8>>,
        to_fill: &mpsc::Receiver<Vec<u8>>,
    ) -> Result<()> {
        let mut ahead = Ahead::new(self.pieces(contents), make);
        let mut buffers = 0;
        for (fill, range) in self.pieces(contents) {
            ahead.say(make)?;
            let mut piece = if buffers < 2 {
                buffers += 1;
                Vec::new()
            } else {
                match to_fill.recv() {
                    Ok(piece) => piece,
                    // The writer has failed, and will say why.
                    Err(mpsc::RecvError) => return Ok(()),
                }
            };
            let bytes = (range.end - range.start) * fill.dtype().size();
            piece.resize(bytes as usize, 0);
            make.make(fill, range.start, &mut piece)?;
            if progress(bytes).is_break() {
                return Err(Error::Interrupted);
            }
            if full.send(piece).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The pieces of all fills, in the file's order: ranges of elements of the slice's own
    /// row-major order.
    fn pieces<'a>(
        &self,
        contents: &'a Contents<'_>,
    ) -> impl Iterator<Item = (&'a Fill, Range<u64>)> + use<'a> {
        let bytes = self.piece_bytes();
        contents.fills().iter().flat_map(move |&fill| {
            let (elements, step) = (fill.elements(), bytes / fill.dtype().size());
            let starts = (0..elements.div_ceil(step)).map(move |piece| piece * step);
            starts.map(move |start| (fill, start..elements.min(start + step)))
        })
    }
}

/// A file that is complete, but may not be on the disk yet, and has no name.
pub(super) struct Written {
    partial: Partial,
    target: PathBuf,
    /// What messages call it.
    path: PathBuf,
}

impl Written {
    /// Waits for the disk, then gives the file its name.
    pub fn persist(mut self) -> Result<()> {
        let persisted = self.partial.persist(&self.target);
        persisted.map_err(|(action, error)| Error::io(&self.path, action)(error))
    }
}

/// Writes bytes to a file, completely or not at all, as [`Writer::save`] does.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be written; a file that was there before is then unchanged.
pub fn save_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        // A device or a pipe takes it; a folder says what it is.
        return fs::write(&target, bytes).map_err(Error::io(path, "write"));
    }
    let written = Partial::open(&target, false).and_then(|mut partial| {
        let all = partial.write_all(bytes).map_err(|error| ("write", error));
        all.and_then(|()| partial.persist(&target))
    });
    written.map_err(|(action, error)| Error::io(path, action)(error))
}

/// Whether a file has the header and the length of these contents: all that can be known
/// without making the weights.
///
/// A file under its final name was whole when it got that name, so one of the same header,
/// which tells recipe and seed, holds the same weights unless somebody has changed them since.
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

/// Takes what is written for what a file should hold; fails where the file holds other.
struct Compare {
    file: File,
    buffer: Vec<u8>,
    differs: bool,
}

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Two small windows, not a third piece in memory.
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

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
