//! Softmax of one row on the best adapter of this machine.

use xent::{Context, Shape, Softmax};

fn main() -> xent::Result<()> {
    let gpu = Context::new().wait()?;
    let softmax = Softmax::<f32>::new(&gpu, &Default::default())?;
    let probs = softmax.softmax(&[2.0, 1.0, 0.5, -1.0], Shape::new(1, 4)).wait()?;
    println!("{probs:.3?}"); // [0.609, 0.224, 0.136, 0.030]
    Ok(())
}
