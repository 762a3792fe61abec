//! Plans on values: the judgement of descriptions, the arithmetic, and the history.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::budget;
use crate::id::HoldId;
use crate::ledger::event::{Event, Kind, Origin, Reserve, Settle};
use crate::ledger::{About, ModelSpend, Spend};
use crate::task::{Stakes, Task};

pub(super) const SIX: [&str; 6] = [
    "add an endpoint for invoices",
    "review for logic errors",
    "write doc comments",
    "format the code",
    "generate tests for the parser",
    "decide the storage architecture",
];

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

fn planned(descriptions: &[&str], history: &History, balances: &[Balance]) -> Plan {
    let budget = budget::parse("version: 1\n", "tollgate.yml").expect("a budget file");
    let descriptions: Vec<String> = descriptions.iter().map(|text| (*text).to_owned()).collect();
    let setting = Setting {
        budget: &budget,
        table: Table::embedded(),
        history,
        balances,
        now: now(),
        parallel: 5,
        runs_per_day: None,
    };
    plan(&descriptions, &setting).expect("a plan")
}

#[test]
fn six_descriptions_and_their_tiers() {
    let plan = planned(&SIX, &History::default(), &[]);
    let routed: Vec<(Task, Stakes, Tier)> =
        plan.items.iter().map(|item| (item.judged.task, item.judged.stakes, item.tier)).collect();
    assert_eq!(
        routed,
        [
            (Task::Implementation, Stakes::High, Tier::High),
            (Task::Review, Stakes::Medium, Tier::Medium),
            (Task::Docs, Stakes::Low, Tier::Low),
            (Task::Implementation, Stakes::Low, Tier::Low),
            (Task::Implementation, Stakes::Medium, Tier::Medium),
            (plan.items[5].judged.task, Stakes::High, Tier::High),
        ],
        "{:#?}",
        plan.items.iter().map(|item| &item.judged).collect::<Vec<_>>()
    );
    for item in &plan.items {
        assert!(!item.stopped, "the estimate of `{}` fits its cap", item.description);
        assert!(item.expected > Usd::ZERO && item.expected < item.cap, "{item:?}");
        assert!(item.judged.why_stakes.len() > 10, "{item:?}");
    }
}

#[test]
fn words_that_name_danger_raise_the_stakes() {
    for (description, stakes) in [
        ("fix the login in `src/auth/session.rs`", Stakes::High),
        ("fix the overflow in src/parser.rs", Stakes::Medium),
        ("rename the helper", Stakes::Medium),
        ("choose between two caches: design the approach", Stakes::High),
        ("fix the typos in the readme", Stakes::Low),
    ] {
        let judged = words::judge(description, &[]);
        assert_eq!(judged.stakes, stakes, "{description}: {judged:?}");
    }
}

#[test]
fn the_rules_are_a_budget_file() {
    let plan = planned(&SIX, &History::default(), &[]);
    let budget = budget::parse(&plan.rules(), "rules.yml").expect("valid");
    assert_eq!(budget.rules.len(), 6);
    assert_eq!(budget.rules[4].label.as_deref(), Some("agent:generate-tests-parser"));
    assert_eq!(budget.rules[4].stakes, Some(Stakes::Medium));
    let odd = planned(&["\"quotes\": and\nlines }", "日本語", &"long ".repeat(99)], &History::default(), &[]);
    let budget = budget::parse(&odd.rules(), "rules.yml").expect("valid whatever the words");
    assert_eq!(budget.rules.len(), 3);
}

#[test]
fn room_is_what_is_left_over_the_caps() {
    let limits = limits::standing(&budget::parse("version: 1\n", "f").expect("a file"), now());
    let month = limits.iter().find(|standing| standing.limit.per == "month").expect("a budget").limit.clone();
    let balance = Balance { limit: month, settled: usd("184"), held: usd("3") };
    let plan = planned(&SIX[..1], &History::default(), &[balance]);
    let item = &plan.items[0];
    assert_eq!((item.cap, item.worst_of(5)), (usd("4"), usd("20")));
    let rooms: Vec<_> =
        item.rooms.iter().map(|room| (room.name.as_str(), room.left, room.known, room.start)).collect();
    assert_eq!(
        rooms,
        [
            ("monthly repo budget", usd("13"), true, 3),
            ("daily budget of one workflow", usd("25"), false, 5),
            ("total budget of each pull request", usd("5"), false, 1),
        ]
    );
    assert_eq!(item.start_at_once(5), 3);
}

fn past(history: &mut History, number: u32, amount: Usd, fresh: u64) {
    let hold = HoldId::from_text(&number.to_string());
    let at = now() - SignedDuration::from_hours(24 * 20) + SignedDuration::from_hours(i64::from(number));
    let about = About { task: "review".into(), tier: "medium".into(), ..About::default() };
    let of = Origin { reserved: at, purses: vec!["repo".to_owned()] };
    let reserve = Reserve {
        want: usd("1"),
        least: usd("0"),
        cap: usd("1"),
        cut_by: None,
        expires: at,
        claim: String::new(),
        purses: of.purses.clone(),
        limits: Vec::new(),
        about,
        lift: None,
    };
    let tokens = Counts { input: fresh, ..Counts::default() };
    let models =
        vec![ModelSpend { model: "m".into(), usd: amount, requests: 1, tokens, notional: Usd::ZERO }];
    let spend = Spend { usd: amount, models, ..Spend::default() };
    let outcome = (number == 3).then(|| "capped".to_owned());
    for kind in [Kind::Reserve(reserve), Kind::Settle(Settle { spend, overrun: false, of, outcome })] {
        history.take(&Event { seq: 1, at, hold: hold.clone(), kind }, now());
    }
}

#[test]
fn a_history_of_ten_runs_takes_the_place_of_the_estimate() {
    let mut history = History::default();
    for number in 1..=9 {
        past(
            &mut history,
            number,
            Usd::from_pico(i128::from(number) * 10_000_000_000),
            10_000 * u64::from(number),
        );
    }
    let plan = planned(&SIX[1..2], &history, &[]);
    assert!(matches!(plan.items[0].basis, Basis::Estimate { runs: 9, .. }), "{:?}", plan.items[0].basis);
    past(&mut history, 10, usd("0.1"), 100_000);
    let plan = planned(&SIX[1..2], &history, &[]);
    let expected = Percentiles {
        runs: 10,
        capped: 1,
        mean: usd("0.055"),
        usd_p50: usd("0.05"),
        usd_p90: usd("0.09"),
        fresh_p50: 50_000,
        fresh_p90: 90_000,
    };
    let item = &plan.items[0];
    assert_eq!(item.basis, Basis::History(expected));
    assert_eq!(item.expected, usd("0.055"));
    assert_eq!(item.token_budget, 120_000, "a quarter more than nine of ten used, in steps of 10,000");
    assert_eq!(item.per_day, (PerDay { runs: 10, days: 19 }, RateFrom::History));
    assert_eq!(item.month().0, Usd::from_pico(usd("0.055").pico() * 300 / 19));
}
