//! The one integration-test binary.

mod cost;
mod source;
