//! The loss by position in a sequence.

use plotters::prelude::*;
use xent::eval::{Positions, Tally};

use super::{Area, BARS, Drawn, FONT, GRID, MOST_BARS, axis_count, axis_number, nothing};
use crate::numbers::si;

/// The most points of a line.
const MOST_POINTS: usize = 240;

pub fn draw_positions(area: &Area<'_>, tally: &Tally) -> Drawn<()> {
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
