//! The loss by position in a sequence.

use plotters::prelude::*;
use xent::eval::{Positions, Tally};

use super::{Area, Axis, BAND, BARS, Drawn, MOST_BARS, Table, axis_count, axis_number, chart, nothing};
use crate::numbers::{decimals, si};

/// The most points of a line.
const MOST_POINTS: usize = 240;

pub fn draw_positions(area: &Area<'_>, tally: &Tally, y_name: &'static str) -> Drawn<()> {
    let positions = tally.positions();
    let runs = runs(positions);
    let means = || runs.iter().flatten().map(|point| point.mean);
    let (low, high) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
    // A band that is far wider than the line would leave no line to see.
    let most = 3.0 * (high - low).max(1e-3 * high.abs());
    let band = |point: &Point| (2.0 * point.error).min(most);
    let points = || runs.iter().flatten();
    let low = points().map(|point| point.mean - band(point)).fold(low, f64::min);
    let high = points().map(|point| point.mean + band(point)).fold(high, f64::max);
    if low > high {
        return nothing(area, "no position has a finite loss");
    }
    let room = if high > low { 0.06 * (high - low) } else { 0.5 };
    let (low, high) = (low - room, high + room);
    let is_one_sequence = positions.length() as u64 >= tally.rows();
    let (title, x_name) = if is_one_sequence {
        ("Loss by row", "row")
    } else {
        ("Loss by position, ± 2 standard errors", "position in the sequence")
    };
    let length = positions.length() as f64;
    let x = Axis {
        name: x_name,
        range: 0.0..length,
        label: &|&at| if length < 1e5 { axis_count(at) } else { si(at, "") },
    };
    let y = Axis { name: y_name, range: low..high, label: &|&loss| axis_number(loss, high - low) };
    let mut chart = chart(area, title, x, y)?;
    chart.draw_series(runs.iter().map(|run| {
        let above = run.iter().map(|point| (point.at, point.mean + band(point)));
        let below = run.iter().rev().map(|point| (point.at, point.mean - band(point)));
        Polygon::new(above.chain(below).collect::<Vec<_>>(), BAND.filled())
    }))?;
    let line = |run: &Vec<Point>| run.iter().map(|point| (point.at, point.mean)).collect::<Vec<_>>();
    chart.draw_series(runs.iter().map(|run| PathElement::new(line(run), BARS.stroke_width(2))))?;
    // A line of one point would be invisible. A few points are drawn as well, so that they can be seen.
    let is_sparse = means().count() <= MOST_BARS;
    let points = runs.iter().filter(|run| is_sparse || run.len() == 1).flatten();
    chart.draw_series(points.map(|point| Circle::new((point.at, point.mean), 3, BARS.filled())))?;
    Ok(())
}

/// What each point stands for, where every mean has one.
pub fn positions_told(tally: &Tally) -> Vec<String> {
    let runs = runs(tally.positions());
    let points: Vec<&Point> = runs.iter().flatten().collect();
    if points.len() > MOST_BARS {
        return Vec::new();
    }
    points.iter().map(|point| format!("{}: {}", axis_text(point.at), decimals(point.mean, 6))).collect()
}

/// The means in numbers, as many as are drawn.
pub fn positions_table(tally: &Tally, y_name: &'static str) -> Table {
    let rows = runs(tally.positions())
        .into_iter()
        .flatten()
        .map(|point| vec![axis_text(point.at), decimals(point.mean, 6), decimals(point.error, 6)]);
    Table {
        title: "means".to_owned(),
        head: vec!["position", y_name, "standard error"],
        rows: rows.collect(),
        shades: Vec::new(),
    }
}

/// A position, or the middle of several.
fn axis_text(at: f64) -> String {
    format!("{:.0}", at.floor())
}

/// The mean loss of one position or of several, and its standard error, 0 where it is not known.
struct Point {
    at: f64,
    mean: f64,
    error: f64,
}

/// The means by position, as lines without gaps.
fn runs(positions: &Positions) -> Vec<Vec<Point>> {
    let means: Vec<_> = positions.means().collect();
    let errors: Vec<f64> = positions.standard_errors().map(|error| error.unwrap_or(0.0)).collect();
    let merged = means.len().div_ceil(MOST_POINTS);
    let mut runs = vec![Vec::new()];
    let parts = means.chunks(merged).zip(positions.counts().chunks(merged)).zip(errors.chunks(merged));
    for ((bins, counts), errors) in parts {
        let rows: u64 = counts.iter().sum();
        let (Some((first, _)), Some((last, _))) = (bins.first(), bins.last()) else { continue };
        let sum: f64 =
            bins.iter().zip(counts).filter_map(|((_, mean), &count)| Some((*mean)? * count as f64)).sum();
        match (runs.last_mut(), rows) {
            (Some(run), 1..) => {
                // The errors of independent means, weighted by their rows.
                let squares = errors.iter().zip(counts).map(|(error, &count)| (error * count as f64).powi(2));
                let error = squares.sum::<f64>().sqrt() / rows as f64;
                run.push(Point { at: first.start.midpoint(last.end) as f64, mean: sum / rows as f64, error });
            }
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}
