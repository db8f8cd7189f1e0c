//! Timing fills on the CPU, and checking their bits.

use std::time::{Duration, Instant};

use fanin::{DType, Fill, Init, Tensor, cpu};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Failure;

/// The number of elements on the CPU and on software drivers: more than their caches hold, and a
/// few seconds of work at most.
pub const ELEMENTS: u64 = 1 << 24;

/// The number of elements on a GPU: enough that the cost of a submission is negligible.
#[cfg(feature = "gpu")]
pub const ELEMENTS_ON_HARDWARE: u64 = 1 << 26;

/// The minimum number of elements in a short run, or with little memory.
pub const MIN_ELEMENTS: u64 = 1 << 16;

/// From this budget on, buffers have their full size.
const SECONDS_FOR_ALL_ELEMENTS: f64 = 5.0;

/// The minimum number of repetitions. A median of fewer is not robust.
pub const MIN_REPETITIONS: usize = 3;

/// The number of bytes that are compared at a time.
const PIECE: usize = 32 << 20;

/// The shares of a row's time for the fill and for the plain fill, which takes less time. The first
/// fill and the check take the rest.
pub const FILL_SHARE: f64 = 0.6;
pub const PLAIN_FILL_SHARE: f64 = 0.2;

/// A fill that is timed.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    init: fn() -> Init,
    pub dtype: DType,
}

pub const CASES: [Case; 4] = [
    Case {
        name: "normal f32",
        init: || Init::normal(0.0, 0.02),
        dtype: DType::F32,
    },
    Case {
        name: "normal bf16",
        init: || Init::normal(0.0, 0.02),
        dtype: DType::BF16,
    },
    Case {
        name: "uniform f32",
        init: || Init::uniform(-0.05, 0.05),
        dtype: DType::F32,
    },
    Case {
        name: "truncated normal f32",
        init: || Init::trunc_normal(0.0, 0.02, -0.04, 0.04),
        dtype: DType::F32,
    },
];

impl Case {
    /// Returns a fill of the first elements of a tensor. The tensor does not depend on their
    /// number, so the bits of a smaller buffer are a prefix of those of a larger one.
    pub fn fill(&self, elements: u64) -> fanin::Result<Fill> {
        let tensor = Tensor::new("bench", [1 << 32])?;
        let fill = Fill::new(&tensor, &(self.init)(), 42)?;
        fill.with_dtype(self.dtype)
            .slice(std::slice::from_ref(&(0..elements)))
    }
}

/// The measurements of a fill on one device.
pub struct Measured {
    pub elements: u64,
    pub clock: Clock,
    pub first_fill: f64,
    pub fill: Timing,
    pub plain_fill: Timing,
    pub check: Check,
}

/// The clock that timed the repetitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The host's clock. On a GPU it times a submission of several fills, and divides by their
    /// number.
    Host,
    /// The device's clock, with timestamps before and after each fill.
    #[cfg(feature = "gpu")]
    Device,
}

/// The time of a repetition.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timing {
    pub median_seconds: f64,
    pub best_seconds: f64,
    pub repetitions: usize,
}

impl Timing {
    pub fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Timing {
            // A coarse clock may measure 0, which no speed can be computed from.
            median_seconds: seconds.get(seconds.len() / 2).map_or(1e-9, |s| s.max(1e-9)),
            best_seconds: seconds.first().map_or(1e-9, |s| s.max(1e-9)),
            repetitions: seconds.len(),
        }
    }
}

/// The comparison of a device's bytes with the CPU's.
#[derive(Debug)]
pub struct Check {
    /// The digest of the first elements, as many as a CPU row has, so that it is equal in every row
    /// of a case.
    pub sha256: String,
    pub sha256_elements: u64,
    /// The first element that differs from the CPU's.
    pub difference: Option<Difference>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub element: u64,
    pub got: Vec<u8>,
    pub expected: Vec<u8>,
}

/// Returns the number of elements for a run of this length.
pub fn affordable(elements: u64, seconds: f64) -> u64 {
    let mut elements = elements;
    let mut seconds = seconds;
    while seconds < SECONDS_FOR_ALL_ELEMENTS && elements > MIN_ELEMENTS {
        seconds *= 2.0;
        elements /= 2;
    }
    elements
}

/// Times a fill on the threads of the pool.
pub fn measure(
    pool: &rayon::ThreadPool,
    case: &Case,
    elements: u64,
    seconds: f64,
) -> Result<Measured, Failure> {
    let fill = case.fill(elements)?;
    let bytes = usize::try_from(fill.bytes())
        .map_err(|_| Failure::Run("the fill is larger than the address space".to_owned()))?;
    let mut weights = vec![0; bytes];
    // The operating system maps memory when it is first written, which is not part of a fill.
    plain_fill(pool, &mut weights);

    let mut time = || -> fanin::Result<f64> {
        let start = Instant::now();
        pool.install(|| cpu::fill(&fill, &mut weights))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first_fill = time()?;
    let fill_seconds = repeat(seconds * FILL_SHARE, time)?;
    let check = check(&fill, elements, |offset, out| {
        let offset = offset as usize;
        out.copy_from_slice(&weights[offset..offset + out.len()]);
        Ok(())
    })?;
    let plain_seconds = repeat(seconds * PLAIN_FILL_SHARE, || {
        let start = Instant::now();
        plain_fill(pool, &mut weights);
        Ok(start.elapsed().as_secs_f64())
    })?;
    Ok(Measured {
        elements,
        clock: Clock::Host,
        first_fill,
        fill: Timing::new(fill_seconds),
        plain_fill: Timing::new(plain_seconds),
        check,
    })
}

/// Writes the same byte everywhere, on all threads of the pool. No fill of weights can be faster.
fn plain_fill(pool: &rayon::ThreadPool, out: &mut [u8]) {
    let byte = std::hint::black_box(0x3c);
    match pool.current_num_threads() {
        1 => out.fill(byte),
        _ => pool.install(|| out.par_chunks_mut(1 << 20).for_each(|part| part.fill(byte))),
    }
    std::hint::black_box(out);
}

/// Repeats a function, which returns its own seconds, until the budget is spent.
fn repeat(budget: f64, mut once: impl FnMut() -> fanin::Result<f64>) -> fanin::Result<Vec<f64>> {
    let end = Instant::now() + Duration::from_secs_f64(budget);
    let mut seconds = Vec::new();
    while seconds.len() < MIN_REPETITIONS || Instant::now() < end {
        seconds.push(once()?);
    }
    Ok(seconds)
}

/// Compares all bytes of a fill with the CPU's, and computes the digest of the first elements.
/// `read` copies the fill's bytes from an offset.
pub fn check(
    fill: &Fill,
    digested: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> fanin::Result<()>,
) -> fanin::Result<Check> {
    let size = fill.dtype().size();
    let digested = digested.min(fill.elements());
    let piece = (PIECE as u64).min(fill.bytes()) as usize;
    let (mut got, mut expected) = (vec![0; piece], vec![0; piece]);
    let mut digest = Sha256::new();
    let mut difference = None;
    for offset in (0..fill.bytes()).step_by(piece.max(1)) {
        let length = (fill.bytes() - offset).min(piece as u64) as usize;
        let (got, expected) = (&mut got[..length], &mut expected[..length]);
        read(offset, got)?;
        let left = (digested * size).saturating_sub(offset);
        digest.update(&got[..length.min(left as usize)]);
        cpu::fill_range(fill, offset / size, expected)?;
        if difference.is_none() && got != expected {
            let elements = got
                .chunks(size as usize)
                .zip(expected.chunks(size as usize));
            difference = (offset / size..)
                .zip(elements)
                .find(|(_, (got, expected))| got != expected)
                .map(|(element, (got, expected))| Difference {
                    element,
                    got: got.to_owned(),
                    expected: expected.to_owned(),
                });
        }
    }
    Ok(Check {
        sha256: hexadecimal(digest.finalize().iter()),
        sha256_elements: digested,
        difference,
    })
}

/// Returns the bytes in hexadecimal.
pub fn hexadecimal<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_has_small_buffers() {
        assert_eq!(affordable(ELEMENTS, 20.0), ELEMENTS);
        assert_eq!(affordable(ELEMENTS, 5.0), ELEMENTS);
        assert_eq!(affordable(ELEMENTS, 2.0), ELEMENTS / 4);
        assert_eq!(affordable(ELEMENTS, 0.001), MIN_ELEMENTS);
    }

    #[test]
    fn the_median_is_kept() {
        let timing = Timing::new(vec![3.0, 1.0, 2.0, 50.0, 2.5]);
        assert_eq!((timing.median_seconds, timing.best_seconds), (2.5, 1.0));
    }

    /// No device should differ, so the test flips a bit itself.
    #[test]
    fn a_different_bit_is_found() {
        for case in &CASES {
            // More than two pieces, with the difference in the second one.
            let size = case.dtype.size();
            let elements = 2 * PIECE as u64 / size + 2;
            let fill = case.fill(elements).unwrap();
            let wrong = PIECE as u64 / size + 5;
            let read = |flip: u8| {
                check(&fill, 100, |offset, out| {
                    cpu::fill_range(&fill, offset / size, out)?;
                    if offset == PIECE as u64 {
                        out[5 * size as usize] ^= flip;
                    }
                    Ok(())
                })
                .unwrap()
            };
            assert_eq!(read(0).difference, None);
            let difference = read(1).difference.unwrap();
            assert_eq!(difference.element, wrong);
            assert_eq!(difference.got[0], difference.expected[0] ^ 1);

            let mut first = vec![0; 100 * size as usize];
            cpu::fill_range(&fill, 0, &mut first).unwrap();
            assert_eq!(read(1).sha256, hexadecimal(Sha256::digest(&first).iter()));
        }
    }
}
