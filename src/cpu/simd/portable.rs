//! Any processor: arrays, from which the compiler makes what it can.

use crate::kernel::value::{cut, to_f16, value};

use super::isa::{Isa, Order, Registers};

const BLOCKS: usize = 4;
const WORDS: usize = 2 * BLOCKS;

#[derive(Clone, Copy)]
pub(super) struct Portable;

/// Lanes of 32 bits as lanes of 64, the low half first.
#[inline(always)]
fn wide(a: [u32; WORDS]) -> [u64; BLOCKS] {
    std::array::from_fn(|i| u64::from(a[2 * i]) | u64::from(a[2 * i + 1]) << 32)
}

#[inline(always)]
fn narrow(a: [u64; BLOCKS]) -> [u32; WORDS] {
    std::array::from_fn(|i| (a[i / 2] >> (32 * (i % 2))) as u32)
}

#[inline(always)]
fn map2(a: [u32; WORDS], b: [u32; WORDS], f: impl Fn(u32, u32) -> u32) -> [u32; WORDS] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn map2_64(a: [u32; WORDS], b: [u32; WORDS], f: impl Fn(u64, u64) -> u64) -> [u32; WORDS] {
    let (a, b) = (wide(a), wide(b));
    narrow(std::array::from_fn(|i| f(a[i], b[i])))
}

impl Registers for Portable {
    const BLOCKS: usize = BLOCKS;
    type V = [u32; WORDS];

    #[inline(always)]
    fn blocks(self, first: u32, order: Order) -> Self::V {
        let order = match order {
            Order::Pairs => [0, 1, 2, 3],
            Order::EvenFirst => [0, 2, 1, 3],
        };
        narrow(order.map(|i| u64::from(first) + i))
    }
    #[inline(always)]
    fn splat(self, number: u32) -> Self::V {
        [number; WORDS]
    }
    #[inline(always)]
    fn splat64(self, number: u64) -> Self::V {
        narrow([number; BLOCKS])
    }
    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, |a, b| u64::from(a as u32) * u64::from(b as u32))
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        narrow(wide(a).map(|a| a >> 32))
    }
    #[inline(always)]
    fn pack(self, a: Self::V, b: Self::V) -> Self::V {
        [a[0], a[2], b[0], b[2], a[4], a[6], b[4], b[6]]
    }
    #[inline(always)]
    fn pack_upper(self, a: Self::V, b: Self::V) -> Self::V {
        [a[1], a[3], b[1], b[3], a[5], a[7], b[5], b[7]]
    }
}

impl Isa for Portable {
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, u64::wrapping_add)
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, |a, b| {
            (i64::from(a as u32 as i32) * i64::from(b as u32 as i32)) as u64
        })
    }
    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, u32::wrapping_mul)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: Self::V) -> Self::V {
        a.map(|a| a << BITS)
    }
    #[inline(always)]
    fn shr_u<const BITS: i32>(self, a: Self::V) -> Self::V {
        a.map(|a| a >> BITS)
    }
    #[inline(always)]
    fn shr_s<const BITS: i32>(self, a: Self::V) -> Self::V {
        a.map(|a| (a as i32 >> BITS) as u32)
    }
    #[inline(always)]
    fn min_s(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| (a as i32).min(b as i32) as u32)
    }
    #[inline(always)]
    fn max_s(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| (a as i32).max(b as i32) as u32)
    }
    #[inline(always)]
    fn shr_s_by(self, a: Self::V, bits: u32) -> Self::V {
        a.map(|a| (a as i32 >> bits) as u32)
    }
    #[inline(always)]
    fn entries<const N: usize>(self, table: &[[u32; 2]; N], indices: &Self::V) -> [Self::V; 2] {
        let entries = indices.map(|index| table[index as usize % N]);
        [0, 1].map(|word| entries.map(|entry| entry[word]))
    }
    #[inline(always)]
    fn convert(self, a: Self::V) -> Self::V {
        a.map(|a| (a as i32 as f32).to_bits())
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| {
            (f32::from_bits(a) + f32::from_bits(b)).to_bits()
        })
    }
    #[inline(always)]
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| {
            (f32::from_bits(a) * f32::from_bits(b)).to_bits()
        })
    }
    /// Also with exponents that devices leave to integers.
    #[inline(always)]
    fn values(self, a: Self::V, exponent: i32) -> Self::V {
        a.map(|a| value(cut(a as i32), exponent))
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        std::array::from_fn(|i| if i % 2 == 0 { even[i + 1] } else { odd[i] })
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        a.map(to_f16)
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [Self::V; 2]) -> Self::V {
        std::array::from_fn(|i| {
            let from = if i < BLOCKS { low } else { high };
            let at = 2 * (i % BLOCKS);
            from[at] & 0xffff | from[at + 1] << 16
        })
    }
    #[inline(always)]
    fn store(self, a: Self::V, out: &mut [u8]) {
        for (bytes, word) in out.chunks_exact_mut(4).zip(a) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    #[inline(always)]
    fn prefetch(self, _byte: &u8) {}
}
