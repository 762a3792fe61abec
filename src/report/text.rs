//! Words for amounts, dates, names and shares, as plain text.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::gate::Tokens;
use crate::ledger::{Balance, Limit, Window};
use crate::money::{self, Usd};

/// Cells of a [`bar`].
const CELLS: usize = 10;
/// What stands where there is nothing to say.
pub(super) const NONE: &str = "–";
/// A forecast needs this share of its window behind it, in percent.
const FORECAST_ELAPSED_MIN: i128 = 15;
/// Shorter windows get no forecast: spend is not spread evenly over a day.
const FORECAST_WINDOW_MIN: SignedDuration = SignedDuration::from_hours(48);

/// A name that somebody else chose, between backticks of which it holds none itself.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "'"))
}

/// A commit as people name it.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// A count with its digits grouped.
pub(super) fn count(count: u64) -> String {
    money::group(u128::from(count))
}

/// What something cost, and what a subscription paid for, which is no cost.
pub(super) fn cost(usd: Usd, notional: Usd) -> String {
    match (usd, notional) {
        (usd, Usd::ZERO) => usd.shown().to_string(),
        (Usd::ZERO, notional) => format!("notional {}", notional.shown()),
        (usd, notional) => format!("{} + notional {}", usd.shown(), notional.shown()),
    }
}

/// New tokens of a subscription: `84,120 of 1,000,000 new tokens of a subscription`.
pub(super) fn of_subscription(tokens: Tokens) -> String {
    let most = tokens.most.map_or(String::new(), |most| format!(" of {}", count(most)));
    format!("{}{most} new tokens of a subscription", count(tokens.used))
}

/// `1 request`, `3 requests`.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Which percentage `part` is of `whole`, rounded down.
pub(super) fn share(part: u64, whole: u64) -> Option<u64> {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).ok().filter(|_| whole > 0 && part > 0)
}

/// A share as a row of cells: `███████░░░`. A started cell is empty until it is full; what is over is full.
pub(super) fn bar(percent: u32) -> String {
    let full = CELLS.min(usize::try_from(percent).unwrap_or(usize::MAX) / 10);
    format!("{}{}", "█".repeat(full), "░".repeat(CELLS - full))
}

/// A stretch of time: `45 s`, `3 min 12 s`, `1 h 02 min`.
pub(super) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// A day as people write it: `30 Nov`.
pub(super) fn day(instant: Timestamp, timezone: &TimeZone) -> String {
    timezone.to_datetime(instant).strftime("%-d %b").to_string()
}

/// The last day of a window that ends.
fn last_day(window: &Window, timezone: &TimeZone) -> Option<String> {
    let last = window.end?.checked_sub(SignedDuration::from_secs(1)).ok()?;
    Some(day(last, timezone))
}

/// Whose spend a limit counts, and over which time: `repo · November`, `this pull request`.
pub(super) fn label(limit: &Limit, timezone: &TimeZone) -> String {
    let purse = limit.plain_purse();
    let whose = match purse.split_once(':') {
        None => purse.to_owned(),
        Some(("pr", _)) => "this pull request".to_owned(),
        Some(("workflow", path)) => format!("workflow {}", quote(path.rsplit('/').next().unwrap_or(path))),
        Some(("task", task)) => format!("{task} runs"),
        Some((kind, name)) => format!("{kind} {}", quote(name)),
    };
    let start = limit.window.start;
    let (per, paced) = match limit.per.strip_prefix(crate::ledger::PACED) {
        Some(per) => (per, ", paced"),
        None => (limit.per.as_str(), ""),
    };
    let when = match per {
        "day" => day(start, timezone),
        "week" => format!("week of {}", day(start, timezone)),
        "month" => timezone.to_datetime(start).strftime("%B").to_string(),
        _ => return whose,
    };
    format!("{whose} · {when}{paced}")
}

/// What a budget will have spent at the end of its window if it goes on as it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forecast {
    /// The spend, and the window's last day: `$187 by 30 Nov`.
    pub(super) text: String,
    /// Whether that is more than the limit.
    pub(super) over: bool,
}

/// The forecast of a budget; `None` for a window without end, one that is short, and one that has only
/// just begun.
pub(super) fn forecast(balance: &Balance, now: Timestamp, timezone: &TimeZone) -> Option<Forecast> {
    let window = &balance.limit.window;
    let whole = window.end?.duration_since(window.start);
    let elapsed = now.duration_since(window.start);
    let (whole_s, elapsed_s) = (i128::from(whole.as_secs()), i128::from(elapsed.as_secs()));
    if whole < FORECAST_WINDOW_MIN || elapsed_s * 100 < whole_s * FORECAST_ELAPSED_MIN || elapsed > whole {
        return None;
    }
    let pico = balance.settled.pico().saturating_mul(whole_s) / elapsed_s;
    let usd = Usd::from_pico(pico);
    let text = format!("{} by {}", rough(usd), last_day(window, timezone)?);
    Some(Forecast { text, over: usd > balance.limit.usd })
}

/// An amount without cents where they do not matter.
fn rough(usd: Usd) -> String {
    let dollar = Usd::from_dollars(1).pico();
    if usd < Usd::from_dollars(10) {
        return usd.shown().to_string();
    }
    let dollars = (usd.pico() + dollar / 2) / dollar;
    format!("${}", money::group(dollars.unsigned_abs()))
}

/// A sentence out of a clause: its first letter large, a full stop behind it.
pub(super) fn sentence(clause: &str) -> String {
    let clause = clause.trim();
    let mut chars = clause.chars();
    let Some(first) = chars.next() else { return String::new() };
    let end = if clause.ends_with(['.', '!', '?', ':']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Enforce;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn november(purse: &str, usd: u32) -> Limit {
        let window = Window { start: at("2026-11-01T00:00:00Z"), end: Some(at("2026-12-01T00:00:00Z")) };
        let usd = Usd::from_dollars(usd);
        Limit { purse: purse.to_owned(), per: "month".to_owned(), window, usd, enforce: Enforce::Hard }
    }

    #[test]
    fn names_of_purses() {
        let cases = [
            ("repo", "month", "repo · November"),
            ("pr:17", "total", "this pull request"),
            ("pr:17", "day", "this pull request · 1 Nov"),
            ("github.com/acme/widgets pr:17", "total", "this pull request"),
            ("github.com/acme/widgets repo", "month", "repo · November"),
            ("actor:octocat", "week", "actor `octocat` · week of 1 Nov"),
            ("workflow:.github/workflows/nightly.yml", "day", "workflow `nightly.yml` · 1 Nov"),
            ("task:review", "month", "review runs · November"),
            ("label:a`b", "month", "label `a'b` · November"),
        ];
        for (purse, per, expected) in cases {
            let limit = Limit { per: per.to_owned(), ..november(purse, 1) };
            assert_eq!(label(&limit, &TimeZone::UTC), expected);
        }
    }

    #[test]
    fn names_follow_the_time_zone() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let mut limit = november("repo", 1);
        limit.window.start = at("2026-10-31T23:00:00Z");
        assert_eq!(label(&limit, &berlin), "repo · November");
    }

    #[test]
    fn forecasts_are_linear_and_wait_until_there_is_something_to_go_by() {
        let forecast_at = |now: &str, cents: i128| {
            let settled = Usd::from_pico(cents * 10_000_000_000);
            let balance = Balance { limit: november("repo", 200), settled, held: Usd::ZERO };
            forecast(&balance, at(now), &TimeZone::UTC).map(|f| (f.text, f.over))
        };
        let some = |text: &str, over| Some((text.to_owned(), over));
        assert_eq!(forecast_at("2026-11-03T00:00:00Z", 14_210), None);
        assert_eq!(forecast_at("2026-11-16T00:00:00Z", 14_210), some("$284 by 30 Nov", true));
        assert_eq!(forecast_at("2026-11-16T00:00:00Z", 10_000), some("$200 by 30 Nov", false));
        assert_eq!(forecast_at("2026-11-16T00:00:00Z", 100), some("$2.00 by 30 Nov", false));
        assert_eq!(forecast_at("2026-12-02T00:00:00Z", 100), None);
    }

    #[test]
    fn small_words() {
        assert_eq!(bar(0), "░░░░░░░░░░");
        assert_eq!(bar(71), "███████░░░");
        assert_eq!(bar(99), "█████████░");
        assert_eq!(bar(1030), "██████████");
        assert_eq!(duration(Duration::from_secs(45)), "45 s");
        assert_eq!(duration(Duration::from_secs(192)), "3 min 12 s");
        assert_eq!(duration(Duration::from_secs(3725)), "1 h 02 min");
        assert_eq!(share(91, 100), Some(91));
        assert_eq!(share(0, 100), None);
        assert_eq!(share(5, 0), None);
        assert_eq!(share(u64::MAX, u64::MAX), Some(100));
        assert_eq!(plural(1, "request", "requests"), "1 request");
        assert_eq!(plural(1234, "request", "requests"), "1,234 requests");
        assert_eq!(sentence("the cap is hit"), "The cap is hit.");
        assert_eq!(sentence("done."), "Done.");
    }
}
