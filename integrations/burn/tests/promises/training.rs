//! A module that fanin filled trains like one that burn filled.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, activation};
use fanin::Recipe;
use fanin_burn::InitWithFanin;

use crate::common::devices;

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Mlp {
        Mlp {
            fc1: LinearConfig::new(2, 16).init(device),
            fc2: LinearConfig::new(16, 2).init(device),
        }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(activation::relu(self.fc1.forward(input)))
    }
}

/// Returns the id of each parameter, and true if it requires a gradient.
fn ids(module: &Mlp) -> Vec<(ParamId, bool)> {
    #[derive(Default)]
    struct Ids(Vec<(ParamId, bool)>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push((param.id, param.base().is_require_grad()));
        }
    }
    let mut ids = Ids::default();
    module.visit(&mut ids);
    ids.0
}

fn all() -> Vec<Device> {
    let mut all: Vec<Device> = devices().iter().map(|(_, device)| device.clone()).collect();
    all.push(Device::flex());
    all
}

#[test]
fn ids_and_gradients_stay_what_they_are() {
    let recipe = Recipe::preset("burn").unwrap();
    for device in all() {
        let device = device.autodiff().gradient_checkpointing();
        for initialized in [false, true] {
            let mut module = Mlp::new(&device);
            module.fc1.weight = module.fc1.weight.set_require_grad(false);
            let lazy: Vec<ParamId> = vec![
                module.fc1.weight.id,
                module.fc1.bias.as_ref().unwrap().id,
                module.fc2.weight.id,
                module.fc2.bias.as_ref().unwrap().id,
            ];
            if initialized {
                ids(&module);
            }
            let module = module.init_with_fanin(&recipe, 1).unwrap();
            let wanted: Vec<_> = lazy.into_iter().zip([false, true, true, true]).collect();
            assert_eq!(ids(&module), wanted);
            let strategy = module.fc2.weight.val().gradient_checkpointing_strategy();
            assert_eq!(strategy, device.gradient_checkpointing_strategy());
            assert!(strategy.is_some());
        }
        // From validation back to training: the parameters require gradients again.
        let module = Mlp::new(&device)
            .valid()
            .init_with_fanin(&recipe, 1)
            .unwrap();
        assert!(ids(&module).iter().all(|(_, grad)| !grad));
        assert!(ids(&module.train()).iter().all(|(_, grad)| *grad));
    }
}

/// Learns exclusive or, which no linear model can represent.
#[test]
fn training_works_after() {
    let recipe = Recipe::preset("kaiming").unwrap();
    for device in all() {
        let device = device.autodiff();
        let mut module = Mlp::new(&device).init_with_fanin(&recipe, 5).unwrap();
        let input = Tensor::<2>::from_floats([[0., 0.], [0., 1.], [1., 0.], [1., 1.]], &device);
        let target = Tensor::<1, Int>::from_ints([0, 1, 1, 0], &device);
        let cross_entropy = CrossEntropyLossConfig::new().init(&device);
        let mut optimizer = SgdConfig::new().init();
        let mut losses = Vec::new();
        for _ in 0..200 {
            let loss = cross_entropy.forward(module.forward(input.clone()), target.clone());
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &module);
            assert_eq!(gradients.len(), 4);
            module = optimizer.step(0.5, module, gradients);
        }
        assert!(losses[0] > 0.5, "{losses:?}");
        assert!(losses[199] < 0.05, "{losses:?}");
    }
}
