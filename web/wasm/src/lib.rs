//! What the explorer's page calls, in WebAssembly: [`reference`] gives every number of its first two parts, from the
//! crate's f64 reference; [`gpu`] runs the crate on the visitor's WebGPU.
//!
//! Functions that refuse their arguments throw a JavaScript `Error` with the text of [`xent::Error`].

pub mod gpu;
pub mod reference;

use wasm_bindgen::JsError;

/// An error of the crate, as JavaScript gets it.
fn thrown(error: xent::Error) -> JsError {
    JsError::new(&error.to_string())
}
