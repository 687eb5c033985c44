//! Finding adapters, and choosing which to open.

#[cfg(not(target_arch = "wasm32"))]
use crate::device::scope::unpanicked;
use crate::device::{AdapterKind, Profile};
use crate::error::{Error, Result};

/// The choice of an adapter. Among those that match, hardware comes before software.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterChoice {
    /// A part of the adapter's name, in upper or lower case. Default: any name.
    pub name: Option<String>,
    /// The backends to search. Default: all.
    pub backends: Option<wgpu::Backends>,
    /// Hardware only (`Some(true)`), software only (`Some(false)`), or either. Default: either.
    pub hardware: Option<bool>,
    /// Which of those that match, from 0, best first: for several adapters of one name. Default: the first.
    pub nth: usize,
}

/// An adapter, as [`AdapterChoice::list`] finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// The profile of a device opened on this adapter.
    pub profile: Profile,
    /// Whether [`Context::open`](crate::Context::open) with this choice would open it.
    pub chosen: bool,
}

impl AdapterChoice {
    /// Chooses an adapter by a part of its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Chooses an adapter by what `xent --adapter` takes: a part of its name, its number among those of that name from 0, or both
    /// (`NVIDIA#1`, `#1`).
    pub fn parse(text: &str) -> Self {
        let numbered = text.rsplit_once('#').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, nth) = numbered.unwrap_or((text, 0));
        Self { name: (!name.is_empty()).then(|| name.to_owned()), nth, ..Self::default() }
    }

    /// Lists every adapter of the chosen backends, best first, and marks the one that
    /// [`Context::open`](crate::Context::open) would open.
    pub async fn list(&self) -> Vec<AdapterInfo> {
        let adapters = self.adapters(true).await;
        let chosen = adapters.chosen(self);
        let info = |(at, adapter): (usize, &wgpu::Adapter)| {
            let profile = Profile::new(&adapter.get_info(), &adapter.limits(), adapter.features());
            AdapterInfo { profile, chosen: chosen == Some(at) }
        };
        adapters.0.iter().enumerate().map(info).collect()
    }

    /// Opens the best adapter that matches, with the adapter's own limits and those of `features` that it has.
    pub(crate) async fn open(&self, features: wgpu::Features) -> Result<(wgpu::Device, wgpu::Queue)> {
        let adapters = self.adapters(false).await;
        let Some(adapter) = adapters.chosen(self).map(|at| &adapters.0[at]) else {
            return Err(Error::NoAdapter { wanted: self.wanted(), found: adapters.names() });
        };
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("xent::device"),
            required_features: adapter.features() & (AdapterKind::of(&info).features() | features),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        #[cfg(target_arch = "wasm32")]
        let opened = adapter.request_device(&descriptor).await.map_err(|error| error.to_string());
        // wgpu panics if memory runs out during this call.
        #[cfg(not(target_arch = "wasm32"))]
        let opened = unpanicked(|| pollster::block_on(adapter.request_device(&descriptor)))
            .and_then(|opened| opened.map_err(|error| error.to_string()));
        let (device, queue) =
            opened.map_err(|message| Error::RequestDevice { adapter: info.name.clone(), message })?;
        log::info!("using adapter {}", Profile::new(&info, &device.limits(), device.features()));
        Ok((device, queue))
    }

    /// The adapters of the primary backends. Those of the others (GL) are added if `all` is set or if no primary
    /// adapter matches.
    async fn adapters(&self, all: bool) -> Adapters {
        let backends = self.backends.unwrap_or(wgpu::Backends::all());
        let mut found = PRIMARY.adapters(backends).await;
        if all || found.iter().filter(|adapter| self.fits(adapter)).count() <= self.nth {
            found.extend(SECONDARY.adapters(backends).await);
        }
        // GL comes last, whatever adapter is behind it.
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
            self.hardware
                .map(|hardware| if hardware { "of kind hardware" } else { "of kind software" }.to_owned()),
        );
        words.extend(self.name.as_ref().map(|name| format!("named '{name}'")));
        words.extend(self.backends.map(|backends| format!("on {backends:?}")));
        words.extend((self.nth > 0).then(|| format!("with {} such before it", self.nth)));
        if words.is_empty() { "of any kind".to_owned() } else { words.join(" ") }
    }
}

/// The instance of the backends that are searched first, and the instance of the others. Loading GL prints complaints
/// on a machine without a display, so it has its own instance, made only if no other adapter matches.
static PRIMARY: SharedInstance = SharedInstance::of(wgpu::Backends::PRIMARY);
static SECONDARY: SharedInstance = SharedInstance::of(wgpu::Backends::SECONDARY);

/// An instance that all contexts opened here share. wgpu starts numbering devices and buffers again in each instance,
/// so objects of two instances cannot be told apart; objects of one instance can.
struct SharedInstance {
    backends: wgpu::Backends,
    /// In a browser an instance cannot be shared between threads: each search for adapters makes its own.
    #[cfg(not(target_arch = "wasm32"))]
    made: std::sync::OnceLock<wgpu::Instance>,
}

impl SharedInstance {
    const fn of(backends: wgpu::Backends) -> Self {
        Self {
            backends,
            #[cfg(not(target_arch = "wasm32"))]
            made: std::sync::OnceLock::new(),
        }
    }

    /// The adapters of those of its backends that are asked for.
    async fn adapters(&self, asked: wgpu::Backends) -> Vec<wgpu::Adapter> {
        let backends = self.backends & asked;
        if backends.is_empty() {
            return Vec::new();
        }
        #[cfg(not(target_arch = "wasm32"))]
        let instance = self.made.get_or_init(|| self.make());
        #[cfg(target_arch = "wasm32")]
        let instance = self.make();
        instance.enumerate_adapters(backends).await
    }

    fn make(&self) -> wgpu::Instance {
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: self.backends,
            // `WGPU_DEBUG=0` removes names and lines from the shaders of a debug build, so that drivers compile them
            // faster.
            flags: wgpu::InstanceFlags::default().with_env(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    }
}

/// Adapters, best first.
struct Adapters(Vec<wgpu::Adapter>);

impl Adapters {
    /// The place of the one that a choice takes.
    fn chosen(&self, choice: &AdapterChoice) -> Option<usize> {
        let fitting = self.0.iter().enumerate().filter(|(_, adapter)| choice.fits(adapter));
        fitting.map(|(at, _)| at).nth(choice.nth)
    }

    fn names(&self) -> Vec<String> {
        let name = |info: wgpu::AdapterInfo| format!("{} on {}", info.name, info.backend);
        self.0.iter().map(|adapter| name(adapter.get_info())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_name_a_number_or_both() {
        let of = |name: Option<&str>, nth| AdapterChoice {
            name: name.map(str::to_owned),
            nth,
            ..Default::default()
        };
        for (text, choice) in [
            ("", of(None, 0)),
            ("NVIDIA", of(Some("NVIDIA"), 0)),
            ("NVIDIA H200#3", of(Some("NVIDIA H200"), 3)),
            ("#1", of(None, 1)),
            ("a#b#0", of(Some("a#b"), 0)),
            ("a#", of(Some("a#"), 0)),
            ("a#-1", of(Some("a#-1"), 0)),
        ] {
            assert_eq!(AdapterChoice::parse(text), choice, "{text}");
        }
    }
}
