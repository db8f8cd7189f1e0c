//! Compares fills in one run: fanin on the CPU and on every adapter, `rand` with `rand_distr`, the
//! upload of weights that these make, a Box-Muller in float WGSL, and a plain fill of the same memory
//! as the lower bound.
//!
//! `cargo bench --bench fill`. `FANIN_BENCH_ADAPTER=WORDS` restricts it to the adapters that these
//! words describe. Compare the numbers of one run with each other, not with those of another run.
//! Recorded results are in `benches/results/`.

mod common;

use common::{block_by_block, cases, fill, wait};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanin::gpu::{Gpu, Options};
use fanin::{DType, Init, cpu};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Normal, Uniform};
use rayon::prelude::*;

const ELEMENTS: usize = common::ELEMENTS as usize;

fn single() -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.build().expect("a thread pool")
}

fn on_the_cpu(c: &mut Criterion) {
    let mut group = c.benchmark_group("cpu");
    group.sample_size(10);
    let one = single();
    let mut weights = vec![0f32; ELEMENTS];

    for (name, fill) in cases() {
        let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut weights)[..fill.bytes() as usize];
        group.throughput(Throughput::Bytes(fill.bytes()));
        group.bench_function(BenchmarkId::new("fanin, 1 thread", name), |b| {
            b.iter(|| {
                one.install(|| cpu::fill(&fill, bytes))
                    .expect("a matching length")
            });
        });
        group.bench_function(BenchmarkId::new("fanin, all threads", name), |b| {
            b.iter(|| cpu::fill(&fill, bytes).expect("a matching length"));
        });
    }

    group.throughput(Throughput::Bytes(4 * ELEMENTS as u64));
    group.bench_function("plain fill/f32", |b| {
        b.iter(|| std::hint::black_box(&mut weights).fill(0.02));
    });
    let normal = Normal::new(0f32, 0.02).expect("a valid standard deviation");
    let uniform = Uniform::new(-0.05f32, 0.05).expect("a valid range");
    group.bench_function("rand_distr SmallRng, 1 thread/normal f32", |b| {
        b.iter(|| sample(&mut weights, 42, normal));
    });
    group.bench_function("rand SmallRng, 1 thread/uniform f32", |b| {
        b.iter(|| sample(&mut weights, 42, uniform));
    });
    group.bench_function("rand_distr SmallRng, all threads/normal f32", |b| {
        b.iter(|| sample_on_all_threads(&mut weights, normal));
    });
    group.bench_function("rand SmallRng, all threads/uniform f32", |b| {
        b.iter(|| sample_on_all_threads(&mut weights, uniform));
    });
    group.finish();
}

/// Takes the generator by value: behind a reference, its state would go through memory for each number.
/// It is not inlined, because the caller would run out of registers.
#[inline(never)]
fn sample(weights: &mut [f32], seed: u64, distribution: impl Distribution<f32>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for weight in weights {
        *weight = distribution.sample(&mut rng);
    }
}

/// Uses a generator for each part, so the weights differ from those of one generator.
fn sample_on_all_threads(
    weights: &mut [f32],
    distribution: impl Distribution<f32> + Copy + Send + Sync,
) {
    let parts = weights.par_chunks_mut(1 << 16).enumerate();
    parts.for_each(|(i, part)| sample(part, i as u64, distribution));
}

/// Box-Muller in float WGSL, ready to be dispatched.
struct FloatBoxMuller {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    grid: [u32; 2],
}

impl FloatBoxMuller {
    const WORKGROUP: u32 = 256;

    fn new(device: &wgpu::Device, weights: &wgpu::Buffer) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("float_box_muller.wgsl"));
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("float Box-Muller"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let blocks = ELEMENTS as u32 / 4;
        let workgroups = blocks.div_ceil(Self::WORKGROUP);
        let width = workgroups.min(device.limits().max_compute_workgroups_per_dimension);
        let stream = fanin::stream_id("layers.0.weight");
        // `struct Request`: key, stream, standard deviation, blocks, invocations of a row.
        let request = [
            42,
            0,
            stream as u32,
            (stream >> 32) as u32,
            0.02f32.to_bits(),
            blocks,
            width * Self::WORKGROUP,
            0,
        ];
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("float Box-Muller"),
            size: size_of_val(&request) as u64,
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        uniform
            .get_mapped_range_mut(..)
            .expect("mapped at creation")
            .copy_from_slice(bytemuck::cast_slice(&request));
        uniform.unmap();
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("float Box-Muller"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: uniform.as_entire_binding(),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: weights.as_entire_binding(),
                },
            ],
        });
        FloatBoxMuller {
            pipeline,
            bindings,
            grid: [width, workgroups.div_ceil(width)],
        }
    }

    fn submit(&self, gpu: &Gpu) -> wgpu::SubmissionIndex {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bindings, &[]);
            pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
        }
        gpu.queue().submit([encoder.finish()])
    }
}

/// Checks that the numbers are normal with standard deviation 0.02, so that no wrong fill is timed.
fn assert_normal(gpu: &Gpu, buffer: &wgpu::Buffer) {
    let mut weights = vec![0f32; ELEMENTS];
    gpu.read(buffer, 0, bytemuck::cast_slice_mut(&mut weights))
        .expect("the weights can be read");
    let moment = |power: i32| {
        let sum: f64 = weights
            .iter()
            .map(|&w| (f64::from(w) / 0.02).powi(power))
            .sum();
        sum / ELEMENTS as f64
    };
    // Ten standard errors of each mean.
    for (power, expected, tolerance) in [(1, 0.0, 0.0025), (2, 1.0, 0.0035), (4, 3.0, 0.024)] {
        let got = moment(power);
        assert!((got - expected).abs() < tolerance, "moment {power}: {got}");
    }
}

fn on_every_adapter(c: &mut Criterion) {
    let options = Options {
        adapter: std::env::var("FANIN_BENCH_ADAPTER").ok(),
        ..Options::default()
    };
    let adapters = Gpu::headless_all(&options);
    assert!(
        options.adapter.is_none() || !adapters.is_empty(),
        "no adapter is {:?}",
        options.adapter
    );
    for gpu in adapters {
        let gpu = gpu.expect("every adapter gives a device");
        let info = gpu.info();
        let mut group = c.benchmark_group(format!("{} {}", info.backend.to_str(), info.name));
        group.sample_size(10);
        let single_blocks = block_by_block(&gpu);
        let ways = [
            ("fanin", Some(gpu.initializer())),
            ("fanin, two blocks an invocation", single_blocks.as_ref()),
        ];
        for (name, fill) in cases() {
            let buffer = gpu.fill_buffer(&fill).expect("room for the weights");
            group.throughput(Throughput::Bytes(fill.bytes()));
            for (way, initializer) in ways {
                let Some(initializer) = initializer else {
                    continue;
                };
                group.bench_function(BenchmarkId::new(way, name), |b| {
                    b.iter(|| {
                        let submitted = initializer.submit(gpu.queue(), &fill, &buffer, 0);
                        wait(&gpu, submitted.expect("a recorded fill"));
                    });
                });
            }
            group.bench_function(BenchmarkId::new("plain fill", name), |b| {
                b.iter(|| {
                    let mut encoder = gpu.device().create_command_encoder(&Default::default());
                    encoder.clear_buffer(&buffer, 0, None);
                    wait(&gpu, gpu.queue().submit([encoder.finish()]));
                });
            });
        }

        let float = fill(Init::normal(0.0, 0.02), DType::F32);
        let buffer = gpu.fill_buffer(&float).expect("room for the weights");
        group.throughput(Throughput::Bytes(float.bytes()));
        let box_muller = FloatBoxMuller::new(gpu.device(), &buffer);
        wait(&gpu, box_muller.submit(&gpu));
        assert_normal(&gpu, &buffer);
        group.bench_function("float Box-Muller in WGSL/normal f32", |b| {
            b.iter(|| wait(&gpu, box_muller.submit(&gpu)));
        });
        let mut weights = vec![0f32; ELEMENTS];
        let normal = Normal::new(0f32, 0.02).expect("a valid standard deviation");
        group.bench_function("upload of CPU-made weights/normal f32", |b| {
            b.iter(|| {
                sample_on_all_threads(&mut weights, normal);
                let bytes = bytemuck::cast_slice(&weights);
                gpu.queue().write_buffer(&buffer, 0, bytes);
                wait(&gpu, gpu.queue().submit([]));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, on_the_cpu, on_every_adapter);
criterion_main!(benches);
