//! Trains the MLP from one initializer after the other, and records the progress of each.

use std::collections::HashSet;
use std::error::Error;

use fanin::{Recipe, gpu};
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::SliceRandom};

use crate::digits::{CLASSES, Digits, PIXELS};
use crate::mlp::{Activation, Mlp, Score, Set};

const LEARNING_RATE: f32 = 0.1;

/// A device and the digits.
pub struct Trainer {
    device: wgpu::Device,
    queue: wgpu::Queue,
    initializer: gpu::Initializer,
    train: Digits,
    test: Digits,
}

/// The progress of a network, from before the first epoch to after the last.
#[derive(Default)]
pub struct History {
    /// Scores on the training set.
    pub train: Vec<Score>,
    /// Scores on the test set.
    pub test: Vec<Score>,
    /// The number of neurons of the first hidden layer that differ in any bit of a weight.
    pub distinct_neurons: Vec<usize>,
}

impl Trainer {
    /// Opens the default adapter of wgpu.
    pub fn new() -> Result<Trainer, Box<dyn Error>> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
        let (train, test) = Digits::load();
        Ok(Trainer {
            initializer: gpu::Initializer::new(&device, &queue)?,
            device,
            queue,
            train,
            test,
        })
    }

    /// Returns a network of these hidden layers, from the pixels to the classes.
    pub fn network(&self, hidden: &[usize], activation: Activation) -> Mlp {
        let sizes = [&[PIXELS], hidden, &[CLASSES]].concat();
        let (device, queue) = (&self.device, &self.queue);
        Mlp::new(device, queue, &sizes, activation, &self.train, &self.test)
    }

    /// Trains the network from the weights that `init` makes, and from zero biases. The order of the
    /// images is the same for all initializers.
    pub fn train(&self, mlp: &Mlp, init: &str, epochs: usize) -> Result<History, Box<dyn Error>> {
        let recipe = format!(
            "layout = \"in_out\"\n\
             [[rule]]\nmatch = \"*.weight\"\ninit = \"{init}\"\n\
             [[rule]]\nmatch = \"*.bias\"\ninit = \"zeros\"\n"
        );
        let tensors = mlp.tensors()?;
        let plan = Recipe::from_toml(&recipe)?.resolve(&tensors, Some(42), None)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.initializer
            .fill_all(&mut encoder, &mlp.targets(&plan))?;
        self.queue.submit([encoder.finish()]);

        let first_layer = tensors.tensors().first().ok_or("no layer")?;
        let neurons = first_layer.shape.elements() as usize / PIXELS;
        let mut history = History::default();
        let mut order: Vec<u32> = (0..self.train.len() as u32).collect();
        let mut shuffle = StdRng::seed_from_u64(42);
        for epoch in 0..=epochs {
            if epoch > 0 {
                order.shuffle(&mut shuffle);
                let mut encoder = self.device.create_command_encoder(&Default::default());
                mlp.record_epoch(&mut encoder, &order, LEARNING_RATE);
                self.queue.submit([encoder.finish()]);
            }
            history.train.push(mlp.evaluate(Set::Train)?);
            history.test.push(mlp.evaluate(Set::Test)?);
            let parameters = mlp.read_parameters()?;
            let distinct = distinct_columns(&parameters[..PIXELS * neurons], neurons);
            history.distinct_neurons.push(distinct);
        }
        Ok(history)
    }
}

/// Counts the distinct columns of a matrix.
fn distinct_columns(matrix: &[f32], columns: usize) -> usize {
    let column = |j: usize| -> Vec<u32> {
        let elements = matrix.iter().skip(j).step_by(columns);
        elements.map(|x| x.to_bits()).collect()
    };
    (0..columns).map(column).collect::<HashSet<_>>().len()
}
