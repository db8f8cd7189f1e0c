//! `fanin bench` times every device, and checks that all make the same bits.

use fanin::{DType, Fill, Init, Tensor, cpu};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::devices::devices;
use crate::run::{Fanin, Run};

const FILLS: [&str; 4] = [
    "normal f32",
    "normal bf16",
    "uniform f32",
    "truncated normal f32",
];

/// Returns the report of a command.
fn report(bench: Fanin<'_>) -> Value {
    let ended = bench.and("--json --seconds 0.1").ok();
    let verdict = "fanin: all made the same bits\n";
    assert!(ended.stderr.ends_with(verdict), "{}", ended.stderr);
    ended.json()
}

fn texts<'a>(report: &'a Value, key: &str) -> Vec<&'a str> {
    let rows = report["rows"].as_array().expect("a list of rows");
    rows.iter()
        .map(|row| row[key].as_str().expect("a text"))
        .collect()
}

/// Checks the rows, without thresholds for speed.
fn check_rows(report: &Value, devices: &[&str]) {
    let expected: Vec<&str> = devices.iter().flat_map(|device| [*device; 4]).collect();
    assert_eq!(texts(report, "device"), expected);
    assert_eq!(texts(report, "fill"), FILLS.repeat(devices.len()));
    for row in report["rows"].as_array().expect("a list of rows") {
        assert_eq!(row["same_bits"], true, "{row}");
        let number = |key: &str| row[key].as_f64().expect("a number");
        let seconds = row["time"]["median_seconds"].as_f64().expect("a number");
        let repetitions = row["time"]["repetitions"].as_u64().expect("a number");
        assert!(seconds > 0.0 && repetitions >= 3, "{row}");
        assert!(number("first_fill_seconds") > 0.0, "{row}");
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(
            close(number("ns_per_element"), seconds * 1e9 / number("elements"))
                && close(
                    number("gigabytes_per_second"),
                    number("bytes") / seconds / 1e9
                )
                && close(
                    number("share_of_plain_fill"),
                    number("gigabytes_per_second") / number("plain_fill_gigabytes_per_second")
                ),
            "{row}"
        );
    }
    // The same digests on every device.
    let digests = texts(report, "sha256");
    assert_eq!(digests, digests[..4].repeat(devices.len()));
}

#[test]
fn the_cpu_is_timed_with_one_thread_and_with_all() {
    let report = report(Run::new().cpu("bench --threads 3"));
    check_rows(&report, &["CPU, 1 thread", "CPU, 3 threads"]);
    assert_eq!(report["adapters"], Value::Array(Vec::new()));
    assert!(report["machine"]["cores"].as_u64().is_some_and(|n| n > 0));

    // The digest is that of the library's bytes.
    let row = &report["rows"][1];
    let elements = row["sha256_elements"].as_u64().expect("a number");
    assert_eq!(row["elements"].as_u64(), Some(elements));
    let tensor = Tensor::new("bench", [1 << 32]).unwrap();
    let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)
        .unwrap()
        .with_dtype(DType::BF16);
    let mut bytes = vec![0; 2 * elements as usize];
    cpu::fill_range(&fill, 0, &mut bytes).unwrap();
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(row["sha256"], digest.as_str());
}

#[test]
fn one_thread_is_timed_once() {
    let report = report(Run::new().cpu("bench --threads 1"));
    check_rows(&report, &["CPU, 1 thread"]);
}

#[test]
fn the_table_lines_up() {
    let ended = Run::new().cpu("bench --seconds 0.01 --threads 2").ok();
    let table = ended.text();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * FILLS.len(), "{table}");
    let digests = lines[0].find("SHA-256").expect("a column of digests");
    for line in &lines[1..] {
        // Characters, not bytes, because of µ.
        let digest: String = line.chars().skip(digests).collect();
        assert!(
            digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
            "{table}"
        );
    }
}

#[test]
fn every_adapter_makes_the_bits_of_the_cpu() {
    if devices().is_empty() {
        return;
    }
    let run = Run::new();
    let all = report(run.fanin("bench"));
    let adapters = all["adapters"].as_array().expect("a list of adapters");
    assert!(!adapters.is_empty());
    let names = texts(&all, "device");
    let devices: Vec<&str> = names.iter().step_by(FILLS.len()).copied().collect();
    check_rows(&all, &devices);
    for adapter in adapters {
        assert!(
            devices.contains(&adapter["device"].as_str().expect("a name")),
            "{adapter}"
        );
    }

    // One of them, without the CPU.
    let only = adapters[0]["device"].as_str().expect("a name");
    let words = only.replace([',', '#'], " ");
    let one = report(run.fanin("bench --backend gpu --adapter").arg(words));
    assert!(texts(&one, "device").contains(&only), "{one}");
    let same = |name: &&str| !name.starts_with("CPU");
    assert!(texts(&one, "device").iter().all(same), "{one}");
    assert_eq!(texts(&one, "sha256")[..4], texts(&all, "sha256")[..4]);
}

#[test]
fn wrong_arguments_are_refused() {
    let run = Run::new();
    run.cpu("bench --adapter nvidia")
        .refused(2, &["--adapter names a GPU"]);
    for seconds in ["0", "inf", "nan", "soon"] {
        let bench = run.fanin("bench --seconds").arg(seconds);
        bench.ends(2).says("use a number of seconds");
    }
}

#[test]
fn an_unknown_adapter_is_an_error() {
    let run = Run::new();
    for backend in ["auto", "gpu"] {
        let bench = run.fanin("bench --backend").arg(backend);
        bench
            .and("--adapter")
            .arg("no such adapter")
            .refused(1, &["no adapter matches \"no such adapter\""]);
    }
}
