//! Filling weights, side by side in one run: fanin on the CPU and on every adapter, `rand` with
//! `rand_distr`, and a plain fill of the same memory, the floor of them all.
//!
//! `cargo bench --bench fill`; numbers of one run can be compared with each other, not with those
//! of another. Results kept: `benches/results/`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanin::gpu::{Gpu, Options};
use fanin::{DType, Fill, Init, Tensor, cpu};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Uniform};
use rayon::prelude::*;

const ROWS: u64 = 4096;
const COLUMNS: u64 = 4096;
const ELEMENTS: usize = (ROWS * COLUMNS) as usize;

fn fill(init: Init, dtype: DType) -> Fill {
    let tensor = Tensor::new("layers.0.weight", [ROWS, COLUMNS]).expect("a valid shape");
    let fill = Fill::new(&tensor, &init, 42).expect("a valid initializer");
    fill.with_dtype(dtype)
}

fn cases() -> Vec<(&'static str, Fill)> {
    vec![
        ("normal f32", fill(Init::normal(0.0, 0.02), DType::F32)),
        ("normal bf16", fill(Init::normal(0.0, 0.02), DType::BF16)),
        (
            "truncated normal f32",
            fill(Init::trunc_normal(0.0, 0.02, -0.04, 0.04), DType::F32),
        ),
        ("uniform f32", fill(Init::uniform(-0.05, 0.05), DType::F32)),
    ]
}

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
        let mut rng = SmallRng::seed_from_u64(42);
        b.iter(|| sample(&mut weights, &mut rng, normal));
    });
    group.bench_function("rand SmallRng, 1 thread/uniform f32", |b| {
        let mut rng = SmallRng::seed_from_u64(42);
        b.iter(|| sample(&mut weights, &mut rng, uniform));
    });
    // What the number of threads changes: a generator each, so other weights with other cores.
    group.bench_function("rand_distr SmallRng, all threads/normal f32", |b| {
        b.iter(|| {
            let parts = weights.par_chunks_mut(1 << 16).enumerate();
            parts
                .for_each(|(i, part)| sample(part, &mut SmallRng::seed_from_u64(i as u64), normal));
        });
    });
    group.finish();
}

fn sample(weights: &mut [f32], rng: &mut impl Rng, distribution: impl Distribution<f32> + Copy) {
    for weight in weights {
        *weight = rng.sample(distribution);
    }
}

fn on_every_adapter(c: &mut Criterion) {
    for gpu in Gpu::headless_all(&Options::default()).into_iter().flatten() {
        let info = gpu.info();
        let mut group = c.benchmark_group(format!("{} {}", info.backend.to_str(), info.name));
        group.sample_size(10);
        let wait = |index| {
            let poll = wgpu::PollType::Wait {
                submission_index: Some(index),
                timeout: None,
            };
            gpu.device().poll(poll).expect("the device answers");
        };
        for (name, fill) in cases() {
            let buffer = gpu.fill_buffer(&fill).expect("room for the weights");
            group.throughput(Throughput::Bytes(fill.bytes()));
            group.bench_function(BenchmarkId::new("fanin", name), |b| {
                b.iter(|| {
                    let submitted = gpu.initializer().submit(gpu.queue(), &fill, &buffer, 0);
                    wait(submitted.expect("a recorded fill"));
                });
            });
            group.bench_function(BenchmarkId::new("plain fill", name), |b| {
                b.iter(|| {
                    let mut encoder = gpu.device().create_command_encoder(&Default::default());
                    encoder.clear_buffer(&buffer, 0, None);
                    wait(gpu.queue().submit([encoder.finish()]));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, on_the_cpu, on_every_adapter);
criterion_main!(benches);
