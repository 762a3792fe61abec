//! The one integration-test binary.

mod cost;
mod meter;
mod meter_witness;
mod source;
