//! The `tollgate` binary: hands the process's arguments, environment and streams to the library.

use std::io;
use std::process::ExitCode;

use tollgate::cli;

fn main() -> ExitCode {
    // The one TLS provider of the process. That there is one already cannot be at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shell = cli::Shell {
        env: std::env::vars_os().collect(),
        out: Box::new(io::stdout()),
        err: Box::new(io::stderr()),
    };
    ExitCode::from(cli::main(std::env::args_os(), shell))
}
