//! Follows a response to its usage, whatever pieces it comes in.
//!
//! A Responses stream says it in its last event, a chat in its last chunk; before that nothing is known of
//! either side. A whole JSON body holds it among the rest.

use serde::Deserialize;
use serde_json::Value;

use super::super::{Edits, Reading, ended};
use super::events::Events;
use super::tail::Tail;
use super::usage::Merge;
use super::{Form, Request};
use crate::tokens::Region;

/// The longest JSON body that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Reads one response as its bytes pass. An event stream and a JSON body are told apart by the first byte.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    /// The answer does not tell how often tools were run that are charged one by one.
    unsaid_fees: bool,
    merge: Merge,
    kind: Kind,
    events: Events,
    held: Vec<u8>,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unknown,
    Events,
    Json,
}

/// What the response has said so far.
#[derive(Debug, Default)]
struct Seen {
    /// The last of it came.
    ended: bool,
    usage: bool,
    unreadable: bool,
    /// It answered with an error in place of an answer.
    refused: bool,
    stop_reason: Option<String>,
    answer_tokens: Option<u64>,
    tail: Tail,
}

#[derive(Default, Deserialize)]
struct Response {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    incomplete_details: Option<Details>,
    #[serde(default)]
    output: Vec<Item>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    content: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Said>,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    index: u64,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Value>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    delta: Option<Value>,
    #[serde(default)]
    response: Option<Response>,
}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`; `region` says where the endpoint keeps it.
    #[must_use]
    pub fn new(request: &Request, edits: &Edits, region: Region) -> Self {
        let model = edits.model.as_ref().unwrap_or(&request.model);
        let mut merge = Merge::new(model, request.long_writes());
        merge.region(region);
        // A server that does not say what it served is taken to serve what was asked.
        if let Some((Some(asked), _)) = &request.found.tier {
            merge.tier(asked);
        }
        if request.server_tools().iter().any(|tool| tool.starts_with("web_search_preview")) {
            merge.preview_searches();
        }
        Self {
            form: request.form,
            unsaid_fees: request.form == Form::Chat && !request.server_tools().is_empty(),
            merge,
            kind: Kind::Unknown,
            events: Events::default(),
            held: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.kind == Kind::Unknown {
            bytes = bytes.trim_ascii_start();
            self.kind = match bytes.first() {
                None => return,
                Some(b'{') => Kind::Json,
                Some(_) => Kind::Events,
            };
        }
        if self.kind == Kind::Json {
            if self.held.len() + bytes.len() > BODY_BYTES_MAX {
                self.seen.unreadable = true;
                self.held = Vec::new();
            } else if !self.seen.unreadable {
                self.held.extend_from_slice(bytes);
            }
            return;
        }
        let (form, merge, seen) = (self.form, &mut self.merge, &mut self.seen);
        self.events.feed(bytes, |data| seen.data(form, merge, data));
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    pub fn end(&mut self, status: u16) -> Reading {
        let held = std::mem::take(&mut self.held);
        if !(200..=299).contains(&status) {
            return ended(status, &held);
        }
        let (form, merge, seen) = (self.form, &mut self.merge, &mut self.seen);
        match self.kind {
            Kind::Json => seen.whole(merge, &held),
            _ => self.events.end(|data| seen.data(form, merge, data)),
        }
        let whole = self.seen.ended && self.seen.usage && !self.seen.unreadable && !self.events.too_long;
        if self.seen.refused && !self.seen.usage {
            return Reading::NotBilled;
        }
        match self.merge.finish() {
            // A chat does not say which of the provider's tools ran how often. Where it does not say either
            // what all of it costs, their bound counts.
            Ok(usage) if self.unsaid_fees && usage.billed.is_none() => Reading::Broken { input_side: None },
            // Every prompt has tokens: a count of none is no count.
            Ok(usage) if whole && usage.counts().prompt() > 0 => {
                self.seen.answer_tokens = Some(usage.counts().output);
                Reading::Exact(usage)
            }
            _ => Reading::Broken { input_side: None },
        }
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        self.seen.answer_tokens
    }

    /// Why the answer stopped, in the API's word (`completed`, `stop`, `max_output_tokens`, …).
    #[must_use]
    pub fn stop_reason(&self) -> Option<&str> {
        self.seen.stop_reason.as_deref()
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        self.seen.tail.text()
    }
}

impl Seen {
    fn data(&mut self, form: Form, merge: &mut Merge, data: &[u8]) {
        if data == b"[DONE]" {
            // A chat's usage is whole by then, whichever chunk it came in.
            self.ended |= form == Form::Chat;
            return;
        }
        if self.ended {
            return;
        }
        match form {
            Form::Responses => match serde_json::from_slice::<Event>(data) {
                Ok(event) => self.event(merge, event),
                Err(_) => self.unreadable = true,
            },
            Form::Chat => match serde_json::from_slice::<Response>(data) {
                Ok(chunk) => self.chunk(merge, chunk),
                Err(_) => self.unreadable = true,
            },
        }
    }

    fn event(&mut self, merge: &mut Merge, event: Event) {
        match &*event.kind {
            "response.output_text.delta" => {
                if let Some(text) = event.delta.as_ref().and_then(Value::as_str) {
                    self.tail.push(text);
                }
            }
            "response.content_part.added" => self.tail.block(),
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                let response = event.response.unwrap_or_default();
                self.terms(merge, &response);
                self.usage(merge, response.usage.as_ref());
                for item in &response.output {
                    merge.item(&item.kind);
                }
                self.stop_reason = reason(&response);
                self.ended = true;
            }
            _ => {}
        }
    }

    fn chunk(&mut self, merge: &mut Merge, chunk: Response) {
        if chunk.error.as_ref().is_some_and(|error| !error.is_null()) {
            self.unreadable = true;
            return;
        }
        self.terms(merge, &chunk);
        let choices = chunk.choices.as_deref().unwrap_or_default();
        for choice in choices {
            if let Some(text) = choice.delta.as_ref().and_then(|delta| delta.content.as_ref()?.as_str())
                && choice.index == 0
            {
                self.tail.push(text);
            }
            if choice.finish_reason.is_some() {
                self.stop_reason.clone_from(&choice.finish_reason);
            }
        }
        if chunk.usage.as_ref().is_some_and(|usage| !usage.is_null()) {
            self.usage(merge, chunk.usage.as_ref());
            // The last chunk has no choices; a count in an earlier one need not be final.
            self.ended |= choices.is_empty() && self.stop_reason.is_some();
        }
    }

    fn whole(&mut self, merge: &mut Merge, body: &[u8]) {
        let Ok(response) = serde_json::from_slice::<Response>(body) else { return };
        self.terms(merge, &response);
        self.usage(merge, response.usage.as_ref());
        for item in &response.output {
            merge.item(&item.kind);
            for part in item.content.iter().filter_map(Value::as_array).flatten() {
                if let Some(text) = part["text"].as_str().filter(|_| part["type"] == "output_text") {
                    self.tail.block();
                    self.tail.push(text);
                }
            }
        }
        let choices = response.choices.as_deref().unwrap_or_default();
        if let Some(text) =
            choices.first().and_then(|choice| choice.message.as_ref()?.content.as_ref()?.as_str())
        {
            self.tail.push(text);
        }
        self.stop_reason =
            choices.first().and_then(|choice| choice.finish_reason.clone()).or(reason(&response));
        let error = response.error.as_ref().is_some_and(|error| !error.is_null());
        self.refused = error && response.status.is_none() && response.choices.is_none();
        self.ended = !error || self.usage;
    }

    fn terms(&mut self, merge: &mut Merge, response: &Response) {
        if let Some(model) = &response.model {
            merge.model(model);
        }
        if let Some(tier) = response.service_tier.as_deref().filter(|tier| *tier != "auto") {
            merge.tier(tier);
        }
    }

    fn usage(&mut self, merge: &mut Merge, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| !usage.is_null()) else { return };
        match merge.take(usage) {
            Ok(()) => self.usage = merge.is_whole(),
            Err(_) => self.unreadable = true,
        }
    }
}

fn reason(response: &Response) -> Option<String> {
    let details = response.incomplete_details.as_ref().and_then(|details| details.reason.clone());
    details.or_else(|| response.status.clone())
}

#[cfg(test)]
mod tests;
