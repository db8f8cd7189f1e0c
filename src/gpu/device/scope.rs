//! Errors that wgpu reports out of band, returned from the call that caused them.

use futures_util::FutureExt;

use crate::error::{Error, Result};
use crate::fill::{Fill, buffer_size};
use crate::text::quoted;

/// Runs `record` and returns the errors that wgpu found: validation errors (a buffer of another
/// device, a range that does not fit) and a lack of memory. Without this they would go to the
/// device's uncaptured error handler, which panics by default.
pub(crate) fn checked<T>(
    device: &wgpu::Device,
    context: impl Fn() -> String,
    record: impl FnOnce() -> T,
) -> Result<T> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let value = record();
    // Natively the answer is ready at once. In a browser it comes later, and the error goes to the
    // console instead.
    for error in [validation.pop().now_or_never(), memory.pop().now_or_never()] {
        if let Some(error) = error.flatten() {
            return Err(device_error(context(), &error));
        }
    }
    Ok(value)
}

/// Makes a buffer of these bytes for a fill, rounded up to whole 32-bit words.
pub(crate) fn new_buffer(
    device: &wgpu::Device,
    fill: &Fill,
    bytes: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    checked(
        device,
        || format!("making a buffer for tensor {}", quoted(fill.name())),
        || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(fill.name()),
                size: buffer_size(bytes),
                usage: usage | wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        },
    )
}

/// Turns an error of the driver or of wgpu's validation into one line.
pub(crate) fn device_error(context: String, error: &dyn std::error::Error) -> Error {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !detail.contains(&text) {
            detail = format!("{detail}: {text}");
        }
        source = inner.source();
    }
    let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Device { context, detail }
}
