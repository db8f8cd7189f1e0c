//! Fills the tensors of whole models, GPT-2 and Llama-3-8B, on every adapter by one submission. It
//! compares this with a plain fill of the same bytes, a plain fill of each tensor, and a submission for
//! each tensor.
//!
//! `cargo bench --bench models [-- --adapter WORDS] [--seconds S] [--bytes B]`. If a model has more than B
//! bytes (by default 512 MiB on a software driver, unlimited on hardware), or more than the device has
//! memory for, its dimensions are halved until it fits. The table shows the divisor.

mod common;

use std::time::Instant;

use common::{Arguments, is_software, median, room, wait};
use fanin::checkpoint::read_tensor_list;
use fanin::gpu::{Gpu, Initializer, InitializerOptions, Target};
use fanin::{DType, Fill, ListedTensor, Recipe, Shape, TensorList};

/// Models: name, preset, list of tensors, dtype, number of tensors.
const MODELS: [(&str, &str, &str, DType, usize); 2] = [
    (
        "GPT-2",
        "gpt2",
        "examples/models/gpt2.json",
        DType::F32,
        148,
    ),
    (
        "Llama-3-8B",
        "llama",
        "tests/data/models/lists/llama-3-8b.json",
        DType::BF16,
        291,
    ),
];

const SOFTWARE_BYTES: u64 = 512 << 20;
const FEWEST_REPETITIONS: usize = 5;

fn main() {
    let arguments = Arguments::read(&["adapter", "seconds", "bytes"]);
    let seconds = arguments.number("seconds").unwrap_or(10.0);
    for gpu in arguments.adapters() {
        let info = gpu.info();
        println!("## {} ({})\n", info.name, info.backend.to_str());
        for (model, preset, list, dtype, count) in MODELS {
            let most = match arguments.number("bytes") {
                Some(bytes) => bytes,
                None if is_software(&gpu) => SOFTWARE_BYTES,
                None => u64::MAX,
            };
            let arena = Arena::new(&gpu, preset, list, dtype, most);
            assert_eq!(arena.fills.len(), count, "tensors of {model}");
            let scaled = match arena.divisor {
                1 => String::new(),
                divisor => format!(", every dimension divided by {divisor}"),
            };
            println!(
                "{model}: {count} tensors, {} bytes of {dtype}{scaled}\n",
                arena.bytes
            );
            arena.compare(seconds);
        }
    }
}

/// A model's tensors, once one after the other in a buffer, and once in a buffer each.
struct Arena<'a> {
    gpu: &'a Gpu,
    fills: Vec<Fill>,
    offsets: Vec<u64>,
    bytes: u64,
    divisor: u64,
    buffer: wgpu::Buffer,
    own: Vec<wgpu::Buffer>,
}

impl<'a> Arena<'a> {
    fn new(gpu: &'a Gpu, preset: &str, list: &str, dtype: DType, most: u64) -> Arena<'a> {
        // The path is relative to the root of the tree, where cargo runs a bench.
        let tensors = read_tensor_list(list).expect("a list of tensors");
        let recipe = Recipe::preset(preset).expect("a preset");
        let mut divisor = 1;
        loop {
            let scaled = tensors.tensors().iter().map(|tensor| {
                let dims = tensor.shape.dims().iter();
                let dims: Vec<u64> = dims.map(|dim| dim.div_ceil(divisor)).collect();
                ListedTensor {
                    shape: Shape::new(dims).expect("a smaller shape"),
                    ..tensor.clone()
                }
            });
            let scaled = TensorList::new(scaled.collect()).expect("names that differ");
            let plan = recipe.resolve(&scaled, Some(42), Some(dtype));
            let fills = plan.expect("a plan").fills();
            let mut elements = 0;
            let offsets = fills
                .iter()
                .map(|fill| {
                    let offset = elements;
                    // Each tensor begins at an offset that a binding could have.
                    elements += fill.elements().next_multiple_of(256 / dtype.size());
                    offset
                })
                .collect();
            let bytes = elements * dtype.size();
            if bytes <= most
                && let Ok(buffer) = room(gpu, bytes)
                && let Ok(own) = fills.iter().map(|fill| room(gpu, fill.bytes())).collect()
            {
                return Arena {
                    gpu,
                    fills,
                    offsets,
                    bytes,
                    divisor,
                    buffer,
                    own,
                };
            }
            divisor *= 2;
        }
    }

    fn targets(&self) -> Vec<Target<'_>> {
        self.fills
            .iter()
            .zip(&self.offsets)
            .map(|(fill, &offset)| Target::new(fill, &self.buffer, offset))
            .collect()
    }

    fn own_targets(&self) -> Vec<Target<'_>> {
        self.fills
            .iter()
            .zip(&self.own)
            .map(|(fill, buffer)| Target::new(fill, buffer, 0))
            .collect()
    }

    /// Returns the seconds from creating an encoder until the device has done the recorded work.
    fn time(&self, record: impl Fn(&mut wgpu::CommandEncoder)) -> f64 {
        let start = Instant::now();
        let mut encoder = self
            .gpu
            .device()
            .create_command_encoder(&Default::default());
        record(&mut encoder);
        wait(self.gpu, self.gpu.queue().submit([encoder.finish()]));
        start.elapsed().as_secs_f64()
    }

    fn clear(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.clear_buffer(&self.buffer, 0, None);
    }

    fn clear_each(&self, encoder: &mut wgpu::CommandEncoder) {
        for (fill, &offset) in self.fills.iter().zip(&self.offsets) {
            let size = fill.dtype().size();
            let bytes = fill.bytes().next_multiple_of(4);
            encoder.clear_buffer(&self.buffer, offset * size, Some(bytes));
        }
    }

    fn submit_each(&self) -> f64 {
        let start = Instant::now();
        let mut last = None;
        for Target {
            fill,
            buffer,
            offset,
        } in self.targets()
        {
            let initializer = self.gpu.initializer();
            let submitted = initializer.submit(self.gpu.queue(), fill, buffer, offset);
            last = Some(submitted.expect("a recorded fill"));
        }
        wait(self.gpu, last.expect("a model has tensors"));
        start.elapsed().as_secs_f64()
    }

    /// Returns the seconds until a new initializer, without compiled pipelines, has filled all tensors.
    fn first(&self) -> f64 {
        let start = Instant::now();
        let options = InitializerOptions {
            int64: Some(self.gpu.initializer().int64()),
            ..InitializerOptions::default()
        };
        let initializer = Initializer::with_options(self.gpu.device(), self.gpu.queue(), &options);
        let initializer = initializer.expect("an initializer");
        let submitted = initializer.submit_all(self.gpu.queue(), &self.targets());
        wait(self.gpu, submitted.expect("a recorded fill"));
        start.elapsed().as_secs_f64()
    }

    fn compare(&self, seconds: f64) {
        let (targets, own) = (self.targets(), self.own_targets());
        let initializer = self.gpu.initializer();
        let record = |targets: &[Target<'_>], encoder: &mut wgpu::CommandEncoder| {
            initializer
                .fill_all(encoder, targets)
                .expect("a recorded fill");
        };
        let first = self.first();
        type Case<'c> = (&'static str, Box<dyn Fn() -> f64 + 'c>);
        let cases: [Case<'_>; 6] = [
            (
                "a plain fill of the whole buffer",
                Box::new(|| self.time(|encoder| self.clear(encoder))),
            ),
            (
                "a plain fill of each tensor, one submission",
                Box::new(|| self.time(|encoder| self.clear_each(encoder))),
            ),
            (
                "`fill_all`, one submission",
                Box::new(|| self.time(|encoder| record(&targets, encoder))),
            ),
            (
                "`fill_all`, a buffer for each tensor",
                Box::new(|| self.time(|encoder| record(&own, encoder))),
            ),
            (
                "`fill` for each tensor, one submission",
                Box::new(|| {
                    self.time(|encoder| {
                        for target in &targets {
                            record(&[*target], encoder);
                        }
                    })
                }),
            ),
            ("`submit` for each tensor", Box::new(|| self.submit_each())),
        ];
        // The cases take turns, so that none gets a quieter machine. The first round warms up.
        let mut times = vec![Vec::new(); cases.len()];
        let start = Instant::now();
        let mut rounds = 0;
        while rounds <= FEWEST_REPETITIONS || start.elapsed().as_secs_f64() < seconds {
            for (times, (_, case)) in times.iter_mut().zip(&cases) {
                let seconds = case();
                if rounds > 0 {
                    times.push(seconds);
                }
            }
            rounds += 1;
        }
        let recording = || {
            let start = Instant::now();
            let mut encoder = self
                .gpu
                .device()
                .create_command_encoder(&Default::default());
            record(&targets, &mut encoder);
            start.elapsed().as_secs_f64()
        };
        let recorded = median((0..21).map(|_| recording()).collect());
        let medians: Vec<f64> = times.into_iter().map(median).collect();

        println!("| | ms | times the plain fill of each tensor |\n|---|---:|---:|");
        for ((name, _), seconds) in cases.iter().zip(&medians) {
            println!(
                "| {name} | {:.2} | {:.2} |",
                seconds * 1e3,
                seconds / medians[1]
            );
        }
        println!(
            "| of `fill_all`: recording on the host | {:.2} | |",
            recorded * 1e3
        );
        println!(
            "| the first `fill_all` of a new initializer, which makes the pipelines | {:.2} | |\n",
            first * 1e3
        );
    }
}
