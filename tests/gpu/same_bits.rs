//! Promise 1: the same bits everywhere. Every adapter of the machine, with and without 64-bit integers, is compared
//! with the CPU, for initializers, dtypes, lengths, offsets, slices and cuts into dispatches.
//!
//! Each fill goes into a buffer full of a pattern, which must not change outside of the fill.
#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use std::ops::Range;

use fanin::gpu::{Gpu, Initializer, InitializerOptions};
use fanin::{DType, Fill, Init, Tensor, cpu};
use proptest::prelude::*;

use crate::devices::devices;
use crate::patterned;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Initializers for each path of the arithmetic: with and without mean, clamp, subnormal and overflowing results.
fn inits() -> Vec<Init> {
    vec![
        Init::normal(0.0, 0.02),
        Init::normal(-1.5, 0.5),
        Init::normal(0.0, 1e-40),
        Init::normal(1e-39, 1e-38),
        Init::normal(1e38, 1e38),
        // The smallest and the largest std; and a mean that makes the std a few steps, less than one step, and
        // nothing.
        Init::normal(0.0, 1.5e-45),
        Init::normal(0.0, 3.4e38),
        Init::normal(1.0, 1e-4),
        Init::normal(-1.0, 3e-9),
        Init::normal(3.0, 1e-30),
        // The smallest and the largest exponent for values that are made in floats, and the next ones, which are
        // made in integers.
        Init::normal(0.0, 4.0 * (-100f64).exp2()),
        Init::normal(0.0, 4.0 * (-101f64).exp2()),
        Init::normal(0.0, 4.0 * (-102f64).exp2()),
        Init::normal(0.0, 4.0 * 122f64.exp2()),
        Init::normal(0.0, 4.0 * 123f64.exp2()),
        Init::uniform(f64::from(f32::MIN), f64::from(f32::MAX)),
        Init::normal(0.0, 4e-5),
        Init::uniform(-0.05, 0.05),
        Init::uniform(-1.0, 3.0),
        Init::uniform(1.0, 1.0 + f64::from(f32::EPSILON)),
        Init::uniform(-3e-45, 3e-45),
        Init::uniform(0.0, 1.0),
        Init::uniform(-1.0, 0.0),
        Init::kaiming_normal(),
        Init::xavier_uniform(),
        Init::trunc_normal(0.0, 0.02, -2.0, 2.0),
        Init::trunc_normal(0.1, 0.5, -0.3, 0.9),
        Init::trunc_normal(0.0, 0.5, -0.3, 0.0),
        Init::trunc_normal(0.0, 1.0, 3.0, f64::INFINITY),
        Init::trunc_normal(-1.0, 1e-3, -2.0, -1.02),
        Init::trunc_normal(0.0, 1e-39, -2e-39, 1e-39),
        Init::he_normal(),
        "mamba2_a_log".parse().unwrap(),
        "mamba_dt_bias".parse().unwrap(),
        Init::constant(0.1),
        Init::constant(-0.0),
        Init::zeros(),
        Init::ones(),
    ]
}

/// Fills at `offset` on the GPU and in host memory, each over the same pattern, and compares all bytes.
fn check(name: &str, gpu: &Gpu, initializer: &Initializer, fill: &Fill, offset: u64) {
    let size = fill.dtype().size();
    let start = (offset * size) as usize;
    let end = start + fill.bytes() as usize;
    let (buffer, mut expected) = patterned::buffer(gpu, (end as u64 + 12).next_multiple_of(4));
    cpu::fill(fill, &mut expected[start..end]).unwrap();

    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    initializer
        .fill(&mut encoder, fill, &buffer, offset)
        .unwrap();
    gpu.queue().submit([encoder.finish()]);
    let mut seen = vec![0; expected.len()];
    gpu.read(&buffer, 0, &mut seen).unwrap();

    if let Some(at) = (0..seen.len()).find(|&i| seen[i] != expected[i]) {
        panic!(
            "{name}: byte {at} is {:#04x}, expected {:#04x}; the fill is bytes {start}..{end}: \
             {fill:?} at element {offset}",
            seen[at], expected[at]
        );
    }
}

fn fill(dims: &[u64], ranges: &[Range<u64>], init: &Init, dtype: DType) -> Fill {
    let tensor = Tensor::new("layers.0.weight", dims).unwrap();
    let whole = Fill::new(&tensor, init, 0x0123_4567_89ab_cdef).unwrap();
    whole.with_dtype(dtype).slice(ranges).unwrap()
}

fn whole(dims: &[u64], init: &Init, dtype: DType) -> Fill {
    let ranges: Vec<_> = dims.iter().map(|&dim| 0..dim).collect();
    fill(dims, &ranges, init, dtype)
}

#[test]
fn every_rule_in_every_dtype() {
    for (name, gpu) in devices() {
        for init in inits() {
            for dtype in DTYPES {
                check(
                    &name,
                    &gpu,
                    gpu.initializer(),
                    &whole(&[61, 83], &init, dtype),
                    3,
                );
            }
        }
    }
}

/// A device whose floats are not exact makes all values in integers.
#[test]
fn integers_make_the_same_bits_as_floats() {
    for (name, gpu) in devices() {
        assert!(gpu.initializer().exact_floats(), "{name} fails the probe");
        let options = InitializerOptions {
            exact_floats: Some(false),
            int64: Some(gpu.initializer().int64()),
            ..InitializerOptions::default()
        };
        let integers = Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap();
        assert!(!integers.exact_floats());
        for init in inits() {
            for dtype in DTYPES {
                check(&name, &gpu, &integers, &whole(&[61, 83], &init, dtype), 3);
            }
        }
    }
}

/// Initializers that depend on rows and columns: whole, sliced, and beyond 2^32 elements, where the row takes a long
/// division.
#[test]
fn every_rule_by_place() {
    type Case<'a> = (&'a str, &'a [u64], &'a [Range<u64>]);
    let cases: &[Case] = &[
        ("eye", &[37, 53], &[0..37, 0..53]),
        ("eye", &[53, 37], &[5..50, 3..30]),
        (
            "identity(gain=-2.5)",
            &[1 << 30, 1 << 19],
            &[(1 << 18)..(1 << 18) + 30, (1 << 18) + 3..(1 << 18) + 29],
        ),
        ("dirac", &[6, 4, 3], &[0..6, 0..4, 0..3]),
        ("dirac(groups=2)", &[8, 3, 3, 5], &[1..8, 0..3, 0..3, 1..5]),
        ("dirac", &[5, 5, 2, 3, 4], &[0..5, 0..5, 0..2, 0..3, 0..4]),
        ("embedding(padding_idx=3)", &[11, 7], &[0..11, 0..7]),
        (
            "embedding(mean=1,std=0.1,padding_idx=0)",
            &[11, 7],
            &[0..9, 2..7],
        ),
        (
            "embedding(padding_idx=8589934593)",
            &[1 << 34, 6],
            &[(1 << 33) - 2..(1 << 33) + 9, 1..4],
        ),
        ("sparse(sparsity=0.3)", &[1, 5], &[0..1, 0..5]),
        ("sparse(sparsity=0.3)", &[29, 31], &[0..29, 0..31]),
        ("sparse(sparsity=0.9,std=1)", &[70, 9], &[3..66, 2..7]),
        (
            "sparse(sparsity=0.5)",
            &[70_000, 1 << 20],
            &[69_990..70_000, (1 << 19)..(1 << 19) + 6],
        ),
        ("sinusoids", &[50, 16], &[0..50, 0..16]),
        ("sinusoidal", &[3, 50, 9], &[0..3, 7..44, 1..8]),
        (
            "sinusoidal",
            &[1 << 31, 8],
            &[(1 << 30) + 1..(1 << 30) + 20, 0..8],
        ),
        ("mamba_a_log", &[40, 16], &[3..17, 0..16]),
        ("arange(start=-3,step=2)", &[1, 77], &[0..1, 5..76]),
        ("inv_freq", &[65], &[1..64]),
        ("causal_mask", &[1, 1, 33, 33], &[0..1, 0..1, 0..33, 0..33]),
        ("causal_mask(value=-1.5)", &[3, 50, 9], &[0..3, 7..44, 1..8]),
        (
            "causal_mask",
            &[1 << 20, 1 << 20],
            &[(1 << 19)..(1 << 19) + 20, (1 << 19) + 3..(1 << 19) + 17],
        ),
        ("mamba_a_log", &[5, 3, 7], &[0..5, 1..3, 2..7]),
    ];
    for (name, gpu) in devices() {
        for (spec, dims, ranges) in cases {
            let init = spec.parse().unwrap();
            for dtype in DTYPES {
                for offset in [0, 1, 6] {
                    let fill = fill(dims, ranges, &init, dtype);
                    check(&name, &gpu, gpu.initializer(), &fill, offset);
                }
            }
        }
    }
}

#[test]
fn every_length_at_every_offset() {
    for (name, gpu) in devices() {
        for dtype in DTYPES {
            for length in [1, 2, 3, 4, 5, 7, 8, 63, 1023, 1024, 1025] {
                for offset in [0, 1, 2, 3, 4, 5, 63, 64, 127, 1000] {
                    let init = Init::normal(0.0, 1.0);
                    check(
                        &name,
                        &gpu,
                        gpu.initializer(),
                        &whole(&[length], &init, dtype),
                        offset,
                    );
                }
            }
            // A fill of no elements changes nothing.
            let nothing = fill(&[5, 5], &[2..2, 0..5], &Init::ones(), dtype);
            check(&name, &gpu, gpu.initializer(), &nothing, 1);
            let scalar = whole(&[], &Init::normal(0.0, 1.0), dtype);
            check(&name, &gpu, gpu.initializer(), &scalar, 1);
        }
    }
}

#[test]
fn slices_of_every_kind() {
    let cases: &[(&[u64], &[Range<u64>])] = &[
        (&[64, 48], &[10..20, 0..48]),
        (&[64, 48], &[0..64, 8..24]),
        (&[64, 48], &[3..50, 7..22]),
        (&[64, 48], &[0..64, 5..6]),
        (&[63, 47], &[1..63, 1..46]),
        (&[63, 47], &[1..63, 2..46]),
        (&[7, 5, 3], &[0..7, 1..4, 0..3]),
        (&[7, 5, 3], &[1..6, 0..5, 1..2]),
        (&[16, 8, 4, 4], &[2..9, 1..7, 1..3, 0..4]),
        // More dimensions than one dispatch can count.
        (
            &[3; 10],
            &[0..3, 0..2, 1..3, 0..3, 1..2, 0..2, 1..3, 0..2, 1..3, 0..2],
        ),
        // Beyond 2^32 elements: in rows, in columns and in both.
        (&[1 << 34], &[(1 << 32) - 5..(1 << 32) + 999]),
        (&[1 << 49], &[(1 << 49) - 1001..1 << 49]),
        (
            &[1 << 20, 1 << 20],
            &[(1 << 19)..(1 << 19) + 40, (1 << 19) + 1..(1 << 19) + 40],
        ),
        (&[1 << 34, 6], &[(1 << 33) + 1..(1 << 33) + 200, 1..4]),
        (&[2, 1 << 34], &[0..2, (1 << 33)..(1 << 33) + 37]),
        (
            &[5, 1 << 33, 3],
            &[1..3, (1 << 32) - 50..(1 << 32) + 50, 0..2],
        ),
    ];
    for (name, gpu) in devices() {
        for (dims, ranges) in cases {
            for dtype in DTYPES {
                for init in [
                    Init::normal(0.0, 0.02),
                    Init::uniform(-1.0, 3.0),
                    Init::trunc_normal(0.0, 0.02, -0.03, 0.05),
                ] {
                    for offset in [0, 1, 6] {
                        let fill = fill(dims, ranges, &init, dtype);
                        check(&name, &gpu, gpu.initializer(), &fill, offset);
                    }
                }
            }
        }
    }
}

/// The positions within the slice are beyond 2^32, not only the elements. The slice is never made whole.
#[test]
fn ranges_that_start_beyond_2_to_the_32_elements_of_a_slice() {
    for (name, gpu) in devices() {
        for (dims, ranges) in [
            (vec![1 << 20, 1 << 14], vec![0..1 << 20, 3..1 << 14]),
            (vec![1 << 34, 6], vec![5..1 << 34, 1..4]),
            (
                vec![1 << 17, 1 << 16, 7],
                vec![0..1 << 17, 0..1 << 16, 2..5],
            ),
            (vec![3, 1 << 32, 6], vec![0..3, 5..1 << 32, 1..4]),
        ] {
            for dtype in DTYPES {
                let fill = fill(&dims, &ranges, &Init::normal(0.0, 1.0), dtype);
                for start in [(1 << 32) - 77, (1 << 33) + 12_345, fill.elements() - 500] {
                    let mut expected = vec![0; 500 * dtype.size() as usize];
                    cpu::fill_range(&fill, start, &mut expected).unwrap();
                    let mut seen = vec![0; expected.len()];
                    gpu.fill_range_to_host(&fill, start, &mut seen).unwrap();
                    assert!(seen == expected, "{name}: {fill:?} from {start}");
                }
            }
        }
    }
}

/// Workgroup sizes, small bindings (a fill of many dispatches) and grids of more than 65,535 workgroups do not
/// change a bit.
#[test]
fn cuts_do_not_change_bits() {
    for (name, gpu) in devices() {
        let with = |workgroup_size, max_binding_size| {
            let options = InitializerOptions {
                int64: Some(gpu.initializer().int64()),
                workgroup_size,
                max_binding_size,
                ..InitializerOptions::default()
            };
            Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap()
        };
        let alignment = u64::from(gpu.device().limits().min_storage_buffer_offset_alignment);
        let small = with(None, Some(2 * alignment + 36));
        let narrow = with(Some(1), None);
        for dtype in DTYPES {
            for init in [Init::normal(0.0, 0.02), Init::constant(0.1)] {
                for offset in [0, 1, 2, 77] {
                    check(&name, &gpu, &small, &whole(&[3001], &init, dtype), offset);
                    let slice = fill(&[70, 50], &[1..69, 3..46], &init, dtype);
                    check(&name, &gpu, &small, &slice, offset);
                    let even = fill(&[70, 50], &[1..69, 4..46], &init, dtype);
                    check(&name, &gpu, &small, &even, offset);
                }
            }
            for workgroup_size in [7, 64] {
                let other = with(Some(workgroup_size), None);
                check(
                    &name,
                    &gpu,
                    &other,
                    &whole(&[3001], &Init::normal(0.0, 1.0), dtype),
                    1,
                );
            }
            // More than 2^16 workgroups of one invocation each.
            let long = whole(&[4 * 66_000 + 1], &Init::normal(0.0, 1.0), dtype);
            check(&name, &gpu, &narrow, &long, 1);
        }
    }
}

/// Invocations that make four blocks: fills that consist of such runs, fills with a rest, and slices of rows.
#[test]
fn runs_of_blocks_do_not_change_bits() {
    for (name, gpu) in devices() {
        let int64 = gpu.initializer().int64();
        let options = InitializerOptions {
            int64: Some(int64),
            uniform_tables: Some(true),
            runs: Some(true),
            ..InitializerOptions::default()
        };
        let made = Initializer::with_options(gpu.device(), gpu.queue(), &options);
        if !int64 {
            let refused = made.unwrap_err().to_string();
            assert!(refused.contains("64-bit integers"), "{name}: {refused}");
            continue;
        }
        let in_runs = made.unwrap();
        let in_blocks = InitializerOptions {
            runs: Some(false),
            ..options
        };
        let in_blocks = Initializer::with_options(gpu.device(), gpu.queue(), &in_blocks).unwrap();
        for initializer in [&in_runs, &in_blocks] {
            for dtype in DTYPES {
                for init in inits() {
                    let fill = whole(&[48, 48], &init, dtype);
                    check(&name, &gpu, initializer, &fill, 16);
                }
                let normal = Init::normal(0.0, 1.0);
                for length in [16, 20, 1 << 14, (1 << 14) + 1, (1 << 14) + 31] {
                    for offset in [0, 4, 8, 12, 16, 40] {
                        let fill = whole(&[length], &normal, dtype);
                        check(&name, &gpu, initializer, &fill, offset);
                    }
                }
                for columns in [0..48, 8..24, 4..24, 4..25, 5..21] {
                    let slice = fill(&[64, 48], &[10..46, columns], &normal, dtype);
                    check(&name, &gpu, initializer, &slice, 32);
                }
            }
        }
    }
}

/// The kind of buffer that holds the tables does not change a bit.
#[test]
fn tables_in_uniform_and_in_storage_buffers() {
    for (name, gpu) in devices() {
        for uniform_tables in [true, false] {
            let options = InitializerOptions {
                int64: Some(gpu.initializer().int64()),
                uniform_tables: Some(uniform_tables),
                ..InitializerOptions::default()
            };
            let initializer =
                Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap();
            for dtype in DTYPES {
                for init in [
                    Init::normal(0.0, 0.02),
                    Init::trunc_normal(0.0, 0.02, -0.03, 0.05),
                    Init::uniform(-1.0, 3.0),
                    Init::ones(),
                    Init::sparse(0.3, 0.02),
                    Init::sinusoidal(),
                ] {
                    check(
                        &name,
                        &gpu,
                        &initializer,
                        &whole(&[301, 110], &init, dtype),
                        1,
                    );
                    let slice = fill(&[70, 50], &[1..69, 3..46], &init, dtype);
                    check(&name, &gpu, &initializer, &slice, 4);
                }
            }
        }
    }
}

/// Two fills in one pass write the two halves of one word.
#[test]
fn neighbours_in_one_word_keep_their_bits() {
    for (name, gpu) in devices() {
        for dtype in [DType::F16, DType::BF16] {
            let fills: Vec<Fill> = (1..40u64)
                .map(|length| {
                    let tensor = Tensor::new(format!("t{length}"), [length]).unwrap();
                    let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), length).unwrap();
                    fill.with_dtype(dtype)
                })
                .collect();
            let bytes: u64 = fills.iter().map(Fill::bytes).sum();
            let (buffer, mut expected) = patterned::buffer(&gpu, (bytes + 8).next_multiple_of(4));
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let mut offset = 1;
            for fill in &fills {
                let start = 2 * offset as usize;
                cpu::fill(fill, &mut expected[start..start + fill.bytes() as usize]).unwrap();
                gpu.initializer()
                    .fill_in_pass(&mut pass, fill, &buffer, offset)
                    .unwrap();
                offset += fill.elements();
            }
            drop(pass);
            gpu.queue().submit([encoder.finish()]);
            let mut seen = vec![0; expected.len()];
            gpu.read(&buffer, 0, &mut seen).unwrap();
            assert!(seen == expected, "{name}, {dtype}");
        }
    }
}

/// A device without optional features and with the limits that WebGPU guarantees (256 invocations, bindings of
/// 128 MiB) fills a tensor that is larger than a binding.
#[test]
fn downlevel_limits_suffice() {
    for (name, gpu) in devices() {
        let Some((device, queue)) = downlevel_device(&gpu) else {
            panic!("{name}: no device with downlevel limits");
        };
        let initializer = Initializer::new(&device, &queue).unwrap();
        assert!(!initializer.int64());
        // Uniform buffers have 16 KiB here, which is too small for a table.
        let options = InitializerOptions {
            uniform_tables: Some(true),
            ..InitializerOptions::default()
        };
        let refused = Initializer::with_options(&device, &queue, &options).unwrap_err();
        assert!(refused.to_string().contains("uniform buffers"), "{refused}");
        // 136 MB in f32 take two bindings of 128 MiB.
        let fill = whole(&[(34 << 20) + 5], &Init::constant(0.25), DType::F32);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: fill.bytes(),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        initializer.submit(&queue, &fill, &buffer, 0).unwrap();
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: fill.bytes(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&buffer, 0, &staging, 0, fill.bytes());
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let mapped = staging.get_mapped_range(..).unwrap();
        let quarter = 0.25f32.to_le_bytes();
        assert!(
            mapped.chunks_exact(4).all(|bytes| bytes == quarter),
            "{name}"
        );
    }
}

fn downlevel_device(gpu: &Gpu) -> Option<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = found.into_iter().find(|adapter| {
        let info = adapter.get_info();
        info.name == gpu.info().name && info.backend == gpu.info().backend
    })?;
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: None,
        required_limits: wgpu::Limits::downlevel_defaults(),
        ..Default::default()
    });
    pollster::block_on(request).ok()
}

fn slice_of_a_small_tensor() -> impl Strategy<Value = (Vec<u64>, Vec<Range<u64>>)> {
    let dimension = (1u64..14).prop_flat_map(|dim| {
        let ends = (0..=dim, 0..=dim);
        ends.prop_map(move |(a, b)| (dim, a.min(b)..a.max(b)))
    });
    proptest::collection::vec(dimension, 0..5).prop_map(|parts| parts.into_iter().unzip())
}

#[test]
fn any_slice_anywhere() {
    let devices = devices();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let case = (
        slice_of_a_small_tensor(),
        prop::sample::select(inits()),
        prop::sample::select(&DTYPES[..]),
        0u64..9,
    );
    runner
        .run(&case, |((dims, ranges), init, dtype, offset)| {
            // Initializers with fans need two dimensions.
            let tensor = Tensor::new("w", dims.clone()).unwrap();
            prop_assume!(init.resolve(&tensor).is_ok());
            for (name, gpu) in &devices {
                check(
                    name,
                    gpu,
                    gpu.initializer(),
                    &fill(&dims, &ranges, &init, dtype),
                    offset,
                );
            }
            Ok(())
        })
        .unwrap();
}

/// `dense_layers`, in GPU memory.
#[test]
fn dense_layers_equal_the_cpu() {
    for (name, gpu) in devices() {
        let layers = fanin::init::dense_layers(
            &[33, 17, 5],
            &Init::he_normal(),
            &Init::normal(0.0, 0.01),
            42,
        )
        .unwrap();
        let buffers = gpu.fill_layers(&layers).unwrap();
        assert_eq!(buffers.len(), 2);
        for (layer, (weight, bias)) in layers.iter().zip(&buffers) {
            for (fill, buffer) in [(&layer.weight, weight), (&layer.bias, bias)] {
                let mut expected = vec![0; fill.bytes() as usize];
                cpu::fill(fill, &mut expected).unwrap();
                let mut seen = vec![0; expected.len()];
                gpu.read(buffer, 0, &mut seen).unwrap();
                assert!(seen == expected, "{name}: {}", fill.name());
            }
        }
    }
}
