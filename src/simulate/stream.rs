//! The events of a Messages stream, put together again as the built-in agent needs them.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// A message that has been streamed to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// Its blocks, as they go back into the history.
    pub(super) content: Vec<Value>,
    /// Why it ended.
    pub(super) stop_reason: String,
}

impl Message {
    /// Reads the whole text of a stream.
    ///
    /// # Errors
    /// When the stream has an `error` event, is no stream, or ends before its `message_stop`.
    pub(super) fn from_events(text: &str) -> anyhow::Result<Self> {
        let mut content: Vec<Value> = Vec::new();
        let mut partial = String::new();
        let mut stop_reason = None;
        let mut stopped = false;
        for data in text.lines().filter_map(|line| line.strip_prefix("data:")) {
            let event: Value = serde_json::from_str(data.trim()).context("an event is no JSON")?;
            match event["type"].as_str() {
                Some("content_block_start") => {
                    partial.clear();
                    content.push(event["content_block"].clone());
                }
                Some("content_block_delta") => {
                    let block = content.last_mut().context("a delta came before its block")?;
                    grow(block, &event["delta"], &mut partial);
                }
                Some("content_block_stop") if !partial.is_empty() => {
                    let block = content.last_mut().context("a block ended before it began")?;
                    block["input"] = serde_json::from_str(&partial).context("a tool's input is no JSON")?;
                    partial.clear();
                }
                Some("message_delta") => {
                    stop_reason = event["delta"]["stop_reason"].as_str().map(str::to_owned);
                }
                Some("message_stop") => stopped = true,
                Some("error") => bail!("the stream ended with an error: {}", event["error"]["message"]),
                _ => {}
            }
        }
        let stop_reason = stop_reason.filter(|_| stopped).context("the stream broke off")?;
        Ok(Self { content, stop_reason })
    }

    /// All of its text.
    pub(super) fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block["type"] == "text");
        texts.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
    }
}

fn grow(block: &mut Value, delta: &Value, partial: &mut String) {
    let field = match delta["type"].as_str() {
        Some("text_delta") => "text",
        Some("thinking_delta") => "thinking",
        Some("signature_delta") => "signature",
        Some("input_json_delta") => {
            partial.push_str(delta["partial_json"].as_str().unwrap_or_default());
            return;
        }
        _ => return,
    };
    let grown = [&block[field], &delta[field]].map(|part| part.as_str().unwrap_or_default()).concat();
    block[field] = json!(grown);
}
