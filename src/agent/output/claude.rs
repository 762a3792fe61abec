//! Claude Code's `stream-json` into what a person wants to read while it works.
//!
//! One JSON object a line (as Claude Code 2.1 writes them). Only `is_error` of the last one says whether
//! the run failed: its `subtype` reads `success` even when the provider refused.

use serde::Deserialize;

use super::transcript::{first_line, shown_input};

/// The model that Claude Code names for messages it has made up itself, such as API errors.
const MADE_UP: &str = "<synthetic>";

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    System(System),
    Assistant(Turn),
    User(Turn),
    Result(Finish),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct System {
    #[serde(default)]
    subtype: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    claude_code_version: String,
}

#[derive(Deserialize)]
struct Turn {
    message: Message,
    /// The tool call that started the sub-agent whose turn this is.
    #[serde(default)]
    parent_tool_use_id: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    model: String,
    /// Blocks; a plain string in some user messages.
    #[serde(default)]
    content: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        name: String,
        #[serde(default)]
        input: serde_json::Value,
    },
    ToolResult {
        #[serde(default)]
        is_error: bool,
        #[serde(default)]
        content: serde_json::Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Finish {
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    subtype: String,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    /// The last text of the main thread that a model has written.
    last_text: Option<String>,
    result: Option<String>,
    error: Option<String>,
}

impl Transcript {
    /// Takes one line; `show` gets the text to be shown, which may have several lines. A line that is not
    /// of the format is shown as it is.
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        if line.trim().is_empty() {
            return;
        }
        match serde_json::from_str(line) {
            Ok(Event::System(system)) if system.subtype == "init" => {
                show(&format!("Claude Code {} with {}", system.claude_code_version, system.model));
            }
            Ok(Event::Assistant(turn)) => self.assistant(turn, show),
            Ok(Event::User(turn)) => failed_tools(&turn, show),
            Ok(Event::Result(finish)) => self.finish(finish, show),
            Ok(Event::System(_) | Event::Other) => {}
            Err(_) => show(line),
        }
    }

    fn assistant(&mut self, turn: Turn, show: &mut dyn FnMut(&str)) {
        let indent = if turn.parent_tool_use_id.is_some() { "  " } else { "" };
        for block in blocks(&turn.message.content) {
            match block {
                Block::Text { text } if !text.trim().is_empty() => {
                    show(&indented(&text, indent));
                    if turn.parent_tool_use_id.is_none() && turn.message.model != MADE_UP {
                        self.last_text = Some(text);
                    }
                }
                Block::ToolUse { name, input } => {
                    show(&format!("{indent}→ {name}{}", shown_input(&input)));
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self, finish: Finish, show: &mut dyn FnMut(&str)) {
        let text = finish.result.unwrap_or_default();
        if finish.is_error {
            let error = if text.trim().is_empty() { finish.subtype } else { text };
            show(&format!("✗ the agent ended with an error: {}", first_line(&error)));
            self.error = Some(error);
        } else if !text.trim().is_empty() {
            if self.last_text.as_deref() != Some(text.as_str()) {
                show(&text);
            }
            self.result = Some(text);
        }
    }

    /// The agent's last words, and the error it reported.
    pub(super) fn into_said(self) -> (String, Option<String>) {
        (self.result.or(self.last_text).unwrap_or_default(), self.error)
    }
}

fn failed_tools(turn: &Turn, show: &mut dyn FnMut(&str)) {
    let indent = if turn.parent_tool_use_id.is_some() { "    " } else { "  " };
    for block in blocks(&turn.message.content) {
        if let Block::ToolResult { is_error: true, content } = block {
            let text = match &content {
                serde_json::Value::String(text) => text.clone(),
                other => blocks(other)
                    .into_iter()
                    .find_map(|block| if let Block::Text { text } = block { Some(text) } else { None })
                    .unwrap_or_default(),
            };
            show(&format!("{indent}✗ {}", first_line(&text)));
        }
    }
}

/// The blocks that can be read; others are left out, so that a new kind never costs a whole message.
fn blocks(content: &serde_json::Value) -> Vec<Block> {
    let list = content.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|block| Block::deserialize(block).ok()).collect()
}

fn indented(text: &str, indent: &str) -> String {
    if indent.is_empty() {
        return text.to_owned();
    }
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> (Vec<String>, (String, Option<String>)) {
        let mut transcript = Transcript::default();
        let mut shown = Vec::new();
        for line in lines {
            transcript.hear(line, &mut |text| shown.push(text.to_owned()));
        }
        (shown, transcript.into_said())
    }

    #[test]
    fn a_run_reads_like_a_story() {
        let (shown, said) = heard(&[
            r#"{"type":"system","subtype":"init","model":"m-1","claude_code_version":"2.1.197","tools":[]}"#,
            r#"{"type":"assistant","message":{"model":"m-1","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"Looking."}]},"parent_tool_use_id":null}"#,
            r#"{"type":"assistant","message":{"model":"m-1","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls\nls"}}]}}"#,
            r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":"Exit code 1\nno","is_error":true}]}}"#,
            r#"{"type":"assistant","message":{"model":"m-2","content":[{"type":"text","text":"from below"}]},"parent_tool_use_id":"t2"}"#,
            r#"{"type":"assistant","message":{"model":"m-1","content":[{"type":"tool_use","name":"TaskList","input":{}}]}}"#,
            r#"{"type":"assistant","message":{"model":"m-1","content":[{"type":"text","text":"Done."}]}}"#,
            r#"{"type":"rate_limit_event","x":1}"#,
            r#"{"type":"result","subtype":"success","is_error":false,"result":"Done."}"#,
        ]);
        assert_eq!(
            shown,
            [
                "Claude Code 2.1.197 with m-1",
                "Looking.",
                "→ Bash: ls …",
                "  ✗ Exit code 1 …",
                "  from below\n",
                "→ TaskList",
                "Done.",
            ]
        );
        assert_eq!(said, ("Done.".into(), None));
    }

    #[test]
    fn an_error_keeps_the_last_words_of_the_model() {
        let (shown, said) = heard(&[
            r#"{"type":"assistant","message":{"model":"m-1","content":[{"type":"text","text":"Half done."}]}}"#,
            r#"{"type":"assistant","message":{"model":"<synthetic>","content":[{"type":"text","text":"API Error: 402"}]}}"#,
            r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 402"}"#,
        ]);
        assert_eq!(
            shown,
            ["Half done.", "API Error: 402", "✗ the agent ended with an error: API Error: 402"]
        );
        assert_eq!(said, ("Half done.".into(), Some("API Error: 402".into())));
    }

    #[test]
    fn what_is_not_of_the_format_is_shown_as_it_is() {
        let (shown, said) = heard(&[
            "warning: x",
            "",
            r#"{"type":"assistant"}"#,
            r#"{"type":"result","is_error":true,"subtype":"error_max_turns"}"#,
        ]);
        assert_eq!(
            shown,
            ["warning: x", r#"{"type":"assistant"}"#, "✗ the agent ended with an error: error_max_turns"]
        );
        assert_eq!(said, (String::new(), Some("error_max_turns".into())));
    }
}
