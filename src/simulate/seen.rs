//! What a script sees of a request, in whichever API it came.

use http::HeaderMap;
use serde_json::Value;

use super::prompt::blocks;
use super::script::Seen;

/// Headers that name the sub-agent: Claude Code's, Codex's, opencode's. Of the last two each names the thread
/// or the session, beside one that says that it has a parent.
const AGENTS: [(&str, &str); 3] = [
    ("x-claude-code-agent-id", "x-claude-code-agent-id"),
    ("x-codex-parent-thread-id", "thread-id"),
    ("x-parent-session-id", "x-session-id"),
];

/// What there is to see.
pub(super) fn seen<'a>(headers: &'a HeaderMap, body: &'a Value, index: u64) -> Seen<'a> {
    let items = ["messages", "input", "contents"].iter().find_map(|field| body[field].as_array());
    let items = items.map_or(&[][..], Vec::as_slice);
    let mut last_text = String::new();
    let newest = items.rsplit(is_models).next().unwrap_or_default();
    newest.iter().for_each(|item| add_text(item, &mut last_text));
    if let Some(text) = body["input"].as_str() {
        last_text.push_str(text);
    }
    let mut tools = Vec::new();
    add_tools(&body["tools"], &mut tools);
    items.iter().for_each(|item| add_tools(&item["tools"], &mut tools));
    let starts = items.iter().enumerate().filter(|(at, item)| {
        is_models(item)
            && (item["role"] == "assistant" && item["type"].is_null()
                || *at == 0
                || !is_models(&items[at - 1]))
    });
    let turns = starts.count();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agent = AGENTS.iter().find_map(|(marks, names)| text(marks).and_then(|_| text(names)));
    let hands_in = tools.contains(&"complete_task").then_some("complete_task");
    Seen { index, body, tools, turns, last_text, agent: agent.or(hands_in) }
}

/// Whether the model has said an item.
fn is_models(item: &Value) -> bool {
    let kind = item["type"].as_str().unwrap_or_default();
    let call = ["function_call", "custom_tool_call", "reasoning"].contains(&kind);
    call || item["role"] == "assistant" || item["role"] == "model"
}

fn add_tools<'a>(tools: &'a Value, names: &mut Vec<&'a str>) {
    for tool in tools.as_array().into_iter().flatten() {
        let name = tool["name"].as_str().or(tool["function"]["name"].as_str());
        names.extend(name);
        add_tools(&tool["tools"], names);
        add_tools(&tool["functionDeclarations"], names);
    }
}

fn add_text(block: &Value, text: &mut String) {
    let said = block.as_str().or(block["text"].as_str()).or(block["output"].as_str());
    if let Some(said) = said {
        text.push_str(said);
        text.push('\n');
    }
    for inner in ["content", "parts", "output"] {
        if block[inner].is_array() || (inner == "content" && block[inner].is_string()) {
            blocks(&block[inner]).iter().for_each(|inner| add_text(inner, text));
        }
    }
}
