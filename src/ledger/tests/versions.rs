//! A tollgate whose tables are newer than a database's, and one whose are older: both say so at once, and one
//! command of whoever made the tables brings them up.

use std::time::Duration;

use super::server::{Server, url};
use super::*;
use crate::ledger::Answer;
use crate::ledger::store::StoreError;
use crate::ledger::store::postgres::{PostgresPlace, PostgresStore};

/// A tollgate of a version, which would wait for a server for longer than the test may take.
fn tollgate(version: u32, url: &str, make: bool) -> Store {
    let mut place = PostgresPlace::parse(url).expect("a place");
    place.patience = Duration::from_secs(3_600);
    let mut store = Store::open_postgres(place, Options::default(), make);
    if let Store::Postgres(postgres) = &mut store {
        postgres.set_version(version);
    }
    store
}

fn tables(store: &Store) -> &PostgresStore {
    match store {
        Store::Postgres(postgres) => postgres,
        Store::File(_) | Store::Git(_) => panic!("no database"),
    }
}

fn said<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.expect_err("an error").to_string()
}

#[test]
fn a_database_of_another_version_is_said_at_once_and_brought_up_by_one_command() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    server.role("ci");
    let ci = url(server.port(), "ci", "books");
    let place = format!("127.0.0.1:{}/books", server.port());
    let wish = |name: &str| {
        let now = Timestamp::now();
        request(name, "1", &[limit("repo", always(), "5", Enforce::Hard)], now)
    };
    let first = tollgate(1, &books, true);
    first.verify().expect("made");
    tables(&first).grant("ci").expect("granted");
    let before = tollgate(1, &ci, true);
    before.reserve(&wish("a")).expect("granted");

    // Nobody changes tables by the way: whoever works with them as they are would be shut out.
    let older = format!(
        "the ledger at {place} has tables of version 1, and this tollgate needs version 2\n\nhint: run `tollgate ledger \
         migrate` once as the role that made them; an older tollgate cannot use them after that"
    );
    for (url, make) in [(&books, true), (&books, false), (&ci, true)] {
        assert_eq!(said(tollgate(2, url, make).holds()), older);
    }
    assert_eq!(
        said(tables(&tollgate(2, &ci, true)).migrate()),
        format!(
            "the role `ci` may not bring the ledger at {place} up to date: permission denied for database books \
             [42501]\n\nhint: run `tollgate ledger migrate` as the role that made its tables"
        )
    );
    assert_eq!(tables(&tollgate(2, &books, true)).migrate().expect("brought up"), (1, 2));
    assert_eq!(tables(&tollgate(2, &books, true)).migrate().expect("again"), (2, 2));

    let newer = format!(
        "the ledger at {place} has tables of version 2, and this tollgate knows those up to 1\n\nhint: update tollgate \
         here; nothing was changed"
    );
    assert_eq!(said(tollgate(1, &ci, true).holds()), newer);
    assert_eq!(said(tables(&tollgate(1, &books, true)).migrate()), newer);
    // One that was at work meanwhile goes on, as long as it finds what it calls.
    before.settle(&id("a"), &Spend { usd: usd("1"), ..Spend::default() }).expect("settled");
    server.sql("books", "DROP FUNCTION tollgate.void(text, text, text)");
    assert_eq!(said(before.void(&id("a"), "it never began")), newer);
    // The role may do what it could before, with nothing granted anew.
    let after = tollgate(2, &ci, true);
    assert!(matches!(after.reserve(&wish("b")).expect("an answer"), Answer::Granted { .. }));
    let verified = after.verify().expect("in order");
    assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 3, 1));
}
