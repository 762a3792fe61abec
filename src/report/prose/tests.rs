//! What a Markdown parser and a forge make of a hostile document.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::*;

fn github() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM
}

/// What of a document would do something, if anything.
fn acts(markdown: &str) -> Option<String> {
    let mut text = String::new();
    let mut code = false;
    for event in Parser::new_ext(markdown, github()) {
        match event {
            Event::Text(part) if !code => text.push_str(&part),
            Event::Text(_) => {}
            Event::Code(_) => text.push('\u{fffc}'),
            Event::SoftBreak | Event::HardBreak | Event::Rule => text.push('\n'),
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => code = false,
            Event::Start(
                Tag::Paragraph
                | Tag::Heading { .. }
                | Tag::BlockQuote(_)
                | Tag::List(_)
                | Tag::Item
                | Tag::Emphasis
                | Tag::Strong,
            ) => text.push('\n'),
            Event::End(_) => {}
            other => return Some(format!("{other:?}")),
        }
    }
    let lower = text.to_ascii_lowercase();
    let followed = |word: &str, by: fn(char) -> bool| {
        lower.match_indices(word).any(|(at, _)| lower[at + word.len()..].starts_with(by))
    };
    let found = [
        ("a mention", followed("@", |c| c.is_ascii_alphanumeric())),
        ("an issue", followed("#", |c| c.is_ascii_digit()) || followed("gh-", |c| c.is_ascii_digit())),
        ("a link", lower.contains("://") || lower.contains("www.")),
        ("a command", markdown.lines().any(|line| line.starts_with('/'))),
        ("a marker", markdown.contains("<!--")),
    ];
    found.iter().find(|(_, acts)| *acts).map(|(what, _)| (*what).to_owned())
}

#[test]
fn a_review_keeps_its_shape() {
    let review = "# Findings\n\n1. **high** `src/lib.rs:3`: off by one\n   - see *below*\n\n> quoted\n\n```rust\nlet x = vec![@a];\n```\nDone.";
    let expected = "# Findings\n\n1. **high** `src/lib.rs:3`: off by one\n   - see *below*\n\n> quoted\n\n```rust\nlet x = vec![@a];\n```\n\nDone.";
    assert_eq!(document(review), expected);
}

#[test]
fn what_would_act_is_text() {
    for (text, expected) in [
        ("cc @octocat", "cc @\u{200b}octocat"),
        ("Closes #12 and GH-3", "Closes #\u{200b}12 and GH-\u{200b}3"),
        ("![x](https://evil.example/?s=1)", "\\!\\[x\\](https:\u{200b}//evil.example/?s=1)"),
        ("[click](//evil.example)", "\\[click\\](//evil.example)"),
        ("[a]: https://evil.example", "\\[a\\]: https:\u{200b}//evil.example"),
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y&gt;"),
        (
            "<!-- tollgate:v1 key=default run=1 hash=2 -->",
            "&lt;!-- tollgate:v1 key=default run=1 hash=2 --&gt;",
        ),
        ("a\u{202e}b\u{200b}c\u{1b}[0m", "abc\\[0m"),
        ("/approve", "\u{200b}/approve"),
        ("- [ ] @a", "- \\[ \\] @\u{200b}a"),
        ("```\nnever closed", "```text\nnever closed\n```"),
        ("~~~\n```\n/lgtm\n~~~", "````text\n```\n /lgtm\n````"),
        ("```suggestion\nx\n```", "```text\nx\n```"),
        ("| a | `b | @c` |\n|---|---|", "```text\n| a | `b | @c` |\n|---|---|\n```"),
        ("title\n===", "title\n\\==="),
        ("text\n---\nmore", "text\n\n---\n\nmore"),
        ("$$x$$", "\\$\\$x\\$\\$"),
    ] {
        assert_eq!(document(text), expected, "{text:?}");
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ ]{0,6}[-*+>#|`~=_:!\\[\\]()<@/a1$. ]{0,20}",
        "[ ]{0,4}(```|~~~~|````)[a`~]{0,3}",
        Just("| a | `b |".to_owned()),
        Just(":-".to_owned()),
        Just("[x]: http://x.example".to_owned()),
        Just("`a @b` @c `".to_owned()),
        Just("<details><summary>".to_owned()),
        Just("1. `x".to_owned()),
        Just("/lgtm `".to_owned()),
        Just(String::new()),
        ".{0,20}",
    ]
}

proptest! {
    #[test]
    fn no_document_does_anything(lines in proptest::collection::vec(line(), 0..12)) {
        let shown = document(&lines.join("\n"));
        prop_assert_eq!(acts(&shown), None, "{}", shown);
    }
}
