//! The one integration-test binary.

mod agent;
mod break_meter;
mod break_run;
mod budget;
mod classify;
mod claude;
mod claude_world;
mod cost;
mod event;
mod gate;
mod ledger;
mod meter;
mod meter_command;
mod meter_door;
mod meter_rig;
mod meter_scenarios;
mod report;
mod report_around;
mod run;
mod run_actions;
mod run_budgets;
mod run_refusals;
mod run_wire;
mod signals;
mod source;
mod support;
