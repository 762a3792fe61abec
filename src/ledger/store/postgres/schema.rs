//! The tables and functions: embedded, numbered, made and brought up to date in one transaction.
//!
//! Tables go from one version to the next in steps. Functions hold nothing, so that there is no way from one
//! text of them to another: they are dropped and made anew, and the roles that could call them can again. A
//! release that changes either is of a higher version.
//!
//! Whoever does it holds the row of the version while it does, so that of several that begin at once one
//! works and the others find it done. No advisory lock: not every server that speaks PostgreSQL has them.

use tokio_postgres::Row;

use super::error::{Trouble, trouble};
use super::link::{Broken, Link};

/// The version of the tables and functions that this tollgate works with.
pub(super) const VERSION: u32 = 1;

/// The steps of the tables from one version to the next.
const STEPS: [&str; VERSION as usize] = [include_str!("tables.sql")];

/// The functions of this version.
const FUNCTIONS: &str = concat!(include_str!("shapes.sql"), include_str!("functions.sql"));

/// What one server calls otherwise than another.
struct Dialect {
    secure: &'static str,
    sha256: &'static str,
    /// What lets go of the ledger's turn before its commit is on disk.
    later: &'static str,
    /// What waits for that, and says where.
    durable: &'static str,
    /// Which process of which start of the server this is, where that has to be known.
    session: &'static str,
    /// Statements that only save work.
    tuning: &'static str,
}

const POSTGRES: Dialect = Dialect {
    // A job has a connection of its own: what its few statements cost is mostly the plans, made once.
    // Compiling one takes longer than all of them, and a long history makes the server think that it pays.
    secure: "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan \
             SET jit = off",
    sha256: "encode(sha256(convert_to(p_text, 'UTF8')), 'hex')",
    later: "set_config('synchronous_commit', 'off', true)",
    // A commit that has written something waits for all of the log before it, unless it is told not to.
    durable: "CASE WHEN set_config('synchronous_commit', NULL, true) <> ''
        AND pg_logical_emit_message(true, 'tollgate', '') IS NOT NULL THEN tollgate.session() END",
    // A number may come again after a new start, and a crash of one process is a new start of all of them only.
    session: "pg_backend_pid() || ' ' || extract(epoch FROM pg_postmaster_start_time())",
    // Room on each page for the next version of a row.
    tuning: "ALTER TABLE tollgate.account SET (fillfactor = 50);
             ALTER TABLE tollgate.head SET (fillfactor = 50);
             ALTER TABLE tollgate.hold SET (fillfactor = 80);",
};

/// Its `sha256` returns hexadecimal digits, and its functions take no settings.
const COCKROACH: Dialect =
    Dialect { secure: "SECURITY DEFINER", sha256: "sha256(p_text)", tuning: "", ..YUGABYTE };

/// It has a log of its own, which every commit waits for.
const YUGABYTE: Dialect = Dialect { later: "''", durable: "''", session: "''", tuning: "", ..POSTGRES };

/// What a server that calls itself this wants.
fn dialect(server: &str) -> &'static Dialect {
    match server {
        _ if server.contains("CockroachDB") => &COCKROACH,
        _ if server.contains("-YB-") => &YUGABYTE,
        _ => &POSTGRES,
    }
}

/// The version of the tables that there are; an error of the kind `Absent` where there are none.
pub(super) fn version(link: &Link) -> Result<u32, Broken> {
    let rows = link.query("SELECT number::text FROM tollgate.version", Vec::new())?;
    Ok(rows.first().and_then(|row| row.try_get::<_, &str>(0).ok()?.parse().ok()).unwrap_or(0))
}

/// The statements that bring tables from a version to another.
fn tables(from: u32, to: u32, dialect: &Dialect) -> String {
    let steps = STEPS.iter().take(to as usize).skip(from as usize);
    steps.copied().chain([dialect.tuning]).collect()
}

/// The statements that make the functions.
fn functions(dialect: &Dialect) -> String {
    let mut out = FUNCTIONS.to_owned();
    for (name, text) in [
        ("@secure@", dialect.secure),
        ("@sha256@", dialect.sha256),
        ("@later@", dialect.later),
        ("@durable@", dialect.durable),
        ("@session@", dialect.session),
    ] {
        out = out.replace(name, text);
    }
    // Functions are anybody's unless that is taken back.
    out + "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tollgate FROM PUBLIC;"
}

/// Why tables or functions cannot be made.
pub(super) enum Unmade {
    /// The server or the connection says so.
    Broken(Broken),
    /// There are tables, and nothing says of which version they are.
    Unnumbered(tokio_postgres::Error),
}

impl From<Broken> for Unmade {
    fn from(broken: Broken) -> Self {
        Unmade::Broken(broken)
    }
}

/// Makes the tables, or brings them up to `to`; returns the version that they had. Functions that are of that
/// version already are made anew where `anew` says so.
pub(super) fn migrate(link: &Link, server: &str, to: u32, anew: bool) -> Result<u32, Unmade> {
    // Two that make the same at once get in each other's way, and the caller tries again.
    link.batch(
        "CREATE SCHEMA IF NOT EXISTS tollgate;
         CREATE TABLE IF NOT EXISTS tollgate.version (
             one boolean PRIMARY KEY CHECK (one), number integer NOT NULL
         );
         INSERT INTO tollgate.version (one, number) VALUES (true, 0) ON CONFLICT (one) DO NOTHING;",
    )?;
    link.batch("BEGIN")?;
    let done = (|| {
        let rows = link.query("SELECT number::text FROM tollgate.version FOR UPDATE", Vec::new())?;
        let from = rows.first().and_then(|row| row.try_get::<_, &str>(0).ok()?.parse().ok()).unwrap_or(0);
        if from < to || (from == to && anew) {
            renew(link, from, to, dialect(server))?;
        }
        link.batch("COMMIT")?;
        Ok(from)
    })();
    if done.is_err() {
        let _ = link.batch("ROLLBACK");
    }
    done
}

/// The work of a migration, by whoever has the row of the version.
fn renew(link: &Link, from: u32, to: u32, dialect: &Dialect) -> Result<(), Unmade> {
    let texts = |rows: &[Row]| -> Vec<String> {
        rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok()).collect()
    };
    // Whose the tables are, the functions are: they do what that role may.
    let owner = link.query(
        "SELECT tableowner::text FROM pg_tables WHERE schemaname = 'tollgate' AND tablename = 'version' \
         AND tableowner <> current_user",
        Vec::new(),
    )?;
    if let Some(owner) = texts(&owner).first() {
        link.batch(format!("SET LOCAL ROLE {}", quoted(owner)))?;
    }
    link.batch(tables(from, to, dialect)).map_err(|broken| match broken {
        // Nobody else makes them now.
        Broken::Error(error) if from == 0 && trouble(&error) == Trouble::Taken => Unmade::Unnumbered(error),
        broken => broken.into(),
    })?;
    let callers = link.query(
        "SELECT DISTINCT grantee::text FROM information_schema.role_routine_grants \
         WHERE routine_schema = 'tollgate' AND routine_name = 'reserve' AND grantee <> current_user",
        Vec::new(),
    )?;
    let old = link.query(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
         WHERE n.nspname = 'tollgate'",
        Vec::new(),
    )?;
    if !old.is_empty() {
        link.batch(format!("DROP FUNCTION {}", texts(&old).join(", ")))?;
    }
    link.batch(functions(dialect))?;
    for role in texts(&callers) {
        link.batch(grants(&role))?;
    }
    link.batch(format!("UPDATE tollgate.version SET number = {to}"))?;
    Ok(())
}

fn quoted(role: &str) -> String {
    format!("\"{}\"", role.replace('"', "\"\""))
}

/// What the role for CI may do, as statements: read, hold, settle; nothing that rewrites.
pub(super) fn grants(role: &str) -> String {
    let role = quoted(role);
    format!(
        "GRANT USAGE ON SCHEMA tollgate TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA tollgate TO {role};
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA tollgate FROM {role};
GRANT EXECUTE ON FUNCTION
    tollgate.clock(), tollgate.session(), tollgate.durable(), tollgate.balances(text, text),
    tollgate.reserve(text, text, text, text, text, text, text, text, text, text),
    tollgate.extend(text, text, text, text), tollgate.settle(text, text, text, text),
    tollgate.void(text, text, text), tollgate.expire(text, text, text),
    tollgate.expire_over(text, text), tollgate.refuse(text, text, text, boolean),
    tollgate.first_since(text, timestamptz)
TO {role};
"
    )
}
