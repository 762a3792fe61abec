//! Asking the server, until it has answered or there is no patience left.
//!
//! What nobody recorded is tried again after a pause; so is what may have been recorded, because every
//! statement of `functions.sql` finds its own work done. All other errors are final.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::error::{DatabaseError, Trouble, said, trouble};
use super::link::{Broken, Link, Value};
use super::place::PostgresPlace;
use super::schema::{self, Unmade};
use crate::ledger::decide::Refusal;
use crate::ledger::event::TooLarge;
use crate::ledger::store::StoreError;

/// The pause after the n-th failure is a random part of this, doubled n times.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a statement came to.
#[derive(Debug)]
pub(super) enum Asked {
    /// Rows.
    Rows(Vec<Row>),
    /// The key of the hold is taken.
    Taken,
}

/// Whoever asks: a connection that is opened when it is needed, and again when it broke.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    place: Arc<PostgresPlace>,
    /// Tables that are not there are made.
    makes: bool,
    /// The version of the tables that is worked with.
    own: u32,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    link: Option<Link>,
    /// The tables are known to be there.
    ready: bool,
    /// A pooler leads each transaction to another process: what has to stay together is one.
    in_one: bool,
    role: String,
}

/// Why an attempt failed.
enum Failed {
    /// For good.
    Final(StoreError),
    /// The connection or the server did; true where a statement had been sent.
    Broken(Broken, bool),
}

impl From<DatabaseError> for Failed {
    fn from(error: DatabaseError) -> Self {
        Failed::Final(error.into())
    }
}

/// Before a statement was sent.
fn before(broken: Broken) -> Failed {
    Failed::Broken(broken, false)
}

impl Asker {
    pub(super) fn new(place: PostgresPlace, makes: bool) -> Self {
        Self { place: Arc::new(place), makes, own: schema::VERSION, inner: Arc::default() }
    }

    /// As a tollgate of another version.
    #[cfg(test)]
    pub(super) fn set_version(&mut self, own: u32) {
        self.own = own;
    }

    pub(super) fn place(&self) -> String {
        self.place.shown()
    }

    /// Closes the connection until the next statement.
    pub(super) fn rest(&self) {
        self.lock().link = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind is a connection, and is opened again where it is of no use.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one `SELECT` of a function that changes something, and returns when that is durable.
    pub(super) fn ask(&self, sql: &'static str, values: &[Value]) -> Result<Asked, StoreError> {
        self.ask_again(sql, |_| values.to_vec())
    }

    /// As [`Asker::ask`]; the values may differ once it may have been carried out already.
    pub(super) fn ask_again(
        &self,
        sql: &'static str,
        values: impl Fn(bool) -> Vec<Value>,
    ) -> Result<Asked, StoreError> {
        self.patiently(|link, again, in_one| link.change(sql, values(again), in_one))
    }

    /// The rows of a statement that changes nothing, when they are durable.
    pub(super) fn rows(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.only_rows(|link, _, _| link.read(sql, values.to_vec()))
    }

    /// The rows of a statement, which a crash may take back: for what is not told, or is known to be durable.
    pub(super) fn glance(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.only_rows(|link, _, _| link.query(sql, values.to_vec()))
    }

    fn only_rows(
        &self,
        work: impl Fn(&Link, bool, bool) -> Result<Vec<Row>, Broken>,
    ) -> Result<Vec<Row>, StoreError> {
        match self.patiently(work)? {
            Asked::Rows(rows) => Ok(rows),
            Asked::Taken => Err(self.strange("a key is there twice")),
        }
    }

    fn patiently(
        &self,
        work: impl Fn(&Link, bool, bool) -> Result<Vec<Row>, Broken>,
    ) -> Result<Asked, StoreError> {
        let mut patience = Patience::new(self);
        loop {
            let mut inner = self.lock();
            let in_one = inner.in_one;
            let outcome = match inner.link(self) {
                Ok(link) => {
                    work(link, patience.unsure, in_one).map_err(|broken| Failed::Broken(broken, true))
                }
                Err(failed) => Err(failed),
            };
            match outcome {
                Ok(rows) => return Ok(Asked::Rows(rows)),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Broken(Broken::Elsewhere, _)) => {
                    inner.in_one = true;
                    patience.unsure = true;
                }
                // Before it was sent, it was a table that somebody else made.
                Err(Failed::Broken(Broken::Error(error), true)) if trouble(&error) == Trouble::Taken => {
                    return Ok(Asked::Taken);
                }
                Err(Failed::Broken(broken, sent)) => {
                    let role = inner.role.clone();
                    if is_lost(&broken) {
                        inner.link = None;
                    }
                    drop(inner);
                    patience.bear(broken, sent, &role)?;
                }
            }
        }
    }

    /// Works on a connection of its own, which is closed after. What it does is tried once.
    pub(super) fn apart<T>(&self, work: impl FnOnce(&Link) -> Result<T, Apart>) -> Result<T, StoreError> {
        // The first statement opens, checks and makes what is needed, with patience.
        self.glance("SELECT 1", &[])?;
        let broken = |broken| self.unreachable(&broken, false);
        let link = Link::open(&self.place).map_err(broken)?;
        work(&link).map_err(|failed| match failed {
            Apart::Broken(broken) => self.unreachable(&broken, false),
            Apart::Store(error) => error,
        })
    }

    /// Makes the tables, or brings them up to date; returns the version they had, and the one they have.
    pub(super) fn migrate(&self) -> Result<(u32, u32), StoreError> {
        let mut patience = Patience::new(self);
        loop {
            let mut inner = self.lock();
            inner.link = None;
            let done = Link::open(&self.place).map_err(before).and_then(|link| {
                let server = self.check(&link, &mut inner)?;
                let found = self.version(&link, &inner.role)?.unwrap_or(0);
                self.not_newer(found)?;
                schema::migrate(&link, &server, self.own, true)
                    .map_err(|unmade| self.not_made(unmade, found, &inner.role))
            });
            let role = inner.role.clone();
            drop(inner);
            match done {
                Ok(from) => return Ok((from, self.own)),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Broken(broken, sent)) => patience.bear(broken, sent, &role)?,
            }
        }
    }

    /// Lets a role do what CI needs, and nothing that rewrites.
    pub(super) fn grant(&self, role: &str) -> Result<(), StoreError> {
        let sql = schema::grants(role);
        self.apart(|link| {
            link.batch(sql).map_err(|broken| match broken {
                Broken::Error(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {
                    Apart::Store(DatabaseError::NoRole { place: self.place(), said: said(&error) }.into())
                }
                broken => Apart::Broken(broken),
            })
        })
    }

    /// Whether the server is one to decide on; returns what it calls itself.
    fn check(&self, link: &Link, inner: &mut Inner) -> Result<String, Failed> {
        let rows = link
            .query(
                "SELECT CASE WHEN pg_is_in_recovery() THEN 'yes' ELSE 'no' END, \
                 current_setting('synchronous_commit'), version(), current_user::text, \
                 current_setting('transaction_isolation')",
                Vec::new(),
            )
            .map_err(before)?;
        let text = |column: usize| -> String {
            rows.first().and_then(|row| row.try_get(column).ok()).unwrap_or_default()
        };
        inner.role = text(3);
        let (place, role) = (self.place(), text(3));
        if text(0) != "no" {
            return Err(DatabaseError::Standby { place }.into());
        }
        if text(1) == "off" {
            return Err(DatabaseError::NotDurable { place, role }.into());
        }
        // A CockroachDB is at `serializable` unless told otherwise, and works so.
        if !matches!(text(4).as_str(), "read committed" | "read uncommitted")
            && !text(2).contains("CockroachDB")
        {
            return Err(DatabaseError::Isolation { place, role, level: text(4) }.into());
        }
        Ok(text(2))
    }

    /// The version of the tables; `None` where there are none.
    fn version(&self, link: &Link, role: &str) -> Result<Option<u32>, Failed> {
        match schema::version(link) {
            Ok(0) => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(Broken::Error(error)) => match trouble(&error) {
                Trouble::Absent => Ok(None),
                Trouble::Permission => {
                    let (place, role, said) = (self.place(), role.to_owned(), said(&error));
                    Err(DatabaseError::NotGranted { place, role, said }.into())
                }
                _ => Err(before(Broken::Error(error))),
            },
            Err(broken) => Err(before(broken)),
        }
    }

    fn not_newer(&self, found: u32) -> Result<(), DatabaseError> {
        let (place, own) = (self.place(), self.own);
        if found > own { Err(DatabaseError::Newer { place, found, own }) } else { Ok(()) }
    }

    fn not_older(&self, found: u32) -> Result<(), DatabaseError> {
        let (place, own) = (self.place(), self.own);
        if found < own { Err(DatabaseError::Older { place, found, own }) } else { Ok(()) }
    }

    /// Tables that could not be made: for good where the role may not.
    fn not_made(&self, unmade: Unmade, found: u32, role: &str) -> Failed {
        let (place, role) = (self.place(), role.to_owned());
        match unmade {
            Unmade::Unnumbered(error) => DatabaseError::Unnumbered { place, said: said(&error) }.into(),
            Unmade::Broken(Broken::Error(error)) if trouble(&error) == Trouble::Permission => {
                let said = said(&error);
                match found {
                    0 => DatabaseError::NotSetUp { place, role, said }.into(),
                    _ => DatabaseError::NotOwner { place, role, said }.into(),
                }
            }
            // Somebody else makes them at this moment.
            Unmade::Broken(broken) => before(broken),
        }
    }

    /// A table or a function was not there: because another tollgate has brought the ledger to its own version
    /// meanwhile, or because they are not as their version says.
    fn not_as_said(&self, error: &tokio_postgres::Error, unsure: bool) -> DatabaseError {
        let version = Link::open(&self.place).and_then(|link| schema::version(&link));
        let (place, said) = (self.place(), said(error));
        let numbered =
            version.map_or(Ok(()), |found| self.not_newer(found).and_then(|()| self.not_older(found)));
        match (numbered, trouble(error)) {
            (Err(other), _) => other,
            (Ok(()), Trouble::Absent) => DatabaseError::Gone { place, said },
            (Ok(()), _) => DatabaseError::Functions { place, said, unsure },
        }
    }

    fn strange(&self, said: &str) -> StoreError {
        DatabaseError::Server { place: self.place(), said: said.to_owned() }.into()
    }

    /// What an error that is final says.
    fn unreachable(&self, broken: &Broken, unsure: bool) -> StoreError {
        let place = self.place();
        match broken {
            Broken::Error(error) | Broken::Unsettled(error)
                if matches!(trouble(error), Trouble::Absent | Trouble::NoFunction) =>
            {
                self.not_as_said(error, matches!(broken, Broken::Unsettled(_)))
            }
            Broken::Error(error) | Broken::Unsettled(error) if trouble(error) == Trouble::Permission => {
                let role = self.lock().role.clone();
                DatabaseError::Permission { place, role, said: said(error) }
            }
            Broken::Error(error) => match trouble(error) {
                Trouble::Lost if said(error).contains("invalid peer certificate") => {
                    DatabaseError::Certificate { place, said: said(error) }
                }
                Trouble::Lost => DatabaseError::Unreachable { place, said: said(error), unsure },
                Trouble::Login => DatabaseError::Login { place, said: said(error) },
                Trouble::ReadOnly => DatabaseError::Standby { place },
                _ => DatabaseError::Server { place, said: said(error) },
            },
            Broken::Unsettled(error) => DatabaseError::Unreachable { place, said: said(error), unsure: true },
            Broken::Elsewhere => {
                let said = "another process of it answered than was asked".to_owned();
                DatabaseError::Unreachable { place, said, unsure: true }
            }
            Broken::TimedOut(what) => DatabaseError::Unreachable { place, said: (*what).to_owned(), unsure },
            Broken::NoThread(error) => {
                DatabaseError::Unreachable { place, said: format!("no thread can be had: {error}"), unsure }
            }
        }
        .into()
    }
}

/// Why work on a connection of its own failed.
pub(super) enum Apart {
    /// The connection or the server did.
    Broken(Broken),
    /// The ledger is not in order.
    Store(StoreError),
}

impl From<Broken> for Apart {
    fn from(broken: Broken) -> Self {
        Apart::Broken(broken)
    }
}

impl From<StoreError> for Apart {
    fn from(error: StoreError) -> Self {
        Apart::Store(error)
    }
}

impl Inner {
    /// The connection; opened, checked, and its tables made, where that is needed.
    fn link(&mut self, asker: &Asker) -> Result<&Link, Failed> {
        if self.link.is_none() {
            let link = Link::open(&asker.place).map_err(before)?;
            let server = asker.check(&link, self)?;
            if !self.ready {
                match asker.version(&link, &self.role)? {
                    Some(found) => {
                        asker.not_newer(found)?;
                        asker.not_older(found)?;
                    }
                    None if !asker.makes => {
                        return Err(DatabaseError::Missing { place: asker.place() }.into());
                    }
                    None => {
                        schema::migrate(&link, &server, asker.own, false)
                            .map_err(|unmade| asker.not_made(unmade, 0, &self.role))?;
                    }
                }
                self.ready = true;
            }
            self.link = Some(link);
        }
        self.link.as_ref().ok_or_else(|| before(Broken::TimedOut("its connection ended")))
    }
}

/// Whether the connection is of no use after this.
fn is_lost(broken: &Broken) -> bool {
    match broken {
        Broken::Error(error) => matches!(trouble(error), Trouble::Lost | Trouble::ReadOnly),
        Broken::TimedOut(_) | Broken::NoThread(_) | Broken::Unsettled(_) => true,
        Broken::Elsewhere => false,
    }
}

/// How long and how often is tried.
struct Patience<'a> {
    asker: &'a Asker,
    started: Instant,
    tries: u32,
    /// A statement may have been carried out.
    unsure: bool,
}

impl<'a> Patience<'a> {
    fn new(asker: &'a Asker) -> Self {
        Self { asker, started: Instant::now(), tries: 0, unsure: false }
    }

    /// After a failure: waits, or gives up.
    fn bear(&mut self, broken: Broken, sent: bool, role: &str) -> Result<(), StoreError> {
        let place = self.asker.place();
        self.tries += 1;
        let over = self.started.elapsed() >= self.asker.place.patience;
        let kind = match &broken {
            Broken::Error(error) => trouble(error),
            Broken::TimedOut(_) => Trouble::Lost,
            // What the next attempt would find as well.
            Broken::Unsettled(error) => match trouble(error) {
                lasting @ (Trouble::Permission | Trouble::Absent | Trouble::NoFunction) => lasting,
                _ => Trouble::Lost,
            },
            Broken::Elsewhere => Trouble::Lost,
            Broken::NoThread(_) => Trouble::Other,
        };
        match (kind, &broken) {
            (Trouble::NotDurable, _) => {
                return Err(DatabaseError::NotDurable { place, role: role.to_owned() }.into());
            }
            (Trouble::TooLong, Broken::Error(error)) => {
                let bytes = error.as_db_error().and_then(|error| error.message().parse().ok()).unwrap_or(0);
                return Err(Refusal::TooLarge(TooLarge { bytes }).into());
            }
            (Trouble::Nonsense, Broken::Error(error)) => {
                let said = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
                return Err(Refusal::Nonsense(said).into());
            }
            (Trouble::Again, Broken::Error(error)) if over => {
                let (tries, waited, said) = (self.tries, self.started.elapsed(), said(error));
                return Err(DatabaseError::Busy { place, tries, waited, said, unsure: self.unsure }.into());
            }
            (Trouble::Again, _) => {}
            // The server that this connection leads to has become a standby: there may be another.
            (Trouble::Lost | Trouble::ReadOnly, _) if !over && !is_hopeless(&broken) => self.unsure |= sent,
            // Tables that another makes at this moment.
            (Trouble::Absent | Trouble::Taken, _) if !sent && !over => {}
            _ => {
                let unsure = self.unsure || sent;
                return Err(self.asker.unreachable(&broken, unsure));
            }
        }
        pause(PAUSE.saturating_mul(1 << self.tries.min(8)).min(PAUSE_MAX));
        Ok(())
    }
}

/// An error of the connection that the next attempt would have as well.
fn is_hopeless(broken: &Broken) -> bool {
    let Broken::Error(error) = broken else { return false };
    said(error).contains("invalid peer certificate")
}

/// Sleeps for a random part of `most`.
#[expect(
    clippy::disallowed_methods,
    reason = "the ledger is synchronous: its callers keep it off the runtime"
)]
fn pause(most: Duration) {
    let mut random = [0_u8; 2];
    // Without randomness everybody waits the longest: slow, and right.
    let part = getrandom::fill(&mut random).map_or(u16::MAX, |()| u16::from_le_bytes(random));
    std::thread::sleep(most * u32::from(part) / u32::from(u16::MAX));
}
