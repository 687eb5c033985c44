//! Shapes on the command line.

use xent::Shape;

/// Parses a batch shape, written as rows x cols.
pub fn parse_shape(text: &str) -> Result<Shape, String> {
    let wanted = "expected rows x cols, such as 256x50304";
    let (rows, cols) = text.split_once(['x', 'X', '×']).ok_or(wanted)?;
    let number = |text: &str| text.trim().parse::<usize>().map_err(|error| format!("{wanted}: {error}"));
    let shape = Shape::new(number(rows)?, number(cols)?);
    if shape.rows == 0 {
        return Err("there is nothing to measure in 0 rows".to_owned());
    }
    shape.check().map_err(|error| error.to_string())?;
    Ok(shape)
}
