//! The PostgreSQL store: the same book as tables, and one function a decision.
//!
//! A file ledger folds its head in memory; here the server does, because a row that is locked for one round
//! trip is what many writers can share. The functions decide no more than whether there is room; what a
//! refusal means, and whether a repeated request is the same, is decided by `decide`, as for every other
//! ledger. Lines are what a file ledger would hold, byte for byte.
//!
//! A connection that breaks while a statement is under way leaves open whether it was carried out. It is
//! sent again: a hold that is there under the same claim is the answer, and so is one that is closed with
//! the same spend. See `functions.sql` for the transactions, `ask` for what is tried again, `link` for the
//! thread, `lines` for what reads everything, `fold` for what makes the tables from lines.

mod answer;
mod ask;
mod error;
mod fold;
mod lines;
mod link;
mod place;
mod schema;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

pub use error::DatabaseError;
pub(super) use lines::Lines;
pub use place::{PlaceError, PostgresPlace};

use super::{Options, StoreError};
use crate::id::HoldId;
use crate::ledger::book::Book;
use crate::ledger::decide::{self, Draft, Refusal};
use crate::ledger::event::{Kind, Note};
use crate::ledger::hold::{Hold, Phase};
use crate::ledger::{Answer, Balance, Enforce, Limit, Request, Settlement, Spend, Window};
use crate::money::Usd;
use answer::{Given, Status};
use ask::{Asked, Asker};
use link::Value;

/// How often a step is decided again because the hold has changed meanwhile.
const DECISIONS_MAX: usize = 5;

/// A ledger in a database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    asker: Asker,
    options: Options,
}

impl PostgresStore {
    pub(super) fn new(place: PostgresPlace, options: Options, makes: bool) -> Self {
        Self { asker: Asker::new(place, makes), options }
    }

    /// As a tollgate of another version.
    #[cfg(test)]
    pub(crate) fn set_version(&mut self, own: u32) {
        self.asker.set_version(own);
    }

    /// The server's time, or this machine's where it cannot be asked.
    pub(super) fn now(&self) -> Timestamp {
        let asked = self.asker.glance(
            "SELECT to_char(tollgate.clock() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z'",
            &[],
        );
        let text = asked.ok().and_then(|rows| rows.first()?.try_get::<_, String>(0).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or_else(|| self.options.clock.now())
    }

    pub(super) fn rest(&self) {
        self.asker.rest();
    }

    /// Makes the tables, or brings them up to date; returns the version that they had, 0 where there were
    /// none, and the one that they have.
    ///
    /// # Errors
    /// When the database cannot be used, or the role may not.
    pub fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.asker.migrate()
    }

    /// Lets a role do what runs in CI need: read, hold, settle; nothing that rewrites what is recorded.
    ///
    /// # Errors
    /// When the database cannot be used, or there is no such role.
    pub fn grant(&self, role: &str) -> Result<(), StoreError> {
        self.asker.grant(role)
    }

    /// The ledger's name: namespaces share the tables.
    fn ledger(&self) -> &str {
        self.options.namespace.as_deref().unwrap_or_default()
    }

    fn call(&self, sql: &'static str, values: &[Value]) -> Result<Option<Given>, StoreError> {
        match self.asker.ask(sql, values)? {
            Asked::Rows(rows) => self.given(&rows).map(Some),
            Asked::Taken => Ok(None),
        }
    }

    fn given(&self, rows: &[Row]) -> Result<Given, StoreError> {
        let text = rows.first().and_then(|row| row.try_get::<_, &str>(0).ok());
        text.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| self.strange("no answer"))
    }

    fn strange(&self, what: &str) -> StoreError {
        let said = format!("its functions are not tollgate's: {what}");
        DatabaseError::Server { place: self.asker.place(), said }.into()
    }

    pub(super) fn balances(&self, limits: &[Limit]) -> Result<Vec<Balance>, StoreError> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        let values = [self.ledger().into(), json(&limits)?.into()];
        let given = self.given(&self.asker.rows("SELECT tollgate.balances($1, $2)", &values)?)?;
        Ok(answer::balances(limits, &given.balances))
    }

    pub(super) fn accounts(&self) -> Result<Vec<Balance>, StoreError> {
        let rows = self.asker.rows(
            "SELECT named, settled::text, held::text FROM tollgate.account \
             WHERE ledger = $1 AND named <> '' AND end_at > (SELECT tollgate.clock())",
            &[self.ledger().into()],
        )?;
        let read = |row: &Row| {
            let limit: Limit = serde_json::from_str(row.try_get(0).ok()?).ok()?;
            Some(Balance { limit, settled: pico(row, 1)?, held: pico(row, 2)? })
        };
        rows.iter().map(|row| read(row).ok_or_else(|| self.strange("an account"))).collect()
    }

    pub(super) fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        let rows = self.asker.rows(
            "SELECT e.seq, e.line FROM tollgate.hold AS h JOIN tollgate.event AS e \
             ON e.ledger = h.ledger AND e.seq = ANY (h.events) \
             WHERE h.ledger = $1 AND h.phase = 'held' ORDER BY e.seq",
            &[self.ledger().into()],
        )?;
        lines::holds(&self.asker.place(), &rows)
    }

    pub(super) fn hold(&self, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        if id.as_str().contains('\0') {
            return Ok(None);
        }
        let rows = self.asker.rows(
            "SELECT e.seq, e.line FROM tollgate.hold AS h JOIN tollgate.event AS e \
             ON e.ledger = h.ledger AND e.seq = ANY (h.events) \
             WHERE h.ledger = $1 AND h.id = $2 ORDER BY e.seq",
            &[self.ledger().into(), id.as_str().into()],
        )?;
        Ok(lines::holds(&self.asker.place(), &rows)?.pop())
    }

    pub(super) fn reserve(&self, request: &Request) -> Result<Answer, StoreError> {
        decide::check_terms(request)?;
        whole(request.limits.iter().map(|limit| &limit.window))?;
        let Request { hold, claim, want, least, limits, purses, expires, about, lift } = request;
        let lift = lift.as_ref().map(json).transpose()?;
        let values = [
            self.ledger().into(),
            plain(hold.as_str())?,
            plain(claim)?,
            want.to_string().into(),
            least.to_string().into(),
            expires.to_string().into(),
            json(purses)?.into(),
            json(limits)?.into(),
            json(about)?.into(),
            lift.into(),
        ];
        let sql = "SELECT tollgate.reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let Some(given) = self.call(sql, &values)? else { return self.own(request) };
        match (given.status, given.cap, given.at) {
            (Status::Known, ..) => self.own(request),
            (Status::Granted, Some(cap), _) => {
                Ok(Answer::Granted { cap, cut_by: answer::cut_by(limits, given.cut_by.as_ref()) })
            }
            (Status::Refused, _, Some(at)) => {
                decide::check_time(request, at)?;
                if given.full {
                    return Err(Refusal::TooMany.into());
                }
                let balances = answer::balances(limits, &given.balances);
                match decide::reserve(&Book::default(), request, &balances, at)?.answer {
                    refused @ Answer::Refused { .. } => Ok(refused),
                    Answer::Granted { .. } => Err(self.strange("it refuses what there is room for")),
                }
            }
            _ => Err(self.strange("an unknown answer to a reserve")),
        }
    }

    pub(super) fn extend(&self, id: &HoldId, claim: &str, to: Usd) -> Result<Answer, StoreError> {
        let values = [self.ledger().into(), plain(id.as_str())?, plain(claim)?, to.to_string().into()];
        for _ in 0..DECISIONS_MAX {
            let given = self.call("SELECT tollgate.extend($1, $2, $3, $4)", &values)?;
            let given = given.ok_or_else(|| self.strange("an extension that takes a key"))?;
            match (given.status, given.cap) {
                (Status::Granted, Some(cap)) => {
                    let cut_by = answer::cut_by(&given.limits, given.cut_by.as_ref());
                    return Ok(Answer::Granted { cap, cut_by });
                }
                (Status::Refused, _) => {
                    let balances = answer::balances(&given.limits, &given.balances);
                    let hard = balances.into_iter().filter(|b| b.limit.enforce == Enforce::Hard);
                    let by = hard.min_by_key(Balance::left);
                    return by.map(|by| Answer::Refused { by }).ok_or_else(|| self.strange("no limit"));
                }
                (Status::Unknown, _) => return Err(Refusal::Unknown(id.clone()).into()),
                (Status::Otherwise, _) => {
                    let hold = self.hold(id)?.ok_or_else(|| Refusal::Unknown(id.clone()))?;
                    let balances = self.balances(&hold.terms.limits)?;
                    decide::extend(&hold, claim, to, &balances)?;
                }
                _ => return Err(self.strange("an unknown answer to an extension")),
            }
        }
        Err(self.strange("it neither extends nor says why"))
    }

    /// The answer to a request whose key is taken: by this very request, or by another.
    fn own(&self, request: &Request) -> Result<Answer, StoreError> {
        let hold = self.hold(&request.hold)?.ok_or_else(|| self.strange("a hold without events"))?;
        match hold.phase {
            Phase::Held => Ok(decide::repeat(&hold, request)?.answer),
            phase => Err(Refusal::Closed { hold: hold.id, phase }.into()),
        }
    }

    pub(super) fn refuse(&self, request: &Request, by: &Balance) -> Result<(), StoreError> {
        let draft = decide::refuse(request, by, self.now())?;
        let Kind::Refuse(body) = &draft.kind else { return Err(self.strange("no refusal")) };
        let values = [self.ledger().into(), plain(request.hold.as_str())?, json(body)?.into()];
        // A refusal has no key of its own, so that one that may be there already is looked for.
        let asked = self.asker.ask_again("SELECT tollgate.refuse($1, $2, $3, $4)", |again| {
            values.iter().cloned().chain([Value::Flag(again)]).collect()
        })?;
        match asked {
            Asked::Rows(_) => Ok(()),
            Asked::Taken => Err(self.strange("a refusal that takes a key")),
        }
    }

    pub(super) fn note(&self, key: &HoldId, note: &Note) -> Result<(), StoreError> {
        let body = match note {
            Note::Repair(body) => json(body)?,
            Note::Bill(body) => json(body)?,
        };
        let kind = Kind::Note(note.clone());
        let values = [self.ledger().into(), plain(key.as_str())?, kind.as_str().into(), body.into()];
        // Nor has a note.
        let asked = self.asker.ask_again("SELECT tollgate.note($1, $2, $3, $4, $5)", |again| {
            values.iter().cloned().chain([Value::Flag(again)]).collect()
        })?;
        match asked {
            Asked::Rows(_) => Ok(()),
            Asked::Taken => Err(self.strange("a note that takes a key")),
        }
    }

    pub(super) fn settle(
        &self,
        id: &HoldId,
        spend: &Spend,
        outcome: Option<&str>,
    ) -> Result<Settlement, StoreError> {
        decide::check_spend(spend)?;
        let outcome = outcome.map(plain).transpose()?.unwrap_or(Value::Text(None));
        let values = [self.ledger().into(), plain(id.as_str())?, json(spend)?.into(), outcome];
        let sql = "SELECT tollgate.settle($1, $2, $3, $4)";
        self.close(id, sql, &values, |hold| decide::settle(hold, spend))
    }

    pub(super) fn void(&self, id: &HoldId, reason: &str) -> Result<Settlement, StoreError> {
        decide::check_reason(reason)?;
        let values = [self.ledger().into(), plain(id.as_str())?, plain(reason)?];
        self.close(id, "SELECT tollgate.void($1, $2, $3)", &values, |hold| decide::void(hold, reason))
    }

    pub(super) fn expire(&self, id: &HoldId, evidence: Option<&Spend>) -> Result<Settlement, StoreError> {
        evidence.map(decide::check_spend).transpose()?;
        let spend = evidence.map(json).transpose()?;
        let values = [self.ledger().into(), plain(id.as_str())?, spend.into()];
        self.close(id, "SELECT tollgate.expire($1, $2, $3)", &values, |hold| decide::expire(hold, evidence))
    }

    pub(super) fn adjust(
        &self,
        id: &HoldId,
        spend: &Spend,
        evidence: &str,
    ) -> Result<Settlement, StoreError> {
        decide::check_spend(spend)?;
        decide::check_reason(evidence)?;
        let values = [self.ledger().into(), plain(id.as_str())?, json(spend)?.into(), plain(evidence)?];
        let sql = "SELECT tollgate.adjust($1, $2, $3, $4)";
        self.close(id, sql, &values, |hold| decide::adjust(hold, spend, evidence))
    }

    pub(super) fn correct(
        &self,
        id: &HoldId,
        seen: &Spend,
        spend: &Spend,
        evidence: &str,
    ) -> Result<Settlement, StoreError> {
        decide::check_spend(spend)?;
        decide::check_reason(evidence)?;
        let [seen_json, spend_json] = [json(seen)?, json(spend)?].map(Value::from);
        let values = [self.ledger().into(), plain(id.as_str())?, seen_json, spend_json, plain(evidence)?];
        let sql = "SELECT tollgate.correct($1, $2, $3, $4, $5)";
        self.close(id, sql, &values, |hold| decide::correct(hold, seen, spend, evidence))
    }

    /// Closes a hold; where the server says that it cannot be, `decide` says why.
    fn close(
        &self,
        id: &HoldId,
        sql: &'static str,
        values: &[Value],
        decide: impl Fn(&Hold) -> Result<Option<Draft>, Refusal>,
    ) -> Result<Settlement, StoreError> {
        for _ in 0..DECISIONS_MAX {
            let given = self.call(sql, values)?.ok_or_else(|| self.strange("a close that takes a key"))?;
            match (given.status, given.cap, given.spend) {
                (Status::Done, Some(cap), Some(spend)) => {
                    let balances = answer::balances(&given.limits, &given.balances);
                    let overrun = spend.usd > cap;
                    return Ok(Settlement { hold: id.clone(), cap, spend, overrun, balances });
                }
                (Status::Unknown, ..) => return Err(Refusal::Unknown(id.clone()).into()),
                (Status::Otherwise, ..) => {
                    let hold = self.hold(id)?.ok_or_else(|| Refusal::Unknown(id.clone()))?;
                    // Where it could be taken after all, somebody was faster in between.
                    decide(&hold)?;
                }
                _ => return Err(self.strange("an unknown answer to a close")),
            }
        }
        Err(self.strange("it neither takes a step nor says why"))
    }

    pub(super) fn sweep(&self) -> Result<Vec<HoldId>, StoreError> {
        let over = self.asker.glance(
            "SELECT id FROM tollgate.hold WHERE ledger = $1 AND phase = 'held' \
             AND expires < (SELECT tollgate.clock()) - interval '60 seconds' ORDER BY id",
            &[self.ledger().into()],
        )?;
        let mut swept = Vec::new();
        for row in over {
            let id: String = row.try_get(0).map_err(|_| self.strange("a hold without a key"))?;
            let given = self
                .call("SELECT tollgate.expire_over($1, $2)", &[self.ledger().into(), id.as_str().into()])?;
            // Others sweep as well.
            if given.is_some_and(|given| given.status == Status::Done) {
                swept.push(HoldId::from_text(&id));
            }
        }
        Ok(swept)
    }
}

/// A text that PostgreSQL can hold.
fn plain(text: &str) -> Result<Value, Refusal> {
    match text.contains('\0') {
        false => Ok(text.into()),
        true => Err(Refusal::Nonsense("a name in it has a NUL character".to_owned())),
    }
}

/// A value as it stands in a line.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Refusal> {
    let text = serde_json::to_string(value).map_err(|error| Refusal::Nonsense(error.to_string()))?;
    match text.contains("\\u0000") {
        false => Ok(text),
        true => Err(Refusal::Nonsense("a name in it has a NUL character".to_owned())),
    }
}

/// Windows begin and end at instants that the server can hold.
fn whole<'a>(mut windows: impl Iterator<Item = &'a Window>) -> Result<(), Refusal> {
    let fine = |at: Timestamp| at.subsec_nanosecond() % 1_000 != 0;
    if windows.any(|window| fine(window.start) || window.end.is_some_and(fine)) {
        return Err(Refusal::Nonsense(
            "its windows must begin and end at whole microseconds on this ledger".to_owned(),
        ));
    }
    Ok(())
}

/// An amount in pico-dollars, from a column that was cast to text.
fn pico(row: &Row, column: usize) -> Option<Usd> {
    Some(Usd::from_pico(row.try_get::<_, &str>(column).ok()?.parse().ok()?))
}
