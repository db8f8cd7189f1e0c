//! Compares burn's own `Tensor::random` with fanin's fill of a burn parameter of the same shape, on the same wgpu
//! device. In `integrations/burn`:
//!
//! ```text
//! cargo bench --bench peers
//! cargo bench --bench peers -- --turns 31
//! ```
//!
//! burn is lazy: it draws a tensor when something waits for it. Each fill starts on an idle device and is timed
//! with two waits:
//!
//! * `sync`: `Device::sync` submits burn's deferred operations and returns when the queue has finished all of its
//!   work, fanin's dispatches included.
//! * `read-back`: `Tensor::into_data` and the first access to its bytes, when burn copies them.
//!
//! The rows "none" time the same wait for a tensor that was computed before. "Net" is the difference from their
//! median. On a discrete GPU the read-back takes much longer than the fill, so its net times are noise: compare
//! those of `sync` there.
//!
//! A turn measures each row once, so that a change in the machine's speed affects all of them. The
//! first turn makes pipelines and buffers, and is not counted. A ratio compares the net times of one turn.

use std::time::Instant;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use fanin::{Fill, Init, Recipe, cpu};
use fanin_burn::{InitWithFanin, Path};

const SHAPE: [usize; 2] = [4096, 4096];
const SEED: u64 = 42;
const TURNS: usize = 15;

/// Makes a new parameter, filled by fanin on the GPU.
fn filled([rows, columns]: [usize; 2], init: &Init, device: &Device) -> Tensor<2> {
    let rule = format!("[[rule]]\nmatch = \"weight\"\ninit = \"{init}\"");
    let recipe = Recipe::from_toml(&rule).expect("a valid recipe");
    let linear = LinearConfig::new(rows, columns).with_bias(false);
    let linear: Linear = linear.init(device);
    let made = linear.init_with_fanin_report(&recipe, SEED);
    let (linear, report) = made.expect("a filled parameter");
    // Nothing was uploaded or drawn by burn.
    assert_eq!(report.parameters[0].path, Path::NewBuffer);
    linear.weight.val()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32")
}

/// Checks that fanin's fill has the bits of its CPU fill.
fn check_bits(init: &Init, device: &Device) {
    let made = values(filled([65, 33], init, device));
    let tensor = fanin::Tensor::new("weight", [65, 33]).expect("a shape");
    let fill = Fill::new(&tensor, init, SEED).expect("a fill");
    let mut wanted = vec![0f32; made.len()];
    cpu::fill_slice(&fill, &mut wanted).expect("a matching length");
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&made), bits(&wanted), "{init}");
}

/// Checks that the mean is 0 and the standard deviation is that of the distribution.
fn check_moments(who: &str, std: f64, tensor: Tensor<2>) {
    let values = values(tensor);
    let sum = |f: fn(f64) -> f64| values.iter().map(|&x| f(x.into())).sum::<f64>();
    let mean = sum(|x| x) / values.len() as f64;
    let ratio = (sum(|x| x * x) / values.len() as f64).sqrt() / std;
    assert!(
        mean.abs() < 0.005 && (ratio - 1.0).abs() < 0.005,
        "{who}: mean {mean}, {ratio} of the standard deviation {std}"
    );
}

fn sync(device: &Device, _made: Tensor<2>) {
    device.sync().expect("a working device");
}

fn read_back(_device: &Device, made: Tensor<2>) {
    // into_data alone does not wait for the GPU.
    assert_eq!(made.into_data().as_bytes().len(), 4 * SHAPE[0] * SHAPE[1]);
}

/// Returns the median of some times, the 10th percentile and the 90th.
fn summary(times: &[f64]) -> [f64; 3] {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    [0.5, 0.1, 0.9].map(|part| times[(part * (times.len() - 1) as f64).round() as usize])
}

fn turns() -> usize {
    // Cargo adds --bench to the arguments.
    let arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    match arguments.collect::<Vec<_>>().as_slice() {
        [] => TURNS,
        [option, number] if option == "--turns" => match number.parse() {
            Ok(turns) if turns > 0 => turns,
            _ => panic!("--turns {number}: it must be a whole number of at least 1"),
        },
        other => panic!("unknown arguments {other:?}: only --turns N is accepted"),
    }
}

fn main() {
    let turns = turns();
    let device = &fanin_burn::init_device(Device::wgpu_options()).expect("a device");
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let cases = [
        (
            "normal",
            Distribution::Normal(0.0, 1.0),
            1.0,
            Init::normal(0.0, 1.0),
        ),
        (
            "uniform",
            uniform,
            1.0 / 3f64.sqrt(),
            Init::uniform(-1.0, 1.0),
        ),
    ];
    type Make<'a> = Box<dyn Fn() -> Tensor<2> + 'a>;
    let computed = Tensor::<2>::ones(SHAPE, device);
    let mut rows: Vec<(&str, &str, Make)> = vec![("none", "", Box::new(|| computed.clone()))];
    for (name, burn, std, fanin) in &cases {
        check_bits(fanin, device);
        let makes: [(&str, Make); 2] = [
            ("burn", Box::new(|| Tensor::random(SHAPE, *burn, device))),
            ("fanin", Box::new(|| filled(SHAPE, fanin, device))),
        ];
        for (who, make) in makes {
            check_moments(who, *std, make());
            rows.push((name, who, make));
        }
    }

    type Wait = fn(&Device, Tensor<2>);
    let waits: [(&str, Wait); 2] = [("sync", sync), ("read-back", read_back)];
    // By wait, then by row.
    let mut times = vec![vec![Vec::new(); rows.len()]; waits.len()];
    for turn in 0..=turns {
        for ((_, wait), times) in waits.iter().zip(&mut times) {
            for ((_, _, make), times) in rows.iter().zip(times) {
                device.sync().expect("a working device");
                let start = Instant::now();
                wait(device, make());
                if turn > 0 {
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
    }

    let lock = include_str!("../Cargo.lock");
    let version = lock
        .split_once("name = \"burn\"\nversion = \"")
        .expect("burn")
        .1;
    let version = version.split('"').next().expect("a version");
    let adapter = device.identity().expect("an adapter's name").name;
    let [height, width] = SHAPE;
    println!("burn {version} on {adapter}: {height} x {width} f32, {turns} turns, ms.\n");
    println!("| fill | who | wait | median | a tenth of the turns below | above | net |");
    println!("|---|---|---|---:|---:|---:|---:|");
    for ((wait, _), times) in waits.iter().zip(&times) {
        for ((fill, who, _), own) in rows.iter().zip(times) {
            let [median, below, above] = summary(own);
            let net = median - summary(&times[0])[0];
            println!(
                "| {fill} | {who} | {wait} | {median:.2} | {below:.2} | {above:.2} | {net:.2} |"
            );
        }
    }
    println!("\n| fill | wait | fanin / burn, net | a tenth of the turns below | above |");
    println!("|---|---|---:|---:|---:|");
    for ((wait, _), times) in waits.iter().zip(&times) {
        for ((fill, ..), pair) in cases.iter().zip(times[1..].chunks_exact(2)) {
            let net = |who: usize, turn: usize| pair[who][turn] - times[0][turn];
            let ratios: Vec<f64> = (0..turns).map(|turn| net(1, turn) / net(0, turn)).collect();
            let [median, below, above] = summary(&ratios);
            println!("| {fill} | {wait} | {median:.2} | {below:.2} | {above:.2} |");
        }
    }
}
