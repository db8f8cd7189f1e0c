//! NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::{int64x2_t, uint32x4_t, uint64x2_t};

use pulp::aarch64::Neon as Token;
use pulp::{NullaryFnOnce, cast};

use super::fill::Run;
use super::isa::{Isa, Order, Registers};

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
    fn blocks(self, first: u32, _: Order) -> Self::V {
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
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        let neon = self.0.neon;
        let [a, b] = [a, b].map(|v| neon.vmovn_u64(cast::<_, uint64x2_t>(v)));
        cast(neon.vmull_u32(a, b))
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vshrq_n_u64::<32>(cast(a)))
    }
    #[inline(always)]
    fn pack(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vuzp1q_u32(a, b)
    }
    #[inline(always)]
    fn pack_upper(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vuzp2q_u32(a, b)
    }
}

impl Isa for Neon {
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.0.neon.vaddq_u32(a, b)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vaddq_u64(cast(a), cast(b)))
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        let neon = self.0.neon;
        let [a, b] = [a, b].map(|v| neon.vmovn_s64(cast::<_, int64x2_t>(v)));
        cast(neon.vmull_s32(a, b))
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
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vminq_s32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vmaxq_s32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn shr_s_by(self, a: Self::V, bits: u32) -> Self::V {
        let neon = self.0.neon;
        cast(neon.vshlq_s32(cast(a), neon.vdupq_n_s32(-(bits as i32))))
    }
    #[inline(always)]
    fn entries<const N: usize>(self, table: &[[u32; 2]; N], indices: &Self::V) -> [Self::V; 2] {
        let indices: &[u32; 4] = bytemuck::cast_ref(indices);
        let [a, b, c, d] = indices.map(|index| table[index as usize % N]);
        let [first, second] = [cast([a, b]), cast([c, d])];
        [self.pack(first, second), self.pack_upper(first, second)]
    }
    #[inline(always)]
    fn convert(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vcvtq_f32_s32(cast(a)))
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vaddq_f32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V {
        cast(self.0.neon.vmulq_f32(cast(a), cast(b)))
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        self.0.neon.vtrn2q_u32(even, odd)
    }
    #[inline(always)]
    fn magnitude(self, a: Self::V) -> Self::V {
        cast(self.0.neon.vabsq_s32(cast(a)))
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [Self::V; 2]) -> Self::V {
        let neon = self.0.neon;
        cast(neon.vcombine_u16(neon.vmovn_u32(low), neon.vmovn_u32(high)))
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        out.copy_from_slice(&cast::<_, [u8; 16]>(a));
    }
    #[inline(always)]
    fn prefetch(self, _byte: &u8) {}
}
