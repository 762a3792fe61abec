//! Where work goes while money is there, when it runs short, and after an attempt has failed.

use super::*;
use crate::budget::parse;
use crate::classify::ChangeKind;
use crate::ledger::{Limit, Window};
use crate::task::{Stakes, Task};

fn budget(more: &str) -> Budget {
    parse(&format!("version: 1\n{more}"), "f.yml").expect("it is valid")
}

fn class(stakes: Stakes) -> Class {
    let (task, change_kind) = (Task::Implementation, ChangeKind::Implementation);
    Class { task, change_kind, stakes, confidence: 90, reasons: Vec::new() }
}

fn left(cents: i128, enforce: Enforce) -> Balance {
    let usd = Usd::from_dollars(100);
    let window = Window { start: jiff::Timestamp::UNIX_EPOCH, end: None };
    let limit = Limit { purse: "repo".into(), per: "month".into(), window, usd, enforce };
    Balance { limit, settled: usd - Usd::from_pico(cents * 10_000_000_000), held: Usd::ZERO }
}

fn said(routed: Option<Routed>) -> String {
    match routed {
        Some(Routed::Run(route)) => format!("{}: {}", route.tier, route.reason),
        Some(Routed::Refused { by, .. }) => format!("refused with {} left", by.left().shown()),
        None => "not at all".to_owned(),
    }
}

#[test]
fn little_left_takes_a_cheaper_tier_that_saves_enough_and_says_how_much() {
    let high = "implementation at high stakes runs at the high tier";
    let same = "tiers: { medium: { model: claude-opus-5-5 } }\n";
    for (file, cents, expected) in [
        ("", 1_000, format!("high: {high}")),
        (
            "",
            100,
            format!(
                "medium: {high}, whose cap is $4.00; only $1.00 is left of the monthly repo budget, so it runs at the medium tier, where the same tokens cost 50 % less"
            ),
        ),
        (
            "",
            50,
            format!(
                "low: {high}, whose cap is $4.00; only $0.50 is left of the monthly repo budget, so it runs at the low tier, where the same tokens cost 97 % less"
            ),
        ),
        (
            "",
            5,
            format!(
                "low: {high}, whose cap is $4.00; only $0.05 is left of the monthly repo budget, so it runs at the low tier with its cap cut to that, where the same tokens cost 97 % less"
            ),
        ),
        ("", 1, "refused with $0.01 left".to_owned()),
        // The medium tier has the same model: going there saves nothing, so it is passed over.
        (
            same,
            100,
            format!(
                "low: {high}, whose cap is $4.00; only $1.00 is left of the monthly repo budget, so it runs at the low tier, where the same tokens cost 97 % less"
            ),
        ),
        (
            "on: { downgrade_saves: 60 }\n",
            100,
            format!(
                "low: {high}, whose cap is $4.00; only $1.00 is left of the monthly repo budget, so it runs at the low tier, where the same tokens cost 97 % less"
            ),
        ),
        (
            "on: { downgrade_saves: 98 }\n",
            100,
            format!(
                "high: {high}, whose cap is $4.00; only $1.00 is left of the monthly repo budget, and no cheaper tier saves enough, so the cap is cut to that"
            ),
        ),
        (
            "on: { downgrade_saves: off }\ntiers: { medium: { model: claude-opus-5-5 } }\n",
            100,
            format!(
                "medium: {high}, whose cap is $4.00; only $1.00 is left of the monthly repo budget, so it runs at the medium tier, where the same tokens cost 0 % less"
            ),
        ),
    ] {
        let routed =
            route(&class(Stakes::High), &budget(file), Table::embedded(), &[left(cents, Enforce::Hard)]);
        assert_eq!(said(Some(routed)), expected, "{file} {cents}");
    }
}

#[test]
fn a_model_without_a_price_is_gone_to_as_before() {
    let file = budget("tiers: { medium: { model: our-own } }\non: { unknown_model: ceiling }\n");
    let routed = route(&class(Stakes::High), &file, Table::embedded(), &[left(100, Enforce::Hard)]);
    assert_eq!(
        said(Some(routed)),
        "medium: implementation at high stakes runs at the high tier, whose cap is $4.00; only $1.00 is left of the monthly repo budget, so it runs at the medium tier"
    );
}

#[test]
fn a_failed_attempt_goes_up_one_tier_while_the_budgets_allow() {
    let file = budget("retry: { tier: up }\n");
    let retry = file.retry.expect("a policy");
    let at_tier = |tier| at(&file, tier, tier, String::new());
    let up = "medium: an attempt at the low tier failed, so it is tried again at the medium tier";
    for (tier, balances, expected) in [
        (Tier::Low, vec![], up),
        (Tier::Low, vec![left(1_000, Enforce::Hard)], up),
        // The ledger cuts the cap to what is left.
        (Tier::Low, vec![left(10, Enforce::Hard)], up),
        (Tier::Low, vec![left(1, Enforce::Hard)], "refused with $0.01 left"),
        (Tier::Low, vec![left(0, Enforce::Soft)], "refused with $0.00 left"),
        (Tier::Low, vec![left(0, Enforce::Count)], up),
        (Tier::High, vec![], "not at all"),
    ] {
        assert_eq!(said(again(&at_tier(tier), retry, &file, &balances)), expected, "{tier}");
    }
    let same = Retry { tier: RetryTier::Same, at_most: 1 };
    assert_eq!(
        said(again(&at_tier(Tier::High), same, &file, &[])),
        "high: an attempt at the high tier failed, so it is tried again at the high tier"
    );
}

#[test]
fn effort_and_thinking_go_with_the_tier() {
    let file = budget("tiers: { high: { effort: xhigh, thinking: 16_000 }, low: { thinking: off } }\n");
    let of = |tier| {
        let route = at(&file, tier, tier, String::new());
        (route.effort, route.thinking)
    };
    assert_eq!(of(Tier::High), (Some(Effort::XHigh), Some(16_000)));
    assert_eq!(of(Tier::Medium), (None, None));
    assert_eq!(of(Tier::Low), (None, Some(0)));
}
