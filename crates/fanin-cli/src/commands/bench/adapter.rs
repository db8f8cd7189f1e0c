//! Timing fills on an adapter.

use std::time::Instant;

use fanin::gpu::{Gpu, Initializer, InitializerOptions, Options};
use fanin::{Fill, Init, Tensor, wgpu};

use super::measure::{
    Case, Clock, FILL_SHARE, MIN_ELEMENTS, MIN_REPETITIONS, Measured, PLAIN_FILL_SHARE, Timing,
    check,
};
use super::report::AdapterTimes;
use crate::Failure;
use crate::backend::is_hardware;
use crate::output::status;

/// The approximate duration of a submission: many times its overhead, and far below the seconds
/// after which some systems reset a GPU that seems to hang.
const SUBMISSION_SECONDS: f64 = 0.02;

/// The maximum number of repetitions in a submission.
const MAX_IN_A_SUBMISSION: usize = 64;

/// Opens every adapter that `adapter` describes. If there is none, it fails if one is `required`.
pub fn open(adapter: Option<&str>, required: bool) -> Result<Vec<Gpu>, Failure> {
    let options = Options {
        adapter: adapter.map(str::to_owned),
        ..Options::default()
    };
    let mut opened = Vec::new();
    for gpu in Gpu::headless_all(&options) {
        match gpu {
            Ok(gpu) => opened.push(gpu),
            Err(error) => status(&format!("skipping an adapter: {error}")),
        }
    }
    if opened.is_empty() {
        // This search fails with an error that lists the adapters.
        match Gpu::headless(&options) {
            Ok(gpu) => opened.push(gpu),
            Err(error) if required => return Err(error.into()),
            Err(error) => status(&format!("timing only the CPU: {error}")),
        }
    }
    Ok(opened)
}

pub fn describe(device: &str, gpu: &Gpu) -> AdapterTimes {
    let info = gpu.info();
    AdapterTimes {
        device: device.to_owned(),
        name: info.name.clone(),
        backend: info.backend.to_str().to_owned(),
        hardware: is_hardware(info),
        driver: info.driver.clone(),
        driver_info: info.driver_info.clone(),
        int64: gpu.initializer().int64(),
        timestamp_query: has_timestamps(gpu),
    }
}

fn has_timestamps(gpu: &Gpu) -> bool {
    let features = gpu.device().features();
    features.contains(wgpu::Features::TIMESTAMP_QUERY)
}

/// Times the fill of `elements` elements, or of fewer if the device lacks memory.
pub fn measure(
    gpu: &Gpu,
    case: &Case,
    elements: u64,
    digested: u64,
    seconds: f64,
) -> Result<Measured, Failure> {
    let (elements, buffer) = buffer(gpu, case, elements)?;
    let fill = case.fill(elements)?;

    // A new initializer compiles its pipelines in the first fill.
    let start = Instant::now();
    let initializer = Initializer::with_options(
        gpu.device(),
        gpu.queue(),
        &InitializerOptions {
            int64: Some(gpu.initializer().int64()),
            ..InitializerOptions::default()
        },
    )?;
    let submitted = initializer.submit(gpu.queue(), &fill, &buffer, 0)?;
    wait(gpu, submitted)?;
    let first_fill = start.elapsed().as_secs_f64();

    let stopwatch = Stopwatch::new(gpu);
    let mut record_fill =
        |encoder: &mut wgpu::CommandEncoder| initializer.fill(encoder, &fill, &buffer, 0);
    let mut record_plain_fill = |encoder: &mut wgpu::CommandEncoder| {
        encoder.clear_buffer(&buffer, 0, None);
        Ok(())
    };
    let plain = stopwatch.time(seconds * PLAIN_FILL_SHARE, &mut record_plain_fill)?;
    let timed = stopwatch.time(seconds * FILL_SHARE, &mut record_fill)?;
    let check = check(&fill, digested, |offset, out| {
        gpu.read(&buffer, offset, out)
    })?;
    // Both times must come from the same clock.
    let (clock, fill_seconds, plain_seconds) = match (timed.device, plain.device) {
        (Some(fill), Some(plain)) => (Clock::Device, fill, plain),
        _ => (Clock::Host, timed.host, plain.host),
    };
    Ok(Measured {
        elements,
        clock,
        first_fill,
        fill: Timing::new(fill_seconds),
        plain_fill: Timing::new(plain_seconds),
        check,
    })
}

/// Makes a buffer of the case's dtype, and halves its size until the device has room for it.
fn buffer(gpu: &Gpu, case: &Case, elements: u64) -> fanin::Result<(u64, wgpu::Buffer)> {
    let mut elements = elements;
    loop {
        // Zeros are not timed, so this compiles none of the timed pipelines.
        let zeros = Fill::new(&Tensor::new("bench", [elements])?, &Init::zeros(), 0)?
            .with_dtype(case.dtype);
        match gpu.fill_buffer(&zeros) {
            Ok(buffer) => return Ok((elements, buffer)),
            Err(_) if elements > MIN_ELEMENTS => elements /= 2,
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the device has finished a submission.
fn wait(gpu: &Gpu, submitted: wgpu::SubmissionIndex) -> Result<(), Failure> {
    let until = wgpu::PollType::Wait {
        submission_index: Some(submitted),
        timeout: None,
    };
    match gpu.device().poll(until) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Run(format!(
            "cannot wait for {}: {error}",
            gpu.info().name
        ))),
    }
}

/// Times commands on a device.
struct Stopwatch<'a> {
    gpu: &'a Gpu,
    /// Two timestamps for each repetition, and a buffer to read them from, if the device has
    /// timestamps.
    queries: Option<(wgpu::QuerySet, wgpu::Buffer)>,
}

/// The seconds of each repetition, by both clocks.
#[derive(Default)]
struct Times {
    host: Vec<f64>,
    /// `None` if the device has no timestamps, or implausible ones.
    device: Option<Vec<f64>>,
}

impl<'a> Stopwatch<'a> {
    fn new(gpu: &'a Gpu) -> Self {
        let queries = has_timestamps(gpu).then(|| {
            let count = 2 * MAX_IN_A_SUBMISSION as u32;
            let set = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("fanin bench"),
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("fanin bench timestamps"),
                size: u64::from(count) * size_of::<u64>() as u64,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            (set, buffer)
        });
        Stopwatch { gpu, queries }
    }

    /// Repeats the commands that `record` records until the budget is spent.
    fn time(
        &self,
        budget: f64,
        record: &mut impl FnMut(&mut wgpu::CommandEncoder) -> fanin::Result<()>,
    ) -> Result<Times, Failure> {
        let start = Instant::now();
        // These warm up the device, and give the number of repetitions in a submission.
        let (once, _) = self.submission(1, record)?;
        let (again, _) = self.submission(1, record)?;
        let repetitions = (SUBMISSION_SECONDS / once.min(again).max(1e-9)).round() as usize;
        let repetitions = repetitions.clamp(1, MAX_IN_A_SUBMISSION);
        let mut times = Times {
            host: Vec::new(),
            device: self.queries.as_ref().map(|_| Vec::new()),
        };
        while times.host.len() < MIN_REPETITIONS || start.elapsed().as_secs_f64() < budget {
            let (host, device) = self.submission(repetitions, record)?;
            times
                .host
                .extend(std::iter::repeat_n(host / repetitions as f64, repetitions));
            match (&mut times.device, device) {
                (Some(all), Some(device)) if is_plausible(&device, host) => all.extend(device),
                (all, _) => *all = None,
            }
        }
        Ok(times)
    }

    /// Submits several repetitions. It returns the seconds from start to end by the host's clock,
    /// and those of each repetition by the device's.
    fn submission(
        &self,
        repetitions: usize,
        record: &mut impl FnMut(&mut wgpu::CommandEncoder) -> fanin::Result<()>,
    ) -> Result<(f64, Option<Vec<f64>>), Failure> {
        let (device, queue) = (self.gpu.device(), self.gpu.queue());
        let mut encoder = device.create_command_encoder(&Default::default());
        for repetition in 0..repetitions as u32 {
            self.stamp(&mut encoder, 2 * repetition);
            record(&mut encoder)?;
            self.stamp(&mut encoder, 2 * repetition + 1);
        }
        if let Some((set, buffer)) = &self.queries {
            encoder.resolve_query_set(set, 0..2 * repetitions as u32, buffer, 0);
        }
        let commands = encoder.finish();
        // An empty submission copies the data that recording wrote to new buffers, so that the copy
        // is not timed.
        wait(self.gpu, queue.submit([]))?;
        let start = Instant::now();
        wait(self.gpu, queue.submit([commands]))?;
        let host = start.elapsed().as_secs_f64();
        let Some((_, buffer)) = &self.queries else {
            return Ok((host, None));
        };
        let mut bytes = vec![0; 2 * size_of::<u64>() * repetitions];
        self.gpu.read(buffer, 0, &mut bytes)?;
        let stamps: Vec<u64> = bytes
            .chunks_exact(size_of::<u64>())
            .map(|stamp| u64::from_ne_bytes(stamp.try_into().unwrap_or_default()))
            .collect();
        let period = f64::from(queue.get_timestamp_period()) * 1e-9;
        let seconds = stamps
            .chunks_exact(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]) as f64 * period)
            .collect();
        Ok((host, Some(seconds)))
    }

    /// Records a timestamp that the device takes after all earlier commands: at the end of an empty
    /// pass, which every device with timestamps supports.
    fn stamp(&self, encoder: &mut wgpu::CommandEncoder, index: u32) {
        let Some((query_set, _)) = &self.queries else {
            return;
        };
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("fanin bench"),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: None,
                end_of_pass_write_index: Some(index),
            }),
        });
    }
}

/// Returns true if a device's times of the repetitions agree with the host's time of the
/// submission. They cannot be more. They are far less on devices that run passes concurrently,
/// where the timestamp after a fill does not mark its end.
fn is_plausible(device: &[f64], host: f64) -> bool {
    let sum: f64 = device.iter().sum();
    (0.5 * host..=1.05 * host).contains(&sum)
}
