//! The one integration-test binary.

mod agent;
mod budget;
mod classify;
mod cost;
mod event;
mod ledger;
mod meter;
mod meter_command;
mod meter_door;
mod meter_rig;
mod meter_scenarios;
mod report;
mod source;
mod support;
