//! Shows why initial weights must not be zero, or random of any size: an MLP learns handwritten digits
//! from different initial weights. It writes two pictures of docs/WHY.md into a folder and prints their
//! numbers. (`fanin signal` draws the third picture.)
//!
//! cargo run --release --example why_initialize -- docs
//!
//! Without a folder, the run is short: it takes few epochs and writes the pictures into the system's
//! folder for temporary files.

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

/// Initializers of weights, with their names in the pictures.
const INITIALIZERS: [(&str, &str); 7] = [
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

/// Draws the symmetry: neurons with equal weights stay equal.
fn symmetry(trainer: &Trainer, epochs: usize) -> Result<Page, Box<dyn Error>> {
    const NEURONS: usize = 128;
    println!("a hidden layer of {NEURONS} ReLU neurons, {epochs} epochs");
    println!("initializer   distinct neurons  test accuracy");
    let epoch = || Axis::linear("epoch").range(0.0..epochs as f64);
    let neurons = Axis::linear("distinct neurons").range(0.0..1.1 * NEURONS as f64);
    let mut distinct = Panel::new("Distinct neurons of 128", epoch(), neurons);
    let accuracy = Axis::linear("test accuracy, %").range(0.0..100.0);
    let mut learned = Panel::new("Test accuracy", epoch(), accuracy);
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
            // It lies on top of another line.
            (distinct, learned) = (distinct.dashed(), learned.dashed());
        }
    }
    let page = Page::new("Neurons with equal initial weights stay equal");
    let note = format!("Handwritten digits, 8 × 8; one hidden layer of {NEURONS} ReLU neurons");
    Ok(page.note(note).columns(2).panel(distinct).panel(learned))
}

/// Draws the training loss: the deeper the network, the more its initial weights matter.
fn loss(trainer: &Trainer, epochs: usize) -> Result<Page, Box<dyn Error>> {
    let deep = [64; 10];
    let networks: [(&str, &[usize], Activation); 4] = [
        ("2 hidden layers, ReLU", &[128, 64], Activation::Relu),
        ("10 hidden layers, ReLU", &deep, Activation::Relu),
        ("10 hidden layers, tanh", &deep, Activation::Tanh),
        ("10 hidden layers, sigmoid", &deep, Activation::Sigmoid),
    ];
    let mut page = Page::new("Training loss from seven initializers")
        .note(
            "Handwritten digits, 8 × 8; stochastic gradient descent, learning rate 0.1, biases \
             start at zero.",
        )
        .note("No line: the loss is above the axis or not a number.")
        .columns(2);
    for (title, hidden, activation) in networks {
        println!("\n{title}, {epochs} epochs");
        println!("initializer  first loss   last loss  test accuracy");
        let epoch = Axis::linear("epoch").range(0.0..epochs as f64);
        let mut panel = Panel::new(
            title,
            epoch,
            Axis::log10("training loss, nats").range(1e-2..1e2),
        );
        let mlp = trainer.network(hidden, activation);
        for (name, init) in INITIALIZERS {
            let History { train, test, .. } = trainer.train(&mlp, init, epochs)?;
            let (first, last) = (train[0].loss, train[epochs].loss);
            let accuracy = 100.0 * test[epochs].accuracy;
            println!("{name:11}  {first:10.3e}  {last:10.3e}  {accuracy:11.1} %");
            panel = panel.line(name, points(train.iter().map(|score| score.loss)));
            if init == "zeros" {
                // Without weights only the biases learn: the frequency of each digit.
                panel = panel.reference();
            }
        }
        page = page.panel(panel);
    }
    Ok(page)
}

/// Points of one number for each epoch.
fn points(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(values).collect()
}

fn save(page: &Page, folder: &Path, name: &str) -> fanin_plot::Result<()> {
    page.save(folder.join(name).with_extension("svg"))
}
