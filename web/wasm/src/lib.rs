//! What the explorer's page calls, in WebAssembly: [`reference`] gives every number of its first two parts, from the
//! crate's f64 reference; [`sampling`] draws classes; [`gpu`] runs the crate on the visitor's WebGPU, and [`checks`]
//! compares what comes out there.
//!
//! Functions that refuse their arguments throw a JavaScript `Error` with the text of [`xent::Error`].

pub mod checks;
pub mod gpu;
pub mod reference;
pub mod sampling;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// An error of the crate, as JavaScript gets it.
fn thrown(error: xent::Error) -> JsError {
    JsError::new(&error.to_string())
}

/// Waits for a callback of wgpu: `start` gets the function that the callback must call.
async fn called(start: impl FnOnce(Box<dyn FnOnce() + Send>)) {
    let mut start = Some(start);
    let promise = Promise::new(&mut |resolve, _| {
        if let Some(start) = start.take() {
            start(Box::new(move || {
                // A promise's own function: it cannot throw.
                let _ = resolve.call0(&JsValue::UNDEFINED);
            }));
        }
    });
    // Nobody rejects it.
    let _ = JsFuture::from(promise).await;
}
