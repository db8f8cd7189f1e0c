//! Why weights are not started at zero, nor at just any random numbers: an MLP learns handwritten
//! digits from different starts. Writes docs/WHY.md's pictures of it into a folder, and prints what
//! they show. (The third picture there is that of `fanin signal`.)
//!
//! cargo run --release --example why_initialize -- docs
//!
//! Without a folder it takes a short look: few epochs, pictures in the system's folder for temporary
//! files.

#[path = "common/digits.rs"]
mod digits;
#[path = "common/mlp.rs"]
mod mlp;
#[path = "common/training.rs"]
mod training;

use std::error::Error;
use std::path::{Path, PathBuf};

use fanin_plot::{Axis, Page, Panel};
use mlp::Activation;
use training::{History, Trainer};

/// Starts of weights, by their names in the pictures.
const STARTS: [(&str, &str); 7] = [
    ("N(0, 1)", "normal(std=1)"),
    ("N(0, 0.01)", "normal(std=0.01)"),
    ("Xavier", "xavier_normal"),
    ("He", "kaiming_normal"),
    ("LeCun", "lecun_normal"),
    ("orthogonal", "orthogonal"),
    ("zeros", "zeros"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let (folder, epochs) = match std::env::args_os().nth(1) {
        Some(folder) => (PathBuf::from(folder), 10),
        None => (std::env::temp_dir().join("fanin-why"), 2),
    };
    std::fs::create_dir_all(&folder)?;
    let trainer = Trainer::new()?;
    save(&symmetry(&trainer, epochs)?, &folder, "why-symmetry")?;
    save(&loss(&trainer, epochs)?, &folder, "why-loss")?;
    println!("\npictures in {}", folder.display());
    Ok(())
}

/// Neurons that start alike stay alike.
fn symmetry(trainer: &Trainer, epochs: usize) -> Result<Page, Box<dyn Error>> {
    const NEURONS: usize = 128;
    println!("a hidden layer of {NEURONS} ReLU neurons, {epochs} epochs");
    println!("start         distinct neurons  test accuracy");
    let epoch = || Axis::linear("epoch").range(0.0..epochs as f64);
    let neurons = Axis::linear("distinct neurons").range(0.0..1.1 * NEURONS as f64);
    let mut distinct = Panel::new("Neurons that differ in any bit", epoch(), neurons);
    let accuracy = Axis::linear("test accuracy, %").range(0.0..100.0);
    let mut learned = Panel::new("What they learn", epoch(), accuracy);
    let mlp = trainer.network(&[NEURONS], Activation::Relu);
    for (name, init) in [
        ("He", "kaiming_normal"),
        ("all 0.1", "constant(value=0.1)"),
        ("all 0", "zeros"),
    ] {
        let history = trainer.train(&mlp, init, epochs)?;
        let neurons = &history.distinct_neurons;
        let percent: Vec<f64> = history.test.iter().map(|s| 100.0 * s.accuracy).collect();
        println!(
            "{name:12}  {:16}  {:11.1} %",
            neurons[epochs], percent[epochs]
        );
        let alike = if init == "kaiming_normal" { NEURONS } else { 1 };
        assert!(
            neurons.iter().all(|&n| n == alike),
            "{name}: {neurons:?} distinct neurons"
        );
        distinct = distinct.line(name, points(neurons.iter().map(|&n| n as f64)));
        learned = learned.line(name, points(percent));
        if init == "zeros" {
            // It runs on top of another line.
            (distinct, learned) = (distinct.dashed(), learned.dashed());
        }
    }
    let page = Page::new("Neurons that start alike stay alike");
    let note = format!("Handwritten digits, 8 × 8; one hidden layer of {NEURONS} ReLU neurons");
    Ok(page.note(note).columns(2).panel(distinct).panel(learned))
}

/// The deeper the network, the more its start decides.
fn loss(trainer: &Trainer, epochs: usize) -> Result<Page, Box<dyn Error>> {
    let deep = [64; 10];
    let networks: [(&str, &[usize], Activation); 4] = [
        ("2 hidden layers, ReLU", &[128, 64], Activation::Relu),
        ("10 hidden layers, ReLU", &deep, Activation::Relu),
        ("10 hidden layers, tanh", &deep, Activation::Tanh),
        ("10 hidden layers, sigmoid", &deep, Activation::Sigmoid),
    ];
    let mut page = Page::new("What different starts learn").columns(2).note(
        "Handwritten digits, 8 × 8; stochastic gradient descent, learning rate 0.1, biases start \
         at zero",
    );
    for (title, hidden, activation) in networks {
        println!("\n{title}, {epochs} epochs");
        println!("start       first loss   last loss  test accuracy");
        let epoch = Axis::linear("epoch").range(0.0..epochs as f64);
        let mut panel = Panel::new(
            title,
            epoch,
            Axis::log10("training loss, nats").range(1e-2..1e2),
        );
        let mlp = trainer.network(hidden, activation);
        for (name, init) in STARTS {
            let History { train, test, .. } = trainer.train(&mlp, init, epochs)?;
            let (first, last) = (train[0].loss, train[epochs].loss);
            let accuracy = 100.0 * test[epochs].accuracy;
            println!("{name:10}  {first:10.3e}  {last:10.3e}  {accuracy:11.1} %");
            panel = panel.line(name, points(train.iter().map(|score| score.loss)));
            if init == "zeros" {
                // What is learned without any weight: how often each digit occurs.
                panel = panel.reference();
            }
        }
        page = page.panel(panel);
    }
    Ok(page)
}

/// A number an epoch.
fn points(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(values).collect()
}

fn save(page: &Page, folder: &Path, name: &str) -> fanin_plot::Result<()> {
    page.save(folder.join(name).with_extension("svg"))
}
