//! The face of AVX-512 (F, BW, CD, DQ and VL: Intel from Skylake-SP, AMD from Zen 4).

use std::arch::x86_64::{__m128i, __m256, __m256i, __m512, __m512d, __m512i};

use pulp::cast;
use pulp::x86::V4;

use crate::kernel::box_muller::POINTS;
use crate::kernel::quantile::ENTRIES;

use super::{Face, Registers, Run};

/// 2^52 in binary64, whose last bits count ones: with a number of 32 bits in place of the lower half
/// it is the sum of both.
const ONES: u64 = 0x4330_0000_0000_0000;

#[derive(Clone, Copy)]
pub(super) struct Avx512(V4, Hidden);

/// Constants that the compiler must not know: shuffles and shifts that it sees through it takes apart,
/// to fold them into what stands around them, and makes more instructions of them.
#[derive(Clone, Copy)]
struct Hidden {
    /// Bits of [`Registers::shr_u64`].
    shift: __m512i,
    /// The lanes that make up [`Registers::zip`].
    zip: __m512i,
    /// Those of [`Registers::zip_upper`].
    zip_upper: __m512i,
}

impl Hidden {
    fn new() -> Hidden {
        // From 16 on they are those of the second register.
        let zip: [u32; 16] = [0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30];
        let zip_upper: [u32; 16] = [1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31];
        std::hint::black_box(Hidden {
            shift: cast([31u64; 8]),
            zip: cast(zip),
            zip_upper: cast(zip_upper),
        })
    }
}

impl Avx512 {
    pub fn try_new() -> Option<Avx512> {
        V4::try_new().map(|token| Avx512(token, Hidden::new()))
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
    fn blocks(self, first: u32) -> Self::V {
        // So that `values` finds the blocks 0 to 3 in the lower halves of both of its parts.
        let order: __m512i = cast([0u64, 1, 4, 5, 2, 3, 6, 7]);
        self.add64(self.splat64(first.into()), order)
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
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_add_epi32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_add_epi64(a, b)
    }
    #[inline(always)]
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_sub_epi64(a, b)
    }
    #[inline(always)]
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V {
        const { assert!(BITS == 31, "what is hidden is the only one") };
        self.0.avx512f._mm512_srlv_epi64(a, self.1.shift)
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.avx512f._mm512_mul_epi32(a, b)
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
    fn upper_sum(self, a: Self::V, b: Self::V) -> Self::V {
        let sum = self.add(a, b);
        self.zip_upper(sum, sum)
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V {
        let f = self.0.avx512f;
        f._mm512_permutex2var_epi32(even, self.1.zip, odd)
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        self.0
            .avx512f
            ._mm512_permutex2var_epi32(even, self.1.zip_upper, odd)
    }
}

impl Face for Avx512 {
    type D = __m512d;
    type Factor = [__m512d; 2];

    #[inline(always)]
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V {
        self.0.avx512f._mm512_sllv_epi32(a, counts)
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
    fn square16(self, a: Self::V) -> Self::V {
        self.0.avx512bw._mm512_madd_epi16(a, a)
    }
    #[inline(always)]
    fn leading_zeros(self, a: Self::V) -> Self::V {
        self.0.avx512cd._mm512_lzcnt_epi32(a)
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
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_min_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_max_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.avx512f._mm512_sll_epi64(a, count(BITS))
    }
    #[inline(always)]
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2] {
        let indices: &[u32; 16] = bytemuck::cast_ref(indices);
        let f = self.0.avx512f;
        let (a, b) = (four(self, table, indices, 0), four(self, table, indices, 2));
        let (c, d) = (four(self, table, indices, 1), four(self, table, indices, 3));
        let swapped = |a, b| cast(f._mm512_shuffle_ps::<0b10_11_10_11>(cast(a), cast(b)));
        [
            [f._mm512_unpacklo_epi64(a, b), f._mm512_unpacklo_epi64(c, d)],
            [swapped(a, b), swapped(c, d)],
        ]
    }
    #[inline(always)]
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 16] = bytemuck::cast_ref(indices);
        [eight(table, indices, 0), eight(table, indices, 1)]
    }
    #[inline(always)]
    fn factor(self, factor: f64, bias: u32) -> Self::Factor {
        let offset = f64::from_bits(ONES) + f64::from(bias);
        [factor, -(offset * factor)].map(|number| self.0.avx512f._mm512_set1_pd(number))
    }
    #[inline(always)]
    fn scaled(self, a: Self::V, [factor, offset]: Self::Factor) -> Self::D {
        let f = self.0.avx512f;
        let ones: __m512 = cast(self.splat64(ONES));
        let number = f._mm512_permutex2var_ps(cast(a), self.1.zip_upper, ones);
        f._mm512_fmadd_pd(cast(number), factor, offset)
    }
    #[inline(always)]
    fn values(self, lanes: [Self::D; 4]) -> [Self::V; 2] {
        let f = self.0.avx512f;
        let [x0, x1, x2, x3]: [__m256; 4] = lanes.map(|d| f._mm512_cvtpd_ps(d));
        let join = |low, high| -> __m512 {
            let low = f._mm512_castps256_ps512(low);
            self.0.avx512dq._mm512_insertf32x8::<1>(low, high)
        };
        let (even, odd) = (join(x0, x2), join(x1, x3));
        // Pairs of lanes 0 and 1 of some blocks, then those of lanes 2 and 3.
        let order: __m512i = cast([0u64, 4, 1, 5, 2, 6, 3, 7]);
        [
            f._mm512_unpacklo_ps(even, odd),
            f._mm512_unpackhi_ps(even, odd),
        ]
        .map(|pairs| f._mm512_permutexvar_epi64(order, cast(pairs)))
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.avx512f._mm512_add_ps(cast(a), cast(b)))
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        // To nearest, ties to even.
        let half = self.0.avx512f._mm512_cvtps_ph::<0>(cast(a));
        self.0.avx512f._mm512_cvtepu16_epi32(half)
    }
    #[inline(always)]
    fn to_bf16(self, a: Self::V) -> Self::V {
        let f = self.0.avx512f;
        let odd = f._mm512_test_epi32_mask(a, self.splat(1 << 16));
        let up = self.add(a, self.splat(0x7fff));
        f._mm512_mask_add_epi32(up, odd, up, self.splat(1))
    }
    #[inline(always)]
    fn narrow(self, a: [Self::V; 2]) -> Self::V {
        let f = self.0.avx512f;
        let [low, high] = a.map(|v| f._mm512_cvtepi32_epi16(v));
        f._mm512_inserti64x4::<1>(f._mm512_castsi256_si512(low), high)
    }
    #[inline(always)]
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V {
        let order: [u16; 32] = [
            1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, //
            33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63,
        ];
        let bw = self.0.avx512bw;
        bw._mm512_permutex2var_epi16(a[0], cast(order), a[1])
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

/// Every fourth entry from a lane on. In halves: an insertion into half a register is cheaper.
#[inline(always)]
fn four(face: Avx512, table: &[[u32; 4]; ENTRIES], indices: &[u32; 16], lane: usize) -> __m512i {
    let low = two(face, table, indices[lane], indices[lane + 4]);
    let high = two(face, table, indices[lane + 8], indices[lane + 12]);
    let f = face.0.avx512f;
    f._mm512_inserti64x4::<1>(f._mm512_castsi256_si512(low), high)
}

#[inline(always)]
fn two(face: Avx512, table: &[[u32; 4]; ENTRIES], low: u32, high: u32) -> __m256i {
    let low: __m128i = cast(table[low as usize % ENTRIES]);
    let high: __m128i = cast(table[high as usize % ENTRIES]);
    face.0.avx._mm256_set_m128i(high, low)
}

/// The points of every second lane.
#[inline(always)]
fn eight(table: &[[u32; 2]; POINTS], indices: &[u32; 16], odd: usize) -> __m512i {
    cast([
        table[indices[odd] as usize % POINTS],
        table[indices[odd + 2] as usize % POINTS],
        table[indices[odd + 4] as usize % POINTS],
        table[indices[odd + 6] as usize % POINTS],
        table[indices[odd + 8] as usize % POINTS],
        table[indices[odd + 10] as usize % POINTS],
        table[indices[odd + 12] as usize % POINTS],
        table[indices[odd + 14] as usize % POINTS],
    ])
}

/// The number of bits of a shift.
#[inline(always)]
fn count(bits: i32) -> __m128i {
    cast([bits as u64, 0])
}
