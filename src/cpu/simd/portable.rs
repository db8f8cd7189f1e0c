//! The face of any processor: arrays, from which the compiler makes what it can.

use crate::kernel::box_muller::POINTS;
use crate::kernel::quantile::ENTRIES;
use crate::kernel::scale::to_f16;

use super::{Face, Registers, to_bf16};

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
    fn blocks(self, first: u32) -> Self::V {
        std::array::from_fn(|i| first.wrapping_add(i as u32 / 2))
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
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn add64(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, u64::wrapping_add)
    }
    #[inline(always)]
    fn sub64(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, u64::wrapping_sub)
    }
    #[inline(always)]
    fn shr_u64<const BITS: i32>(self, a: Self::V) -> Self::V {
        narrow(wide(a).map(|a| a >> BITS))
    }
    #[inline(always)]
    fn mul_s(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, |a, b| {
            (i64::from(a as u32 as i32) * i64::from(b as u32 as i32)) as u64
        })
    }
    #[inline(always)]
    fn mul_u(self, a: Self::V, b: Self::V) -> Self::V {
        map2_64(a, b, |a, b| u64::from(a as u32) * u64::from(b as u32))
    }
    #[inline(always)]
    fn upper(self, a: Self::V) -> Self::V {
        self.shr_u64::<32>(a)
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> Self::V {
        std::array::from_fn(|i| if i % 2 == 0 { even[i] } else { odd[i - 1] })
    }
    #[inline(always)]
    fn zip_upper(self, even: Self::V, odd: Self::V) -> Self::V {
        std::array::from_fn(|i| if i % 2 == 0 { even[i + 1] } else { odd[i] })
    }
}

impl Face for Portable {
    type D = [f64; BLOCKS];
    type Factor = (f64, u32);

    #[inline(always)]
    fn shl_each(self, a: Self::V, counts: Self::V) -> Self::V {
        map2(a, counts, |a, count| a << (count & 31))
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
    fn square16(self, a: Self::V) -> Self::V {
        map2(a, a, |a, b| {
            (i32::from(a as u16 as i16) * i32::from(b as u16 as i16)) as u32
        })
    }
    #[inline(always)]
    fn leading_zeros(self, a: Self::V) -> Self::V {
        a.map(u32::leading_zeros)
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
    fn min_f32(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| {
            f32::from_bits(a).min(f32::from_bits(b)).to_bits()
        })
    }
    #[inline(always)]
    fn max_f32(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| {
            f32::from_bits(a).max(f32::from_bits(b)).to_bits()
        })
    }
    #[inline(always)]
    fn shl64<const BITS: i32>(self, a: Self::V) -> Self::V {
        narrow(wide(a).map(|a| a << BITS))
    }
    #[inline(always)]
    fn cubics(self, table: &[[u32; 4]; ENTRIES], indices: &Self::V) -> [[Self::V; 2]; 2] {
        let entries = indices.map(|index| table[index as usize % ENTRIES]);
        let half = |odd: usize, numbers: [usize; 2]| {
            std::array::from_fn(|i| entries[i / 2 * 2 + odd][numbers[i % 2]])
        };
        [[0, 1], [3, 2]].map(|numbers| [half(0, numbers), half(1, numbers)])
    }
    #[inline(always)]
    fn points(self, table: &[[u32; 2]; POINTS], indices: &Self::V) -> [Self::V; 2] {
        let entries = indices.map(|index| table[index as usize % POINTS]);
        [0, 1].map(|odd| std::array::from_fn(|i| entries[i / 2 * 2 + odd][i % 2]))
    }
    #[inline(always)]
    fn factor(self, factor: f64, bias: u32) -> Self::Factor {
        (factor, bias)
    }
    #[inline(always)]
    fn scaled(self, a: Self::V, (factor, bias): Self::Factor) -> Self::D {
        std::array::from_fn(|i| f64::from(a[2 * i + 1].wrapping_sub(bias) as i32) * factor)
    }
    #[inline(always)]
    fn values(self, lanes: [Self::D; 4]) -> [Self::V; 2] {
        let part =
            |first: usize| std::array::from_fn(|i| (lanes[i % 4][first + i / 4] as f32).to_bits());
        [part(0), part(BLOCKS / 2)]
    }
    #[inline(always)]
    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| {
            (f32::from_bits(a) + f32::from_bits(b)).to_bits()
        })
    }
    #[inline(always)]
    fn to_f16(self, a: Self::V) -> Self::V {
        a.map(to_f16)
    }
    #[inline(always)]
    fn to_bf16(self, a: Self::V) -> Self::V {
        to_bf16(self, a)
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
    fn narrow_upper(self, a: [Self::V; 2]) -> Self::V {
        self.narrow([self.shr_u::<16>(a[0]), self.shr_u::<16>(a[1])])
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
