//! The cap under load: one, five and twenty clients at once ask until they are stopped, in every way
//! that has cost other gates money. A row is a scenario; [`finish`] holds what is true of all of them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use tollgate::meter::{Config, Phase, Policy};
use tollgate::money::Usd;
use tollgate::simulate::{Fault, Script, Wait};

use crate::meter_rig::{
    Client, Ended, MESSAGES, Provider, body, config, finish, marked, policy, run, says, searches, searching,
    start, with,
};

/// How long the provider thinks when several clients ask at once.
const THOUGHT: Duration = Duration::from_millis(2);

/// How the clients behave, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// They read every answer; every usage comes.
    Exact,
    /// They go away in the middle of answers; the meter reads the usage all the same.
    Leaving,
    /// Every other answer breaks off before its usage is certain.
    Broken,
    /// The policy refuses the request, and nothing leaves.
    Refused,
}

/// Name, cap in dollars, request, provider, behaviour, and the least share of the cap in percent that
/// one, five and twenty clients spend.
type Scenario = (&'static str, &'static str, fn() -> Value, fn() -> Script, How, [i128; 3]);

#[rustfmt::skip]
const SCENARIOS: [Scenario; 12] = [
    // A request is 2 to 2.5 % of the cap: at least 95 % of the cap can be used.
    ("tight output",               "0.2", || body(400, 400),                       || says(400),          How::Exact,   [95, 95, 95]),
    ("tight output, no stream",    "0.2", || plain(body(400, 400)),                || says(400),          How::Exact,   [95, 95, 95]),
    ("32,000 asked, 400 said",     "1",   || body(400, 32_000),                    || says(400),          How::Exact,   [95, 95, 95]),
    ("32,000 asked, no stream",    "1",   || plain(body(400, 32_000)),             || says(400),          How::Exact,   [95, 95, 95]),
    ("1 h cache writes",           "0.3", || marked(body(8_000, 1_000), "1h"),     cold,                  How::Exact,   [90, 90, 90]),
    ("150k cached context",        "5",   || marked(body(600_000, 32_000), "5m"),  || says(8_000),        How::Exact,   [85, 85, 85]),
    ("clients that leave",         "0.1", || body(400, 4_000),                     || says(200),          How::Leaving, [90, 90, 90]),
    ("death before headers",       "0.1", || body(400, 1_000),                     || dies(Fault::CloseBeforeHeaders),  How::Broken, [25, 25, 25]),
    ("death in mid-stream",        "0.1", || body(400, 1_000),                     || dies(Fault::CloseAfterEvents(4)), How::Broken, [25, 25, 25]),
    ("death after the last usage", "0.1", || body(400, 1_000),                     || dies(Fault::CloseAfterEvents(6)), How::Broken, [25, 25, 25]),
    ("server tools, denied",       "20",  || searching(body(400, 1_000)),          || searches(3),        How::Refused, [0, 0, 0]),
    ("server tools, bounded",      "20",  || searching(body(400, 1_000)),          || searches(3),        How::Exact,   [50, 50, 50]),
];

fn plain(body: Value) -> Value {
    with(body, "stream", json!(false))
}

/// Caches that never hit, so that every request writes.
fn cold() -> Script {
    says(200).with_cold_caches()
}

fn dies(fault: Fault) -> Script {
    says(200).failing(move |index| if index % 2 == 0 { fault.clone() } else { Fault::None })
}

/// The same, but it thinks before it answers, so that requests of several clients are open together.
fn slow(script: Script) -> Script {
    script.pausing(Wait::Time(THOUGHT))
}

/// Where the clients of the other APIs send their requests.
const RESPONSES: &str = "POST /v1/responses";
const CHAT: &str = "POST /v1/chat/completions";
const GEMINI: &str = "POST /v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "POST /v1beta/models/gemini-3.8-flash:streamGenerateContent";
const GEMINI_WHOLE: &str = "POST /v1beta/models/gemini-3.8-flash:generateContent";

/// The same for the other APIs, with where the requests go. None of them names what metering needs.
#[rustfmt::skip]
const OTHERS: [(&str, Scenario); 15] = [
    (RESPONSES,    ("responses, tight",        "0.2",  || responses(400, Some(400)),   || says(400),  How::Exact,   [95, 95, 95])),
    (RESPONSES,    ("responses, no cap asked", "8",    || responses(400, None),        || says(8_000), How::Exact,  [95, 95, 95])),
    (RESPONSES,    ("responses, no stream",    "0.2",  || plain(responses(400, Some(400))), || says(400), How::Exact, [95, 95, 95])),
    (RESPONSES,    ("responses, cache writes", "0.3",  || responses(8_000, Some(1_000)), cold,         How::Exact,   [90, 90, 90])),
    (RESPONSES,    ("responses, leaving",      "0.1",  || responses(400, Some(1_000)), || says(200),  How::Leaving, [85, 85, 85])),
    (RESPONSES,    ("responses, broken",       "0.1",  || responses(400, Some(1_000)), || dies(Fault::CloseAfterEvents(2)), How::Broken, [25, 25, 25])),
    (RESPONSES,    ("responses, server tools", "20",   || with(responses(400, Some(400)), "tools", json!([{ "type": "web_search" }])), || says(400), How::Refused, [0, 0, 0])),
    (CHAT,         ("chat, tight",             "0.2",  || chat(400, Some(400)),        || says(400),  How::Exact,   [95, 95, 95])),
    (CHAT,         ("chat, no cap asked",      "8",    || chat(400, None),             || says(8_000), How::Exact,  [95, 95, 95])),
    (CHAT,         ("chat, no stream",         "0.2",  || plain(chat(400, Some(400))), || says(400),  How::Exact,   [95, 95, 95])),
    (CHAT,         ("chat, no usage",          "0.1",  || chat(400, Some(1_000)),      || dies(Fault::NoUsage), How::Broken, [25, 25, 25])),
    (GEMINI,       ("gemini, tight",           "0.1",  || gemini(400, Some(400)),      || says(400),  How::Exact,   [95, 95, 95])),
    (GEMINI_ARRAY, ("gemini, array",           "0.1",  || gemini(400, Some(400)),      || says(400),  How::Exact,   [95, 95, 95])),
    (GEMINI_WHOLE, ("gemini, no stream",       "2",    || gemini(400, None),           || says(4_000), How::Exact,  [95, 95, 95])),
    (GEMINI,       ("gemini, broken",          "0.05", || gemini(400, Some(1_000)),    || dies(Fault::CloseAfterEvents(1)), How::Broken, [25, 25, 25])),
];

fn responses(bytes: usize, cap: Option<u64>) -> Value {
    let text = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "x".repeat(bytes) }] }]);
    let body = json!({ "model": "gpt-6.1-sol", "input": text, "stream": true, "store": false });
    cap.map_or(body.clone(), |cap| with(body, "max_output_tokens", json!(cap)))
}

fn chat(bytes: usize, cap: Option<u64>) -> Value {
    let text = json!([{ "role": "user", "content": "x".repeat(bytes) }]);
    let body = json!({ "model": "gpt-6.1-sol", "messages": text, "stream": true });
    cap.map_or(body.clone(), |cap| with(body, "max_completion_tokens", json!(cap)))
}

fn gemini(bytes: usize, cap: Option<u64>) -> Value {
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "x".repeat(bytes) }] }] });
    cap.map_or(body.clone(), |cap| with(body, "generationConfig", json!({ "maxOutputTokens": cap })))
}

async fn play(line: &'static str, (name, cap, body, script, how, _): Scenario, clients: usize) -> Ended {
    let script = if clients > 1 { slow(script()) } else { script() };
    let provider = Provider::start(script).await;
    let policy = Policy { deny_server_tools: how == How::Refused, ..policy() };
    let meter = start(Config { policy, ..config(&provider, cap) }).await;
    let body = body().to_string();
    let mut loops = JoinSet::new();
    for _ in 0..clients {
        let (client, body) = (Client::of(&meter).at(line), body.clone());
        match how {
            How::Leaving => loops.spawn(client.abort(body)),
            How::Exact | How::Broken | How::Refused => loops.spawn(client.work(body)),
        };
    }
    loops.join_all().await;
    finish(&format!("{name} × {clients}"), meter, &provider, cap).await
}

/// Plays the table with a number of clients; `column` is theirs in the least shares.
fn play_all(clients: usize, column: usize) {
    let messages = SCENARIOS.map(|scenario| (MESSAGES, scenario));
    for (line, scenario) in messages.into_iter().chain(OTHERS) {
        let (name, .., how, least) = scenario;
        let Ended { totals, witness, share } = run(play(line, scenario, clients));
        assert!(share >= least[column] * 100, "{name}: {share} hundredths of a percent");
        let together = witness.peak > 1;
        assert_eq!(together, clients > 1 && how != How::Refused, "{name}: {} at once", witness.peak);
        assert_eq!(totals.estimated > Usd::ZERO, how == How::Broken, "{name}");
        if how == How::Refused {
            assert_eq!((witness.requests, totals.settled), (0, Usd::ZERO), "{name}");
        } else {
            assert_eq!(totals.phase, Phase::Stopped, "{name}");
        }
    }
}

#[test]
fn one_client_stays_within_the_cap_and_uses_it() {
    play_all(1, 0);
}

#[test]
fn five_clients_stay_within_the_cap_and_use_it() {
    play_all(5, 1);
}

#[test]
fn twenty_clients_stay_within_the_cap_and_use_it() {
    play_all(20, 2);
}

/// What the meter makes of every beginning of a stream, over sockets. That its reader tells a whole stream
/// from a cut one at each byte is shown by the reader's own tests; here it is the money.
#[test]
fn a_stream_cut_at_any_byte_never_counts_less_than_it_cost() {
    run(async {
        let cut = |index| Fault::CloseAfterBytes(usize::try_from(index).expect("small"));
        let provider = Provider::start(Script::saying("né", 7).failing(cut)).await;
        let meter = start(config(&provider, "10")).await;
        let (client, body) = (Client::of(&meter), body(8, 20).to_string());
        let watch = meter.snapshot();
        let (mut settled, mut spent, mut exact) = (0, 0, 0);
        while exact < 3 {
            drop(client.post(&body).await);
            let (meters, providers) = (watch.borrow().settled.pico(), provider.spent().pico());
            let (counted, cost) = (meters - settled, providers - spent);
            assert!(counted >= cost, "{counted} of {cost} counted");
            exact += i32::from(counted == cost);
            (settled, spent) = (meters, providers);
        }
        finish("a stream cut at every byte", meter, &provider, "10").await;
    });
}
