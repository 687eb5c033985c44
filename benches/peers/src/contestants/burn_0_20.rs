//! burn 0.20's tensors on wgpu: the same as `burn`, with the API of that version; also without fusion, with a separate
//! kernel for each operation.

use burn_0_20::backend::wgpu::graphics::AutoGraphicsApi;
use burn_0_20::backend::wgpu::{CubeBackend, WgpuDevice, WgpuRuntime, init_setup};
use burn_0_20::backend::{Autodiff, Wgpu};
use burn_0_20::nn::loss::CrossEntropyLossConfig;
use burn_0_20::tensor::activation::softmax;
use burn_0_20::tensor::backend::Backend;
use burn_0_20::tensor::{Int, Tensor, TensorData};

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

/// The backend that burn-wgpu's defaults make, and the one that it is built on.
pub type Fused = Wgpu;
pub type Unfused = CubeBackend<WgpuRuntime, f32, i32, u32>;

pub struct Burn<B: Backend> {
    device: WgpuDevice,
    about: String,
    loaded: Option<Loaded<B>>,
    loss: Option<Tensor<B, 1>>,
    output: Option<Tensor<B, 2>>,
}

struct Loaded<B: Backend> {
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    /// The same values, on the backend that records operations for differentiation.
    tracked: (Tensor<Autodiff<B>, 2>, Tensor<Autodiff<B>, 1, Int>),
}

impl Burn<Fused> {
    pub fn open() -> Result<Self> {
        Ok(Self::with("fusion and autotuning"))
    }
}

impl Burn<Unfused> {
    pub fn open_unfused() -> Result<Self> {
        Ok(Self::with("autotuning, without fusion"))
    }
}

impl<B: Backend<Device = WgpuDevice>> Burn<B> {
    fn with(features: &str) -> Self {
        let device = WgpuDevice::default();
        let info = init_setup::<AutoGraphicsApi>(&device, Default::default()).adapter.get_info();
        let adapter = format!("{} ({} {})", info.name, info.driver, info.driver_info);
        let about = format!("burn {} with wgpu, {features}, on {adapter}", version("burn", "0.20"));
        Self { device, about, loaded: None, loss: None, output: None }
    }

    fn sync(&self) -> Result<()> {
        Ok(B::sync(&self.device).map_err(|error| format!("{error:?}"))?)
    }
}

fn tensors<B: Backend>(batch: &Batch, device: &B::Device) -> (Tensor<B, 2>, Tensor<B, 1, Int>) {
    let logits = TensorData::new(batch.logits.clone(), [batch.rows, batch.cols]);
    let targets = TensorData::new(batch.targets.clone(), [batch.rows]);
    (Tensor::from_data(logits, device), Tensor::from_data(targets, device))
}

impl<B: Backend<Device = WgpuDevice>> Contestant for Burn<B> {
    fn about(&self) -> String {
        self.about.clone()
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        (self.loaded, self.loss, self.output) = (None, None, None);
        let (logits, targets) = tensors::<B>(batch, &self.device);
        let (tracked, tracked_targets) = tensors::<Autodiff<B>>(batch, &self.device);
        self.loaded = Some(Loaded { logits, targets, tracked: (tracked.require_grad(), tracked_targets) });
        self.sync()
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        (self.loss, self.output) = (None, None);
        let loaded = self.loaded.as_ref().ok_or("nothing is loaded")?;
        match operation {
            Operation::Loss => {
                let cross_entropy = CrossEntropyLossConfig::new().init::<B>(&self.device);
                self.loss = Some(cross_entropy.forward(loaded.logits.clone(), loaded.targets.clone()));
            }
            Operation::LossAndGradient => {
                let cross_entropy = CrossEntropyLossConfig::new().init::<Autodiff<B>>(&self.device);
                let (logits, targets) = &loaded.tracked;
                let loss = cross_entropy.forward(logits.clone(), targets.clone());
                let gradients = loss.backward();
                self.output = Some(logits.grad(&gradients).ok_or("no gradient")?);
                self.loss = Some(loss.inner());
            }
            Operation::Softmax => self.output = Some(softmax(loaded.logits.clone(), 1)),
            Operation::Top5 | Operation::Top64 => return Err(NOT_COMPARED.into()),
        }
        self.sync()
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let floats = |data: TensorData| data.to_vec::<f32>().map_err(|error| format!("{error:?}"));
        let mut values = Vec::new();
        if let Some(loss) = &self.loss {
            values.extend(floats(loss.to_data())?.into_iter().map(f64::from));
        }
        if let Some(output) = &self.output {
            values.extend(batch.probe(&floats(output.to_data())?));
        }
        Ok(values)
    }
}
