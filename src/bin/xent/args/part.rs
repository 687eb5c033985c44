//! The arguments of a part of an evaluation.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};
use xent::Shape;

use crate::places::Places;

#[derive(Args)]
#[command(next_help_heading = "Parts")]
pub struct PartArgs {
    /// Evaluate part K of N of the rows only, from 1/N to N/N; xent merge puts the parts together
    ///
    /// The parts may run anywhere and in any order. Each writes a state (--state-out), and 'xent merge' prints from all of
    /// them what a run over all rows prints. The numbers of the rows, and the denominator of a gradient, are those of all rows.
    #[arg(hide_short_help = true, long, value_name = "K/N", requires = "state_out")]
    pub part: Option<Part>,
    /// Write what was found as a state for xent merge
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub state_out: Option<PathBuf>,
}

impl PartArgs {
    /// The part to evaluate: the whole if none was named.
    pub fn part(&self) -> Part {
        self.part.unwrap_or(Part { number: 1, of: 1 })
    }
}

/// One of so many parts of the rows, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// The first `most` of those of so many parts that are not among these, each there once, and the number of all of them.
    pub fn missing(parts: &[Self], most: usize) -> (Vec<Self>, usize) {
        let Some(&Self { of, .. }) = parts.first() else { return (Vec::new(), 0) };
        if parts.iter().any(|part| part.of != of) {
            return (Vec::new(), 0);
        }
        let others = (1..=of).map(|number| Self { number, of }).filter(|part| !parts.contains(part));
        (others.take(most).collect(), of - parts.len())
    }

    /// Whether it is the first.
    pub fn is_first(self) -> bool {
        self.number == 1
    }

    /// Whether it is all there is.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Its rows. Where the longest sequence fits into a part, parts begin with sequences; otherwise they are cut anywhere,
    /// but not between rows that lie side by side.
    pub fn rows(self, shape: Shape, places: &Places) -> Range<usize> {
        self.start(self.number - 1, shape, places)..self.start(self.number, shape, places)
    }

    /// The row after so many parts.
    fn start(self, parts: usize, shape: Shape, places: &Places) -> usize {
        let Shape { rows, inner, .. } = shape;
        if parts == self.of {
            return rows;
        }
        let row = (rows as u128 * parts as u128 / self.of as u128) as usize;
        let is_of_sequences = inner == 1 && places.longest() <= rows / self.of;
        row - if is_of_sequences { places.of(row).1 } else { row % inner }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let Some((number, of)) = numbers else {
            return Err("a part is written as 3/16: the third of 16".to_owned());
        };
        match of {
            0 => Err("there is at least 1 part".to_owned()),
            _ if !(1..=of).contains(&number) => Err(format!("the parts are 1/{of} to {of}/{of}")),
            _ => Ok(Self { number, of }),
        }
    }
}

#[cfg(test)]
mod tests {
    use xent::Sequences;

    use super::*;

    #[test]
    fn parts_are_all_rows_in_order() {
        let packed = [4, 5, 17, 30, 30, 61];
        for (inner, length, ends) in
            [(1, 1, None), (1, 7, None), (1, 61, None), (3, 5, None), (1, 9, Some(&packed))]
        {
            let rows = 61 * inner;
            let places = Places::new(Sequences::new(length), ends.map(|ends| &ends[..]));
            let shape = Shape { rows, inner, ..Shape::nchw(61, 2, inner) };
            for of in [1, 2, 3, 5, 8, 60, 61, 62, 1_000] {
                let mut end = 0;
                for number in 1..=of {
                    let part = Part { number, of }.rows(shape, &places);
                    assert!(part.start == end && part.end >= end, "{number}/{of}: {part:?}");
                    assert!(part.start.is_multiple_of(inner), "{number}/{of}: {part:?}");
                    let is_cut = part.start < rows && places.of(part.start).1 > 0;
                    assert!(inner > 1 || !is_cut || places.longest() > rows / of, "{number}/{of}: {part:?}");
                    end = part.end;
                }
                assert_eq!(end, rows);
            }
        }
    }

    #[test]
    fn a_part_is_a_number_of_a_number() {
        assert_eq!("3/16".parse(), Ok(Part { number: 3, of: 16 }));
        for (text, says) in [
            ("0/4", "the parts are 1/4 to 4/4"),
            ("5/4", "the parts are 1/4 to 4/4"),
            ("1/0", "there is at least 1 part"),
            ("3", "a part is written as 3/16: the third of 16"),
            ("-1/4", "a part is written as 3/16: the third of 16"),
            ("1/4/2", "a part is written as 3/16: the third of 16"),
        ] {
            assert_eq!(text.parse::<Part>(), Err(says.to_owned()), "{text}");
        }
        let parts = ["2/4", "1/4"].map(|part| part.parse().unwrap());
        let missing = ["3/4", "4/4"].map(|part| part.parse::<Part>().unwrap());
        assert_eq!(Part::missing(&parts, 8), (missing.to_vec(), 2));
        assert_eq!(Part::missing(&parts, 1), (vec![missing[0]], 2));
        let many: Part = format!("2/{}", usize::MAX).parse().unwrap();
        assert_eq!(Part::missing(&[many], 1).1, usize::MAX - 1);
    }
}
