//! `fanin bench`: how fast this machine fills, and whether all of it makes the same bits.

#[cfg(feature = "gpu")]
mod adapter;

use std::time::{Duration, Instant};

use fanin::{DType, Fill, Init, STREAM_VERSION, Tensor, cpu};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::args::{BackendKind, BenchArguments};
use crate::backend::{no_adapter_for_the_cpu, start_threads};
use crate::format::count;
use crate::output::{print, print_json, progress_bar, status};
use crate::table::{Align, table};

/// Elements that the CPU and software drivers fill: more than their caches hold, and seconds at
/// most.
const ELEMENTS: u64 = 1 << 24;

/// Elements that a GPU fills: enough that what a submission costs does not show.
#[cfg(feature = "gpu")]
const ELEMENTS_OF_HARDWARE: u64 = 1 << 26;

/// The least that a short run or a small memory leaves of them.
const FEWEST_ELEMENTS: u64 = 1 << 16;

/// From this budget on, buffers have their full size.
const SECONDS_FOR_ALL_ELEMENTS: f64 = 5.0;

/// Repetitions at least, whatever the budget: a median of fewer says nothing.
const REPETITIONS: usize = 3;

/// Bytes that are compared at a time.
const PIECE: usize = 32 << 20;

/// Parts of a row's time: the fill is what is asked about, the plain fill beside it is short.
const FILL_PART: f64 = 0.6;
const PLAIN_PART: f64 = 0.2;

/// What is filled.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    init: fn() -> Init,
    dtype: DType,
}

const CASES: [Case; 4] = [
    Case {
        name: "normal f32",
        init: || Init::normal(0.0, 0.02),
        dtype: DType::F32,
    },
    Case {
        name: "normal bf16",
        init: || Init::normal(0.0, 0.02),
        dtype: DType::BF16,
    },
    Case {
        name: "uniform f32",
        init: || Init::uniform(-0.05, 0.05),
        dtype: DType::F32,
    },
    Case {
        name: "truncated normal f32",
        init: || Init::trunc_normal(0.0, 0.02, -0.04, 0.04),
        dtype: DType::F32,
    },
];

impl Case {
    /// The first elements of a tensor that is the same for all: so buffers of any size hold the
    /// same bits as far as they go.
    fn fill(&self, elements: u64) -> fanin::Result<Fill> {
        let tensor = Tensor::new("bench", [1 << 32])?;
        let fill = Fill::new(&tensor, &(self.init)(), 42)?;
        fill.with_dtype(self.dtype)
            .slice(std::slice::from_ref(&(0..elements)))
    }
}

/// Who fills.
enum Device {
    Cpu(rayon::ThreadPool),
    #[cfg(feature = "gpu")]
    Gpu(Box<fanin::gpu::Gpu>),
}

impl Device {
    fn name(&self) -> String {
        match self {
            Device::Cpu(pool) => format!(
                "CPU, {}",
                count(pool.current_num_threads() as u128, "thread")
            ),
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => {
                let info = gpu.info();
                format!("{}, {}", info.name, info.backend.to_str())
            }
        }
    }
}

/// How a fill went on one device.
struct Measured {
    elements: u64,
    clock: Clock,
    first_fill: f64,
    fill: Timing,
    plain_fill: Timing,
    check: Check,
}

/// Who took the time of the repetitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Clock {
    /// The program: on a GPU from the submission of several fills to their end, shared among them.
    Host,
    /// The device, by timestamps before and after each fill.
    #[cfg(feature = "gpu")]
    Device,
}

/// Seconds that a repetition took.
#[derive(Clone, Copy, Debug, Serialize)]
struct Timing {
    median_seconds: f64,
    best_seconds: f64,
    repetitions: usize,
}

impl Timing {
    fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Timing {
            // A clock too coarse for what it measured shows no time at all.
            median_seconds: seconds.get(seconds.len() / 2).map_or(1e-9, |s| s.max(1e-9)),
            best_seconds: seconds.first().map_or(1e-9, |s| s.max(1e-9)),
            repetitions: seconds.len(),
        }
    }
}

/// What the bytes were.
#[derive(Debug)]
struct Check {
    /// Of the first elements, as many as a CPU row has: the same for every row of a fill.
    sha256: String,
    sha256_elements: u64,
    /// The first element that is not what the CPU makes of it.
    difference: Option<Difference>,
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    element: u64,
    got: Vec<u8>,
    expected: Vec<u8>,
}

#[derive(Serialize)]
struct Report {
    fanin: &'static str,
    stream: u32,
    machine: Machine,
    adapters: Vec<Adapter>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Machine {
    os: &'static str,
    arch: &'static str,
    /// Where the system tells it in a file.
    processor: Option<String>,
    cores: usize,
}

impl Machine {
    fn this() -> Self {
        let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mut fields = about.lines().filter_map(|line| line.split_once(':'));
        Machine {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            processor: fields
                .find(|(key, _)| key.trim() == "model name")
                .map(|(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// An adapter that takes part, as it is used.
#[derive(Serialize)]
struct Adapter {
    device: String,
    name: String,
    backend: String,
    hardware: bool,
    driver: String,
    driver_info: String,
    int64: bool,
    timestamp_query: bool,
}

#[derive(Serialize)]
struct Row {
    device: String,
    fill: &'static str,
    elements: u64,
    bytes: u64,
    clock: Clock,
    time: Timing,
    ns_per_element: f64,
    gigabytes_per_second: f64,
    plain_fill: Timing,
    plain_fill_gigabytes_per_second: f64,
    share_of_plain_fill: f64,
    first_fill_seconds: f64,
    sha256: String,
    sha256_elements: u64,
    same_bits: bool,
    #[serde(skip)]
    difference: Option<Difference>,
}

impl Row {
    fn new(device: String, case: &Case, measured: Measured) -> Self {
        let bytes = measured.elements * case.dtype.size();
        let (time, plain_fill) = (measured.fill, measured.plain_fill);
        Row {
            device,
            fill: case.name,
            elements: measured.elements,
            bytes,
            clock: measured.clock,
            time,
            ns_per_element: time.median_seconds * 1e9 / measured.elements as f64,
            gigabytes_per_second: bytes as f64 / time.median_seconds / 1e9,
            plain_fill,
            plain_fill_gigabytes_per_second: bytes as f64 / plain_fill.median_seconds / 1e9,
            share_of_plain_fill: plain_fill.median_seconds / time.median_seconds,
            first_fill_seconds: measured.first_fill,
            sha256: measured.check.sha256,
            sha256_elements: measured.check.sha256_elements,
            same_bits: measured.check.difference.is_none(),
            difference: measured.check.difference,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.device.clone(),
            self.fill.to_owned(),
            // Always a power of two.
            format!("2^{}", self.elements.ilog2()),
            duration_text(self.time.median_seconds),
            three_digits(self.ns_per_element),
            three_digits(self.gigabytes_per_second),
            three_digits(self.plain_fill_gigabytes_per_second),
            format!("{} %", three_digits(self.share_of_plain_fill * 100.0)),
            duration_text(self.first_fill_seconds),
            match self.clock {
                Clock::Host => "host".to_owned(),
                #[cfg(feature = "gpu")]
                Clock::Device => "device".to_owned(),
            },
            self.sha256.chars().take(16).collect(),
        ]
    }
}

const COLUMNS: [(&str, Align); 11] = [
    ("device", Align::Left),
    ("fill", Align::Left),
    ("elements", Align::Right),
    ("time", Align::Right),
    ("ns/element", Align::Right),
    ("GB/s", Align::Right),
    ("plain GB/s", Align::Right),
    ("of plain", Align::Right),
    ("first fill", Align::Right),
    ("clock", Align::Left),
    ("SHA-256", Align::Left),
];

pub fn run(arguments: &BenchArguments) -> Result<(), Failure> {
    no_adapter_for_the_cpu(arguments.backend, arguments.adapter.as_deref())?;
    start_threads(arguments.threads)?;
    let devices = devices(arguments)?;
    let rows = devices.len() * CASES.len();
    let bar = progress_bar(rows as u64, "{wide_bar} {pos}/{len} {msg}");
    let result = measure_all(&devices, arguments.seconds, &bar);
    bar.finish_and_clear();
    let rows = result?;
    if arguments.json {
        let report = Report {
            fanin: env!("CARGO_PKG_VERSION"),
            stream: STREAM_VERSION,
            machine: Machine::this(),
            adapters: adapters(&devices),
            rows,
        };
        print_json(&report)?;
        verdict(&report.rows)
    } else {
        print(&table(
            &COLUMNS,
            &rows.iter().map(Row::cells).collect::<Vec<_>>(),
        ))?;
        verdict(&rows)
    }
}

/// Every device that the arguments ask for, with a name that no other has.
fn devices(arguments: &BenchArguments) -> Result<Vec<(String, Device)>, Failure> {
    let mut devices = Vec::new();
    if arguments.backend != BackendKind::Gpu {
        let all = rayon::current_num_threads();
        for threads in if all == 1 { vec![1] } else { vec![1, all] } {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            devices.push(Device::Cpu(pool.map_err(|error| {
                Failure::Run(format!("cannot start {threads} threads: {error}"))
            })?));
        }
    }
    #[cfg(feature = "gpu")]
    if arguments.backend != BackendKind::Cpu {
        let wanted = arguments.backend == BackendKind::Gpu || arguments.adapter.is_some();
        let opened = adapter::open(arguments.adapter.as_deref(), wanted)?;
        devices.extend(opened.into_iter().map(|gpu| Device::Gpu(Box::new(gpu))));
    }
    #[cfg(not(feature = "gpu"))]
    if arguments.backend == BackendKind::Gpu || arguments.adapter.is_some() {
        return Err(Failure::Run(crate::backend::WITHOUT_GPU.to_owned()));
    }
    let mut named: Vec<(String, Device)> = Vec::new();
    for device in devices {
        let name = device.name();
        let before = named.iter().filter(|(_, known)| known.name() == name);
        let name = match before.count() {
            0 => name,
            before => format!("{name} #{}", before + 1),
        };
        named.push((name, device));
    }
    Ok(named)
}

#[cfg(feature = "gpu")]
fn adapters(devices: &[(String, Device)]) -> Vec<Adapter> {
    let adapters = devices.iter().filter_map(|(name, device)| match device {
        Device::Cpu(_) => None,
        Device::Gpu(gpu) => Some(adapter::describe(name, gpu)),
    });
    adapters.collect()
}

#[cfg(not(feature = "gpu"))]
fn adapters(_devices: &[(String, Device)]) -> Vec<Adapter> {
    Vec::new()
}

fn measure_all(
    devices: &[(String, Device)],
    seconds: f64,
    bar: &ProgressBar,
) -> Result<Vec<Row>, Failure> {
    let row_seconds = seconds / (devices.len() * CASES.len()) as f64;
    let mut rows = Vec::new();
    for (name, device) in devices {
        for case in &CASES {
            bar.set_message(format!("{}, {name}", case.name));
            let measured = match device {
                Device::Cpu(pool) => {
                    on_the_cpu(pool, case, affordable(ELEMENTS, seconds), row_seconds)
                }
                #[cfg(feature = "gpu")]
                Device::Gpu(gpu) => {
                    let most = match crate::backend::is_hardware(gpu.info()) {
                        true => ELEMENTS_OF_HARDWARE,
                        false => ELEMENTS,
                    };
                    let digested = affordable(ELEMENTS, seconds);
                    adapter::measure(gpu, case, affordable(most, seconds), digested, row_seconds)
                }
            }?;
            rows.push(Row::new(name.clone(), case, measured));
            bar.inc(1);
        }
    }
    Ok(rows)
}

/// As many elements as a run of this length has time for.
fn affordable(elements: u64, seconds: f64) -> u64 {
    let mut elements = elements;
    let mut seconds = seconds;
    while seconds < SECONDS_FOR_ALL_ELEMENTS && elements > FEWEST_ELEMENTS {
        seconds *= 2.0;
        elements /= 2;
    }
    elements
}

fn on_the_cpu(
    pool: &rayon::ThreadPool,
    case: &Case,
    elements: u64,
    seconds: f64,
) -> Result<Measured, Failure> {
    let fill = case.fill(elements)?;
    let bytes = usize::try_from(fill.bytes())
        .map_err(|_| Failure::Run("the fill is larger than the address space".to_owned()))?;
    let mut weights = vec![0; bytes];
    // The system gives memory when it is first written: that is no part of a fill.
    plain_fill(pool, &mut weights);

    let mut time = || -> fanin::Result<f64> {
        let start = Instant::now();
        pool.install(|| cpu::fill(&fill, &mut weights))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first_fill = time()?;
    let fill_seconds = repeat(seconds * FILL_PART, time)?;
    let check = check(&fill, elements, |offset, out| {
        let offset = offset as usize;
        out.copy_from_slice(&weights[offset..offset + out.len()]);
        Ok(())
    })?;
    let plain_seconds = repeat(seconds * PLAIN_PART, || {
        let start = Instant::now();
        plain_fill(pool, &mut weights);
        Ok(start.elapsed().as_secs_f64())
    })?;
    Ok(Measured {
        elements,
        clock: Clock::Host,
        first_fill,
        fill: Timing::new(fill_seconds),
        plain_fill: Timing::new(plain_seconds),
        check,
    })
}

/// Writes the same byte everywhere, on all threads of the pool: nothing that makes weights can
/// be faster.
fn plain_fill(pool: &rayon::ThreadPool, out: &mut [u8]) {
    let byte = std::hint::black_box(0x3c);
    match pool.current_num_threads() {
        1 => out.fill(byte),
        _ => pool.install(|| out.par_chunks_mut(1 << 20).for_each(|part| part.fill(byte))),
    }
    std::hint::black_box(out);
}

/// Repeats what returns its own seconds until the budget is spent.
fn repeat(budget: f64, mut once: impl FnMut() -> fanin::Result<f64>) -> fanin::Result<Vec<f64>> {
    let end = Instant::now() + Duration::from_secs_f64(budget);
    let mut seconds = Vec::new();
    while seconds.len() < REPETITIONS || Instant::now() < end {
        seconds.push(once()?);
    }
    Ok(seconds)
}

/// Compares all bytes of a fill, which `read` gets from an offset on, with what the CPU makes;
/// and digests those of the first elements.
fn check(
    fill: &Fill,
    digested: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> fanin::Result<()>,
) -> fanin::Result<Check> {
    let size = fill.dtype().size();
    let digested = digested.min(fill.elements());
    let piece = (PIECE as u64).min(fill.bytes()) as usize;
    let (mut got, mut expected) = (vec![0; piece], vec![0; piece]);
    let mut digest = Sha256::new();
    let mut difference = None;
    for offset in (0..fill.bytes()).step_by(piece.max(1)) {
        let length = (fill.bytes() - offset).min(piece as u64) as usize;
        let (got, expected) = (&mut got[..length], &mut expected[..length]);
        read(offset, got)?;
        let left = (digested * size).saturating_sub(offset);
        digest.update(&got[..length.min(left as usize)]);
        cpu::fill_range(fill, offset / size, expected)?;
        if difference.is_none() && got != expected {
            let elements = got
                .chunks(size as usize)
                .zip(expected.chunks(size as usize));
            difference = (offset / size..)
                .zip(elements)
                .find(|(_, (got, expected))| got != expected)
                .map(|(element, (got, expected))| Difference {
                    element,
                    got: got.to_owned(),
                    expected: expected.to_owned(),
                });
        }
    }
    Ok(Check {
        sha256: hexadecimal(digest.finalize().iter()),
        sha256_elements: digested,
        difference,
    })
}

/// The last word: whether all rows have the bits that the CPU makes.
fn verdict(rows: &[Row]) -> Result<(), Failure> {
    let Some((row, difference)) = rows
        .iter()
        .find_map(|row| Some((row, row.difference.as_ref()?)))
    else {
        status("all made the same bits");
        return Ok(());
    };
    Err(Failure::Run(format!(
        "{} differs on {}: element {} is 0x{}, but the CPU makes 0x{}; rows that differ: {} of {}",
        row.fill,
        row.device,
        difference.element,
        hexadecimal(difference.got.iter().rev()),
        hexadecimal(difference.expected.iter().rev()),
        rows.iter().filter(|row| !row.same_bits).count(),
        rows.len(),
    )))
}

fn hexadecimal<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// `12.3 ms`: three digits.
fn duration_text(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 999.5e-9 => (s * 1e9, "ns"),
        s if s < 999.5e-6 => (s * 1e6, "µs"),
        s if s < 999.5e-3 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// `0.0123`, `1.23`, `12.3`, `123`.
fn three_digits(x: f64) -> String {
    if !(x > 0.0 && x.is_finite()) {
        return format!("{x}");
    }
    let decimals = (2.0 - x.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (seconds, text) in [
            (90.04e-6, "90.0 µs"),
            (1.2345e-3, "1.23 ms"),
            (0.123_45, "123 ms"),
            (12.345, "12.3 s"),
        ] {
            assert_eq!(duration_text(seconds), text);
        }
        assert_eq!(three_digits(0.004_567), "0.00457");
    }

    #[test]
    fn a_short_run_has_small_buffers() {
        assert_eq!(affordable(ELEMENTS, 20.0), ELEMENTS);
        assert_eq!(affordable(ELEMENTS, 5.0), ELEMENTS);
        assert_eq!(affordable(ELEMENTS, 2.0), ELEMENTS / 4);
        assert_eq!(affordable(ELEMENTS, 0.001), FEWEST_ELEMENTS);
    }

    #[test]
    fn the_median_is_kept() {
        let timing = Timing::new(vec![3.0, 1.0, 2.0, 50.0, 2.5]);
        assert_eq!((timing.median_seconds, timing.best_seconds), (2.5, 1.0));
    }

    /// What no device should do, done by hand: one bit is another.
    #[test]
    fn a_different_bit_is_found() {
        for case in &CASES {
            // Two pieces and a bit: the difference lies past the first one.
            let size = case.dtype.size();
            let elements = 2 * PIECE as u64 / size + 2;
            let fill = case.fill(elements).unwrap();
            let wrong = PIECE as u64 / size + 5;
            let read = |flip: u8| {
                check(&fill, 100, |offset, out| {
                    cpu::fill_range(&fill, offset / size, out)?;
                    if offset == PIECE as u64 {
                        out[5 * size as usize] ^= flip;
                    }
                    Ok(())
                })
                .unwrap()
            };
            assert_eq!(read(0).difference, None);
            let difference = read(1).difference.unwrap();
            assert_eq!(difference.element, wrong);
            assert_eq!(difference.got[0], difference.expected[0] ^ 1);

            let mut first = vec![0; 100 * size as usize];
            cpu::fill_range(&fill, 0, &mut first).unwrap();
            assert_eq!(read(1).sha256, hexadecimal(Sha256::digest(&first).iter()));
        }
    }

    #[test]
    fn a_difference_is_told_in_one_line() {
        let timing = Timing::new(vec![1e-3]);
        let row = |difference: Option<Difference>| {
            Row::new(
                "a GPU".to_owned(),
                &CASES[0],
                Measured {
                    elements: 1 << 16,
                    clock: Clock::Host,
                    first_fill: 1.0,
                    fill: timing,
                    plain_fill: timing,
                    check: Check {
                        sha256: "0".repeat(64),
                        sha256_elements: 1 << 16,
                        difference,
                    },
                },
            )
        };
        assert!(verdict(&[row(None)]).is_ok());
        let difference = Difference {
            element: 7,
            got: vec![1, 0, 0x80, 0x3f],
            expected: vec![0, 0, 0x80, 0x3f],
        };
        let Err(Failure::Run(message)) = verdict(&[row(None), row(Some(difference))]) else {
            panic!("a difference is a failure");
        };
        assert_eq!(
            message,
            "normal f32 differs on a GPU: element 7 is 0x3f800001, but the CPU makes 0x3f800000; \
             rows that differ: 1 of 2"
        );
    }
}
