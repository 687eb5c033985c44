//! Calls into wgpu, with their errors.

use xent::wgpu::{self, BufferUsages as Usage};
use xent::{Context, Error, Result};

/// Runs calls into wgpu and returns their error, if any, as ours. `what` names what is being made.
pub fn scoped<T>(device: &wgpu::Device, what: &str, run: impl FnOnce() -> T) -> Result<T> {
    use wgpu::ErrorFilter as Filter;
    let scopes = [Filter::Internal, Filter::Validation, Filter::OutOfMemory]
        .map(|filter| device.push_error_scope(filter));
    let value = run();
    // The scope that was pushed last is popped first.
    let errors: Vec<_> =
        scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
    match errors.into_iter().next() {
        None => Ok(value),
        Some(wgpu::Error::OutOfMemory { source }) => {
            Err(Error::OutOfMemory { what: what.to_owned(), message: source.to_string() })
        }
        Some(error) => Err(Error::Device { what: what.to_owned(), message: error.to_string() }),
    }
}

/// Waits until the device has finished all submitted work.
pub fn wait(device: &wgpu::Device) -> Result<()> {
    device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ()).map_err(|error| Error::Device {
        what: "waiting for the device".to_owned(),
        message: error.to_string(),
    })
}

/// The bytes of a mappable buffer.
pub fn mapped(gpu: &Context, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
    let failed = |message: String| Error::Device { what: "mapping a buffer".to_owned(), message };
    let (sender, receiver) = std::sync::mpsc::channel();
    scoped(&gpu.device, "mapping a buffer", || {
        buffer.map_async(wgpu::MapMode::Read, .., move |mapped| {
            // If the receiver is gone, nobody needs the result.
            let _ = sender.send(mapped);
        });
    })?;
    wait(&gpu.device)?;
    match receiver.try_recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(error) => return Err(failed(error.to_string())),
    }
    let bytes = buffer.get_mapped_range(..).map_err(|error| failed(error.to_string()))?.to_vec();
    buffer.unmap();
    Ok(bytes)
}

/// Bytes of a buffer on the device.
pub fn read_back(gpu: &Context, from: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
    let device = &gpu.device;
    let readback = scoped(device, "a readback", || {
        let readback = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("xent::readback"),
            size: bytes,
            usage: Usage::MAP_READ | Usage::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from, offset, &readback, 0, bytes);
        gpu.queue.submit([encoder.finish()]);
        readback
    })?;
    mapped(gpu, &readback)
}

/// A buffer that kernels read and write.
pub fn buffer_of(gpu: &Context, label: &str, size: u64) -> Result<wgpu::Buffer> {
    scoped(&gpu.device, label, || {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
            mapped_at_creation: false,
        })
    })
}

/// The values in bytes of any alignment.
pub fn values_of<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}
