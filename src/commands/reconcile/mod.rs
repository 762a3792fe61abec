//! `tollgate reconcile`: the ledger against the provider's own bill, by day and model.
//!
//! `bill` asks the provider, `compare` compares, `show` prints. With `--record` each complete day is put on record,
//! which budgets do not count, and holds that were charged without evidence are corrected to the most that the bill
//! leaves for them, which budgets do count: `record`.

mod bill;
mod compare;
mod record;
mod show;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use reqwest::Url;

use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::ledger::store::Store;
use crate::pipeline::place::{self, Place};
use crate::pipeline::{books, inputs};
use crate::price;
use bill::{BillError, Billed, Source};
use record::Found;

/// Days that are compared at most.
const DAYS_MAX: i32 = 366;

/// Compare the ledger with the provider's own bill, by day and model.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The first day, in UTC, as in 2026-11-01
    #[arg(long, value_name = "DAY")]
    pub since: Date,
    /// The last day [default: yesterday]
    #[arg(long, value_name = "DAY")]
    pub until: Option<Date>,
    /// Whose bill [default: of every provider whose admin key is set]
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// The bill of one workspace (Anthropic) or project (OpenAI) only
    #[arg(long, value_name = "ID", requires = "provider")]
    pub workspace: Option<String>,
    /// Put the days on record, and with --first-party correct holds that were charged without evidence
    #[arg(long)]
    pub record: bool,
    /// Nothing on this ledger went through a cloud or a reseller, whose bills are not read
    #[arg(long)]
    pub first_party: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The budget file [default: .github/tollgate.yml]
    #[arg(long, value_name = "FILE")]
    pub budget_file: Option<PathBuf>,
    /// The folder of the file ledger, instead of the one that the budget file names
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// Another address of the provider's API, as API=URL
    #[arg(long, value_name = "API=URL", hide = true)]
    pub upstream: Vec<String>,
}

/// A form of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for scripts
    Json,
}

/// Whose bill can be read.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Anthropic's cost report, with ANTHROPIC_ADMIN_KEY
    Anthropic,
    /// OpenAI's organization costs, with OPENAI_ADMIN_KEY
    Openai,
}

impl Provider {
    const ALL: [Self; 2] = [Self::Anthropic, Self::Openai];

    const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
        }
    }

    /// Where its admin key is.
    const fn variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_ADMIN_KEY",
            Self::Openai => "OPENAI_ADMIN_KEY",
        }
    }

    const fn address(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::Openai => "https://api.openai.com",
        }
    }

    const fn of(seller: price::Provider) -> Option<Self> {
        match seller {
            price::Provider::Anthropic => Some(Self::Anthropic),
            price::Provider::Openai => Some(Self::Openai),
            _ => None,
        }
    }

    /// Whose a model is that the price table does not know.
    fn by_name(model: &str) -> Option<Self> {
        let begins = |names: &[&str]| names.iter().any(|name| model.starts_with(name));
        match model {
            _ if begins(&["claude"]) => Some(Self::Anthropic),
            _ if begins(&["gpt", "o1", "o3", "o4", "codex", "chatgpt"]) => Some(Self::Openai),
            _ => None,
        }
    }
}

/// Runs the command; returns the exit code.
///
/// # Errors
/// A [`Failure`] where a key or a day is missing; another error where the bill or the ledger cannot be read.
pub async fn run(args: Args, shell: &mut Shell) -> anyhow::Result<u8> {
    let root = super::top_folder(shell)?;
    let place = match &args.ledger {
        Some(folder) => Place::File(folder.clone()),
        None => {
            let budget = inputs::working_tree_budget(args.budget_file.as_deref(), &root)?;
            Place::find(shell, &budget, &root, false)?
        }
    };
    let store = match place {
        Place::File(folder) => Store::open_existing(&folder, place::options(false)),
        other => other.open_existing(false),
    }
    .map_err(books::unavailable)?;
    let span = days(&args, store.now())?;
    // All bills first: what a hold can have cost may need more than one of them.
    let bills = read_bills(&args, shell, span).await?;
    let mut all = record::compare(&store, &bills, span)?;
    if !args.first_party {
        all.iter_mut().for_each(Found::keep);
    }
    let recorded = if args.record { Some(record::record(&store, &bills, span, &mut all)?) } else { None };
    match args.format {
        Format::Table => show::tables(&all, recorded, &mut shell.out)?,
        Format::Json => writeln!(shell.out, "{:#}", show::json(&all, recorded))?,
    }
    Ok(exit::PASS)
}

async fn read_bills(
    args: &Args,
    shell: &Shell,
    (first, end): (Date, Date),
) -> anyhow::Result<Vec<(Provider, Billed)>> {
    let mut bills = Vec::new();
    for provider in providers(args, shell)? {
        let key = shell.var(provider.variable()).ok_or_else(|| no_key(provider))?;
        let base = address(args, provider)?;
        let source = Source { provider, base, key, part: args.workspace.as_deref() };
        let billed = source.read(first, end).await.map_err(|error| match error {
            BillError::Key { .. } => anyhow::Error::from(Failure::usage(error.to_string())),
            error => error.into(),
        })?;
        bills.push((provider, billed));
    }
    Ok(bills)
}

/// The first day, and the one after the last.
fn days(args: &Args, now: Timestamp) -> Result<(Date, Date), Failure> {
    let today = TimeZone::UTC.to_datetime(now).date();
    let last = args.until.unwrap_or_else(|| today.saturating_sub(1.day()));
    if args.since > last {
        let what = format!(
            "there is no day from {} to {last}\n\nhint: `--since` is the first day, `--until` the last",
            args.since
        );
        return Err(Failure::usage(what));
    }
    if last > today {
        let what = format!(
            "{last} is yet to come\n\nhint: leave `--until` out, and the last day is yesterday, which is {}",
            today.saturating_sub(1.day())
        );
        return Err(Failure::usage(what));
    }
    let count = (last - args.since).get_days() + 1;
    if count > DAYS_MAX {
        let what = format!(
            "{count} days are too many: {DAYS_MAX} are compared at most\n\nhint: compare them a part at a time, by \
             `--since` and `--until`"
        );
        return Err(Failure::usage(what));
    }
    Ok((args.since, last.saturating_add(1.day())))
}

fn providers(args: &Args, shell: &Shell) -> Result<Vec<Provider>, Failure> {
    if let Some(provider) = args.provider {
        return Ok(vec![provider]);
    }
    let with_key: Vec<Provider> =
        Provider::ALL.into_iter().filter(|provider| shell.var(provider.variable()).is_some()).collect();
    if with_key.is_empty() {
        return Err(Failure::usage(
            "no admin key is set\n\nhint: set ANTHROPIC_ADMIN_KEY or OPENAI_ADMIN_KEY: the bill is the \
             organization's, and the keys of runs cannot read it",
        ));
    }
    Ok(with_key)
}

fn no_key(provider: Provider) -> Failure {
    let (name, variable) = (provider.name(), provider.variable());
    Failure::usage(format!(
        "{variable} is not set\n\nhint: set it to an admin key of the organization at {name}"
    ))
}

fn address(args: &Args, provider: Provider) -> Result<Url, Failure> {
    let named = args.upstream.iter().find_map(|pair| pair.strip_prefix(provider.name())?.strip_prefix('='));
    let text = named.unwrap_or(provider.address());
    let wrong = || {
        Failure::usage(format!("`{text}` is no address that a key may be sent to\n\nhint: it must be https"))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme() == "https" || (url.scheme() == "http" && here) { Ok(url) } else { Err(wrong()) }
}
