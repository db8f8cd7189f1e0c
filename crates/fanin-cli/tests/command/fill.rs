//! `fanin fill`: groups and axes, which change the fans as the keys of a recipe do.

use crate::run::{Run, rule};

/// Returns the bytes that `fanin fill` writes for these arguments.
fn filled(run: &Run, arguments: &str) -> Vec<u8> {
    let fill = run.cpu("fill --name w --seed 42 --out -").and(arguments);
    fill.ok().stdout
}

#[test]
fn axes_and_groups_are_those_of_recipes() {
    let run = Run::new();
    for (arguments, keys, shape) in [
        ("--groups 4", "groups = 4", &[16, 2, 3][..]),
        (
            "--in-axis 0 --out-axis 1,2",
            "in_axis = 0\nout_axis = [1, 2]",
            &[6, 4, 5],
        ),
        (
            "--in-axis 0,1 --out-axis -1",
            "in_axis = [0, 1]\nout_axis = -1",
            &[4, 5, 6],
        ),
        ("--batch-axis 0", "batch_axis = 0", &[3, 8, 4]),
        (
            "--batch-axis=-3 --in-axis=-1 --out-axis=-2",
            "batch_axis = 0\nin_axis = 2\nout_axis = 1",
            &[3, 8, 4],
        ),
        (
            "--in-axis=-2,-1 --out-axis 0",
            "in_axis = [-2, -1]\nout_axis = 0",
            &[3, 8, 4],
        ),
    ] {
        for init in [
            "kaiming_normal(mode=fan_in)",
            "kaiming_normal(mode=fan_out)",
            "glorot_uniform",
        ] {
            run.write("r.toml", rule("w", init) + keys + "\n");
            run.list("l.json", &[("w", shape)]);
            let of_recipe = run
                .cpu("regenerate r.toml --seed 42 --tensor w --out -")
                .tensors(run.path("l.json"))
                .ok()
                .stdout;
            let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
            let fill = format!("--init {init} --shape {}", dims.join(","));
            assert_eq!(
                filled(&run, &format!("{fill} {arguments}")),
                of_recipe,
                "{arguments} {init}"
            );
            if !init.starts_with("glorot") {
                continue;
            }
            assert_ne!(filled(&run, &fill), of_recipe, "{arguments} {init}");
        }
    }
}

#[test]
fn axes_that_the_shape_lacks_are_refused() {
    let run = Run::new();
    let fill = |arguments: &str| {
        run.cpu("fill --name w --seed 42 --out w.npy --init lecun_normal --shape 4,6,8")
            .and(arguments)
    };
    fill("--in-axis 3").refused(2, &["has no axis 3: its axes are -3 to 2"]);
    fill("--in-axis 2").refused(2, &["has axis -1 named twice"]);
    fill("--in-axis 0,0").refused(2, &["has axis 0 named twice"]);
    fill("--batch-axis 1").refused(2, &["has axis 1 named twice"]);
    fill("--groups 3").refused(2, &["cannot have 3 groups", "divide its 4 outputs"]);
    fill("--groups 0").refused(2, &["cannot have 0 groups"]);
    for (arguments, text) in [
        ("--in-axis x", "use whole numbers, separated by commas"),
        ("--batch-axis 1.5", "use whole numbers, separated by commas"),
        ("--groups -1", "use a whole number from 0"),
        ("--layout in_out --in-axis 0", "cannot be used with"),
    ] {
        let ended = fill(arguments).ends(2);
        assert!(ended.stderr.contains(text), "{arguments}: {}", ended.stderr);
        assert!(run.files().is_empty());
    }
}
