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
