//! A reader of answers of any API.

use http::HeaderMap;

use super::{Edits, Reading, Request, anthropic, cloud, gemini, openai};
use crate::tokens::Region;

/// The header in which Gemini names the tier that it served at.
const GEMINI_TIER: &str = "x-gemini-service-tier";

/// Reads one response as its bytes pass.
#[derive(Debug)]
pub enum Reader {
    /// Anthropic Messages.
    Anthropic(Box<anthropic::Reader>),
    /// OpenAI Responses or Chat Completions.
    OpenAi(Box<openai::Reader>),
    /// Gemini.
    Gemini(Box<gemini::Reader>),
    /// Claude on Vertex or Bedrock.
    Cloud(Box<cloud::Reader>),
}

/// The same question to each API.
macro_rules! each {
    ($self:ident, $reader:ident => $answer:expr) => {
        match $self {
            Reader::Anthropic($reader) => $answer,
            Reader::OpenAi($reader) => $answer,
            Reader::Gemini($reader) => $answer,
            Reader::Cloud($reader) => $answer,
        }
    };
}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`; `region` says where the endpoint keeps it,
    /// for APIs whose answers do not.
    #[must_use]
    pub fn new(request: &Request, edits: &Edits, region: Region) -> Self {
        match request {
            Request::Anthropic(request) => {
                Reader::Anthropic(Box::new(anthropic::Reader::new(request, edits)))
            }
            Request::OpenAi(request) => Reader::OpenAi(Box::new(openai::Reader::new(request, edits, region))),
            Request::Gemini(request) => Reader::Gemini(Box::new(gemini::Reader::new(request, edits, region))),
            Request::Cloud(request) => Reader::Cloud(Box::new(cloud::Reader::new(request, edits, region))),
        }
    }

    /// Takes what the headers say of the terms.
    pub fn head(&mut self, headers: &HeaderMap) {
        if let Reader::Gemini(reader) = self
            && let Some(tier) = headers.get(GEMINI_TIER).and_then(|tier| tier.to_str().ok())
        {
            reader.served_tier(tier);
        }
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        each!(self, reader => reader.feed(bytes));
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    pub fn end(&mut self, status: u16) -> Reading {
        each!(self, reader => reader.end(status))
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        each!(self, reader => reader.answer_tokens())
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        each!(self, reader => reader.text_tail())
    }
}
