//! `tollgate prices`, from its arguments to its lines.

use tollgate::commands::prices::{Action, Format, ListArgs, ShowArgs, look};
use tollgate::price::Table;

fn said(action: Action) -> Result<(String, String), String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let today = jiff::civil::Date::constant(2026, 11, 23);
    look(&action, Table::embedded(), today, &mut out, &mut err).map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ok((text(out), text(err)))
}

fn show(model: &str, on: &str, format: Format) -> Result<(String, String), String> {
    let on = Some(on.parse().expect("a date"));
    said(Action::Show(ShowArgs { model: model.to_owned(), on, format }))
}

#[test]
fn a_list_has_every_model_and_the_prices_of_the_day() {
    let list = |on: &str| {
        let on = Some(on.parse().expect("a date"));
        said(Action::List(ListArgs { on, format: Format::Text })).expect("a list").0
    };
    let (before, after) = (list("2026-12-31"), list("2027-01-01"));
    assert_eq!(before.lines().count(), 107, "a head, and a line a model");
    let line =
        |text: &str| text.lines().find(|line| line.starts_with("gemini-3.8-flash ")).map(str::to_owned);
    assert_eq!(
        line(&before).as_deref(),
        Some("gemini-3.8-flash                   0.75      0.075       3.75")
    );
    assert_eq!(
        line(&after).as_deref(),
        Some("gemini-3.8-flash                    1.5       0.15        7.5")
    );
}

#[test]
fn one_model_is_shown_with_its_tiers_bands_and_sources() {
    let (text, err) = show("gpt-5.5-2026-04-23", "2026-11-23", Format::Text).expect("a model");
    assert!(err.starts_with("prices as of 2026-11-23"), "{err}");
    assert!(
        text.starts_with("gpt-5.5 on 2026-11-23\nstandard\n  input                         5\n"),
        "{text}"
    );
    assert!(
        text.contains("standard, prompts above 272000 tokens\n  input                        10\n"),
        "{text}"
    );
    assert!(text.contains("priority\n  input                      12.5\n"), "{text}");
    assert!(!text.contains("priority, prompts above"), "it has no such price: {text}");
    assert!(text.contains("\nsource: litellm 1.109.1"), "{text}");
    let (json, _) = show("claude-sonnet-5-5", "2026-10-06", Format::Json).expect("a model");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["prices"][0]["rates"]["cache_read"], "0.2");
    let error = show("gpt-99", "2026-11-23", Format::Text).expect_err("unknown");
    assert_eq!(
        error,
        "the price table has no model `gpt-99`\n\nhint: `tollgate prices list` names those it has"
    );
}
