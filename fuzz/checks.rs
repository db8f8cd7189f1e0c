//! Properties that hold for any input, checked by the fuzz targets and by `tests/fuzz.rs`.

// Each target uses one of the functions.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use fanin::checkpoint::{
    self, Compared, Contents, Start, Weights, WithSources, parse_safetensors, parse_tensor_list,
    silent,
};
use fanin::{Error, Fill, Init, Recipe, Tensor, TensorList, cpu};

/// Names of every kind that presets and expressions look for. All tensors are small, so that they can be
/// filled.
const LIST: &str = r#"{"tensors": [
    {"name": "wte.weight", "shape": [12, 8]},
    {"name": "lm_head.weight", "shape": [12, 8], "dtype": "bf16"},
    {"name": "h.0.attn.c_proj.weight", "shape": [8, 8]},
    {"name": "h.0.attn.c_proj.bias", "shape": [8], "dtype": "f16"},
    {"name": "h.1.attn.c_proj.weight", "shape": [8, 8]},
    {"name": "h.1.ln_1.weight", "shape": [8]},
    {"name": "layers.0.self_attn.q_proj.weight", "shape": [8, 8]},
    {"name": "conv.weight", "shape": [4, 2, 3, 3]},
    {"name": "dense/kernel", "shape": [3, 5]},
    {"name": "fc.weight", "shape": [4, 0]},
    {"name": "fc.bias", "shape": [4]},
    {"name": "scalar", "shape": []}
]}"#;

/// Checks that a message is one line of at most a few kilobytes.
pub fn check_message(error: &Error) {
    let message = error.to_string();
    let special = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!message.contains(special), "{message:?}");
    assert!(
        message.len() < 6000,
        "{} bytes of message: {message}",
        message.len()
    );
}

/// Checks that any text is an initializer or is refused, and that an initializer reads back from its
/// text and fills tensors of several shapes, or is refused for them.
pub fn init(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let init = match text.parse::<Init>() {
        Ok(init) => init,
        Err(error) => return check_message(&error),
    };
    let again = init.to_string().parse::<Init>();
    assert_eq!(again.expect("its own text"), init, "{text:?}");
    for shape in [&[][..], &[0, 3], &[7], &[12, 8], &[8, 12], &[4, 2, 3, 3]] {
        let tensor = Tensor::new("w", shape).expect("a good shape");
        let fill = match Fill::new(&tensor, &init, 1) {
            Ok(fill) => fill,
            Err(error) => {
                check_message(&error);
                continue;
            }
        };
        let mut out = vec![0; fill.bytes() as usize];
        if let Err(error) = cpu::fill(&fill, &mut out) {
            check_message(&error);
        }
    }
}

/// Checks that any bytes are weights or are refused by all that reads weights: as a safetensors file, as
/// the header of one, as a numpy file, and as an index of a good shard.
pub fn weights(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let write = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, contents).expect("a file in a temporary folder");
        path
    };
    let list = parse_tensor_list(LIST.as_bytes()).expect("a good list");
    let recipe = "seed = 1\n[[rule]]\nmatch = '*.weight'\ninit = 'normal'\n[[rule]]\nmatch = '*'\ninit = 'ones'";
    let recipe = Recipe::from_toml(recipe).expect("a good recipe");
    let fills = recipe
        .resolve(&list, None, None)
        .expect("a good plan")
        .fills();
    let metadata = checkpoint::recipe_metadata(&recipe, 1);
    let contents = Contents::safetensors(&fills, &metadata).expect("a good file");
    let good = folder.path().join("good.safetensors");
    checkpoint::save(&good, &contents, &mut cpu::fill_range, &mut silent).expect("a new file");
    let good = Weights::open(&good).expect("a good file");

    check_weights(&write("any.safetensors", bytes), &good, &recipe);
    check_weights(
        &write("header.safetensors", &with_data(bytes)),
        &good,
        &recipe,
    );
    check_weights(&write("any.json", bytes), &good, &recipe);
    let path = write("any.npy", bytes);
    if let Err(error) = checkpoint::stats(&path) {
        check_message(&error);
    }
}

/// Returns a safetensors file with a header and the data that its offsets need, if they are few.
fn with_data(header: &[u8]) -> Vec<u8> {
    let numbers = header.split(|byte| !byte.is_ascii_digit());
    let numbers = numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let data = numbers.filter(|&number: &usize| number < 1 << 12).max();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + data.unwrap_or(0), 1);
    file
}

/// Checks that a file is read or refused by statistics, verification and comparison.
fn check_weights(path: &Path, good: &Weights, recipe: &Recipe) {
    let weights = match Weights::open(path) {
        Ok(weights) => weights,
        Err(error) => return check_message(&error),
    };
    let _ = weights.unlisted_message();
    if let Err(error) = checkpoint::stats(path) {
        check_message(&error);
    }
    let examined = || -> fanin::Result<()> {
        let list = checkpoint::float_tensors(path)?;
        let fills = recipe.resolve(&list, None, None)?.into_fills();
        checkpoint::examine(path, &fills)?;
        Ok(())
    };
    if let Err(error) = examined() {
        check_message(&error);
    }
    let verified = || -> fanin::Result<()> {
        let plan = recipe.resolve(&weights.tensor_list()?, None, None)?;
        let compared = Compared::new(plan, None)?.narrowed_to(&weights)?;
        let mut make = cpu::fill_range;
        let make = &mut WithSources::new(&mut make, &compared.sources);
        let skipped = &compared.skipped;
        checkpoint::verify_some(&weights, &compared.fills, skipped, make, &mut silent)?;
        let faults = checkpoint::header_faults(&weights, recipe, 1)?;
        assert!(faults.iter().all(|fault| fault.len() < 6000));
        Ok(())
    };
    if let Err(error) = verified() {
        check_message(&error);
    }
    for (start, trained) in [(&weights, good), (good, &weights), (&weights, &weights)] {
        if let Err(error) = checkpoint::diff(Start::Weights(start), trained, &mut silent) {
            check_message(&error);
        }
    }
}

/// Checks that any text is a recipe or is refused, and that a recipe resolves to fills or is refused for the
/// list.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let recipe = match Recipe::from_toml(text) {
        Ok(recipe) => recipe,
        Err(error) => return check_message(&error),
    };
    assert_eq!(recipe.text(), text);
    assert_eq!(recipe.sha256().len(), 64);
    let list = parse_tensor_list(LIST.as_bytes()).expect("a good list");
    let plan = match recipe.resolve(&list, Some(1), None) {
        Ok(plan) => plan,
        Err(error) => return check_message(&error),
    };
    // Entries are in the order of the list, without the tensors that rules skip.
    let is_skipped = |name: &str| plan.skipped.iter().any(|tensor| tensor.name == name);
    let listed = list.tensors().iter();
    let listed: Vec<_> = listed.filter(|tensor| !is_skipped(&tensor.name)).collect();
    assert_eq!(plan.entries.len(), listed.len());
    for (entry, listed) in plan.entries.iter().zip(listed) {
        assert_eq!(entry.fill.name(), listed.name);
        assert_eq!(entry.fill.shape(), &listed.shape);
        assert!(entry.rule.is_none_or(|rule| rule < plan.rules.len()));
        // Plans print these.
        let _ = format!("{} {}", entry.init, entry.fill.distribution());
        let mut out = vec![0; entry.fill.bytes() as usize];
        if let Err(error) = cpu::fill(&entry.fill, &mut out) {
            check_message(&error);
        }
    }
}

/// Checks that any bytes are a tensor list or are refused, and that a list can be written and read again.
pub fn tensor_list(bytes: &[u8]) {
    // The bytes are also tried as a header, after its length and without data.
    let header = [&(bytes.len() as u64).to_le_bytes(), bytes].concat();
    for list in [
        parse_tensor_list(bytes),
        parse_safetensors(bytes),
        parse_safetensors(&header),
    ] {
        match list {
            Ok(list) => check_round_trip(&list),
            Err(error) => check_message(&error),
        }
    }
}

/// Checks that a file of these tensors gives the same list.
fn check_round_trip(list: &TensorList) {
    let fill = |listed: &fanin::ListedTensor| {
        let tensor = Tensor::with_shape(&listed.name, listed.shape.clone());
        let fill = Fill::new(&tensor, &Init::zeros(), 0).expect("zeros fit any tensor");
        fill.with_dtype(listed.dtype.unwrap_or_default())
    };
    let fills: Vec<Fill> = list.tensors().iter().map(fill).collect();
    let contents = match Contents::safetensors(&fills, &[]) {
        Ok(contents) => contents,
        Err(error) => return check_message(&error),
    };
    if contents.weight_bytes() > 1 << 20 {
        return;
    }
    let mut file = contents.header().to_vec();
    file.resize(file.len() + contents.weight_bytes() as usize, 0);
    let again = parse_safetensors(&file).expect("a written file can be read");
    let shapes = |list: &TensorList| {
        let tensors = list.tensors().iter();
        let mut shapes: Vec<_> = tensors.map(|t| (t.name.clone(), t.shape.clone())).collect();
        shapes.sort_by(|a, b| a.0.cmp(&b.0));
        shapes
    };
    assert_eq!(shapes(&again), shapes(list));
}
