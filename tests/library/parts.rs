//! Parts of a tensor with initializers of their own: which bits they have, in every slice and by recipes.
#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use std::ops::Range;

use fanin::init::{Fans, Law};
use fanin::{
    DType, Error, Fill, Init, ListedTensor, Plan, Recipe, Shape, Slice, Tensor, TensorList,
};
use fanin::{checkpoint, cpu, stream_id};
use proptest::prelude::*;

fn init(spec: &str) -> Init {
    spec.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn fill(dims: &[u64], spec: &str) -> Fill {
    Fill::new(&Tensor::new("w", dims).unwrap(), &init(spec), 42).unwrap()
}

fn values(fill: &Fill) -> Vec<f32> {
    let mut values = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(&fill.clone().with_dtype(DType::F32), &mut values).unwrap();
    values
}

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

/// Returns the element numbers of a slice, in its own row-major order.
fn elements(dims: &[u64], ranges: &[Range<u64>]) -> Vec<u64> {
    let mut elements = vec![0];
    for (&dim, range) in dims.iter().zip(ranges) {
        elements = elements
            .iter()
            .flat_map(|&outer| range.clone().map(move |i| outer * dim + i))
            .collect();
    }
    elements
}

#[test]
fn drawn_parts_have_the_bits_of_the_whole() {
    let dims = [12, 10];
    let whole = values(&fill(&dims, "normal(std=0.5)"));
    let uniform = values(&fill(&dims, "uniform(low=1,high=2)"));
    let parts = fill(&dims, "zeros")
        .with_part([0..4, 0..10], &init("normal(std=0.5)"))
        .and_then(|fill| fill.with_part([0..12, 3..7], &init("uniform(low=1,high=2)")))
        .unwrap();
    for (i, &value) in values(&parts).iter().enumerate() {
        let (row, column) = (i / 10, i % 10);
        // The first part that holds an element applies.
        let expected = match (row < 4, (3..7).contains(&column)) {
            (true, _) => whole[i],
            (false, true) => uniform[i],
            (false, false) => 0.0,
        };
        assert_eq!(value.to_bits(), expected.to_bits(), "element {i}");
    }
}

#[test]
fn placed_parts_are_tensors_by_themselves() {
    // Four gates of a recurrent layer, each an orthogonal matrix of its own.
    let mut fill = fill(&[64, 16], "zeros");
    for gate in 0..4 {
        let rows = 16 * gate..16 * (gate + 1);
        fill = fill.with_part([rows, 0..16], &init("orthogonal")).unwrap();
    }
    let made = values(&fill);
    for gate in 0..4u64 {
        let stream = format!("{}[{}:{},0:16]", stream_id("w"), 16 * gate, 16 * (gate + 1));
        let alone = Tensor::new("gate", [16, 16])
            .unwrap()
            .with_stream_id(stream_id(&stream));
        let alone = values(&Fill::new(&alone, &init("orthogonal"), 42).unwrap());
        assert_eq!(made[256 * gate as usize..][..256], alone, "gate {gate}");
    }
    assert_ne!(made[..256], made[256..512]);

    let eye = fill_with([0..3, 1..4], "identity");
    assert_eq!(
        eye,
        [
            0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0.
        ]
    );
    let ramp = fill_with([1..3, 2..4], "mamba_a_log");
    assert_eq!(ramp[4..8], [0.0, 0.0, 0.0, 2f32.ln()]);
    assert_eq!(ramp[8..12], [0.0, 0.0, 0.0, 2f32.ln()]);
}

fn fill_with(ranges: [Range<u64>; 2], spec: &str) -> Vec<f32> {
    values(
        &fill(&[4, 4], "zeros")
            .with_part(ranges, &init(spec))
            .unwrap(),
    )
}

#[test]
fn fans_are_those_of_the_part() {
    // Query, key and value in one matrix.
    let fused = fill(&[24, 8], "zeros")
        .with_part([0..8, 0..8], &init("xavier_normal"))
        .unwrap();
    let alone = fill(&[8, 8], "xavier_normal");
    assert_eq!(fused.parts()[0].distribution(), alone.distribution());
    assert_eq!(fused.parts()[0].slice().to_string(), "0:8,0:8");
    let error = fill(&[24, 8], "zeros")
        .with_part([0..8, 0..9], &Init::ones())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"w\": slice \"0:8,0:9\" does not lie within shape [24, 8]: dimension 1 needs \
         0 <= start <= end <= 8"
    );
    let bias = fill(&[24], "zeros").with_part([0..8], &init("xavier_normal"));
    assert!(matches!(bias.unwrap_err().fault(), Error::Fans { .. }));
}

fn dims_and_ranges() -> impl Strategy<Value = (Vec<u64>, Vec<Vec<Range<u64>>>)> {
    proptest::collection::vec(1u64..7, 1..5).prop_flat_map(|dims| {
        let range = |dim: u64| (0..=dim, 0..=dim).prop_map(|(a, b)| a.min(b)..a.max(b));
        let ranges: Vec<_> = dims.iter().map(|&dim| range(dim)).collect();
        (Just(dims), proptest::collection::vec(ranges, 4))
    })
}

proptest! {
    #[test]
    fn every_slice_has_the_bits_of_the_whole(
        (dims, ranges) in dims_and_ranges(),
        dtype in prop_oneof![Just(DType::F32), Just(DType::F16), Just(DType::BF16)],
        run in (0.0..1.0, 0.0..1.0),
    ) {
        let mut whole = fill(&dims, "normal(mean=1,std=0.02)").with_dtype(dtype);
        for (ranges, spec) in ranges.iter().zip(["uniform(low=3,high=4)", "mamba_a_log", "ones"]) {
            whole = whole.with_part(ranges, &init(spec)).unwrap();
        }
        let all = bytes(&whole);
        let size = dtype.size() as usize;
        let picked = |elements: &[u64]| -> Vec<u8> {
            elements.iter().flat_map(|&e| all[e as usize * size..][..size].to_vec()).collect()
        };
        let slice = whole.clone().slice(&ranges[3]).unwrap();
        prop_assert_eq!(bytes(&slice), picked(&elements(&dims, &ranges[3])));

        let count = whole.elements();
        let at = |share: f64| (share * count as f64) as u64;
        let run = at(run.0).min(at(run.1))..at(run.0).max(at(run.1));
        let expected = picked(&run.clone().collect::<Vec<_>>());
        prop_assert_eq!(&bytes(&whole.clone().flat(run.clone()).unwrap()), &expected);
        // A piece of a fill, as writers ask for it.
        let mut piece = vec![0; expected.len()];
        cpu::fill_range(&whole, run.start, &mut piece).unwrap();
        prop_assert_eq!(piece, expected);
    }
}

// Recipes.

fn plan(recipe: &str, tensors: &[(&str, &[u64])]) -> Result<Plan, Error> {
    let listed = tensors.iter().map(|(name, dims)| ListedTensor {
        name: (*name).to_owned(),
        shape: Shape::new(*dims).unwrap(),
        dtype: None,
    });
    let list = TensorList::new(listed.collect())?;
    Recipe::from_toml(recipe)?.resolve(&list, Some(42), None)
}

#[test]
fn recipes_give_parts_their_own_initializers() {
    let plan = plan(
        r#"
        [[rule]]
        match = "lstm.bias"
        init = "zeros"
        parts = [{ slice = "dim(0)/4:dim(0)/2", init = "ones" }]

        [[rule]]
        match = "qkv"
        parts = [
            { slice = "0:dim(0)/3", init = "xavier_uniform" },
            { slice = "dim(0)/3:2*dim(0)/3,:", init = "normal(std=1/sqrt(dim(0)))" },
            { slice = "2*dim(0)/3:", init = "kaiming_normal", layout = "in_out" },
        ]

        [[rule]]
        match = "embed"
        init = "normal(std=0.02)"
        parts = [{ slice = "-1", init = "zeros" }, { slice = "0,1:3", values = [0.5, -2] }]
        "#,
        &[("lstm.bias", &[16]), ("qkv", &[12, 8]), ("embed", &[5, 4])],
    )
    .unwrap();
    let bias = values(&plan.entries[0].fill);
    assert_eq!(
        bias,
        [
            0., 0., 0., 0., 1., 1., 1., 1., 0., 0., 0., 0., 0., 0., 0., 0.
        ]
    );

    let qkv = &plan.entries[1];
    let spec = qkv.parts.iter().map(|part| part.init.to_string());
    assert_eq!(
        spec.collect::<Vec<_>>(),
        ["xavier_uniform", "normal(std=0.5)", "kaiming_normal"]
    );
    assert_eq!(qkv.init.to_string(), "parts");
    let fans = |fan_in, fan_out| Some(Fans { fan_in, fan_out });
    let seen: Vec<_> = qkv.parts.iter().map(|part| part.fans).collect();
    assert_eq!(seen, [fans(8, 4), None, fans(4, 8)]);
    assert_eq!(
        qkv.parts[2].slice,
        Slice::parse("8:12,:", qkv.fill.shape()).unwrap()
    );

    let embed = values(&plan.entries[2].fill);
    let normal = Fill::new(
        &Tensor::new("embed", [5, 4]).unwrap(),
        &init("normal(std=0.02)"),
        42,
    );
    let mut expected = values(&normal.unwrap());
    expected[1..3].copy_from_slice(&[0.5, -2.0]);
    expected[16..].fill(0.0);
    assert_eq!(embed, expected);
}

#[test]
fn an_empty_part_holds_nothing() {
    for empty in ["1:1,0:2", "0:4,3:3", "2:2"] {
        let parts = [empty, "0:2", "2:4"]
            .map(|slice| format!("{{ slice = \"{slice}\", init = \"ones\" }}"));
        let recipe = format!("[[rule]]\nmatch = \"*\"\nparts = [{}]\n", parts.join(", "));
        let plan = plan(&recipe, &[("w", &[4, 3])]).unwrap();
        assert_eq!(values(&plan.entries[0].fill), [1.0; 12], "{empty}");
    }
}

/// A rule with many parts, which matches many tensors, must not take gigabytes.
#[test]
fn the_parts_of_a_plan_are_bounded() {
    let part = "{ slice = \"0\", init = \"ones\" }, ".repeat(1000);
    let recipe = format!("[[rule]]\nmatch = \"*\"\ninit = \"zeros\"\nparts = [{part}]\n");
    let names: Vec<String> = (0..263).map(|i| format!("w{i}")).collect();
    let tensors: Vec<(&str, &[u64])> = names
        .iter()
        .map(|name| (name.as_str(), &[2u64][..]))
        .collect();
    let error = plan(&recipe, &tensors).unwrap_err().to_string();
    assert!(
        error.contains("263000 parts: at most 262144 are made"),
        "{error}"
    );
    assert!(plan(&recipe, &tensors[..10]).is_ok());
}

#[test]
fn parts_that_cannot_be_are_refused() {
    for (rule, expected) in [
        (
            "parts = [{ slice = \"0:2\", init = \"ones\" }]",
            "tensor \"w\": shape [4, 3] has elements in none of the parts, such as 2:4,0:3: give \
             the rule an init for them (recipe line 3, column 9)",
        ),
        (
            "init = \"ones\"\nparts = [{ slice = \"0:5\", init = \"ones\" }]",
            "slice \"0:5\" has 5 along dimension 0 of shape [4, 3]: use a whole number from -4 to 4",
        ),
        (
            "init = \"ones\"\nparts = [{ slice = \"0:2:1\", init = \"ones\" }]",
            "write start:end, or an index",
        ),
        (
            "parts = [{ slice = \"0:2\" }]",
            "missing field `init`, or `values` in its place",
        ),
        (
            "parts = []",
            "missing field `init`, or `tied_to`, `same_as`, `values`, `parts`, `keep` or `skip` in its \
             place",
        ),
        (
            "skip = true\nparts = [{ slice = \"0:2\", init = \"ones\" }]",
            "has both skip and parts: use only one of them",
        ),
        (
            "values = [1, 2, 3]",
            "tensor \"w\": shape [4, 3] has 12 elements, but the rule gives 3 values: give one for each",
        ),
        (
            "values = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]",
            "tensor \"w\": shape [4, 3] is not that of the rule's values, [3, 4]: nest them as the \
             tensor's dimensions, or give one list",
        ),
        (
            "values = [1e39]",
            "1e39 is beyond the numbers of f32: use -3.4e38 to 3.4e38, or inf",
        ),
        (
            "values = [[1, 2], [3]]",
            "the lists within a list differ in length",
        ),
        (
            "init = \"ones\"\nparts = [\n{ slice = \"0\", init = \"ones\" },\n{ slice = \"9\", init = \"ones\" }]",
            "use a whole number from -4 to 4 (recipe line 6, column 11)",
        ),
        ("skip = false", "skip = false has no effect"),
        ("keep = false", "keep = false has no effect"),
        (
            "keep = \"a.safetensors\"",
            "but only a recipe that is a file itself has a folder with other files",
        ),
        (
            "keep = true\nseed = 1",
            "keep does not use seed: leave it out here",
        ),
        (
            "keep = true\ninit = \"ones\"",
            "has both init and keep: use only one of them",
        ),
    ] {
        let recipe = format!("[[rule]]\nmatch = \"*\"\n{rule}\n");
        let error = plan(&recipe, &[("w", &[4, 3])]).unwrap_err().to_string();
        assert!(error.contains(expected), "{rule}: {error}");
    }
}

#[test]
fn a_rule_has_a_limit_of_parts() {
    let part = "{ slice = \"0\", init = \"ones\" },";
    let recipe = |parts: usize| {
        format!(
            "[[rule]]\nmatch = \"*\"\ninit = \"ones\"\nparts = [{}]",
            part.repeat(parts)
        )
    };
    assert!(plan(&recipe(1024), &[("w", &[4, 3])]).is_ok());
    let error = plan(&recipe(1025), &[("w", &[4, 3])])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has 1025 parts: at most 1024 are read"),
        "{error}"
    );
}

#[test]
fn values_stand_in_the_recipe() {
    let recipe = "[[rule]]\nmatch = \"*\"\nvalues = [[0.1, 2], [-inf, true]]";
    let plan = plan(recipe, &[("mask", &[1, 2, 2])]).unwrap();
    assert_eq!(plan.entries[0].init.to_string(), "values(4)");
    assert_eq!(
        values(&plan.entries[0].fill),
        [0.1, 2.0, f32::NEG_INFINITY, 1.0]
    );
}

#[test]
fn tensors_can_start_as_another_one() {
    let layers: &[(&str, &[u64])] = &[
        ("layers.0.a.weight", &[8, 4]),
        ("layers.1.a.weight", &[8, 4]),
        ("layers.1.b.weight", &[4]),
        ("layers.0.b.weight", &[4]),
        ("head.weight", &[8, 4]),
    ];
    let recipe = r#"
        [[rule]]
        match = "layers.[1-9].*"
        same_as = "layers.0.*"
        [[rule]]
        match = "head.weight"
        tied_to = ["embed.weight", "layers.0.a.weight"]
        [[rule]]
        match = "*"
        init = "normal(std=0.02)"
        parts = [{ slice = "0", init = "zeros" }]
    "#;
    let plan = plan(recipe, layers).unwrap();
    let made: Vec<Vec<f32>> = plan.iter().map(values).collect();
    assert_eq!(made[0], made[1]);
    assert_eq!(made[2], made[3]);
    assert_eq!(made[0], made[4]);
    assert_ne!(made[0][4..8], made[3][..]);
    let names = |entry: usize| {
        (
            plan.entries[entry].tied_to.as_deref(),
            plan.entries[entry].same_as.as_deref(),
        )
    };
    assert_eq!(names(1), (None, Some("layers.0.a.weight")));
    assert_eq!(names(4), (Some("layers.0.a.weight"), None));

    let rule = "[[rule]]\nmatch = \"a\"\nsame_as = [\"x\", \"a\"]\n[[rule]]\nmatch = \"*\"\ninit = \"ones\"";
    let error = self::plan(rule, &[("a", &[2])]).unwrap_err().to_string();
    assert!(
        error.contains("names only this tensor and tensors that are not in the list"),
        "{error}"
    );
}

#[test]
fn kernels_are_told_apart_by_their_biases() {
    let recipe = r#"
        [[rule]]
        match = "*kernel"
        bias_rank = 2
        init = "ones"
        [[rule]]
        match = "*"
        init = "zeros"
    "#;
    let tensors: &[(&str, &[u64])] = &[
        ("a/kernel", &[4, 2, 3]),
        ("a/bias", &[2, 3]),
        ("b/kernel", &[4, 2, 3]),
        ("b/bias", &[3]),
        ("c/kernel", &[4, 2, 3]),
    ];
    let plan = plan(recipe, tensors).unwrap();
    let inits: Vec<String> = plan
        .entries
        .iter()
        .map(|entry| entry.init.to_string())
        .collect();
    assert_eq!(inits, ["ones", "zeros", "zeros", "zeros", "zeros"]);
}

#[test]
fn conditions_look_at_the_whole_list() {
    let recipe = r#"
        [[rule]]
        match = "head"
        with = "*.gate"
        init = "ones"
        [[rule]]
        match = "head"
        without = ["*.gate", "x"]
        init = "constant(value=2)"
        [[rule]]
        match = "*"
        init = "zeros"
    "#;
    let first = |tensors: &[(&str, &[u64])]| {
        let plan = plan(recipe, tensors).unwrap();
        assert_eq!(plan.unused, []);
        plan.entries[0].init.to_string()
    };
    assert_eq!(first(&[("head", &[2]), ("a.gate", &[2])]), "ones");
    assert_eq!(
        first(&[("head", &[2]), ("a.up", &[2])]),
        "constant(value=2)"
    );
}

#[test]
fn rules_that_apply_to_nothing_are_reported() {
    let tensors: &[(&str, &[u64])] = &[
        ("h.0.attn.c_proj.weight", &[4, 4]),
        ("h.0.attn.c_attn.weight", &[4, 12]),
        ("h.0.ln.bias", &[4]),
    ];
    let recipe = r#"
        extends = "kaiming"
        [[rule]]
        match = "c_proj.weight"
        init = "zeros"
        [[rule]]
        match = "*.bias"
        rank = 2
        init = "ones"
        [[rule]]
        match = "*.weight"
        init = "normal(std=0.02)"
        [[rule]]
        match = "*c_attn*"
        init = "ones"
    "#;
    let plan = plan(recipe, tensors).unwrap();
    let unused: Vec<_> = plan.unused.iter().collect();
    assert_eq!(unused.len(), 3, "{unused:?}");
    assert_eq!(unused[0].globs, ["c_proj.weight"]);
    assert_eq!(unused[0].nearest[0], "h.0.attn.c_proj.weight");
    assert!(!unused[0].is_shadowed);
    assert_eq!(
        (&unused[1].nearest[..], unused[1].is_shadowed),
        (&["h.0.ln.bias".to_owned()][..], false)
    );
    assert_eq!(
        (&unused[2].nearest[..], unused[2].is_shadowed),
        (&["h.0.attn.c_attn.weight".to_owned()][..], true)
    );
    assert_eq!(plan.rules[unused[0].rule].line, 3);
}

#[test]
fn all_tensors_without_a_rule_are_named_with_a_glob() {
    let tensors: &[(&str, &[u64])] = &[
        ("h.0.attn.masked_bias", &[]),
        ("h.0.ln.weight", &[4]),
        ("h.1.attn.masked_bias", &[]),
        ("rotary/inv_freq", &[4]),
        ("scale", &[4]),
    ];
    let error = plan("[[rule]]\nmatch = \"*.weight\"\ninit = \"ones\"", tensors).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 tensors \"h.0.attn.masked_bias\" of shape [], \"h.1.attn.masked_bias\" of shape [], \
         \"rotary/inv_freq\" of shape [4], \"scale\" of shape [4] are matched by no rule of recipe: add a \
         [[rule]] with match = [\"*.masked_bias\", \"*/inv_freq\", \"scale\"] and an init, or skip = true \
         to leave them out"
    );
    // Rules with these globs do take them.
    let rest = "[[rule]]\nmatch = [\"*.masked_bias\", \"*/inv_freq\", \"scale\", \"*.weight\"]\nskip = true";
    let plan = plan(rest, tensors).unwrap();
    assert_eq!((plan.entries.len(), plan.skipped.len()), (0, 5));
}

// Reading.

/// Writes a model of one tensor with parts, and returns the path of its file.
fn saved(folder: &tempfile::TempDir, fills: &[Fill]) -> std::path::PathBuf {
    let path = folder.path().join("model.safetensors");
    let contents = checkpoint::Contents::safetensors(fills, &[]).unwrap();
    checkpoint::save(
        &path,
        &contents,
        &mut cpu::fill_range,
        &mut checkpoint::silent,
    )
    .unwrap();
    path
}

/// In a file column by column, the elements of a part are not where they would be row by row.
#[test]
fn parts_of_an_array_in_columns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.npy");
    let part = |dims: &[u64], ranges: &[std::ops::Range<u64>]| {
        fill(dims, "normal")
            .with_part(ranges, &init("ones"))
            .unwrap()
    };
    let of = |fill: &Fill, order: &str| {
        let dims: Vec<String> = fill.shape().dims().iter().map(u64::to_string).collect();
        let shape = dims.join(", ");
        let header =
            format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({shape},), }}\n");
        let length = u16::try_from(header.len()).unwrap();
        let mut file = [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes()].concat();
        file.extend(header.into_bytes());
        file.extend(values(fill).iter().flat_map(|x| x.to_le_bytes()));
        std::fs::write(&path, file).unwrap();
        checkpoint::examine(&path, std::slice::from_ref(fill))
    };
    let matrix = part(&[64, 32], &[0..8, 0..32]);
    assert_eq!(of(&matrix, "False").unwrap()[0].flags, []);
    let error = of(&matrix, "True").unwrap_err().to_string();
    assert!(error.contains("save it row by row"), "{error}");
    // Both orders of a vector are the same.
    assert_eq!(of(&part(&[64], &[0..8]), "True").unwrap()[0].flags, []);
}

#[test]
fn statistics_are_those_of_each_part() {
    let folder = tempfile::tempdir().unwrap();
    let parts = |spec: &str| {
        let fill = fill(&[256, 64], "normal(std=0.02)").with_part([0..64, 0..64], &init(spec));
        let fill = fill.and_then(|fill| fill.with_part([0..256, 3..7], &init("ones")));
        fill.and_then(|fill| fill.with_part([128..160, 32..64], &init("orthogonal")))
            .unwrap()
    };
    let path = saved(&folder, &[parts("uniform(low=-0.1,high=0.1)")]);
    let names = |row: &checkpoint::Examined| -> Vec<String> {
        row.parts
            .iter()
            .map(|part| part.stats.name.clone())
            .collect()
    };
    let rows = checkpoint::examine(&path, &[parts("uniform(low=-0.1,high=0.1)")]).unwrap();
    assert_eq!(rows[0].flags, []);
    assert_eq!(
        names(&rows[0]),
        [
            "w[rest]",
            "w[0:64,0:64]",
            "w[0:256,3:7]",
            "w[128:160,32:64]"
        ]
    );
    // The first part that holds an element applies.
    let counts: Vec<u64> = rows[0].parts.iter().map(|part| part.stats.n).collect();
    assert_eq!(counts, [192 * 60 - 32 * 32, 64 * 64, 192 * 4, 32 * 32]);
    assert!(rows[0].parts.iter().all(|part| part.expected.is_some()));

    // The mean and the std of the whole hardly differ, but those of the part do.
    let rows = checkpoint::examine(&path, &[parts("normal(std=0.05)")]).unwrap();
    let flags: Vec<&str> = rows[0]
        .flags
        .iter()
        .map(|flag| flag.text.as_str())
        .collect();
    assert!(
        flags.iter().any(|flag| flag.starts_with("[0:64,0:64] ")),
        "{flags:?}"
    );
    assert!(
        flags.iter().all(|flag| flag.starts_with("[0:64,0:64] ")),
        "{flags:?}"
    );
}

#[test]
fn infinities_of_a_recipe_are_expected_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let recipe =
        "[[rule]]\nmatch = \"m\"\nvalues = [0, -inf]\n[[rule]]\nmatch = \"*\"\ninit = \"ones\"";
    let fills = plan(recipe, &[("m", &[2]), ("w", &[4])])
        .unwrap()
        .into_fills();
    let path = saved(&folder, &fills);
    let rows = checkpoint::examine(&path, &fills).unwrap();
    assert!(rows.iter().all(|row| row.flags.is_empty()), "{rows:?}");
    let weights = checkpoint::Weights::open(&path).unwrap();
    let start = checkpoint::Start::Fills(&fills, &mut cpu::fill_range);
    let found = checkpoint::diff(start, &weights, &mut checkpoint::silent).unwrap();
    assert_eq!((found.total.untouched, found.total.change_norm), (6, 0.0));
    assert_eq!(
        (found.total.cosine, found.total.relative),
        (Some(1.0), Some(0.0))
    );
    // Elsewhere they are flagged.
    let rows = checkpoint::examine(&path, &[]).unwrap();
    assert_eq!(rows[0].flags[0].text, "infinite ones among them");
}

#[test]
fn verification_allows_a_tolerance_in_orthogonal_parts_only() {
    let folder = tempfile::tempdir().unwrap();
    let fill = fill(&[64, 32], "normal(std=0.02)").with_part([32..64, 0..32], &init("orthogonal"));
    let fills = [fill.unwrap()];
    let path = saved(&folder, &fills);
    let verify = || {
        let weights = checkpoint::Weights::open(&path).unwrap();
        checkpoint::verify(
            &weights,
            &fills,
            &mut cpu::fill_range,
            &mut checkpoint::silent,
        )
        .unwrap()
    };
    assert!(verify().is_same());
    assert_eq!(verify().tensors[0].tolerance, Some(1e-5));
    let mut bytes = std::fs::read(&path).unwrap();
    let data = bytes.len() - 4 * 64 * 32;
    // The last bit of an element of each half.
    bytes[data + 4 * 40 * 32] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let found = verify();
    assert_eq!((found.tensors[0].close, found.tensors[0].differing), (1, 0));
    bytes[data + 4 * 5] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let found = verify();
    assert_eq!((found.tensors[0].close, found.tensors[0].differing), (1, 1));
    assert_eq!(found.first_difference().unwrap().1.flat, 5);
}

#[test]
fn the_law_of_a_fill_is_the_mixture_of_its_parts() {
    let fill =
        fill(&[8, 4], "normal(std=0.5)").with_part([0..2, 0..4], &init("uniform(low=1,high=3)"));
    let fill = fill
        .and_then(|fill| fill.with_part([6..8, 0..4], &init("zeros")))
        .unwrap();
    let law = fill.law().unwrap();
    // Constants do not count: a third of the others is uniform.
    assert!((law.mean() - 2.0 / 3.0).abs() < 1e-12);
    assert!((law.below(1.0) - 2.0 / 3.0 * Law::normal(0.0, 0.5).below(1.0)).abs() < 1e-12);
    let rows = fill.clone().slice([0..2, 0..4]).unwrap();
    assert_eq!(rows.law(), Some(Law::uniform(1.0, 3.0)));
    assert_eq!(fill.clone().slice([6..8, 0..4]).unwrap().law(), None);
    let orthogonal = fill.with_part([4..8, 0..4], &init("orthogonal")).unwrap();
    assert_eq!(orthogonal.law(), None);
}
