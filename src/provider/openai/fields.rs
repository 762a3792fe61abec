//! The top-level fields of a request, each read for what it can do to the cost.

use std::borrow::Cow;
use std::ops::Range;

use super::super::scan::{Flaw, Kind, Marks, Scanner};
use super::Form;
use super::content::{self, Content, Turn};
use crate::model::ModelId;
use crate::tokens::ServiceTier;

type Read<T> = Result<T, Flaw>;

/// Tools that the client runs. A type that is not known may be run by the provider.
const CLIENT_TOOLS: [&str; 9] = [
    "apply_patch",
    "computer",
    "computer_use",
    "computer_use_preview",
    "custom",
    "function",
    "local_shell",
    "namespace",
    "",
];

/// A field of the output cap: its name, its value if it has one, and where the value is.
#[derive(Clone, Debug)]
pub(super) struct Cap {
    pub(super) field: &'static str,
    pub(super) tokens: Option<u64>,
    pub(super) at: Range<usize>,
}

/// What `stream_options` says of the usage.
#[derive(Clone, Debug, Default)]
pub(super) enum StreamUsage {
    /// Nothing: there is no such field.
    #[default]
    Absent,
    /// It is asked for.
    Asked,
    /// There is an object that does not ask for it: where it ends, and whether it is empty.
    Missing(usize, bool),
    /// `include_usage` has another value, here.
    Denied(Range<usize>),
    /// The options are no object.
    Other(Range<usize>),
}

/// What a body says.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) model: Option<(ModelId, Range<usize>)>,
    pub(super) stream: bool,
    pub(super) stream_usage: StreamUsage,
    pub(super) caps: Vec<Cap>,
    pub(super) choices: u64,
    /// The service tier that is asked for, and where.
    pub(super) tier: Option<(Option<String>, Range<usize>)>,
    pub(super) content: Content,
    pub(super) has_input: bool,
    /// Where a note goes, if the last turn takes one.
    pub(super) note_at: Option<NotePlace>,
    pub(super) tool_bytes: usize,
    /// Types of the tools that the provider runs.
    pub(super) server_tools: Vec<String>,
    pub(super) tool_calls_max: Option<u64>,
    pub(super) tool_calls_at: Option<Range<usize>>,
    pub(super) forced: bool,
    pub(super) schema: bool,
    /// A cache lifetime that is longer than the usual one.
    pub(super) long_writes: bool,
    pub(super) compaction: bool,
    /// Further models that a router may serve the request with.
    pub(super) fallbacks: Vec<ModelId>,
    /// Values that the count endpoint takes as they are.
    pub(super) countable: Vec<(&'static str, Range<usize>)>,
    pub(super) unknown: Vec<String>,
    pub(super) unknown_bytes: usize,
    /// Where the body's object ends.
    pub(super) end: usize,
}

/// Where a note goes.
#[derive(Clone, Debug)]
pub(super) enum NotePlace {
    /// Before the bracket that closes the list of turns.
    EndOfTurns(usize),
    /// After a plain string, which becomes the first of two turns.
    AfterString(Range<usize>),
}

/// Reads a whole body.
pub(super) fn read(form: Form, body: &[u8]) -> Read<(Found, Marks)> {
    let mut scan = Scanner::new(body)?;
    if scan.peek()? != Kind::Object {
        return wrong("the body must be a JSON object");
    }
    let mut found = Found { choices: 1, ..Found::default() };
    let at = scan.object(|scan, key| match form {
        Form::Responses => found.responses_field(scan, key),
        Form::Chat => found.chat_field(scan, key),
    })?;
    found.end = at.end - 1;
    scan.end()?;
    // Those of the request, and those that items of its input bring.
    let tools = std::mem::take(&mut found.content.tools);
    found.tool_bytes += tools.bytes;
    found.server_tools.extend(tools.server);
    Ok((found, scan.marks))
}

fn wrong<T>(sentence: &str) -> Read<T> {
    Err(Flaw::Meaning(sentence.to_owned()))
}

fn refused<T>(rule: &str) -> Read<T> {
    Err(Flaw::Refused(rule.to_owned()))
}

impl Found {
    fn responses_field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        match key {
            "input" => {
                let start = scan.start()?;
                self.has_input = true;
                let string = scan.peek()? == Kind::String;
                let turn = content::content(scan, &mut self.content)?;
                let at = start..scan.position();
                self.note_at = match (turn, string) {
                    (_, true) => Some(NotePlace::AfterString(at.clone())),
                    (Turn::User, false) => Some(NotePlace::EndOfTurns(at.end - 1)),
                    _ => None,
                };
                self.countable.push(("input", at));
            }
            "instructions" => {
                let start = scan.start()?;
                content::content(scan, &mut self.content)?;
                self.countable.push(("instructions", start..scan.position()));
            }
            "max_output_tokens" => self.cap(scan, "max_output_tokens")?,
            "max_tool_calls" => {
                let start = scan.start()?;
                self.tool_calls_max = scan.count()?;
                self.tool_calls_at = Some(start..scan.position());
            }
            "text" => self.keep(scan, "text", |found, scan| found.format(scan, "format"))?,
            "reasoning" => self.keep(scan, "reasoning", |_, scan| scan.skip())?,
            "truncation" => self.keep(scan, "truncation", |_, scan| scan.skip())?,
            "previous_response_id" => self.held(scan, "previous_response_id")?,
            "conversation" => self.held(scan, "conversation")?,
            "prompt" => {
                if scan.peek()? != Kind::Null {
                    return refused(
                        "stored prompts are not metered, since they may bring tools; send the text",
                    );
                }
                scan.skip()?;
            }
            "context_management" => {
                self.compaction |= scan.peek()? != Kind::Null;
                scan.skip()?;
            }
            "background" => {
                if flag(scan, "background")? {
                    return refused("background requests are not metered; leave background out");
                }
            }
            _ => self.shared_field(scan, key)?,
        }
        Ok(())
    }

    fn chat_field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        match key {
            "messages" => {
                if scan.peek()? != Kind::Array {
                    return wrong("messages must be an array of messages");
                }
                let start = scan.start()?;
                let turn = content::content(scan, &mut self.content)?;
                self.has_input = self.content.messages > 0;
                let end = scan.position() - 1;
                self.note_at = (turn == Turn::User && end > start).then_some(NotePlace::EndOfTurns(end));
            }
            "max_tokens" => self.cap(scan, "max_tokens")?,
            "max_completion_tokens" => self.cap(scan, "max_completion_tokens")?,
            "n" | "best_of" => {
                if scan.peek()? == Kind::Null {
                    return scan.skip();
                }
                let Some(count) = scan.count()?.filter(|count| (1..=128).contains(count)) else {
                    return wrong(&format!("{key} must be a whole number from 1 to 128"));
                };
                self.choices = self.choices.max(count);
            }
            "stream_options" => self.stream_options(scan)?,
            "response_format" => self.schema |= is_shaped(scan)?,
            "functions" => self.tool_bytes += scan.span()?.len(),
            "function_call" => self.tool_choice(scan)?,
            "modalities" => {
                let mut spoken = false;
                if scan.peek()? == Kind::Array {
                    scan.array(|scan| {
                        if scan.peek()? == Kind::String {
                            spoken |= scan.string()?.value() != "text";
                            return Ok(());
                        }
                        spoken = true;
                        scan.skip()
                    })?;
                } else {
                    scan.skip()?;
                }
                if spoken {
                    return refused("answers that are no text have no price here; leave modalities out");
                }
            }
            "prediction" | "audio" => {
                if scan.peek()? != Kind::Null {
                    return refused(&format!(
                        "`{key}` is billed beyond the output cap, which is not metered"
                    ));
                }
                scan.skip()?;
            }
            "web_search_options" | "search_parameters" | "plugins" => {
                if scan.peek()? != Kind::Null {
                    self.server_tools.push(key.to_owned());
                }
                scan.skip()?;
            }
            "enable_search" => {
                if flag(scan, "enable_search")? {
                    self.server_tools.push("enable_search".to_owned());
                }
            }
            "models" => self.models(scan)?,
            _ => self.shared_field(scan, key)?,
        }
        Ok(())
    }

    fn shared_field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        match key {
            "model" => {
                if scan.peek()? != Kind::String {
                    return wrong("model must be a string such as \"gpt-6.1-sol\"");
                }
                let text = scan.string()?;
                self.model = Some((ModelId::new(&text.value()), text.at.start - 1..text.at.end + 1));
            }
            "stream" => self.stream = flag(scan, "stream")?,
            "tools" => self.keep(scan, "tools", Found::tools)?,
            "tool_choice" => self.keep(scan, "tool_choice", Found::tool_choice)?,
            "parallel_tool_calls" => self.keep(scan, "parallel_tool_calls", |_, scan| scan.skip())?,
            "service_tier" => {
                let start = scan.start()?;
                let tier = match scan.peek()? {
                    Kind::String => Some(scan.string()?.value().into_owned()),
                    Kind::Null => scan.skip().map(|()| None)?,
                    _ => return wrong("service_tier must be a string"),
                };
                self.tier = Some((tier, start..scan.position()));
            }
            "prompt_cache_retention" | "prompt_cache_options" | "prompt_cache_ttl" => {
                let usual = match scan.peek()? {
                    Kind::Null => true,
                    Kind::String => {
                        let text = scan.string()?.value();
                        self.long_writes |= !matches!(&*text, "in_memory" | "in-memory" | "30m" | "default");
                        return Ok(());
                    }
                    _ => false,
                };
                self.long_writes |= !usual;
                scan.skip()?;
            }
            // They change no cost, or are counted by their bytes.
            "client_metadata" | "frequency_penalty" | "include" | "logit_bias" | "logprobs" | "metadata"
            | "moderation" | "presence_penalty" | "prompt_cache_key" | "reasoning_effort"
            | "safety_identifier" | "seed" | "stop" | "store" | "stream_options" | "temperature"
            | "top_k" | "top_logprobs" | "top_p" | "user" | "verbosity" => scan.skip()?,
            _ => {
                self.unknown.push(key.to_owned());
                self.unknown_bytes += scan.span()?.len();
            }
        }
        Ok(())
    }

    /// Reads a value that the count endpoint takes.
    fn keep(
        &mut self,
        scan: &mut Scanner<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &mut Scanner<'_>) -> Read<()>,
    ) -> Read<()> {
        let start = scan.start()?;
        read(self, scan)?;
        self.countable.push((key, start..scan.position()));
        Ok(())
    }

    fn held(&mut self, scan: &mut Scanner<'_>, key: &'static str) -> Read<()> {
        self.content.held |= scan.peek()? != Kind::Null;
        self.has_input |= scan.peek()? != Kind::Null;
        self.keep(scan, key, |_, scan| scan.skip())
    }

    fn cap(&mut self, scan: &mut Scanner<'_>, field: &'static str) -> Read<()> {
        let start = scan.start()?;
        let null = scan.peek()? == Kind::Null;
        let tokens = scan.count()?;
        if tokens.is_none() && !null {
            return wrong(&format!("{field} must be a whole number of tokens, such as 4096"));
        }
        self.caps.push(Cap { field, tokens, at: start..scan.position() });
        Ok(())
    }

    fn stream_options(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Object {
            self.stream_usage = StreamUsage::Other(scan.span()?);
            return Ok(());
        }
        let (mut usage, mut keys) = (None, 0);
        let at = scan.object(|scan, key| {
            keys += 1;
            if key != "include_usage" {
                return scan.skip();
            }
            let yes = scan.peek()? == Kind::Bool;
            let at = scan.span()?;
            // The two words differ in length.
            usage = Some((yes && at.len() == "true".len(), at));
            Ok(())
        })?;
        self.stream_usage = match usage {
            Some((true, _)) => StreamUsage::Asked,
            Some((false, at)) => StreamUsage::Denied(at),
            None => StreamUsage::Missing(at.end - 1, keys == 0),
        };
        Ok(())
    }

    fn format(&mut self, scan: &mut Scanner<'_>, field: &str) -> Read<()> {
        if scan.peek()? != Kind::Object {
            return scan.skip();
        }
        let mut shaped = false;
        scan.object(|scan, key| {
            if key == field {
                shaped |= is_shaped(scan)?;
                return Ok(());
            }
            scan.skip()
        })?;
        self.schema |= shaped;
        Ok(())
    }

    fn tool_choice(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        match scan.peek()? {
            Kind::String => {
                let word = scan.string()?.value();
                self.forced |= !matches!(&*word, "auto" | "none");
            }
            Kind::Object => {
                let (mut kind, mut mode) = (Cow::Borrowed(""), Cow::Borrowed("required"));
                scan.object(|scan, key| {
                    match key {
                        "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
                        "mode" if scan.peek()? == Kind::String => mode = scan.string()?.value(),
                        _ => scan.skip()?,
                    }
                    Ok(())
                })?;
                self.forced |= kind != "allowed_tools" || mode != "auto";
            }
            _ => scan.skip()?,
        }
        Ok(())
    }

    fn tools(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        tools(scan, &mut self.content.tools)
    }

    /// OpenRouter's list of models to try in turn.
    fn models(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Array {
            return scan.skip();
        }
        scan.array(|scan| {
            if scan.peek()? != Kind::String {
                return wrong("each of models must be a string");
            }
            let model = ModelId::new(&scan.string()?.value());
            self.fallbacks.push(model);
            Ok(())
        })
        .map(drop)
    }

    /// The tier that the request asks for; `None` where it leaves that to the project's settings.
    pub(super) fn asked_tier(&self) -> Option<ServiceTier> {
        let (asked, _) = self.tier.as_ref()?;
        let asked = asked.as_deref().filter(|tier| *tier != "auto")?;
        Some(super::usage::tier(Some(asked)))
    }
}

/// Definitions of tools.
#[derive(Clone, Debug, Default)]
pub(super) struct Tools {
    /// Bytes of all of them.
    pub(super) bytes: usize,
    /// Types of those that the provider runs.
    pub(super) server: Vec<String>,
}

/// Reads a list of tools; a tool of the type `namespace` has a list of its own.
pub(super) fn tools(scan: &mut Scanner<'_>, found: &mut Tools) -> Read<()> {
    let before = found.bytes;
    let Some(at) = tool_list(scan, found)? else { return Ok(()) };
    // An inner list is counted with the outer one.
    found.bytes = before + at;
    Ok(())
}

/// Returns the bytes of a list that is one and has an entry.
fn tool_list(scan: &mut Scanner<'_>, found: &mut Tools) -> Read<Option<usize>> {
    if scan.peek()? != Kind::Array {
        return scan.skip().map(|()| None);
    }
    let mut any = false;
    let at = scan.array(|scan| {
        any = true;
        if scan.peek()? != Kind::Object {
            return wrong("each of tools must be an object");
        }
        let (mut kind, mut local) = (Cow::Borrowed(""), false);
        scan.object(|scan, key| {
            match key {
                "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
                "execution" if scan.peek()? == Kind::String => {
                    local |= scan.string()?.value() == "client";
                }
                "environment" if scan.peek()? == Kind::Object => local |= is_local(scan)?,
                "tools" => drop(tool_list(scan, found)?),
                _ => scan.skip()?,
            }
            Ok(())
        })?;
        let here = CLIENT_TOOLS.contains(&&*kind) || (local && matches!(&*kind, "shell" | "tool_search"));
        if !here {
            found.server.push(kind.into_owned());
        }
        Ok(())
    })?;
    Ok(any.then_some(at.len()))
}

fn is_local(scan: &mut Scanner<'_>) -> Read<bool> {
    let mut local = false;
    scan.object(|scan, key| {
        if key == "type" && scan.peek()? == Kind::String {
            local = scan.string()?.value() == "local";
            return Ok(());
        }
        scan.skip()
    })?;
    Ok(local)
}

/// Whether a format is more than text.
fn is_shaped(scan: &mut Scanner<'_>) -> Read<bool> {
    let mut shaped = scan.peek()? != Kind::Null;
    if scan.peek()? != Kind::Object {
        scan.skip()?;
        return Ok(shaped);
    }
    scan.object(|scan, key| {
        if key == "type" && scan.peek()? == Kind::String {
            shaped = scan.string()?.value() != "text";
            return Ok(());
        }
        scan.skip()
    })?;
    Ok(shaped)
}

fn flag(scan: &mut Scanner<'_>, name: &str) -> Read<bool> {
    match scan.peek()? {
        // The two words differ in length.
        Kind::Bool => scan.span().map(|at| at.len() == "true".len()),
        Kind::Null => scan.skip().map(|()| false),
        _ => wrong(&format!("{name} must be true or false")),
    }
}
