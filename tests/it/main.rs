//! The one integration-test binary.

mod ledger;
mod source;
