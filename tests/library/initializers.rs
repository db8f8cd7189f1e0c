//! The formulas of initializers: the distribution that each rule resolves to, and weights that have this
//! distribution.

use approx::assert_relative_eq;
use fanin::checkpoint::Moments;
use fanin::init::{
    Distribution, DistributionKind, FanMode, Nonlinearity, dense_layers, initialize_parameters,
};
use fanin::{Fill, Init, Layout, Tensor, cpu};
use proptest::prelude::*;

fn fill(fill: &Fill) -> Vec<f32> {
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(fill, &mut out).expect("the output has the fill's length");
    out
}

fn moments(weights: &[f32]) -> Moments {
    Moments::of(&weights.iter().map(|&w| f64::from(w)).collect::<Vec<_>>())
}

fn resolve(spec: &str, tensor: &Tensor) -> Distribution {
    let init: Init = spec.parse().expect("a good spec");
    init.resolve(tensor).expect("it resolves")
}

/// Bound or std of a rule for a weight, from torch 2: the numbers that
/// `torch.nn.init.<rule>_` computes before it draws, for shape [64, 16, 3, 3].
#[test]
fn rules_are_torchs() {
    let conv = Tensor::new("conv.weight", [64, 16, 3, 3]).unwrap();
    let (fan_in, fan_out) = (144.0f64, 576.0f64);
    for (spec, std) in [
        ("xavier_normal", (2.0 / (fan_in + fan_out)).sqrt()),
        (
            "xavier_normal(gain=1.5)",
            1.5 * (2.0 / (fan_in + fan_out)).sqrt(),
        ),
        ("kaiming_normal", 2f64.sqrt() / fan_in.sqrt()),
        (
            "kaiming_normal(a=0.2)",
            (2f64 / 1.04).sqrt() / fan_in.sqrt(),
        ),
        (
            "kaiming_normal(mode=fan_out,nonlinearity=relu)",
            2f64.sqrt() / fan_out.sqrt(),
        ),
        (
            "kaiming_normal(nonlinearity=tanh)",
            5.0 / 3.0 / fan_in.sqrt(),
        ),
        ("kaiming_normal(gain=0.5)", 0.5 / fan_in.sqrt()),
        (
            "kaiming_normal(mode=fan_avg,nonlinearity=linear)",
            1.0 / 360f64.sqrt(),
        ),
    ] {
        let DistributionKind::Normal { mean, std: got } = *resolve(spec, &conv).kind() else {
            panic!("{spec} is not normal");
        };
        assert_eq!((mean, got), (0.0, std as f32), "{spec}");
        let uniform = spec.replace("_normal", "_uniform");
        let DistributionKind::Uniform { low, high } = *resolve(&uniform, &conv).kind() else {
            panic!("{uniform} is not uniform");
        };
        let bound = (3f64.sqrt() * std) as f32;
        assert_relative_eq!(high, bound, max_relative = f32::EPSILON);
        assert_eq!(low, -high, "{uniform}");
    }
}

#[test]
fn the_same_layer_has_the_same_rule_in_either_layout() {
    let torch = Tensor::new("w", [64, 16, 3, 5]).unwrap();
    let keras = Tensor::new("w", [3, 5, 16, 64])
        .unwrap()
        .with_layout(Layout::InOut);
    for spec in [
        "he_normal(mode=fan_in)",
        "he_normal(mode=fan_out)",
        "kaiming_normal(mode=fan_out)",
        "glorot_uniform",
    ] {
        assert_eq!(resolve(spec, &torch), resolve(spec, &keras), "{spec}");
    }
}

/// Six standard errors: by chance 2e-9 a check, 4e-8 for all of them together.
#[test]
fn weights_have_the_moments_of_their_rule() {
    let n = 1u64 << 20;
    let tensor = Tensor::new("w", [1 << 10, 1 << 10]).unwrap();
    for (spec, mean, std, kurtosis) in [
        ("normal(mean=3,std=0.5)", 3.0, 0.5, 3.0),
        ("uniform(low=-1,high=5)", 2.0, 3f64.sqrt(), 1.8),
        ("kaiming_normal", 0.0, (2f64 / 1024.0).sqrt(), 3.0),
        // That of a standard normal cut off at 2: its fourth moment over its variance squared.
        ("he_normal", 0.0, (2f64 / 1024.0).sqrt(), 2.365_538_9),
        ("glorot_uniform", 0.0, (1f64 / 1024.0).sqrt(), 1.8),
        ("bias_uniform(fan_in=100)", 0.0, 0.1 / 3f64.sqrt(), 1.8),
        (
            "residual_normal(std=0.02,layers=12)",
            0.0,
            0.02 / 24f64.sqrt(),
            3.0,
        ),
    ] {
        let init: Init = spec.parse().unwrap();
        let got = moments(&fill(&Fill::new(&tensor, &init, 7).unwrap()));
        let root_n = (n as f64).sqrt();
        assert!(
            (got.mean() - mean).abs() < 6.0 * std / root_n,
            "{spec}: {got:?}"
        );
        // The variance of a sample variance is (kurtosis - 1) * std^4 / n.
        let std_error = std * ((kurtosis - 1.0) / 4.0f64).sqrt() / root_n;
        assert!((got.std() - std).abs() < 6.0 * std_error, "{spec}: {got:?}");
        // That of a sample kurtosis is 24 / n for a normal distribution, less for a uniform.
        let kurtosis_error = 24f64.sqrt() / root_n;
        assert!(
            (got.kurtosis() - kurtosis).abs() < 6.0 * kurtosis_error,
            "{spec}: {got:?}"
        );
    }
}

#[test]
fn constants_are_constant() {
    let tensor = Tensor::new("b", [1000]).unwrap();
    for (init, value) in [
        (Init::zeros(), 0f32),
        (Init::ones(), 1.0),
        (Init::constant(0.1), 0.1),
        (Init::constant(-0.0), -0.0),
        (Init::normal(2.5, 0.0), 2.5),
    ] {
        let weights = fill(&Fill::new(&tensor, &init, 1).unwrap());
        assert!(
            weights.iter().all(|w| w.to_bits() == value.to_bits()),
            "{init}"
        );
    }
}

#[test]
fn uniform_stays_within_its_half_open_range() {
    // One step of binary32 apart: only `low` itself is left.
    let (low, high) = (1.0f32, 1.0f32.next_up());
    let tensor = Tensor::new("w", [10_000]).unwrap();
    let init = Init::uniform(low.into(), high.into());
    let weights = fill(&Fill::new(&tensor, &init, 3).unwrap());
    assert!(weights.iter().all(|&w| w == low));
}

#[test]
fn the_tutorials_network_in_each_of_its_three_ways() {
    for (init, variance) in [
        (
            "variance_scaling(distribution=normal)".parse().unwrap(),
            [1.0 / 784.0, 1.0 / 128.0],
        ),
        (Init::kaiming_normal(), [2.0 / 784.0, 2.0 / 128.0]),
        (
            Init::xavier_normal(),
            [2.0 / (784.0 + 128.0), 2.0 / (128.0 + 10.0)],
        ),
    ] {
        let network = initialize_parameters(784, 128, 10, &init, &Init::zeros(), 42).unwrap();
        assert_eq!(network.w1.shape().dims(), [128, 784]);
        assert_eq!(network.w2.shape().dims(), [10, 128]);
        assert_eq!((network.w1.name(), network.b2.name()), ("W1", "b2"));
        for (weight, variance) in [&network.w1, &network.w2].into_iter().zip(variance) {
            let std = f64::sqrt(variance);
            assert_eq!(
                *weight.distribution(),
                Distribution::normal(0.0, std).unwrap()
            );
        }
        for (bias, length) in [(&network.b1, 128), (&network.b2, 10)] {
            assert_eq!(fill(bias), vec![0.0; length]);
        }
    }
}

#[test]
fn layers_do_not_share_their_numbers() {
    let layers = dense_layers(&[64, 64, 64, 64], &Init::he_normal(), &Init::zeros(), 42).unwrap();
    let weights: Vec<Vec<f32>> = layers.iter().map(|layer| fill(&layer.weight)).collect();
    assert_eq!(weights.len(), 3);
    assert!(weights[0] != weights[1] && weights[1] != weights[2] && weights[0] != weights[2]);
}

#[test]
fn layers_that_cannot_be_are_refused() {
    let refused = |sizes: &[u64], expected: &str| {
        let error = dense_layers(sizes, &Init::he_normal(), &Init::zeros(), 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        &[],
        "number of layer sizes = 0 is out of range: it must be at least 2",
    );
    refused(&[784], "number of layer sizes = 1 is out of range");
    refused(
        &[784, 1 << 41, 10],
        "tensor \"layers.0.weight\": shape [2199023255552, 784] has more than 2^50",
    );
    let error = initialize_parameters(784, 128, 10, &Init::normal(0.0, -1.0), &Init::zeros(), 1)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"W1\": std = -1 is out of range: it must be at least 0"
    );
}

fn any_init() -> impl Strategy<Value = Init> {
    let mode = prop_oneof![
        Just(FanMode::FanIn),
        Just(FanMode::FanOut),
        Just(FanMode::FanAvg)
    ];
    // Whatever bits a number has, as long as binary32 can hold about as much.
    let number = || {
        any::<f32>()
            .prop_filter("finite", |x| x.is_finite())
            .prop_map(f64::from)
    };
    let fraction = || number().prop_map(|x| x / 3.0);
    prop_oneof![
        fraction().prop_map(Init::constant),
        (fraction(), fraction()).prop_map(|(mean, std)| Init::normal(mean, std.abs())),
        (number(), number())
            .prop_filter("in order", |(a, b)| a != b)
            .prop_map(|(a, b)| Init::uniform(a.min(b), a.max(b))),
        (
            mode.clone(),
            any::<f32>().prop_filter("finite", |a| a.is_finite())
        )
            .prop_map(|(mode, a)| {
                // A slope of 1e20 leaves nothing of the gain.
                let negative_slope = f64::from(a % 1e6);
                Init::kaiming_uniform_with(mode, Nonlinearity::LeakyRelu { negative_slope })
            }),
        mode.prop_map(|mode| Init::kaiming_normal_with(mode, Nonlinearity::Tanh)),
        (1u64..).prop_map(Init::bias_uniform),
        Just("bias_uniform".parse().unwrap()),
        (fraction(), 1u64..).prop_map(|(std, layers)| Init::residual_normal(std.abs(), layers)),
        fraction().prop_map(|std| format!("residual_normal(std={})", std.abs())
            .parse()
            .unwrap()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(init in any_init()) {
        let text = init.to_string();
        let read: Init = text.parse().map_err(|e| TestCaseError::fail(format!("{e}")))?;
        prop_assert_eq!(&read, &init, "{}", text);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn any_text_is_parsed_or_refused_in_one_line(text in "(\\PC|normal|std|uniform|=|,|\\(|\\)|[0-9.e-]){0,24}") {
        if let Err(error) = text.parse::<Init>() {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn slices_read_back(ranges in proptest::collection::vec((0u64..50, 0u64..50, 1u64..100), 0..5)) {
        let dims: Vec<u64> = ranges.iter().map(|&(a, b, extra)| a.max(b) + extra).collect();
        let shape = fanin::Shape::new(dims).unwrap();
        let ranges: Vec<_> = ranges.iter().map(|&(a, b, _)| a.min(b)..a.max(b)).collect();
        let slice = fanin::Slice::new(ranges, &shape).unwrap();
        prop_assert_eq!(&fanin::Slice::parse(&slice.to_string(), &shape).unwrap(), &slice);
    }

    #[test]
    fn any_slice_text_is_parsed_or_refused(text in "([0-9:, -]|\\PC){0,12}", rank in 0usize..4) {
        let shape = fanin::Shape::new(vec![7; rank]).unwrap();
        if let Ok(slice) = fanin::Slice::parse(&text, &shape) {
            prop_assert!(slice.elements() <= shape.elements());
        }
    }
}
