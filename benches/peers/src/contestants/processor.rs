//! This crate on the processor: SIMD on all threads, into memory that exists already.

use ::xent::cpu::Processor;
use ::xent::{CrossEntropyOptions, Shape, SoftmaxOptions, Targets};

use crate::data::{Batch, Operation};
use crate::error::Result;
use crate::serve::{Contestant, NOT_COMPARED};
use crate::version::version;

pub struct OnProcessor {
    cpu: Processor,
    shape: Shape,
    logits: Vec<f32>,
    targets: Vec<i32>,
    /// (rows, cols)
    output: Vec<f32>,
    ran: Operation,
    loss: f64,
}

impl OnProcessor {
    pub fn open() -> Result<Self> {
        Ok(Self {
            cpu: Processor::new(),
            shape: Shape::new(0, 1),
            logits: Vec::new(),
            targets: Vec::new(),
            output: Vec::new(),
            ran: Operation::Loss,
            loss: f64::NAN,
        })
    }
}

impl Contestant for OnProcessor {
    fn about(&self) -> String {
        format!("xent {} on the {}", version("xent", ""), self.cpu.name())
    }

    fn load(&mut self, batch: &Batch) -> Result<()> {
        (self.shape, self.logits, self.targets) =
            (batch.shape(), batch.logits.clone(), batch.targets.clone());
        self.output = vec![0.0; batch.logits.len()];
        Ok(())
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        self.ran = operation;
        let Self { cpu, shape, logits, targets, output, .. } = self;
        let (targets, options) = (Targets::Classes(targets), CrossEntropyOptions::default());
        match operation {
            Operation::Loss => self.loss = cpu.loss(logits, targets, *shape, &options)?.value,
            Operation::LossAndGradient => {
                self.loss = cpu.loss_into(logits, targets, *shape, &options, output)?.value;
            }
            Operation::Softmax => cpu.softmax_into(logits, *shape, &SoftmaxOptions::default(), output)?,
            Operation::Top5 | Operation::Top64 => return Err(NOT_COMPARED.into()),
        }
        Ok(())
    }

    fn values(&mut self, batch: &Batch) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        if self.ran != Operation::Softmax {
            values.push(self.loss);
        }
        if self.ran != Operation::Loss {
            values.extend(batch.probe(&self.output));
        }
        Ok(values)
    }
}
