//! Follows a response to its usage, whatever pieces it comes in.
//!
//! A stream is mostly `content_block_delta` events, which say nothing of usage: they are stepped over
//! without being parsed. The rest is a handful of small objects.

use memchr::memchr;
use serde::Deserialize;
use serde_json::Value;

use super::super::{Edits, Reading};
use super::Request;
use super::tail::Tail;
use super::usage::Merge;
use crate::tokens::Usage;

/// The longest line of an event stream that is read, in bytes. Longer ones are stepped over where they say
/// nothing of usage; elsewhere the response counts as broken.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The longest JSON body that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Reads one response as its bytes pass. An event stream and a JSON body are told apart by the first byte.
#[derive(Debug)]
pub struct Reader {
    merge: Merge,
    samples_once: bool,
    form: Form,
    /// A line that has not ended, or the whole JSON body.
    held: Vec<u8>,
    /// What the `event:` line announced.
    event: Event,
    /// The rest of the current line is stepped over.
    skip_line: bool,
    /// Something that matters could not be read.
    unreadable: bool,
    progress: Progress,
    usage_came: bool,
    has_content: bool,
    stop_reason: Option<String>,
    answer_tokens: Option<u64>,
    tail: Tail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Events,
    Json,
}

/// What the lines that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Not announced: the data itself says.
    Unannounced,
    /// A piece of content.
    Delta,
    /// Nothing that says anything of usage, or of text.
    Idle,
    /// Anything else.
    Telling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing came.
    Nothing,
    /// `message_start` came.
    Started,
    /// `message_stop` came.
    Stopped,
    /// An error came; whether it says that nothing was generated.
    Failed { billed: bool },
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    content_block: Option<Block>,
    #[serde(default)]
    delta: Option<MessageDelta>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<ApiError>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    content: Vec<Block>,
    #[serde(default)]
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(rename = "type", default)]
    kind: String,
}

impl ApiError {
    /// Whether something may have been generated all the same. These kinds say that it was not: the
    /// provider refused the request before it began (Anthropic's page on errors).
    fn billed(&self) -> bool {
        !matches!(
            &*self.kind,
            "authentication_error"
                | "billing_error"
                | "invalid_request_error"
                | "not_found_error"
                | "overloaded_error"
                | "permission_error"
                | "rate_limit_error"
                | "request_too_large"
        )
    }
}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`.
    #[must_use]
    pub fn new(request: &Request, edits: &Edits) -> Self {
        let model = edits.model.as_ref().unwrap_or(&request.model);
        Self {
            merge: Merge::new(model, request.hour_writes()),
            samples_once: request.samples_once(),
            form: Form::Unknown,
            held: Vec::new(),
            event: Event::Unannounced,
            skip_line: false,
            unreadable: false,
            progress: Progress::Nothing,
            usage_came: false,
            has_content: false,
            stop_reason: None,
            answer_tokens: None,
            tail: Tail::default(),
        }
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.form == Form::Unknown {
            bytes = bytes.trim_ascii_start();
            self.form = match bytes.first() {
                None => return,
                Some(b'{') => Form::Json,
                Some(_) => Form::Events,
            };
        }
        if self.form == Form::Json {
            self.hold(bytes, BODY_BYTES_MAX);
            return;
        }
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.held.is_empty() && !self.skip_line {
                self.line(line);
                continue;
            }
            self.hold_line(line);
            let mut held = std::mem::take(&mut self.held);
            if !self.skip_line {
                self.line(&held);
            }
            self.skip_line = false;
            held.clear();
            self.held = held;
        }
        self.hold_line(bytes);
    }

    fn hold(&mut self, bytes: &[u8], bytes_max: usize) {
        if self.unreadable || self.held.len() + bytes.len() > bytes_max {
            self.unreadable = true;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Keeps a piece of a line that goes on.
    fn hold_line(&mut self, piece: &[u8]) {
        if self.skip_line || self.held.len() + piece.len() <= LINE_BYTES_MAX {
            if !self.skip_line {
                self.held.extend_from_slice(piece);
            }
            return;
        }
        self.skip_line = true;
        self.has_content = true;
        self.held = Vec::new();
        // Content may be that long (a page that the provider fetched); what counts tokens is not.
        self.unreadable |= matches!(self.event, Event::Unannounced | Event::Telling);
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.event = Event::Unannounced;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.data(data.trim_ascii_start());
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.event = match name.trim_ascii() {
                b"content_block_delta" => Event::Delta,
                b"content_block_start" | b"content_block_stop" | b"ping" => Event::Idle,
                _ => Event::Telling,
            };
        }
    }

    fn data(&mut self, data: &[u8]) {
        let delta = self.event == Event::Delta
            || (self.event == Event::Unannounced && data.starts_with(br#"{"type":"content_block_delta""#));
        if self.progress == Progress::Stopped {
            return;
        }
        if delta {
            self.has_content = true;
            return self.tail.push_delta(data);
        }
        match serde_json::from_slice::<Data>(data) {
            Ok(data) => self.take(data),
            Err(_) => self.unreadable |= self.event != Event::Idle,
        }
    }

    fn take(&mut self, data: Data) {
        match &*data.kind {
            "message_start" => {
                self.progress = Progress::Started;
                let message = data.message.unwrap_or_default();
                if let Some(model) = &message.model {
                    self.merge.model(model);
                }
                self.take_usage(message.usage.as_ref());
                // What it says of the output is a placeholder.
                self.usage_came = false;
            }
            "message_delta" => {
                self.take_usage(data.usage.as_ref());
                if let Some(reason) = data.delta.and_then(|delta| delta.stop_reason) {
                    self.stop_reason = Some(reason);
                }
            }
            "message_stop" if self.progress == Progress::Started => self.progress = Progress::Stopped,
            "content_block_start" => {
                self.has_content = true;
                if let Some(block) = data.content_block {
                    self.take_text(&block);
                }
            }
            "error" => {
                let said_billed = data.error.is_none_or(|error| error.billed());
                let billed = said_billed || self.progress != Progress::Nothing;
                self.progress = Progress::Failed { billed };
            }
            _ => {}
        }
    }

    fn take_text(&mut self, block: &Block) {
        if block.kind == "text" {
            self.tail.block();
            if let Some(text) = block.text.as_ref().filter(|text| !text.is_empty()) {
                self.tail.push(text);
            }
        }
    }

    fn take_usage(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| !usage.is_null()) else { return };
        match self.merge.take(usage) {
            Ok(()) => self.usage_came = true,
            Err(_) => self.unreadable = true,
        }
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    ///
    /// Not billed are redirects, 4xx and 529 (Anthropic's page on errors), and other 5xx with an error in
    /// the API's own shape, which the API gives instead of an answer; but not a time that ran out, which
    /// says that work had begun. Another body, such as a gateway's
    /// page, says nothing of what happened behind it. A stream must have reached `message_stop`: before
    /// it, a `message_delta` need not be the last.
    pub fn end(&mut self, status: u16) -> Reading {
        let held = std::mem::take(&mut self.held);
        match status {
            200..=299 => {}
            300..=499 | 529 => return Reading::NotBilled,
            _ => {
                let error = serde_json::from_slice::<Message>(&held).ok().and_then(|body| body.error);
                return if error.is_some_and(|error| status != 504 && error.kind != "timeout_error") {
                    Reading::NotBilled
                } else {
                    Reading::Broken { input_side: None }
                };
            }
        }
        match self.form {
            Form::Json => self.end_json(&held),
            // A last line may lack its line feed. Half a line is no JSON and says nothing.
            _ if !self.skip_line && serde_json::from_slice::<Value>(data_of(&held)).is_ok() => {
                self.line(&held)
            }
            _ => {}
        }
        match self.progress {
            Progress::Failed { billed: false } => Reading::NotBilled,
            Progress::Stopped if self.usage_came && !self.unreadable => self.exact(),
            _ => self.broken(),
        }
    }

    fn end_json(&mut self, body: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Message>(body) else { return };
        if let Some(error) = message.error {
            self.progress = Progress::Failed { billed: error.billed() };
            return;
        }
        if let Some(model) = &message.model {
            self.merge.model(model);
        }
        self.take_usage(message.usage.as_ref());
        self.has_content = !message.content.is_empty();
        for block in &message.content {
            self.take_text(block);
        }
        self.stop_reason = message.stop_reason;
        self.progress = Progress::Stopped;
    }

    fn exact(&mut self) -> Reading {
        let refused = self.stop_reason.as_deref() == Some("refusal") && !self.has_content;
        match self.merge.clone().finish(false) {
            // Every prompt has tokens: a count of none is no count.
            Ok(usage) if usage.counts().prompt() == 0 => self.broken(),
            Ok(mut usage) => {
                // One token is a placeholder; more were thought, or were a summary's.
                usage.unbilled = refused && usage.counts().output <= 1;
                self.answer_tokens = usage.lines.iter().map(|line| line.counts.output).max();
                Reading::Exact(usage)
            }
            Err(_) => self.broken(),
        }
    }

    /// Where the provider may sample several times, the first event does not say all of the input.
    fn broken(&self) -> Reading {
        let known = self.samples_once && !self.unreadable;
        let input_side: Option<Usage> = if known { self.merge.input_side() } else { None };
        Reading::Broken { input_side }
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        self.answer_tokens
    }

    /// Why the answer stopped, in the API's word (`end_turn`, `tool_use`, `max_tokens`, …).
    #[must_use]
    pub fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        self.tail.text()
    }
}

fn data_of(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"data:").unwrap_or_default()
}

#[cfg(test)]
mod tests;
