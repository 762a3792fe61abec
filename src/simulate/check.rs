//! Is a request one that the Messages API takes? Strictly: what the API refuses, so does the simulation,
//! or a test would pass with a meter that spoils requests.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::prompt::blocks;

/// Fields of a request's top level.
const FIELDS: [&str; 24] = [
    "model",
    "messages",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "service_tier",
    "inference_geo",
    "speed",
    "context_management",
    "output_config",
    "output_format",
    "container",
    "mcp_servers",
    "cache_control",
    "fallbacks",
    "diagnostics",
];
/// Fields that a count of tokens does not take.
const NOT_COUNTED: [&str; 5] = ["max_tokens", "stream", "temperature", "stop_sequences", "metadata"];
/// Blocks that a user's turn may have.
const USER_BLOCKS: [&str; 6] =
    ["text", "image", "document", "tool_result", "search_result", "container_upload"];
/// Blocks that an assistant's turn may have.
const ASSISTANT_BLOCKS: [&str; 7] = [
    "text",
    "tool_use",
    "thinking",
    "redacted_thinking",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
];
/// The most cache marks in one request.
const MARKS_MAX: usize = 4;
/// The least thinking budget.
const THINKING_MIN: u64 = 1_024;

type Verdict = Result<(), String>;

/// Checks a generation request.
pub(super) fn generation(body: &Value) -> Verdict {
    let fields = top_level(body)?;
    if let Some(field) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(format!("{field}: Extra inputs are not permitted"));
    }
    let Some(max_tokens) = fields.get("max_tokens") else {
        return Err("max_tokens: Field required".to_owned());
    };
    let Some(max_tokens) = max_tokens.as_u64().filter(|tokens| *tokens >= 1) else {
        return Err("max_tokens: Input should be a whole number, 1 or more".to_owned());
    };
    if fields.get("stream").is_some_and(|stream| !stream.is_boolean()) {
        return Err("stream: Input should be a valid boolean".to_owned());
    }
    thinking(&body["thinking"], max_tokens)?;
    prompt(body)
}

/// Checks a request to count tokens.
pub(super) fn token_count(body: &Value) -> Verdict {
    let fields = top_level(body)?;
    let known = |field: &str| FIELDS.contains(&field) && !NOT_COUNTED.contains(&field);
    if let Some(field) = fields.keys().find(|field| !known(field)) {
        return Err(format!("{field}: Extra inputs are not permitted"));
    }
    prompt(body)
}

fn top_level(body: &Value) -> Result<&Map<String, Value>, String> {
    let fields = body.as_object().ok_or("the body has to be a JSON object")?;
    match fields.get("model").map(Value::as_str) {
        None => Err("model: Field required".to_owned()),
        Some(None | Some("")) => Err("model: Input should be a valid string".to_owned()),
        Some(Some(_)) => Ok(fields),
    }
}

fn prompt(body: &Value) -> Verdict {
    tools(&body["tools"], &body["tool_choice"])?;
    for (index, block) in blocks(&body["system"]).iter().enumerate() {
        if !block.is_string() && block["type"] != "text" {
            return Err(format!("system.{index}: Input should be a text block"));
        }
        text_block(block, &format!("system.{index}"))?;
    }
    messages(body)?;
    marks(body)
}

fn thinking(thinking: &Value, max_tokens: u64) -> Verdict {
    match thinking["type"].as_str() {
        _ if thinking.is_null() => Ok(()),
        Some("disabled" | "adaptive" | "between_tools") => Ok(()),
        Some("enabled") => match thinking["budget_tokens"].as_u64() {
            None => Err("thinking.enabled.budget_tokens: Field required".to_owned()),
            Some(budget) if budget < THINKING_MIN => Err(format!(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to {THINKING_MIN}"
            )),
            Some(budget) if budget >= max_tokens => {
                Err("`max_tokens` must be greater than `thinking.budget_tokens`".to_owned())
            }
            Some(_) => Ok(()),
        },
        _ => Err("thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'".to_owned()),
    }
}

fn tools(tools: &Value, choice: &Value) -> Verdict {
    let mut names = BTreeSet::new();
    let list = match tools {
        Value::Null => &[],
        Value::Array(list) => list.as_slice(),
        _ => return Err("tools: Input should be a valid list".to_owned()),
    };
    for (index, tool) in list.iter().enumerate() {
        let is_custom = matches!(tool["type"].as_str(), None | Some("custom"));
        let Some(name) = tool["name"].as_str().or((!is_custom).then_some("")) else {
            return Err(format!("tools.{index}.name: Field required"));
        };
        let wide = name.len() > 128;
        if wide || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(format!(
                "tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if is_custom && tool["input_schema"]["type"] != "object" {
            return Err(format!("tools.{index}.input_schema.type: Field required"));
        }
        if !name.is_empty() && !names.insert(name) {
            return Err("tools: Tool names must be unique.".to_owned());
        }
    }
    match choice["type"].as_str() {
        _ if choice.is_null() => Ok(()),
        Some("none") => Ok(()),
        Some("auto" | "any" | "tool") if list.is_empty() => {
            Err("tool_choice: `tools` must be given to choose from".to_owned())
        }
        Some("auto" | "any") => Ok(()),
        Some("tool") if choice["name"].as_str().is_some_and(|name| names.contains(name)) => Ok(()),
        _ => Err("tool_choice: Input should be auto, any, none or one of the tools".to_owned()),
    }
}

fn messages(body: &Value) -> Verdict {
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Err("messages: at least one message is required".to_owned());
    };
    let mut open_calls: BTreeSet<&str> = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let allowed: &[&str] = match message["role"].as_str() {
            Some("user") => &USER_BLOCKS,
            Some("assistant") => &ASSISTANT_BLOCKS,
            // Claude Code speaks to newer models in the middle of a conversation like this.
            Some("system") => &["text"],
            _ => {
                return Err(format!(
                    "messages.{index}.role: Input should be 'user', 'assistant' or 'system'"
                ));
            }
        };
        if index == 0 && message["role"] != "user" {
            return Err("messages: first message must use the \"user\" role".to_owned());
        }
        let content = blocks(&message["content"]);
        if content.is_empty() {
            return Err(format!("messages.{index}.content: must not be empty"));
        }
        for (at, block) in content.iter().enumerate() {
            let place = format!("messages.{index}.content.{at}");
            let kind = if block.is_string() { Some("text") } else { block["type"].as_str() };
            if !kind.is_some_and(|kind| allowed.contains(&kind)) {
                return Err(format!("{place}: Input tag {} is not one of those expected", block["type"]));
            }
            text_block(block, &place)?;
        }
        strike_answered(content, index, &mut open_calls)?;
        if !open_calls.is_empty() {
            return Err(format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after"
            ));
        }
        open_calls.extend(content.iter().filter(|block| block["type"] == "tool_use").filter_map(call_id));
    }
    if messages.last().is_some_and(|message| message["role"] == "assistant") {
        return Err("this model does not support assistant message prefill: end with a user message".into());
    }
    Ok(())
}

fn call_id(block: &Value) -> Option<&str> {
    block["id"].as_str()
}

/// Strikes the calls that a turn answers from the open ones.
fn strike_answered<'a>(content: &'a [Value], index: usize, open: &mut BTreeSet<&'a str>) -> Verdict {
    for (at, block) in content.iter().enumerate().filter(|(_, block)| block["type"] == "tool_result") {
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        if !open.remove(id) {
            return Err(format!(
                "messages.{index}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}"
            ));
        }
    }
    Ok(())
}

fn text_block(block: &Value, place: &str) -> Verdict {
    let text = if block.is_string() { block } else { &block["text"] };
    let is_text = block.is_string() || block["type"] == "text";
    match text.as_str() {
        _ if !is_text => Ok(()),
        None => Err(format!("{place}.text: Field required")),
        Some("") => Err(format!("{place}.text: text content blocks must be non-empty")),
        Some(text) if text.trim().is_empty() => {
            Err(format!("{place}.text: text content blocks must contain non-whitespace text"))
        }
        Some(_) => Ok(()),
    }
}

/// At most four marks, each with a known lifetime, the long-lived ones first.
fn marks(body: &Value) -> Verdict {
    let tools = blocks(&body["tools"]).iter();
    let messages = blocks(&body["messages"]).iter().flat_map(|message| blocks(&message["content"]));
    let all = tools.chain(blocks(&body["system"])).chain(messages).chain([body]);
    let mut count = 0;
    let mut short_seen = false;
    for mark in all.map(|block| &block["cache_control"]).filter(|mark| !mark.is_null()) {
        count += 1;
        let is_long = match (mark["type"].as_str(), mark["ttl"].as_str()) {
            (Some("ephemeral"), None) if mark["ttl"].is_null() => false,
            (Some("ephemeral"), Some("5m")) => false,
            (Some("ephemeral"), Some("1h")) => true,
            _ => return Err("cache_control: Input should be ephemeral, with a ttl of '5m' or '1h'".into()),
        };
        if is_long && short_seen {
            return Err("a ttl='1h' cache_control block must not come after a ttl='5m' one".to_owned());
        }
        short_seen |= !is_long;
    }
    if count > MARKS_MAX {
        return Err(format!(
            "A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {count}."
        ));
    }
    Ok(())
}
