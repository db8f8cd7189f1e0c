//! Fills a tensor of burn: the GPU writes its buffer, or the CPU makes the weights and they are uploaded.

use std::any::Any;
use std::sync::Arc;

use burn::backend::wgpu::CubeTensor;
use burn::cubecl::wgpu::{AutoCompiler, WgpuServer};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData, bf16, f16};
use fanin::gpu::Target;
use fanin::{Fill, cpu};

use crate::cube::{self, Order};
use crate::error::{Error, Result};
use crate::report::{Path, Reason};
use crate::shared::{self, Shared};

/// Returns the dtype that a parameter's weights are made in. For f64 and flex32 it is f32.
pub(crate) fn drawn_in(name: &str, dtype: DType) -> Result<fanin::DType> {
    match dtype {
        DType::F32 | DType::F64 | DType::Flex32 => Ok(fanin::DType::F32),
        DType::F16 => Ok(fanin::DType::F16),
        DType::BF16 => Ok(fanin::DType::BF16),
        _ => Err(Error::DType {
            name: name.to_owned(),
            dtype,
        }),
    }
}

/// Creates a tensor without values, in the memory that burn uses for weights.
pub(crate) fn empty<const D: usize>(shape: Shape, device: &Device, dtype: DType) -> Tensor<D> {
    device
        .memory_persistent_allocations(shape, |shape: Shape| Tensor::empty(shape, (device, dtype)))
}

/// The fills that the GPU runs in one submission.
#[derive(Default)]
pub(crate) struct Batch {
    targets: Vec<Waiting>,
}

/// A fill that waits for its submission.
struct Waiting {
    shared: Arc<Shared>,
    fill: Fill,
    buffer: wgpu::Buffer,
    /// The position of the first element in the buffer, in elements.
    offset: u64,
    /// Keeps cubecl from freeing or moving the memory until the fill is submitted.
    _hold: Box<dyn Any>,
}

impl Batch {
    /// Adds a tensor, and returns it with the weights of the fill. They are in it at once if they are uploaded,
    /// else after [`submit`](Batch::submit). `tensor` is without autodiff. `fresh`: it was created without
    /// values.
    ///
    /// # Errors
    ///
    /// Those of [`cpu::fill`], and [`Error::Buffer`].
    pub fn add<const D: usize>(
        &mut self,
        fill: &Fill,
        tensor: Tensor<D>,
        fresh: bool,
    ) -> Result<(Tensor<D>, Path)> {
        let (device, dtype) = (tensor.device(), tensor.dtype());
        let shape = tensor.shape();
        let shared = match reachable(fill, &device, dtype) {
            Ok(shared) => shared,
            Err(reason) => {
                let tensor = upload(fill, shape, &device, dtype, None)?;
                return Ok((tensor, Path::Uploaded(reason)));
            }
        };
        let failed = |detail: String| Error::Buffer {
            name: fill.name().to_owned(),
            detail,
        };
        let mut opened = cube::open(tensor).map_err(failed)?;
        let order = if opened.meta.is_tiled() {
            Order::Other
        } else {
            cube::order(opened.meta.shape(), opened.meta.strides())
        };
        let mut path = if fresh {
            Path::NewBuffer
        } else {
            Path::InPlace
        };
        match order {
            Order::Permuted(axes) => {
                let tensor = upload(fill, shape, &device, dtype, Some(axes))?;
                return Ok((tensor, Path::Uploaded(Reason::Strides)));
            }
            Order::Rows if opened.handle.can_mut() => {}
            // Another tensor shares the buffer and must keep its values, or there are gaps.
            Order::Rows | Order::Other => {
                opened = cube::open(empty::<D>(shape, &device, dtype)).map_err(failed)?;
                path = Path::NewBuffer;
            }
        }
        self.targets.push(waiting(fill, &opened, shared)?);
        Ok((cube::close(opened).map_err(failed)?, path))
    }

    /// Submits the fills to burn's own queue, so later operations of burn on the tensors run after them.
    ///
    /// # Errors
    ///
    /// Those of [`fanin::gpu::Initializer::fill_all`].
    pub fn submit(self) -> Result<()> {
        let mut rest = self.targets;
        while let Some(first) = rest.first() {
            let shared = Arc::clone(&first.shared);
            let (here, elsewhere): (Vec<_>, Vec<_>) = rest
                .into_iter()
                .partition(|waiting| Arc::ptr_eq(&waiting.shared, &shared));
            let targets: Vec<Target<'_>> = here
                .iter()
                .map(|waiting| Target::new(&waiting.fill, &waiting.buffer, waiting.offset))
                .collect();
            shared.initializer.submit_all(&shared.queue, &targets)?;
            rest = elsewhere;
        }
        Ok(())
    }
}

/// Returns the device that can fill a tensor in place, or the reason why there is none.
fn reachable(fill: &Fill, device: &Device, dtype: DType) -> Result<Arc<Shared>, Reason> {
    let device = shared::wgpu_device(device).ok_or(Reason::OtherBackend)?;
    let shared = shared::shared(&device).ok_or(Reason::DeviceNotShared)?;
    if fill.elements() == 0 {
        Err(Reason::Empty)
    } else if matches!(dtype, DType::F64 | DType::Flex32) {
        Err(Reason::DType)
    } else if !cube::opens() {
        Err(Reason::Fusion)
    } else {
        Ok(shared)
    }
}

/// Prepares the fill of a tensor's own buffer.
fn waiting(fill: &Fill, tensor: &CubeTensor, shared: Arc<Shared>) -> Result<Waiting> {
    let failed = |detail: String| Error::Buffer {
        name: fill.name().to_owned(),
        detail,
    };
    // This submits everything that burn has queued on the tensor's stream and on this thread's stream, so it
    // runs before the fill.
    let hold = tensor
        .client
        .get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone())
        .map_err(|error| failed(error.to_string()))?;
    let resource = hold.resource();
    let size = fill.dtype().size();
    if resource.offset % size != 0 || resource.size < fill.bytes() {
        return Err(failed(format!(
            "{} bytes at {}, for {} elements of {}",
            resource.size,
            resource.offset,
            fill.elements(),
            fill.dtype(),
        )));
    }
    Ok(Waiting {
        shared,
        fill: fill.clone(),
        buffer: resource.buffer.clone(),
        offset: resource.offset / size,
        _hold: Box::new(hold),
    })
}

/// Makes a fill's weights on the CPU and uploads them as a tensor. With `order`, the tensor's elements are in
/// memory with the axes in this order from the outermost to the innermost.
fn upload<const D: usize>(
    fill: &Fill,
    shape: Shape,
    device: &Device,
    dtype: DType,
    order: Option<Vec<usize>>,
) -> Result<Tensor<D>> {
    let count = fill.elements() as usize;
    let axes = order.as_deref();
    let data = match fill.dtype() {
        fanin::DType::F16 => {
            let mut values = vec![f16::ZERO; count];
            cpu::fill_slice(fill, &mut values)?;
            arranged(values, &shape, axes)
        }
        fanin::DType::BF16 => {
            let mut values = vec![bf16::ZERO; count];
            cpu::fill_slice(fill, &mut values)?;
            arranged(values, &shape, axes)
        }
        _ => {
            let mut values = vec![0f32; count];
            cpu::fill_slice(fill, &mut values)?;
            arranged(values, &shape, axes)
        }
    };
    let tensor = device.memory_persistent_allocations(data, |data: TensorData| {
        Tensor::<D>::from_data(data, (device, dtype))
    });
    Ok(match order {
        Some(order) => {
            let mut back = [0; D];
            for (position, &axis) in order.iter().enumerate() {
                back[axis] = position;
            }
            tensor.permute(back)
        }
        None => tensor,
    })
}

/// Moves row-major values to their order in memory, with the axes in another order.
fn arranged<E: burn::tensor::Element>(
    values: Vec<E>,
    shape: &Shape,
    order: Option<&[usize]>,
) -> TensorData {
    let Some(order) = order else {
        return TensorData::new(values, shape.clone());
    };
    let dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let mut index = vec![0; dims.len()];
    let mut moved = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let at: usize = index
            .iter()
            .zip(order)
            .map(|(i, &axis)| i * strides[axis])
            .sum();
        moved.push(values[at]);
        for (i, &dim) in index.iter_mut().zip(&dims).rev() {
            *i += 1;
            if *i < dim {
                break;
            }
            *i = 0;
        }
    }
    TensorData::new(moved, dims)
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::{DType, Device, Tensor, TensorData};
    use fanin::Recipe;

    use super::waiting;
    use crate::common::{devices, read_back};
    use crate::{InitWithFanin, Path, cube, shared};

    /// Small tensors, which burn allocates side by side in the pages of its pool.
    #[derive(Module, Debug)]
    struct Small {
        before: Param<Tensor<1>>,
        own: Param<Tensor<2>>,
        after: Param<Tensor<1>>,
    }

    fn small(device: &Device, dtype: DType) -> Small {
        fn marked<const D: usize>(
            dims: [usize; D],
            device: &Device,
            dtype: DType,
        ) -> Param<Tensor<D>> {
            let values = vec![3f32; dims.iter().product()];
            let data = TensorData::new(values, dims).convert_dtype(dtype);
            Param::from_tensor(Tensor::from_data(data, (device, dtype)))
        }
        Small {
            before: marked([5], device, dtype),
            own: marked([3, 7], device, dtype),
            after: marked([5], device, dtype),
        }
    }

    /// Returns a parameter's buffer, and the element of it that the parameter starts at.
    fn place<const D: usize>(param: Param<Tensor<D>>) -> (Param<Tensor<D>>, wgpu::Buffer, u64) {
        let (id, tensor, mapper) = param.consume();
        let device = shared::wgpu_device(&tensor.device()).unwrap();
        let shared = shared::shared(&device).unwrap();
        let dims: Vec<u64> = tensor.dims().iter().map(|&dim| dim as u64).collect();
        let dtype = crate::fill::drawn_in("", tensor.dtype()).unwrap();
        let fanins = fanin::Tensor::new("", dims).unwrap();
        let fill = fanin::Fill::new(&fanins, &fanin::Init::ones(), 0)
            .unwrap()
            .with_dtype(dtype);
        let opened = cube::open(tensor).unwrap();
        let waiting = waiting(&fill, &opened, shared).unwrap();
        let (buffer, offset) = (waiting.buffer.clone(), waiting.offset);
        drop(waiting);
        let tensor = cube::close(opened).unwrap();
        (Param::from_mapped_value(id, tensor, mapper), buffer, offset)
    }

    /// The weights are in the same buffer at the same place as before, and the tensors beside them keep their
    /// values.
    #[test]
    fn the_buffer_stays_and_so_do_its_neighbours() {
        let recipe = Recipe::from_toml("[[rule]]\nmatch = \"own\"\ninit = \"normal(std=0.02)\"");
        let recipe = recipe.unwrap();
        for (name, device) in devices() {
            let mut neighbours = 0;
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let Small { before, own, after } = small(device, dtype);
                let (before, first, _) = place(before);
                let (own, second, offset) = place(own);
                let (after, third, _) = place(after);
                neighbours += usize::from(first == second && second == third);
                let others = [&before, &after].map(|param| param.val().into_data());

                let alone = Alone { own };
                let (alone, report) = alone.init_with_fanin_report(&recipe, 9).unwrap();
                assert_eq!(report.parameters[0].path, Path::InPlace, "{name} {dtype:?}");
                let (own, buffer, start) = place(alone.own);
                assert_eq!((&buffer, start), (&second, offset), "{name} {dtype:?}");

                let kept = [&before, &after].map(|param| param.val().into_data());
                assert_eq!(kept, others, "{name} {dtype:?}");
                let flex = small(&Device::flex(), dtype).own;
                let flex = Alone { own: flex }.init_with_fanin(&recipe, 9).unwrap();
                assert_eq!(
                    read_back(&Alone { own }),
                    read_back(&flex),
                    "{name} {dtype:?}"
                );
            }
            assert!(neighbours > 0, "{name}: no two tensors share a buffer");
        }
    }

    #[derive(Module, Debug)]
    struct Alone {
        own: Param<Tensor<2>>,
    }
}
