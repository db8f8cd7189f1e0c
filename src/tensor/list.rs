//! The tensors of a model.

use std::collections::HashSet;

use super::{DType, Shape};
use crate::error::{Error, Result};

/// One tensor of a [`TensorList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTensor {
    /// The tensor's name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its dtype, if the list gives one.
    pub dtype: Option<DType>,
}

/// The tensors of a model. A recipe is resolved against them.
///
/// ```
/// use fanin::{ListedTensor, Shape, TensorList};
///
/// let list = TensorList::new(vec![
///     ListedTensor { name: "0.weight".into(), shape: Shape::new([512, 784])?, dtype: None },
///     ListedTensor { name: "0.bias".into(), shape: Shape::new([512])?, dtype: None },
/// ])?;
/// assert_eq!(list.elements(), 512 * 784 + 512);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorList {
    tensors: Vec<ListedTensor>,
    has_weights: bool,
}

impl TensorList {
    /// Makes a list of these tensors, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] if two tensors have the same name: they would get the same weights.
    pub fn new(tensors: Vec<ListedTensor>) -> Result<Self> {
        let mut seen = HashSet::with_capacity(tensors.len());
        for tensor in &tensors {
            if !seen.insert(tensor.name.as_str()) {
                return Err(Error::Duplicate {
                    tensor: tensor.name.clone(),
                });
            }
        }
        Ok(TensorList {
            tensors,
            has_weights: false,
        })
    }

    /// Makes a list of names and dimensions, without dtypes.
    ///
    /// ```
    /// use fanin::TensorList;
    ///
    /// let layers = (0..2).map(|i| (format!("{i}.weight"), [512, 512]));
    /// assert_eq!(TensorList::of_shapes(layers)?.elements(), 2 * 512 * 512);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`TensorList::new`] and [`Shape::new`].
    pub fn of_shapes<N: Into<String>, D: Into<Vec<u64>>>(
        shapes: impl IntoIterator<Item = (N, D)>,
    ) -> Result<Self> {
        let listed = |(name, dims): (N, D)| {
            let name = name.into();
            let shape = Shape::new(dims).map_err(|error| error.named(&name))?;
            Ok(ListedTensor {
                name,
                shape,
                dtype: None,
            })
        };
        TensorList::new(shapes.into_iter().map(listed).collect::<Result<_>>()?)
    }

    /// Returns the same list, as that of a file that holds the tensors' weights.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn of_weights(self) -> Self {
        TensorList {
            has_weights: true,
            ..self
        }
    }

    /// Returns true if the list was read from a file with weights, such as a safetensors file. A recipe
    /// can keep tensors of such a list.
    #[must_use]
    pub fn has_weights(&self) -> bool {
        self.has_weights
    }

    /// The tensors, in the list's order.
    #[must_use]
    pub fn tensors(&self) -> &[ListedTensor] {
        &self.tensors
    }

    /// The number of elements of all tensors together: the model's parameters.
    ///
    /// The sum has 128 bits, because each tensor alone may have
    /// [`MAX_ELEMENTS`](crate::MAX_ELEMENTS).
    #[must_use]
    pub fn elements(&self) -> u128 {
        self.tensors
            .iter()
            .map(|t| u128::from(t.shape.elements()))
            .sum()
    }
}
