//! The agents that tollgate knows how to start, by name.
//!
//! How each is started is the business of `agent::preset`; what is here is what a budget file, a price and
//! a key have to know of them.

use crate::model::{ModelId, Vendor};

/// An agent that tollgate knows how to start, or a command of the user's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
    /// aider.
    Aider,
    /// mini-swe-agent.
    Mini,
    /// Whatever the budget file says.
    Command,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 7] = [
        Preset::Claude,
        Preset::Codex,
        Preset::Gemini,
        Preset::Opencode,
        Preset::Aider,
        Preset::Mini,
        Preset::Command,
    ];

    /// The word for it in the budget file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Preset::Claude => "claude",
            Preset::Codex => "codex",
            Preset::Gemini => "gemini",
            Preset::Opencode => "opencode",
            Preset::Aider => "aider",
            Preset::Mini => "mini-swe-agent",
            Preset::Command => "command",
        }
    }

    /// What its makers call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Preset::Claude => "Claude Code",
            Preset::Codex => "Codex",
            Preset::Gemini => "Gemini CLI",
            Preset::Opencode => "opencode",
            Preset::Aider => "aider",
            Preset::Mini => "mini-swe-agent",
            Preset::Command => "a command",
        }
    }

    /// The only vendor whose API it speaks; `None` where it goes by the model.
    #[must_use]
    pub const fn only(self) -> Option<Vendor> {
        match self {
            Preset::Claude => Some(Vendor::Anthropic),
            Preset::Codex => Some(Vendor::OpenAi),
            Preset::Gemini => Some(Vendor::Gemini),
            Preset::Opencode | Preset::Aider | Preset::Mini | Preset::Command => None,
        }
    }

    /// Whether it can ask a cloud for Claude in Anthropic's place. Of the presets Claude Code alone does; a
    /// command may.
    #[must_use]
    pub const fn speaks_to_clouds(self) -> bool {
        matches!(self, Preset::Claude | Preset::Command)
    }

    /// The vendor that it asks for a model; `None` for a command, of which nobody knows.
    #[must_use]
    pub fn vendor(self, model: &ModelId) -> Option<Vendor> {
        match self {
            Preset::Command => None,
            other => Some(other.only().unwrap_or_else(|| Vendor::of(model))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_asks_its_own_vendor_or_the_models() {
        for (preset, model, vendor) in [
            (Preset::Claude, "claude-opus-5-5", Some(Vendor::Anthropic)),
            // A gateway may serve any model in Anthropic's words.
            (Preset::Claude, "kimi-k3", Some(Vendor::Anthropic)),
            (Preset::Codex, "gpt-6.1-sol", Some(Vendor::OpenAi)),
            (Preset::Gemini, "gemini-3.8-flash", Some(Vendor::Gemini)),
            (Preset::Opencode, "claude-opus-5-5", Some(Vendor::Anthropic)),
            (Preset::Aider, "gemini-3.8-flash", Some(Vendor::Gemini)),
            (Preset::Mini, "deepseek-flash", Some(Vendor::OpenAi)),
            (Preset::Command, "claude-opus-5-5", None),
        ] {
            assert_eq!(preset.vendor(&ModelId::new(model)), vendor, "{} {model}", preset.as_str());
        }
    }
}
