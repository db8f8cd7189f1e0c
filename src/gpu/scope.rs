//! Errors that wgpu reports out of band, brought back to the call that caused them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// Runs `record` and returns what wgpu found wrong with it: validation errors (a buffer of
/// another device, a range that does not fit) and a lack of memory. Without this they would
/// go to the device's uncaptured error handler, which panics by default.
pub(super) fn checked<T>(
    device: &wgpu::Device,
    context: impl Fn() -> String,
    record: impl FnOnce() -> T,
) -> Result<T> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let value = record();
    for error in [now(validation.pop()), now(memory.pop())] {
        if let Some(error) = error.flatten() {
            return Err(device_error(context(), &error));
        }
    }
    Ok(value)
}

/// The value of a future that is ready at once. Natively, error scopes are; in a browser the
/// answer comes later, and the error goes to the console instead.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// An error of the driver or of wgpu's validation, on one line.
pub(super) fn device_error(context: String, error: &dyn std::error::Error) -> Error {
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
