//! Server-sent events that come in pieces: the data of each, in turn.

use memchr::memchr;

/// The longest line that is read, in bytes: an OpenAI stream ends with one that holds all of its answer.
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The lines of an event stream, put together.
#[derive(Debug, Default)]
pub(super) struct Events {
    held: Vec<u8>,
    /// The rest of the current line is stepped over.
    skip: bool,
    /// A line was too long to be read.
    pub(super) too_long: bool,
}

impl Events {
    /// Takes the next bytes, and hands the data of every line that is complete to `each`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.held.is_empty() && !self.skip {
                data(line).into_iter().for_each(&mut each);
                continue;
            }
            self.hold(line);
            let mut held = std::mem::take(&mut self.held);
            if !self.skip {
                data(&held).into_iter().for_each(&mut each);
            }
            self.skip = false;
            held.clear();
            self.held = held;
        }
        self.hold(rest);
    }

    /// A last line may lack its line feed. Half a line is no JSON and says nothing.
    pub(super) fn end(&mut self, mut each: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        if self.skip {
            return;
        }
        let whole = |data: &&[u8]| {
            *data == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
        };
        data(&held).filter(whole).into_iter().for_each(&mut each);
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skip {
            return;
        }
        if self.held.len() + piece.len() > LINE_BYTES_MAX {
            (self.skip, self.too_long) = (true, true);
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(piece);
        }
    }
}

/// The data of a line; `None` for a line of another kind.
fn data(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}
