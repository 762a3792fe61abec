//! The PostgreSQL ledger's tables and functions where they are not those of this tollgate: what is said, at once,
//! and what `tollgate ledger migrate` makes of it.

use std::time::Duration;

use tollgate::ledger::Answer;
use tollgate::ledger::store::postgres::PostgresPlace;
use tollgate::ledger::store::{Options, Store, StoreError};

use crate::ledger::{budget, request, spend};
use crate::ledger_postgres::{open, world};
use crate::support::postgres::{Server, url};

/// A ledger of who would wait for a server for longer than the test may take.
fn patient(url: &str) -> Store {
    let mut place = PostgresPlace::parse(url).expect("a place");
    place.patience = Duration::from_secs(3_600);
    Store::open_postgres(place, Options::default(), true)
}

fn said<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.expect_err("an error").to_string()
}

/// A database with a ledger that the role `ci` may use.
fn granted(server: &Server, database: &str) -> Store {
    let owner = open(&server.database(database));
    owner.verify().expect("made");
    let Store::Postgres(tables) = &owner else { panic!("a database") };
    tables.grant("ci").expect("granted");
    owner
}

/// Every function with its text, its owner and who may call it.
fn functions(server: &Server, database: &str) -> String {
    server.sql(
        database,
        "SELECT pg_get_functiondef(p.oid), p.proowner::regrole, p.proacl FROM pg_proc AS p \
         WHERE p.pronamespace = 'tollgate'::regnamespace ORDER BY p.oid::regprocedure::text",
    )
}

#[test]
fn functions_of_an_older_text_are_said_at_once_and_made_anew() {
    let Some(server) = Server::quick() else { return };
    server.role("ci");
    drop(granted(&server, "fresh"));
    let owner = granted(&server, "books");
    let place = format!("127.0.0.1:{}/books", server.port());
    let ci = patient(&url(server.port(), "ci", "books"));
    let wish = |hold: &str| request(hold, 3, budget(100), jiff::Timestamp::now());
    let (a, b) = (wish("a"), wish("b"));
    ci.reserve(&a).expect("granted");

    // The statement was carried out, and what is to say that it is durable is not there.
    server.sql("books", "DROP FUNCTION tollgate.durable()");
    assert_eq!(
        said(ci.reserve(&b)),
        format!(
            "the ledger at {place} has functions that are not those of this tollgate: function tollgate.durable() does \
             not exist [42883]\n\nhint: run `tollgate ledger migrate` once as the role that made them; what was being \
             recorded may have arrived"
        )
    );
    // It was not, since a function is not there, or is there with other parameters.
    server.sql(
        "books",
        "DROP FUNCTION tollgate.session();
         DROP FUNCTION tollgate.refuse(text, text, text, boolean);
         DROP FUNCTION tollgate.spent(text);
         CREATE FUNCTION tollgate.spent(p_spend text) RETURNS text LANGUAGE sql AS 'SELECT p_spend';
         CREATE FUNCTION tollgate.adjust(p_hold text) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT p_hold';
         GRANT EXECUTE ON FUNCTION tollgate.adjust(text) TO ci",
    );
    assert_eq!(
        said(ci.settle(&a.hold, &spend(1))),
        format!(
            "the ledger at {place} has functions that are not those of this tollgate: function tollgate.session() does \
             not exist [42883]\n\nhint: run `tollgate ledger migrate` once as the role that made them"
        )
    );

    // Somebody who is not the owner, and may do everything, does not become it.
    server.sql("postgres", "CREATE ROLE admin LOGIN SUPERUSER");
    let mut world = world(Some(&url(server.port(), "admin", "books")), "5", "");
    let migrated = world.args(["ledger", "migrate"]).run();
    migrated.expect_code(0);
    assert_eq!(migrated.stdout, "the tables are up to date, version 1, and the functions made anew\n");
    assert_eq!(functions(&server, "books"), functions(&server, "fresh"));

    // Nothing was lost, and the role may go on where it was.
    assert!(matches!(ci.reserve(&b).expect("an answer"), Answer::Granted { .. }));
    ci.settle(&a.hold, &spend(1)).expect("settled");
    let verified = owner.verify().expect("in order");
    assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 3, 1));
}

#[test]
fn tables_that_are_missing_or_closed_are_said_at_once() {
    let Some(server) = Server::quick() else { return };
    server.role("ci");
    server.role("stranger");
    let owner = granted(&server, "books");
    let (port, place) = (server.port(), format!("127.0.0.1:{}/books", server.port()));
    assert_eq!(
        said(patient(&url(port, "stranger", "books")).sweep()),
        format!(
            "the role `stranger` may not use the ledger at {place}: permission denied for schema tollgate [42501]\n\n\
             hint: `tollgate ledger migrate --grant stranger`, as the role that made the tables, lets it hold and settle"
        )
    );
    let Store::Postgres(tables) = patient(&url(port, "ci", "books")) else { panic!("a database") };
    assert_eq!(
        said(tables.migrate()),
        format!(
            "the role `ci` may not bring the ledger at {place} up to date: permission denied for database books \
             [42501]\n\nhint: run `tollgate ledger migrate` as the role that made its tables"
        )
    );
    server.sql("books", "DROP TABLE tollgate.purse");
    let wish = request("a", 3, budget(100), jiff::Timestamp::now());
    assert_eq!(
        said(patient(&url(port, "ci", "books")).reserve(&wish)),
        format!(
            "the ledger at {place} lacks a table: relation \"tollgate.purse\" does not exist [42P01]\n\nhint: nothing was \
             changed; restore the database from a backup"
        )
    );
    server.sql("books", "DROP TABLE tollgate.version");
    assert_eq!(
        said(patient(&server.url("books")).sweep()),
        format!(
            "the database at {place} has tables of a ledger, and nothing that says of which version: relation \"turn\" \
             already exists [42P07]\n\nhint: nothing was changed; restore the database from a backup"
        )
    );
    // Whoever had found them before finds nothing at all.
    server.sql("books", "DROP SCHEMA tollgate CASCADE");
    assert_eq!(
        said(owner.holds()),
        format!(
            "the ledger at {place} lacks a table: relation \"tollgate.hold\" does not exist [42P01]\n\nhint: nothing was \
             changed; restore the database from a backup"
        )
    );
}
