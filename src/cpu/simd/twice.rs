//! Two registers in place of one, for Philox. It is one long chain of multiplies that wait for each
//! other, and a processor looks ahead by little more than one: with chains side by side its
//! multipliers have work.

use super::Registers;

#[derive(Clone, Copy)]
pub(super) struct Twice<F>(pub F);

impl<F: Registers> Registers for Twice<F> {
    const BLOCKS: usize = 2 * F::BLOCKS;
    type V = [F::V; 2];

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
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.xor(a[0], b[0]), self.0.xor(a[1], b[1])]
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        [self.0.mul_u(a[0], b[0]), self.0.mul_u(a[1], b[1])]
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        [self.0.upper(a[0]), self.0.upper(a[1])]
    }
}
