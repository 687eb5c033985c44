//! GB/s over shapes, as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use xent::eval::WholeFile;
use xent::{Error, Result};

use super::measured::{Benched, Measured};
use crate::operation::Operation;
use crate::output::one_line;

/// The colours of the operations, by Okabe and Ito; people with colour blindness can distinguish them as well.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];
const COPY_COLOUR: RGBColor = RGBColor(90, 90, 90);
const FONT: &str = "sans-serif";
/// The width in pixels of the legend and, roughly, of a letter of the title.
const LEGEND: u32 = 170;
const TITLE_CHAR: u32 = 8;

pub fn draw(benched: &Benched, path: &Path) -> Result<()> {
    let file_error = |message: String| Error::File {
        path: path.display().to_string(),
        message: format!("cannot be drawn: {message}"),
    };
    let mut svg = String::new();
    {
        let batches = batches(benched);
        let size = (360 + 110 * batches.len().max(3) as u32, 480);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw_on(&area, benched, &batches).map_err(|error| file_error(error.to_string()))?;
    }
    let mut file = WholeFile::create(path, "bench")?;
    file.write_bytes(svg.as_bytes())?;
    file.finish()
}

/// The batches in order. Each has a place on the horizontal axis.
fn batches(benched: &Benched) -> Vec<String> {
    let mut batches: Vec<String> = Vec::new();
    for measured in &benched.results {
        let name = batch(measured);
        if batches.last() != Some(&name) {
            batches.push(name);
        }
    }
    batches
}

fn batch(measured: &Measured) -> String {
    format!("{}x{} {}", measured.shape.rows, measured.shape.cols, measured.dtype)
}

type DrawingResult = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    benched: &Benched,
    batches: &[String],
) -> DrawingResult {
    area.fill(&WHITE)?;
    let highest = benched.results.iter().filter_map(Measured::gb_per_second).fold(0.0, f64::max);
    let highest = if highest > 0.0 { 1.1 * highest } else { 1.0 };
    let last = batches.len().max(1) as f64 - 0.5;
    let (plot, legend) = area.split_horizontally(area.dim_in_pixel().0 - LEGEND);
    let title = format!("xent on {}", one_line(&benched.adapter));
    let fits = (plot.dim_in_pixel().0 / TITLE_CHAR) as usize;
    let title: String = if title.chars().count() > fits {
        title.chars().take(fits - 1).chain(['…']).collect()
    } else {
        title
    };
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, (FONT, 15))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..last, 0.0..highest)?;
    // Only whole numbers have a batch. With two labels per batch, there is a label at each of them.
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_labels(2 * batches.len() + 1)
        .x_label_formatter(&|&at| {
            let is_whole = (at - at.round()).abs() < 1e-6 && at > -0.25;
            let name = batches.get(at.round().max(0.0) as usize).filter(|_| is_whole);
            name.cloned().unwrap_or_default()
        })
        .y_label_formatter(&|gb| format!("{gb}"))
        .y_desc("GB/s (bytes that must move)")
        .label_style((FONT, 12))
        .axis_desc_style((FONT, 13))
        .draw()?;

    let mut ops: Vec<Operation> = Vec::new();
    for measured in &benched.results {
        if !ops.contains(&measured.op) {
            ops.push(measured.op);
        }
    }
    for (at, &op) in ops.iter().enumerate() {
        let (colour, width) = match op {
            Operation::Copy => (COPY_COLOUR, 3),
            _ => (COLOURS[(at + COLOURS.len() - 1) % COLOURS.len()], 2),
        };
        let points: Vec<(f64, f64)> = benched
            .results
            .iter()
            .filter(|measured| measured.op == op)
            .filter_map(|measured| {
                let place = batches.iter().position(|name| *name == batch(measured))?;
                Some((place as f64, measured.gb_per_second()?))
            })
            .collect();
        // All others are compared with the copy, so its line goes from edge to edge.
        let mut line = points.clone();
        if let (Operation::Copy, Some(&(_, begin)), Some(&(_, end))) = (op, points.first(), points.last()) {
            line.insert(0, (-0.5, begin));
            line.push((last, end));
        }
        chart.draw_series(LineSeries::new(line, colour.stroke_width(width)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
        let y = 60 + 24 * at as i32;
        legend.draw(&PathElement::new([(0, y), (24, y)], colour.stroke_width(width)))?;
        legend.draw(&Circle::new((12, y), 4, colour.filled()))?;
        legend.draw(&Text::new(op.name(), (32, y - 7), (FONT, 14)))?;
    }
    area.present()?;
    Ok(())
}
