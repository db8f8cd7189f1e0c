//! Initializers that depend on the place of an element: identity, dirac, sparse, embeddings with a padding row,
//! position tables, state matrices.

use std::ops::Range;

use fanin::{DType, Fill, Init, Layout, Tensor, cpu};
use proptest::prelude::*;

fn tensor(dims: &[u64]) -> Tensor {
    Tensor::new("w", dims).unwrap()
}

fn weights(spec: &str, dims: &[u64]) -> Vec<f32> {
    fill(&tensor(dims), spec, 42)
}

fn fill(tensor: &Tensor, spec: &str, seed: u64) -> Vec<f32> {
    let init: Init = spec.parse().unwrap();
    let fill = Fill::new(tensor, &init, seed).unwrap();
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(&fill, &mut out).unwrap();
    out
}

#[test]
fn eye_is_the_diagonal() {
    for (rows, columns) in [(1, 1), (5, 5), (3, 8), (8, 3), (1, 7), (100, 99)] {
        for (spec, gain) in [("eye", 1.0), ("identity(gain=-0.5)", -0.5)] {
            let got = weights(spec, &[rows, columns]);
            for (i, &value) in (0..).zip(&got) {
                let on = i / columns == i % columns;
                assert_eq!(value, if on { gain } else { 0.0 }, "{rows}x{columns} {i}");
            }
        }
    }
}

/// As in `torch.nn.init.dirac_`, each group has a one at [group * out / groups + d, d, k // 2, ...] for each d below
/// min(out / groups, in).
#[test]
fn dirac_passes_its_inputs_through() {
    for (dims, groups) in [
        (&[4, 4, 3][..], 1),
        (&[6, 3, 5], 2),
        (&[6, 4, 3], 3),
        (&[8, 8, 3, 3], 1),
        (&[8, 3, 4, 5], 4),
        (&[3, 7, 2, 1, 3], 1),
    ] {
        let mut expected = vec![0.0; dims.iter().product::<u64>() as usize];
        let taps: u64 = dims[2..].iter().product();
        let middle = dims[2..].iter().fold(0, |at, &k| at * k + k / 2);
        for group in 0..groups {
            for d in 0..(dims[0] / groups).min(dims[1]) {
                let row = group * (dims[0] / groups) + d;
                expected[((row * dims[1] + d) * taps + middle) as usize] = 1.0;
            }
        }
        assert_eq!(weights(&format!("dirac(groups={groups})"), dims), expected);
        let grouped = tensor(dims).with_groups(groups);
        assert_eq!(fill(&grouped, "dirac", 42), expected);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for (spec, dims, layout, expected) in [
        (
            "eye",
            &[4][..],
            Layout::OutIn,
            "is not a matrix: eye needs rank 2",
        ),
        ("eye", &[4, 4, 4], Layout::OutIn, "is not a matrix"),
        (
            "sparse(sparsity=0.5)",
            &[4, 4, 4],
            Layout::OutIn,
            "is not a matrix",
        ),
        ("dirac", &[4, 4], Layout::OutIn, "it needs rank 3 to 5"),
        ("dirac", &[3, 4, 4], Layout::InOut, "in layout out_in"),
        (
            "dirac(groups=3)",
            &[4, 4, 3],
            Layout::OutIn,
            "cannot have 3 groups",
        ),
        (
            "embedding(padding_idx=4)",
            &[4, 2],
            Layout::OutIn,
            "no row 4 for padding: its rows are 0 to 3, or -4 to -1 from the end",
        ),
        (
            "embedding(padding_idx=-5)",
            &[4, 2],
            Layout::OutIn,
            "no row -5 for padding",
        ),
        ("arange", &[], Layout::OutIn, "is a scalar: arange needs"),
        (
            "arange",
            &[(1 << 24) + 2],
            Layout::OutIn,
            "columns = 16777218 is out of range",
        ),
        (
            "arange(start=16777217)",
            &[1],
            Layout::OutIn,
            "= 16777217 is out of range: whole numbers must be multiples",
        ),
        (
            "arange(step=1e38)",
            &[5],
            Layout::OutIn,
            "is out of range: it must be a number of magnitude at most",
        ),
        ("causal_mask", &[4], Layout::OutIn, "is not a mask"),
        (
            "causal_mask",
            &[1 << 16, 1 << 16, 1],
            Layout::OutIn,
            "rows = 4294967296 is out of range",
        ),
        (
            "inv_freq",
            &[],
            Layout::OutIn,
            "is a scalar: inv_freq needs",
        ),
        (
            "inv_freq(dim=64)",
            &[33],
            Layout::OutIn,
            "has 33 columns, but inv_freq with dim=64 has only 32",
        ),
        (
            "inv_freq_dynamic(factor=2)",
            &[1],
            Layout::OutIn,
            "needs a dim above 2, not 2",
        ),
        ("sinusoids", &[4, 5], Layout::OutIn, "odd last dimension"),
        ("sinusoidal", &[4], Layout::OutIn, "is not a position table"),
        ("mamba_a_log", &[], Layout::OutIn, "is a scalar"),
        (
            "eye",
            &[2, 1 << 31],
            Layout::OutIn,
            "columns = 2147483648 is out of range",
        ),
        (
            "mamba_a_log",
            &[1 << 25],
            Layout::OutIn,
            "columns = 33554432",
        ),
    ] {
        let tensor = tensor(dims).with_layout(layout);
        let init: Init = spec.parse().unwrap();
        let error = init.resolve(&tensor).unwrap_err().to_string();
        assert!(error.starts_with("tensor \"w\": "), "{error}");
        assert!(error.contains(expected), "{spec} {dims:?}: {error}");
    }
}

#[test]
fn embeddings_have_their_row_of_zeros() {
    let plain = weights("normal", &[50, 7]);
    for (index, row) in [(0, 0), (3, 3), (49, 49), (-1, 49), (-50, 0)] {
        let got = weights(&format!("embedding(padding_idx={index})"), &[50, 7]);
        for i in 0..350 {
            let expected = if i / 7 == row { 0.0 } else { plain[i] };
            assert_eq!(
                got[i].to_bits(),
                expected.to_bits(),
                "row {row}, element {i}"
            );
        }
    }
}

/// As in torch, each column has exactly `ceil(sparsity * rows)` zeros, and the rest is normal.
#[test]
fn sparse_has_its_zeros_in_every_column() {
    for (rows, columns, sparsity) in [
        (10, 40, 0.1),
        (11, 40, 0.1),
        (1, 9, 0.5),
        (2, 9, 0.5),
        (3, 50, 0.0),
        (64, 33, 1.0),
        (1000, 17, 0.333),
        (65_537, 3, 0.9),
    ] {
        let dims = [rows, columns];
        let got = weights(&format!("sparse(sparsity={sparsity})"), &dims);
        let plain = weights("normal(std=0.01)", &dims);
        let expected = (sparsity * rows as f64).ceil() as usize;
        for column in 0..columns {
            let all = (0..rows).map(|row| (row * columns + column) as usize);
            let zeros = all.clone().filter(|&i| got[i] == 0.0).count();
            assert_eq!(zeros, expected, "{dims:?}, column {column}");
            assert!(all.clone().all(|i| got[i] == 0.0 || got[i] == plain[i]));
        }
    }
}

/// All subsets of the rows are equally likely as the zeros of a column, for any number of rows. The test counts how
/// often each pair of rows is zero together, over many columns.
///
/// The sum of squares of these counts is close to a chi-square distribution, with fewer degrees of freedom because
/// the number of zeros is fixed. Its mean is about the number of pairs, its standard deviation the square root of
/// twice that. The limit is six standard deviations on both sides. Chance exceeds it with a probability below 1e-6 for
/// the 8 cases together.
#[test]
fn sparse_rows_are_drawn_alike() {
    for (rows, zeros) in [
        (3u64, 1u64),
        (4, 2),
        (5, 2),
        (7, 3),
        (9, 4),
        (16, 5),
        (17, 8),
        (33, 10),
    ] {
        let columns = 200_000u64;
        let sparsity = (zeros as f64 - 0.5) / rows as f64;
        let spec = format!("sparse(sparsity={sparsity},std=1)");
        let got = weights(&spec, &[rows, columns]);
        let is_zero = |row: u64, column: u64| got[(row * columns + column) as usize] == 0.0;
        let (n, k, count) = (rows as f64, zeros as f64, columns as f64);
        // Single rows.
        let p = k / n;
        let single: f64 = (0..rows)
            .map(|row| {
                let seen = (0..columns).filter(|&column| is_zero(row, column)).count() as f64;
                (seen - count * p).powi(2) / (count * p * (1.0 - p))
            })
            .sum::<f64>()
            * (n - 1.0)
            / n;
        let limit = |freedom: f64| freedom + 6.0 * (2.0 * freedom).sqrt() + 12.0;
        println!("{zeros} of {rows}: rows {single:.2} of {:.0}", n - 1.0);
        assert!(single < limit(n - 1.0), "{zeros} of {rows}: {single}");
        // Pairs.
        let q = p * (k - 1.0) / (n - 1.0);
        if zeros < 2 {
            continue;
        }
        let mut pairs = 0.0;
        let mut statistic = 0.0;
        for a in 0..rows {
            for b in 0..a {
                let both = (0..columns)
                    .filter(|&c| is_zero(a, c) && is_zero(b, c))
                    .count();
                statistic += (both as f64 - count * q).powi(2) / (count * q * (1.0 - q));
                pairs += 1.0;
            }
        }
        println!("{zeros} of {rows}: pairs {statistic:.2} of about {pairs}");
        assert!(statistic < limit(pairs), "{zeros} of {rows}: {statistic}");
    }
}

/// The zeros of neighbouring columns are independent.
#[test]
fn sparse_columns_are_independent() {
    let (rows, columns) = (100u64, 20_000u64);
    let got = weights("sparse(sparsity=0.2,std=1)", &[rows, columns]);
    let is_zero = |row: u64, column: u64| got[(row * columns + column) as usize] == 0.0;
    for lag in [1, 2, 4, 16] {
        let both: u64 = (0..columns - lag)
            .map(|c| {
                (0..rows)
                    .filter(|&r| is_zero(r, c) && is_zero(r, c + lag))
                    .count() as u64
            })
            .sum();
        // The number of common zeros of two columns is hypergeometric: mean 4, variance 20 * 0.2 * 0.8 * 80 / 99.
        let pairs = (columns - lag) as f64;
        let deviation = (pairs * 20.0 * 0.2 * 0.8 * 80.0 / 99.0).sqrt();
        let off = (both as f64 - 4.0 * pairs) / deviation;
        // Six standard deviations, which chance exceeds with probability 2e-9.
        assert!(off.abs() < 6.0, "lag {lag}: {off}");
    }
}

/// Compares with binary64. The limit is 2^-28 plus half a unit of binary32.
#[test]
fn position_tables_are_exact() {
    for (spec, rows, columns) in [
        ("sinusoids", 1500u64, 384u64),
        ("sinusoids", 7, 2),
        ("sinusoids(max_timescale=500)", 3000, 10),
        ("sinusoidal", 5000, 512),
        ("sinusoidal(base=100)", 40, 7),
    ] {
        let base: f64 = match spec.split_once('=') {
            Some((_, rest)) => rest.trim_end_matches(')').parse().unwrap(),
            None => 10_000.0,
        };
        let got = weights(spec, &[rows, columns]);
        for (i, &value) in (0..).zip(&got) {
            let (position, column) = ((i / columns) as f64, i % columns);
            let half = columns / 2;
            let (k, steps, cosine) = if spec.starts_with("sinusoids") {
                (column % half, (half as f64 - 1.0).max(1.0), column >= half)
            } else {
                (column / 2, columns as f64 / 2.0, column % 2 == 1)
            };
            let angle = position * (-base.ln() * k as f64 / steps).exp();
            let exact = if cosine { angle.cos() } else { angle.sin() };
            let error = (f64::from(value) - exact).abs();
            let allowed = 2f64.powi(-28) + exact.abs() * 2f64.powi(-24);
            assert!(
                error <= allowed,
                "{spec} [{position}, {column}]: {value} for {exact}"
            );
        }
        // The first row is exact.
        assert!(
            got[..columns as usize]
                .iter()
                .all(|&x| x == 0.0 || x == 1.0)
        );
    }
}

#[test]
fn state_matrices_are_logarithms() {
    let got = weights("mamba_a_log", &[40, 16]);
    for (i, &value) in got.iter().enumerate() {
        let exact = ((i % 16 + 1) as f64).ln();
        assert!(
            (f64::from(value) - exact).abs() <= exact * 2f64.powi(-24),
            "{i}"
        );
    }
}

/// As `torch.tril`, in each matrix of the last two axes.
#[test]
fn causal_masks_are_lower_triangles() {
    for dims in [
        &[5, 5][..],
        &[1, 1, 9, 9],
        &[3, 4, 7],
        &[2, 3, 7, 4],
        &[1, 1],
    ] {
        let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        for (spec, value) in [("causal_mask", 1f32), ("tril(value=-2.5)", -2.5)] {
            let got = weights(spec, dims);
            for (i, &element) in (0..).zip(&got) {
                let (row, column) = (i / columns % rows, i % columns);
                let expected = if column <= row { value } else { 0.0 };
                assert_eq!(element.to_bits(), expected.to_bits(), "{spec} {dims:?} {i}");
            }
        }
    }
}

#[test]
fn counters_are_exact() {
    for (spec, start, step) in [
        ("arange", 0, 1),
        ("arange(start=-7,step=3)", -7, 3),
        ("arange(start=16776000,step=-1)", 16_776_000, -1),
        ("arange(start=34359738368,step=4096)", 1 << 35, 4096),
    ] {
        for dims in [&[512][..], &[1, 512], &[3, 511]] {
            let columns = dims[dims.len() - 1] as i64;
            for (i, &value) in (0..).zip(&weights(spec, dims)) {
                assert_eq!(value as i64, start + step * (i % columns), "{spec} {i}");
            }
        }
    }
    // The largest table ends with the largest counter.
    let init: Init = "arange".parse().unwrap();
    let fill = Fill::new(&tensor(&[1 << 24]), &init, 42).unwrap();
    let range = (1 << 24) - 3..1 << 24;
    let fill = fill.slice(std::slice::from_ref(&range)).unwrap();
    let mut end = [0f32; 3];
    cpu::fill_slice(&fill, &mut end).unwrap();
    assert_eq!(end, [16_777_213.0, 16_777_214.0, 16_777_215.0]);
    let quarters = weights("arange(start=0.5,step=0.25)", &[4]);
    assert_eq!(quarters, [0.5, 0.75, 1.0, 1.25]);
}

/// The exponential and the logarithm of the crate have the digits of those of the platform.
#[test]
fn rotary_frequencies_are_powers() {
    for (spec, theta, dim, columns) in [
        ("inv_freq", 10_000f64, 128.0, 64),
        ("inv_freq(theta=500000)", 5e5, 128.0, 64),
        ("inv_freq(dim=33)", 1e4, 33.0, 17),
        ("inv_freq(theta=1.5,dim=256)", 1.5, 256.0, 5),
    ] {
        for (c, &value) in weights(spec, &[columns]).iter().enumerate() {
            let exact = theta.powf(-2.0 * c as f64 / dim);
            let off = (f64::from(value) / exact - 1.0).abs();
            assert!(
                off <= 1.0001 * 2f64.powi(-24),
                "{spec}, column {c}: {value} for {exact}"
            );
        }
    }
}

#[test]
fn numbers_of_frequencies_are_checked() {
    for (spec, expected) in [
        (
            "inv_freq(theta=1)",
            "theta = 1 is out of range: it must be above 1",
        ),
        ("inv_freq(theta=inf)", "theta = inf is out of range"),
        ("inv_freq(dim=0)", "dim = 0 is out of range"),
        ("inv_freq_linear", "inv_freq_linear needs factor"),
        ("inv_freq_linear(factor=0)", "factor = 0 is out of range"),
        (
            "inv_freq_linear(factor=nan)",
            "factor = NaN is out of range",
        ),
        (
            "inv_freq_dynamic(factor=2,length=0.5)",
            "length = 0.5 is out of range",
        ),
        (
            "inv_freq_llama3(factor=8,low_freq_factor=4)",
            "low_freq_factor = 4 is out of range: it must be below high_freq_factor",
        ),
        (
            "inv_freq_yarn(factor=8)",
            "needs original_max_position_embeddings",
        ),
        (
            "inv_freq_yarn(factor=8,original_max_position_embeddings=0)",
            "original_max_position_embeddings = 0 is out of range",
        ),
        (
            "inv_freq_yarn(factor=8,original_max_position_embeddings=9,truncate=1)",
            "unknown truncate \"1\"; use one of true, false",
        ),
        ("inv_freq_proportional", "needs partial_rotary_factor"),
        ("arange(start=inf)", "start = inf is out of range"),
        ("causal_mask(value=inf)", "value = inf is out of range"),
        (
            "embedding(padding_idx=0.5)",
            "padding_idx=\"0.5\" is not a whole number",
        ),
    ] {
        let error = spec.parse::<Init>().unwrap_err().to_string();
        assert!(error.contains(expected), "{spec}: {error}");
    }
    // Extreme numbers within the ranges give finite frequencies.
    for spec in [
        "inv_freq(theta=1.7e308)",
        "inv_freq_linear(factor=1e-30)",
        "inv_freq_dynamic(factor=1e30,length=1e30)",
        "inv_freq_llama3(factor=1e30,low_freq_factor=1e-30,high_freq_factor=1e30)",
        "inv_freq_yarn(factor=1e-30,original_max_position_embeddings=1e30,beta_fast=1e-30)",
        "inv_freq_yarn(factor=2,original_max_position_embeddings=1e-30,theta=1.0000001)",
        "inv_freq_proportional(partial_rotary_factor=0)",
    ] {
        for columns in [2, 7, 64] {
            let got = weights(spec, &[columns]);
            assert!(got.iter().all(|x| x.is_finite()), "{spec}: {got:?}");
        }
    }
}

/// The values are uniform after the inverse of their function. Chance exceeds a Kolmogorov-Smirnov distance of
/// 2.65 / sqrt(n) once in 630,000.
#[test]
fn logarithms_and_time_steps_have_their_distribution() {
    type Undo = fn(f64) -> f64;
    let cases: [(&str, Undo, Range<f64>); 3] = [
        ("mamba2_a_log", |x| (x.exp() - 1.0) / 15.0, 0.0..2.772_589),
        (
            "log_uniform(low=0.001,high=1000)",
            |x| (x.exp() - 0.001) / 999.999,
            -6.908..6.908,
        ),
        (
            "mamba_dt_bias",
            |x| (x.exp().ln_1p().ln() - 0.001f64.ln()) / 100f64.ln(),
            -6.91..-2.25,
        ),
    ];
    for (spec, undo, range) in cases {
        let n = 1u64 << 18;
        let got = weights(spec, &[n]);
        assert!(got.iter().all(|&x| range.contains(&f64::from(x))), "{spec}");
        let mut sample: Vec<f64> = got.iter().map(|&x| undo(f64::from(x))).collect();
        sample.sort_by(f64::total_cmp);
        let distance = (0..)
            .zip(&sample)
            .map(|(i, x)| (x - (f64::from(i) + 0.5) / n as f64).abs());
        let distance = distance.fold(0.0, f64::max);
        assert!(distance < 2.65 / (n as f64).sqrt(), "{spec}: {distance}");
    }
    // No step is below the floor.
    let got = weights("mamba_dt_bias(min=0.0001,floor=0.01)", &[10_000]);
    let least = (0.01f64.exp() - 1.0).ln();
    let at_floor = got.iter().filter(|&&x| f64::from(x) < least + 1e-4).count();
    assert!(got.iter().all(|&x| f64::from(x) > least - 1e-4));
    // Two thirds of the logarithmic range are below the floor. The limit is six standard deviations.
    assert!(
        (at_floor as f64 - 6666.7).abs() < 6.0 * 47.2 + 2.0,
        "{at_floor}"
    );
}

fn case() -> impl Strategy<Value = (&'static str, Vec<u64>)> {
    let specs = vec![
        "eye",
        "identity(gain=2)",
        "dirac",
        "sparse(sparsity=0.4,std=1)",
        "embedding(padding_idx=0)",
        "embedding(padding_idx=-1)",
        "causal_mask",
        "arange(start=3)",
        "inv_freq",
        "inv_freq_yarn(factor=4,original_max_position_embeddings=100)",
        "sinusoids",
        "sinusoidal",
        "mamba_a_log",
        "trunc_normal",
        "he_normal",
        "mamba_dt_bias",
    ];
    let dims = proptest::collection::vec(1u64..12, 1..5);
    (prop::sample::select(specs), dims)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Promise 2: any slice that is filled on its own has the bits of the whole.
    #[test]
    fn slices_are_cut_from_the_whole(
        (spec, dims) in case(),
        cuts in proptest::collection::vec((0.0..1.0, 0.0..1.0), 5),
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
        seed: u64,
    ) {
        let init: Init = spec.parse().unwrap();
        let Ok(whole) = Fill::new(&tensor(&dims), &init, seed) else { return Ok(()) };
        let whole = whole.with_dtype(dtype);
        let ranges: Vec<Range<u64>> = dims
            .iter()
            .zip(cuts)
            .map(|(&dim, (a, b)): (_, (f64, f64))| {
                let at = |share: f64| (share * (dim + 1) as f64) as u64;
                at(a.min(b))..at(a.max(b))
            })
            .collect();
        let part = whole.clone().slice(&ranges).unwrap();
        let bytes = |fill: &Fill| {
            let mut out = vec![0; fill.bytes() as usize];
            cpu::fill(fill, &mut out).unwrap();
            out
        };
        let (all, got) = (bytes(&whole), bytes(&part));
        let size = dtype.size() as usize;
        let mut indices = vec![0usize];
        for (&dim, range) in dims.iter().zip(&ranges) {
            indices = indices
                .iter()
                .flat_map(|&outer| range.clone().map(move |i| outer * dim as usize + i as usize))
                .collect();
        }
        let expected: Vec<u8> =
            indices.iter().flat_map(|&i| all[i * size..][..size].to_vec()).collect();
        prop_assert_eq!(got, expected);
    }
}
