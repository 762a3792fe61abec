//! The report as headings, sentences and tables of words: the same for terminal, Markdown and HTML.

use jiff::Timestamp;

use super::forecast::{DAYS_MIN, Outlook};
use super::runs::Run;
use super::tally::{By, Rows, Tally};
use super::{BudgetLine, Spent};
use crate::ledger::Enforce;
use crate::limits;
use crate::money::Usd;
use crate::report::text::{bar, cost, count, plural, share};

/// Days that are listed one by one; what is before them is summed.
const DAYS_LISTED: usize = 31;

/// A table under a heading.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Its heading.
    pub(super) title: String,
    /// The columns' heads, and whether they are numbers.
    pub(super) columns: Vec<(&'static str, bool)>,
    /// The rows, as words that are not yet made harmless.
    pub(super) rows: Vec<Vec<String>>,
    /// What is to be said below.
    pub(super) below: Vec<String>,
}

/// The headline, for example `$142.10 in 312 runs since 2026-11-01`.
pub(super) fn headline(spent: &Spent) -> String {
    let since = match spent.since {
        Some(since) => format!("since {}", moment(spent, since)),
        None => "in all".to_owned(),
    };
    let play = if spent.simulated { "simulated: " } else { "" };
    let total = &spent.total;
    format!("{play}{} spent by {}, {since}", total.usd.shown(), plural(total.runs, "run", "runs"))
}

/// What else is to be said of the whole, one sentence each.
pub(super) fn sentences(spent: &Spent) -> Vec<String> {
    let Tally { tokens, requests, .. } = spent.total;
    let mut lines = vec![format!(
        "{}: {} tokens in, {} % of them from a cache, {} out",
        plural(requests, "request", "requests"),
        count(tokens.prompt()),
        share(tokens.cache_read, tokens.prompt()).unwrap_or(0),
        count(tokens.output)
    )];
    let (routing, caching) = (spent.total.saved_by_routing, spent.total.saved_by_caching);
    lines.push(format!(
        "saved {} by routing (the same tokens at `{}`) and {} by caching, at list prices of the day",
        routing.shown(),
        spent.high_model,
        caching.shown()
    ));
    lines.push(format!(
        "{} stopped at the cap, {} refused, {} expired, {} given up unspent",
        count(spent.total.capped),
        count(spent.total.refused),
        count(spent.total.expired),
        count(spent.voided)
    ));
    if spent.total.unproven > Usd::ZERO {
        let amount = spent.total.unproven.shown();
        lines.push(format!(
            "{amount} is charged without proof: runs that never settled, at their whole holds"
        ));
    }
    let bounds = spent.total.estimated.minus_or_zero(spent.total.unproven);
    if bounds > Usd::ZERO {
        lines.push(format!("{} more is a bound, because a usage never came", bounds.shown()));
    }
    if spent.total.notional > Usd::ZERO {
        let amount = spent.total.notional.shown();
        lines
            .push(format!("{amount} on top is notional: subscriptions paid for it, and no budget counts it"));
    }
    if spent.live > 0 {
        let runs = plural(spent.live, "run", "runs");
        lines.push(format!("{runs} under way, holding {} on top", spent.held.shown()));
    }
    lines
}

/// Every table; a dimension shows its `top` rows and sums the others.
pub(super) fn sheets(spent: &Spent, top: usize) -> Vec<Sheet> {
    let mut sheets = vec![budgets(spent)];
    sheets.extend(spent.by.iter().map(|rows| dimension(rows, &spent.total, top)));
    sheets.push(endings(spent));
    sheets.push(listed("The dearest runs", &spent.dearest, spent));
    sheets.push(listed("Charged without proof, dearest first", &spent.unproven, spent));
    sheets.retain(|sheet| !sheet.rows.is_empty());
    sheets
}

fn budgets(spent: &Spent) -> Sheet {
    let mut below = spent.budgets_beyond.clone();
    if spent.budgets.iter().any(|line| matches!(line.outlook, Outlook::Forecast(_))) {
        below.push(
            "forecast: what is spent, and the mean of the complete days observed (28 at most) for the time that \
             is left; the range holds four of five outcomes if days are like those observed and independent"
                .to_owned(),
        );
    }
    Sheet {
        title: "Budgets".to_owned(),
        columns: vec![
            ("budget", false),
            ("spent", true),
            ("held", true),
            ("limit", true),
            ("", false),
            ("forecast", false),
        ],
        rows: spent.budgets.iter().map(|line| budget(line, spent)).collect(),
        below,
    }
}

fn budget(line: &BudgetLine, spent: &Spent) -> Vec<String> {
    let balance = &line.balance;
    let percent = balance.settled.percent_of(balance.limit.usd);
    let enforce = match balance.limit.enforce {
        Enforce::Hard => "hard",
        Enforce::Soft => "soft",
        Enforce::Count => "counted",
    };
    vec![
        limits::name(&balance.limit),
        balance.settled.shown().to_string(),
        balance.held.shown().to_string(),
        format!("{} {enforce}", balance.limit.usd.shown()),
        format!("{} {percent} %", bar(percent)),
        forecast(line, spent),
    ]
}

fn forecast(line: &BudgetLine, spent: &Spent) -> String {
    match line.outlook {
        Outlook::Nothing => String::new(),
        Outlook::TooLittle { days } => {
            format!("too little data: {} of {DAYS_MIN} complete days", days)
        }
        Outlook::Forecast(f) => {
            let end = line.balance.limit.window.end.map(|end| day(spent, before(end))).unwrap_or_default();
            let range = format!("{} by {end} ({} to {})", f.expected.shown(), f.low.shown(), f.high.shown());
            let over = match (f.reaches, f.high > line.balance.limit.usd) {
                (Some(at), _) => format!(", limit reached {}", day(spent, at)),
                (None, true) => ", may pass the limit".to_owned(),
                (None, false) => String::new(),
            };
            format!("{range}{over}")
        }
    }
}

fn dimension(rows: &Rows, total: &Tally, top: usize) -> Sheet {
    let mut shown: Vec<Vec<String>> = Vec::new();
    let mut rest = rows.other;
    let mut hidden = 0_u64;
    let skip = if rows.by == By::Day { rows.rows.len().saturating_sub(DAYS_LISTED.max(top)) } else { 0 };
    for (index, (key, tally)) in rows.rows.iter().enumerate() {
        let listed = if rows.by == By::Day { index >= skip } else { index < top };
        if listed {
            shown.push(row(key, tally, total));
        } else {
            rest.get_or_insert_default().add(tally);
            hidden += 1;
        }
    }
    if let Some(rest) = rest {
        let words = match (rows.by, hidden) {
            (By::Day, hidden) => plural(hidden, "earlier day", "earlier days"),
            (_, 0) => "other".to_owned(),
            (_, hidden) => plural(hidden, "other", "others"),
        };
        let place = if rows.by == By::Day { 0 } else { shown.len() };
        shown.insert(place, row(&words, &rest, total));
    }
    let columns = [
        (rows.by.as_str(), false),
        ("runs", true),
        ("tokens in", true),
        ("cached", true),
        ("tokens out", true),
        ("cost", true),
        ("share", true),
        ("saved", true),
        ("capped", true),
        ("refused", true),
        ("expired", true),
    ];
    Sheet {
        title: format!("By {}", rows.by.name()),
        columns: columns.to_vec(),
        rows: shown,
        below: Vec::new(),
    }
}

fn row(key: &str, tally: &Tally, total: &Tally) -> Vec<String> {
    let percent = |share: Option<u64>| share.map_or("–".to_owned(), |share| format!("{share} %"));
    let share_of_cost = if total.usd > Usd::ZERO { tally.usd.percent_of(total.usd) } else { 0 };
    vec![
        key.to_owned(),
        count(tally.runs),
        count(tally.tokens.prompt()),
        percent(share(tally.tokens.cache_read, tally.tokens.prompt())),
        count(tally.tokens.output),
        cost(tally.usd, tally.notional),
        format!("{share_of_cost} %"),
        (tally.saved_by_routing + tally.saved_by_caching).shown().to_string(),
        count(tally.capped),
        count(tally.refused),
        count(tally.expired),
    ]
}

fn endings(spent: &Spent) -> Sheet {
    let mut rows: Vec<_> = spent
        .endings
        .iter()
        .map(|(word, number, usd)| vec![word.replace('_', " "), count(*number), usd.shown().to_string()])
        .collect();
    if spent.total.refused > 0 {
        rows.push(vec!["refused".to_owned(), count(spent.total.refused), Usd::ZERO.shown().to_string()]);
    }
    let columns = vec![("ending", false), ("runs", true), ("cost", true)];
    Sheet { title: "How runs ended".to_owned(), columns, rows, below: Vec::new() }
}

fn listed(title: &str, runs: &[Run], spent: &Spent) -> Sheet {
    let line = |run: &Run| {
        let about = &run.about;
        let pr = about.pr.map_or("–".to_owned(), |number| format!("#{number}"));
        vec![
            moment(spent, run.reserved),
            cost(run.spend.usd, run.spend.notional),
            run.cap.shown().to_string(),
            about.task.clone(),
            about.model.clone(),
            pr,
            about.actor.clone(),
            run.ending().replace('_', " "),
            run.hold.to_string(),
        ]
    };
    let columns = vec![
        ("began", false),
        ("cost", true),
        ("cap", true),
        ("task", false),
        ("model", false),
        ("pr", true),
        ("caused by", false),
        ("ending", false),
        ("hold", false),
    ];
    Sheet { title: title.to_owned(), columns, rows: runs.iter().map(line).collect(), below: Vec::new() }
}

/// A moment to the minute, in the report's zone.
pub(super) fn moment(spent: &Spent, at: Timestamp) -> String {
    spent.timezone.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()
}

fn day(spent: &Spent, at: Timestamp) -> String {
    spent.timezone.to_datetime(at).strftime("%-d %b").to_string()
}

/// The instant before a window's end, which is its last day.
fn before(end: Timestamp) -> Timestamp {
    end.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(end)
}
