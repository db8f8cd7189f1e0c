//! The handwritten digits of `examples/data/digits.txt`, as a training and a test set.

/// Pixels of an image, 8 x 8.
pub const PIXELS: usize = 64;

/// Classes of images, one for each digit.
pub const CLASSES: usize = 10;

/// Images and their labels.
pub struct Digits {
    /// `PIXELS` numbers for each image, from 0 (paper) to 1 (ink).
    pub pixels: Vec<f32>,
    /// One number for each image, below `CLASSES`.
    pub labels: Vec<u32>,
}

impl Digits {
    /// Returns the training set of 1,438 images, and the test set of the other 359: every fifth image.
    pub fn load() -> (Digits, Digits) {
        let (mut train, mut test) = (Digits::empty(), Digits::empty());
        for (i, line) in include_str!("../data/digits.txt").lines().enumerate() {
            let (pixels, label) = line.split_once(' ').expect("pixels, a blank, a label");
            let set = if i % 5 == 4 { &mut test } else { &mut train };
            let ink = |digit: char| digit.to_digit(17).expect("a digit in base 17");
            set.pixels
                .extend(pixels.chars().map(|digit| ink(digit) as f32 / 16.0));
            set.labels.push(label.parse().expect("a label"));
        }
        (train, test)
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    fn empty() -> Digits {
        Digits {
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }
}
