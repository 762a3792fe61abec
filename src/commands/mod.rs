//! One module a command. Each turns its arguments into a request value before any work starts.

pub mod check;
pub mod classify;
pub mod cost;
pub mod gate;
pub mod init;
pub mod ledger;
pub mod meter;
pub mod run;
pub mod simulate;
