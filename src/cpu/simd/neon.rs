//! The face of NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::{float64x2_t, int64x2_t, uint32x4_t, uint64x2_t};

use pulp::aarch64::Neon as Token;
use pulp::{NullaryFnOnce, cast};

use crate::kernel::box_muller::POINTS;
use crate::kernel::quantile::ENTRIES;
use crate::kernel::scale::to_f16;

use super::{Face, Registers, Run, to_bf16};

#[derive(Clone, Copy)]
pub(super) struct Neon(Token);

impl Neon {
    pub fn try_new() -> Option<Neon> {
        Token::try_new().map(Neon)
    }

    /// Every processor that this is compiled for has NEON: there is nothing to switch on.
    pub fn run(self, run: Run<'_, Neon>) {
        run.call();
    }
}

impl Registers for Neon {
    const BLOCKS: usize = 2;
    type V = uint32x4_t;

    #[inline(always)]
    fn blocks(self, first: u32) -> Self::V {
        self.add64(self.splat64(first.into()), cast([0u64, 1]))
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        self.0.neon.vdupq_n_u32(number)
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        cast(self.0.neon.vdupq_n_u64(number))
    }
    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.veorq_u32(a, b)
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vaddq_u32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vaddq_u64(cast(a), cast(b)))
    }
    #[inline(always)]
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vsubq_u64(cast(a), cast(b)))
    }
    #[inline(always)]
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vshrq_n_u64::<BITS>(cast(a)))
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        let neon = self.0.neon;
        let [a, b] = [a, b].map(|v| neon.vmovn_s64(cast::<_, int64x2_t>(v)));
        cast(neon.vmull_s32(a, b))
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        let neon = self.0.neon;
        let [a, b] = [a, b].map(|v| neon.vmovn_u64(cast::<_, uint64x2_t>(v)));
        cast(neon.vmull_u32(a, b))
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        self.shr_u64::<32>(a)
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V {
        self.0.neon.vtrn1q_u32(even, odd)
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        self.0.neon.vtrn2q_u32(even, odd)
    }
}

impl Face for Neon {
    type D = float64x2_t;
    type Factor = [float64x2_t; 2];

    #[inline(always)]
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V {
        self.0.neon.vshlq_u32(a, cast(counts))
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vandq_u32(a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vorrq_u32(a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vsubq_u32(a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vmulq_u32(a, b)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.neon.vshlq_n_u32::<BITS>(a)
    }
    #[inline(always)]
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V {
        self.0.neon.vshrq_n_u32::<BITS>(a)
    }
    #[inline(always)]
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vshrq_n_s32::<BITS>(cast(a)))
    }
    #[inline(always)]
    fn square16(self, a: Self::V) -> Self::V {
        let signed = self.shr_s::<16>(self.shl::<16>(a));
        self.mul(signed, signed)
    }
    #[inline(always)]
    fn leading_zeros(self, a: Self::V) -> Self::V {
        self.0.neon.vclzq_u32(a)
    }
    #[inline(always)]
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vminq_s32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vmaxq_s32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vminq_f32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vmaxq_f32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vshlq_n_u64::<BITS>(cast(a)))
    }
    #[inline(always)]
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2] {
        let neon = self.0.neon;
        let indices: &[u32; 4] = bytemuck::cast_ref(indices);
        let (a, b) = (entry(table, indices[0]), entry(table, indices[2]));
        let (c, d) = (entry(table, indices[1]), entry(table, indices[3]));
        let swapped = |a, b| neon.vrev64q_u32(cast(neon.vzip2q_u64(a, b)));
        [
            [cast(neon.vzip1q_u64(a, b)), cast(neon.vzip1q_u64(c, d))],
            [swapped(a, b), swapped(c, d)],
        ]
    }
    #[inline(always)]
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 4] = bytemuck::cast_ref(indices);
        [
            cast([
                table[indices[0] as usize % POINTS],
                table[indices[2] as usize % POINTS],
            ]),
            cast([
                table[indices[1] as usize % POINTS],
                table[indices[3] as usize % POINTS],
            ]),
        ]
    }
    #[inline(always)]
    fn factor(self, factor: f64, bias: u32) -> Self::Factor {
        [factor, -(f64::from(bias) * factor)].map(|number| self.0.neon.vdupq_n_f64(number))
    }
    #[inline(always)]
    fn scaled(self, a: Self::V, [factor, offset]: Self::Factor) -> Self::D {
        let neon = self.0.neon;
        let number = neon.vcvtq_f64_u64(neon.vshrq_n_u64::<32>(cast(a)));
        neon.vfmaq_f64(offset, number, factor)
    }
    #[inline(always)]
    fn values(self, lanes: [Self::D; 4]) -> [Self::V; 2] {
        let neon = self.0.neon;
        let [x0, x1, x2, x3] = lanes.map(|d| neon.vcvt_f32_f64(d));
        let first = neon.vcombine_f32(neon.vzip1_f32(x0, x1), neon.vzip1_f32(x2, x3));
        let second = neon.vcombine_f32(neon.vzip2_f32(x0, x1), neon.vzip2_f32(x2, x3));
        [cast(first), cast(second)]
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vaddq_f32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        cast(cast::<_, [u32; 4]>(a).map(to_f16))
    }
    #[inline(always)]
    fn to_bf16(self, a: Self::V) -> Self::V {
        to_bf16(self, a)
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [Self::V; 2]) -> Self::V {
        let neon = self.0.neon;
        cast(neon.vcombine_u16(neon.vmovn_u32(low), neon.vmovn_u32(high)))
    }
    #[inline(always)]
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V {
        self.narrow([self.shr_u::<16>(a[0]), self.shr_u::<16>(a[1])])
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        out.copy_from_slice(&cast::<_, [u8; 16]>(a));
    }
    #[inline(always)]
    fn prefetch(self, _byte: &u8) {}
}

#[inline(always)]
fn entry(table: &[[u32; 4]; ENTRIES], index: u32) -> uint64x2_t {
    cast(table[index as usize % ENTRIES])
}
