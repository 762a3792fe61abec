//! `tollgate cost`: price usage objects or event streams.
//!
//! Reads JSON Lines, or one JSON document with `cases` and `streams`; writes one line for each. What
//! cannot be priced has no amount and says why: that is an answer and not a failure. Input that is no
//! JSON is a failure.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exit::{self, Failure};
use crate::model::ModelId;
use crate::money::{Usd, group};
use crate::price::{Table, When};
use crate::provider::anthropic::usage::Merge;
use crate::tokens::{Counts, Usage};

/// The longest input, in bytes.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The arguments of `tollgate cost`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to price: JSON Lines, or one JSON document with `cases` and `streams`; `-` for stdin
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// How to write the answer
    #[arg(long, value_enum, default_value = "json")]
    pub format: Format,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Json,
    /// Columns for people
    Text,
}

/// One thing to price: a usage object, or the events of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: Value,
    provider: Option<String>,
    api: Option<String>,
    model: Option<String>,
    /// What is known of the request: cache lifetimes, and terms that the usage leaves out.
    request_context: Value,
    /// The day whose prices hold; today where it is missing.
    date: Option<Date>,
    usage: Value,
    events: Option<Vec<Value>>,
    stop_reason: Option<String>,
    content: Option<Vec<Value>>,
}

/// The answer for one item.
#[derive(Debug, Serialize)]
struct Line {
    id: Value,
    usd: Option<Usd>,
    tokens: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tokens {
    input: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    cache_read: u64,
    output: u64,
    web_search_requests: u64,
}

impl Tokens {
    fn of(usage: &Usage) -> Self {
        let Counts { input, cache_read, cache_write_5m, cache_write_1h, output } = usage.counts();
        let web_search_requests = usage.web_searches;
        Self { input, cache_write_5m, cache_write_1h, cache_read, output, web_search_requests }
    }
}

/// Runs the command; the exit code is 0 when all input was read, 2 when some of it is no item.
///
/// # Errors
/// A [`Failure`] with exit code 2 where the input cannot be opened; another error where it cannot be read to
/// its end, or the output cannot be written.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let text = read(&args.input)?;
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    let mut code = exit::PASS;
    for item in items(&text) {
        match item {
            Ok(item) => write_line(&price(item, Table::embedded(), today), args.format, out)?,
            Err(problem) => {
                writeln!(err, "error: {}: {problem}", args.input.display())?;
                code = exit::USAGE;
            }
        }
    }
    Ok(code)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let size = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("cannot read stdin")
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        let read = file.take(INPUT_BYTES_MAX).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {}", path.display()))
    }?;
    anyhow::ensure!(size as u64 != INPUT_BYTES_MAX, "the input is longer than {INPUT_BYTES_MAX} bytes");
    Ok(text)
}

/// The items of the input, or what is wrong with the place where one should be.
fn items(text: &str) -> Vec<Result<Item, String>> {
    if let Ok(mut document) = serde_json::from_str::<Map<String, Value>>(text) {
        let lists: Vec<Value> =
            ["cases", "streams"].iter().filter_map(|list| document.remove(*list)).collect();
        if lists.is_empty() {
            return vec![item(Value::Object(document)).map_err(|error| format!("line 1: {error}"))];
        }
        return lists.into_iter().flat_map(list_items).collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let value = serde_json::from_str(line).map_err(|error| error.to_string());
            value.and_then(item).map_err(|error| format!("line {}: {error}", index + 1))
        })
        .collect()
}

fn list_items(list: Value) -> Vec<Result<Item, String>> {
    match list {
        Value::Array(values) => values.into_iter().map(item).collect(),
        _ => vec![Err("`cases` and `streams` have to be lists".to_owned())],
    }
}

fn item(value: Value) -> Result<Item, String> {
    serde_json::from_value(value).map_err(|error| format!("not an item to price: {error}"))
}

fn price(item: Item, table: &Table, today: Date) -> Line {
    let id = item.id.clone();
    let unpriced = |tokens, why| Line { id: id.clone(), usd: None, tokens, why: Some(why), notes: vec![] };
    let usage = match usage(&item) {
        Ok(usage) => usage,
        Err(why) => return unpriced(None, why),
    };
    let tokens = Some(Tokens::of(&usage));
    match table.cost(&usage, When::On(item.date.unwrap_or(today))) {
        Ok(cost) => Line { id, usd: Some(cost.usd), tokens, why: None, notes: cost.notes },
        Err(error) => unpriced(tokens, error.to_string()),
    }
}

/// The usage of an item, or why there is none.
fn usage(item: &Item) -> Result<Usage, String> {
    match (item.api.as_deref(), item.provider.as_deref()) {
        (Some("anthropic"), _) | (None, Some("anthropic") | None) => {}
        (Some(other), _) | (None, Some(other)) => {
            return Err(format!("the API `{other}` is not supported yet"));
        }
    }
    let Some(model) = item.model.as_deref().or_else(|| started_model(item)) else {
        return Err("the model is missing".to_owned());
    };
    let model = ModelId::new(model);
    let mut merge = Merge::new(&model, marks_hour(&item.request_context));
    take_asked_terms(&mut merge, &item.request_context)?;
    match &item.events {
        Some(events) => from_events(merge, events),
        None => from_object(merge, item),
    }
}

/// The model that a stream's first event names.
fn started_model(item: &Item) -> Option<&str> {
    let start = item.events.iter().flatten().find(|event| event["type"] == "message_start")?;
    start["message"]["model"].as_str()
}

/// Whether a part of a request marks a cache lifetime of one hour, at any depth.
fn marks_hour(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| (name.contains("ttl") && value == "1h") || marks_hour(value))
        }
        Value::Array(values) => values.iter().any(marks_hour),
        _ => false,
    }
}

/// Terms that the request asked for hold where the usage does not say what was served.
fn take_asked_terms(merge: &mut Merge, context: &Value) -> Result<(), String> {
    let mut asked = Map::new();
    for field in ["service_tier", "speed", "inference_geo"] {
        // `auto` and `standard_only` say what may be served and not what was.
        let value = context.get(field).filter(|value| *value != "auto" && *value != "standard_only");
        if let Some(value) = value {
            asked.insert(field.to_owned(), value.clone());
        }
    }
    merge.take(&Value::Object(asked)).map_err(|error| error.to_string())
}

fn from_object(mut merge: Merge, item: &Item) -> Result<Usage, String> {
    if item.usage.is_null() {
        return Err("the usage is missing".to_owned());
    }
    merge.take(&item.usage).map_err(|error| error.to_string())?;
    let empty = item.content.as_ref().is_some_and(Vec::is_empty);
    let refused = empty && item.stop_reason.as_deref() == Some("refusal");
    merge.finish(refused).map_err(|error| error.to_string())
}

/// The usage of a stream's events. Only a `message_delta` tells the output: the count in
/// `message_start` is a placeholder.
fn from_events(mut merge: Merge, events: &[Value]) -> Result<Usage, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut counted = None;
    let mut refused = false;
    let mut any_content = false;
    for event in events {
        match event["type"].as_str() {
            Some("message_start") => {
                let message = &event["message"];
                if let Some(model) = text(&message["model"]) {
                    merge.model(&model);
                }
                if !message["usage"].is_null() {
                    merge.take(&message["usage"]).map_err(|error| error.to_string())?;
                }
            }
            Some("message_delta") => {
                refused |= event["delta"]["stop_reason"] == "refusal";
                let usage = &event["usage"];
                if !usage.is_null() {
                    merge.take(usage).map_err(|error| error.to_string())?;
                    counted = usage["output_tokens"].as_u64().or(counted);
                }
            }
            Some("content_block_start" | "content_block_delta") => any_content = true,
            Some("error") if counted.is_none() => {
                return Err("the stream ended with an error before its final usage".to_owned());
            }
            _ => {}
        }
    }
    let Some(output) = counted else {
        return Err("the stream broke off before its final usage: its output is not known".to_owned());
    };
    // Recorded streams may leave the content out; a count above one tells that there was some.
    let nothing_said = !any_content && output <= 1;
    merge.finish(refused && nothing_said).map_err(|error| error.to_string())
}

fn write_line(line: &Line, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(line)?)?,
        Format::Text => {
            let id = line.id.as_str().map_or_else(|| line.id.to_string(), str::to_owned);
            let usd = line.usd.map_or_else(|| "-".to_owned(), |usd| format!("${usd}"));
            write!(out, "{id:<32} {usd:>16}")?;
            if let Some(tokens) = &line.tokens {
                let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
                let shown = |count: u64| group(u128::from(count));
                write!(out, "  in {}", shown(tokens.input))?;
                write!(out, ", cache written {} read {}", shown(written), shown(tokens.cache_read))?;
                write!(out, ", out {}", shown(tokens.output))?;
                if tokens.web_search_requests > 0 {
                    write!(out, ", web searches {}", shown(tokens.web_search_requests))?;
                }
            }
            for note in line.why.iter().chain(&line.notes) {
                write!(out, "  {note}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
