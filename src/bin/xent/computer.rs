//! The device that computes, or the CPU if there is no device.

use std::sync::OnceLock;

use xent::{AdapterChoice, Context, Error, Profile, Result, SavedTuning, Tuning};

use crate::args::{AdapterArgs, DeviceArgs};
use crate::limits::complain_if_tight;
use crate::memory::Reserve;
use crate::output::{complain, one_line, shown};

#[expect(clippy::large_enum_variant, reason = "a run of the tool has one")]
pub enum Computer {
    Gpu {
        gpu: Context,
        /// Its name in reports.
        name: String,
        /// The layout of its kernels, if not the default.
        tuning: Option<Tuning>,
    },
    Cpu,
}

/// The choice of an adapter that these arguments make.
pub fn choice(args: &AdapterArgs) -> AdapterChoice {
    args.name().map(AdapterChoice::named).unwrap_or_default()
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

impl Computer {
    /// Opens the adapter that is named, or else the best one. If there is none, says so and takes the reference on the CPU,
    /// so that a newcomer always gets an answer.
    pub fn open(args: &DeviceArgs) -> Result<Self> {
        complain_if_tight();
        match Context::open(&choice(&args.adapter)).wait() {
            Ok(gpu) => {
                let profile = gpu.profile()?;
                let tuning = load_tuning(args, &profile)?;
                Ok(Self::Gpu { name: profile.to_string(), gpu, tuning })
            }
            Err(Error::NoAdapter { .. }) if args.adapter.name().is_none() => {
                complain("no adapter found: computing on the CPU (`xent adapters` says how to get one)");
                if let Some(path) = args.tuning() {
                    complain(format!("{}: ignored: the CPU uses no tuning", shown(path)));
                }
                start_threads()?;
                Ok(Self::Cpu)
            }
            Err(error) => Err(error),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Gpu { name, .. } => name,
            Self::Cpu => "CPU reference (f64)",
        }
    }

    /// The memory to keep free for everything except the windows.
    pub fn reserve(&self, with_gradients: bool) -> Reserve {
        match self {
            Self::Cpu => Reserve::Reference,
            Self::Gpu { .. } if with_gradients => Reserve::Writes,
            Self::Gpu { .. } => Reserve::Reads,
        }
    }

    /// What the results depend on apart from the inputs and the options.
    pub fn identity(&self) -> String {
        match self {
            Self::Gpu { name, tuning: None, .. } => name.clone(),
            Self::Gpu { name, tuning: Some(tuning), .. } => format!("{name}, {tuning:?}"),
            Self::Cpu => self.name().to_owned(),
        }
    }
}
