//! A rule's fans are those of burn's modules, without a layout in the recipe.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fanin::Recipe;
use fanin_burn::InitWithFanin;

#[derive(Module, Debug)]
struct Model {
    conv: Conv2d,
    norm: BatchNorm,
    head: Linear,
    /// A tensor of the user's own, for which the recipe's default layout holds.
    own: Param<Tensor<2>>,
}

fn model(device: &Device) -> Model {
    Model {
        conv: Conv2dConfig::new([8, 32], [3, 3]).init(device),
        norm: BatchNormConfig::new(32).init(device),
        head: LinearConfig::new(1000, 40).init(device),
        own: Param::from_tensor(Tensor::zeros([1000, 40], device)),
    }
}

/// Returns the largest magnitude of the weights. If n of them are uniform, it is below (1 - 30/n) of the bound only
/// with probability e^-30.
fn bound<const D: usize>(tensor: &Param<Tensor<D>>) -> f64 {
    let values: Vec<f32> = tensor.val().into_data().try_to_vec().unwrap();
    values
        .iter()
        .map(|&value| f64::from(value.abs()))
        .fold(0.0, f64::max)
}

fn assert_fan_in(seen: f64, fan_in: f64, n: f64, what: &str) {
    let most = (1.0 / fan_in).sqrt();
    assert!(
        (1.0 - 30.0 / n) * most <= seen && seen <= most * (1.0 + 1e-6),
        "{what}: {seen} is not the bound of fan_in {fan_in}, {most}"
    );
}

/// `torch_linear` is uniform within sqrt(1 / fan_in).
fn recipe(head: &str, top: &str) -> Recipe {
    Recipe::from_toml(&format!(
        r#"
        {top}
        [[rule]]
        match = "head.weight"
        {head}
        init = "torch_linear"
        [[rule]]
        match = ["*.weight", "own"]
        init = "torch_linear"
        [[rule]]
        match = "*.bias"
        init = "bias_uniform"
        [[rule]]
        match = "*.gamma"
        init = "constant(value=0.5)"
        [[rule]]
        match = "*.beta"
        init = "zeros"
        "#
    ))
    .unwrap()
}

#[test]
fn linear_is_in_out_and_conv_is_out_in() {
    let model = model(&Device::flex())
        .init_with_fanin(&recipe("", ""), 1)
        .unwrap();
    assert_fan_in(bound(&model.head.weight), 1000.0, 40_000.0, "head.weight");
    assert_fan_in(
        bound(model.head.bias.as_ref().unwrap()),
        1000.0,
        40.0,
        "head.bias",
    );
    assert_fan_in(bound(&model.conv.weight), 72.0, 2304.0, "conv.weight");
    assert_fan_in(
        bound(model.conv.bias.as_ref().unwrap()),
        72.0,
        32.0,
        "conv.bias",
    );
    assert_fan_in(bound(&model.own), 40.0, 40_000.0, "own");
}

#[test]
fn an_explicit_layout_wins() {
    let by_rule = recipe("layout = \"out_in\"", "");
    let by_recipe = recipe("", "layout = \"out_in\"");
    for recipe in [by_rule, by_recipe] {
        let model = model(&Device::flex()).init_with_fanin(&recipe, 1).unwrap();
        assert_fan_in(bound(&model.head.weight), 40.0, 40_000.0, "head.weight");
    }
}

/// A recipe for weights needs no rules for the running statistics of a BatchNorm.
#[test]
fn running_statistics_are_filled_only_where_a_rule_matches() {
    let values = |model: &Model| -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let read = |tensor: Tensor<1>| tensor.into_data().try_to_vec().unwrap();
        (
            read(model.norm.gamma.val()),
            read(model.norm.running_mean.value()),
            read(model.norm.running_var.value()),
        )
    };
    let model = model(&Device::flex())
        .init_with_fanin(&recipe("", ""), 1)
        .unwrap();
    assert_eq!(
        values(&model),
        (vec![0.5; 32], vec![0.0; 32], vec![1.0; 32])
    );
    let own = Recipe::from_toml(&format!(
        "{}\n[[rule]]\nmatch = \"norm.running_var\"\ninit = \"constant(value=2)\"",
        recipe("", "").text()
    ));
    let model = model.init_with_fanin(&own.unwrap(), 1).unwrap();
    assert_eq!(
        values(&model),
        (vec![0.5; 32], vec![0.0; 32], vec![2.0; 32])
    );
}
