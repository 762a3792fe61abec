//! The wire, pure: bytes to [`Usage`] and [`Ceiling`](crate::tokens::Ceiling), what to splice into a
//! request, and how to say stop in an API's own words.
//!
//! Nothing in here does I/O and nothing knows a price. Each API is a module and an arm of [`Api`].

use bytes::Bytes;

use crate::tokens::Usage;

pub mod anthropic;
pub mod converse;
pub mod gemini;
pub mod openai;
pub mod usage;

/// An API whose requests the meter understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
}

impl Api {
    /// The API's name in options and environment variables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::Anthropic => "anthropic",
        }
    }

    /// What a request line is for; `None` for anything that is not on the list.
    #[must_use]
    pub fn endpoint(self, method: &str, path: &str) -> Option<Endpoint> {
        match self {
            Api::Anthropic => anthropic::endpoint(method, path),
        }
    }

    /// A problem in the API's own error shape.
    #[must_use]
    pub fn say(self, problem: &Problem) -> Answer {
        match self {
            Api::Anthropic => anthropic::say(problem),
        }
    }
}

/// What a path of an API is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A generation, which costs money.
    Generate,
    /// Counting tokens, which is free.
    Count,
    /// The list of models or one of them, which is free.
    Models,
}

/// A whole answer that the meter gives itself, in the API's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `content-type` of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Whether clients are told not to try again (`x-should-retry: false`).
    pub final_word: bool,
}

/// What a response's bytes said of its usage, read to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The whole usage: the response ended as it should.
    Exact(Usage),
    /// The response broke off. What it had said of its input side by then, if anything; the rest is not
    /// known and counts at its bound.
    Broken {
        /// Usage with the input side as reported and no output.
        input_side: Option<Usage>,
    },
    /// The provider answered with an error before generating: nothing is billed.
    NotBilled,
}

/// Why the meter answers a request with an error of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No or a wrong token.
    Unauthorized,
    /// A path, method or host that is not on the list.
    NotFound(String),
    /// The request cannot be read or bounded; the text says which part and what to write instead.
    Invalid(String),
    /// The policy does not allow it; the text says which rule.
    Denied(String),
    /// The body is larger than the meter takes, in bytes.
    TooLarge {
        /// The most it takes.
        bytes_max: usize,
    },
    /// The cap is reached, in a place where a finished turn cannot be said.
    CapReached(String),
    /// A WebSocket upgrade: the meter speaks plain HTTP.
    UpgradeRequired,
    /// The provider could not be reached, or broke off before its answer began.
    Upstream(String),
}

/// What is known of a request's input before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputBound {
    /// Nothing but the body: its text counts one token a byte.
    Bytes,
    /// What the provider's free count endpoint said.
    Counted {
        /// Its answer, in tokens.
        tokens: u64,
        /// The margin, in tokens, that this run has shown it needs on top of the usual one.
        extra: u64,
    },
}

/// What the meter changes in a request; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Another model than the one that was asked for.
    pub model: Option<crate::model::ModelId>,
    /// A lower output cap, in tokens. One that is not lower than the request's own changes nothing.
    pub output_cap: Option<u64>,
    /// A line for the agent, added at the very end so that the cached prefix stays valid.
    pub note: Option<String>,
}

impl Edits {
    /// Whether the request goes out as it came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }
}
