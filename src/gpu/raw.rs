//! Fills as data, for hosts other than wgpu: Dawn, a browser's own WebGPU, an engine with its
//! own graphics layer. The feature `raw` has this module alone, and no wgpu.
//!
//! The feature `gpu`'s `Initializer` does no more than this with it: compile [`shader`], make a
//! pipeline for each [`Dispatch`] (its entry point and constants say which), bind the dispatch's
//! `request` as a uniform buffer at group 0 binding 0, the range of the destination at binding 1
//! (read-write storage) and the dispatch's `table` at binding 2 (read-only storage), and dispatch
//! `grid` workgroups. `web/` in the repository does it in JavaScript.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Core, FillTable, Job};

use super::batch::{self, Batch, Batching};
use super::dispatch;
use super::place::{self, Written};
use super::probe;
use super::shader::{self, Bound, CONSTANTS, MAX_REQUESTS};

/// The limits of a device that cut a fill into dispatches. No bit depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `maxStorageBufferBindingSize`, in bytes.
    pub binding_size: u64,
    /// `minStorageBufferOffsetAlignment`, in bytes.
    pub binding_alignment: u64,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Whether the device has passed the [`Probe`]: its floats are exact where WGSL says so. Without it
    /// values are made in integers, which takes longer and gives the same bits.
    pub exact_floats: bool,
}

impl Default for Limits {
    /// What every WebGPU device offers, before it has passed the probe.
    fn default() -> Limits {
        Limits {
            binding_size: 128 << 20,
            binding_alignment: 256,
            workgroup_size: 256,
            exact_floats: false,
        }
    }
}

/// A small dispatch that tells whether a device's floats are exact: run it once for each device.
///
/// Compile `shader`, whose entry point is `probe`; bind `trials` at group 0 binding 0 (read-only
/// storage) and a buffer of [`answer_bytes`](Probe::answer_bytes) at binding 1 (read-write storage);
/// dispatch `workgroups` workgroups and read the second buffer back.
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
    /// The probe.
    #[must_use]
    pub fn new() -> Probe {
        let trials = probe::contents();
        Probe {
            shader: probe::SHADER,
            workgroups: probe::workgroups(&trials),
            trials,
        }
    }

    /// Bytes of the buffer of answers.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        self.trials.len() as u64 / 2
    }

    /// Whether the answers are exact: [`Limits::exact_floats`].
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

/// A buffer of the host's, with a number that the host gives it: equal numbers are one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The number.
    pub number: usize,
    /// The buffer's size in bytes.
    pub size: u64,
}

/// A fill and the place it goes to: one of many in [`dispatches_of_all`].
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The values.
    pub fill: &'a Fill,
    /// Where they go.
    pub buffer: Buffer,
    /// Where in the buffer the first element goes, counted in elements of the fill's dtype.
    pub offset: u64,
}

/// One dispatch: of a fill, of a part of it, or of many.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// Whether it does the work of many requests: which [`shader`] it takes.
    pub many: bool,
    /// The shader's entry point.
    pub entry_point: &'static str,
    /// The values of the shader's `override` constants.
    pub constants: [(&'static str, f64); CONSTANTS],
    /// The [number](Buffer::number) of the destination; 0 from [`dispatches`].
    pub buffer: usize,
    /// Start of the range of the destination that is bound, in bytes, aligned.
    pub binding_offset: u64,
    /// Bytes of that range, a multiple of 4.
    pub binding_size: u64,
    /// The contents of the uniform buffer: some 200 bytes, or 64 times as many for many requests.
    pub request: Vec<u8>,
    /// The contents of the table that the fill looks up, at least one entry: the same `Arc` for all
    /// normal fills, and for all that share a distribution.
    pub table: Arc<Vec<[u32; 2]>>,
    /// Workgroups in x and y.
    pub grid: [u32; 2],
}

/// The shader's text: for dispatches of one request or of `many`; with `int64` it needs naga's
/// 64-bit integers, without it is plain WGSL.
pub fn shader(int64: bool, many: bool) -> &'static str {
    shader::shader(
        int64,
        Bound {
            many,
            uniform_table: false,
        },
    )
}

/// The dispatches that fill the elements `range` of the slice, in its own row-major order, into a
/// buffer from element `offset` on. Each has one request.
///
/// # Errors
///
/// [`Error::LengthMismatch`] if the range reaches past the end of the slice,
/// [`Error::BufferTooSmall`] if no buffer could be as large as the offset asks for,
/// [`Error::Device`] if no binding of these limits could hold an element at any offset, or for an
/// orthogonal fill.
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
    dispatch::check(limits)?;
    let length = range.end.saturating_sub(range.start);
    Written::new(fill, length, (), offset, u64::MAX)?;
    let job = job(fill)?;
    let place = Place::new(0, &job, false);
    let cut = dispatch::dispatches(&job, range, offset, limits, false);
    Ok(cut
        .map(|dispatch| Dispatch::new(&Batch::one(&dispatch, place.clone()), limits))
        .collect())
}

/// The dispatches that fill many tensors, a whole model say, each one's whole slice: few where
/// tensors share a buffer and a distribution. They must run in the order given, in one pass or in
/// several. The targets may stand in any order, in one buffer or in many, side by side without a
/// gap.
///
/// ```
/// use fanin::gpu::raw::{self, Buffer, Target};
/// use fanin::{Fill, Init, Tensor};
///
/// let weight = Fill::new(&Tensor::new("fc.weight", [256, 784])?, &Init::kaiming_normal(), 42)?;
/// let other = Fill::new(&Tensor::new("out.weight", [10, 256])?, &Init::kaiming_normal(), 42)?;
/// let arena = Buffer { number: 0, size: weight.bytes() + other.bytes() };
/// let targets = [
///     Target { fill: &weight, buffer: arena, offset: 0 },
///     Target { fill: &other, buffer: arena, offset: weight.elements() },
/// ];
/// let dispatches = raw::dispatches_of_all(&targets, raw::Limits::default())?;
/// assert_eq!(dispatches.len(), 1);
/// assert!(dispatches[0].many);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::BufferTooSmall`] if a buffer ends before a fill does (rounded up to whole 32-bit
/// words), [`Error::Overlap`] if two would write the same bytes, [`Error::Device`] if no binding of
/// these limits could hold an element at any offset, or for an orthogonal fill.
pub fn dispatches_of_all(targets: &[Target<'_>], limits: Limits) -> Result<Vec<Dispatch>> {
    dispatch::check(limits)?;
    let written: Vec<_> = targets
        .iter()
        .map(|target| {
            let Target {
                fill,
                buffer: Buffer { number, size },
                offset,
            } = *target;
            Written::new(fill, fill.elements(), number, offset, size)
        })
        .collect::<Result<_>>()?;
    let turns = place::turns(&written)?;
    let mut dispatches = Vec::new();
    for (target, turn) in targets.iter().zip(turns) {
        let job = job(target.fill)?;
        let place = Place::new(target.buffer.number, &job, turn);
        let all = 0..target.fill.elements();
        let cut = dispatch::dispatches(&job, all, target.offset, limits, false);
        dispatches.extend(cut.map(|dispatch| (dispatch, place.clone())));
    }
    let batching = Batching {
        requests: MAX_REQUESTS,
        elements: u64::MAX,
    };
    let batches = batch::batches(dispatches, batching, limits);
    Ok(batches
        .iter()
        .map(|batch| Dispatch::new(batch, limits))
        .collect())
}

/// The job of a fill that the fill shader can do alone.
fn job(fill: &Fill) -> Result<Job> {
    let job = Job::new(fill)?;
    if job.core == Core::Matrix {
        return Err(Error::Device {
            context: format!("filling tensor {:?}", fill.name()),
            detail: "an orthogonal matrix is not made by one shader: use Initializer, or the CPU"
                .into(),
        });
    }
    Ok(job)
}

/// What the dispatches of a batch have in common, besides their pipeline.
#[derive(Clone)]
struct Place {
    buffer: usize,
    table: FillTable,
    /// Fills that share a 32-bit word take turns: within a dispatch they would race.
    turn: bool,
}

impl Place {
    fn new(buffer: usize, job: &Job, turn: bool) -> Place {
        Place {
            buffer,
            table: shader::fill_table(job),
            turn,
        }
    }

    /// What tells it from others: a table by where it is held.
    fn key(&self) -> (usize, usize, bool) {
        (self.buffer, Arc::as_ptr(&self.table).addr(), self.turn)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Dispatch {
    fn new(batch: &Batch<Place>, limits: Limits) -> Dispatch {
        Dispatch {
            many: batch.is_many(),
            entry_point: batch.variant.entry.name(),
            constants: batch.variant.constants(limits.workgroup_size),
            buffer: batch.place.buffer,
            binding_offset: batch.binding_offset,
            binding_size: batch.binding_size,
            request: batch.contents(),
            table: Arc::clone(&batch.place.table),
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
        let side_by_side: Vec<Target<'_>> = (0..)
            .zip(&fills)
            .map(|(i, fill)| Target {
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
            Target {
                fill: &uniform,
                buffer,
                offset: 100,
            },
            Target {
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

    /// The words of the destination that each request of a dispatch writes, ends included.
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

    #[test]
    fn requests_of_a_dispatch_share_no_word() {
        let tensor = Tensor::new("w", [37, 11]).unwrap();
        let whole = Fill::new(&tensor, &Init::normal(0.0, 1.0), 42).unwrap();
        // Runs and blocks of odd lengths, which begin where the one before ended: in a word of it.
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
                    let buffer = Buffer {
                        number: 0,
                        size: 1 << 20,
                    };
                    // A neighbour on each side, in the words where the parts begin and end.
                    let offsets = [1, 2, 0].map(|i| offset + i * fill.elements());
                    let targets = offsets.map(|offset| Target {
                        fill: &fill,
                        buffer,
                        offset,
                    });
                    let made = dispatches_of_all(&targets, Limits::default()).unwrap();
                    let mut written = 0;
                    for dispatch in &made {
                        let mut words = words(dispatch, dtype);
                        words.sort_by_key(|words| words.start);
                        written += words.len();
                        for pair in words.windows(2) {
                            assert!(
                                pair[0].end <= pair[1].start,
                                "{dtype} {} at {offset}: {words:?}",
                                fill.local()
                            );
                        }
                    }
                    let regions = 3 * slices.len();
                    assert!(written >= regions, "{written} requests");
                    assert!(made.len() < regions, "{} dispatches", made.len());
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
        let target = Target {
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
            let targets = [(&a, offsets[0]), (&b, offsets[1])].map(|(fill, offset)| Target {
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
