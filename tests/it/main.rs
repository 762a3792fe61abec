//! The one integration-test binary.

mod budget;
mod source;
