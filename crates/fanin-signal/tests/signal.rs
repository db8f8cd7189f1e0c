//! Compares the signal that `fanin_signal` measures with theory.
//!
//! Seeds are fixed, so a test passes always or never. For random networks, thresholds are those of
//! hypothesis tests: another seed would fail a given check with a probability of about 1e-6, and
//! any of the roughly 100 checks of this file with 1e-4.

use fanin::init::{Family, FanMode};
use fanin::{Error, Fill, Init, Tensor, cpu};
use fanin_signal::{Activation, Network, Signal, Verdict};
use rayon::prelude::*;

/// A normal variable is more than this many standard deviations from its mean with probability
/// 1e-6.
const SIGMAS: f64 = 4.891_638_475_698_77;

// ------------------------------------------------------------------------------ one neuron

/// The expected numbers are torch's values and derivatives in float64:
/// `y = x.requires_grad_(); f(y).sum().backward(); y.grad`.
#[test]
fn activations_are_torchs() {
    let inputs = [-30.0, -8.0, -1.5, -0.25, 0.75, 2.0, 9.0];
    for (activation, values, derivatives) in [
        (
            Activation::Tanh,
            [
                -1.0,
                -0.9999997749296758,
                -0.9051482536448664,
                -0.24491866240370913,
                0.6351489523872873,
                0.9640275800758169,
                0.999999969540041,
            ],
            [
                0.0,
                4.5014059765485253e-07,
                0.1807066389236486,
                0.940014848806378,
                0.5965858082813315,
                0.07065082485316443,
                6.091991707124916e-08,
            ],
        ),
        (
            Activation::Sigmoid,
            [
                9.357622968839299e-14,
                0.0003353501304664781,
                0.18242552380635635,
                0.43782349911420193,
                0.679178699175393,
                0.8807970779778823,
                0.9998766054240137,
            ],
            [
                9.357622968838423e-14,
                0.00033523767075647424,
                0.14914645207033286,
                0.24613408273759835,
                0.21789499376181404,
                0.10499358540350662,
                0.00012337934976493025,
            ],
        ),
        (
            Activation::Relu,
            [0.0, 0.0, 0.0, 0.0, 0.75, 2.0, 9.0],
            [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        ),
        (
            Activation::Gelu,
            [
                0.0,
                -4.884981308350689e-15,
                -0.10021080190328704,
                -0.10032341857926907,
                0.5800294857173489,
                1.9544997361036416,
                9.0,
            ],
            [
                0.0,
                -3.9807546004751306e-14,
                -0.1274691922299796,
                0.304626645116364,
                0.9992257217392352,
                1.085231801078197,
                1.0,
            ],
        ),
        (
            Activation::Selu,
            [
                -1.758099340847212,
                -1.7575095642223824,
                -1.3658143533672527,
                -0.388890197478119,
                0.7880257405166103,
                2.101401974710961,
                9.456308886199324,
            ],
            [
                1.6451630773416182e-13,
                0.0005897766249943349,
                0.392284987480124,
                1.3692091433692577,
                1.0507009873554805,
                1.0507009873554805,
                1.0507009873554805,
            ],
        ),
    ] {
        for ((x, value), derivative) in inputs.into_iter().zip(values).zip(derivatives) {
            for (ours, torchs) in [
                (activation.value(x), value),
                (activation.derivative(x), derivative),
            ] {
                // About two ulps of numbers below 16.
                assert!(
                    (ours - torchs).abs() < 4e-15,
                    "{activation} at {x}: {ours}, {torchs}"
                );
            }
        }
    }
}

#[test]
fn derivatives_are_those_of_the_values() {
    const STEP: f64 = 1e-5;
    for activation in Activation::ALL {
        for i in -40..40 {
            // Never 0, where ReLU and SELU have a kink.
            let x = 0.2 * f64::from(i) + 0.1;
            let difference = activation.value(x + STEP) - activation.value(x - STEP);
            let numeric = difference / (2.0 * STEP);
            let analytic = activation.derivative(x);
            // The error is STEP^2 / 6 times a third derivative below 2, plus the rounding of values
            // below 9.
            assert!(
                (numeric - analytic).abs() < 1e-9,
                "{activation} at {x}: {analytic}, numerically {numeric}"
            );
        }
    }
}

// ----------------------------------------------------------------------- a network by hand

fn drawn(name: &str, rows: usize, columns: usize, init: &Init, seed: u64) -> Vec<f64> {
    let tensor = Tensor::new(name, [rows as u64, columns as u64]).unwrap();
    let mut values = vec![0f32; rows * columns];
    cpu::fill_slice(&Fill::new(&tensor, init, seed).unwrap(), &mut values).unwrap();
    values.into_iter().map(f64::from).collect()
}

fn times(weights: &[f64], values: &[f64]) -> Vec<f64> {
    let rows = weights.chunks(values.len());
    rows.map(|row| row.iter().zip(values).map(|(w, x)| w * x).sum())
        .collect()
}

/// Computes all statistics again with loops, from the weights that `fanin` fills for these names
/// and this seed. The gradients come from numeric differentiation of the loss, which is the sum of
/// `gradient * a[depth]`.
#[test]
fn a_small_network_equals_a_computation_by_loops() {
    const STEP: f64 = 1e-5;
    // With this seed no layer of ReLUs is all 0. The pre-activations above such a layer would be
    // exactly at the kink, where numeric differentiation fails.
    let (depth, width, batch, seed) = (4, 5, 3, 4);
    let network = Network {
        depth,
        width,
        batch,
        seed,
    };
    for init in [
        "normal(std=0.6)",
        "orthogonal",
        "uniform(low=-0.2,high=0.9)",
    ] {
        let init: Init = init.parse().unwrap();
        let weights: Vec<_> = (0..depth)
            .map(|i| drawn(&format!("layers.{i}.weight"), width, width, &init, seed))
            .collect();
        let input = drawn("input", batch, width, &Init::normal(0.0, 1.0), seed);
        let top = drawn("gradient", batch, width, &Init::normal(0.0, 1.0), seed);
        for activation in Activation::ALL {
            let signal = network.propagate(activation, &init).unwrap();
            assert_eq!(signal.layers.len(), depth);
            // Returns the activations of all layers and the loss. `change` may modify the
            // pre-activations of a layer.
            let run = |x: &[f64], g: &[f64], change: &dyn Fn(usize, &mut Vec<f64>)| {
                let mut values = x.to_vec();
                let mut all = Vec::new();
                for (l, weights) in weights.iter().enumerate() {
                    let mut z = times(weights, &values);
                    change(l, &mut z);
                    values = z.iter().map(|&z| activation.value(z)).collect();
                    all.push(values.clone());
                }
                let loss: f64 = values.iter().zip(g).map(|(a, g)| a * g).sum();
                (all, loss)
            };
            for (l, layer) in signal.layers.iter().enumerate() {
                let (mut values, mut gradients) = (Vec::new(), Vec::new());
                for (x, g) in input.chunks(width).zip(top.chunks(width)) {
                    values.extend(run(x, g, &|_, _| ()).0.swap_remove(l));
                    for neuron in 0..width {
                        let moved = |by: f64| {
                            let step = |layer: usize, z: &mut Vec<f64>| {
                                if layer == l {
                                    z[neuron] += by;
                                }
                            };
                            run(x, g, &step).1
                        };
                        gradients.push((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
                    }
                }
                let what = format!("{activation}, {init}, layer {l}");
                let n = (width * batch) as f64;
                for (level, values, tolerance) in [
                    (layer.activation, &values, 1e-14),
                    (layer.gradient, &gradients, 1e-8),
                ] {
                    let mean = values.iter().sum::<f64>() / n;
                    let mean_square = values.iter().map(|x| x * x).sum::<f64>() / n;
                    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                    let scale = mean_square.max(1e-3);
                    for (ours, by_hand) in [
                        (level.mean, mean),
                        (level.mean_square, mean_square),
                        (level.variance, variance),
                    ] {
                        let off = (ours - by_hand).abs() / scale.max(scale.sqrt());
                        assert!(off < tolerance, "{what}: {ours}, by hand {by_hand}");
                    }
                }
                // By the law of total variance, the rest is the variance between neurons' means.
                let means: Vec<f64> = (0..width)
                    .map(|i| values.iter().skip(i).step_by(width).sum::<f64>() / batch as f64)
                    .collect();
                let mean = means.iter().sum::<f64>() / width as f64;
                let between = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / width as f64;
                let share = 1.0 - between / layer.activation.variance;
                assert!((layer.across_inputs - share).abs() < 1e-9, "{what}");
            }
        }
    }
}

// --------------------------------------------------------------------------------- theory

/// Returns the expectation of `f(x)` for a standard normal x, by the midpoint rule. It is very
/// accurate for smooth f, and a kink or step at 0 lies on the border of two intervals.
fn expectation(f: impl Fn(f64) -> f64) -> f64 {
    const STEP: f64 = 1.0 / 64.0;
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    (-9 * 64..9 * 64)
        .map(|i| {
            let x = (f64::from(i) + 0.5) * STEP;
            f(x) * density(x) * STEP
        })
        .sum()
}

/// Initializers, and the variance of their weights.
fn inits() -> [(Init, f64); 5] {
    let n = WIDTH as f64;
    let lecun = Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal);
    [
        (Init::normal(0.0, 1.0), 1.0),
        (Init::normal(0.0, 0.01), 1e-4),
        (Init::xavier_uniform(), 1.0 / n),
        (Init::kaiming_normal(), 2.0 / n),
        (lecun, 1.0 / n),
    ]
}

const WIDTH: usize = 256;
const DEPTH: usize = 50;

/// Compares the factor of every layer, forward and backward, for every activation and initializer,
/// with mean field theory. With n inputs of mean square q and weights of variance v,
/// pre-activations are normal with variance V = n v q. So `q' = E[f(sqrt(V) x)^2]`, and gradients
/// of mean square d become `n v d E[f'(sqrt(V) x)^2]`.
///
/// Given the layer's input, its n neurons are independent. So the ratio of measured to expected
/// mean square has mean 1, and its variance is that of one neuron's square, relative to the
/// square's mean, divided by n. (For the gradient, the square is that of a normal variable times
/// f', and E x^4 = 3. The inputs of a batch are dependent, but averaging over them can only reduce
/// the variance.) The ratios of layers are uncorrelated, so their mean over 50 layers and 4 seeds
/// is 1 within [`SIGMAS`] standard errors: for ReLU, a variance that is wrong by 6 % would be
/// detected. Theory neglects terms of the order of 1 / n, 0.4 %.
///
/// GELU with He's initialization is left out, because its inputs have no common q. It multiplies
/// small signals by n v / 4 = 1/2 and large ones by 1. Growth in between separates inputs that
/// vanish from inputs that do not.
#[test]
fn layers_multiply_the_mean_square_by_the_factor_of_theory() {
    const SEEDS: u64 = 4;
    let n = WIDTH as f64;
    for (init, v) in inits() {
        let signals: Vec<Vec<Signal>> = (0..SEEDS)
            .map(|seed| {
                let network = Network {
                    depth: DEPTH,
                    width: WIDTH,
                    batch: 8,
                    seed,
                };
                let started = network.start(&init).unwrap();
                let activations = Activation::ALL.par_iter();
                activations.map(|a| started.propagate(*a)).collect()
            })
            .collect();
        for (i, activation) in Activation::ALL.into_iter().enumerate() {
            if activation == Activation::Gelu && init == Init::kaiming_normal() {
                continue;
            }
            let mut sums = [[0.0; 2]; 2];
            let mut steps = 0.0;
            for signal in signals.iter().map(|signals| &signals[i]) {
                for (below, here) in signal.layers.iter().zip(&signal.layers[1..]) {
                    steps += 1.0;
                    let std = (n * v * below.activation.mean_square).sqrt();
                    let value = |k| expectation(|x| activation.value(std * x).powi(k));
                    let (second, fourth) = (value(2), value(4));
                    sums[0][0] += here.activation.mean_square / second - 1.0;
                    sums[0][1] += (fourth / (second * second) - 1.0) / n;
                }
                // Backward: layer l's derivative, at the pre-activations that layer l - 1 causes.
                for l in 1..DEPTH - 1 {
                    let [below, here, above] = [l - 1, l, l + 1].map(|l| signal.layers[l]);
                    let std = (n * v * below.activation.mean_square).sqrt();
                    let slope = |k| expectation(|x| activation.derivative(std * x).powi(k));
                    let (second, fourth) = (slope(2), slope(4));
                    let expected = n * v * above.gradient.mean_square * second;
                    sums[1][0] += here.gradient.mean_square / expected - 1.0;
                    sums[1][1] += (3.0 * fourth / (second * second) - 1.0) / n;
                }
            }
            for (pass, [sum, variance]) in ["forward", "backward"].into_iter().zip(sums) {
                // The neglected 1 / n counts once for each layer.
                let limit = SIGMAS * variance.sqrt() + steps / n;
                println!(
                    "{activation}, {init}, {pass}: {:.4} of {:.4}",
                    sum / steps,
                    limit / steps
                );
                assert!(
                    sum.abs() <= limit,
                    "{activation}, {init}, {pass}: off by {} per layer, at most {} is expected",
                    sum / steps,
                    limit / steps
                );
            }
        }
    }
}

/// Compares the change over the whole depth with the textbook's factors. For ReLU, a layer
/// multiplies the mean square, forward and backward, by a random variable of mean 1 with He's
/// initialization, 1/2 with LeCun's and n/2 with N(0, 1). Its relative variance is 5 / n, because a
/// neuron's square is 0 half of the time and else the square of a normal variable, with
/// E = 1/2 and E of its square 3/2. So over 49 layers the logarithm moves with a standard deviation
/// of sqrt(49 * 5 / n) = 0.98, and its mean is at most half of the variance below 0 (Hanin and
/// Rolnick, "How to start training: the effect of initialization and architecture", NeurIPS 2018).
/// For linear layers, the relative variance is 2 / n.
#[test]
fn fifty_layers_have_the_textbooks_factors() {
    let n = WIDTH as f64;
    let steps = (DEPTH - 1) as f64;
    for (activation, init, factor, spread) in [
        (Activation::Relu, Init::kaiming_normal(), 1.0, 5.0),
        (Activation::Relu, Init::kaiming_uniform(), 1.0, 5.0),
        (Activation::Relu, Init::lecun_normal(), 0.5, 5.0),
        (Activation::Relu, Init::xavier_normal(), 0.5, 5.0),
        (Activation::Relu, Init::normal(0.0, 1.0), n / 2.0, 5.0),
        (
            Activation::Relu,
            Init::normal(0.0, 0.01),
            n * 1e-4 / 2.0,
            5.0,
        ),
        (Activation::Linear, Init::lecun_normal(), 1.0, 2.0),
        (Activation::Linear, Init::xavier_uniform(), 1.0, 2.0),
        (Activation::Linear, Init::normal(0.0, 1.0), n, 2.0),
        (Activation::Linear, Init::kaiming_normal(), 2.0, 2.0),
    ] {
        let signal = Network::default().propagate(activation, &init).unwrap();
        let (first, last) = (&signal.layers[0], &signal.layers[DEPTH - 1]);
        for (pass, from, to) in [
            ("forward", first.activation, last.activation),
            ("backward", last.gradient, first.gradient),
        ] {
            let moved = (to.mean_square / from.mean_square).ln() - steps * f64::ln(factor);
            let variance = steps * spread / n;
            let limit = SIGMAS * variance.sqrt();
            println!("{activation}, {init}, {pass}: {moved:.2} in +-{limit:.2}");
            assert!(
                (-limit - variance / 2.0..=limit).contains(&moved),
                "{activation}, {init}, {pass}: e^{moved}"
            );
        }
    }
}

#[test]
fn verdicts_agree_with_the_textbook() {
    use Activation::{Linear, Relu, Selu, Sigmoid, Tanh};
    use Verdict::{Dead, Explodes, Keeps, Vanishes};
    for (activation, init, forward, backward) in [
        (Relu, "kaiming_normal", Keeps, Keeps),
        (Relu, "xavier_normal", Vanishes, Vanishes),
        (Relu, "lecun_normal", Vanishes, Vanishes),
        (Relu, "orthogonal", Vanishes, Vanishes),
        (Relu, "orthogonal(gain=1.4142135623730951)", Keeps, Keeps),
        (Relu, "normal(std=1)", Explodes, Explodes),
        (Relu, "normal(std=0.01)", Vanishes, Vanishes),
        (Tanh, "xavier_normal", Keeps, Keeps),
        (Tanh, "orthogonal", Keeps, Keeps),
        // Saturated and chaotic: after 50 layers a small change of an input is large.
        (Tanh, "normal(std=1)", Keeps, Explodes),
        (Tanh, "normal(std=0.01)", Vanishes, Vanishes),
        // Activations are near 1/2 for all inputs, and the gradients vanish.
        (Sigmoid, "xavier_normal", Keeps, Vanishes),
        (Selu, "lecun_normal", Keeps, Keeps),
        (Linear, "orthogonal", Keeps, Keeps),
        (Tanh, "zeros", Dead, Dead),
    ] {
        let init: Init = init.parse().unwrap();
        let signal = Network::default().propagate(activation, &init).unwrap();
        let got = (signal.forward().verdict, signal.backward().verdict);
        assert_eq!(got, (forward, backward), "{activation}, {init}");
    }
}

/// An orthogonal matrix preserves norms. Rounding to binary32 has a relative error of at most
/// 2^-24, so the matrix is off by at most `2^-24 sqrt(n)` in the Frobenius norm, which bounds the
/// change of a norm.
#[test]
fn orthogonal_layers_keep_the_norm() {
    let network = Network {
        depth: 200,
        ..Network::default()
    };
    let signal = network
        .propagate(Activation::Linear, &Init::orthogonal())
        .unwrap();
    let bound = 2.0 * 200.0 * (WIDTH as f64).sqrt() * 2f64.powi(-24);
    let (first, last) = (&signal.layers[0], &signal.layers[199]);
    for (from, to) in [
        (first.activation, last.activation),
        (last.gradient, first.gradient),
    ] {
        let change = to.mean_square / from.mean_square - 1.0;
        assert!(change.abs() < bound, "{change:e}, at most {bound:e}");
    }
}

/// With LeCun's initialization, SELU converges to mean 0 and variance 1 (Klambauer et al. 2017,
/// theorem 1).
///
/// A layer passes on a share `slope` (0.78) of the mean square's deviation, and adds a random
/// deviation whose variance is that of one neuron's square over n. In the long run the variance of
/// the deviation is `Var f^2 / n / (1 - slope^2)`. The deviation of the mean has the variance
/// `1 / n` of the layer itself, plus 0.089 times the deviation of the mean square.
#[test]
fn selu_converges_to_mean_0_and_variance_1() {
    let f = |x: f64| Activation::Selu.value(x);
    let n = WIDTH as f64;
    assert!(expectation(f).abs() < 1e-5 && (expectation(|x| f(x).powi(2)) - 1.0).abs() < 1e-5);
    let at = |variance: f64, k: i32| expectation(|x| f(variance.sqrt() * x).powi(k));
    let slope = |k| (at(1.001, k) - at(0.999, k)) / 0.002;
    assert!((slope(2) - 0.7826).abs() < 1e-3, "{}", slope(2));
    let stationary = (at(1.0, 4) - 1.0) / n / (1.0 - slope(2) * slope(2));
    for seed in 0..4 {
        let network = Network {
            seed,
            ..Network::default()
        };
        let signal = network
            .propagate(Activation::Selu, &Init::lecun_normal())
            .unwrap();
        for layer in &signal.layers[DEPTH / 2..] {
            let off = (layer.activation.mean_square - 1.0).abs();
            assert!(off < SIGMAS * stationary.sqrt(), "{off}");
            let mean_limit = SIGMAS * (1.0 / n + (slope(1) * slope(1)) * stationary).sqrt();
            assert!(
                layer.activation.mean.abs() < mean_limit,
                "{}",
                layer.activation.mean
            );
        }
    }
}

#[test]
fn zeros_stop_the_signal() {
    for activation in Activation::ALL {
        let signal = Network::default()
            .propagate(activation, &Init::zeros())
            .unwrap();
        for layer in &signal.layers {
            // Each neuron is f(0) for every input: 1/2 for sigmoid.
            assert_eq!(layer.activation.mean, activation.value(0.0));
            assert_eq!(layer.activation.variance, 0.0, "{activation}");
            assert!(layer.across_inputs.is_nan());
        }
        // All gradients below the last layer are 0.
        let below = &signal.layers[..DEPTH - 1];
        assert!(below.iter().all(|layer| layer.gradient.mean_square == 0.0));
        for trend in [signal.forward(), signal.backward()] {
            assert_eq!(
                (trend.verdict, trend.last, trend.factor),
                (Verdict::Dead, 0.0, None)
            );
        }
    }
}

/// After a few sigmoid layers all inputs have the same activations. The variance over neurons does
/// not show this; the share across inputs does.
#[test]
fn the_share_across_inputs_detects_equal_activations() {
    let share = |activation, init: Init| {
        let signal = Network::default().propagate(activation, &init).unwrap();
        signal.layers[DEPTH - 1].across_inputs
    };
    assert!(share(Activation::Sigmoid, Init::xavier_normal()) < 1e-20);
    assert!(share(Activation::Tanh, Init::xavier_normal()) > 0.5);
}

#[test]
fn overflow_explodes() {
    let network = Network {
        depth: 300,
        batch: 2,
        ..Network::default()
    };
    // 128^300 and 256^300 are beyond binary64.
    for activation in [
        Activation::Relu,
        Activation::Linear,
        Activation::Gelu,
        Activation::Selu,
    ] {
        let signal = network
            .propagate(activation, &Init::normal(0.0, 1.0))
            .unwrap();
        for trend in [signal.forward(), signal.backward()] {
            assert_eq!(trend.verdict, Verdict::Explodes, "{activation}");
            assert_eq!(trend.factor, None, "{activation}");
        }
        // After the first overflow, all variances are infinite.
        let mut variances = signal.layers.iter().map(|layer| layer.activation.variance);
        let first = variances.position(f64::is_infinite).unwrap();
        assert!(
            (100..250).contains(&first) && variances.all(f64::is_infinite),
            "{first}"
        );
    }
}

// ------------------------------------------------------------------------------ the request

#[test]
fn the_same_network_has_the_same_bits() {
    let network = Network {
        depth: 5,
        width: 70,
        ..Network::default()
    };
    let text = |signal: &Signal| format!("{signal:?}");
    let run = |network: Network| {
        let signal = network.propagate(Activation::Gelu, &Init::orthogonal());
        text(&signal.unwrap())
    };
    let first = run(network);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        assert!(pool.unwrap().install(|| run(network)) == first);
    }
    assert!(
        run(Network {
            seed: 43,
            ..network
        }) != first
    );
}

#[test]
fn invalid_networks_are_refused() {
    let network = Network::default();
    for (network, message) in [
        (
            Network {
                depth: 1,
                ..network
            },
            "depth = 1 is out of range: use 2 to 1000 layers",
        ),
        (
            Network {
                depth: 1001,
                ..network
            },
            "depth = 1001 is out of range: use 2 to 1000 layers",
        ),
        (
            Network {
                width: 0,
                ..network
            },
            "width = 0 is out of range: use at least 1, and at most 2^28 for depth * width * width",
        ),
        (
            Network {
                width: usize::MAX,
                ..network
            },
            "width = 18446744073709552000 is out of range: use at least 1, and at most 2^28 for \
             depth * width * width",
        ),
        (
            Network {
                batch: 1,
                ..network
            },
            "batch = 1 is out of range: use at least 2, and at most 2^28 for depth * width * batch",
        ),
        (
            Network {
                batch: 1 << 28,
                ..network
            },
            "batch = 268435456 is out of range: use at least 2, and at most 2^28 for depth * width \
             * batch",
        ),
    ] {
        let error = network
            .propagate(Activation::Tanh, &Init::zeros())
            .unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    // dirac does not apply to square matrices. The error names the tensor.
    let error = network
        .propagate(Activation::Tanh, &"dirac".parse().unwrap())
        .unwrap_err();
    assert!(matches!(error.fault(), Error::Shape { .. }), "{error:?}");
    assert!(error.to_string().contains("layers.0.weight"), "{error}");
}
