//! The floats of 8 bits: OCP 8-bit Floating Point Specification (OFP8), revision 1.0.

/// A format of 8 bits: a sign, an exponent, and the bits after the point.
#[derive(Clone, Copy)]
pub(crate) struct Float8 {
    /// The bits after the point.
    fraction: u32,
    /// The number that is added to an exponent.
    bias: u32,
    /// The bits of the largest finite number.
    largest: u8,
    /// The bits of infinity, if the format has it. Larger magnitudes, and 0x7f, are not numbers.
    infinity: Option<u8>,
}

/// 3 bits after the point, largest 448. 0x7f is NaN, and there is no infinity.
pub(crate) const E4M3: Float8 = Float8 {
    fraction: 3,
    bias: 7,
    largest: 0x7e,
    infinity: None,
};

/// 2 bits after the point, largest 57344.
pub(crate) const E5M2: Float8 = Float8 {
    fraction: 2,
    bias: 15,
    largest: 0x7b,
    infinity: Some(0x7c),
};

impl Float8 {
    /// Returns binary32 rounded to nearest, ties to even. What is too large becomes the largest
    /// finite number of its sign.
    pub const fn of_f32(self, x: f32) -> u8 {
        let sign = ((x.to_bits() >> 24) & 0x80) as u8;
        let magnitude = x.to_bits() & 0x7fff_ffff;
        if magnitude > 0x7f80_0000 {
            // NaN keeps its sign, and 0x7f is NaN in both formats.
            return sign | 0x7f;
        }
        let dropped = 23 - self.fraction;
        // The smallest normal number is 2^(1 - bias).
        let rounded = if magnitude >= (128 - self.bias) << 23 {
            // A carry out of the significand goes into the exponent.
            let rebiased = magnitude - ((127 - self.bias) << 23);
            // The addend is just below half a unit, or half a unit if the last kept bit is odd: ties go to
            // even. Infinity passes through here, and the comparison below holds it at the largest number.
            (rebiased + (1 << (dropped - 1)) - 1 + ((rebiased >> dropped) & 1)) >> dropped
        } else {
            // A multiple of 2^(1 - bias - fraction), counted in integers: floats of a process may
            // flush subnormals.
            let field = magnitude >> 23;
            let significand = (magnitude & 0x7f_ffff) | if field != 0 { 1 << 23 } else { 0 };
            // The significand is in units of 2^(field - 150), or 2^-149 if field is 0.
            let shift = 151 - self.bias - self.fraction - if field > 1 { field } else { 1 };
            // A significand is below 2^24, so such a number is less than a quarter of
            // a unit. The limit also keeps the shift below 32.
            if shift > 25 {
                0
            } else {
                let half = 1 << (shift - 1);
                (significand + half - 1 + ((significand >> shift) & 1)) >> shift
            }
        };
        // Bits of one sign are in the order of their numbers, so this finds all that is too large.
        if rounded > self.largest as u32 {
            sign | self.largest
        } else {
            sign | rounded as u8
        }
    }

    /// Returns the number of these bits, which binary32 holds exactly.
    pub fn to_f32(self, bits: u8) -> f32 {
        let magnitude = bits & 0x7f;
        let value = if self.infinity == Some(magnitude) {
            f32::INFINITY
        } else if magnitude > self.largest {
            f32::NAN
        } else {
            let field = u32::from(magnitude) >> self.fraction;
            let low = u32::from(magnitude) & ((1 << self.fraction) - 1);
            let significand = if field == 0 {
                low
            } else {
                low | 1 << self.fraction
            };
            // Subnormal numbers have the exponent of field 1. The product below is exact: at
            // most 4 bits times a power of two between 2^-16 and 2^13.
            let exponent = field.max(1) as i32 - (self.bias + self.fraction) as i32;
            significand as f32 * crate::kernel::value::power(exponent)
        };
        if bits & 0x80 == 0 { value } else { -value }
    }

    /// Returns the lowest finite number that is not below `bound`, or `None` if all are.
    pub fn not_below(self, bound: f32) -> Option<f32> {
        let numbers = (0..=u8::MAX).map(|bits| self.to_f32(bits));
        // -0 comes after +0, so that +0 is taken.
        numbers
            .filter(|x| x.is_finite() && *x >= bound)
            .reduce(|least, x| if x < least { x } else { least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finite numbers of a format from 0 up, straight from its definition.
    fn numbers(fraction: i32, bias: i32, largest: f64) -> Vec<f64> {
        let mut numbers = Vec::new();
        for field in 0..32 {
            for low in 0..1 << fraction {
                let low = f64::from(low) / f64::from(1 << fraction);
                let number = match field {
                    0 => low * 2f64.powi(1 - bias),
                    _ => (1.0 + low) * 2f64.powi(field - bias),
                };
                if number <= largest {
                    numbers.push(number);
                }
            }
        }
        numbers
    }

    const FORMATS: [(Float8, i32, i32, f64); 2] = [(E4M3, 3, 7, 448.0), (E5M2, 2, 15, 57344.0)];

    #[test]
    fn bits_are_those_of_the_definition() {
        for (format, fraction, bias, largest) in FORMATS {
            let numbers = numbers(fraction, bias, largest);
            assert_eq!(numbers.len(), usize::from(format.largest) + 1);
            for (bits, &number) in (0u8..).zip(&numbers) {
                assert_eq!(f64::from(format.to_f32(bits)), number);
                assert_eq!(f64::from(format.to_f32(bits | 0x80)), -number);
                assert_eq!(format.of_f32(number as f32), bits);
                assert_eq!(format.of_f32(-number as f32), bits | 0x80);
            }
        }
        assert!((0x7f..=0x7f).all(|bits| E4M3.to_f32(bits).is_nan()));
        assert!(E4M3.to_f32(0xff).is_nan());
        assert_eq!(E5M2.to_f32(0xfc), f32::NEG_INFINITY);
        assert!((0x7d..=0x7f).all(|bits| E5M2.to_f32(bits).is_nan()));
        assert_eq!(E4M3.of_f32(f32::NAN) & 0x7f, 0x7f);
        assert_eq!(E5M2.of_f32(f32::NAN) & 0x7f, 0x7f);
    }

    /// Rounding is monotone, so it is right everywhere if it is right at every number, at every
    /// middle between two and at the binary32 on both sides of them.
    #[test]
    fn every_boundary_is_rounded_to_nearest_even() {
        for (format, fraction, bias, largest) in FORMATS {
            let numbers = numbers(fraction, bias, largest);
            for (i, pair) in numbers.windows(2).enumerate() {
                let middle = ((pair[0] + pair[1]) / 2.0) as f32;
                assert_eq!(f64::from(middle), (pair[0] + pair[1]) / 2.0);
                let even = (i + i % 2) as u8;
                for (x, bits) in [
                    (pair[0] as f32, i as u8),
                    ((pair[0] as f32).next_up(), i as u8),
                    (middle.next_down(), i as u8),
                    (middle, even),
                    (middle.next_up(), i as u8 + 1),
                    ((pair[1] as f32).next_down(), i as u8 + 1),
                ] {
                    assert_eq!(format.of_f32(x), bits, "{x:e}");
                    assert_eq!(format.of_f32(-x), bits | 0x80, "-{x:e}");
                }
            }
            for x in [
                largest as f32,
                largest as f32 * 1.1,
                1e30,
                f32::MAX,
                f32::INFINITY,
            ] {
                assert_eq!(format.of_f32(x), format.largest, "{x}");
                assert_eq!(format.of_f32(-x), format.largest | 0x80, "{x}");
            }
            for x in [0.0, f32::from_bits(1), 1e-40, f32::MIN_POSITIVE, 1e-30] {
                assert_eq!(format.of_f32(x), 0, "{x:e}");
                assert_eq!(format.of_f32(-x), 0x80, "{x:e}");
            }
        }
    }

    /// All of binary32, in a minute or two of a release build.
    #[test]
    #[ignore = "takes minutes"]
    fn all_of_binary32_is_rounded_to_nearest_even() {
        for (format, fraction, bias, largest) in FORMATS {
            let numbers = numbers(fraction, bias, largest);
            for bits in 0..=f32::INFINITY.to_bits() {
                let x = f64::from(f32::from_bits(bits));
                let above = numbers.partition_point(|&number| number < x);
                let nearest = match (above, numbers.get(above)) {
                    (0, _) => 0,
                    (_, None) => above - 1,
                    (_, Some(upper)) => match (x - numbers[above - 1]).total_cmp(&(upper - x)) {
                        std::cmp::Ordering::Less => above - 1,
                        std::cmp::Ordering::Equal => above - above % 2,
                        std::cmp::Ordering::Greater => above,
                    },
                };
                assert_eq!(usize::from(format.of_f32(x as f32)), nearest, "{x:e}");
            }
        }
    }

    #[test]
    fn the_number_above_a_bound_is_found() {
        assert_eq!(E4M3.not_below(0.3), Some(0.3125));
        assert_eq!(E4M3.not_below(-0.3), Some(-0.28125));
        assert_eq!(E4M3.not_below(f32::MIN), Some(-448.0));
        assert_eq!(E4M3.not_below(448.1), None);
        assert_eq!(E5M2.not_below(1e-9), Some(2f32.powi(-16)));
    }
}
