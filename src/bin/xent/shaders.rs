//! `xent shaders`: the WGSL modules that the operations run.

use std::path::Path;

use xent::{Error, Result, Shader};

use crate::args::ShadersArgs;
use crate::outcome::Outcome;
use crate::output;

pub fn run(args: &ShadersArgs) -> Result<Outcome> {
    let shaders = xent::shaders();
    match &args.export {
        Some(folder) => {
            export(folder, &shaders)?;
            output::print(&format!("{} modules written to {}\n", shaders.len(), output::shown(folder)))?;
        }
        None => output::print(&list(&shaders))?,
    }
    Ok(Outcome::Done)
}

/// Each pass with what it computes, and the names of its modules below it.
fn list(shaders: &[Shader]) -> String {
    let mut text = String::new();
    let mut before = "";
    for shader in shaders {
        if shader.entry_point != before {
            before = shader.entry_point;
            text += &format!("{}: {}\n", shader.entry_point, shader.about);
        }
        text += &format!("  {}\n", shader.name);
    }
    text + &format!("{} modules\n", shaders.len())
}

fn export(folder: &Path, shaders: &[Shader]) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| Error::File {
        path: path.display().to_string(),
        message: format!("cannot be written: {error}"),
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for shader in shaders {
        let path = folder.join(format!("{}.wgsl", shader.name));
        std::fs::write(&path, &shader.source).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
