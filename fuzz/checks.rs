//! Properties that hold for any input, checked by the fuzz targets and by `tests/fuzz.rs`.

// Each target uses one of the functions.
#![allow(dead_code)]

use fanin::checkpoint::{Contents, parse_safetensors, parse_tensor_list};
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

/// Checks that a message is one line of bounded length.
fn check_message(error: &Error) {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(
        message.len() < 1 << 19,
        "{} bytes of message",
        message.len()
    );
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
