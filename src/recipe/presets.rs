//! The presets: recipe files within the crate.

use crate::text::nearest;

/// The names of the presets, with their texts.
const PRESETS: [(&str, &str); 20] = [
    ("bert", include_str!("presets/bert.toml")),
    ("buffers", include_str!("presets/buffers.toml")),
    ("burn", include_str!("presets/burn.toml")),
    ("convnext", include_str!("presets/convnext.toml")),
    ("flax", include_str!("presets/flax.toml")),
    ("gemma", include_str!("presets/gemma.toml")),
    ("gpt2", include_str!("presets/gpt2.toml")),
    ("kaiming", include_str!("presets/kaiming.toml")),
    ("keras", include_str!("presets/keras.toml")),
    ("lecun", include_str!("presets/lecun.toml")),
    ("llama", include_str!("presets/llama.toml")),
    (
        "llama_torchtitan",
        include_str!("presets/llama_torchtitan.toml"),
    ),
    ("mixtral", include_str!("presets/mixtral.toml")),
    ("mobilenet_v3", include_str!("presets/mobilenet_v3.toml")),
    ("resnet", include_str!("presets/resnet.toml")),
    ("t5", include_str!("presets/t5.toml")),
    ("torch", include_str!("presets/torch.toml")),
    ("vit", include_str!("presets/vit.toml")),
    ("whisper", include_str!("presets/whisper.toml")),
    ("xavier", include_str!("presets/xavier.toml")),
];

/// Returns the names of the presets.
pub(super) fn names() -> impl ExactSizeIterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// Returns the names that are accepted in place of an unknown one, for a message.
pub(super) fn accepted(unknown: &str) -> String {
    let names: Vec<&str> = names().collect();
    let hint = match nearest(unknown, &names) {
        Some(name) => format!("did you mean {name:?}? "),
        None => String::new(),
    };
    format!("{hint}use one of {}", names.join(", "))
}

/// Returns the text of a preset.
pub(super) fn text(name: &str) -> Option<&'static str> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}
