//! `tollgate cost`: price usage objects or event streams.
//!
//! Reads JSON Lines, or one JSON document with `cases` and `streams`; writes one line for each. What
//! cannot be priced has no amount and says why: that is an answer and not a failure. Input that is no
//! JSON is a failure.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exit::{self, Failure};
use crate::money::{Usd, group};
use crate::price::{Table, When};
use crate::tokens::Usage;

mod context;
mod usage;

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
    /// The tier that the response says it was served at.
    service_tier: Option<String>,
    /// The items of a Responses answer: calls of the provider's tools are charged one by one.
    output: Option<Vec<Value>>,
    /// The candidates of an answer of Gemini's: queries that they are grounded by are charged one by one.
    candidates: Option<Vec<Value>>,
    /// The whole answer, in place of its parts.
    response: Value,
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
    /// OpenAI's lifetimes, where the API has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_30m: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_12h: Option<u64>,
    cache_read: u64,
    output: u64,
    web_search_requests: u64,
    /// Of `input`, what was spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_input: Option<u64>,
}

impl Tokens {
    fn of(usage: &Usage, api: usage::Api) -> Self {
        let counts = usage.counts();
        let openai = api == usage::Api::OpenAi;
        Self {
            input: counts.input.saturating_add(counts.audio_input),
            cache_write_5m: counts.cache_write_5m,
            cache_write_1h: counts.cache_write_1h,
            cache_write_30m: openai.then_some(counts.cache_write_30m),
            cache_write_12h: openai.then_some(counts.cache_write_12h),
            cache_read: counts.reads(),
            output: counts.output,
            web_search_requests: usage.web_searches.saturating_add(usage.calls.preview_searches),
            audio_input: Some(counts.audio_input).filter(|audio| *audio > 0),
        }
    }

    fn written(&self) -> u64 {
        let short = self.cache_write_5m.saturating_add(self.cache_write_30m.unwrap_or(0));
        short.saturating_add(self.cache_write_1h).saturating_add(self.cache_write_12h.unwrap_or(0))
    }
}

/// Runs the command; the exit code is 0 when all input was read, 2 when some of it is no item.
///
/// # Errors
/// A [`Failure`] with exit code 2 where the input cannot be opened; another error where it cannot be read to
/// its end, or the output cannot be written.
pub fn run(args: &Args, table: &Table, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let text = read(&args.input)?;
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    let mut code = exit::PASS;
    for item in items(&text) {
        match item {
            Ok(item) => write_line(&price(item, table, today), args.format, out)?,
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
    let item: Result<Item, _> = serde_json::from_value(value);
    item.map(Item::unfolded).map_err(|error| format!("not an item to price: {error}"))
}

fn price(item: Item, table: &Table, today: Date) -> Line {
    let id = item.id.clone();
    let unpriced = |tokens, why| Line { id: id.clone(), usd: None, tokens, why: Some(why), notes: vec![] };
    let (api, usage) = match usage::usage(&item) {
        Ok(read) => read,
        Err(why) => return unpriced(None, why),
    };
    let tokens = Some(Tokens::of(&usage, api));
    match table.cost(&usage, when(&item, today)) {
        Ok(cost) => Line { id, usd: Some(cost.usd), tokens, why: None, notes: cost.notes },
        Err(error) => unpriced(tokens, error.to_string()),
    }
}

/// Which prices hold: those of the item's day, or of its instant where it says one.
fn when(item: &Item, today: Date) -> When {
    let context = &item.request_context;
    let date = item.date.unwrap_or(today);
    let text = context["time"].as_str().unwrap_or_default();
    let time = || text.trim_end_matches('Z').parse::<Time>().ok();
    let on_that_day = || TimeZone::UTC.to_timestamp(date.to_datetime(time()?)).ok();
    match text.parse::<Timestamp>().ok().or_else(on_that_day) {
        Some(instant) => When::At(instant),
        None if context["offpeak"] == true || context["peak"] == false => When::OffPeak(date),
        None => When::On(date),
    }
}

fn write_line(line: &Line, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(line)?)?,
        Format::Text => {
            let id = line.id.as_str().map_or_else(|| line.id.to_string(), str::to_owned);
            let usd = line.usd.map_or_else(|| "-".to_owned(), |usd| format!("${usd}"));
            write!(out, "{id:<32} {usd:>16}")?;
            if let Some(tokens) = &line.tokens {
                let written = tokens.written();
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
