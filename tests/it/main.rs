//! The one integration-test binary.

mod source;
