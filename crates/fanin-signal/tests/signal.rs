//! What theory says of a deep network's signal, against what `fanin_signal` sees.
//!
//! Seeds are fixed, so a test passes always or never. Where a network is random, thresholds are
//! those of hypothesis tests: another seed would fail a single check with a probability of about
//! 1e-6, and one of all of this file, some 100, with 1e-4.

use fanin::init::{Family, FanMode};
use fanin::{Error, Fill, Init, Tensor, cpu};
use fanin_signal::{Activation, Network, Signal, Verdict};
use rayon::prelude::*;

/// A normal variable is farther than this from its mean with probability 1e-6.
const SIGMAS: f64 = 4.891_638_475_698_77;

// ------------------------------------------------------------------------------ one neuron

/// torch's values and derivatives in float64, at these places:
/// `y = x.requires_grad_(); f(y).sum().backward(); y.grad`.
#[test]
fn activations_are_torchs() {
    let places = [-30.0, -8.0, -1.5, -0.25, 0.75, 2.0, 9.0];
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
        for ((x, value), derivative) in places.into_iter().zip(values).zip(derivatives) {
            for (ours, torchs) in [
                (activation.value(x), value),
                (activation.derivative(x), derivative),
            ] {
                // An ulp or two of numbers below 16.
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
            // Never at the kinks of ReLU and SELU, at 0.
            let x = 0.2 * f64::from(i) + 0.1;
            let difference = activation.value(x + STEP) - activation.value(x - STEP);
            let numeric = difference / (2.0 * STEP);
            let analytic = activation.derivative(x);
            // Step^2 / 6 times a third derivative below 2, and the rounding of values below 9.
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

/// Everything again by loops, from the weights that these names and this seed have; the gradients
/// by numeric differentiation of the loss, the sum of `gradient * a[depth]`.
#[test]
fn a_small_network_is_what_it_is_by_hand() {
    const STEP: f64 = 1e-5;
    // A seed with which no layer of ReLUs is wholly off: the layer above would stand on a corner.
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
            // Pre-activations of a layer, to which `changed` may do something, and the loss.
            let run = |x: &[f64], g: &[f64], changed: &dyn Fn(usize, &mut Vec<f64>)| {
                let mut values = x.to_vec();
                let mut all = Vec::new();
                for (l, weights) in weights.iter().enumerate() {
                    let mut z = times(weights, &values);
                    changed(l, &mut z);
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
                // The law of total variance: what is not between inputs is between neurons' means.
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

/// The expectation of `f(x)` for a standard normal x, by midpoints: as exact as any rule where f is
/// smooth, and a kink or step at 0 lies between two of them.
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

fn starts() -> [(Init, f64); 5] {
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

/// What a layer makes of the mean square that comes in, up and down, for every activation and
/// start, is what mean field theory says: with n inputs of mean square q, and weights of variance v,
/// pre-activations are normal of variance V = n v q, so `q' = E[f(sqrt(V) x)^2]`; and gradients of
/// mean square d become `n v d E[f'(sqrt(V) x)^2]`.
///
/// The n neurons of a layer are independent given what comes in, so the ratio of seen to expected is
/// 1 with the variance of one neuron's square, over n, relative to its squared mean. (For the
/// gradient a square is that of a normal variable times f', and E x^4 = 3. A batch, whose inputs
/// are not independent, can only make that less.) Ratios of layers are uncorrelated, so their mean,
/// over 50 layers and 4 seeds, is 1 within [`SIGMAS`] standard errors: for ReLU, a variance that is
/// wrong by 6 % would be seen. What theory leaves out is of the order 1 / n, 0.4 %.
///
/// GELU under He's start has no one q to speak of: it multiplies small signals by n v / 4, 1/2, and
/// large ones by 1, with a growth in between that separates inputs that die from inputs that live.
#[test]
fn a_layer_multiplies_as_theory_says() {
    const SEEDS: u64 = 4;
    let n = WIDTH as f64;
    for (init, v) in starts() {
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
                // Down: layer l's own derivative, at the pre-activations that came from below it.
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
            for (way, [sum, variance]) in ["up", "down"].into_iter().zip(sums) {
                // The order of 1 / n, once a layer.
                let reach = SIGMAS * variance.sqrt() + steps / n;
                println!(
                    "{activation}, {init}, {way}: {:.4} of {:.4}",
                    sum / steps,
                    reach / steps
                );
                assert!(
                    sum.abs() <= reach,
                    "{activation}, {init}, {way}: off by {} a layer, {} is to be expected",
                    sum / steps,
                    reach / steps
                );
            }
        }
    }
}

/// The textbook's factors, over the whole depth. A layer of He's start, or LeCun's, or N(0, 1),
/// multiplies the mean square by a variable of mean 1, 1/2, n/2 and of relative variance 5 / n (a
/// neuron's square is half of the time 0, else the square of a normal: E = 1/2, E of its square
/// 3/2), up and down. So the logarithm over 49 layers moves by a standard deviation of sqrt(49 * 5 /
/// n), 0.98, and a mean of half the variance, at most, below 0 (Hanin and Rolnick, "How to start
/// training: the effect of initialization and architecture", NeurIPS 2018). Linear layers: 2 / n.
#[test]
fn fifty_layers_come_to_the_textbooks_factors() {
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
        for (way, from, to) in [
            ("up", first.activation, last.activation),
            ("down", last.gradient, first.gradient),
        ] {
            let moved = (to.mean_square / from.mean_square).ln() - steps * f64::ln(factor);
            let variance = steps * spread / n;
            let reach = SIGMAS * variance.sqrt();
            println!("{activation}, {init}, {way}: {moved:.2} in +-{reach:.2}");
            assert!(
                (-reach - variance / 2.0..=reach).contains(&moved),
                "{activation}, {init}, {way}: e^{moved}"
            );
        }
    }
}

#[test]
fn verdicts_are_those_of_the_textbook() {
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
        // Saturated, and chaotic: a small change of an input is large 50 layers on.
        (Tanh, "normal(std=1)", Keeps, Explodes),
        (Tanh, "normal(std=0.01)", Vanishes, Vanishes),
        // Around 1/2, and all inputs alike: nothing comes down.
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

/// An orthogonal matrix keeps every norm. In binary32 its elements are rounded by 2^-24 of
/// themselves at most, so the matrix is off by `2^-24 sqrt(n)` in the Frobenius norm, which bounds
/// what it does to a norm.
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

/// Mean 0 and variance 1 are where SELU settles under LeCun's start (Klambauer et al. 2017, theorem 1).
///
/// A layer passes on `slope` (0.78) of what the mean square was off by, and adds a deviation of
/// its own, of one neuron's variance over n: in the long run a variance of `Var f^2 / n / (1 -
/// slope^2)`. The mean is off by its own `1 / n` and what the mean square brings, 0.089 of its deviation.
#[test]
fn selu_settles_at_mean_0_and_variance_1() {
    let f = |x: f64| Activation::Selu.value(x);
    let n = WIDTH as f64;
    assert!(expectation(f).abs() < 1e-5 && (expectation(|x| f(x).powi(2)) - 1.0).abs() < 1e-5);
    let at = |variance: f64, k: i32| expectation(|x| f(variance.sqrt() * x).powi(k));
    let slope = |k| (at(1.001, k) - at(0.999, k)) / 0.002;
    assert!((slope(2) - 0.7826).abs() < 1e-3, "{}", slope(2));
    let settled = (at(1.0, 4) - 1.0) / n / (1.0 - slope(2) * slope(2));
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
            assert!(off < SIGMAS * settled.sqrt(), "{off}");
            let mean_reach = SIGMAS * (1.0 / n + (slope(1) * slope(1)) * settled).sqrt();
            assert!(
                layer.activation.mean.abs() < mean_reach,
                "{}",
                layer.activation.mean
            );
        }
    }
}

#[test]
fn zeros_kill_everything() {
    for activation in Activation::ALL {
        let signal = Network::default()
            .propagate(activation, &Init::zeros())
            .unwrap();
        for layer in &signal.layers {
            // Each neuron is f(0), whatever the input: 1/2 for sigmoid.
            assert_eq!(layer.activation.mean, activation.value(0.0));
            assert_eq!(layer.activation.variance, 0.0, "{activation}");
            assert!(layer.across_inputs.is_nan());
        }
        // Below the last layer there is no gradient at all.
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

/// All inputs look alike after a few sigmoid layers, which the variance over neurons hides.
#[test]
fn a_variance_that_says_nothing_about_the_input_is_told() {
    let share = |activation, init: Init| {
        let signal = Network::default().propagate(activation, &init).unwrap();
        signal.layers[DEPTH - 1].across_inputs
    };
    assert!(share(Activation::Sigmoid, Init::xavier_normal()) < 1e-20);
    assert!(share(Activation::Tanh, Init::xavier_normal()) > 0.5);
}

#[test]
fn what_overflows_is_seen_to() {
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
        // Once gone, it does not come back.
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
fn what_makes_no_network_is_refused() {
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
    // No start of a square matrix: the tensor is named.
    let error = network
        .propagate(Activation::Tanh, &"dirac".parse().unwrap())
        .unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    assert!(error.to_string().contains("layers.0.weight"), "{error}");
}
