//! The command-line tool, run as its users run it: on files in a folder, judged by what it prints, what it writes and
//! its exit status.

mod adapters;
mod demo;
mod eval;
mod files;
mod no_adapter;
mod outputs;
mod softmax;
mod support;
mod targets;
mod usage;
