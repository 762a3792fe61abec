//! An even pace: what may be spent of a budget by the end of the day, so that its first day cannot eat its month.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::budget::{BudgetLine, Pace, Period};
use crate::ledger::Window;
use crate::money::Usd;

/// The share of a budget that may be spent by the end of `now`'s part of its window; `None` where all of it may.
///
/// A month and a week have days for parts, a day has hours. What one part leaves, the next ones may spend.
pub(super) fn share(line: &BudgetLine, window: &Window, now: Timestamp, zone: &TimeZone) -> Option<Usd> {
    if line.pace == Pace::Free {
        return None;
    }
    let (start, end) = (window.start, window.end?);
    let (part, parts) = match line.per {
        Period::Total => return None,
        Period::Day => {
            let hours = |from: Timestamp, to: Timestamp| from.duration_until(to).as_secs().max(0) / 3600;
            (hours(start, now) + 1, hours(start, end))
        }
        Period::Week | Period::Month => {
            let date = |at: Timestamp| zone.to_datetime(at).date();
            let days =
                |to: Timestamp| i64::from(date(start).until(date(to)).map_or(0, |span| span.get_days()));
            (days(now) + 1, days(end))
        }
    };
    let (part, parts) = (part.max(1), parts.max(1));
    (part < parts).then(|| Usd::from_pico(line.usd.pico() / i128::from(parts) * i128::from(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Enforce, Scope};

    fn shares(per: Period, zone: &str, usd: u32, at: &[&str]) -> Vec<String> {
        let zone = TimeZone::get(zone).expect("a zone");
        let line = BudgetLine {
            scope: Scope::Repo,
            per,
            usd: Usd::from_dollars(usd),
            enforce: Enforce::Hard,
            pace: Pace::Even,
            line: 1,
        };
        let share = |at: &&str| {
            let now: Timestamp = at.parse().expect("an instant");
            let (start, end) = per.window(now, &zone);
            share(&line, &Window { start, end }, now, &zone).map_or("all".to_owned(), |usd| usd.to_string())
        };
        at.iter().map(share).collect()
    }

    #[test]
    fn each_day_frees_its_share_and_the_last_one_frees_all() {
        let days =
            ["2026-11-01T00:00:00Z", "2026-11-01T23:59:59Z", "2026-11-15T12:00:00Z", "2026-11-30T00:00:00Z"];
        assert_eq!(shares(Period::Month, "UTC", 300, &days), ["10", "10", "150", "all"]);
        let week = ["2026-11-23T00:00:00Z", "2026-11-25T09:00:00Z", "2026-11-29T09:00:00Z"];
        assert_eq!(shares(Period::Week, "UTC", 70, &week), ["10", "30", "all"]);
    }

    #[test]
    fn days_are_those_of_the_zone_and_need_not_have_24_hours() {
        // In Berlin it is the 2nd already.
        assert_eq!(shares(Period::Month, "Europe/Berlin", 300, &["2026-11-01T23:30:00Z"]), ["20"]);
        let clocks_back = ["2026-10-24T22:00:00Z", "2026-10-25T21:59:59Z", "2026-10-25T22:00:00Z"];
        assert_eq!(shares(Period::Day, "Europe/Berlin", 25, &clocks_back), ["1", "24", "all"]);
    }

    #[test]
    fn a_share_never_rounds_up_and_a_total_has_none() {
        let thirds = shares(Period::Month, "UTC", 100, &["2026-11-01T10:00:00Z", "2026-11-03T10:00:00Z"]);
        assert_eq!(thirds, ["3.333333333333", "9.999999999999"]);
        assert_eq!(shares(Period::Total, "UTC", 100, &["2026-11-01T10:00:00Z"]), ["all"]);
    }

    #[test]
    fn a_share_is_a_limit_beside_the_whole_and_is_called_paced() {
        let file = "version: 1\nbudgets:\n  - { scope: repo, per: month, usd: 300, pace: even }\n  - { scope: pr, per: total, usd: 5 }\n";
        let budget = crate::budget::parse(file, "f.yml").expect("it is valid");
        let event = crate::event::Event::bare(crate::event::Kind::Push, "o/r");
        let at = |text: &str| {
            let now = text.parse().expect("an instant");
            let limits = super::super::apply(&budget, &event, None, crate::task::Task::Review, now);
            let said = |applied: &super::super::Applied| {
                let limit = &applied.limit;
                format!("{} {} {}", super::super::name(limit), limit.usd.shown(), limit.is_paced())
            };
            limits.applied.iter().map(said).collect::<Vec<_>>()
        };
        assert_eq!(
            at("2026-11-02T12:00:00Z"),
            ["monthly repo budget $300.00 false", "paced monthly repo budget $20.00 true"]
        );
        assert_eq!(at("2026-11-30T12:00:00Z"), ["monthly repo budget $300.00 false"]);
    }
}
