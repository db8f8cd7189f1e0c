//! Complete state dicts of frameworks go through every command, whole and in the files of four ranks.
//! `tests/data/state_dicts.py` recorded their lists and what the frameworks gave each tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::run::{Fanin, Run, repository};

/// The standard errors that two statistics may differ by. Chance exceeds 6.5 once in 10^10. These tests make
/// some 1,500 comparisons, so that is once in 6 million runs with new seeds.
const ERRORS: f64 = 6.5;

const SEED: &str = "--seed 11";

/// The end of the names of Swin's index tables.
const INDEX_TABLE: &str = ".relative_position_index";

#[derive(Deserialize)]
struct StateDict {
    tensors: Vec<Seen>,
}

/// A tensor as its framework initialized it.
#[derive(Deserialize)]
struct Seen {
    name: String,
    shape: Vec<usize>,
    /// As the framework spells it.
    dtype: String,
    tied_to: Option<String>,
    values: Option<Vec<serde_json::Value>>,
    mean: Option<f64>,
    std: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    kurtosis: Option<f64>,
    #[serde(default)]
    zero_rows: Vec<usize>,
}

impl Seen {
    fn dtype(&self) -> Dtype {
        match self.dtype.trim_start_matches("torch.") {
            "float32" => Dtype::F32,
            "float16" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            "float8_e4m3fn" => Dtype::F8_E4M3,
            "int64" => Dtype::I64,
            "uint8" => Dtype::U8,
            "bool" => Dtype::BOOL,
            other => panic!("{}: {other}", self.name),
        }
    }

    /// Returns the recorded elements.
    fn values(&self) -> Option<Vec<f64>> {
        let number = |value: &serde_json::Value| match value.as_bool() {
            Some(truth) => f64::from(u8::from(truth)),
            None => value.as_f64().expect("a number"),
        };
        let values = self.values.as_ref()?;
        Some(values.iter().map(number).collect())
    }
}

/// Returns the path of the recorded list.
fn list(model: &str) -> PathBuf {
    repository().join(format!("tests/data/state_dicts/{model}.json"))
}

/// Reads what the framework gave.
fn recorded(model: &str) -> Vec<Seen> {
    let json = std::fs::read(list(model)).expect("a state dict");
    let state: StateDict = serde_json::from_slice(&json).expect("a state dict");
    state.tensors
}

/// Copies the recipe of a model to `recipe.toml`.
fn copy_recipe(run: &Run, model: &str) {
    let recipe = list(model).with_extension("toml");
    run.write("recipe.toml", std::fs::read(recipe).expect("a recipe"));
}

/// A tensor of a file, read by the crate safetensors.
#[derive(Clone, PartialEq)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Stored {
    /// Returns the elements as numbers.
    fn values(&self) -> Vec<f64> {
        let size = self.dtype.bitsize() / 8;
        let number = |bytes: &[u8]| -> f64 {
            match self.dtype {
                Dtype::F32 => f32::from_le_bytes(bytes.try_into().unwrap()).into(),
                Dtype::F16 => f16::from_le_bytes(bytes.try_into().unwrap()).into(),
                Dtype::BF16 => bf16::from_le_bytes(bytes.try_into().unwrap()).into(),
                Dtype::I64 => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
                Dtype::U8 | Dtype::BOOL => bytes[0].into(),
                Dtype::F8_E4M3 => e4m3(bytes[0]),
                other => panic!("{other}"),
            }
        };
        self.data.chunks(size).map(number).collect()
    }

    /// Returns the bytes of a box of the tensor.
    fn part(&self, ranges: &[(usize, usize)]) -> Vec<u8> {
        let size = self.dtype.bitsize() / 8;
        let mut rows = vec![0];
        for (&dim, &(start, end)) in self.shape.iter().zip(ranges) {
            let inside = |row: &usize| (start..end).map(|i| row * dim + i).collect::<Vec<_>>();
            rows = rows.iter().flat_map(inside).collect();
        }
        let element = |i: &usize| &self.data[i * size..(i + 1) * size];
        rows.iter().flat_map(element).copied().collect()
    }
}

/// Returns the value of a float8_e4m3fn, by its definition: Micikevicius et al. 2022, table 1.
fn e4m3(bits: u8) -> f64 {
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
    match (exponent, bits & 7) {
        (15, 7) => f64::NAN,
        (0, _) => sign * mantissa * 2f64.powi(-9),
        _ => sign * (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    }
}

struct File {
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
}

fn open(run: &Run, name: &str) -> File {
    let bytes = run.read(name);
    let (_, header) = SafeTensors::read_metadata(&bytes).expect(name);
    let read = SafeTensors::deserialize(&bytes).expect(name);
    let stored = |(name, view): (String, TensorView<'_>)| {
        let (dtype, shape) = (view.dtype(), view.shape().to_vec());
        let data = view.data().to_vec();
        (name, Stored { dtype, shape, data })
    };
    File {
        tensors: read.tensors().into_iter().map(stored).collect(),
        metadata: header.metadata().clone().into_iter().flatten().collect(),
    }
}

struct Statistics {
    n: f64,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    kurtosis: f64,
}

fn statistics(sample: &[f64]) -> Statistics {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let moment = |power| sample.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    Statistics {
        n,
        mean,
        std: variance.sqrt(),
        min: sample.iter().copied().fold(f64::INFINITY, f64::min),
        max: sample.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        kurtosis: moment(4) / (variance * variance),
    }
}

/// Compares a tensor with what its framework gave: each element of a buffer, the statistics of draws.
fn compare(seen: &Seen, file: &File) {
    let what = format!("{} {:?}", seen.name, seen.shape);
    let stored = file
        .tensors
        .get(&seen.name)
        .unwrap_or_else(|| panic!("{what} is not in the file"));
    assert_eq!(stored.shape, seen.shape, "{what}");
    assert_eq!(stored.dtype, seen.dtype(), "{what}");
    if let Some(first) = &seen.tied_to {
        assert!(
            stored == &file.tensors[first],
            "{what} is not tied to {first}"
        );
        return;
    }
    let mut ours = stored.values();
    if let Some(theirs) = seen.values() {
        // The framework computes frequencies in float32, with a few roundings.
        let error = if seen.name.ends_with("inv_freq") {
            1e-6
        } else {
            0.0
        };
        assert_eq!(ours.len(), theirs.len(), "{what}");
        for (i, (&a, &b)) in ours.iter().zip(&theirs).enumerate() {
            assert!(
                (a - b).abs() <= error * b.abs(),
                "{what}: element {i} is {a}, not {b}"
            );
        }
        return;
    }
    if !seen.zero_rows.is_empty() {
        let row = seen.shape[1];
        let rows: Vec<Vec<f64>> = ours.chunks(row).map(<[f64]>::to_vec).collect();
        for &i in &seen.zero_rows {
            assert!(
                rows[i].iter().all(|&x| x == 0.0),
                "{what}: row {i} is not 0"
            );
        }
        let kept = rows
            .into_iter()
            .enumerate()
            .filter(|(i, _)| !seen.zero_rows.contains(i));
        ours = kept.flat_map(|(_, row)| row).collect();
    }
    let ours = statistics(&ours);
    let (mean, std) = (seen.mean.expect("a mean"), seen.std.expect("a std"));
    if std == 0.0 {
        assert!(
            (ours.min, ours.max) == (mean, mean),
            "{what}: not all {mean}"
        );
        return;
    }
    // The bounds are those of tests/library/presets.rs, which gives the reasons.
    let (min, max) = (seen.min.expect("a minimum"), seen.max.expect("a maximum"));
    let theirs = seen.kurtosis.expect("a kurtosis");
    let kurtosis = ours.kurtosis.min(theirs).max(1.5);
    let n = seen.shape.iter().product::<usize>() as f64;
    let share = 1.0 / n + 1.0 / ours.n;
    let outlier = max.max(-min) > 50.0 * ours.std;
    assert!(
        !outlier,
        "{what}: record a model whose truncated normals have no outliers"
    );
    let allowed = ERRORS * std * share.sqrt();
    assert!(
        (ours.mean - mean).abs() <= allowed,
        "{what}: mean {} for {mean}",
        ours.mean
    );
    let allowed = ERRORS * ((kurtosis - 1.0) / 4.0 * share).sqrt() + ERRORS * ERRORS * share;
    let off = (ours.std / std - 1.0).abs();
    assert!(off <= allowed, "{what}: std {} for {std}", ours.std);
    if n.min(ours.n) >= 1000.0 {
        let allowed = ERRORS * (24.0 * share).sqrt() + 2.0 * ERRORS.powi(3) * share;
        let off = (ours.kurtosis - theirs).abs();
        assert!(
            off <= allowed,
            "{what}: kurtosis {} for {theirs}",
            ours.kurtosis
        );
        if theirs < 1.9 {
            // Uniform. The largest of n draws misses the outer 23/n of the range once in 10^10.
            let allowed = 2.0 * 12f64.sqrt() * std * 23.0 * share;
            for (a, b) in [(ours.min, min), (ours.max, max)] {
                assert!((a - b).abs() <= allowed, "{what}: extreme {a} for {b}");
            }
        }
    }
}

/// Returns a command that fills on the CPU, with the seed of these tests.
fn seeded<'a>(run: &'a Run, words: &str) -> Fanin<'a> {
    run.cpu(words).and(SEED)
}

/// Runs the commands that read FILE. All must find the weights of the recipe.
fn check_file(run: &Run, file: &str) {
    let verify = format!("verify {file} --json --recipe recipe.toml");
    let verify = seeded(run, &verify).ok().json();
    assert_eq!(verify["same"], true, "{file}: {verify}");
    assert_eq!(verify["missing"], serde_json::json!([]), "{file}");
    for tensor in verify["tensors"].as_array().expect("tensors") {
        assert_eq!(tensor["differing"], 0, "{file}: {tensor}");
    }
    // Statistics that chance cannot explain end it with status 1.
    run.fanin(&format!("stats {file} --recipe recipe.toml"))
        .ok();
    let diff = run.fanin(&format!("diff recipe.toml {file} --json"));
    let diff = diff.and(SEED).ok().json();
    for tensor in diff["tensors"].as_array().expect("tensors") {
        assert_eq!(tensor["untouched"], tensor["elements"], "{file}: {tensor}");
        assert_eq!(tensor["change_norm"], 0.0, "{file}: {tensor}");
    }
}

/// Makes all tensors of a source again. They must be those of the file.
fn check_regenerate(run: &Run, source: &Path, file: &File) {
    seeded(
        run,
        "regenerate recipe.toml --out again.safetensors --tensor *",
    )
    .tensors(source)
    .ok();
    let again = open(run, "again.safetensors");
    let names = |file: &File| file.tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&again), names(file), "{}", source.display());
    for (name, tensor) in &again.tensors {
        assert!(
            tensor == &file.tensors[name],
            "{name} of {}",
            source.display()
        );
    }
}

/// Runs the command again with `--resume`. No byte may change.
fn check_resume(run: &Run, init: &Fanin<'_>, files: &[String]) {
    let before: Vec<_> = files.iter().map(|file| run.read(file)).collect();
    init.clone().and("--resume").ok();
    for (file, before) in files.iter().zip(before) {
        assert!(run.read(file) == before, "{file} changed");
    }
}

/// Takes a source through init, verify, stats, diff, regenerate and init --resume.
fn check_whole(run: &Run, source: &Path) -> File {
    let init = seeded(run, "init recipe.toml --out model/").tensors(source);
    init.ok();
    let model = "model/model.safetensors";
    let file = open(run, model);
    check_file(run, "model/");
    check_file(run, model);
    // From the source, and from the file as a source.
    check_regenerate(run, source, &file);
    check_regenerate(run, &run.path(model), &file);
    check_resume(run, &init, &[model.to_owned()]);
    // A flipped bit is found, and corrected.
    let mut bytes = run.read(model);
    *bytes.last_mut().expect("data") ^= 1;
    run.write(model, &bytes);
    let verify = format!("verify {model} --recipe recipe.toml");
    seeded(run, &verify).ends(1);
    init.clone().and("--resume").ok();
    assert!(open(run, model).tensors == file.tensors, "resumed");
    file
}

/// Writes the model of a source for four ranks, and takes each rank's file by itself and the folder as
/// a whole through the same commands.
fn check_ranks(run: &Run, source: &Path) {
    seeded(run, "init recipe.toml --out whole.safetensors")
        .tensors(source)
        .ok();
    let whole = open(run, "whole.safetensors");
    let scalars = whole.tensors.iter();
    let scalars = scalars.filter(|(_, tensor)| tensor.shape.is_empty());
    let mut replicated: Vec<&str> = scalars.map(|(name, _)| name.as_str()).collect();
    replicated.push("*norm*.weight");
    // Matrices at the end of a block are split by their inputs, as in tensor parallelism.
    run.write(
        "spec.toml",
        format!(
            r#"
                mesh = [{{ name = "tp", size = 4 }}]
                [[rule]]
                match = {replicated:?}
                placements = ["replicate"]
                [[rule]]
                match = ["*{{down,o,c}}_proj.weight", "*.wo.weight", "*fc2.weight", "*kernel"]
                placements = ["shard(1)"]
                [[rule]]
                match = "*"
                placements = ["shard(0)"]
            "#
        ),
    );
    let init = seeded(run, "init recipe.toml --shard-spec spec.toml --out tp/").tensors(source);
    init.ok();

    let files: Vec<String> = (0..4)
        .map(|rank| format!("tp/model-rank-{rank:05}-of-00004.safetensors"))
        .collect();
    let mut elements: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        let rank = open(run, file);
        assert_eq!(rank.tensors.len(), whole.tensors.len(), "{file}");
        for (name, part) in &rank.tensors {
            let all = &whole.tensors[name];
            // Only tensors that are split have one.
            let ranges: Vec<(usize, usize)> = match rank.metadata.get(&format!("slice:{name}")) {
                Some(slice) => ranges(slice),
                None => all.shape.iter().map(|&dim| (0, dim)).collect(),
            };
            let shape: Vec<usize> = ranges.iter().map(|(start, end)| end - start).collect();
            assert_eq!(part.shape, shape, "{file}: {name}");
            assert!(part.data == all.part(&ranges), "{file}: {name} {ranges:?}");
            *elements.entry(name.clone()).or_default() += shape.iter().product::<usize>();
        }
        check_file(run, file);
    }
    for (name, all) in &whole.tensors {
        let n = all.shape.iter().product::<usize>();
        let copies = if rank_is_replicated(name, all) { 4 } else { 1 };
        assert_eq!(elements[name], copies * n, "{name}");
    }
    check_file(run, "tp/");
    // The folder is a source of whole tensors.
    check_regenerate(run, &run.path("tp"), &whole);
    check_resume(run, &init, &files);

    fn rank_is_replicated(name: &str, tensor: &Stored) -> bool {
        tensor.shape.is_empty() || name.contains("norm") && name.ends_with(".weight")
    }

    /// Parses a slice as the metadata have it: `0:4,2:6`.
    fn ranges(slice: &str) -> Vec<(usize, usize)> {
        let range = |range: &str| {
            let (start, end) = range.split_once(':').expect(range);
            (start.parse().expect(range), end.parse().expect(range))
        };
        slice.split(',').map(range).collect()
    }
}

fn whole(model: &str) {
    let run = Run::new();
    copy_recipe(&run, model);
    let file = check_whole(&run, &list(model));
    let mut seen = recorded(model);
    // The recipe skips the index tables of Swin: a list has no data for them.
    seen.retain(|seen| !seen.name.ends_with(INDEX_TABLE));
    for tensor in &seen {
        compare(tensor, &file);
    }
    assert_eq!(file.tensors.len(), seen.len());
}

fn in_four_ranks(model: &str) {
    let run = Run::new();
    copy_recipe(&run, model);
    check_ranks(&run, &list(model));
}

macro_rules! models {
    ($($name:ident),*) => {
        mod whole {
            $(
                #[test]
                fn $name() {
                    super::whole(stringify!($name));
                }
            )*
        }

        mod in_four_ranks {
            $(
                #[test]
                fn $name() {
                    super::in_four_ranks(stringify!($name));
                }
            )*
        }

        #[test]
        fn no_state_dict_is_left_out() {
            let folder = repository().join("tests/data/state_dicts");
            let entries = std::fs::read_dir(folder).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            let lists = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
            let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut found: Vec<String> = lists.map(stem).collect();
            let mut tested = [$(stringify!($name)),*];
            found.sort();
            tested.sort();
            assert_eq!(found, tested);
        }
    };
}

models!(
    mobilenet_v3_small,
    timm_resnet,
    swin,
    llama2,
    gpt2_uint8,
    gpt2_bool,
    gpt2_float,
    bert,
    t5,
    whisper,
    deepseek_fp8,
    flax_linen,
    keras
);

#[test]
fn flat_parts_hold_every_dtype() {
    for model in ["gpt2_bool", "deepseek_fp8", "bert"] {
        let run = Run::new();
        copy_recipe(&run, model);
        seeded(&run, "init recipe.toml --out whole.safetensors")
            .tensors(list(model))
            .ok();
        run.write(
            "spec.toml",
            r#"
                mesh = [{ name = "fsdp", size = 2 }, { name = "tp", size = 2 }]
                [[rule]]
                match = "*.masked_bias"
                placements = ["replicate", "replicate"]
                [[rule]]
                match = "*"
                placements = ["flat", "replicate"]
            "#,
        );
        let init = seeded(&run, "init recipe.toml --shard-spec spec.toml --out ranks/")
            .tensors(list(model));
        init.ok();
        let files: Vec<String> = (0..4)
            .map(|rank| format!("ranks/model-rank-{rank:05}-of-00004.safetensors"))
            .collect();
        let whole = open(&run, "whole.safetensors");
        let [first, _, second, _] = [0, 1, 2, 3].map(|rank| open(&run, &files[rank]));
        for (name, tensor) in &whole.tensors {
            let mut data = first.tensors[name].data.clone();
            if !tensor.shape.is_empty() {
                data.extend(&second.tensors[name].data);
            }
            assert!(data == tensor.data, "{model}: {name}");
        }
        for file in &files {
            check_file(&run, file);
        }
        check_file(&run, "ranks/");
        check_regenerate(&run, &run.path("ranks"), &whole);
        check_resume(&run, &init, &files);
    }
}

#[test]
fn shards_hold_every_dtype_and_tied_names() {
    for model in ["gpt2_uint8", "deepseek_fp8", "bert", "llama2"] {
        let run = Run::new();
        copy_recipe(&run, model);
        seeded(&run, "init recipe.toml --out whole.safetensors")
            .tensors(list(model))
            .ok();
        let init = seeded(&run, "init recipe.toml --max-shard-size 300kB --out model/")
            .tensors(list(model));
        init.ok();
        let index = "model/model.safetensors.index.json";
        let json: serde_json::Value = serde_json::from_slice(&run.read(index)).unwrap();
        let map = json["weight_map"].as_object().expect("a map");
        let file = |name: &serde_json::Value| format!("model/{}", name.as_str().expect("a name"));
        let mut files: Vec<String> = map.values().map(file).collect();
        files.sort();
        files.dedup();
        assert!(files.len() > 2, "{files:?}");
        let whole = open(&run, "whole.safetensors");
        assert_eq!(map.len(), whole.tensors.len());
        for path in &files {
            let shard = open(&run, path);
            for (name, tensor) in &shard.tensors {
                assert!(tensor == &whole.tensors[name], "{model}: {name}");
                assert_eq!(&file(&map[name]), path, "{model}: {name}");
            }
        }
        check_file(&run, "model/");
        check_file(&run, index);
        check_regenerate(&run, &run.path(index), &whole);
        files.push(index.to_owned());
        check_resume(&run, &init, &files);
    }
}

/// Writes a checkpoint of the model: zeros for floats, and these elements for whole numbers.
fn checkpoint(run: &Run, model: &str, element: impl Fn(&Seen, f64) -> f64) -> PathBuf {
    let seen = recorded(model);
    let data = |seen: &Seen| -> Vec<u8> {
        let n = seen.shape.iter().product::<usize>();
        match (seen.dtype(), seen.values()) {
            (Dtype::I64, Some(values)) => {
                let values = values.iter().map(|&value| element(seen, value) as i64);
                values.flat_map(i64::to_le_bytes).collect()
            }
            (dtype, _) => vec![0; n * dtype.bitsize() / 8],
        }
    };
    let data: Vec<Vec<u8>> = seen.iter().map(data).collect();
    let views = seen.iter().zip(&data).map(|(seen, data)| {
        let view = TensorView::new(seen.dtype(), seen.shape.clone(), data).expect("a tensor");
        (seen.name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).expect("a file");
    run.write("checkpoint.safetensors", file)
}

/// Writes the recipe of Swin without the rule that skips the index tables, which is the first one.
fn swin_without_skip(run: &Run) {
    copy_recipe(run, "swin");
    let recipe = String::from_utf8(run.read("recipe.toml")).expect("UTF-8");
    let rules: Vec<&str> = recipe.split("[[rule]]").collect();
    assert!(rules[1].contains("skip = true"), "{recipe}");
    let kept = [&rules[..1], &rules[2..]].concat();
    run.write("recipe.toml", kept.join("[[rule]]"));
}

#[test]
fn whole_numbers_without_a_rule_are_carried_over_from_a_checkpoint() {
    let run = Run::new();
    swin_without_skip(&run);
    let source = checkpoint(&run, "swin", |_, value| value);
    let file = check_whole(&run, &source);
    let seen = recorded("swin");
    for tensor in &seen {
        compare(tensor, &file);
    }
    assert_eq!(file.tensors.len(), seen.len());
    let verify = seeded(&run, "verify model/ --recipe recipe.toml").ok();
    let texts = format!("{}{}", verify.text(), verify.stderr);
    let lines = texts
        .lines()
        .filter(|line| line.contains("kept") || line.contains("carried"));
    assert_eq!(lines.count(), 1, "{texts}");
    check_ranks(&run, &source);
}

#[test]
fn whole_numbers_without_a_rule_and_without_data_are_refused() {
    let run = Run::new();
    swin_without_skip(&run);
    seeded(&run, "init recipe.toml --overwrite --out model.safetensors")
        .tensors(list("swin"))
        .refused(1, &["features.1.0.attn.relative_position_index", "skip"]);
}

#[test]
fn rules_keep_counters_of_a_checkpoint_or_start_them_again() {
    let run = Run::new();
    let source = checkpoint(&run, "mobilenet_v3_small", |_, _| 1234.0);
    for (rule, counter) in [
        ("", 0i64),
        ("keep = true", 1234),
        ("init = \"constant(value=7)\"", 7),
        ("values = 9", 9),
    ] {
        let rule = match rule {
            "" => String::new(),
            rule => format!("[[rule]]\nmatch = \"*.num_batches_tracked\"\n{rule}\n"),
        };
        run.write("recipe.toml", format!("extends = \"mobilenet_v3\"\n{rule}"));
        seeded(&run, "init recipe.toml --overwrite --out made.safetensors")
            .tensors(&source)
            .ok();
        let file = open(&run, "made.safetensors");
        let counters = file.tensors.iter();
        let counters = counters.filter(|(name, _)| name.ends_with("num_batches_tracked"));
        let mut found = 0;
        for (name, tensor) in counters {
            assert_eq!(tensor.dtype, Dtype::I64, "{name}");
            assert_eq!(tensor.data, counter.to_le_bytes(), "{name}: {rule}");
            found += 1;
        }
        assert_eq!(found, 34, "{rule}");
        check_file(&run, "made.safetensors");
    }
}

#[test]
fn the_dtype_of_a_rule_and_of_the_command_override_the_list() {
    let run = Run::new();
    let rule = "[[rule]]\nmatch = \"*.position_ids\"\ndtype = \"i32\"\ninit = \"arange\"\n";
    run.write("recipe.toml", format!("extends = \"bert\"\n{rule}"));
    seeded(
        &run,
        "init recipe.toml --dtype bf16 --out model.safetensors",
    )
    .tensors(list("bert"))
    .ok();
    let file = open(&run, "model.safetensors");
    let ids = &file.tensors["bert.embeddings.position_ids"];
    let expected: Vec<u8> = (0..64i32).flat_map(i32::to_le_bytes).collect();
    assert_eq!((ids.dtype, &ids.data), (Dtype::I32, &expected));
    let weight = &file.tensors["bert.embeddings.word_embeddings.weight"];
    assert_eq!(weight.dtype, Dtype::BF16);
    check_file(&run, "model.safetensors");
}
