//! What a database answers, and what a person can do about each of it.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::place::words;
use crate::ledger::store::Damage;

/// Bytes of a server's own words that a message repeats.
const SAID_BYTES_MAX: usize = 600;

/// Why a PostgreSQL ledger cannot be used. Nothing was recorded, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server cannot be reached, or stopped answering.
    #[error("the ledger at {place} cannot be reached: {said}\n\nhint: {}", reach_hint(*.unsure))]
    Unreachable {
        /// Where.
        place: String,
        /// What the client says.
        said: String,
        /// A statement was under way: it may have been carried out.
        unsure: bool,
    },
    /// The certificate is not one to be trusted.
    #[error(
        "the ledger at {place} does not prove that it is that server: {said}\n\nhint: where its certificate \
         is of an authority of its own, name that one's file in TOLLGATE_DATABASE_URL, with \
         `sslrootcert=FILE`"
    )]
    Certificate {
        /// Where.
        place: String,
        /// What the client says.
        said: String,
    },
    /// The server does not let this role in.
    #[error(
        "the ledger at {place} does not let this role in: {said}\n\nhint: check the user, the password and \
         the database in TOLLGATE_DATABASE_URL"
    )]
    Login {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
    },
    /// A read replica.
    #[error(
        "the ledger at {place} is a standby, which may be behind: no budget is decided on what it says\n\n\
         hint: name the primary in TOLLGATE_DATABASE_URL, or both: `postgres://USER@ONE,OTHER/NAME` finds \
         the one that takes writes"
    )]
    Standby {
        /// Where.
        place: String,
    },
    /// Commits are acknowledged before they are durable.
    #[error(
        "the server at {place} has `synchronous_commit = off`, so that a crash may take back a hold that was \
         granted\n\nhint: `ALTER ROLE {role} SET synchronous_commit = on`"
    )]
    NotDurable {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
    },
    /// Transactions do not see what was written while they waited.
    #[error(
        "the server at {place} begins transactions at `{level}`, so that one that has waited for its turn \
         decides on what was there before\n\nhint: `ALTER ROLE {role} SET default_transaction_isolation = \
         'read committed'`"
    )]
    Isolation {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
        /// The level.
        level: String,
    },
    /// The tables are not there, and this role may not make them.
    #[error(
        "the database at {place} has no ledger, and the role `{role}` may not make one: {said}\n\nhint: run \
         `tollgate ledger migrate` once as a role that may create a schema"
    )]
    NotSetUp {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
        /// The server's words.
        said: String,
    },
    /// There are no tables, and nothing is made by who only reads.
    #[error(
        "the database at {place} has no ledger\n\nhint: the first run makes one, or `tollgate ledger migrate`"
    )]
    Missing {
        /// Where.
        place: String,
    },
    /// The tables are older than this tollgate.
    #[error(
        "the ledger at {place} has tables of version {found}, and this tollgate needs version {own}\n\nhint: run \
         `tollgate ledger migrate` once as the role that made them; an older tollgate cannot use them after that"
    )]
    Older {
        /// Where.
        place: String,
        /// Their version.
        found: u32,
        /// What this tollgate needs.
        own: u32,
    },
    /// There are tables, and this role may not change them.
    #[error(
        "the role `{role}` may not bring the ledger at {place} up to date: {said}\n\nhint: run `tollgate ledger \
         migrate` as the role that made its tables"
    )]
    NotOwner {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
        /// The server's words.
        said: String,
    },
    /// The functions are others than this tollgate's, of the same version as far as is said.
    #[error(
        "the ledger at {place} has functions that are not those of this tollgate: {said}\n\nhint: run `tollgate \
         ledger migrate` once as the role that made them{}",
        if *.unsure { "; what was being recorded may have arrived" } else { "" }
    )]
    Functions {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
        /// A statement was carried out, and may stay so.
        unsure: bool,
    },
    /// A table is gone.
    #[error(
        "the ledger at {place} lacks a table: {said}\n\nhint: nothing was changed; restore the database from a backup"
    )]
    Gone {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
    },
    /// The number of the version is gone.
    #[error(
        "the database at {place} has tables of a ledger, and nothing that says of which version: {said}\n\nhint: \
         nothing was changed; restore the database from a backup"
    )]
    Unnumbered {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
    },
    /// Nobody has let this role use the ledger.
    #[error(
        "the role `{role}` may not use the ledger at {place}: {said}\n\nhint: `tollgate ledger migrate --grant \
         {role}`, as the role that made the tables, lets it hold and settle"
    )]
    NotGranted {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
        /// The server's words.
        said: String,
    },
    /// The tables are newer than this tollgate.
    #[error(
        "the ledger at {place} has tables of version {found}, and this tollgate knows those up to {own}\n\n\
         hint: update tollgate here; nothing was changed"
    )]
    Newer {
        /// Where.
        place: String,
        /// Their version.
        found: u32,
        /// What this tollgate knows.
        own: u32,
    },
    /// The role may not do this.
    #[error(
        "the role `{role}` may not do this to the ledger at {place}: {said}\n\nhint: the role for CI may hold \
         and settle; what corrects or removes needs the role that made the tables, which lets another hold and \
         settle with `tollgate ledger migrate --grant {role}`"
    )]
    Permission {
        /// Where.
        place: String,
        /// Who speaks to it.
        role: String,
        /// The server's words.
        said: String,
    },
    /// A role that was to be let in does not exist.
    #[error(
        "nothing was granted at {place}: {said}\n\nhint: make the role first, or write it as the server does, capitals \
         included: `SELECT rolname FROM pg_roles`"
    )]
    NoRole {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
    },
    /// Others were in the way for too long.
    #[error(
        "the ledger at {place} was busy each of the {tries} times that this run tried, for {} s: {said}\n\n\
         hint: start the run again; `SELECT * FROM pg_stat_activity` shows who holds its rows{}",
        waited.as_secs(), busy_hint(*.unsure)
    )]
    Busy {
        /// Where.
        place: String,
        /// Attempts.
        tries: u32,
        /// How long.
        waited: Duration,
        /// The server's words.
        said: String,
        /// The answer to an earlier attempt was lost: it may have been carried out.
        unsure: bool,
    },
    /// A line is damaged.
    #[error(
        "the ledger is damaged: {place}, event {line}: {what}\n\nhint: nothing was changed; restore the \
         database from a backup"
    )]
    Damaged {
        /// Where.
        place: String,
        /// The event.
        line: u64,
        /// What is wrong.
        what: Box<Damage>,
    },
    /// Lines are missing at the end, or are others than there were.
    #[error(
        "the ledger at {place} is damaged: the event that its head ends with is not there any more\n\nhint: nothing \
         was changed; restore the database from a backup"
    )]
    CutOff {
        /// Where.
        place: String,
    },
    /// The server says something else.
    #[error("the ledger at {place} cannot be used: {said}\n\nhint: `tollgate ledger verify` checks it")]
    Server {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
    },
}

fn reach_hint(unsure: bool) -> &'static str {
    if unsure {
        "check the server, then start again; what was being recorded may have arrived, and a hold that \
         nobody settles is charged when it expires"
    } else {
        "check the server and TOLLGATE_DATABASE_URL, then start again; nothing was recorded"
    }
}

fn busy_hint(unsure: bool) -> &'static str {
    if unsure {
        "; what was being recorded may have arrived with the first attempt, and a hold that nobody settles is \
         charged when it expires"
    } else {
        ""
    }
}

/// What went wrong with a statement, as far as it matters for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Somebody was in the way, and nothing was recorded.
    Again,
    /// The connection is gone, or of no use any more.
    Lost,
    /// The key of a hold is taken.
    Taken,
    /// There is no such table.
    Absent,
    /// There is no such function, or no such column.
    NoFunction,
    /// The role may not.
    Permission,
    /// The server does not let the role in.
    Login,
    /// `synchronous_commit` is off.
    NotDurable,
    /// The line would be too long.
    TooLong,
    /// What was asked for makes no sense.
    Nonsense,
    /// The server takes no writes.
    ReadOnly,
    /// Anything else.
    Other,
}

/// Which trouble an error means.
pub(super) fn trouble(error: &tokio_postgres::Error) -> Trouble {
    let Some(code) = error.code() else { return Trouble::Lost };
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
    ];
    match code.code() {
        "TG001" => Trouble::NotDurable,
        "TG002" => Trouble::TooLong,
        "TG003" => Trouble::Nonsense,
        // The tables are made by somebody else at this moment, or are not there at all.
        "42P01" | "3F000" => Trouble::Absent,
        "42883" | "42703" => Trouble::NoFunction,
        "42501" => Trouble::Permission,
        "25006" => Trouble::ReadOnly,
        // A key of a row, or the name of a schema, a table or a function.
        "23505" | "42P06" | "42P07" | "42710" | "42723" => Trouble::Taken,
        "28000" | "28P01" | "3D000" => Trouble::Login,
        _ if again.contains(code) => Trouble::Again,
        // Connection exceptions, a server that goes down or comes up, and too many connections.
        text if text.starts_with("08") || text.starts_with("57P") => Trouble::Lost,
        // So is a server that cannot say whether it has carried something out.
        "53300" | "40003" => Trouble::Lost,
        _ => Trouble::Other,
    }
}

/// What the server and the client say, in one line that a terminal can be shown.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(database) => {
            let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}{detail} [{}]", database.message(), database.code().code())
        }
        None => words(error),
    };
    text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Some((end, _)) = text.char_indices().find(|(at, _)| *at > SAID_BYTES_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}
