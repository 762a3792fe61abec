//! Codex's `exec --json` into what a person wants to read while it works.
//!
//! One JSON object a line (as Codex 0.169 writes them). An error that ends the run comes as `error` and
//! again in `turn.failed`; one that does not is an item.

use serde::Deserialize;

use super::transcript::{Said, first_line};

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "item.started")]
    Started { item: Item },
    #[serde(rename = "item.completed")]
    Completed { item: Item },
    #[serde(rename = "turn.failed")]
    Failed { error: Failure },
    #[serde(rename = "error")]
    Error(Failure),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    AgentMessage {
        #[serde(default)]
        text: String,
    },
    CommandExecution {
        #[serde(default)]
        command: String,
        #[serde(default)]
        exit_code: Option<i64>,
        #[serde(default)]
        aggregated_output: String,
    },
    FileChange {
        #[serde(default)]
        changes: Vec<Change>,
    },
    McpToolCall {
        #[serde(default)]
        server: String,
        #[serde(default)]
        tool: String,
    },
    CollabToolCall {
        #[serde(default)]
        tool: String,
        #[serde(default)]
        prompt: Option<String>,
    },
    Error(Failure),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    path: String,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    said: Said,
}

impl Transcript {
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        if line.trim().is_empty() {
            return;
        }
        match serde_json::from_str(line) {
            Ok(Event::Started { item }) => started(&item, show),
            Ok(Event::Completed { item }) => self.completed(item, show),
            Ok(Event::Failed { error } | Event::Error(error)) => self.said.fail(error.message, show),
            Ok(Event::Other) => {}
            Err(_) => show(line),
        }
    }

    fn completed(&mut self, item: Item, show: &mut dyn FnMut(&str)) {
        match item {
            Item::AgentMessage { text } => self.said.text(text, show),
            Item::CommandExecution { exit_code: Some(code), aggregated_output, .. } if code != 0 => {
                show(&format!("  ✗ exit code {code}: {}", first_line(&aggregated_output)));
            }
            Item::FileChange { changes } => {
                changes.iter().for_each(|change| show(&format!("→ edits {}", first_line(&change.path))));
            }
            Item::Error(error) => show(&format!("✗ {}", first_line(&error.message))),
            _ => {}
        }
    }

    pub(super) fn into_said(self) -> (String, Option<String>) {
        self.said.into_parts()
    }
}

fn started(item: &Item, show: &mut dyn FnMut(&str)) {
    match item {
        Item::CommandExecution { command, .. } => show(&format!("→ {}", first_line(command))),
        Item::McpToolCall { server, tool } => show(&format!("→ {}", first_line(&format!("{server}.{tool}")))),
        Item::CollabToolCall { tool, prompt } => {
            let prompt =
                prompt.as_deref().map_or(String::new(), |prompt| format!(": {}", first_line(prompt)));
            show(&format!("→ agents: {}{prompt}", first_line(tool)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::transcript::heard;

    #[test]
    fn a_run_reads_like_a_story() {
        let (shown, said) = heard(
            Format::CodexJson,
            &[
                r#"{"type":"thread.started","thread_id":"t"}"#,
                r#"{"type":"turn.started"}"#,
                r#"{"type":"item.completed","item":{"id":"item_0","type":"error","message":"Model metadata not found."}}"#,
                r#"{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"Looking."}}"#,
                r#"{"type":"item.started","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'ls'","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#,
                r#"{"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'ls'","aggregated_output":"no\nno","exit_code":2,"status":"failed"}}"#,
                r#"{"type":"item.completed","item":{"id":"item_3","type":"file_change","changes":[{"path":"src/a.rs","kind":"update"}],"status":"completed"}}"#,
                r#"{"type":"item.started","item":{"id":"item_4","type":"collab_tool_call","tool":"spawn_agent","prompt":"Do the part.","receiver_thread_ids":[]}}"#,
                r#"{"type":"item.completed","item":{"id":"item_5","type":"reasoning","text":"hm"}}"#,
                r#"{"type":"item.completed","item":{"id":"item_6","type":"agent_message","text":"Done."}}"#,
                r#"{"type":"turn.completed","usage":{"input_tokens":100}}"#,
            ],
        );
        assert_eq!(
            shown,
            [
                "✗ Model metadata not found.",
                "Looking.",
                "→ /bin/bash -lc 'ls'",
                "  ✗ exit code 2: no …",
                "→ edits src/a.rs",
                "→ agents: spawn_agent: Do the part.",
                "Done.",
            ]
        );
        assert_eq!(said, ("Done.".into(), None));
    }

    #[test]
    fn an_error_is_said_once_and_keeps_the_last_words() {
        let (shown, said) = heard(
            Format::CodexJson,
            &[
                "WARNING: proceeding",
                r#"{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"Half done."}}"#,
                r#"{"type":"error","message":"stream disconnected"}"#,
                r#"{"type":"turn.failed","error":{"message":"stream disconnected"}}"#,
            ],
        );
        assert_eq!(
            shown,
            ["WARNING: proceeding", "Half done.", "✗ the agent ended with an error: stream disconnected"]
        );
        assert_eq!(said, ("Half done.".into(), Some("stream disconnected".into())));
    }
}
