//! Reads the elements of stored tensors, piece by piece.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::pipeline;
use super::weights::{Held, Place, StoredTensor, Stretch};
use crate::error::{Error, Result};
use crate::job::Regions;
use crate::read::{format_error, open_regular};

/// Reads elements of [`Weights`](super::Weights). It keeps one file open at a time, because a model
/// may have more shards than a process may have open files.
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
            let elements = |bytes: u64| bytes.saturating_mul(8) / tensor.dtype().bits();
            return Err(Error::LengthMismatch {
                tensor: tensor.name().to_owned(),
                expected: elements(left),
                got: elements(out.len() as u64),
            });
        }
        match tensor.place() {
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
                Some(tensor.name()),
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
        // Not 0: `Assembly` refuses parts whose elements are not whole bytes.
        let size = tensor.dtype().bits() / 8;
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
        // Each element is in exactly one part, so all parts together write all of `out`.
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
        // Not 0: only dtypes with a decoder come here.
        let size = tensor.dtype().bits() / 8;
        let elements = out.len() as u64 / size;
        let mut runs = regions.runs(start..start + elements).peekable();
        let mut window = Vec::new();
        let mut rest = out;
        while let Some((first, length)) = runs.next() {
            let mut end = first + length;
            // The runs of a part that cuts the last dimension are short, and many.
            let mut together = vec![(first, length)];
            while let Some(&(start, length)) = runs.peek() {
                // Runs ascend, so the difference is not negative.
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
