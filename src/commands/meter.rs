//! `tollgate meter`: the meter alone, for whoever brings an agent and a cap of their own.
//!
//! The key comes from the environment and stays here; clients get the address and the token from the
//! ready file. SIGTERM, SIGINT or SIGHUP ends the run: what is in flight is waited for, and the summary is written.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use crate::meter::{Allowance, Config, DearerModel, Key, Meter, Policy, Totals, Upstream, Way};
use crate::money::Usd;
use crate::price::Table;
use crate::provider::Vendor;
use crate::report::defuse;

/// How long what is in flight is waited for at the end.
const DRAIN_MAX: Duration = Duration::from_secs(4);

/// The arguments of `tollgate meter`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The most that may be spent, in dollars
    #[arg(long, value_name = "N")]
    pub cap_usd: Usd,
    /// The most new tokens that may be used: input that is not read from a cache, and output
    #[arg(long, value_name = "N")]
    pub cap_tokens: Option<u64>,
    /// Where an API is reached, such as anthropic=https://api.anthropic.com; openai, gemini, vertex and bedrock as well, each once. Without it, every API whose key is set
    #[arg(long, value_name = "API=URL")]
    pub upstream: Vec<UpstreamArg>,
    /// The address to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where to write {"url","token"} once requests are taken
    #[arg(long, value_name = "FILE")]
    pub ready_file: PathBuf,
    /// Where to write what was used, at the end
    #[arg(long, value_name = "FILE")]
    pub summary_json: PathBuf,
    /// Where to write each admission before it leaves; a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Percent of the cap at which the agent is told to wrap up; 0 for never
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub steer_at: u32,
    /// Tools that the provider runs by itself
    #[arg(long, value_enum, default_value = "deny")]
    pub server_tools: ServerTools,
    /// Models without a price
    #[arg(long, value_enum, default_value = "deny")]
    pub unknown_model: UnknownModel,
    /// Meter and report, and stop nothing
    #[arg(long)]
    pub observe: bool,
}

/// What becomes of tools that the provider runs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ServerTools {
    /// A request that offers one is refused
    Deny,
    /// It counts at the most it can cause
    Bound,
}

/// What becomes of a model without a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UnknownModel {
    /// It is refused
    Deny,
    /// It counts at the dearest price there is
    Ceiling,
}

/// `API=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamArg(pub Vendor, pub Upstream);

impl FromStr for UpstreamArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((api, url)) = text.split_once('=') else {
            return Err(
                "write the API and its address, such as anthropic=https://api.anthropic.com".to_owned()
            );
        };
        let Some(vendor) = Vendor::named(api) else {
            return Err(format!(
                "`{api}` is not metered; write anthropic, openai, gemini, vertex or bedrock"
            ));
        };
        Upstream::parse(url).map(|upstream| Self(vendor, upstream)).map_err(|error| error.to_string())
    }
}

/// Runs the meter until SIGTERM, SIGINT or SIGHUP. `env` looks a variable up.
///
/// # Errors
/// When it cannot listen, or the ready file, the journal or the summary cannot be written.
pub async fn run(
    args: &Args,
    table: &'static Table,
    env: &dyn Fn(&str) -> Option<String>,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    // All are installed before anybody can be told that the meter is ready.
    let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    run_until(args, table, env, err, stop).await
}

/// Runs the meter until `stop` ends.
///
/// # Errors
/// See [`run`].
pub async fn run_until(
    args: &Args,
    table: &'static Table,
    env: &dyn Fn(&str) -> Option<String>,
    err: &mut dyn Write,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<u8> {
    let ways = match ways(args, env) {
        Ok(ways) => ways,
        Err(missing) => {
            // What a cloud misses comes with a hint of its own.
            let hint = "\n\nhint: the meter sends it to the provider; clients get a token instead";
            let hint = if missing.contains("\n\nhint: ") { "" } else { hint };
            writeln!(err, "error: {missing}{hint}")?;
            return Ok(exit::USAGE);
        }
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("the meter cannot listen on {}", args.listen))?;
    let meter = Meter::start(listener, config(args, table, ways))?;
    let ready = json!({ "url": meter.url(), "token": meter.token() });
    write_whole(&args.ready_file, &ready)?;
    stop.await;
    let totals = meter.drain(DRAIN_MAX).await;
    for note in &totals.notes {
        writeln!(err, "note: {}", defuse::plain(note))?;
    }
    write_whole(&args.summary_json, &summary(args.cap_usd, &totals))?;
    Ok(exit::PASS)
}

/// How the APIs are reached: those that are named, else those whose key there is. What is missing is said.
fn ways(args: &Args, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Way>, String> {
    let mut ways: Vec<Way> = Vec::new();
    for vendor in Vendor::ALL {
        let named = args.upstream.iter().rev().find(|UpstreamArg(of, _)| *of == vendor);
        if named.is_none() && (vendor.is_cloud() || !args.upstream.is_empty()) {
            continue;
        }
        let key = Key::found(vendor, env)?;
        match (key, named) {
            (Some(key), named) => {
                let upstream =
                    named.map_or_else(|| Upstream::of(vendor), |UpstreamArg(_, upstream)| upstream.clone());
                ways.push(Way { vendor, upstream, key });
            }
            (None, Some(_)) => return Err(format!("{} is not set", vendor.key_variable())),
            (None, None) => {}
        }
    }
    if ways.is_empty() {
        return Err("none of ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY is set, nor CLAUDE_CODE_OAUTH_TOKEN"
            .to_owned());
    }
    Ok(ways)
}

fn config(args: &Args, table: &'static Table, ways: Vec<Way>) -> Config {
    let policy = Policy {
        deny_unknown_model: args.unknown_model == UnknownModel::Deny,
        deny_server_tools: args.server_tools == ServerTools::Deny,
        // There is no route here that a model could be dearer than.
        dearer_model: DearerModel::Allow,
        steer_at: (args.steer_at > 0).then_some(args.steer_at),
        enforce: !args.observe,
    };
    Config {
        ways,
        table,
        policy,
        allowance: Allowance { usd: args.cap_usd, fresh_tokens: args.cap_tokens },
        routed: None,
        output_default: None,
        journal: args.journal.clone(),
        clock: Timestamp::now,
    }
}

/// What was used. Amounts are exact decimal dollars, as text.
fn summary(cap: Usd, totals: &Totals) -> Value {
    let mut by_model = Map::new();
    for (model, used) in &totals.by_model {
        let used = json!({
            "requests": used.requests,
            "usd": used.usd,
            "notional_usd": used.notional,
            "input_tokens": used.counts.input,
            "cache_read_tokens": used.counts.cache_read,
            "cache_write_5m_tokens": used.counts.cache_write_5m,
            "cache_write_1h_tokens": used.counts.cache_write_1h,
            "cache_write_30m_tokens": used.counts.cache_write_30m,
            "cache_write_12h_tokens": used.counts.cache_write_12h,
            "audio_input_tokens": used.counts.audio_input,
            "audio_cache_read_tokens": used.counts.audio_cache_read,
            "output_tokens": used.counts.output,
        });
        by_model.insert(model.to_string(), used);
    }
    json!({
        "cap_usd": cap,
        "settled_usd": totals.settled,
        "estimated_usd": totals.estimated,
        "notional_usd": totals.notional,
        // A run that has been drained holds nothing: what was still open counts at its bound.
        "held_usd": Usd::ZERO,
        "requests": totals.requests,
        "stopped_requests": totals.stopped_requests,
        "by_model": by_model,
        "overrun": totals.overrun,
        "notes": totals.notes,
    })
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_whole(path: &Path, value: &Value) -> anyhow::Result<()> {
    let mut name = path.file_name().context("a file name is missing")?.to_owned();
    name.push(format!(".{}", crate::id::random_hex(6)));
    let beside = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        writeln!(file, "{value}")?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
