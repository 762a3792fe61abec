//! Classify: what is asked for, and what a mistake would cost.

use serde::Serialize;

use crate::task::{Stakes, Task};

/// The nature of a change itself, whatever was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Prose, comments, licences, diagrams.
    Docs,
    /// Everything else.
    Implementation,
}

/// The classifier's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// What is asked for.
    pub task: Task,
    /// The nature of the change itself.
    pub change_kind: ChangeKind,
    /// What a mistake would cost.
    pub stakes: Stakes,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Why, in words, the strongest reason first.
    pub reasons: Vec<String>,
}
