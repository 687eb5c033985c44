//! xent inside a program with its own device, buffers and encoder: two operations are recorded in one compute pass, and
//! only the loss is read back.

use xent::wgpu::{self, BufferUsages as Usage};
use xent::{
    Context, CrossEntropy, CrossEntropyBuffers, LossOutputs, LossRecord, OutputBuffer, Shape, Softmax,
    SoftmaxBuffers,
};

const ROWS: usize = 64;
const COLS: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Your own device: WebGPU's default limits are enough for every operation.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    println!("on {}", adapter.get_info().name);

    // Your own buffers. Usually the logits come from a matrix product on this device; here they come from the host.
    let shape = Shape::new(ROWS, COLS);
    let logits: Vec<f32> = (0..shape.len()).map(|i| ((i * 7919) % 1013) as f32 / 100.0).collect();
    let targets: Vec<i32> = (0..ROWS as i32).map(|row| row * 13 % COLS as i32).collect();
    let buffer = |label, bytes: u64| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let values = (shape.len() * size_of::<f32>()) as u64;
    let (logits_buffer, dlogits_buffer, probs_buffer) =
        (buffer("logits", values), buffer("dlogits", values), buffer("probs", values));
    let targets_buffer = buffer("targets", (ROWS * size_of::<i32>()) as u64);
    let loss_buffer = buffer("loss", LossRecord::BYTES);
    queue.write_buffer(&logits_buffer, 0, bytemuck::cast_slice(&logits));
    queue.write_buffer(&targets_buffer, 0, bytemuck::cast_slice(&targets));

    // Build once for the device, bind once to the buffers ...
    let gpu = Context::from_device(device.clone(), queue.clone());
    let cross_entropy = CrossEntropy::<f32>::new(&gpu, &Default::default())?.bind(
        shape,
        &CrossEntropyBuffers {
            outputs: LossOutputs {
                loss: Some(loss_buffer.as_entire_buffer_binding()),
                dlogits: Some(OutputBuffer::To(dlogits_buffer.as_entire_buffer_binding())),
                ..Default::default()
            },
            ..CrossEntropyBuffers::new(
                logits_buffer.as_entire_buffer_binding(),
                targets_buffer.as_entire_buffer_binding(),
            )
        },
    )?;
    let softmax = Softmax::<f32>::new(&gpu, &Default::default())?.bind(
        shape,
        &SoftmaxBuffers {
            logits: logits_buffer.as_entire_buffer_binding(),
            probs: Some(probs_buffer.as_entire_buffer_binding()),
            log_probs: None,
        },
    )?;

    // ... and encode as often as you like, among your own passes.
    let readback = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("readback"),
        size: LossRecord::BYTES,
        usage: Usage::MAP_READ | Usage::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        cross_entropy.encode(&mut pass);
        softmax.encode(&mut pass);
    }
    encoder.copy_buffer_to_buffer(&loss_buffer, 0, &readback, 0, LossRecord::BYTES);
    queue.submit([encoder.finish()]);

    readback.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("the readback buffer maps"));
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let loss: LossRecord = *bytemuck::from_bytes(&readback.get_mapped_range(..)?);
    let flags: Vec<String> = loss.flags().names().collect();
    println!("mean loss {:.4} over {} rows, flags: {flags:?}", loss.value, loss.counted);
    Ok(())
}
