//! The real agents besides Claude Code, each through `tollgate run`: they loop over their tools, are told to
//! wrap up, get their last answer, are stopped at the cap and go by themselves; what they spent is what the
//! provider charged, to the pico-dollar.

use serde_json::{Value, json};
use tollgate::simulate::{Answer, Reply, Seen, ToolCall};

use crate::agents_fit::fits_every_tier;
use crate::agents_world::{AIDER, CODEX, Ended, GEMINI, MINI, OPENCODE, Real, run};

const STEER: &str = "Wrap up now";
const LAST_CALL: &str = "This is the last answer";
const STOPPED: &str = "Stopped at the cost cap";
/// What a person would be told.
const END: &str = "All is done.";

/// A budget file for an agent, whose every run goes to the medium tier.
fn budget(real: &Real, tier: &str, agent: &str, rest: &str) -> String {
    let row = "{ low: medium, medium: medium, high: medium }";
    let tiers = if tier.is_empty() { String::new() } else { format!("tiers: {{ medium: {tier} }}\n") };
    format!(
        "version: 1\nmode: enforce\n{tiers}tasks: {{ implementation: {row}, review: {row}, docs: {row} }}\n\
         agent: {{ use: {}{agent} }}\n{rest}",
        real.preset
    )
}

/// One more step of the work, by the tool that each agent has for it; aider has none, and edits a file.
fn step(seen: &Seen<'_>, output_tokens: u64) -> Answer {
    let said = format!("Step {} of the work.", seen.turns);
    // The same call again and again would be taken for a loop.
    let command = format!("echo done >> work.txt; seq -f 'line %g of build log {}' 1 60", seen.turns);
    let described = json!({ "command": command, "description": "Works" });
    let (text, calls) = if seen.has_tool("exec") {
        let script = format!("const r = await tools.exec_command({{ cmd: {command:?} }}); text(r.output);");
        (said, vec![ToolCall::new("exec", json!(script))])
    } else if seen.has_tool("run_shell_command") {
        (said, vec![ToolCall::new("run_shell_command", described)])
    } else if seen.has_tool("bash") {
        (said, vec![ToolCall::new("bash", described)])
    } else {
        let file = format!("step-{}.txt", seen.turns);
        (format!("{said}\n\n{file}\n```\n<<<<<<< SEARCH\n=======\ndone\n>>>>>>> REPLACE\n```\n"), Vec::new())
    };
    Answer { text, calls, ..Answer::default() }.of_tokens(output_tokens)
}

/// The end of the work.
fn end(seen: &Seen<'_>, output_tokens: u64) -> Answer {
    let hand_in = format!("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo '{END}'");
    // Of mini-swe-agent, which takes a turn without a call for a mistake.
    let mini = seen.tools == ["bash"];
    let calls = if mini { vec![ToolCall::new("bash", json!({ "command": hand_in }))] } else { Vec::new() };
    Answer { text: END.to_owned(), calls, ..Answer::default() }.of_tokens(output_tokens)
}

/// The generations with a note of this kind, by their place among all. No agent keeps one in its history.
fn noted(ended: &Ended, note: &str) -> Vec<usize> {
    let bodies = ended.witness.bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned());
    bodies.enumerate().filter(|(_, body)| body.contains(note)).map(|(at, _)| at).collect()
}

/// One that never listens: `stops` requests are refused at the end, until it goes by itself.
fn is_told_twice_and_then_stopped(real: &Real, budget: &str, output_tokens: u64, stops: u64) {
    let plan = move |seen: &Seen<'_>| -> Reply {
        // A title.
        if seen.turns == 0 && seen.tools.is_empty() && real_title(seen.body) {
            return Answer::text("A title").of_tokens(20).into();
        }
        step(seen, output_tokens).into()
    };
    let Some(ended) = run(real, "implementation", budget, plan) else { return };
    ended.measured(&format!("{}, which never listens", real.preset));
    ended.expect("warn", "capped", 0);
    ended.expect_exact();
    let (steers, last_calls) = (noted(&ended, STEER), noted(&ended, LAST_CALL));
    let last = ended.witness.bodies.len() - 1;
    assert!(steers.len() == 1 && steers[0] < last, "steered at {steers:?} of {last}\n{}", ended.said());
    assert_eq!(last_calls, [last], "the last request is the last call\n{}", ended.said());
    assert_eq!(ended.number("stopped_requests"), stops, "{}", ended.said());
    assert!(ended.share() >= 700, "{} ‰ of the cap\n{}", ended.share(), ended.said());
    // mini-swe-agent does not show a turn that it takes for a mistake.
    assert!(real.preset == "mini-swe-agent" || ended.run.stderr.contains(STOPPED), "{}", ended.said());
    assert!(ended.file("result.md").contains("Step "), "{}", ended.file("result.md"));
    let patch = ended.file("partial.patch");
    assert!(patch.lines().filter(|line| *line == "+done").count() >= 2, "{patch}");
    assert!(!patch.contains(".aider"), "an agent's own files are no work\n{patch}");
}

/// Whether a request asks for the title of a conversation.
fn real_title(body: &Value) -> bool {
    body["system"].to_string().contains("title generator")
}

/// One that ends by itself after `steps` steps, the first of which may be another's.
fn ends_under_its_cap(
    real: &Real,
    budget: &str,
    first: impl Fn(&Seen<'_>) -> Option<Answer> + Send + Sync + 'static,
    steps: u64,
) -> Option<Ended> {
    let plan = move |seen: &Seen<'_>| -> Reply {
        if let Some(answer) = first(seen) {
            return answer.into();
        }
        // aider, which has no tools, brings turns of its own.
        let done = if seen.tools.is_empty() { seen.index } else { seen.turns as u64 };
        if done < steps { step(seen, 500).into() } else { end(seen, 500).into() }
    };
    let ended = run(real, "implementation", budget, plan)?;
    ended.measured(&format!("{}, which ends by itself", real.preset));
    ended.expect("pass", "completed", 0);
    ended.expect_exact();
    assert_eq!(ended.number("stopped_requests"), 0, "{}", ended.said());
    assert_eq!((noted(&ended, STEER), noted(&ended, LAST_CALL)), (vec![], vec![]));
    assert!(ended.file("result.md").trim().ends_with(END), "{}\n{}", ended.file("result.md"), ended.said());
    let version = ended.run.stderr.lines().find(|line| line.starts_with("tollgate: agent "));
    let version = version.unwrap_or_else(|| panic!("no version\n{}", ended.said()));
    assert!(!version.contains("measured with"), "another version than the preset's: {version}");
    Some(ended)
}

/// What a sub-agent is told.
const PART: &str = "Do the part.";

/// Whether a request is the sub-agent's: of the main thread's, only what the model has said has the words.
fn is_the_parts(body: &Value) -> bool {
    let items = ["messages", "input", "contents"].iter().find_map(|field| body[*field].as_array());
    let models = |item: &Value| {
        let kind = item["type"].as_str().unwrap_or_default();
        item["role"] == "assistant" || item["role"] == "model" || kind == "function_call"
    };
    items.into_iter().flatten().any(|item| !models(item) && item.to_string().contains(PART))
}

/// A sub-agent was there and did its part.
fn has_a_sub_agent(ended: &Ended) {
    let parts = ended.bodies().iter().filter(|body| is_the_parts(body)).count();
    assert!(parts > 0 && parts < ended.bodies().len(), "{parts} requests of a sub-agent\n{}", ended.said());
}

#[test]
fn codex_is_stopped_at_its_cap() {
    let budget = budget(&CODEX, "{ model: gpt-6.1-sol, max_usd: 1.00 }", "", "");
    is_told_twice_and_then_stopped(&CODEX, &budget, 9_000, 1);
}

#[test]
fn codex_ends_by_itself_with_a_sub_agent() {
    let first = |seen: &Seen<'_>| match (seen.agent, seen.turns) {
        (Some(_), _) => Some(Answer::text("My part is done.").of_tokens(300)),
        (None, 0) => {
            let input = json!({ "task_name": "part", "message": "Do the part.", "fork_turns": "none" });
            Some(Answer::calls(vec![ToolCall::new("collaboration.spawn_agent", input)]).of_tokens(300))
        }
        (None, 1) => {
            let wait = ToolCall::new("collaboration.wait_agent", json!({ "timeout_ms": 10_000 }));
            Some(Answer::calls(vec![wait]).of_tokens(300))
        }
        _ => None,
    };
    let Some(ended) = ends_under_its_cap(&CODEX, &budget(&CODEX, "", "", ""), first, 3) else { return };
    has_a_sub_agent(&ended);
    assert_eq!(ended.text("model"), "gpt-6.1-terra");
    fits_every_tier(&CODEX, &ended, "POST /v1/responses");
}

#[test]
fn gemini_is_stopped_at_its_cap() {
    let budget = budget(&GEMINI, "{ model: gemini-3.8-flash, max_usd: 0.40 }", "", "");
    is_told_twice_and_then_stopped(&GEMINI, &budget, 9_000, 1);
}

#[test]
fn gemini_ends_by_itself_with_a_sub_agent() {
    let first = |seen: &Seen<'_>| match (seen.agent, seen.turns) {
        (Some(_), _) => {
            let result = json!({ "result": { "response": "My part is done." } });
            let part = ToolCall::new("complete_task", result);
            Some(Answer::calls(vec![part]).of_tokens(300))
        }
        (None, 0) => {
            let input = json!({ "agent_name": "generalist", "prompt": "Do the part." });
            Some(Answer::calls(vec![ToolCall::new("invoke_agent", input)]).of_tokens(300))
        }
        _ => None,
    };
    let Some(ended) = ends_under_its_cap(&GEMINI, &budget(&GEMINI, "", "", ""), first, 2) else { return };
    has_a_sub_agent(&ended);
    assert_eq!(ended.text("model"), "gemini-3.8-flash");
    fits_every_tier(&GEMINI, &ended, "POST /v1beta/models/MODEL:streamGenerateContent?alt=sse");
}

#[test]
fn opencode_is_stopped_at_its_cap() {
    let budget = budget(&OPENCODE, "{ model: claude-opus-5-5, max_usd: 1.20 }", "", "");
    is_told_twice_and_then_stopped(&OPENCODE, &budget, 6_000, 1);
}

#[test]
fn opencode_ends_by_itself_with_a_sub_agent_and_a_title() {
    let first = |seen: &Seen<'_>| match (is_the_parts(seen.body), seen.turns) {
        (true, _) => Some(Answer::text("My part is done.").of_tokens(300)),
        (false, 0) if seen.tools.is_empty() => Some(Answer::text("A title").of_tokens(20)),
        (false, 0) => {
            let input =
                json!({ "description": "part", "prompt": "Do the part.", "subagent_type": "general" });
            Some(Answer::calls(vec![ToolCall::new("task", input)]).of_tokens(300))
        }
        _ => None,
    };
    let Some(ended) = ends_under_its_cap(&OPENCODE, &budget(&OPENCODE, "", "", ""), first, 2) else { return };
    has_a_sub_agent(&ended);
    let models: Vec<&String> = ended.summary["by_model"].as_object().expect("models").keys().collect();
    assert_eq!(models, ["claude-haiku-5-5", "claude-sonnet-5-5"], "{}", ended.said());
    for model in models {
        assert!(ended.run.stdout.contains(model.as_str()), "the comment shows {model}\n{}", ended.said());
    }
    fits_every_tier(&OPENCODE, &ended, "POST /v1/messages");
}

#[test]
fn mini_is_stopped_at_its_cap() {
    let budget = budget(&MINI, "{ model: claude-opus-5-5, max_usd: 1.20 }", "", "");
    // A turn without a call is a mistake to it; after the third it goes.
    is_told_twice_and_then_stopped(&MINI, &budget, 6_000, 3);
}

#[test]
fn mini_ends_by_itself_at_openai() {
    let budget = budget(&MINI, "{ model: gpt-6.1-terra, max_usd: 0.80 }", "", "");
    let Some(ended) = ends_under_its_cap(&MINI, &budget, |_| None, 2) else { return };
    fits_every_tier(&MINI, &ended, "POST /v1/chat/completions");
}

/// Its tests fail for ever, so that it tries again, three times at most.
const FAILING_TESTS: &str = ", args: [--auto-test, --test-cmd, \"false\"]";

#[test]
fn aider_is_stopped_at_its_cap() {
    let tier = "{ model: claude-sonnet-5-5, max_usd: 0.15 }";
    let budget = budget(&AIDER, tier, FAILING_TESTS, "steer_at: 50\n");
    is_told_twice_and_then_stopped(&AIDER, &budget, 4_096, 1);
}

#[test]
fn aider_ends_by_itself_at_openai() {
    let budget = budget(&AIDER, "{ model: gpt-6.1-terra, max_usd: 0.80 }", FAILING_TESTS, "");
    let Some(ended) = ends_under_its_cap(&AIDER, &budget, |_| None, 1) else { return };
    fits_every_tier(&AIDER, &ended, "POST /v1/chat/completions");
}
