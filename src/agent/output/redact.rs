//! Secrets out of text, by value: as they are, and in the encodings that an agent would try first.

use memchr::memmem::Finder;

/// What stands in a secret's place.
pub(super) const MASK: &str = "[redacted]";
/// Anything shorter would be found in innocent text.
const LENGTH_MIN: usize = 8;

/// Finds secrets and puts a mask in their place.
#[derive(Debug, Default)]
pub struct Redactor {
    needles: Vec<Finder<'static>>,
    longest: usize,
}

impl Redactor {
    /// A redactor of these values. Values of fewer than 8 bytes are not looked for.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= LENGTH_MIN) {
            needles.extend(spellings(secret.as_bytes()));
        }
        // The longest first, so that a spelling that contains another is masked whole.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        let longest = needles.first().map_or(0, Vec::len);
        Self { needles: needles.iter().map(|needle| Finder::new(needle).into_owned()).collect(), longest }
    }

    /// The length of the longest spelling in bytes: how far one must look beyond a cut.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Masks every secret in a whole text, and besides everything that looks like a key of a known kind. For
    /// texts that leave the machine.
    #[must_use]
    pub fn published(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.redact(&mut text);
        super::patterns::mask(&mut text);
        text
    }

    /// Masks every secret in the text.
    pub fn redact(&self, text: &mut String) {
        for needle in &self.needles {
            let mut from = 0;
            while let Some(at) = needle.find(&text.as_bytes()[from..]) {
                let start = from + at;
                text.replace_range(start..start + needle.needle().len(), MASK);
                from = start + MASK.len();
            }
        }
    }
}

/// A secret as it may be written: itself, hex, percent-encoded, base64 at each of three alignments.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = crate::id::hex(secret);
    let mut all = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    all.push(percent_encoded(secret));
    for alphabet in [STANDARD, URL_SAFE] {
        for offset in 0..3 {
            all.push(base64_core(secret, offset, alphabet));
        }
    }
    // Only whole characters may be cut out of a text.
    all.retain(|needle| std::str::from_utf8(needle).is_ok());
    all
}

fn percent_encoded(secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of base64 that the secret alone decides, when `offset` (0 to 2) bytes stand before it
/// in a group of three.
fn base64_core(secret: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |index: usize| {
        let byte = secret[index / 8 - offset];
        (byte >> (7 - index % 8)) & 1
    };
    let first = (offset * 8).div_ceil(6);
    let last = (offset + secret.len()) * 8 / 6;
    (first..last)
        .map(|digit| {
            let value = (0..6).fold(0, |value, index| value << 1 | bit(digit * 6 + index));
            alphabet[usize::from(value)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let redactor = Redactor::new(["sk-ant-Zm9v/1?"]);
        for (text, shown) in [
            ("nothing here", "nothing here"),
            ("key=sk-ant-Zm9v/1?!", "key=[redacted]!"),
            ("sk-ant-Zm9v/1?sk-ant-Zm9v/1?", "[redacted][redacted]"),
            ("736b2d616e742d5a6d39762f313f", "[redacted]"),
            ("736B2D616E742D5A6D39762F313F", "[redacted]"),
            ("sk-ant-Zm9v%2F1%3F", "[redacted]"),
            // base64 of the secret with nothing, "a", and "ab" before it.
            ("c2stYW50LVptOXYvMT8=", "[redacted]8="),
            ("YXNrLWFudC1abTl2LzE/", "YX[redacted]"),
            ("YWJzay1hbnQtWm05di8xPw==", "YWJ[redacted]w=="),
        ] {
            let mut found = text.to_owned();
            redactor.redact(&mut found);
            assert_eq!(found, shown, "{text}");
        }
    }

    #[test]
    fn short_values_are_not_looked_for() {
        let mut text = "a true story".to_owned();
        Redactor::new(["true", ""]).redact(&mut text);
        assert_eq!(text, "a true story");
    }
}
