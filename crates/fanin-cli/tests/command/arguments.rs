//! The command line, as scripts use it.

use std::io::Read;
use std::process::Stdio;

use fanin::{DType, Fill, Init, Tensor, cpu};
use serde_json::Value;

use crate::run::{Run, model};

fn expected(spec: &str, name: &str, dims: &[u64], dtype: DType) -> Vec<u8> {
    let init: Init = spec.parse().unwrap();
    let fill = Fill::new(&Tensor::new(name, dims).unwrap(), &init, 42)
        .unwrap()
        .with_dtype(dtype);
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(&fill, &mut out).unwrap();
    out
}

const FILL: [&str; 11] = [
    "fill",
    "--init",
    "he_normal",
    "--shape",
    "40,30",
    "--name",
    "w",
    "--seed",
    "42",
    "--backend",
    "cpu",
];

#[test]
fn fill_writes_what_the_library_fills() {
    let run = Run::new();
    let whole = expected("he_normal", "w", &[40, 30], DType::F32);
    let fill = |more: &[&str]| run.ok(&[&FILL[..], more].concat());

    let ended = fill(&["--out", "w.bin"]);
    assert!(ended.stdout.is_empty());
    let line = "fanin: 1,200 elements: 4.80 kB in 0.";
    assert!(
        ended.stderr.starts_with(line) && ended.stderr.ends_with("to w.bin\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1);
    assert_eq!(run.read("w.bin"), whole);

    assert_eq!(fill(&["--out", "-"]).stdout, whole);

    fill(&["--out", "w.npy"]);
    assert_eq!(run.read("w.npy")[128..], whole);

    fill(&["--out", "w.safetensors", "--dtype", "bf16"]);
    let file = run.read("w.safetensors");
    let read = safetensors::SafeTensors::deserialize(&file).unwrap();
    let bf16 = expected("he_normal", "w", &[40, 30], DType::BF16);
    assert_eq!(read.tensor("w").unwrap().data(), bf16);
    let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(
        (metadata["seed"].as_str(), metadata["init"].as_str()),
        ("42", "he_normal")
    );

    let rows = fill(&["--out", "-", "--slice", "10:12,:"]).stdout;
    assert_eq!(rows, whole[10 * 120..12 * 120]);
    assert!(
        fill(&["--out", "-", "--slice", "10:10,:"])
            .stdout
            .is_empty()
    );

    fill(&["--out", "null:"]);
    assert_eq!(run.files(), ["w.bin", "w.npy", "w.safetensors"]);
}

#[test]
fn a_stream_id_stands_in_for_a_name() {
    let run = Run::new();
    let by_name = run.ok(&[&FILL[..], &["--out", "-"]].concat()).stdout;
    let id = format!("{:#x}", fanin::stream_id("w"));
    let mut by_id = FILL.to_vec();
    by_id.splice(5..7, ["--stream", id.as_str()]);
    assert_eq!(
        run.ok(&[&by_id[..], &["--out", "-"]].concat()).stdout,
        by_name
    );
    // A file that names its tensors needs a name all the same.
    run.refused(
        &[&by_id[..], &["--out", "w.safetensors"]].concat(),
        2,
        &["give --name"],
    );
    let named = [&FILL[..], &["--stream", "7", "--out", "-"]].concat();
    assert_ne!(run.ok(&named).stdout, by_name);
}

#[test]
fn seeds_are_decimal_or_hexadecimal() {
    let run = Run::new();
    let mut hexadecimal = FILL;
    hexadecimal[8] = "0x2A";
    let [a, b] = [FILL, hexadecimal].map(|fill| run.ok(&[&fill[..], &["--out", "-"]].concat()));
    assert_eq!(a.stdout, b.stdout);
}

#[test]
fn threads_change_no_bit() {
    let run = Run::new();
    let mut large = FILL;
    large[4] = "1500,1000";
    let outputs = ["1", "2", "7"].map(|threads| {
        let arguments = [&large[..], &["--threads", threads, "--out", "-"]].concat();
        run.ok(&arguments).stdout
    });
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}

#[test]
fn init_writes_the_whole_model() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let init = |out: &str| {
        run.ok(&[
            "init",
            "torch",
            "--tensors",
            list.to_str().unwrap(),
            "--seed",
            "42",
            "--out",
            out,
            "--backend",
            "cpu",
        ])
    };
    let ended = init("mlp.safetensors");
    let line = "fanin: 535,818 parameters in 6 tensors: 2.14 MB in ";
    assert!(ended.stderr.starts_with(line), "{}", ended.stderr);
    init("again.safetensors");
    let file = run.read("mlp.safetensors");
    assert!(
        file == run.read("again.safetensors"),
        "the same request, another file"
    );
    let read = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.len(), 6);
    assert_eq!(
        read.tensor("0.bias").unwrap().data(),
        expected("bias_uniform(fan_in=784)", "0.bias", &[512], DType::F32)
    );
    let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let get = |key: &str| metadata[key].as_str();
    assert_eq!(
        (get("format"), get("seed"), get("stream")),
        ("pt", "42", "1")
    );
    assert_eq!(
        (get("recipe"), get("fanin")),
        ("torch", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(get("recipe_sha256").len(), 64);

    // What was written serves as a list again.
    run.ok(&[
        "init",
        "torch",
        "--tensors",
        "mlp.safetensors",
        "--seed",
        "0x2a",
        "--out",
        "third.safetensors",
        "--backend",
        "cpu",
    ]);
    assert!(file == run.read("third.safetensors"));

    let files = run.files();
    init("null:");
    assert_eq!(run.files(), files);
}

#[test]
fn a_recipe_of_ones_own_brings_its_seed() {
    let run = Run::new();
    run.write(
        "own.toml",
        "seed = 42\ndtype = \"f16\"\n[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n",
    );
    run.write("list.json", r#"{"tensors": [{"name": "w", "shape": [5]}]}"#);
    let base = [
        "init",
        "own.toml",
        "--tensors",
        "list.json",
        "--out",
        "w.safetensors",
        "--backend",
        "cpu",
    ];
    run.ok(&base);
    let data = |run: &Run| {
        let file = run.read("w.safetensors");
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        read.tensor("w").unwrap().data().to_vec()
    };
    assert_eq!(data(&run), expected("normal", "w", &[5], DType::F16));
    run.ok(&[&base[..], &["--dtype", "bf16"]].concat());
    assert_eq!(data(&run), expected("normal", "w", &[5], DType::BF16));
    run.ok(&[&base[..], &["--seed", "43"]].concat());
    assert_ne!(data(&run), expected("normal", "w", &[5], DType::F16));
}

#[test]
fn recipe_prints_a_preset_that_can_be_used() {
    let run = Run::new();
    let printed = run.ok(&["recipe", "gpt2"]).stdout;
    assert_eq!(
        printed,
        fanin::Recipe::preset("gpt2").unwrap().text().as_bytes()
    );
    run.write("own.toml", &printed);
    run.write(
        "list.json",
        r#"{"tensors": [{"name": "h.0.ln_1.weight", "shape": [5]}]}"#,
    );
    run.ok(&[
        "init",
        "own.toml",
        "--tensors",
        "list.json",
        "--seed",
        "1",
        "--out",
        "null:",
        "--backend",
        "cpu",
    ]);
    run.refused(
        &["recipe", "gpt3"],
        2,
        &["unknown preset \"gpt3\"", "gpt2, kaiming, lecun, llama"],
    );
}

#[test]
fn stats_has_a_row_a_tensor() {
    let run = Run::new();
    run.ok(&[
        "fill",
        "--init",
        "uniform(low=2,high=4)",
        "--shape",
        "100,100",
        "--name",
        "u",
        "--seed",
        "1",
        "--out",
        "u.safetensors",
        "--backend",
        "cpu",
    ]);
    let table = String::from_utf8(run.ok(&["stats", "u.safetensors"]).stdout).unwrap();
    let mut lines = table.lines();
    let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        heading,
        [
            "name", "shape", "dtype", "n", "mean", "std", "min", "max", "kurtosis", "zeros"
        ]
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("u     [100, 100]  f32    10000  ")
    );
    assert_eq!(lines.next(), None);

    let json = run.ok(&["stats", "--json", "u.safetensors"]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["name"], "u");
    assert_eq!(json[0]["shape"], serde_json::json!([100, 100]));
    assert!((json[0]["mean"].as_f64().unwrap() - 3.0).abs() < 0.04);
    assert!(json[0]["min"].as_f64().unwrap() >= 2.0 && json[0]["max"].as_f64().unwrap() < 4.0);

    run.ok(&[
        "fill",
        "--init",
        "zeros",
        "--shape",
        "3",
        "--name",
        "z",
        "--seed",
        "1",
        "--out",
        "z.npy",
        "--backend",
        "cpu",
    ]);
    let json = run.ok(&["stats", "--json", "z.npy"]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&json[0]["zeros"], &json[0]["kurtosis"]),
        (&Value::from(3), &Value::Null)
    );
}

#[test]
fn devices_is_a_list_also_where_there_are_none() {
    let run = Run::new();
    let json: Value = serde_json::from_slice(&run.ok(&["devices", "--json"]).stdout).unwrap();
    for adapter in json.as_array().unwrap() {
        assert!(
            adapter["name"].is_string() && adapter["int64"].is_boolean(),
            "{adapter}"
        );
    }
    run.ok(&["devices"]);
}

#[test]
fn auto_says_what_it_took() {
    let run = Run::new();
    let mut auto = FILL.to_vec();
    auto.truncate(9);
    let ended = run.ok(&[&auto[..], &["--out", "w.bin"]].concat());
    let said = ended.stderr.lines().any(|line| {
        line.starts_with("fanin: filling on the CPU, ")
            || line.starts_with("fanin: filling on the GPU, ")
    });
    assert!(said, "{}", ended.stderr);
    assert_eq!(
        run.read("w.bin"),
        expected("he_normal", "w", &[40, 30], DType::F32)
    );
}

#[test]
fn an_adapter_that_is_not_there_is_an_error() {
    let run = Run::new();
    let mut gpu = FILL.to_vec();
    gpu.truncate(9);
    for backend in ["gpu", "auto"] {
        let arguments = [
            "--backend",
            backend,
            "--adapter",
            "abacus",
            "--out",
            "w.bin",
        ];
        run.refused(
            &[&gpu[..], &arguments].concat(),
            1,
            &["no GPU adapter", "abacus"],
        );
    }
}

#[test]
fn targets_that_cannot_be_written_are_one_line() {
    let run = Run::new();
    run.refused(
        &[&FILL[..], &["--out", "no/w.bin"]].concat(),
        1,
        &["no/w.bin: cannot create a file"],
    );
    std::fs::create_dir(run.path("folder.bin")).unwrap();
    run.refused(
        &[&FILL[..], &["--out", "folder.bin"]].concat(),
        1,
        &["folder.bin: cannot write"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let run = Run::new();
    std::os::unix::fs::symlink("/dev/full", run.path("full.bin")).unwrap();
    let ended = run.run(&[&FILL[..], &["--out", "full.bin"]].concat());
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (
            1,
            "fanin: error: full.bin: cannot write: No space left on device (os error 28)\n"
        )
    );

    // A limit on the size of files, of which the process is told by an error and not a signal.
    let mut large = FILL;
    large[4] = "1000,1000";
    let script = r#"trap '' XFSZ; ulimit -f 100; exec "$@""#;
    let output = std::process::Command::new("bash")
        .args(["-c", script, "bash", env!("CARGO_BIN_EXE_fanin")])
        .args(large)
        .args(["--out", "w.bin"])
        .current_dir(run.path(""))
        .output();
    let ended = crate::run::ended(output.unwrap());
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .starts_with("fanin: error: w.bin: cannot write: File too large"),
        "{}",
        ended.stderr
    );
    assert_eq!(run.files(), ["full.bin"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let run = Run::new();
    run.write("w.bin", "old");
    let mut large = FILL;
    // 256 GiB: it is not going to be done before it is stopped.
    large[4] = "65536,1048576";
    let mut child = run
        .command(&[&large[..], &["--out", "w.bin"]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once its temporary file is there it is at work.
    while run.files().len() < 2 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was stopped"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let ended = crate::run::ended(child.wait_with_output().unwrap());
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (
            1,
            "fanin: error: interrupted: no file was left incomplete\n"
        )
    );
    assert_eq!(run.files(), ["w.bin"]);
    assert_eq!(run.read("w.bin"), b"old");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_enough_is_no_error() {
    let run = Run::new();
    let mut large = FILL;
    large[4] = "10000,10000";
    let mut child = run
        .command(&[&large[..], &["--out", "-"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let ended = crate::run::ended(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let run = Run::new();
    let version = run.ok(&["--version"]).stdout;
    assert_eq!(
        version,
        format!("fanin {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
    let help = String::from_utf8(run.ok(&["--help"]).stdout).unwrap();
    for command in [
        "init",
        "plan",
        "fill",
        "regenerate",
        "verify",
        "diff",
        "devices",
        "stats",
        "recipe",
        "inits",
        "bench",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
}
