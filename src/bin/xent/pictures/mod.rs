//! Pictures of the rows, as SVG, and pages with them.

mod histogram;
mod page;
mod positions;
mod reliability;
mod table;

use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use xent::eval::WholeFile;
use xent::{Error, Result};

pub use histogram::{Mark, Words, draw_histogram, histogram_table, histogram_told};
pub use page::Page;
pub use positions::{draw_positions, positions_table, positions_told};
pub use reliability::{draw_reliability, reliability_table, reliability_told};
pub use table::Table;

/// Blue and vermilion of Okabe and Ito, which people with colour blindness can distinguish as well. In a dark page, these,
/// black and white have other values: see `page.css`.
const BARS: RGBColor = RGBColor(0, 114, 178);
const MARK: RGBColor = RGBColor(213, 94, 0);
/// The blue, thinned.
const BAND: RGBColor = RGBColor(190, 218, 236);
const GRID: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";
/// The width and height of one picture in pixels. A phone shows it in nearly its full width.
const SIZE: (u32, u32) = (420, 300);
/// The most bars.
const MOST_BARS: usize = 64;

/// The files that are drawn when all results are known.
pub struct Pictures {
    plot: Option<WholeFile>,
    page: Option<WholeFile>,
}

/// A picture: what it is called where it cannot be seen, and how it is drawn.
pub struct Picture<'a> {
    pub name: &'static str,
    pub draw: &'a dyn Fn(&Area<'_>) -> Drawn<()>,
    /// Its numbers, which stand behind it in the page.
    pub table: Table,
    /// What each of its bars or points says under the pointer in the page, in the order in which they are drawn.
    pub told: Vec<String>,
}

impl Pictures {
    /// Begins the files of this run.
    pub fn create(plot: &Option<PathBuf>, page: &Option<PathBuf>, run: &str) -> Result<Self> {
        let create =
            |path: &Option<PathBuf>| path.as_ref().map(|path| WholeFile::create(path, run)).transpose();
        Ok(Self { plot: create(plot)?, page: create(page)? })
    }

    /// Refuses files that cannot be written.
    pub fn check<'a>(paths: impl IntoIterator<Item = &'a Option<PathBuf>>) -> Result<()> {
        paths.into_iter().flatten().try_for_each(|path| WholeFile::check_place(path))
    }

    /// Draws the pictures, the first two side by side in the plot and all in the page, and writes them to the disk.
    pub fn draw(&mut self, page: &Page<'_>, pictures: &[Picture<'_>]) -> Result<()> {
        if let Some(file) = &mut self.plot {
            let both = svg((2 * SIZE.0, SIZE.1), |area| {
                let halves = area.split_horizontally(SIZE.0);
                let halves = [&halves.0, &halves.1];
                halves.into_iter().zip(pictures).try_for_each(|(half, picture)| (picture.draw)(half))
            });
            write(file, both)?;
        }
        if let Some(file) = &mut self.page {
            let drawn = pictures.iter().map(|picture| Ok((picture, svg(SIZE, picture.draw)?)));
            let html = drawn.collect::<Drawn<Vec<_>>>().map(|drawn| page.html(&drawn));
            write(file, html)?;
        }
        Ok(())
    }

    /// Puts both files in their places.
    pub fn finish(self) -> Result<()> {
        [self.plot, self.page].into_iter().flatten().try_for_each(WholeFile::finish)
    }
}

/// Refuses a name that does not end with one of these.
pub fn check_ending(path: &Path, endings: &[&str]) -> Result<()> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if endings.contains(&ending.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let message = format!("cannot be written: its name must end with .{}", endings[0]);
    Err(Error::File { path: path.display().to_string(), message })
}

fn write(file: &mut WholeFile, drawn: Drawn<String>) -> Result<()> {
    let text = drawn.map_err(|error| not_drawn(file, &*error))?;
    file.write_bytes(text.as_bytes())?;
    file.sync()
}

pub type Drawn<T> = std::result::Result<T, Box<dyn std::error::Error>>;
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn not_drawn(file: &WholeFile, error: &dyn std::error::Error) -> Error {
    Error::File { path: file.path().display().to_string(), message: format!("cannot be drawn: {error}") }
}

fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Drawn<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(svg)
}

/// An axis: its name with the unit, what it shows, and how its numbers are written.
struct Axis<'a> {
    name: &'static str,
    range: Range<f64>,
    label: &'a dyn Fn(&f64) -> String,
}

/// A chart's frame, in which nothing is drawn yet.
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A chart with this title and these axes.
fn chart<'a, 'b>(area: &'a Area<'b>, title: &str, x: Axis<'_>, y: Axis<'_>) -> Drawn<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(10)
        .margin_right(26)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(x.range, y.range)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .max_light_lines(0)
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&x.label)
        .y_label_formatter(&y.label)
        .x_desc(x.name)
        .y_desc(y.name)
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 17))
        .draw()?;
    Ok(chart)
}

fn nothing(area: &Area<'_>, why: &str) -> Drawn<()> {
    let (width, height) = area.dim_in_pixel();
    let text = Text::new(why.to_owned(), (width as i32 / 2 - 110, height as i32 / 2), (FONT, 20));
    Ok(area.draw(&text)?)
}

/// A count on an axis. A value that is not whole gets no label.
fn axis_count(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 { format!("{:.0}", value.abs()) } else { String::new() }
}

/// A number on an axis of this range.
fn axis_number(value: f64, range: f64) -> String {
    let decimals = (1.0 - range.log10()).ceil().clamp(0.0, 6.0) as usize;
    // The label of zero may be a rounding error of the sum of steps.
    let value = if value.abs() < 1e-6 * range { 0.0 } else { value };
    let is_readable = value == 0.0 || (1e-5..1e6).contains(&value.abs());
    if !is_readable {
        return format!("{value:.1e}");
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole() {
        assert_eq!([0.0, -1e-12, 2.0, 2.5, 40.0].map(axis_count), ["0", "0", "2", "", "40"]);
    }

    #[test]
    fn numbers_on_axes() {
        let numbers = [(0.0, 12.0), (2.5, 12.0), (-1e-9, 2.0), (0.25, 0.4), (3e9, 4e9), (1500.0, 4000.0)];
        let numbers = numbers.map(|(value, range)| axis_number(value, range));
        assert_eq!(numbers, ["0", "2", "0.0", "0.25", "3.0e9", "1500"]);
    }
}
