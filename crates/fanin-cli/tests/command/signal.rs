//! `fanin signal`: the numbers of `fanin_signal` as a table, as JSON and as a picture.

use fanin::Init;
use fanin_signal::{Activation, Network};
use serde_json::Value;

use crate::run::Run;

const SMALL: [&str; 7] = ["signal", "--depth", "12", "--width", "32", "--batch", "8"];

fn small(more: &[&'static str]) -> Vec<&'static str> {
    [&SMALL[..], more].concat()
}

#[test]
fn a_row_a_combination() {
    let run = Run::new();
    let text = String::from_utf8(run.ok(&small(&[])).stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
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

/// As JSON, what the library gives: every layer, to the bit.
#[test]
fn json_has_every_layer() {
    let run = Run::new();
    let asked = [
        "--activation",
        "gelu,linear",
        "--init",
        "normal(mean=0,std=0.2),zeros",
        "--init",
        "orthogonal",
        "--seed",
        "0x7",
        "--json",
    ];
    let report: Value = serde_json::from_slice(&run.ok(&small(&asked)).stdout).unwrap();
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
            // Through the same reader, which may miss the last bit of a number.
            let value: Value = serde_json::from_str(&value.unwrap()).unwrap();
            assert_eq!(signal[key], value, "{activation}, {spec}");
        }
    }
    assert_eq!(signals[1]["backward"]["verdict"], "dead");
    // Not a number: there is no variance of which it could be a share.
    assert!(signals[1]["layers"][3]["across_inputs"].is_null());
}

/// The default has a panel an activation and way, and says why one start has no line.
#[test]
fn a_page_of_panels() {
    let run = Run::new();
    run.ok(&small(&["--out", "signal.svg"]));
    run.ok(&small(&["--out", "signal.png", "--activation", "relu"]));
    assert!(run.read("signal.png").starts_with(b"\x89PNG"));
    let svg = String::from_utf8(run.read("signal.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| Some(node.text()?.trim()))
        .collect();
    for activation in ["tanh", "sigmoid", "ReLU", "GELU", "SELU"] {
        for way in ["activations", "gradients"] {
            let title = format!("{activation}: {way}");
            assert!(texts.contains(&title.as_str()), "{title} of {texts:?}");
        }
    }
    let count = |text: &str| texts.iter().filter(|found| **found == text).count();
    for (name, expected) in [("He", 2), ("N(0, 0.01)", 2), ("zeros", 0), ("variance", 10)] {
        assert_eq!(count(name), expected, "{name} of {texts:?}");
    }
    let note = "No line: zeros under tanh, sigmoid, ReLU, GELU, SELU, where nothing arrives.";
    assert_eq!(count(note), 1, "{texts:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let run = Run::new();
    for (arguments, texts) in [
        (
            small(&["--init", "xavier"]),
            ["\"xavier\" is not an initializer", "xavier_normal"],
        ),
        (
            small(&["--init", "zeros,"]),
            ["is not an initializer", "zeros"],
        ),
        (
            small(&["--init", "dirac"]),
            ["layers.0.weight", "shape [32, 32]"],
        ),
        (
            vec!["signal", "--depth", "1"],
            ["depth = 1", "use 2 to 1000"],
        ),
        (
            vec!["signal", "--batch", "1"],
            ["batch = 1", "use at least 2"],
        ),
        (
            vec!["signal", "--width", "100000"],
            ["width = 100000", "at most 2^28"],
        ),
    ] {
        run.refused(&arguments, 2, &texts);
    }
    let ended = run.run(&["signal", "--activation", "swish"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("use linear, tanh, sigmoid"),
        "{}",
        ended.stderr
    );
}
