//! The table and the JSON report of `fanin bench`.

use serde::Serialize;

use super::measure::{Case, Clock, Difference, Measured, Timing, hexadecimal};
use crate::Failure;
use crate::format::significant;
use crate::output::status;
use crate::table::Column;

/// The output of `--json`.
#[derive(Serialize)]
pub struct Report {
    pub fanin: &'static str,
    pub stream: u32,
    pub machine: Machine,
    pub adapters: Vec<AdapterTimes>,
    pub rows: Vec<Row>,
}

#[derive(Serialize)]
pub struct Machine {
    os: &'static str,
    arch: &'static str,
    /// The processor's name, on systems with /proc/cpuinfo.
    processor: Option<String>,
    cores: usize,
}

impl Machine {
    pub fn this() -> Self {
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

/// An adapter that is timed.
#[derive(Serialize)]
pub struct AdapterTimes {
    pub device: String,
    pub name: String,
    pub backend: String,
    pub hardware: bool,
    pub driver: String,
    pub driver_info: String,
    pub int64: bool,
    pub timestamp_query: bool,
}

/// A fill on a device.
#[derive(Serialize)]
pub struct Row {
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
    pub fn new(device: String, case: &Case, measured: Measured) -> Self {
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

    pub fn cells(&self) -> Vec<String> {
        vec![
            self.device.clone(),
            self.fill.to_owned(),
            // The number of elements is always a power of two.
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

pub const COLUMNS: [Column; 11] = [
    Column::left("device").name(),
    Column::left("fill").rank(1),
    Column::right("elements").rank(7),
    Column::right("time").rank(3),
    Column::right("ns/element").rank(6),
    Column::right("GB/s").rank(1),
    Column::right("plain GB/s").rank(8),
    Column::right("of plain").rank(2),
    Column::right("first fill").rank(5),
    Column::left("clock").rank(9),
    Column::left("SHA-256").rank(4),
];

/// Reports that all rows have the CPU's bits, or fails with the first difference.
pub fn verdict(rows: &[Row]) -> Result<(), Failure> {
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

/// Returns a duration with three digits, such as `12.3 ms`.
fn duration_text(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 999.5e-9 => (s * 1e9, "ns"),
        s if s < 999.5e-6 => (s * 1e6, "µs"),
        s if s < 999.5e-3 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Returns three significant digits, such as `0.0123`, `1.23`, `12.3` or `123`.
fn three_digits(x: f64) -> String {
    if !(x > 0.0 && x.is_finite()) {
        return format!("{x}");
    }
    significant(x, 3)
}

#[cfg(test)]
mod tests {
    use super::super::measure::{CASES, Check};
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
    fn a_difference_is_reported_in_one_line() {
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
