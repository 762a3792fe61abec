//! A provider and an agent that need no key and no network, and the witness that counts with them.
//!
//! [`Provider`] speaks Anthropic Messages over HTTP, strictly, and what else [`others`] has, and answers by a
//! [`Script`]; [`Witness`] is its own account of what it served and would charge. `agent` is a small agent that loops over the
//! API. The witness is independent: its rates (`rates`) and its arithmetic are written apart from
//! `price` and `provider`, and nothing in here may import those.

pub mod agent;
mod answer;
mod check;
pub mod clouds;
mod demo;
mod messages;
mod others;
mod prompt;
mod provider;
mod rates;
mod script;
mod seen;
mod steps;
mod stream;
mod witness;

pub use provider::Provider;
pub use rates::{LIVE_MODELS, LiveRates, live_rates};
pub use script::{Answer, Fault, Reply, Script, Seen, ToolCall, Wait};
pub use witness::{Bill, Witness, WitnessHandle};

#[cfg(test)]
mod tests;
