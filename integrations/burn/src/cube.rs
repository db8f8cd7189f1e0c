//! Conversions between burn's tensors and the cube tensors of its wgpu backend, which have buffers.

use burn::backend::Cube;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::Tensor;

/// The primitive type of a float tensor on this build's cubecl backend.
type Primitive = <Cube as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// Converts a tensor on a cubecl backend, without autodiff, to its cube tensor. The operations that burn has
/// deferred for it are run. The cube tensor owns its handle alone if the tensor did.
///
/// # Errors
///
/// The reason in words.
pub(crate) fn open<const D: usize>(tensor: Tensor<D>) -> Result<CubeTensor, String> {
    let primitive: Primitive = tensor
        .try_into_primitive::<Cube>()
        .map_err(|error| format!("{error:?}"))?;
    resolve(primitive)
}

/// Converts a cube tensor to a tensor.
///
/// # Errors
///
/// The reason in words.
pub(crate) fn close<const D: usize>(tensor: CubeTensor) -> Result<Tensor<D>, String> {
    Ok(Tensor::from_primitive::<Cube>(register(tensor)?))
}

#[cfg(feature = "fusion")]
mod form {
    use burn::backend::fusion::client::GlobalFusionClient;
    use burn::backend::fusion::stream::StreamId;
    use burn::backend::fusion::{FusionBackend, NoOp};
    use burn::backend::ir::{BackendIr, InitOperationIr, OperationIr};
    use burn::backend::wgpu::{CubeBackend, CubeTensor};

    use super::Primitive;

    pub fn resolve(fused: Primitive) -> Result<CubeTensor, String> {
        let client = fused.client.clone();
        Ok(client.resolve_tensor_float::<CubeBackend>(fused))
    }

    /// Registers a cube tensor with the fusion server, as burn's own `float_from_data` does.
    pub fn register(tensor: CubeTensor) -> Result<Primitive, String> {
        type Client = GlobalFusionClient<<CubeBackend as FusionBackend>::FusionRuntime>;
        let client = Client::load(&tensor.device);
        let (shape, dtype) = (tensor.meta.shape().clone(), tensor.dtype);
        let handle = CubeBackend::float_tensor_handle(tensor);
        let init = InitOperationIr::create(shape, dtype, || client.register_tensor_handle(handle));
        let outputs = client.register(
            StreamId::current(),
            OperationIr::Init(init),
            NoOp::<CubeBackend>::new(),
        );
        let output = outputs.into_iter().next();
        output.ok_or_else(|| "burn's fusion server registered no tensor".to_owned())
    }

    pub fn opens() -> bool {
        true
    }
}

/// Even without the feature `fusion`, burn fuses if another crate enables it. Then its primitive has a type
/// that cannot be named here, so types are compared at run time.
#[cfg(not(feature = "fusion"))]
mod form {
    use std::any::{Any, TypeId};

    use burn::backend::wgpu::CubeTensor;

    use super::Primitive;

    pub fn resolve(primitive: Primitive) -> Result<CubeTensor, String> {
        let primitive: Box<dyn Any> = Box::new(primitive);
        let tensor = primitive.downcast::<CubeTensor>();
        tensor.map(|tensor| *tensor).map_err(|_| fused())
    }

    pub fn register(tensor: CubeTensor) -> Result<Primitive, String> {
        let tensor: Box<dyn Any> = Box::new(tensor);
        let primitive = tensor.downcast::<Primitive>();
        primitive.map(|primitive| *primitive).map_err(|_| fused())
    }

    fn fused() -> String {
        "burn fuses kernels, but fanin-burn was built without its feature \"fusion\"".to_owned()
    }

    pub fn opens() -> bool {
        TypeId::of::<Primitive>() == TypeId::of::<CubeTensor>()
    }
}

/// Returns true if [`open`] works in this build.
pub(crate) use form::opens;
use form::{register, resolve};

/// The order of a cube tensor's elements in its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row-major, without gaps.
    Rows,
    /// Without gaps, with the axes in this order from the outermost to the innermost.
    Permuted(Vec<usize>),
    /// With gaps, or with one element of memory for several of the tensor.
    Other,
}

/// Finds the order of a tensor's elements in memory from its strides.
pub(crate) fn order(shape: &[usize], strides: &[usize]) -> Order {
    // Axes of length 1 may have any stride.
    let mut axes: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] != 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
    let mut expected = 1;
    for &axis in axes.iter().rev() {
        if strides[axis] != expected {
            return Order::Other;
        }
        expected *= shape[axis];
    }
    if axes.is_sorted() {
        return Order::Rows;
    }
    axes.extend((0..shape.len()).filter(|&axis| shape[axis] == 1));
    Order::Permuted(axes)
}

#[cfg(test)]
mod tests {
    use super::{Order, order};

    #[test]
    fn the_order_of_elements_is_read_off_the_strides() {
        assert_eq!(order(&[], &[]), Order::Rows);
        assert_eq!(order(&[3, 4], &[4, 1]), Order::Rows);
        assert_eq!(order(&[1, 4], &[9, 1]), Order::Rows);
        assert_eq!(order(&[3, 1, 4], &[4, 1, 1]), Order::Rows);
        assert_eq!(order(&[3, 4], &[1, 3]), Order::Permuted(vec![1, 0]));
        assert_eq!(
            order(&[2, 3, 4], &[4, 8, 1]),
            Order::Permuted(vec![1, 0, 2])
        );
        assert_eq!(
            order(&[3, 1, 4], &[1, 12, 3]),
            Order::Permuted(vec![2, 0, 1])
        );
        assert_eq!(order(&[3, 4], &[8, 1]), Order::Other);
        assert_eq!(order(&[3, 4], &[0, 1]), Order::Other);
        assert_eq!(order(&[3, 4], &[4, 2]), Order::Other);
    }
}
