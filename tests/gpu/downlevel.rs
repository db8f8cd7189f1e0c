//! A device with the limits that wgpu promises on almost every driver, and without features, fills everything.

use fanin::gpu::Initializer;
use fanin::{DType, Fill, Init, Tensor, cpu};

use crate::devices::devices;
use crate::own_devices::{adapter_of, open, read};

/// An initializer for each kind of table and arithmetic.
const INITS: [&str; 8] = [
    "normal(std=0.02)",
    "uniform(low=-0.05,high=0.05)",
    "kaiming_normal",
    "trunc_normal(std=0.02,a=-0.04,b=0.03)",
    "mamba_dt_bias",
    "mamba2_a_log",
    "sparse(sparsity=0.5)",
    "constant(value=0.1)",
];

/// Returns fills of every kind in every dtype that a device stores, with what they must give: the bits of the CPU.
/// Orthogonal fills have those only within a tolerance, and come without.
fn fills() -> Vec<(Fill, Option<Vec<u8>>)> {
    let fill = |dims: &[u64], init: &Init, dtype: DType| {
        let tensor = Tensor::new("w", dims).unwrap();
        Fill::new(&tensor, init, 42).unwrap().with_dtype(dtype)
    };
    let mut fills = Vec::new();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for spec in INITS {
            let fill = fill(&[61, 83], &spec.parse().unwrap(), dtype);
            let mut expected = vec![0; fill.bytes() as usize];
            cpu::fill(&fill, &mut expected).unwrap();
            fills.push((fill, Some(expected)));
        }
        for (dims, spec) in [
            (&[300, 170][..], "orthogonal"),
            (&[70, 150], "orthogonal(gain=2)"),
            (&[9, 6, 3, 3], "delta_orthogonal"),
        ] {
            fills.push((fill(dims, &spec.parse().unwrap(), dtype), None));
        }
    }
    fills
}

#[test]
fn the_limits_of_almost_every_driver_are_enough() {
    let fills = fills();
    for (name, gpu) in devices() {
        let (device, queue) = open(&adapter_of(&gpu), wgpu::Limits::downlevel_defaults());
        assert_eq!(device.limits().max_storage_buffers_per_shader_stage, 4);
        let initializer = Initializer::new(&device, &queue).unwrap();
        for (fill, expected) in &fills {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: fill.buffer_size(),
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            initializer.submit(&queue, fill, &buffer, 0).unwrap();
            let mut seen = read(&device, &queue, &buffer);
            seen.truncate(fill.bytes() as usize);
            // One adapter gives an orthogonal matrix the same bits with all limits.
            let with_all_limits = || {
                let mut bytes = vec![0; seen.len()];
                gpu.fill_range_to_host(fill, 0, &mut bytes).unwrap();
                bytes
            };
            let expected = expected.clone().unwrap_or_else(with_all_limits);
            assert!(seen == expected, "{name}: {fill:?}");
        }
    }
}
