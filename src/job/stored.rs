//! Values in the dtypes that no kernel packs: binary32 is made, and the host converts it.

#[cfg(feature = "gpu")]
use std::borrow::Cow;

#[cfg(feature = "gpu")]
use super::Jobs;
use super::{Core, Job};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::DistributionKind;
use crate::tensor::{DRAWN, DType, E4M3, E5M2, Float8};

/// The conversion from binary32 to the stored elements of one fill. Both backends use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    dtype: DType,
    /// Numbers of the dtype that hold the elements within the bounds of a truncated distribution.
    bounds: Option<[f32; 2]>,
}

impl Stored {
    /// Returns the conversion of a fill, or `None` if the kernels pack its dtype themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], naming the tensor, if no number of the dtype lies between the bounds.
    pub fn new(fill: &Fill) -> Result<Option<Stored>> {
        let dtype = fill.dtype();
        if dtype.is_packed_by_kernels() {
            return Ok(None);
        }
        let format = match dtype {
            DType::F8E4M3 => Some(E4M3),
            DType::F8E5M2 => Some(E5M2),
            _ => None,
        };
        let bounds = match (fill.distribution().kind(), format) {
            (&DistributionKind::TruncatedNormal { low, high, .. }, Some(format)) => {
                Some(within(format, low, high).ok_or_else(|| no_number_between(fill, low))?)
            }
            _ => None,
        };
        Ok(Some(Stored { dtype, bounds }))
    }

    /// The numbers that hold the elements of a truncated distribution.
    #[cfg(feature = "program")]
    pub fn bounds(self) -> Option<[f32; 2]> {
        self.bounds
    }

    /// Returns the fill that a device makes for this one, and the jobs that convert what it makes.
    /// Without a conversion it is the same fill.
    ///
    /// # Errors
    ///
    /// The errors of [`Jobs::new`].
    #[cfg(feature = "gpu")]
    pub fn on_device(fill: &Fill) -> Result<(Cow<'_, Fill>, Option<Jobs>)> {
        let jobs = Jobs::new(fill)?;
        // All jobs of a fill have the same dtype, so the first one decides.
        if jobs.all()[0].job.stored.is_none() {
            return Ok((Cow::Borrowed(fill), None));
        }
        Ok((Cow::Owned(fill.clone().with_dtype(DType::F32)), Some(jobs)))
    }

    /// Converts the elements from position `start` of a fill on, each by its own job.
    #[cfg(feature = "gpu")]
    pub fn convert_all(jobs: &Jobs, start: u64, values: &[u8], out: &mut [u8]) {
        let size = jobs.all()[0].job.dtype.size();
        let end = start + out.len() as u64 / size;
        let (mut values, mut out) = (values, out);
        for piece in jobs.pieces(start..end) {
            let (these, values_left) = values.split_at((4 * piece.length) as usize);
            let (into, out_left) = out.split_at_mut((size * piece.length) as usize);
            if let Some(stored) = jobs.all()[piece.owner].job.stored {
                stored.convert(these, into);
            }
            (values, out) = (values_left, out_left);
        }
    }

    /// Converts binary32 numbers, little-endian, to elements of the dtype, little-endian. `out` has
    /// as many elements.
    pub fn convert(self, values: &[u8], out: &mut [u8]) {
        match self.dtype {
            DType::F64 => self.each(values, out, |x| f64::from(x).to_le_bytes()),
            DType::F8E4M3 => self.each(values, out, |x| [E4M3.of_f32(x)]),
            DType::F8E5M2 => self.each(values, out, |x| [E5M2.of_f32(x)]),
            // `check` has found whole numbers in range.
            // Casts of negative floats to unsigned numbers give 0, so a wider signed number is in between.
            _ => match self.dtype.size() {
                1 => self.each(values, out, |x| (x as i16 as u8).to_le_bytes()),
                2 => self.each(values, out, |x| (x as i32 as u16).to_le_bytes()),
                4 => self.each(values, out, |x| (x as i64 as u32).to_le_bytes()),
                _ => self.each(values, out, |x| (x as i64).to_le_bytes()),
            },
        }
    }

    fn each<const SIZE: usize>(
        self,
        values: &[u8],
        out: &mut [u8],
        store: impl Fn(f32) -> [u8; SIZE],
    ) {
        let values = values.as_chunks::<4>().0.iter();
        for (&value, out) in values.zip(out.as_chunks_mut::<SIZE>().0) {
            let value = f32::from_le_bytes(value);
            // The bounds are numbers of the dtype, so the rounding after the clamp stays within them.
            *out = store(match self.bounds {
                Some([low, high]) => value.clamp(low, high),
                None => value,
            });
        }
    }
}

/// Returns the error of a truncated distribution without a number of the dtype.
pub(super) fn no_number_between(fill: &Fill, low: f32) -> Error {
    Error::parameter(
        "lower bound",
        low.into(),
        "some number of the dtype must lie between the bounds",
    )
    .named(fill.name())
}

/// Returns the lowest and the highest number within bounds. Rounding is monotone, so numbers within
/// these stay there.
fn within(format: Float8, low: f32, high: f32) -> Option<[f32; 2]> {
    let (low, high) = (format.not_below(low)?, -format.not_below(-high)?);
    (low <= high).then_some([low, high])
}

/// The remedies for a tensor of whole numbers.
const WHOLE: &str = "use init = \"zeros\" or \"constant(value=N)\", dtype = \"f32\", keep = true to \
     copy the tensor from its file, or skip = true";

/// Checks that the fill's dtype can hold every element of a job.
///
/// # Errors
///
/// [`Error::DType`], naming the tensor.
pub(super) fn check(job: &Job, fill: &Fill) -> Result<()> {
    let dtype = fill.dtype();
    if dtype.is_drawn() {
        return Ok(());
    }
    let refused = |reason: String| Err(Error::dtype(dtype, reason).named(fill.name()));
    let Some((lowest, highest)) = dtype.whole_numbers() else {
        return refused(format!(
            "cannot be initialized: use dtype = {DRAWN}, keep = true to copy the tensor from its \
             file, or skip = true"
        ));
    };
    let distribution = fill.distribution();
    let fits = |bits: u32| {
        let value = f64::from(f32::from_bits(bits));
        // From 2^24 on, binary32 does not hold every whole number, so it is not known which one was
        // meant.
        value.fract() == 0.0
            && value.abs() < f64::from(1 << 24)
            && (lowest as f64..=highest as f64).contains(&value)
    };
    // Elements that a mask sets to zero fit anyway.
    let all_fit = match job.core {
        Core::Constant => fits(job.constant),
        Core::Columns => {
            let mut values = job.table().as_flattened()[..job.columns as usize].iter();
            values.all(|&bits| fits(bits))
        }
        Core::Uniform | Core::Normal | Core::Quantile | Core::Sine | Core::Matrix => {
            return refused(format!(
                "holds whole numbers only, and {distribution} gives others: {WHOLE}"
            ));
        }
    };
    if all_fit {
        return Ok(());
    }
    let highest = highest.min((1 << 24) - 1);
    let lowest = lowest.max(1 - (1 << 24));
    refused(format!(
        "holds whole numbers only, here {lowest} to {highest}, and {distribution} gives others: \
         {WHOLE}"
    ))
}
