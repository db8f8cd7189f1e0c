//! Fills as data, for hosts other than wgpu: Dawn, a browser's own WebGPU, an engine with its
//! own graphics layer. The feature `raw` has this module alone, and no wgpu.
//!
//! A host does the following, and `Initializer` of the feature `gpu` does no more:
//!
//! 1. Compile [`shader`].
//! 2. For each [`Dispatch`], make a pipeline with its entry point and constants.
//! 3. Bind the dispatch's `request` as a uniform buffer at group 0 binding 0, the range of the
//!    destination at binding 1 (read-write storage), and the dispatch's `table` at binding 2
//!    (read-only storage).
//! 4. Dispatch `grid` workgroups.
//!
//! `web/` in the repository does this in JavaScript.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{FillTable, Jobs, PartJob};
use crate::text::quoted;

use super::batch::{self, Batch, Batching, Bindings, Turns};
use super::dispatch::{self, Chunk};
use super::overlap::{self, WrittenBytes};
use super::probe;
use super::shader::{self, CONSTANTS, MAX_REQUESTS, ShaderKind};

pub use super::limits::Limits;

/// A small dispatch that tells whether a device's floats are exact. Run it once for each device.
///
/// Compile `shader`, whose entry point is `probe`. Bind `trials` at group 0 binding 0 (read-only
/// storage) and a buffer of [`answer_bytes`](Probe::answer_bytes) at binding 1 (read-write storage).
/// Dispatch `workgroups` workgroups and read the second buffer back.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The shader's text.
    pub shader: &'static str,
    /// The contents of the buffer of trials.
    pub trials: Vec<u8>,
    /// Workgroups in x.
    pub workgroups: u32,
}

impl Probe {
    /// Makes the probe.
    #[must_use]
    pub fn new() -> Probe {
        let trials = probe::contents();
        Probe {
            shader: probe::SHADER,
            workgroups: probe::workgroups(&trials),
            trials,
        }
    }

    /// Returns the size of the buffer of answers in bytes.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        self.trials.len() as u64 / 2
    }

    /// Returns whether the answers are exact, for [`Limits::exact_floats`].
    #[must_use]
    pub fn is_exact(&self, answers: &[u8]) -> bool {
        probe::is_exact(answers)
    }
}

impl Default for Probe {
    fn default() -> Probe {
        Probe::new()
    }
}

/// A buffer of the host. The host chooses its number; equal numbers are the same buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The number.
    pub number: usize,
    /// The buffer's size in bytes.
    pub size: u64,
}

/// A fill, with the buffer and offset it goes to: one of many in [`dispatches_of_all`].
#[derive(Clone, Copy, Debug)]
pub struct BufferFill<'a> {
    /// The fill.
    pub fill: &'a Fill,
    /// The destination.
    pub buffer: Buffer,
    /// The offset of the first element in the buffer, in elements of the fill's dtype.
    pub offset: u64,
}

/// A dispatch for a fill, a part of one, or many fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// True if the dispatch needs the [`shader`] for many requests.
    pub many: bool,
    /// The shader's entry point.
    pub entry_point: &'static str,
    /// The values of the shader's `override` constants.
    pub constants: [(&'static str, f64); CONSTANTS],
    /// The [number](Buffer::number) of the destination; 0 from [`dispatches`].
    pub buffer: usize,
    /// The start of the bound range of the destination, in bytes, aligned.
    pub binding_offset: u64,
    /// The size of that range in bytes, a multiple of 4.
    pub binding_size: u64,
    /// The contents of the uniform buffer: 256 bytes, or 64 times as many for many requests.
    pub request: Vec<u8>,
    /// The contents of the lookup table, at least one entry. All normal fills share one `Arc`, and so
    /// do fills of the same distribution.
    pub table: Arc<Vec<[u32; 2]>>,
    /// Workgroups in x and y.
    pub grid: [u32; 2],
}

/// Returns the shader's text, for dispatches of one request or of `many`. With `int64` it needs naga's
/// 64-bit integers; without, it is plain WGSL.
pub fn shader(int64: bool, many: bool) -> &'static str {
    shader::shader(
        int64,
        ShaderKind {
            many,
            uniform_table: false,
        },
    )
}

/// Returns the dispatches that fill the elements `range` of the slice, in its own row-major order,
/// into a buffer from element `offset` on. Each has one request.
///
/// # Errors
///
/// [`Error::LengthMismatch`] if the range reaches past the end of the slice,
/// [`Error::BufferTooSmall`] if no buffer could be as large as the offset asks for,
/// [`Error::Device`] if no binding of these limits could hold an element at any offset, or for an
/// orthogonal fill, [`Error::DType`] for a dtype other than f32, f16 and bf16, [`Error::Kept`] for a
/// tensor that is kept from a file.
///
/// ```
/// use fanin::{Fill, Init, Tensor, gpu::raw};
///
/// let tensor = Tensor::new("w", [1000, 1000])?;
/// let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
/// let dispatches = raw::dispatches(&fill, 0..fill.elements(), 0, raw::Limits::default())?;
/// assert_eq!(dispatches[0].entry_point, "fill_whole_blocks_32");
/// assert_eq!(dispatches[0].grid, [489, 1]); // 10^6 elements, 8 an invocation, 256 a workgroup
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
    limits.check()?;
    let length = range.end.saturating_sub(range.start);
    WrittenBytes::new(fill, length, (), offset, u64::MAX)?;
    let chunks = chunks(fill, range, 0, offset, false, limits)?.into_iter();
    Ok(chunks
        .map(|(chunk, bindings)| Dispatch::new(&Batch::one(&chunk, bindings), limits))
        .collect())
}

/// Returns the dispatches that fill the slices of many tensors, such as a whole model.
///
/// Tensors that share a buffer and a distribution share dispatches. The dispatches must run in the
/// order given, in one pass or in several. The fills can be in any order, in one buffer or in many,
/// side by side without a gap.
///
/// ```
/// use fanin::gpu::raw::{self, Buffer, BufferFill};
/// use fanin::{Fill, Init, Tensor};
///
/// let weight = Fill::new(&Tensor::new("fc.weight", [256, 784])?, &Init::kaiming_normal(), 42)?;
/// let other = Fill::new(&Tensor::new("out.weight", [10, 256])?, &Init::kaiming_normal(), 42)?;
/// let arena = Buffer { number: 0, size: weight.bytes() + other.bytes() };
/// let fills = [
///     BufferFill { fill: &weight, buffer: arena, offset: 0 },
///     BufferFill { fill: &other, buffer: arena, offset: weight.elements() },
/// ];
/// let dispatches = raw::dispatches_of_all(&fills, raw::Limits::default())?;
/// assert_eq!(dispatches.len(), 1);
/// assert!(dispatches[0].many);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::BufferTooSmall`] if a buffer ends before a fill does (rounded up to whole 32-bit
/// words), [`Error::Overlap`] if two would write the same bytes, [`Error::Device`] if no binding of
/// these limits could hold an element at any offset, or for an orthogonal fill, [`Error::DType`] for
/// a dtype other than f32, f16 and bf16, [`Error::Kept`] for a tensor that is kept from a file.
pub fn dispatches_of_all(fills: &[BufferFill<'_>], limits: Limits) -> Result<Vec<Dispatch>> {
    limits.check()?;
    let written: Vec<_> = fills
        .iter()
        .map(|target| {
            let Buffer { number, size } = target.buffer;
            let elements = target.fill.elements();
            WrittenBytes::new(target.fill, elements, number, target.offset, size)
        })
        .collect::<Result<_>>()?;
    let turns = overlap::turns(&written)?;
    let mut chunks = Vec::new();
    for (target, turn) in fills.iter().zip(turns) {
        let all = 0..target.fill.elements();
        let (buffer, offset) = (target.buffer.number, target.offset);
        chunks.extend(self::chunks(
            target.fill,
            all,
            buffer,
            offset,
            turn,
            limits,
        )?);
    }
    let batching = Batching {
        requests: MAX_REQUESTS,
        elements: u64::MAX,
    };
    Ok(batch::batches(chunks, batching, limits)
        .iter()
        .map(|batch| Dispatch::new(batch, limits))
        .collect())
}

/// Cuts the elements `range` of a fill into chunks, which the fill shader can make alone.
fn chunks(
    fill: &Fill,
    range: Range<u64>,
    buffer: usize,
    offset: u64,
    turn: bool,
    limits: Limits,
) -> Result<Vec<(Chunk, Bindings<usize, TableAddress>)>> {
    let jobs = Jobs::for_device(fill)?;
    jobs.check_runs(range.clone())?;
    if jobs.all().iter().any(PartJob::is_matrix) {
        return Err(Error::Device {
            context: format!("filling tensor {}", quoted(fill.name())),
            detail: "one shader cannot make an orthogonal matrix: use Initializer, or the CPU"
                .into(),
        });
    }
    let tables = jobs.all().iter().map(|part| shader::fill_table(&part.job));
    let tables: Vec<FillTable> = tables.collect();
    let mut chunks = Vec::new();
    for (piece, piece_turn) in dispatch::pieces(&jobs, range, offset) {
        let job = &jobs.all()[piece.owner].job;
        let bindings = Bindings {
            buffer,
            table: TableAddress(Arc::clone(&tables[piece.owner])),
            turns: Turns {
                fill: turn,
                piece: piece_turn,
            },
        };
        let positions = piece.start..piece.start + piece.length;
        // Without runs, which need the table in a uniform buffer: `shader` has it in a storage buffer.
        let cut = dispatch::chunks(job, positions, piece.at, limits, false);
        chunks.extend(cut.map(|chunk| (chunk, bindings.clone())));
    }
    Ok(chunks)
}

/// A table that is equal to others at the same address only, which costs no look at its contents.
#[derive(Clone)]
struct TableAddress(FillTable);

impl PartialEq for TableAddress {
    fn eq(&self, other: &TableAddress) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TableAddress {}

impl std::hash::Hash for TableAddress {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Dispatch {
    fn new(batch: &Batch<usize, TableAddress>, limits: Limits) -> Dispatch {
        Dispatch {
            many: batch.is_many(),
            entry_point: batch.variant.entry.name(),
            constants: batch.variant.constants(limits.workgroup_size),
            buffer: batch.bindings.buffer,
            binding_offset: batch.binding_offset,
            binding_size: batch.binding_size,
            request: batch.contents(),
            table: Arc::clone(&batch.bindings.table.0),
            grid: dispatch::grid(batch.workgroups),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::tensor::{DType, Tensor};

    fn fill(name: &str, elements: u64, init: &Init) -> Fill {
        let tensor = Tensor::new(name, [elements]).unwrap();
        Fill::new(&tensor, init, 42)
            .unwrap()
            .with_dtype(DType::BF16)
    }

    #[test]
    fn tensors_that_share_a_word_take_turns_and_others_a_dispatch() {
        let fills: Vec<Fill> = (0..100)
            .map(|i| fill(&format!("t{i}"), 3, &Init::normal(0.0, 1.0)))
            .collect();
        let buffer = Buffer {
            number: 7,
            size: 600,
        };
        let side_by_side: Vec<BufferFill<'_>> = (0..)
            .zip(&fills)
            .map(|(i, fill)| BufferFill {
                fill,
                buffer,
                offset: 3 * i,
            })
            .collect();
        let made = dispatches_of_all(&side_by_side, Limits::default()).unwrap();
        // Every second tensor begins in a word of the one before.
        assert_eq!(made.len(), 2);
        for dispatch in &made {
            assert!(dispatch.many);
            assert_eq!(dispatch.buffer, 7);
            assert_eq!(dispatch.request.len() % MAX_REQUESTS, 0);
            assert_eq!(dispatch.grid, [50, 1]);
        }
        assert!(Arc::ptr_eq(&made[0].table, &made[1].table));

        let uniform = fill("u", 8, &Init::uniform(-1.0, 1.0));
        let apart = [
            side_by_side[0],
            BufferFill {
                fill: &uniform,
                buffer,
                offset: 100,
            },
            BufferFill {
                fill: &fills[1],
                buffer: Buffer {
                    number: 8,
                    size: 600,
                },
                offset: 0,
            },
        ];
        let made = dispatches_of_all(&apart, Limits::default()).unwrap();
        assert_eq!(made.len(), 3);
        assert!(made.iter().all(|dispatch| !dispatch.many));
    }

    /// Returns the words of the destination that each request of a dispatch writes, even in part.
    fn words(dispatch: &Dispatch, dtype: DType) -> Vec<Range<u64>> {
        let requests: &[dispatch::Request] = bytemuck::cast_slice(&dispatch.request);
        let used = requests.iter().filter(|request| request.count > 0);
        let words = used.map(|request| {
            let size = dtype.size();
            let start = dispatch.binding_offset + u64::from(request.destination) * size;
            let end = start + u64::from(request.count) * size;
            start / 4..end.div_ceil(4)
        });
        words.collect()
    }

    /// Puts a fill three times side by side, so that neighbours share words, and checks that the requests
    /// of each dispatch share none. Returns the number of dispatches, and of requests.
    fn side_by_side(fill: &Fill, offset: u64) -> (usize, usize) {
        let buffer = Buffer {
            number: 0,
            size: 1 << 20,
        };
        let offsets = [1, 2, 0].map(|i| offset + i * fill.elements());
        let targets = offsets.map(|offset| BufferFill {
            fill,
            buffer,
            offset,
        });
        let made = dispatches_of_all(&targets, Limits::default()).unwrap();
        let mut written = 0;
        for dispatch in &made {
            let mut words = words(dispatch, fill.dtype());
            words.sort_by_key(|words| words.start);
            written += words.len();
            for pair in words.windows(2) {
                let (dtype, local) = (fill.dtype(), fill.local());
                assert!(
                    pair[0].end <= pair[1].start,
                    "{dtype} {local} at {offset}: {words:?}"
                );
            }
        }
        (made.len(), written)
    }

    #[test]
    fn pieces_of_parts_share_no_word() {
        let tensor = Tensor::new("w", [37, 11]).unwrap();
        let normal = Init::normal(0.0, 1.0);
        // A part with the initializer of its neighbours would share their dispatch but for its turn.
        let fill = Fill::new(&tensor, &normal, 42)
            .and_then(|fill| fill.with_part([0..37, 6..7], &normal))
            .and_then(|fill| fill.with_part([5..9, 0..11], &Init::uniform(0.0, 1.0)))
            .and_then(|fill| fill.with_part([0..37, 3..4], &Init::ones()))
            .unwrap();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for offset in 0..4 {
                let (made, written) = side_by_side(&fill.clone().with_dtype(dtype), offset);
                // Each of the 33 rows outside of the second part has five pieces or more, of which
                // two may be one with those of the next row.
                assert!(written >= 3 * 33 * 4, "{written} requests");
                assert!(made <= 40, "{made} dispatches");
            }
        }
        let scalar = fill.slice([0..1, 6..7]).unwrap();
        let made = dispatches(&scalar, 0..1, 0, Limits::default()).unwrap();
        assert_eq!(made.len(), 1);
    }

    #[test]
    fn requests_of_a_dispatch_share_no_word() {
        let tensor = Tensor::new("w", [37, 11]).unwrap();
        let whole = Fill::new(&tensor, &Init::normal(0.0, 1.0), 42).unwrap();
        // Runs and blocks of odd lengths. Each begins in the word in which the one before ends.
        let parts = [
            vec![[0..1, 0..11], [3..5, 0..11], [5..6, 0..11], [36..37, 0..11]],
            vec![[0..1, 4..5], [2..3, 4..5], [4..5, 4..5], [6..9, 4..5]],
            vec![[1..4, 2..9], [6..9, 2..9], [10..11, 2..9]],
        ];
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for slices in &parts {
                let fill = whole.clone().with_dtype(dtype);
                let fill = fill.blocks(slices.iter().cloned()).unwrap();
                for offset in 0..4 {
                    let (made, written) = side_by_side(&fill, offset);
                    let regions = 3 * slices.len();
                    assert!(written >= regions, "{written} requests");
                    assert!(made < regions, "{made} dispatches");
                }
            }
        }
    }

    #[test]
    fn one_target_is_cut_as_its_fill_is() {
        let fill = fill("w", 100_001, &Init::normal(0.0, 1.0));
        let limits = Limits {
            binding_size: 4096,
            ..Limits::default()
        };
        let buffer = Buffer {
            number: 0,
            size: 1 << 20,
        };
        let target = BufferFill {
            fill: &fill,
            buffer,
            offset: 5,
        };
        let expected = dispatches(&fill, 0..100_001, 5, limits).unwrap();
        let made = dispatches_of_all(&[target], limits).unwrap();
        assert_eq!(made, expected);
        assert_eq!(made.len(), (200_002 + 10u64).div_ceil(4096) as usize);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (a, b) = (
            fill("a", 8, &Init::normal(0.0, 1.0)),
            fill("b", 8, &Init::ones()),
        );
        let refused = |offsets: [u64; 2], size| {
            let buffer = Buffer { number: 0, size };
            let targets = [(&a, offsets[0]), (&b, offsets[1])].map(|(fill, offset)| BufferFill {
                fill,
                buffer,
                offset,
            });
            dispatches_of_all(&targets, Limits::default())
        };
        assert!(refused([0, 8], 32).is_ok());
        assert!(matches!(
            refused([0, 7], 32),
            Err(Error::Overlap {
                start: 14,
                end: 16,
                ..
            })
        ));
        for offset in [9, 1 << 40, u64::MAX / 2, u64::MAX - 8, u64::MAX] {
            for size in [32, u64::MAX] {
                let made = refused([0, offset], size);
                let fits = size == u64::MAX && offset <= 1 << 40;
                assert_eq!(made.is_ok(), fits, "{offset} of {size}");
            }
            assert_eq!(
                dispatches(&a, 0..8, offset, Limits::default()).is_ok(),
                offset <= 1 << 40
            );
        }
        let tensor = Tensor::new("q", [8, 8]).unwrap();
        let orthogonal = Fill::new(&tensor, &"orthogonal".parse().unwrap(), 1).unwrap();
        let message = dispatches(&orthogonal, 0..64, 0, Limits::default()).unwrap_err();
        assert!(message.to_string().contains("orthogonal"), "{message}");
    }
}
