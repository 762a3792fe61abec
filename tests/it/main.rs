//! The one integration-test binary.

mod agent;
mod budget;
mod classify;
mod cost;
mod event;
mod ledger;
mod source;
mod support;
