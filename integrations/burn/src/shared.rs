//! The wgpu devices that burn and fanin share.

use std::sync::{Arc, PoisonError, RwLock};

use burn::backend::{CubeDevice, DispatchDevice, WgpuDevice};
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuOptions, WgpuSetup};
use fanin::gpu::Initializer;

use crate::error::{Error, Result};

/// A wgpu device of burn: its queue, and fanin's initializer for it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub queue: wgpu::Queue,
    pub initializer: Initializer,
}

/// The devices, by burn's name for them. They are never removed, since burn keeps its devices until the program
/// ends.
static SHARED: RwLock<Vec<(WgpuDevice, Arc<Shared>)>> = RwLock::new(Vec::new());

/// Opens a device for burn and shares it with fanin. Use it instead of the options' own `init()`.
///
/// ```no_run
/// use burn::tensor::Device;
///
/// # fn main() -> fanin_burn::Result<()> {
/// let device = fanin_burn::init_device(Device::wgpu_options())?.autodiff();
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Device`] if burn finds no such device or has opened it before: call this before the first tensor is
/// made. [`Error::Fanin`] if the device rejects fanin's shaders.
pub fn init_device(options: WgpuOptions) -> Result<Device> {
    let (device, setup) = options.init_with_setup()?;
    share_device(&device, &setup)?;
    Ok(device)
}

/// Gives burn a wgpu device that the program has already, and shares it with fanin. burn treats each call as a new
/// device, so call it once and clone the result.
///
/// ```
/// use burn::tensor::wgpu::WgpuSetup;
///
/// # fn main() -> fanin_burn::Result<()> {
/// # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
/// # use pollster::block_on;
/// let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
/// let adapter = block_on(instance.request_adapter(&Default::default())).expect("an adapter");
/// let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
///     required_features: adapter.features() - wgpu::Features::all_experimental_mask()
///         - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
///     required_limits: adapter.limits(),
///     ..Default::default()
/// })).expect("a device");
///
/// let device = fanin_burn::init_device_with(WgpuSetup {
///     backend: adapter.get_info().backend,
///     instance,
///     adapter,
///     device,
///     queue,
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Device`] if burn cannot use the device; [`Error::Fanin`] if it rejects fanin's shaders.
pub fn init_device_with(setup: WgpuSetup) -> Result<Device> {
    let device = Device::wgpu_options().setup(setup.clone()).init()?;
    share_device(&device, &setup)?;
    Ok(device)
}

/// Shares a device that burn has already opened with fanin, with or without autodiff. `setup` must be the one that
/// burn opened it with, or returned for it, since wgpu does not detect buffers of another [`wgpu::Instance`]. A
/// second call for the same device does nothing.
///
/// burn does not expose the `wgpu::Device` of a device that it opened itself. If you did not keep its setup, it
/// cannot be shared: its parameters are then filled on the CPU and uploaded.
///
/// # Errors
///
/// [`Error::NotWgpu`] for a device of another backend; [`Error::Fanin`] if it rejects fanin's shaders.
pub fn share_device(device: &Device, setup: &WgpuSetup) -> Result<()> {
    let key = wgpu_device(device).ok_or_else(|| Error::NotWgpu {
        device: format!("{device:?}"),
    })?;
    if shared(&key).is_some() {
        return Ok(());
    }
    let made = Arc::new(Shared {
        queue: setup.queue.clone(),
        initializer: Initializer::new(&setup.device, &setup.queue)?,
    });
    let mut all = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    if all.iter().all(|(known, _)| *known != key) {
        all.push((key, made));
    }
    Ok(())
}

/// Returns burn's name for a device of the wgpu backend.
pub(crate) fn wgpu_device(device: &Device) -> Option<WgpuDevice> {
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => Some(device.clone()),
        _ => None,
    }
}

/// Returns the shared device of this name.
pub(crate) fn shared(device: &WgpuDevice) -> Option<Arc<Shared>> {
    let all = SHARED.read().unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|(known, _)| known == device);
    found.map(|(_, shared)| Arc::clone(shared))
}
