//! Fills the parameters of a module.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use fanin::{Fill, Layout, ListedTensor, Recipe, Shape, TensorList};

use crate::error::{Error, Result};
use crate::fill::{self, Batch};
use crate::report::{FilledParameter, Report};

/// Initialization of burn's modules by recipes.
pub trait InitWithFanin: Module {
    /// Returns the module with every float parameter filled as the recipe says, from `seed`. The bits are the
    /// same on every backend, device and run.
    ///
    /// A parameter's name is its path as burn's own visitors give it, such as "encoder.fc1.weight". It keeps its
    /// dtype, even if the recipe says another one. On burn's wgpu backend the GPU writes the weights into the
    /// parameter's own buffer if the device is [shared](crate::init_device). In other cases the CPU makes them,
    /// and they are uploaded once.
    ///
    /// The weight of burn's `Linear` is read as `[in, out]`, so a rule needs no `layout` for it. A `layout` of
    /// the rule or of the recipe takes precedence. All other tensors have the recipe's default layout, which is
    /// right for burn's convolutions, `[out, in, k...]`.
    ///
    /// Each parameter keeps its id and its `require_grad`. For a parameter that is not initialized yet, burn draws
    /// no values; it gets the device's float dtype. A clone of the module keeps its own weights. The running
    /// statistics of a BatchNorm are filled only if a rule matches them. Integer and boolean parameters do not
    /// change.
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
    /// [`Error::Fanin`] if no rule matches a parameter, if a rule does not fit its parameter, and if the device
    /// is lost; [`Error::DType`] for a quantized parameter. If a rule is at fault, nothing is filled.
    fn init_with_fanin(self, recipe: &Recipe, seed: u64) -> Result<Self>
    where
        Self: Sized,
    {
        Ok(self.init_with_fanin_report(recipe, seed)?.0)
    }

    /// Does the same as [`init_with_fanin`](InitWithFanin::init_with_fanin), and also returns how each parameter
    /// was filled.
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

/// The position of a visitor in the module: field names and the types of their containers.
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

    /// Returns true if this is one of the fields of a container type.
    fn is(&self, container: &str, fields: &[&str]) -> bool {
        self.0
            .last()
            .is_some_and(|(name, within)| within == container && fields.contains(&name.as_str()))
    }
}

/// Lists the float parameters, and gives a buffer to those that are not initialized.
#[derive(Default)]
struct Lister {
    path: Path,
    tensors: Vec<ListedTensor>,
    /// The names of the weights of `Linear`, which have the layout [in, out].
    in_out: HashSet<String>,
    /// The names of the parameters that keep their values if no rule matches them.
    optional: HashSet<String>,
    /// By name: true if the parameter got its buffer here.
    fresh: HashMap<String, bool>,
    fault: Option<Error>,
}

/// The parameters that a recipe is resolved for.
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

/// Gives an uninitialized parameter a buffer without values. burn's way for values that were loaded from a file
/// is used, so that they take the form that the module expects.
fn with_buffer<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
    let (id, device) = (param.id, param.lazy_device());
    let dtype: DType = device.settings().float_dtype.into();
    let values = fill::empty(param.lazy_shape(), &device, dtype);
    param.transform_for_load(values, id)
}

impl Listed {
    /// Returns the fill of each parameter, by name.
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
                Err(fanin::Error::Unmatched {
                    tensors: unmatched, ..
                }) if unmatched.iter().all(|(name, _)| optional.contains(name)) => {
                    let unmatched = |name: &str| unmatched.iter().any(|(known, _)| known == name);
                    tensors.retain(|listed| !unmatched(&listed.name));
                }
                plan => break plan?,
            }
        };
        let listed = tensors.into_iter();
        let dtypes: HashMap<String, _> = listed.map(|listed| (listed.name, listed.dtype)).collect();
        // Parameters that the recipe skips or keeps stay as the module has them.
        let fills = plan.into_fills().into_iter().filter(|fill| !fill.is_kept());
        // The parameter's own dtype takes precedence over the recipe's.
        let fills = fills.map(|fill| {
            let name = fill.name().to_owned();
            let dtype = dtypes.get(&name).copied().flatten().unwrap_or_default();
            (name, fill.with_dtype(dtype))
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

/// Returns the tensor with the weights of a fill, on the same device and with the same autodiff.
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
    // Keeps the strategy of gradient checkpointing.
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
            // The module is dropped, so any tensor will do here. Keeping a clone of the parameter for this case
            // would share its buffer, which must not happen.
            Param::initialized(id, Tensor::empty([0; D], &device))
        })
    }
}
