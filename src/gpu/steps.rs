//! Dispatches that are ready to be recorded. Everything that can fail happens before recording.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Job, Piece};
use crate::text::quoted;

use super::batch::{self, Batch, Bindings};
use super::device::FillDevice;
use super::device::scope::checked;
use super::dispatch::{self, Chunk, Request};
use super::overlap::WrittenBytes;
use super::shader::ShaderKind;

/// A part of a fill, and the buffer that it goes to.
pub(super) struct FillPiece<'a> {
    pub fill: &'a Fill,
    /// Elements of the slice, counted in its own row-major order.
    pub range: Range<u64>,
    pub buffer: &'a wgpu::Buffer,
    /// The element of the buffer that the first one goes to.
    pub offset: u64,
    /// The matrix of an orthogonal fill, if it is already made.
    pub matrix: Option<DeviceMatrix>,
}

/// A matrix on the device, from which an orthogonal fill takes its elements.
#[derive(Clone, Debug)]
pub(super) struct DeviceMatrix {
    /// The matrix or its transpose as binary32 numbers, rows not fewer than columns.
    pub buffer: wgpu::Buffer,
    /// Elements from one row to the next.
    pub stride: u32,
}

/// A dispatch, ready to be recorded.
pub(super) struct Step {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    /// The dynamic offset of the uniform buffer.
    pub offset: u32,
    pub grid: [u32; 2],
}

/// A chunk with the buffers that its dispatch binds.
type BoundChunk<'a> = (Chunk, Bindings<&'a wgpu::Buffer, wgpu::Buffer>);

type WgpuBatch<'a> = Batch<&'a wgpu::Buffer, wgpu::Buffer>;

/// Records steps into a compute pass.
pub(super) fn record(steps: &[Step], pass: &mut wgpu::ComputePass<'_>) {
    // Dispatches of a pass run in this order, and each sees the writes of those before it.
    for step in steps {
        pass.set_pipeline(&step.pipeline);
        pass.set_bind_group(0, &step.bind_group, &[step.offset]);
        pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
    }
}

impl FillDevice {
    /// Cuts a piece of a job into chunks.
    pub fn chunks<'a>(
        &self,
        job: &Job,
        piece: &Piece,
        bindings: Bindings<&'a wgpu::Buffer, wgpu::Buffer>,
    ) -> impl Iterator<Item = BoundChunk<'a>> {
        let positions = piece.start..piece.start + piece.length;
        dispatch::chunks(job, positions, piece.at, self.limits, self.runs)
            .map(move |chunk| (chunk, bindings.clone()))
    }

    /// Returns the steps of chunks that do not depend on each other: few, in any order.
    pub fn batched_steps(
        &self,
        chunks: Vec<BoundChunk<'_>>,
        context: impl Fn() -> String,
    ) -> Result<Vec<Step>> {
        let batches = batch::batches(chunks, self.batching, self.limits);
        self.steps(&batches, context)
    }

    /// Returns the steps of batches, one for each.
    pub fn steps(
        &self,
        batches: &[WgpuBatch<'_>],
        context: impl Fn() -> String,
    ) -> Result<Vec<Step>> {
        let mut steps = Vec::with_capacity(batches.len());
        if batches.is_empty() {
            return Ok(steps);
        }
        let (requests, offsets) = self.requests(batches, &context)?;
        for (batch, offset) in batches.iter().zip(offsets) {
            let kind = ShaderKind {
                many: batch.is_many(),
                uniform_table: self.has_uniform_table(batch.variant.core),
            };
            let pipeline = self.pipelines.get(&self.wgpu, batch.variant, kind)?;
            let bind_group = checked(&self.wgpu, &context, || {
                self.bind_group(&requests, batch, kind)
            })?;
            steps.push(Step {
                pipeline,
                bind_group,
                offset,
                grid: dispatch::grid(batch.workgroups),
            });
        }
        Ok(steps)
    }

    /// Makes one uniform buffer with the requests of all batches. Returns it with the offset of each
    /// batch's requests.
    fn requests(
        &self,
        batches: &[WgpuBatch<'_>],
        context: impl Fn() -> String,
    ) -> Result<(wgpu::Buffer, Vec<u32>)> {
        let mut contents = Vec::new();
        let mut offsets = Vec::with_capacity(batches.len());
        for batch in batches {
            contents.resize(contents.len().next_multiple_of(self.request_alignment), 0);
            offsets.push(contents.len() as u32);
            contents.extend(batch.contents());
        }
        let usage = wgpu::BufferUsages::UNIFORM;
        let buffer = self.upload("fanin requests", &contents, usage, context)?;
        Ok((buffer, offsets))
    }

    fn bind_group(
        &self,
        requests: &wgpu::Buffer,
        batch: &WgpuBatch<'_>,
        kind: ShaderKind,
    ) -> wgpu::BindGroup {
        let part = |buffer, offset, size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: wgpu::BufferSize::new(size),
            })
        };
        let Bindings { buffer, table, .. } = &batch.bindings;
        let bytes = batch.bound_requests() * size_of::<Request>();
        self.wgpu.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("fanin"),
            layout: self.pipelines.bindings(kind),
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: part(requests, 0, bytes as u64),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: part(buffer, batch.binding_offset, batch.binding_size),
                },
                wgpu::BindGroupEntry {
                    binding: 2,
                    resource: table.as_entire_binding(),
                },
            ],
        })
    }
}

/// Returns the bytes that each piece writes. Refuses pieces that do not fit their buffer.
pub(super) fn written<'a>(
    pieces: &[FillPiece<'a>],
) -> Result<Vec<WrittenBytes<'a, &'a wgpu::Buffer>>> {
    let written = pieces.iter().map(|piece| {
        let &FillPiece {
            fill,
            buffer,
            offset,
            ..
        } = piece;
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::BufferUsage {
                tensor: fill.name().to_owned(),
                missing: "STORAGE",
            });
        }
        let length = piece.range.end.saturating_sub(piece.range.start);
        WrittenBytes::new(fill, length, buffer, offset, buffer.size())
    });
    written.collect()
}

/// Returns the context of errors in a fill.
pub(super) fn context(fill: &Fill) -> String {
    format!("filling tensor {}", quoted(fill.name()))
}

/// Returns the context of errors in several fills at once.
pub(super) fn context_of_all(pieces: &[FillPiece<'_>]) -> String {
    match pieces {
        [piece] => context(piece.fill),
        [first, rest @ ..] => format!("{} and {} others", context(first.fill), rest.len()),
        [] => "filling no tensor".into(),
    }
}
