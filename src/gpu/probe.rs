//! The probe of a device's floats.
//!
//! WGSL says that conversions of whole numbers of 24 bits, and their products with powers of two, are
//! exact. On a device that breaks this rule values are made in integers, with the same bits.

use crate::kernel::value::{FLOAT_EXPONENTS, cut, power, value};

/// The exponents to try: both ends, those of usual weights, and 0, which tests the conversion alone.
const EXPONENTS: [i32; 8] = [
    *FLOAT_EXPONENTS.start(),
    -64,
    -33,
    -30,
    -24,
    0,
    1,
    *FLOAT_EXPONENTS.end(),
];

/// `struct Trial` of `shaders/probe.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Trial {
    p: [i32; 4],
    power: [f32; 4],
}

/// The text of the probe's shader, with the entry point `probe`.
pub(super) const SHADER: &str = concat!(
    include_str!("../../shaders/value.wgsl"),
    include_str!("../../shaders/probe.wgsl")
);

/// Returns the numbers to try: every power of two with both neighbours, and long significands, of
/// either sign.
fn numbers() -> Vec<i32> {
    let mut numbers = vec![0, 0x00aa_aaaa, 0x0055_5555, 0x0fff_fff0, 0x0aaa_aaa0];
    for bit in 0..28 {
        let power = 1 << bit;
        // Only numbers that `cut` gives: WGSL does not say how the conversion of others is rounded.
        numbers.extend([power, cut(power - 1), cut(power + 1)]);
    }
    numbers.extend(numbers.clone().iter().map(|p| -p));
    numbers.resize(numbers.len().next_multiple_of(4), 0);
    numbers
}

fn trials() -> impl Iterator<Item = (Trial, i32)> {
    let numbers = numbers();
    EXPONENTS.into_iter().flat_map(move |exponent| {
        let trial = move |p: &[i32; 4]| {
            let trial = Trial {
                p: *p,
                power: [power(exponent), 0.0, 0.0, 0.0],
            };
            (trial, exponent)
        };
        let (groups, _) = numbers.as_chunks::<4>();
        groups.iter().map(trial).collect::<Vec<_>>()
    })
}

/// Returns the contents of the buffer of trials. The answers take half as many bytes.
pub(super) fn contents() -> Vec<u8> {
    let trials: Vec<Trial> = trials().map(|(trial, _)| trial).collect();
    bytemuck::cast_slice(&trials).to_vec()
}

/// Returns the number of workgroups, of 64 trials each.
pub(super) fn workgroups(contents: &[u8]) -> u32 {
    (contents.len() / size_of::<Trial>()).div_ceil(64) as u32
}

/// Returns whether a device's answers are those of the integers.
pub(super) fn is_exact(answers: &[u8]) -> bool {
    let expected = trials()
        .flat_map(|(trial, exponent)| trial.p.map(|p| value(p, exponent).to_le_bytes()))
        .flatten();
    expected.eq(answers.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(value: impl Fn(i32, i32) -> u32) -> Vec<u8> {
        let bits = trials().flat_map(|(trial, exponent)| trial.p.map(|p| value(p, exponent)));
        bits.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn floats_of_ieee_754_pass_and_others_do_not() {
        let float = |p: i32, exponent: i32| p as f32 * (exponent as f32).exp2();
        assert!(is_exact(&answers(|p, e| float(p, e).to_bits())));
        // The sign of a zero, a significand a bit short, flushed small numbers, an early infinity.
        assert!(!is_exact(&answers(
            |p, e| (0.0 - float(-p, e)).to_bits() | u32::from(p == 0) << 31
        )));
        assert!(!is_exact(&answers(|p, e| float(p & !1, e).to_bits())));
        assert!(!is_exact(&answers(|p, e| float(
            if e < -120 { 0 } else { p },
            e
        )
        .to_bits())));
        assert!(!is_exact(&answers(|p, e| {
            (float(p, e) * 2.0f32.powi(2) / 4.0).to_bits()
        })));
        assert!(!is_exact(&[]));
    }
}
