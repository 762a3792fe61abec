//! What a request is answered: the message, what is charged for it, and which of its usage is said.

use serde_json::{Value, json};

use super::prompt;
use super::rates::{charge, charge_searches, region_refusal, served_speed};
use super::script::{Answer, Fault, Reply, ToolCall};
use super::witness::Bill;
use crate::model::ModelId;
use crate::tokens::Counts;

/// An answer, worked out.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) bill: Bill,
    pub(super) blocks: Vec<Block>,
    pub(super) stop_reason: &'static str,
    /// The usage, as far as it is said.
    pub(super) usage: Option<Said>,
    pub(super) model: String,
    pub(super) id: String,
}

/// A content block.
#[derive(Debug)]
pub(super) enum Block {
    Thinking(String),
    Text(String),
    Call { id: String, name: String, input: Value },
}

/// The usage that is said.
#[derive(Debug)]
pub(super) struct Said {
    samplings: Vec<Counts>,
    web_searches: u64,
    speed: Option<&'static str>,
    region: &'static str,
}

/// Works out what `reply` makes of a request whose prompt counts `prompt`.
///
/// # Errors
/// What the API says where the model is not served, or not at the terms that are asked for.
pub(super) fn serve(body: &Value, index: u64, prompt: Counts, reply: &Reply) -> Result<Served, String> {
    let model = body["model"].as_str().unwrap_or_default();
    let answer = &reply.answer;
    let max_tokens = body["max_tokens"].as_u64().unwrap_or(0);
    let asked = answer.output_tokens.unwrap_or_else(|| said_tokens(answer)).max(1);
    let cut = asked > max_tokens;
    let mut first = prompt;
    first.output = asked.min(max_tokens);
    match reply.fault {
        Fault::ExtraOutput(tokens) => first.output += tokens,
        Fault::ExtraInput(tokens) => first.input += tokens,
        Fault::HourWrites => {
            first.cache_write_1h += std::mem::take(&mut first.cache_write_5m);
        }
        _ => {}
    }
    let samplings = vec![first; usize::try_from(answer.samplings.max(1)).unwrap_or(1)];
    let us = body["inference_geo"] == "us";
    if let (true, Some(refusal)) = (us, region_refusal(model)) {
        return Err(refusal);
    }
    let speed = match body["speed"].as_str() {
        Some("fast") => Some(served_speed(model)?),
        Some(_) => Some("standard"),
        None => None,
    };
    let fast = speed == Some("fast");
    let mut usd = charge_searches(answer.web_searches);
    let mut counts = Counts::default();
    for sampling in &samplings {
        usd += charge(model, sampling, fast, us).ok_or_else(|| format!("model: {model}"))?;
        counts += *sampling;
    }
    let told =
        matches!(reply.fault, Fault::None | Fault::ExtraOutput(_) | Fault::ExtraInput(_) | Fault::HourWrites);
    let web_searches = answer.web_searches;
    let bill = Bill { model: ModelId::new(model), counts, web_searches, usd, told };
    let usage = Said { samplings, web_searches, speed, region: if us { "us" } else { "global" } };
    Ok(Served {
        bill,
        stop_reason: stop_reason(answer, cut),
        blocks: blocks(answer, index, cut),
        usage: (reply.fault != Fault::NoUsage).then_some(usage),
        model: model.to_owned(),
        id: format!("msg_sim{index:08}"),
    })
}

/// Tokens of what is said, counted like a prompt.
fn said_tokens(answer: &Answer) -> u64 {
    let calls: Vec<&Value> = answer.calls.iter().map(|call| &call.input).collect();
    prompt::count(&json!({ "system": [answer.text, answer.thinking, calls] }))
}

fn stop_reason(answer: &Answer, cut: bool) -> &'static str {
    match (cut, answer.calls.is_empty()) {
        (true, _) => "max_tokens",
        (false, true) => "end_turn",
        (false, false) => "tool_use",
    }
}

/// The content; an answer that was cut gets to its text and no further.
fn blocks(answer: &Answer, index: u64, cut: bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(thinking) = &answer.thinking {
        blocks.push(Block::Thinking(thinking.clone()));
    }
    if !answer.text.is_empty() {
        blocks.push(Block::Text(answer.text.clone()));
    }
    if !cut {
        blocks.extend(answer.calls.iter().enumerate().map(|(at, call)| {
            let ToolCall { name, input } = call.clone();
            Block::Call { id: format!("toolu_sim{index:08}{at:02}"), name, input }
        }));
    }
    blocks
}

impl Said {
    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for sampling in &self.samplings {
            sum += *sampling;
        }
        sum
    }

    /// The usage of a whole message.
    pub(super) fn whole(&self) -> Value {
        let mut usage = self.terms(&self.sum());
        self.tail(&mut usage);
        usage
    }

    /// The usage of `message_start`: the input side, the terms, and a placeholder for the output.
    pub(super) fn start(&self) -> Value {
        let mut usage = self.terms(&self.sum());
        usage["output_tokens"] = json!(1);
        usage
    }

    /// The usage of `message_delta`: cumulative counts without the terms.
    pub(super) fn delta(&self) -> Value {
        let mut usage = tokens(&self.sum());
        self.tail(&mut usage);
        usage
    }

    fn terms(&self, counts: &Counts) -> Value {
        let mut usage = tokens(counts);
        usage["cache_creation"] = split(counts);
        usage["service_tier"] = json!("standard");
        usage["inference_geo"] = json!(self.region);
        if let Some(speed) = self.speed {
            usage["speed"] = json!(speed);
        }
        usage
    }

    fn tail(&self, usage: &mut Value) {
        if self.web_searches > 0 {
            usage["server_tool_use"] =
                json!({ "web_search_requests": self.web_searches, "web_fetch_requests": 0 });
        }
        if self.samplings.len() > 1 {
            let entries = self.samplings.iter().map(|sampling| {
                let mut entry = tokens(sampling);
                entry["type"] = json!("message");
                entry["cache_creation"] = split(sampling);
                entry
            });
            usage["iterations"] = entries.collect();
        }
    }
}

fn tokens(counts: &Counts) -> Value {
    json!({
        "input_tokens": counts.input,
        "cache_creation_input_tokens": counts.cache_write(),
        "cache_read_input_tokens": counts.cache_read,
        "output_tokens": counts.output,
    })
}

fn split(counts: &Counts) -> Value {
    json!({
        "ephemeral_5m_input_tokens": counts.cache_write_5m,
        "ephemeral_1h_input_tokens": counts.cache_write_1h,
    })
}
