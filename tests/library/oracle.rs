//! Compares the CPU fill with a second implementation of the stream, over millions of elements. The second one
//! uses binary64 and shares no code with the first. (`tests/library/stream_text.rs` compares with an
//! implementation of the text in integers, in Python.)
//!
//! Uniform values must have the same bits. Normal values may differ by the error bound of
//! `tests/library/accuracy.rs` and by their rounding.

use fanin::{DType, Fill, Init, Tensor, cpu};
use half::{bf16, f16};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// The allowed error of a normal value, in standard deviations. It is above the bound 2^-18.8 of accuracy.rs.
const ERROR: f64 = 2.2e-6;

/// Returns the bits of a fill's elements.
fn bits(fill: &Fill) -> Vec<u32> {
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut bytes).unwrap();
    match fill.dtype() {
        DType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| u32::from_le_bytes(b))
            .collect(),
        _ => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| u16::from_le_bytes(b).into())
            .collect(),
    }
}

/// Returns the number that has these bits in a dtype.
fn number(bits: u32, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f32::from_bits(bits).into(),
        DType::F16 => f16::from_bits(bits as u16).into(),
        _ => bf16::from_bits(bits as u16).into(),
    }
}

/// The stream in 64-bit integers and binary64, written from the text of its definition. Each element is made on
/// its own.
mod binary64 {
    use super::*;

    fn philox(mut c: [u64; 4], mut k: [u64; 2]) -> [u64; 4] {
        let low = 0xffff_ffff;
        for _ in 0..10 {
            let (p0, p1) = (c[0] * 0xd251_1f53, c[2] * 0xcd9e_8d57);
            c = [
                (p1 >> 32) ^ c[1] ^ k[0],
                p1 & low,
                (p0 >> 32) ^ c[3] ^ k[1],
                p0 & low,
            ];
            k = [(k[0] + 0x9e37_79b9) & low, (k[1] + 0xbb67_ae85) & low];
        }
        c
    }

    pub struct Stream {
        pub seed: u64,
        pub name: &'static str,
    }

    impl Stream {
        fn words(&self, block: u64) -> [u64; 4] {
            let digest = Sha256::digest(self.name);
            let id = |bytes: &[u8]| {
                bytes
                    .iter()
                    .rev()
                    .fold(0, |id, &byte| id * 256 + u64::from(byte))
            };
            let halves = |x: u64| [x % (1 << 32), x / (1 << 32)];
            let [c0, c1] = halves(block);
            philox(
                [c0, c1, id(&digest[..4]), id(&digest[4..8])],
                halves(self.seed),
            )
        }

        fn word(&self, element: u64) -> u64 {
            self.words(element / 4)[(element % 4) as usize]
        }

        /// Returns the uniform number of an element in a half-open range.
        pub fn uniform(&self, element: u64, low: f64, high: f64) -> f64 {
            let largest = low.abs().max(high.abs());
            let step = (largest.log2().ceil() - 24.0).exp2();
            let (first, end) = ((low / step).ceil(), (high / step).ceil());
            // The product can be up to 2^57, which a binary64 would round.
            let above = (u128::from(self.word(element)) * (end - first) as u128) >> 32;
            (first + above as f64) * step
        }

        /// Returns the standard normal number of an element, by Box and Muller's formula.
        pub fn normal(&self, element: u64) -> f64 {
            let pair = &self.words(element / 4)[(element % 4) as usize / 2 * 2..];
            let (a, b) = (pair[0] | 1, pair[1]);
            // The distance from the nearer end of the words, rounded down to 24 bits as a signed
            // number.
            let distance = a as f64 - if a >= 1 << 31 { 4_294_967_296.0 } else { 0.0 };
            let unit = ((distance.abs().log2().floor() - 23.0).exp2()).max(1.0);
            let share = (distance / unit).floor() * unit / 4_294_967_296.0;
            let radius = if share > 0.0 {
                (-2.0 * libm::log(share)).sqrt()
            } else {
                (-2.0 * libm::log1p(share)).sqrt()
            };
            let rest = (b >> 16) as f64 - if b >= 1 << 31 { 65_536.0 } else { 0.0 };
            let turns = ((b % 1024) as f64 + 0.5 + (rest + 0.5) / 65_536.0) / 1024.0;
            let (sine, cosine) = libm::sincos(std::f64::consts::TAU * turns);
            radius
                * if element.is_multiple_of(2) {
                    cosine
                } else {
                    sine
                }
        }
    }

    pub fn store(value: f32, dtype: DType) -> u32 {
        match dtype {
            DType::F32 => value.to_bits(),
            DType::F16 => f16::from_f32(value).to_bits().into(),
            _ => bf16::from_f32(value).to_bits().into(),
        }
    }
}

/// Elements of each tensor: 12 of them make more than 2^22.
const ELEMENTS: u64 = 360_001;

/// Seeds, names and dtypes of tensors, and their first elements in the stream.
const TENSORS: [(u64, &str, DType, u64); 6] = [
    (42, "w", DType::F32, 0),
    (1, "layers.0.weight", DType::F16, 3),
    (u64::MAX, "layers.1.weight", DType::BF16, 1 << 33),
    (1 << 32, "Größe", DType::F32, (1 << 34) - 100_001),
    (0, "", DType::BF16, (1 << 49) + 2),
    (
        0x9e37_79b9_7f4a_7c15,
        "emb",
        DType::F16,
        (1 << 50) - ELEMENTS,
    ),
];

/// Runs a check on every element. The check returns the error in words.
fn check_tensors(
    init: &Init,
    check: impl Fn(&binary64::Stream, u64, DType, u32) -> Result<(), String> + Sync,
) {
    for (seed, name, dtype, start) in TENSORS {
        let stream = binary64::Stream { seed, name };
        let tensor = Tensor::new(name, [fanin::MAX_ELEMENTS]).unwrap();
        let fill = Fill::new(&tensor, init, seed)
            .unwrap()
            .with_dtype(dtype)
            .slice(std::slice::from_ref(&(start..start + ELEMENTS)))
            .unwrap();
        let wrong = bits(&fill)
            .into_par_iter()
            .enumerate()
            .find_map_any(|(i, bits)| {
                let element = start + i as u64;
                let wrong = check(&stream, element, dtype, bits).err()?;
                Some(format!("element {element} of {name:?}: {wrong}"))
            });
        assert_eq!(wrong, None);
    }
}

#[test]
fn binary64_gives_the_same_uniform_bits() {
    for (low, high) in [(-0.3f32, 1.1f32), (0.0, 1.0), (3.0, 3.5)] {
        let (low, high) = (f64::from(low), f64::from(high));
        check_tensors(&Init::uniform(low, high), |stream, element, dtype, bits| {
            let expected = binary64::store(stream.uniform(element, low, high) as f32, dtype);
            if bits == expected {
                Ok(())
            } else {
                Err(format!("{bits:#x}, expected {expected:#x}"))
            }
        });
    }
}

#[test]
fn binary64_gives_the_same_normal_values_but_for_rounding() {
    for (mean, std) in [(0.0f32, 0.02f32), (1.0, 3.0)] {
        let (mean, std) = (f64::from(mean), f64::from(std));
        check_tensors(&Init::normal(mean, std), |stream, element, dtype, bits| {
            let exact = mean + std * stream.normal(element);
            // The errors of the transform, of a step of about 2^-25 std, and of the cut to 24 bits.
            let off = std * ERROR
                + (mean.abs() + std) / (1 << 24) as f64
                + exact.abs() / (1 << 23) as f64;
            let [least, greatest] = [exact - off, exact + off]
                .map(|value| number(binary64::store(value as f32, dtype), dtype));
            let made = number(bits, dtype);
            if (least..=greatest).contains(&made) {
                Ok(())
            } else {
                Err(format!("{made:e} is not within {least:e} and {greatest:e}"))
            }
        });
    }
}
