//! The distribution of the row losses, and the loss by position in a sequence, as SVG.

use std::path::PathBuf;

use plotters::coord::Shift;
use plotters::prelude::*;
use xent::eval::{EqualBins, Histogram, Positions, Tally, WholeFile};
use xent::{Error, Result};

use super::page;
use crate::args::OutputArgs;
use crate::numbers::{decimals, si, thousands};
use crate::report::{Summary, digits};

/// Blue and vermilion of Okabe and Ito, which people with colour blindness can distinguish as well. In a dark page, these,
/// black and white have other values: see `page.css`.
const BARS: RGBColor = RGBColor(0, 114, 178);
const MARK: RGBColor = RGBColor(213, 94, 0);
const GRID: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";
/// The width and height of one picture in pixels. A phone shows it in nearly its full width.
const SIZE: (u32, u32) = (420, 300);
/// The most bars, and the most points of a line.
const MOST_BARS: usize = 64;
const MOST_POINTS: usize = 240;

/// The files that are drawn when all results are known.
pub struct Pictures {
    plot: Option<WholeFile>,
    page: Option<WholeFile>,
}

impl Pictures {
    /// Begins the files of this run.
    pub fn create(args: &OutputArgs, run: &str) -> Result<Self> {
        let create =
            |path: &Option<PathBuf>| path.as_ref().map(|path| WholeFile::create(path, run)).transpose();
        Ok(Self { plot: create(&args.plot)?, page: create(&args.html)? })
    }

    /// Refuses files that cannot be written.
    pub fn check(args: &OutputArgs) -> Result<()> {
        [&args.plot, &args.html].into_iter().flatten().try_for_each(|path| WholeFile::check_place(path))
    }

    /// Draws the results for the logits of this name, and writes them to the disk.
    pub fn draw(&mut self, summary: &Summary<'_>, name: &str) -> Result<()> {
        if let Some(file) = &mut self.plot {
            let svg = both(summary.tally).map_err(|error| not_drawn(file, &*error))?;
            file.write_bytes(svg.as_bytes())?;
            file.sync()?;
        }
        if let Some(file) = &mut self.page {
            let (losses, positions) = one_by_one(summary.tally).map_err(|error| not_drawn(file, &*error))?;
            let html = page::html(summary, name, &losses, &positions);
            file.write_bytes(html.as_bytes())?;
            file.sync()?;
        }
        Ok(())
    }

    /// Puts both files in their places.
    pub fn finish(self) -> Result<()> {
        [self.plot, self.page].into_iter().flatten().try_for_each(WholeFile::finish)
    }
}

type Drawn<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn not_drawn(file: &WholeFile, error: &dyn std::error::Error) -> Error {
    Error::File { path: file.path().display().to_string(), message: format!("cannot be drawn: {error}") }
}

/// The two pictures side by side.
fn both(tally: &Tally) -> Drawn<String> {
    svg((2 * SIZE.0, SIZE.1), |area| {
        let (left, right) = area.split_horizontally(SIZE.0);
        draw_losses(&left, tally.losses())?;
        draw_positions(&right, tally)
    })
}

/// Each picture by itself.
fn one_by_one(tally: &Tally) -> Drawn<(String, String)> {
    Ok((svg(SIZE, |area| draw_losses(area, tally.losses()))?, svg(SIZE, |area| draw_positions(area, tally))?))
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

fn draw_losses(area: &Area<'_>, losses: &Histogram) -> Drawn<()> {
    let Some(bars) = Bars::of(losses) else { return nothing(area, "no row has a finite loss") };
    let median = losses.quantile(0.5).map_or(f64::NAN, |quantile| quantile.value);
    let digits = losses.quantile(0.5).map_or(0, |quantile| digits(2.0 * quantile.within));
    let title = match bars.beyond {
        0 => format!("line at the median, {}", decimals(median, digits)),
        beyond => {
            format!("median {}, {} rows not shown", decimals(median, digits), thousands(beyond as usize))
        }
    };
    let highest = bars.bars.iter().map(|&(.., count)| count).max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Row losses: {title}"), (FONT, 20))
        .margin(10)
        .margin_right(26)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(bars.start..bars.end, 0.0..1.05 * highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .max_light_lines(0)
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|&loss| axis_number(loss, bars.end - bars.start))
        .y_label_formatter(&|&rows| if highest < 1e4 { axis_count(rows) } else { si(rows, "") })
        .x_desc("loss of a row, nats")
        .y_desc("rows")
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 17))
        .draw()?;
    chart.draw_series(bars.bars.iter().filter(|&&(.., count)| count > 0).map(|&(start, end, count)| {
        // A narrow gap between two bars.
        let gap = 0.06 * (end - start);
        Rectangle::new([(start + gap, 0.0), (end - gap, count as f64)], BARS.filled())
    }))?;
    if (bars.start..bars.end).contains(&median) {
        let line = PathElement::new([(median, 0.0), (median, 1.05 * highest)], MARK.stroke_width(2));
        chart.draw_series([line])?;
    }
    Ok(())
}

/// Bars of equal width, and the number of rows outside them.
#[derive(Debug, PartialEq)]
struct Bars {
    start: f64,
    end: f64,
    /// The start, end and rows of each.
    bars: Vec<(f64, f64, u64)>,
    beyond: u64,
}

impl Bars {
    /// All losses in as many bars as can be drawn. If the outermost rows, one in a thousand, would take more than half
    /// of the width, they are left out.
    fn of(losses: &Histogram) -> Option<Self> {
        let inner = losses.without_outermost(losses.rows() / 2_000);
        let span = |of: &Histogram| of.range().map(|(min, max)| f64::from(max) - f64::from(min));
        let drawn = if 2.0 * span(&inner)? < span(losses)? { &inner } else { losses };
        let EqualBins { start, width, counts, .. } = drawn.equal_bins(MOST_BARS);
        let edge = |bar: usize| start + bar as f64 * width;
        let bars: Vec<_> =
            counts.iter().enumerate().map(|(bar, &count)| (edge(bar), edge(bar + 1), count)).collect();
        let drawn: u64 = bars.iter().map(|&(.., count)| count).sum();
        let (start, end) = (bars.first()?.0, bars.last()?.1);
        Some(Self { start, end, bars, beyond: losses.rows() - drawn })
    }
}

fn draw_positions(area: &Area<'_>, tally: &Tally) -> Drawn<()> {
    let positions = tally.positions();
    let runs = runs(positions);
    let means = || runs.iter().flatten().map(|&(_, mean)| mean);
    let (low, high) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return nothing(area, "no position has a finite loss");
    }
    let room = if high > low { 0.06 * (high - low) } else { 0.5 };
    let (low, high) = (low - room, high + room);
    let is_one_sequence = positions.length() as u64 >= tally.rows();
    let (title, x_name) = if is_one_sequence {
        ("Loss by row", "row")
    } else {
        ("Loss by position", "position in the sequence")
    };
    let length = positions.length() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(10)
        .margin_right(26)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..length, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .max_light_lines(0)
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|&at| if length < 1e5 { axis_count(at) } else { si(at, "") })
        .y_label_formatter(&|&loss| axis_number(loss, high - low))
        .x_desc(x_name)
        .y_desc("mean loss, nats")
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 17))
        .draw()?;
    chart.draw_series(runs.iter().map(|run| PathElement::new(run.clone(), BARS.stroke_width(2))))?;
    // A line of one point would be invisible. A few points are drawn as well, so that they can be seen.
    let is_sparse = means().count() <= MOST_BARS;
    let points = runs.iter().filter(|run| is_sparse || run.len() == 1).flatten();
    chart.draw_series(points.map(|&point| Circle::new(point, 3, BARS.filled())))?;
    Ok(())
}

/// The means by position, as lines without gaps.
fn runs(positions: &Positions) -> Vec<Vec<(f64, f64)>> {
    let means: Vec<_> = positions.means().collect();
    let merged = means.len().div_ceil(MOST_POINTS);
    let mut runs = vec![Vec::new()];
    for (bins, counts) in means.chunks(merged).zip(positions.counts().chunks(merged)) {
        let rows: u64 = counts.iter().sum();
        let (Some((first, _)), Some((last, _))) = (bins.first(), bins.last()) else { continue };
        let sum: f64 =
            bins.iter().zip(counts).filter_map(|((_, mean), &count)| Some((*mean)? * count as f64)).sum();
        match (runs.last_mut(), rows) {
            (Some(run), 1..) => run.push((first.start.midpoint(last.end) as f64, sum / rows as f64)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
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

    fn of(losses: impl IntoIterator<Item = f32>) -> Histogram {
        let mut histogram = Histogram::default();
        losses.into_iter().for_each(|loss| histogram.add(loss));
        histogram
    }

    #[test]
    fn bars_hold_every_row_or_say_how_many_they_do_not() {
        let usual = |rows: usize| (0..rows).map(move |row| (row % 97) as f32 * 0.1);
        for (name, histogram, beyond) in [
            ("one row", of([2.5]), 0),
            ("usual", of(usual(5_000)), 0),
            ("an outlier among few", of(usual(1_000).chain([900.0])), 0),
            ("an outlier among many", of(usual(5_000).chain([900.0])), 1),
            ("one on each side", of([-900.0].into_iter().chain(usual(5_000)).chain([900.0])), 2),
        ] {
            let bars = Bars::of(&histogram).unwrap();
            assert_eq!(bars.beyond, beyond, "{name}");
            assert!(bars.bars.len() <= MOST_BARS, "{name}: {}", bars.bars.len());
            let drawn: u64 = bars.bars.iter().map(|&(.., count)| count).sum();
            assert_eq!(drawn + beyond, histogram.rows(), "{name}");
            assert!(bars.bars.windows(2).all(|pair| pair[0].1 == pair[1].0), "{name}");
        }
        assert_eq!(Bars::of(&of([])), None);
    }

    #[test]
    fn numbers_on_axes() {
        let numbers = [(0.0, 12.0), (2.5, 12.0), (-1e-9, 2.0), (0.25, 0.4), (3e9, 4e9), (1500.0, 4000.0)];
        let numbers = numbers.map(|(value, range)| axis_number(value, range));
        assert_eq!(numbers, ["0", "2", "0.0", "0.25", "3.0e9", "1500"]);
    }
}
