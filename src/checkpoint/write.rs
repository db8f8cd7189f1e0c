//! Writing weights piece by piece, all or nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::Contents;
use crate::error::{Error, Result};
use crate::fill::Fill;

/// What makes the weights: [`cpu::fill_range`](crate::cpu::fill_range), or a GPU's.
///
/// It gets a fill, the index of the first element wanted in the slice's own row-major order,
/// and room for whole elements from there on.
pub type Make<'a> = dyn FnMut(&Fill, u64, &mut [u8]) -> Result<()> + 'a;

/// Is told the bytes of weights made since the last call; [`ControlFlow::Break`] stops.
pub type Progress<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// A [`Progress`] that says nothing and never stops.
pub fn silent(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Bytes that are made, and written, at a time: enough for a backend to stretch in, little
/// enough that two of them fit anywhere.
pub(super) const PIECE_BYTES: usize = 32 << 20;

/// Writes a file: completely, or not at all.
///
/// The bytes go to a temporary file beside the target, which takes the target's place once it
/// is complete and on the disk. Whatever fails before leaves the target as it was, and nothing
/// beside it. A symbolic link is followed. A target that exists and is no regular file (a
/// device, a pipe) is written to directly.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be written, [`Error::Interrupted`] where `progress`
/// stops it, and what `make` reports.
pub fn save(
    path: impl AsRef<Path>,
    contents: &Contents<'_>,
    make: &mut Make<'_>,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let path = path.as_ref();
    // The file that a link leads to is replaced, not the link. What does not exist is itself.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(metadata) = fs::metadata(&target)
        && !metadata.is_file()
        && !metadata.is_dir()
    {
        let device = File::options().write(true).open(&target);
        let mut device = device.map_err(Error::io(path, "open"))?;
        return write_to(&mut device, path, contents, make, progress);
    }
    if target.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(Error::io(path, "write")(error));
    }

    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fanin-").suffix(".tmp");
    // Temporary files are their owner's alone; this one is going to be a file like any other,
    // with the permissions that the process' umask leaves.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(&folder);
    let mut temporary = temporary.map_err(|error| {
        // tempfile names a file that the caller never heard of; the cause is what counts.
        let cause = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::from(error.kind()),
        };
        Error::io(path, "create a file beside it")(cause)
    })?;
    write_to(temporary.as_file_mut(), path, contents, make, progress)?;
    let synced = temporary.as_file().sync_all();
    synced.map_err(Error::io(path, "write"))?;
    let persisted = temporary.persist(&target);
    persisted.map_err(|error| Error::io(path, "replace")(error.error))?;
    // The new name is on the disk once its folder is. Not every system can do this, and the
    // file is complete either way.
    if let Ok(folder) = File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Writes header and weights to `out`, making one piece while the one before is written.
///
/// `path` is what messages call it.
///
/// # Errors
///
/// As [`save`]; part of the contents may have been written by then.
pub fn write_to(
    out: &mut (dyn Write + Send),
    path: impl AsRef<Path>,
    contents: &Contents<'_>,
    make: &mut Make<'_>,
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
        let made = make_pieces(contents, make, progress, &full, &to_fill);
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
    contents: &Contents<'_>,
    make: &mut Make<'_>,
    progress: &mut Progress<'_>,
    full: &mpsc::SyncSender<Vec<u8>>,
    to_fill: &mpsc::Receiver<Vec<u8>>,
) -> Result<()> {
    let mut buffers = 0;
    for fill in contents.fills() {
        let size = fill.dtype().size();
        let mut start = 0;
        while start < fill.elements() {
            let elements = (fill.elements() - start).min(PIECE_BYTES as u64 / size);
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
            piece.resize((elements * size) as usize, 0);
            make(fill, start, &mut piece)?;
            if progress(elements * size).is_break() {
                return Err(Error::Interrupted);
            }
            if full.send(piece).is_err() {
                return Ok(());
            }
            start += elements;
        }
    }
    Ok(())
}
