//! Parameters that are read back through burn have the bits of fanin's CPU fill, on every backend and in every
//! dtype, and are made in their own buffers.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fanin::{Layout, ListedTensor, Recipe, Shape, TensorList, cpu};
use fanin_burn::{InitWithFanin, Path, Reason};

use crate::common::{devices, read_back, setups};

/// A rule for every kind of fill that promises the same bits.
const RECIPE: &str = r#"
    [[rule]]
    match = "normal"
    init = "normal(mean=0.5,std=0.02)"
    [[rule]]
    match = "uniform"
    init = "xavier_uniform"
    [[rule]]
    match = "truncated"
    init = "trunc_normal(std=0.02)"
    [[rule]]
    match = "constant"
    init = "constant(value=0.1)"
    [[rule]]
    match = "scalar"
    init = "zeros"
    [[rule]]
    match = "*.weight"
    init = "kaiming_normal"
    [[rule]]
    match = "*.bias"
    init = "bias_uniform"
"#;

/// Lengths that end in the middle of a 32-bit word of two 16-bit elements, or exceed the elements of a workgroup.
#[derive(Module, Debug)]
struct Odd {
    normal: Param<Tensor<3>>,
    uniform: Param<Tensor<2>>,
    truncated: Param<Tensor<1>>,
    constant: Param<Tensor<1>>,
    scalar: Param<Tensor<1>>,
    counts: Param<Tensor<1, Int>>,
}

fn odd(device: &Device, dtype: DType) -> Odd {
    fn marked<const D: usize>(dims: [usize; D], device: &Device, dtype: DType) -> Param<Tensor<D>> {
        let values = vec![3f32; dims.iter().product()];
        let data = TensorData::new(values, dims).convert_dtype(dtype);
        Param::from_tensor(Tensor::from_data(data, (device, dtype)))
    }
    Odd {
        normal: marked([3, 5, 77], device, dtype),
        uniform: marked([129, 65], device, dtype),
        truncated: marked([70_001], device, dtype),
        constant: marked([7], device, dtype),
        scalar: marked([1], device, dtype),
        counts: Param::initialized(
            burn::module::ParamId::new(),
            Tensor::from_ints([1, 2, 3], device),
        ),
    }
}

/// Returns the bytes of fanin's CPU fill of such tensors.
fn expected(
    tensors: &[(&str, &[u64], Layout)],
    dtype: fanin::DType,
    seed: u64,
) -> BTreeMap<String, Vec<u8>> {
    let listed = tensors.iter().map(|(name, dims, _)| ListedTensor {
        name: (*name).to_owned(),
        shape: Shape::new(*dims).unwrap(),
        dtype: Some(dtype),
    });
    let list = TensorList::new(listed.collect()).unwrap();
    let layout_of = |listed: &ListedTensor| {
        let found = tensors.iter().find(|(name, _, _)| *name == listed.name);
        found.unwrap().2
    };
    let plan = Recipe::from_toml(RECIPE)
        .unwrap()
        .resolve_with_layouts(&list, Some(seed), None, &layout_of)
        .unwrap();
    let bytes = plan.iter().map(|fill| {
        let mut bytes = vec![0; fill.bytes() as usize];
        cpu::fill(fill, &mut bytes).unwrap();
        (fill.name().to_owned(), bytes)
    });
    bytes.collect()
}

const ODD: &[(&str, &[u64], Layout)] = &[
    ("normal", &[3, 5, 77], Layout::OutIn),
    ("uniform", &[129, 65], Layout::OutIn),
    ("truncated", &[70_001], Layout::OutIn),
    ("constant", &[7], Layout::OutIn),
    ("scalar", &[1], Layout::OutIn),
];

const DTYPES: [(DType, fanin::DType); 3] = [
    (DType::F32, fanin::DType::F32),
    (DType::F16, fanin::DType::F16),
    (DType::BF16, fanin::DType::BF16),
];

fn paths(report: &fanin_burn::Report) -> Vec<Path> {
    report.parameters.iter().map(|filled| filled.path).collect()
}

#[test]
fn every_dtype_is_filled_in_place_by_the_gpu() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    for (name, device) in devices() {
        for (burns, fanins) in DTYPES {
            let (module, report) = odd(device, burns)
                .init_with_fanin_report(&recipe, 7)
                .unwrap();
            assert_eq!(paths(&report), [Path::InPlace; 5], "{name} {burns:?}");
            let names: Vec<&str> = report.parameters.iter().map(|p| p.name.as_str()).collect();
            assert_eq!(
                names,
                ["normal", "uniform", "truncated", "constant", "scalar"]
            );
            assert_eq!(
                read_back(&module),
                expected(ODD, fanins, 7),
                "{name} {burns:?}"
            );
            let counts = module.counts.val().into_data();
            assert_eq!(
                counts.convert::<i32>().try_to_vec::<i32>().unwrap(),
                [1, 2, 3]
            );
        }
    }
}

#[test]
fn every_dtype_is_uploaded_to_other_backends_with_the_same_bits() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let device = Device::flex();
    for (burns, fanins) in DTYPES {
        let (module, report) = odd(&device, burns)
            .init_with_fanin_report(&recipe, 7)
            .unwrap();
        assert_eq!(paths(&report), [Path::Uploaded(Reason::OtherBackend); 5]);
        assert_eq!(read_back(&module), expected(ODD, fanins, 7), "{burns:?}");
    }
}

#[test]
fn f64_holds_the_numbers_of_f32() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let module = odd(&Device::flex(), DType::F64)
        .init_with_fanin(&recipe, 7)
        .unwrap();
    let f32s = &expected(ODD, fanin::DType::F32, 7)["normal"];
    let f64s: Vec<f64> = module.normal.val().into_data().try_to_vec().unwrap();
    let wanted = f32s
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
    assert!(f64s.into_iter().eq(wanted));
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

fn mlp(device: &Device) -> Mlp {
    Mlp {
        fc1: LinearConfig::new(65, 33).init(device),
        fc2: LinearConfig::new(33, 7).init(device),
    }
}

const MLP: &[(&str, &[u64], Layout)] = &[
    ("fc1.weight", &[65, 33], Layout::InOut),
    ("fc1.bias", &[33], Layout::OutIn),
    ("fc2.weight", &[33, 7], Layout::InOut),
    ("fc2.bias", &[7], Layout::OutIn),
];

/// With burn's own seed, weights differ from backend to backend: tracel-ai/burn#3871.
#[test]
fn a_seeded_model_is_the_same_on_every_run_and_backend() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let wanted = expected(MLP, fanin::DType::F32, 42);
    let mut all: Vec<(String, Device)> = devices().to_vec();
    all.push(("flex".to_owned(), Device::flex()));
    for (name, device) in all {
        for device in [device.clone(), device.autodiff()] {
            for _ in 0..2 {
                let module = mlp(&device).init_with_fanin(&recipe, 42).unwrap();
                assert_eq!(read_back(&module), wanted, "{name}");
            }
            let module = mlp(&device).init_with_fanin(&recipe, 43).unwrap();
            assert_ne!(read_back(&module), wanted, "{name}: seed 43");
        }
    }
}

/// A new module has no values yet: burn draws none, and none are uploaded.
#[test]
fn uninitialized_parameters_are_made_on_the_gpu() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    for (name, device) in devices() {
        let (module, report) = mlp(device).init_with_fanin_report(&recipe, 42).unwrap();
        assert_eq!(paths(&report), [Path::NewBuffer; 4], "{name}");
        // The second time there are buffers.
        let (module, report) = module.init_with_fanin_report(&recipe, 43).unwrap();
        assert_eq!(paths(&report), [Path::InPlace; 4], "{name}");
        assert!(report.all_on_gpu());
        assert_eq!(
            read_back(&module),
            expected(MLP, fanin::DType::F32, 43),
            "{name}"
        );
    }
}

#[test]
fn a_clone_keeps_its_weights() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    for (name, device) in devices() {
        let first = mlp(device).init_with_fanin(&recipe, 1).unwrap();
        let (second, report) = first.clone().init_with_fanin_report(&recipe, 2).unwrap();
        assert_eq!(paths(&report), [Path::NewBuffer; 4], "{name}");
        assert_eq!(
            read_back(&first),
            expected(MLP, fanin::DType::F32, 1),
            "{name}"
        );
        assert_eq!(
            read_back(&second),
            expected(MLP, fanin::DType::F32, 2),
            "{name}"
        );
    }
}

/// The same parameters in another order and in another struct.
#[derive(Module, Debug)]
struct Reversed {
    fc2: Linear,
    unrelated: Unrelated,
    fc1: Linear,
}

#[derive(Module, Debug)]
struct Unrelated {
    normal: Param<Tensor<3>>,
}

#[test]
fn the_order_of_parameters_does_not_matter() {
    let recipe = Recipe::from_toml(&format!(
        "{RECIPE}\n[[rule]]\nmatch = \"*\"\ninit = \"ones\""
    ))
    .unwrap();
    let wanted = expected(MLP, fanin::DType::F32, 42);
    let mut all: Vec<Device> = devices().iter().map(|(_, device)| device.clone()).collect();
    all.push(Device::flex());
    for device in all {
        let module = Reversed {
            fc2: LinearConfig::new(33, 7).init(&device),
            unrelated: Unrelated {
                normal: Param::from_tensor(Tensor::zeros([2, 3, 4], &device)),
            },
            fc1: LinearConfig::new(65, 33).init(&device),
        };
        let mut read = read_back(&module.init_with_fanin(&recipe, 42).unwrap());
        assert!(read.remove("unrelated.normal").is_some());
        assert_eq!(read, wanted);
    }
}

/// burn opened this device itself, and does not expose its `wgpu::Device`.
#[test]
fn a_device_that_is_not_shared_gets_the_same_bits_uploaded() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    for setup in setups() {
        let device = Device::wgpu_options().setup(setup.clone()).init().unwrap();
        let (module, report) = mlp(&device).init_with_fanin_report(&recipe, 42).unwrap();
        assert_eq!(paths(&report), [Path::Uploaded(Reason::DeviceNotShared); 4]);
        assert_eq!(read_back(&module), expected(MLP, fanin::DType::F32, 42));
        // The device is shared later, with the setup that burn got.
        fanin_burn::share_device(&device.clone().autodiff(), &setup).unwrap();
        let (module, report) = module.init_with_fanin_report(&recipe, 43).unwrap();
        assert_eq!(paths(&report), [Path::InPlace; 4]);
        assert_eq!(read_back(&module), expected(MLP, fanin::DType::F32, 43));
    }
}

/// burn keeps the weights of such a layer in column-major order. The matrix is the same, and the order in memory
/// does not change.
#[test]
fn columns_first_weights_are_the_same_matrix() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let wanted = expected(MLP, fanin::DType::F32, 42);
    let mut all: Vec<(Device, Reason)> = devices()
        .iter()
        .map(|(_, device)| (device.clone(), Reason::Strides))
        .collect();
    all.push((Device::flex(), Reason::OtherBackend));
    for (device, reason) in all {
        let module = Mlp {
            fc1: LinearConfig::new(65, 33)
                .with_layout(LinearLayout::Col)
                .init(&device),
            fc2: LinearConfig::new(33, 7).init(&device),
        };
        let (module, report) = module.init_with_fanin_report(&recipe, 42).unwrap();
        assert_eq!(report.parameters[0].path, Path::Uploaded(reason));
        assert_eq!(module.fc1.weight.dims(), [65, 33]);
        assert_eq!(read_back(&module), wanted);
    }
}

/// Operations of burn before and after the fill run in this order.
#[test]
fn the_fill_comes_after_what_burn_has_queued_and_before_what_follows() {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    let wanted = &expected(ODD, fanin::DType::F32, 3)["normal"];
    let doubled: Vec<f32> = wanted
        .chunks_exact(4)
        .map(|b| 2.0 * f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    for (name, device) in devices() {
        for _ in 0..8 {
            let mut module = odd(device, DType::F32);
            // Queued work, which would overwrite the weights if it ran late.
            module.normal = module.normal.map(|tensor| {
                let mut tensor = tensor;
                for _ in 0..16 {
                    tensor = tensor.add_scalar(1.0).mul_scalar(0.5);
                }
                tensor
            });
            let module = module.init_with_fanin(&recipe, 3).unwrap();
            let after = module.normal.val().mul_scalar(2.0);
            let read: Vec<f32> = after.into_data().try_to_vec().unwrap();
            assert_eq!(read, doubled, "{name}");
        }
    }
}
