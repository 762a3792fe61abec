//! Holds against windows of time zones: days of 23 and 25 hours, months in which the clocks change, dates that
//! are skipped. A hold counts in the window it was reserved in, whenever it is settled.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tollgate::budget::Period;
use tollgate::id::HoldId;
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{Balance, Enforce, Limit, Window};

use crate::ledger::{cents, request, spend};

fn limit(period: Period, at: Timestamp, zone: &TimeZone) -> Limit {
    let (start, end) = period.window(at, zone);
    let window = Window { start, end };
    Limit {
        purse: "repo".into(),
        per: format!("{period:?}"),
        window,
        usd: cents(100),
        enforce: Enforce::Hard,
    }
}

#[test]
fn a_hold_counts_where_it_was_reserved_in_every_zone() {
    use Period::{Day, Month, Week};
    for (period, zone, reserved, settled, hours) in [
        // The clocks go forward: the day has 23 hours, the month 743.
        (Day, "Europe/Berlin", "2026-03-29T21:59:00Z", "2026-03-29T22:01:00Z", 23),
        (Month, "Europe/Berlin", "2026-03-31T21:59:00Z", "2026-03-31T22:01:00Z", 743),
        // And back: 25 and 745.
        (Day, "Europe/Berlin", "2026-10-25T22:59:00Z", "2026-10-25T23:01:00Z", 25),
        (Month, "Europe/Berlin", "2026-10-31T22:59:00Z", "2026-10-31T23:01:00Z", 745),
        (Week, "Europe/Berlin", "2026-10-25T22:59:00Z", "2026-10-26T09:00:00Z", 169),
        // Midnight was skipped: the day began at one o'clock.
        (Day, "America/Sao_Paulo", "2018-11-05T01:59:00Z", "2018-11-05T02:01:00Z", 23),
        (Month, "America/Sao_Paulo", "2018-11-30T23:59:00Z", "2018-12-01T02:01:00Z", 719),
        // A date was skipped: the 29th ended where the 31st began, and December had 30 days.
        (Day, "Pacific/Apia", "2011-12-30T09:59:00Z", "2011-12-30T10:01:00Z", 24),
        (Month, "Pacific/Apia", "2011-12-31T09:59:00Z", "2012-01-01T10:01:00Z", 720),
        // Half an hour.
        (Month, "Australia/Lord_Howe", "2026-04-30T13:29:00Z", "2026-04-30T13:31:00Z", 720),
        (Day, "Australia/Lord_Howe", "2026-04-05T13:29:00Z", "2026-04-05T13:31:00Z", 24),
        (Day, "UTC", "2026-11-30T23:59:59Z", "2026-12-01T00:00:01Z", 24),
    ] {
        let case = format!("{period:?} {zone} {reserved}");
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let zone = TimeZone::get(zone).expect(zone);
        let (before, after): (Timestamp, Timestamp) =
            (reserved.parse().expect("a time"), settled.parse().expect("a time"));
        let store = |at: Timestamp| {
            let clock = Clock::from_fn(move || at);
            Store::open(folder.path(), Options { clock, ..Options::default() }).expect("a ledger")
        };
        let old = limit(period, before, &zone);
        let new = limit(period, after, &zone);
        assert_eq!(old.window.end, Some(new.window.start), "{case}: one window ends where the next begins");
        assert!(old.window.contains(before) && new.window.contains(after), "{case}");
        let long = new.window.start.duration_since(old.window.start);
        assert_eq!(long.as_hours(), hours, "{case}");

        let hold = |name: &str, want, limit: &Limit, at: Timestamp| {
            let mut asked = request(name, want, limit.clone(), at);
            asked.least = cents(1);
            asked
        };
        let granted = store(before).reserve(&hold("a", 60, &old, before)).expect("an answer");
        assert!(matches!(granted, tollgate::ledger::Answer::Granted { .. }), "{case}");
        // The next window is empty, though the hold is live; the old one is not.
        let balance = |limit: &Limit| -> Balance {
            store(after).balances(std::slice::from_ref(limit)).expect("a balance").remove(0)
        };
        assert_eq!((balance(&old).held, balance(&new).held), (cents(60), cents(0)), "{case}");
        store(after).reserve(&hold("b", 100, &new, after)).expect("an answer");
        assert_eq!(balance(&new).held, cents(100), "{case}");
        store(after).settle(&HoldId::from_text("a"), &spend(40)).expect("settled");
        store(after).settle(&HoldId::from_text("b"), &spend(70)).expect("settled");
        for _ in 0..2 {
            assert_eq!((balance(&old).settled, balance(&new).settled), (cents(40), cents(70)), "{case}");
            // The same when the accounts are made anew from the history.
            let _ = std::fs::remove_file(folder.path().join("head.json"));
        }
        // What begins before midnight cannot be reserved in yesterday's window any more after it.
        let stale = store(after + SignedDuration::from_secs(1)).reserve(&hold("c", 1, &old, after));
        assert!(stale.expect_err("over").to_string().contains("is outside the"), "{case}");
        assert_eq!(store(after).verify().expect("in order").head, Ok(()), "{case}");
    }
}
