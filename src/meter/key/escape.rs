//! Percent-encoding as AWS and forms want it: all but the unreserved characters of RFC 3986.

/// The text with everything escaped that is not unreserved, nor one of `kept`.
pub(super) fn escaped(text: &[u8], kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || kept.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Pairs as the body of a form.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", escaped(value.as_bytes(), b""));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}
