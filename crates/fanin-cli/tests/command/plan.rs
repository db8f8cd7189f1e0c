//! `fanin plan` shows a recipe resolved for a list, as an aligned table and as JSON.

use std::io::Read;

use fanin::{Recipe, stream_id};
use serde_json::{Value, json};

use crate::run::{Run, ended, model};

const PLAN: &str = "plan own.toml --tensors list.json";

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

/// Returns a folder with list.json and own.toml.
fn with_recipe() -> Run {
    let run = Run::new();
    run.write("list.json", LIST);
    run.write("own.toml", RECIPE);
    run
}

#[test]
fn a_plan_has_a_row_for_each_tensor_and_a_total() {
    let run = with_recipe();
    assert_eq!(
        run.fanin(PLAN).ok().text(),
        "\
name          shape     dtype  init                           drawn from                                                            fan_in  fan_out  bytes  rule         file               tied to
head.weight   [50, 16]  f32    normal(std=0.125)              normal(mean=0,std=0.125)                                                   -        -   3200  own.toml:1   model.safetensors  embed.weight
embed.weight  [50, 16]  bf16   normal(std=0.5/sqrt(dim(-1)))  normal(mean=0,std=0.125)                                                   -        -   1600  own.toml:5   model.safetensors  -
fc.weight     [32, 16]  f32    he_normal                      truncated_normal(mean=0,std=0.4019362,low=-0.8038724,high=0.8038724)      16       32   2048  own.toml:14  model.safetensors  -
fc.bias       [32]      f32    bias_uniform                   uniform(low=-0.25,high=0.25)                                               -        -    128  own.toml:10  model.safetensors  -
none          [0, 4]    f32    he_normal                      constant(value=0)                                                          4        0      0  own.toml:14  model.safetensors  -
total: 5 tensors, 2,144 parameters, 6,976 bytes; seed -
"
    );
    let ended = run.fanin(PLAN).and("--seed 7 --dtype f16").ok();
    let total = "total: 5 tensors, 2,144 parameters, 4,288 bytes; seed 7\n";
    assert!(ended.text().ends_with(total), "{}", ended.text());
}

#[test]
fn json_has_everything_that_determines_the_bits() {
    let run = with_recipe();
    let json = |more: &str| run.fanin(PLAN).and("--json").and(more).ok().json();
    let got = json("");
    assert_eq!(got["recipe"], "own.toml");
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    assert_eq!(got["recipe_sha256"], recipe.sha256());
    assert_eq!(
        got["total"],
        json!({"tensors": 5, "parameters": 2144, "bytes": 6976})
    );
    // Only the rule of two tensors gives a seed.
    assert_eq!(got["seed"], Value::Null);
    let head = json!({
        "name": "head.weight",
        "shape": [50, 16],
        "dtype": "f32",
        "init": "normal(std=0.125)",
        "distribution": {"kind": "normal", "mean": 0.0, "std": 0.125},
        "fan_in": null,
        "fan_out": null,
        "elements": 800,
        "bytes": 3200,
        "rule": {"recipe": "own.toml", "line": 1, "column": 1},
        "tied_to": "embed.weight",
        "same_as": null,
        "parts": [],
        "seed": 0,
        "stream": stream_id("embed.weight"),
        "file": "model.safetensors",
    });
    assert_eq!(got["tensors"][0], head);
    assert_eq!(got["tensors"][2]["seed"], Value::Null);
    assert_eq!(got["tensors"][2]["fan_in"], 16);
    assert_eq!(got["tensors"][2]["stream"], stream_id("fc.weight"));

    let got = json("--seed 0xffffffffffffffff");
    assert_eq!(got["seed"], u64::MAX);
    assert_eq!(
        (&got["tensors"][0]["seed"], &got["tensors"][2]["seed"]),
        (&json!(0), &json!(u64::MAX))
    );
}

#[test]
fn a_preset_is_planned_for_a_real_model() {
    let run = Run::new();
    let plan = run.fanin("plan gpt2").tensors(model("gpt2.json"));
    let ended = plan.ok();
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.len(), 150);
    assert_eq!(
        lines[149],
        "total: 148 tensors, 124,439,808 parameters, 497,759,232 bytes; seed -"
    );
    // No tensor is tied, so there is no column for it.
    assert!(lines[0].ends_with("  bytes  rule     file"), "{}", lines[0]);
    // The files are those that `fanin init` writes to a folder.
    let sharded = plan.clone().and("--max-shard-size 200MB").ok();
    let rows = sharded.rows();
    assert_eq!(rows[1].last(), Some(&"model-00001-of-00003.safetensors"));
    assert_eq!(rows[148].last(), Some(&"model-00003-of-00003.safetensors"));
    // The line of every rule is correct.
    let preset = Recipe::preset("gpt2").unwrap();
    let lines: Vec<&str> = preset.text().lines().collect();
    let json = plan.and("--json").ok().json();
    for tensor in json["tensors"].as_array().unwrap() {
        let line = tensor["rule"]["line"].as_u64().unwrap();
        assert_eq!(lines[line as usize - 1], "[[rule]]", "{tensor}");
    }
    assert!(run.files().is_empty());
}

/// Names are untrusted text. They must not break the table or control the terminal.
#[test]
fn names_of_all_kinds_line_up() {
    let run = Run::new();
    run.recipe("all.toml", "ones");
    let names = [
        "層.重み",
        "e\u{301}te\u{301}",
        "a\u{202e}b\u{2066}",
        "\u{1b}[2J\n",
    ];
    let mut tensors = names.map(|name| (name, &[1][..])).to_vec();
    tensors.push(("", &[]));
    run.list("list.json", &tensors);
    let ended = run.fanin("plan all.toml --tensors list.json").ok();
    assert_eq!(
        ended.text(),
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
    run.list("list.json", &[("b", &[4])]);
    run.write(
        "own.toml",
        "extends = \"xavier\"\n\n[[rule]]\nmatch = \"b\"\n  init = \"he_normal\"\n",
    );
    run.fanin(PLAN).refused(
        1,
        &[
            "tensor \"b\": shape [4] has no fan_in",
            "(own.toml line 5, column 10)",
        ],
    );
    run.fanin("plan gpt3 --tensors list.json")
        .refused(2, &["unknown preset \"gpt3\""]);
    run.fanin("plan xavier --tensors none.json")
        .refused(1, &["none.json: cannot open"]);
}

/// `fanin plan ... | head -1` succeeds.
#[cfg(unix)]
#[test]
fn a_closed_reader_is_no_error() {
    let run = Run::new();
    let names: Vec<String> = (0..20_000).map(|i| format!("layers.{i}.weight")).collect();
    let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (&name[..], &[4, 4][..])).collect();
    run.list("list.json", &tensors);
    for json in ["", "--json"] {
        let plan = run.fanin("plan xavier --tensors list.json").and(json);
        let mut child = plan.spawn();
        let mut some = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{json:?}");
    }
}

/// Columns that do not fit a terminal are cut or left out. A pipe gets all.
#[cfg(unix)]
#[test]
fn a_table_fits_the_terminal() {
    let run = with_recipe();
    let plan = run.fanin(PLAN);
    let piped = plan.ok();
    let piped: Vec<&str> = piped.text().lines().collect();
    assert_eq!(plan.on_terminal(0), piped[..], "no width is known");
    assert_eq!(plan.clone().and("--wide").on_terminal(80), piped[..]);
    let narrow = [
        "name          shape     init                    numbers             tied to",
        "head.weight   [50, 16]  normal(std=0.125)       std 0.125           embed.weight",
    ];
    assert_eq!(plan.on_terminal(80)[..2], narrow);
    for width in [1, 20, 40, 60, 80, 100, 120, 200] {
        let lines = plan.on_terminal(width);
        assert_eq!(lines.len(), piped.len(), "{lines:?}");
        for line in &lines[..6] {
            assert!(line.chars().count() <= width.into(), "{width}: {line:?}");
        }
        let given = plan.clone().env("COLUMNS", width).on_terminal(0);
        assert_eq!(given, lines);
    }
}
