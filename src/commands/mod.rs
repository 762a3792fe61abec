//! One module a command. Each turns its arguments into a request value before any work starts.
pub mod ledger;
