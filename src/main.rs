//! The `tollgate` binary: hands the process's arguments, environment and streams to the library.

use std::io;
use std::process::ExitCode;

use tollgate::cli;

fn main() -> ExitCode {
    let shell = cli::Shell {
        env: std::env::vars_os().collect(),
        out: Box::new(io::stdout()),
        err: Box::new(io::stderr()),
    };
    ExitCode::from(cli::main(std::env::args_os(), shell))
}
