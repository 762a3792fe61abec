//! The top-level fields of a request, each read for what it can do to the cost.

use std::ops::Range;

use super::betas;
use super::content::{self, Content, NotePlace};
use super::scan::{Flaw, Kind, Marks, Scanner};
use super::tools::{self, ServerTool, Tools};
use crate::model::ModelId;
use crate::tokens::{Region, ServiceTier, Speed, Terms};

/// What a body says besides its model and output cap.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) stream: bool,
    /// A schema that the answer must have.
    pub(super) schema: bool,
    pub(super) tool_forced: bool,
    pub(super) note_at: Option<NotePlace>,
    /// The thinking budget and where it is, when thinking is switched on by one.
    pub(super) thinking_budget: Option<(u64, Range<usize>)>,
    pub(super) terms: Terms,
    /// The request says where it is to be served. A null says nothing.
    pub(super) region_named: bool,
    pub(super) content: Content,
    pub(super) tools: Tools,
    /// Further models that the provider may serve the request with.
    pub(super) fallbacks: Vec<Fallback>,
    pub(super) compaction: Compaction,
    /// Values that the count endpoint takes as they are.
    pub(super) countable: Vec<(&'static str, Range<usize>)>,
    pub(super) unknown: Vec<String>,
    /// Betas that the body names and this version does not know, [`BETAS_MAX`] of them.
    pub(super) unknown_betas: Vec<String>,
    /// Bytes of unknown values, which the count endpoint does not get to see.
    pub(super) unknown_bytes: usize,
    pub(super) model: Option<(ModelId, Range<usize>)>,
    pub(super) output_cap: Option<(u64, Range<usize>)>,
}

/// A further model, with what it is asked in place of what the request says.
#[derive(Clone, Debug)]
pub(super) struct Fallback {
    pub(super) model: ModelId,
    pub(super) output_cap: Option<u64>,
    pub(super) speed: Option<Speed>,
}

/// Whether the provider may summarise the conversation, in a sampling of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Compaction {
    #[default]
    None,
    /// Once the context is long.
    WhenLong,
    /// However long it is.
    Any,
}

type Read<T> = Result<T, Flaw>;

/// The most names of betas that are kept of one request.
const BETAS_MAX: usize = 16;

/// Reads a whole body.
pub(super) fn read(body: &[u8]) -> Read<(Found, Marks)> {
    let mut scan = Scanner::new(body)?;
    if scan.peek()? != Kind::Object {
        return wrong("the body must be a JSON object");
    }
    let mut found = Found::default();
    scan.object(|scan, key| found.field(scan, key))?;
    scan.end()?;
    let inline = std::mem::take(&mut found.content.tools);
    found.tools.add(inline);
    Ok((found, scan.marks))
}

fn wrong<T>(sentence: &str) -> Read<T> {
    Err(Flaw::Meaning(sentence.to_owned()))
}

impl Found {
    /// Reads one top-level value.
    fn field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        match key {
            "model" => self.model = Some(model(scan)?),
            "max_tokens" => self.output_cap = Some(output_cap(scan)?),
            "messages" => {
                let start = scan.start()?;
                self.note_at = content::messages(scan, &mut self.content)?;
                self.countable.push(("messages", start..scan.position()));
            }
            "system" => {
                let start = scan.start()?;
                content::content(scan, &mut self.content)?;
                self.countable.push(("system", start..scan.position()));
            }
            "tools" => {
                let start = scan.start()?;
                let server = std::mem::take(&mut self.tools.server);
                self.tools = tools::tools(scan)?;
                self.tools.server.extend(server);
                self.countable.push(("tools", start..scan.position()));
            }
            "thinking" => self.thinking(scan)?,
            "tool_choice" => self.tool_choice(scan)?,
            "output_config" => self.output_config(scan)?,
            "output_format" => {
                let null = scan.peek()? == Kind::Null;
                self.schema |= !null;
                self.countable.push(("output_format", scan.span()?));
            }
            _ => self.rare_field(scan, key)?,
        }
        Ok(())
    }

    /// Reads a top-level value that most requests do not have.
    fn rare_field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        match key {
            "stream" => self.stream = flag(scan, "stream")?,
            "service_tier" => {
                self.terms.tier = match word(scan, "service_tier")?.as_deref() {
                    // Committed capacity, where there is any, is reported at the list price.
                    None | Some("auto" | "standard_only" | "standard") => ServiceTier::Standard,
                    Some("priority") => ServiceTier::Priority,
                    Some("batch") => return refused("batch requests are not metered; send it as a message"),
                    Some(other) => ServiceTier::Other(other.to_owned()),
                }
            }
            "speed" => self.terms.speed = speed(scan)?.unwrap_or_default(),
            "inference_geo" => {
                self.region_named = true;
                self.terms.region = match word(scan, "inference_geo")?.as_deref() {
                    None => {
                        self.region_named = false;
                        Region::Global
                    }
                    Some("global" | "not_available") => Region::Global,
                    Some("us") => Region::Us,
                    Some(other) => Region::Other(other.to_owned()),
                }
            }
            "fallbacks" => self.fallbacks = fallbacks(scan)?,
            // The count endpoint does not get to see the instructions of either.
            "context_management" => {
                let start = scan.start()?;
                let compaction = compaction(scan)?;
                self.compaction = self.compaction.max(compaction);
                self.unknown_bytes += scan.position() - start;
            }
            "compaction" => {
                if scan.peek()? != Kind::Null {
                    self.compaction = Compaction::Any;
                }
                self.unknown_bytes += scan.span()?.len();
            }
            "mcp_servers" => self.mcp_servers(scan)?,
            // What is kept there was sent by other requests.
            "container" | "thread" | "thread_id" => {
                let held = scan.peek()? != Kind::Null;
                self.content.opaque |= held;
                scan.skip()?;
            }
            "requests" => return refused("batch requests are not metered; send each of requests by itself"),
            "background" => {
                if flag(scan, "background")? {
                    return refused("background requests are not metered; leave background out");
                }
            }
            // How clouds are told what headers say elsewhere.
            "anthropic_beta" => self.betas(scan)?,
            // They change no cost, or lower it.
            "anthropic_version"
            | "billing_policy"
            | "diagnostics"
            | "fallback_credit_token"
            | "metadata"
            | "stop_sequences"
            | "temperature"
            | "top_k"
            | "top_p" => {
                scan.skip()?;
            }
            _ => {
                self.unknown.push(key.to_owned());
                self.unknown_bytes += scan.span()?.len();
            }
        }
        Ok(())
    }

    /// Reads names of betas: a list of them, or one text with commas.
    fn betas(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        let unknown = &mut self.unknown_betas;
        let mut read = |scan: &mut Scanner<'_>| -> Read<()> {
            if scan.peek()? != Kind::String {
                return scan.skip();
            }
            let text = scan.string()?.value();
            let names = text.split(',').map(str::trim).filter(|name| betas::is_unknown(name));
            unknown.extend(names.take(BETAS_MAX.saturating_sub(unknown.len())).map(str::to_owned));
            Ok(())
        };
        match scan.peek()? {
            Kind::Array => scan.array(read).map(drop),
            _ => read(scan),
        }
    }

    fn thinking(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        let start = scan.start()?;
        let (mut enabled, mut budget) = (false, None);
        if scan.peek()? == Kind::Object {
            scan.object(|scan, key| {
                match key {
                    "type" if scan.peek()? == Kind::String => enabled = scan.string()?.value() == "enabled",
                    "budget_tokens" => {
                        let start = scan.start()?;
                        budget = scan.count()?.map(|budget| (budget, start..scan.position()));
                    }
                    _ => scan.skip()?,
                }
                Ok(())
            })?;
        } else {
            scan.skip()?;
        }
        self.thinking_budget = budget.filter(|_| enabled);
        self.countable.push(("thinking", start..scan.position()));
        Ok(())
    }

    fn tool_choice(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        let start = scan.start()?;
        if scan.peek()? == Kind::Object {
            scan.object(|scan, key| {
                if key == "type" && scan.peek()? == Kind::String {
                    // A kind that is not known may force a shape.
                    self.tool_forced = !matches!(&*scan.string()?.value(), "auto" | "none");
                    return Ok(());
                }
                scan.skip()
            })?;
        } else {
            scan.skip()?;
        }
        self.countable.push(("tool_choice", start..scan.position()));
        Ok(())
    }

    fn output_config(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        let start = scan.start()?;
        if scan.peek()? == Kind::Object {
            scan.object(|scan, key| {
                self.schema |= key == "format" && scan.peek()? != Kind::Null;
                scan.skip()
            })?;
        } else {
            scan.skip()?;
        }
        self.countable.push(("output_config", start..scan.position()));
        Ok(())
    }

    fn mcp_servers(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        let mut servers = 0;
        if scan.peek()? == Kind::Array {
            scan.array(|scan| {
                servers += 1;
                scan.skip()
            })?;
        } else {
            servers = u64::from(scan.peek()? != Kind::Null);
            scan.skip()?;
        }
        if servers > 0 {
            let kind = "mcp_servers".to_owned();
            self.tools.server.push(ServerTool { kind, uses_max: None, model: None, output_cap: None });
        }
        Ok(())
    }
}

fn refused<T>(rule: &str) -> Read<T> {
    Err(Flaw::Refused(rule.to_owned()))
}

fn model(scan: &mut Scanner<'_>) -> Read<(ModelId, Range<usize>)> {
    if scan.peek()? != Kind::String {
        return wrong("model must be a string such as \"claude-sonnet-5-5\"");
    }
    let text = scan.string()?;
    Ok((ModelId::new(&text.value()), text.at.start - 1..text.at.end + 1))
}

fn output_cap(scan: &mut Scanner<'_>) -> Read<(u64, Range<usize>)> {
    let start = scan.start()?;
    match scan.count()? {
        Some(cap) => Ok((cap, start..scan.position())),
        None => wrong("max_tokens must be a whole number of tokens, such as 4096"),
    }
}

fn flag(scan: &mut Scanner<'_>, name: &str) -> Read<bool> {
    match scan.peek()? {
        // The two words differ in length.
        Kind::Bool => scan.span().map(|at| at.len() == "true".len()),
        Kind::Null => scan.skip().map(|_| false),
        _ => wrong(&format!("{name} must be true or false")),
    }
}

fn word(scan: &mut Scanner<'_>, name: &str) -> Read<Option<String>> {
    match scan.peek()? {
        Kind::String => Ok(Some(scan.string()?.value().into_owned())),
        Kind::Null => scan.skip().map(|_| None),
        _ => wrong(&format!("{name} must be a string")),
    }
}

fn speed(scan: &mut Scanner<'_>) -> Read<Option<Speed>> {
    Ok(word(scan, "speed")?.map(|speed| match &*speed {
        "standard" => Speed::Standard,
        "fast" => Speed::Fast,
        _ => Speed::Other(speed),
    }))
}

fn fallbacks(scan: &mut Scanner<'_>) -> Read<Vec<Fallback>> {
    const SHAPE: &str = "fallbacks must be an array of objects, each with the model it names";
    let mut models = Vec::new();
    match scan.peek()? {
        Kind::Null => scan.skip()?,
        Kind::Array => {
            scan.array(|scan| {
                if scan.peek()? == Kind::String {
                    let model = ModelId::new(&scan.string()?.value());
                    models.push(Fallback { model, output_cap: None, speed: None });
                    return Ok(());
                }
                if scan.peek()? != Kind::Object {
                    return wrong(SHAPE);
                }
                let (mut name, mut output_cap, mut own_speed) = (None, None, None);
                scan.object(|scan, key| {
                    match key {
                        "model" => name = Some(model(scan)?.0),
                        "max_tokens" => output_cap = scan.count()?,
                        "speed" => own_speed = speed(scan)?,
                        _ => scan.skip()?,
                    }
                    Ok(())
                })?;
                let Some(model) = name else { return wrong(SHAPE) };
                models.push(Fallback { model, output_cap, speed: own_speed });
                Ok(())
            })?;
        }
        _ => return wrong(SHAPE),
    }
    Ok(models)
}

/// Whether context management may cause a sampling of its own. Clearing parts of the conversation does
/// not; compaction does, and so may an edit that is not known.
fn compaction(scan: &mut Scanner<'_>) -> Read<Compaction> {
    let mut samples = Compaction::None;
    if scan.peek()? != Kind::Object {
        if scan.peek()? != Kind::Null {
            samples = Compaction::Any;
        }
        scan.skip()?;
        return Ok(samples);
    }
    scan.object(|scan, key| {
        if key != "edits" || scan.peek()? != Kind::Array {
            samples = Compaction::Any;
            return scan.skip();
        }
        scan.array(|scan| {
            let mut edit = Compaction::Any;
            if scan.peek()? == Kind::Object {
                scan.object(|scan, key| {
                    if key == "type" && scan.peek()? == Kind::String {
                        edit = match &*scan.string()?.value() {
                            kind if kind.starts_with("clear_") => Compaction::None,
                            kind if kind.starts_with("compact_") => Compaction::WhenLong,
                            _ => Compaction::Any,
                        };
                        return Ok(());
                    }
                    scan.skip()
                })?;
            } else {
                scan.skip()?;
            }
            samples = samples.max(edit);
            Ok(())
        })
        .map(drop)
    })?;
    Ok(samples)
}
