//! The tables and functions: embedded, numbered, made and brought up to date in one transaction.
//!
//! Whoever does it holds the row of the version while it does, so that of several that begin at once one
//! works and the others find it done. No advisory lock: not every server that speaks PostgreSQL has them.

use super::link::{Broken, Link};

/// The version of the tables and functions that this tollgate works with.
pub(super) const VERSION: u32 = 1;

/// The steps from one version to the next.
const STEPS: [&str; VERSION as usize] =
    [concat!(include_str!("tables.sql"), include_str!("shapes.sql"), include_str!("functions.sql"))];

/// What one server calls otherwise than another.
struct Dialect {
    secure: &'static str,
    sha256: &'static str,
    /// What lets go of the ledger's turn before its commit is on disk.
    later: &'static str,
    /// What waits for that.
    durable: &'static str,
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
    // A commit that has written something waits for all of the log before it.
    durable: "pg_logical_emit_message(true, 'tollgate', '')::text",
    // Room on each page for the next version of a row.
    tuning: "ALTER TABLE tollgate.account SET (fillfactor = 50);
             ALTER TABLE tollgate.head SET (fillfactor = 50);
             ALTER TABLE tollgate.hold SET (fillfactor = 80);",
};

/// Its `sha256` returns hexadecimal digits, and its functions take no settings.
const COCKROACH: Dialect =
    Dialect { secure: "SECURITY DEFINER", sha256: "sha256(p_text)", later: "''", durable: "''", tuning: "" };

/// It has a log of its own, which every commit waits for.
const YUGABYTE: Dialect = Dialect { later: "''", durable: "''", tuning: "", ..POSTGRES };

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

/// The statements that bring tables of a version up to date.
pub(super) fn steps(from: u32, server: &str) -> String {
    let dialect = dialect(server);
    let mut out = String::new();
    for step in STEPS.iter().skip(from as usize) {
        let step = step.replace("@secure@", dialect.secure).replace("@sha256@", dialect.sha256);
        out.push_str(&step.replace("@later@", dialect.later).replace("@durable@", dialect.durable));
    }
    out.push_str(dialect.tuning);
    // Functions are anybody's unless that is taken back.
    out.push_str("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tollgate FROM PUBLIC;");
    out
}

/// Makes the tables, or brings them up to date.
pub(super) fn migrate(link: &Link, server: &str) -> Result<u32, Broken> {
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
        if from < VERSION {
            link.batch(steps(from, server))?;
            link.batch(format!("UPDATE tollgate.version SET number = {VERSION}"))?;
        }
        link.batch("COMMIT")?;
        Ok(from)
    })();
    if done.is_err() {
        let _ = link.batch("ROLLBACK");
    }
    done
}

/// What the role for CI may do, as statements: read, hold, settle; nothing that rewrites.
pub(super) fn grants(role: &str) -> String {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    format!(
        "GRANT USAGE ON SCHEMA tollgate TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA tollgate TO {role};
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA tollgate FROM {role};
GRANT EXECUTE ON FUNCTION
    tollgate.clock(), tollgate.durable(), tollgate.balances(text, text),
    tollgate.reserve(text, text, text, text, text, text, text, text, text, text),
    tollgate.extend(text, text, text, text), tollgate.settle(text, text, text, text),
    tollgate.void(text, text, text), tollgate.expire(text, text, text),
    tollgate.expire_over(text, text), tollgate.refuse(text, text, text, boolean),
    tollgate.first_since(text, timestamptz)
TO {role};
"
    )
}
