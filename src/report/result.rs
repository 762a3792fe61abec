//! The agent's result as a comment of its own on a pull request: what it said, or where its branch is.
//!
//! The comment that says what a run cost is [`super::comment`]'s; the two are told apart by their markers'
//! keys. What an agent says is a stranger's text: it goes through [`super::prose`].

use sha2::{Digest as _, Sha256};

use super::comment::Marker;
use super::{cut, defuse, prose};
use crate::id;
use crate::task::Task;

/// What stands where a result was cut.
const NOTICE: &str = "_The rest did not fit into a comment; it is in `result.md` of the run's folder._";

/// What is to be delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the agent was asked for.
    pub task: Task,
    /// The commit it looked at, where that is known.
    pub commit: Option<String>,
    /// The pull request's newest commit meanwhile, where it is another.
    pub moved_to: Option<String>,
    /// What the agent said last, to be shown.
    pub text: Option<String>,
    /// The branch with its work.
    pub branch: Option<Branch>,
    /// The agent did not come to its end by itself.
    pub unfinished: bool,
}

/// A branch that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its name, which tollgate made.
    pub name: String,
    /// The page that shows it beside the pull request's branch.
    pub url: String,
    /// The commit it goes on from.
    pub parent: String,
    /// How many files it changes.
    pub files: usize,
    /// Changed files that were left out.
    pub left_out: Vec<String>,
}

impl Delivery {
    /// Which of several comments on a pull request it is: one for each task.
    #[must_use]
    pub fn key(&self) -> String {
        format!("result.{}", self.task)
    }
}

/// The whole comment, at most as long as GitHub takes. `run_id` is the run's.
#[must_use]
pub fn render(delivery: &Delivery, run_id: &str) -> String {
    let body = body(delivery);
    let digest = Sha256::digest(body.as_bytes());
    let marker = Marker { key: delivery.key(), run: run_id.to_owned(), hash: id::hex(&digest[..8]) };
    cut::cut(&format!("{marker}\n{body}"), cut::COMMENT, NOTICE)
}

/// What people see of it.
#[must_use]
pub fn body(delivery: &Delivery) -> String {
    let what = match delivery.task {
        Task::Review => "review",
        Task::Docs => "work on the documentation",
        Task::Implementation => "work",
    };
    let of = delivery.commit.as_deref().map_or(String::new(), |commit| format!(" · {}", short(commit)));
    let mut out = format!("### The agent's {what}{of}\n\n");
    if let Some(moved) = &delivery.moved_to {
        out.push_str(&format!(
            "⚠️ The pull request has moved on to {} since: this is about the commit above.\n\n",
            short(moved)
        ));
    }
    if delivery.unfinished {
        out.push_str("⚠️ The agent was stopped before it had ended by itself.\n\n");
    }
    if let Some(branch) = &delivery.branch {
        out.push_str(&of_branch(branch));
    }
    if let Some(text) = &delivery.text {
        out.push_str(&prose::document(text));
        out.push_str("\n\n");
    }
    out.push_str("<sub>Written by an agent. Links, mentions and images in it are switched off.</sub>\n");
    out
}

fn of_branch(branch: &Branch) -> String {
    let files = if branch.files == 1 { "1 file".to_owned() } else { format!("{} files", branch.files) };
    let mut out = format!(
        "Its changes to {files} are on the branch [`{}`]({}), which goes on from {}. Nothing is merged.\n\n",
        branch.name,
        branch.url,
        short(&branch.parent)
    );
    if !branch.left_out.is_empty() {
        let names: Vec<String> =
            branch.left_out.iter().map(|name| defuse::prose(&format!("`{name}`"))).collect();
        out.push_str(&format!(
            "Left out, because a branch of an agent's never changes workflows: {}.\n\n",
            names.join(", ")
        ));
    }
    out
}

/// The beginning of a commit's name.
fn short(commit: &str) -> String {
    let hex: String = commit.chars().take_while(char::is_ascii_hexdigit).take(12).collect();
    format!("`{hex}`")
}

#[cfg(test)]
mod tests;
