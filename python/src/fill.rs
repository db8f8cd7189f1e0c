//! Fills of memory that Python owns.

use std::time::{Duration, Instant};

use fanin::checkpoint::{Make, Progress, Sources, WithSources};
use fanin::init::DistributionKind;
use fanin::{Error, FanAxes, Fill, FillPart, Init, Tensor, cpu};
use pyo3::prelude::*;

use crate::arguments::{
    Address, BatchAxis, Bytes, Dims, Groups, InAxis, InitText, LayoutText, Name, OutAxis, Part,
    Seed, Stream, Threads, Type,
};
use crate::error::{ArgumentError, raised};
use crate::pool::pool;
use crate::work;

/// The first piece of a fill in bytes. It takes milliseconds on one thread.
const FIRST_PIECE: usize = 4 << 20;

/// The piece that grows no more, in bytes.
const LARGEST_PIECE: usize = 256 << 20;

/// A piece that takes less than this is followed by one of twice the size, so that many threads have
/// enough to do. One that takes more lets Ctrl-C wait no longer.
const ENOUGH: Duration = Duration::from_millis(25);

/// Memory that Python owns, which a fill writes to.
pub struct Memory {
    address: usize,
    bytes: usize,
}

impl Memory {
    /// Returns the memory at an address.
    pub fn new(Address(address): Address, Bytes(bytes): Bytes) -> PyResult<Self> {
        match (usize::try_from(address), usize::try_from(bytes)) {
            (Ok(address), Ok(bytes)) => Ok(Memory { address, bytes }),
            _ => Err(ArgumentError::new_err(format!(
                "address {address} or nbytes {bytes} is out of range: use {} or less",
                usize::MAX
            ))),
        }
    }

    /// Fills the memory.
    ///
    /// The caller of the Python function promises that the memory is writable, and that nothing else
    /// uses it until the fill ends.
    pub fn fill(
        &self,
        py: Python<'_>,
        fill: &Fill,
        sources: &Sources,
        threads: Option<Threads>,
        progress: Option<&Py<PyAny>>,
    ) -> PyResult<()> {
        if fill.bytes() != self.bytes as u64 {
            return Err(ArgumentError::new_err(format!(
                "tensor {:?}: the memory has {} bytes, but {} elements of {} need {}",
                fill.name(),
                self.bytes,
                fill.elements(),
                fill.dtype(),
                fill.bytes()
            )));
        }
        if self.bytes == 0 {
            return fill.check().map_err(raised);
        }
        if self.address == 0 {
            let message = format!("tensor {:?}: the address is 0", fill.name());
            return Err(ArgumentError::new_err(message));
        }
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.address);
        // SAFETY: the memory is that of an array or a tensor, so it is allocated in one piece of these
        // bytes, which is less than isize::MAX. Any bytes are valid u8. The caller promises that
        // nothing else reads or writes it until the fill ends, and the slice ends before that.
        let out = unsafe { std::slice::from_raw_parts_mut(start, self.bytes) };
        let pool = pool(py, threads)?;
        work::run(py, &pool, progress, self.bytes as u128, |progress| {
            pieces(fill, sources, out, progress)
        })
    }
}

/// Fills memory piece by piece, so that it can be interrupted.
fn pieces(
    fill: &Fill,
    sources: &Sources,
    out: &mut [u8],
    progress: &mut Progress<'_>,
) -> fanin::Result<()> {
    let mut cpu = cpu::fill_range;
    let mut make = WithSources::new(&mut cpu, sources);
    if !fill.dtype().bits().is_multiple_of(8) || has_matrix(fill) {
        make.make(fill, 0, out)?;
        let _ = progress(out.len() as u64);
        return Ok(());
    }
    let mut step = FIRST_PIECE;
    let (mut start, mut rest) = (0, out);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at_mut(step.min(rest.len()));
        let begin = Instant::now();
        make.make(fill, start, piece)?;
        if begin.elapsed() < ENOUGH {
            step = (2 * step).min(LARGEST_PIECE);
        }
        start += piece.len() as u64 / fill.dtype().size();
        if progress(piece.len() as u64).is_break() {
            return Err(Error::Interrupted);
        }
        rest = after;
    }
    Ok(())
}

/// Returns true if a fill has an orthogonal matrix, which is made as a whole.
fn has_matrix(fill: &Fill) -> bool {
    let parts = fill.parts().iter().map(FillPart::distribution);
    std::iter::once(fill.distribution())
        .chain(parts)
        .any(|distribution| matches!(distribution.kind(), DistributionKind::Orthogonal { .. }))
}

/// The axes of the inputs, the outputs and a batch.
pub struct Axes(
    pub Option<InAxis>,
    pub Option<OutAxis>,
    pub Option<BatchAxis>,
);

impl Axes {
    /// Returns the axes of the fans, if any is given. The defaults are those of the command line.
    fn fan_axes(self) -> Option<FanAxes> {
        match self {
            Axes(None, None, None) => None,
            Axes(inputs, outputs, batch) => Some(FanAxes {
                inputs: inputs.map_or_else(|| vec![-2], |InAxis(axes)| axes),
                outputs: outputs.map_or_else(|| vec![-1], |OutAxis(axes)| axes),
                batch: batch.map_or_else(Vec::new, |BatchAxis(axes)| axes),
            }),
        }
    }
}

/// Returns a tensor that has no plan.
pub fn tensor(
    name: &str,
    Dims(dims): Dims,
    layout: Option<LayoutText>,
    Groups(groups): Groups,
    axes: Axes,
    stream: Option<Stream>,
) -> fanin::Result<Tensor> {
    let mut tensor = Tensor::new(name, dims)?.with_groups(groups);
    if let Some(LayoutText(layout)) = layout {
        let layout = layout.parse().map_err(|error: Error| error.named(name))?;
        tensor = tensor.with_layout(layout);
    }
    if let Some(axes) = axes.fan_axes() {
        tensor = tensor.with_fan_axes(axes);
    }
    if let Some(Stream(stream)) = stream {
        tensor = tensor.with_stream_id(stream);
    }
    Ok(tensor)
}

/// Returns the fill of a tensor, or of a slice of it.
pub fn request(
    tensor: &Tensor,
    InitText(init): InitText,
    Seed(seed): Seed,
    Type(dtype): Type,
    slice: Option<Part>,
) -> fanin::Result<Fill> {
    let init: Init = init
        .parse()
        .map_err(|error: Error| error.named(tensor.name()))?;
    let fill = Fill::new(tensor, &init, seed)?.with_dtype(dtype);
    match slice {
        Some(slice) => slice.of(fill),
        None => Ok(fill),
    }
}

/// Fills the memory at an address with a tensor, or with a slice of it.
///
/// The memory must be writable and contiguous, and nothing else may use it until the function returns.
/// The elements are little-endian, in row-major order.
#[pyfunction]
#[pyo3(signature = (init, shape, address, nbytes, *, name, seed, dtype, layout=None, groups=Groups(1),
                    in_axis=None, out_axis=None, batch_axis=None, slice=None, threads=None,
                    stream=None, progress=None))]
#[expect(clippy::too_many_arguments)]
pub fn fill_at(
    py: Python<'_>,
    init: InitText,
    shape: Dims,
    address: Address,
    nbytes: Bytes,
    name: Name,
    seed: Seed,
    dtype: Type,
    layout: Option<LayoutText>,
    groups: Groups,
    in_axis: Option<InAxis>,
    out_axis: Option<OutAxis>,
    batch_axis: Option<BatchAxis>,
    slice: Option<Part>,
    threads: Option<Threads>,
    stream: Option<Stream>,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let axes = Axes(in_axis, out_axis, batch_axis);
    let tensor = tensor(&name.0, shape, layout, groups, axes, stream).map_err(raised)?;
    let fill = request(&tensor, init, seed, dtype, slice).map_err(raised)?;
    let memory = Memory::new(address, nbytes)?;
    memory.fill(py, &fill, &Sources::new(), threads, progress.as_ref())
}
