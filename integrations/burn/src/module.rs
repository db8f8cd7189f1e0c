//! Filling the parameters of a module.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use fanin::{Fill, Layout, ListedTensor, Recipe, Shape, TensorList};

use crate::error::{Error, Result};
use crate::fill::{self, Batch};
use crate::report::{FilledParameter, Report};

/// burn's modules, made to start from a recipe's weights.
pub trait InitWithFanin: Module {
    /// The module with every float parameter filled as the recipe says, from `seed`; the same bits on
    /// every backend, device and run.
    ///
    /// A parameter's name is its path as burn's own visitors give it, "encoder.fc1.weight"; its
    /// dtype stays what it is, whatever the recipe says. On burn's wgpu backend the GPU writes the
    /// weights into the parameter's own buffer, where the device is [shared](crate::init_device);
    /// elsewhere the CPU makes them and they are uploaded once.
    ///
    /// The weight of burn's `Linear` is `[in, out]`, and read so: a rule needs no `layout` for it,
    /// and one that it has wins, as does the recipe's own. Of all other tensors the recipe's default
    /// holds, which is right for burn's convolutions, `[out, in, k...]`.
    ///
    /// Each parameter keeps its id, and whether it requires a gradient. What burn would have drawn for
    /// a parameter that is not yet initialized is never drawn; it gets the device's float dtype. A
    /// clone of the module keeps its own weights. The running statistics of a BatchNorm are filled
    /// where a rule matches them, and stay what they are where none does. Integer and boolean
    /// parameters stay what they are.
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::Device;
    /// use fanin::Recipe;
    /// use fanin_burn::InitWithFanin;
    ///
    /// # fn main() -> fanin_burn::Result<()> {
    /// # let device = Device::flex();
    /// let linear: Linear = LinearConfig::new(784, 128).init(&device);
    /// let recipe = Recipe::from_toml(r#"
    ///     [[rule]]
    ///     match = "weight"
    ///     init = "kaiming_normal"
    ///     [[rule]]
    ///     match = "bias"
    ///     init = "zeros"
    /// "#)?;
    /// let linear = linear.init_with_fanin(&recipe, 42)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Fanin`] for a parameter without a rule, or a rule that cannot be followed, and if the
    /// device is lost; [`Error::DType`] for a quantized parameter. Nothing is filled where a rule is at
    /// fault.
    fn init_with_fanin(self, recipe: &Recipe, seed: u64) -> Result<Self>
    where
        Self: Sized,
    {
        Ok(self.init_with_fanin_report(recipe, seed)?.0)
    }

    /// As [`init_with_fanin`](InitWithFanin::init_with_fanin), and how each parameter was filled.
    ///
    /// # Errors
    ///
    /// Those of [`init_with_fanin`](InitWithFanin::init_with_fanin).
    fn init_with_fanin_report(self, recipe: &Recipe, seed: u64) -> Result<(Self, Report)>
    where
        Self: Sized,
    {
        let mut lister = Lister::default();
        let module = self.map(&mut lister);
        let fills = lister.listed()?.fills(recipe, seed)?;
        let mut filler = Filler {
            path: Path::default(),
            fills,
            fresh: lister.fresh,
            batch: Batch::default(),
            report: Report {
                parameters: Vec::new(),
            },
            fault: None,
        };
        let module = module.map(&mut filler);
        if let Some(fault) = filler.fault {
            return Err(fault);
        }
        filler.batch.submit()?;
        Ok((module, filler.report))
    }
}

impl<M: Module> InitWithFanin for M {}

/// Where a visit is.
#[derive(Default)]
struct Path(Vec<(String, String)>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.join(".")
    }

    /// Whether this is the field of a struct of burn's own.
    fn is(&self, container: &str, fields: &[&str]) -> bool {
        self.0
            .last()
            .is_some_and(|(name, within)| within == container && fields.contains(&name.as_str()))
    }
}

/// Lists the float parameters, and gives those a buffer that are not initialized.
#[derive(Default)]
struct Lister {
    path: Path,
    tensors: Vec<ListedTensor>,
    /// The weights of `Linear`, which are laid out [in, out].
    in_out: HashSet<String>,
    /// What has its values whether the recipe gives it some or not.
    optional: HashSet<String>,
    /// By name, whether a parameter was given its buffer here.
    fresh: HashMap<String, bool>,
    fault: Option<Error>,
}

/// What a recipe is resolved against.
struct Listed {
    tensors: Vec<ListedTensor>,
    in_out: HashSet<String>,
    optional: HashSet<String>,
}

impl Lister {
    fn listed(&mut self) -> Result<Listed> {
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(Listed {
                tensors: std::mem::take(&mut self.tensors),
                in_out: std::mem::take(&mut self.in_out),
                optional: std::mem::take(&mut self.optional),
            }),
        }
    }

    fn list<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<()> {
        let name = self.path.name();
        let value = param.base();
        let dims: Vec<u64> = value.shape().iter().map(|&dim| dim as u64).collect();
        let shape = Shape::new(dims).map_err(|error| error.named(&name))?;
        let dtype = fill::drawn_in(&name, value.dtype())?;
        if D == 2 && self.path.is("Struct:Linear", &["weight"]) {
            self.in_out.insert(name.clone());
        }
        if self
            .path
            .is("Struct:BatchNorm", &["running_mean", "running_var"])
        {
            self.optional.insert(name.clone());
        }
        self.tensors.push(ListedTensor {
            name,
            shape,
            dtype: Some(dtype),
        });
        Ok(())
    }
}

impl ModuleMapper for Lister {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.fault.is_some() {
            return param;
        }
        let fresh = !param.is_initialized();
        let param = if fresh { with_buffer(param) } else { param };
        self.fresh.insert(self.path.name(), fresh);
        self.fault = self.list(&param).err();
        param
    }
}

/// A parameter that is not initialized, with a buffer of no values in particular: as if these had
/// been loaded from a file, which is how burn has them take the form that the module wants.
fn with_buffer<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
    let (id, device) = (param.id, param.lazy_device());
    let dtype: DType = device.settings().float_dtype.into();
    let values = fill::empty(param.lazy_shape(), &device, dtype);
    param.transform_for_load(values, id)
}

impl Listed {
    /// The fill of each parameter, by name.
    fn fills(self, recipe: &Recipe, seed: u64) -> Result<HashMap<String, Fill>> {
        let Listed {
            mut tensors,
            in_out,
            optional,
        } = self;
        let layout_of = |tensor: &ListedTensor| {
            if in_out.contains(&tensor.name) {
                Layout::InOut
            } else {
                Layout::OutIn
            }
        };
        let plan = loop {
            let list = TensorList::new(tensors.clone())?;
            match recipe.resolve_with_layouts(&list, Some(seed), None, &layout_of) {
                Err(fanin::Error::Unmatched { tensor, .. }) if optional.contains(&tensor) => {
                    tensors.retain(|listed| listed.name != tensor);
                }
                plan => break plan?,
            }
        };
        let fills = plan.into_fills().into_iter().zip(tensors);
        // The parameter's own dtype, whatever the recipe gives.
        let fills = fills.map(|(fill, listed)| {
            let dtype = listed.dtype.unwrap_or_default();
            (listed.name, fill.with_dtype(dtype))
        });
        Ok(fills.collect())
    }
}

/// Fills the parameters.
struct Filler {
    path: Path,
    fills: HashMap<String, Fill>,
    fresh: HashMap<String, bool>,
    batch: Batch,
    report: Report,
    fault: Option<Error>,
}

impl Filler {
    fn fill<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Result<Param<Tensor<D>>> {
        let name = self.path.name();
        let Some(fill) = self.fills.get(&name) else {
            return Ok(param);
        };
        let fresh = self.fresh.get(&name).is_some_and(|fresh| *fresh);
        let (id, tensor, mapper) = param.consume();
        let (tensor, path) = filled(&mut self.batch, fill, tensor, fresh)?;
        self.report.parameters.push(FilledParameter {
            elements: fill.elements(),
            name,
            path,
        });
        Ok(Param::from_mapped_value(id, tensor, mapper))
    }
}

/// The tensor with the weights of a fill, on the same device, with the same autodiff.
pub(crate) fn filled<const D: usize>(
    batch: &mut Batch,
    fill: &Fill,
    tensor: Tensor<D>,
    fresh: bool,
) -> Result<(Tensor<D>, crate::report::Path)> {
    if !tensor.is_autodiff() {
        return batch.add(fill, tensor, fresh);
    }
    let require_grad = tensor.is_require_grad();
    let autodiff = tensor.clone().into_dispatch().autodiff;
    let (tensor, path) = batch.add(fill, tensor.without_autodiff(), fresh)?;
    // With the strategy of gradient checkpointing that it had.
    let mut tensor = tensor.autodiff().into_dispatch();
    tensor.autodiff = autodiff;
    let tensor = Tensor::from_dispatch(tensor).set_require_grad(require_grad);
    Ok((tensor, path))
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.fault.is_some() {
            return param;
        }
        let (id, device) = (param.id, param.lazy_device());
        self.fill(param).unwrap_or_else(|fault| {
            self.fault = Some(fault);
            // The module is dropped: any tensor will do. A clone of the parameter kept for it would
            // share the buffer.
            Param::initialized(id, Tensor::empty([0; D], &device))
        })
    }
}
