//! A fill as data, for hosts other than wgpu: Dawn, a browser's own WebGPU, an engine with its
//! own graphics layer.
//!
//! [`Initializer`](super::Initializer) does no more than this with it: compile [`shader`], make
//! a pipeline for each [`Dispatch`] (its entry point and constants say which), bind the
//! dispatch's `request` as a uniform buffer at group 0 binding 0, the range of the destination
//! at binding 1 (read-write storage) and the dispatch's `table` at binding 2 (read-only storage),
//! and dispatch `grid` workgroups.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Core, Job};

use super::dispatch::{self, Request};
use super::pipeline::{self, Bound};

/// The limits of a device that cut a fill into dispatches. No bit depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `maxStorageBufferBindingSize`, in bytes.
    pub binding_size: u64,
    /// `minStorageBufferOffsetAlignment`, in bytes.
    pub binding_alignment: u64,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
}

impl Default for Limits {
    /// What every WebGPU device offers.
    fn default() -> Limits {
        Limits {
            binding_size: 128 << 20,
            binding_alignment: 256,
            workgroup_size: 256,
        }
    }
}

/// One dispatch of a fill.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The shader's entry point.
    pub entry_point: &'static str,
    /// The values of the shader's `override` constants.
    pub constants: [(&'static str, f64); pipeline::CONSTANTS],
    /// Start of the range of the destination that is bound, in bytes, aligned.
    pub binding_offset: u64,
    /// Bytes of that range, a multiple of 4.
    pub binding_size: u64,
    /// The contents of the uniform buffer.
    pub request: [u8; size_of::<Request>()],
    /// The contents of the table that the fill looks up, at least one entry: the same `Arc` for all
    /// normal fills, and for all that share a distribution.
    pub table: Arc<Vec<[u32; 4]>>,
    /// Workgroups in x and y.
    pub grid: [u32; 2],
}

/// The shader's text; with `int64` it needs naga's 64-bit integers, without it is plain WGSL.
pub fn shader(int64: bool) -> &'static str {
    pipeline::shader(
        int64,
        Bound {
            many: false,
            uniform_table: false,
        },
    )
}

/// The dispatches that fill the elements `range` of the slice, in its own row-major order, into a
/// buffer from element `offset` on.
///
/// # Errors
///
/// [`Error::LengthMismatch`] if the range reaches past the end of the slice, [`Error::Device`]
/// if no binding of these limits could hold an element at any offset, or for an orthogonal fill.
///
/// ```
/// use fanin::{Fill, Init, Tensor, gpu::raw};
///
/// let tensor = Tensor::new("w", [1000, 1000])?;
/// let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
/// let dispatches = raw::dispatches(&fill, 0..fill.elements(), 0, raw::Limits::default())?;
/// assert_eq!(dispatches[0].entry_point, "fill_whole_blocks_32");
/// assert_eq!(dispatches[0].grid, [977, 1]); // 10^6 elements, 4 an invocation, 256 a workgroup
/// # Ok::<(), fanin::Error>(())
/// ```
pub fn dispatches(
    fill: &Fill,
    range: Range<u64>,
    offset: u64,
    limits: Limits,
) -> Result<Vec<Dispatch>> {
    if range.end > fill.elements() {
        return Err(Error::LengthMismatch {
            tensor: fill.name().to_owned(),
            expected: fill.elements(),
            got: range.end,
        });
    }
    dispatch::check(limits)?;
    let job = Job::new(fill)?;
    if job.core == Core::Matrix {
        return Err(Error::Device {
            context: format!("filling tensor {:?}", fill.name()),
            detail: "an orthogonal matrix is not made by one shader: use Initializer, or the CPU"
                .into(),
        });
    }
    let table = pipeline::fill_table(&job);
    let cut = dispatch::dispatches(&job, range, offset, limits);
    Ok(cut
        .map(|dispatch| Dispatch {
            entry_point: dispatch.variant.entry.name(),
            constants: dispatch.variant.constants(limits.workgroup_size),
            binding_offset: dispatch.binding_offset,
            binding_size: dispatch.binding_size,
            request: bytemuck::cast(dispatch.request),
            table: Arc::clone(&table),
            grid: dispatch::grid(dispatch.workgroups),
        })
        .collect())
}
