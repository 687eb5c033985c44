//! Checks of the visitor's GPU: worked examples and rows with special values, through host slices and through buffers of
//! the device, against the f64 reference.

use wasm_bindgen::prelude::*;
use xent::half::bf16;
use xent::reference::{self, cross_entropy};
use xent::wgpu::{self, BufferUsages as Usage};
use xent::{
    Bound, Context, CrossEntropy, CrossEntropyBuffers, CrossEntropyOptions, Element, LossOutputs,
    OutputBuffer, Reduction, RowTarget, Shape, Softmax, SoftmaxBuffers, Verification, bounds,
};

use crate::{called, thrown};

/// What [`run_checks`] found. The three lists have one entry for each check.
#[wasm_bindgen]
#[derive(Default)]
pub struct Checks {
    quantities: Vec<String>,
    cases: Vec<String>,
    failures: Vec<String>,
}

#[wasm_bindgen]
impl Checks {
    /// What was compared: loss, gradient or softmax.
    #[wasm_bindgen(getter)]
    pub fn quantities(&self) -> Vec<String> {
        self.quantities.clone()
    }

    /// For which logits.
    #[wasm_bindgen(getter)]
    pub fn cases(&self) -> Vec<String> {
        self.cases.clone()
    }

    /// What is wrong: the type, the shape and the path, what came out and what was expected. Empty if all is right.
    #[wasm_bindgen(getter)]
    pub fn failures(&self) -> Vec<String> {
        self.failures.clone()
    }

    /// Compares values with what was expected, each with its bound. `how` is the type, the shape and the path.
    fn values(
        &mut self,
        (quantity, case, how): (&str, &str, &str),
        actual: &[f32],
        expected: impl IntoIterator<Item = (f64, f64)>,
    ) {
        let expected: Vec<(f64, f64)> = expected.into_iter().collect();
        let is_right = |(&actual, &(value, bound)): (&f32, &(f64, f64))| {
            let mut verification = Verification::new();
            verification.compare(0, f64::from(actual), value, bound);
            verification.passed
        };
        let wrong = actual.iter().zip(&expected).position(|pair| !is_right(pair));
        let failure = if actual.len() != expected.len() {
            format!("{how}: {} values instead of {}", actual.len(), expected.len())
        } else if let Some(at) = wrong {
            let ((value, bound), actual) = (expected[at], actual[at]);
            format!("{how}: {actual:.7e} in column {at}, expected {value:.7e} ± {bound:.1e}")
        } else {
            String::new()
        };
        self.quantities.push(quantity.to_owned());
        self.cases.push(case.to_owned());
        self.failures.push(failure);
    }
}

/// Opens the browser's GPU and runs every check on it.
#[wasm_bindgen]
pub async fn run_checks() -> Result<Checks, JsError> {
    let context = Context::new().await.map_err(thrown)?;
    let mut checks = Checks::default();
    worked(&context, &mut checks).await.map_err(thrown)?;
    for cols in [5, 200] {
        special::<f32>(&context, cols, &mut checks).await.map_err(thrown)?;
    }
    special::<bf16>(&context, 33, &mut checks).await.map_err(thrown)?;
    Ok(checks)
}

/// The bound of a figure with four digits behind the point.
const ROUNDED: f64 = 5.1e-5;

/// The figures of the course texts.
async fn worked(context: &Context, checks: &mut Checks) -> xent::Result<()> {
    let cases: [(&[f32], &[f64]); 4] = [
        (&[2.0, 1.0, 0.5, -1.0], &[0.6095, 0.2242, 0.1360, 0.0303]),
        (&[3.0, 1.0, 0.2], &[0.8360, 0.1131, 0.0508]),
        (&[1000.0, 999.0, 998.0], &[0.6652, 0.2447, 0.0900]),
        (&[11.0, 10.0], &[0.7311, 0.2689]),
    ];
    let softmax = Softmax::<f32>::new(context, &Default::default())?;
    for (logits, probs) in cases {
        let both = softmax_of(context, &softmax, logits, Shape::new(1, logits.len())).await?;
        let case = logits.iter().map(|logit| format!("{logit}")).collect::<Vec<_>>().join(", ");
        for (path, actual) in both {
            checks.values(("softmax", &case, path), &actual, probs.iter().map(|&p| (p, ROUNDED)));
        }
    }
    let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2, 0.5, 0.5, 4.0, 1.0, 1.5, 1.2];
    let loss = CrossEntropy::<f32>::new(context, &Default::default())?;
    for (path, of) in losses_of(context, &loss, &logits, &[0, 1, 2, 1], Shape::new(4, 3)).await? {
        let mean = format!("the mean, {path}");
        checks.values(("loss", "a batch of 4 × 3", &mean), &[of.loss], [(0.3715, ROUNDED)]);
        let rows = [0.4644, 0.1096, 0.0586, 0.8533].map(|loss| (loss, ROUNDED));
        checks.values(("loss", "a batch of 4 × 3", path), &of.row_losses, rows);
    }
    Ok(())
}

/// Makes a row of noise special, at a column.
type Fill = fn(&mut [f32], usize);

/// A row's name, whether its target is the special column or the first one, or none, and what is special.
#[derive(Clone, Copy)]
enum Target {
    At,
    First,
    Ignored,
}
use Target::{At, First, Ignored};

const ROWS: [(&str, Target, Fill); 14] = [
    ("noise", At, |_, _| {}),
    ("one −∞", First, |row, at| row[at] = f32::NEG_INFINITY),
    ("a target of −∞", At, |row, at| row[at] = f32::NEG_INFINITY),
    ("all −∞", At, |row, _| row.fill(f32::NEG_INFINITY)),
    ("a single finite logit", At, |row, at| {
        row.fill(f32::NEG_INFINITY);
        row[at] = 1.5;
    }),
    ("+∞", First, |row, at| row[at] = f32::INFINITY),
    ("NaN", First, |row, at| row[at] = f32::NAN),
    ("−NaN, the target", At, |row, at| row[at] = f32::from_bits(0xffc0_0000)),
    ("NaN, left out", Ignored, |row, _| row.fill(f32::NAN)),
    ("3.3e38 above −3.3e38", At, |row, at| {
        row.fill(-3.3e38);
        row[at] = 3.3e38;
    }),
    ("all −3.3e38", At, |row, _| row.fill(-3.3e38)),
    ("all raised by 1e8", At, |row, _| row.iter_mut().for_each(|logit| *logit += 1e8)),
    ("a loss of 500", First, |row, at| {
        row.fill(0.0);
        row[at] = 500.0;
    }),
    ("denormals", At, |row, _| {
        row.iter_mut().enumerate().for_each(|(col, logit)| *logit = f32::from_bits(col as u32 % 101));
    }),
];

/// Each special row, as the loss and its gradient and, in f32, the softmax take it.
async fn special<E: Element>(context: &Context, cols: usize, checks: &mut Checks) -> xent::Result<()> {
    let shape = Shape::new(ROWS.len(), cols);
    let (mut logits, mut targets) = (Vec::<E>::new(), Vec::new());
    for (index, (_, target, fill)) in ROWS.iter().enumerate() {
        let noise = |col: usize| ((index * 31 + col * 7919) % 101) as f32 * 0.08 - 4.0;
        let mut row: Vec<f32> = (0..cols).map(noise).collect();
        let at = (index * 3 + cols / 2) % (cols - 1) + 1;
        fill(&mut row, at);
        logits.extend(row.into_iter().map(E::from_f32));
        targets.push(match target {
            At => at as i32,
            First => 0,
            Ignored => -100,
        });
    }

    let options = CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() };
    let op = CrossEntropy::<E>::new(context, &options)?;
    for (path, of) in losses_of(context, &op, &logits, &targets, shape).await? {
        for (row, (name, ..)) in ROWS.iter().enumerate() {
            let (of_row, target) = (&logits[row * cols..][..cols], RowTarget::Class(targets[row].into()));
            let how = format!("{}, {cols} classes, {path}", E::NAME);
            let expected = cross_entropy::row_loss(of_row, &target, None, &options);
            let bound = bounds::loss_bound(expected.loss);
            checks.values(("loss", name, &how), &of.row_losses[row..=row], [(expected.loss, bound)]);
            let gradient = gradient_of(of_row, &target, &options, expected.lse);
            checks.values(("gradient", name, &how), &of.dlogits[row * cols..][..cols], gradient);
        }
    }

    if E::NAME != f32::NAME {
        return Ok(());
    }
    let logits: Vec<f32> = logits.iter().map(|logit| logit.to_f64() as f32).collect();
    let softmax = Softmax::<f32>::new(context, &Default::default())?;
    for (path, probs) in softmax_of(context, &softmax, &logits, shape).await? {
        for (row, (name, ..)) in ROWS.iter().enumerate() {
            let expected = reference::softmax_row(&logits[row * cols..][..cols], &Default::default());
            let expected = expected.into_iter().map(|p| (p, bounds::prob_bound(p)));
            let how = format!("f32, {cols} classes, {path}");
            checks.values(("softmax", name, &how), &probs[row * cols..][..cols], expected);
        }
    }
    Ok(())
}

/// The gradient of a row's own loss, each value with its bound.
fn gradient_of<E: Element>(
    row: &[E],
    target: &RowTarget<'_>,
    options: &CrossEntropyOptions,
    lse: f64,
) -> Vec<(f64, f64)> {
    let scale = cross_entropy::RowScale::ONE;
    let dlogits = cross_entropy::row_dlogits(row, target, None, options, scale);
    let probs = reference::softmax_row(row, &Default::default());
    let shares = cross_entropy::row_shares(target, None, row.len(), options);
    let Some(shares) = shares else {
        // The row is left out.
        return dlogits.into_iter().map(|value| (value, 0.0)).collect();
    };
    let bound = bounds::gradient_bound(options, scale, &shares, lse);
    let bounds = probs.iter().zip(&shares).map(|(&p, &share)| bound(p, share));
    dlogits.into_iter().zip(bounds).collect()
}

/// What a loss gives for a batch.
struct OfLoss {
    loss: f32,
    row_losses: Vec<f32>,
    dlogits: Vec<f32>,
}

const HOST: &str = "host slices";
const BOUND: &str = "bound buffers";

/// A loss and its gradient by both paths.
async fn losses_of<E: Element>(
    context: &Context,
    op: &CrossEntropy<E>,
    logits: &[E],
    targets: &[i32],
    shape: Shape,
) -> xent::Result<[(&'static str, OfLoss); 2]> {
    let mut dlogits = vec![0.0f32; shape.len()];
    let loss = op.loss_into(logits, targets, shape, &mut dlogits).await?.value as f32;
    let row_losses = op.row_losses(logits, targets, shape).await?;
    let by_host = OfLoss { loss, row_losses, dlogits };

    let from = filled(context, bytemuck::cast_slice(logits));
    let classes = filled(context, bytemuck::cast_slice(targets));
    let [loss, row_losses, dlogits] = [1, shape.rows, shape.len()].map(|len| empty(context, len));
    let to = dlogits.as_entire_buffer_binding();
    let outputs = LossOutputs {
        row_losses: Some(row_losses.as_entire_buffer_binding()),
        dlogits: Some(if E::NAME == f32::NAME { OutputBuffer::To(to) } else { OutputBuffer::F32(to) }),
        loss: Some(loss.as_entire_buffer_binding()),
    };
    let buffers = CrossEntropyBuffers {
        outputs,
        ..CrossEntropyBuffers::new(from.as_entire_buffer_binding(), classes.as_entire_buffer_binding())
    };
    run(context, &op.bind(shape, &buffers)?);
    let by_buffers = OfLoss {
        loss: read(context, &loss).await?[0],
        row_losses: read(context, &row_losses).await?[..shape.rows].to_vec(),
        dlogits: read(context, &dlogits).await?[..shape.len()].to_vec(),
    };
    Ok([(HOST, by_host), (BOUND, by_buffers)])
}

/// Probabilities by both paths.
async fn softmax_of(
    context: &Context,
    op: &Softmax<f32>,
    logits: &[f32],
    shape: Shape,
) -> xent::Result<[(&'static str, Vec<f32>); 2]> {
    let by_host = op.softmax(logits, shape).await?;
    let (from, to) = (filled(context, bytemuck::cast_slice(logits)), empty(context, shape.len()));
    let buffers = SoftmaxBuffers {
        probs: Some(to.as_entire_buffer_binding()),
        ..SoftmaxBuffers::new(from.as_entire_buffer_binding())
    };
    run(context, &op.bind(shape, &buffers)?);
    let by_buffers = read(context, &to).await?[..shape.len()].to_vec();
    Ok([(HOST, by_host), (BOUND, by_buffers)])
}

fn buffer(context: &Context, bytes: usize, usage: Usage) -> wgpu::Buffer {
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("explorer::checks"),
        size: bytes.next_multiple_of(32) as u64,
        usage,
        mapped_at_creation: false,
    })
}

fn filled(context: &Context, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = buffer(context, bytes.len(), Usage::STORAGE | Usage::COPY_DST);
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    context.queue.write_buffer(&buffer, 0, &bytes);
    buffer
}

/// A buffer for values (len,) that the device writes, with a NaN in each place until then.
fn empty(context: &Context, len: usize) -> wgpu::Buffer {
    let len = len.next_multiple_of(8);
    let buffer = buffer(context, 4 * len, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST);
    context.queue.write_buffer(&buffer, 0, &vec![0xff; 4 * len]);
    buffer
}

fn run(context: &Context, bound: &Bound) {
    let mut encoder = context.device.create_command_encoder(&Default::default());
    bound.encode(&mut encoder.begin_compute_pass(&Default::default()));
    context.queue.submit([encoder.finish()]);
}

async fn read(context: &Context, from: &wgpu::Buffer) -> xent::Result<Vec<f32>> {
    let staging = buffer(context, from.size() as usize, Usage::MAP_READ | Usage::COPY_DST);
    let mut encoder = context.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(from, 0, &staging, 0, from.size());
    context.queue.submit([encoder.finish()]);
    called(|done| staging.map_async(wgpu::MapMode::Read, .., move |_| done())).await;
    let failed = |message: String| xent::Error::Device { what: "reading a buffer".to_owned(), message };
    let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}
