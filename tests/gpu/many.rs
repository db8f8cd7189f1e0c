//! Promise 1 for many fills at once: one call for hundreds of tensors gives the same bytes as one call for
//! each, for any tensors, order and places, and nothing else changes.

use std::ops::Range;

use fanin::gpu::{Gpu, Initializer, InitializerOptions, Target};
use fanin::{DType, Error, Fill, Init, Tensor, cpu};
use proptest::prelude::*;

use crate::devices::devices;
use crate::patterned;

/// A buffer full of a pattern, and its expected contents.
struct Arena {
    buffer: wgpu::Buffer,
    expected: Vec<u8>,
}

impl Arena {
    fn new(gpu: &Gpu, bytes: u64) -> Arena {
        let (buffer, expected) = patterned::buffer(gpu, bytes);
        Arena { buffer, expected }
    }

    fn expect(&mut self, fill: &Fill, offset: u64) {
        let start = (offset * fill.dtype().size()) as usize;
        let out = &mut self.expected[start..start + fill.bytes() as usize];
        cpu::fill(fill, out).unwrap();
    }

    fn check(&self, name: &str, gpu: &Gpu) {
        let mut seen = vec![0; self.expected.len()];
        gpu.read(&self.buffer, 0, &mut seen).unwrap();
        if let Some(at) = (0..seen.len()).find(|&i| seen[i] != self.expected[i]) {
            panic!(
                "{name}: byte {at} is {:#04x}, expected {:#04x}",
                seen[at], self.expected[at]
            );
        }
    }
}

fn fill(name: &str, dims: &[u64], init: &str, dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    let fill = Fill::new(&tensor, &init.parse::<Init>().unwrap(), 7).unwrap();
    fill.with_dtype(dtype)
}

fn fill_all(gpu: &Gpu, initializer: &Initializer, targets: &[Target<'_>]) -> fanin::Result<()> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let result = initializer.fill_all(&mut encoder, targets);
    gpu.queue().submit([encoder.finish()]);
    result
}

/// Places fills in two buffers, side by side with some gaps, runs them in another order, and checks both
/// buffers.
pub fn check(name: &str, gpu: &Gpu, initializer: &Initializer, fills: &[(Fill, u64)]) {
    let mut ends = [3, 5];
    let mut places = Vec::new();
    for (i, (fill, gap)) in fills.iter().enumerate() {
        let which = usize::from(i % 7 == 3);
        let size = fill.dtype().size();
        let offset = u64::div_ceil(ends[which], size) + gap;
        ends[which] = offset * size + fill.bytes();
        places.push((which, offset));
    }
    let mut arenas = ends.map(|end| Arena::new(gpu, (end + 8).next_multiple_of(4)));
    for ((fill, _), &(which, offset)) in fills.iter().zip(&places) {
        arenas[which].expect(fill, offset);
    }
    let mut targets: Vec<Target<'_>> = fills
        .iter()
        .zip(&places)
        .map(|((fill, _), &(which, offset))| Target::new(fill, &arenas[which].buffer, offset))
        .collect();
    // An order that mixes the two buffers and the places.
    targets.reverse();
    targets.sort_by_key(|target| target.offset % 3);
    fill_all(gpu, initializer, &targets).unwrap();
    for arena in &arenas {
        arena.check(name, gpu);
    }
}

const INITS: [&str; 10] = [
    "normal(mean=0,std=0.02)",
    "normal(mean=1,std=0.02)",
    "uniform(a=-0.05,b=0.05)",
    "trunc_normal(mean=0,std=0.02,a=-0.04,b=0.04)",
    "zeros",
    "ones",
    "constant(value=0.5)",
    "sinusoidal",
    "sparse(sparsity=0.5)",
    "mamba_a_log",
];

/// More tensors than one dispatch takes, of all kinds and dtypes. Some 16-bit ones share a word.
#[test]
fn hundreds_of_tensors() {
    let fills: Vec<(Fill, u64)> = (0..600)
        .map(|i: u64| {
            let dtype = [DType::F32, DType::BF16, DType::F16][(i / 150 % 3) as usize];
            let init = INITS[(i * 7 % 10) as usize];
            let dims = [1 + i * i % 11, 1 + i * 5 % 23];
            (
                fill(&format!("w.{i}"), &dims, init, dtype),
                u64::from(i % 5 == 4),
            )
        })
        .collect();
    for (name, gpu) in devices() {
        check(&name, &gpu, gpu.initializer(), &fills);
    }
}

/// Biases of an odd length, side by side: each shares a word with the next one.
#[test]
fn sixteen_bit_neighbours_share_words() {
    for (name, gpu) in devices() {
        for init in ["normal(mean=0,std=1)", "ones"] {
            for length in [1, 2, 3, 5, 63] {
                let fills: Vec<_> = (0..150)
                    .map(|i| (fill(&format!("b.{i}"), &[length], init, DType::BF16), 0))
                    .collect();
                check(&name, &gpu, gpu.initializer(), &fills);
            }
        }
    }
}

/// With small bindings and workgroups, batches end where a binding ends.
#[test]
fn cuts_between_bindings() {
    let fills: Vec<_> = (0..90)
        .map(|i| {
            let dtype = [DType::F32, DType::F16][i / 45];
            let dims = [3 + i as u64 % 40, 17];
            (
                fill(&format!("w.{i}"), &dims, INITS[i % 4], dtype),
                i as u64 % 2,
            )
        })
        .collect();
    for (name, gpu) in devices() {
        for (max_binding_size, workgroup_size) in [(1024, 64), (4096, 1), (1 << 16, 32)] {
            let options = InitializerOptions {
                int64: Some(gpu.initializer().int64()),
                workgroup_size: Some(workgroup_size),
                max_binding_size: Some(max_binding_size),
                ..InitializerOptions::default()
            };
            let initializer =
                Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap();
            check(&name, &gpu, &initializer, &fills);
        }
    }
}

/// More workgroups than one row of a grid has, in one batch.
#[test]
fn more_workgroups_than_a_row_of_the_grid() {
    let fills: Vec<_> = (0..5)
        .map(|i| {
            (
                fill(&format!("w.{i}"), &[88 + i, 700], INITS[0], DType::F32),
                0,
            )
        })
        .collect();
    for (name, gpu) in devices() {
        let options = InitializerOptions {
            workgroup_size: Some(1),
            ..InitializerOptions::default()
        };
        let initializer = Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap();
        check(&name, &gpu, &initializer, &fills);
    }
}

/// Slices of tensors, with empty slices and orthogonal matrices among them.
#[test]
fn slices_and_matrices() {
    let whole = |i: u64, init: &str| fill(&format!("w.{i}"), &[40, 30], init, DType::F32);
    let mut fills = vec![
        (whole(0, "orthogonal"), 0),
        (whole(1, "normal(mean=0,std=1)"), 1),
        (whole(2, "orthogonal"), 0),
    ];
    for i in 3..40 {
        let fill = whole(i, INITS[i as usize % 3]);
        let ranges = [i % 4..40 - i, i % 3..30 - i / 2];
        fills.push((
            fill.slice(ranges.map(|r| r.start..r.end.max(r.start)))
                .unwrap(),
            i % 2,
        ));
    }
    for (name, gpu) in devices() {
        let targets_start = fills
            .iter()
            .filter(|(fill, _)| fill.elements() == 0)
            .count();
        assert!(targets_start > 0, "an empty slice is among them");
        check_but_matrices(&name, &gpu, &fills);
    }
}

/// Orthogonal matrices are made in floating point, so they are compared with single fills on the same device.
fn check_but_matrices(name: &str, gpu: &Gpu, fills: &[(Fill, u64)]) {
    let mut end = 0;
    let places: Vec<u64> = fills
        .iter()
        .map(|(fill, gap)| {
            let offset = end + gap;
            end = offset + fill.elements();
            offset
        })
        .collect();
    let mut arena = Arena::new(gpu, end * 4);
    for ((fill, _), &offset) in fills.iter().zip(&places) {
        let bytes = offset as usize * 4..(offset * 4 + fill.bytes()) as usize;
        gpu.fill_range_to_host(fill, 0, &mut arena.expected[bytes])
            .unwrap();
    }
    let targets: Vec<Target<'_>> = fills
        .iter()
        .zip(&places)
        .map(|((fill, _), &offset)| Target::new(fill, &arena.buffer, offset))
        .collect();
    fill_all(gpu, gpu.initializer(), &targets).unwrap();
    arena.check(name, gpu);
}

#[test]
fn targets_that_overlap_are_refused() {
    for (_, gpu) in devices() {
        let arena = Arena::new(&gpu, 4096);
        let [a, b] = ["a", "b"].map(|name| fill(name, &[100], "ones", DType::F32));
        let half = fill("half", &[3], "ones", DType::BF16);
        for (targets, start, end) in [
            ([(&a, 0), (&b, 99)], 396, 400),
            ([(&a, 7), (&b, 7)], 28, 428),
            ([(&b, 100), (&a, 50)], 400, 600),
            ([(&b, 100), (&half, 399)], 798, 800),
            ([(&b, 100), (&half, 198)], 400, 402),
        ]
        .map(|(targets, start, end)| {
            let at = |(fill, offset)| Target::new(fill, &arena.buffer, offset);
            (targets.map(at), start, end)
        }) {
            let error = fill_all(&gpu, gpu.initializer(), &targets).unwrap_err();
            let Error::Overlap {
                start: s, end: e, ..
            } = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!((*s, *e), (start, end), "{error}");
        }
        arena.check("nothing was written", &gpu);
        // The same offsets in another buffer do not overlap, nor do neighbours.
        let other = Arena::new(&gpu, 4096);
        let targets = [
            Target::new(&a, &arena.buffer, 0),
            Target::new(&b, &arena.buffer, 100),
            Target::new(&a, &other.buffer, 0),
        ];
        fill_all(&gpu, gpu.initializer(), &targets).unwrap();
    }
}

/// The error for one of many fills names its tensor, and nothing is recorded.
#[test]
fn one_fault_refuses_all() {
    for (_, gpu) in devices() {
        let arena = Arena::new(&gpu, 1024);
        let good = fill("good", &[100], "ones", DType::F32);
        let bad = fill("bad", &[100], "ones", DType::F32);
        let targets = [
            Target::new(&good, &arena.buffer, 0),
            Target::new(&bad, &arena.buffer, 157),
        ];
        let error = fill_all(&gpu, gpu.initializer(), &targets).unwrap_err();
        assert!(
            matches!(&error, Error::BufferTooSmall { tensor, .. } if tensor == "bad"),
            "{error:?}"
        );
        arena.check("nothing was written", &gpu);
        fill_all(&gpu, gpu.initializer(), &[]).unwrap();
    }
}

fn any_fill() -> impl Strategy<Value = (Fill, u64)> {
    let dtype = prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]);
    let dims = prop::collection::vec(1u64..60, 1..4);
    let init = prop::sample::select(INITS[..7].to_vec());
    (dims, init, dtype, 0u64..9, any::<u32>(), any::<[u16; 3]>()).prop_map(
        |(dims, init, dtype, gap, name, cut)| {
            let fill = fill(&format!("w.{name}"), &dims, init, dtype);
            let ranges: Vec<Range<u64>> = dims
                .iter()
                .zip(cut)
                .map(|(&dim, cut)| {
                    let [a, b] = [cut & 0xff, cut >> 8].map(|c| u64::from(c) * (dim + 1) / 256);
                    if cut.is_multiple_of(2) {
                        0..dim
                    } else {
                        a.min(b)..a.max(b)
                    }
                })
                .collect();
            (fill.slice(&ranges).unwrap(), gap)
        },
    )
}

#[test]
fn any_fills_anywhere() {
    let devices = devices();
    if devices.is_empty() {
        return;
    }
    let config = ProptestConfig {
        cases: 24,
        ..ProptestConfig::default()
    };
    proptest!(config, |(fills in prop::collection::vec(any_fill(), 1..90))| {
        for (name, gpu) in &devices {
            check(name, gpu, gpu.initializer(), &fills);
        }
    });
}

#[test]
fn a_plan_becomes_buffers_by_one_call() {
    let text = "[[rule]]\nmatch = \"head.weight\"\ntied_to = \"embed.weight\"\n\
                [[rule]]\nmatch = \"*.bias\"\ninit = \"zeros\"\ndtype = \"bf16\"\n\
                [[rule]]\nmatch = \"*\"\ninit = \"normal(std=0.02)\"\n";
    let recipe = fanin::Recipe::from_toml(text).unwrap();
    let shapes = [
        ("embed.weight", vec![37, 11]),
        ("fc.weight", vec![5, 11]),
        ("fc.bias", vec![3]),
        ("none.weight", vec![0, 4]),
        ("head.weight", vec![37, 11]),
    ];
    let list = fanin::TensorList::of_shapes(shapes).unwrap();
    let plan = recipe.resolve(&list, Some(7), None).unwrap();
    for (name, gpu) in devices() {
        let usage = wgpu::BufferUsages::COPY_SRC;
        let buffers = gpu
            .initializer()
            .fill_plan(gpu.queue(), &plan, usage)
            .unwrap();
        assert_eq!(buffers.len(), 5, "{name}");
        assert_eq!(buffers["head.weight"], buffers["embed.weight"], "{name}");
        for fill in plan.iter() {
            let buffer = &buffers[fill.name()];
            assert_eq!(buffer.size(), fill.buffer_size(), "{name}");
            let mut seen = vec![0; fill.bytes() as usize];
            gpu.read(buffer, 0, &mut seen).unwrap();
            let mut expected = seen.clone();
            cpu::fill(fill, &mut expected).unwrap();
            assert_eq!(seen, expected, "{name}: {}", fill.name());
        }
    }
}
