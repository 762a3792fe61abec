//! The same sums to the last pico-dollar, for scripts: CSV and JSON, and single runs as either.

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::forecast::Outlook;
use super::runs::Run;
use super::tally::{Rows, Tally};
use super::{BudgetLine, Spent};
use crate::money::Usd;

/// The head of [`csv`].
const HEAD: &str = "dimension,key,runs,refused,capped,expired,requests,input_tokens,cache_read_tokens,\
cache_write_tokens,output_tokens,usd,estimated_usd,unproven_usd,saved_by_routing_usd,saved_by_caching_usd,notional_usd\r\n";

/// The head of [`run_csv`]'s lines.
pub const RUNS_HEAD: &str = "hold,reserved,closed,phase,ending,task,stakes,tier,model,actor,pr,workflow,cap_usd,\
usd,estimated_usd,unproven,adjusted,requests,input_tokens,cache_read_tokens,cache_write_tokens,output_tokens,notional_usd\r\n";

/// One table (RFC 4180): the whole first, then every row of every dimension.
#[must_use]
pub fn csv(spent: &Spent) -> String {
    let mut out = HEAD.to_owned();
    csv_row("total", "", &spent.total, &mut out);
    for rows in &spent.by {
        for (key, tally) in &rows.rows {
            csv_row(rows.by.as_str(), key, tally, &mut out);
        }
        if let Some(other) = &rows.other {
            csv_row(rows.by.as_str(), "other", other, &mut out);
        }
    }
    out
}

fn csv_row(dimension: &str, key: &str, tally: &Tally, out: &mut String) {
    let tokens = &tally.tokens;
    let counts = [tally.runs, tally.refused, tally.capped, tally.expired, tally.requests];
    let kinds = [tokens.input, tokens.cache_read, tokens.cache_write(), tokens.output];
    let amounts = [
        tally.usd,
        tally.estimated,
        tally.unproven,
        tally.saved_by_routing,
        tally.saved_by_caching,
        tally.notional,
    ];
    let numbers = counts.iter().chain(&kinds).map(u64::to_string);
    let cells = [field(dimension), field(key)].into_iter().chain(numbers);
    line(cells.chain(amounts.iter().map(ToString::to_string)), out);
}

fn line(cells: impl Iterator<Item = String>, out: &mut String) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&cell);
    }
    out.push_str("\r\n");
}

/// A text as a field. A spreadsheet takes one that begins like a formula for a formula, so that gets an
/// apostrophe in front.
fn field(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let formula = visible.trim_start().starts_with(['=', '+', '-', '@', '\t', '＝', '＋', '－', '＠']);
    let safe = if formula { format!("'{visible}") } else { visible };
    match safe.contains([',', '"', '\r', '\n', '\'', ';', '\t']) {
        true => format!("\"{}\"", safe.replace('"', "\"\"")),
        false => safe,
    }
}

/// One object with everything; money as decimal text, exact.
///
/// # Panics
/// Never: the object has text keys only.
#[must_use]
pub fn json(spent: &Spent) -> String {
    let endings = spent.endings.iter();
    let document = Document {
        repository: &spent.repository,
        since: spent.since,
        now: spent.now,
        timezone: spent.timezone.iana_name(),
        simulated: spent.simulated,
        total: Row { key: None, tally: &spent.total },
        voided_runs: spent.voided,
        live_runs: spent.live,
        held_usd: spent.held,
        endings: endings.map(|(ending, runs, usd)| Ending { ending, runs: *runs, usd: *usd }).collect(),
        by: Dimensions(&spent.by),
        budgets: spent.budgets.iter().map(budget).collect(),
        budgets_beyond: &spent.budgets_beyond,
        dearest: spent.dearest.iter().map(run_json).collect(),
        unproven: spent.unproven.iter().map(run_json).collect(),
        routing_measured_against: &spent.high_model,
        notes: &spent.notes,
    };
    serde_json::to_string_pretty(&document).expect("text keys only") + "\n"
}

#[derive(Serialize)]
struct Document<'a> {
    repository: &'a str,
    since: Option<Timestamp>,
    now: Timestamp,
    timezone: Option<&'a str>,
    simulated: bool,
    total: Row<'a>,
    voided_runs: u64,
    live_runs: u64,
    held_usd: Usd,
    endings: Vec<Ending<'a>>,
    by: Dimensions<'a>,
    budgets: Vec<Value>,
    budgets_beyond: &'a [String],
    dearest: Vec<Value>,
    unproven: Vec<Value>,
    routing_measured_against: &'a str,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Ending<'a> {
    ending: &'a str,
    runs: u64,
    usd: Usd,
}

/// The rows of every dimension. There may be tens of thousands, so none is made a value first.
struct Dimensions<'a>(&'a [Rows]);

impl Serialize for Dimensions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|rows| (rows.by.as_str(), Keyed(rows))))
    }
}

struct Keyed<'a>(&'a Rows);

impl Serialize for Keyed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.0.rows.iter().map(|(key, tally)| Row { key: Some(key), tally });
        let other = self.0.other.as_ref().map(|tally| Row { key: Some("other"), tally });
        serializer.collect_seq(rows.chain(other))
    }
}

struct Row<'a> {
    key: Option<&'a str>,
    tally: &'a Tally,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tally { tokens, .. } = self.tally;
        let mut map = serializer.serialize_map(None)?;
        if let Some(key) = self.key {
            map.serialize_entry("key", key)?;
        }
        map.serialize_entry("runs", &self.tally.runs)?;
        map.serialize_entry("refused", &self.tally.refused)?;
        map.serialize_entry("capped", &self.tally.capped)?;
        map.serialize_entry("expired", &self.tally.expired)?;
        map.serialize_entry("requests", &self.tally.requests)?;
        map.serialize_entry("input_tokens", &tokens.input)?;
        map.serialize_entry("cache_read_tokens", &tokens.cache_read)?;
        map.serialize_entry("cache_write_tokens", &tokens.cache_write())?;
        map.serialize_entry("output_tokens", &tokens.output)?;
        map.serialize_entry("usd", &self.tally.usd)?;
        map.serialize_entry("estimated_usd", &self.tally.estimated)?;
        map.serialize_entry("unproven_usd", &self.tally.unproven)?;
        map.serialize_entry("saved_by_routing_usd", &self.tally.saved_by_routing)?;
        map.serialize_entry("saved_by_caching_usd", &self.tally.saved_by_caching)?;
        map.serialize_entry("notional_usd", &self.tally.notional)?;
        map.end()
    }
}

fn budget(line: &BudgetLine) -> Value {
    let limit = &line.balance.limit;
    let outlook = match line.outlook {
        Outlook::Nothing => Value::Null,
        Outlook::TooLittle { days } => json!({ "days_observed": days, "too_little_data": true }),
        Outlook::Forecast(f) => json!({
            "days_observed": f.days, "mean_day_usd": f.mean, "expected_usd": f.expected,
            "low_usd": f.low, "high_usd": f.high, "limit_reached": f.reaches,
        }),
    };
    json!({
        "purse": limit.purse, "per": limit.per, "window": limit.window, "enforce": limit.enforce,
        "limit_usd": limit.usd, "settled_usd": line.balance.settled, "held_usd": line.balance.held,
        "left_usd": line.balance.left(), "forecast": outlook,
    })
}

/// A run as one object.
#[must_use]
pub fn run_json(run: &Run) -> Value {
    json!({
        "hold": run.hold, "reserved": run.reserved, "closed": run.closed, "phase": run.phase,
        "ending": run.ending(), "about": run.about, "cap_usd": run.cap, "cut_by": run.cut_by,
        "usd": run.spend.usd, "estimated_usd": run.spend.estimated,
        "notional_usd": run.spend.notional, "unproven": run.unproven,
        "adjusted": run.adjusted, "models": run.spend.models, "purses": run.purses,
    })
}

/// A run as one line of CSV, under [`RUNS_HEAD`].
#[must_use]
pub fn run_csv(run: &Run) -> String {
    let mut tally = Tally::default();
    run.spend.models.iter().for_each(|used| tally.add_model(used, super::tally::Saved::default()));
    let about = &run.about;
    let tokens = &tally.tokens;
    let cells = [
        field(run.hold.as_str()),
        run.reserved.to_string(),
        run.closed.map(|at| at.to_string()).unwrap_or_default(),
        run.phase.as_str().to_owned(),
        field(run.ending()),
        field(&about.task),
        field(&about.stakes),
        field(&about.tier),
        field(&about.model),
        field(&about.actor),
        about.pr.map(|number| number.to_string()).unwrap_or_default(),
        field(about.workflow.as_deref().unwrap_or_default()),
        run.cap.to_string(),
        run.spend.usd.to_string(),
        run.spend.estimated.to_string(),
        run.unproven.to_string(),
        run.adjusted.to_string(),
        tally.requests.to_string(),
        tokens.input.to_string(),
        tokens.cache_read.to_string(),
        tokens.cache_write().to_string(),
        tokens.output.to_string(),
        run.spend.notional.to_string(),
    ];
    let mut out = String::new();
    line(cells.into_iter(), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_quoted_and_no_formulas() {
        for (text, written) in [
            ("plain", "plain"),
            ("#17", "#17"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" +x", "\"' +x\""),
            ("\r=1", "\"'=1\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(field(text), written, "{text:?}");
        }
    }
}
