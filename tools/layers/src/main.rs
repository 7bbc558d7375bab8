//! Checks the order of the extension's files: which may import which, where `unsafe` stands, how long they
//! get. `cargo run -q -p layers [root]` prints one line for each fault.

mod circles;
mod fault;
mod imports;
mod resolve;
mod rooms;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let here = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let root = std::env::args_os().nth(1).map_or_else(here, PathBuf::from);
    let report = match tree::check(&root) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("layers: {}: {error}", root.join("src").display());
            return ExitCode::FAILURE;
        }
    };
    for fault in &report.faults {
        println!("{fault}");
    }
    if !report.faults.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("layers: {} files, no circle, no import that runs up", report.files);
    ExitCode::SUCCESS
}
