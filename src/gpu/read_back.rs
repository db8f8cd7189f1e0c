//! Weights on their way from the device to the host: it fills one piece while another is copied
//! and a third is read.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::fill::Fill;

use super::headless::Gpu;
use super::map::Mapped;
use super::prepare::Piece;
use super::scope::{checked, device_error};

/// A queue of pieces that a device works at ahead of whoever reads them.
///
/// Say by [`begin`](ReadBack::begin) what will be wanted, up to [`DEPTH`](ReadBack::DEPTH) pieces
/// ahead, then [`take`](ReadBack::take) the pieces in the same order. The buffers are made once
/// and used in turn. Native only: it waits for the device.
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
/// // ... while the device makes the second half, whoever wants the first has it.
/// read_back.take(&fill, 256 * 512, &mut rows)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadBack<'a> {
    gpu: &'a Gpu,
    begun: VecDeque<Begun>,
    free: Vec<Buffers>,
}

/// Where a piece is filled, and where the host reads it.
#[derive(Debug)]
struct Buffers {
    filled: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// A piece that the device has been given.
#[derive(Debug)]
struct Begun {
    key: Key,
    buffers: Buffers,
    submission: wgpu::SubmissionIndex,
    mapped: Mapped,
}

/// What tells one piece from another.
#[derive(Debug, PartialEq)]
struct Key {
    fill: Fill,
    range: Range<u64>,
}

impl<'a> ReadBack<'a> {
    /// Pieces that keep a device busy: one that is filled, one that is copied, one that is read.
    pub const DEPTH: usize = 3;

    /// An empty queue.
    #[must_use]
    pub fn new(gpu: &'a Gpu) -> Self {
        ReadBack {
            gpu,
            begun: VecDeque::new(),
            free: Vec::new(),
        }
    }

    /// Has the device begin with the elements of a range, counted in the slice's own row-major
    /// order. Does not wait for it.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if the range reaches past the end of the slice;
    /// [`Error::Device`] if the device has no room for it, or is lost.
    pub fn begin(&mut self, fill: &Fill, range: Range<u64>) -> Result<()> {
        let length = range.end.saturating_sub(range.start);
        fill.check_range(range.start, length * fill.dtype().size())?;
        let bytes = length * fill.dtype().size();
        let size = bytes.next_multiple_of(4);
        let buffers = self.buffers(fill, size)?;
        let made = self.gpu.matrix(fill)?;
        let piece = Piece {
            fill,
            range: range.clone(),
            buffer: &buffers.filled,
            offset: 0,
            matrix: made.as_ref().map(|made| made.matrix()),
        };
        self.gpu
            .initializer()
            .submit_piece(self.gpu.queue(), piece)?;
        if range.end == fill.elements() {
            // The last piece: the device's memory is wanted for other things.
            self.gpu.forget_matrix();
        }
        let mapped = Mapped::default();
        let device = self.gpu.device();
        let submission = checked(
            device,
            || context(fill),
            || {
                let mut encoder = device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(&buffers.filled, 0, &buffers.staging, 0, size);
                let submission = self.gpu.queue().submit([encoder.finish()]);
                let done = mapped.clone();
                let staging = &buffers.staging;
                staging.map_async(wgpu::MapMode::Read, ..size.max(4), move |result| {
                    done.set(result);
                });
                submission
            },
        )?;
        self.begun.push_back(Begun {
            key: Key {
                fill: fill.clone(),
                range,
            },
            buffers,
            submission,
            mapped,
        });
        Ok(())
    }

    /// Waits for a piece, the elements of the slice from `start` on, and copies it to `out` as raw
    /// little-endian bytes. One that is not the next of those begun is begun now, and those are
    /// forgotten.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](ReadBack::begin).
    pub fn take(&mut self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        fill.check_range(start, out.len() as u64)?;
        let end = start + out.len() as u64 / fill.dtype().size();
        let wanted = |begun: &Begun| begun.key.range == (start..end) && begun.key.fill == *fill;
        if !self.begun.front().is_some_and(wanted) {
            self.reset();
            self.begin(fill, start..end)?;
        }
        let Some(begun) = self.begun.pop_front() else {
            return Ok(());
        };
        let device = self.gpu.device();
        device
            .poll(wgpu::PollType::Wait {
                submission_index: Some(begun.submission),
                timeout: None,
            })
            .map_err(|error| device_error(context(fill), &error))?;
        let mapped = begun.mapped.take();
        mapped
            .ok_or_else(|| Error::Device {
                context: context(fill),
                detail: "the device was lost".into(),
            })?
            .map_err(|error| device_error(context(fill), &error))?;
        let size = (out.len() as u64).next_multiple_of(4).max(4);
        let view = begun.buffers.staging.get_mapped_range(..size);
        let view = view.map_err(|error| device_error(context(fill), &error))?;
        out.copy_from_slice(&view[..out.len()]);
        drop(view);
        begun.buffers.staging.unmap();
        self.free.push(begun.buffers);
        Ok(())
    }

    /// Forgets the pieces that were begun and not taken.
    pub fn reset(&mut self) {
        // Their buffers go with them: they are mapped, or going to be.
        self.begun.clear();
    }

    /// Buffers that have room for a piece.
    fn buffers(&mut self, fill: &Fill, size: u64) -> Result<Buffers> {
        let size = size.max(4);
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
            || Buffers {
                filled: buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            },
        )
    }
}

fn context(fill: &Fill) -> String {
    format!("reading tensor {:?} back", fill.name())
}
