//! The one integration-test binary.

mod agent;
mod source;
mod support;
