//! Promise 1 under another WGSL compiler: Tint, the compiler of Dawn and Chrome. `tests/dawn/run.mjs`
//! dispatches the project's own WGSL text under Node.js, from `fanin::gpu::raw`, on the Vulkan driver
//! that Dawn finds.
//!
//! `scripts/test-dawn` installs Dawn and runs these tests.
#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufRead;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use fanin::gpu::raw;
use fanin::{DType, Fill, Init, Tensor, cpu};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gpt2_fills;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn fill(dims: &[u64], ranges: &[Range<u64>], init: Init, dtype: DType) -> Fill {
    let tensor = Tensor::new("layers.0.weight", dims).unwrap();
    let whole = Fill::new(&tensor, &init, 42).unwrap().with_dtype(dtype);
    whole.slice(ranges).unwrap()
}

fn job(fill: &Fill, exact_floats: bool) -> Value {
    let limits = raw::Limits {
        exact_floats,
        ..raw::Limits::default()
    };
    let dispatches = raw::dispatches(fill, 0..fill.elements(), 0, limits).unwrap();
    let dispatches: Vec<Value> = dispatches
        .iter()
        .map(|dispatch| {
            json!({
                "entryPoint": dispatch.entry_point,
                "constants": dispatch.constants.iter().copied().collect::<BTreeMap<_, _>>(),
                "bindingOffset": dispatch.binding_offset,
                "bindingSize": dispatch.binding_size,
                "request": base64(&dispatch.request),
                "table": base64(&dispatch.table.iter().flatten().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()),
                "grid": dispatch.grid,
            })
        })
        .collect();
    json!({ "bytes": fill.bytes(), "dispatches": dispatches })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| {
            bits << 8 | u32::from(*group.get(i).unwrap_or(&0))
        });
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    text
}

/// The other variants of the shader without 64-bit integers: many tensors in one dispatch, and tables in
/// uniform buffers. `gpu::raw` does not return the latter.
fn other_shaders() -> Vec<Value> {
    macro_rules! shader {
        ($request:literal) => {
            concat!(
                include_str!("../../shaders/mul_u32.wgsl"),
                include_str!("../../shaders/table_uniform.wgsl"),
                include_str!("../../shaders/philox.wgsl"),
                include_str!("../../shaders/uniform.wgsl"),
                include_str!("../../shaders/box_muller.wgsl"),
                include_str!("../../shaders/curve.wgsl"),
                include_str!("../../shaders/pattern.wgsl"),
                include_str!("../../shaders/value.wgsl"),
                include_str!(concat!("../../shaders/", $request)),
                include_str!("../../shaders/fill.wgsl"),
            )
        };
    }
    let storage = raw::shader(false, true);
    let uniform = [shader!("request_one.wgsl"), shader!("request_many.wgsl")];
    let mut shaders = vec![json!({ "code": storage, "table": "read-only-storage" })];
    shaders.extend(uniform.map(|code| json!({ "code": code, "table": "uniform" })));
    shaders
}

/// Runs the fills under Dawn, with values made in floats or in integers, and passes the path of their
/// bytes to `check`. Also runs the probe, which must find that Dawn's floats are exact.
fn under_dawn(fills: &[Fill], exact_floats: bool, check: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let jobs = folder.path().join("jobs.json");
    let out = folder.path().join("out.bin");
    let probe = raw::Probe::new();
    let text = json!({
        "shader": raw::shader(false, false),
        "otherShaders": other_shaders(),
        "probe": { "shader": probe.shader, "trials": base64(&probe.trials), "workgroups": probe.workgroups },
        "fills": fills.iter().map(|fill| job(fill, exact_floats)).collect::<Vec<_>>(),
    });
    std::fs::write(&jobs, text.to_string()).unwrap();
    let answers = folder.path().join("answers.bin");
    let run = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dawn/run.mjs"))
        .args([&jobs, &out, &answers])
        .output()
        .expect("node is installed");
    assert!(
        run.status.success(),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    print!("Dawn on {}", String::from_utf8_lossy(&run.stdout));
    assert!(probe.is_exact(&std::fs::read(answers).unwrap()));
    check(&out);
}

#[test]
#[ignore = "needs Node.js and Dawn: scripts/test-dawn"]
fn fills_under_dawn_equal_the_cpu() {
    let mut fills = Vec::new();
    for dtype in DTYPES {
        for init in [
            Init::normal(0.0, 0.02),
            Init::normal(-1.5, 0.5),
            Init::normal(1e-39, 1e-38),
            // The smallest and the largest powers of two for values that are made in floats.
            Init::normal(0.0, 4.5e-31),
            Init::normal(0.0, 2e37),
            Init::uniform(-1e37, 1e37),
            Init::uniform(-0.05, 0.05),
            Init::uniform(-1.0, 3.0),
            Init::kaiming_normal(),
            Init::trunc_normal(0.0, 0.02, -2.0, 2.0),
            Init::trunc_normal(0.1, 0.5, -0.3, 0.9),
            Init::trunc_normal(0.0, 1.0, 5.0, f64::INFINITY),
            Init::he_normal(),
            "mamba_dt_bias".parse().unwrap(),
            "eye".parse().unwrap(),
            "sparse(sparsity=0.3,std=1)".parse().unwrap(),
            "embedding(padding_idx=3)".parse().unwrap(),
            "sinusoidal".parse().unwrap(),
            "mamba_a_log".parse().unwrap(),
            "causal_mask".parse().unwrap(),
            "arange".parse().unwrap(),
            Init::constant(0.1),
        ] {
            fills.push(fill(&[129, 77], &[0..129, 0..77], init, dtype));
        }
        fills.push(fill(
            &[8, 3, 3, 5],
            &[1..8, 0..3, 0..3, 1..5],
            Init::dirac(2),
            dtype,
        ));
        let far = [(1 << 18)..(1 << 18) + 30, (1 << 18) + 3..(1 << 18) + 29];
        fills.push(fill(&[1 << 30, 1 << 19], &far, Init::eye(), dtype));
        fills.push(fill(
            &[1 << 31, 8],
            &[(1 << 30) + 1..(1 << 30) + 20, 0..8],
            Init::sinusoids(),
            dtype,
        ));
        let normal = || Init::normal(0.0, 1.0);
        fills.push(fill(&[64, 48], &[3..50, 7..22], normal(), dtype));
        fills.push(fill(&[64, 48], &[3..50, 8..22], normal(), dtype));
        fills.push(fill(
            &[16, 8, 4, 4],
            &[2..9, 1..7, 1..3, 0..4],
            normal(),
            dtype,
        ));
        fills.push(fill(
            &[1 << 34, 6],
            &[(1 << 33) + 1..(1 << 33) + 200, 1..4],
            normal(),
            dtype,
        ));
        fills.push(fill(
            &[1 << 49],
            &[(1 << 49) - 1001..1 << 49],
            normal(),
            dtype,
        ));
    }
    assert_ne!(job(&fills[0], true), job(&fills[0], false));
    for exact_floats in [true, false] {
        under_dawn(&fills, exact_floats, |out| {
            let seen = std::fs::read(out).unwrap();
            let mut rest = &seen[..];
            for fill in &fills {
                let (part, after) = rest.split_at(fill.bytes() as usize);
                let mut expected = vec![0; part.len()];
                cpu::fill(fill, &mut expected).unwrap();
                assert!(part == expected, "{fill:?}");
                rest = after;
            }
            assert!(rest.is_empty());
        });
    }
}

/// A whole model: see `tests/gpu/gpt2.rs`.
#[test]
#[ignore = "needs Node.js and Dawn: scripts/test-dawn"]
fn gpt2_has_its_hash_under_dawn() {
    for (dtype, expected) in gpt2_fills::HASHES {
        for exact_floats in [true, false] {
            let mut hasher = Sha256::new();
            under_dawn(&gpt2_fills::fills(dtype), exact_floats, |out| {
                let file = File::open(out).unwrap();
                let mut weights = std::io::BufReader::with_capacity(1 << 20, file);
                loop {
                    let bytes = weights.fill_buf().unwrap();
                    if bytes.is_empty() {
                        break;
                    }
                    hasher.update(bytes);
                    let length = bytes.len();
                    weights.consume(length);
                }
            });
            let seen = gpt2_fills::hex(hasher);
            let way = if exact_floats { "floats" } else { "integers" };
            println!("{dtype:4} {seen} Dawn, {way}");
            assert_eq!(seen, expected, "{dtype}, {way}");
        }
    }
}
