//! Two registers in place of one. The rounds of Philox wait for each other, and a processor looks
//! ahead by little more than one chain of them: with chains side by side its multipliers have work.

use super::isa::{Order, Registers};

#[derive(Clone, Copy)]
pub(super) struct Twice<F>(pub F);

/// Functions that do the same to both registers.
macro_rules! both {
    ($($name:ident($($argument:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: Self::V),+) -> Self::V {
            [self.0.$name($($argument[0]),+), self.0.$name($($argument[1]),+)]
        }
    )+};
}

impl<F: Registers> Registers for Twice<F> {
    const BLOCKS: usize = 2 * F::BLOCKS;
    const JOINT_KEYS: bool = F::JOINT_KEYS;
    type V = [F::V; 2];

    #[inline(always)]
    fn blocks(self, first: u32, order: Order) -> Self::V {
        let second = first.wrapping_add(F::BLOCKS as u32);
        [self.0.blocks(first, order), self.0.blocks(second, order)]
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        [self.0.splat(number); 2]
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        [self.0.splat64(number); 2]
    }
    both! {
        xor(a, b);
        mul_u(a, b);
        upper(a);
        pack(a, b);
        pack_upper(a, b);
    }
}
