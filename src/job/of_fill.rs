//! Properties of a fill that depend on all its parts. They are here and not beside [`Fill`], which knows
//! nothing of jobs.

use super::parts::{Jobs, Parts};
use crate::error::Result;
use crate::fill::{Fill, FillPart};
use crate::init::{DistributionKind, Law};

impl Fill {
    /// Returns the distribution of a random element of the fill: that of the tensor's
    /// [distribution](Fill::distribution), or a mixture of those of its [parts](Fill::parts). Constant
    /// elements do not count. It is `None` if no element is drawn, or if elements depend on each other.
    #[must_use]
    pub fn law(&self) -> Option<Law> {
        if self.parts().is_empty() {
            return self.distribution().law();
        }
        let parts = Parts::new(self);
        let mut counts = vec![0u64; 1 + self.parts().len()];
        // Counted in the slice of this fill, which can leave out parts.
        for piece in parts.pieces(0..self.elements()) {
            counts[piece.owner] += piece.length;
        }
        let own = std::iter::once(self.distribution());
        let all = own.chain(self.parts().iter().map(FillPart::distribution));
        let mut laws = Vec::new();
        for (distribution, &count) in all.zip(&counts).filter(|(_, count)| **count > 0) {
            match distribution.law() {
                Some(law) => laws.push((count as f64, law)),
                None if matches!(distribution.kind(), DistributionKind::Constant { .. }) => {}
                None => return None,
            }
        }
        Law::mixture(laws)
    }

    /// Checks that the dtype can hold the elements, without making any.
    ///
    /// ```
    /// use fanin::{DType, Fill, Init, Tensor};
    ///
    /// let counter = Tensor::new("steps", [])?;
    /// assert!(Fill::new(&counter, &Init::zeros(), 0)?.with_dtype(DType::I64).check().is_ok());
    /// let drawn = Fill::new(&counter, &Init::normal(0.0, 1.0), 0)?.with_dtype(DType::I64);
    /// assert!(drawn.check().unwrap_err().to_string().contains("dtype i64 holds whole numbers only"));
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DType`](crate::Error::DType), naming the tensor: whole numbers for an initializer that
    /// gives others, or a dtype that cannot be initialized. A kept tensor can have any dtype.
    pub fn check(&self) -> Result<()> {
        // The kernels pack these, whatever is drawn.
        if self.is_kept() || self.dtype().is_packed_by_kernels() {
            return Ok(());
        }
        Jobs::new(self).map(|_| ())
    }
}
