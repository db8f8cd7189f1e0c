//! Tensors that are not drawn: counters, masks and codes of quantized weights are carried over, kept from files,
//! skipped or set, and every command takes the files that hold them.

use safetensors::{Dtype, SafeTensors};

use crate::run::{Run, safetensors};

/// Writes a safetensors file of these tensors: name, dtype, shape, and the bytes.
fn write(run: &Run, name: &str, tensors: &[(&str, &str, &str, &[u8])]) {
    let mut members = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(*bytes);
        members.push(format!(
            r#"{name:?}:{{"dtype":{dtype:?},"shape":{shape},"data_offsets":[{start},{}]}}"#,
            data.len()
        ));
    }
    let mut file = safetensors(&format!("{{{}}}", members.join(",")), 0);
    file.extend_from_slice(&data);
    run.write(name, file);
}

/// A model as frameworks store it: weights, a counter, a mask, weights in binary64 and in FP8 with their scale, and
/// packed codes.
fn model(run: &Run) {
    write(
        run,
        "model.safetensors",
        &[
            ("fc.weight", "F32", "[8,6]", &[1; 192]),
            ("bn.num_batches_tracked", "I64", "[]", &700i64.to_le_bytes()),
            (
                "attn.mask",
                "BOOL",
                "[4,4]",
                &[1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1],
            ),
            ("wide.weight", "F64", "[8,6]", &[2; 384]),
            ("quantized.weight", "F8_E4M3", "[8,6]", &[3; 48]),
            ("codes", "F4", "[4,6]", &[0x21; 12]),
            (
                "position_ids",
                "I32",
                "[1,3]",
                &[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0],
            ),
        ],
    );
}

fn tensor(run: &Run, file: &str, name: &str) -> (Dtype, Vec<u8>) {
    let bytes = run.read(file);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    (view.dtype(), view.data().to_vec())
}

const CARRIED: [&str; 4] = [
    "bn.num_batches_tracked",
    "attn.mask",
    "codes",
    "position_ids",
];

#[test]
fn what_is_not_drawn_is_carried_over_and_every_command_takes_it() {
    let run = Run::new();
    model(&run);
    run.write(
        "recipe.toml",
        "[[rule]]\nmatch = \"*\"\ninit = \"normal(mean=0,std=0.5)\"\n",
    );
    let list = run.path("model.safetensors");
    let init = run
        .cpu("init recipe.toml --seed 7 --out new.safetensors")
        .tensors(&list);
    init.ok();
    for name in CARRIED {
        assert_eq!(
            tensor(&run, "new.safetensors", name),
            tensor(&run, "model.safetensors", name)
        );
    }
    for (name, dtype) in [
        ("fc.weight", Dtype::F32),
        ("wide.weight", Dtype::F64),
        ("quantized.weight", Dtype::F8_E4M3),
    ] {
        let (made, bytes) = tensor(&run, "new.safetensors", name);
        assert_eq!(made, dtype);
        assert_ne!(bytes, tensor(&run, "model.safetensors", name).1, "{name}");
    }
    init.clone().and("--resume").ok();

    // Against the file itself, what was kept is not compared; against its source it is.
    let verify = run.cpu("verify new.safetensors --recipe recipe.toml --seed 7");
    verify
        .ok()
        .says("3 tensors, ")
        .says("4 tensors kept from their source or skipped: not compared");
    let json = verify.clone().and("--json").ok().json();
    assert_eq!(json["passed_over"].as_array().unwrap().len(), 4);
    let against = verify.clone().tensors(&list).ok();
    against.says("7 tensors, ");
    assert!(!against.stderr.contains("not compared"));
    let mut changed = run.read("new.safetensors");
    let at = changed
        .windows(8)
        .position(|bytes| bytes == 700i64.to_le_bytes())
        .unwrap();
    changed[at] ^= 1;
    run.write("changed.safetensors", &changed);
    let changed = run.cpu("verify changed.safetensors --recipe recipe.toml --seed 7");
    changed.ok();
    let found = changed.tensors(&list).ends(1);
    found.says(
        r#"tensor "bn.num_batches_tracked": element [] (0 in row-major order) is 701 (0x00000000000002bd), not 700"#,
    );

    let diff = run
        .cpu("diff recipe.toml new.safetensors --seed 7 --json")
        .ok()
        .json();
    let mut names: Vec<&str> = diff["not_compared"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "attn.mask",
            "bn.num_batches_tracked",
            "codes",
            "position_ids"
        ]
    );
    assert_eq!(diff["total"]["change_norm"], 0.0);
    assert_eq!(diff["only_in_trained"].as_array().unwrap().len(), 0);

    let stats = run
        .fanin("stats new.safetensors --recipe recipe.toml --json")
        .ok()
        .json();
    for row in stats.as_array().unwrap() {
        let is_carried = CARRIED.contains(&row["name"].as_str().unwrap());
        assert_eq!(row["mean"].is_null(), is_carried, "{row}");
        assert_eq!(row.get("expected").is_none(), is_carried, "{row}");
        assert_eq!(row["flags"].as_array().unwrap().len(), 0, "{row}");
    }

    run.cpu("regenerate recipe.toml --seed 7 --tensor *mask --tensor wide.weight --slice 1:3,: --out part.safetensors")
        .tensors(&list)
        .ok();
    assert_eq!(
        tensor(&run, "part.safetensors", "attn.mask").1,
        [1, 1, 0, 0, 1, 1, 1, 0]
    );
    let rows = &tensor(&run, "new.safetensors", "wide.weight").1[48..144];
    assert_eq!(tensor(&run, "part.safetensors", "wide.weight").1, rows);
}

#[test]
fn rules_keep_from_files_and_skip() {
    let run = Run::new();
    model(&run);
    write(
        &run,
        "trained.safetensors",
        &[
            ("fc.weight", "BF16", "[8,6]", &[9; 96]),
            ("other", "F32", "[]", &[0; 4]),
        ],
    );
    run.write(
        "recipe.toml",
        "[[rule]]\nmatch = \"fc.weight\"\nkeep = \"trained.safetensors\"\n\
         [[rule]]\nmatch = \"wide.weight\"\nkeep = true\n\
         [[rule]]\nmatch = \"{codes,attn.mask}\"\nskip = true\n\
         [[rule]]\nmatch = \"bn.num_batches_tracked\"\ninit = \"zeros\"\n\
         [[rule]]\nmatch = \"*\"\ninit = \"normal\"\n",
    );
    let list = run.path("model.safetensors");
    let init = run
        .cpu("init recipe.toml --seed 7 --dtype bf16")
        .tensors(&list);
    init.clone().and("--out new.safetensors").ok();
    let bytes = run.read("new.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 5);
    let new = |name: &str| tensor(&run, "new.safetensors", name);
    assert_eq!(new("fc.weight"), (Dtype::BF16, vec![9; 96]));
    assert_eq!(new("wide.weight"), (Dtype::F64, vec![2; 384]));
    // --dtype is for drawn floats: a counter that is set stays one.
    assert_eq!(new("bn.num_batches_tracked"), (Dtype::I64, vec![0; 8]));
    assert_eq!(new("quantized.weight").0, Dtype::BF16);
    // The file that a rule names is compared, though the source is not given.
    let verify = run.cpu("verify new.safetensors --recipe recipe.toml --seed 7");
    verify
        .ok()
        .says("3 tensors, ")
        .says("2 tensors kept from their source or skipped");
    // Skipped tensors of a file that still has them are passed over, too.
    let verify = run
        .cpu("verify model.safetensors --recipe recipe.toml --seed 7 --json")
        .ends(1);
    let error = &verify.stderr;
    assert!(error.contains("has dtype f32, but bf16 is kept"), "{error}");

    // Ranks keep their parts.
    run.write(
        "spec.toml",
        "mesh = [{ name = \"tp\", size = 2 }]\n[[rule]]\nmatch = \"*.weight\"\nplacements = [\"shard(1)\"]\n\
         [[rule]]\nmatch = \"*\"\nplacements = [\"replicate\"]\n",
    );
    init.clone().and("--shard-spec spec.toml --out ranks/").ok();
    let rank = "ranks/model-rank-00001-of-00002.safetensors";
    assert_eq!(tensor(&run, rank, "wide.weight").1, vec![2; 192]);
    assert_eq!(
        tensor(&run, rank, "position_ids"),
        tensor(&run, "model.safetensors", "position_ids")
    );

    let floats = "use f32, f16, bf16, f64, f8_e4m3 or f8_e5m2";
    for (dtype, text) in [
        ("i64", "i64 cannot hold drawn numbers: "),
        ("f9", "unknown dtype: "),
    ] {
        let init = run.cpu("init recipe.toml --seed 7 --out x.safetensors --dtype");
        let refused = init.and(dtype).tensors(&list).ends(2);
        refused.says(text).says(floats);
    }

    // Nothing is written over what is kept.
    init.clone().and("--out model.safetensors").refused(
        2,
        &[
            "tensors are kept from",
            "model.safetensors: use another path",
        ],
    );
    init.and("--out ./").refused(2, &["tensors are kept from"]);
}

#[test]
fn a_tensor_that_cannot_be_kept_is_refused_by_name() {
    let run = Run::new();
    model(&run);
    write(
        &run,
        "other.safetensors",
        &[("fc.weight", "F32", "[6,8]", &[0; 192])],
    );
    run.write("shape.toml", "[[rule]]\nmatch = \"fc.weight\"\nkeep = \"other.safetensors\"\n[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n");
    run.write("lacks.toml", "[[rule]]\nmatch = \"wide.weight\"\nkeep = \"other.safetensors\"\n[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n");
    let init = |recipe: &str| run.cpu(&format!("init {recipe} --seed 1 --out new.safetensors"));
    let list = run.path("model.safetensors");
    init("shape.toml").tensors(&list).refused(
        1,
        &[
            "other.safetensors",
            "tensor \"fc.weight\"",
            "has shape [6, 8], but is to be kept with shape [8, 6]",
        ],
    );
    init("lacks.toml").tensors(&list).refused(
        1,
        &[
            "other.safetensors",
            "tensor \"wide.weight\"",
            "lacks it: name another file, give it an init, or skip it",
        ],
    );

    // A list in JSON has no data to keep.
    run.write(
        "list.json",
        r#"{"tensors": [{"name": "bn.num_batches_tracked", "shape": [], "dtype": "torch.int64"}]}"#,
    );
    run.recipe("normal.toml", "normal");
    init("normal.toml").tensors(run.path("list.json")).refused(1, &[
        r#"tensor "bn.num_batches_tracked": dtype i64 holds whole numbers only, and normal(mean=0,std=1) gives others"#,
        "keep = true",
        "skip = true",
        "init = \"zeros\"",
    ]);
    run.recipe("zeros.toml", "zeros");
    init("zeros.toml").tensors(run.path("list.json")).ok();
    assert_eq!(
        tensor(&run, "new.safetensors", "bn.num_batches_tracked"),
        (Dtype::I64, vec![0; 8])
    );
}

#[test]
fn lists_give_dtypes_in_the_spellings_of_every_framework() {
    let run = Run::new();
    run.recipe("ones.toml", "ones");
    for (text, dtype, one) in [
        ("torch.bfloat16", Dtype::BF16, &[0x80, 0x3f][..]),
        ("bfloat16", Dtype::BF16, &[0x80, 0x3f]),
        ("BF16", Dtype::BF16, &[0x80, 0x3f]),
        ("float16", Dtype::F16, &[0, 0x3c]),
        ("torch.half", Dtype::F16, &[0, 0x3c]),
        ("<f4", Dtype::F32, &[0, 0, 0x80, 0x3f]),
        ("torch.float64", Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
        ("float8_e4m3fn", Dtype::F8_E4M3, &[0x38]),
        ("torch.float8_e5m2", Dtype::F8_E5M2, &[0x3c]),
        ("torch.int64", Dtype::I64, &[1, 0, 0, 0, 0, 0, 0, 0]),
        ("uint8", Dtype::U8, &[1]),
        ("|b1", Dtype::BOOL, &[1]),
    ] {
        run.write(
            "list.json",
            format!(r#"{{"tensors": [{{"name": "w", "shape": [2], "dtype": {text:?}}}]}}"#),
        );
        run.cpu("init ones.toml --seed 1 --out w.safetensors")
            .tensors(run.path("list.json"))
            .ok();
        assert_eq!(
            tensor(&run, "w.safetensors", "w"),
            (dtype, one.repeat(2)),
            "{text}"
        );
        std::fs::remove_file(run.path("w.safetensors")).unwrap();
    }
}

#[test]
fn fill_takes_every_dtype_that_can_hold_the_initializer() {
    let run = Run::new();
    let fill = |more: &str| run.cpu("fill --shape 4 --name w --seed 1").and(more);
    let raw = |more: &str| fill(more).and("--out -").ok().stdout;
    assert_eq!(
        raw("--init constant(value=-2) --dtype int16"),
        (-2i16).to_le_bytes().repeat(4)
    );
    assert_eq!(
        raw("--init constant(value=1e9) --dtype float8_e4m3fn"),
        [0x7e; 4]
    );
    assert_eq!(
        raw("--init constant(value=0.1) --dtype f64"),
        f64::from(0.1f32).to_le_bytes().repeat(4)
    );
    fill("--init ones --dtype bool --out w.npy").ok();
    assert!(String::from_utf8_lossy(&run.read("w.npy")).contains("'descr': '|b1'"));
    fill("--init normal --dtype i64 --out w.bin").refused(
        2,
        &["dtype i64 holds whole numbers only", "dtype = \"f32\""],
    );
    fill("--init zeros --dtype f4 --out w.bin").refused(2, &["dtype f4 cannot be initialized"]);
    fill("--init zeros --dtype f8_e4m3 --out x.npy").refused(2, &["npy cannot hold f8_e4m3"]);
}

/// Bounds of a truncated normal are moved inwards by up to a whole unit of a coarse dtype, and large values are held
/// at the largest number of FP8.
#[test]
fn weights_in_coarse_dtypes_are_not_flagged() {
    let run = Run::new();
    run.list(
        "list.json",
        &[("a.weight", &[512, 512]), ("b.weight", &[512, 33])],
    );
    for dtype in ["bf16", "f64", "f8_e4m3", "f8_e5m2"] {
        for init in [
            "normal(std=0.02)",
            "normal(mean=3,std=300)",
            "normal(std=1e6)",
            "uniform(low=-0.04,high=0.04)",
            "he_normal",
            "trunc_normal(std=0.02)",
            "sparse(sparsity=0.1)",
            "constant(value=0.1)",
            "sinusoidal",
        ] {
            run.recipe("all.toml", init);
            let file = run.path("w.safetensors");
            run.cpu("init all.toml --seed 3 --out w.safetensors --dtype")
                .and(dtype)
                .tensors(run.path("list.json"))
                .ok();
            let stats = run
                .fanin("stats w.safetensors --recipe all.toml --json")
                .ok()
                .json();
            for row in stats.as_array().unwrap() {
                assert!(!row["expected"].is_null());
                assert_eq!(
                    row["flags"].as_array().unwrap().len(),
                    0,
                    "{init} {dtype}: {row}"
                );
            }
            run.cpu("verify w.safetensors --recipe all.toml --seed 3")
                .ok();
            std::fs::remove_file(file).unwrap();
        }
    }
    // A wrong std is still seen.
    run.recipe("all.toml", "normal(std=0.02)");
    run.cpu("init all.toml --seed 3 --out w.safetensors --dtype f8_e4m3")
        .tensors(run.path("list.json"))
        .ok();
    run.recipe("all.toml", "normal(std=0.024)");
    let stats = run
        .fanin("stats w.safetensors --recipe all.toml --json")
        .ok()
        .json();
    assert_eq!(stats[0]["flags"][0]["text"], "std too small");
}

/// Codes and scales that no initializer makes, beside a rule for everything.
#[test]
fn what_is_not_made_is_carried_over_whatever_the_rule_and_the_dtype() {
    let run = Run::new();
    let (weight, scale) = ([0; 64], [130, 131, 132, 133]);
    write(
        &run,
        "source.safetensors",
        &[
            ("w", "F32", "[4,4]", &weight),
            ("scale", "F8_E8M0", "[4]", &scale),
            ("steps", "I64", "[]", &7u64.to_le_bytes()),
        ],
    );
    for init in [
        "normal(std=0.02)",
        "kaiming_normal",
        "normal(std=1/sqrt(fan_in))",
    ] {
        run.write(
            "own.toml",
            format!("[[rule]]\nmatch = \"*\"\ninit = \"{init}\"\n"),
        );
        run.fanin("init own.toml --seed 1 --dtype bf16 --overwrite --out out.safetensors")
            .tensors("source.safetensors")
            .ok();
        let file = std::fs::read(run.path("out.safetensors")).unwrap();
        let made = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(made.tensor("scale").unwrap().data(), scale, "{init}");
        assert_eq!(made.tensor("scale").unwrap().dtype(), Dtype::F8_E8M0);
        assert_eq!(made.tensor("steps").unwrap().data(), 7u64.to_le_bytes());
        assert_eq!(made.tensor("w").unwrap().dtype(), Dtype::BF16);
    }
    run.write("tied.toml", "[[rule]]\nmatch = \"w\"\nsame_as = \"codes\"\n[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n");
    write(
        &run,
        "codes.safetensors",
        &[
            ("w", "F32", "[2]", &[0; 8]),
            ("codes", "I32", "[2]", &[1; 8]),
        ],
    );
    run.fanin("plan tied.toml --seed 1")
        .tensors("codes.safetensors")
        .refused(
            1,
            &["same_as \"codes\" names a tensor that is kept from a file: keep this one, too"],
        );
}

/// Makes the list `list.json`, the recipe `own.toml`, and the folder `old` with two shards of them.
fn with_shards() -> Run {
    let run = Run::new();
    run.list("list.json", &[("a", &[64]), ("b", &[64])]);
    run.write("own.toml", "[[rule]]\nmatch = \"*\"\ninit = \"normal\"\n");
    run.fanin("init own.toml --seed 1 --max-shard-size 256 --out old/")
        .tensors("list.json")
        .ok();
    run
}

#[test]
fn overwriting_never_removes_what_is_read() {
    let run = with_shards();
    run.write(
        "keep.toml",
        "[[rule]]\nmatch = \"a\"\nkeep = \"old/model-00001-of-00002.safetensors\"\n\
         [[rule]]\nmatch = \"b\"\ninit = \"normal\"\n",
    );
    for out in ["old/model.safetensors", "old/"] {
        run.fanin("init keep.toml --seed 1 --overwrite --out")
            .arg(out)
            .tensors("list.json")
            .refused(2, &["old"]);
        run.fanin("init own.toml --seed 1 --overwrite --out")
            .arg(out)
            .tensors("old")
            .refused(
                2,
                &["--overwrite: ", "is read, and would be replaced or removed"],
            );
    }
    run.fanin("verify old --recipe own.toml --seed 1").ok();
}

/// The hash of the recipe would cover the index alone, and not the shards with the tensors.
#[test]
fn an_index_is_no_file_to_keep_tensors_of() {
    let run = with_shards();
    run.write(
        "keep.toml",
        "[[rule]]\nmatch = \"*\"\nkeep = \"old/model.safetensors.index.json\"\n",
    );
    run.fanin("plan keep.toml --seed 1")
        .tensors("list.json")
        .refused(
            1,
            &["keep.toml line 3", "is not a .safetensors file: use one"],
        );
}

#[test]
fn plans_show_the_dtypes_of_kept_tensors_and_their_faults() {
    let run = Run::new();
    write(
        &run,
        "half.safetensors",
        &[("a", "F16", "[2]", &[0; 4]), ("b", "F32", "[3]", &[0; 12])],
    );
    run.write(
        "list.json",
        r#"{"tensors": [{"name": "a", "shape": [2]}, {"name": "b", "shape": [2]}]}"#,
    );
    let recipe = |name: &str| {
        run.write(
            "own.toml",
            format!("[[rule]]\nmatch = \"{name}\"\nkeep = \"half.safetensors\"\n[[rule]]\nmatch = \"*\"\ninit = \"ones\"\n"),
        );
        run.fanin("plan own.toml --seed 1").tensors("list.json")
    };
    assert_eq!(recipe("a").ok().rows()[1][2], "f16");
    recipe("b").refused(1, &["half.safetensors", "\"b\"", "[3]"]);
}

#[test]
fn verifying_nothing_is_no_success() {
    let run = Run::new();
    write(&run, "a.safetensors", &[("steps", "I64", "[]", &[1; 8])]);
    run.write("keep.toml", "[[rule]]\nmatch = \"*\"\nkeep = true\n");
    run.fanin("verify a.safetensors --recipe keep.toml --seed 9")
        .refused(
            1,
            &["nothing was compared: 1 tensor kept from a source or skipped"],
        );
    run.fanin("verify a.safetensors --recipe keep.toml --seed 9 --tensors a.safetensors")
        .ok();
}
