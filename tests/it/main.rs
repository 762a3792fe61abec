//! The one integration-test binary.

mod agent;
mod break_run;
mod budget;
mod classify;
mod cost;
mod event;
mod ledger;
mod meter;
mod meter_command;
mod meter_door;
mod meter_witness;
mod source;
mod support;
