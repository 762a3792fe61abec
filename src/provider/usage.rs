//! Reading usage objects, whatever API they are of: what each reader of them needs.
//!
//! A usage object is read field by field, and nothing is guessed: a field that is not what it has to be is
//! an error, since what cannot be read is not priced.

use serde_json::{Map, Value};

use crate::money::Usd;

/// Why a usage object cannot be read. What cannot be read is not priced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A field that must be there never came.
    #[error("the usage field `{0}` is missing")]
    Missing(String),
    /// A field is not what it has to be.
    #[error("the usage field `{field}` is {found}: expected {expected}")]
    Wrong {
        /// The field's path.
        field: String,
        /// What stands there, shortened.
        found: String,
        /// What should.
        expected: &'static str,
    },
}

/// Keeps the newer value where there is one.
pub(super) fn latest<T>(kept: &mut Option<T>, newer: Option<T>) {
    if newer.is_some() {
        *kept = newer;
    }
}

/// Keeps the newer count of the input side, unless it is nothing where there was something: gateways
/// fill fields of their last event with zeros that they have no count for.
pub(super) fn latest_input(kept: &mut Option<u64>, newer: Option<u64>) {
    if newer != Some(0) || kept.is_none() {
        latest(kept, newer);
    }
}

/// The field's value, unless it is absent or null.
pub(super) fn present<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, UsageError> {
    value.as_object().ok_or_else(|| wrong(path, value, "an object"))
}

pub(super) fn count(
    object: &Map<String, Value>,
    field: &str,
    prefix: &str,
) -> Result<Option<u64>, UsageError> {
    let Some(value) = present(object, field) else { return Ok(None) };
    let count = value.as_u64();
    count.map(Some).ok_or_else(|| wrong(&format!("{prefix}{field}"), value, "a whole number, zero or more"))
}

pub(super) fn text(object: &Map<String, Value>, field: &str) -> Result<Option<String>, UsageError> {
    text_at(object, field, "")
}

pub(super) fn text_at(
    object: &Map<String, Value>,
    field: &str,
    prefix: &str,
) -> Result<Option<String>, UsageError> {
    let Some(value) = present(object, field) else { return Ok(None) };
    let text = value.as_str().map(str::to_owned);
    text.map(Some).ok_or_else(|| wrong(&format!("{prefix}{field}"), value, "a text"))
}

pub(super) fn wrong(field: &str, found: &Value, expected: &'static str) -> UsageError {
    const SHOWN_CHARS: usize = 40;
    let text = found.to_string();
    let mut found: String = text.chars().take(SHOWN_CHARS).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        found.push('…');
    }
    UsageError::Wrong { field: field.to_owned(), found, expected }
}

/// An amount of dollars that stands in JSON as a number, exactly as it is written, rounded up to a
/// pico-dollar. `None` for what is no amount, and for nothing, which would be a price that nobody said.
pub(super) fn dollars(value: &Value) -> Option<Usd> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The digits stand for so many pico-dollars times a power of ten.
    let power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(12)?;
    let digits: i128 = digits.parse().ok()?;
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    let pico = match (power >= 0, factor) {
        (true, factor) => digits.checked_mul(factor?)?,
        (false, Some(factor)) => digits / factor + i128::from(digits % factor > 0),
        (false, None) => i128::from(digits > 0),
    };
    Some(Usd::from_pico(pico)).filter(|usd| *usd > Usd::ZERO)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_amount_is_taken_as_it_is_written() {
        for (value, pico) in [
            (json!(0.00014), Some(140_000_000)),
            (json!(5e-7), Some(500_000)),
            (json!(2), Some(2_000_000_000_000)),
            (json!("0.25"), Some(250_000_000_000)),
            (json!(1.0e-13), Some(1)),
            (json!(0), None),
            (json!(-1), None),
            (json!("about a dollar"), None),
            (json!(null), None),
        ] {
            assert_eq!(dollars(&value).map(Usd::pico), pico, "{value}");
        }
    }
}
