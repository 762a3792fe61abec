//! Tollgate, the cost gate for AI agents in CI: route by stakes, cap by run, monitor at runtime.
//!
//! The parts and who may import whom are drawn in `ARCHITECTURE.md`; `pipeline` tells the whole story.

pub mod agent;
pub mod budget;
pub mod classify;
pub mod cli;
pub mod commands;
pub mod credentials;
pub mod event;
pub mod exit;
pub mod gate;
pub mod github;
pub mod id;
pub mod ledger;
pub mod limits;
pub mod meter;
pub mod model;
pub mod money;
pub mod outcome;
pub mod overrides;
pub mod pipeline;
pub mod plan;
pub mod preset;
pub mod price;
pub mod provider;
pub mod report;
pub mod route;
pub mod savings;
pub mod simulate;
pub mod supervise;
pub mod task;
pub mod tokens;
