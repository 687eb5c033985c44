//! burn's tensors on wgpu, as its users write a loss: `CrossEntropyLoss`, `backward`, `activation::softmax`; with
//! fusion and autotuning, its defaults.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

pub struct Burn {
    device: Device,
    adapter: String,
    loaded: Option<Loaded>,
    loss: Option<Tensor<1>>,
    output: Option<Tensor<2>>,
}

struct Loaded {
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    /// The same values, on the device that records operations for differentiation.
    tracked: (Tensor<2>, Tensor<1, Int>),
}

impl Burn {
    pub fn open() -> Result<Self> {
        let (device, setup) =
            Device::wgpu_options().init_with_setup().map_err(|error| format!("{error:?}"))?;
        let info = setup.adapter.get_info();
        let adapter = format!("{} ({} {})", info.name, info.driver, info.driver_info);
        Ok(Self { device, adapter, loaded: None, loss: None, output: None })
    }

    fn sync(&self) -> Result<()> {
        Ok(self.device.sync().map_err(|error| format!("{error:?}"))?)
    }
}

impl Contestant for Burn {
    fn about(&self) -> String {
        format!("burn {} with wgpu, fusion and autotuning on {}", version("burn", "0.22"), self.adapter)
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        (self.loaded, self.loss, self.output) = (None, None, None);
        let tensors = |device: &Device| {
            let logits = TensorData::new(batch.logits.clone(), [batch.rows, batch.cols]);
            let targets = TensorData::new(batch.targets.clone(), [batch.rows]);
            (Tensor::<2>::from_data(logits, device), Tensor::<1, Int>::from_data(targets, device))
        };
        let (logits, targets) = tensors(&self.device);
        let (tracked, tracked_targets) = tensors(&self.device.clone().autodiff());
        let tracked = (tracked.require_grad(), tracked_targets);
        self.loaded = Some(Loaded { logits, targets, tracked });
        self.sync()
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        (self.loss, self.output) = (None, None);
        let loaded = self.loaded.as_ref().ok_or("nothing is loaded")?;
        let cross_entropy = CrossEntropyLossConfig::new().init(&self.device);
        match operation {
            Operation::Loss => {
                self.loss = Some(cross_entropy.forward(loaded.logits.clone(), loaded.targets.clone()));
            }
            Operation::LossAndGradient => {
                let (logits, targets) = &loaded.tracked;
                let loss = cross_entropy.forward(logits.clone(), targets.clone());
                let gradients = loss.backward();
                self.output = Some(logits.grad(&gradients).ok_or("no gradient")?);
                self.loss = Some(loss);
            }
            Operation::Softmax => self.output = Some(softmax(loaded.logits.clone(), 1)),
            Operation::Top5 | Operation::Top64 => return Err(NOT_COMPARED.into()),
        }
        self.sync()
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let floats = |data: TensorData| data.try_to_vec::<f32>().map_err(|error| format!("{error:?}"));
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
