//! `tollgate ledger doctor` and `adjust`: what a person changes on a ledger, on record.

use std::io::{self, Write};

use crate::exit;
use crate::id::HoldId;
use crate::ledger::event::{Event, Kind};
use crate::ledger::store::{Findings, SHOWN_MAX, Store, StoreError};
use crate::money::Usd;

/// How `tollgate ledger doctor` works.
#[derive(clap::Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Mend it, on record: keep the lines that are in order, with the damaged files beside, or make tables again
    #[arg(long)]
    pub yes: bool,
    /// On whose word: it is recorded [default: whoever runs the command]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// What `tollgate ledger adjust` corrects, and to what.
#[derive(clap::Args, Clone, Debug)]
pub struct AdjustArgs {
    /// The hold's key, as `tollgate ledger show` prints it
    #[arg(long, value_name = "HOLD")]
    pub hold: String,
    /// What its run has truly spent, in dollars
    #[arg(long, value_name = "USD")]
    pub usd: Usd,
    /// How that is known: it is recorded
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// On whose word: it is recorded [default: whoever runs the command]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Corrects a closed hold; returns what it was charged and what it is now.
pub(super) fn adjust(store: &Store, args: &AdjustArgs) -> Result<(HoldId, Usd, Usd), StoreError> {
    let id = HoldId::from_text(&args.hold);
    let before = store.hold(&id)?.map(|hold| hold.spend).unwrap_or_default();
    let by = args.by.as_deref().unwrap_or("somebody");
    let spend = before.corrected_to(args.usd);
    let settlement = store.adjust(&id, &spend, &format!("{by}: {}", args.reason))?;
    Ok((id, before.usd, settlement.spend.usd))
}

/// Says what is wrong and what can be kept, and mends it on a person's word.
pub(super) fn doctor(
    store: &Store,
    args: &DoctorArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let by = args.by.as_deref().unwrap_or("somebody");
    let looked = if args.yes { store.mend(by) } else { store.examine().map(|found| (found, None)) };
    let (findings, aside) = match looked {
        Ok(found) => found,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(exit::LEDGER);
        }
    };
    let Some(damage) = &findings.damage else {
        writeln!(out, "nothing is damaged: {} events are in order", findings.kept)?;
        return Ok(exit::PASS);
    };
    writeln!(out, "{damage}")?;
    writeln!(out, "can be kept: {}", kept(&findings))?;
    if !findings.only_head() {
        print_dropped(&findings, out)?;
    }
    if args.yes {
        let aside = aside.map(|aside| format!("; the damaged files are in {}", aside.display()));
        writeln!(out, "mended on the word of {by}, and recorded{}", aside.unwrap_or_default())?;
        return Ok(exit::PASS);
    }
    writeln!(
        err,
        "error: the ledger is damaged\n\nhint: put it back from a backup if there is one; else \
         `tollgate ledger doctor --yes` keeps what can be kept"
    )?;
    Ok(exit::LEDGER)
}

fn kept(findings: &Findings) -> String {
    if findings.only_head() {
        return format!("all {} events; the head is made again from them", findings.kept);
    }
    match findings.kept {
        0 => "nothing".to_owned(),
        1 => "event 1".to_owned(),
        last => format!("events 1 to {last}"),
    }
}

fn print_dropped(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let Findings { dropped, dropped_bytes, shown, .. } = findings;
    writeln!(out, "would be lost: {dropped} lines, {dropped_bytes} bytes; those that can be read say:")?;
    for Event { seq, at, hold, kind } in shown {
        let what = match kind {
            Kind::Reserve(body) => format!("{} held", body.cap.shown()),
            Kind::Extend(body) => format!("{} held", body.cap.shown()),
            Kind::Settle(body) => format!("{} spent", body.spend.usd.shown()),
            Kind::Expire(body) => format!("{} charged", body.spend.usd.shown()),
            Kind::Adjust(body) => format!("corrected to {}", body.spend.usd.shown()),
            Kind::Void(_) | Kind::Refuse(_) | Kind::Note(_) => "no money".to_owned(),
        };
        writeln!(out, "  event {seq} at {at}: {} {hold}, {what}", kind.as_str())?;
    }
    if *dropped > SHOWN_MAX as u64 {
        writeln!(out, "  and more")?;
    }
    Ok(())
}
