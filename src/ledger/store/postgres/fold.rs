//! Tables from lines: what an import brings, and what the doctor makes again.
//!
//! Here the holds are folded by us, as for a ledger in files, and the rows are written as the functions would
//! have left them. All of it is one transaction that has the ledger's turn: it is there as a whole or not at
//! all, and nobody decides in between.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::ask::Apart;
use super::error::DatabaseError;
use super::lines::{self, PAGE, PAGE_SQL, damaged};
use super::link::{Link, Value};
use super::{PostgresStore, json};
use crate::id::HoldId;
use crate::ledger::audit::{Audit, Mismatch};
use crate::ledger::book::Discord;
use crate::ledger::decide::{NAME_BYTES_MAX, Refusal};
use crate::ledger::event::{self, Event, Kind, Line, Repair};
use crate::ledger::hold::{Hold, Illegal, Phase};
use crate::ledger::store::{Findings, HeadProblem, ImportError, Imported, StoreError};

/// Rows that are written at once.
const ROWS: usize = 1_000;

const EVENTS_SQL: &str = "INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line) \
    SELECT $1, r.seq, r.at, r.kind, r.hold, r.line FROM json_to_recordset($2::text::json) \
    AS r(seq bigint, at timestamptz, kind text, hold text, line text)";
const HOLDS_SQL: &str = "INSERT INTO tollgate.hold (ledger, id, events, reserved, expires, phase, claim, cap, \
    charged, spend, adjusted, purses, origin_json, limits_json) \
    SELECT $1, r.id, ARRAY(SELECT json_array_elements_text(r.events)::bigint), r.reserved, r.expires, r.phase, \
    r.claim, r.cap, r.charged, r.spend, r.adjusted, ARRAY(SELECT json_array_elements_text(r.purses)), r.origin, \
    r.limits FROM json_to_recordset($2::text::json) AS r(id text, events json, reserved timestamptz, \
    expires timestamptz, phase text, claim text, cap numeric, charged numeric, spend text, adjusted boolean, \
    purses json, origin text, limits text) ON CONFLICT (ledger, id) DO UPDATE SET events = excluded.events, \
    phase = excluded.phase, cap = excluded.cap, charged = excluded.charged, spend = excluded.spend, \
    adjusted = excluded.adjusted";
const ACCOUNTS_SQL: &str = "INSERT INTO tollgate.account (ledger, purse, end_at, start_at, settled, held, named) \
    SELECT $1, r.purse, coalesce(r.end_at, tollgate.far()), r.start_at, r.settled, r.held, r.named \
    FROM json_to_recordset($2::text::json) AS r(purse text, end_at timestamptz, start_at timestamptz, \
    settled numeric, held numeric, named text)";
const HOLD_SQL: &str = "SELECT e.seq, e.line FROM tollgate.hold AS h JOIN tollgate.event AS e \
    ON e.ledger = h.ledger AND e.seq = ANY (h.events) WHERE h.ledger = $1 AND h.id = $2 ORDER BY e.seq";

#[derive(Serialize)]
struct EventRow {
    seq: u64,
    at: String,
    kind: &'static str,
    hold: HoldId,
    line: String,
}

#[derive(Serialize)]
struct HoldRow {
    id: HoldId,
    events: Vec<u64>,
    reserved: String,
    expires: String,
    phase: &'static str,
    claim: String,
    cap: String,
    charged: String,
    spend: String,
    adjusted: bool,
    purses: Vec<String>,
    origin: String,
    limits: String,
}

#[derive(Serialize)]
struct AccountRow {
    purse: String,
    end_at: Option<String>,
    start_at: String,
    settled: String,
    held: String,
    named: String,
}

/// An instant as a column has it: never after the one in the line, so that windows have the same holds.
fn whole_micros(at: Timestamp) -> String {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at).to_string()
}

/// Tables that follow the lines as they come.
struct Tables<'a> {
    link: &'a Link,
    place: &'a str,
    ledger: &'a str,
    /// The lines are to be written as well.
    with_lines: bool,
    /// The holds that are live, with the numbers of their events.
    live: BTreeMap<HoldId, (Hold, Vec<u64>)>,
    events: Vec<EventRow>,
    holds: BTreeMap<HoldId, HoldRow>,
}

impl<'a> Tables<'a> {
    fn new(link: &'a Link, place: &'a str, ledger: &'a str, with_lines: bool) -> Self {
        let (live, events, holds) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { link, place, ledger, with_lines, live, events, holds }
    }

    /// Takes in a line that an audit has found in order.
    fn take(&mut self, text: &str, line: Line) -> Result<(), Apart> {
        let Event { seq, at, hold: id, kind } = line.event;
        if text.contains("\\u0000") {
            return Err(nul().into());
        }
        if self.with_lines {
            let (kind, hold) = (kind.as_str(), id.clone());
            self.events.push(EventRow { seq, at: whole_micros(at), kind, hold, line: text.to_owned() });
        }
        match kind {
            Kind::Refuse(_) | Kind::Note(_) => {}
            Kind::Reserve(terms) => self.keep(Hold::new(id, at, terms), vec![seq])?,
            kind => {
                let (mut hold, mut events) = match self.live.remove(&id) {
                    Some(found) => found,
                    None => self.find(&id, seq)?,
                };
                let discord = |why| damaged(self.place, seq, Discord::Hold { hold: id.clone(), why }.into());
                hold.step(&kind).map_err(discord)?;
                events.push(seq);
                self.keep(hold, events)?;
            }
        }
        if self.events.len() >= ROWS || self.holds.len() >= ROWS {
            self.write()?;
        }
        Ok(())
    }

    fn keep(&mut self, hold: Hold, events: Vec<u64>) -> Result<(), Apart> {
        let held = hold.phase == Phase::Held;
        let row = HoldRow {
            id: hold.id.clone(),
            events: events.clone(),
            reserved: whole_micros(hold.reserved),
            expires: whole_micros(hold.terms.expires),
            phase: hold.phase.as_str(),
            claim: hold.terms.claim.clone(),
            cap: hold.terms.cap.pico().to_string(),
            charged: hold.spend.usd.pico().to_string(),
            spend: if held { String::new() } else { json(&hold.spend).map_err(StoreError::from)? },
            adjusted: hold.adjusted,
            purses: hold.terms.purses.clone(),
            origin: json(&hold.origin()).map_err(StoreError::from)?,
            limits: json(&hold.terms.limits).map_err(StoreError::from)?,
        };
        self.holds.insert(hold.id.clone(), row);
        if held {
            self.live.insert(hold.id.clone(), (hold, events));
        }
        Ok(())
    }

    /// A hold that was closed before, or is of lines that are there already.
    fn find(&mut self, id: &HoldId, seq: u64) -> Result<(Hold, Vec<u64>), Apart> {
        self.write()?;
        let rows = self.link.query(HOLD_SQL, vec![self.ledger.into(), id.as_str().into()])?;
        let events =
            rows.iter().filter_map(|row| u64::try_from(row.try_get::<_, i64>(0).ok()?).ok()).collect();
        let never = || {
            let why = Illegal("was never granted".to_owned());
            damaged(self.place, seq, Discord::Hold { hold: id.clone(), why }.into())
        };
        let hold = lines::holds(self.place, &rows)?.pop().ok_or_else(never)?;
        Ok((hold, events))
    }

    fn put(&self, sql: &'static str, rows: &impl Serialize) -> Result<(), Apart> {
        let rows = serde_json::to_string(rows).map_err(|error| Refusal::Nonsense(error.to_string()));
        let rows = rows.map_err(StoreError::from)?;
        self.link.query(sql, vec![self.ledger.into(), rows.into()])?;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Apart> {
        if !self.events.is_empty() {
            let rows = std::mem::take(&mut self.events);
            self.put(EVENTS_SQL, &rows)?;
        }
        if !self.holds.is_empty() {
            let rows: Vec<HoldRow> = std::mem::take(&mut self.holds).into_values().collect();
            self.put(HOLDS_SQL, &rows)?;
        }
        Ok(())
    }

    /// The rest: the accounts that were named last, the purses, and the head.
    fn finish(mut self, audit: Audit) -> Result<(), Apart> {
        self.write()?;
        let book = audit.into_book();
        let mut accounts = Vec::new();
        for counter in book.counters() {
            let limit = &counter.limit;
            accounts.push(AccountRow {
                purse: limit.purse.clone(),
                end_at: limit.window.end.map(whole_micros),
                start_at: whole_micros(limit.window.start),
                settled: counter.settled.pico().to_string(),
                held: book.held(&limit.purse, &limit.window).pico().to_string(),
                named: json(limit).map_err(StoreError::from)?,
            });
        }
        let own = || vec![Value::from(self.ledger)];
        self.link.query("DELETE FROM tollgate.account WHERE ledger = $1", own())?;
        self.put(ACCOUNTS_SQL, &accounts)?;
        self.link.query(
            "INSERT INTO tollgate.purse (ledger, purse) SELECT DISTINCT $1, unnest(purses) FROM tollgate.hold \
             WHERE ledger = $1 ON CONFLICT DO NOTHING",
            own(),
        )?;
        let at = whole_micros(book.last_at().unwrap_or(Timestamp::UNIX_EPOCH));
        let (seq, live) = (book.seq().to_string(), book.live().len().to_string());
        self.link.query(
            "INSERT INTO tollgate.head (ledger, seq, at, hash, live) \
             SELECT $1, $2::text::bigint, $3::text::timestamptz, $4, $5::text::integer \
             ON CONFLICT (ledger) DO UPDATE SET seq = excluded.seq, at = excluded.at, hash = excluded.hash, \
             live = excluded.live",
            vec![self.ledger.into(), seq.into(), at.into(), book.hash().as_str().into(), live.into()],
        )?;
        Ok(())
    }
}

fn nul() -> StoreError {
    Refusal::Nonsense("a name in it has a NUL character".to_owned()).into()
}

/// Begins a transaction that has the ledger's turn; returns the last event's number and its hash.
fn begin(link: &Link, ledger: &str) -> Result<(u64, String), Apart> {
    link.batch("BEGIN")?;
    link.query(
        "INSERT INTO tollgate.turn (ledger) VALUES ($1) ON CONFLICT (ledger) DO NOTHING",
        vec![ledger.into()],
    )?;
    link.query("SELECT ledger FROM tollgate.turn WHERE ledger = $1 FOR UPDATE", vec![ledger.into()])?;
    let rows = link.query("SELECT seq, hash FROM tollgate.head WHERE ledger = $1", vec![ledger.into()])?;
    let head = rows.first().and_then(|row| {
        Some((u64::try_from(row.try_get::<_, i64>(0).ok()?).ok()?, row.try_get::<_, String>(1).ok()?))
    });
    Ok(head.unwrap_or((0, String::new())))
}

impl PostgresStore {
    /// Brings lines into the ledger, which must be empty or have a beginning of them: all of them, or none.
    pub(in crate::ledger::store) fn import(
        &self,
        lines: impl Iterator<Item = std::io::Result<String>>,
    ) -> Result<Imported, ImportError> {
        let (place, ledger) = (self.asker.place(), self.ledger());
        self.asker.apart(|link| import(link, &place, ledger, lines))?
    }

    /// What the tables do not say as the lines do. Damaged lines are an error: there is no other copy of them.
    pub(in crate::ledger::store) fn examine(&self) -> Result<Findings, StoreError> {
        let verified = self.verify()?;
        if matches!(verified.head, Err(HeadProblem::Mismatch(Mismatch::End { .. }))) {
            self.has_its_end()?;
        }
        Ok(Findings::of_tables(verified.head.err().map(|problem| problem.to_string()), verified.events))
    }

    /// Whether the line that the head ends with is among the lines: else some were taken away, or rewritten.
    fn has_its_end(&self) -> Result<(), StoreError> {
        let rows =
            self.asker.rows("SELECT hash FROM tollgate.head WHERE ledger = $1", &[self.ledger().into()])?;
        let Some(end) = rows.first().and_then(|row| row.try_get::<_, String>(0).ok()) else { return Ok(()) };
        for line in self.lines(None)? {
            if line?.hash.as_str() == end {
                return Ok(());
            }
        }
        Err(DatabaseError::CutOff { place: self.asker.place() }.into())
    }

    /// Makes the tables again from the lines, and puts that on record.
    pub(in crate::ledger::store) fn mend(&self, by: &str) -> Result<Findings, StoreError> {
        if by.trim().is_empty() || by.len() > NAME_BYTES_MAX {
            let what = format!("whoever has a ledger repaired has a name of 1 to {NAME_BYTES_MAX} bytes");
            return Err(Refusal::Nonsense(what).into());
        }
        let findings = self.examine()?;
        let Some(damage) = &findings.damage else { return Ok(findings) };
        let (place, ledger) = (self.asker.place(), self.ledger());
        let now = self.now();
        let repair = Repair {
            kept: findings.kept,
            dropped: 0,
            dropped_bytes: 0,
            sha256: String::new(),
            damage: damage.chars().take(NAME_BYTES_MAX).collect(),
            aside: String::new(),
            by: by.to_owned(),
        };
        let body = json(&repair)?;
        self.asker.apart(|link| {
            begin(link, ledger)?;
            for sql in [
                "DELETE FROM tollgate.hold WHERE ledger = $1",
                "DELETE FROM tollgate.purse WHERE ledger = $1",
            ] {
                link.query(sql, vec![ledger.into()])?;
            }
            let mut tables = Tables::new(link, &place, ledger, false);
            let mut audit = Audit::default();
            loop {
                let next = audit.events() as i64 + 1;
                let rows =
                    link.query(PAGE_SQL, vec![ledger.into(), Value::Number(next), Value::Number(PAGE)])?;
                for row in &rows {
                    let (seq, text) = lines::raw(&place, row)?;
                    let line =
                        event::decode(text.as_bytes()).map_err(|what| damaged(&place, seq, what.into()))?;
                    audit.apply(&line).map_err(|discord| damaged(&place, seq, discord.into()))?;
                    tables.take(&text, line)?;
                }
                if (rows.len() as i64) < PAGE {
                    break;
                }
            }
            tables.finish(audit)?;
            let key = format!("repair/{now}");
            link.query(
                "SELECT tollgate.append($1, 'repair', $2, $3)",
                vec![ledger.into(), key.into(), body.into()],
            )?;
            link.batch("COMMIT")?;
            Ok(())
        })?;
        Ok(findings)
    }
}

fn import(
    link: &Link,
    place: &str,
    ledger: &str,
    lines: impl Iterator<Item = std::io::Result<String>>,
) -> Result<Result<Imported, ImportError>, Apart> {
    let (before, hash) = begin(link, ledger)?;
    let other = || Ok(Err(ImportError::NotEmpty { events: before }));
    let mut audit = Audit::default();
    let mut tables = Tables::new(link, place, ledger, true);
    for (number, text) in (1_u64..).zip(lines) {
        let text = match text {
            Ok(text) => text,
            Err(error) => return Ok(Err(ImportError::Source(error))),
        };
        let line = match event::decode(text.as_bytes()) {
            Ok(line) => line,
            Err(what) => return Ok(Err(ImportError::Line { line: number, what })),
        };
        if let Err(what) = audit.apply(&line) {
            return Ok(Err(ImportError::Discord { line: number, what }));
        }
        if number == before && audit.hash().as_str() != hash {
            return other();
        }
        if number > before {
            tables.take(&text, line)?;
        }
    }
    if audit.events() < before {
        return other();
    }
    let (events, holds, live, charged) = (audit.events(), audit.holds(), audit.live(), audit.charged());
    if events > before {
        tables.finish(audit)?;
        link.batch("COMMIT")?;
    }
    Ok(Ok(Imported { events, before, holds, live, charged }))
}
