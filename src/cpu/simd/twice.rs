//! Two steps of a face at once. Philox is one long chain of multiplies that wait for each other, and
//! a processor looks ahead by little more than one step: with two chains side by side its multipliers
//! have work.

use crate::kernel::box_muller::POINTS;
use crate::kernel::quantile::ENTRIES;

use super::Face;

#[derive(Clone, Copy)]
pub(super) struct Twice<F>(pub F);

impl<F: Face> Face for Twice<F> {
    const BLOCKS: usize = 2 * F::BLOCKS;
    const UPPER: f64 = F::UPPER;
    type V = [F::V; 2];
    type D = [F::D; 2];

    #[inline(always)]
    fn blocks(self, first: u32) -> Self::V {
        let second = first.wrapping_add(F::BLOCKS as u32);
        [self.0.blocks(first), self.0.blocks(second)]
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        [self.0.splat(number); 2]
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        [self.0.splat64(number); 2]
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.and(a[0], b[0]), self.0.and(a[1], b[1])]
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.or(a[0], b[0]), self.0.or(a[1], b[1])]
    }
    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.xor(a[0], b[0]), self.0.xor(a[1], b[1])]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.add(a[0], b[0]), self.0.add(a[1], b[1])]
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.sub(a[0], b[0]), self.0.sub(a[1], b[1])]
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.mul(a[0], b[0]), self.0.mul(a[1], b[1])]
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        [self.0.shl::<BITS>(a[0]), self.0.shl::<BITS>(a[1])]
    }
    #[inline(always)]
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V {
        [self.0.shr_u::<BITS>(a[0]), self.0.shr_u::<BITS>(a[1])]
    }
    #[inline(always)]
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V {
        [self.0.shr_s::<BITS>(a[0]), self.0.shr_s::<BITS>(a[1])]
    }
    #[inline(always)]
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V {
        [
            self.0.shl_each(a[0], counts[0]),
            self.0.shl_each(a[1], counts[1]),
        ]
    }
    #[inline(always)]
    fn leading_zeros(self, a: Self::V) -> Self::V {
        [self.0.leading_zeros(a[0]), self.0.leading_zeros(a[1])]
    }
    #[inline(always)]
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.min_s(a[0], b[0]), self.0.min_s(a[1], b[1])]
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.max_s(a[0], b[0]), self.0.max_s(a[1], b[1])]
    }
    #[inline(always)]
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.min_f32(a[0], b[0]), self.0.min_f32(a[1], b[1])]
    }
    #[inline(always)]
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.max_f32(a[0], b[0]), self.0.max_f32(a[1], b[1])]
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.add64(a[0], b[0]), self.0.add64(a[1], b[1])]
    }
    #[inline(always)]
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.sub64(a[0], b[0]), self.0.sub64(a[1], b[1])]
    }
    #[inline(always)]
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V {
        [self.0.shl64::<BITS>(a[0]), self.0.shl64::<BITS>(a[1])]
    }
    #[inline(always)]
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V {
        [self.0.shr_u64::<BITS>(a[0]), self.0.shr_u64::<BITS>(a[1])]
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.mul_u(a[0], b[0]), self.0.mul_u(a[1], b[1])]
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.mul_s(a[0], b[0]), self.0.mul_s(a[1], b[1])]
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V {
        [self.0.zip(even[0], odd[0]), self.0.zip(even[1], odd[1])]
    }
    #[inline(always)]
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2] {
        let [a, b] = [
            self.0.cubics(table, &indices[0]),
            self.0.cubics(table, &indices[1]),
        ];
        [
            [[a[0][0], b[0][0]], [a[0][1], b[0][1]]],
            [[a[1][0], b[1][0]], [a[1][1], b[1][1]]],
        ]
    }
    #[inline(always)]
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2] {
        let [a, b] = [
            self.0.points(table, &indices[0]),
            self.0.points(table, &indices[1]),
        ];
        [[a[0], b[0]], [a[1], b[1]]]
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        [self.0.upper(a[0]), self.0.upper(a[1])]
    }
    #[inline(always)]
    fn upper_to_f64(self, a: Self::V) -> Self::D {
        [self.0.upper_to_f64(a[0]), self.0.upper_to_f64(a[1])]
    }
    #[inline(always)]
    fn splat_f64(self, number: f64) -> Self::D {
        [self.0.splat_f64(number); 2]
    }
    #[inline(always)]
    fn mul_f64(self, a: Self::D, b: Self::D) -> Self::D {
        [self.0.mul_f64(a[0], b[0]), self.0.mul_f64(a[1], b[1])]
    }
    #[inline(always)]
    fn values(self, [l0, l1, l2, l3]: [Self::D; 4]) -> [Self::V; 2] {
        [
            self.0.values([l0[0], l1[0], l2[0], l3[0]]),
            self.0.values([l0[1], l1[1], l2[1], l3[1]]),
        ]
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.add_f32(a[0], b[0]), self.0.add_f32(a[1], b[1])]
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        [self.0.to_f16(a[0]), self.0.to_f16(a[1])]
    }
    #[inline(always)]
    fn to_bf16(self, a: Self::V) -> Self::V {
        [self.0.to_bf16(a[0]), self.0.to_bf16(a[1])]
    }
    #[inline(always)]
    fn narrow(self, a: [Self::V; 2]) -> Self::V {
        [self.0.narrow(a[0]), self.0.narrow(a[1])]
    }
    #[inline(always)]
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V {
        [self.0.narrow_upper(a[0]), self.0.narrow_upper(a[1])]
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        let (first, second) = out.split_at_mut(out.len() / 2);
        self.0.store(a[0], first);
        self.0.store(a[1], second);
    }
}
