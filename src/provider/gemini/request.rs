//! A request for an answer, and the few values of it that matter to a meter.

use std::ops::Range;

use bytes::Bytes;

use super::super::Problem;
use super::scan::{Flaw, Kind, Scanner};
use crate::model::ModelId;

type Read<T> = Result<T, Flaw>;

/// The tool by which Gemini CLI's sub-agents end.
const HAND_IN: &str = "complete_task";

/// A request for `generateContent` or `streamGenerateContent`: the body as it came, and where in it the
/// values are that matter.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) body: Bytes,
    pub(super) model: ModelId,
    pub(super) stream: bool,
    /// The stream comes as events and not as one array.
    pub(super) events: bool,
    pub(super) found: Found,
}

/// What a body says.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) contents: u64,
    /// Where a note goes: before the bracket that closes the contents.
    pub(super) note_at: Option<usize>,
    pub(super) config: Config,
    pub(super) tier: Option<String>,
    pub(super) media: Media,
    pub(super) tool_bytes: usize,
    /// A tool is offered by which a sub-agent ends.
    pub(super) hands_in: bool,
    pub(super) server_tools: Vec<String>,
    pub(super) forced: bool,
    pub(super) cached: bool,
    pub(super) countable: Vec<(&'static str, Range<usize>)>,
    pub(super) unknown: Vec<String>,
    pub(super) unknown_bytes: usize,
    pub(super) empty: bool,
    /// Where the body's object ends.
    pub(super) end: usize,
}

/// What `generationConfig` says.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// Where it is, if it is an object: its end, and whether it is empty.
    pub(super) object: Option<(usize, bool)>,
    /// Where it is, if it is null.
    pub(super) null: Option<Range<usize>>,
    /// The output cap, or null, and where.
    pub(super) cap: Option<(Option<u64>, Range<usize>)>,
    pub(super) thinking_budget: Option<(u64, Range<usize>)>,
    pub(super) choices: u64,
    pub(super) shaped: bool,
}

/// What the contents hold besides text.
#[derive(Clone, Debug, Default)]
pub(super) struct Media {
    pub(super) images: u64,
    pub(super) image_bytes: usize,
    /// Content of unknown length that the count endpoint sees as the model will.
    pub(super) documents: bool,
    pub(super) audio: bool,
}

impl Request {
    /// Reads a body strictly: RFC 8259 and UTF-8, no duplicate keys anywhere, no field in both of its
    /// spellings, 64 levels at most. `path` names the model.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when it is not such JSON, or a value that bounds its cost is missing or is
    /// not what the API takes; [`Problem::Denied`] for what is not metered.
    pub fn parse(path: &str, body: Bytes) -> Result<Self, Problem> {
        let (model, action) = super::target(path)
            .ok_or_else(|| Problem::Invalid("the path does not name a model".to_owned()))?;
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let found = read(&body)?;
        if found.contents == 0 {
            return Err(Problem::Invalid(
                "the request does not say contents, an array with a turn at least".to_owned(),
            ));
        }
        Ok(Self {
            body,
            model: ModelId::new(model),
            stream: action == "streamGenerateContent",
            events: query.split('&').any(|pair| pair == "alt=sse"),
            found,
        })
    }

    /// The model that was asked for.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// Whether the answer is asked for as a stream.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// The output cap that was asked for.
    #[must_use]
    pub fn output_cap(&self) -> Option<u64> {
        self.found.config.cap.as_ref().and_then(|(tokens, _)| *tokens)
    }

    /// The least that the output cap can be lowered to.
    #[must_use]
    pub fn min_output_cap(&self) -> u64 {
        1
    }

    /// Whether the answer must have a shape (a tool call, a schema).
    #[must_use]
    pub fn forced_shape(&self) -> bool {
        self.found.forced || self.found.config.shaped
    }

    /// Whether it offers the model any tools.
    #[must_use]
    pub fn offers_tools(&self) -> bool {
        self.found.tool_bytes > 0
    }

    /// Whether it has the shape of a request of one of Gemini CLI's sub-agents: only they are offered a tool
    /// to hand their result in with.
    #[must_use]
    pub fn sub_agent_shape(&self) -> bool {
        self.found.hands_in
    }

    /// Whether a note can be added at the end: the last turn is the user's, or a tool's result.
    #[must_use]
    pub fn can_take_note(&self) -> bool {
        self.found.note_at.is_some()
    }

    /// Top-level fields, and parts, that this version does not know.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.found.unknown
    }

    /// The tools that the provider runs itself. One that is not known counts as one of them.
    #[must_use]
    pub fn server_tools(&self) -> &[String] {
        &self.found.server_tools
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

fn read(body: &[u8]) -> Read<Found> {
    let mut scan = Scanner::new(body)?;
    if scan.peek()? != Kind::Object {
        return wrong("the body must be a JSON object");
    }
    let mut found = Found { config: Config { choices: 1, ..Config::default() }, ..Found::default() };
    let mut keys = 0;
    let at = object(&mut scan, |scan, key| {
        keys += 1;
        found.field(scan, key)
    })?;
    (found.end, found.empty) = (at.end - 1, keys == 0);
    scan.end()?;
    Ok(found)
}

fn wrong<T>(sentence: &str) -> Read<T> {
    Err(Flaw::Meaning(sentence.to_owned()))
}

/// Reads an object whose keys may be written in either way, and takes a field that is there in both for
/// what it is: a request that two readers could read differently.
pub(super) fn object(
    scan: &mut Scanner<'_>,
    mut each: impl FnMut(&mut Scanner<'_>, &str) -> Read<()>,
) -> Read<Range<usize>> {
    let mut respelt: Vec<String> = Vec::new();
    let mut plain: Vec<String> = Vec::new();
    let at = scan.object(|scan, key| {
        let camel = camel(key);
        if camel == key {
            plain.push(camel.clone())
        } else {
            respelt.push(camel.clone())
        }
        each(scan, &camel)
    })?;
    match respelt.iter().find(|key| plain.contains(key)) {
        Some(key) => Err(Flaw::Duplicate { at: at.end, key: key.clone() }),
        None => Ok(at),
    }
}

fn camel(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut upper = false;
    for character in key.chars() {
        match character {
            '_' => upper = true,
            _ if upper => {
                out.extend(character.to_uppercase());
                upper = false;
            }
            _ => out.push(character),
        }
    }
    out
}

impl Found {
    fn field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        let start = scan.start()?;
        match key {
            "contents" => {
                if scan.peek()? != Kind::Array {
                    return wrong("contents must be an array of turns");
                }
                let mut users = false;
                let at = scan.array(|scan| {
                    self.contents += 1;
                    users = content(scan, &mut self.media, &mut self.unknown)?;
                    Ok(())
                })?;
                self.note_at = users.then_some(at.end - 1);
                self.countable.push(("contents", at));
            }
            "systemInstruction" => {
                content(scan, &mut self.media, &mut self.unknown)?;
                self.countable.push(("systemInstruction", start..scan.position()));
            }
            "tools" => {
                self.tools(scan)?;
                self.countable.push(("tools", start..scan.position()));
            }
            "toolConfig" => {
                self.tool_config(scan)?;
                self.countable.push(("toolConfig", start..scan.position()));
            }
            "generationConfig" => self.config.read(scan)?,
            "cachedContent" => {
                self.cached |= scan.peek()? != Kind::Null;
                scan.skip()?;
            }
            "serviceTier" => match scan.peek()? {
                Kind::String => self.tier = Some(scan.string()?.value().into_owned()),
                Kind::Null => scan.skip()?,
                _ => return wrong("serviceTier must be a string"),
            },
            "safetySettings" | "labels" | "model" | "store" => scan.skip()?,
            _ => {
                self.unknown.push(key.to_owned());
                self.unknown_bytes += scan.span()?.len();
            }
        }
        Ok(())
    }

    fn tools(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Array {
            return scan.skip();
        }
        let at = scan.array(|scan| {
            if scan.peek()? != Kind::Object {
                return wrong("each of tools must be an object");
            }
            object(scan, |scan, key| {
                if key == "functionDeclarations" && scan.peek()? == Kind::Array {
                    return scan.array(|scan| self.declaration(scan)).map(drop);
                }
                if !matches!(key, "functionDeclarations" | "computerUse") && scan.peek()? != Kind::Null {
                    self.server_tools.push(key.to_owned());
                }
                scan.skip()
            })
            .map(drop)
        })?;
        self.tool_bytes = if at.len() > 2 { at.len() } else { 0 };
        Ok(())
    }

    fn declaration(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Object {
            return scan.skip();
        }
        object(scan, |scan, key| {
            if key == "name" && scan.peek()? == Kind::String {
                self.hands_in |= scan.string()?.value() == HAND_IN;
                return Ok(());
            }
            scan.skip()
        })
        .map(drop)
    }

    fn tool_config(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Object {
            return scan.skip();
        }
        let mut forced = false;
        object(scan, |scan, key| {
            if key != "functionCallingConfig" || scan.peek()? != Kind::Object {
                return scan.skip();
            }
            object(scan, |scan, key| {
                if key == "mode" && scan.peek()? == Kind::String {
                    let mode = scan.string()?.value();
                    forced |= !matches!(&*mode, "AUTO" | "NONE" | "VALIDATED" | "MODE_UNSPECIFIED");
                    return Ok(());
                }
                scan.skip()
            })
            .map(drop)
        })?;
        self.forced |= forced;
        Ok(())
    }
}

impl Config {
    fn read(&mut self, scan: &mut Scanner<'_>) -> Read<()> {
        if scan.peek()? != Kind::Object {
            self.null = Some(scan.span()?);
            return Ok(());
        }
        let mut keys = 0;
        let at = object(scan, |scan, key| {
            keys += 1;
            self.field(scan, key)
        })?;
        self.object = Some((at.end - 1, keys == 0));
        Ok(())
    }

    fn field(&mut self, scan: &mut Scanner<'_>, key: &str) -> Read<()> {
        let start = scan.start()?;
        let null = scan.peek()? == Kind::Null;
        match key {
            "maxOutputTokens" => {
                let tokens = scan.count()?;
                if tokens.is_none() && !null {
                    return wrong("maxOutputTokens must be a whole number of tokens, such as 4096");
                }
                self.cap = Some((tokens, start..scan.position()));
            }
            "candidateCount" => match scan.count()? {
                Some(count @ 1..=8) => self.choices = count,
                None if null => {}
                _ => return wrong("candidateCount must be a whole number from 1 to 8"),
            },
            "responseMimeType" if scan.peek()? == Kind::String => {
                self.shaped |= scan.string()?.value() != "text/plain";
            }
            "responseSchema" | "responseJsonSchema" => {
                self.shaped |= !null;
                scan.skip()?;
            }
            "responseModalities" => {
                if scan.peek()? == Kind::Array {
                    let mut other = false;
                    scan.array(|scan| {
                        if scan.peek()? == Kind::String {
                            other |= scan.string()?.value() != "TEXT";
                            return Ok(());
                        }
                        other = true;
                        scan.skip()
                    })?;
                    if other {
                        return Err(Flaw::Refused(
                            "answers that are no text have no price here; leave responseModalities out"
                                .to_owned(),
                        ));
                    }
                } else {
                    scan.skip()?;
                }
            }
            "thinkingConfig" if scan.peek()? == Kind::Object => {
                object(scan, |scan, key| {
                    if key != "thinkingBudget" {
                        return scan.skip();
                    }
                    let start = scan.start()?;
                    let budget = scan.count()?;
                    self.thinking_budget = budget.map(|budget| (budget, start..scan.position()));
                    Ok(())
                })?;
            }
            _ => scan.skip()?,
        }
        Ok(())
    }
}

/// Reads a turn. Returns whether it is the user's, or the result of a tool.
fn content(scan: &mut Scanner<'_>, media: &mut Media, unknown: &mut Vec<String>) -> Read<bool> {
    if scan.peek()? != Kind::Object {
        return scan.skip().map(|()| false);
    }
    let mut users = true;
    object(scan, |scan, key| match key {
        "role" if scan.peek()? == Kind::String => {
            users = matches!(&*scan.string()?.value(), "user" | "function");
            Ok(())
        }
        "parts" if scan.peek()? == Kind::Array => scan.array(|scan| part(scan, media, unknown)).map(drop),
        "parts" => part(scan, media, unknown),
        _ => scan.skip(),
    })?;
    Ok(users)
}

fn part(scan: &mut Scanner<'_>, media: &mut Media, unknown: &mut Vec<String>) -> Read<()> {
    if scan.peek()? != Kind::Object {
        return scan.skip();
    }
    object(scan, |scan, key| match key {
        "inlineData" if scan.peek()? == Kind::Object => inline(scan, media),
        "fileData" => {
            // What a file holds, and whether it is spoken, only the provider sees.
            media.documents = true;
            media.audio = true;
            scan.skip()
        }
        "functionResponse" if scan.peek()? == Kind::Object => object(scan, |scan, key| {
            if key == "parts" && scan.peek()? == Kind::Array {
                return scan.array(|scan| part(scan, media, unknown)).map(drop);
            }
            scan.skip()
        })
        .map(drop),
        "text"
        | "thought"
        | "thoughtSignature"
        | "functionCall"
        | "functionResponse"
        | "executableCode"
        | "codeExecutionResult"
        | "videoMetadata"
        | "mediaResolution"
        | "partMetadata" => scan.skip(),
        _ => {
            media.documents = true;
            let kind = format!("part {key:?}");
            if !unknown.contains(&kind) {
                unknown.push(kind);
            }
            scan.skip()
        }
    })
    .map(drop)
}

fn inline(scan: &mut Scanner<'_>, media: &mut Media) -> Read<()> {
    let (mut kind, mut bytes) = (String::new(), 0);
    object(scan, |scan, key| {
        match key {
            "mimeType" if scan.peek()? == Kind::String => kind = scan.string()?.value().into_owned(),
            "data" => bytes = scan.span()?.len(),
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    if kind.starts_with("image/") {
        media.images += 1;
        media.image_bytes += bytes;
    } else if !kind.starts_with("text/") {
        media.documents = true;
        media.audio |= !kind.starts_with("application/");
    }
    Ok(())
}
