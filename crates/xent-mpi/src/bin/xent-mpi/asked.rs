//! What the command line asks for, when rows are split. Only what concerns the ranks is read here; everything else goes to
//! `xent eval` as it is.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Failure;

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
}

impl Asked {
    /// Reads these arguments, on this rank of so many.
    pub fn of(args: Vec<OsString>, rank: i32, ranks: i32) -> Result<Self, Failure> {
        let mut args = args.into_iter();
        let adapter = std::env::var("XENT_ADAPTER").ok().filter(|name| !name.is_empty());
        let mut asked = Self { eval: Vec::new(), merge: Vec::new(), tool: None, adapter };
        while let Some(arg) = args.next() {
            let (flag, value) = split(&arg);
            let mut value = |flag: &str| {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
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
                    asked.eval.push(with_rank(arg, rank));
                }
            }
        }
        Ok(asked)
    }
}

/// A flag and its value, if they are one argument.
pub fn split(arg: &OsString) -> (String, Option<OsString>) {
    match arg.to_str().and_then(|arg| arg.split_once('=')) {
        Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.into())),
        _ => (arg.to_string_lossy().into_owned(), None),
    }
}

/// An argument of this rank.
pub fn with_rank(arg: OsString, rank: i32) -> OsString {
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
        let args = "a.npy --json --targets t.npy --html=p.html --adapter cpu --rows-out r.{rank}.csv --resume \
                    --tool /x/xent --strict b.{rank}.npy";
        let asked = asked(args, 2, 4).unwrap();
        assert_eq!(
            asked.eval,
            ["a.npy", "--targets", "t.npy", "--rows-out", "r.2.csv", "--resume", "b.2.npy"]
        );
        assert_eq!(asked.merge, ["--json", "--html", "p.html", "--strict"]);
        assert_eq!(asked.adapter.as_deref(), Some("cpu"));
        assert_eq!(asked.tool, Some("/x/xent".into()));
    }

    #[test]
    fn what_ranks_cannot_do_is_refused() {
        for (args, ranks, says) in [
            ("a.npy --part 1/2", 1, "--part: each rank has its own part"),
            ("a.npy --html", 1, "--html needs a value"),
            ("a.npy --rows-out r.csv", 2, "--rows-out r.csv: each rank writes a file of its own"),
            ("a.npy --checkpoint=c", 2, "--checkpoint c: each rank writes a file of its own"),
        ] {
            let said = asked(args, 0, ranks).err().unwrap_or_default();
            assert!(said.starts_with(says), "{args}: {said}");
        }
        assert!(asked("a.npy --rows-out r.csv", 0, 1).is_ok());
    }
}
