//! Devices that a test opens itself, without `Gpu`.

use fanin::gpu::Gpu;

/// Returns the adapter of a device once more, from an instance of its own.
pub fn adapter_of(gpu: &Gpu) -> wgpu::Adapter {
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let backends = gpu.info().backend.into();
    pollster::block_on(instance.enumerate_adapters(backends))
        .into_iter()
        .find(|adapter| adapter.get_info().name == gpu.info().name)
        .unwrap_or_else(|| panic!("the adapter {:?} is missing", gpu.info()))
}

/// Opens a device without features and with these limits.
pub fn open(adapter: &wgpu::Adapter, limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor)).unwrap()
}

/// Returns the bytes of a buffer made with `COPY_SRC`.
pub fn read(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Vec<u8> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    staging.get_mapped_range(..).unwrap().to_vec()
}
