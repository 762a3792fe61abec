//! What an agent says: passed on live, line by line, and its last words kept.
//!
//! A thread for each stream reads, cleans ([`clean`], [`redact`]) and writes, so that a slow log slows
//! the agent down and never the runtime that streams answers. [`Log`] is the one door to the log while
//! an agent runs: it keeps lines whole, and on GitHub Actions switches workflow commands off around the
//! agent's. That is the second fence; the first is that no line of the agent's is a command.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::id::random_hex;

mod aider;
mod claude;
mod clean;
mod codex;
mod gemini;
mod lines;
mod mini;
mod opencode;
mod patterns;
mod redact;
mod transcript;

#[cfg(test)]
pub(in crate::agent) mod tests;

use lines::{Line, Lines};
pub use redact::Redactor;
use transcript::Transcript;

/// The longest line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The longest JSON line that is read, in bytes: it may carry a whole file.
const JSON_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most of one stream that is shown, in bytes; what comes after is read and dropped.
const SHOWN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most that is kept of an agent's last words, in bytes.
const LAST_BYTES_MAX: usize = 64 * 1024;

/// What a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Plain,
    /// Claude Code's `--output-format stream-json`.
    ClaudeStream,
    /// Codex's `exec --json`.
    CodexJson,
    /// Gemini CLI's `--output-format stream-json`.
    GeminiStream,
    /// opencode's `run --format json`.
    OpencodeJson,
    /// aider's text for people.
    Aider,
    /// mini-swe-agent's text for people.
    Mini,
}

/// What an agent has said, cleaned and without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its last words, at most 64 KiB: the result or the last text where the format tells, else the end
    /// of the stream.
    pub text: String,
    /// The error that it reported in its own format.
    pub error: Option<String>,
    /// Whether the stream was still open when waiting for it ended.
    pub unfinished: bool,
}

/// The live log. Clones write to the same one.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    fence: Fence,
}

/// Whether the runner listens to workflow commands right now.
enum Fence {
    /// There is no runner.
    None,
    /// It listens.
    Down,
    /// It listens to nothing but this token.
    Up(String),
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// A log that writes to `out`; `on_actions` says that GitHub's runner reads it.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, on_actions: bool) -> Self {
        let fence = if on_actions { Fence::Down } else { Fence::None };
        Self { inner: Arc::new(Mutex::new(Inner { out, fence })) }
    }

    /// Writes tollgate's own text, workflow commands included. A line end is added.
    pub fn own(&self, text: &str) {
        let mut inner = self.lock();
        inner.lower();
        inner.write(text);
        inner.write("\n");
        inner.flush();
    }

    /// Lets the runner listen again. For after the agent has ended.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.lower();
        inner.flush();
    }

    /// Writes lines of an agent, already defused.
    fn agent(&self, lines: &str) {
        let mut inner = self.lock();
        inner.raise();
        inner.write(lines);
        inner.flush();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A writer that panicked has at worst lost a line.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn raise(&mut self) {
        if matches!(self.fence, Fence::Down) {
            // A new token each time: the agent may be able to read the log.
            let token = random_hex(16);
            self.write(&format!("::stop-commands::{token}\n"));
            self.fence = Fence::Up(token);
        }
    }

    fn lower(&mut self) {
        if let Fence::Up(token) = &self.fence {
            let line = format!("::{token}::\n");
            self.write(&line);
            self.fence = Fence::Down;
        }
    }

    /// A log that cannot be written (a closed pipe) is no reason to stop an agent.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
    }

    fn flush(&mut self) {
        let _ = self.out.flush();
    }
}

/// One stream of an agent: bytes in, lines to show out, the last words kept. No I/O.
pub(super) struct Speech {
    lines: Lines,
    redactor: Arc<Redactor>,
    kind: Kind,
    shown: usize,
    /// Whether there was more than is shown.
    flooded: bool,
    heard: u64,
}

enum Kind {
    Plain(Tail),
    Told(Transcript),
}

impl Speech {
    pub(super) fn new(format: Format, redactor: &Arc<Redactor>) -> Self {
        // A secret that a cut would go through must be seen whole to be masked.
        let beyond = redactor.longest();
        let (kind, bytes_max) = match Transcript::of(format) {
            None => (Kind::Plain(Tail::default()), LINE_BYTES_MAX + beyond),
            Some(transcript) => (Kind::Told(transcript), JSON_BYTES_MAX),
        };
        Self {
            lines: Lines::new(bytes_max),
            redactor: Arc::clone(redactor),
            kind,
            shown: 0,
            flooded: false,
            heard: 0,
        }
    }

    /// Takes the next bytes; what is to be shown is added to `out`, in whole lines.
    pub(super) fn feed(&mut self, chunk: &[u8], out: &mut String) {
        self.heard += chunk.len() as u64;
        if let Kind::Plain(tail) = &mut self.kind {
            tail.push(chunk);
            if self.flooded {
                return;
            }
        }
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(0));
        lines.feed(chunk, |line| self.line(line, out));
        self.lines = lines;
    }

    /// Takes the end of the stream.
    pub(super) fn finish(mut self, out: &mut String) -> Said {
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(0));
        lines.finish(|line| self.line(line, out));
        if let Kind::Told(transcript) = &mut self.kind {
            let mut rest = Vec::new();
            transcript.end(&mut |text| split_shown(text, &self.redactor, &mut rest));
            self.show(rest, out);
        }
        if self.flooded {
            let (heard, shown) = (self.heard, SHOWN_BYTES_MAX / 1024 / 1024);
            out.push_str(&format!("… of {heard} bytes of output only the first {shown} MiB are shown\n"));
        }
        let (text, error) = match self.kind {
            Kind::Plain(tail) => (tail.text(&self.redactor), None),
            Kind::Told(transcript) => {
                let (text, error) = transcript.into_said();
                let cleaned = |text: String| last_words(&cleaned(&text, &self.redactor));
                (cleaned(text), error.map(cleaned))
            }
        };
        Said { text, error, unfinished: false }
    }

    fn line(&mut self, line: Line<'_>, out: &mut String) {
        let mut lines: Vec<String> = Vec::new();
        match &mut self.kind {
            Kind::Plain(_) if self.flooded => return,
            Kind::Plain(_) => lines.push(shown_line(line.bytes, line.cut, &self.redactor)),
            Kind::Told(_) if line.cut > 0 => {
                let bytes = line.bytes.len() as u64 + line.cut;
                lines.push(format!("… a message of {bytes} bytes was not shown"));
            }
            Kind::Told(transcript) => {
                let mut show = |text: &str| split_shown(text, &self.redactor, &mut lines);
                transcript.hear(&String::from_utf8_lossy(line.bytes), &mut show);
            }
        }
        self.show(lines, out);
    }

    fn show(&mut self, lines: Vec<String>, out: &mut String) {
        for line in lines {
            if self.shown < SHOWN_BYTES_MAX {
                self.shown += line.len() + 1;
                out.push_str(&line);
                out.push('\n');
            } else {
                self.flooded = true;
            }
        }
    }
}

/// A text as lines that may be shown.
fn split_shown(text: &str, redactor: &Redactor, lines: &mut Vec<String>) {
    let mut split = Lines::new(LINE_BYTES_MAX + redactor.longest());
    let mut keep = |line: Line<'_>| lines.push(shown_line(line.bytes, line.cut, redactor));
    split.feed(text.as_bytes(), &mut keep);
    split.finish(&mut keep);
}

/// One line as it may be shown: visible, without secrets, no longer than it may be, and no command.
fn shown_line(bytes: &[u8], cut: u64, redactor: &Redactor) -> String {
    let mut text = clean::visible(bytes).into_owned();
    redactor.redact(&mut text);
    let end = boundary_before(&text, LINE_BYTES_MAX);
    let cut = cut + (text.len() - end) as u64;
    text.truncate(end);
    let mut text = clean::defused(&text).into_owned();
    if cut > 0 {
        text.push_str(&format!(" … {cut} more bytes"));
    }
    text
}

/// A text of several lines, visible and without secrets. Commands are left: it is no log line.
fn cleaned(text: &str, redactor: &Redactor) -> String {
    let lines: Vec<_> = text.lines().map(|line| clean::visible(line.as_bytes())).collect();
    let mut text = lines.join("\n");
    redactor.redact(&mut text);
    text
}

/// The end of a text, at most 64 KiB.
fn last_words(text: &str) -> String {
    let mut start = text.len().saturating_sub(LAST_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim().to_owned()
}

/// The last place at or before `index` where a text may be cut.
fn boundary_before(text: &str, index: usize) -> usize {
    let mut end = index.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// The last bytes of a stream, raw: they are cleaned once, at the end.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Whether there was something before them.
    cut: bool,
}

impl Tail {
    fn push(&mut self, chunk: &[u8]) {
        let kept = &chunk[chunk.len().saturating_sub(LAST_BYTES_MAX)..];
        self.bytes.extend_from_slice(kept);
        self.cut |= kept.len() < chunk.len();
        // Moved rarely, so that small chunks cost no more than their bytes.
        if self.bytes.len() > 4 * LAST_BYTES_MAX {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let gone = self.bytes.len().saturating_sub(LAST_BYTES_MAX);
        self.bytes.drain(..gone);
        self.cut |= gone > 0;
    }

    fn text(mut self, redactor: &Redactor) -> String {
        self.trim();
        let mut bytes = self.bytes.as_slice();
        if self.cut {
            // The first line may begin inside a secret.
            let whole = memchr::memchr(b'\n', bytes).map_or(redactor.longest(), |end| end + 1);
            bytes = &bytes[whole.min(bytes.len())..];
        }
        let mut lines: Vec<String> = Vec::new();
        let mut split = Lines::new(LAST_BYTES_MAX);
        let mut keep = |line: Line<'_>| lines.push(clean::visible(line.bytes).into_owned());
        split.feed(bytes, &mut keep);
        split.finish(&mut keep);
        let mut text = lines.join("\n");
        redactor.redact(&mut text);
        last_words(&text)
    }
}

/// A thread that listens to one stream.
#[derive(Debug)]
pub(super) struct Pump {
    said: oneshot::Receiver<Said>,
}

/// Starts to listen to a stream until its end.
pub(super) fn pump(from: OwnedFd, format: Format, redactor: &Arc<Redactor>, log: &Log) -> io::Result<Pump> {
    let (tell, said) = oneshot::channel();
    let mut from = File::from(from);
    let mut speech = Speech::new(format, redactor);
    let log = log.clone();
    std::thread::Builder::new().name("agent output".to_owned()).spawn(move || {
        let mut chunk = vec![0_u8; 64 * 1024];
        let mut out = String::new();
        loop {
            match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => speech.feed(&chunk[..count], &mut out),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe does not fail; if it did, there would be no more to hear.
                Err(_) => break,
            }
            if !out.is_empty() {
                log.agent(&out);
                out.clear();
            }
        }
        let said = speech.finish(&mut out);
        if !out.is_empty() {
            log.agent(&out);
        }
        // Nobody waits for it where the run was dropped.
        let _ = tell.send(said);
    })?;
    Ok(Pump { said })
}

impl Pump {
    /// What was said, once the stream has ended, or nothing when that takes longer than `time`.
    pub(super) async fn finish(self, time: Duration) -> Said {
        match tokio::time::timeout(time, self.said).await {
            Ok(Ok(said)) => said,
            _ => Said { unfinished: true, ..Said::default() },
        }
    }
}
