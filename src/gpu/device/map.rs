//! Copies from buffers to the host.

use futures_channel::oneshot;

use crate::error::{Error, Result};

use super::scope::{checked, device_error};

/// The result of mapping a buffer, once wgpu has it.
pub(crate) type Mapping = oneshot::Receiver<Mapped>;

/// The result of mapping a buffer.
pub(crate) type Mapped = std::result::Result<(), wgpu::BufferAsyncError>;

/// Starts to map the first `size` bytes of a staging buffer.
pub(crate) fn map(staging: &wgpu::Buffer, size: u64) -> Mapping {
    let (sender, mapping) = oneshot::channel();
    staging.map_async(wgpu::MapMode::Read, ..size, move |mapped| {
        // Nobody waits for a copy that was given up.
        let _ = sender.send(mapped);
    });
    mapping
}

/// Copies the mapped start of a staging buffer to the host and unmaps it. `mapped` is `None` if the
/// device was lost before it answered.
pub(crate) fn take(
    staging: &wgpu::Buffer,
    mapped: Option<Mapped>,
    out: &mut [u8],
    context: impl Fn() -> String,
) -> Result<()> {
    mapped
        .ok_or_else(|| Error::Device {
            context: context(),
            detail: "the device was lost".into(),
        })?
        .map_err(|error| device_error(context(), &error))?;
    let size = padded(out.len());
    let view = staging
        .get_mapped_range(..size)
        .map_err(|error| device_error(context(), &error))?;
    out.copy_from_slice(&view[..out.len()]);
    // A buffer cannot be unmapped while a view of it exists.
    drop(view);
    staging.unmap();
    Ok(())
}

/// Returns the size of a copy of `bytes` bytes: wgpu copies and maps whole 32-bit words, and at least
/// one.
pub(crate) fn padded(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(4).max(4)
}

/// Copies bytes of a buffer made with `COPY_SRC` to the host. Natively this waits in place; in a
/// browser it yields to the event loop.
///
/// # Errors
///
/// [`Error::Device`] if the range does not fit, the buffer cannot be copied, or the device is lost.
pub(crate) async fn read(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    offset: u64,
    out: &mut [u8],
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let context = || "reading a buffer back".to_owned();
    let size = padded(out.len());
    let (staging, mut mapping) = checked(device, context, || {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("fanin read back"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size);
        queue.submit([encoder.finish()]);
        let mapping = map(&staging, size);
        (staging, mapping)
    })?;
    // Natively this runs the callback of `map_async`. In a browser it does nothing, and the event
    // loop runs the callback.
    device
        .poll(wgpu::PollType::wait_indefinitely())
        .map_err(|error| device_error(context(), &error))?;
    let mapped = if cfg!(target_arch = "wasm32") {
        mapping.await.ok()
    } else {
        mapping.try_recv().ok().flatten()
    };
    take(&staging, mapped, out, context)
}
