//! The real Claude Code under a cap: steered, given its last call, stopped, and gone by itself; what it
//! spent is what the provider charged, to the pico-dollar.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::simulate::{Answer, Fault, Reply, Seen, ToolCall, Wait};

use crate::agents_world::{Ended, budget, claude};

const STEER: &str = "Wrap up now";
const LAST_CALL: &str = "This is the last answer";
const STOPPED: &str = "Stopped at the cost cap";

/// Appends a line to a file and prints some kilobytes, as a build does.
fn work() -> ToolCall {
    ToolCall::bash("echo done >> work.txt; seq -f 'line %g of the build log' 1 60")
}

/// One more step of the work.
fn step(seen: &Seen<'_>, output_tokens: u64) -> Answer {
    let text = format!("Step {} of the work.", seen.turns);
    Answer { text, ..Answer::calls(vec![work()]) }.of_tokens(output_tokens)
}

/// Four parts of the work for four sub-agents.
fn four_parts(seen: &Seen<'_>, output_tokens: u64) -> Answer {
    let parts = ["first", "second", "third", "fourth"];
    Answer::calls(parts.map(|part| ToolCall::sub_agent(seen, &format!("Do the {part} part."))).to_vec())
        .of_tokens(output_tokens)
}

/// The generations that end with a note of this kind, by their place among all.
fn noted(ended: &Ended, note: &str) -> Vec<usize> {
    let bodies = ended.bodies();
    let has = |body: &Value| {
        let messages = body["messages"].as_array().expect("messages");
        let user = messages.iter().rev().find(|message| message["role"] == "user").expect("a user's message");
        user["content"]
            .as_array()
            .and_then(|blocks| blocks.last()?["text"].as_str().map(|t| t.contains(note)))
            == Some(true)
    };
    (0..bodies.len()).filter(|&index| has(&bodies[index])).collect()
}

/// What the provider may have cached of a request: everything up to its last mark, marks left out.
fn cached_prefix(body: &Value) -> String {
    let mut pieces: Vec<(String, bool)> = vec![(body["tools"].to_string(), false)];
    let mut push = |role: &Value, content: &Value| {
        let one = std::slice::from_ref(content);
        for block in content.as_array().map_or(one, Vec::as_slice) {
            let mut block =
                if block.is_string() { json!({ "type": "text", "text": block }) } else { block.clone() };
            let mark = block.as_object_mut().and_then(|fields| fields.remove("cache_control"));
            pieces.push((format!("{role}{block}"), mark.is_some()));
        }
    };
    push(&json!("system"), &body["system"]);
    for message in body["messages"].as_array().expect("messages") {
        push(&message["role"], &message["content"]);
    }
    let end = pieces.iter().rposition(|(_, marked)| *marked).expect("Claude Code marks what is to be cached");
    pieces[..=end].iter().map(|(text, _)| text.as_str()).collect()
}

#[test]
fn one_that_never_listens_is_told_twice_and_then_stopped() {
    let tier = "{ model: claude-opus-5-5, max_usd: 4.00 }";
    let plan = |seen: &Seen<'_>| step(seen, 4_500).into();
    let Some(ended) = claude("implementation", &budget("high", tier), plan) else { return };
    ended.measured("alone, requests of 2.5 % of the cap");
    ended.expect("warn", "capped", 0);
    ended.expect_exact();

    let (steers, last_calls) = (noted(&ended, STEER), noted(&ended, LAST_CALL));
    let last = ended.witness.bodies.len() - 1;
    assert!(steers.len() == 1 && steers[0] < last, "steered at {steers:?} of {last}");
    assert_eq!(last_calls, [last], "the last request is the last call");
    assert_eq!(ended.number("stopped_requests"), 1);
    assert!(ended.share() >= 900, "{} ‰ of the cap", ended.share());

    let prefixes: Vec<String> = ended.bodies().iter().map(cached_prefix).collect();
    for (earlier, later) in prefixes.iter().zip(&prefixes[1..]) {
        assert!(later.starts_with(earlier.as_str()), "the cached prefix has changed");
    }
    for (earlier, later) in ended.witness.bills.iter().zip(&ended.witness.bills[1..]) {
        let cached =
            earlier.counts.cache_read + earlier.counts.cache_write_5m + earlier.counts.cache_write_1h;
        assert_eq!(later.counts.cache_read, cached, "all that was cached is read again");
    }

    let bodies = ended.bodies();
    let messages = bodies[last]["messages"].as_array().expect("messages");
    let turns = messages.iter().filter(|message| message["role"] == "assistant").count();
    let last_words = format!("Step {turns} of the work.");
    assert!(ended.run.stderr.contains(STOPPED) && ended.run.stderr.contains(&last_words), "{}", ended.said());
    assert!(ended.file("result.md").contains(&last_words), "{}", ended.file("result.md"));
    let patch = ended.file("partial.patch");
    let lines = patch.lines().filter(|line| *line == "+done").count();
    assert!(patch.contains("+++ b/work.txt") && lines == last + 1, "{lines} lines of work\n{patch}");
}

#[test]
fn one_that_obeys_the_last_call_has_the_last_word() {
    let tier = "{ model: claude-opus-5-5, max_usd: 1.20 }";
    for (task, verdict, code) in [("review", "fail", 4), ("docs", "warn", 0)] {
        let plan = |seen: &Seen<'_>| {
            let told = seen.last_text.contains(LAST_CALL);
            let end =
                || Answer::text("Done: the half. Not done: the rest. Next: the tests.").of_tokens(2_000);
            if told { end().into() } else { step(seen, 6_000).into() }
        };
        let Some(ended) = claude(task, &budget("high", tier), plan) else { return };
        ended.measured("obedient, requests of 10 % of the cap");
        ended.expect(verdict, "capped", code);
        ended.expect_exact();
        assert_eq!(noted(&ended, LAST_CALL), [ended.witness.bodies.len() - 1]);
        assert_eq!(ended.number("stopped_requests"), 0, "it ended by itself\n{}", ended.said());
        assert!(ended.share() >= 800, "{} ‰ of the cap", ended.share());
        let words = "Done: the half. Not done: the rest. Next: the tests.";
        assert_eq!(ended.file("result.md").trim(), words);
        assert!(ended.run.stderr.contains(words), "{}", ended.said());
    }
}

#[test]
fn four_sub_agents_stop_at_the_cap_and_leave_the_landing_to_the_main_thread() {
    let tier = "{ model: claude-opus-5-5, max_usd: 4.00 }";
    let plan = |seen: &Seen<'_>| match (seen.agent, seen.turns) {
        (Some(_), _) => {
            Reply { before: Some(Wait::Time(Duration::from_millis(50))), ..step(seen, 9_000).into() }
        }
        (None, 0) => four_parts(seen, 1_000).into(),
        (None, _) => Answer::text("The parts got as far as they did.").of_tokens(1_000).into(),
    };
    let Some(ended) = claude("implementation", &budget("high", tier), plan) else { return };
    ended.measured("four sub-agents, requests of 5 % of the cap");
    ended.expect("warn", "capped", 0);
    ended.expect_exact();
    let agents: std::collections::BTreeSet<_> =
        ended.senders.iter().filter_map(|s| s.agent.clone()).collect();
    assert_eq!(agents.len(), 4, "{:?}", ended.senders);
    assert!(ended.witness.peak >= 2, "they work side by side");
    let last = ended.senders.last().expect("a sender");
    assert_eq!(last.agent, None, "the main thread has the last word");
    assert_eq!(ended.file("result.md").trim(), "The parts got as far as they did.");
    assert!(ended.share() >= 800, "{} ‰ of the cap", ended.share());
}

#[test]
fn four_parallel_requests_fit_the_high_tier() {
    default_tier_fits("high");
}

#[test]
fn four_parallel_requests_fit_the_medium_tier() {
    default_tier_fits("medium");
}

#[test]
fn four_parallel_requests_fit_the_low_tier() {
    default_tier_fits("low");
}

/// Sub-agents' first answers take a while, so that all four would be in flight at once. Those that the
/// meter makes wait for room are counted in what is printed; none is stopped, and none gets less room to
/// answer in than it asked for.
fn default_tier_fits(tier: &str) {
    let plan = |seen: &Seen<'_>| -> Reply {
        match (seen.agent, seen.turns) {
            (None, 0) => four_parts(seen, 800).into(),
            (None, _) => Answer::text("All four parts are done.").of_tokens(800).into(),
            (Some(_), 0) => {
                let before = Some(Wait::Time(Duration::from_millis(400)));
                Reply { before, ..step(seen, 800).into() }
            }
            (Some(_), 1) => step(seen, 800).into(),
            (Some(_), _) => Answer::text("My part is done.").of_tokens(800).into(),
        }
    };
    let Some(ended) = claude("implementation", &budget(tier, ""), plan) else { return };
    ended.measured(&format!("four sub-agents in the {tier} tier as it comes"));
    ended.expect("pass", "completed", 0);
    ended.expect_exact();
    assert_eq!(ended.number("stopped_requests"), 0, "{}", ended.said());
    assert_eq!(ended.number("requests"), 2 + 4 * 3, "{}", ended.said());
    assert_eq!((noted(&ended, STEER), noted(&ended, LAST_CALL)), (vec![], vec![]));
    let cut: Vec<Value> = ended.bodies().iter().map(|body| body["max_tokens"].clone()).collect();
    assert!(cut.iter().all(|cap| *cap == cut[0]), "an output cap was lowered: {cut:?}");
}

#[test]
fn a_run_that_ends_under_its_cap_passes_and_shows_its_side_calls() {
    let plan = |seen: &Seen<'_>| -> Reply {
        match (seen.agent, seen.turns) {
            (Some(_), _) => Answer::text("It is a function that returns one.").of_tokens(500).into(),
            (None, 0) => {
                let mut call = ToolCall::sub_agent(seen, "What is src/lib.rs?");
                call.input["model"] = json!("haiku");
                Answer::calls(vec![call]).of_tokens(500).into()
            }
            (None, 1) => step(seen, 500).into(),
            (None, _) => Answer::text("All is done.").of_tokens(500).into(),
        }
    };
    let Some(ended) = claude("implementation", &budget("high", ""), plan) else { return };
    ended.measured("a run that ends by itself");
    ended.expect("pass", "completed", 0);
    ended.expect_exact();
    assert_eq!(ended.file("result.md").trim(), "All is done.");
    let models: Vec<&String> = ended.summary["by_model"].as_object().expect("models").keys().collect();
    assert_eq!(models, ["claude-haiku-5-5", "claude-opus-5-5"], "{}", ended.said());
    for model in models {
        assert!(ended.run.stdout.contains(model.as_str()), "the comment shows {model}\n{}", ended.said());
    }
}

/// Two steps and an end, where the `failing`th generation fails.
fn hiccup(failing: u64, fault: Fault) -> impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static {
    move |seen| {
        let end = || Answer::text("All is done.").of_tokens(500);
        let reply: Reply = if seen.turns < 2 { step(seen, 500).into() } else { end().into() };
        if seen.index == failing { Reply { fault: fault.clone(), ..reply } } else { reply }
    }
}

#[test]
fn an_overloaded_provider_costs_nothing_and_is_asked_again() {
    let fault = Fault::Status { status: 529, retry_after: None };
    let Some(ended) = claude("implementation", &budget("high", ""), hiccup(1, fault)) else { return };
    ended.measured("one refusal");
    ended.expect("pass", "completed", 0);
    ended.expect_exact();
    assert_eq!(ended.witness.generations, 4, "{}", ended.said());
}

#[test]
fn a_stream_that_dies_counts_at_its_bound_and_the_run_goes_on() {
    let Some(ended) = claude("implementation", &budget("high", ""), hiccup(1, Fault::CloseAfterEvents(4)))
    else {
        return;
    };
    ended.measured("one stream that died");
    ended.expect("pass", "completed", 0);
    assert!(ended.spent() >= ended.witness.usd, "{}", ended.said());
    let (estimated, lost) = (ended.usd("estimated_usd"), &ended.witness.bills[1]);
    assert!(!lost.told && estimated >= lost.usd, "{}", ended.said());
    assert_eq!(
        ended.spent() - estimated,
        ended.witness.usd - lost.usd,
        "the rest is exact\n{}",
        ended.said()
    );
}
