//! Errors and their messages.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fanin::Recipe;
use fanin_burn::{Error, FaninInitializer, InitWithFanin};

use crate::common::{devices, read_back};

#[derive(Module, Debug)]
struct Model {
    fc1: Linear,
    odd: Param<Tensor<1>>,
}

fn model(device: &Device) -> Model {
    Model {
        fc1: LinearConfig::new(4, 3).init(device),
        odd: Param::from_tensor(Tensor::ones([2], device)),
    }
}

#[test]
fn a_parameter_without_a_rule_is_named() {
    let recipe =
        Recipe::from_toml("[[rule]]\nmatch = \"fc1.*\"\ninit = \"normal(std=0.02)\"").unwrap();
    let error = model(&Device::flex())
        .init_with_fanin(&recipe, 1)
        .unwrap_err();
    assert!(matches!(
        error,
        Error::Fanin(fanin::Error::Unmatched { .. })
    ));
    let error = error.to_string();
    assert!(error.contains("\"odd\""), "{error}");
}

/// If a rule is at fault, burn's buffers keep their contents.
#[test]
fn nothing_is_filled_where_a_rule_is_at_fault() {
    let recipe = Recipe::from_toml(
        "[[rule]]\nmatch = \"fc1.*\"\ninit = \"zeros\"\n[[rule]]\nmatch = \"odd\"\ninit = \"kaiming_normal\"",
    )
    .unwrap();
    let mut all: Vec<Device> = devices().iter().map(|(_, device)| device.clone()).collect();
    all.push(Device::flex());
    for device in all {
        let model = model(&device);
        let before = read_back(&model);
        let error = model
            .clone()
            .init_with_fanin(&recipe, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"odd\""), "{error}");
        assert_eq!(read_back(&model), before);
    }
}

#[test]
fn initializers_say_what_they_lack() {
    let device = Device::flex();
    let kaiming = FaninInitializer::default().seeded(1, "w");
    let error = kaiming.init::<2>([3, 4], &device).unwrap_err().to_string();
    assert_eq!(
        error,
        "parameter \"w\": KaimingUniform needs fan_in: pass it to init_with"
    );
    let xavier = FaninInitializer::XavierNormal { gain: 1.0 }.seeded(1, "w");
    let error = xavier.init_with::<2>([3, 4], Some(3), None, &device);
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "parameter \"w\": XavierNormal needs fan_out: pass it to init_with"
    );
    let normal = FaninInitializer::from(Initializer::Normal {
        mean: 0.0,
        std: -1.0,
    });
    let error = normal.seeded(1, "w").init::<1>([3], &device).unwrap_err();
    let Error::Fanin(error) = error else {
        panic!("{error}");
    };
    assert!(matches!(error.fault(), fanin::Error::Parameter { .. }));
    let error = FaninInitializer::Ones
        .seeded(1, "w")
        .init::<2>(vec![3], &device)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter \"w\": shape [3] needs 2 dimensions, the rank of its tensor"
    );
}

#[test]
fn only_a_wgpu_device_can_be_shared() {
    let Some(setup) = crate::common::setups().into_iter().next() else {
        return;
    };
    let error = fanin_burn::share_device(&Device::flex(), &setup).unwrap_err();
    assert!(matches!(error, Error::NotWgpu { .. }), "{error}");
}
