//! Bringing a buffer to the host.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

use super::scope::{checked, device_error};

/// Copies bytes of a buffer made with `COPY_SRC` to the host. Natively this waits in place; in a
/// browser it yields to the event loop.
///
/// # Errors
///
/// [`Error::Device`] if the range does not fit, the buffer cannot be copied, or the device is lost.
pub(super) async fn read(
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
    let size = (out.len() as u64).next_multiple_of(4);
    let mapped = Mapped::default();
    let staging = checked(device, context, || {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("fanin read back"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size);
        queue.submit([encoder.finish()]);
        let done = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| done.set(result));
        staging
    })?;
    // Natively this runs the callback; in a browser it does nothing, and the event loop will.
    device
        .poll(wgpu::PollType::wait_indefinitely())
        .map_err(|error| device_error(context(), &error))?;
    let answer = if cfg!(target_arch = "wasm32") {
        Some(mapped.await)
    } else {
        mapped.take()
    };
    answer
        .ok_or_else(|| Error::Device {
            context: context(),
            detail: "the device was lost".into(),
        })?
        .map_err(|error| device_error(context(), &error))?;
    let view = staging
        .get_mapped_range(..)
        .map_err(|error| device_error(context(), &error))?;
    out.copy_from_slice(&view[..out.len()]);
    drop(view);
    staging.unmap();
    Ok(())
}

/// The answer of `map_async`, to be awaited.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapped(Arc<Mutex<(Option<MapResult>, Option<Waker>)>>);

type MapResult = std::result::Result<(), wgpu::BufferAsyncError>;

impl Mapped {
    pub(super) fn take(&self) -> Option<MapResult> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.take()
    }

    pub(super) fn set(&self, result: MapResult) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Mapped {
    type Output = MapResult;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MapResult> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = state.0.take() {
            return Poll::Ready(result);
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}
