//! What the tests that need a GPU driver share.

use fanin::gpu::{Gpu, Options};

/// Every adapter of this machine, each once as it is and, where it has 64-bit integers, once
/// without them. A software driver such as Mesa's lavapipe will do.
///
/// # Panics
///
/// With no adapter at all, unless `FANIN_TEST_NO_GPU=1` says that none is wanted: then the list
/// is empty. And when an adapter that `FANIN_TEST_ADAPTERS` names is missing: a list, separated by
/// semicolons, of words as [`Options::adapter`] takes them.
pub fn devices() -> Vec<(String, Gpu)> {
    if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") {
        println!("FANIN_TEST_NO_GPU=1: nothing is tested on a GPU");
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
            let spelling = if gpu.initializer().int64() {
                "u64"
            } else {
                "u32"
            };
            let info = gpu.info();
            let name = format!("{} ({}, {spelling})", info.name, info.backend.to_str());
            if devices.iter().all(|(known, _)| *known != name) {
                devices.push((name, gpu));
            }
        }
    }
    assert!(
        !devices.is_empty(),
        "no GPU driver: install one (on Debian and Ubuntu mesa-vulkan-drivers and libvulkan1), \
         or set FANIN_TEST_NO_GPU=1 to leave out what needs one"
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
