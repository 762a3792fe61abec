//! What was found, as a table for people and as JSON for scripts.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::compare::{Cell, Correction, Kept};
use super::record::{Found, Recorded};
use crate::money::Usd;
use crate::report::defuse;

pub(super) fn tables(all: &[Found], recorded: Option<Recorded>, out: &mut dyn Write) -> anyhow::Result<()> {
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

pub(super) fn json(all: &[Found], recorded: Option<Recorded>) -> Value {
    let cell = |cell: Cell| {
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
