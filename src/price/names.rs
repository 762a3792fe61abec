//! Names of models as channels write them, to the names of the table.

use crate::tokens::Region;

/// Prefixes of Bedrock's inference profiles, and where they keep a request.
const PROFILES: [(&str, Region); 8] = [
    ("global.", Region::Global),
    ("us-gov.", Region::UsGov),
    ("us.", Region::Regional),
    ("eu.", Region::Regional),
    ("apac.", Region::Regional),
    ("au.", Region::Regional),
    ("jp.", Region::Regional),
    ("ca.", Region::Regional),
];

/// What resellers and clouds write before a model's name.
const SELLERS: [&str; 18] = [
    "anthropic.",
    "openai.",
    "anthropic/",
    "openai/",
    "google/",
    "deepseek/",
    "deepseek-ai/",
    "x-ai/",
    "xai/",
    "moonshotai/",
    "moonshot/",
    "z-ai/",
    "zai/",
    "qwen/",
    "dashscope/",
    "models/",
    "publishers/google/models/",
    "publishers/anthropic/models/",
];

/// A name without what a channel adds to it, and the region that the channel says with it.
///
/// The forms are those of Bedrock (`us.anthropic.claude-…-v1:0`), Vertex (`claude-…@20250929`,
/// `publishers/google/models/…`), OpenRouter (`anthropic/…`), Gemini (`models/…`) and Claude Code (`…[1m]`).
pub(super) fn plain(name: &str) -> (&str, Region) {
    // All that is added before a name ends with one of these, and most names have none of them.
    if !name.bytes().any(|byte| matches!(byte, b'.' | b'/' | b'@' | b'[')) {
        return (without_version(name), Region::Global);
    }
    let mut name = name.strip_suffix("[1m]").unwrap_or(name);
    let mut region = Region::Global;
    for (prefix, kept) in PROFILES {
        if let Some(rest) = name.strip_prefix(prefix)
            && (rest.starts_with("anthropic.") || rest.starts_with("openai."))
        {
            (name, region) = (rest, kept);
            break;
        }
    }
    for seller in SELLERS {
        name = name.strip_prefix(seller).unwrap_or(name);
    }
    name = name.strip_suffix("@default").unwrap_or(name);
    (without_version(name), region)
}

/// A name of Claude's as Foundry writes it when the model is to be fast (`claude-opus-5-5-fast`), without
/// that; `None` for any other name.
pub(super) fn without_fast(name: &str) -> Option<&str> {
    if !name.contains("-fast") {
        return None;
    }
    plain(name).0.strip_suffix("-fast").filter(|name| name.starts_with("claude-"))
}

/// A name of Claude's with the points that OpenRouter writes in versions (`claude-sonnet-4.6`) as the
/// hyphens of everybody else; `None` for a name without.
pub(super) fn without_points(name: &str) -> Option<String> {
    (name.starts_with("claude-") && name.contains('.')).then(|| name.replace('.', "-"))
}

/// The name without Bedrock's version (`-v1`, `-v1:0`) at its end.
fn without_version(name: &str) -> &str {
    let without = |text: &'_ str, mark: &str| -> Option<usize> {
        let stem = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
        (stem.len() < text.len()).then(|| stem.strip_suffix(mark).map(str::len)).flatten()
    };
    let major = without(name, ":").unwrap_or(name.len());
    without(&name[..major], "-v").map_or(name, |end| &name[..end])
}

/// The name without a snapshot's date (`-20260416`, `@20260416`, `-2026-04-16`) at its end; `None` where
/// there is none.
pub(super) fn without_date(name: &str) -> Option<&str> {
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((stem, date)) = name.rsplit_once(['-', '@'])
        && digits(date, 8)
        && date.starts_with("20")
    {
        return Some(stem);
    }
    let (stem, date) = name.split_at_checked(name.len().checked_sub("-2026-04-16".len())?)?;
    let mut parts = date.strip_prefix('-')?.split('-');
    let is_date = parts.next().is_some_and(|year| digits(year, 4) && year.starts_with("20"))
        && parts.next().is_some_and(|month| digits(month, 2))
        && parts.next().is_some_and(|day| digits(day, 2));
    is_date.then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_channels_add_to_a_name_is_taken_off() {
        for (name, expected, region) in [
            ("claude-opus-5-5[1m]", "claude-opus-5-5", Region::Global),
            ("us.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5-20251101", Region::Regional),
            ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6", Region::Global),
            ("us-gov.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6", Region::UsGov),
            ("anthropic/claude-opus-5.5", "claude-opus-5.5", Region::Global),
            ("publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro", Region::Global),
            ("claude-opus-4-6@default", "claude-opus-4-6", Region::Global),
            ("us.meta.llama", "us.meta.llama", Region::Global),
            ("qwen3-max", "qwen3-max", Region::Global),
            ("claude-opus-4-6-v2", "claude-opus-4-6", Region::Global),
            ("claude-opus-4-6-v2:10", "claude-opus-4-6", Region::Global),
            ("claude-opus-4-6-v2:", "claude-opus-4-6-v2:", Region::Global),
            ("claude-opus-4-6:1", "claude-opus-4-6:1", Region::Global),
            ("claude-opus-4-6-v", "claude-opus-4-6-v", Region::Global),
            ("-v1", "", Region::Global),
        ] {
            assert_eq!(plain(name), (expected, region), "{name}");
        }
    }

    #[test]
    fn claude_has_two_more_ways_of_being_written() {
        assert_eq!(without_fast("anthropic/claude-opus-5-5-fast"), Some("claude-opus-5-5"));
        assert_eq!(without_fast("grok-4-fast"), None);
        assert_eq!(without_fast("claude-opus-5-5"), None);
        assert_eq!(without_points("claude-sonnet-4.6").as_deref(), Some("claude-sonnet-4-6"));
        assert_eq!(without_points("gpt-5.6"), None);
    }

    #[test]
    fn only_a_whole_date_at_the_end_is_a_snapshot() {
        for (name, stem) in [
            ("claude-opus-4-6-20260205", Some("claude-opus-4-6")),
            ("claude-opus-4-6@20260205", Some("claude-opus-4-6")),
            ("gpt-5.4-2026-03-05", Some("gpt-5.4")),
            ("gpt-5.4-1999-03-05", None),
            ("gpt-5.4-2026-03", None),
            ("gpt-5.4-mini", None),
            ("é", None),
        ] {
            assert_eq!(without_date(name), stem, "{name}");
        }
    }
}
