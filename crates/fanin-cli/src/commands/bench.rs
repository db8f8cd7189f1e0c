//! `fanin bench` times fills on this machine, and checks that all devices make the same bits.

#[cfg(feature = "gpu")]
mod adapter;
mod measure;
mod report;

use fanin::STREAM_VERSION;
use indicatif::ProgressBar;

#[cfg(feature = "gpu")]
use self::measure::ELEMENTS_ON_HARDWARE;
use self::measure::{CASES, ELEMENTS, affordable};
use self::report::{AdapterTimes, COLUMNS, Machine, Report, Row, verdict};
use crate::Failure;
use crate::args::{BackendKind, BenchArguments};
use crate::backend::no_adapter_for_the_cpu;
use crate::format::count;
use crate::output::{print_json, printed_with_verdict, progress_bar};
use crate::table::print_table;

pub fn run(arguments: &BenchArguments) -> Result<(), Failure> {
    no_adapter_for_the_cpu(arguments.backend, arguments.adapter.as_deref())?;
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
        printed_with_verdict(print_json(&report), || verdict(&report.rows))
    } else {
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let printed = print_table(&COLUMNS, &cells, arguments.table.width());
        printed_with_verdict(printed, || verdict(&rows))
    }
}

/// A device that is timed.
enum Device {
    Cpu(rayon::ThreadPool),
    #[cfg(feature = "gpu")]
    Gpu(Box<fanin::gpu::Gpu>),
}

impl Device {
    /// Returns the device's name in the report.
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

/// Opens every device that the arguments ask for, and gives each a unique name.
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

/// Describes the adapters among the devices.
#[cfg(feature = "gpu")]
fn adapters(devices: &[(String, Device)]) -> Vec<AdapterTimes> {
    let adapters = devices.iter().filter_map(|(name, device)| match device {
        Device::Cpu(_) => None,
        Device::Gpu(gpu) => Some(adapter::describe(name, gpu)),
    });
    adapters.collect()
}

#[cfg(not(feature = "gpu"))]
fn adapters(_devices: &[(String, Device)]) -> Vec<AdapterTimes> {
    Vec::new()
}

/// Times every case on every device.
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
                    measure::measure(pool, case, affordable(ELEMENTS, seconds), row_seconds)
                }
                #[cfg(feature = "gpu")]
                Device::Gpu(gpu) => {
                    let most = match crate::backend::is_hardware(gpu.info()) {
                        true => ELEMENTS_ON_HARDWARE,
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
