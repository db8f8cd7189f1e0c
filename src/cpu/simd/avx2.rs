//! AVX2 (Intel from Haswell, AMD from Excavator).

use std::arch::x86_64::__m256i;

use pulp::cast;
use pulp::x86::V3;

use crate::kernel::value::power;

use super::fill::Run;
use super::isa::{Isa, Order, Registers};

#[derive(Clone, Copy)]
pub(super) struct Avx2(V3);

impl Avx2 {
    pub fn try_new() -> Option<Avx2> {
        V3::try_new().map(Avx2)
    }

    /// The fill, compiled for this instruction set.
    pub fn run(self, run: Run<'_, Avx2>) {
        self.0.vectorize(run);
    }
}

impl Registers for Avx2 {
    const BLOCKS: usize = 4;
    const JOINT_KEYS: bool = true;
    type V = __m256i;

    #[inline(always)]
    fn blocks(self, first: u32, order: Order) -> Self::V {
        let order: [u64; 4] = match order {
            Order::Pairs => [0, 1, 2, 3],
            Order::EvenFirst => [0, 2, 1, 3],
        };
        self.add64(self.splat64(first.into()), cast(order))
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        self.0.avx._mm256_set1_epi32(number as i32)
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        self.0.avx._mm256_set1_epi64x(number as i64)
    }
    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_xor_si256(a, b)
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_mul_epu32(a, b)
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        // A shuffle: a processor makes more of them at a time than shifts.
        cast(self.0.avx._mm256_movehdup_ps(cast(a)))
    }
    #[inline(always)]
    fn pack(self, a: Self::V, b: Self::V) -> Self::V {
        let avx = self.0.avx;
        cast(avx._mm256_shuffle_ps::<0b10_00_10_00>(cast(a), cast(b)))
    }
    #[inline(always)]
    fn pack_upper(self, a: Self::V, b: Self::V) -> Self::V {
        let avx = self.0.avx;
        cast(avx._mm256_shuffle_ps::<0b11_01_11_01>(cast(a), cast(b)))
    }
}

impl Isa for Avx2 {
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_add_epi32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_add_epi64(a, b)
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_mul_epi32(a, b)
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_and_si256(a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_or_si256(a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_sub_epi32(a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_mullo_epi32(a, b)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_slli_epi32::<BITS>(a)
    }
    #[inline(always)]
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_srli_epi32::<BITS>(a)
    }
    #[inline(always)]
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_srai_epi32::<BITS>(a)
    }
    #[inline(always)]
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_min_epi32(a, b)
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_max_epi32(a, b)
    }
    #[inline(always)]
    fn shr_s_by(self, a: Self::V, bits: u32) -> Self::V {
        self.0.avx2._mm256_sra_epi32(a, cast([u64::from(bits), 0]))
    }
    #[inline(always)]
    fn entries<const N: usize>(self, table: &[[u32; 2]; N], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 8] = bytemuck::cast_ref(indices);
        let [a, b] = [four(table, indices, 0), four(table, indices, 2)];
        [self.pack(a, b), self.pack_upper(a, b)]
    }
    #[inline(always)]
    fn convert(self, a: Self::V) -> Self::V {
        cast(self.0.avx._mm256_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx._mm256_add_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx._mm256_mul_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        let even = self.upper(even);
        self.0.avx2._mm256_blend_epi32::<0b1010_1010>(even, odd)
    }
    #[inline(always)]
    fn halves(self, upper: Self::V, lower: Self::V) -> Self::V {
        self.0.avx2._mm256_blend_epi16::<0b1010_1010>(lower, upper)
    }
    #[inline(always)]
    fn magnitude(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_abs_epi32(a)
    }
    #[inline(always)]
    fn mul16_sum(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_madd_epi16(a, b)
    }
    #[inline(always)]
    fn square16(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_mulhi_epi16(a, a)
    }
    #[inline(always)]
    fn mul16_rounded(self, a: Self::V, factor: u16) -> Self::V {
        let factor = self.splat(u32::from(factor) << 16);
        self.0.avx2._mm256_mulhrs_epi16(a, factor)
    }
    #[inline(always)]
    fn turn16(self, a: Self::V) -> Self::V {
        // Bytes 2 and 3 of each 32-bit lane, then 0 and 1; the sign of -1 negates.
        let swap: [[u32; 4]; 2] = [[0x0100_0302, 0x0504_0706, 0x0908_0b0a, 0x0d0c_0f0e]; 2];
        let swapped = self.0.avx2._mm256_shuffle_epi8(a, cast(swap));
        self.0
            .avx2
            ._mm256_sign_epi16(swapped, self.splat(0x0001_ffff))
    }
    #[inline(always)]
    fn values_bf16(self, a: [Self::V; 2], exponent: i32) -> Self::V {
        // 2 % faster than with integers. In the sum with 2^16 times the leading bit the last place is that of a bfloat16: its
        // rounding is the one that is wanted. Nothing overflows before the product with 2^exponent.
        let fma = self.0.fma;
        let up = cast(self.splat(power(16).to_bits()));
        let [mut lower, mut upper] = a;
        for a in [&mut lower, &mut upper] {
            let value = self.convert_down(*a);
            let leading = cast(self.and(value, self.splat(0xff80_0000)));
            let sum = fma._mm256_fmadd_ps(leading, up, cast(value));
            let rounded = fma._mm256_fnmadd_ps(leading, up, sum);
            *a = self.mul_f32(cast(rounded), self.splat(power(exponent).to_bits()));
        }
        self.halves(upper, self.shr_u::<16>(lower))
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [Self::V; 2]) -> Self::V {
        let avx2 = self.0.avx2;
        avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(avx2._mm256_packus_epi32(low, high))
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        out.copy_from_slice(&cast::<_, [u8; 32]>(a));
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
fn four<const N: usize>(table: &[[u32; 2]; N], indices: &[u32; 8], first: usize) -> __m256i {
    cast([
        table[indices[first] as usize % N],
        table[indices[first + 1] as usize % N],
        table[indices[first + 4] as usize % N],
        table[indices[first + 5] as usize % N],
    ])
}
