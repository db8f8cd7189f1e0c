//! A rule of the user's that applies to no tensor is often a mistake in a glob: it is a warning with the
//! nearest names, and an error with `--strict`.

use crate::run::{Fanin, Run, model, rule};

const NULL: &str = "--seed 1 --out null:";

/// Writes `own.toml`, which extends a preset by these rules.
fn extend(run: &Run, preset: &str, rules: &str) {
    run.write("own.toml", format!("extends = {preset:?}\n\n{rules}"));
}

/// Returns the commands that resolve a recipe against a list.
fn commands<'a>(run: &'a Run, recipe: &str, list: &str) -> Vec<Fanin<'a>> {
    let init = run.cpu(&format!("init {recipe} {NULL}"));
    let regenerate = run.cpu(&format!("regenerate {recipe} --tensor * {NULL}"));
    let plan = run.fanin(&format!("plan {recipe}"));
    let commands = [init, regenerate, plan];
    commands
        .map(|command| command.tensors(run.path(list)))
        .into()
}

/// The commands warn in one line that holds these texts, and do their work. With `--strict`, the same
/// line is their error.
fn warned(run: &Run, list: &str, texts: &[&str]) {
    for command in commands(run, "own.toml", list) {
        let ended = command.ok();
        let warnings = ended.stderr.lines();
        let warnings: Vec<&str> = warnings.filter(|line| line.contains("warning")).collect();
        assert_eq!(warnings.len(), 1, "{}", ended.stderr);
        for text in texts {
            assert!(
                warnings[0].contains(text),
                "{text:?} is not in: {warnings:?}"
            );
        }
        command.and("--strict").refused(1, texts);
    }
}

/// Neither a warning nor an error.
fn accepted(run: &Run, recipe: &str, list: &str) {
    for command in commands(run, recipe, list) {
        let ended = command.and("--strict").ok();
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    }
}

fn gpt2(run: &Run) {
    run.write("list.json", std::fs::read(model("gpt2.json")).unwrap());
}

#[test]
fn a_glob_without_its_prefix_names_the_nearest_tensors() {
    let run = Run::new();
    gpt2(&run);
    extend(&run, "gpt2", &rule("c_proj.weight", "zeros"));
    warned(
        &run,
        "list.json",
        &[
            "own.toml line 3: the rule with match = \"c_proj.weight\" applies to no tensor",
            "the list has \"transformer.h.0.mlp.c_proj.weight\"",
        ],
    );
    extend(&run, "gpt2", &rule("*c_proj.weight", "zeros"));
    accepted(&run, "own.toml", "list.json");
}

#[test]
fn a_misspelt_name_names_the_nearest_tensors() {
    let run = Run::new();
    run.list(
        "list.json",
        &[("encoder.weight", &[4, 4]), ("head.weight", &[4, 4])],
    );
    extend(&run, "kaiming", &rule("encodr.weight", "zeros"));
    warned(
        &run,
        "list.json",
        &["\"encodr.weight\"", "the list has \"encoder.weight\""],
    );
}

#[test]
fn a_rule_of_another_rank_or_after_others_says_so() {
    let run = Run::new();
    run.list("list.json", &[("a.weight", &[4, 4])]);
    for key in ["rank", "sibling_rank", "bias_rank"] {
        let rank = format!("[[rule]]\nmatch = \"a.*\"\n{key} = 3\ninit = \"zeros\"\n");
        extend(&run, "kaiming", &rank);
        warned(
            &run,
            "list.json",
            &["match = \"a.*\" applies to no tensor", "\"a.weight\""],
        );
    }
    let shadowed = rule("*.weight", "zeros") + &rule("a.weight", "ones");
    extend(&run, "kaiming", &shadowed);
    warned(
        &run,
        "list.json",
        &["match = \"a.weight\" applies to no tensor: earlier rules take all that it matches"],
    );
}

#[test]
fn rules_of_presets_and_unmet_conditions_do_not_count() {
    let run = Run::new();
    gpt2(&run);
    // The preset has rules for masks and for lm_head.weight, which this list has not.
    accepted(&run, "gpt2", "list.json");
    let with =
        "[[rule]]\nmatch = \"*lm_head.weight\"\nwith = \"*score.weight\"\ninit = \"zeros\"\n";
    extend(&run, "gpt2", with);
    accepted(&run, "own.toml", "list.json");
    // A base of the user's own is no preset.
    extend(&run, "gpt2", &rule("lm_haed.weight", "zeros"));
    run.write("top.toml", "extends = \"own.toml\"\n");
    for command in commands(&run, "top.toml", "list.json") {
        command
            .and("--strict")
            .refused(1, &["own.toml line 3", "\"lm_haed.weight\""]);
    }
}

#[test]
fn every_rule_is_named() {
    let run = Run::new();
    gpt2(&run);
    let rules = rule("one.weight", "zeros") + &rule("two.weight", "zeros");
    extend(&run, "gpt2", &rules);
    let ended = run.fanin("plan own.toml").tensors("list.json").ok();
    ended.says("\"one.weight\"").says("\"two.weight\"");
}

#[test]
fn rules_of_a_shard_spec_are_named_too() {
    let run = Run::new();
    gpt2(&run);
    run.write(
        "spec.toml",
        "mesh = [{ name = \"tp\", size = 2 }]\n\
         [[rule]]\nmatch = \"c_proj.weight\"\nplacements = [\"shard(1)\"]\n\
         [[rule]]\nmatch = \"*\"\nplacements = [\"replicate\"]\n",
    );
    let message = "spec.toml: the rule with match = \"c_proj.weight\" applies to no tensor";
    let init = || {
        run.fanin("init gpt2 --seed 1 --shard-spec spec.toml --out null:")
            .tensors("list.json")
    };
    init().ok().says(message);
    init().and("--strict").refused(1, &[message]);
}
