//! `fanin signal` shows the numbers of `fanin_signal` as a table, as JSON and as a picture.

use fanin::Init;
use fanin_signal::{Activation, Network};
use serde_json::Value;

use crate::run::Run;

/// A small network.
const SIGNAL: &str = "signal --depth 12 --width 32 --batch 8";

#[test]
fn the_table_has_a_row_for_each_combination() {
    let run = Run::new();
    let ended = run.fanin(SIGNAL).ok();
    let (text, rows) = (ended.text(), ended.rows());
    assert_eq!(rows.len(), 1 + 5 * 7, "{text}");
    let activations = ["tanh", "sigmoid", "relu", "gelu", "selu"];
    let starts = [
        "zeros",
        "normal(std=1)",
        "normal(std=0.01)",
        "xavier_normal",
        "kaiming_normal",
        "lecun_normal",
        "orthogonal",
    ];
    let expected = activations.iter().flat_map(|a| starts.map(|s| [*a, s]));
    for (row, expected) in rows[1..].iter().zip(expected) {
        assert_eq!(row[..2], expected, "{text}");
        assert_eq!(row.len(), 9, "{text}");
        for verdict in [row[5], row[8]] {
            assert!(
                ["dead", "vanishes", "keeps", "explodes"].contains(&verdict),
                "{text}"
            );
        }
        assert_eq!(row[1] == "zeros", row[5] == "dead", "{text}");
    }
    assert!(run.files().is_empty());
}

/// The JSON holds every layer, with the library's bits.
#[test]
fn json_has_every_layer() {
    let run = Run::new();
    let report = run
        .fanin(SIGNAL)
        .and("--activation gelu,linear --init normal(mean=0,std=0.2),zeros --init orthogonal")
        .and("--seed 0x7 --json")
        .ok()
        .json();
    assert_eq!(
        ["depth", "width", "batch", "seed"].map(|key| report[key].as_u64().unwrap()),
        [12, 32, 8, 7]
    );
    let network = Network {
        depth: 12,
        width: 32,
        batch: 8,
        seed: 7,
    };
    let signals = report["signals"].as_array().unwrap();
    assert_eq!(signals.len(), 6);
    let expected = [Activation::Gelu, Activation::Linear]
        .into_iter()
        .flat_map(|a| ["normal(mean=0,std=0.2)", "zeros", "orthogonal"].map(|i| (a, i)));
    for (signal, (activation, spec)) in signals.iter().zip(expected) {
        assert_eq!(signal["activation"], activation.name());
        assert_eq!(signal["init"], spec);
        let init: Init = spec.parse().unwrap();
        let library = network.propagate(activation, &init).unwrap();
        for (key, value) in [
            ("layers", serde_json::to_string(&library.layers)),
            ("forward", serde_json::to_string(&library.forward())),
            ("backward", serde_json::to_string(&library.backward())),
        ] {
            // The same JSON parser, which may round differently from the writer.
            let value: Value = serde_json::from_str(&value.unwrap()).unwrap();
            assert_eq!(signal[key], value, "{activation}, {spec}");
        }
    }
    assert_eq!(signals[1]["backward"]["verdict"], "dead");
    // NaN: the variance that it is a share of is 0.
    assert!(signals[1]["layers"][3]["across_inputs"].is_null());
}

/// The default page has a panel for each activation and pass, and explains a missing line.
#[test]
fn the_page_has_a_panel_for_each_activation_and_pass() {
    let run = Run::new();
    run.fanin(SIGNAL).and("--out signal.svg").ok();
    run.fanin(SIGNAL)
        .and("--out signal.png --activation relu")
        .ok();
    assert!(run.read("signal.png").starts_with(b"\x89PNG"));
    let svg = String::from_utf8(run.read("signal.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| Some(node.text()?.trim()))
        .collect();
    for activation in ["tanh", "sigmoid", "ReLU", "GELU", "SELU"] {
        for quantity in ["activations", "gradients"] {
            let title = format!("{activation}: {quantity}");
            assert!(texts.contains(&title.as_str()), "{title} of {texts:?}");
        }
    }
    let count = |text: &str| texts.iter().filter(|found| **found == text).count();
    for (name, expected) in [("He", 2), ("N(0, 0.01)", 2), ("zeros", 0), ("variance", 10)] {
        assert_eq!(count(name), expected, "{name} of {texts:?}");
    }
    let note =
        "No line: zeros with tanh, sigmoid, ReLU, GELU, SELU, because the variance falls to 0.";
    assert_eq!(count(note), 1, "{texts:?}");
}

#[test]
fn invalid_networks_are_refused() {
    let run = Run::new();
    for (more, texts) in [
        (
            "--init xavier",
            ["\"xavier\" is not an initializer", "xavier_normal"],
        ),
        ("--init zeros,", ["is not an initializer", "zeros"]),
        (
            "--width 32 --init dirac",
            ["layers.0.weight", "shape [32, 32]"],
        ),
        ("--depth 1", ["depth = 1", "use 2 to 1000"]),
        ("--batch 1", ["batch = 1", "use at least 2"]),
        ("--width 100000", ["width = 100000", "at most 2^28"]),
    ] {
        run.fanin("signal").and(more).refused(2, &texts);
    }
    run.fanin("signal --activation swish")
        .ends(2)
        .says("use linear, tanh, sigmoid");
}
