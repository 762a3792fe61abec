//! Input items, messages and their parts, as far as their size cannot be told from their bytes.
//!
//! Text counts by its bytes, so it is only checked. One reader takes whatever object comes, since items,
//! messages and parts nest in one another and differ in their types only.

use std::borrow::Cow;

use super::super::scan::{Flaw, Kind, Scanner};
use super::fields::{self, Tools};

type Result<T> = std::result::Result<T, Flaw>;

/// Types whose tokens are bounded by their bytes, or that are handled below; so are all whose names end in
/// `_call`, `_call_output` or `_output`, but for those that hold what a model has drawn.
const KNOWN: [&str; 23] = [
    "",
    "additional_tools",
    "computer_screenshot",
    "file",
    "image_url",
    "input_audio",
    "input_file",
    "input_image",
    "input_text",
    "item_reference",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_list_tools",
    "message",
    "output_text",
    "reasoning",
    "reasoning_text",
    "refusal",
    "summary_text",
    "text",
    "function",
    "custom",
    "thinking",
];

/// What the input holds besides text.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Items or messages, and whatever else is an object among them.
    pub(super) messages: u64,
    /// Bytes of the body that are the data of images.
    pub(super) image_bytes: usize,
    /// Images, in the body or elsewhere.
    pub(super) images: u64,
    /// Content of unknown length that the count endpoint sees as the model will.
    pub(super) documents: bool,
    /// Speech.
    pub(super) audio: bool,
    /// What is fetched when the request is served, or is held elsewhere.
    pub(super) fetched: bool,
    /// Earlier turns that the provider holds.
    pub(super) held: bool,
    /// Tools that are offered by items, as Codex does for models it knows.
    pub(super) tools: Tools,
    /// Types that this version does not know.
    pub(super) unknown_kinds: Vec<String>,
}

/// Whose turn the last item of the input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// The user's, or the result of a tool: a note may follow.
    User,
    /// Instructions, which say nothing of whose turn it is.
    System,
    #[default]
    Other,
}

/// Reads content: a string, an object, or an array of either. Returns whose turn its last item is.
pub(super) fn content(scan: &mut Scanner<'_>, found: &mut Content) -> Result<Turn> {
    match scan.peek()? {
        Kind::Array => {
            let mut turn = Turn::Other;
            scan.array(|scan| {
                match content(scan, found)? {
                    Turn::System => {}
                    other => turn = other,
                }
                Ok(())
            })?;
            Ok(turn)
        }
        Kind::Object => node(scan, found),
        Kind::String => scan.skip().map(|()| Turn::User),
        _ => scan.skip().map(|()| Turn::Other),
    }
}

/// Reads one object.
fn node(scan: &mut Scanner<'_>, found: &mut Content) -> Result<Turn> {
    found.messages += 1;
    let (mut kind, mut role) = (Cow::Borrowed(""), Cow::Borrowed(""));
    let mut role_given = false;
    scan.object(|scan, key| {
        match key {
            "type" if scan.peek()? == Kind::String => kind = scan.string()?.value(),
            "role" if scan.peek()? == Kind::String => {
                role_given = true;
                role = scan.string()?.value();
            }
            "image_url" => image(scan, found)?,
            "file" if scan.peek()? == Kind::Object => {
                found.documents = true;
                content(scan, found)?;
            }
            "file_data" => {
                found.documents = true;
                scan.skip()?;
            }
            "file_url" | "video_url" => {
                found.fetched |= scan.peek()? != Kind::Null;
                scan.skip()?;
            }
            "file_id" => {
                found.documents |= scan.peek()? != Kind::Null;
                scan.skip()?;
            }
            "input_audio" => {
                found.audio = true;
                found.documents = true;
                scan.skip()?;
            }
            "content" | "output" => {
                content(scan, found)?;
            }
            "tools" => fields::tools(scan, &mut found.tools)?,
            _ => scan.skip()?,
        }
        Ok(())
    })?;
    found.kind(&kind);
    let result = kind.ends_with("_call_output") || matches!(&*role, "tool" | "function");
    Ok(match &*role {
        "user" => Turn::User,
        "system" | "developer" => Turn::System,
        _ if result => Turn::User,
        _ if role_given || kind.is_empty() => Turn::Other,
        // Parts have no turn of their own; neither has what the model said.
        _ => Turn::Other,
    })
}

impl Content {
    fn kind(&mut self, kind: &str) {
        match kind {
            "item_reference" => self.held = true,
            "input_image" => self.images += 1,
            "image_generation_call" | "compaction" => self.documents = true,
            _ => {}
        }
        let ends = ["_call", "_call_output", "_output"];
        if !KNOWN.contains(&kind) && kind != "compaction" && !ends.iter().any(|end| kind.ends_with(end)) {
            self.documents = true;
            if !self.unknown_kinds.iter().any(|known| known == kind) {
                self.unknown_kinds.push(kind.to_owned());
            }
        }
    }
}

/// Reads where an image is: an address, or an object that names one.
fn image(scan: &mut Scanner<'_>, found: &mut Content) -> Result<()> {
    match scan.peek()? {
        Kind::String => {
            let text = scan.string()?;
            found.images += 1;
            if let Some((_, data)) = text.raw.split_once(";base64,").filter(|_| text.raw.starts_with("data:"))
            {
                found.image_bytes += data.len();
            }
            Ok(())
        }
        Kind::Object => {
            scan.object(|scan, key| if key == "url" { image(scan, found) } else { scan.skip() }).map(drop)
        }
        _ => scan.skip(),
    }
}
