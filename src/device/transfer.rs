//! Transfers from host slices to buffers and back. A window's buffers belong to the host or to the device, never to
//! both. While the host has them, the buffers that it writes are mapped. A submission passes them to the device, and
//! when it ends the host has them back.
//!
//! If host and device share their memory ([`Profile::unified_memory`]), the host writes a window into the buffer that
//! the kernels read, and reads results from the buffer that the kernels write. Otherwise each of the two has a staging
//! buffer that the host can map, and the bytes are copied between them in the same submission as the kernels.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use wgpu::BufferUsages as Usage;

#[cfg(not(target_arch = "wasm32"))]
use crate::device::Poller;
use crate::device::scope::{poll, scoped, told};
use crate::device::{Lines, Opaque, Profile};
use crate::error::{Error, Result};

/// Who polls the device while a request waits.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    /// This thread polls, for at most this long.
    Blocking(Option<Duration>),
    /// The context's own thread polls.
    #[cfg(not(target_arch = "wasm32"))]
    Poller(Opaque<Poller>),
    /// Someone else polls the device; in a browser, the browser does.
    Elsewhere,
}

/// Moves data to and from one device.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    device: Opaque<wgpu::Device>,
    queue: Opaque<wgpu::Queue>,
    is_unified: bool,
}

/// Buffers by name. In an idle set, every upload buffer is mapped and no download buffer is.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    uploads: BTreeMap<&'static str, Upload>,
    downloads: BTreeMap<&'static str, Download>,
    scratch: BTreeMap<&'static str, Opaque<wgpu::Buffer>>,
}

/// A buffer for data from host to device.
#[derive(Debug)]
struct Upload {
    storage: Opaque<wgpu::Buffer>,
    /// The buffer that the host writes, if it cannot write `storage`.
    staging: Option<Opaque<wgpu::Buffer>>,
    /// How many bytes from the start go with the next submission; a multiple of 4.
    written: u64,
    is_mapped: bool,
}

/// A buffer for data from device to host.
#[derive(Debug)]
struct Download {
    storage: Opaque<wgpu::Buffer>,
    /// The buffer that the host reads, if it cannot read `storage`.
    staging: Option<Opaque<wgpu::Buffer>>,
    /// How many bytes from the start come back with the next submission; a multiple of 4.
    wanted: u64,
}

/// Reports when a buffer is mapped.
type Mapped = OneshotReceiver<std::result::Result<(), wgpu::BufferAsyncError>>;

/// A set of buffers that the device is using. If this is dropped, the device finishes its work and the buffers are
/// freed.
pub(crate) struct InFlight {
    device: Opaque<wgpu::Device>,
    buffers: Buffers,
    submission: wgpu::SubmissionIndex,
    mapped: Vec<Mapped>,
}

/// A set of buffers that the device has finished with. The host can read the results.
pub(crate) struct Landed {
    device: Opaque<wgpu::Device>,
    buffers: Buffers,
}

impl Transfer {
    pub(crate) fn new(device: &wgpu::Device, queue: &wgpu::Queue, profile: &Profile) -> Self {
        Self {
            device: Opaque::new(device.clone()),
            queue: Opaque::new(queue.clone()),
            is_unified: profile.unified_memory,
        }
    }

    /// The buffer with this name that the host will fill, at least `bytes` bytes large.
    pub(crate) fn upload(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        bytes: u64,
    ) -> Result<Opaque<wgpu::Buffer>> {
        if let Some(upload) = buffers.uploads.get(name).filter(|upload| upload.storage.size() >= bytes) {
            return Ok(upload.storage.clone());
        }
        // The old buffer is dropped first, because there may not be room for both.
        buffers.uploads.remove(name);
        let (storage, staging) = if self.is_unified {
            (self.buffer(name, bytes, Usage::STORAGE | Usage::MAP_WRITE)?, None)
        } else {
            let staging = self.buffer("staging", bytes, Usage::MAP_WRITE | Usage::COPY_SRC)?;
            (self.buffer(name, bytes, Usage::STORAGE | Usage::COPY_DST)?, Some(staging))
        };
        let upload = Upload { storage: storage.clone(), staging, written: 0, is_mapped: true };
        buffers.uploads.insert(name, upload);
        Ok(storage)
    }

    /// The buffer with this name whose first `wanted` bytes the host will read, at least `bytes` bytes large.
    pub(crate) fn download(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        bytes: u64,
        wanted: u64,
    ) -> Result<Opaque<wgpu::Buffer>> {
        let wanted = wanted.next_multiple_of(4);
        let found = buffers.downloads.get_mut(name).filter(|found| found.storage.size() >= bytes);
        if let Some(download) = found {
            download.wanted = wanted;
            return Ok(download.storage.clone());
        }
        buffers.downloads.remove(name);
        let (storage, staging) = if self.is_unified {
            (self.buffer(name, bytes, Usage::STORAGE | Usage::MAP_READ)?, None)
        } else {
            let staging = self.buffer("staging", bytes, Usage::MAP_READ | Usage::COPY_DST)?;
            (self.buffer(name, bytes, Usage::STORAGE | Usage::COPY_SRC)?, Some(staging))
        };
        buffers.downloads.insert(name, Download { storage: storage.clone(), staging, wanted });
        Ok(storage)
    }

    /// The buffer with this name that only the device uses, at least `bytes` bytes large.
    pub(crate) fn scratch(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        bytes: u64,
    ) -> Result<Opaque<wgpu::Buffer>> {
        if let Some(scratch) = buffers.scratch.get(name).filter(|scratch| scratch.size() >= bytes) {
            return Ok(scratch.clone());
        }
        buffers.scratch.remove(name);
        let scratch = self.buffer(name, bytes, Usage::STORAGE)?;
        buffers.scratch.insert(name, scratch.clone());
        Ok(scratch)
    }

    /// Makes a new buffer. A buffer that the host writes is mapped.
    fn buffer(&self, name: &str, bytes: u64, usage: Usage) -> Result<Opaque<wgpu::Buffer>> {
        let label = format!("xent::window::{name}");
        let buffer = scoped(&self.device, &label, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&label),
                size: bytes,
                usage,
                mapped_at_creation: usage.contains(Usage::MAP_WRITE),
            })
        })?;
        Ok(Opaque::new(buffer))
    }

    /// Passes a set of buffers to the device in one submission: the written data, the pass, and the data to read back.
    /// `whole` are the uploads of a whole batch: they go with its first window and come back with its last.
    pub(crate) fn submit(
        &self,
        label: &str,
        mut buffers: Buffers,
        (whole, is_last): (&mut Buffers, bool),
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<InFlight> {
        let Self { device, queue, .. } = self;
        let (submission, mapped) = scoped(device, label, || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some(label) };
            let mut encoder = device.create_command_encoder(&descriptor);
            for upload in buffers.uploads.values_mut().chain(whole.uploads.values_mut()) {
                upload.hand_over(&mut encoder);
            }
            let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
            record(&mut encoder.begin_compute_pass(&descriptor));
            for download in buffers.downloads.values() {
                download.copy(&mut encoder);
            }
            let submission = queue.submit([encoder.finish()]);
            let whole = whole.uploads.values_mut().filter(|_| is_last);
            let uploads = buffers.uploads.values_mut().chain(whole).filter_map(Upload::take_back);
            let downloads = buffers.downloads.values().filter_map(Download::map);
            (submission, uploads.chain(downloads).collect())
        })?;
        Ok(InFlight { device: device.clone(), buffers, submission, mapped })
    }

    /// Writes lines of bytes into the upload buffer with this name, from an offset that is a multiple of 4. The last
    /// word is padded with zeros.
    pub(crate) fn write(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        offset: u64,
        lines: Lines<'_>,
    ) -> Result<()> {
        let Some(upload) = buffers.uploads.get_mut(name).filter(|_| !lines.bytes.is_empty()) else {
            return Ok(());
        };
        let end = (offset + lines.len_out() as u64).next_multiple_of(4);
        // A view starts at a multiple of this alignment. Nothing reads the bytes before the offset.
        let from = offset / wgpu::MAP_ALIGNMENT * wgpu::MAP_ALIGNMENT;
        let view = upload.host_side().slice(from..end).get_mapped_range_mut();
        let mut view = view.map_err(|error| map_failed(&self.device, error))?;
        lines.copy(view.slice((offset - from) as usize..));
        upload.written = end;
        Ok(())
    }
}

impl Buffers {
    /// Device memory of these buffers, staging included, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let uploads = self.uploads.values().map(|upload| (&upload.storage, &upload.staging));
        let downloads = self.downloads.values().map(|download| (&download.storage, &download.staging));
        let staged: u64 = uploads
            .chain(downloads)
            .map(|(storage, staging)| storage.size() + staging.as_ref().map_or(0, |staging| staging.size()))
            .sum();
        staged + self.scratch.values().map(|scratch| scratch.size()).sum::<u64>()
    }
}

impl Upload {
    fn host_side(&self) -> &wgpu::Buffer {
        self.staging.as_ref().unwrap_or(&self.storage)
    }

    /// Passes the buffer to the device, if anything was written.
    fn hand_over(&mut self, encoder: &mut wgpu::CommandEncoder) {
        if self.written == 0 {
            return;
        }
        self.host_side().unmap();
        if let Some(staging) = &self.staging {
            encoder.copy_buffer_to_buffer(staging, 0, &self.storage, 0, self.written);
        }
        (self.written, self.is_mapped) = (0, false);
    }

    /// Asks for the buffer back when the device has finished, if it was passed to the device.
    fn take_back(&mut self) -> Option<Mapped> {
        let was_mapped = std::mem::replace(&mut self.is_mapped, true);
        (!was_mapped).then(|| map(self.host_side(), wgpu::MapMode::Write, self.storage.size()))
    }
}

impl Download {
    fn host_side(&self) -> &wgpu::Buffer {
        self.staging.as_ref().unwrap_or(&self.storage)
    }

    fn copy(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(staging) = self.staging.as_ref().filter(|_| self.wanted > 0) {
            encoder.copy_buffer_to_buffer(&self.storage, 0, staging, 0, self.wanted);
        }
    }

    fn map(&self) -> Option<Mapped> {
        (self.wanted > 0).then(|| map(self.host_side(), wgpu::MapMode::Read, self.wanted))
    }
}

impl InFlight {
    /// Waits until the device has finished.
    pub(crate) async fn land(self, wait: Wait) -> Result<Landed> {
        let Self { device, buffers, submission, mapped } = self;
        match wait {
            Wait::Blocking(timeout) => {
                poll(&device, wgpu::PollType::Wait { submission_index: Some(submission), timeout })?;
            }
            #[cfg(not(target_arch = "wasm32"))]
            Wait::Poller(poller) => poller.wait_for(submission).await?,
            Wait::Elsewhere => {}
        }
        let failed =
            |message: String| told(&device, Error::Device { what: "mapping a buffer".to_owned(), message });
        for mapped in mapped {
            match mapped.receive().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(failed(error.to_string())),
                None => return Err(failed("the device dropped the request".to_owned())),
            }
        }
        Ok(Landed { device, buffers })
    }
}

impl Landed {
    /// Reads bytes of the download buffer with this name, from an offset that is a multiple of 4. Reads only what was
    /// wanted.
    pub(crate) fn read<T>(
        &self,
        name: &'static str,
        (offset, bytes): (u64, usize),
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let download = self.buffers.downloads.get(name);
        let Some(download) = download.filter(|download| bytes > 0 && download.wanted > 0) else {
            return Ok(None);
        };
        let from = offset / wgpu::MAP_ALIGNMENT * wgpu::MAP_ALIGNMENT;
        let to = (offset + bytes as u64).next_multiple_of(4);
        let view = download.host_side().slice(from..to).get_mapped_range();
        let view = view.map_err(|error| map_failed(&self.device, error))?;
        Ok(Some(read(&view[(offset - from) as usize..][..bytes])))
    }

    /// The buffers, for another window.
    pub(crate) fn close(mut self) -> Buffers {
        for download in self.buffers.downloads.values_mut().filter(|download| download.wanted > 0) {
            download.host_side().unmap();
            download.wanted = 0;
        }
        self.buffers
    }
}

fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode, bytes: u64) -> Mapped {
    let (sender, receiver) = oneshot_channel();
    buffer.map_async(mode, ..bytes, move |mapped| {
        // The receiver is gone if the caller dropped the future. The result is no longer needed then.
        let _ = sender.send(mapped);
    });
    receiver
}

fn map_failed(device: &wgpu::Device, error: wgpu::MapRangeError) -> Error {
    told(device, Error::Device { what: "using a mapped buffer".to_owned(), message: error.to_string() })
}
