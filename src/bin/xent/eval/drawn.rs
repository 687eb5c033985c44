//! The pictures and the page of `xent eval`.

use xent::Result;

use crate::pictures::{Page, Picture, Pictures, Words, draw_histogram, draw_positions};
use crate::report::{Summary, lines};

/// Draws the results for the logits of this name.
pub fn draw(pictures: &mut Pictures, summary: &Summary<'_>, name: &str) -> Result<()> {
    let words = Words { title: "Row losses", axis: "loss of a row, nats", empty: "no row has a finite loss" };
    let tally = summary.tally;
    let command = summary.origin.command();
    let page = Page { name, what: summary.loss.name().words(), lines: &lines(summary), command };
    let losses = Picture {
        name: "Histogram of the row losses",
        draw: &|area| draw_histogram(area, tally.losses(), &words),
    };
    let positions = Picture { name: "Mean loss by position", draw: &|area| draw_positions(area, tally) };
    pictures.draw(&page, [losses, positions])
}
