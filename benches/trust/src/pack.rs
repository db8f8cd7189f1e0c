//! Packs random bits of elements into words.

/// Bits that wait for a whole word.
#[derive(Default)]
pub struct Packer {
    bits: u64,
    count: u32,
}

impl Packer {
    /// Adds the low `count` bits of a number, at most 32, and moves whole words to `words`.
    pub fn push(&mut self, number: u32, count: u32, words: &mut Vec<u32>) {
        let kept = u64::from(number) & ((1 << count) - 1);
        self.bits = (self.bits << count) | kept;
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            words.push((self.bits >> self.count) as u32);
            self.bits &= (1 << self.count) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_keep_their_order() {
        let (mut packer, mut words) = (Packer::default(), Vec::new());
        for number in [0xff_abcdef, 0x123456, 0x789abc, 0xdef012] {
            packer.push(number, 24, &mut words);
        }
        assert_eq!(words, [0xabcdef12, 0x3456789a, 0xbcdef012]);
    }
}
