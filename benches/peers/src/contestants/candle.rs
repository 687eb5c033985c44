//! candle on the CPU: `loss::cross_entropy`, `backward`, `ops::softmax_last_dim`.

use candle_core::{Device, Tensor, Var};
use candle_nn::{loss, ops};

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

#[derive(Default)]
pub struct Candle {
    loaded: Option<(Var, Tensor)>,
    loss: Option<Tensor>,
    output: Option<Tensor>,
}

impl Candle {
    pub fn open() -> Result<Self> {
        Ok(Self::default())
    }
}

impl Contestant for Candle {
    fn about(&self) -> String {
        format!("candle {} on the processor", version("candle-core", ""))
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        *self = Self::default();
        let logits = Var::from_slice(&batch.logits, (batch.rows, batch.cols), &Device::Cpu)?;
        let targets = batch.targets.iter().map(|&target| target as u32).collect();
        self.loaded = Some((logits, Tensor::from_vec(targets, batch.rows, &Device::Cpu)?));
        Ok(())
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        (self.loss, self.output) = (None, None);
        let (logits, targets) = self.loaded.as_ref().ok_or("nothing is loaded")?;
        match operation {
            // Detached, so that nothing is kept for a backward pass.
            Operation::Loss => self.loss = Some(loss::cross_entropy(&logits.as_detached_tensor(), targets)?),
            Operation::LossAndGradient => {
                let loss = loss::cross_entropy(logits, targets)?;
                self.output = loss.backward()?.remove(logits);
                self.loss = Some(loss.detach());
            }
            Operation::Softmax => self.output = Some(ops::softmax_last_dim(&logits.as_detached_tensor())?),
            Operation::Top5 | Operation::Top64 => return Err(NOT_COMPARED.into()),
        }
        Ok(())
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        if let Some(loss) = &self.loss {
            values.push(f64::from(loss.to_scalar::<f32>()?));
        }
        if let Some(output) = &self.output {
            values.extend(batch.probe(&output.flatten_all()?.to_vec1()?));
        }
        Ok(values)
    }
}
