//! A plan for people and for scripts.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};
use serde_json::{Value, json};

use crate::ledger::Enforce;
use crate::money::{Usd, group};
use crate::plan::{Basis, Item, Plan, RateFrom, Room, TierPrice};
use crate::report::defuse;
use crate::task::Tier;

/// The columns of the overview, and whether they are numbers.
fn columns(plan: &Plan) -> [(String, bool); 8] {
    [
        ("work".to_owned(), false),
        ("task".to_owned(), false),
        ("stakes".to_owned(), false),
        ("tier".to_owned(), false),
        ("new tokens a run".to_owned(), true),
        ("expected".to_owned(), true),
        ("worst".to_owned(), true),
        (format!("{} at once, worst", plan.parallel), true),
    ]
}

fn row(plan: &Plan, item: &Item) -> [String; 8] {
    [
        item.description.clone(),
        item.judged.task.to_string(),
        item.judged.stakes.to_string(),
        item.tier.to_string(),
        count(item.token_budget),
        item.expected.shown().to_string(),
        item.cap.shown().to_string(),
        item.worst_of(plan.parallel).shown().to_string(),
    ]
}

/// Tables and sentences for a terminal of so many columns.
pub(super) fn table(plan: &Plan, width: Option<u16>) -> String {
    let columns = columns(plan);
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(columns.iter().map(|(name, _)| name));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (index, _) in columns.iter().enumerate().filter(|(_, (_, number))| *number) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for item in &plan.items {
        table.add_row(row(plan, item).iter().map(|cell| defuse::plain(cell)));
    }
    let mut out = format!("{}\n", table.trim_fmt());
    for item in &plan.items {
        out.push_str(&format!("\n{}\n", defuse::plain(&item.description)));
        details(plan, item).iter().for_each(|line| out.push_str(&format!("  {}\n", defuse::plain(line))));
    }
    out.push_str("\nWhat the tiers cost\n");
    prices(plan).iter().for_each(|line| out.push_str(&format!("  {}\n", defuse::plain(line))));
    out.push_str(&format!("\nRules for the budget file\n\n{}", plan.rules()));
    out.push_str(&format!("\nFor a supervisor's prompt\n\n{}\n", defuse::plain(&paragraph(plan))));
    for note in notes(plan) {
        out.push_str(&format!("\nnote: {}\n", defuse::plain(&note)));
    }
    out
}

/// The same as Markdown.
pub(super) fn markdown(plan: &Plan) -> String {
    let columns = columns(plan);
    let mut out = "## Plan\n\n|".to_owned();
    columns.iter().for_each(|(name, _)| out.push_str(&format!(" {name} |")));
    out.push_str("\n|");
    columns.iter().for_each(|(_, number)| out.push_str(if *number { "--:|" } else { ":--|" }));
    for item in &plan.items {
        out.push_str("\n|");
        row(plan, item).iter().for_each(|cell| out.push_str(&format!(" {} |", defuse::cell(cell))));
    }
    out.push('\n');
    for item in &plan.items {
        out.push_str(&format!("\n### {}\n\n", defuse::prose(&item.description)));
        details(plan, item)
            .iter()
            .for_each(|line| out.push_str(&format!("- {}\n", defuse::prose(line.trim()))));
    }
    out.push_str("\n### What the tiers cost\n\n");
    prices(plan).iter().for_each(|line| out.push_str(&format!("- {}\n", defuse::prose(line))));
    out.push_str(&format!("\n### Rules for the budget file\n\n```yaml\n{}```\n", plan.rules()));
    out.push_str(&format!("\n### For a supervisor's prompt\n\n{}\n", defuse::prose(&paragraph(plan))));
    notes(plan).iter().for_each(|note| out.push_str(&format!("\n> {}\n", defuse::prose(note))));
    out
}

fn count(number: u64) -> String {
    group(u128::from(number))
}

/// Everything about one description, a line each.
fn details(plan: &Plan, item: &Item) -> Vec<String> {
    let judged = &item.judged;
    let mut lines = vec![
        format!("{} at {} stakes: {} tier, {}", judged.task, judged.stakes, item.tier, item.model),
        format!("task: {}", judged.why_task),
        format!("stakes: {}", judged.why_stakes),
        format!("tokens: {}", tokens(item)),
        format!(
            "a run: {} expected{}, {} at worst, which is the cap",
            item.expected.shown(),
            stopped(item),
            item.cap.shown()
        ),
        at_once(plan, item),
    ];
    lines.extend(item.rooms.iter().map(|room| format!("  {}", room_line(room, item, plan))));
    lines.push(rate(item));
    lines
}

fn stopped(item: &Item) -> &'static str {
    if item.stopped { " (the estimate is above the cap, so it would be stopped there)" } else { "" }
}

fn tokens(item: &Item) -> String {
    let budget = match item.max_tokens {
        Some(most) if most <= item.token_budget => {
            format!("{} new tokens, the tier's most", count(item.token_budget))
        }
        _ => format!("{} new tokens", count(item.token_budget)),
    };
    match &item.basis {
        Basis::History(past) => {
            let capped = match past.capped {
                0 => String::new(),
                capped => format!("; {capped} of them hit the cap, and would have used more"),
            };
            format!(
                "{budget}: half of the last {} runs used {} or less, nine of ten {} or less, and a quarter is added; \
                 they cost {} (half) to {} (nine of ten){capped}",
                past.runs,
                count(past.fresh_p50),
                count(past.fresh_p90),
                past.usd_p50.shown(),
                past.usd_p90.shown()
            )
        }
        Basis::Estimate { runs, shape, counts } => format!(
            "{budget}, estimated ({runs} runs on the ledger, 10 are needed): starts with {} (77 kB at 4 bytes each), \
             {} turns that each read {} and write {}, and an answer of {}: {} into the cache + {} out = {}, and half \
             is added; {} more are read from the cache",
            count(shape.start),
            shape.turns,
            count(shape.read),
            count(shape.written),
            count(shape.answer),
            count(counts.cache_write_5m),
            count(counts.output),
            count(counts.fresh()),
            count(counts.cache_read)
        ),
    }
}

fn at_once(plan: &Plan, item: &Item) -> String {
    let runs = plan.parallel;
    format!(
        "{runs} at once: {runs} × {} = {} at worst, {runs} × {} = {} expected; {} of {runs} can start with the whole cap",
        item.cap.shown(),
        item.worst_of(runs).shown(),
        item.expected.shown(),
        item.expected_of(runs).shown(),
        item.start_at_once(runs)
    )
}

fn room_line(room: &Room, item: &Item, plan: &Plan) -> String {
    let left = if room.known { "left" } else { "where nothing is spent yet" };
    let sum = format!("{} × {} = {}", room.runs, item.cap.shown(), room.wanted.shown());
    let has = format!("{}: {sum} of {} {left}", room.name, room.left.shown());
    let fits = room.wanted <= room.left;
    let says = match (room.enforce, fits) {
        (_, true) => {
            let spare = room.left.minus_or_zero(room.wanted).shown();
            format!("fits, {spare} to spare")
        }
        (Enforce::Hard, false) => {
            let over = room.left.minus_or_zero(Usd::from_pico(item.cap.pico() * i128::from(room.start)));
            format!("{} start with the whole cap, {} remains for the next", room.start, over.shown())
        }
        (Enforce::Soft, false) => {
            let over = room.wanted.minus_or_zero(room.left);
            format!("all start, and could pass it by {}; then further runs are refused", over.shown())
        }
        (Enforce::Count, false) => "only counted, so all start".to_owned(),
    };
    let all = if room.runs == 1 && plan.parallel > 1 { ", each run on one of its own" } else { "" };
    format!("{has}{all}: {says}")
}

fn rate(item: &Item) -> String {
    let (rate, from) = item.per_day;
    let often = match from {
        RateFrom::Given => format!("{} a day, as given", count(rate.runs)),
        RateFrom::History => format!("{} in the last {} days", count(rate.runs), rate.days),
        RateFrom::Assumed => "1 a day, assumed (--runs-per-day says otherwise)".to_owned(),
    };
    let ((day, day_worst), (month, month_worst)) = (item.day(), item.month());
    format!(
        "runs: {often}: {} a day expected, {} at worst; {} a month of 30 days expected, {} at worst",
        day.shown(),
        day_worst.shown(),
        month.shown(),
        month_worst.shown()
    )
}

/// What the tiers cost, and by how much one is dearer than another.
fn prices(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for tier in plan.tiers.iter().rev() {
        let text = match (tier.input, tier.output) {
            (Some(input), Some(output)) => {
                format!("{} in, {} out per million tokens", input.shown(), output.shown())
            }
            _ => "no price is known".to_owned(),
        };
        lines.push(format!("{}: {}, {text}", tier.tier, tier.model));
    }
    for (what, of) in [
        ("input", (|tier| tier.input) as fn(&TierPrice) -> Option<Usd>),
        ("output", |tier| tier.output),
        ("the same run of 25 turns", |tier| tier.same_work),
    ] {
        let ratios: Option<Vec<String>> =
            plan.tiers.iter().rev().map(|tier| ratio(of(tier)?, of(plan.tiers.first()?)?)).collect();
        if let Some(ratios) = ratios {
            lines.push(format!("{what}, high : medium : low = {}", ratios.join(" : ")));
        }
    }
    lines
}

/// How many times `b` is in `a`, to a tenth.
fn ratio(a: Usd, b: Usd) -> Option<String> {
    let tenths = (b > Usd::ZERO).then(|| (a.pico().saturating_mul(10) + b.pico() / 2) / b.pico())?;
    Some(if tenths % 10 == 0 {
        format!("{}", tenths / 10)
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    })
}

/// What whoever hands out the work has to know.
fn paragraph(plan: &Plan) -> String {
    let mut tiers = Vec::new();
    for tier in Tier::ALL.into_iter().rev() {
        let labels: Vec<String> = plan
            .items
            .iter()
            .filter(|item| item.tier == tier)
            .map(|item| format!("`{}`", item.label()))
            .collect();
        let Some(item) = plan.items.iter().find(|item| item.tier == tier) else { continue };
        let most = plan
            .items
            .iter()
            .filter(|item| item.tier == tier)
            .map(|item| item.start_at_once(plan.parallel))
            .min();
        tiers.push(format!(
            "{} for the {tier} tier: at most {} a run, {} of {} at once within the budgets",
            labels.join(" and "),
            item.cap.shown(),
            most.unwrap_or(0),
            plan.parallel
        ));
    }
    format!(
        "Route by stakes: set one of these labels on a pull request before an agent works on it. {}. When in doubt \
         take the higher tier, and never a dearer one because a run was slow. A run that reaches its cap says what \
         is done and what is left: decide on what it left before you start another. A run that a budget refuses is \
         not to be tried again until the budget starts anew.",
        tiers.join("; ")
    )
}

fn notes(plan: &Plan) -> Vec<String> {
    let skipped = plan.skipped.iter().map(|why| format!("not looked at: {why}"));
    skipped.chain(plan.notes.iter().cloned()).collect()
}

/// One object; money as decimal text, exact.
pub(super) fn json(plan: &Plan) -> String {
    let tier = |tier: &TierPrice| {
        json!({
            "tier": tier.tier, "model": tier.model, "input_usd_per_mtok": tier.input,
            "output_usd_per_mtok": tier.output, "same_run_usd": tier.same_work,
        })
    };
    let value = json!({
        "parallel": plan.parallel,
        "tasks": plan.items.iter().map(|item| item_json(plan, item)).collect::<Vec<_>>(),
        "tiers": plan.tiers.iter().map(tier).collect::<Vec<_>>(),
        "ratios": prices(plan).into_iter().skip(plan.tiers.len()).collect::<Vec<_>>(),
        "rules_yaml": plan.rules(),
        "supervisor_prompt": paragraph(plan),
        "notes": notes(plan),
    });
    format!("{value:#}\n")
}

fn item_json(plan: &Plan, item: &Item) -> Value {
    let basis = match &item.basis {
        Basis::History(past) => json!({
            "from": "history", "runs": past.runs, "capped": past.capped, "mean_usd": past.mean,
            "p50_usd": past.usd_p50, "p90_usd": past.usd_p90,
            "p50_new_tokens": past.fresh_p50, "p90_new_tokens": past.fresh_p90,
        }),
        Basis::Estimate { runs, shape, counts } => json!({
            "from": "estimate", "runs": runs, "start_tokens": shape.start, "turns": shape.turns,
            "read_tokens_a_turn": shape.read, "written_tokens_a_turn": shape.written,
            "answer_tokens": shape.answer, "cache_write_tokens": counts.cache_write(),
            "cache_read_tokens": counts.cache_read, "output_tokens": counts.output,
        }),
    };
    let room = |room: &Room| {
        json!({
            "budget": room.name, "enforce": room.enforce, "runs": room.runs, "wanted_usd": room.wanted,
            "left_usd": room.left, "from_ledger": room.known, "start_with_whole_cap": room.start,
            "fits": room.wanted <= room.left,
        })
    };
    let (rate, from) = item.per_day;
    let from = match from {
        RateFrom::Given => "given",
        RateFrom::History => "history",
        RateFrom::Assumed => "assumed",
    };
    json!({
        "description": item.description, "task": item.judged.task, "stakes": item.judged.stakes,
        "tier": item.tier, "model": item.model,
        "reasons": [item.judged.why_task, item.judged.why_stakes],
        "token_budget": item.token_budget, "max_tokens": item.max_tokens, "basis": basis,
        "expected_usd": item.expected, "worst_usd": item.cap, "stopped_at_cap": item.stopped,
        "parallel": {
            "runs": plan.parallel, "expected_usd": item.expected_of(plan.parallel),
            "worst_usd": item.worst_of(plan.parallel),
            "start_with_whole_cap": item.start_at_once(plan.parallel),
            "budgets": item.rooms.iter().map(room).collect::<Vec<_>>(),
        },
        "rate": { "runs": rate.runs, "days": rate.days, "from": from },
        "day_usd": { "expected": item.day().0, "worst": item.day().1 },
        "month_usd": { "expected": item.month().0, "worst": item.month().1 },
        "label": item.label(),
    })
}
