//! The one integration-test binary.

mod classify;
mod event;
mod source;
