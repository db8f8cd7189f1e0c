//! Measures the growth of the cost: ns an element of the normal f32 fill for 2^4, 2^5, ... 2^30
//! elements, beside a plain fill of the same buffer. It runs on the CPU with 1, 2, 4, ... threads, and
//! on every adapter from the submission to its end. It also measures the memory of the CPU fill.
//!
//! `cargo bench --bench growth [-- --adapter WORDS] [--most 30] [--seconds 20] [--svg PATH]`. A series
//! ends if memory runs out, or if three more fills would exceed its seconds. The output names the
//! reason. Pages are touched before a fill is timed.

mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{
    Arguments, cpu_name, host_has_room, kibibytes_in, name, print_machine, processor, room,
    thread_counts, threads, three_digits, time, wait,
};
use fanin::gpu::Gpu;
use fanin::{Fill, Init, Tensor, cpu};
use fanin_plot::{Axis, Page, Panel};
use rayon::prelude::*;

/// The smallest size is 2^4 elements: four blocks of the generator.
const LEAST: u32 = 4;

/// The part of a series' time that its sizes share evenly. The rest is for the large sizes, whose three
/// repetitions take longer than an even share.
const EVEN_PART: f64 = 0.25;

/// Elements at the end of a device's fill that are compared with the CPU's.
const COMPARED: u64 = 1 << 10;

/// Bytes of a task of the plain fill.
const PLAIN_TASK: usize = 1 << 16;

/// One line of the plot: nanoseconds an element for 2^4, 2^5, ... elements.
struct Series {
    name: String,
    ns: Vec<f64>,
}

/// A device's fill, and its plain fill if that was timed.
struct Device {
    fill: Series,
    plain: Series,
    /// The reason for the end of the series.
    end: Option<String>,
}

fn main() {
    let arguments = Arguments::read(&["adapter", "most", "seconds", "svg"]);
    let most = arguments.number("most").unwrap_or(30).max(LEAST);
    let seconds = arguments.number("seconds").unwrap_or(20.0);
    let adapters = arguments.adapters();
    print_machine(&adapters);

    let (mut devices, memory) = on_the_cpu(most, seconds);
    for gpu in &adapters {
        let grown = on_an_adapter(gpu, most, seconds);
        devices.push(grown);
    }
    print_table(&devices, &memory);
    if let Some(path) = arguments.text("svg") {
        plot(&devices, path).expect("the plot can be written");
    }
}

fn normal(elements: u64) -> Fill {
    let tensor = Tensor::new("growth", [elements]).expect("a valid shape");
    Fill::new(&tensor, &Init::normal(0.0, 0.02), 42).expect("a valid initializer")
}

/// Times size after size. `measure` takes a number of elements and of seconds, and returns the seconds
/// of a fill and of a plain fill, or the reason for having none.
fn grow(
    name: String,
    most: u32,
    seconds: f64,
    mut measure: impl FnMut(u64, f64) -> Result<(f64, Option<f64>), String>,
) -> Device {
    let share = EVEN_PART * seconds / f64::from(most - LEAST + 1);
    let start = Instant::now();
    let mut device = Device {
        plain: Series {
            name: format!("{name}: plain fill"),
            ns: Vec::new(),
        },
        fill: Series {
            name,
            ns: Vec::new(),
        },
        end: None,
    };
    let mut last = 0.0;
    for exponent in LEAST..=most {
        // A size that took longer than its share will take twice as long with twice the elements.
        let next = if last > share { 2.0 * last } else { share };
        let elements = 1u64 << exponent;
        let before = start.elapsed().as_secs_f64();
        let measured = match before + next > seconds {
            true => Err(format!("they would go past {seconds} s")),
            false => measure(elements, share),
        };
        match measured {
            Ok((fill, plain)) => {
                let ns = 1e9 / elements as f64;
                device.fill.ns.push(fill * ns);
                device.plain.ns.extend(plain.map(|plain| plain * ns));
            }
            Err(reason) => {
                device.end = Some(format!("2^{exponent} elements: {reason}"));
                break;
            }
        }
        last = start.elapsed().as_secs_f64() - before;
    }
    device
}

/// Measures the series of the CPU, and the most bytes that a fill of each size took beyond its buffer.
fn on_the_cpu(most: u32, seconds: f64) -> (Vec<Device>, Vec<Option<u64>>) {
    let too_many = (LEAST..=most).find_map(|exponent| {
        let reason = host_has_room(4 << exponent).err()?;
        Some((exponent, reason))
    });
    let largest = too_many.as_ref().map_or(most, |(exponent, _)| exponent - 1);
    // The buffer is written, not only reserved, so that its pages exist before any fill is timed.
    let mut weights = vec![1f32; 1 << largest];
    let mut memory = vec![None; (largest - LEAST + 1) as usize];
    let counts = thread_counts();
    let all = counts.last().copied();
    let devices = counts.into_iter().map(|count| {
        let pool = threads(count);
        grow(cpu_name(count), most, seconds, |elements, share| {
            if let (true, Some((_, reason))) = (elements > weights.len() as u64, &too_many) {
                return Err(reason.clone());
            }
            let fill = normal(elements);
            let part = &mut weights[..elements as usize];
            // The calls run inside the pool, so that none waits for its threads to wake up.
            pool.install(|| {
                let mut seconds = 0.0;
                let peak = peak_beyond(|| {
                    seconds = time(share, || {
                        cpu::fill_slice(&fill, part).expect("a matching length");
                    });
                });
                let size = (elements.ilog2() - LEAST) as usize;
                memory[size] = memory[size].max(peak);
                let plain = (Some(count) == all).then(|| time(share / 2.0, || plain_fill(part)));
                Ok((seconds, plain))
            })
        })
    });
    let mut devices: Vec<Device> = devices.collect();
    if let Some(device) = devices.last_mut() {
        device.plain.name = "CPU: plain fill".to_owned();
    }
    (devices, memory)
}

fn plain_fill(weights: &mut [f32]) {
    let parts = black_box(weights).par_chunks_mut(PLAIN_TASK / 4);
    parts.for_each(|part| part.fill(0.02));
}

/// Returns the peak of resident memory during `run` beyond that before it, or None if the system does not
/// report it.
fn peak_beyond(run: impl FnOnce()) -> Option<u64> {
    let status = |field| kibibytes_in("/proc/self/status", field).map(|kib| kib << 10);
    // This resets the peak to the current resident memory: proc_pid_clear_refs(5).
    let reset = std::fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS");
    run();
    let peak = status("VmHWM");
    reset.ok()?;
    Some(peak?.saturating_sub(before?))
}

fn on_an_adapter(gpu: &Gpu, most: u32, seconds: f64) -> Device {
    grow(name(gpu), most, seconds, |elements, share| {
        let fill = normal(elements);
        let buffer = room(gpu, fill.bytes())?;
        let submit = || gpu.initializer().submit(gpu.queue(), &fill, &buffer, 0);
        // Warms up, and fails if the device has no memory for the fill.
        wait(gpu, submit().map_err(|error| error.to_string())?);
        let seconds = time(share, || wait(gpu, submit().expect("a recorded fill")));
        assert_same_end(gpu, &fill, &buffer);
        let plain = time(share / 2.0, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            encoder.clear_buffer(&buffer, 0, None);
            wait(gpu, gpu.queue().submit([encoder.finish()]));
        });
        Ok((seconds, Some(plain)))
    })
}

/// Checks that the end of the buffer equals the CPU's weights, so that no wrong fill is timed.
fn assert_same_end(gpu: &Gpu, fill: &Fill, buffer: &wgpu::Buffer) {
    let compared = fill.elements().min(COMPARED);
    let first = fill.elements() - compared;
    let mut weights = vec![0; 4 * compared as usize];
    let mut expected = weights.clone();
    gpu.read(buffer, 4 * first, &mut weights)
        .expect("the weights can be read");
    cpu::fill_range(fill, first, &mut expected).expect("a range of the fill");
    assert!(
        weights == expected,
        "not the CPU's weights on {}",
        name(gpu)
    );
}

fn print_table(devices: &[Device], memory: &[Option<u64>]) {
    let series: Vec<&Series> = devices
        .iter()
        .flat_map(|device| [&device.fill, &device.plain])
        .filter(|series| !series.ns.is_empty())
        .collect();
    println!("ns an element of the normal f32 fill; the last column is the most resident memory");
    println!("that a CPU fill took beyond its buffer, with any number of threads.\n");
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    println!("| elements | {} | CPU memory |", names.join(" | "));
    println!("|---:|{}---:|", "---:|".repeat(series.len()));
    let rows = series.iter().map(|series| series.ns.len()).max();
    for row in 0..rows.unwrap_or_default() {
        let cells: Vec<String> = series
            .iter()
            .map(|series| {
                series
                    .ns
                    .get(row)
                    .map_or(String::new(), |&ns| three_digits(ns))
            })
            .collect();
        let peak = match memory.get(row) {
            Some(Some(bytes)) => format!("{} KiB", bytes >> 10),
            Some(None) => "not measured".to_owned(),
            None => String::new(),
        };
        println!(
            "| 2^{} | {} | {peak} |",
            row as u32 + LEAST,
            cells.join(" | ")
        );
    }
    println!();
    for device in devices {
        if let Some(end) = &device.end {
            println!("- {} ends before {end}.", device.fill.name);
        }
    }
}

/// Draws both axes as logarithms: base 2 for the elements, base 10 for the nanoseconds.
fn plot(devices: &[Device], path: &str) -> fanin_plot::Result<()> {
    let points = |series: &Series| -> Vec<(f64, f64)> {
        let sizes = (LEAST as i32..).map(|exponent| 2f64.powi(exponent));
        sizes.zip(series.ns.iter().copied()).collect()
    };
    let axes = (Axis::log2("elements"), Axis::log10("ns an element"));
    let mut panel = Panel::new("", axes.0, axes.1);
    for device in devices {
        panel = panel.line(&device.fill.name, points(&device.fill));
        panel = panel.line("", points(&device.plain)).same_colour().thin();
    }
    let title = format!("Normal f32 fill, {}", processor());
    let page = Page::new(title).note("thin: a plain fill of the same buffer");
    page.panel(panel).save(path)
}
