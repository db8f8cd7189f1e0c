//! Sizes in bytes, as arguments give them.

/// Parses a size such as `5GB`, `256MiB`, `1.5 GB` or `1000`: a number, and a unit in powers of
/// 1000 or 1024.
///
/// # Errors
///
/// A message that says what is accepted, for other text, for 0, and for 10^18 bytes or more.
pub fn size(text: &str) -> Result<u64, String> {
    let refused = || "use a number of bytes such as 5GB, 256MiB or 1000000".to_owned();
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1000u64.pow(2),
        "GB" => 1000u64.pow(3),
        "TB" => 1000u64.pow(4),
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        "TIB" => 1 << 40,
        _ => return Err(refused()),
    };
    let bytes = match number.parse::<u64>() {
        Ok(number) => number.checked_mul(unit),
        // binary64 has more digits than fractions of a size need.
        Err(_) => match number.parse::<f64>() {
            Ok(number) if number * (unit as f64) < 1e18 => Some((number * unit as f64) as u64),
            _ => None,
        },
    };
    let range = 1..10u64.pow(18);
    bytes
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("5GB", 5_000_000_000),
            ("5gb", 5_000_000_000),
            ("256MiB", 256 << 20),
            ("1.5 GB", 1_500_000_000),
            ("100 kB", 100_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "GB",
            "-1GB",
            "5 apples",
            "1e9",
            "1000000TB",
            "1000000.0TB",
            "99999999TB",
            "1.2.3MB",
            "0.1B",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
