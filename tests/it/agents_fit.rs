//! Four first requests of an agent at once, in every default tier: none is stopped, and none gets less room to
//! answer in than it asked for. How many of them the meter lets leave at the same time is printed: where it
//! goes by their bytes first, a later one may wait for an earlier one to end.
//!
//! The request is the one that the real agent has sent; what the meter had put into it is taken out again.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::budget;
use tollgate::meter::{Allowance, Config};
use tollgate::pipeline::output_tokens_max;
use tollgate::preset::Preset;
use tollgate::price::Table;
use tollgate::simulate::{Answer, Reply, Script, Wait};
use tollgate::task::Tier;

use crate::agents_world::{Ended, Real};
use crate::meter_rig::{self as rig, Client, Provider};

/// At once, as sub-agents do.
const PARALLEL: usize = 4;

/// Checks the first request of the agent's main thread in the three tiers that its preset has by default, or in
/// those with the models of its vendor. `line` is the request line, with `MODEL` where the path names one.
pub(crate) fn fits_every_tier(real: &Real, ended: &Ended, line: &'static str) {
    let offers =
        |body: &&Value| ["messages", "input", "contents"].iter().any(|field| !body[*field].is_null());
    let bodies = ended.bodies();
    let main = |body: &&Value| real.preset != "opencode" || body["tools"].is_array();
    let first = bodies.iter().filter(offers).find(main).expect("a first request");
    for tier in Tier::ALL {
        rig::run(fits(real, first, tier, line));
    }
}

async fn fits(real: &Real, first: &Value, tier: Tier, line: &'static str) {
    let preset = Preset::ALL.into_iter().find(|preset| preset.as_str() == real.preset).expect("a preset");
    let speaks = match line {
        _ if line.contains("generateContent") || line.contains("MODEL") => "gemini",
        "POST /v1/messages" => "claude",
        _ => "codex",
    };
    // Those of the vendor that the request was recorded at.
    let file = format!("version: 1\nagent: {{ use: {speaks} }}\n");
    let limits = budget::parse(&file, "budget").expect("a budget").tiers.get(tier).clone();
    let cap = output_tokens_max(preset, &limits.model, limits.max_usd, Table::embedded());
    let body = as_sent(first, limits.model.as_str(), cap);

    let script = Script::new(|_| Reply {
        before: Some(Wait::Time(Duration::from_millis(200))),
        ..Reply::from(Answer::text("Fine.").of_tokens(200))
    });
    let provider = Provider::start(script).await;
    let config = Config {
        allowance: Allowance { usd: limits.max_usd, fresh_tokens: limits.max_tokens },
        routed: Some(limits.model.clone().into()),
        output_default: Some(cap),
        ..rig::config(&provider, "1")
    };
    let meter = rig::start(config).await;
    let line: &'static str = line.replace("MODEL", limits.model.as_str()).leak();
    let client = Client::of(&meter).at(line);
    let text = body.to_string();
    let sent: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let (client, text) = (client.clone(), text.clone());
            tokio::spawn(async move { client.post(&text).await })
        })
        .collect();
    let what = format!("{} at the {tier} tier, {}", real.preset, limits.model);
    for one in sent {
        let got = one.await.expect("no client panics");
        assert!(got.status == 200 && !got.stopped(), "{what}: {got:?}");
    }
    let witness = provider.witness();
    let _ = writeln!(std::io::stderr(), "measured: {what}: {} of {PARALLEL} at once", witness.peak);
    assert_eq!(witness.violations, Vec::<String>::new(), "{what}");
    assert_eq!(witness.generations, PARALLEL as u64, "{what}");
    for sent in &witness.bodies {
        let sent: Value = serde_json::from_slice(sent).expect("JSON");
        let asked = ["max_output_tokens", "max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|field| sent[*field].as_u64())
            .or(sent["generationConfig"]["maxOutputTokens"].as_u64());
        assert_eq!(asked, Some(cap), "{what}: an answer got less room than it asked for");
    }
    drop(meter.drain(Duration::from_secs(4)).await);
}

/// The request as the agent sends it for that model.
fn as_sent(first: &Value, model: &str, cap: u64) -> Value {
    let mut body = first.clone();
    let Some(fields) = body.as_object_mut() else { panic!("a request is an object") };
    for added in ["max_output_tokens", "max_completion_tokens", "service_tier", "stream_options"] {
        fields.remove(added);
    }
    if let Some(config) = fields.get_mut("generationConfig").and_then(Value::as_object_mut) {
        config.remove("maxOutputTokens");
    }
    if fields.contains_key("max_tokens") {
        fields.insert("max_tokens".to_owned(), json!(cap));
    }
    if fields.contains_key("model") {
        fields.insert("model".to_owned(), json!(model));
    }
    body
}
