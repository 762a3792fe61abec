//! Messages and their content, as far as their size cannot be told from their bytes.
//!
//! Text counts by its bytes, so it is only checked. What is looked for: images, whose bytes say nothing of
//! their tokens; whatever the provider fetches or holds; and the place where a note can be added.

use std::borrow::Cow;
use std::ops::Range;

use super::image::{self, Size};
use super::scan::{Flaw, Kind, Scanner};
use super::tools::{self, Tools};

type Result<T> = std::result::Result<T, Flaw>;

/// Kinds of content whose tokens are bounded by their bytes, or that are handled below; so are all whose
/// names end in `_result`.
const KNOWN_KINDS: [&str; 14] = [
    "compaction",
    "container_upload",
    "document",
    "fallback",
    "image",
    "mcp_tool_use",
    "redacted_thinking",
    "server_tool_use",
    "text",
    "thinking",
    "tool_addition",
    "tool_reference",
    "tool_removal",
    "tool_use",
];

/// Kinds of content of a user's message after which a text block is taken.
const TEXT_FOLLOWS: [&str; 5] = ["document", "image", "search_result", "text", "tool_result"];

/// What a conversation holds besides text.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Messages.
    pub(super) messages: u64,
    /// Images in base64.
    pub(super) images: Vec<Image>,
    /// Images that the provider fetches or holds.
    pub(super) remote_images: u64,
    /// Content of unknown length that the provider's count endpoint sees as the model will: documents,
    /// and kinds that this version does not know.
    pub(super) documents: bool,
    /// Content that nobody can bound before it is sent: fetched at that moment, or held elsewhere.
    pub(super) opaque: bool,
    /// Places that expand to a tool's definition.
    pub(super) tool_references: u64,
    /// Tools that the conversation defines (`tool_addition`); they are offered like those of `tools`.
    pub(super) tools: Tools,
    /// Kinds of content that this version does not know.
    pub(super) unknown_kinds: Vec<String>,
}

/// An image in base64.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Bytes of the body that are its data.
    pub(super) bytes: usize,
    /// Its size where its first bytes tell.
    pub(super) size: Option<Size>,
}

/// Where a note goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotePlace {
    /// Before the bracket that closes the content, at this byte.
    EndOfBlocks(usize),
    /// After a plain string, which becomes the first of two blocks; where the string is, quotes included.
    AfterString(Range<usize>),
}

/// Reads `messages`. Returns where a note goes, if the last message that is not the system's takes one.
///
/// Claude Code ends every fifth request or so with a message of role `system`. A note then goes into the
/// user's message before it, which is known to take text blocks and is not in the cache beyond its marks.
pub(super) fn messages(scan: &mut Scanner<'_>, found: &mut Content) -> Result<Option<NotePlace>> {
    if scan.peek()? != Kind::Array {
        return Err(Flaw::Meaning("messages must be an array of messages".to_owned()));
    }
    let mut place = None;
    scan.array(|scan| {
        found.messages += 1;
        match message(scan, found)? {
            (Role::User, here) => place = here,
            (Role::System, _) => {}
            (Role::Other, _) => place = None,
        }
        Ok(())
    })?;
    Ok(place)
}

/// Whose a message is, as far as that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    System,
    Other,
}

/// Reads a message. Returns whose it is, and where text could be added to it.
fn message(scan: &mut Scanner<'_>, found: &mut Content) -> Result<(Role, Option<NotePlace>)> {
    if scan.peek()? != Kind::Object {
        return Err(Flaw::Meaning("each of messages must be an object with a role and content".to_owned()));
    }
    let (mut role, mut place) = (Role::Other, None);
    scan.object(|scan, key| {
        match key {
            "role" if scan.peek()? == Kind::String => {
                role = match &*scan.string()?.value() {
                    "user" => Role::User,
                    "system" => Role::System,
                    _ => Role::Other,
                };
            }
            "content" => place = content(scan, found)?,
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    Ok((role, place))
}

/// Reads content, which is a string, an array of blocks or one block. Returns where a note could go.
pub(super) fn content(scan: &mut Scanner<'_>, found: &mut Content) -> Result<Option<NotePlace>> {
    match scan.peek()? {
        Kind::Array => {
            let mut text_follows = false;
            let at = scan.array(|scan| {
                text_follows = block(scan, found)?;
                Ok(())
            })?;
            Ok(text_follows.then_some(NotePlace::EndOfBlocks(at.end - 1)))
        }
        Kind::Object => block(scan, found).map(|_| None),
        Kind::String => scan.span().map(|at| Some(NotePlace::AfterString(at))),
        _ => scan.skip().map(|_| None),
    }
}

/// Where a block's media come from.
#[derive(Clone, Debug)]
enum Source {
    /// There is no source, or it is plain text.
    Text,
    /// Data in base64.
    Base64(Image),
    /// A file that the provider holds; it does not change.
    File,
    /// Fetched when the request is served.
    Url,
    /// Blocks of their own.
    Blocks,
    /// Something that this version does not know.
    Unknown,
}

/// Reads one block. Returns whether a text block may follow it in a user's message.
fn block(scan: &mut Scanner<'_>, found: &mut Content) -> Result<bool> {
    if scan.peek()? != Kind::Object {
        return scan.skip().map(|_| false);
    }
    let images_before = found.images.len();
    let mut kind = Cow::Borrowed("");
    let mut from = Source::Text;
    let mut cited = false;
    scan.object(|scan, key| {
        match key {
            "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
            // Cut into sentences that are numbered for the model, in a form that is not published.
            "citations" if scan.peek()? == Kind::Object => cited = enabled(scan)?,
            "tool" if scan.peek()? == Kind::Object => tool_change(scan, found)?,
            "tool_changes" if scan.peek()? == Kind::Array => {
                scan.array(|scan| block(scan, found).map(drop))?;
            }
            "source" if scan.peek()? == Kind::Object => from = source(scan, found)?,
            "content" => {
                content(scan, found)?;
            }
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    // Only here does the provider look for images; elsewhere the same bytes would be text.
    let holds_images = kind == "tool_result" || (kind == "document" && matches!(from, Source::Blocks));
    if !holds_images && found.images.len() > images_before {
        found.images.truncate(images_before);
        found.documents = true;
    }
    match (&*kind, from) {
        ("tool_reference", _) => found.tool_references += 1,
        ("container_upload", _) => found.opaque = true,
        ("image", Source::Base64(image)) => found.images.push(image),
        ("image", Source::File | Source::Url) => found.remote_images += 1,
        ("document", Source::Base64(_) | Source::File) => found.documents = true,
        ("document", Source::Blocks) | (_, Source::Text) => {}
        _ => found.opaque = true,
    }
    let known = kind.is_empty() || KNOWN_KINDS.contains(&&*kind) || kind.ends_with("_result");
    found.documents |= cited || !known;
    if !known && !found.unknown_kinds.iter().any(|known| *known == kind) {
        found.unknown_kinds.push(kind.to_string());
    }
    Ok(TEXT_FOLLOWS.contains(&&*kind))
}

/// Reads what a block offers to the model or withdraws: a definition, or the name of one.
fn tool_change(scan: &mut Scanner<'_>, found: &mut Content) -> Result<()> {
    let mut defined = false;
    scan.object(|scan, key| {
        if key == "definition" && scan.peek()? == Kind::Object {
            defined = true;
            return tools::tool(scan, &mut found.tools);
        }
        scan.skip()
    })?;
    found.tool_references += u64::from(!defined);
    Ok(())
}

/// Whether an object says `"enabled": true`.
fn enabled(scan: &mut Scanner<'_>) -> Result<bool> {
    let mut enabled = false;
    scan.object(|scan, key| {
        let flag = key == "enabled" && scan.peek()? == Kind::Bool;
        // The two words differ in length.
        enabled |= scan.span()?.len() == "true".len() && flag;
        Ok(())
    })?;
    Ok(enabled)
}

fn source(scan: &mut Scanner<'_>, found: &mut Content) -> Result<Source> {
    let mut kind = Cow::Borrowed("");
    let mut image = None;
    scan.object(|scan, key| {
        match key {
            "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
            "data" if scan.peek()? == Kind::String => {
                let data = scan.string()?;
                image = Some(Image { bytes: data.raw.len(), size: image::size(data.raw) });
            }
            "content" => {
                content(scan, found)?;
            }
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    Ok(match (&*kind, image) {
        ("text", _) => Source::Text,
        ("base64", Some(image)) => Source::Base64(image),
        ("file", _) => Source::File,
        ("url", _) => Source::Url,
        ("content", _) => Source::Blocks,
        _ => Source::Unknown,
    })
}
