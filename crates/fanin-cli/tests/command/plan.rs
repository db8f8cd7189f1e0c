//! `fanin plan`: what a recipe makes of a list, as a table that lines up and as JSON.

use std::io::Read;
use std::process::Stdio;

use fanin::{Recipe, stream_id};
use serde_json::{Value, json};

use crate::run::{Run, ended, model};

fn text(run: &Run, arguments: &[&str]) -> String {
    String::from_utf8(run.ok(arguments).stdout).unwrap()
}

fn json(run: &Run, arguments: &[&str]) -> Value {
    serde_json::from_slice(&run.ok(&[arguments, &["--json"]].concat()).stdout).unwrap()
}

const LIST: &str = r#"{"tensors": [
    {"name": "head.weight", "shape": [50, 16]},
    {"name": "embed.weight", "shape": [50, 16], "dtype": "bf16"},
    {"name": "fc.weight", "shape": [32, 16]},
    {"name": "fc.bias", "shape": [32]},
    {"name": "none", "shape": [0, 4]}
]}"#;

const RECIPE: &str = r#"[[rule]]
match = "head.weight"
tied_to = "embed.weight"

[[rule]]
match = "embed.weight"
seed = 0
init = "normal(std=0.5/sqrt(dim(-1)))"

[[rule]]
match = "*.bias"
init = "bias_uniform"

[[rule]]
match = "*"
init = "he_normal"
"#;

#[test]
fn a_plan_has_a_row_a_tensor_and_a_total() {
    let run = Run::new();
    run.write("list.json", LIST);
    run.write("own.toml", RECIPE);
    let plan = ["plan", "own.toml", "--tensors", "list.json"];
    assert_eq!(
        text(&run, &plan),
        "\
name          shape     dtype  init                                                                 drawn from                                                            fan_in  fan_out  bytes  rule         file               tied to
head.weight   [50, 16]  f32    normal(mean=0,std=0.125)                                             normal(mean=0,std=0.125)                                                   -        -   3200  own.toml:1   model.safetensors  embed.weight
embed.weight  [50, 16]  bf16   normal(mean=0,std=0.125)                                             normal(mean=0,std=0.125)                                                   -        -   1600  own.toml:5   model.safetensors  -
fc.weight     [32, 16]  f32    variance_scaling(scale=2,mode=fan_in,distribution=truncated_normal)  truncated_normal(mean=0,std=0.4019362,low=-0.8038724,high=0.8038724)      16       32   2048  own.toml:14  model.safetensors  -
fc.bias       [32]      f32    bias_uniform(fan_in=16)                                              uniform(low=-0.25,high=0.25)                                               -        -    128  own.toml:10  model.safetensors  -
none          [0, 4]    f32    variance_scaling(scale=2,mode=fan_in,distribution=truncated_normal)  constant(value=0)                                                          4        0      0  own.toml:14  model.safetensors  -
total: 5 tensors, 2,144 parameters, 6,976 bytes; seed -
"
    );
    let with = text(
        &run,
        &[&plan[..], &["--seed", "7", "--dtype", "f16"]].concat(),
    );
    assert!(
        with.ends_with("total: 5 tensors, 2,144 parameters, 4,288 bytes; seed 7\n"),
        "{with}"
    );
}

#[test]
fn json_has_all_that_decides_the_bits() {
    let run = Run::new();
    run.write("list.json", LIST);
    run.write("own.toml", RECIPE);
    let plan = ["plan", "own.toml", "--tensors", "list.json"];
    let got = json(&run, &plan);
    assert_eq!(got["recipe"], "own.toml");
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    assert_eq!(got["recipe_sha256"], recipe.sha256());
    assert_eq!(
        got["total"],
        json!({"tensors": 5, "parameters": 2144, "bytes": 6976})
    );
    // Nobody gave a seed but the rule of two tensors.
    assert_eq!(got["seed"], Value::Null);
    let head = json!({
        "name": "head.weight",
        "shape": [50, 16],
        "dtype": "f32",
        "init": "normal(mean=0,std=0.125)",
        "distribution": {"kind": "normal", "mean": 0.0, "std": 0.125},
        "fan_in": null,
        "fan_out": null,
        "elements": 800,
        "bytes": 3200,
        "rule": {"recipe": "own.toml", "line": 1, "column": 1},
        "tied_to": "embed.weight",
        "seed": 0,
        "stream": stream_id("embed.weight"),
        "file": "model.safetensors",
    });
    assert_eq!(got["tensors"][0], head);
    assert_eq!(got["tensors"][2]["seed"], Value::Null);
    assert_eq!(got["tensors"][2]["fan_in"], 16);
    assert_eq!(got["tensors"][2]["stream"], stream_id("fc.weight"));

    let got = json(
        &run,
        &[&plan[..], &["--seed", "0xffffffffffffffff"]].concat(),
    );
    assert_eq!(got["seed"], u64::MAX);
    assert_eq!(
        (&got["tensors"][0]["seed"], &got["tensors"][2]["seed"]),
        (&json!(0), &json!(u64::MAX))
    );
}

#[test]
fn a_preset_is_planned_for_a_real_model() {
    let run = Run::new();
    let list = model("gpt2.json");
    let plan = ["plan", "gpt2", "--tensors", list.to_str().unwrap()];
    let table = text(&run, &plan);
    assert_eq!(table.lines().count(), 150);
    assert_eq!(
        table.lines().last(),
        Some("total: 148 tensors, 124,439,808 parameters, 497,759,232 bytes; seed -")
    );
    // No tensor is tied: there is no column for it.
    assert!(
        table
            .lines()
            .next()
            .unwrap()
            .ends_with("  bytes  rule     file"),
        "{table}"
    );
    // The files are those that `fanin init` writes to a folder.
    let sharded = text(&run, &[&plan[..], &["--max-shard-size", "200MB"]].concat());
    let files: Vec<&str> = sharded
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(files[0], "model-00001-of-00003.safetensors");
    assert_eq!(files[147], "model-00003-of-00003.safetensors");
    // Every rule is found where it is said to be.
    let preset = Recipe::preset("gpt2").unwrap();
    let lines: Vec<&str> = preset.text().lines().collect();
    for tensor in json(&run, &plan)["tensors"].as_array().unwrap() {
        let line = tensor["rule"]["line"].as_u64().unwrap();
        assert_eq!(lines[line as usize - 1], "[[rule]]", "{tensor}");
    }
    assert!(run.files().is_empty());
}

/// Names are any text: they must neither break the table nor speak to the terminal.
#[test]
fn names_of_all_kinds_line_up() {
    let run = Run::new();
    run.write("all.toml", "[[rule]]\nmatch = \"*\"\ninit = \"ones\"\n");
    run.write(
        "list.json",
        r#"{"tensors": [
            {"name": "層.重み", "shape": [1]},
            {"name": "e\u0301te\u0301", "shape": [1]},
            {"name": "a\u202eb\u2066", "shape": [1]},
            {"name": "\u001b[2J\n", "shape": [1]},
            {"name": "", "shape": []}
        ]}"#,
    );
    let table = text(&run, &["plan", "all.toml", "--tensors", "list.json"]);
    assert_eq!(
        table,
        "\
name                shape  dtype  init  drawn from         fan_in  fan_out  bytes  rule        file
層.重み             [1]    f32    ones  constant(value=1)       -        -      4  all.toml:1  model.safetensors
e\u{301}te\u{301}                 [1]    f32    ones  constant(value=1)       -        -      4  all.toml:1  model.safetensors
a\\u{202e}b\\u{2066}  [1]    f32    ones  constant(value=1)       -        -      4  all.toml:1  model.safetensors
\\u{1b}[2J\\n         [1]    f32    ones  constant(value=1)       -        -      4  all.toml:1  model.safetensors
                    []     f32    ones  constant(value=1)       -        -      4  all.toml:1  model.safetensors
total: 5 tensors, 5 parameters, 20 bytes; seed -
"
    );
}

#[test]
fn a_plan_that_cannot_be_made_is_one_line() {
    let run = Run::new();
    run.write("list.json", r#"{"tensors": [{"name": "b", "shape": [4]}]}"#);
    run.write(
        "own.toml",
        "extends = \"xavier\"\n\n[[rule]]\nmatch = \"b\"\n  init = \"he_normal\"\n",
    );
    run.refused(
        &["plan", "own.toml", "--tensors", "list.json"],
        1,
        &[
            "tensor \"b\": shape [4] has no fan_in",
            "(own.toml line 5, column 10)",
        ],
    );
    run.refused(
        &["plan", "gpt3", "--tensors", "list.json"],
        2,
        &["unknown preset \"gpt3\""],
    );
    run.refused(
        &["plan", "xavier", "--tensors", "none.json"],
        1,
        &["none.json: cannot open"],
    );
}

/// `fanin plan ... | head -1` is no failure.
#[cfg(unix)]
#[test]
fn a_reader_that_has_enough_is_no_error() {
    let run = Run::new();
    let tensors: Vec<String> = (0..20_000)
        .map(|i| format!(r#"{{"name": "layers.{i}.weight", "shape": [4, 4]}}"#))
        .collect();
    run.write(
        "list.json",
        format!(r#"{{"tensors": [{}]}}"#, tensors.join(",")),
    );
    for json in [&[][..], &["--json"]] {
        let arguments = [&["plan", "xavier", "--tensors", "list.json"], json].concat();
        let mut child = run
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{json:?}");
    }
}
