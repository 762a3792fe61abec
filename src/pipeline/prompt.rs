//! What the agent is told where the budget file has no prompt of its own.

use crate::budget::Agent;
use crate::event::Event;
use crate::task::Task;

/// The agent's prompt for a task.
///
/// Only facts that no outsider can word go in: numbers and names of branches that git allows. Title, body
/// and comments are text by anybody, so the agent is told where to find the change instead of being told
/// what they say; a comment by somebody who may write to the repository is quoted, because it is the ask.
#[must_use]
pub(super) fn for_task(agent: &Agent, task: Task, event: &Event) -> String {
    if let Some(prompt) = agent.prompt.get(&task) {
        return prompt.clone();
    }
    let what = match task {
        Task::Review => {
            "Review the change at hand. Say what is wrong, what is risky and what is missing, each with its file \
             and line, the most serious first. Change nothing."
        }
        Task::Docs => {
            "Bring the documentation in line with the change at hand: correct what it made untrue, add what it \
             made necessary, and leave the code alone."
        }
        Task::Implementation => {
            "Do what the change at hand asks for, with tests, in the style of the code around it. Keep it small. \
             Leave the work uncommitted."
        }
    };
    let mut prompt = what.to_owned();
    if let Some(change) = &event.change {
        if let Some(number) = change.number {
            prompt.push_str(&format!(" It is pull request #{number}."));
        }
        if !change.base.is_empty() {
            prompt.push_str(&format!(
                " See it with `git diff origin/{}...HEAD`, or HEAD's last commit.",
                change.base
            ));
        }
    }
    if let Some((text, author)) = &event.comment
        && author.trusted()
    {
        prompt.push_str(&format!("\n\n{} asks:\n\n{text}", author.login));
    }
    prompt.push_str("\n\nEnd with a short summary of what you did, what you left undone and why.");
    prompt
}
