//! `tollgate gate`: are this event's budgets within their limits? For a required check that runs no agent.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::classify;
use crate::cli::Shell;
use crate::exit;
use crate::gate::{self, Gate};
use crate::ledger::Balance;
use crate::ledger::store::StoreError;
use crate::limits;
use crate::outcome::Verdict;
use crate::pipeline::books;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::place::Place;
use crate::report::defuse;

/// Say whether this event's budgets are within their limits; runs no agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The budget file, instead of .github/tollgate.yml
    #[arg(long, value_name = "FILE")]
    budget_file: Option<PathBuf>,
    /// An event payload, instead of $GITHUB_EVENT_PATH or the local repository
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// The books of simulated runs
    #[arg(long)]
    simulate: bool,
}

/// Reads the ledger and says where each budget stands, on a runner in the job summary as well.
///
/// # Errors
/// A [`crate::exit::Failure`] for a budget file, an event or a ledger that cannot be used.
pub async fn run(args: &Args, shell: &mut Shell) -> anyhow::Result<u8> {
    let inputs =
        Inputs::gather(shell, args.event.as_deref(), args.budget_file.as_deref(), !args.simulate).await?;
    let class = classify::classify(&inputs.event, &inputs.budget.rules);
    let limits = books::limits(shell, &inputs, class.task, Timestamp::now());
    let place = Place::find(shell, &inputs.budget, &inputs.root, args.simulate)?;
    let balances = match place.open_existing(args.simulate) {
        Ok(store) => store.balances(&limits.for_ledger()).map_err(books::unavailable)?,
        // No run has spent anything yet.
        Err(StoreError::Missing(_)) => limits.for_ledger().into_iter().map(untouched).collect(),
        Err(error) => return Err(books::unavailable(error)),
    };
    let gate = gate::standing(&inputs.budget, &limits, &balances);
    let outsiders = inputs.for_outsiders();
    let (mut lines, mut shown) = (Vec::new(), Vec::new());
    for balance in &balances {
        let held = match balance.held {
            crate::money::Usd::ZERO => String::new(),
            held => format!(", {} held by runs under way", held.shown()),
        };
        let (spent, limit) = (balance.settled.shown(), balance.limit.usd.shown());
        let line = format!("{}: {spent} of {limit} spent{held}", limits::name(&balance.limit));
        // What is left to burn is nobody else's business.
        let own = balance.limit.is_of_pull_request() || balance.settled >= balance.limit.usd;
        shown.extend((own || !outsiders).then(|| line.clone()));
        lines.push(line);
    }
    lines.extend(limits.skipped.iter().map(|skipped| format!("not checked: {skipped}")));
    for line in &lines {
        writeln!(shell.out, "{}", defuse::plain(line))?;
    }
    if let Some(path) = shell.var("GITHUB_STEP_SUMMARY").map(PathBuf::from) {
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        // The verdict stands, whatever cannot be written.
        if let Err(error) = opened.and_then(|mut file| file.write_all(page(&gate, &shown).as_bytes())) {
            writeln!(shell.err, "warning: the job summary {} cannot be written: {error}", path.display())?;
        }
    }
    writeln!(shell.out, "{}: {}", gate.verdict.as_str(), defuse::plain(&gate.reason))?;
    if let (Some(hint), true) = (&gate.hint, gate.code != exit::PASS) {
        writeln!(shell.err, "\nhint: {hint}")?;
    }
    Ok(gate.code)
}

/// The same for the job summary.
fn page(gate: &Gate, lines: &[String]) -> String {
    let mark = match gate.verdict {
        Verdict::Pass => "",
        Verdict::Warn => "⚠️ ",
        Verdict::Fail => "⛔ ",
    };
    let mut out = format!("### {mark}Agent budgets: {}\n\n", defuse::prose(&gate.reason));
    out.extend(lines.iter().map(|line| format!("- {}\n", defuse::prose(line))));
    if let (Some(hint), Verdict::Warn | Verdict::Fail) = (&gate.hint, gate.verdict) {
        out.push_str(&format!("\n**What to do:** {}\n", defuse::prose(hint)));
    }
    out
}

fn untouched(limit: crate::ledger::Limit) -> Balance {
    Balance { limit, settled: crate::money::Usd::ZERO, held: crate::money::Usd::ZERO }
}
