//! Host slice → buffer, buffer → host, through staging buffers that are made once and used again.

use std::time::Duration;

use crate::device::{Context, scoped};
use crate::error::{Error, Result};

/// Bytes that go through a staging buffer at a time.
pub(crate) const TRANSFER_CHUNK: u64 = 16 << 20;

/// Who waits for the device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// This thread polls, for this long at most.
    Blocking(Option<Duration>),
    /// Somebody else polls the device; in a browser, the browser does.
    Elsewhere,
}

impl Wait {
    /// Waiting as a blocking method of this context does.
    pub(crate) fn blocking(gpu: &Context) -> Self {
        Self::Blocking(gpu.timeout)
    }
}

/// The way to and from one device.
pub(crate) struct Transfer {
    gpu: Context,
    upload: wgpu::Buffer,
    readback: wgpu::Buffer,
    chunk: u64,
}

impl Transfer {
    /// Staging for transfers of `largest` bytes at most, in chunks.
    pub(crate) fn new(gpu: &Context, largest: u64) -> Result<Self> {
        use wgpu::BufferUsages as Usage;
        let chunk = largest.clamp(4, TRANSFER_CHUNK).next_multiple_of(4);
        let buffer = |label, usage| {
            scoped(&gpu.device, label, || {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: chunk,
                    usage,
                    mapped_at_creation: false,
                })
            })
        };
        Ok(Self {
            gpu: gpu.clone(),
            upload: buffer("xent::upload", Usage::MAP_WRITE | Usage::COPY_SRC)?,
            readback: buffer("xent::readback", Usage::MAP_READ | Usage::COPY_DST)?,
            chunk,
        })
    }

    /// Copies bytes into a buffer at an offset (a multiple of 4). The last word is filled up with zeros.
    pub(crate) async fn upload(
        &self,
        bytes: &[u8],
        to: &wgpu::Buffer,
        offset: u64,
        wait: Wait,
    ) -> Result<()> {
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        self.upload_words(words, to, offset, wait).await?;
        if rest.is_empty() {
            return Ok(());
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.upload_words(&last, to, offset + words.len() as u64, wait).await
    }

    async fn upload_words(&self, bytes: &[u8], to: &wgpu::Buffer, offset: u64, wait: Wait) -> Result<()> {
        let mut at = offset;
        for part in bytes.chunks(self.chunk as usize) {
            let len = part.len() as u64;
            self.map(&self.upload, wgpu::MapMode::Write, len, wait).await?;
            let mut view = self.upload.slice(..len).get_mapped_range_mut().map_err(map_failed)?;
            view.copy_from_slice(part);
            drop(view);
            self.upload.unmap();
            self.submit("xent::upload", |encoder| {
                encoder.copy_buffer_to_buffer(&self.upload, 0, to, at, len);
            })?;
            at += len;
        }
        Ok(())
    }

    /// Copies a buffer's bytes from an offset (a multiple of 4) into a host slice.
    pub(crate) async fn download(
        &self,
        from: &wgpu::Buffer,
        offset: u64,
        bytes: &mut [u8],
        wait: Wait,
    ) -> Result<()> {
        let (words, rest) = bytes.split_at_mut(bytes.len() / 4 * 4);
        self.download_words(from, offset, words, wait).await?;
        if !rest.is_empty() {
            let mut last = [0; 4];
            self.download_words(from, offset + words.len() as u64, &mut last, wait).await?;
            rest.copy_from_slice(&last[..rest.len()]);
        }
        Ok(())
    }

    async fn download_words(
        &self,
        from: &wgpu::Buffer,
        offset: u64,
        bytes: &mut [u8],
        wait: Wait,
    ) -> Result<()> {
        let mut at = offset;
        for part in bytes.chunks_mut(self.chunk as usize) {
            let len = part.len() as u64;
            self.submit("xent::readback", |encoder| {
                encoder.copy_buffer_to_buffer(from, at, &self.readback, 0, len);
            })?;
            self.map(&self.readback, wgpu::MapMode::Read, len, wait).await?;
            let view = self.readback.slice(..len).get_mapped_range().map_err(map_failed)?;
            part.copy_from_slice(&view);
            drop(view);
            self.readback.unmap();
            at += len;
        }
        Ok(())
    }

    /// Records commands and submits them.
    pub(crate) fn submit(&self, label: &str, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        scoped(&self.gpu.device, label, || {
            let mut encoder = self
                .gpu
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
            record(&mut encoder);
            self.gpu.queue.submit([encoder.finish()]);
        })
    }

    async fn map(&self, buffer: &wgpu::Buffer, mode: wgpu::MapMode, len: u64, wait: Wait) -> Result<()> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        scoped(&self.gpu.device, "xent::map", || {
            buffer.map_async(mode, ..len, move |mapped| {
                // The receiver is gone when the caller dropped the future: nobody wants to know.
                let _ = sender.send(mapped);
            });
        })?;
        if let Wait::Blocking(timeout) = wait {
            match self.gpu.device.poll(wgpu::PollType::Wait { submission_index: None, timeout }) {
                Ok(_) => {}
                Err(wgpu::PollError::Timeout) => {
                    return Err(Error::Timeout { after: timeout.unwrap_or_default() });
                }
                Err(error) => {
                    return Err(Error::Device {
                        what: "waiting for the device".to_owned(),
                        message: error.to_string(),
                    });
                }
            }
        }
        match receiver.receive().await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                Err(Error::Device { what: "mapping a buffer".to_owned(), message: error.to_string() })
            }
            None => Err(Error::Device {
                what: "mapping a buffer".to_owned(),
                message: "the device dropped the request".to_owned(),
            }),
        }
    }
}

fn map_failed(error: wgpu::MapRangeError) -> Error {
    Error::Device { what: "reading a mapped buffer".to_owned(), message: error.to_string() }
}
