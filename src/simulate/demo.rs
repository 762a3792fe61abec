//! The script of `tollgate run --simulate`: an agent that looks around for a while, and then sums up; and an
//! opinion where the classifier asks for one.

use std::time::Duration;

use super::{Answer, Reply, Script, Seen, ToolCall, Wait};

/// Turns until the agent is done.
const TURNS: usize = 20;
/// Output of a turn, in tokens: what an agent writes while it thinks and edits.
const TURN_TOKENS: u64 = 2_000;
/// How long an answer takes, so that a person can follow the live meter.
const PACE: Duration = Duration::from_millis(60);

impl Script {
    /// Twenty turns with a tool call each, then a summary; a summary at once when it is told to wrap up.
    #[must_use]
    pub fn demo() -> Self {
        Self::new(|seen| Reply { before: Some(Wait::Time(PACE)), ..turn(seen).into() })
    }
}

fn turn(seen: &Seen<'_>) -> Answer {
    // The classifier's question, which names the words of its answer.
    if seen.body["system"].as_str().is_some_and(|system| system.contains("\"stakes\"")) {
        return Answer::text("{\"task\": \"implementation\", \"stakes\": \"medium\"}").of_tokens(20);
    }
    let told = seen.last_text.to_lowercase().contains("last answer");
    let tool = seen.tools.first().filter(|_| !told && seen.turns < TURNS);
    match tool {
        Some(tool) => Answer::calls(vec![ToolCall::new(tool, serde_json::json!({}))]).of_tokens(TURN_TOKENS),
        None => Answer::text(
            "This was a simulation: no model read the change, and no money was spent. With a key, the agent's \
             own summary stands here: what it did, what it left undone, and why.",
        ),
    }
}
