//! Buffers with contents.

use crate::error::{Error, Result};

use super::scope::checked;

/// Makes a buffer with contents, whose length is a multiple of 4 bytes.
pub(crate) fn upload(
    device: &wgpu::Device,
    label: &'static str,
    contents: &[u8],
    usage: wgpu::BufferUsages,
    context: impl Fn() -> String,
) -> Result<wgpu::Buffer> {
    checked(device, &context, || {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: contents.len() as u64,
            usage,
            mapped_at_creation: true,
        });
        // wgpu's own `create_buffer_init` panics if the device is lost or has no room.
        buffer
            .get_mapped_range_mut(..)
            .ok()?
            .copy_from_slice(contents);
        buffer.unmap();
        Some(buffer)
    })?
    .ok_or_else(|| Error::Device {
        context: context(),
        detail: "the device was lost or is out of memory".to_owned(),
    })
}
