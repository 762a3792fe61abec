//! The real Claude Code on Google Vertex and on Amazon Bedrock, through the meter, against a provider that checks
//! who asks, charges what a region costs, and keeps its own account.

use serde_json::Value;
use tollgate::simulate::clouds::{ACCESS_KEY, BEDROCK_TOKEN, SECRET_KEY, SESSION_TOKEN, VERTEX_TOKEN};
use tollgate::simulate::{Answer, Fault, Reply, Seen, ToolCall};

use crate::agents_world::{Door, Ended, budget, claude_through};

fn vertex(location: &str) -> Door {
    let env = vec![
        ("TOLLGATE_VERTEX_ACCESS_TOKEN", VERTEX_TOKEN.to_owned()),
        ("ANTHROPIC_VERTEX_PROJECT_ID", "acme-ci".to_owned()),
        ("CLOUD_ML_REGION", location.to_owned()),
    ];
    Door { env, api: "vertex" }
}

fn bedrock() -> Door {
    let env = vec![
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned()),
    ];
    Door { env, api: "bedrock" }
}

/// One more step of the work; it looks for credentials on the way.
fn step(seen: &Seen<'_>, output_tokens: u64) -> Answer {
    let call = ToolCall::bash("env; cat /proc/self/environ; seq -f 'line %g of the build log' 1 60");
    let text = format!("Step {} of the work.", seen.turns);
    Answer { text, ..Answer::calls(vec![call]) }.of_tokens(output_tokens)
}

/// What holds of every run on a cloud.
#[track_caller]
fn always(ended: &Ended) {
    let said = ended.said();
    let bodies: String = ended.bodies().iter().map(Value::to_string).collect();
    for secret in [VERTEX_TOKEN, SECRET_KEY, SESSION_TOKEN, BEDROCK_TOKEN] {
        assert!(!said.contains(secret), "a secret was printed\n{said}");
        assert!(!bodies.contains(secret), "the agent saw a secret\n{said}");
    }
    assert!(ended.witness.heads.iter().all(|head| !head.contains_key("x-api-key")), "{said}");
    let models: Vec<&String> = ended.summary["by_model"].as_object().expect("models").keys().collect();
    assert_eq!(models, ["claude-opus-5-5"], "whatever the cloud calls it\n{said}");
    assert!(!ended.run.stdout.contains("of which side calls"), "{said}");
}

/// Runs one that never listens, to its cap.
fn is_stopped(door: Door, tenths: i128) {
    let tier = "{ model: claude-opus-5-5, max_usd: 4.00 }";
    let api = door.api;
    let Some(ended) =
        claude_through(door, "implementation", &budget("high", tier), |seen| step(seen, 4_500).into())
    else {
        return;
    };
    ended.measured(&format!("{api}, alone, requests of 2.5 % of the cap"));
    ended.expect("warn", "capped", 0);
    ended.expect_exact();
    always(&ended);
    let texts: Vec<String> = ended.bodies().iter().map(Value::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("Wrap up now")), "it was steered\n{}", ended.said());
    assert!(texts.last().is_some_and(|text| text.contains("This is the last answer")), "{}", ended.said());
    assert_eq!(ended.number("stopped_requests"), 1, "{}", ended.said());
    assert!(ended.run.stderr.contains("Stopped at the cost cap"), "it has read the stop\n{}", ended.said());
    // Claude Code says more on a cloud than to Anthropic itself, and a landing is reckoned at the cloud's price.
    assert!(ended.share() >= 850, "{} ‰ of the cap", ended.share());
    // The price is the region's: what the first answer cost at list price, in tenths.
    let bill = &ended.witness.bills[0];
    let list = tollgate::simulate::live_rates("claude-opus-5-5", bill.counts.prompt()).expect("a live model");
    let written = i128::from(bill.counts.cache_write_5m) * (list.input + list.input / 4)
        + i128::from(bill.counts.cache_write_1h) * list.input * 2;
    let whole = i128::from(bill.counts.input) * list.input
        + i128::from(bill.counts.cache_read) * list.read
        + written
        + i128::from(bill.counts.output) * list.output;
    assert_eq!(bill.usd.pico(), whole / 10 * tenths);
}

#[test]
fn vertex_in_a_region_is_metered_at_its_price_and_stopped() {
    is_stopped(vertex("us-east5"), 11);
}

#[test]
fn vertex_anywhere_is_metered_at_list_price_and_stopped() {
    is_stopped(vertex("global"), 10);
}

#[test]
fn bedrock_is_signed_metered_at_its_price_and_stopped_in_its_own_frames() {
    is_stopped(bedrock(), 11);
}

/// Two steps and an end, where the second generation fails.
fn hiccup(fault: Fault) -> impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static {
    move |seen| {
        let end = || Answer::text("All is done.").of_tokens(500);
        let reply: Reply = if seen.turns < 2 { step(seen, 500).into() } else { end().into() };
        if seen.index == 1 { Reply { fault: fault.clone(), ..reply } } else { reply }
    }
}

#[test]
fn a_bedrock_stream_that_breaks_counts_at_its_bound_and_the_run_goes_on() {
    let plan = hiccup(Fault::CloseAfterEvents(4));
    let Some(ended) = claude_through(bedrock(), "implementation", &budget("high", ""), plan) else { return };
    ended.expect("pass", "completed", 0);
    always(&ended);
    let (estimated, lost) = (ended.usd("estimated_usd"), &ended.witness.bills[1]);
    assert!(!lost.told && estimated >= lost.usd, "{}", ended.said());
    assert_eq!(
        ended.spent() - estimated,
        ended.witness.usd - lost.usd,
        "the rest is exact\n{}",
        ended.said()
    );
}

#[test]
fn bedrock_takes_a_bearer_in_a_signature_s_place() {
    let env =
        vec![("AWS_REGION", "us-east-1".to_owned()), ("AWS_BEARER_TOKEN_BEDROCK", BEDROCK_TOKEN.to_owned())];
    let plan = hiccup(Fault::Status { status: 429, retry_after: None });
    let door = Door { env, api: "bedrock" };
    let Some(ended) = claude_through(door, "implementation", &budget("high", ""), plan) else { return };
    ended.expect("pass", "completed", 0);
    ended.expect_exact();
    always(&ended);
    assert_eq!(ended.file("result.md").trim(), "All is done.");
}
