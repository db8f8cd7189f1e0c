//! Weights on their way from the device to the host: the device fills one piece while another is
//! copied and a third is read.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::Result;
use crate::fill::Fill;
use crate::job::{Jobs, Stored};
use crate::tensor::DType;
use crate::text::quoted;

use super::device::map::{Mapping, map, padded, take};
use super::device::scope::{checked, device_error};
use super::headless::Gpu;
use super::steps::FillPiece;

/// A queue of pieces that the device fills ahead of their reader.
///
/// [`begin`](ReadBack::begin) the next pieces, up to [`DEPTH`](ReadBack::DEPTH) ahead, then
/// [`take`](ReadBack::take) them in the same order. The buffers are made once and reused. It waits for
/// the device, so it does not work in a browser.
///
/// ```
/// use fanin::{Fill, Init, Tensor, gpu};
///
/// # fn main() -> fanin::Result<()> {
/// # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
/// let gpu = gpu::Gpu::headless(&gpu::Options::default())?;
/// let fill = Fill::new(&Tensor::new("fc.weight", [512, 512])?, &Init::kaiming_normal(), 42)?;
/// let mut read_back = gpu::ReadBack::new(&gpu);
/// let mut rows = vec![0; 4 * 256 * 512];
/// read_back.begin(&fill, 0..256 * 512)?;
/// read_back.begin(&fill, 256 * 512..512 * 512)?;
/// read_back.take(&fill, 0, &mut rows)?;
/// // ... use the first half while the device makes the second.
/// read_back.take(&fill, 256 * 512, &mut rows)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadBack<'a> {
    gpu: &'a Gpu,
    begun: VecDeque<Begun>,
    free: Vec<PieceBuffers>,
    /// The binary32 numbers of a piece that the host converts to another dtype.
    values: Vec<u8>,
}

/// The buffers of a piece: one to fill, and one that the host can read.
#[derive(Debug)]
struct PieceBuffers {
    filled: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// A piece that the device is working on.
#[derive(Debug)]
struct Begun {
    fill: Fill,
    range: Range<u64>,
    /// The conversion from binary32, unless the device makes the fill's own dtype.
    stored: Option<Jobs>,
    buffers: PieceBuffers,
    submission: wgpu::SubmissionIndex,
    mapping: Mapping,
}

impl<'a> ReadBack<'a> {
    /// The number of pieces that keeps a device busy: one is filled, one copied, one read.
    pub const DEPTH: usize = 3;

    /// Makes an empty queue.
    #[must_use]
    pub fn new(gpu: &'a Gpu) -> Self {
        ReadBack {
            gpu,
            begun: VecDeque::new(),
            free: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Submits the elements of a range, counted in the slice's own row-major order. Does not wait for
    /// the device. The device makes f32, f16 and bf16. For other dtypes it makes f32, and
    /// [`take`](ReadBack::take) converts.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`](crate::Error::LengthMismatch) if the range reaches past the end of the
    /// slice; [`Error::DType`](crate::Error::DType) if the dtype cannot hold the elements;
    /// [`Error::Kept`](crate::Error::Kept) for a tensor that is kept from a file;
    /// [`Error::Device`](crate::Error::Device) if the device has no room for it, or is lost.
    pub fn begin(&mut self, fill: &Fill, range: Range<u64>) -> Result<()> {
        let (made, stored) = Stored::on_device(fill)?;
        let length = range.end.saturating_sub(range.start);
        // A range that is too long for its bytes to be counted is longer than any tensor, too.
        fill.check_range(range.start, length.saturating_mul(fill.dtype().size()))?;
        let bytes = length * made.dtype().size();
        let size = bytes.next_multiple_of(4);
        let buffers = self.buffers(fill, size)?;
        let piece = FillPiece {
            fill: &made,
            range: range.clone(),
            buffer: &buffers.filled,
            offset: 0,
            matrix: self.gpu.matrix(fill)?,
        };
        self.gpu
            .initializer()
            .submit_piece(self.gpu.queue(), piece)?;
        if range.end == fill.elements() {
            // The last piece frees the device's memory.
            self.gpu.forget_matrix();
        }
        let device = self.gpu.device();
        // Submissions to one queue run in order, so the copy follows the fill.
        let (submission, mapping) = checked(
            device,
            || context(fill),
            || {
                let mut encoder = device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(&buffers.filled, 0, &buffers.staging, 0, size);
                let submission = self.gpu.queue().submit([encoder.finish()]);
                (submission, map(&buffers.staging, padded(bytes as usize)))
            },
        )?;
        self.begun.push_back(Begun {
            fill: fill.clone(),
            range,
            stored,
            buffers,
            submission,
            mapping,
        });
        Ok(())
    }

    /// Waits for the piece that starts at element `start` of the slice, and copies it to `out` as raw
    /// little-endian bytes. If this is not the next piece begun, all pieces begun are forgotten and this
    /// one is begun now.
    ///
    /// # Errors
    ///
    /// The errors of [`begin`](ReadBack::begin).
    pub fn take(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        fill.check_range(start, out.len() as u64)?;
        let end = start + out.len() as u64 / fill.dtype().size();
        let wanted = |begun: &Begun| begun.range == (start..end) && begun.fill == *fill;
        if !self.begun.front().is_some_and(wanted) {
            self.reset();
            self.begin(fill, start..end)?;
        }
        let Some(mut begun) = self.begun.pop_front() else {
            return Ok(());
        };
        let device = self.gpu.device();
        device
            .poll(wgpu::PollType::Wait {
                submission_index: Some(begun.submission),
                timeout: None,
            })
            .map_err(|error| device_error(context(fill), &error))?;
        // Waiting has run the callback of `map_async`, so its answer is there.
        let mapped = begun.mapping.try_recv().ok().flatten();
        let staging = &begun.buffers.staging;
        match &begun.stored {
            None => take(staging, mapped, out, || context(fill))?,
            Some(jobs) => {
                let bytes = (end - start) * DType::F32.size();
                self.values.resize(bytes as usize, 0);
                take(staging, mapped, &mut self.values, || context(fill))?;
                Stored::convert_all(jobs, start, &self.values, out);
            }
        }
        self.free.push(begun.buffers);
        Ok(())
    }

    /// Forgets the pieces that were begun and not taken.
    pub fn reset(&mut self) {
        // Their buffers are dropped, not reused, because they are mapped or about to be.
        self.begun.clear();
    }

    /// Returns buffers with room for a piece.
    fn buffers(&mut self, fill: &Fill, size: u64) -> Result<PieceBuffers> {
        let size = size.max(4);
        // Buffers that are too small are dropped here, so that they do not pile up.
        if let Some(buffers) = self.free.pop()
            && buffers.filled.size() >= size
        {
            return Ok(buffers);
        }
        let device = self.gpu.device();
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("fanin read back"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        checked(
            device,
            || context(fill),
            || PieceBuffers {
                filled: buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            },
        )
    }
}

fn context(fill: &Fill) -> String {
    format!("reading tensor {} back", quoted(fill.name()))
}
