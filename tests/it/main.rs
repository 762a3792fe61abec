//! The one integration-test binary.

mod agent;
mod classify;
mod cost;
mod event;
mod ledger;
mod report;
mod source;
mod support;
