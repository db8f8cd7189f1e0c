//! The face of AVX2 (Intel from Haswell, AMD from Excavator).

use std::arch::x86_64::{__m128i, __m256d, __m256i};

use pulp::cast;
use pulp::x86::V3;

use crate::kernel::box_muller::POINTS;
use crate::kernel::quantile::ENTRIES;
use crate::kernel::scale::to_f16;

use super::{Face, Registers, Run, to_bf16};

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
    type V = __m256i;

    #[inline(always)]
    fn blocks(self, first: u32) -> Self::V {
        self.add64(self.splat64(first.into()), cast([0u64, 1, 2, 3]))
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
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_add_epi32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_add_epi64(a, b)
    }
    #[inline(always)]
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_sub_epi64(a, b)
    }
    #[inline(always)]
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_srli_epi64::<BITS>(a)
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx2._mm256_mul_epi32(a, b)
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
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V {
        let odd = self.shl64::<32>(odd);
        self.0.avx2._mm256_blend_epi32::<0b1010_1010>(even, odd)
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        let even = self.upper(even);
        self.0.avx2._mm256_blend_epi32::<0b1010_1010>(even, odd)
    }
}

impl Face for Avx2 {
    type D = __m256d;
    type Factor = [__m256d; 2];

    #[inline(always)]
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V {
        self.0.avx2._mm256_sllv_epi32(a, counts)
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
    fn square16(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_madd_epi16(a, a)
    }
    #[inline(always)]
    fn leading_zeros(self, a: Self::V) -> Self::V {
        // From the exponent of a binary32. The lowest bit, which is set, is dropped, so that the
        // number is no longer negative for the conversion; and the bit below the leading one is
        // cleared, so that rounding cannot carry.
        let v = self.shr_u::<1>(a);
        let v = self.0.avx2._mm256_andnot_si256(self.shr_u::<1>(v), v);
        let exponent = self.shr_u::<23>(cast(self.0.avx._mm256_cvtepi32_ps(v)));
        self.min_s(self.sub(self.splat(127 + 30), exponent), self.splat(31))
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
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx._mm256_min_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx._mm256_max_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx2._mm256_slli_epi64::<BITS>(a)
    }
    #[inline(always)]
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2] {
        let indices: &[u32; 8] = bytemuck::cast_ref(indices);
        let avx2 = self.0.avx2;
        let (a, b) = (two(self, table, indices, 0), two(self, table, indices, 2));
        let (c, d) = (two(self, table, indices, 1), two(self, table, indices, 3));
        let avx = self.0.avx;
        let swapped = |a, b| cast(avx._mm256_shuffle_ps::<0b10_11_10_11>(cast(a), cast(b)));
        [
            [
                avx2._mm256_unpacklo_epi64(a, b),
                avx2._mm256_unpacklo_epi64(c, d),
            ],
            [swapped(a, b), swapped(c, d)],
        ]
    }
    #[inline(always)]
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 8] = bytemuck::cast_ref(indices);
        [four(table, indices, 0), four(table, indices, 1)]
    }
    #[inline(always)]
    fn factor(self, factor: f64, bias: u32) -> Self::Factor {
        [factor, -(f64::from(bias) * factor)].map(|number| self.0.avx._mm256_set1_pd(number))
    }
    #[inline(always)]
    fn scaled(self, a: Self::V, [factor, offset]: Self::Factor) -> Self::D {
        let order: __m256i = cast([1u32, 3, 5, 7, 1, 3, 5, 7]);
        let upper = self.0.avx2._mm256_permutevar8x32_epi32(a, order);
        let upper = self.0.avx._mm256_castsi256_si128(upper);
        let number = self.0.avx._mm256_cvtepi32_pd(upper);
        self.0.fma._mm256_fmadd_pd(number, factor, offset)
    }
    #[inline(always)]
    fn values(self, lanes: [Self::D; 4]) -> [Self::V; 2] {
        let avx = self.0.avx;
        let [x0, x1, x2, x3] = lanes.map(|d| avx._mm256_cvtpd_ps(d));
        let (even, odd) = (avx._mm256_set_m128(x2, x0), avx._mm256_set_m128(x3, x1));
        // Pairs of lanes 0 and 1 of two blocks, then those of lanes 2 and 3.
        [
            avx._mm256_unpacklo_ps(even, odd),
            avx._mm256_unpackhi_ps(even, odd),
        ]
        .map(|pairs| {
            self.0
                .avx2
                ._mm256_permute4x64_epi64::<0b11_01_10_00>(cast(pairs))
        })
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx._mm256_add_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        cast(cast::<_, [u32; 8]>(a).map(to_f16))
    }
    #[inline(always)]
    fn to_bf16(self, a: Self::V) -> Self::V {
        to_bf16(self, a)
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [Self::V; 2]) -> Self::V {
        let avx2 = self.0.avx2;
        avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(avx2._mm256_packus_epi32(low, high))
    }
    #[inline(always)]
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V {
        self.narrow([self.shr_u::<16>(a[0]), self.shr_u::<16>(a[1])])
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

/// The entries of a lane and of the fourth one after it.
#[inline(always)]
fn two(face: Avx2, table: &[[u32; 4]; ENTRIES], indices: &[u32; 8], lane: usize) -> __m256i {
    let low: __m128i = cast(table[indices[lane] as usize % ENTRIES]);
    let high: __m128i = cast(table[indices[lane + 4] as usize % ENTRIES]);
    face.0.avx._mm256_set_m128i(high, low)
}

/// The points of every second lane.
#[inline(always)]
fn four(table: &[[u32; 2]; POINTS], indices: &[u32; 8], odd: usize) -> __m256i {
    cast([
        table[indices[odd] as usize % POINTS],
        table[indices[odd + 2] as usize % POINTS],
        table[indices[odd + 4] as usize % POINTS],
        table[indices[odd + 6] as usize % POINTS],
    ])
}
