//! What must hold of any input, for the fuzz targets and for `tests/fuzz.rs`.

// Each target has one of them.
#![allow(dead_code)]

use fanin::checkpoint::{Contents, parse_safetensors, parse_tensor_list};
use fanin::{Error, Fill, Init, Recipe, Tensor, TensorList, cpu};

/// Names of every kind that presets and expressions ask for; small, so that all can be filled.
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

/// A message is one line, and no book.
fn check_message(error: &Error) {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(
        message.len() < 1 << 19,
        "{} bytes of message",
        message.len()
    );
}

/// Any text is a recipe or is refused; a recipe gives each tensor of a list something that can be
/// filled, or says why not.
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
    assert_eq!(plan.elements(), list.elements());
    for (entry, listed) in plan.entries.iter().zip(list.tensors()) {
        assert_eq!(entry.fill.name(), listed.name);
        assert_eq!(entry.fill.shape(), &listed.shape);
        assert!(entry.rule < plan.rules.len());
        // Shown in plans.
        let _ = format!("{} {}", entry.init, entry.fill.distribution());
        let mut out = vec![0; entry.fill.bytes() as usize];
        if let Err(error) = cpu::fill(&entry.fill, &mut out) {
            check_message(&error);
        }
    }
}

/// Any bytes are a tensor list or are refused; what is read can be written again.
pub fn tensor_list(bytes: &[u8]) {
    // As a header too, with its length in front and no data.
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

/// A file of these tensors lists them again.
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
    let again = parse_safetensors(&file).expect("what was written can be read");
    let shapes = |list: &TensorList| {
        let tensors = list.tensors().iter();
        let mut shapes: Vec<_> = tensors.map(|t| (t.name.clone(), t.shape.clone())).collect();
        shapes.sort_by(|a, b| a.0.cmp(&b.0));
        shapes
    };
    assert_eq!(shapes(&again), shapes(list));
}
