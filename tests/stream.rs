//! The stream's known answers: the generator, the cores and the scaling, each against numbers or
//! arithmetic that come from elsewhere. A failure here means that the stream changed.

use fanin::init::normal_table;
use fanin::kernel::box_muller::normal_pair;
use fanin::kernel::philox::{counter, philox};
use fanin::kernel::quantile::ENTRIES;
use fanin::kernel::scale::{Scale, add, clamp, clamp_across_zero, scale, to_bf16, to_f16};
use fanin::kernel::uniform::uniform;
use half::{bf16, f16};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

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

#[test]
fn uniform_cores_have_the_ends_and_the_middle_that_the_formula_gives() {
    for word in [
        0,
        1,
        0xf,
        0x10,
        0x7fff_ffff,
        0x8000_0000,
        0xdead_beef,
        u32::MAX,
    ] {
        assert_eq!(
            i64::from(uniform(word)),
            2 * i64::from(word >> 4) + 1 - (1 << 28)
        );
    }
    assert_eq!(uniform(0), 1 - (1 << 28));
    assert_eq!(uniform(u32::MAX), (1 << 28) - 1);
}

/// Pinned when the stream was made: change them only with a new version of the stream. How close
/// they are to the exact values is the business of `tests/accuracy.rs`.
#[test]
fn normal_pairs_are_those_that_were_pinned() {
    let table = normal_table();
    for (a, b, even, odd) in [
        (0x1e5d_9147, 0xecc5_f271, 123_427_140, -62_991_450),
        (0x7d5b_5cdd, 0x5516_c704, -39_680_303, 69_690_230),
        (0, 0, 453_904_602, 0),
        (u32::MAX, u32::MAX, 1_024, 0),
        (0, 0x4000_0000, 0, 453_904_602),
        (0x8000_0000, 0x2000_0000, 55_871_794, 55_871_794),
        (0x7fff_ffff, 0x1fff_ffff, 55_871_794, 55_871_794),
        (0xfbff_ffff, 0xa000_0000, -8_421_657, -8_421_657),
    ] {
        assert_eq!(
            normal_pair(a, b, &table),
            (even, odd),
            "words {a:#010x} {b:#010x}"
        );
    }
}

/// What `tests/data/stream.py` makes of `docs/STREAM.md`, without having seen this crate.
#[test]
fn normal_pairs_are_those_of_the_text() {
    #[derive(serde::Deserialize)]
    struct Text {
        radii: String,
        circle: String,
        pairs: Vec<(u32, u32, i32, i32)>,
    }
    let text: Text = serde_json::from_str(include_str!("data/stream.json")).unwrap();
    let table = normal_table();
    let digest = |entries: &[[u32; 4]]| {
        let words = entries.as_flattened().iter();
        let hash = Sha256::digest(
            words
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>(),
        );
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(digest(&table[..ENTRIES]), text.radii);
    assert_eq!(digest(&table[ENTRIES..]), text.circle);
    assert_eq!(text.pairs.len(), 1000);
    for (a, b, even, odd) in text.pairs {
        assert_eq!(
            normal_pair(a, b, &table),
            (even, odd),
            "words {a:#010x} {b:#010x}"
        );
    }
}

/// Cores times scale in binary64: exact, as cores have 29 bits at most and scales 24; the
/// conversion rounds once.
fn scaled_by_floats(core: i32, factor: f32, fraction_bits: i32) -> u32 {
    let product = f64::from(core) * f64::from(factor) * (-f64::from(fraction_bits)).exp2();
    (product as f32).to_bits()
}

fn core() -> impl Strategy<Value = i32> {
    // All magnitudes of a core, small ones as likely as large ones.
    (0u32..29, any::<i32>()).prop_map(|(shift, word)| word >> (2 + shift))
}

fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        -10f32..10f32,
        (-140i32..10).prop_map(|e| (e as f32).exp2()),
    ]
    .prop_filter("finite", |x| x.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200_000))]

    #[test]
    fn scaling_rounds_once_to_nearest_even(core in core(), factor in finite(), bits in prop::sample::select(vec![26, 28])) {
        let factor = factor.abs().max(f32::from_bits(1));
        let core = if core == 0 { 1 } else { core };
        let Scale { mantissa, exponent } = Scale::new(factor, bits);
        prop_assert_eq!(scale(core, mantissa, exponent), scaled_by_floats(core, factor, bits));
    }

    #[test]
    fn addition_is_that_of_ieee_754(a in finite(), b in finite()) {
        prop_assert_eq!(add(a.to_bits(), b.to_bits()), (a + b).to_bits());
    }

    /// Neighbours and cancellation: where alignment and sticky bits matter.
    #[test]
    fn addition_of_close_numbers_is_that_of_ieee_754(a in finite(), ulps in -300i32..300, shift in 0i32..40) {
        let b = f32::from_bits(a.to_bits().wrapping_add_signed(ulps)) * (-f64::from(shift)).exp2() as f32;
        prop_assume!(b.is_finite());
        prop_assert_eq!(add(a.to_bits(), b.to_bits()), (a + b).to_bits());
        prop_assert_eq!(add(a.to_bits(), (-b).to_bits()), (a - b).to_bits());
    }

    #[test]
    fn halves_are_rounded_as_the_half_crate_rounds(x in finite()) {
        prop_assert_eq!(to_f16(x.to_bits()) as u16, f16::from_f32(x).to_bits());
        prop_assert_eq!(to_bf16(x.to_bits()) as u16, bf16::from_f32(x).to_bits());
    }

    #[test]
    fn clamping_is_that_of_numbers(x in finite(), low in finite(), high in finite()) {
        let (low, high) = if low <= high { (low, high) } else { (high, low) };
        let clamped = clamp(x.to_bits(), low.to_bits(), high.to_bits());
        prop_assert_eq!(f32::from_bits(clamped), x.clamp(low, high));
    }

    #[test]
    fn clamping_across_zero_is_clamping(x in finite(), low in finite(), high in finite()) {
        for low in [low, 0.0] {
            for high in [high, 0.0] {
                let (low, high) = ((-low.abs()).to_bits(), high.abs().to_bits());
                for x in [x, 0.0, -0.0, f32::from_bits(low), f32::from_bits(high)] {
                    let x = x.to_bits();
                    prop_assert_eq!(clamp_across_zero(x, low, high), clamp(x, low, high));
                }
            }
        }
    }
}

#[test]
fn a_core_of_0_gives_positive_0() {
    let Scale { mantissa, exponent } = Scale::new(1.0, 26);
    assert_eq!(scale(0, mantissa, exponent), 0);
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
