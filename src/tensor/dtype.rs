//! The type of a stored element.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Declares the dtypes: variant, bits, the name in fanin and in a safetensors header, the other
/// names, and whether torch alone has a name for it or all frameworks have. One table, so that no
/// list can miss a dtype.
macro_rules! dtypes {
    ($(
        $(#[$attribute:meta])*
        $variant:ident = $bits:literal, $name:literal, $header:literal,
        shared: [$($shared:literal),*], torch: [$($torch:literal),*], numpy: [$($numpy:literal),*];
    )*) => {
        /// The type of a stored element: every dtype of the safetensors format.
        ///
        /// Elements are made in binary32, whatever the dtype is, and then stored:
        ///
        /// | dtype | how a fill stores the binary32 value |
        /// |---|---|
        /// | `f32` | as it is |
        /// | `f16`, `bf16` | rounded to nearest, ties to even |
        /// | `f64` | widened, which is exact |
        /// | `f8_e4m3`, `f8_e5m2` | rounded to nearest, ties to even; what is too large becomes the largest finite number of that sign, 448 or 57344 |
        /// | `bool`, `u8` to `u64`, `i8` to `i64` | as a whole number, if the initializer draws nothing and all its values are whole and in range: a constant, a diagonal; `bool` takes 0 and 1 |
        /// | `f4`, `f6_*`, `f8_e8m0`, `f8_*fnuz`, `c64` | not at all: such a tensor can be kept from a file, or skipped |
        ///
        /// So initializing in a smaller float equals initializing in f32 and casting, as frameworks
        /// cast: torch's `.to(torch.float8_e5m2)` gives infinity for what is too large and its
        /// `float8_e4m3fn` gives NaN, but libraries that quantize weights saturate, and no one wants
        /// an initial weight that is not finite. Only weights beyond 448 or 57344 differ.
        ///
        /// A checkpoint in FP8 with a scale for each block stores the scales as tensors of their own
        /// (`weight_scale_inv`, `weight_scale`). They need a rule, such as `init = "ones"`.
        ///
        /// As text: the name in lower case, `f32`, `bf16`, `f8_e4m3`, `i64`, `bool`. The names of
        /// safetensors (`BF16`, `F8_E4M3`), torch (`torch.bfloat16`, `float8_e4m3fn`, `long`), numpy
        /// (`float32`, `bool_`, `<f4`, `|b1`) and JAX (`bfloat16`, `jnp.int32`) are read too, in the
        /// case in which each writes them. `float` and `int` are torch's: 32 bits. A name of numpy's
        /// with a byte order counts bytes, so `<f8` is `f64`; big-endian (`>f4`) is refused.
        ///
        /// ```
        /// use fanin::DType;
        ///
        /// assert_eq!("torch.bfloat16".parse::<DType>()?, DType::BF16);
        /// assert_eq!("F8_E4M3".parse::<DType>()?.to_string(), "f8_e4m3");
        /// # Ok::<(), fanin::Error>(())
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DType {
            $($(#[$attribute])* $variant,)*
        }

        impl DType {
            /// Every dtype, in the order of the safetensors format.
            pub const ALL: &[DType] = &[$(DType::$variant,)*];

            /// Returns the bits of an element.
            #[must_use]
            pub const fn bits(self) -> u64 {
                match self {
                    $(DType::$variant => $bits,)*
                }
            }

            /// Returns the name in lower case: `f32`, `bf16`, `f8_e4m3`, `i64`, `bool`, ...
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(DType::$variant => $name,)*
                }
            }

            /// Returns the name in the header of a safetensors file: `F32`, `F8_E4M3`, `BOOL`, ...
            #[must_use]
            pub const fn safetensors_name(self) -> &'static str {
                match self {
                    $(DType::$variant => $header,)*
                }
            }

            /// Returns the dtype of this name in the header of a safetensors file.
            #[must_use]
            pub fn of_safetensors(name: &str) -> Option<Self> {
                match name {
                    $($header => Some(DType::$variant),)*
                    _ => None,
                }
            }

            /// Returns the dtype that numpy writes so, with its byte order: `<f4`, `|b1`.
            pub(crate) fn of_numpy(descr: &str) -> Option<Self> {
                let plain = descr.strip_prefix(['<', '|', '='])?;
                match plain {
                    $($($numpy => Some(DType::$variant),)*)*
                    _ => None,
                }
            }

            /// Returns the dtype of a name that torch has, `torch.` left out.
            fn of_torch(name: &str) -> Option<Self> {
                match name {
                    $($($torch => Some(DType::$variant),)*)*
                    _ => Self::of_shared(name),
                }
            }

            /// Returns the dtype of a name that torch, numpy and JAX share.
            fn of_shared(name: &str) -> Option<Self> {
                match name {
                    $($($shared => Some(DType::$variant),)*)*
                    _ => None,
                }
            }

            /// Returns the dtype of fanin's own name.
            fn of_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(DType::$variant),)*
                    _ => None,
                }
            }

            /// Returns numpy's name for the dtype with its byte order, if numpy has it.
            #[cfg(feature = "checkpoint")]
            pub(crate) fn numpy_name(self) -> Option<String> {
                let plain: &[&str] = match self {
                    $(DType::$variant => &[$($numpy,)*],)*
                };
                // `|` marks elements of one byte, which have no order.
                let order = if self.bits() == 8 { '|' } else { '<' };
                plain.first().map(|plain| format!("{order}{plain}"))
            }

            /// Every text that is read, for tests.
            #[cfg(test)]
            fn texts() -> Vec<(DType, String)> {
                let mut all = Vec::new();
                $(
                    let dtype = DType::$variant;
                    all.extend([$name, $header].map(|text: &str| (dtype, text.to_owned())));
                    let shared: &[&str] = &[$($shared,)*];
                    for name in shared {
                        for module in ["", "torch.", "np.", "numpy.", "jnp.", "jax.numpy.", "ml_dtypes."] {
                            all.push((dtype, format!("{module}{name}")));
                        }
                    }
                    let torch: &[&str] = &[$($torch,)*];
                    for name in torch {
                        all.extend(["", "torch."].map(|module| (dtype, format!("{module}{name}"))));
                    }
                    let numpy: &[&str] = &[$($numpy,)*];
                    for name in numpy {
                        all.extend(["<", "|", "="].map(|order| (dtype, format!("{order}{name}"))));
                    }
                )*
                all
            }
        }
    };
}

dtypes! {
    /// A truth value in a byte: 0 or 1.
    Bool = 8, "bool", "BOOL",
        shared: ["bool", "bool_"], torch: [], numpy: ["b1", "?"];
    /// A float of 4 bits (E2M1), two in a byte.
    F4 = 4, "f4", "F4", shared: ["float4_e2m1fn"], torch: [], numpy: [];
    /// A float of 6 bits with 3 bits after the point, four in three bytes.
    F6E2M3 = 6, "f6_e2m3", "F6_E2M3", shared: ["float6_e2m3fn"], torch: [], numpy: [];
    /// A float of 6 bits with 2 bits after the point, four in three bytes.
    F6E3M2 = 6, "f6_e3m2", "F6_E3M2", shared: ["float6_e3m2fn"], torch: [], numpy: [];
    /// A whole number from 0 to 255.
    U8 = 8, "u8", "U8", shared: ["uint8"], torch: [], numpy: ["u1"];
    /// A whole number of 8 bits with a sign.
    I8 = 8, "i8", "I8", shared: ["int8"], torch: [], numpy: ["i1"];
    /// A float of 8 bits with 2 bits after the point (OCP E5M2): at most 57344, or infinite.
    F8E5M2 = 8, "f8_e5m2", "F8_E5M2", shared: ["float8_e5m2"], torch: [], numpy: [];
    /// A float of 8 bits with 3 bits after the point (OCP E4M3): at most 448, without infinities.
    F8E4M3 = 8, "f8_e4m3", "F8_E4M3", shared: ["float8_e4m3fn"], torch: [], numpy: [];
    /// A power of two in 8 bits: the scale of a block.
    F8E8M0 = 8, "f8_e8m0", "F8_E8M0", shared: ["float8_e8m0fnu"], torch: [], numpy: [];
    /// A float of 8 bits with 3 bits after the point, without infinities and without -0.
    F8E4M3Fnuz = 8, "f8_e4m3fnuz", "F8_E4M3FNUZ",
        shared: ["float8_e4m3fnuz"], torch: [], numpy: [];
    /// A float of 8 bits with 2 bits after the point, without infinities and without -0.
    F8E5M2Fnuz = 8, "f8_e5m2fnuz", "F8_E5M2FNUZ",
        shared: ["float8_e5m2fnuz"], torch: [], numpy: [];
    /// A whole number of 16 bits with a sign.
    I16 = 16, "i16", "I16", shared: ["int16", "short"], torch: [], numpy: ["i2"];
    /// A whole number of 16 bits.
    U16 = 16, "u16", "U16", shared: ["uint16", "ushort"], torch: [], numpy: ["u2"];
    /// IEEE 754 binary16.
    F16 = 16, "f16", "F16", shared: ["float16", "half"], torch: [], numpy: ["f2"];
    /// bfloat16: the upper half of a binary32.
    BF16 = 16, "bf16", "BF16", shared: ["bfloat16"], torch: [], numpy: [];
    /// A whole number of 32 bits with a sign.
    I32 = 32, "i32", "I32", shared: ["int32", "intc"], torch: ["int"], numpy: ["i4"];
    /// A whole number of 32 bits.
    U32 = 32, "u32", "U32", shared: ["uint32", "uintc"], torch: [], numpy: ["u4"];
    /// IEEE 754 binary32.
    #[default]
    F32 = 32, "f32", "F32", shared: ["float32", "single"], torch: ["float"], numpy: ["f4"];
    /// A complex number: two of binary32.
    C64 = 64, "c64", "C64", shared: ["complex64", "csingle"], torch: ["cfloat"], numpy: ["c8"];
    /// IEEE 754 binary64.
    F64 = 64, "f64", "F64", shared: ["float64", "double"], torch: [], numpy: ["f8"];
    /// A whole number of 64 bits with a sign.
    I64 = 64, "i64", "I64", shared: ["int64", "longlong"], torch: ["long"], numpy: ["i8"];
    /// A whole number of 64 bits.
    U64 = 64, "u64", "U64", shared: ["uint64", "ulonglong"], torch: [], numpy: ["u8"];
}

/// The dtypes that [`DType::is_drawn`] accepts, for messages.
pub(crate) const DRAWN: &str = "f32, f16, bf16, f64, f8_e4m3 or f8_e5m2";

impl DType {
    /// Returns the bytes of an element that stands alone: 1 for the dtypes of 4 and 6 bits, which
    /// lie in a file without gaps. [`DType::bits`] counts those.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.bits().div_ceil(8)
    }

    /// Returns true if drawn numbers can be stored in it: f32, f16, bf16, f64, f8_e4m3, f8_e5m2.
    #[must_use]
    pub const fn is_drawn(self) -> bool {
        self.is_packed_by_kernels() || matches!(self, DType::F64 | DType::F8E4M3 | DType::F8E5M2)
    }

    /// Returns true for whole numbers, truth values included.
    #[must_use]
    pub const fn is_whole_number(self) -> bool {
        self.whole_numbers().is_some()
    }

    /// Returns true for the dtypes that the kernels of both backends store. The host converts
    /// binary32 to the others.
    pub(crate) const fn is_packed_by_kernels(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::BF16)
    }

    /// Returns the smallest and the largest whole number, or `None` for other dtypes.
    pub(crate) const fn whole_numbers(self) -> Option<(i64, u64)> {
        match self {
            DType::Bool => Some((0, 1)),
            DType::U8 => Some((0, u8::MAX as u64)),
            DType::U16 => Some((0, u16::MAX as u64)),
            DType::U32 => Some((0, u32::MAX as u64)),
            DType::U64 => Some((0, u64::MAX)),
            DType::I8 => Some((i8::MIN as i64, i8::MAX as u64)),
            DType::I16 => Some((i16::MIN as i64, i16::MAX as u64)),
            DType::I32 => Some((i32::MIN as i64, i32::MAX as u64)),
            DType::I64 => Some((i64::MIN, i64::MAX as u64)),
            _ => None,
        }
    }

    /// Returns the bytes of this many elements without gaps, rounded up to whole bytes.
    pub(crate) const fn bytes_of(self, elements: u64) -> u64 {
        // No overflow: a tensor has at most 2^50 elements of at most 64 bits.
        (elements * self.bits()).div_ceil(8)
    }

    /// Returns true if this many elements are whole bytes.
    #[cfg(feature = "checkpoint")]
    pub(crate) const fn fills_whole_bytes(self, elements: u64) -> bool {
        (elements * self.bits()).is_multiple_of(8)
    }

    /// Returns the elements that fit into this many bytes, in whole groups of whole bytes: elements
    /// of 4 and 6 bits count by fours.
    #[cfg(feature = "checkpoint")]
    pub(crate) const fn elements_in(self, bytes: u64) -> u64 {
        let elements = bytes * 8 / self.bits();
        if self.bits() < 8 {
            elements / 4 * 4
        } else {
            elements
        }
    }

    /// Returns the dtype of a tensor that is initialized.
    ///
    /// `asked` is for the floats of a whole model, as is the recipe's. It does not change a tensor
    /// that is listed as whole numbers (a counter, position ids) or in a dtype that is not made (codes
    /// and scales of 4, 6 or 8 bits, complex numbers), nor one whose rule has such a dtype. Otherwise
    /// the first one counts: `asked`, the rule's, the recipe's, the listed one, f32. For a tensor that
    /// is kept, only its file decides.
    #[cfg(feature = "recipe")]
    pub(crate) fn chosen(
        asked: Option<DType>,
        rule: Option<DType>,
        recipe: Option<DType>,
        listed: Option<DType>,
    ) -> DType {
        // The rule's own dtype is about this tensor, so it replaces the listed one.
        let own = rule.or(listed).filter(|dtype| !dtype.is_drawn());
        own.or(asked)
            .or(rule)
            .or(recipe)
            .or(listed)
            .unwrap_or_default()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The modules whose names are read in front of a dtype, besides `torch`.
const MODULES: [&str; 5] = ["np", "numpy", "jnp", "jax.numpy", "ml_dtypes"];

impl FromStr for DType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Split at the last point, because the module `jax.numpy` has one in its name.
        let found = match text.rsplit_once('.') {
            Some(("torch", name)) => DType::of_torch(name),
            Some((module, name)) if MODULES.contains(&module) => DType::of_shared(name),
            Some(_) => None,
            // fanin's own names come first: `i8` has 8 bits here, and 8 bytes in numpy, which
            // writes it with a byte order.
            None => DType::of_name(text)
                .or_else(|| DType::of_safetensors(text))
                .or_else(|| DType::of_torch(text))
                .or_else(|| DType::of_numpy(text)),
        };
        found.ok_or_else(|| Error::Unknown {
            kind: "dtype",
            value: text.to_owned(),
            accepted: accepted(),
        })
    }
}

/// Returns the names that are read, for messages.
fn accepted() -> String {
    let names: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
    format!(
        "use {}, or a name of torch, numpy, JAX or safetensors, such as torch.bfloat16, float32, \
         <f4 or BF16",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let texts = DType::texts();
        for (dtype, text) in &texts {
            assert_eq!(text.parse::<DType>().unwrap(), *dtype, "{text}");
        }
        // Those that people have in their files, written out.
        for (text, dtype) in [
            ("torch.bfloat16", DType::BF16),
            ("bfloat16", DType::BF16),
            ("BF16", DType::BF16),
            ("bf16", DType::BF16),
            ("float16", DType::F16),
            ("torch.half", DType::F16),
            ("half", DType::F16),
            ("F16", DType::F16),
            ("torch.float32", DType::F32),
            ("torch.float", DType::F32),
            ("float", DType::F32),
            ("<f4", DType::F32),
            ("=f4", DType::F32),
            ("np.float32", DType::F32),
            ("torch.float64", DType::F64),
            ("torch.double", DType::F64),
            ("double", DType::F64),
            ("<f8", DType::F64),
            ("torch.float8_e4m3fn", DType::F8E4M3),
            ("float8_e4m3fn", DType::F8E4M3),
            ("F8_E4M3", DType::F8E4M3),
            ("float8_e5m2", DType::F8E5M2),
            ("torch.float8_e8m0fnu", DType::F8E8M0),
            ("float4_e2m1fn", DType::F4),
            ("F4", DType::F4),
            ("torch.int64", DType::I64),
            ("torch.long", DType::I64),
            ("long", DType::I64),
            ("int64", DType::I64),
            ("<i8", DType::I64),
            ("i8", DType::I8),
            ("|i1", DType::I8),
            ("|u1", DType::U8),
            ("jnp.uint8", DType::U8),
            ("uint8", DType::U8),
            ("torch.bool", DType::Bool),
            ("bool_", DType::Bool),
            ("|b1", DType::Bool),
            ("BOOL", DType::Bool),
            ("torch.int", DType::I32),
            ("torch.complex64", DType::C64),
            ("<c8", DType::C64),
        ] {
            assert_eq!(text.parse::<DType>().unwrap(), dtype, "{text}");
        }
        assert!(texts.len() > 200);
    }

    #[test]
    fn other_texts_are_refused_with_the_names() {
        for text in [
            "",
            "f33",
            "Bf16",
            "torch.",
            "torch.f32",
            ">f4",
            "f2",
            "np.long",
            "np.float",
            "<V2",
            "keras.float32",
            "complex128",
            "float8",
            "float8_e4m3",
            "float4_e2m1fn_x2",
            " f32",
        ] {
            let error = text.parse::<DType>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("unknown dtype {text:?}: use bool, f4,")),
                "{error}"
            );
            assert!(
                error.contains("f8_e4m3") && error.contains("torch.bfloat16"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_and_sizes_are_those_of_safetensors() {
        for &dtype in DType::ALL {
            let name = dtype.safetensors_name();
            let theirs: safetensors::Dtype = serde_json::from_value(name.into()).expect(name);
            assert_eq!(theirs.bitsize() as u64, dtype.bits(), "{name}");
            assert_eq!(theirs.to_string(), name);
            assert_eq!(DType::of_safetensors(name), Some(dtype));
            assert_eq!(dtype.name(), name.to_lowercase());
        }
        // Their message for an unknown name lists every name.
        let error = serde_json::from_value::<safetensors::Dtype>("F33".into()).unwrap_err();
        let names = error.to_string().matches('`').count() / 2 - 1;
        assert_eq!(names, DType::ALL.len(), "{error}");
        assert_eq!(DType::of_safetensors("F33"), None);
        assert_eq!(DType::of_safetensors("f32"), None);
    }

    #[test]
    fn elements_of_part_of_a_byte_are_counted_in_whole_bytes() {
        assert_eq!(
            (DType::F4.size(), DType::F6E2M3.size(), DType::F64.size()),
            (1, 1, 8)
        );
        assert_eq!((DType::F4.bytes_of(6), DType::F6E3M2.bytes_of(8)), (3, 6));
        assert_eq!(
            (DType::F6E2M3.elements_in(100), DType::F4.elements_in(3)),
            (132, 4)
        );
        assert_eq!(
            (DType::BF16.bytes_of(3), DType::BF16.elements_in(7)),
            (6, 3)
        );
        for dtype in DType::ALL {
            let elements = dtype.elements_in(1 << 20);
            assert_eq!(elements * dtype.bits() % 8, 0, "{dtype}");
        }
    }

    #[cfg(feature = "recipe")]
    #[test]
    fn a_models_dtype_does_not_change_whole_numbers() {
        use DType::{BF16, F8E4M3, F16, F32, I64};
        let chosen =
            |texts: [Option<DType>; 4]| DType::chosen(texts[0], texts[1], texts[2], texts[3]);
        for (given, dtype) in [
            ([None, None, None, None], F32),
            ([None, None, None, Some(BF16)], BF16),
            ([None, None, Some(F16), Some(BF16)], F16),
            ([None, Some(F32), Some(F16), Some(BF16)], F32),
            ([Some(F8E4M3), Some(F32), Some(F16), Some(BF16)], F8E4M3),
            ([Some(BF16), None, None, Some(DType::F4)], DType::F4),
            ([Some(BF16), Some(F16), None, Some(DType::F8E8M0)], BF16),
            // A counter stays one, unless its rule says otherwise.
            ([Some(BF16), None, Some(F16), Some(I64)], I64),
            ([None, Some(F32), None, Some(I64)], F32),
            ([Some(BF16), Some(F32), None, Some(I64)], BF16),
            ([Some(BF16), Some(I64), None, Some(F32)], I64),
        ] {
            assert_eq!(chosen(given), dtype, "{given:?}");
        }
    }
}
