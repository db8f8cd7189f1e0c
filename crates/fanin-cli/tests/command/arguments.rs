//! The command line as scripts use it.

use std::io::Read;

use fanin::{DType, Fill, Init, Tensor, cpu};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::run::{FILL, Fanin, Run, ended, model, repository};

fn expected(spec: &str, name: &str, dims: &[u64], dtype: DType) -> Vec<u8> {
    let init: Init = spec.parse().unwrap();
    let fill = Fill::new(&Tensor::new(name, dims).unwrap(), &init, 42)
        .unwrap()
        .with_dtype(dtype);
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(&fill, &mut out).unwrap();
    out
}

/// Returns a fill on the CPU of the shape that the arguments begin with.
fn fill<'a>(run: &'a Run, shape_and_more: &str) -> Fanin<'a> {
    run.cpu(FILL).and("--shape").and(shape_and_more)
}

#[test]
fn fill_writes_the_bits_of_the_library() {
    let run = Run::new();
    let whole = expected("he_normal", "w", &[40, 30], DType::F32);
    let fill = |more: &str| fill(&run, "40,30").and(more).ok();

    let ended = fill("--out w.bin");
    assert!(ended.stdout.is_empty());
    let line = "fanin: 1,200 elements: 4.80 kB in 0.";
    assert!(
        ended.stderr.starts_with(line) && ended.stderr.ends_with("to w.bin\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1);
    assert_eq!(run.read("w.bin"), whole);

    assert_eq!(fill("--out -").stdout, whole);

    fill("--out w.npy");
    assert_eq!(run.read("w.npy")[128..], whole);

    fill("--out w.safetensors --dtype bf16");
    let file = run.read("w.safetensors");
    let read = SafeTensors::deserialize(&file).unwrap();
    let bf16 = expected("he_normal", "w", &[40, 30], DType::BF16);
    assert_eq!(read.tensor("w").unwrap().data(), bf16);
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(
        (metadata["seed"].as_str(), metadata["init"].as_str()),
        ("42", "he_normal")
    );

    let rows = fill("--out - --slice 10:12,:").stdout;
    assert_eq!(rows, whole[10 * 120..12 * 120]);
    assert!(fill("--out - --slice 10:10,:").stdout.is_empty());

    fill("--out null:");
    assert_eq!(run.files(), ["w.bin", "w.npy", "w.safetensors"]);
}

#[test]
fn a_stream_id_replaces_a_name() {
    let run = Run::new();
    let by_name = fill(&run, "40,30 --out -").ok().stdout;
    let id = fanin::stream_id("w");
    let by_id = run
        .cpu("fill --init he_normal --seed 42 --shape 40,30")
        .and(&format!("--stream {id:#x}"));
    assert_eq!(by_id.clone().and("--out -").ok().stdout, by_name);
    // A file that names its tensors needs a name as well.
    by_id
        .and("--out w.safetensors")
        .refused(2, &["give --name"]);
    let other = fill(&run, "40,30 --stream 7 --out -").ok().stdout;
    assert_ne!(other, by_name);
}

#[test]
fn seeds_are_decimal_or_hexadecimal() {
    let run = Run::new();
    let [a, b] = ["42", "0x2A"].map(|seed| {
        let fill = run.cpu("fill --init he_normal --name w --shape 40,30 --out - --seed");
        fill.arg(seed).ok().stdout
    });
    assert_eq!(a, b);
}

#[test]
fn threads_change_no_bit() {
    let run = Run::new();
    let outputs = ["1", "2", "7"].map(|threads| {
        let fill = fill(&run, "1500,1000 --out - --threads");
        fill.arg(threads).ok().stdout
    });
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}

#[test]
fn init_writes_the_whole_model() {
    let run = Run::new();
    let init = |out: &str| {
        let init = run
            .cpu("init torch --seed 42")
            .tensors(model("mlp-mnist.json"));
        init.and("--out").arg(out).ok()
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
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.len(), 6);
    assert_eq!(
        read.tensor("0.bias").unwrap().data(),
        expected("bias_uniform(fan_in=784)", "0.bias", &[512], DType::F32)
    );
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
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

    // The file serves as a list again.
    run.cpu("init torch --tensors mlp.safetensors --seed 0x2a --out third.safetensors")
        .ok();
    assert!(file == run.read("third.safetensors"));

    let files = run.files();
    init("null:");
    assert_eq!(run.files(), files);
}

#[test]
fn a_custom_recipe_gives_seed_and_dtype() {
    let run = Run::new();
    run.write(
        "own.toml",
        "seed = 42\ndtype = \"f16\"\n[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n",
    );
    run.list("list.json", &[("w", &[5])]);
    let data = |more: &str| {
        let init = run.cpu("init own.toml --tensors list.json --overwrite --out w.safetensors");
        init.and(more).ok();
        let file = run.read("w.safetensors");
        let read = SafeTensors::deserialize(&file).unwrap();
        read.tensor("w").unwrap().data().to_vec()
    };
    assert_eq!(data(""), expected("normal", "w", &[5], DType::F16));
    let bf16 = expected("normal", "w", &[5], DType::BF16);
    assert_eq!(data("--dtype bf16"), bf16);
    assert_ne!(data("--seed 43"), expected("normal", "w", &[5], DType::F16));
}

#[test]
fn recipe_prints_a_usable_preset() {
    let run = Run::new();
    let printed = run.fanin("recipe gpt2").ok().stdout;
    let preset = fanin::Recipe::preset("gpt2").unwrap();
    assert_eq!(printed, preset.text().as_bytes());
    run.write("own.toml", &printed);
    run.list("list.json", &[("h.0.ln_1.weight", &[5])]);
    run.cpu("init own.toml --tensors list.json --seed 1 --out null:")
        .ok();
    run.fanin("recipe gpt3").refused(
        2,
        &[
            "unknown preset \"gpt3\"",
            "gpt2, kaiming, keras, lecun, llama",
        ],
    );
}

#[test]
fn stats_has_a_row_for_each_tensor() {
    let run = Run::new();
    run.cpu("fill --init uniform(low=2,high=4) --shape 100,100 --name u --seed 1")
        .and("--out u.safetensors")
        .ok();
    let ended = run.fanin("stats u.safetensors").ok();
    let heading = "name shape dtype n mean std min max kurtosis zeros";
    assert_eq!(ended.rows()[0], heading.split(' ').collect::<Vec<_>>());
    let mut lines = ended.text().lines().skip(1);
    let row = lines.next().unwrap();
    assert!(row.starts_with("u     [100, 100]  f32    10000  "), "{row}");
    assert_eq!(lines.next(), None);

    let json = run.fanin("stats --json u.safetensors").ok().json();
    assert_eq!(json[0]["name"], "u");
    assert_eq!(json[0]["shape"], json!([100, 100]));
    assert!((json[0]["mean"].as_f64().unwrap() - 3.0).abs() < 0.04);
    assert!(json[0]["min"].as_f64().unwrap() >= 2.0 && json[0]["max"].as_f64().unwrap() < 4.0);

    run.cpu("fill --init zeros --shape 3 --name z --seed 1 --out z.npy")
        .ok();
    let json = run.fanin("stats --json z.npy").ok().json();
    assert_eq!(
        (&json[0]["zeros"], &json[0]["kurtosis"]),
        (&Value::from(3), &Value::Null)
    );
}

#[test]
fn devices_prints_a_list_even_without_adapters() {
    let run = Run::new();
    let json = run.fanin("devices --json").ok().json();
    for adapter in json.as_array().unwrap() {
        assert!(
            adapter["name"].is_string() && adapter["int64"].is_boolean(),
            "{adapter}"
        );
    }
    run.fanin("devices").ok();
}

/// Mesa's layer for the choice of a GPU must not look for a compositor where none can be.
#[test]
fn a_container_sees_no_errors_of_wayland() {
    let run = Run::new();
    for runtime_dir in ["", "relative"] {
        let devices = run
            .fanin("devices")
            .env("XDG_RUNTIME_DIR", runtime_dir)
            .ok();
        let said = &devices.stderr;
        assert!(!said.contains("XDG_RUNTIME_DIR"), "{said}");
    }
}

#[test]
fn auto_reports_its_choice() {
    let run = Run::new();
    let ended = run.fanin(FILL).and("--shape 40,30 --out w.bin").ok();
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
fn an_unknown_adapter_is_an_error() {
    let run = Run::new();
    for backend in ["gpu", "auto"] {
        run.fanin(FILL)
            .and("--shape 40,30 --adapter abacus --out w.bin --backend")
            .arg(backend)
            .refused(1, &["no GPU adapter", "abacus"]);
    }
}

#[test]
fn outputs_that_cannot_be_written_are_one_line() {
    let run = Run::new();
    fill(&run, "40,30 --out no/w.bin")
        .refused(1, &["there is no folder \"no\": make it with mkdir -p no"]);
    std::fs::create_dir(run.path("folder.bin")).unwrap();
    fill(&run, "40,30 --out folder.bin").refused(1, &["folder.bin: cannot write"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_file() {
    let run = Run::new();
    std::os::unix::fs::symlink("/dev/full", run.path("full.bin")).unwrap();
    let ended = fill(&run, "40,30 --out full.bin").ends(1);
    assert_eq!(
        ended.stderr,
        "fanin: error: full.bin: cannot write: No space left on device (os error 28)\n"
    );

    // A limit on the size of files. The trap makes it an error instead of a signal.
    let ended = fill(&run, "1000,1000 --out w.bin")
        .after("trap '' XFSZ; ulimit -f 100")
        .ends(1);
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
fn an_interrupted_run_leaves_no_file() {
    let run = Run::new();
    run.write("w.bin", "old");
    // 4 GiB, which cannot be complete before the signal.
    let mut child = fill(&run, "32768,32768 --overwrite --out w.bin").spawn();
    // Once its temporary file exists, it is at work.
    while run.files().len() < 2 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was stopped"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let ended = ended(child.wait_with_output().unwrap());
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
fn a_closed_reader_is_no_error() {
    let run = Run::new();
    let mut child = fill(&run, "10000,10000 --out -").spawn();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let run = Run::new();
    let version = run.fanin("--version").ok();
    let expected = format!("fanin {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.text(), expected);
    let ended = run.fanin("--help").ok();
    let commands = "init plan fill regenerate verify diff devices stats recipe inits bench";
    for command in commands.split(' ') {
        let help = ended.text();
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
}

#[test]
fn a_signature_is_a_call() {
    let run = Run::new();
    let fill = |init: &str| {
        let fill = run.cpu("fill --shape 3 --name w --seed 0 --out - --init");
        fill.arg(init)
    };
    let inits = run.fanin("inits").ok();
    assert!(
        inits
            .text()
            .lines()
            .any(|line| line.starts_with("constant(value) "))
    );
    assert_eq!(
        fill("constant(1e-5)").ok().stdout,
        1e-5f32.to_le_bytes().repeat(3)
    );
    fill("normal(0,1)").refused(2, &["write a key before it, as in mean=0"]);
}

#[cfg(unix)]
#[test]
fn lists_fold_in_a_terminal() {
    let run = Run::new();
    for command in ["inits", "recipe"] {
        let command = run.fanin(command);
        let piped = command.ok();
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for width in [80, 120] {
            let lines = command.on_terminal(width);
            assert!(
                lines
                    .iter()
                    .all(|line| line.chars().count() <= width.into()),
                "{lines:?}"
            );
            // No word is lost.
            let shown = words(&lines.join("\n"));
            for word in words(piped.text().split_once('\n').unwrap().1) {
                let parts = word.split_inclusive(',');
                for part in parts {
                    assert!(shown.iter().any(|shown| shown.contains(part)), "{part}");
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn colours_are_for_terminals_that_want_them() {
    let run = Run::new();
    let help = run
        .fanin("--help")
        .env("TERM", "xterm")
        .env("NO_COLOR", "")
        .env("CLICOLOR", "1");
    let has_colours = |lines: Vec<String>| lines.iter().any(|line| line.contains('\u{1b}'));
    assert!(has_colours(help.on_terminal(80)));
    assert!(!has_colours(
        help.clone().env("NO_COLOR", "1").on_terminal(80)
    ));
    assert!(!has_colours(
        help.clone().env("CLICOLOR", "0").on_terminal(80)
    ));
    assert!(!help.ok().text().contains('\u{1b}'));
}

/// Returns the words that bash offers for the last of these words.
#[cfg(unix)]
fn completed(run: &Run, words: &str) -> Vec<String> {
    const COMPLETE: &str = "
        source ./fanin.bash
        COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
        _fanin fanin \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        echo \"${COMPREPLY[@]}\"";
    let bash = std::process::Command::new("bash")
        .args(["-c", COMPLETE, "bash"])
        .args(words.split(' '))
        .current_dir(run.path(""))
        .output()
        .expect("bash starts");
    assert!(bash.stderr.is_empty(), "{bash:?}");
    let offered = String::from_utf8(bash.stdout).unwrap();
    offered.split_whitespace().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_options_values_and_files() {
    let run = Run::new();
    run.write("fanin.bash", run.fanin("completions bash").ok().stdout);
    run.write("own.json", "");
    for (words, offered) in [
        ("fanin reg", "regenerate"),
        ("fanin init gp", "gpt2"),
        ("fanin init gpt2 --dt", "--dtype"),
        ("fanin init gpt2 --dtype b", "bf16"),
        ("fanin init gpt2 --backend g", "gpu"),
        ("fanin init gpt2 --tensors ow", "own.json"),
        ("fanin verify f --recipe ll", "llama llama_torchtitan"),
        ("fanin fill --init kaim", "kaiming_uniform kaiming_normal"),
        ("fanin signal --activation g", "gelu"),
        ("fanin man pl", "plan plot"),
    ] {
        let offered: Vec<&str> = offered.split(' ').collect();
        assert_eq!(completed(&run, words), offered, "{words}");
    }
}

#[test]
fn every_shell_has_a_script_that_completes_presets_and_files() {
    let run = Run::new();
    for (shell, offers) in [
        ("bash", "compgen -W \"bert buffers "),
        ("zsh", ":{compadd bert buffers "),
        (
            "fish",
            "-l recipe -d 'A preset or a .toml file to compare with' -r -F -a \"bert",
        ),
        ("powershell", "'--recipe'"),
        ("elvish", "cand --recipe "),
    ] {
        let script = run.fanin("completions").arg(shell).ok();
        assert!(script.text().contains(offers), "{shell}: {}", script.text());
    }
    run.fanin("completions tcsh")
        .ends(2)
        .says("bash, elvish, fish, powershell, zsh");
}

#[test]
fn every_command_has_a_manual_page() {
    let run = Run::new();
    std::fs::create_dir(run.path("man1")).unwrap();
    run.fanin("man --out man1").ok();
    let help = run.fanin("--help").ok();
    let commands = help.text().lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("  ")?.split_once("  ")?;
        name.starts_with(|c: char| c.is_ascii_lowercase())
            .then_some(name)
    });
    let commands: Vec<&str> = commands.filter(|name| *name != "help").collect();
    assert_eq!(commands.len(), 15, "{commands:?}");
    for command in commands {
        let page = run.fanin("man").arg(command).ok();
        assert_eq!(run.read(&format!("man1/fanin-{command}.1")), page.stdout);
        let name = format!("fanin\\-{command} \\- ");
        assert!(page.text().contains(&name), "{}", page.text());
    }
    assert_eq!(run.read("man1/fanin.1"), run.fanin("man").ok().stdout);

    run.write("man1/fanin.1", "another program's");
    run.fanin("man --out man1")
        .ends(1)
        .says("fanin.1: cannot replace");
    run.fanin("man --out man1 --overwrite").ok();
    run.fanin("man --out none")
        .refused(1, &["there is no folder \"none\""]);
    run.fanin("man plam")
        .ends(2)
        .says("use one of init, plan, ");
}

/// The file holds the SHA-256 of the preset's text: a new comment in the preset changes the file.
#[test]
fn the_readme_has_the_hash_of_its_first_command() {
    let run = Run::new();
    let command = "init gpt2 --seed 42 --out gpt2.safetensors";
    run.fanin(command).tensors(model("gpt2.json")).ok();
    let hash = Sha256::digest(run.read("gpt2.safetensors"));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("{hash}  gpt2.safetensors")),
        "{hash}"
    );
}
