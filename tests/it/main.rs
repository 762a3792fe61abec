//! The one integration-test binary.

mod cost;
mod meter;
mod meter_command;
mod meter_door;
mod meter_witness;
mod source;
