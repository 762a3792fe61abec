//! What a Markdown parser and a forge make of the result, rather than what it looks like.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::*;

/// What GitHub adds to plain Markdown.
fn github() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM
}

/// The text of a rendering, code left out; an error names what is more than text.
fn rendered(markdown: &str) -> Result<String, String> {
    let mut text = String::new();
    for event in Parser::new_ext(markdown, github()) {
        match event {
            Event::Text(part) => text.push_str(&part),
            Event::Code(_) => text.push('\u{fffc}'),
            Event::Start(Tag::Paragraph) | Event::End(_) => {}
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(text)
}

/// What GitHub would act on in rendered text outside code, if anything.
fn acted_on(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let followed = |word: &str, by: fn(char) -> bool| {
        lower.match_indices(word).any(|(at, _)| lower[at + word.len()..].starts_with(by))
    };
    let found = [
        ("a mention", followed("@", |c| c.is_ascii_alphanumeric())),
        ("an issue", followed("#", |c| c.is_ascii_digit()) || followed("gh-", |c| c.is_ascii_digit())),
        ("a link", lower.contains("://") || lower.contains("www.")),
        ("a hidden character", text.chars().any(|c| c != BREAK && is_hidden(c))),
    ];
    found.iter().find(|(_, acts)| *acts).map(|(what, _)| *what)
}

#[test]
fn what_is_shown_is_what_was_said() {
    for (text, expected) in [
        ("plain words", "plain words"),
        ("ask @octocat", "ask @\u{200b}octocat"),
        ("fixes #17, closes o/r#2, GH-3", "fixes #\u{200b}17, closes o/r#\u{200b}2, GH-\u{200b}3"),
        ("see https://x.example/a.png", "see https:\u{200b}//x.example/a.png"),
        ("see WWW.x.example", "see WWW\u{200b}.x.example"),
        ("![beacon](//x)", "\\!\\[beacon\\](//x)"),
        ("<img src=x> & &lt;", "&lt;img src=x&gt; &amp; &amp;lt;"),
        ("<!-- tollgate:v1 -->", "&lt;!-- tollgate:v1 --&gt;"),
        ("the label `a|b` is set", "the label `a|b` is set"),
        ("one ` only", "one \\` only"),
        ("empty `` pair", "empty \\`\\` pair"),
        ("`a``b`", "`a`\u{200b}`b`"),
        ("$x$ for $5", "\\$x\\$ for $5"),
        ("# no heading", "\\# no heading"),
        ("1. no list", "1\\. no list"),
        ("two\nlines\r\nand\u{2028}more", "two lines  and more"),
        ("e\u{202e}vil\u{200b}\u{1b}[31m", "evil\\[31m"),
        ("$0.31 of $0.80", "$0.31 of $0.80"),
    ] {
        assert_eq!(prose(text), expected, "{text:?}");
    }
    assert_eq!(cell("the label `a|b` | is set"), "the label `a\\|b` \\| is set");
}

#[test]
fn a_fence_is_longer_than_what_is_in_it() {
    assert_eq!(fenced("a\n```\nb\u{202e}\r\n"), "````text\na\n```\nb\n````");
    assert_eq!(fenced("<!-- tollgate:v1 -->"), "```text\n<!\u{200b}-- tollgate:v1 -->\n```");
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "@",
            "@octocat",
            "#1",
            "fixes #1",
            "Closes o/r#2",
            "GH-3",
            "<!--",
            "-->",
            "<img src=x>",
            "<b",
            "</details>",
            "![",
            "[a](b)",
            "](",
            "`",
            "``",
            "```",
            "\n",
            "\n\n",
            "|",
            "| a |",
            "\\",
            "*",
            "_",
            "~~",
            "~",
            "&#64;a",
            "&commat;",
            "http://x",
            "https:",
            "//x",
            "www.",
            "www.x.example",
            "mailto:a@b.c",
            "- ",
            "1. ",
            "# ",
            "> ",
            "---",
            "===",
            "\t",
            "    ",
            "$x$",
            "$$",
            "<https://x>",
            "[^1]",
            "[^1]: x",
            ": ",
            "\u{200b}",
            "\u{202e}",
            "{#id}",
            ":::",
            "+++",
            "[x]: y",
            "^",
            "==",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9 ]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn prose_is_only_text(text in hostile()) {
        let markdown = prose(&text);
        prop_assert!(!markdown.contains('\n'));
        prop_assert!(!markdown.contains("<!--"), "{markdown:?}");
        // In a sentence, as it is used.
        for context in [format!("It says {markdown}"), format!("**What to do:** {markdown}\n")] {
            let text = rendered(&context.replace("**What to do:** ", "x "));
            prop_assert!(text.is_ok(), "{text:?} of {context:?}");
            prop_assert_eq!(acted_on(&text.expect("checked")), None, "{:?}", context);
        }
    }

    #[test]
    fn prose_may_begin_a_line(text in hostile()) {
        let markdown = prose(&text);
        let text = rendered(&markdown);
        prop_assert!(text.is_ok(), "{text:?} of {markdown:?}");
    }

    #[test]
    fn a_cell_stays_one_cell(text in hostile()) {
        let table = format!("| a | b |\n|---|---|\n| {} | end |\n", cell(&text));
        let events: Vec<Event<'_>> = Parser::new_ext(&table, github()).collect();
        let cells = events.iter().filter(|event| matches!(event, Event::Start(Tag::TableCell))).count();
        prop_assert_eq!(cells, 4, "{}", table);
        let html = events.iter().any(|event| matches!(event, Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Image { .. } | Tag::Link { .. })));
        prop_assert!(!html, "{table}");
        let last = events.iter().rev().find_map(|event| match event { Event::Text(text) => Some(text.to_string()), _ => None });
        prop_assert_eq!(last.as_deref(), Some("end"));
    }

    #[test]
    fn a_fence_holds_everything(text in hostile()) {
        let markdown = format!("before\n\n{}\n\nafter", fenced(&text));
        prop_assert!(!markdown.contains("<!--"));
        let outside: String = {
            let mut inside = false;
            let mut out = String::new();
            for event in Parser::new(&markdown) {
                match event {
                    Event::Start(Tag::CodeBlock(_)) => inside = true,
                    Event::End(pulldown_cmark::TagEnd::CodeBlock) => inside = false,
                    Event::Text(text) if !inside => out.push_str(&text),
                    _ => {}
                }
            }
            out
        };
        prop_assert_eq!(outside, "beforeafter");
    }

    #[test]
    fn plain_is_one_visible_line(text in any::<String>()) {
        prop_assert!(!plain(&text).chars().any(|c| c.is_control() || is_hidden(c)));
    }
}
