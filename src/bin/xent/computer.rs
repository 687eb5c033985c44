//! The device that computes, or the processor if there is no device.

use std::sync::OnceLock;

use xent::cpu::Processor;
use xent::wgpu::Backends;
use xent::{AdapterChoice, AdapterKind, Context, Error, Profile, Result, SavedTuning, Tuning};

use crate::args::{AdapterArgs, DeviceArgs};
use crate::choose::{Asked, SMALL, Taken, choose, is_cpu};
use crate::limits::complain_if_tight;
use crate::memory::Reserve;
use crate::output::{complain, one_line, shown};

pub enum Computer {
    Gpu {
        gpu: Context,
        /// Its name in reports.
        name: String,
        /// The layout of its kernels, if not the default.
        tuning: Option<Tuning>,
    },
    /// The processor, in SIMD.
    Processor { cpu: Processor, name: String },
    /// The f64 reference.
    Cpu,
}

/// The choice of an adapter that these arguments make.
pub fn choice(args: &AdapterArgs) -> AdapterChoice {
    args.name().map(AdapterChoice::parse).unwrap_or_default()
}

/// Loads the tuning that was asked for. A tuning for another adapter is ignored, with a message.
pub fn load_tuning(args: &DeviceArgs, profile: &Profile) -> Result<Option<Tuning>> {
    let Some(path) = args.tuning() else { return Ok(None) };
    match Tuning::load(path, profile)? {
        SavedTuning::Fitting(tuning) => Ok(Some(tuning)),
        SavedTuning::Ignored { why } => {
            complain(format!("{}: ignored: {}", shown(path), one_line(&why)));
            Ok(None)
        }
    }
}

/// Starts the threads that compute on the CPU. If rayon started them later, it would panic if it could not get a thread.
pub fn start_threads() -> Result<()> {
    static STARTED: OnceLock<Result<()>> = OnceLock::new();
    complain_if_tight();
    let start = || {
        let started = rayon::ThreadPoolBuilder::new().build_global();
        let refused = |error: rayon::ThreadPoolBuildError| error.to_string();
        started.map_err(|error| Error::NoThread { what: "computing on the CPU", message: refused(error) })
    };
    STARTED.get_or_init(start).clone()
}

/// The kind of the best adapter. The drivers of GL, which complain where there is no display, are asked last.
fn look() -> Option<AdapterKind> {
    [Backends::PRIMARY, Backends::SECONDARY].into_iter().find_map(|backends| {
        let choice = AdapterChoice { backends: Some(backends), ..Default::default() };
        let adapters = pollster::block_on(choice.list());
        adapters.into_iter().find(|adapter| adapter.chosen).map(|adapter| adapter.profile.kind)
    })
}

impl Computer {
    /// Opens the adapter that is named, or else the best one. If there is none, says so and takes the reference on the CPU,
    /// so that a newcomer always gets an answer. The reference is also taken by the name `cpu`.
    pub fn open(args: &DeviceArgs) -> Result<Self> {
        complain_if_tight();
        match args.adapter.name() {
            named if is_cpu(named) => Self::reference(args),
            _ => Self::adapter(args),
        }
    }

    /// Opens what [`choose`] takes for this, and says why it was taken.
    pub fn open_for(args: &DeviceArgs, asked: &Asked) -> Result<(Self, String)> {
        complain_if_tight();
        let (taken, why) = choose(args.adapter.name(), asked, look);
        let computer = match taken {
            Taken::Adapter => Self::adapter(args)?,
            Taken::Processor => Self::processor(args),
            Taken::Reference => {
                if args.adapter.name().is_none() {
                    Self::complain_of_none();
                }
                Self::reference(args)?
            }
        };
        Ok((computer, why))
    }

    /// The same for what the processor path lacks, in words, but the reference does fast enough: it takes small inputs.
    pub fn open_or_reference(args: &DeviceArgs, logits: usize, what: &str) -> Result<(Self, String)> {
        if args.adapter.name().is_none() && logits <= SMALL {
            return Ok((Self::reference(args)?, "a small input".to_owned()));
        }
        Self::open_for(args, &Asked { logits, missing: Some(what.to_owned()) })
    }

    /// Opens the adapter that is named, or else the best one; else takes the processor.
    pub fn open_or_processor(args: &DeviceArgs) -> Result<Self> {
        complain_if_tight();
        match args.adapter.name() {
            named if is_cpu(named) => Ok(Self::processor(args)),
            named => match Self::device(args) {
                Err(Error::NoAdapter { .. }) if named.is_none() => {
                    Self::complain_of_none();
                    Ok(Self::processor(args))
                }
                opened => opened,
            },
        }
    }

    fn adapter(args: &DeviceArgs) -> Result<Self> {
        match Self::device(args) {
            Err(Error::NoAdapter { .. }) if args.adapter.name().is_none() => {
                Self::complain_of_none();
                Self::reference(args)
            }
            opened => opened,
        }
    }

    fn device(args: &DeviceArgs) -> Result<Self> {
        let gpu = Context::open(&choice(&args.adapter)).wait()?;
        let profile = gpu.profile()?;
        let tuning = load_tuning(args, &profile)?;
        Ok(Self::Gpu { name: profile.to_string(), gpu, tuning })
    }

    fn processor(args: &DeviceArgs) -> Self {
        complain_of_tuning(args);
        let cpu = Processor::new();
        Self::Processor { name: cpu.name(), cpu }
    }

    fn reference(args: &DeviceArgs) -> Result<Self> {
        complain_of_tuning(args);
        start_threads()?;
        Ok(Self::Cpu)
    }

    fn complain_of_none() {
        complain("no adapter found: computing on the CPU (`xent adapters` says how to get one)");
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Gpu { name, .. } | Self::Processor { name, .. } => name,
            Self::Cpu => "CPU reference (f64)",
        }
    }

    /// The memory to keep free for everything except the windows.
    pub fn reserve(&self, with_gradients: bool) -> Reserve {
        match self {
            Self::Cpu | Self::Processor { .. } => Reserve::Reference,
            Self::Gpu { .. } if with_gradients => Reserve::Writes,
            Self::Gpu { .. } => Reserve::Reads,
        }
    }

    /// What the results depend on apart from the inputs and the options.
    pub fn identity(&self) -> String {
        match self {
            Self::Gpu { name, tuning: Some(tuning), .. } => format!("{name}, {tuning:?}"),
            _ => self.name().to_owned(),
        }
    }
}

fn complain_of_tuning(args: &DeviceArgs) {
    if let Some(path) = args.tuning() {
        complain(format!("{}: ignored: the CPU uses no tuning", shown(path)));
    }
}
