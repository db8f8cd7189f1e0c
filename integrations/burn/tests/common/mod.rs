//! Devices for the tests, and parameters as bytes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, Tensor};
use pollster::block_on;

/// Returns a device for every adapter that `FANIN_TEST_ADAPTERS` names, or for the best adapter. Each is opened
/// once and shared with fanin.
///
/// `FANIN_TEST_ADAPTERS` is a list, separated by semicolons. An entry is words that must all occur in the name of
/// the adapter or of its backend. With `FANIN_TEST_NO_GPU=1` the result is empty.
///
/// # Panics
///
/// If there is no adapter, or if one that `FANIN_TEST_ADAPTERS` names is missing.
pub fn devices() -> &'static [(String, Device)] {
    static DEVICES: OnceLock<Vec<(String, Device)>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let open = |setup: WgpuSetup| {
            let name = name(&setup.adapter);
            let device = fanin_burn::init_device_with(setup).expect("a device for burn");
            (name, device)
        };
        setups().into_iter().map(open).collect()
    })
}

/// Opens new wgpu devices on the same adapters.
pub fn setups() -> Vec<WgpuSetup> {
    if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") {
        println!("FANIN_TEST_NO_GPU=1: no test runs on a GPU");
        return Vec::new();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    assert!(
        !adapters.is_empty(),
        "no GPU driver: install one (on Debian and Ubuntu mesa-vulkan-drivers and libvulkan1), \
         or set FANIN_TEST_NO_GPU=1 to skip the tests that need one"
    );
    let wanted = std::env::var("FANIN_TEST_ADAPTERS").unwrap_or_default();
    let setups = wanted.split(';').map(|wanted| {
        let words = wanted.to_lowercase();
        let found = adapters.iter().find(|adapter| {
            let name = name(adapter).to_lowercase();
            words.split_whitespace().all(|word| name.contains(word))
        });
        let adapter = found.unwrap_or_else(|| {
            panic!(
                "FANIN_TEST_ADAPTERS asks for {wanted:?}, but there is only {:?}",
                adapters.iter().map(name).collect::<Vec<_>>()
            )
        });
        let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features()
                - wgpu::Features::all_experimental_mask()
                - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
            required_limits: adapter.limits(),
            ..Default::default()
        }))
        .expect("every adapter gives a device");
        WgpuSetup {
            backend: adapter.get_info().backend,
            instance: instance.clone(),
            adapter: adapter.clone(),
            device,
            queue,
        }
    });
    setups.collect()
}

fn name(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    format!("{} ({})", info.name, info.backend.to_str())
}

/// Returns the bytes of each float parameter, read back through burn, by its path.
pub fn read_back(module: &impl Module) -> BTreeMap<String, Vec<u8>> {
    #[derive(Default)]
    struct Reader {
        path: Vec<String>,
        read: BTreeMap<String, Vec<u8>>,
    }
    impl ModuleVisitor for Reader {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.base().into_data();
            self.read
                .insert(self.path.join("."), data.as_bytes().to_vec());
        }
    }
    let mut reader = Reader::default();
    module.visit(&mut reader);
    reader.read
}
