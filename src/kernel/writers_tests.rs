//! Writes every module in the language of each graphics API, as wgpu does when it makes a pipeline, without a GPU.

use naga::ShaderStage::Compute;
use naga::back::{glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::ModuleInfo;
use naga::{Module, Scalar, TypeInner};

use super::passes_tests::{for_every_module, settings};

/// A language of an API. A module with 64-bit integers cannot be written in one that has none; wgpu then offers no
/// `SHADER_INT64` there, and the operations use the other module.
struct Language {
    name: &'static str,
    has_int64: bool,
    /// Writes an entry point, and gives the length of the result.
    write: fn(&Module, &ModuleInfo, &str) -> Result<usize, String>,
}

const LANGUAGES: [Language; 4] = [
    Language { name: "SPIR-V, for Vulkan", has_int64: true, write: spirv },
    Language { name: "MSL, for Metal", has_int64: true, write: msl },
    Language { name: "HLSL, for DX12", has_int64: true, write: hlsl },
    Language { name: "GLSL ES, for OpenGL ES", has_int64: false, write: glsl },
];

fn spirv(module: &Module, info: &ModuleInfo, entry_point: &str) -> Result<usize, String> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let entry_point = spv::PipelineOptions { shader_stage: Compute, entry_point: entry_point.to_owned() };
    let words = spv::write_vec(module, info, &options, Some(&entry_point));
    words.map(|words| words.len()).map_err(|error| error.to_string())
}

fn msl(module: &Module, info: &ModuleInfo, entry_point: &str) -> Result<usize, String> {
    // 2.3 is the first version with 64-bit integers in buffers.
    let options = msl::Options { lang_version: (2, 3), ..Default::default() };
    let entry_point = Some((Compute, entry_point.to_owned()));
    let entry_point = msl::PipelineOptions { entry_point, ..Default::default() };
    let written = msl::write_string(module, info, &options, &entry_point);
    let (text, told) = written.map_err(|error| error.to_string())?;
    told.entry_point_names
        .into_iter()
        .try_for_each(|name| name.map(drop))
        .map_err(|error| error.to_string())?;
    Ok(text.len())
}

fn hlsl(module: &Module, info: &ModuleInfo, entry_point: &str) -> Result<usize, String> {
    // The oldest shader model that wgpu uses, or the first one with 64-bit integers.
    let shader_model = if has_int64(module) { hlsl::ShaderModel::V6_0 } else { hlsl::ShaderModel::V5_1 };
    let options = hlsl::Options { shader_model, ..Default::default() };
    let entry_point = hlsl::PipelineOptions { entry_point: Some((Compute, entry_point.to_owned())) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &entry_point).write(module, info, None);
    let told = written.map_err(|error| error.to_string())?;
    told.entry_point_names
        .into_iter()
        .try_for_each(|name| name.map(drop))
        .map_err(|error| error.to_string())?;
    Ok(text.len())
}

fn glsl(module: &Module, info: &ModuleInfo, entry_point: &str) -> Result<usize, String> {
    // The first version with compute shaders.
    let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
    let entry_point =
        glsl::PipelineOptions { shader_stage: Compute, entry_point: entry_point.to_owned(), multiview: None };
    let mut text = String::new();
    glsl::Writer::new(&mut text, module, info, &options, &entry_point, BoundsCheckPolicies::default())
        .and_then(|mut writer| writer.write())
        .map_err(|error| error.to_string())?;
    Ok(text.len())
}

fn has_int64(module: &Module) -> bool {
    module.types.iter().any(|(_, ty)| {
        matches!(
            ty.inner,
            TypeInner::Scalar(Scalar { width: 8, .. })
                | TypeInner::Vector { scalar: Scalar { width: 8, .. }, .. }
        )
    })
}

#[test]
fn every_module_can_be_written_for_every_api() {
    let mut refused = 0;
    for_every_module(|pass, variant, module, info| {
        let setting = settings(pass, variant).pop().expect("a setting");
        let constants = setting.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
        let (module, info) =
            process_overrides(module, info, Some((Compute, pass.name)), &constants).expect("processed");
        for Language { name, has_int64: has, write } in LANGUAGES {
            match write(&module, &info, pass.name) {
                Ok(len) => {
                    assert!(has || !has_int64(&module), "{} {variant:?} in {name}: written", pass.name);
                    assert!(len > 500, "{} {variant:?} in {name}: {len}", pass.name);
                }
                Err(error) => {
                    assert!(!has && has_int64(&module), "{} {variant:?} in {name}: {error}", pass.name);
                    refused += 1;
                }
            }
        }
    });
    assert!(refused > 0, "no module has 64-bit integers");
}
