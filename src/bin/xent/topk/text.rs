//! The classes of rows as text: a table for people, and one for spreadsheets.

use std::fmt::Write as _;

use xent::{Shape, TopClasses, TopKOptions, TopValues};

/// Rows of text that are made before they are written; a window may have millions.
const ROWS_AT_A_TIME: usize = 1 << 12;

/// The name of a value.
pub fn value_name(options: &TopKOptions) -> &'static str {
    match options.values {
        TopValues::Probs => "prob",
        TopValues::LogProbs => "log_prob",
        TopValues::Logits => "logit",
    }
}

/// The columns of a `.csv` file: a line for each class of a row, the most probable first.
pub fn csv_header(options: &TopKOptions) -> String {
    format!("row,rank,class,{}\n", value_name(options))
}

/// The lines of a window. Values have enough digits to distinguish each f32 from all others.
pub fn csv_lines(first_row: usize, window: &TopClasses) -> impl Iterator<Item = String> + '_ {
    some_rows(window, move |row, text| {
        for (rank, (class, value)) in window.row(row).enumerate() {
            let _ = writeln!(text, "{},{},{class},{value:?}", first_row + row, rank + 1);
        }
    })
}

/// Parts of a window's text, which `write` writes row by row.
fn some_rows(window: &TopClasses, write: impl Fn(usize, &mut String)) -> impl Iterator<Item = String> {
    let rows = window.indices.len() / window.k.max(1);
    (0..rows).step_by(ROWS_AT_A_TIME).map(move |first| {
        let mut text = String::new();
        (first..rows.min(first + ROWS_AT_A_TIME)).for_each(|row| write(row, &mut text));
        text
    })
}

/// A table with a line for each row, and aligned columns.
pub struct Table {
    k: usize,
    name: &'static str,
    /// The widths of a row's number, of a class and of a value.
    widths: [usize; 3],
}

impl Table {
    pub fn of(options: &TopKOptions, shape: Shape) -> Self {
        let digits = |most: usize| most.saturating_sub(1).to_string().len();
        let name = value_name(options);
        let value = if options.values == TopValues::Probs { 6 } else { 9 };
        Self {
            k: options.k,
            name,
            widths: [digits(shape.rows).max("row".len()), digits(shape.cols).max("class".len()), value],
        }
    }

    pub fn header(&self) -> String {
        let [row, class, value] = self.widths;
        let mut text = format!("{:>row$}", "row");
        for _ in 0..self.k {
            let _ = write!(text, "   {:>class$} {:>value$}", "class", self.name);
        }
        text + "\n"
    }

    /// The lines of a window, some at a time.
    pub fn lines(&self, first_row: usize, window: &TopClasses) -> impl Iterator<Item = String> {
        let [row_width, class_width, value_width] = self.widths;
        some_rows(window, move |row, text| {
            let _ = write!(text, "{:>row_width$}", first_row + row);
            for (class, value) in window.row(row) {
                let _ = write!(text, "   {class:>class_width$} {value:>value_width$.4}");
            }
            text.push('\n');
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lose_no_digit() {
        let window = TopClasses::of(2, [(7, 0.75), (12, 1e-30), (0, f64::NAN), (3, f64::NAN)]);
        let options = TopKOptions::new(2);
        let table = Table::of(&options, Shape::new(2, 13));
        let text: String = std::iter::once(table.header()).chain(table.lines(0, &window)).collect();
        let expected = "row   class   prob   class   prob\n  0       7 0.7500      12 0.0000\n  1       0    NaN       3    NaN\n";
        assert_eq!(text, expected);
        let csv: String = csv_lines(9, &window).collect();
        assert_eq!(csv, "9,1,7,0.75\n9,2,12,1e-30\n10,1,0,NaN\n10,2,3,NaN\n");
        assert_eq!(csv_header(&options), "row,rank,class,prob\n");
    }
}
