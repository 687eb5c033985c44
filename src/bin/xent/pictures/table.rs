//! Tables of a page.

/// A table with a line of names above it.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    pub title: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// How dark each cell is, 0..=1, row by row; empty for none.
    pub shades: Vec<Vec<f64>>,
}
