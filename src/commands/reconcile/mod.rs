//! `tollgate reconcile`: the ledger against the provider's own bill, by day and model.
//!
//! `bill` asks the provider, `compare` compares. With `--record` each complete day is put on record, which
//! budgets do not count, and holds that were charged without evidence are corrected to the most that the bill
//! leaves for them, which budgets do count.

mod bill;
mod compare;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use reqwest::Url;
use serde_json::{Value, json};

use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::id::HoldId;
use crate::ledger::event::{Bill, Kind, Note};
use crate::ledger::hold::{Hold, Phase};
use crate::ledger::store::Store;
use crate::money::Usd;
use crate::pipeline::place::{self, Place};
use crate::pipeline::{books, inputs};
use crate::price;
use crate::report::defuse;
use crate::report::spend::runs::{Passed, Runs};
use bill::{BillError, Billed, Source};
use compare::{Comparison, Correction, Kept};

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

/// What was found: each provider's comparison, and what is to be done about the holds without evidence.
struct Found {
    comparison: Comparison,
    corrections: Vec<Correction>,
    kept: Vec<Kept>,
}

impl Found {
    /// Leaves everything as it is: the ledger says which model served, and not whom it was bought from.
    fn keep(&mut self) {
        self.kept.extend(self.corrections.drain(..).map(|Correction { hold, charged, .. }| Kept {
            hold,
            charged: charged.usd,
            why: "it may have gone through a cloud or a reseller, whose bills are not read; `--first-party` says \
                  that nothing did"
                .to_owned(),
        }));
    }
}

/// What was put on record.
#[derive(Clone, Copy)]
struct Recorded {
    days: usize,
    corrections: usize,
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
    let mut all = compare(&store, &bills, span)?;
    if !args.first_party {
        all.iter_mut().for_each(Found::keep);
    }
    let recorded = if args.record { Some(record(&store, &bills, span, &mut all)?) } else { None };
    match args.format {
        Format::Table => print_tables(&all, recorded, &mut shell.out)?,
        Format::Json => writeln!(shell.out, "{:#}", as_json(&all, recorded))?,
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

/// The bills against the ledger as it stands.
fn compare(store: &Store, bills: &[(Provider, Billed)], span: (Date, Date)) -> anyhow::Result<Vec<Found>> {
    let now = store.now();
    let with = |(provider, billed): &(Provider, Billed)| Comparison::with(*provider, billed, span, now);
    let mut all: Vec<Comparison> = bills.iter().map(with).collect();
    each_run(store, span.0, |run| all.iter_mut().for_each(|comparison| comparison.take(run)))?;
    let found = |comparison: &Comparison| {
        let mut found = Found { comparison: comparison.clone(), corrections: Vec::new(), kept: Vec::new() };
        for judged in comparison.judge(&all) {
            match judged {
                Ok(correction) => found.corrections.push(correction),
                Err(kept) => found.kept.push(kept),
            }
        }
        found
    };
    Ok(all.iter().map(found).collect())
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
        return Err(Failure::usage(format!("{last} is yet to come")));
    }
    let count = (last - args.since).get_days() + 1;
    if count > DAYS_MAX {
        return Err(Failure::usage(format!("{count} days are too many: {DAYS_MAX} are compared at most")));
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

/// Every run that began on the first day or later, as it stands.
fn each_run(
    store: &Store,
    first: Date,
    mut each: impl FnMut(&crate::report::spend::runs::Run),
) -> anyhow::Result<()> {
    let since = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)).ok();
    let mut runs = Runs::default();
    for event in store.events(since).map_err(books::unavailable)? {
        runs.take(event.map_err(books::unavailable)?);
    }
    let known = match runs.finish() {
        Ok((_, known)) | Err(known) => known,
    };
    let mut runs = Runs::knowing(known);
    for event in store.events(since).map_err(books::unavailable)? {
        if let Some(Passed::Run(run)) = runs.take(event.map_err(books::unavailable)?) {
            each(&run);
        }
    }
    Ok(())
}

/// Corrects what can be corrected, and then puts complete days on record, as they are after that, unless they
/// are there already. A correction that cannot be made after all is one that is kept.
fn record(
    store: &Store,
    bills: &[(Provider, Billed)],
    span: (Date, Date),
    all: &mut [Found],
) -> anyhow::Result<Recorded> {
    let mut corrections = 0;
    for Found { corrections: found, kept, .. } in all.iter_mut() {
        for correction in std::mem::take(found) {
            if correct(store, &correction)? {
                corrections += 1;
                found.push(correction);
            } else {
                let (hold, charged) = (correction.hold, correction.charged.usd);
                let why = "somebody else has corrected it meanwhile".to_owned();
                kept.push(Kept { hold, charged, why });
            }
        }
    }
    let mut there = recorded_bills(store, span.0)?;
    let mut days = 0;
    for Found { comparison, .. } in compare(store, bills, span)? {
        for bill in comparison.bills() {
            let key = HoldId::from_text(&format!("bill/{}/{}", bill.provider, bill.day));
            if there.get(&key) != Some(&bill) {
                store.note(&key, Note::Bill(bill.clone())).map_err(books::unavailable)?;
                there.insert(key, bill);
                days += 1;
            }
        }
    }
    Ok(Recorded { days, corrections })
}

/// Makes a correction, if the hold is still what it was found to be: its run may have settled late, or a
/// person may have corrected it, while the bills were read.
fn correct(store: &Store, correction: &Correction) -> anyhow::Result<bool> {
    let Correction { hold: id, charged, evidence, .. } = correction;
    let hold = store.hold(id).map_err(books::unavailable)?;
    let same = |hold: Hold| hold.phase == Phase::Expired && !hold.adjusted && hold.spend == *charged;
    if !hold.is_some_and(same) {
        return Ok(false);
    }
    store.adjust(id, &correction.spend(), evidence).map_err(books::unavailable)?;
    Ok(true)
}

/// The bills that are on record, the last one of each day.
fn recorded_bills(store: &Store, first: Date) -> anyhow::Result<BTreeMap<HoldId, Bill>> {
    let since = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)).ok();
    let mut there = BTreeMap::new();
    for event in store.events(since).map_err(books::unavailable)? {
        let event = event.map_err(books::unavailable)?;
        if let Kind::Note(Note::Bill(bill)) = event.kind {
            there.insert(event.hold, bill);
        }
    }
    Ok(there)
}

fn print_tables(all: &[Found], recorded: Option<Recorded>, out: &mut dyn Write) -> anyhow::Result<()> {
    for Found { comparison, corrections, kept } in all {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(vec!["day", "model", "billed", "ledger", "unproven", "difference"]);
        for column in 2..=5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (date, day) in &comparison.days {
            let rows = day.models.iter().map(|(model, cell)| (model.as_str(), *cell));
            let total = (day.models.len() != 1).then(|| ("total", day.total()));
            for (model, cell) in rows.chain(total) {
                let model = if model.is_empty() { "(no model)".to_owned() } else { defuse::plain(model) };
                table.add_row(vec![
                    date.to_string(),
                    model,
                    cell.billed.shown().to_string(),
                    cell.ledger.shown().to_string(),
                    cell.unproven.shown().to_string(),
                    signed(cell.billed - cell.ledger),
                ]);
            }
            if day.preliminary {
                table.add_row(vec![date.to_string(), "(the bill may still grow)".to_owned()]);
            }
        }
        writeln!(out, "{}", comparison.provider.name())?;
        table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))?;
        for Correction { hold, charged, at_most, evidence } in corrections {
            let what = if recorded.is_some() { "corrected" } else { "can be corrected with --record" };
            writeln!(
                out,
                "{what}: {hold}, charged {}, cost {} at most: {evidence}",
                charged.usd.shown(),
                at_most.shown()
            )?;
        }
        for Kept { hold, charged, why } in kept {
            writeln!(out, "not corrected: {hold}, charged {}: {why}", charged.shown())?;
        }
    }
    if let Some(Recorded { days, corrections }) = recorded {
        writeln!(out, "recorded {days} days, corrected {corrections} holds")?;
    }
    Ok(())
}

fn signed(usd: Usd) -> String {
    if usd < Usd::ZERO { format!("-{}", (Usd::ZERO - usd).shown()) } else { format!("+{}", usd.shown()) }
}

fn as_json(all: &[Found], recorded: Option<Recorded>) -> Value {
    let cell = |cell: compare::Cell| {
        json!({
            "billed_usd": cell.billed, "ledger_usd": cell.ledger, "unproven_usd": cell.unproven,
            "difference_usd": cell.billed - cell.ledger,
        })
    };
    let provider = |found: &Found| {
        let days = found.comparison.days.iter().map(|(date, day)| {
            let models: BTreeMap<&String, Value> =
                day.models.iter().map(|(model, found)| (model, cell(*found))).collect();
            json!({
                "day": date, "preliminary": day.preliminary, "total": cell(day.total()), "models": models,
            })
        });
        let corrections = found.corrections.iter().map(|correction| {
            json!({
                "hold": correction.hold, "charged_usd": correction.charged.usd, "at_most_usd": correction.at_most,
                "evidence": correction.evidence,
            })
        });
        let kept = found
            .kept
            .iter()
            .map(|Kept { hold, charged, why }| json!({ "hold": hold, "charged_usd": charged, "why": why }));
        json!({
            "provider": found.comparison.provider.name(),
            "days": days.collect::<Vec<_>>(),
            "corrections": corrections.collect::<Vec<_>>(),
            "not_corrected": kept.collect::<Vec<_>>(),
        })
    };
    let recorded =
        recorded.map(|Recorded { days, corrections }| json!({ "days": days, "corrections": corrections }));
    json!({ "providers": all.iter().map(provider).collect::<Vec<_>>(), "recorded": recorded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::store::Options;
    use crate::ledger::{About, Request, Spend};

    #[test]
    fn a_hold_that_has_changed_since_it_was_compared_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Options::default()).expect("a ledger");
        let usd = |text: &str| text.parse::<Usd>().expect(text);
        for name in ["late", "adjusted", "same"] {
            let request = Request {
                hold: HoldId::from_text(name),
                claim: name.to_owned(),
                want: usd("2"),
                least: usd("1"),
                limits: Vec::new(),
                purses: vec!["repo".to_owned()],
                expires: store.now() + 1.hour(),
                about: About::default(),
                lift: None,
            };
            store.reserve(&request).expect("granted");
            store.expire(&request.hold, None).expect("charged");
        }
        let charged = Spend { usd: usd("2"), estimated: usd("2"), ..Spend::default() };
        let spent = Spend { usd: usd("1.5"), ..Spend::default() };
        store.settle(&HoldId::from_text("late"), &spent).expect("late");
        // To the same amount, which a person has seen on an invoice.
        let invoice = Spend { usd: usd("2"), ..Spend::default() };
        store.adjust(&HoldId::from_text("adjusted"), &invoice, "an invoice").expect("adjusted");
        for (name, done, expected) in
            [("late", false, "1.5"), ("adjusted", false, "2"), ("same", true, "0.25")]
        {
            let hold = HoldId::from_text(name);
            let evidence = "a bill".to_owned();
            let correction =
                Correction { hold: hold.clone(), charged: charged.clone(), at_most: usd("0.25"), evidence };
            assert_eq!(correct(&store, &correction).expect("a ledger"), done, "{name}");
            assert_eq!(store.hold(&hold).expect("read").expect("there").spend.usd, usd(expected), "{name}");
        }
    }
}
