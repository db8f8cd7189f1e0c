//! The drawn elements on vector registers: one kernel, written over [`Isa`], and an implementation
//! of that trait for each instruction set, chosen when the program runs.
//!
//! The kernel is the third implementation of the stream, after `src/kernel/` and `shaders/`, and is
//! written for registers. *Packed*, each 32-bit lane holds a number of its own. *Wide*, each 64-bit lane holds
//! one in its low half, and the upper half is ignored: multiplies of 64 bits take their operands
//! so, without shuffling. A packed register is two wide ones, its even lanes and its odd lanes.
//! Words of two blocks i and j come packed in groups of four lanes, as x0 of i, x0 of j, x2 of i, x2
//! of j, and x1 and x3 alike. Both pairs of Box-Muller are made side by side so, and even lanes hold
//! whole blocks i, odd lanes whole blocks j: what is made of them is stored without reordering.
//!
//! The crate `pulp` gives the instructions as safe functions of a token that only exists where the
//! processor has them. Its own portable vectors lack what this kernel lives on (widening multiplies
//! of every second lane, sums of 16-bit products), so the trait is implemented for each.

mod draw;
mod fill;
mod isa;
mod philox;
mod portable;
mod source;
mod twice;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::sync::OnceLock;

use pulp::NullaryFnOnce;

use crate::job::Job;
use crate::kernel::philox::round_keys;
use crate::tensor::DType;

use draw::Draw;
use fill::Run;

/// An instruction set that the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Set {
    /// Those that this processor has, the best one first.
    pub fn available() -> Vec<Set> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::Avx512::try_new().is_some() {
                sets.push(Set::Avx512);
            }
            if avx2::Avx2::try_new().is_some() {
                sets.push(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if neon::Neon::try_new().is_some() {
            sets.push(Set::Neon);
        }
        sets.push(Set::Portable);
        sets
    }

    /// The best one; or the one that the environment variable `FANIN_SIMD` names, to measure it,
    /// where the processor has it.
    pub fn best() -> Set {
        static BEST: OnceLock<Set> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Set::available();
            let wanted = std::env::var("FANIN_SIMD").unwrap_or_default();
            let named = available.iter().find(|set| set.name() == wanted);
            *named.unwrap_or(&available[0])
        })
    }

    /// As in `FANIN_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }
}

/// Fills `out` with the drawn elements from index `element` of the whole tensor on, in `dtype`,
/// without what depends on their place. The job's core is one that draws.
pub(super) fn draw(set: Set, job: &Job, dtype: DType, element: u64, out: &mut [u8]) {
    let draw = Draw {
        job,
        dtype,
        scaling: job.scaling,
        keys: round_keys(job.key),
    };
    // Floats of a process may flush subnormals: those are made in integers.
    let set = if job.has_extremes() {
        Set::Portable
    } else {
        set
    };
    match set {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => {
            if let Some(isa) = avx512::Avx512::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => {
            if let Some(isa) = avx2::Avx2::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        #[cfg(target_arch = "aarch64")]
        Set::Neon => {
            if let Some(isa) = neon::Neon::try_new() {
                return isa.run(Run {
                    isa,
                    draw,
                    element,
                    out,
                });
            }
        }
        Set::Portable => {}
    }
    Run {
        isa: portable::Portable,
        draw,
        element,
        out,
    }
    .call();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::Fill;
    use crate::init::Init;
    use crate::job::Core;
    use crate::kernel::LANES;
    use crate::kernel::box_muller::normal_pair;
    use crate::kernel::mul::mul_shifted;
    use crate::kernel::philox::{counter, philox};
    use crate::kernel::value::{cut, to_bf16, to_f16, value};
    use crate::kernel::{curve, uniform};
    use crate::tensor::Tensor;

    /// The scalar twin: `src/kernel/`, one element at a time.
    fn element(job: &Job, index: u64) -> u32 {
        let words = philox(counter(index / LANES, 0, job.stream), job.key);
        let lane = (index % LANES) as usize;
        let scaling = job.scaling;
        let shifted = |core, factor| mul_shifted(core, factor, scaling.shift) + scaling.offset;
        let multiplier = scaling.multiplier;
        let p = match job.core {
            Core::Uniform => uniform::uniform(words[lane], multiplier, scaling.offset),
            Core::Quantile => shifted(curve::curve(words[lane], job.table()), multiplier as i32),
            Core::Normal => {
                let first = lane / 2 * 2;
                let (a, b) = (words[first], words[first + 1]);
                let (radius, (x, y)) = normal_pair(a, b, multiplier, job.table());
                shifted(radius, if lane.is_multiple_of(2) { x } else { y })
            }
            core => panic!("{core:?} draws nothing"),
        };
        let p = scaling.clamp.map_or(p, |[low, high]| p.clamp(low, high));
        value(cut(p), scaling.exponent)
    }

    fn job(init: &str, dtype: DType) -> Job {
        let tensor = Tensor::new("w", [1 << 40]).unwrap();
        let init: Init = init.parse().unwrap();
        let fill = Fill::new(&tensor, &init, 0x1234_5678_9abc_def0).unwrap();
        Job::new(&fill.with_dtype(dtype)).unwrap()
    }

    const INITS: [&str; 20] = [
        "normal(std=0.02)",
        "normal(mean=3.5)",
        "normal(mean=-1e-3,std=1e-5)",
        // Subnormal, and beyond the largest number.
        "normal(std=1e-43)",
        "normal(std=1e-40)",
        "normal(std=3e38)",
        // Subnormal and infinite in 16 bits.
        "normal(std=1e-6)",
        "normal(std=40000)",
        "uniform(low=-0.05,high=0.05)",
        "uniform(low=0,high=1)",
        "uniform(low=-1,high=0)",
        "uniform(low=-0.0,high=1e-44)",
        "uniform(low=-3e-45,high=0)",
        "uniform(low=5,high=5.00001)",
        "truncated_normal(lower=-2,upper=2)",
        "truncated_normal(lower=0,upper=9)",
        "truncated_normal(lower=-1e-30,upper=1)",
        "truncated_normal(std=0.5,lower=5,upper=6)",
        "truncated_normal(lower=-40,upper=-39)",
        "log_uniform(low=1e-3,high=1e-1)",
    ];

    /// Every processor of this architecture has NEON, and must use it.
    #[cfg(target_arch = "aarch64")]
    #[test]
    fn neon_is_chosen() {
        assert_eq!(Set::available(), [Set::Neon, Set::Portable]);
        assert_eq!(Set::best(), Set::Neon);
    }

    #[test]
    fn every_instruction_set_makes_the_scalar_bits() {
        let sets = Set::available();
        println!("{sets:?}");
        // Starts at all places of a block, lengths below and above a step, and both sides of the
        // blocks where the upper word of the block number changes.
        let carry = 4u64 << 32;
        let runs = [
            (0, 1000),
            (1, 3),
            (2, 129),
            (3, 64),
            (4095, 700),
            (carry - 37, 200),
            (carry - 4, 4),
            (3 * carry + 5, 300),
        ];
        for init in INITS {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let job = job(init, dtype);
                let size = dtype.size() as usize;
                for (start, length) in runs {
                    let expected: Vec<u8> = (start..start + length)
                        .flat_map(|index| {
                            let bits = element(&job, index);
                            let stored = match dtype {
                                DType::F32 => bits,
                                DType::F16 => to_f16(bits),
                                _ => to_bf16(bits),
                            };
                            stored.to_le_bytes()[..size].to_vec()
                        })
                        .collect();
                    for &set in &sets {
                        let mut got = vec![0xa5; expected.len()];
                        draw(set, &job, dtype, start, &mut got);
                        assert!(
                            got == expected,
                            "{set:?}, {init}, {dtype:?}, {length} from {start}"
                        );
                    }
                }
            }
        }
    }
}
