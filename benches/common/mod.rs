//! Code that the benches share.

// Each bench is a separate program and uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Instant;

use fanin::gpu::{Gpu, Initializer, InitializerOptions, Options};
use fanin::{DType, Fill, Init, Tensor};

/// The fewest repetitions for any budget: a median of fewer says nothing.
const FEWEST_REPETITIONS: usize = 3;

/// Calls that take fewer seconds are timed in groups. It is many times the step of the clock.
const SHORTEST_SAMPLE: f64 = 1e-4;

/// Bytes of memory that buffers leave for the rest of the machine.
const SPARE_BYTES: u64 = 1 << 30;

/// The pairs `--name value` of the command line.
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads the command line.
    ///
    /// # Panics
    ///
    /// If a name is not in `names` or has no value.
    pub fn read(names: &[&str]) -> Arguments {
        let mut pairs = BTreeMap::new();
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            // cargo passes this argument to every bench.
            if argument == "--bench" {
                continue;
            }
            let name = argument
                .strip_prefix("--")
                .filter(|name| names.contains(name))
                .unwrap_or_else(|| panic!("{argument} is none of --{}", names.join(", --")));
            let value = given.next();
            let value = value.unwrap_or_else(|| panic!("{argument} takes a value"));
            pairs.insert(name.to_owned(), value);
        }
        Arguments(pairs)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        Some(number.unwrap_or_else(|| panic!("--{name} takes a number, not {text:?}")))
    }

    /// Returns every adapter that the words of `--adapter` describe, or every adapter without them.
    ///
    /// # Panics
    ///
    /// If they describe no adapter, or an adapter gives no device.
    pub fn adapters(&self) -> Vec<Gpu> {
        let options = Options {
            adapter: self.text("adapter").map(str::to_owned),
            ..Options::default()
        };
        let opened: fanin::Result<Vec<Gpu>> = Gpu::headless_all(&options).into_iter().collect();
        let opened = opened.expect("every adapter gives a device");
        if let (true, Some(words)) = (opened.is_empty(), options.adapter) {
            panic!("no adapter is {words:?}");
        }
        opened
    }
}

/// Returns `llvmpipe, vulkan`: the adapter's name without its part in brackets, and the backend.
pub fn name(gpu: &Gpu) -> String {
    let info = gpu.info();
    let name = info.name.split(" (").next().unwrap_or_default();
    format!("{name}, {}", info.backend.to_str())
}

/// Tests whether the adapter is a software driver.
pub fn is_software(gpu: &Gpu) -> bool {
    gpu.info().device_type == wgpu::DeviceType::Cpu
}

/// Elements of a fill in the benches.
const ROWS: u64 = 4096;
const COLUMNS: u64 = 4096;
pub const ELEMENTS: u64 = ROWS * COLUMNS;

/// Returns a fill of [`ELEMENTS`].
pub fn fill(init: Init, dtype: DType) -> Fill {
    let tensor = Tensor::new("layers.0.weight", [ROWS, COLUMNS]).expect("a valid shape");
    let fill = Fill::new(&tensor, &init, 42).expect("a valid initializer");
    fill.with_dtype(dtype)
}

/// Returns the fills that are compared.
pub fn cases() -> Vec<(&'static str, Fill)> {
    vec![
        ("normal f32", fill(Init::normal(0.0, 0.02), DType::F32)),
        ("normal bf16", fill(Init::normal(0.0, 0.02), DType::BF16)),
        (
            "truncated normal f32",
            fill(Init::trunc_normal(0.0, 0.02, -0.04, 0.04), DType::F32),
        ),
        ("uniform f32", fill(Init::uniform(-0.05, 0.05), DType::F32)),
    ]
}

/// Returns an initializer that makes two blocks an invocation, if four are the device's default.
pub fn block_by_block(gpu: &Gpu) -> Option<Initializer> {
    let with = |runs| {
        let options = InitializerOptions {
            runs: Some(runs),
            ..InitializerOptions::default()
        };
        Initializer::with_options(gpu.device(), gpu.queue(), &options)
    };
    with(true).ok()?;
    Some(with(false).expect("what every device can do"))
}

/// Waits until the device has done the submitted work.
pub fn wait(gpu: &Gpu, submission: wgpu::SubmissionIndex) {
    let poll = wgpu::PollType::Wait {
        submission_index: Some(submission),
        timeout: None,
    };
    gpu.device().poll(poll).expect("the device answers");
}

/// Makes a buffer of so many bytes, or returns the reason for failing.
pub fn room(gpu: &Gpu, bytes: u64) -> Result<wgpu::Buffer, String> {
    let device = gpu.device();
    let largest = device.limits().max_buffer_size;
    if bytes > largest {
        return Err(format!(
            "{} are more than the {} of its largest buffer",
            mebibytes(bytes),
            mebibytes(largest)
        ));
    }
    if is_software(gpu) {
        host_has_room(bytes)?;
    }
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("weights"),
        size: bytes.next_multiple_of(4),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    match pollster::block_on(memory.pop()) {
        None => Ok(buffer),
        Some(_) => Err(format!("the device has no {} free", mebibytes(bytes))),
    }
}

/// Fails if the host does not have so many bytes free. If the system does not report this, it succeeds.
pub fn host_has_room(bytes: u64) -> Result<(), String> {
    match kibibytes_in("/proc/meminfo", "MemAvailable") {
        Some(available) if bytes + SPARE_BYTES > available << 10 => Err(format!(
            "{} are too many for the {} that the machine has free",
            mebibytes(bytes),
            mebibytes(available << 10)
        )),
        _ => Ok(()),
    }
}

/// Returns a field of one of Linux's tables, `Name:  12345 kB`.
pub fn kibibytes_in(table: &str, field: &str) -> Option<u64> {
    let table = std::fs::read_to_string(table).ok()?;
    let mut fields = table.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| *name == field)?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Returns the seconds of a call: the median of as many calls as the budget allows.
pub fn time(budget: f64, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 1;
    let mut times = Vec::new();
    while times.len() < FEWEST_REPETITIONS || start.elapsed().as_secs_f64() < budget {
        let sample = Instant::now();
        for _ in 0..calls {
            call();
        }
        let seconds = sample.elapsed().as_secs_f64();
        if seconds < SHORTEST_SAMPLE {
            calls *= 2;
        } else {
            times.push(seconds / f64::from(calls));
        }
    }
    median(times)
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns 1, 2, 4, ... and the number of all threads of this machine.
pub fn thread_counts() -> Vec<usize> {
    let all = rayon::current_num_threads();
    let powers = (0..).map(|power| 1 << power);
    let mut counts: Vec<usize> = powers.take_while(|&count| count < all).collect();
    counts.push(all);
    counts
}

pub fn threads(count: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
    pool.build().expect("a thread pool")
}

/// Returns `CPU, 2 threads`.
pub fn cpu_name(threads: usize) -> String {
    format!(
        "CPU, {threads} thread{}",
        if threads == 1 { "" } else { "s" }
    )
}

/// Returns `AMD EPYC, 2 cores`.
pub fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = about.lines().filter_map(|line| line.split_once(':'));
    let model = fields.find(|(key, _)| key.trim() == "model name");
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

/// Prints the machine and the adapters, above a table.
pub fn print_machine(adapters: &[Gpu]) {
    println!("Processor: {}.", processor());
    for gpu in adapters {
        let info = gpu.info();
        let driver = format!("{} {}", info.driver, info.driver_info);
        println!(
            "Adapter: {} ({}), {}.",
            info.name,
            info.backend.to_str(),
            driver.trim()
        );
    }
    println!();
}

/// Formats a number with three digits: `0.0123`, `1.23`, `12.3`, `123`.
pub fn three_digits(x: f64) -> String {
    let decimals = (2.0 - x.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{x:.decimals$}")
}
