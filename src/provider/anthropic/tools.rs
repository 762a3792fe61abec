//! The tools of a request: who runs them, and what they add to its cost.

use std::borrow::Cow;

use super::scan::{Flaw, Kind, Scanner};
use crate::model::ModelId;

type Result<T> = std::result::Result<T, Flaw>;

/// Built-in tools that the client runs: their names, and the most tokens that their hidden
/// descriptions take. Figures from the tool pages of Anthropic's documentation.
const CLIENT_TOOLS: [(&str, u64); 5] =
    [("bash", 325), ("text_editor", 700), ("memory", 700), ("computer", 4_590), ("browser", 7_550)];

/// What `tools` says.
#[derive(Clone, Debug, Default)]
pub(super) struct Tools {
    /// Bytes of the whole array.
    pub(super) bytes: usize,
    /// Bytes of the largest definition.
    pub(super) largest_bytes: usize,
    /// Tokens of the hidden descriptions of built-in tools.
    pub(super) hidden_tokens: u64,
    /// Tools that the provider runs.
    pub(super) server: Vec<ServerTool>,
}

impl Tools {
    /// Adds the tools that the conversation itself defines.
    pub(super) fn add(&mut self, more: Tools) {
        self.bytes += more.bytes;
        self.largest_bytes = self.largest_bytes.max(more.largest_bytes);
        self.hidden_tokens += more.hidden_tokens;
        self.server.extend(more.server);
    }
}

/// A tool that the provider runs.
#[derive(Clone, Debug)]
pub(super) struct ServerTool {
    /// Its type.
    pub(super) kind: String,
    /// How often it may be used in one request.
    pub(super) uses_max: Option<u64>,
    /// The model that it asks.
    pub(super) model: Option<ModelId>,
    /// That model's output cap.
    pub(super) output_cap: Option<u64>,
}

/// Reads `tools`.
pub(super) fn tools(scan: &mut Scanner<'_>) -> Result<Tools> {
    let mut found = Tools::default();
    if scan.peek()? != Kind::Array {
        scan.skip()?;
        return Ok(found);
    }
    let at = scan.array(|scan| tool(scan, &mut found))?;
    // An empty list is no tools.
    found.bytes = if found.largest_bytes == 0 { 0 } else { at.len() };
    Ok(found)
}

/// Reads one definition: an element of `tools`, or one that stands inside the conversation.
pub(super) fn tool(scan: &mut Scanner<'_>, found: &mut Tools) -> Result<()> {
    if scan.peek()? != Kind::Object {
        return Err(Flaw::Meaning("each of tools must be an object".to_owned()));
    }
    let mut kind = Cow::Borrowed("custom");
    let (mut uses_max, mut output_cap, mut model) = (None, None, None);
    let at = scan.object(|scan, key| {
        match key {
            "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
            "model" if scan.peek()? == Kind::String => model = Some(ModelId::new(&scan.string()?.value())),
            "max_uses" => uses_max = scan.count()?,
            "max_tokens" => output_cap = scan.count()?,
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    found.bytes += at.len();
    found.largest_bytes = found.largest_bytes.max(at.len());
    let built_in = CLIENT_TOOLS.iter().find(|(name, _tokens)| is_edition(&kind, name));
    match built_in {
        Some((_prefix, tokens)) => found.hidden_tokens += tokens,
        None if kind == "custom" => {}
        None => found.server.push(ServerTool { kind: kind.into_owned(), uses_max, model, output_cap }),
    }
    Ok(())
}

/// Whether a type is a dated edition of a tool or of its toolset, such as `bash_20250124`. A type that only
/// begins alike (`bash_code_execution_…`) may be run by the provider.
fn is_edition(kind: &str, name: &str) -> bool {
    let Some(rest) = kind.strip_prefix(name) else { return false };
    let date = rest.strip_prefix("_toolset").unwrap_or(rest).strip_prefix('_').unwrap_or_default();
    date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
}
