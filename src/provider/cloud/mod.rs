//! Claude on Google Vertex and Amazon Bedrock: the Messages API in other clothes.
//!
//! Both have the model in the path, a version in the body, and no price for where a request asks to be served
//! but one for where it is. Bedrock sends its streams in frames of AWS's ([`frames`]). What is inside is read,
//! bounded and changed by [`anthropic`](super::anthropic); `path` knows the addresses, `answer` what the meter
//! says in either's place.

mod answer;
mod frames;
mod path;
mod reader;

pub use answer::{say, say_stop};
pub use reader::Reader;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::splice::quoted;
use super::{Edits, Endpoint, Problem, anthropic};
use crate::tokens::Region;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Google's.
    Vertex,
    /// Amazon's.
    Bedrock,
}

/// The version that Vertex wants in every body.
const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// What a request line is for; `None` for anything that is not on the list.
#[must_use]
pub fn endpoint(cloud: Cloud, method: &str, path: &str) -> Option<Endpoint> {
    path::read(cloud, method, path).map(|named| named.endpoint)
}

/// A request to either cloud: its body as the Messages API would have it, and what its path said.
#[derive(Clone, Debug)]
pub struct Request {
    inner: anthropic::Request,
    cloud: Cloud,
    named: path::Named,
    /// The body as it came.
    raw: Bytes,
    /// Bytes at the beginning of the inner body that are not in the one that came; after them that goes on
    /// behind its brace.
    added: usize,
}

impl Request {
    /// Reads a body strictly; `path` is that of the request.
    ///
    /// # Errors
    /// As [`anthropic::Request::parse`]; and [`Problem::Denied`] for an id that does not say which model it runs.
    pub fn parse(cloud: Cloud, path: &str, body: Bytes) -> Result<Self, Problem> {
        let named =
            path::read(cloud, "POST", path).ok_or_else(|| Problem::NotFound(format!("POST {path}")))?;
        let model = match cloud {
            Cloud::Vertex => named.model.as_str(),
            Cloud::Bedrock => path::bedrock_model(&named.model).map_err(Problem::Denied)?,
        };
        let Some((b'{', rest)) = body.trim_ascii_start().split_first() else {
            return Err(Problem::Invalid("the body must be a JSON object".to_owned()));
        };
        // Vertex says in the body as well whether it is a stream; with Bedrock only the path does.
        let stream = if cloud == Cloud::Bedrock && named.stream { ",\"stream\":true" } else { "" };
        let comma = if rest.trim_ascii_start().starts_with(b"}") { "" } else { "," };
        let mut whole = format!("{{\"model\":{}{stream}{comma}", quoted(model)).into_bytes();
        let added = whole.len();
        whole.extend_from_slice(rest);
        let inner = anthropic::Request::parse(whole.into())?;
        if cloud == Cloud::Vertex && inner.stream() && !named.stream {
            return Err(Problem::Invalid(
                "the body asks for a stream: send it to streamRawPredict".to_owned(),
            ));
        }
        Ok(Self { inner, cloud, named, raw: body, added })
    }

    /// The same request as the Messages API would have it.
    #[must_use]
    pub fn messages(&self) -> &anthropic::Request {
        &self.inner
    }

    /// Where it is served once `edits` are made, as far as that changes the price; `home` is where the endpoint
    /// is.
    #[must_use]
    pub fn region(&self, edits: &Edits, home: &Region) -> Region {
        let model = edits.model.as_ref().unwrap_or(self.inner.model());
        path::region(&self.named, model.as_str(), home)
    }

    /// The body with `edits` made; the model is in the path.
    #[must_use]
    pub fn rewrite(&self, edits: &Edits) -> Bytes {
        let inside = Edits { model: None, ..edits.clone() };
        if inside.is_empty() {
            return self.raw.clone();
        }
        let whole = self.inner.rewrite(&inside);
        [&b"{"[..], &whole[self.added..]].concat().into()
    }

    /// The path with `edits` made.
    #[must_use]
    pub fn path<'a>(&self, path: &'a str, edits: &Edits) -> Cow<'a, str> {
        match &edits.model {
            Some(model) => path::with_model(path, &self.named, model.as_str()),
            None => Cow::Borrowed(path),
        }
    }

    /// The path of the count endpoint that goes with `path`.
    #[must_use]
    pub fn count_path(&self, path: &str, edits: &Edits) -> String {
        let before = &path[..self.named.at.start];
        match self.cloud {
            Cloud::Vertex => format!("{before}count-tokens:rawPredict"),
            Cloud::Bedrock => {
                // The count endpoint takes models, and no inference profiles.
                let model = edits.model.as_ref().unwrap_or(self.inner.model()).as_str();
                format!("{before}{}/count-tokens", path::escaped(path::without_profile(model)))
            }
        }
    }

    /// The body for the count endpoint; `None` where its answer would not bound the request.
    #[must_use]
    pub fn count_body(&self, edits: &Edits) -> Option<Bytes> {
        let counted = self.inner.count_body(edits)?;
        Some(match self.cloud {
            Cloud::Vertex => {
                let version = format!("{{\"anthropic_version\":{},", quoted(VERTEX_VERSION));
                [version.as_bytes(), counted.get(1..)?].concat().into()
            }
            Cloud::Bedrock => {
                let body = STANDARD.encode(self.rewrite(edits));
                json!({ "input": { "invokeModel": { "body": body } } }).to_string().into()
            }
        })
    }

    /// Reads the count endpoint's answer, in tokens.
    #[must_use]
    pub fn parse_count(&self, body: &[u8]) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Count {
            input_tokens: u64,
        }
        match self.cloud {
            Cloud::Vertex => anthropic::parse_count(body),
            Cloud::Bedrock => {
                let count = serde_json::from_slice::<Count>(body).ok()?;
                Some(count.input_tokens).filter(|tokens| *tokens > 0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
