//! Model names, whose they are, and what a model can do at most.

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

/// Who an API is reached at: an address and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// Anthropic, or what speaks Messages.
    Anthropic,
    /// OpenAI, or what speaks Responses or Chat Completions.
    OpenAi,
    /// Google, or what speaks the Gemini API.
    Gemini,
    /// Google Vertex, for Claude.
    Vertex,
    /// Amazon Bedrock, for Claude.
    Bedrock,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Vendor; 5] =
        [Vendor::Anthropic, Vendor::OpenAi, Vendor::Gemini, Vendor::Vertex, Vendor::Bedrock];

    /// The name in options and environment variables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Vendor::Anthropic => "anthropic",
            Vendor::OpenAi => "openai",
            Vendor::Gemini => "gemini",
            Vendor::Vertex => "vertex",
            Vendor::Bedrock => "bedrock",
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Vendor::Anthropic => "Anthropic",
            Vendor::OpenAi => "OpenAI",
            Vendor::Gemini => "Google",
            Vendor::Vertex => "Google Vertex",
            Vendor::Bedrock => "Amazon Bedrock",
        }
    }

    /// The vendor of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Vendor> {
        Vendor::ALL.into_iter().find(|vendor| vendor.as_str() == name)
    }

    /// Whether it is a cloud that serves another's models. Its credentials lie about for many purposes, so it
    /// is used only where it is asked for.
    #[must_use]
    pub const fn is_cloud(self) -> bool {
        matches!(self, Vendor::Vertex | Vendor::Bedrock)
    }

    /// The variable that usually holds the key; of a cloud, the one that holds a whole access by itself.
    #[must_use]
    pub const fn key_variable(self) -> &'static str {
        match self {
            Vendor::Anthropic => "ANTHROPIC_API_KEY",
            Vendor::OpenAi => "OPENAI_API_KEY",
            Vendor::Gemini => "GEMINI_API_KEY",
            Vendor::Vertex => "TOLLGATE_VERTEX_ACCESS_TOKEN",
            Vendor::Bedrock => "AWS_BEARER_TOKEN_BEDROCK",
        }
    }

    /// Whose model it is, as far as its name tells; of all others nobody knows who serves them.
    #[must_use]
    pub fn maker(model: &ModelId) -> Option<Vendor> {
        let name = model.as_str();
        let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
        // Bedrock's names have a place before the maker's.
        if begins(&["claude-"]) || name.contains("anthropic.claude-") {
            Some(Vendor::Anthropic)
        } else if begins(&["gemini-"]) {
            Some(Vendor::Gemini)
        } else if begins(&["gpt-", "o1", "o3", "o4", "codex-", "chatgpt-"]) {
            Some(Vendor::OpenAi)
        } else {
            None
        }
    }

    /// The vendor whose API a model is asked for in: its maker's, and Chat Completions for all others,
    /// which is what their servers speak.
    #[must_use]
    pub fn of(model: &ModelId) -> Vendor {
        Vendor::maker(model).unwrap_or(Vendor::OpenAi)
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
