//! What is recorded for reports alone: how a run ended, its stakes, and runs that were refused.

use super::*;
use crate::ledger::event::{self, Event, Kind, LineHash, Origin, Settle};
use crate::ledger::{Answer, Balance};

fn line(kind: Kind) -> String {
    let event = Event { seq: 1, at: time("2026-11-23T10:00:00Z"), hold: id("a"), kind };
    event::encode(&event, &LineHash::genesis()).expect("short")
}

/// The line with its checksum made anew, as its own writer would have written it.
fn resealed(text: &str) -> Vec<u8> {
    let (object, _) = text.rsplit_once(",\"sum\":").expect("a sum");
    event::seal(format!("{object}}}")).into_bytes()
}

#[test]
fn lines_of_writers_that_record_less_or_more_are_read() {
    let of = Origin { reserved: time("2026-11-23T09:00:00Z"), purses: vec!["repo".to_owned()] };
    let settle = |outcome: Option<&str>| {
        let outcome = outcome.map(str::to_owned);
        Kind::Settle(Settle { spend: spend("0.5"), overrun: false, of: of.clone(), outcome })
    };
    let (with, without) = (line(settle(Some("capped"))), line(settle(None)));
    assert!(!without.contains("outcome"), "what is not known is not written");
    // An older writer's line is byte for byte what this one writes without the word.
    let stripped = with.replace(",\"outcome\":\"capped\"", "");
    assert_eq!(resealed(&stripped), without.as_bytes());
    assert_eq!(event::decode(without.as_bytes()).expect("read").event.kind, settle(None));
    // A newer writer's words and fields do no harm.
    let newer = with.replace("\"capped\"", "\"merged_into_another\",\"mood\":\"fine\"");
    let read = event::decode(&resealed(&newer)).expect("read").event.kind;
    assert_eq!(read, settle(Some("merged_into_another")));
}

#[test]
fn the_order_of_fields_is_free_and_each_is_there_once() {
    let usual = line(Kind::Void(event::Void {
        reason: "never started".to_owned(),
        of: Origin { reserved: time("2026-11-23T09:00:00Z"), purses: vec!["repo".to_owned()] },
    }));
    let expected = event::decode(usual.as_bytes()).expect("read");
    let name = ",\"t\":\"void\"";
    let last = usual.replace(name, "").replace(",\"sum\":", &format!("{name},\"sum\":"));
    assert_eq!(event::decode(&resealed(&last)).expect("read").event, expected.event);
    for (twice, said) in [
        ("\"seq\":1,\"seq\":2", "the event cannot be read: duplicate field `seq`"),
        ("\"v\":1,\"v\":1", "the line is not an event"),
    ] {
        let field = &twice[..twice.find(",").expect("two fields")];
        let error = event::decode(&resealed(&usual.replacen(field, twice, 1))).expect_err("there twice");
        assert!(error.to_string().starts_with(said), "{error}");
    }
    let unread =
        event::decode(&resealed(&usual.replace("\"reason\":\"never started\",", ""))).expect_err("a gap");
    assert_eq!(unread.to_string(), "the event cannot be read: missing field `reason` at line 1 column 60");
}

#[test]
fn a_run_without_stakes_on_record_is_read() {
    let about: About = serde_json::from_str(
        r#"{"task":"review","tier":"low","model":"m","actor":"a","pr":null,"workflow":null}"#,
    )
    .expect("an older writer's");
    assert_eq!(about.stakes, "");
    assert!(!serde_json::to_string(&about).expect("JSON").contains("stakes"));
}

#[test]
fn a_refusal_is_on_record_and_takes_nothing() {
    let folder = quick_folder();
    let hands = Hands::at("2026-11-23T10:00:00Z");
    let store = open(folder.path(), &hands);
    let budget = limit("repo", november(), "1", Enforce::Hard);
    let first = request("a", "0.75", std::slice::from_ref(&budget), hands.now());
    store.reserve(&first).expect("an answer");
    let before = store.balances(std::slice::from_ref(&budget)).expect("a balance");
    let second = request("b", "0.75", std::slice::from_ref(&budget), hands.now());
    let by = Balance { limit: budget.clone(), settled: usd("0"), held: usd("0.75") };
    store.refuse(&second, &by).expect("recorded");
    assert_eq!(store.balances(std::slice::from_ref(&budget)).expect("a balance"), before);
    assert_eq!(store.hold(&id("b")).expect("a ledger"), None, "it never was a hold");
    store.settle_as(&first.hold, &spend("0.5"), "completed").expect("settled");
    // The same key may still be granted, and is then found as the hold that it is.
    store.reserve(&Request { want: usd("0.5"), ..second.clone() }).expect("an answer");
    assert_eq!(store.holds().expect("a ledger").len(), 1);
    store.settle(&second.hold, &spend("0.25")).expect("settled");
    assert_eq!(store.hold(&id("b")).expect("a ledger").map(|hold| hold.spend.usd), Some(usd("0.25")));
    let verified = store.verify().expect("in order");
    assert_eq!((verified.holds, verified.events, verified.head), (2, 5, Ok(())));
    assert_eq!(verified.charged, usd("0.75"));
}

#[test]
fn what_a_subscription_paid_for_is_on_record_and_charged_to_nobody() {
    let folder = quick_folder();
    let hands = Hands::at("2026-11-23T10:00:00Z");
    let store = open(folder.path(), &hands);
    let budget = limit("repo", november(), "1", Enforce::Hard);
    let limits = std::slice::from_ref(&budget);
    store.reserve(&request("paid", "0.75", limits, hands.now())).expect("an answer");
    // No dollar is left for another hold, and a run that spends none needs none.
    let free = Request {
        want: usd("0"),
        least: usd("0"),
        limits: Vec::new(),
        ..request("free", "1", &[], hands.now())
    };
    let Answer::Granted { cap, cut_by } = store.reserve(&free).expect("an answer") else { panic!("refused") };
    assert_eq!((cap, cut_by), (usd("0"), None));
    let before = store.balances(limits).expect("a balance");
    assert_eq!((before[0].settled, before[0].held), (usd("0"), usd("0.75")));
    let notional = Spend { notional: usd("3.25"), ..Spend::default() };
    let settled = store.settle_as(&free.hold, &notional, "completed").expect("settled");
    assert!(!settled.overrun, "it is above no hold");
    assert_eq!(store.balances(limits).expect("a balance"), before);
    assert_eq!(store.hold(&free.hold).expect("a ledger").map(|hold| hold.spend), Some(notional));
    // One that dies is charged what it held: nothing.
    let dead = Request { hold: id("dead"), ..free.clone() };
    store.reserve(&dead).expect("an answer");
    assert_eq!(store.expire(&dead.hold, None).expect("expired").spend, Spend::default());
    let verified = store.verify().expect("in order");
    assert_eq!((verified.head, verified.charged), (Ok(()), usd("0")));
    // A hold of nothing with limits would count as a run that they have let start.
    let wrong = Request { limits: limits.to_vec(), hold: id("wrong"), ..free };
    assert_eq!(
        store.reserve(&wrong).expect_err("nonsense").to_string(),
        "the ledger was asked for something that makes no sense: its cap must be above zero, but for a run \
         without limits that spends no dollars"
    );
}

#[test]
fn notional_spend_is_read_by_old_readers_and_missing_in_old_lines() {
    let of = Origin { reserved: time("2026-11-23T09:00:00Z"), purses: vec!["repo".to_owned()] };
    let settle = |spend| Kind::Settle(Settle { spend, overrun: false, of: of.clone(), outcome: None });
    let old = line(settle(Spend::default()));
    assert!(!old.contains("notional"), "what is nothing is not written: {old}");
    let new = line(settle(Spend { notional: usd("1.5"), ..Spend::default() }));
    // An older reader passes the field over, and sees a run that was charged nothing.
    let passed_over = new.replace(",\"notional\":\"1.5\"", "");
    assert_eq!(resealed(&passed_over), old.as_bytes());
    let read = event::decode(new.as_bytes()).expect("read").event.kind;
    assert_eq!(read, settle(Spend { notional: usd("1.5"), ..Spend::default() }));
    assert_eq!(event::decode(old.as_bytes()).expect("read").event.kind, settle(Spend::default()));
}
