//! Buffers full of a pattern, in which a byte that is written by mistake is detected.

use fanin::gpu::Gpu;

/// Creates a buffer of this many bytes, a multiple of 4, and returns it with its contents. Neighbouring bytes differ.
pub fn buffer(gpu: &Gpu, bytes: u64) -> (wgpu::Buffer, Vec<u8>) {
    let pattern: Vec<u8> = (0..bytes)
        .map(|i| 0xa5 ^ (i as u8).wrapping_mul(29))
        .collect();
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    gpu.queue().write_buffer(&buffer, 0, &pattern);
    (buffer, pattern)
}
