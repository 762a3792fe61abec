//! Usage objects of Bedrock's Converse API, to [`Usage`]. The meter does not speak this API; `cost` prices it.

use serde_json::{Map, Value};

use super::usage::{UsageError, count, object, present, wrong};
use crate::model::ModelId;
use crate::tokens::{Counts, Terms, Usage, UsageLine};

/// Reads a usage object. Its input excludes what touched the cache (Converse API reference).
///
/// # Errors
/// When input or output is missing, or a field is not what it has to be.
pub fn usage(model: &ModelId, usage: &Value, hour_writes: bool, terms: Terms) -> Result<Usage, UsageError> {
    let usage = object(usage, "usage")?;
    let needed = |field: &str| count(usage, field, "")?.ok_or_else(|| UsageError::Missing(field.to_owned()));
    let (mut five, mut hour) = (0_u64, 0_u64);
    if let Some(details) = present(usage, "cacheDetails") {
        let Value::Array(details) = details else { return Err(wrong("cacheDetails", details, "a list")) };
        for entry in details {
            let entry = object(entry, "cacheDetails")?;
            let tokens = count(entry, "inputTokens", "cacheDetails.")?.unwrap_or(0);
            let lifetime =
                if entry.get("ttl").and_then(Value::as_str) == Some("5m") { &mut five } else { &mut hour };
            *lifetime = lifetime.saturating_add(tokens);
        }
    }
    let written = either(usage, ["cacheWriteInputTokens", "cacheWriteInputTokenCount"])?;
    let unexplained = written.saturating_sub(five.saturating_add(hour));
    let lifetime = if hour_writes || hour > 0 { &mut hour } else { &mut five };
    *lifetime = lifetime.saturating_add(unexplained);
    let counts = Counts {
        input: needed("inputTokens")?,
        cache_read: either(usage, ["cacheReadInputTokens", "cacheReadInputTokenCount"])?,
        cache_write_5m: five,
        cache_write_1h: hour,
        output: needed("outputTokens")?,
        ..Counts::default()
    };
    let line = UsageLine { model: model.clone(), counts, terms, beside_prompt: 0 };
    Ok(Usage { lines: vec![line], ..Usage::default() })
}

fn either(usage: &Map<String, Value>, fields: [&str; 2]) -> Result<u64, UsageError> {
    let [now, before] = fields;
    Ok(count(usage, now, "")?.or(count(usage, before, "")?).unwrap_or(0))
}
