//! A multilayer perceptron in plain wgpu: forward, backward and stochastic gradient descent by the
//! shaders in `mlp.wgsl`. Its parameters are in one buffer. fanin fills them there, and the shaders read
//! and update them there.

use fanin::gpu::Target;
use fanin::{ListedTensor, Plan, Shape, TensorList};

use crate::digits::Digits;

/// Images in one training step.
pub const BATCH: usize = 32;

/// The activation after each layer except the last, numbered as in `mlp.wgsl`.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "no example uses all of them")]
pub enum Activation {
    Relu = 1,
    Tanh = 2,
    Sigmoid = 3,
}

/// A set of images.
#[derive(Clone, Copy)]
pub enum Set {
    Train = 0,
    Test = 1,
}

/// The loss and accuracy on a set.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// The mean cross-entropy, in nats an image. A uniform guess has ln 10 = 2.303.
    pub loss: f64,
    /// The share of images whose likeliest class is correct.
    pub accuracy: f64,
}

/// `Layer` of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,
    bias: u32,
    below: u32,
    above: u32,
    activation: u32,
    activation_below: u32,
}

/// `Batch` of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Batch {
    first: u32,
    rows: u32,
    learning_rate: f32,
    padding: u32,
}

/// The first slots of the buffer of batches are the two sets. The steps of an epoch follow.
const SETS: usize = 2;

/// Invocations of a workgroup in `mlp.wgsl`.
const WORKGROUP: u32 = 64;

/// Rows and columns of the tile of a matrix product that one invocation computes.
const SIDE: u32 = 4;

/// The network, its data and its pipelines on one device.
pub struct Mlp {
    device: wgpu::Device,
    queue: wgpu::Queue,
    layers: Vec<Layer>,
    /// Numbers of images in the training set and in the test set.
    images: [usize; SETS],
    parameters: wgpu::Buffer,
    order: wgpu::Buffer,
    results: wgpu::Buffer,
    batches: wgpu::Buffer,
    /// Bytes from one batch to the next.
    stride: u32,
    layer_groups: Vec<wgpu::BindGroup>,
    batch_group: wgpu::BindGroup,
    gather: wgpu::ComputePipeline,
    forward: wgpu::ComputePipeline,
    cross_entropy: wgpu::ComputePipeline,
    backward: wgpu::ComputePipeline,
    update: wgpu::ComputePipeline,
}

impl Mlp {
    /// Returns a network with layers of these sizes, from the pixels to the classes. Its parameters are
    /// allocated but not yet filled.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        sizes: &[usize],
        activation: Activation,
        train: &Digits,
        test: &Digits,
    ) -> Mlp {
        let images = [train.len(), test.len()];
        let rows = train.len().max(test.len());
        let (layers, elements) = layers(sizes, rows, activation);
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let buffer = |label, bytes: usize, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        let filled = |label, bytes: &[u8]| {
            let buffer = buffer(label, bytes.len(), usage);
            queue.write_buffer(&buffer, 0, bytes);
            buffer
        };
        let of_a_row: usize = sizes.iter().sum();
        let parameters = buffer("parameters", 4 * elements, usage);
        let values = buffer("values", 4 * rows * of_a_row, usage);
        let deltas = buffer("deltas", 4 * rows * of_a_row, usage);
        let results = buffer("results", 8 * rows, usage);
        let pixels = [&train.pixels[..], &test.pixels[..]].concat();
        let pixels = filled("pixels", bytemuck::cast_slice(&pixels));
        let labels = [&train.labels[..], &test.labels[..]].concat();
        let labels = filled("labels", bytemuck::cast_slice(&labels));
        let order: Vec<u32> = (0..(train.len() + test.len()) as u32).collect();
        let order = filled("order", bytemuck::cast_slice(&order));

        let stride = device
            .limits()
            .min_uniform_buffer_offset_alignment
            .max(size_of::<Batch>() as u32);
        let slots = SETS + train.len().div_ceil(BATCH);
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let batches = buffer("batches", slots * stride as usize, uniform);

        let module = device.create_shader_module(wgpu::include_wgsl!("mlp.wgsl"));
        let storage = |binding, read_only| {
            entry(
                binding,
                wgpu::BufferBindingType::Storage { read_only },
                false,
            )
        };
        let layer_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("layer"),
            entries: &[
                entry(0, wgpu::BufferBindingType::Uniform, false),
                storage(1, false),
                storage(2, false),
                storage(3, false),
                storage(4, true),
                storage(5, true),
                storage(6, true),
                storage(7, false),
            ],
        });
        let batch_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("batch"),
            entries: &[entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("mlp"),
            bind_group_layouts: &[Some(&layer_layout), Some(&batch_layout)],
            immediate_size: 0,
        });
        let pipeline = |entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&layout),
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        let layer_groups = layers
            .iter()
            .map(|layer| {
                let uniform = buffer("layer", size_of::<Layer>(), uniform);
                queue.write_buffer(&uniform, 0, bytemuck::bytes_of(layer));
                let bound = [
                    &uniform,
                    &parameters,
                    &values,
                    &deltas,
                    &pixels,
                    &labels,
                    &order,
                    &results,
                ];
                let entries: Vec<_> = (0..)
                    .zip(bound)
                    .map(|(binding, buffer)| wgpu::BindGroupEntry {
                        binding,
                        resource: buffer.as_entire_binding(),
                    })
                    .collect();
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("layer"),
                    layout: &layer_layout,
                    entries: &entries,
                })
            })
            .collect();
        let batch_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("batch"),
            layout: &batch_layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &batches,
                    offset: 0,
                    size: std::num::NonZero::new(size_of::<Batch>() as u64),
                }),
            }],
        });
        let mlp = Mlp {
            layers,
            images,
            order,
            results,
            stride,
            layer_groups,
            batch_group,
            gather: pipeline("gather"),
            forward: pipeline("forward"),
            cross_entropy: pipeline("cross_entropy"),
            backward: pipeline("backward"),
            update: pipeline("update"),
            device: device.clone(),
            queue: queue.clone(),
            parameters,
            batches,
        };
        mlp.write_batch(0, 0, images[0], 0.0);
        mlp.write_batch(1, images[0], images[1], 0.0);
        mlp
    }

    /// Lists the parameters for a recipe: `fc1.weight` [inputs, outputs], `fc1.bias`, `fc2.weight`, ...
    pub fn tensors(&self) -> fanin::Result<TensorList> {
        let mut tensors = Vec::new();
        for (n, layer) in (1..).zip(&self.layers) {
            let mut add = |kind, dims: Vec<u64>| -> fanin::Result<()> {
                tensors.push(ListedTensor {
                    name: format!("fc{n}.{kind}"),
                    shape: Shape::new(dims)?,
                    dtype: None,
                });
                Ok(())
            };
            add("weight", vec![layer.inputs.into(), layer.outputs.into()])?;
            add("bias", vec![layer.outputs.into()])?;
        }
        TensorList::new(tensors)
    }

    /// Returns the places of the plan's fills: one after the other, in the buffer that training reads.
    pub fn targets<'a>(&'a self, plan: &'a Plan) -> Vec<Target<'a>> {
        let offsets = self.layers.iter().flat_map(|l| [l.weight, l.bias]);
        plan.iter()
            .zip(offsets)
            .map(|(fill, offset)| Target::new(fill, &self.parameters, offset.into()))
            .collect()
    }

    /// Records the evaluation of a set; [`score`](Mlp::score) reads the result.
    pub fn record_score(&self, encoder: &mut wgpu::CommandEncoder, set: Set) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.record_forward(&mut pass, set as usize, self.images[set as usize]);
    }

    /// Reads the score that was recorded last, which must be for this set.
    pub fn score(&self, set: Set) -> Result<Score, Box<dyn std::error::Error>> {
        let images = self.images[set as usize];
        let results: Vec<[f32; 2]> = self.read(&self.results, images)?;
        let mean = |i: usize| {
            let sum: f64 = results.iter().map(|result| f64::from(result[i])).sum();
            sum / images as f64
        };
        Ok(Score {
            loss: mean(0),
            accuracy: mean(1),
        })
    }

    /// Evaluates the set with the current parameters.
    pub fn evaluate(&self, set: Set) -> Result<Score, Box<dyn std::error::Error>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.record_score(&mut encoder, set);
        self.queue.submit([encoder.finish()]);
        self.score(set)
    }

    /// Records a step of gradient descent for each batch of the training set, with its images in this
    /// order.
    pub fn record_epoch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        order: &[u32],
        learning_rate: f32,
    ) {
        assert_eq!(order.len(), self.images[0], "an order of the training set");
        self.queue
            .write_buffer(&self.order, 0, bytemuck::cast_slice(order));
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (step, images) in order.chunks(BATCH).enumerate() {
            let slot = SETS + step;
            let rows = images.len();
            self.write_batch(slot, step * BATCH, rows, learning_rate);
            self.record_forward(&mut pass, slot, rows);
            // From the last layer to the first: the weights of a layer change only after they have
            // given the layer below its derivatives.
            for (i, layer) in self.layers.iter().enumerate().rev() {
                if i > 0 {
                    let tiles = tiles(rows as u32, layer.inputs);
                    self.dispatch(&mut pass, &self.backward, i, slot, tiles);
                }
                let tiles = tiles(layer.inputs + 1, layer.outputs);
                self.dispatch(&mut pass, &self.update, i, slot, tiles);
            }
        }
    }

    /// Reads all parameters, in the order of [`tensors`](Mlp::tensors).
    pub fn read_parameters(&self) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        self.read(&self.parameters, self.parameters.size() as usize / 4)
    }

    fn record_forward(&self, pass: &mut wgpu::ComputePass<'_>, slot: usize, rows: usize) {
        let rows = rows as u32;
        let last = self.layers.len() - 1;
        let pixels = self.layers[0].inputs * rows;
        self.dispatch(pass, &self.gather, 0, slot, pixels);
        for (i, layer) in self.layers.iter().enumerate() {
            self.dispatch(pass, &self.forward, i, slot, tiles(rows, layer.outputs));
        }
        self.dispatch(pass, &self.cross_entropy, last, slot, rows);
    }

    fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipeline: &wgpu::ComputePipeline,
        layer: usize,
        slot: usize,
        invocations: u32,
    ) {
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.layer_groups[layer], &[]);
        pass.set_bind_group(1, &self.batch_group, &[slot as u32 * self.stride]);
        pass.dispatch_workgroups(invocations.div_ceil(WORKGROUP), 1, 1);
    }

    fn write_batch(&self, slot: usize, first: usize, rows: usize, learning_rate: f32) {
        let batch = Batch {
            first: first as u32,
            rows: rows as u32,
            learning_rate,
            padding: 0,
        };
        let offset = slot as u64 * u64::from(self.stride);
        self.queue
            .write_buffer(&self.batches, offset, bytemuck::bytes_of(&batch));
    }

    /// Reads the first elements of a buffer after all submitted work is done.
    fn read<T: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        elements: usize,
    ) -> Result<Vec<T>, Box<dyn std::error::Error>> {
        let bytes = (elements * size_of::<T>()) as u64;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: bytes,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?))
    }
}

/// Counts the tiles of a matrix.
fn tiles(rows: u32, columns: u32) -> u32 {
    rows.div_ceil(SIDE) * columns.div_ceil(SIDE)
}

/// Returns the layers between these sizes, and the number of their parameters.
fn layers(sizes: &[usize], rows: usize, activation: Activation) -> (Vec<Layer>, usize) {
    let count = sizes.len() - 1;
    let (mut parameters, mut values) = (0, 0);
    let mut layers = Vec::with_capacity(count);
    for (i, size) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (size[0], size[1]);
        let activation_of = |is_hidden| if is_hidden { activation as u32 } else { 0 };
        layers.push(Layer {
            inputs: inputs as u32,
            outputs: outputs as u32,
            weight: parameters as u32,
            bias: (parameters + inputs * outputs) as u32,
            below: values as u32,
            above: (values + rows * inputs) as u32,
            activation: activation_of(i + 1 < count),
            activation_below: activation_of(i > 0),
        });
        parameters += (inputs + 1) * outputs;
        values += rows * inputs;
    }
    (layers, parameters)
}

fn entry(
    binding: u32,
    kind: wgpu::BufferBindingType,
    has_dynamic_offset: bool,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: kind,
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: None,
    }
}
