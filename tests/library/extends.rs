//! Recipes that extend others, tied tensors, seeds of rules, and the places that errors name.

use std::fs;
use std::path::Path;

use fanin::init::Distribution;
use fanin::{DType, Layout, ListedTensor, Plan, Recipe, Shape, TensorList, cpu, stream_id};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn tensors(tensors: &[(&str, &[u64])]) -> TensorList {
    let listed = tensors.iter().map(|(name, dims)| ListedTensor {
        name: (*name).to_owned(),
        shape: Shape::new(*dims).unwrap(),
        dtype: None,
    });
    TensorList::new(listed.collect()).unwrap()
}

/// Creates a folder with these files and their folders.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &TempDir, name: &str) -> Result<Recipe, String> {
    Recipe::load(folder.path().join(name)).map_err(|error| error.to_string())
}

fn inits(plan: &Plan) -> Vec<String> {
    let entries = plan.entries.iter();
    entries.map(|entry| entry.init.to_string()).collect()
}

fn bytes(plan: &Plan, index: usize) -> Vec<u8> {
    let fill = &plan.entries[index].fill;
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

/// Returns the error of resolving a recipe for a list.
fn refused(recipe: &str, list: &TensorList) -> String {
    let recipe = Recipe::from_toml(recipe).unwrap();
    let error = recipe.resolve(list, Some(1), None).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ANY: &str = "[[rule]]\nmatch = \"*\"\ninit = \"zeros\"\n";

#[test]
fn the_extending_recipe_overrides_its_base() {
    let list = tensors(&[
        ("h.0.attn.c_proj.weight", &[8, 8]),
        ("wte.weight", &[16, 8]),
        ("h.0.ln_1.weight", &[8]),
        ("extra", &[2]),
    ]);
    let own = "extends = \"gpt2\"\nseed = 5\ndtype = \"bf16\"\n\n[[rule]]\nmatch = \"wte.weight\"\n\
               init = \"normal(std=0.5)\"\n[[rule]]\nmatch = \"extra\"\ninit = \"ones\"\n";
    // A recipe in text can extend a preset, which needs no folder.
    let folder = folder(&[("own.toml", own)]);
    for recipe in [
        load(&folder, "own.toml").unwrap(),
        Recipe::from_toml(own).unwrap(),
    ] {
        let plan = recipe.resolve(&list, None, None).unwrap();
        assert_eq!(
            inits(&plan),
            [
                "residual_normal(std=0.02,layers=1)",
                "normal(std=0.5)",
                "ones",
                "ones"
            ]
        );
        assert_eq!(plan.seed, 5);
        assert!(plan.iter().all(|fill| fill.dtype() == DType::BF16));
        assert_eq!(recipe.text(), own);
        // The rules of the base come after the recipe's own.
        let places: Vec<_> = plan
            .entries
            .iter()
            .map(|entry| &plan.rules[entry.rule.unwrap()])
            .map(|rule| (rule.recipe.as_str(), rule.line))
            .collect();
        assert_eq!(places[0].0, "gpt2");
        assert_eq!((places[1].1, places[3].1), (5, 8));
        assert_eq!(plan.entries[1].rule, Some(0));
    }
}

#[test]
fn settings_of_the_extending_recipe_take_precedence() {
    let base = "seed = 1\ndtype = \"f16\"\nlayout = \"in_out\"\n[[rule]]\nmatch = \"*\"\n\
                init = \"kaiming_normal\"\n";
    let folder = folder(&[
        ("base.toml", base),
        ("nothing.toml", "extends = \"base.toml\"\n"),
        (
            "all.toml",
            "seed = 2\ndtype = \"bf16\"\nlayout = \"out_in\"\nextends = \"base.toml\"\n",
        ),
    ]);
    let list = tensors(&[("w", &[30, 70])]);
    let plan = |name| {
        load(&folder, name)
            .unwrap()
            .resolve(&list, None, None)
            .unwrap()
    };
    let std = |fan_in: f64| Distribution::normal(0.0, (2.0 / fan_in).sqrt()).unwrap();
    for (name, seed, dtype, fan_in) in [
        ("base.toml", 1, DType::F16, 30),
        ("nothing.toml", 1, DType::F16, 30),
        ("all.toml", 2, DType::BF16, 70),
    ] {
        let plan = plan(name);
        let entry = &plan.entries[0];
        assert_eq!((plan.seed, entry.fill.dtype()), (seed, dtype), "{name}");
        assert_eq!(*entry.fill.distribution(), std(fan_in as f64), "{name}");
        assert_eq!(entry.fans.unwrap().fan_in, fan_in, "{name}");
    }
    assert_eq!(Layout::OutIn, Layout::default());
}

#[test]
fn bases_are_found_from_the_file_that_extends_them() {
    let folder = folder(&[
        ("models/own.toml", "extends = \"../base/middle.toml\"\n"),
        ("base/middle.toml", "extends = \"last.toml\"\n"),
        ("base/last.toml", ANY),
    ]);
    let recipe = load(&folder, "models/own.toml").unwrap();
    assert_eq!(recipe.name(), "own.toml");
    let plan = recipe.resolve(&tensors(&[("w", &[2])]), Some(1), None);
    assert_eq!(plan.unwrap().rules[0].recipe, "last.toml");

    // An error in a base names the base and the place in it.
    fs::write(
        folder.path().join("base/last.toml"),
        "\n[[rule]]\nmatch = 3\ninit = \"zeros\"",
    )
    .unwrap();
    let error = load(&folder, "models/own.toml").unwrap_err();
    assert!(error.starts_with("last.toml line 3, column 9: "), "{error}");
    fs::remove_file(folder.path().join("base/last.toml")).unwrap();
    let error = load(&folder, "models/own.toml").unwrap_err();
    assert!(error.contains("last.toml: cannot open"), "{error}");
}

#[test]
fn chains_that_do_not_end_are_refused() {
    let extends = |name: &str| format!("seed = 1\nextends = {name:?}\n{ANY}");
    let absolute = Path::new(env!("CARGO_MANIFEST_DIR")).join("base.toml");
    let folder = folder(&[
        ("self.toml", &extends("self.toml")),
        ("a.toml", &extends("sub/b.toml")),
        ("sub/b.toml", &extends("../a.toml")),
        ("unknown.toml", &extends("gpt3")),
        ("absolute.toml", &extends(absolute.to_str().unwrap())),
        ("folder.toml", &extends("none.toml/x.toml")),
        ("number.toml", "extends = 3"),
        ("none.toml/file", ""),
        ("dir.toml", &extends("none.toml")),
    ]);
    for (name, expected) in [
        (
            "self.toml",
            "self.toml line 2, column 11: extends \"self.toml\", which extends this one",
        ),
        (
            "a.toml",
            "b.toml line 2, column 11: extends \"../a.toml\", which extends this one",
        ),
        (
            "unknown.toml",
            "unknown.toml line 2, column 11: extends \"gpt3\", which is not a preset: did you mean \"gpt2\"? use one of bert",
        ),
        (
            "absolute.toml",
            "absolute.toml line 2, column 11: extends \"/",
        ),
        ("folder.toml", "x.toml: cannot open"),
        ("number.toml", "number.toml line 1, column 11: invalid type"),
        (
            "dir.toml",
            "none.toml: is not a regular file: dir.toml extends it",
        ),
    ] {
        let error = load(&folder, name).unwrap_err();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = Recipe::from_toml("extends = \"base.toml\"")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "recipe line 1, column 11: extends \"base.toml\", but only a recipe that is a file itself can \
         extend one: use a preset's name"
    );

    // A chain of eight recipes is read, one of nine is an error.
    let chain: Vec<(String, String)> = (0..9)
        .map(|i| match i {
            8 => ("8.toml".to_owned(), ANY.to_owned()),
            i => (format!("{i}.toml"), extends(&format!("{}.toml", i + 1))),
        })
        .collect();
    let chain: Vec<(&str, &str)> = chain
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let folder = self::folder(&chain);
    assert!(load(&folder, "1.toml").is_ok());
    let error = load(&folder, "0.toml").unwrap_err();
    assert!(
        error.starts_with("7.toml line 2, column 11: ") && error.contains("8 recipes"),
        "{error}"
    );
}

/// Opening a pipe without a writer would wait forever, and reading a device would not end.
#[cfg(unix)]
#[test]
fn only_files_can_be_extended() {
    let folder = folder(&[
        ("device.toml", "extends = \"zero.toml\"\n"),
        ("pipe.toml", "extends = \"fifo.toml\"\n"),
    ]);
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.toml")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.path().join("fifo.toml"))
        .status();
    assert!(made.unwrap().success());
    for (name, base) in [("device.toml", "zero.toml"), ("pipe.toml", "fifo.toml")] {
        let error = load(&folder, name).unwrap_err();
        assert!(
            error.ends_with(&format!("{base}: is not a regular file: {name} extends it")),
            "{error}"
        );
    }
    // A device is not read either if the user names it, nor a pipe that no program writes.
    for (name, expected) in [
        ("zero.toml", "is not a regular file, but a device"),
        (
            "fifo.toml",
            "is a pipe that no program writes: start the program first, or give a file",
        ),
    ] {
        let error = load(&folder, name).unwrap_err();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn the_hash_covers_the_whole_chain() {
    let own = "extends = \"base.toml\"\n";
    let base = format!("extends = \"torch\"\n{ANY}");
    let folder = folder(&[("own.toml", own), ("base.toml", &base), ("alone.toml", ANY)]);
    assert_eq!(load(&folder, "alone.toml").unwrap().sha256(), sha256(ANY));
    // A preset is a chain, too.
    let [torch, buffers] = ["torch", "buffers"].map(|name| Recipe::preset(name).unwrap());
    assert_eq!(buffers.sha256(), sha256(buffers.text()));
    let lines: String = [torch.text(), buffers.text()]
        .map(|text| sha256(text) + "\n")
        .concat();
    assert_eq!(torch.sha256(), sha256(&lines));
    let lines: String = [own, &base, torch.text(), buffers.text()]
        .map(|text| sha256(text) + "\n")
        .concat();
    let before = load(&folder, "own.toml").unwrap().sha256();
    assert_eq!(before, sha256(&lines));
    fs::write(folder.path().join("base.toml"), base + "\n").unwrap();
    assert_ne!(load(&folder, "own.toml").unwrap().sha256(), before);
}

#[test]
fn a_rule_pins_its_seed() {
    let recipe = Recipe::from_toml(
        "[[rule]]\nmatch = \"embed\"\nseed = 7\ninit = \"normal\"\n[[rule]]\nmatch = \"*\"\n\
         init = \"normal\"\n",
    )
    .unwrap();
    let list = tensors(&[("embed", &[8]), ("head", &[8])]);
    let plans = [1, 2].map(|seed| recipe.resolve(&list, Some(seed), None).unwrap());
    let seeds = plans
        .each_ref()
        .map(|plan| (plan.seed, plan.iter().map(|f| f.seed()).collect::<Vec<_>>()));
    assert_eq!(seeds, [(1, vec![7, 1]), (2, vec![7, 2])]);
    let pinned: Vec<bool> = plans[0].entries.iter().map(|e| e.seed_is_pinned).collect();
    assert_eq!(pinned, [true, false]);
    assert_eq!(bytes(&plans[0], 0), bytes(&plans[1], 0));
    assert_ne!(bytes(&plans[0], 1), bytes(&plans[1], 1));
    let error = recipe.resolve(&list, None, None).unwrap_err().to_string();
    assert!(error.starts_with("no seed"), "{error}");
}

#[test]
fn tied_tensors_have_the_same_weights() {
    let recipe = Recipe::from_toml(
        r#"
        [[rule]]
        match = "lm_head.weight"
        tied_to = "transformer.wte.weight"
        [[rule]]
        match = "half.weight"
        tied_to = "transformer.wte.weight"
        dtype = "bf16"
        [[rule]]
        match = "transformer.wte.weight"
        init = "kaiming_normal"
        layout = "in_out"
        seed = 3
        [[rule]]
        match = "*"
        init = "normal"
        "#,
    )
    .unwrap();
    let wte = "transformer.wte.weight";
    let list = tensors(&[
        ("lm_head.weight", &[50, 8]),
        (wte, &[50, 8]),
        ("half.weight", &[50, 8]),
        ("other.weight", &[50, 8]),
    ]);
    let plan = recipe.resolve(&list, Some(42), None).unwrap();
    let [head, embedding, half, other] = &plan.entries[..] else {
        panic!("four entries")
    };
    assert_eq!(head.tied_to.as_deref(), Some(wte));
    assert_eq!((&embedding.tied_to, &other.tied_to), (&None, &None));
    assert_eq!(
        (head.fill.name(), head.fill.stream()),
        ("lm_head.weight", stream_id(wte))
    );
    assert_eq!(head.fill.seed(), 3);
    assert_eq!(head.init, embedding.init);
    assert_eq!(head.fans.unwrap().fan_in, 50);
    assert_eq!((head.rule, embedding.rule), (Some(0), Some(2)));
    assert_eq!(bytes(&plan, 0), bytes(&plan, 1));
    assert_eq!(half.fill.dtype(), DType::BF16);
    let rounded: Vec<u8> = bytes(&plan, 1)
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|b| half::bf16::from_f32(f32::from_le_bytes(*b)).to_le_bytes())
        .collect();
    assert_eq!(bytes(&plan, 2), rounded);
    assert_ne!(bytes(&plan, 3), bytes(&plan, 1));
}

#[test]
fn ties_that_lead_nowhere_are_refused() {
    let tie = |to: &str| {
        format!(
            "[[rule]]\nmatch = \"a\"\ntied_to = {to:?}\n[[rule]]\nmatch = \"b\"\ntied_to = \"c\"\n{ANY}"
        )
    };
    let list = tensors(&[
        ("a", &[2, 3]),
        ("b", &[2, 3]),
        ("c", &[2, 3]),
        ("d", &[3, 2]),
    ]);
    for (to, expected) in [
        (
            "x",
            "tensor \"a\": tied_to \"x\" names a tensor that is not in the list (recipe line 3, column 11)",
        ),
        ("a", "tensor \"a\": tied_to \"a\" names the tensor itself"),
        (
            "b",
            "tensor \"a\": tied_to \"b\" names a tensor that is tied to \"c\": tie both to",
        ),
        (
            "d",
            "tensor \"a\": tied_to \"d\" names a tensor of shape [3, 2], but this one has shape [2, 3]",
        ),
    ] {
        let error = refused(&tie(to), &list);
        assert!(error.starts_with(expected), "{error}");
    }
    let lone = "[[rule]]\nmatch = \"a\"\ntied_to = \"b\"\n";
    let error = refused(lone, &tensors(&[("a", &[2]), ("b", &[2])]));
    assert!(
        error.contains("names a tensor that no rule matches"),
        "{error}"
    );
    // An error of the tensor that it is tied to is reported for that tensor.
    let fault =
        "[[rule]]\nmatch = \"a\"\ntied_to = \"b\"\n[[rule]]\nmatch = \"b\"\ninit = \"he_normal\"";
    let error = refused(fault, &tensors(&[("a", &[2]), ("b", &[2])]));
    assert!(error.contains("(recipe line 6, column 8)"), "{error}");

    for (text, place, expected) in [
        (
            "init = \"zeros\"\ntied_to = \"b\"",
            "line 4, column 11",
            "both init and tied_to",
        ),
        (
            "tied_to = \"b\"\nseed = 1",
            "line 3, column 11",
            "tied_to takes seed from the tensor",
        ),
        (
            "tied_to = \"b\"\nlayout = \"in_out\"",
            "line 3, column 11",
            "takes layout from",
        ),
        (
            "groups = 2\ntied_to = \"b\"",
            "line 4, column 11",
            "takes groups from",
        ),
        (
            "tied_to = \"b\"\nout_axis = 0",
            "line 3, column 11",
            "out_axis or batch_axis from",
        ),
        (
            "rank = 1",
            "line 1, column 1",
            "missing field `init`, or `tied_to`",
        ),
        ("tied_to = 3", "line 3, column 11", "invalid type"),
    ] {
        let error = Recipe::from_toml(&format!("[[rule]]\nmatch = \"a\"\n{text}\n")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(place) && error.contains(expected),
            "{text}: {error}"
        );
    }
}

#[test]
fn errors_of_resolving_name_their_place() {
    let list = tensors(&[("norm.weight", &[768]), ("h.1.w", &[4, 4])]);
    for (rule, expected) in [
        (
            "init = \"he_normal\"",
            "tensor \"norm.weight\": shape [768] has no fan_in and fan_out",
        ),
        (
            "init = \"normal(std=1/layers)\"",
            "tensor \"norm.weight\": layers finds no layer's number",
        ),
        (
            "init = \"normal(std=0-dim(0))\"",
            "tensor \"norm.weight\": \"normal(std=-768)\" is not",
        ),
        (
            "init = \"eye\"",
            "tensor \"norm.weight\": shape [768] is not a matrix",
        ),
        (
            "init = \"normal(std=sibling(\\\"bias\\\", 0))\"",
            "tensor \"norm.weight\": sibling finds no",
        ),
        (
            "rank = 2\ninit = \"residual_normal(std=1)\"\n[[rule]]\nmatch = \"*\"\ninit = \"ones\"",
            "tensor \"h.1.w\": residual_normal(std=1) finds 1 layers",
        ),
    ] {
        let error = refused(&format!("\n[[rule]]\nmatch = \"*\"\n{rule}\n"), &list);
        assert!(error.starts_with(expected), "{error}");
        let line = if rule.starts_with("rank") { 5 } else { 4 };
        assert!(
            error.ends_with(&format!(" (recipe line {line}, column 8)")),
            "{error}"
        );
    }
    // An invalid glob in an expression is found when the recipe is read.
    let error = Recipe::from_toml("[[rule]]\nmatch = \"*\"\ninit = 'normal(std=count(\"[\"))'")
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("recipe line 3, column 8: ") && error.contains("\"[\" is not a glob"),
        "{error}"
    );

    let folder = folder(&[
        (
            "own.toml",
            "extends = \"base.toml\"\n[[rule]]\nmatch = \"other\"\ninit = \"ones\"",
        ),
        (
            "base.toml",
            "# what all share\n[[rule]]\nmatch = \"*\"\n  init = \"orthogonal\"",
        ),
    ]);
    let error = load(&folder, "own.toml")
        .unwrap()
        .resolve(&list, Some(1), None)
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("tensor \"norm.weight\": ")
            && error.ends_with(" (base.toml line 4, column 10)"),
        "{error}"
    );
}

#[test]
fn a_recipe_names_its_list_of_tensors() {
    let base = format!("tensors = \"lists/base.json\"\n{ANY}");
    let folder = folder(&[
        ("base/base.toml", &base),
        ("inherits.toml", "extends = \"base/base.toml\"\n"),
        (
            "own.toml",
            "extends = \"base/base.toml\"\ntensors = \"../own\"\n",
        ),
        ("absolute.toml", &format!("tensors = \"/list.json\"\n{ANY}")),
        ("none.toml", ANY),
    ]);
    let path = |name: &str| folder.path().join(name);
    // The path is relative to the folder of the recipe that has the key, and need not exist.
    for (name, expected) in [
        ("base/base.toml", Some(path("base/lists/base.json"))),
        ("inherits.toml", Some(path("base/lists/base.json"))),
        ("own.toml", Some(path("../own"))),
        ("none.toml", None),
    ] {
        let recipe = load(&folder, name).unwrap();
        assert_eq!(recipe.tensors(), expected.as_deref(), "{name}");
    }
    // The hash is that of the texts alone.
    let recipe = load(&folder, "base/base.toml").unwrap();
    assert_eq!(recipe.sha256(), sha256(&base));
    assert_eq!(load(&folder, "none.toml").unwrap().sha256(), sha256(ANY));

    let error = load(&folder, "absolute.toml").unwrap_err();
    assert!(
        error.starts_with("absolute.toml line 1, column 11: lists tensors in \"/list.json\": the path must be relative"),
        "{error}"
    );
    let error = Recipe::from_toml(&base).unwrap_err().to_string();
    assert!(
        error.contains("but only a recipe that is a file itself has a folder"),
        "{error}"
    );
}
