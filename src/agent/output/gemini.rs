//! Gemini CLI's `stream-json` into what a person wants to read while it works.
//!
//! One JSON object a line (as Gemini CLI 0.61 writes them). What the model says comes in pieces, which are
//! shown whole once something else comes.

use serde::Deserialize;

use super::transcript::{Said, first_line, shown_input};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Init {
        #[serde(default)]
        model: String,
    },
    Message {
        #[serde(default)]
        role: String,
        #[serde(default)]
        content: String,
        #[serde(default)]
        delta: bool,
    },
    ToolUse {
        #[serde(default)]
        tool_name: String,
        #[serde(default)]
        parameters: serde_json::Value,
    },
    ToolResult {
        #[serde(default)]
        status: String,
        #[serde(default)]
        output: Option<String>,
        #[serde(default)]
        error: Option<Failure>,
    },
    Error {
        #[serde(default)]
        severity: String,
        #[serde(default)]
        message: String,
    },
    Result {
        #[serde(default)]
        status: String,
        #[serde(default)]
        error: Option<Failure>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    /// Pieces of what is being said.
    saying: String,
    said: Said,
}

impl Transcript {
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        if line.trim().is_empty() {
            return;
        }
        let event = serde_json::from_str(line);
        if !matches!(&event, Ok(Event::Message { role, delta: true, .. }) if role == "assistant") {
            self.end(show);
        }
        match event {
            Ok(Event::Init { model }) => show(&format!("Gemini CLI with {}", first_line(&model))),
            Ok(Event::Message { role, content, delta }) if role == "assistant" => {
                self.saying.push_str(&content);
                if !delta {
                    self.end(show);
                }
            }
            Ok(Event::ToolUse { tool_name, parameters }) => {
                show(&format!("→ {}{}", first_line(&tool_name), shown_input(&parameters)));
            }
            Ok(Event::ToolResult { status, output, error }) if status == "error" => {
                let text = error.map(|error| error.message).or(output).unwrap_or_default();
                show(&format!("  ✗ {}", first_line(&text)));
            }
            Ok(Event::Error { severity, message }) if severity != "error" => {
                show(&format!("✗ {}", first_line(&message)));
            }
            Ok(Event::Error { message, .. }) => self.said.fail(message, show),
            Ok(Event::Result { status, error }) if status == "error" => {
                let reason = error.map_or_else(|| "no reason was given".to_owned(), |error| error.message);
                self.said.fail(reason, show);
            }
            Ok(Event::Message { .. } | Event::ToolResult { .. } | Event::Result { .. } | Event::Other) => {}
            Err(_) => show(line),
        }
    }

    /// What was being said is whole.
    pub(super) fn end(&mut self, show: &mut dyn FnMut(&str)) {
        self.said.text(std::mem::take(&mut self.saying), show);
    }

    pub(super) fn into_said(self) -> (String, Option<String>) {
        self.said.into_parts()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::transcript::heard;

    #[test]
    fn a_run_reads_like_a_story() {
        let (shown, said) = heard(
            Format::GeminiStream,
            &[
                r#"{"type":"init","session_id":"s","model":"m-1"}"#,
                r#"{"type":"message","role":"user","content":"do it"}"#,
                r#"{"type":"message","role":"assistant","content":"Look","delta":true}"#,
                r#"{"type":"message","role":"assistant","content":"ing.","delta":true}"#,
                r#"{"type":"tool_use","tool_name":"run_shell_command","tool_id":"1","parameters":{"command":"ls\nls"}}"#,
                r#"{"type":"tool_result","tool_id":"1","status":"error","output":"no\nno"}"#,
                r#"{"type":"error","severity":"warning","message":"Loop detected"}"#,
                r#"{"type":"message","role":"assistant","content":"Done.","delta":true}"#,
                r#"{"type":"result","status":"success","stats":{}}"#,
            ],
        );
        assert_eq!(
            shown,
            [
                "Gemini CLI with m-1",
                "Looking.",
                "→ run_shell_command: ls …",
                "  ✗ no …",
                "✗ Loop detected",
                "Done."
            ]
        );
        assert_eq!(said, ("Done.".into(), None));
    }

    #[test]
    fn an_error_is_said_once_and_keeps_the_last_words() {
        let (shown, said) = heard(
            Format::GeminiStream,
            &[
                "YOLO mode is enabled.",
                r#"{"type":"message","role":"assistant","content":"Half done.","delta":true}"#,
                r#"{"type":"error","severity":"error","message":"quota"}"#,
                r#"{"type":"result","status":"error","error":{"type":"Error","message":"quota"},"stats":{}}"#,
            ],
        );
        assert_eq!(shown, ["YOLO mode is enabled.", "Half done.", "✗ the agent ended with an error: quota"]);
        assert_eq!(said, ("Half done.".into(), Some("quota".into())));
    }
}
