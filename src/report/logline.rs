//! The cost log line: one a run, as logfmt for people who grep, as JSON for programs that collect.
//!
//! Both have the same fields in the same order, and a field without a value is left out.

use serde_json::{Map, Value};

use super::Run;
use crate::money::Usd;

/// One field: numbers stay numbers in JSON, amounts are exact decimal text.
enum Field {
    Text(String),
    Number(u64),
}

fn fields(run: &Run) -> Vec<(&'static str, Field)> {
    let text = |value: &str| Field::Text(value.to_owned());
    let counts = run.totals.counts();
    let mut fields = vec![("time", Field::Text(run.ended().to_string()))];
    if let Some(served) = &run.served {
        fields.push(("task_id", text(served.hold.as_str())));
    }
    fields.push(("repository", text(&run.repository)));
    fields.extend(run.pr.map(|number| ("pr", Field::Number(number))));
    fields.push(("task", text(run.class.task.as_str())));
    fields.push(("stakes", text(run.class.stakes.as_str())));
    if let Some(served) = &run.served {
        fields.push(("tier", text(served.tier.as_str())));
        fields.push(("model", text(served.model.as_str())));
    }
    fields.push(("input_tokens", Field::Number(counts.input)));
    fields.push(("cache_read_tokens", Field::Number(counts.cache_read)));
    fields.push(("cache_write_5m_tokens", Field::Number(counts.cache_write_5m)));
    fields.push(("cache_write_1h_tokens", Field::Number(counts.cache_write_1h)));
    fields.push(("output_tokens", Field::Number(counts.output)));
    fields.push(("cost_usd", Field::Text(run.totals.settled.to_string())));
    if run.totals.notional > Usd::ZERO {
        fields.push(("notional_usd", Field::Text(run.totals.notional.to_string())));
    }
    if let Some(served) = run.served.as_ref().filter(|_| run.subscription.is_none()) {
        fields.push(("cap_usd", Field::Text(served.cap.to_string())));
    }
    fields.push(("outcome", text(run.gate.outcome.as_str())));
    fields.push(("verdict", text(run.gate.verdict.as_str())));
    fields
}

/// The line as logfmt, without a line end.
#[must_use]
pub fn logfmt(run: &Run) -> String {
    let word = |(name, field): &(&str, Field)| match field {
        Field::Text(value) => format!("{name}={}", quoted(value)),
        Field::Number(value) => format!("{name}={value}"),
    };
    fields(run).iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The line as JSON, without a line end.
#[must_use]
pub fn json(run: &Run) -> String {
    let value = |field| match field {
        Field::Text(value) => Value::String(value),
        Field::Number(value) => Value::from(value),
    };
    let object: Map<String, Value> =
        fields(run).into_iter().map(|(name, field)| (name.to_owned(), value(field))).collect();
    Value::Object(object).to_string()
}

/// A value as logfmt takes it: as it stands where it is one plain word, else between quotes as in JSON.
fn quoted(value: &str) -> String {
    let plain = |c: char| c > ' ' && !matches!(c, '"' | '=' | '\\') && !c.is_control() && !c.is_whitespace();
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    // What JSON leaves alone and a log viewer may take for a line end is escaped as well.
    let mut out = String::with_capacity(value.len() + 2);
    for c in Value::from(value).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads logfmt: words of `name=value`, a value between quotes as in JSON.
    fn read(line: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let value_chars = match after.strip_prefix('"') {
                None => after.find(' ').unwrap_or(after.len()),
                Some(inner) => {
                    let mut escaped = false;
                    let end = inner.find(|c| {
                        let ends = c == '"' && !escaped;
                        escaped = c == '\\' && !escaped;
                        ends
                    });
                    end? + 2
                }
            };
            let value = &after[..value_chars];
            let value =
                if value.starts_with('"') { serde_json::from_str(value).ok()? } else { value.to_owned() };
            found.push((name.to_owned(), value));
            rest = after[value_chars..].trim_start_matches(' ');
        }
        Some(found)
    }

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        for (value, expected) in [
            ("claude-sonnet-5-5", "claude-sonnet-5-5"),
            ("0.31", "0.31"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"x\"\n", "\"say \\\"x\\\"\\n\""),
            ("a\u{85}b", "\"a\\u0085b\""),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in proptest::collection::vec(any::<String>(), 1..6)) {
            let expected: Vec<_> =
                values.iter().enumerate().map(|(n, value)| (format!("k{n}"), value.clone())).collect();
            let line: Vec<String> = expected.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            let line = line.join(" ");
            prop_assert!(!line.contains(char::is_control), "{line:?}");
            prop_assert_eq!(read(&line), Some(expected));
        }
    }
}
