//! The same sums to the last pico-dollar, for scripts: CSV and JSON, and single runs as either.

use serde_json::{Value, json};

use super::forecast::Outlook;
use super::runs::Run;
use super::tally::Tally;
use super::{BudgetLine, Spent};

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
    let by = spent.by.iter().map(|rows| {
        let other = rows.other.as_ref().map(|other| keyed("other", other));
        let rows_json = rows.rows.iter().map(|(key, tally)| keyed(key, tally)).chain(other);
        (rows.by.as_str().to_owned(), Value::Array(rows_json.collect()))
    });
    let endings: Vec<Value> = spent
        .endings
        .iter()
        .map(|(word, runs, usd)| json!({ "ending": word, "runs": runs, "usd": usd }))
        .collect();
    let value = json!({
        "repository": spent.repository,
        "since": spent.since,
        "now": spent.now,
        "timezone": spent.timezone.iana_name(),
        "simulated": spent.simulated,
        "total": tally(&spent.total),
        "voided_runs": spent.voided,
        "live_runs": spent.live,
        "held_usd": spent.held,
        "endings": endings,
        "by": Value::Object(by.collect()),
        "budgets": spent.budgets.iter().map(budget).collect::<Vec<_>>(),
        "budgets_beyond": spent.budgets_beyond,
        "dearest": spent.dearest.iter().map(run_json).collect::<Vec<_>>(),
        "unproven": spent.unproven.iter().map(run_json).collect::<Vec<_>>(),
        "routing_measured_against": spent.high_model,
        "notes": spent.notes,
    });
    serde_json::to_string_pretty(&value).expect("text keys only") + "\n"
}

fn keyed(key: &str, sums: &Tally) -> Value {
    let mut value = json!({ "key": key });
    if let (Value::Object(into), Value::Object(from)) = (&mut value, tally(sums)) {
        into.extend(from);
    }
    value
}

fn tally(tally: &Tally) -> Value {
    json!({
        "runs": tally.runs,
        "refused": tally.refused,
        "capped": tally.capped,
        "expired": tally.expired,
        "requests": tally.requests,
        "input_tokens": tally.tokens.input,
        "cache_read_tokens": tally.tokens.cache_read,
        "cache_write_tokens": tally.tokens.cache_write(),
        "output_tokens": tally.tokens.output,
        "usd": tally.usd,
        "estimated_usd": tally.estimated,
        "unproven_usd": tally.unproven,
        "saved_by_routing_usd": tally.saved_by_routing,
        "saved_by_caching_usd": tally.saved_by_caching,
        "notional_usd": tally.notional,
    })
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
