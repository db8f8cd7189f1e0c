//! The text of numbers.

use indicatif::HumanCount;

/// Returns amount, time and speed, such as `497.76 MB in 2.47 s (201.31 MB/s)`.
pub fn speed(bytes: f64, seconds: f64) -> String {
    format!(
        "{} in {seconds:.2} s ({}/s)",
        decimal_bytes(bytes),
        decimal_bytes(bytes / seconds.max(1e-9))
    )
}

/// Returns a size such as `497.76 MB`, in powers of 1000.
fn decimal_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.995 {
            return match unit {
                "B" => format!("{value:.0} B"),
                _ => format!("{value:.2} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.2} PB")
}

/// Returns a count with its noun, such as `1 tensor` or `124,439,808 parameters`.
pub fn count(n: u128, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    match u64::try_from(n) {
        Ok(n) => format!("{} {what}{plural}", HumanCount(n)),
        Err(_) => format!("{n} {what}{plural}"),
    }
}

/// Returns four significant digits without trailing zeros. It suits expected values, which are
/// often round numbers.
pub fn short_text(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    match rounded.abs() {
        0.0 => "0".to_owned(),
        size if (1e-4..1e7).contains(&size) => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

/// Returns a number with this many significant digits, without an exponent.
pub fn significant(x: f64, digits: usize) -> String {
    // The exponent after rounding: 9.9996 with four digits is 10.00.
    let rounded = format!("{x:.*e}", digits.saturating_sub(1));
    let exponent = rounded
        .rsplit('e')
        .next()
        .and_then(|text| text.parse().ok());
    let decimals = digits as i64 - 1 - exponent.unwrap_or(0i64);
    format!("{x:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// Returns six significant digits, like C's `%.6g`, but keeps trailing zeros, which align columns.
pub fn number_text(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    let magnitude = x.abs();
    if x == 0.0 || x == 1.0 || x == -1.0 || magnitude.is_infinite() {
        format!("{x}")
    } else if (1e-4..999_999.5).contains(&magnitude) {
        significant(x, 6)
    } else {
        format!("{x:.5e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_readable() {
        assert_eq!(decimal_bytes(0.0), "0 B");
        assert_eq!(decimal_bytes(999.0), "999 B");
        assert_eq!(decimal_bytes(497_759_232.0), "497.76 MB");
        assert_eq!(decimal_bytes(4e12), "4.00 TB");
        assert_eq!(count(124_439_808, "parameter"), "124,439,808 parameters");
        assert_eq!(count(1, "tensor"), "1 tensor");
    }

    #[test]
    fn numbers_have_six_digits() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.019_999_461_470_250_85, "0.0199995"),
            (-3.25, "-3.25000"),
            (4.295_632_828e-6, "4.29563e-6"),
            (123_456.7, "123457"),
            (0.999_999_99, "1.00000"),
            (9.999_999_9, "10.0000"),
            (999_999.4, "999999"),
            (999_999.7, "1.00000e6"),
            (1e9, "1.00000e9"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number_text(x), text);
        }
    }
}
