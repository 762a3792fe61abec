//! The second opinion on a class that is not sure: asked of the low tier's model, through a meter and under a
//! hold of its own, before the run takes its own. Whatever goes wrong, the classifier's word stands.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::folder::{Record, RunFolder};
use super::inputs::Inputs;
use super::place::Place;
use super::upstream::Upstream;
use super::{Request, asks, books, cancelled, start};
use crate::budget::AskModel;
use crate::classify::{Class, opinion};
use crate::cli::Shell;
use crate::ledger::Answer;
use crate::ledger::store::Store;
use crate::limits::Limits;
use crate::meter::Totals;
use crate::money::Usd;
use crate::preset::Preset;
use crate::provider::Vendor;
use crate::report::defuse;
use crate::route::Route;
use crate::supervise::Signals;
use crate::task::Tier;

/// The most that an opinion may cost.
const CAP: Usd = Usd::from_pico(50_000_000_000);
/// How long the model may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request that was given up may take to end, until it counts at its bound.
const DRAIN: Duration = Duration::from_secs(2);
/// The longest answer: one object of two words, and room for a model that thinks first.
const OUTPUT_TOKENS: u64 = 1_024;
/// How the ledger says what the hold was for.
const OUTCOME: &str = "opinion";

/// A class that a model may have been asked about.
#[derive(Debug)]
pub(super) struct Heard {
    /// The class, with the opinion heeded where there is one.
    pub(super) class: Class,
    /// The limits of a run of that class.
    pub(super) limits: Limits,
    /// What it cost, which is taken off the run's cap.
    pub(super) cost: Usd,
}

/// What came of asking.
enum Asked {
    /// Nobody was asked.
    Nobody,
    /// A class with the opinion heeded, and what it cost.
    Heard(Class, Usd),
    /// A signal came meanwhile.
    Cancelled(Signal),
}

/// What came of a question.
struct Put {
    /// The answer's text, where it can be used.
    answer: Option<String>,
    totals: Totals,
    /// The signal that has broken it off.
    cancelled: Option<Signal>,
}

/// Asks for a second opinion, where the budget file wants one and the class is not sure.
///
/// Nothing is asked where nothing may be spent: without a key, for a comment that starts no agent, where a
/// budget has too little left.
///
/// # Errors
/// When a signal came meanwhile, as a [`Failure`](crate::exit::Failure): what was asked is settled.
pub(super) async fn opinion(
    request: &Request,
    inputs: &Inputs,
    class: Class,
    (limits, now): (Limits, Timestamp),
    signals: &mut Signals,
    shell: &mut Shell,
) -> anyhow::Result<Heard> {
    let wanted = inputs.budget.ask_model == AskModel::WhenUnsure && request.task.is_none();
    if !wanted || !opinion::is_unsure(&class) || asks::refused(&inputs.event).is_some() {
        return Ok(Heard { class, limits, cost: Usd::ZERO });
    }
    match ask(request, inputs, &class, &limits, signals, shell).await {
        Ok(Asked::Heard(class, cost)) => {
            let limits = books::limits(shell, inputs, class.task, now);
            return Ok(Heard { class, limits, cost });
        }
        Ok(Asked::Cancelled(signal)) => {
            let message = "cancelled before an agent was started; what the second opinion cost is settled";
            return Err(cancelled(signal, message));
        }
        Ok(Asked::Nobody) => {}
        Err(why) => {
            let why = format!("{why:#}");
            let why = why.lines().next().unwrap_or_default();
            // Nobody reads a log that cannot be written.
            let _ = writeln!(shell.err, "note: no second opinion on this work: {}", defuse::plain(why));
        }
    }
    Ok(Heard { class, limits, cost: Usd::ZERO })
}

async fn ask(
    request: &Request,
    inputs: &Inputs,
    class: &Class,
    limits: &Limits,
    signals: &mut Signals,
    shell: &mut Shell,
) -> anyhow::Result<Asked> {
    let upstream = match request.simulate {
        true => Some(Upstream::simulated().await?),
        // What is wrong with an address is said where the run uses it.
        false => Upstream::of_keys(shell, &request.upstreams).ok().flatten(),
    };
    let route = route(inputs);
    // What a subscription pays for is for its own agent; and what it costs must leave a run something.
    let can = |upstream: &Upstream| upstream.has_key(Vendor::of(&route.model)) && route.cap > Usd::ZERO;
    let Some(upstream) = upstream.filter(can) else { return Ok(Asked::Nobody) };
    let place = Place::find(shell, &inputs.budget, &inputs.root, request.simulate)?;
    let store = books::open(place, inputs, request.simulate, shell)?;
    let runs = books::runs(inputs, request.simulate, request.around, shell);
    let folder = RunFolder::create(&runs).context("the opinion's folder cannot be made")?;
    let Some((hold, cap)) = hold(&store, inputs, class, limits, &route, &folder, shell)? else {
        anyhow::bail!("a budget has too little left for one");
    };
    store.rest();
    let Put { answer, totals, cancelled } = match put(&upstream, &route, cap, inputs, &folder, signals).await
    {
        Ok(answered) => answered,
        Err(error) => {
            // Nothing was sent, so nothing is held.
            store.void(&hold.hold, "the model was not asked").map_err(books::unavailable)?;
            folder.remember(&Record { finished: true, ..hold })?;
            return Err(error);
        }
    };
    let cost = totals.settled;
    let settled = match totals.requests {
        0 => store.void(&hold.hold, "the model was not asked").map(drop),
        _ => store.settle_as(&hold.hold, &books::spend(&totals), OUTCOME).map(drop),
    };
    settled.map_err(books::unavailable)?;
    folder.remember(&Record { finished: true, ..hold })?;
    if let Some(signal) = cancelled {
        return Ok(Asked::Cancelled(signal));
    }
    let heeded = answer
        .as_deref()
        .and_then(opinion::read)
        .map(|said| opinion::heed(class, said, &inputs.budget.tasks));
    let class = heeded.unwrap_or_else(|| {
        let mut same = class.clone();
        let why = if totals.requests == 0 { "could not be asked" } else { "gave no answer that can be used" };
        same.reasons.insert(0, format!("second opinion: the model {why}"));
        same
    });
    Ok(Asked::Heard(class, cost))
}

/// The low tier, with what an opinion may cost: what it leaves of a cap is enough to start a run.
fn route(inputs: &Inputs) -> Route {
    let low = &inputs.budget.tiers.low;
    Route {
        tier: Tier::Low,
        asked: Tier::Low,
        model: low.model.clone(),
        cap: CAP.min(low.max_usd.minus_or_zero(inputs.budget.on.min_run_usd)),
        fresh_tokens: None,
        timeout: PATIENCE,
        effort: None,
        thinking: None,
        reason: String::new(),
    }
}

/// Takes the hold, as a run does; `None` where a budget refuses it.
fn hold(
    store: &Store,
    inputs: &Inputs,
    class: &Class,
    limits: &Limits,
    route: &Route,
    folder: &RunFolder,
    shell: &Shell,
) -> anyhow::Result<Option<(Record, Usd)>> {
    let key = books::key(shell, &inputs.event, folder.nonce());
    let record = Record { hold: key.hold_id(), started: Timestamp::now(), finished: false };
    folder.remember(&record)?;
    let (least, workflow) = (inputs.budget.on.min_run_usd, inputs.workflow.as_deref());
    let mut wish = books::request(&key, route, least, limits, &inputs.event, class, workflow);
    wish.about.budget.clone_from(&inputs.known.budget_commit);
    match store.reserve(&wish).map_err(books::unavailable)? {
        Answer::Granted { cap, .. } => Ok(Some((record, cap))),
        Answer::Refused { .. } => {
            folder.remember(&Record { finished: true, ..record })?;
            Ok(None)
        }
    }
}

/// Puts the question through a meter, until it is answered or a signal comes.
async fn put(
    upstream: &Upstream,
    route: &Route,
    cap: Usd,
    inputs: &Inputs,
    folder: &RunFolder,
    signals: &mut Signals,
) -> anyhow::Result<Put> {
    let meter = start::meter(upstream, inputs, Preset::Command, route, cap, folder.path()).await?;
    let (path, body) = question(route, &opinion::question(&inputs.event));
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("no client can be made")?;
    let token = meter.token();
    let sent = client
        .post(format!("{}{path}", meter.url()))
        .header("x-api-key", token)
        .header("x-goog-api-key", token)
        .header("authorization", format!("Bearer {token}"))
        .header("anthropic-version", "2023-06-01")
        .json(&body)
        .send();
    let answered = async {
        match sent.await {
            Ok(response) => {
                let fine = response.status().is_success();
                // The meter reads the usage and the text as they pass.
                fine && response.bytes().await.is_ok()
            }
            Err(_) => false,
        }
    };
    let (fine, cancelled) = tokio::select! {
        biased;
        signal = signals.next() => (false, Some(signal)),
        fine = answered => (fine, None),
    };
    let answer = meter.last_text().filter(|_| fine);
    let totals = meter.drain(DRAIN).await;
    let answer = answer.filter(|_| totals.stopped_requests == 0);
    Ok(Put { answer, totals, cancelled })
}

/// The request's path and body, in the API of the model's vendor.
fn question(route: &Route, data: &str) -> (String, Value) {
    let model = route.model.as_str();
    match Vendor::of(&route.model) {
        // A cloud makes no models.
        Vendor::Anthropic | Vendor::Vertex | Vendor::Bedrock => (
            "/v1/messages".to_owned(),
            json!({
                "model": model,
                "max_tokens": OUTPUT_TOKENS,
                "system": opinion::INSTRUCTIONS,
                "messages": [{ "role": "user", "content": data }],
            }),
        ),
        Vendor::OpenAi => (
            "/v1/chat/completions".to_owned(),
            json!({
                "model": model,
                "max_completion_tokens": OUTPUT_TOKENS,
                "messages": [
                    { "role": "system", "content": opinion::INSTRUCTIONS },
                    { "role": "user", "content": data },
                ],
            }),
        ),
        Vendor::Gemini => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({
                "systemInstruction": { "parts": [{ "text": opinion::INSTRUCTIONS }] },
                "contents": [{ "role": "user", "parts": [{ "text": data }] }],
                "generationConfig": { "maxOutputTokens": OUTPUT_TOKENS, "responseMimeType": "application/json" },
            }),
        ),
    }
}
