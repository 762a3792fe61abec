//! Reading lines: those of some holds, all of them page by page, and everything at once to check it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use tokio_postgres::Row;

use super::ask::{Apart, Asker};
use super::error::DatabaseError;
use super::link::{Link, Value};
use super::{PostgresStore, pico};
use crate::id::HoldId;
use crate::ledger::Limit;
use crate::ledger::audit::{Audit, Mismatch};
use crate::ledger::book::{Account, Discord};
use crate::ledger::event::{self, Event, Kind, Line, LineError};
use crate::ledger::hold::{Hold, Illegal};
use crate::ledger::store::{Damage, HeadProblem, StoreError, Verified};

/// Lines that are read at once.
pub(super) const PAGE: i64 = 500;
/// What is asked for a page.
pub(super) const PAGE_SQL: &str =
    "SELECT seq, line FROM tollgate.event WHERE ledger = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
/// The same, up to the last line that is durable.
const PAGE_UNTIL_SQL: &str = "SELECT seq, line FROM tollgate.event WHERE ledger = $1 AND seq >= $2 AND seq <= $4 \
    ORDER BY seq LIMIT $3";

/// A row's number and line.
pub(super) fn raw(place: &str, row: &Row) -> Result<(u64, String), StoreError> {
    let read = || {
        let seq: i64 = row.try_get(0).ok()?;
        Some((u64::try_from(seq).ok()?, row.try_get(1).ok()?))
    };
    let strange =
        || DatabaseError::Server { place: place.to_owned(), said: "an event is no event".to_owned() };
    read().ok_or_else(|| strange().into())
}

pub(super) fn damaged(place: &str, line: u64, what: Damage) -> StoreError {
    match what {
        Damage::Line(error) if error.is_newer() => {
            StoreError::Newer { path: place.into(), line, what: error.to_string() }
        }
        what => DatabaseError::Damaged { place: place.to_owned(), line, what: Box::new(what) }.into(),
    }
}

fn line(place: &str, row: &Row) -> Result<(u64, Line), StoreError> {
    let (seq, text) = raw(place, row)?;
    let wrong = |error: LineError| damaged(place, seq, error.into());
    Ok((seq, event::decode(text.as_bytes()).map_err(wrong)?))
}

/// The holds that some lines are of.
pub(super) fn holds(place: &str, rows: &[Row]) -> Result<Vec<Hold>, StoreError> {
    let mut holds: BTreeMap<HoldId, Hold> = BTreeMap::new();
    for row in rows {
        let (seq, Line { event, .. }) = line(place, row)?;
        let Event { at, hold: id, kind, .. } = event;
        let stepped = match (kind, holds.get_mut(&id)) {
            (Kind::Reserve(terms), None) => {
                holds.insert(id.clone(), Hold::new(id.clone(), at, terms));
                Ok(())
            }
            (kind, Some(hold)) => hold.step(&kind).map(drop),
            (_, None) => Err(Illegal("was never granted".to_owned())),
        };
        let discord = |why| damaged(place, seq, Discord::Hold { hold: id, why }.into());
        stepped.map_err(discord)?;
    }
    Ok(holds.into_values().collect())
}

/// Lines from a number on to the last one that there was, as they are read.
#[derive(Debug)]
pub(in crate::ledger::store) struct Lines {
    asker: Asker,
    ledger: String,
    next: i64,
    last: i64,
    page: VecDeque<Row>,
    ended: bool,
    /// The last line as it stands.
    text: String,
}

impl Lines {
    fn advance(&mut self) -> Result<Option<Line>, StoreError> {
        if self.page.is_empty() && !self.ended {
            let [next, page, last] = [self.next, PAGE, self.last].map(Value::Number);
            let values = [self.ledger.as_str().into(), next, page, last];
            self.page = self.asker.glance(PAGE_UNTIL_SQL, &values)?.into();
            self.ended = (self.page.len() as i64) < PAGE;
        }
        let Some(row) = self.page.pop_front() else { return Ok(None) };
        let (seq, line) = line(&self.asker.place(), &row)?;
        (_, self.text) = raw(&self.asker.place(), &row)?;
        self.next = seq as i64 + 1;
        Ok(Some(line))
    }

    /// The line that was read last, as it stands.
    pub(in crate::ledger::store) fn text(&self) -> String {
        self.text.clone()
    }
}

impl Iterator for Lines {
    type Item = Result<Line, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_)) | None) {
            self.ended = true;
            self.page.clear();
        }
        next
    }
}

impl PostgresStore {
    /// The lines from an instant on, or all of them.
    pub(in crate::ledger::store) fn lines(&self, since: Option<Timestamp>) -> Result<Lines, StoreError> {
        // Imported lines may be finer than a column.
        let since = since.map(|at| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at));
        let rows = self.asker.rows(
            "SELECT CASE WHEN $2 IS NULL THEN 1 ELSE tollgate.first_since($1, $2::text::timestamptz) END, \
             (SELECT coalesce(max(seq), 0) FROM tollgate.event WHERE ledger = $1)",
            &[self.ledger().into(), since.map(|since| since.to_string()).into()],
        )?;
        let number = |column| rows.first().and_then(|row| row.try_get::<_, i64>(column).ok());
        let (next, last) = (number(0).unwrap_or(1), number(1).unwrap_or(0));
        let (asker, ledger) = (self.asker.clone(), self.ledger().to_owned());
        Ok(Lines { asker, ledger, next, last, page: VecDeque::new(), ended: false, text: String::new() })
    }

    /// Reads all lines, and compares the tables with them, as they stand at one moment.
    pub(in crate::ledger::store) fn verify(&self) -> Result<Verified, StoreError> {
        let (place, ledger) = (self.asker.place(), self.ledger());
        self.asker.apart(|link| {
            link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
            let audit = audit(link, &place, ledger)?;
            let head = compare(link, ledger, &audit)?;
            // What was read may have been written a moment ago.
            link.query("SELECT tollgate.durable()", Vec::new())?;
            link.batch("COMMIT")?;
            Ok(Verified {
                events: audit.events(),
                holds: audit.holds(),
                live: audit.live(),
                shards: 1,
                span: audit.span(),
                charged: audit.charged(),
                head: head.map_err(HeadProblem::from),
                torn: false,
            })
        })
    }
}

fn audit(link: &Link, place: &str, ledger: &str) -> Result<Audit, Apart> {
    let mut audit = Audit::default();
    let mut next = 1;
    loop {
        let values = vec![ledger.into(), Value::Number(next), Value::Number(PAGE)];
        let rows = link.query(PAGE_SQL, values)?;
        for row in &rows {
            let (seq, line) = line(place, row)?;
            audit.apply(&line).map_err(|discord| damaged(place, seq, discord.into()))?;
            next = seq as i64 + 1;
        }
        if (rows.len() as i64) < PAGE {
            return Ok(audit);
        }
    }
}

/// Whether the tables say what the lines say: the head, every account, every hold.
fn compare(link: &Link, ledger: &str, audit: &Audit) -> Result<Result<(), Mismatch>, Apart> {
    let text = |row: &Row, column: usize| -> String { row.try_get(column).unwrap_or_default() };
    let rows = link.query(
        "SELECT seq::text, hash, live::text FROM tollgate.head WHERE ledger = $1",
        vec![ledger.into()],
    )?;
    let own = (audit.events().to_string(), audit.hash().as_str().to_owned(), audit.live().to_string());
    let head = rows.first().map_or_else(
        || ("0".to_owned(), own.1.clone(), "0".to_owned()),
        |row| (text(row, 0), text(row, 1), text(row, 2)),
    );
    if (&head.0, &head.1) != (&own.0, &own.1) {
        let head = head.0.parse().unwrap_or_default();
        return Ok(Err(Mismatch::End { head, events: audit.events() }));
    }
    if head.2 != own.2 {
        return Ok(Err(Mismatch::Live));
    }
    let rows = link.query(
        "SELECT named, settled::text, held::text, purse FROM tollgate.account WHERE ledger = $1",
        vec![ledger.into()],
    )?;
    for row in &rows {
        let limit: Option<Limit> = serde_json::from_str(&text(row, 0)).ok();
        let found = limit.map(|limit| (Account::of(&limit), pico(row, 1), pico(row, 2)));
        let Some((account, Some(settled), Some(held))) = found else {
            return Ok(Err(Mismatch::Purse { purse: text(row, 3) }));
        };
        let (own, own_held) = (audit.settled(&account), audit.held(&account));
        let wrong = |head, events| Mismatch::Settled {
            purse: account.purse.clone(),
            since: account.window.start,
            head,
            events,
        };
        if own != settled {
            return Ok(Err(wrong(settled, own)));
        }
        if own_held != held {
            return Ok(Err(wrong(settled + held, own + own_held)));
        }
    }
    compare_holds(link, ledger, audit)
}

fn compare_holds(link: &Link, ledger: &str, audit: &Audit) -> Result<Result<(), Mismatch>, Apart> {
    let (mut after, mut count) = (String::new(), 0_u64);
    loop {
        let rows = link.query(
            "SELECT id, phase, cap::text, charged::text FROM tollgate.hold \
             WHERE ledger = $1 AND id > $2 ORDER BY id LIMIT $3",
            vec![ledger.into(), after.as_str().into(), Value::Number(PAGE)],
        )?;
        for row in &rows {
            let text = |column: usize| -> String { row.try_get(column).unwrap_or_default() };
            let id = HoldId::from_text(&text(0));
            let own = audit.hold(&id).map(|(phase, cap, charged)| (phase.as_str().to_owned(), cap, charged));
            let found = pico(row, 2).zip(pico(row, 3)).map(|(cap, charged)| (text(1), cap, charged));
            if own.is_none() || own != found {
                return Ok(Err(Mismatch::Hold { hold: id }));
            }
            after = text(0);
            count += 1;
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    let all = count == audit.holds();
    Ok(if all { Ok(()) } else { Err(Mismatch::Missing { head: count, events: audit.holds() }) })
}
