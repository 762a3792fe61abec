//! Properties of parsing: no text is too strange for it.

use proptest::prelude::*;

use super::{Errors, Position, parse};

/// A file that uses every key.
const GOOD: &str = r#"version: 1
mode: enforce # a remark
timezone: UTC
ledger: file
budgets:
  - { scope: repo, per: month, usd: 200 }
  - { scope: label, label: "agent:docs", per: week, usd: "0.5", enforce: soft }
tiers:
  high: { model: claude-opus-5-5, max_usd: 4.00, max_tokens: 2_000_000, timeout: 1h30m }
tasks:
  docs: { low: low, medium: low, high: medium }
rules:
  - if: { paths: ["src/auth/**", 'it''s'] }
    stakes: high
agent:
  use: command
  args: [./agent, --once]
  env: [JAVA_HOME]
  prompt:
    review: |
      Look at it: twice.
  deliver: { review: patch }
on: { cap: { docs: warn }, refused: pass, min_run_usd: 0.02 }
steer_at: off
comment: { result: details }
alerts: [50, 80]
workflows:
  .github/workflows/n.yml: { budgets: [ { scope: actor, per: day, usd: 2 } ] }
"#;

/// What YAML files are made of, with what trips their readers.
const PIECES: [&str; 36] = [
    "version", "budgets", "on", "a", "1", "4.00", "off", "~", "null", "~ x", ": ", ":", "- ", "-", "\n",
    "\n  ", "\n    ", "{ ", " }", "[", "]", ", ", "\"", "'", "|", ">\n", "#", " # x", "&a ", "*a", "!!str ",
    "<<", "---\n", "...\n", "\t", "? ",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30).prop_map(|pieces| pieces.concat())
}

fn has_sound_places(text: &str, errors: &Errors) -> bool {
    let last_line = text.lines().count() + 1;
    let sound = |at: Position| (1..=last_line).contains(&at.line) && at.column >= 1;
    !errors.mistakes.is_empty() && errors.mistakes.iter().all(|m| sound(m.at) && !m.problem.is_empty())
}

#[test]
fn the_good_file_is_good() {
    parse(GOOD, "f.yml").expect("every key is right");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Err(errors) = parse(&text, "f.yml") {
            prop_assert!(has_sound_places(&text, &errors), "{errors}");
        }
    }

    #[test]
    fn any_bytes_of_text_are_read_or_refused(text in any::<String>()) {
        if let Err(errors) = parse(&text, "f.yml") {
            prop_assert!(has_sound_places(&text, &errors), "{errors}");
        }
    }

    #[test]
    fn anything_like_yaml_is_read_or_refused(text in pieces()) {
        if let Err(errors) = parse(&text, "f.yml") {
            prop_assert!(has_sound_places(&text, &errors), "{errors}");
        }
    }

    #[test]
    fn a_good_file_with_a_change_is_read_or_refused(
        from in 0..GOOD.len(),
        length in 0..12_usize,
        piece in prop::sample::select(&PIECES[..]),
    ) {
        // The file is ASCII, so that any cut is between characters.
        let to = (from + length).min(GOOD.len());
        let text = format!("{}{piece}{}", &GOOD[..from], &GOOD[to..]);
        if let Err(errors) = parse(&text, "f.yml") {
            prop_assert!(has_sound_places(&text, &errors), "{errors}");
        }
    }
}
