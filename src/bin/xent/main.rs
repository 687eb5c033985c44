//! The command-line tool.

mod adapters;
mod args;
mod bench;
mod calibrate;
mod changed;
mod choose;
mod compare;
mod completions;
mod computer;
mod demo;
mod dtype;
mod eval;
mod explain;
mod kept;
mod limits;
mod logits;
mod losses;
mod man;
mod measure;
mod memory;
mod merge;
mod names;
mod numbers;
mod operation;
mod origin;
mod outcome;
mod output;
mod pictures;
mod places;
mod progress;
mod report;
mod sample;
mod shaders;
mod softmax;
mod stop;
mod topk;
mod tune;
mod windows;

use std::ffi::OsString;
use std::process::ExitCode;
use std::thread;

use clap::{CommandFactory, FromArgMatches, Parser};
use xent::Error;

use args::{Cli, Command, Given, MINUS_INFINITY};
use outcome::Outcome;

/// A stack size, in bytes, that is enough for the tool.
const STACK_BYTES: usize = 1 << 20;

fn main() -> ExitCode {
    if !limits::has_less_stack(STACK_BYTES as u64) {
        return run();
    }
    match thread::Builder::new().name("xent".to_owned()).stack_size(STACK_BYTES).spawn(run) {
        // A panic has already printed its message.
        Ok(tool) => tool.join().unwrap_or(ExitCode::from(101)),
        // If no thread can be started, the process's own stack may be enough.
        Err(_) => run(),
    }
}

fn run() -> ExitCode {
    let cli = command_line();
    if std::env::var_os("RUST_LOG").is_some() {
        start_logging();
    }
    stop::on_signals();
    let outcome = match cli.command {
        Command::Eval(args) => eval::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Softmax(args) => softmax::run(&args),
        Command::Topk(args) => topk::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Shaders(args) => shaders::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    ExitCode::from(match outcome.map_err(stop::or_stopped) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::NotVerified | Outcome::BadRows) => 1,
        Ok(Outcome::TooTight) => 3,
        Err(error) => {
            output::complain(message(&error));
            status(&error)
        }
    })
}

/// Starts to log as RUST_LOG says. The libraries below only warn, unless RUST_LOG names them.
fn start_logging() {
    let mut builder = env_logger::Builder::new();
    for library in ["wgpu", "wgpu_core", "wgpu_hal", "wgpu_types", "naga"] {
        builder.filter_module(library, log::LevelFilter::Warn);
    }
    builder.parse_default_env().init();
}

/// Parses the command line. If it is wrong, or asks for help, this prints the message and ends the process. An error
/// message repeats arguments, which may hold any characters, so it is made from arguments that a terminal can safely
/// show.
fn command_line() -> Cli {
    parsed().unwrap_or_else(|error| {
        let shown = arguments().map(|arg| output::one_line(&arg.to_string_lossy()));
        let shown = if error.use_stderr() { Cli::try_parse_from(shown).err() } else { None };
        shown.unwrap_or(error).exit()
    })
}

/// The arguments. Negative logits are written as numbers without an exponent, and -inf as one that is beyond f32, because clap
/// would take them for options.
fn arguments() -> impl Iterator<Item = OsString> {
    let takes_logits = std::env::args_os().nth(1).is_some_and(|name| name == "explain" || name == "softmax");
    std::env::args_os().map(move |arg| match arg.to_str() {
        Some(text) if takes_logits && text.starts_with('-') => match text.parse::<f64>() {
            Ok(f64::NEG_INFINITY) => MINUS_INFINITY.into(),
            Ok(value) if text.contains(['e', 'E']) => value.to_string().into(),
            _ => arg,
        },
        _ => arg,
    })
}

/// The arguments, and which of them were given.
fn parsed() -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments())?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let given = matches.subcommand().map(|(_, matches)| Given::of(matches)).unwrap_or_default();
    match &mut cli.command {
        Command::Eval(args) => args.given = given,
        Command::Compare(args) => args.given = given,
        Command::Calibrate(args) => args.given = given,
        Command::Softmax(args) => args.given = given,
        _ => {}
    }
    Ok(cli)
}

fn status(error: &Error) -> u8 {
    match error {
        Error::RequestDevice { .. }
        | Error::NoThread { .. }
        | Error::DeviceLimit { .. }
        | Error::RowTooLarge { .. }
        | Error::GroupTooLarge { .. }
        | Error::TooManyRows { .. }
        | Error::OutOfMemory { .. }
        | Error::Validation { .. }
        | Error::Device { .. }
        | Error::DeviceLost { .. }
        | Error::Timeout { .. } => 3,
        Error::Stopped => stop::STOPPED_STATUS,
        _ => 2,
    }
}

fn message(error: &Error) -> String {
    let message = error.to_string();
    match error {
        // The other lines say how to get any adapter. Here one was named, and there may be others.
        Error::NoAdapter { .. } => message.lines().next().unwrap_or_default().to_owned(),
        Error::InvalidOption { .. } | Error::TooFewClasses { .. } => by_flag(&message).unwrap_or(message),
        _ => message,
    }
}

/// A message of the library about one of its options, with the flag that sets it: `option top_k = 0: must be …` as
/// `--top-k 0: must be …`.
fn by_flag(message: &str) -> Option<String> {
    let (option, rest) = message.strip_prefix("option ")?.split_once(" = ")?;
    let name = match option.split('[').next()? {
        "sequences: length" => "sequence",
        "sequences: shift" => "shift",
        "temperatures" => "temperature",
        "past tokens" => "past",
        name => name,
    };
    let mut command = Cli::command();
    let command = command.find_subcommand_mut(std::env::args().nth(1)?)?;
    command.build();
    let called = |name: &str| command.get_arguments().find(|arg| arg.get_id().as_str() == name);
    // The alpha of `xent softmax` is the value of --entmax.
    let arg = called(name).or_else(|| called("entmax").filter(|_| name == "alpha"))?;
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) if long.len() > 1 => format!("--{long}"),
        (_, short) => format!("-{}", short?),
    };
    // A value of a list is one that was typed; one of a file has a place there.
    match option.find('[') {
        Some(at) if *name == option[..at] => Some(format!("{flag}{} = {rest}", &option[at..])),
        _ => Some(format!("{flag} {rest}")),
    }
}
