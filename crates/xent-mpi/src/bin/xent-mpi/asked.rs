//! What the command line asks for. Only what concerns the ranks is read here; everything else goes to `xent eval` as it is.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Failure;

pub const HELP: &str = "\
One evaluation of logits in files, on all ranks of an MPI job

Usage: mpirun -n <RANKS> xent-mpi eval <LOGITS>... --targets <FILE> [OPTIONS]

Each rank runs `xent eval` over its part of the rows; the report of the whole is printed by rank 0, digit
by digit that of one process. All options of `xent eval` apply: see `xent eval --help`.

Options:
      --distributed rows    Split by rows [default]
      --tool <PATH>         The program `xent` [env: XENT_TOOL] [default: beside this one, else in PATH]

In every argument, {rank} stands for the number of the rank, from 0. Files that each rank writes need it:
--rows-out rows.{rank}.csv. Pages and plots are of the whole: --html, --plot, --state-out, --json.

Ctrl-C stops all ranks, and a rank that fails ends the job with its message. The same command with
--resume continues.";

/// Options that are of the whole and not of a part, which `xent merge` has, and whether they take a value.
const OF_THE_WHOLE: [(&str, bool); 6] = [
    ("--json", false),
    ("--strict", false),
    ("--html", true),
    ("--plot", true),
    ("--names", true),
    ("--state-out", true),
];

/// Options that name a file which each rank writes for itself.
const WRITTEN_BY_EACH: [&str; 4] = ["--rows-out", "--sequences-out", "--grad-out", "--checkpoint"];

/// Where the number of the rank goes.
const RANK: &str = "{rank}";

/// What is asked for.
pub struct Asked {
    /// The options of the part, for `xent eval`.
    pub eval: Vec<OsString>,
    /// The options of the whole, for `xent merge`.
    pub merge: Vec<OsString>,
    /// The tool, if it was named.
    pub tool: Option<PathBuf>,
    /// A part of the name of the adapter, if it was given.
    pub adapter: Option<String>,
    /// Whether a stopped job continues.
    pub resume: bool,
}

impl Asked {
    /// Reads these arguments, on this rank of so many.
    pub fn of(args: Vec<OsString>, rank: i32, ranks: i32) -> Result<Self, Failure> {
        let mut args = args.into_iter();
        if args.next().is_none_or(|command| command != "eval") {
            return Err("the command is `eval`: xent-mpi eval <LOGITS>... (--help says more)".into());
        }
        let adapter = std::env::var("XENT_ADAPTER").ok().filter(|name| !name.is_empty());
        let mut asked = Self { eval: Vec::new(), merge: Vec::new(), tool: None, adapter, resume: false };
        while let Some(arg) = args.next() {
            let (flag, value) = split(&arg);
            let mut value = |flag: &str| {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--distributed" => match value(&flag)?.to_str() {
                    Some("rows") => {}
                    other => return Err(format!("--distributed {}: rows", other.unwrap_or("?")).into()),
                },
                "--tool" => asked.tool = Some(value(&flag)?.into()),
                "--part" => return Err("--part: each rank has its own part".into()),
                _ => {
                    if let Some(&(_, takes_value)) = OF_THE_WHOLE.iter().find(|(name, _)| *name == flag) {
                        asked.merge.push(OsString::from(&flag));
                        if takes_value {
                            asked.merge.push(value(&flag)?);
                        }
                        continue;
                    }
                    if flag == "--adapter" {
                        let name = value(&flag)?;
                        asked.adapter = Some(name.to_string_lossy().into_owned());
                        continue;
                    }
                    if WRITTEN_BY_EACH.contains(&flag.as_str()) {
                        let file = value(&flag)?;
                        let is_one = !file.to_string_lossy().contains(RANK);
                        if ranks > 1 && is_one {
                            let file = file.display();
                            let why = "each rank writes a file of its own: put {rank} into the name";
                            return Err(format!("{flag} {file}: {why}").into());
                        }
                        asked.eval.extend([OsString::from(&flag), with_rank(file, rank)]);
                        continue;
                    }
                    asked.resume |= flag == "--resume";
                    asked.eval.push(with_rank(arg, rank));
                }
            }
        }
        Ok(asked)
    }
}

/// A flag and its value, if they are one argument.
fn split(arg: &OsString) -> (String, Option<OsString>) {
    match arg.to_str().and_then(|arg| arg.split_once('=')) {
        Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.into())),
        _ => (arg.to_string_lossy().into_owned(), None),
    }
}

/// An argument of this rank.
fn with_rank(arg: OsString, rank: i32) -> OsString {
    match arg.to_str() {
        Some(text) if text.contains(RANK) => text.replace(RANK, &rank.to_string()).into(),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &str, rank: i32, ranks: i32) -> Result<Asked, String> {
        let args = args.split_whitespace().map(OsString::from).collect();
        Asked::of(args, rank, ranks).map_err(|error| error.to_string())
    }

    #[test]
    fn options_go_where_they_belong() {
        let args = "eval a.npy --json --targets t.npy --html=p.html --adapter cpu --rows-out r.{rank}.csv --resume \
                    --distributed rows --tool /x/xent --strict b.{rank}.npy";
        let asked = asked(args, 2, 4).unwrap();
        assert_eq!(
            asked.eval,
            ["a.npy", "--targets", "t.npy", "--rows-out", "r.2.csv", "--resume", "b.2.npy"]
        );
        assert_eq!(asked.merge, ["--json", "--html", "p.html", "--strict"]);
        assert_eq!((asked.adapter.as_deref(), asked.resume), (Some("cpu"), true));
        assert_eq!(asked.tool, Some("/x/xent".into()));
    }

    #[test]
    fn what_ranks_cannot_do_is_refused() {
        for (args, ranks, says) in [
            ("softmax a.npy", 1, "the command is `eval`"),
            ("eval a.npy --part 1/2", 1, "--part: each rank has its own part"),
            ("eval a.npy --distributed columns", 1, "--distributed columns: rows"),
            ("eval a.npy --html", 1, "--html needs a value"),
            ("eval a.npy --rows-out r.csv", 2, "--rows-out r.csv: each rank writes a file of its own"),
            ("eval a.npy --checkpoint=c", 2, "--checkpoint c: each rank writes a file of its own"),
        ] {
            let said = asked(args, 0, ranks).err().unwrap_or_default();
            assert!(said.starts_with(says), "{args}: {said}");
        }
        assert!(asked("eval a.npy --rows-out r.csv", 0, 1).is_ok());
    }
}
