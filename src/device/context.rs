//! A device and its queue, for callers who have none of their own.

use std::time::Duration;

use crate::device::{AdapterKind, Profile};
use crate::error::{Error, Result};

/// A device and its queue. Host-slice methods take one; make it with [`Context::new_blocking`], or from a device and
/// queue of your own with [`Context::from_device`].
///
/// An operation works with the device that it was built for. Each context opened here has a [`wgpu::Instance`] of its
/// own, and wgpu numbers devices and buffers anew in each: those of two contexts must not be mixed. Where that shows it
/// is an [`Error::OtherDevice`]; wgpu panics, or takes one for the other, where it does not.
#[derive(Clone, Debug)]
pub struct Context {
    /// The device.
    pub device: wgpu::Device,
    /// The device's queue.
    pub queue: wgpu::Queue,
    /// How long a blocking method waits for the device at a time, before it gives up with [`Error::Timeout`].
    /// Default: as long as it takes.
    pub timeout: Option<Duration>,
}

/// Which adapter to take. Among those that fit, hardware comes before software.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterChoice {
    /// A part of the adapter's name, upper or lower case. Default: any name.
    pub name: Option<String>,
    /// The backends to look at. Default: all.
    pub backends: Option<wgpu::Backends>,
    /// Hardware only (`Some(true)`), software only (`Some(false)`), or either. Default: either.
    pub hardware: Option<bool>,
}

/// An adapter, as [`AdapterChoice::list`] finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// What a device of this adapter would be and allow.
    pub profile: Profile,
    /// Whether [`Context::open`] with this choice would take it.
    pub chosen: bool,
}

impl Context {
    /// The best adapter there is: hardware before software.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::RequestDevice`].
    pub async fn new() -> Result<Self> {
        Self::open(&AdapterChoice::default()).await
    }

    /// [`Context::new`], blocking.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// The best adapter that fits a choice. Says through `log` which it took. The device has the adapter's own limits
    /// and, as far as the adapter has them, two features: [`wgpu::Features::SHADER_INT64`], for loads of 32 bytes
    /// ([`Tuning::words_of_64`](crate::Tuning::words_of_64)), and where the adapter shares the processor's memory
    /// [`wgpu::Features::MAPPABLE_PRIMARY_BUFFERS`], with which host slices go to and from the kernels' own buffers
    /// ([`Profile::unified_memory`]).
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which lists those that are there; [`Error::RequestDevice`].
    pub async fn open(choice: &AdapterChoice) -> Result<Self> {
        Self::open_with(choice, wgpu::Features::empty()).await
    }

    /// [`Context::open`], with those of `features` enabled that the adapter has: for what the caller does beside this
    /// crate's operations, timestamps for one.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub async fn open_with(choice: &AdapterChoice, features: wgpu::Features) -> Result<Self> {
        let adapters = choice.adapters(false).await;
        let Some(adapter) = adapters.fitting(choice).next() else {
            return Err(Error::NoAdapter { wanted: choice.wanted(), found: adapters.names() });
        };
        let info = adapter.get_info();
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("xent::device"),
                required_features: adapter.features() & (AdapterKind::of(&info).features() | features),
                required_limits: adapter.limits(),
                ..Default::default()
            })
            .await
            .map_err(|error| Error::RequestDevice {
                adapter: info.name.clone(),
                message: error.to_string(),
            })?;
        log::info!("took adapter {}", Profile::new(&info, &device.limits(), device.features()));
        Ok(Self::from_device(device, queue))
    }

    /// [`Context::open`], blocking.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub fn open_blocking(choice: &AdapterChoice) -> Result<Self> {
        pollster::block_on(Self::open(choice))
    }

    /// A context around a device of your own and its queue. (With another device's queue, wgpu panics.)
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self { device, queue, timeout: None }
    }

    /// The same, with a limit to how long blocking methods wait for the device at a time.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// What this device is and allows.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`].
    pub fn profile(&self) -> Result<Profile> {
        Profile::of(&self.device)
    }
}

impl AdapterChoice {
    /// An adapter by a part of its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Every adapter of the backends looked at, best first, and which one [`Context::open`] would take.
    pub async fn list(&self) -> Vec<AdapterInfo> {
        let adapters = self.adapters(true).await;
        let chosen = adapters.fitting(self).next().map(wgpu::Adapter::get_info);
        let info = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            let profile = Profile::new(&info, &adapter.limits(), adapter.features());
            AdapterInfo { profile, chosen: chosen.as_ref() == Some(&info) }
        };
        adapters.0.iter().map(info).collect()
    }

    /// The adapters of the primary backends, and of the others (GL) if `all` are asked for or none of those fits.
    async fn adapters(&self, all: bool) -> Adapters {
        let backends = self.backends.unwrap_or(wgpu::Backends::all());
        let enumerate = async |backends| {
            let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
                backends,
                ..wgpu::InstanceDescriptor::new_without_display_handle()
            });
            instance.enumerate_adapters(backends).await
        };
        // An instance that so much as loads GL prints complaints where there is no display: so it comes second.
        let mut found = enumerate(backends & wgpu::Backends::PRIMARY).await;
        if all || !found.iter().any(|adapter| self.fits(adapter)) {
            found.extend(enumerate(backends & wgpu::Backends::SECONDARY).await);
        }
        // GL is the last resort, whatever is behind it.
        found.sort_by_key(|adapter| {
            let info = adapter.get_info();
            (info.backend == wgpu::Backend::Gl, AdapterKind::of(&info))
        });
        Adapters(found)
    }

    fn fits(&self, adapter: &wgpu::Adapter) -> bool {
        let info = adapter.get_info();
        let is_hardware = AdapterKind::of(&info) != AdapterKind::Software;
        let has_name = |name: &String| info.name.to_lowercase().contains(&name.to_lowercase());
        self.name.as_ref().is_none_or(has_name) && self.hardware.is_none_or(|wanted| wanted == is_hardware)
    }

    fn wanted(&self) -> String {
        let mut words = Vec::new();
        words.extend(
            self.hardware.map(|hardware| if hardware { "of hardware" } else { "of software" }.to_owned()),
        );
        words.extend(self.name.as_ref().map(|name| format!("named '{name}'")));
        words.extend(self.backends.map(|backends| format!("on {backends:?}")));
        if words.is_empty() { "of any kind".to_owned() } else { words.join(" ") }
    }
}

/// Adapters, best first.
struct Adapters(Vec<wgpu::Adapter>);

impl Adapters {
    fn fitting<'a>(&'a self, choice: &'a AdapterChoice) -> impl Iterator<Item = &'a wgpu::Adapter> {
        self.0.iter().filter(|adapter| choice.fits(adapter))
    }

    fn names(&self) -> Vec<String> {
        let name = |info: wgpu::AdapterInfo| format!("{} on {}", info.name, info.backend);
        self.0.iter().map(|adapter| name(adapter.get_info())).collect()
    }
}
