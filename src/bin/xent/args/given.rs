//! The arguments that were given, by their names.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The arguments of a command line, those at their defaults too.
#[derive(Clone, Debug, Default)]
pub struct Given(Vec<(String, Vec<String>)>);

/// Arguments that change no figure: where files are, what is written, and how the run goes.
const NOT_OPTIONS: [&str; 39] = [
    "part",
    "state_out",
    "names",
    "files",
    "base",
    "other",
    "targets",
    "soft_targets",
    "sparse_targets",
    "sparse_probs",
    "teacher",
    "class_weights",
    "pos_weight",
    "row_weights",
    "row_mask",
    "sequence_lengths",
    "rows_out",
    "sequences_out",
    "grad_out",
    "lse_out",
    "argmax_out",
    "out_dtype",
    "plot",
    "html",
    "json",
    "strict",
    "verify",
    "worst",
    "changed",
    "memory",
    "checkpoint",
    "checkpoint_every",
    "resume",
    "windows",
    "stop_after",
    "adapter",
    "tuning",
    "others",
    "others_targets",
];

impl Given {
    /// Those of a subcommand.
    pub fn of(matches: &ArgMatches) -> Self {
        let is_given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        // A group has a name that no argument can have.
        let is_argument = |id: &&clap::Id| id.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let given = matches.ids().filter(is_argument).filter(is_given).map(|id| {
            let values = matches.try_get_raw(id.as_str()).ok().flatten();
            let values = values.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
            (id.as_str().to_owned(), values.collect())
        });
        Self(given.collect())
    }

    /// Whether an argument was given, at its default or not.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    /// The flag of an argument that was given and is not among these, if there is one.
    pub fn other_than(&self, names: &[&str]) -> Option<String> {
        let other = self.0.iter().find(|(name, _)| !names.contains(&name.as_str()));
        other.map(|(name, _)| flag(name))
    }

    /// The options that may change a figure of the whole, and their values as they were typed.
    pub fn of_the_whole(&self) -> Vec<(String, String)> {
        let mut options = self.of_the_result();
        options.retain(|(flag, _)| !OF_A_PART.contains(&flag.as_str()));
        options
    }

    /// The options that may change what a run writes, and their values as they were typed.
    pub fn of_the_result(&self) -> Vec<(String, String)> {
        let is_of_result = |(name, _): &&(String, Vec<String>)| !OF_THE_RUN.contains(&name.as_str());
        let typed = |values: &[String]| match values {
            [value] if value == "true" => "given".to_owned(),
            [] => "given".to_owned(),
            values => values.join(","),
        };
        self.0.iter().filter(is_of_result).map(|(name, values)| (flag(name), typed(values))).collect()
    }

    /// The options that may change a figure, as they are written, in the order of their names: `--shift 1`.
    pub fn options(&self) -> Vec<String> {
        let is_option = |(name, _): &&(String, Vec<String>)| !NOT_OPTIONS.contains(&name.as_str());
        let written = self.0.iter().filter(is_option).map(|(name, values)| match &values[..] {
            // A switch.
            [] => flag(name),
            [value] if value == "true" => flag(name),
            values => format!("{} {}", flag(name), values.join(",")),
        });
        let mut options: Vec<String> = written.collect();
        options.sort();
        options
    }
}

/// What may differ between the parts of one whole: which part it is, and what is written.
const OF_A_PART: [&str; 12] = [
    "--part",
    "--state-out",
    "--rows-out",
    "--sequences-out",
    "--grad-out",
    "--lse-out",
    "--argmax-out",
    "--out-dtype",
    "--plot",
    "--html",
    "--names",
    "--adapter",
];

/// Options that say how a run goes, not what it gives, and what has no flag.
const OF_THE_RUN: [&str; 11] = [
    "memory",
    "checkpoint",
    "checkpoint_every",
    "resume",
    "windows",
    "stop_after",
    "json",
    "strict",
    "files",
    "base",
    "other",
];

fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}
