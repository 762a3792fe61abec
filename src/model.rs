//! Model names, and what a model can do at most.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A model's id as providers and clients write it, such as `claude-opus-5-5`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelId(Arc<str>);

impl ModelId {
    /// Takes the id as it stands; whether it is known is for the price table to say.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for ModelId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

/// The most a model takes in and gives out, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The context window: input and output of one sampling together never pass it.
    pub window: u64,
    /// The longest answer, thinking included.
    pub output: u64,
    /// How the model is asked to think.
    pub thinking: Thinking,
    /// The most tokens one image is counted as.
    pub image: u64,
}

/// The ways in which thinking is switched on, since some of them tie it to the output cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The request names a `budget_tokens` that must stay below the output cap, and be 1,024 at least.
    Budgeted,
    /// The model decides; the output cap may be lowered freely.
    Adaptive,
}
