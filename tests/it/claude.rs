//! The real Claude Code under a cap: steered, given its last call, stopped, and gone by itself; what it
//! spent is what the provider charged, to the pico-dollar.

use serde_json::Value;
use tollgate::simulate::{Answer, Reply, Seen, ToolCall};

use crate::claude_world::{budget, claude};

/// Appends a line to a file and prints some kilobytes, as a build does.
fn work() -> ToolCall {
    ToolCall::bash("echo done >> work.txt; seq -f 'line %g of the build log' 1 60")
}

/// Works on and on, whatever it is told.
fn stubborn(output_tokens: u64) -> impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static {
    move |seen| {
        let mut answer = Answer::calls(vec![work()]);
        answer.text = format!("Step {}.", seen.turns);
        answer.of_tokens(output_tokens).into()
    }
}

#[test]
fn one_that_never_listens_is_told_twice_and_then_stopped() {
    let tier = "{ model: claude-opus-5-5, max_usd: 4.00 }";
    let Some(ended) = claude("implementation", &budget("high", tier), stubborn(4_500)) else { return };
    ended.measured("alone, requests of 2.5 % of the cap");
    println!("{}", ended.said());
    ended.expect("warn", "capped", 0);
    ended.expect_exact();
}
