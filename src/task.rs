//! The words routing is written in: task, stakes, tier.

use serde::{Deserialize, Serialize};

/// What an agent is asked to do with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Write or change code.
    Implementation,
    /// Judge, explain or summarise; change nothing.
    Review,
    /// Write or change prose.
    Docs,
}

impl Task {
    /// Every task, in the order they are listed to people.
    pub const ALL: [Task; 3] = [Task::Implementation, Task::Review, Task::Docs];

    /// The task's name in files and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Task::Implementation => "implementation",
            Task::Review => "review",
            Task::Docs => "docs",
        }
    }
}

/// What a mistake would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stakes {
    /// Formatting, labels, a typo: anybody sees the mistake, and undoes it.
    Low,
    /// An ordinary change.
    Medium,
    /// Security, data, architecture, or a request that is still ambiguous.
    High,
}

impl Stakes {
    /// Every level, lowest first.
    pub const ALL: [Stakes; 3] = [Stakes::Low, Stakes::Medium, Stakes::High];

    /// The level's name in files and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Stakes::Low => "low",
            Stakes::Medium => "medium",
            Stakes::High => "high",
        }
    }
}

/// How hard a model is to think, where its agent or its API lets that be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// As little as will do.
    Low,
    /// The middle one.
    Medium,
    /// Thoroughly.
    High,
    /// More than that, where there is more.
    XHigh,
    /// Without restraint.
    Max,
}

impl Effort {
    /// The effort's name in files, and in what agents take.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh => "xhigh",
            Effort::Max => "max",
        }
    }
}

/// A class of models, dearest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The cheapest.
    Low,
    /// The middle one.
    Medium,
    /// The most capable.
    High,
}

impl Tier {
    /// Every tier, cheapest first.
    pub const ALL: [Tier; 3] = [Tier::Low, Tier::Medium, Tier::High];

    /// The tier's name in files and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Low => "low",
            Tier::Medium => "medium",
            Tier::High => "high",
        }
    }

    /// The next cheaper tier.
    #[must_use]
    pub const fn cheaper(self) -> Option<Tier> {
        match self {
            Tier::Low => None,
            Tier::Medium => Some(Tier::Low),
            Tier::High => Some(Tier::Medium),
        }
    }

    /// The next dearer tier.
    #[must_use]
    pub const fn dearer(self) -> Option<Tier> {
        match self {
            Tier::Low => Some(Tier::Medium),
            Tier::Medium => Some(Tier::High),
            Tier::High => None,
        }
    }
}

macro_rules! named {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.into_iter().find(|value| value.as_str() == text).ok_or(())
            }
        }
    )*};
}
named!(Task, Stakes, Tier);
