//! The dtypes of the safetensors format.
//!
//! The crate `safetensors` is not used for them, nor for its parser. `SafeTensors::read_metadata`
//! wants the whole file in memory or mapped, while this module reads headers only; it collects the
//! tensors in a map, which loses the header's order and hides a name that is listed twice; and its
//! errors do not say which tensor is at fault. The crate is a dev-dependency: tests compare both.

use std::fmt;

use crate::tensor::DType;

/// Declares the dtypes with their names in a header and their sizes, so that no list can miss one.
macro_rules! file_dtypes {
    ($($(#[$attribute:meta])* $name:ident = $bits:literal,)*) => {
        /// The dtype of a tensor in a file: every dtype of the safetensors format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        // The variants have the names that stand in files.
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        pub(super) enum FileDType {
            $($(#[$attribute])* $name,)*
        }

        impl FileDType {
            #[cfg(test)]
            const ALL: &[FileDType] = &[$(FileDType::$name,)*];

            /// Returns the dtype of this name in a header.
            pub fn of_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(FileDType::$name),)*
                    _ => None,
                }
            }

            /// The name in a header.
            pub fn name(self) -> &'static str {
                match self {
                    $(FileDType::$name => stringify!($name),)*
                }
            }

            /// The bits of an element.
            pub fn bits(self) -> u64 {
                match self {
                    $(FileDType::$name => $bits,)*
                }
            }
        }
    };
}

file_dtypes! {
    BOOL = 8,
    F4 = 4,
    F6_E2M3 = 6,
    F6_E3M2 = 6,
    U8 = 8,
    I8 = 8,
    F8_E5M2 = 8,
    F8_E4M3 = 8,
    F8_E8M0 = 8,
    F8_E4M3FNUZ = 8,
    F8_E5M2FNUZ = 8,
    I16 = 16,
    U16 = 16,
    F16 = 16,
    BF16 = 16,
    I32 = 32,
    U32 = 32,
    F32 = 32,
    C64 = 64,
    F64 = 64,
    I64 = 64,
    U64 = 64,
}

impl FileDType {
    /// Returns the same dtype among those that fanin fills.
    pub fn filled(self) -> Option<DType> {
        match self {
            FileDType::F32 => Some(DType::F32),
            FileDType::F16 => Some(DType::F16),
            FileDType::BF16 => Some(DType::BF16),
            _ => None,
        }
    }
}

impl From<DType> for FileDType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => FileDType::F32,
            DType::F16 => FileDType::F16,
            DType::BF16 => FileDType::BF16,
        }
    }
}

impl fmt::Display for FileDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::FileDType;

    #[test]
    fn names_and_sizes_are_those_of_safetensors() {
        for &dtype in FileDType::ALL {
            let name = dtype.name();
            let theirs: safetensors::Dtype = serde_json::from_value(name.into()).expect(name);
            assert_eq!(theirs.bitsize() as u64, dtype.bits(), "{name}");
            assert_eq!(theirs.to_string(), name);
            assert_eq!(FileDType::of_name(name), Some(dtype));
        }
        // Their message for an unknown name lists every name.
        let error = serde_json::from_value::<safetensors::Dtype>("F33".into()).unwrap_err();
        let names = error.to_string().matches('`').count() / 2 - 1;
        assert_eq!(names, FileDType::ALL.len(), "{error}");
        assert_eq!(FileDType::of_name("F33"), None);
    }
}
