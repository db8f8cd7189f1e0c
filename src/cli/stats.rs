//! `fanin stats`: what the weights in a file look like.

use fanin::checkpoint::{self, TensorStats};

use super::Failure;
use super::args::StatsArguments;
use super::output::{print, print_json};
use super::table::{Align, table};

pub fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    let stats = checkpoint::stats(&arguments.file)?;
    if arguments.json {
        return print_json(&stats);
    }
    let columns = [
        ("name", Align::Left),
        ("shape", Align::Left),
        ("dtype", Align::Left),
        ("n", Align::Right),
        ("mean", Align::Right),
        ("std", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
        ("kurtosis", Align::Right),
        ("zeros", Align::Right),
    ];
    print(&table(&columns, &stats.iter().map(row).collect::<Vec<_>>()))
}

fn row(stats: &TensorStats) -> Vec<String> {
    let missing = || "-".to_owned();
    // An empty tensor has no mean: nothing is wrong with it.
    let number = |number: Option<f64>| {
        number
            .filter(|_| stats.n > 0)
            .map_or_else(missing, number_text)
    };
    vec![
        stats.name.clone(),
        format!("{:?}", stats.shape),
        stats.dtype.clone(),
        stats.n.to_string(),
        number(stats.mean),
        number(stats.std),
        number(stats.min),
        number(stats.max),
        // Where all elements are equal there is none: nothing is wrong with the tensor.
        number(stats.kurtosis.filter(|kurtosis| !kurtosis.is_nan())),
        stats.zeros.map_or_else(missing, |zeros| zeros.to_string()),
    ]
}

/// Six significant digits, like C's `%.6g`, but for trailing zeros that line columns up.
pub fn number_text(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    let magnitude = x.abs();
    if x == 0.0 || x == 1.0 || x == -1.0 || magnitude.is_infinite() {
        format!("{x}")
    } else if (1e-4..1e6).contains(&magnitude) {
        let digits_before = magnitude.log10().floor() as i32 + 1;
        let decimals = usize::try_from(6 - digits_before.min(6)).unwrap_or(0);
        format!("{x:.decimals$}")
    } else {
        format!("{x:.5e}")
    }
}

#[cfg(test)]
mod tests {
    use super::number_text;

    #[test]
    fn numbers_have_six_digits() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.019_999_461_470_250_85, "0.0199995"),
            (-3.25, "-3.25000"),
            (4.295_632_828e-6, "4.29563e-6"),
            (123_456.7, "123457"),
            (1e9, "1.00000e9"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number_text(x), text);
        }
    }
}
