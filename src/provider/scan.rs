//! A strict JSON reader that builds no tree.
//!
//! One pass over the bytes checks the whole grammar and hands out byte ranges of the values that a caller
//! asks for. A megabyte of conversation costs no allocation; whatever is not asked for is still checked,
//! because a body that two parsers read differently could cost something else than it was bounded by.

use std::borrow::Cow;
use std::ops::Range;

/// The most levels of arrays and objects inside one another.
const DEPTH_MAX: u32 = 64;
/// Objects with more keys than this are sorted to find duplicates.
const KEYS_PAIRWISE_MAX: usize = 16;

/// Where, and why, a body is not the JSON that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// The grammar of RFC 8259 is broken.
    #[error("the body is not valid JSON: {what} at byte {at}")]
    Syntax {
        /// The byte, from 0.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// One object has a key twice.
    #[error("the key \"{key}\" is given twice in the object that ends at byte {at}; send it once")]
    Duplicate {
        /// The object's end.
        at: usize,
        /// The key.
        key: String,
    },
    /// Too many levels.
    #[error("the body is nested deeper than {DEPTH_MAX} levels at byte {at}")]
    TooDeep {
        /// Where the first level too many begins.
        at: usize,
    },
    /// A value that matters is missing or is not what the API takes; whole sentence.
    #[error("{0}")]
    Meaning(String),
    /// A request of a kind that is not metered; whole sentence.
    #[error("{0}")]
    Refused(String),
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// A string as it stands in the body.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    /// Between the quotes, escapes as they stand.
    pub(super) raw: &'a str,
    /// Where `raw` is in the body.
    pub(super) at: Range<usize>,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The string's value. An unpaired surrogate reads as U+FFFD.
    pub(super) fn value(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// The reader: a place in a body.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Keys of all objects that are open, innermost last.
    keys: Vec<Cow<'a, str>>,
    /// Cache marks met so far, at any depth: see [`Marks`].
    pub(super) marks: Marks,
}

/// Cache marks, counted wherever they stand: one that the provider ignores costs nothing but caution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Objects under a key `cache_control`.
    pub(super) any: bool,
    /// Of those, any with another lifetime than five minutes.
    pub(super) hour: bool,
}

type Result<T> = std::result::Result<T, Flaw>;

impl<'a> Scanner<'a> {
    /// A reader at the first byte of `body`.
    pub(super) fn new(body: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(body)
            .map_err(|e| Flaw::Syntax { at: e.valid_up_to(), what: "a byte that is not UTF-8" })?;
        if text.starts_with('\u{feff}') {
            return Err(Flaw::Syntax { at: 0, what: "a byte order mark" });
        }
        Ok(Self { text, at: 0, depth: 0, keys: Vec::with_capacity(64), marks: Marks::default() })
    }

    /// Checks that nothing but white space follows.
    pub(super) fn end(&mut self) -> Result<()> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.syntax("something after the end of the value") }
    }

    fn syntax<T>(&self, what: &'static str) -> Result<T> {
        Err(Flaw::Syntax { at: self.at, what })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What comes next, with the white space before it skipped.
    pub(super) fn peek(&mut self) -> Result<Kind> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => self.syntax("a value was expected"),
            None => self.syntax("the body ends too early"),
        }
    }

    /// Where the next value begins.
    pub(super) fn start(&mut self) -> Result<usize> {
        self.peek().map(|_| self.at)
    }

    /// The byte after what was read last.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn open(&mut self) -> Result<usize> {
        let start = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Flaw::TooDeep { at: start });
        }
        self.at += 1;
        Ok(start)
    }

    /// After an element: whether another follows; takes the comma or the closing byte.
    fn more(&mut self, close: u8) -> Result<bool> {
        self.space();
        match self.byte() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) => self.syntax("a comma or a closing bracket was expected"),
            None => self.syntax("the body ends too early"),
        }
    }

    /// Reads an object. `each` is called at every value and must read it. Returns where the object is.
    pub(super) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<Range<usize>> {
        let start = self.open()?;
        let first_key = self.keys.len();
        self.space();
        if self.byte() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(start..self.at);
        }
        loop {
            self.space();
            if self.byte() != Some(b'"') {
                return self.syntax("a key in double quotes was expected");
            }
            let key = self.string()?.value();
            self.space();
            if self.byte() != Some(b':') {
                return self.syntax("a colon was expected");
            }
            self.at += 1;
            self.keys.push(key.clone());
            // An advisor's own prompt is marked under the other name.
            if key == "cache_control" || (key == "caching" && self.peek()? == Kind::Object) {
                self.cache_mark()?;
            } else {
                each(self, &key)?;
            }
            if !self.more(b'}')? {
                break;
            }
        }
        self.refuse_duplicates(first_key)?;
        self.keys.truncate(first_key);
        Ok(start..self.at)
    }

    fn refuse_duplicates(&mut self, first_key: usize) -> Result<()> {
        let at = self.at;
        let keys = &mut self.keys[first_key..];
        let twice = if keys.len() <= KEYS_PAIRWISE_MAX {
            (1..keys.len()).find(|&i| keys[..i].contains(&keys[i]))
        } else {
            keys.sort_unstable();
            (1..keys.len()).find(|&i| keys[i - 1] == keys[i])
        };
        match twice {
            Some(index) => Err(Flaw::Duplicate { at, key: keys[index].escape_debug().collect() }),
            None => Ok(()),
        }
    }

    /// Reads the value of a `cache_control`. An unknown lifetime counts as the dearest.
    fn cache_mark(&mut self) -> Result<()> {
        match self.peek()? {
            Kind::Object => self.marks.any = true,
            Kind::Null => return self.skip(),
            // Not what the API takes today: a mark of some kind.
            _ => {
                self.marks = Marks { any: true, hour: true };
                return self.skip();
            }
        }
        let mut hour = false;
        self.object(|scan, key| {
            if key != "ttl" {
                return scan.skip();
            }
            hour = match scan.peek()? {
                Kind::String => scan.string()?.value() != "5m",
                Kind::Null => scan.skip().map(|_| false)?,
                _ => scan.skip().map(|_| true)?,
            };
            Ok(())
        })?;
        self.marks.hour |= hour;
        Ok(())
    }

    /// Reads an array. `each` is called at every element and must read it. Returns where the array is.
    pub(super) fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<Range<usize>> {
        let start = self.open()?;
        self.space();
        if self.byte() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(start..self.at);
        }
        loop {
            each(self)?;
            if !self.more(b']')? {
                return Ok(start..self.at);
            }
        }
    }

    /// Checks the next value and leaves it behind.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.span().map(|_| ())
    }

    /// Checks the next value and leaves it behind. Returns where it is.
    pub(super) fn span(&mut self) -> Result<Range<usize>> {
        match self.peek()? {
            Kind::Object => self.object(|scan, _key| scan.skip()),
            Kind::Array => self.array(|scan| scan.skip()),
            Kind::String => self.string().map(|text| text.at.start - 1..text.at.end + 1),
            Kind::Number => self.number(),
            Kind::Bool if self.byte() == Some(b't') => self.word("true"),
            Kind::Bool => self.word("false"),
            Kind::Null => self.word("null"),
        }
    }

    /// Reads a whole number that is not negative; `None` for any other value.
    pub(super) fn count(&mut self) -> Result<Option<u64>> {
        let at = self.span()?;
        Ok(self.text[at].parse().ok())
    }

    fn word(&mut self, word: &'static str) -> Result<Range<usize>> {
        let start = self.at;
        if !self.text.as_bytes()[start..].starts_with(word.as_bytes()) {
            return self.syntax("a value was expected");
        }
        self.at += word.len();
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.syntax("a digit was expected") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Range<usize>> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(start..self.at)
    }

    /// Reads a string; [`peek`](Self::peek) must have said that one comes.
    pub(super) fn string(&mut self) -> Result<Text<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at += plain_length(&bytes[self.at..]);
            match self.byte() {
                Some(b'"') => {
                    let at = start..self.at;
                    self.at += 1;
                    return Ok(Text { raw: &self.text[at.clone()], at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.syntax("a control character inside a string"),
                None => return self.syntax("a string is not closed"),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let length = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return self.syntax("an escape that JSON does not have"),
        };
        self.at += length;
        Ok(())
    }
}

/// How many bytes from the start are neither a quote, a backslash nor a control character.
///
/// Eight bytes at a time: code in JSON has an escape in every line, too close together for `memchr` to
/// pay. In each test below the lowest bit set is that of a byte that is meant; a borrow can only set bits
/// above it.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let found = quotes | backslashes | controls;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The value of a string with escapes that has passed the grammar.
pub(super) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, length) = match rest.as_bytes().get(at + 1) {
            Some(b'u') => unicode(&rest[at..]),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(&byte) if byte.is_ascii() => (char::from(byte), 2),
            _ => (char::REPLACEMENT_CHARACTER, 1),
        };
        out.push(character);
        rest = rest.get(at + length..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

/// The character of the `\uXXXX` at the start of `text`, of a surrogate pair where there is one, and
/// the number of bytes it takes.
fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        text.get(at..at + 2)
            .filter(|mark| *mark == "\\u")
            .and_then(|_| text.get(at + 2..at + 6))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok())
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if let Some(character) = char::from_u32(u32::from(first)) {
        return (character, 6);
    }
    let pair = unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    pair.map_or((char::REPLACEMENT_CHARACTER, 6), |character| (character, 12))
}

#[cfg(test)]
mod tests;
