//! From fills to commands that are ready to be recorded: all that can fail happens here.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Core, Job};

use super::batch::{self, Batch};
use super::dispatch::{self, Dispatch, Request};
use super::initializer::{Initializer, upload};
use super::orthogonal::Matrix;
use super::pipeline::UNIFORM_ENTRIES;
use super::place::{self, Written};
use super::scope::checked;
use super::shader::{self, Bound};

/// Tables of fills that a device keeps: a model has a handful of distinct ones.
const FILL_TABLES: usize = 16;

/// A part of a fill, and where it goes.
pub(super) struct Piece<'a> {
    pub fill: &'a Fill,
    /// Elements of the slice, counted in its own row-major order.
    pub range: Range<u64>,
    pub buffer: &'a wgpu::Buffer,
    /// Element of the buffer that the first one goes to.
    pub offset: u64,
    /// What an orthogonal fill takes its elements from; made first where it is not given.
    pub matrix: Option<&'a Matrix>,
}

impl Piece<'_> {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What the dispatches of a batch have in common, besides their pipeline.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place<'a> {
    buffer: &'a wgpu::Buffer,
    table: wgpu::Buffer,
    /// Fills that share a 32-bit word take turns: within a dispatch they would race.
    turn: bool,
}

/// Work ready to be recorded.
#[derive(Default)]
pub(super) struct Steps {
    pub steps: Vec<Step>,
}

/// One dispatch.
pub(super) struct Step {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    /// The dynamic offset of the uniform buffer.
    pub offset: u32,
    pub grid: [u32; 2],
}

impl Steps {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[step.offset]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
        }
    }
}

impl Initializer {
    /// All that the pieces need, checked: recording it cannot fail.
    pub(super) fn prepare(&self, pieces: &[Piece<'_>]) -> Result<Steps> {
        let turns = place::turns(&written(pieces)?)?;
        let mut steps = Vec::new();
        let mut dispatches = Vec::new();
        for (piece, turn) in pieces.iter().zip(turns) {
            if piece.range.is_empty() {
                continue;
            }
            let job = Job::new(piece.fill)?;
            let made = match piece.matrix {
                Some(_) => None,
                None => self.matrix(piece.fill)?,
            };
            if let Some(matrix) = piece.matrix.or(made.as_ref()) {
                let job = job.with_stride(matrix.stride);
                let place = Place {
                    buffer: piece.buffer,
                    table: matrix.buffer.clone(),
                    turn,
                };
                let alone: Vec<_> = self
                    .cut(&job, piece)
                    .map(|cut| Batch::one(&cut, place.clone()))
                    .collect();
                let fill = self.steps(&alone, || context(piece.fill))?;
                steps.extend(made.into_iter().flat_map(|made| made.steps.steps));
                steps.extend(fill);
                continue;
            }
            let place = Place {
                buffer: piece.buffer,
                table: self.fill_table(piece.fill, &job)?,
                turn,
            };
            dispatches.extend(self.cut(&job, piece).map(|cut| (cut, place.clone())));
        }
        let batches = batch::batches(dispatches, self.batching, self.limits);
        steps.extend(self.steps(&batches, || all(pieces))?);
        Ok(Steps { steps })
    }

    fn cut<'a>(&self, job: &'a Job, piece: &Piece<'_>) -> impl Iterator<Item = Dispatch> + 'a {
        let range = piece.range.clone();
        dispatch::dispatches(job, range, piece.offset, self.limits, self.runs)
    }

    /// The steps of batches, one each.
    fn steps(
        &self,
        batches: &[Batch<Place<'_>>],
        context: impl Fn() -> String,
    ) -> Result<Vec<Step>> {
        let mut steps = Vec::with_capacity(batches.len());
        if batches.is_empty() {
            return Ok(steps);
        }
        let (requests, slots) = self.requests(batches, &context)?;
        for (batch, slot) in batches.iter().zip(slots) {
            let bound = self.bound(batch);
            let pipeline = self.pipelines.get(self.device(), batch.variant, bound)?;
            let bind_group = checked(self.device(), &context, || {
                self.bind_group(&requests, batch, bound)
            })?;
            steps.push(Step {
                pipeline,
                bind_group,
                offset: slot,
                grid: dispatch::grid(batch.workgroups),
            });
        }
        Ok(steps)
    }

    fn bound(&self, batch: &Batch<Place<'_>>) -> Bound {
        Bound {
            many: batch.is_many(),
            uniform_table: self.has_uniform_table(batch.variant.core),
        }
    }

    /// Whether fills of a core read their table from a uniform buffer.
    fn has_uniform_table(&self, core: Core) -> bool {
        self.uniform_tables && shader::has_short_table(core)
    }

    /// The fill's own table on the device: uploaded once for all fills that share it.
    fn fill_table(&self, fill: &Fill, job: &Job) -> Result<wgpu::Buffer> {
        let table = shader::fill_table(job);
        // A panic elsewhere leaves the list as it was: whole buffers only.
        let mut known = self
            .fill_tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, buffer)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, &table)) {
            return Ok(buffer.clone());
        }
        let label = "fanin fill table";
        let buffer = if self.has_uniform_table(job.core) {
            // As long as the shader declares it.
            let mut entries = table.to_vec();
            entries.resize(2 * UNIFORM_ENTRIES, [0; 2]);
            let contents = bytemuck::cast_slice(&entries);
            self.upload(label, contents, wgpu::BufferUsages::UNIFORM, || {
                context(fill)
            })?
        } else {
            let contents = bytemuck::cast_slice(&table);
            self.upload(label, contents, wgpu::BufferUsages::STORAGE, || {
                context(fill)
            })?
        };
        if known.len() >= FILL_TABLES {
            known.clear();
        }
        known.push((table, buffer.clone()));
        Ok(buffer)
    }

    /// The requests of all batches in one uniform buffer, and where in it those of each begin.
    fn requests(
        &self,
        batches: &[Batch<Place<'_>>],
        context: impl Fn() -> String,
    ) -> Result<(wgpu::Buffer, Vec<u32>)> {
        let mut contents = Vec::new();
        let mut slots = Vec::with_capacity(batches.len());
        for batch in batches {
            contents.resize(contents.len().next_multiple_of(self.request_alignment), 0);
            slots.push(contents.len() as u32);
            contents.extend(batch.contents());
        }
        let usage = wgpu::BufferUsages::UNIFORM;
        let buffer = self.upload("fanin requests", &contents, usage, context)?;
        Ok((buffer, slots))
    }

    fn upload(
        &self,
        label: &'static str,
        contents: &[u8],
        usage: wgpu::BufferUsages,
        context: impl Fn() -> String,
    ) -> Result<wgpu::Buffer> {
        checked(self.device(), &context, || {
            upload(self.device(), label, contents, usage)
        })?
        .map_err(|detail| Error::Device {
            context: context(),
            detail,
        })
    }

    fn bind_group(
        &self,
        requests: &wgpu::Buffer,
        batch: &Batch<Place<'_>>,
        bound: Bound,
    ) -> wgpu::BindGroup {
        let part = |buffer, offset, size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: wgpu::BufferSize::new(size),
            })
        };
        let bytes = batch.bound_requests() * size_of::<Request>();
        self.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("fanin"),
            layout: self.pipelines.bindings(bound),
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: part(requests, 0, bytes as u64),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: part(batch.place.buffer, batch.binding_offset, batch.binding_size),
                },
                wgpu::BindGroupEntry {
                    binding: 2,
                    resource: batch.place.table.as_entire_binding(),
                },
            ],
        })
    }
}

/// What each piece writes, once it is known to fit.
fn written<'a>(pieces: &[Piece<'a>]) -> Result<Vec<Written<'a, &'a wgpu::Buffer>>> {
    let written = pieces.iter().map(|piece| {
        let &Piece {
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
        Written::new(fill, piece.length(), buffer, offset, buffer.size())
    });
    written.collect()
}

pub(super) fn context(fill: &Fill) -> String {
    format!("filling tensor {:?}", fill.name())
}

/// The context of what is done for several fills at once.
pub(super) fn all(pieces: &[Piece<'_>]) -> String {
    match pieces {
        [piece] => context(piece.fill),
        [first, rest @ ..] => format!("{} and {} others", context(first.fill), rest.len()),
        [] => "filling no tensor".into(),
    }
}
