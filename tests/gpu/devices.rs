//! Devices for the tests that need a GPU driver.

use fanin::gpu::{Gpu, Options};

/// Opens every adapter of this machine, software drivers such as Mesa's lavapipe included. An adapter with
/// 64-bit integers is also opened without them.
///
/// `FANIN_TEST_ADAPTERS` lists adapters that must be there, separated by semicolons: words as
/// [`Options::adapter`] takes them. With `FANIN_TEST_NO_GPU=1` the result is empty.
///
/// # Panics
///
/// If there is no adapter, or if one of `FANIN_TEST_ADAPTERS` is missing.
pub fn devices() -> Vec<(String, Gpu)> {
    if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") {
        println!("FANIN_TEST_NO_GPU=1: no test runs on a GPU");
        return Vec::new();
    }
    let mut devices = Vec::new();
    for int64 in [None, Some(false)] {
        let options = Options {
            int64,
            ..Options::default()
        };
        for gpu in Gpu::headless_all(&options) {
            let gpu = gpu.expect("every adapter gives a device");
            let integers = if gpu.initializer().int64() {
                "u64"
            } else {
                "u32"
            };
            let info = gpu.info();
            let name = format!("{} ({}, {integers})", info.name, info.backend.to_str());
            if devices.iter().all(|(known, _)| *known != name) {
                devices.push((name, gpu));
            }
        }
    }
    assert!(
        !devices.is_empty(),
        "no GPU driver: install one (on Debian and Ubuntu mesa-vulkan-drivers and libvulkan1), \
         or set FANIN_TEST_NO_GPU=1 to skip the tests that need one"
    );
    for wanted in std::env::var("FANIN_TEST_ADAPTERS")
        .unwrap_or_default()
        .split(';')
    {
        let words = wanted.to_lowercase();
        assert!(
            devices.iter().any(|(name, _)| {
                let name = name.to_lowercase();
                words.split_whitespace().all(|word| name.contains(word))
            }),
            "FANIN_TEST_ADAPTERS asks for {wanted:?}, but there is only {:?}",
            devices.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
    }
    devices
}

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
