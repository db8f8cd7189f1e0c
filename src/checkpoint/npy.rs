//! The file format of numpy:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::foreign;
use crate::error::{Error, Result};
use crate::read::{format_error, open_regular};
use crate::tensor::DType;
use crate::text::{dims_text, quoted};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read, in bytes: the limit of format version 1.0, whose length field
/// has 16 bits.
const MAX_HEADER_BYTES: u32 = 65_535;

/// Makes the header of a format 1.0 file in C order, of a dtype that numpy writes as `descr`.
/// Returns `None` for a shape that is too long for it.
pub(super) fn header(descr: &str, dims: &[u64]) -> Option<Vec<u8>> {
    // In a Python tuple, a single element needs a comma.
    let shape = match dims {
        [dim] => format!("({dim},)"),
        dims => format!(
            "({})",
            dims.iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version and length take 10 bytes. The format wants a line break at the end, and the
    // data at a multiple of 64.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let length = u16::try_from(text.len()).ok()?;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(length.to_le_bytes());
    header.extend(text.into_bytes());
    Some(header)
}

/// The contents of an array's header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NpyHeader {
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// True if the first index changes fastest, as in Fortran, and that makes a difference.
    pub is_column_major: bool,
}

/// Reads and checks the header. The file is left at its first byte of data.
pub(super) fn read(path: &Path) -> Result<(File, NpyHeader)> {
    let fault = |reason: &str| format_error(path, None, reason);
    let first = foreign::first_bytes(path)?;
    if !first.starts_with(MAGIC) {
        foreign::refuse(path, &first)?;
    }
    let mut file = open_regular(path)?;
    // A length that the file claims is at most 65535 bytes here, so allocating it is safe.
    let mut take = |count: u32| -> Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        match file.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(fault("is not an npy file: it ends within its header"))
            }
            Err(error) => Err(Error::io(path, "read")(error)),
        }
    };
    let start = take(8)?;
    if !start.starts_with(MAGIC) {
        return Err(fault(
            "is not an npy file: it does not begin with \\x93NUMPY",
        ));
    }
    let length = match start[6] {
        1 => take(2)?
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u32::from(byte)),
        2 | 3 => take(4)?
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u32::from(byte)),
        _ => return Err(fault("has an npy format version other than 1, 2 and 3")),
    };
    if length > MAX_HEADER_BYTES {
        return Err(fault("has a header of more than 65535 bytes"));
    }
    let text = take(length)?;
    let array = std::str::from_utf8(&text)
        .map_or(Err(CANNOT_BE_READ.to_owned()), parse)
        .map_err(|reason| fault(&reason))?;
    let file_bytes = file.metadata().map_err(Error::io(path, "read"))?.len();
    let data_bytes =
        file_bytes.saturating_sub(8 + if start[6] == 1 { 2 } else { 4 } + u64::from(length));
    let mut dims = array.shape.iter();
    let size = array.dtype.size();
    let needed = dims.try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
    if needed != Some(data_bytes) {
        return Err(fault(&format!(
            "has {data_bytes} bytes of data, which do not fit shape {} of {}",
            dims_text(&array.shape),
            array.dtype
        )));
    }
    Ok((file, array))
}

const CANNOT_BE_READ: &str = "has an npy header that cannot be read: it needs descr, fortran_order and shape of a plain array";

/// Parses the dict literal that numpy writes.
///
/// # Errors
///
/// A reason, for a text that is none, and for a dtype that is not read.
fn parse(text: &str) -> Result<NpyHeader, String> {
    let (descr, is_fortran, shape) = keys(text).ok_or_else(|| CANNOT_BE_READ.to_owned())?;
    // `|` marks elements of one byte, which have no order. Big-endian elements (`>`) are not read.
    let dtype = DType::of_numpy(descr).ok_or_else(|| {
        format!(
            "has dtype {}: little-endian numbers are read, as in \"<f4\", \"<i8\", \"|u1\" and \"|b1\"",
            quoted(descr)
        )
    })?;
    let is_column_major = is_fortran && shape.len() > 1;
    Ok(NpyHeader {
        dtype,
        shape,
        is_column_major,
    })
}

/// Returns the values of `descr`, `fortran_order` and `shape`.
fn keys(text: &str) -> Option<(&str, bool, Vec<u64>)> {
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'"))? + key.len() + 2;
        text[at..]
            .trim_start()
            .strip_prefix(':')
            .map(str::trim_start)
    };
    let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
    // Both orders are accepted: most statistics do not depend on the order of the elements.
    let is_fortran = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse().ok())
        .collect::<Option<_>>()?;
    Some((descr, is_fortran, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_numpys() {
        // numpy.lib.format.write_array_header_1_0 of np.zeros((3, 4), np.float32).
        let header = header("<f4", &[3, 4]).unwrap();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(header.len(), 128);
        assert!(header[10..].starts_with(text.as_bytes()));
        assert!(header.ends_with(b" \n"));
    }

    #[test]
    fn headers_read_back() {
        for dims in [&[][..], &[0], &[5], &[2, 3, 4]] {
            let header = header("<f2", dims).unwrap();
            let array = parse(std::str::from_utf8(&header[10..]).unwrap()).unwrap();
            assert_eq!(
                array,
                NpyHeader {
                    dtype: DType::F16,
                    shape: dims.to_vec(),
                    is_column_major: false,
                }
            );
        }
        for descr in [
            "'>f4'",
            "'<f3'",
            "'f4'",
            "'|O'",
            "'<U3'",
            "'|V2'",
            "'<f4\\x1b'",
            "'<f16'",
            "''",
        ] {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}");
            let reason = parse(&text).unwrap_err();
            assert!(reason.starts_with("has dtype \""), "{descr}: {reason}");
        }
        let fields = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
        assert_eq!(parse(fields).unwrap_err(), CANNOT_BE_READ);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(.|'descr'|'shape'|: |'<f4'|\\(|\\)){0,40}") {
            let _ = parse(&text);
        }
    }
}
