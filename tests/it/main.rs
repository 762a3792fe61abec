//! The one integration-test binary.

mod agent;
mod cost;
mod source;
mod support;
