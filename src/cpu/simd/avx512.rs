//! AVX-512 (F, BW, CD, DQ and VL: Intel from Skylake-SP, AMD from Zen 4).

use std::arch::x86_64::{__m128i, __m512i, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEG_INF};

use pulp::cast;
use pulp::x86::V4;

use super::fill::Run;
use super::isa::{Isa, Order, Registers};

#[derive(Clone, Copy)]
pub(super) struct Avx512(V4);

impl Avx512 {
    pub fn try_new() -> Option<Avx512> {
        V4::try_new().map(Avx512)
    }

    /// The fill, compiled for this instruction set.
    pub fn run(self, run: Run<'_, Avx512>) {
        self.0.vectorize(run);
    }
}

impl Registers for Avx512 {
    const BLOCKS: usize = 8;
    type V = __m512i;

    #[inline(always)]
    fn blocks(self, first: u32, order: Order) -> Self::V {
        let order: [u64; 8] = match order {
            Order::Pairs => [0, 1, 2, 3, 4, 5, 6, 7],
            Order::EvenFirst => [0, 4, 1, 5, 2, 6, 3, 7],
        };
        self.add64(self.splat64(first.into()), cast(order))
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        self.0.avx512f._mm512_set1_epi32(number as i32)
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        self.0.avx512f._mm512_set1_epi64(number as i64)
    }
    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_xor_si512(a, b)
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_mul_epu32(a, b)
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        // A shuffle: a processor makes more of them at a time than shifts.
        cast(self.0.avx512f._mm512_movehdup_ps(cast(a)))
    }
    #[inline(always)]
    fn pack(self, a: Self::V, b: Self::V) -> Self::V {
        let f = self.0.avx512f;
        cast(f._mm512_shuffle_ps::<0b10_00_10_00>(cast(a), cast(b)))
    }
    #[inline(always)]
    fn pack_upper(self, a: Self::V, b: Self::V) -> Self::V {
        let f = self.0.avx512f;
        cast(f._mm512_shuffle_ps::<0b11_01_11_01>(cast(a), cast(b)))
    }
}

impl Isa for Avx512 {
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_add_epi32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_add_epi64(a, b)
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_mul_epi32(a, b)
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_and_si512(a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_or_si512(a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_sub_epi32(a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_mullo_epi32(a, b)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx512f._mm512_sll_epi32(a, count(BITS))
    }
    #[inline(always)]
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx512f._mm512_srl_epi32(a, count(BITS))
    }
    #[inline(always)]
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx512f._mm512_sra_epi32(a, count(BITS))
    }
    #[inline(always)]
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_min_epi32(a, b)
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_max_epi32(a, b)
    }
    #[inline(always)]
    fn shr_s_by(self, a: Self::V, bits: u32) -> Self::V {
        self.0.avx512f._mm512_sra_epi32(a, count(bits as i32))
    }
    #[inline(always)]
    fn entries<const N: usize>(self, table: &[[u32; 2]; N], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 16] = bytemuck::cast_ref(indices);
        let [a, b] = [eight(table, indices, 0), eight(table, indices, 2)];
        [self.pack(a, b), self.pack_upper(a, b)]
    }
    #[inline(always)]
    fn convert(self, a: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn convert_down(self, a: Self::V) -> Self::V {
        const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
        cast(self.0.avx512f._mm512_cvt_roundepi32_ps::<DOWN>(a))
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_add_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_mul_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        let f = self.0.avx512f;
        cast(f._mm512_mask_movehdup_ps(cast(odd), 0x5555, cast(even)))
    }
    #[inline(always)]
    fn mul16_sum(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512bw._mm512_madd_epi16(a, b)
    }
    #[inline(always)]
    fn square16(self, a: Self::V) -> Self::V {
        self.0.avx512bw._mm512_mulhi_epi16(a, a)
    }
    #[inline(always)]
    fn mul16_rounded(self, a: Self::V, factor: u16) -> Self::V {
        let factor = self.splat(u32::from(factor) << 16);
        self.0.avx512bw._mm512_mulhrs_epi16(a, factor)
    }
    #[inline(always)]
    fn turn16(self, a: Self::V) -> Self::V {
        let swapped = self.0.avx512f._mm512_rol_epi32::<16>(a);
        let bw = self.0.avx512bw;
        bw._mm512_mask_sub_epi16(swapped, 0x5555_5555, self.splat(0), swapped)
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        // To nearest, ties to even.
        let half = self.0.avx512f._mm512_cvtps_ph::<0>(cast(a));
        self.0.avx512f._mm512_cvtepu16_epi32(half)
    }
    #[inline(always)]
    fn values_bf16(self, a: [Self::V; 2], exponent: i32) -> Self::V {
        let f = self.0.avx512f;
        let [mut lower, mut upper] = a;
        for a in [&mut lower, &mut upper] {
            let value = self.values(*a, exponent);
            let odd = f._mm512_test_epi32_mask(value, self.splat(1 << 16));
            let up = self.add(value, self.splat(0x7fff));
            *a = f._mm512_mask_add_epi32(up, odd, up, self.splat(1));
        }
        // A shuffle, not a shift: on Intel's processors shifts and products of 512 bits wait for one port.
        let lower = self.0.avx512bw._mm512_bsrli_epi128::<2>(lower);
        self.halves(upper, lower)
    }
    #[inline(always)]
    fn narrow(self, a: [Self::V; 2]) -> Self::V {
        let f = self.0.avx512f;
        let [low, high] = a.map(|v| f._mm512_cvtepi32_epi16(v));
        f._mm512_inserti64x4::<1>(f._mm512_castsi256_si512(low), high)
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        out.copy_from_slice(&cast::<_, [u8; 64]>(a));
    }
    #[inline(always)]
    fn prefetch(self, byte: &u8) {
        self.0
            .sse
            ._mm_prefetch::<3>(std::ptr::from_ref(byte).cast());
    }
}

/// The entries of two lanes of each 128 bits.
#[inline(always)]
fn eight<const N: usize>(table: &[[u32; 2]; N], indices: &[u32; 16], first: usize) -> __m512i {
    cast([
        table[indices[first] as usize % N],
        table[indices[first + 1] as usize % N],
        table[indices[first + 4] as usize % N],
        table[indices[first + 5] as usize % N],
        table[indices[first + 8] as usize % N],
        table[indices[first + 9] as usize % N],
        table[indices[first + 12] as usize % N],
        table[indices[first + 13] as usize % N],
    ])
}

/// The number of bits of a shift.
#[inline(always)]
fn count(bits: i32) -> __m128i {
    cast([bits as u64, 0])
}
