//! What the ledger decides, one line an operation.

use super::*;
use crate::ledger::audit::Audit;
use crate::ledger::book::{Book, Discord};
use crate::ledger::commit::{self, Head};
use crate::ledger::decide::{self, Refusal};
use crate::ledger::event::Kind;
use crate::ledger::event::{self, LineError};
use crate::ledger::hold::Hold;
use crate::ledger::{Answer, Balance, Lift};

const NOON: &str = "2026-11-23T12:00:00Z";

/// What a hold of $1 comes to where each limit has that much settled and held.
fn decided(want: &str, limits: &[(&str, Enforce, &str, &str, &str)]) -> Answer {
    let limits: Vec<(Limit, Usd, Usd)> = limits
        .iter()
        .map(|(purse, enforce, most, settled, held)| {
            (limit(purse, november(), most, *enforce), usd(settled), usd(held))
        })
        .collect();
    let only: Vec<Limit> = limits.iter().map(|(limit, _, _)| limit.clone()).collect();
    let balances: Vec<Balance> =
        limits.into_iter().map(|(limit, settled, held)| Balance { limit, settled, held }).collect();
    let request = request("a", want, &only, time(NOON));
    let decision = decide::reserve(&Book::default(), &request, &balances, time(NOON)).expect("a decision");
    let granted = matches!(decision.answer, Answer::Granted { .. });
    assert_eq!(decision.draft.is_some(), granted, "an event exactly for what is granted");
    decision.answer
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Granted { cap, cut_by: None } => format!("granted {cap}"),
        Answer::Granted { cap, cut_by: Some(by) } => format!("granted {cap}, cut by {}", by.limit.purse),
        Answer::Refused { by } => format!("refused by {}", by.limit.purse),
    }
}

#[test]
fn limits_cut_refuse_or_count() {
    use Enforce::{Count, Hard, Soft};
    for (limits, expected) in [
        (&[][..], "granted 1"),
        (&[("repo", Hard, "5", "1", "2")], "granted 1"),
        (&[("repo", Hard, "5", "2", "2")], "granted 1"),
        (&[("repo", Hard, "5", "2", "2.5")], "granted 0.5, cut by repo"),
        (&[("repo", Hard, "5", "2", "2.98")], "granted 0.02, cut by repo"),
        (&[("repo", Hard, "5", "2", "2.99")], "refused by repo"),
        (&[("repo", Hard, "5", "5", "0")], "refused by repo"),
        (&[("repo", Hard, "5", "7", "0")], "refused by repo"),
        (&[("repo", Hard, "0", "0", "0")], "refused by repo"),
        (&[("repo", Soft, "5", "4.99", "9")], "granted 1"),
        (&[("repo", Soft, "5", "5", "0")], "refused by repo"),
        (&[("repo", Count, "5", "50", "50")], "granted 1"),
        (&[("repo", Hard, "5", "4.5", "0"), ("pr:1", Hard, "1", "0.7", "0")], "granted 0.3, cut by pr:1"),
        (&[("repo", Hard, "5", "4.5", "0"), ("pr:1", Hard, "1", "1", "0")], "refused by pr:1"),
        (&[("repo", Soft, "5", "5", "0"), ("pr:1", Hard, "1", "0", "0")], "refused by repo"),
        (&[("repo", Soft, "5", "4", "0"), ("pr:1", Hard, "1", "0.5", "0")], "granted 0.5, cut by pr:1"),
    ] {
        assert_eq!(words(&decided("1", limits)), expected, "{limits:?}");
    }
}

#[test]
fn nothing_left_is_refused_even_where_nothing_is_enough() {
    let limits = [limit("repo", november(), "5", Enforce::Hard)];
    let request = Request { least: Usd::ZERO, ..request("a", "1", &limits, time(NOON)) };
    let balance = Balance { limit: limits[0].clone(), settled: usd("5"), held: Usd::ZERO };
    let decision = decide::reserve(&Book::default(), &request, &[balance], time(NOON)).expect("a decision");
    assert_eq!(words(&decision.answer), "refused by repo");
}

fn refusal(change: impl FnOnce(&mut Request)) -> String {
    let limits = [limit("repo", november(), "5", Enforce::Hard)];
    let mut request = request("a", "1", &limits, time(NOON));
    change(&mut request);
    let balances: Vec<Balance> = request
        .limits
        .iter()
        .map(|limit| Balance { limit: limit.clone(), settled: Usd::ZERO, held: Usd::ZERO })
        .collect();
    decide::reserve(&Book::default(), &request, &balances, time(NOON)).expect_err("a refusal").to_string()
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let nonsense = "the ledger was asked for something that makes no sense:";
    for (change, expected) in [
        (
            Box::new(|r: &mut Request| r.want = Usd::ZERO) as Box<dyn FnOnce(&mut Request)>,
            format!(
                "{nonsense} its cap must be above zero, but for a run without limits that spends no dollars"
            ),
        ),
        (
            Box::new(|r| r.claim = String::new()),
            format!("{nonsense} its key or its claim is empty or too long"),
        ),
        (
            Box::new(|r| r.purses = vec!["pr:1".to_owned()]),
            format!("{nonsense} `repo` has a limit, and is none of its purses"),
        ),
        (Box::new(|r| r.purses.push("repo".to_owned())), format!("{nonsense} it names a purse twice")),
        (
            Box::new(|r| r.expires = time(NOON)),
            "hold `a` was to expire at 2026-11-23T12:00:00Z, and the ledger's clock says \
             2026-11-23T12:00:00Z\n\nhint: start the run again; if it happens again, set this machine's clock"
                .to_owned(),
        ),
        (
            Box::new(|r| r.limits[0].window.end = Some(time(NOON))),
            "the ledger's clock says 2026-11-23T12:00:00Z, which is outside the month window of `repo` that \
             this run was started in\n\nhint: start the run again; if it happens again, set this machine's \
             clock"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(change), expected);
    }
}

/// A head with hold `a` of $1 of $5 live.
fn with_one_hold() -> (Head, Request) {
    let limits = [limit("repo", november(), "5", Enforce::Hard)];
    let request = request("a", "1", &limits, time(NOON));
    let balance = Balance { limit: limits[0].clone(), settled: Usd::ZERO, held: Usd::ZERO };
    let decision = decide::reserve(&Book::default(), &request, &[balance], time(NOON)).expect("a decision");
    let drafts = decision.draft.into_iter().collect();
    (commit::build(&Head::default(), drafts, time(NOON)).expect("a commit").head, request)
}

#[test]
fn the_same_key_gets_the_same_answer_or_an_error() {
    let (head, request) = with_one_hold();
    let ask = |request: &Request| decide::reserve(&head.book, request, &[], time(NOON));
    let again = ask(&request).expect("the same answer");
    assert_eq!(words(&again.answer), "granted 1");
    assert_eq!(again.draft, None, "and no second hold");

    let other = Request { want: usd("2"), ..request.clone() };
    assert_eq!(
        ask(&other).expect_err("an error").to_string(),
        "hold `a` was granted before on other terms: the cap differs\n\nhint: a run that asks for something \
         else needs a key of its own"
    );
    let second = Request { claim: "another process".to_owned(), ..request.clone() };
    assert_eq!(
        ask(&second).expect_err("an error").to_string(),
        "hold `a` is in use by another process since 2026-11-23T12:00:00Z\n\nhint: wait for that run to end; \
         if it was killed, `tollgate ledger void` gives its hold up, and its expiry charges it"
    );
}

/// A step of a hold, in words.
fn step(hold: &Hold, what: &str) -> Result<Option<decide::Draft>, Refusal> {
    let bound = |amount: &str| Spend { estimated: usd(amount), ..spend(amount) };
    match what.split_once(' ') {
        Some(("settle", amount)) => decide::settle(hold, &spend(amount)),
        Some(("expire", amount)) => decide::expire(hold, Some(&spend(amount))),
        Some(("adjust", amount)) => decide::adjust(hold, &spend(amount), "an invoice"),
        Some(("bound", amount)) => decide::adjust(hold, &bound(amount), "a bill"),
        Some(_) => unreachable!("no such step: {what}"),
        None if what == "void" => decide::void(hold, "by hand"),
        None => decide::expire(hold, None),
    }
}

#[test]
fn a_hold_closes_once_and_is_adjusted_after() {
    let (head, request) = with_one_hold();
    let mut held = head.book.live_hold(&request.hold).cloned().expect("the hold");
    held.id = id("h");
    let take = |hold: &mut Hold, what: &str| match step(hold, what) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(draft)) => {
            hold.step(&draft.kind).expect("a decided step");
            draft.kind.as_str().to_owned()
        }
        Err(refusal) => refusal.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    // (first step, second step, what the second comes to, what is charged in the end)
    for (first, second, expected, charged) in [
        ("settle 0.4", "settle 0.4", "nothing", "0.4"),
        (
            "settle 0.4",
            "settle 0.5",
            "hold `h` is settled at $0.4, and cannot be settled again at $0.5",
            "0.4",
        ),
        ("settle 0.4", "void", "hold `h` is settled, and cannot be voided", "0.4"),
        ("settle 0.4", "expire", "hold `h` is settled, and cannot be expired", "0.4"),
        ("settle 0.4", "adjust 0.3", "adjust", "0.3"),
        ("settle 1.4", "adjust 1.2", "adjust", "1.2"),
        ("expire", "settle 0.4", "adjust", "0.4"),
        ("expire", "expire", "nothing", "1"),
        ("expire", "void", "hold `h` is expired, and cannot be voided", "1"),
        ("expire 0.2", "settle 0.2", "nothing", "0.2"),
        ("void", "void", "nothing", "0"),
        ("void", "settle 0.4", "adjust", "0.4"),
        ("void", "expire", "hold `h` is voided, and cannot be expired", "0"),
        ("adjust 0.4", "settle 0.4", "settle", "0.4"),
    ] {
        let mut hold = held.clone();
        take(&mut hold, first);
        assert_eq!(take(&mut hold, second), expected, "{first}, {second}");
        assert_eq!(hold.spend.usd, usd(charged), "{first}, {second}");
    }
}

#[test]
fn late_evidence_counts_once() {
    let (head, request) = with_one_hold();
    let mut hold = head.book.live_hold(&request.hold).cloned().expect("the hold");
    let expired = decide::expire(&hold, None).expect("a step").expect("an event");
    hold.step(&expired.kind).expect("a step");
    let late = decide::settle(&hold, &spend("0.4")).expect("a step").expect("an event");
    hold.step(&late.kind).expect("a step");
    assert!(matches!(decide::settle(&hold, &spend("0.5")), Err(Refusal::SettledOtherwise { .. })));
}

#[test]
fn late_evidence_counts_over_a_bound_and_not_over_a_persons_word() {
    let refused = "settled otherwise";
    for (steps, charged) in [
        (&["expire", "bound 0.5", "settle 0.4"][..], "0.4"),
        (&["expire", "bound 0.5", "settle 0.7"], "0.7"),
        (&["expire", "bound 0.5", "settle 0.5"], "0.5"),
        (&["expire", "bound 0.5", "bound 0.3", "settle 0.4"], "0.4"),
        (&["expire", "bound 0.5", "settle 0.4", "settle 0.4"], "0.4"),
        (&["expire", "bound 0.5", "settle 0.4", "settle 0.3"], refused),
        (&["expire", "bound 0.5", "adjust 0.3", "settle 0.4"], refused),
        (&["expire", "adjust 0.5", "settle 0.4"], refused),
        (&["expire", "adjust 0", "settle 0.4"], refused),
        (&["void", "bound 0.5", "settle 0.4"], refused),
        (&["settle 0.6", "bound 0.5", "settle 0.4"], refused),
    ] {
        let (head, request) = with_one_hold();
        let mut hold = head.book.live_hold(&request.hold).cloned().expect("the hold");
        let mut last = Ok(None);
        for what in steps {
            last = step(&hold, what);
            if let Ok(Some(draft)) = &last {
                hold.step(&draft.kind).expect("a decided step");
            }
        }
        match last {
            Ok(_) => assert_eq!((hold.spend, charged), (spend(charged), charged), "{steps:?}"),
            Err(Refusal::SettledOtherwise { .. }) => assert_eq!(refused, charged, "{steps:?}"),
            Err(other) => panic!("{steps:?}: {other}"),
        }
    }
}

#[test]
fn what_an_older_tollgate_must_not_guess_at_stops_it() {
    let (head, request) = with_one_hold();
    let hold = head.book.live_hold(&request.hold).expect("the hold");
    let draft = decide::void(hold, "by hand").expect("a step").expect("an event");
    let line = commit::build(&head, vec![draft], time(NOON)).expect("a commit").lines.remove(0).1;
    let reseal = |line: String| {
        event::seal(line[..line.len() - r#","sum":"0123456789abcdef"}"#.len()].to_owned() + "}")
    };
    for (from, to, expected) in [
        ("\"v\":1", "\"v\":2", "the event has format version 2, and this tollgate reads version 1 only"),
        (
            "\"t\":\"void\"",
            "\"t\":\"split\"",
            "the event has the type `split`, which this tollgate does not know",
        ),
    ] {
        let newer = reseal(line.replace(from, to));
        let error = event::decode(newer.as_bytes()).expect_err("an error");
        assert_eq!(error.to_string(), expected);
        assert!(error.is_newer());
    }
    // A field that a newer tollgate adds is passed over, and is part of what the next line vouches for.
    let added = reseal(line.replace("\"reason\":", "\"mood\":\"good\",\"reason\":"));
    let read = event::decode(added.as_bytes()).expect("an event");
    assert_eq!(read.event, event::decode(line.as_bytes()).expect("an event").event);
    assert_ne!(read.hash, event::decode(line.as_bytes()).expect("an event").hash);
    assert_eq!(event::decode(&[b' '; event::LINE_BYTES_MAX + 1]), Err(LineError::TooLong));
}

/// The lines of some drafts that nobody has decided.
fn undecided(head: &Head, drafts: Vec<decide::Draft>) -> Result<Vec<event::Line>, commit::CommitError> {
    let lines = commit::build(head, drafts, time(NOON))?.lines;
    Ok(lines.iter().map(|(_, line)| event::decode(line.as_bytes()).expect("an event")).collect())
}

#[test]
fn an_audit_trusts_no_decision() {
    let (head, request) = with_one_hold();
    let terms = head.book.live_hold(&request.hold).expect("the hold").terms.clone();
    let reserve = |hold: &str| decide::Draft { hold: id(hold), kind: event::Kind::Reserve(terms.clone()) };
    // Six holds of $1 under a limit of $5.
    let lines =
        undecided(&Head::default(), ["a", "b", "c", "d", "e", "f"].map(reserve).into()).expect("lines");
    let mut audit = Audit::default();
    for line in &lines[..5] {
        audit.apply(line).expect("within the limit");
    }
    let error = audit.apply(&lines[5]).expect_err("over the limit");
    assert_eq!(error.to_string(), "hold `f` was granted 1 where its month limit on `repo` had 0 left");
}

#[test]
fn a_close_must_come_from_its_own_reserve() {
    let (head, request) = with_one_hold();
    let mut hold = head.book.live_hold(&request.hold).cloned().expect("the hold");
    hold.terms.purses = vec!["somebody else".to_owned()];
    let draft = decide::settle(&hold, &spend("0.5")).expect("a step").expect("an event");
    let error = undecided(&head, vec![draft]).expect_err("another origin").to_string();
    assert_eq!(
        error,
        "the ledger's own decision contradicts its book: hold `a` is said to come from another reserve than \
         it does"
    );
}

#[test]
fn a_book_takes_the_next_line_only() {
    let (head, request) = with_one_hold();
    let hold = head.book.live_hold(&request.hold).expect("the hold");
    let draft = decide::void(hold, "by hand").expect("a step").expect("an event");
    let line = commit::build(&head, vec![draft], time(NOON)).expect("a commit").lines.remove(0).1;
    let line = event::decode(line.as_bytes()).expect("an event");
    assert!(line.event.at > time(NOON), "a second event in the same instant is later");

    let broken = |change: &dyn Fn(&mut event::Line)| {
        let mut changed = line.clone();
        change(&mut changed);
        let mut book = head.book.clone();
        let error = book.apply(&changed).expect_err("an error");
        assert_eq!(book, head.book, "a book that refuses a line is unchanged");
        error
    };
    assert_eq!(broken(&|l| l.event.seq = 3), Discord::Sequence { expected: 2, found: 3 });
    assert_eq!(broken(&|l| l.prev = event::LineHash::genesis()), Discord::Chain);
    let before = time(NOON);
    assert_eq!(broken(&|l| l.event.at = before), Discord::Time { before, found: before });
    assert!(matches!(broken(&|l| l.event.hold = id("b")), Discord::Hold { .. }));
}

/// A hold of $3 on a budget of $2 that an override of $10 has raised.
fn lifted(now: Timestamp) -> Request {
    let limits = [limit("repo", november(), "12", Enforce::Hard)];
    let lift = Lift {
        usd: usd("10"),
        label: "more".to_owned(),
        by: "kim".to_owned(),
        set: time("2026-11-23T00:00:00Z"),
        expires: time("2026-11-24T00:00:00Z"),
    };
    Request { lift: Some(lift), ..request("a", "3", &limits, now) }
}

fn granted(request: &Request, at: Timestamp) -> Result<Option<decide::Draft>, Refusal> {
    let balances: Vec<Balance> = request
        .limits
        .iter()
        .map(|limit| Balance { limit: limit.clone(), settled: usd("2"), held: Usd::ZERO })
        .collect();
    decide::reserve(&Book::default(), request, &balances, at).map(|decision| decision.draft)
}

#[test]
fn an_override_is_in_the_hold_and_is_checked_with_it() {
    let noon = time(NOON);
    let request = lifted(noon);
    let draft = granted(&request, noon).expect("a decision").expect("granted");
    let Kind::Reserve(terms) = &draft.kind else { panic!("{draft:?}") };
    assert_eq!((terms.cap, terms.lift.as_deref()), (usd("3"), request.lift.as_ref()));
    let line =
        commit::build(&Head::default(), vec![draft.clone()], noon).expect("a commit").lines.remove(0).1;
    let read = event::decode(line.as_bytes()).expect("a line");
    assert!(Audit::default().apply(&read).is_ok());
    // The grant is not one that the override covers: after its end, or on limits it cannot have raised.
    for (expires, most) in [("2026-11-23T11:00:00Z", "12"), ("2026-11-24T00:00:00Z", "9")] {
        let mut terms = terms.clone();
        terms.lift.as_mut().expect("it has one").expires = time(expires);
        terms.limits[0].usd = usd(most);
        let draft = decide::Draft { kind: Kind::Reserve(terms), ..draft.clone() };
        let line = commit::build(&Head::default(), vec![draft], noon).expect("a commit").lines.remove(0).1;
        let read = event::decode(line.as_bytes()).expect("a line");
        let found = Audit::default().apply(&read);
        assert!(matches!(&found, Err(Discord::Hold { .. })), "{found:?}");
    }
}

#[test]
fn an_override_that_is_over_grants_nothing() {
    let late = time("2026-11-24T00:00:00Z");
    let refusal = granted(&lifted(late), late).expect_err("it is over");
    assert_eq!(
        refusal.to_string(),
        "the ledger was asked for something that makes no sense: hold `a` counts on the override `more`, which was over at 2026-11-24T00:00:00Z"
    );
}

#[test]
fn a_line_without_an_override_is_as_it_was_before_there_were_any() {
    let noon = time(NOON);
    let plain = Request { lift: None, ..lifted(noon) };
    let draft = granted(&plain, noon).expect("a decision").expect("granted");
    let line = commit::build(&Head::default(), vec![draft], noon).expect("a commit").lines.remove(0).1;
    assert!(!line.contains("lift") && !line.contains("\"budget\""), "{line}");
}
