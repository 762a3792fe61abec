//! What agents print, each in a format of its own, into what a person wants to read while they work.

use super::Format;
use super::{aider, claude, codex, gemini, mini, opencode};

/// Characters of a tool's input that are shown.
const INPUT_CHARS: usize = 160;

/// What was heard so far, of an agent whose format is known.
pub(super) enum Transcript {
    Claude(claude::Transcript),
    Codex(codex::Transcript),
    Gemini(gemini::Transcript),
    Opencode(opencode::Transcript),
    Aider(aider::Transcript),
    Mini(mini::Transcript),
}

/// The same for each agent.
macro_rules! each {
    ($self:ident, $transcript:ident => $answer:expr) => {
        match $self {
            Transcript::Claude($transcript) => $answer,
            Transcript::Codex($transcript) => $answer,
            Transcript::Gemini($transcript) => $answer,
            Transcript::Opencode($transcript) => $answer,
            Transcript::Aider($transcript) => $answer,
            Transcript::Mini($transcript) => $answer,
        }
    };
}

impl Transcript {
    /// An empty one; `None` for text of which nothing is known.
    pub(super) fn of(format: Format) -> Option<Self> {
        match format {
            Format::Plain => None,
            Format::ClaudeStream => Some(Self::Claude(claude::Transcript::default())),
            Format::CodexJson => Some(Self::Codex(codex::Transcript::default())),
            Format::GeminiStream => Some(Self::Gemini(gemini::Transcript::default())),
            Format::OpencodeJson => Some(Self::Opencode(opencode::Transcript::default())),
            Format::Aider => Some(Self::Aider(aider::Transcript::default())),
            Format::Mini => Some(Self::Mini(mini::Transcript::default())),
        }
    }

    /// Takes one line; `show` gets the text to be shown, which may have several lines. A line that is not
    /// of the format is shown as it is.
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        each!(self, transcript => transcript.hear(line, show))
    }

    /// Takes the end of the stream.
    pub(super) fn end(&mut self, show: &mut dyn FnMut(&str)) {
        if let Self::Gemini(transcript) = self {
            transcript.end(show);
        }
    }

    /// The agent's last words, and the error it reported.
    pub(super) fn into_said(self) -> (String, Option<String>) {
        each!(self, transcript => transcript.into_said())
    }
}

/// What an agent has said so far: its last words, and the error that ended it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    text: Option<String>,
    error: Option<String>,
}

impl Said {
    /// A whole text of the model's; one without a word is none.
    pub(super) fn text(&mut self, text: String, show: &mut dyn FnMut(&str)) {
        if !text.trim().is_empty() {
            show(&text);
            self.text = Some(text);
        }
    }

    /// An error that ends the run. Agents tell the same one twice; it is shown once.
    pub(super) fn fail(&mut self, message: String, show: &mut dyn FnMut(&str)) {
        if self.error.as_deref() != Some(&message) {
            show(&failure(&message));
        }
        self.error = Some(message);
    }

    /// The last words, and the error.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.text.unwrap_or_default(), self.error)
    }
}

/// The one field of a tool's input that says most, on one line.
pub(super) fn shown_input(input: &serde_json::Value) -> String {
    let fields = [
        "command",
        "file_path",
        "filePath",
        "path",
        "pattern",
        "url",
        "query",
        "description",
        "prompt",
        "skill",
    ];
    let telling = fields.iter().find_map(|field| input.get(field)?.as_str());
    match telling {
        Some(text) => format!(": {}", first_line(text)),
        None => String::new(),
    }
}

/// The first line of a text, cut where it is long.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(INPUT_CHARS).collect();
    if shown.len() < text.trim().len() {
        shown.push_str(" …");
    }
    shown
}

/// An error as it is shown.
pub(super) fn failure(error: &str) -> String {
    format!("✗ the agent ended with an error: {}", first_line(error))
}

/// What a transcript makes of these lines: what is shown, and what was said.
#[cfg(test)]
pub(super) fn heard(format: Format, lines: &[&str]) -> (Vec<String>, (String, Option<String>)) {
    let mut transcript = Transcript::of(format).expect("a format with a transcript");
    let mut shown = Vec::new();
    for line in lines {
        transcript.hear(line, &mut |text| shown.push(text.to_owned()));
    }
    transcript.end(&mut |text| shown.push(text.to_owned()));
    (shown, transcript.into_said())
}
