//! Reads a WebAssembly module that cargo built, and writes it with its JavaScript into a folder:
//! `xent-bindgen MODULE.wasm FOLDER`. It does the work of the tool `wasm-bindgen --target web`, from the same library, so
//! that nothing but crates has to be installed.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = arguments.as_slice() else {
        eprintln!("usage: xent-bindgen MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let written = bindgen.input_path(module).web(true).and_then(|bindgen| {
        bindgen
            .typescript(false)
            .omit_default_module_path(false)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(folder)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xent-bindgen: {module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
