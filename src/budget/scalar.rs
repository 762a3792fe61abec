//! Amounts, counts, durations and percents, read from the text the file has.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Mistake, quoted};
use super::read::{Place, Read, text};
use super::tree::Node;
use crate::money::{AmountError, Usd};

/// What is wrong with a text, and what to write instead.
type Wrong = (String, String);

/// The largest amount that a file may name.
const AMOUNT_MAX: Usd = Usd::from_dollars(1_000_000_000);
/// The largest count of tokens that a file may name.
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// The longest time that a file may name: what a self-hosted job may take.
const SECONDS_MAX: u64 = 5 * 24 * 3600;

fn wrong<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err((problem.into(), hint.into()))
}

fn scalar<T>(
    node: &Node,
    place: &Place,
    mistakes: &mut Vec<Mistake>,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<T> {
    match parse(text(node, place, mistakes)?) {
        Ok(value) => Some(value),
        Err((problem, hint)) => {
            mistakes.push(place.mistake(problem, hint));
            None
        }
    }
}

impl Read for Usd {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        scalar(node, place, mistakes, amount)
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0 },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$" },
        ] })
    }
}

/// An exact number of dollars above zero.
fn amount(text: &str) -> Result<Usd, Wrong> {
    let shown = quoted(text);
    if text.starts_with('-') && text[1..].parse::<Usd>().is_ok() {
        return wrong(format!("{shown} is negative"), "write an amount above zero, such as `4.00`");
    }
    if let Some(bare) = text.strip_prefix('$') {
        let bare = bare.trim();
        let hint = if bare.parse::<Usd>().is_ok() { bare } else { "4.00" };
        return wrong(format!("{shown} has a dollar sign"), format!("write the number alone: `{hint}`"));
    }
    if has_leading_zero(text) {
        return wrong(
            format!("{shown} starts with a zero, which some readers of YAML take for an octal number"),
            "remove the leading zero",
        );
    }
    match text.parse::<Usd>() {
        Ok(Usd::ZERO) => wrong("the amount is zero", "write an amount above zero, such as `4.00`"),
        Ok(usd) if usd > AMOUNT_MAX => too_large(&shown),
        Ok(usd) => Ok(usd),
        Err(AmountError::TooLarge) => too_large(&shown),
        Err(AmountError::TooFine) => wrong(
            format!("{shown} has more than 12 decimal places, which cannot be held exactly"),
            "round it to 12 decimal places or fewer",
        ),
        Err(AmountError::NotDecimal) => wrong(
            format!("{shown} is not an amount of dollars"),
            "write a plain decimal number such as `200` or `4.00`",
        ),
    }
}

/// An amount for people that is not rounded: a limit is what the file says.
pub(super) fn exact(usd: Usd) -> String {
    let shown = usd.shown().to_string();
    let is_whole_cents = usd.pico() % 10_i128.pow(10) == 0;
    if is_whole_cents { shown } else { format!("${usd}") }
}

fn too_large<T>(shown: &str) -> Result<T, Wrong> {
    wrong(format!("{shown} is above $1,000,000,000"), "write the amount in dollars")
}

fn has_leading_zero(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('0') && chars.next().is_some_and(|c| c.is_ascii_digit())
}

/// A count of tokens above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tokens(pub(super) u64);

impl Read for Tokens {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        scalar(node, place, mistakes, tokens)
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": TOKENS_MAX },
            { "type": "string", "pattern": "^[1-9][0-9]*(_[0-9]+)*$" },
        ] })
    }
}

fn tokens(text: &str) -> Result<Tokens, Wrong> {
    let groups: Vec<&str> = text.split('_').collect();
    let digits = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    if !groups.iter().all(digits) || has_leading_zero(text) {
        return wrong(
            format!("{} is not a count of tokens", quoted(text)),
            "write a whole number such as `400000` or `2_000_000`",
        );
    }
    match groups.concat().parse::<u64>() {
        Ok(0) => wrong("the count is zero", "write a count above zero, or `off` for no cap on tokens"),
        Ok(count) if count <= TOKENS_MAX => Ok(Tokens(count)),
        _ => {
            wrong(format!("{} is above 1,000,000,000,000", quoted(text)), "write `off` for no cap on tokens")
        }
    }
}

impl Read for Duration {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        scalar(node, place, mistakes, duration)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?$" })
    }
}

/// A time above zero, as hours, minutes and seconds in this order.
fn duration(text: &str) -> Result<Duration, Wrong> {
    let shown = quoted(text);
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return wrong(
            format!("{shown} has no unit"),
            format!("write `{text}m` for minutes, `{text}s` for seconds"),
        );
    }
    let Some(seconds) = seconds(text) else {
        return wrong(
            format!("{shown} is not a time"),
            "write hours, minutes and seconds in this order, such as `40m`, `1h30m` or `90s`",
        );
    };
    match seconds {
        0 => wrong("the time is zero", "write a time above zero, such as `20m`"),
        SECONDS_MAX.. if seconds > SECONDS_MAX => wrong(
            format!("{shown} is longer than 120 hours, the longest that a job may take"),
            "write `120h` or less",
        ),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // A number that overflows is too long in any case.
        let part = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(seconds);
        total = total.saturating_add(part);
        rest = after;
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

/// A time as the file writes it: `1h30m`.
pub(super) fn duration_text(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// Hundredths, from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(pub(super) u32);

impl Read for Percent {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        scalar(node, place, mistakes, |text| match text.parse::<u32>() {
            Ok(percent @ 1..=100) if !has_leading_zero(text) && !text.starts_with('+') => {
                Ok(Percent(percent))
            }
            _ => wrong(
                format!("{} is not a percent from 1 to 100", quoted(text)),
                match text.strip_suffix('%').map(str::trim) {
                    Some(bare) if bare.parse::<u32>().is_ok_and(|percent| (1..=100).contains(&percent)) => {
                        format!("write the number alone: `{bare}`")
                    }
                    _ => "write a whole number such as `80`".to_owned(),
                },
            ),
        })
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": 100 })
    }
}

impl Read for String {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let text = text(node, place, mistakes)?;
        if text.trim().is_empty() {
            mistakes.push(place.mistake("the text is empty", "write one, or remove the key"));
            return None;
        }
        if text.contains(char::is_control) {
            mistakes.push(place.mistake(
                format!("{} has a line break or another control character", quoted(text)),
                "write a text of one line",
            ));
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// A text of any number of lines.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

impl Read for Text {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let text = text(node, place, mistakes)?;
        if text.trim().is_empty() || text.contains('\0') {
            mistakes.push(
                place.mistake("the text is empty or holds a zero byte", "write one, or remove the key"),
            );
            return None;
        }
        Some(Self(text.to_owned()))
    }

    fn schema() -> Value {
        // Unquoted numbers and booleans are taken as the text they are.
        json!({ "type": ["string", "number", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, pico) in [
            ("200", 200_000_000_000_000),
            ("4.00", 4_000_000_000_000),
            ("0.1", 100_000_000_000),
            ("0.000000000001", 1),
            ("1000000000", 1_000_000_000_000_000_000_000),
        ] {
            assert_eq!(amount(text), Ok(Usd::from_pico(pico)), "{text}");
        }
        for text in [
            "",
            "-1",
            "0",
            "0.00",
            "nan",
            ".nan",
            "inf",
            "1e2",
            "1E2",
            "4,00",
            "1_000",
            "+4",
            ".5",
            "5.",
            "0x10",
            "007",
            "$4",
            "4 USD",
            "1000000000.01",
            "0.0000000000001",
            "٤",
        ] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn token_counts_may_be_grouped() {
        for (text, count) in [("1", 1), ("400000", 400_000), ("2_000_000", 2_000_000)] {
            assert_eq!(tokens(text), Ok(Tokens(count)), "{text}");
        }
        for text in
            ["", "0", "_1", "1_", "1__0", "1e6", "2M", "1,000", "-5", "1.5", "0100", "99999999999999999999"]
        {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_hours_minutes_and_seconds() {
        for (text, seconds) in
            [("40m", 2400), ("1h30m", 5400), ("90s", 90), ("1h1m1s", 3661), ("120h", SECONDS_MAX)]
        {
            let time = Duration::from_secs(seconds);
            assert_eq!(duration(text), Ok(time), "{text}");
            assert_eq!(duration(&duration_text(time)), Ok(time), "{text}");
        }
        for text in [
            "",
            "40",
            "m",
            "0m",
            "1m1h",
            "40 m",
            "40min",
            "1:30",
            "121h",
            "1d",
            "-5m",
            "1.5h",
            "99999999999999999999h",
            "5m5m",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
