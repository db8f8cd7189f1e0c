//! The CPU fill against two other implementations of the stream that share nothing with it: exact
//! arithmetic in Python, whose answers are in `tests/data/oracle.json` (`tests/data/oracle.py`
//! makes it), and binary64 arithmetic in Rust, below, over millions of elements.
//!
//! Uniform and constant values must have the same bits. The normal core may be off by 2^-25 from
//! the exact transform, before it is scaled; as every step after it is monotone, a value must lie
//! between those that cores 2^-25 below and above the exact one give.

use fanin::{DType, Fill, Init, Tensor, cpu};
use half::{bf16, f16};
use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// 2^-25: what the normal core may be off by.
const CORE_ERROR: f64 = 1.0 / (1u64 << 25) as f64;

/// The bits of the elements that a fill gives.
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
        DType::F16 | DType::BF16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| u16::from_le_bytes(b).into())
            .collect(),
    }
}

/// The number that the bits of a dtype stand for.
fn number(bits: u32, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f32::from_bits(bits).into(),
        DType::F16 => f16::from_bits(bits as u16).into(),
        DType::BF16 => bf16::from_bits(bits as u16).into(),
    }
}

/// Half the distance from a number of this dtype to the next larger magnitude.
fn half_ulp(bits: u32, dtype: DType) -> f64 {
    let sign = 1 << (8 * dtype.size() - 1);
    let magnitude = bits & !(sign as u32);
    (number(magnitude + 1, dtype) - number(magnitude, dtype)) / 2.0
}

#[derive(Deserialize)]
struct Oracle {
    cases: Vec<Case>,
}

/// Numbers of 64 bits are in hexadecimal, the parameters as the bits of binary64 numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    seed: String,
    name: Option<String>,
    stream: Option<String>,
    init: String,
    parameters: Vec<String>,
    dtype: DType,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    start: String,
    /// Element by element: the bits; or the exact value, the least bits and the greatest.
    expected: Vec<String>,
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

impl Case {
    fn init(&self) -> Init {
        let parameters: Vec<f64> = self
            .parameters
            .iter()
            .map(|bits| f64::from_bits(hex(bits)))
            .collect();
        match (self.init.as_str(), parameters[..].as_ref()) {
            ("constant", &[value]) => Init::constant(value),
            ("uniform", &[low, high]) => Init::uniform(low, high),
            ("normal", &[mean, std]) => Init::normal(mean, std),
            _ => panic!("{self:?}"),
        }
    }

    /// A fill of a run, as part of a tensor that has all the elements a stream can number.
    fn fill(&self, run: &Run) -> Fill {
        let name = self.name.as_deref().unwrap_or("unused");
        let mut tensor = Tensor::new(name, [fanin::MAX_ELEMENTS]).unwrap();
        if let Some(stream) = &self.stream {
            tensor = tensor.with_stream_id(hex(stream));
        }
        let start = hex(&run.start);
        let end = start + run.expected.len() as u64;
        Fill::new(&tensor, &self.init(), hex(&self.seed))
            .unwrap()
            .with_dtype(self.dtype)
            .slice(std::slice::from_ref(&(start..end)))
            .unwrap()
    }
}

/// Whether a normal element is what the oracle allows: `<exact value> <least> <greatest>`.
fn check_normal(bits: u32, expected: &str, case: &Case) {
    let parts: Vec<&str> = expected.split(' ').collect();
    let &[exact, least, greatest] = &parts[..] else {
        panic!("{expected:?}");
    };
    let at = |bits: &str| number(hex(bits) as u32, case.dtype);
    let value = number(bits, case.dtype);
    assert!(
        (at(least)..=at(greatest)).contains(&value),
        "{value:e}, expected {expected}: {case:?}"
    );

    // The same from the exact value: the core's error, half a unit for each rounding.
    if value.is_infinite() {
        return;
    }
    let exact: f64 = exact.parse().unwrap();
    let parameter = |i: usize| f64::from(f64::from_bits(hex(&case.parameters[i])) as f32);
    let (mean, std) = (parameter(0), parameter(1));
    let inner = ((exact - mean) as f32).to_bits();
    let rounding = half_ulp(inner, DType::F32)
        + half_ulp((exact as f32).to_bits(), DType::F32)
        + half_ulp(bits, case.dtype);
    assert!(
        (value - exact).abs() <= std * CORE_ERROR + rounding,
        "{value:e}, expected {expected}: {case:?}"
    );
}

#[test]
fn exact_arithmetic_gives_the_same_values() {
    let oracle: Oracle = serde_json::from_str(include_str!("data/oracle.json")).unwrap();
    let mut elements = [0; 2];
    for case in &oracle.cases {
        for run in &case.runs {
            let fill = case.fill(run);
            for (bits, expected) in bits(&fill).into_iter().zip(&run.expected) {
                if case.init == "normal" {
                    check_normal(bits, expected, case);
                    elements[1] += 1;
                } else {
                    let digits = 2 * case.dtype.size() as usize;
                    assert_eq!(format!("{bits:0digits$x}"), *expected, "{case:?}");
                    elements[0] += 1;
                }
            }
        }
    }
    // An empty file proves nothing.
    assert!(
        elements[0] >= 2000 && elements[1] >= 1500,
        "{elements:?} elements"
    );
}

/// The stream in 64-bit integers and binary64, after the text of its definition; elements are
/// made one by one.
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

        /// The uniform core: exact.
        pub fn uniform(&self, element: u64) -> f64 {
            let word = self.words(element / 4)[(element % 4) as usize];
            (2.0 * (word / 16) as f64 + 1.0 - 268_435_456.0) / 268_435_456.0
        }

        /// The normal core as Box and Muller have it.
        pub fn normal(&self, element: u64) -> f64 {
            let pair = &self.words(element / 4)[(element % 4) as usize / 2 * 2..];
            let unit = |word: u64| (word as f64 + 0.5) / 4_294_967_296.0;
            let (u, turns) = (unit(pair[0]), unit(pair[1]));
            let radius = (-2.0 * libm::log(u)).sqrt();
            let (sine, cosine) = libm::sincos(std::f64::consts::TAU * turns);
            radius
                * if element.is_multiple_of(2) {
                    cosine
                } else {
                    sine
                }
        }
    }

    /// `RNE(mean + RNE(scale * core))`: the product of binary32 and core fits binary64, the
    /// conversion rounds it once, the addition is that of the host.
    pub fn affine(core: f64, mean: f32, scale: f32) -> f32 {
        let product = (f64::from(scale) * core) as f32;
        if mean == 0.0 { product } else { mean + product }
    }

    pub fn store(value: f32, dtype: DType) -> u32 {
        match dtype {
            DType::F32 => value.to_bits(),
            DType::F16 => f16::from_f32(value).to_bits().into(),
            DType::BF16 => bf16::from_f32(value).to_bits().into(),
        }
    }
}

/// Elements of each tensor: 12 of them make more than 2^22.
const ELEMENTS: u64 = 360_001;

/// Seeds, names and dtypes of tensors, and where in the stream they start.
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

fn check_tensors(init: &Init, check: impl Fn(&binary64::Stream, u64, DType, u32) + Sync) {
    for (seed, name, dtype, start) in TENSORS {
        let stream = binary64::Stream { seed, name };
        let tensor = Tensor::new(name, [fanin::MAX_ELEMENTS]).unwrap();
        let fill = Fill::new(&tensor, init, seed)
            .unwrap()
            .with_dtype(dtype)
            .slice(std::slice::from_ref(&(start..start + ELEMENTS)))
            .unwrap();
        bits(&fill)
            .into_par_iter()
            .enumerate()
            .for_each(|(i, bits)| check(&stream, start + i as u64, dtype, bits));
    }
}

#[test]
fn binary64_gives_the_same_uniform_bits() {
    let (low, high) = (-0.3f32, 1.1f32);
    let mean = ((f64::from(low) + f64::from(high)) / 2.0) as f32;
    let scale = ((f64::from(high) - f64::from(low)) / 2.0) as f32;
    check_tensors(
        &Init::uniform(low.into(), high.into()),
        |stream, element, dtype, bits| {
            let value = binary64::affine(stream.uniform(element), mean, scale);
            let expected = binary64::store(value.clamp(low, high.next_down()), dtype);
            assert_eq!(bits, expected, "element {element} of {:?}", stream.name);
        },
    );
}

#[test]
fn binary64_gives_the_same_normal_values_to_2_to_the_minus_25() {
    for (mean, std) in [(0.0f32, 0.02f32), (1.0, 3.0)] {
        check_tensors(
            &Init::normal(mean.into(), std.into()),
            |stream, element, dtype, bits| {
                let core = stream.normal(element);
                let [least, greatest] = [core - CORE_ERROR, core + CORE_ERROR]
                    .map(|core| binary64::store(binary64::affine(core, mean, std), dtype))
                    .map(|bits| number(bits, dtype));
                assert!(
                    (least..=greatest).contains(&number(bits, dtype)),
                    "element {element} of {:?}: {:e} is not within {least:e} and {greatest:e}",
                    stream.name,
                    number(bits, dtype)
                );
            },
        );
    }
}
