//! Known answers of the stream: the generator, the curves, the products and the values are compared with numbers or
//! arithmetic from other sources. A failure here means that the stream has changed.

use fanin::init::normal_table;
use fanin::kernel::box_muller::{normal_pair, turn};
use fanin::kernel::curve::{ENTRIES, place};
use fanin::kernel::mul::{mul_hi_rounded, mul_hi_rounded_unsigned, mul_shifted};
use fanin::kernel::pattern::sine_value;
use fanin::kernel::philox::{counter, first_round, philox, philox_block, round_keys};
use fanin::kernel::uniform::uniform;
use fanin::kernel::value::{FLOAT_EXPONENTS, cut, to_bf16, to_f16, value};
use half::{bf16, f16};
use proptest::prelude::*;

/// The known answers of Random123 (`kat_vectors`, philox4x32 10).
#[test]
fn philox_gives_the_known_answers_of_its_authors() {
    let cases = [
        (
            [0; 4],
            [0; 2],
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
        ),
        (
            [u32::MAX; 4],
            [u32::MAX; 2],
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
        ),
        (
            [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
            [0xa4093822, 0x299f31d0],
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
        ),
    ];
    for (counter, key, words) in cases {
        assert_eq!(philox(counter, key), words);
    }
}

#[test]
fn blocks_of_a_named_stream_are_those_of_the_design() {
    let id = fanin::stream_id("w");
    assert_eq!(id, 17_734_696_886_724_432);
    let stream = [id as u32, (id >> 32) as u32];
    let block = |b| philox(counter(b, 0, stream), [42, 0]);
    assert_eq!(block(0), [0x1e5d9147, 0xecc5f271, 0x7d5b5cdd, 0x5516c704]);
    assert_eq!(block(1), [0x14b86037, 0xb6ec3e87, 0x6b04226f, 0xc48714f9]);
}

#[test]
fn counters_hold_48_bits_of_block_below_16_of_draw() {
    assert_eq!(
        counter(0x8765_4321_0fed, 0xbeef, [7, 9]),
        [0x4321_0fed, 0xbeef_8765, 7, 9]
    );
}

/// With 2^25 numbers, which is the maximum, with one number, and with three.
#[test]
fn uniform_numbers_end_one_before_the_end() {
    let most = |word| uniform(word, 1 << 25, -(1 << 24));
    assert_eq!(most(0), -(1 << 24));
    assert_eq!(most(127), -(1 << 24));
    assert_eq!(most(128), 1 - (1 << 24));
    assert_eq!(most(0x7fff_ffff), -1);
    assert_eq!(most(0x8000_0000), 0);
    assert_eq!(most(u32::MAX), (1 << 24) - 1);
    for word in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(uniform(word, 1, -7), -7);
    }
    // 2^32 is 3 * 0x5555_5555 + 1, so the first number has one word more than the others.
    for (word, number) in [
        (0x5555_5555, 10),
        (0x5555_5556, 11),
        (0xaaaa_aaaa, 11),
        (0xaaaa_aaab, 12),
    ] {
        assert_eq!(uniform(word, 3, 10), number, "word {word:#x}");
    }
}

/// These numbers are part of version 1 of the stream and may change only with a new version. An implementation in C
/// gave the same numbers. `tests/library/accuracy.rs` compares them with the exact values.
#[test]
fn normal_pairs_are_those_that_were_pinned() {
    let table = normal_table();
    // The two words, half of the radius with 28 fraction bits, and the cosine and sine with 30.
    for (a, b, radius, x, y) in [
        (
            0x1e5d_9147,
            0xecc5_f271,
            277_143_871,
            -824_026_535,
            -688_405_227,
        ),
        (
            0x7d5b_5cdd,
            0x5516_c704,
            160_390_214,
            31_833_034,
            -1_073_269_948,
        ),
        (0, 0x8000_0000, 893_948_717, 1_073_741_833, 122),
        (1, 0x7fff_00ff, 893_948_717, 149, 1_073_741_832),
        (u32::MAX, u32::MAX, 2_908, 1_073_736_771, -3_294_270),
        (
            0x8000_0000,
            0x8000_0080,
            158_029_305,
            759_250_098,
            759_250_223,
        ),
        (
            0x7fff_ffff,
            0x7fff_027f,
            158_029_287,
            -759_250_140,
            -759_250_178,
        ),
        (
            0xfbff_ffff,
            0x0000_0340,
            23_820_032,
            413_944_757,
            -990_742_773,
        ),
        (0x00ff_ffff, 0, 446_974_374, 1_073_736_771, 3_294_244),
        (
            0x8000_0001,
            0xffff_0200,
            158_029_305,
            -1_073_736_771,
            -3_294_116,
        ),
    ] {
        assert_eq!(
            normal_pair(a, b, 1 << 31, &table),
            (radius, (x, y)),
            "words {a:#010x} {b:#010x}"
        );
    }
}

/// Checks the definition of `cut` without counting leading bits.
fn check_cut(x: i32) {
    let p = cut(x);
    // The smallest power of two in units of which the magnitude has at most 24 bits.
    let exact = i64::from(x);
    let mut unit = 1i64;
    while !(-(unit << 24)..unit << 24).contains(&exact) {
        unit *= 2;
    }
    assert_eq!(i64::from(p), exact.div_euclid(unit) * unit, "{x}");
    assert_eq!(f64::from(p as f32), f64::from(p), "{x}");
}

/// Numbers of all magnitudes, with small ones as likely as large ones.
fn signed() -> impl Strategy<Value = i32> {
    (0u32..32, any::<i32>()).prop_map(|(shift, x)| x >> shift)
}

/// Numbers of all magnitudes, with the ends of the range and their neighbours.
fn factor() -> impl Strategy<Value = i32> {
    prop_oneof![
        8 => signed(),
        1 => prop::sample::select(vec![i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX]),
    ]
}

/// All exponents that a tensor can have. The ends of the range for floats are more frequent.
fn exponent() -> impl Strategy<Value = i32> {
    prop_oneof![
        -149i32..=104,
        prop::sample::select(vec![-149, -148, -127, -126, -125, 97, 99, 100, 103, 104]),
    ]
}

fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        -10f32..10f32,
        (-140i32..10).prop_map(|e| (e as f32).exp2()),
    ]
    .prop_filter("finite", |x| x.is_finite())
}

/// Returns `x * y / 2^bits`, rounded to nearest, halves up.
fn shifted(x: i128, y: i128, bits: u32) -> i128 {
    (x * y + (1 << (bits - 1))).div_euclid(1 << bits)
}

#[test]
fn cutting_is_exact_on_both_sides_of_each_power_of_two() {
    for bit in 0..31 {
        let power = 1i32 << bit;
        // The distance to the next number of 24 bits is half as large below the power of two as above it.
        let below = (power >> 24).max(1);
        let above = (power >> 23).max(1);
        for x in [power - below, power, power + above] {
            assert_eq!(cut(x), x);
            assert_eq!(cut(-x), -x);
        }
        if above > 1 {
            assert_eq!(cut(power + above - 1), power);
            assert_eq!(cut(-power - 1), -power - above);
        }
        if below > 1 {
            assert_eq!(cut(power - 1), power - below);
            assert_eq!(cut(-power + 1), -power);
        }
        for x in power - 3..=power.saturating_add(3) {
            check_cut(x);
            check_cut(-x);
        }
    }
    assert_eq!(cut(i32::MAX), i32::MAX - 127);
    assert_eq!(cut(i32::MIN), i32::MIN);
    assert_eq!(cut(i32::MIN + 1), i32::MIN);
    check_cut(i32::MAX);
    check_cut(i32::MIN);
}

#[test]
fn numbers_below_2_to_24_are_not_cut() {
    for x in -(1 << 24)..=1 << 24 {
        assert_eq!(cut(x), x);
    }
}

/// The smallest and largest exponents for values that a device makes in floats, and the overall smallest and largest.
#[test]
fn values_end_with_subnormal_numbers_and_infinities() {
    for (p, exponent, expected) in [
        (1, -149, 1),
        (-1, -149, 0x8000_0001),
        (0x007f_ffff, -149, 0x007f_ffff),
        (0x0080_0000, -149, 0x0080_0000),
        (-(1 << 24), -149, 0x8100_0000),
        (3, -130, 3 << 19),
        (1, -126, 0x0080_0000),
        (0x00ff_ffff, 104, f32::MAX.to_bits()),
        (0x7fff_ff80, 97, f32::MAX.to_bits()),
        (-0x7fff_ff80, 97, f32::MIN.to_bits()),
        (0x0100_0000, 104, f32::INFINITY.to_bits()),
        (-0x0100_0000, 104, f32::NEG_INFINITY.to_bits()),
        (0x7fff_ff80, 104, f32::INFINITY.to_bits()),
        (i32::MIN, 97, f32::NEG_INFINITY.to_bits()),
        (1 << 28, *FLOAT_EXPONENTS.end(), 254 << 23),
    ] {
        assert_eq!(value(p, exponent), expected, "{p} * 2^{exponent}");
    }
    for exponent in -149..=104 {
        assert_eq!(value(0, exponent), 0, "0 * 2^{exponent}");
    }
}

#[test]
fn sines_of_0_and_of_a_quarter_turn_are_exact() {
    assert_eq!(sine_value(0), 0);
    assert_eq!(sine_value(i32::MAX), 1f32.to_bits());
    assert_eq!(sine_value(-i32::MAX), (-1f32).to_bits());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200_000))]

    #[test]
    fn blocks_are_those_of_their_counters(block in 0u64..1 << 48, stream: [u32; 2], key: [u32; 2]) {
        let made = philox_block(block, &round_keys(key), first_round(stream, key));
        prop_assert_eq!(made, philox(counter(block, 0, stream), key));
    }

    /// The words from k 2^32 / count up to (k + 1) 2^32 / count give the number k.
    #[test]
    fn uniform_numbers_have_equal_shares(word: u32, next: u32, count in 1u32..=1 << 25, first in -(1i32 << 24)..=1 << 24) {
        let number = uniform(word, count, first);
        let place = i128::from(number) - i128::from(first);
        prop_assert!((0..i128::from(count)).contains(&place));
        let word_share = i128::from(word) * i128::from(count);
        prop_assert!(place << 32 <= word_share && word_share < (place + 1) << 32);
        let (low, high) = (word.min(next), word.max(next));
        prop_assert!(uniform(low, count, first) <= uniform(high, count, first));
        prop_assert_eq!(uniform(0, count, first), first);
        prop_assert_eq!(uniform(u32::MAX, count, first), first + (count - 1) as i32);
    }

    /// Compares the text's definition in integers with the kernel, which uses the bits of a float.
    #[test]
    fn words_are_placed_as_the_text_places_them(word in signed()) {
        let z = cut(word | 1);
        let magnitude = z.unsigned_abs();
        let n = magnitude.leading_zeros();
        let below_leading = ((u64::from(magnitude) << n << 1) % (1 << 32)) as u32;
        let (half, segment) = (u32::from(z < 0), below_leading >> 26);
        let t = i64::from((below_leading >> 10) % (1 << 16)) - (1 << 15);
        let entry = 2048 * half + 64 * ((62 - n) % 32) + segment;
        prop_assert_eq!(place(word as u32), (entry, t as i32));
        prop_assert!((entry as usize) < ENTRIES);
    }

    #[test]
    fn directions_take_26_bits_of_a_word(word: u32, others: u32) {
        let table = normal_table();
        prop_assert_eq!(turn(word, &table), turn(word ^ (others & 0xfc00), &table));
    }

    #[test]
    fn products_are_rounded_to_nearest(a in factor(), b in factor(), shift in 0u32..=30) {
        let (x, y) = (i128::from(a), i128::from(b));
        prop_assert_eq!(i128::from(mul_hi_rounded(a, b)), shifted(x, y, 32));
        // The kernel requires products below 2^61.
        if (x * y).abs() < 1 << 61 {
            prop_assert_eq!(i128::from(mul_shifted(a, b, shift)), shifted(x, y, 32 + shift));
        }
        let (a, b) = (a as u32, b as u32);
        let (x, y) = (i128::from(a), i128::from(b));
        prop_assert_eq!(i128::from(mul_hi_rounded_unsigned(a, b)), shifted(x, y, 32));
    }

    #[test]
    fn cutting_rounds_down_to_24_bits(x in factor()) {
        check_cut(x);
    }

    #[test]
    fn values_are_exact(x in factor(), exponent in exponent()) {
        let p = cut(x);
        // The product is exact in binary64, and the conversion to binary32 does not round.
        let product = f64::from(p) * f64::from(exponent).exp2();
        let bits = value(p, exponent);
        prop_assert_eq!(bits, (product as f32).to_bits());
        let made = f64::from(f32::from_bits(bits));
        prop_assert!(made == product || product.abs() >= 128f64.exp2());
    }

    /// A device makes these values in floats. No product is subnormal, which a device may flush, or overflows.
    #[test]
    fn values_are_products_of_normal_floats(x in factor(), exponent in FLOAT_EXPONENTS) {
        let p = cut(x.clamp(-(1 << 28), 1 << 28));
        let factor = (exponent as f32).exp2();
        prop_assert!(factor.is_normal());
        let product = p as f32 * factor;
        prop_assert!(p == 0 || product.is_normal());
        prop_assert_eq!(value(p, exponent), product.to_bits());
    }

    #[test]
    fn sines_are_rounded_to_nearest_even(sine in factor()) {
        let exact = f64::from(sine) / (1u64 << 31) as f64;
        prop_assert_eq!(sine_value(sine), (exact as f32).to_bits());
    }

    #[test]
    fn halves_are_rounded_as_the_half_crate_rounds(x in finite()) {
        prop_assert_eq!(to_f16(x.to_bits()) as u16, f16::from_f32(x).to_bits());
        prop_assert_eq!(to_bf16(x.to_bits()) as u16, bf16::from_f32(x).to_bits());
    }

}

#[test]
fn every_rounding_to_16_bits_at_a_tie_goes_to_even() {
    for upper in 0..=u16::MAX {
        for lower in [0u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            let x = f32::from_bits(u32::from(upper) << 16 | lower);
            if x.is_finite() {
                assert_eq!(
                    to_bf16(x.to_bits()) as u16,
                    bf16::from_f32(x).to_bits(),
                    "{x:e}"
                );
                assert_eq!(
                    to_f16(x.to_bits()) as u16,
                    f16::from_f32(x).to_bits(),
                    "{x:e}"
                );
            }
        }
    }
    for half in 0..0x7c00u16 {
        let low = f16::from_bits(half).to_f32();
        let high = f16::from_bits(half + 1).to_f32();
        let tie = if half + 1 == 0x7c00 {
            65520.0
        } else {
            (low + high) / 2.0
        };
        for x in [low, tie.next_down(), tie, tie.next_up()] {
            for x in [x, -x] {
                assert_eq!(
                    to_f16(x.to_bits()) as u16,
                    f16::from_f32(x).to_bits(),
                    "{x:e}"
                );
            }
        }
    }
}
