//! Complete state dicts of frameworks go through every command, whole and in the files of four ranks.
//! `tests/data/state_dicts.py` recorded their lists and what the frameworks gave each tensor.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::run::{Fanin, Run, repository};

/// The standard errors that two statistics may differ by. Chance exceeds 6.5 once in 10^10. These tests make
/// some 1,500 comparisons, so that is once in 6 million runs with new seeds.
const ERRORS: f64 = 6.5;

const SEED: &str = "--seed 11";

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

/// A model, and how a user would initialize it.
struct Case {
    name: &'static str,
    /// The name of a preset, or the text of a recipe.
    recipe: &'static str,
    /// A glob of the tensors that the recipe skips.
    skipped: Option<&'static str>,
}

const CASES: [Case; 13] = [
    case("mobilenet_v3_small", "mobilenet_v3"),
    case("timm_resnet", TIMM_RESNET),
    Case {
        name: "swin",
        recipe: SWIN,
        skipped: Some(".relative_position_index"),
    },
    case("llama2", "llama"),
    case("gpt2_uint8", "gpt2"),
    case("gpt2_bool", "gpt2"),
    case("gpt2_float", "gpt2"),
    case("bert", "bert"),
    case("t5", "t5"),
    case("whisper", "whisper"),
    case("deepseek_fp8", DEEPSEEK_FP8),
    case("flax_linen", "flax"),
    case("keras", "keras"),
];

const fn case(name: &'static str, recipe: &'static str) -> Case {
    Case {
        name,
        recipe,
        skipped: None,
    }
}

/// timm starts the last BatchNorm of each block at 0: timm/models/resnet.py, `zero_init_last`.
const TIMM_RESNET: &str = r#"
extends = "resnet"

[[rule]]
match = ["layer[124].*.bn2.weight", "layer3.*.bn3.weight"]
init = "zeros"
"#;

/// torchvision/models/swin_transformer.py. The index tables are not weights.
const SWIN: &str = r#"
extends = "torch"

[[rule]]
match = "*.relative_position_index"
skip = true

[[rule]]
match = "*.relative_position_bias_table"
init = "trunc_normal(mean=0,std=0.02,a=-2,b=2)"

[[rule]]
match = ["features.[1-9].*.bias", "head.bias"]
init = "zeros"

[[rule]]
match = ["features.[1-9].*.weight", "head.weight"]
rank = 2
init = "trunc_normal(mean=0,std=0.02,a=-2,b=2)"
"#;

const DEEPSEEK_FP8: &str = r#"
extends = "llama"

[[rule]]
match = "*.weight_scale_inv"
init = "ones"

[[rule]]
match = "*.e_score_correction_bias"
init = "zeros"
"#;

impl Case {
    fn get(name: &str) -> &'static Case {
        CASES.iter().find(|case| case.name == name).expect("a case")
    }

    fn list(&self) -> std::path::PathBuf {
        repository().join(format!("tests/data/state_dicts/{}.json", self.name))
    }

    /// Reads what the framework gave, without the tensors that the recipe skips.
    fn seen(&self) -> Vec<Seen> {
        let json = std::fs::read(self.list()).expect("a state dict");
        let state: StateDict = serde_json::from_slice(&json).expect("a state dict");
        let skips = |seen: &Seen| self.skipped.is_some_and(|end| seen.name.ends_with(end));
        state
            .tensors
            .into_iter()
            .filter(|seen| !skips(seen))
            .collect()
    }

    /// Returns the recipe's argument, and writes its file if it has one.
    fn recipe(&self, run: &Run) -> String {
        if self.recipe.contains('\n') {
            run.write("recipe.toml", self.recipe);
            "recipe.toml".to_owned()
        } else {
            self.recipe.to_owned()
        }
    }
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
    let stored = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
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
fn compare(case: &Case, seen: &Seen, file: &File) {
    let what = format!("{}: {} {:?}", case.name, seen.name, seen.shape);
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

/// Runs the commands that read FILE. All must find the weights of the recipe.
fn check_file(run: &Run, recipe: &str, file: &str) {
    let command = |words: &str| run.cpu(words).and(SEED);
    let verify = command(&format!("verify {file} --json --recipe {recipe}"))
        .ok()
        .json();
    assert_eq!(verify["same"], true, "{file}: {verify}");
    assert_eq!(verify["missing"], serde_json::json!([]), "{file}");
    for tensor in verify["tensors"].as_array().expect("tensors") {
        assert_eq!(tensor["differing"], 0, "{file}: {tensor}");
    }
    run.fanin(&format!("stats {file} --recipe {recipe}"))
        .and(SEED)
        .ok();
    let diff = run
        .fanin(&format!("diff {recipe} {file} --json"))
        .and(SEED)
        .ok()
        .json();
    for tensor in diff["tensors"].as_array().expect("tensors") {
        assert_eq!(tensor["untouched"], tensor["elements"], "{file}: {tensor}");
        assert_eq!(tensor["change_norm"], 0.0, "{file}: {tensor}");
    }
}

/// Runs the command again with `--resume`. No byte may change.
fn resume(run: &Run, init: &Fanin<'_>, files: &[String]) {
    let before: Vec<_> = files.iter().map(|file| run.read(file)).collect();
    init.clone().and("--resume").ok();
    for (file, before) in files.iter().zip(before) {
        assert!(run.read(file) == before, "{file} changed");
    }
}

/// Takes the list through init, verify, stats, diff, regenerate and init --resume.
fn whole(name: &str) {
    let case = Case::get(name);
    let run = Run::new();
    let recipe = case.recipe(&run);
    let init = run
        .cpu(&format!("init {recipe} --out model/"))
        .and(SEED)
        .tensors(case.list());
    init.ok();
    let model = "model/model.safetensors";
    let file = open(&run, model);
    let seen = case.seen();
    assert_eq!(file.tensors.len(), seen.len(), "{:?}", file.tensors.keys());
    for tensor in &seen {
        compare(case, tensor, &file);
    }
    check_file(&run, &recipe, "model/");
    check_file(&run, &recipe, model);

    // From the list, and from the file as a list.
    for source in [case.list(), run.path(model)] {
        run.cpu(&format!(
            "regenerate {recipe} --tensor * --out again.safetensors --overwrite"
        ))
        .and(SEED)
        .tensors(source)
        .ok();
        assert!(
            open(&run, "again.safetensors").tensors == file.tensors,
            "{name}: regenerate"
        );
    }
    resume(&run, &init, &[model.to_owned()]);
    // A flipped bit is found, and corrected.
    let mut bytes = run.read(model);
    *bytes.last_mut().expect("data") ^= 1;
    run.write(model, &bytes);
    run.cpu(&format!("verify {model} --recipe {recipe}"))
        .and(SEED)
        .ends(1);
    init.clone().and("--resume").ok();
    assert!(open(&run, model).tensors == file.tensors, "{name}: resume");
}

/// Writes the model for four ranks, and takes each rank's file by itself and the folder as a whole
/// through the same commands.
fn ranks(name: &str) {
    let case = Case::get(name);
    let run = Run::new();
    let recipe = case.recipe(&run);
    let seen = case.seen();
    let scalars = seen.iter().filter(|seen| seen.shape.is_empty());
    let scalars: Vec<&str> = scalars.map(|seen| seen.name.as_str()).collect();
    // Matrices that end a block are split by their inputs, as in tensor parallelism.
    run.write(
        "spec.toml",
        format!(
            "mesh = [{{ name = \"tp\", size = 4 }}]\n\
             [[rule]]\nmatch = {scalars:?}\nplacements = [\"replicate\"]\n\
             [[rule]]\nmatch = [\"*down_proj.weight\", \"*o_proj.weight\", \"*c_proj.weight\", \
             \"*.wo.weight\", \"*fc2.weight\", \"*kernel\"]\nplacements = [\"shard(1)\"]\n\
             [[rule]]\nmatch = [\"*norm*.weight\"]\nplacements = [\"replicate\"]\n\
             [[rule]]\nmatch = \"*\"\nplacements = [\"shard(0)\"]\n"
        )
        .replace("match = []", "match = [\"no tensor\"]"),
    );
    run.cpu(&format!("init {recipe} --out whole.safetensors"))
        .and(SEED)
        .tensors(case.list())
        .ok();
    let whole = open(&run, "whole.safetensors");
    let init = run
        .cpu(&format!("init {recipe} --shard-spec spec.toml --out tp/"))
        .and(SEED)
        .tensors(case.list());
    init.ok();

    let files: Vec<String> = (0..4)
        .map(|rank| format!("tp/model-rank-{rank:05}-of-00004.safetensors"))
        .collect();
    let mut elements: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        let rank = open(&run, file);
        assert_eq!(rank.tensors.len(), whole.tensors.len(), "{file}");
        for (name, part) in &rank.tensors {
            let all = &whole.tensors[name];
            // Only tensors that are split have these.
            let ranges: Vec<(usize, usize)> = match rank.metadata.get(&format!("slice:{name}")) {
                Some(slice) => ranges(slice),
                None => all.shape.iter().map(|&dim| (0, dim)).collect(),
            };
            let shape: Vec<usize> = ranges.iter().map(|(start, end)| end - start).collect();
            assert_eq!(part.shape, shape, "{file}: {name}");
            assert!(part.data == all.part(&ranges), "{file}: {name} {ranges:?}");
            *elements.entry(name.clone()).or_default() += shape.iter().product::<usize>();
        }
        check_file(&run, &recipe, file);
    }
    for (name, all) in &whole.tensors {
        let n = all.shape.iter().product::<usize>();
        let found = elements[name];
        assert!(
            found == n || found == 4 * n,
            "{name}: {found} elements of {n}"
        );
    }
    check_file(&run, &recipe, "tp/");
    // The folder is a list of whole tensors.
    run.cpu(&format!(
        "regenerate {recipe} --tensor * --out again.safetensors"
    ))
    .and(SEED)
    .tensors("tp/")
    .ok();
    assert!(
        open(&run, "again.safetensors").tensors == whole.tensors,
        "{name}: regenerate"
    );
    resume(&run, &init, &files);

    /// Parses a slice as the metadata have it: `0:4,2:6`.
    fn ranges(slice: &str) -> Vec<(usize, usize)> {
        let range = |range: &str| {
            let (start, end) = range.split_once(':').expect(range);
            (start.parse().expect(range), end.parse().expect(range))
        };
        slice
            .trim_matches(['[', ']'])
            .split(',')
            .map(|text| range(text.trim()))
            .collect()
    }
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
                    super::ranks(stringify!($name));
                }
            )*
        }

        #[test]
        fn no_state_dict_is_left_out() {
            let folder = repository().join("tests/data/state_dicts");
            let entries = std::fs::read_dir(folder).unwrap();
            let found = entries.map(|entry| entry.unwrap().path());
            let mut found: Vec<String> =
                found.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
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
