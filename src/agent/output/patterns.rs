//! Secrets out of text by their looks: keys of kinds that are known, whose values nobody has told us.

use super::redact::MASK;

/// How a kind of key begins, and the fewest characters that follow.
const KINDS: &[(&str, usize)] = &[
    ("sk-ant-", 16),
    ("sk-proj-", 16),
    ("sk-", 32),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("npm_", 30),
];

/// Masks everything that looks like a key.
pub(super) fn mask(text: &mut String) {
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    while at < text.len() {
        match key_at(text, at) {
            Some(end) => {
                out.push_str(&text[kept..at]);
                out.push_str(MASK);
                (kept, at) = (end, end);
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    if kept > 0 {
        out.push_str(&text[kept..]);
        *text = out;
    }
}

/// Where the key that begins here ends, if one does: not within a word.
fn key_at(text: &str, at: usize) -> Option<usize> {
    if text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let rest = &text[at..];
    let of_kind = |(begin, least): &(&str, usize)| {
        let body = rest.strip_prefix(begin)?;
        let length = word(body);
        (length >= *least).then_some(at + begin.len() + length)
    };
    KINDS.iter().find_map(of_kind).or_else(|| Some(at + token(rest)?))
}

/// How many characters of a key's alphabet there are.
fn word(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).count()
}

/// The length of a JSON Web Token: three words between dots, of which the first two are JSON objects.
fn token(text: &str) -> Option<usize> {
    let head = text.strip_prefix("eyJ").map(|_| word(text)).filter(|length| *length >= 12)?;
    let body = text[head..].strip_prefix(".eyJ").map(|_| word(&text[head + 1..]))?;
    let so_far = head + 1 + body;
    let signature = text[so_far..].strip_prefix('.').map(word)?;
    Some(so_far + 1 + signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_known_kinds_are_masked_and_other_words_are_not() {
        let body = "Ab3".repeat(12);
        for (text, shown) in [
            (format!("key ghp_{body}."), "key [redacted].".to_owned()),
            (format!("github_pat_{body} ghs_{body}"), "[redacted] [redacted]".to_owned()),
            (format!("sk-ant-api03-{body}"), "[redacted]".to_owned()),
            (format!("`sk-{body}`"), "`[redacted]`".to_owned()),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), "[redacted]".to_owned()),
            (format!("xoxb-{body}"), "[redacted]".to_owned()),
            (format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{body}!"), "[redacted]!".to_owned()),
            (
                "task-based sk-learn AKIA ghp_short".to_owned(),
                "task-based sk-learn AKIA ghp_short".to_owned(),
            ),
            ("über eyJ.eyJ.x".to_owned(), "über eyJ.eyJ.x".to_owned()),
        ] {
            let mut found = text.clone();
            mask(&mut found);
            assert_eq!(found, shown, "{text}");
        }
    }
}
