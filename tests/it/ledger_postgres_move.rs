//! A ledger that moves into a database, line for line, and a database's tables that are made again.

use std::io;

use tollgate::id::HoldId;
use tollgate::ledger::store::{Options, Store};
use tollgate::ledger::{Answer, Balance};

use crate::ledger::{budget, cents, request, spend};
use crate::ledger_postgres::{open, world};
use crate::support::postgres::{Server, url};

fn id(hold: &str) -> HoldId {
    HoldId::from_text(hold)
}

fn lines(store: &Store) -> Vec<String> {
    let mut events = store.events(None).expect("events");
    std::iter::from_fn(|| events.next_line()).map(|line| line.expect("a line")).collect()
}

fn given(lines: &[String]) -> impl Iterator<Item = io::Result<String>> {
    lines.iter().map(|line| Ok(line.clone()))
}

/// A ledger in files by this machine's clock, whose times are finer than a database's: of everything one.
fn files(folder: &std::path::Path) -> Store {
    let files = Store::open(folder, Options::default()).expect("a ledger");
    for hold in ["settled", "over", "late", "voided", "live", "grown", "adjusted"] {
        let granted = files.reserve(&request(hold, 3, budget(100), files.now())).expect("granted");
        assert!(matches!(granted, Answer::Granted { .. }));
    }
    files.settle(&id("settled"), &spend(1)).expect("settled");
    files.settle(&id("over"), &spend(5)).expect("settled");
    files.expire(&id("late"), None).expect("expired");
    files.settle(&id("late"), &spend(2)).expect("late");
    files.void(&id("voided"), "it never began").expect("voided");
    files.extend(&id("grown"), "grown", cents(7)).expect("extended");
    files.settle(&id("adjusted"), &spend(3)).expect("settled");
    files.adjust(&id("adjusted"), &spend(2), "an invoice").expect("adjusted");
    let by = Balance { limit: budget(2), settled: cents(9), held: cents(10) };
    files.refuse(&request("refused", 3, budget(2), files.now()), &by).expect("recorded");
    files
}

fn said(store: &Store) -> String {
    let verified = store.verify().expect("in order");
    assert_eq!(verified.head, Ok(()));
    format!(
        "{} {} {} {:?} {}",
        verified.events, verified.holds, verified.live, verified.span, verified.charged
    )
}

#[test]
fn a_ledger_in_files_moves_into_a_database_line_for_line() {
    let Some(server) = Server::quick() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let all = lines(&files);
    let tables = open(&server.database("books"));
    // A part of it first, as of a ledger that was exported before.
    let part = tables.import(given(&all[..9])).expect("imported");
    assert_eq!((part.before, part.events, part.live), (0, 9, 5));
    let rest = tables.import(given(&all)).expect("imported");
    assert_eq!((rest.before, rest.events), (9, all.len() as u64));
    let nothing = tables.import(given(&all)).expect("imported");
    assert_eq!((nothing.before, nothing.events), (all.len() as u64, all.len() as u64));
    assert_eq!(lines(&tables), all);
    assert_eq!(said(&tables), said(&files));
    let balances =
        |store: &Store| format!("{:?}", store.balances(&[budget(100), budget(2)]).expect("balances"));
    assert_eq!(balances(&tables), balances(&files));
    for hold in ["settled", "over", "late", "voided", "live", "grown", "adjusted"] {
        assert_eq!(tables.hold(&id(hold)).expect("read"), files.hold(&id(hold)).expect("read"), "{hold}");
    }
    let since = files.hold(&id("grown")).expect("read").expect("a hold").reserved;
    let count = |store: &Store| store.events(Some(since)).expect("events").count();
    assert_eq!(count(&tables), count(&files));

    // It goes on where the files ended: what is live is settled, what is closed corrected.
    for store in [&files, &tables] {
        store.settle(&id("live"), &spend(3)).expect("settled");
        store.extend(&id("grown"), "grown", cents(8)).expect("extended");
        store.settle(&id("grown"), &spend(8)).expect("settled");
        store.adjust(&id("over"), &spend(4), "an invoice").expect("adjusted");
        store.reserve(&request("new", 3, budget(100), store.now())).expect("granted");
        let again = store.reserve(&request("settled", 3, budget(100), store.now())).expect_err("closed");
        assert!(
            again.to_string().starts_with("hold `settled` is settled and cannot be taken again"),
            "{again}"
        );
    }
    assert_eq!(balances(&tables), balances(&files));
    let count = |store: &Store| {
        let verified = store.verify().expect("in order");
        (verified.head, verified.events, verified.live, verified.charged)
    };
    assert_eq!(count(&tables), count(&files));
}

#[test]
fn an_import_into_a_database_is_there_as_a_whole_or_not_at_all() {
    let Some(server) = Server::quick() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let all = lines(&files(folder.path()));
    let tables = open(&server.database("books"));
    let mut damaged = all.clone();
    damaged[12] = damaged[12].replace("\"cap\"", "\"cup\"");
    let refused = tables.import(given(&damaged)).expect_err("damaged").to_string();
    assert_eq!(
        refused,
        "line 13 cannot be imported: the line does not match its own checksum: it was changed after it was written"
    );
    let broken = all[..5].iter().map(|line| Ok(line.clone())).chain([Err(io::Error::other("gone"))]);
    let unread = tables.import(broken).expect_err("unreadable").to_string();
    assert_eq!(unread, "the events cannot be read: gone");
    assert_eq!(tables.verify().expect("in order").events, 0, "nothing of it is there");
    // A role for CI writes no lines, and a ledger with others takes none.
    server.role("ci");
    let Store::Postgres(own) = &tables else { panic!("a database") };
    own.grant("ci").expect("granted");
    let ci = open(&url(server.port(), "ci", "books"));
    let forbidden = ci.import(given(&all)).expect_err("forbidden").to_string();
    assert!(forbidden.starts_with("the role `ci` may not do this to the ledger at "), "{forbidden}");
    tables.reserve(&request("own", 3, budget(100), tables.now())).expect("granted");
    let other = tables.import(given(&all)).expect_err("others").to_string();
    assert!(
        other.starts_with("the ledger has 1 events already, and they are not the first of those"),
        "{other}"
    );
    assert_eq!(said(&tables).split(' ').next(), Some("1"));
}

#[test]
fn tables_that_were_changed_by_hand_are_made_again() {
    let Some(server) = Server::quick() else { return };
    let store = open(&server.database("books"));
    for hold in ["a", "b"] {
        store.reserve(&request(hold, 3, budget(100), store.now())).expect("granted");
    }
    store.settle(&id("a"), &spend(2)).expect("settled");
    store.adjust(&id("a"), &spend(1), "an invoice").expect("adjusted");
    store.rest();
    let doctor = |database: &str, yes: bool| {
        let mut world = world(Some(&server.url(database)), "5", "");
        let more: &[&str] = if yes { &["--yes", "--by", "kim"] } else { &[] };
        world.args(["ledger", "doctor"].iter().chain(more)).run()
    };
    assert_eq!(doctor("books", true).stdout, "nothing is damaged: 4 events are in order\n");
    for sql in [
        "UPDATE tollgate.account SET settled = 0",
        "UPDATE tollgate.hold SET cap = 1 WHERE id = 'b'",
        "DELETE FROM tollgate.hold",
        "UPDATE tollgate.head SET live = 0",
        "UPDATE tollgate.head SET seq = 2",
        "DELETE FROM tollgate.head",
    ] {
        server.sql("postgres", "CREATE DATABASE changed TEMPLATE books");
        server.sql("changed", sql);
        let looked = doctor("changed", false);
        looked.expect_code(6);
        assert!(
            looked.stdout.ends_with("\ncan be kept: all 4 events; the head is made again from them\n"),
            "{sql}: {}",
            looked.stdout
        );
        let mended = doctor("changed", true);
        mended.expect_code(0);
        assert!(mended.stdout.ends_with("\nmended on the word of kim, and recorded\n"), "{}", mended.stdout);
        let store = open(&server.url("changed"));
        let verified = store.verify().expect("in order");
        assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 5, 1), "{sql}");
        let balance = store.balances(&[budget(100)]).expect("balances").remove(0);
        assert_eq!((balance.settled, balance.held), (cents(1), cents(3)), "{sql}");
        store.settle(&id("b"), &spend(3)).expect("settled");
        store.rest();
        server.sql("postgres", "DROP DATABASE changed");
    }
    // Lines have no other copy.
    for (sql, expected) in [
        (
            "DELETE FROM tollgate.event WHERE seq = 4",
            "the event that its head ends with is not there any more",
        ),
        (
            "UPDATE tollgate.event SET line = replace(line, '0.03', '0.01') WHERE seq = 1",
            "event 1: the line does not match",
        ),
    ] {
        server.sql("postgres", "CREATE DATABASE changed TEMPLATE books");
        server.sql("changed", sql);
        let refused = doctor("changed", true);
        refused.expect_code(6);
        assert!(
            refused.stderr.contains(expected)
                && refused
                    .stderr
                    .ends_with("hint: nothing was changed; restore the database from a backup\n"),
            "{sql}: {}",
            refused.stderr
        );
        server.sql("postgres", "DROP DATABASE changed");
    }
}
