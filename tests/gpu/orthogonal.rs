//! Orthogonal matrices are orthonormal to a stated tolerance for every shape, have the Haar distribution, and
//! have the same bits on one device and close values across devices.

use fanin::gpu::Gpu;
use fanin::{DType, Fill, Init, Layout, Tensor, cpu};

use crate::devices::devices;

fn tensor(dims: &[u64]) -> Tensor {
    Tensor::new("w", dims).unwrap()
}

fn on_cpu(tensor: &Tensor, init: &Init, seed: u64) -> Vec<f32> {
    let fill = Fill::new(tensor, init, seed).unwrap();
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(&fill, &mut out).unwrap();
    out
}

fn on_gpu(gpu: &Gpu, fill: &Fill) -> Vec<u8> {
    let buffer = gpu.fill_buffer(fill).unwrap();
    let mut bytes = vec![0; fill.bytes() as usize];
    gpu.read(&buffer, 0, &mut bytes).unwrap();
    bytes
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

/// Returns the largest element of Q^T Q - I, or of Q Q^T - I for a wide matrix.
fn deviation(q: &[f32], rows: usize, columns: usize) -> f64 {
    let q = faer::Mat::from_fn(rows, columns, |i, j| f64::from(q[i * columns + j]));
    let product = if rows >= columns {
        q.transpose() * &q
    } else {
        &q * q.transpose()
    };
    let n = product.nrows();
    let mut worst: f64 = 0.0;
    for i in 0..n {
        for j in 0..n {
            worst = worst.max((product[(i, j)] - f64::from(u8::from(i == j))).abs());
        }
    }
    worst
}

/// Returns the promised deviation: 1e-5 up to a size of 1024, and from there on growing with its square root.
fn promised(rows: usize, columns: usize) -> f64 {
    1e-5 * (rows.max(columns) as f64).sqrt().max(32.0) / 32.0
}

/// Square, tall and wide matrices, sizes near those of blocks and tiles, and a single row, column and element.
const SHAPES: [[u64; 2]; 16] = [
    [1, 1],
    [1, 7],
    [7, 1],
    [2, 2],
    [3, 5],
    [63, 63],
    [64, 64],
    [65, 65],
    [128, 64],
    [64, 200],
    [129, 127],
    [300, 17],
    [17, 300],
    [1000, 3],
    [257, 512],
    [700, 700],
];

#[test]
fn columns_or_rows_are_orthonormal() {
    let devices = devices();
    for dims in SHAPES {
        let [rows, columns] = dims.map(|dim| dim as usize);
        let limit = promised(rows, columns);
        let fill = Fill::new(&tensor(&dims), &Init::orthogonal(), 42).unwrap();
        let cpu = on_cpu(&tensor(&dims), &Init::orthogonal(), 42);
        let off = deviation(&cpu, rows, columns);
        // The CPU rounds once from binary64, which is 2^-25 for an element.
        assert!(off < 1e-6, "CPU, {dims:?}: {off:e}");
        for (name, gpu) in &devices {
            let bytes = on_gpu(gpu, &fill);
            assert!(bytes == on_gpu(gpu, &fill), "{name}: not the same twice");
            let got = floats(&bytes);
            let off = deviation(&got, rows, columns);
            assert!(off < limit, "{name}, {dims:?}: {off:e}");
            // Across devices, no element differs by more than 1e-5.
            let apart = cpu.iter().zip(&got).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max);
            assert!(apart < 1e-5, "{name}, {dims:?}: {apart:e} from the CPU");
            println!("{name}, {dims:?}: off by {off:.1e}, {apart:.1e} from the CPU");
        }
    }
}

/// Sizes that fit the device's memory and take minutes.
#[test]
#[ignore = "takes minutes on a software driver"]
fn large_matrices_are_orthonormal() {
    let devices = devices();
    for n in [2048u64, 4096, 8192] {
        let fill = Fill::new(&tensor(&[n, n]), &Init::orthogonal(), 42).unwrap();
        let start = std::time::Instant::now();
        let cpu = on_cpu(&tensor(&[n, n]), &Init::orthogonal(), 42);
        let seconds = start.elapsed().as_secs_f64();
        let off = deviation(&cpu, n as usize, n as usize);
        println!("CPU, {n}: off by {off:.2e}, {seconds:.2} s");
        assert!(off < promised(n as usize, n as usize));
        for (name, gpu) in &devices {
            let limits = gpu.device().limits();
            if limits.max_storage_buffer_binding_size < 4 * n * n {
                println!("{name}, {n}: does not fit a binding");
                continue;
            }
            let start = std::time::Instant::now();
            let got = floats(&on_gpu(gpu, &fill));
            let seconds = start.elapsed().as_secs_f64();
            let off = deviation(&got, n as usize, n as usize);
            let apart = cpu.iter().zip(&got).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max);
            println!("{name}, {n}: off by {off:.2e}, {apart:.1e} from the CPU, {seconds:.2} s");
            assert!(off < promised(n as usize, n as usize));
            assert!(apart < 1e-5);
        }
    }
}

/// A matrix that the device cannot bind is an error with a hint.
#[test]
fn matrices_beyond_a_binding_are_refused() {
    for (name, gpu) in devices() {
        let largest = gpu.device().limits().max_storage_buffer_binding_size;
        let n = ((largest / 4) as f64).sqrt() as u64 / 64 * 64 + 64;
        if n * n >= 1 << 31 {
            println!("{name}: binds any matrix");
            continue;
        }
        let whole = Fill::new(&tensor(&[n, n]), &Init::orthogonal(), 1).unwrap();
        let fill = whole.slice([0..1, 0..1]).unwrap();
        let error = gpu.fill_buffer(&fill).unwrap_err().to_string();
        assert!(error.contains("make it on the CPU"), "{name}: {error}");
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    for dims in [[300, 300], [70, 500]] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let make = || on_cpu(&tensor(&dims), &Init::orthogonal(), 5);
            pool.build().unwrap().install(make)
        };
        let one = with(1);
        assert!(one == with(2) && one == with(7), "{dims:?}");
    }
}

/// A wide matrix is the transpose of a tall one, the layout determines how the tensor is flattened, and the
/// gain is a factor.
#[test]
fn shapes_layouts_and_gains() {
    let tall = on_cpu(&tensor(&[50, 30]), &Init::orthogonal(), 1);
    let wide = on_cpu(&tensor(&[30, 50]), &Init::orthogonal(), 1);
    for i in 0..30 {
        for j in 0..50 {
            assert_eq!(wide[i * 50 + j], tall[j * 30 + i]);
        }
    }
    let conv = on_cpu(&tensor(&[16, 8, 3, 3]), &Init::orthogonal(), 1);
    assert_eq!(conv, on_cpu(&tensor(&[16, 72]), &Init::orthogonal(), 1));
    let keras = tensor(&[3, 3, 8, 16]).with_layout(Layout::InOut);
    assert_eq!(
        on_cpu(&keras, &Init::orthogonal(), 1),
        on_cpu(&tensor(&[72, 16]), &Init::orthogonal(), 1)
    );
    let doubled = on_cpu(&tensor(&[50, 30]), &Init::orthogonal_with(2.0), 1);
    assert!(doubled.iter().zip(&tall).all(|(a, b)| *a == 2.0 * b));
    let other = on_cpu(&tensor(&[50, 30]), &Init::orthogonal(), 2);
    assert_ne!(other, tall);
}

/// As in `jax.nn.initializers.delta_orthogonal`, all is zero except the middle tap, (k - 1) // 2.
#[test]
fn delta_orthogonal_is_in_the_middle() {
    let init: Init = "delta_orthogonal(gain=0.5)".parse().unwrap();
    for kernel in [&[3][..], &[4], &[3, 5], &[1, 3, 2]] {
        let taps: usize = kernel.iter().product::<u64>() as usize;
        let middle = kernel.iter().fold(0, |at, &k| at * k + (k - 1) / 2) as usize;
        let (inputs, outputs) = (5usize, 9usize);
        let in_out = [kernel, &[5, 9]].concat();
        let got = on_cpu(&tensor(&in_out).with_layout(Layout::InOut), &init, 3);
        let size = inputs * outputs;
        let matrix: Vec<f32> = got[middle * size..][..size]
            .iter()
            .map(|x| 2.0 * x)
            .collect();
        assert!(deviation(&matrix, inputs, outputs) < 1e-6);
        let zeros = got.iter().filter(|x| **x == 0.0).count();
        assert!(zeros >= (taps - 1) * size);

        let out_in = [&[9, 5], kernel].concat();
        let got = on_cpu(&tensor(&out_in), &init, 3);
        let matrix: Vec<f32> = (0..size).map(|i| 2.0 * got[i * taps + middle]).collect();
        assert!(deviation(&matrix, outputs, inputs) < 1e-6);
        assert!((0..got.len()).all(|i| i % taps == middle || got[i] == 0.0));
    }
    let error = init.resolve(&tensor(&[5, 9, 3])).unwrap_err().to_string();
    assert!(error.contains("no more inputs than outputs"), "{error}");
    for dims in [&[4, 4][..], &[4; 6]] {
        let error = init.resolve(&tensor(dims)).unwrap_err().to_string();
        assert!(error.contains("needs rank 3 to 5"), "{error}");
    }
    let error = Init::orthogonal()
        .resolve(&tensor(&[4]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("orthogonal needs rank 2 or more"), "{error}");
}

/// Parts in every dtype at several offsets equal the rounded elements of the whole in f32, and neighbours keep
/// their bits.
#[test]
fn parts_are_those_of_the_whole() {
    type Case<'a> = (&'a [u64], &'a str, &'a [std::ops::Range<u64>]);
    let cases: [Case; 4] = [
        (&[70, 41], "orthogonal", &[3..60, 5..38]),
        (&[41, 70], "orthogonal", &[0..41, 1..70]),
        (
            &[8, 6, 3, 3],
            "orthogonal(gain=3)",
            &[1..8, 0..6, 1..3, 0..2],
        ),
        (&[9, 6, 3, 3], "delta_orthogonal", &[1..8, 0..6, 1..3, 0..2]),
    ];
    let devices = devices();
    for (dims, spec, ranges) in cases {
        let init: Init = spec.parse().unwrap();
        let whole = Fill::new(&tensor(dims), &init, 9).unwrap();
        let part = whole.clone().slice(ranges).unwrap();
        let mut indices = vec![0usize];
        for (&dim, range) in dims.iter().zip(ranges) {
            indices = indices
                .iter()
                .flat_map(|&outer| {
                    range
                        .clone()
                        .map(move |i| outer * dim as usize + i as usize)
                })
                .collect();
        }
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let part = part.clone().with_dtype(dtype);
            let rounded = |all: &[f32]| -> Vec<u8> {
                let of = |x: f32| match dtype {
                    DType::F32 => x.to_le_bytes().to_vec(),
                    DType::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
                    _ => half::bf16::from_f32(x).to_le_bytes().to_vec(),
                };
                indices.iter().flat_map(|&i| of(all[i])).collect()
            };
            let mut bytes = vec![0; part.bytes() as usize];
            cpu::fill(&part, &mut bytes).unwrap();
            assert!(
                bytes == rounded(&on_cpu(&tensor(dims), &init, 9)),
                "CPU, {spec}, {dtype}"
            );
            // In pieces, as a file is written.
            let size = dtype.size() as usize;
            let mut pieces = vec![0; bytes.len()];
            for (i, piece) in pieces.chunks_mut(37 * size).enumerate() {
                cpu::fill_range(&part, 37 * i as u64, piece).unwrap();
            }
            assert!(pieces == bytes, "CPU, {spec}, {dtype}, pieces");

            for (name, gpu) in &devices {
                let all = floats(&on_gpu(gpu, &whole));
                let expected = rounded(&all);
                for (i, piece) in pieces.chunks_mut(37 * size).enumerate() {
                    gpu.fill_range_to_host(&part, 37 * i as u64, piece).unwrap();
                }
                assert!(pieces == expected, "{name}, {spec}, {dtype}, pieces");
                for offset in [0, 1, 5] {
                    let start = offset * size;
                    let length = (start + expected.len() + 9).next_multiple_of(4);
                    let mut wanted: Vec<u8> = (0..length).map(|i| 0xa5 ^ i as u8).collect();
                    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                        label: None,
                        size: length as u64,
                        usage: wgpu::BufferUsages::STORAGE
                            | wgpu::BufferUsages::COPY_DST
                            | wgpu::BufferUsages::COPY_SRC,
                        mapped_at_creation: false,
                    });
                    gpu.queue().write_buffer(&buffer, 0, &wanted);
                    let mut encoder = gpu.device().create_command_encoder(&Default::default());
                    gpu.initializer()
                        .fill(&mut encoder, &part, &buffer, offset as u64)
                        .unwrap();
                    gpu.queue().submit([encoder.finish()]);
                    wanted[start..start + expected.len()].copy_from_slice(&expected);
                    let mut seen = vec![0; length];
                    gpu.read(&buffer, 0, &mut seen).unwrap();
                    assert!(seen == wanted, "{name}, {spec}, {dtype} at {offset}");
                }
            }
        }
    }
}

/// A moment of the Haar measure on the orthogonal group O(n): a mean over many matrices, compared with the exact
/// value. Chance exceeds 6 standard errors once in 5 * 10^8.
struct Mean {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Mean {
    fn new() -> Mean {
        Mean {
            n: 0.0,
            sum: 0.0,
            squares: 0.0,
        }
    }

    fn add(&mut self, x: f64) {
        self.n += 1.0;
        self.sum += x;
        self.squares += x * x;
    }

    fn check(&self, what: &str, exact: f64) {
        let mean = self.sum / self.n;
        let variance = self.squares / self.n - mean * mean;
        let errors = (mean - exact) / (variance / self.n).sqrt();
        println!("{what}: {mean:.5} for {exact:.5}, {errors:.2} standard errors");
        assert!(
            errors.abs() < 6.0,
            "{what}: {mean} for {exact}, {errors} standard errors"
        );
    }
}

#[test]
fn entries_and_traces_have_haars_moments() {
    for n in [2usize, 3, 5, 8] {
        let samples = 20_000;
        let mut means: Vec<(&str, f64, Mean)> = Vec::new();
        let size = n as f64;
        for (what, exact) in [
            ("q00^2", 1.0 / size),
            ("q00^4", 3.0 / (size * (size + 2.0))),
            ("last q^4", 3.0 / (size * (size + 2.0))),
            ("q00^2 q01^2", 1.0 / (size * (size + 2.0))),
            (
                "q00^2 q11^2",
                (size + 1.0) / (size * (size - 1.0) * (size + 2.0)),
            ),
            (
                "q00 q01 q10 q11",
                -1.0 / (size * (size - 1.0) * (size + 2.0)),
            ),
            ("trace", 0.0),
            ("trace^2", 1.0),
            ("trace of the square", 1.0),
            ("determinant", 0.0),
        ] {
            means.push((what, exact, Mean::new()));
        }
        for seed in 0..samples {
            let q = on_cpu(&tensor(&[n as u64, n as u64]), &Init::orthogonal(), seed);
            let at = |i: usize, j: usize| f64::from(q[i * n + j]);
            let trace: f64 = (0..n).map(|i| at(i, i)).sum();
            let square: f64 = (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .map(|(i, j)| at(i, j) * at(j, i))
                .sum();
            let matrix = faer::Mat::from_fn(n, n, at);
            let values = [
                at(0, 0).powi(2),
                at(0, 0).powi(4),
                at(n - 1, n - 1).powi(4),
                at(0, 0).powi(2) * at(0, 1).powi(2),
                at(0, 0).powi(2) * at(1, 1).powi(2),
                at(0, 0) * at(0, 1) * at(1, 0) * at(1, 1),
                trace,
                trace * trace,
                square,
                matrix.determinant(),
            ];
            for ((_, _, mean), value) in means.iter_mut().zip(values) {
                mean.add(value);
            }
        }
        for (what, exact, mean) in &means {
            mean.check(&format!("O({n}), {what}"), *exact);
        }
    }
}

/// The spacings of eigenphases have the distribution of the Haar measure, under which the probability of a small
/// spacing falls with its square. The reference is simulated independently: the Q factor of a Gaussian matrix from
/// another generator, multiplied by the signs of R's diagonal (Mezzadri, "How to generate random matrices from the
/// classical compact groups", 2007).
#[test]
fn eigenphases_are_spaced_as_haars() {
    use rand::SeedableRng;
    use rand_distr::{Distribution as _, StandardNormal};

    let n = 10usize;
    let samples = 3000;
    let mut random = rand::rngs::SmallRng::seed_from_u64(1);
    let mut ours = Vec::new();
    let mut reference = Vec::new();
    for seed in 0..samples {
        let q = on_cpu(&tensor(&[n as u64, n as u64]), &Init::orthogonal(), seed);
        ours.extend(spacings(&faer::Mat::from_fn(n, n, |i, j| {
            f64::from(q[i * n + j])
        })));
        let gaussian = faer::Mat::<f64>::from_fn(n, n, |_, _| StandardNormal.sample(&mut random));
        let qr = gaussian.qr();
        let (q, r) = (qr.compute_Q(), qr.R());
        let fixed = faer::Mat::from_fn(n, n, |i, j| q[(i, j)] * r[(j, j)].signum());
        reference.extend(spacings(&fixed));
    }
    ours.sort_by(f64::total_cmp);
    reference.sort_by(f64::total_cmp);
    // The Kolmogorov-Smirnov test for two samples. The spacings of one matrix depend on each other, since their
    // sum is fixed. That makes the distance smaller, not larger.
    let n1 = ours.len() as f64;
    let below = |x: f64| reference.partition_point(|y| *y <= x) as f64 / reference.len() as f64;
    let distance = (0..)
        .zip(&ours)
        .map(|(i, x)| ((f64::from(i) + 0.5) / n1 - below(*x)).abs())
        .fold(0.0, f64::max);
    // 2 exp(-2 * 2.65^2) = 1.6e-6.
    let limit = 2.65 * (2.0 / n1).sqrt();
    println!("eigenphase spacings: distance {distance:.4} of {limit:.4}");
    assert!(distance < limit, "{distance} of {limit}");
    // The test has the power to fail: uniform phases would have exponential spacings.
    let exponential = ours
        .iter()
        .enumerate()
        .map(|(i, x)| (i as f64 / n1 - (1.0 - (-x).exp())).abs())
        .fold(0.0, f64::max);
    assert!(exponential > 3.0 * limit, "{exponential}");
}

/// Returns the spacings of the eigenphases around the circle, scaled to a mean of 1.
fn spacings(q: &faer::Mat<f64>) -> Vec<f64> {
    let n = q.nrows();
    let eigenvalues = q.eigenvalues().unwrap();
    let mut phases: Vec<f64> = eigenvalues.iter().map(|z| z.im.atan2(z.re)).collect();
    phases.sort_by(f64::total_cmp);
    let turn = std::f64::consts::TAU;
    (0..n)
        .map(|i| {
            let next = if i + 1 < n {
                phases[i + 1]
            } else {
                phases[0] + turn
            };
            (next - phases[i]) * n as f64 / turn
        })
        .collect()
}
