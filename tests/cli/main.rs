//! The command-line tool, run as its users run it: on files in a folder, judged by what it prints, what it writes and
//! its exit status.

mod adapters;
mod bench;
mod calibrate;
mod demo;
mod eval;
mod examples;
mod expected;
mod files;
mod from_pytorch;
mod guide;
mod hostile_names;
mod kept;
mod layouts;
mod limits;
mod losses;
mod malformed;
mod memory;
mod no_adapter;
mod other_losses;
mod outputs;
mod report;
mod resume;
mod rows;
mod shaders;
mod shards;
mod side_files;
mod softmax;
mod support;
mod target_kinds;
mod targets;
mod tensors;
mod topk;
mod tune;
mod usage;
mod waits;
