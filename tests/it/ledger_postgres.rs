//! The PostgreSQL ledger: who may do what, what is refused, and what is said about it.

use tollgate::id::HoldId;
use tollgate::ledger::Answer;
use tollgate::ledger::event::{Bill, Note};
use tollgate::ledger::store::postgres::PostgresPlace;
use tollgate::ledger::store::{Options, Store, StoreError};

use crate::ledger::{budget, cents, request, spend};
use crate::support::postgres::{Server, url};
use crate::support::{Run, Tollgate, tool};

pub(crate) fn open(url: &str) -> Store {
    Store::open_postgres(PostgresPlace::parse(url).expect("a place"), Options::default(), true)
}

fn id(hold: &str) -> HoldId {
    HoldId::from_text(hold)
}

fn said<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.expect_err("an error").to_string()
}

/// A repository whose ledger is a database.
pub(crate) fn world(url: Option<&str>, usd: &str, more: &str) -> Tollgate {
    let file = format!(
        "version: 1\nledger: postgres\nbudgets:\n  - {{ scope: repo, per: total, usd: {usd} }}\n\
         tiers:\n  high: {{ max_usd: 1.00 }}\n  medium: {{ max_usd: 1.00 }}\n  low: {{ max_usd: 1.00 }}\n{more}"
    );
    let mut world = Tollgate::in_repository(&[(".github/tollgate.yml", &file)]);
    if let Some(url) = url {
        world.env("TOLLGATE_DATABASE_URL", url);
    }
    world
}

#[test]
fn a_role_for_ci_holds_and_settles_and_rewrites_nothing() {
    let Some(server) = Server::quick() else { return };
    let owner = server.database("books");
    server.role("ci");
    let mut world = world(Some(&url(server.port(), "ci", "books")), "5", "");
    let run = world.args(["run", "--simulate"]).run();
    run.expect_code(6);
    assert!(
        run.stderr.contains(
            "has no ledger, and the role `ci` may not make one: permission denied for database books [42501]"
        ),
        "{}",
        run.stderr
    );
    world.env("TOLLGATE_DATABASE_URL", &owner);
    let made = world.args(["ledger", "migrate", "--grant", "ci"]).run();
    made.expect_code(0);
    assert_eq!(
        made.stdout,
        "made the tables, version 1\nthe role ci may hold and settle, and rewrite nothing\n"
    );
    let unknown = world.args(["ledger", "migrate", "--grant", "CI"]).run();
    unknown.expect_code(6);
    let expected = format!(
        "error: nothing was granted at 127.0.0.1:{}/books: role \"CI\" does not exist [42704]\n\nhint: make the role \
         first, or write it as the server does, capitals included: `SELECT rolname FROM pg_roles`\n",
        server.port()
    );
    assert_eq!(unknown.stderr, expected);
    let again = world.args(["ledger", "migrate", "--grant", "ci"]).run();
    let anew = "the tables are up to date, version 1, and the functions made anew\n";
    assert!(again.stdout.starts_with(anew), "{}", again.stdout);
    world.env("TOLLGATE_DATABASE_URL", url(server.port(), "ci", "books"));
    world.args(["run", "--simulate"]).run().expect_code(0);

    // Everything that a run needs.
    let ci = open(&url(server.port(), "ci", "books"));
    for hold in ["a", "b", "c", "d"] {
        ci.reserve(&request(hold, 3, budget(100), ci.now())).expect("granted");
    }
    ci.settle(&id("a"), &spend(1)).expect("settled");
    ci.void(&id("b"), "it never began").expect("voided");
    ci.expire(&id("c"), None).expect("expired");
    ci.settle(&id("c"), &spend(2)).expect("late");
    assert_eq!(ci.sweep().expect("swept"), []);
    assert_eq!(ci.hold(&id("c")).expect("read").expect("a hold").spend.usd, cents(2));
    assert_eq!(ci.events(Some(ci.now() - jiff::SignedDuration::from_hours(1))).expect("events").count(), 8);
    assert_eq!(ci.verify().expect("in order").head, Ok(()));

    // And nothing that rewrites.
    let adjusted = said(ci.adjust(&id("a"), &spend(0), "an invoice"));
    assert!(adjusted.starts_with("the role `ci` may not do this to the ledger at 127.0.0.1:"), "{adjusted}");
    rewrites_nothing(&server);
    assert_eq!(ci.verify().expect("in order").live, 1);
    // The owner's corrections count for everybody.
    let owner = open(&owner);
    owner.adjust(&id("a"), &spend(0), "an invoice").expect("adjusted");
    let bill = Bill {
        provider: "anthropic".to_owned(),
        day: "2026-11-23".to_owned(),
        billed: cents(2),
        ledger: cents(2),
        unproven: cents(0),
        models: Vec::new(),
    };
    owner.note(&id("anthropic/2026-11-23"), Note::Bill(bill)).expect("on record");
    assert_eq!(owner.verify().expect("in order").head, Ok(()));
    assert_eq!(ci.balances(&[budget(100)]).expect("balances")[0].settled, cents(2));
}

#[test]
fn spend_in_other_words_is_the_same_spend() {
    let Some(server) = Server::quick() else { return };
    let store = open(&server.database("books"));
    for hold in ["a", "b"] {
        store.reserve(&request(hold, 3, budget(100), store.now())).expect("granted");
    }
    let settled = store.settle(&id("a"), &spend(2)).expect("settled");
    store.expire(&id("b"), None).expect("charged");
    let charged = store.hold(&id("b")).expect("read").expect("there").spend;
    // As another version might write it: with blanks, in another order.
    server.sql("books", "UPDATE tollgate.hold SET spend = spend::jsonb::text");
    assert_eq!(store.settle(&id("a"), &spend(2)).expect("settled already").spend, settled.spend);
    store.correct(&id("b"), &charged, &spend(1), "a bill").expect("corrected");
    let refused = said(store.correct(&id("b"), &charged, &spend(0), "a bill"));
    assert_eq!(
        refused,
        "hold `b` is expired at $0.01, and was to be corrected as one that nobody settled, at $0.03\n\nhint: it has \
         changed meanwhile; `tollgate ledger export` shows by what"
    );
}

/// What the role `ci` is refused, and what it cannot slip into a line.
fn rewrites_nothing(server: &Server) {
    for sql in [
        "UPDATE tollgate.event SET line = ''",
        "DELETE FROM tollgate.event",
        "TRUNCATE tollgate.event",
        "INSERT INTO tollgate.event SELECT ledger, 100, at, kind, hold, line FROM tollgate.event LIMIT 1",
        "UPDATE tollgate.hold SET cap = 0",
        "DELETE FROM tollgate.hold",
        "UPDATE tollgate.account SET settled = 0",
        "UPDATE tollgate.head SET seq = 0",
        "UPDATE tollgate.version SET number = 0",
        "SELECT tollgate.append('', 'reserve', 'x', '{}')",
        "SELECT tollgate.step('', 'a', 'adjust', 'settled', '{\"usd\":\"0\",\"estimated\":\"0\"}', 0, '')",
        "SELECT tollgate.close('', 'a', 'adjust', '', '{\"usd\":\"0\",\"estimated\":\"0\"}', '', false)",
        "SELECT tollgate.adjust('', 'a', '{\"usd\":\"0\",\"estimated\":\"0\"}', 'x')",
        "CREATE OR REPLACE FUNCTION tollgate.clock() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
        "SELECT tollgate.correct('', 'a', '', '{\"usd\":\"0\",\"estimated\":\"0\"}', 'x')",
        "SELECT tollgate.note('', 'x', 'bill', '{}', false)",
        "DROP SCHEMA tollgate CASCADE",
        "CREATE TABLE tollgate.own (x int)",
    ] {
        let refused = server.sql_as("ci", "books", sql).expect_err(sql);
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{sql}: {refused}"
        );
    }
}

#[test]
fn a_url_that_is_missing_or_wrong_is_said_with_its_form() {
    let run = |world: &mut Tollgate| -> Run { world.args(["run", "--simulate"]).run() };
    let missing = run(&mut world(None, "5", ""));
    missing.expect_code(2);
    assert_eq!(
        missing.stderr,
        "error: the ledger is a PostgreSQL database, and TOLLGATE_DATABASE_URL is not set\n\nhint: set it from a \
         secret, to `postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full`\n"
    );
    let wrong = run(&mut world(Some("postgres://u:s3cret@db.example/x?sslmode=prefer"), "5", ""));
    wrong.expect_code(2);
    assert_eq!(
        wrong.stderr,
        "error: TOLLGATE_DATABASE_URL names no database for a ledger: `sslmode=prefer` may send the password and the \
         ledger unencrypted to db.example: write `sslmode=verify-full`\n\nhint: its form is \
         `postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full`\n"
    );
}

#[test]
fn what_cannot_be_a_ledger_is_said_with_what_to_do() {
    let run = |world: &mut Tollgate| -> Run { world.args(["run", "--simulate"]).run() };
    let Some(mut server) = Server::quick() else { return };
    let books = server.database("books");
    let port = server.port();
    // Nothing is made by who only reads.
    let show = world(Some(&books), "5", "").args(["ledger", "show"]).run();
    show.expect_code(6);
    assert_eq!(
        show.stderr,
        format!(
            "error: the database at 127.0.0.1:{port}/books has no ledger\n\nhint: the first run makes one, or `tollgate ledger migrate`\n"
        )
    );
    let nobody = run(&mut world(Some(&url(port, "nobody_here", "books")), "5", ""));
    nobody.expect_code(6);
    assert!(
        nobody.stderr.contains("does not let this role in: role \"nobody_here\" does not exist"),
        "{}",
        nobody.stderr
    );
    let nowhere = run(&mut world(Some(&server.url("nowhere")), "5", ""));
    nowhere.expect_code(6);
    assert!(
        nowhere.stderr.contains("does not let this role in: database \"nowhere\" does not exist"),
        "{}",
        nowhere.stderr
    );

    // A setting of the role, the database or the server, all the same.
    run(&mut world(Some(&books), "5", "")).expect_code(0);
    server.sql("books", "ALTER ROLE books SET synchronous_commit = off");
    let loose = run(&mut world(Some(&books), "5", ""));
    loose.expect_code(6);
    assert!(
        loose.stderr.contains(
            "has `synchronous_commit = off`, so that a crash may take back a hold that was granted\n\nhint: \
             `ALTER ROLE books SET synchronous_commit = on`"
        ),
        "{}",
        loose.stderr
    );
    server.sql("books", "ALTER ROLE books RESET synchronous_commit");

    // Tables of a time to come.
    server.sql("books", "UPDATE tollgate.version SET number = 7");
    let newer = said(open(&books).sweep());
    assert_eq!(
        newer,
        format!(
            "the ledger at 127.0.0.1:{port}/books has tables of version 7, and this tollgate knows those up to 1\n\nhint: update tollgate here; nothing was changed"
        )
    );
    server.sql("books", "UPDATE tollgate.version SET number = 1");

    // Nobody answers: the run waits as long as it has patience, and is then not run uncounted.
    server.crash();
    let mut place = PostgresPlace::parse(&books).expect("a place");
    place.patience = std::time::Duration::from_millis(300);
    let store = Store::open_postgres(place, Options::default(), true);
    let gone = said(store.sweep());
    assert!(gone.starts_with(&format!("the ledger at 127.0.0.1:{port}/books cannot be reached: ")), "{gone}");
    assert!(
        gone.ends_with(
            "hint: check the server and TOLLGATE_DATABASE_URL, then start again; nothing was recorded"
        ),
        "{gone}"
    );
}

#[test]
fn a_run_without_its_database_fails_or_passes_by_policy_and_starts_no_agent() {
    let Some(mut server) = Server::quick() else { return };
    let books = format!("{}&retry_seconds=1", server.database("books"));
    server.crash();
    for (policy, code) in [("fail", 6), ("skip", 0)] {
        let mut world = world(Some(&books), "5", &format!("on: {{ ledger_error: {policy} }}\n"));
        world.time_max(std::time::Duration::from_secs(90));
        let run = world.args(["run", "--simulate"]).run();
        run.expect_code(code);
        assert!(run.stderr.contains("cannot be reached"), "{}", run.stderr);
        assert!(!run.stderr.contains("isolation"), "no agent is started: {}", run.stderr);
    }
}

#[test]
fn tables_that_were_changed_by_hand_are_found() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let store = open(&books);
    for hold in ["a", "b"] {
        store.reserve(&request(hold, 3, budget(100), store.now())).expect("granted");
    }
    store.settle(&id("a"), &spend(2)).expect("settled");
    assert_eq!(store.verify().expect("in order").head, Ok(()));
    // A database that somebody is connected to cannot be copied.
    store.rest();
    let port = server.port();
    for (sql, expected) in [
        (
            "UPDATE tollgate.account SET settled = 0",
            "the head has 0 settled on `repo` since 1970-01-01T00:00:00Z, the events 0.02",
        ),
        (
            "UPDATE tollgate.account SET held = 0",
            "the head has 0.02 settled on `repo` since 1970-01-01T00:00:00Z, the events 0.05",
        ),
        ("UPDATE tollgate.hold SET cap = 1 WHERE id = 'b'", "hold `b` is not what its events make it"),
        (
            "UPDATE tollgate.hold SET phase = 'voided' WHERE id = 'b'",
            "hold `b` is not what its events make it",
        ),
        ("DELETE FROM tollgate.hold WHERE id = 'b'", "there are 1 holds, and events of 2"),
        ("UPDATE tollgate.head SET live = 0", "the head's live holds are not those of the events"),
        (
            "UPDATE tollgate.head SET seq = 2",
            "the head ends at event 2, the events at 3, or with another hash",
        ),
        (
            "DELETE FROM tollgate.event WHERE seq = 3",
            "the head ends at event 3, the events at 2, or with another hash",
        ),
    ] {
        server.sql("postgres", "CREATE DATABASE changed TEMPLATE books");
        server.sql("changed", sql);
        let mut world = world(Some(&server.url("changed")), "5", "");
        let verify = world.args(["ledger", "verify"]).run();
        verify.expect_code(6);
        assert_eq!(
            verify.stderr,
            format!(
                "error: {expected}\n\nhint: somebody changed the database by hand: `tollgate ledger doctor` says what can be made again\n"
            ),
            "{sql}"
        );
        server.sql("postgres", "DROP DATABASE changed");
    }
    server.sql("books", "UPDATE tollgate.event SET line = replace(line, '\"cap\":\"0.03\"', '\"cap\":\"0.01\"') WHERE seq = 1");
    assert_eq!(
        said(open(&books).verify()),
        format!(
            "the ledger is damaged: 127.0.0.1:{port}/books, event 1: the line does not match its own checksum: it was changed \
             after it was written\n\nhint: nothing was changed; restore the database from a backup"
        )
    );
}

#[test]
fn a_server_far_away_proves_who_it_is() {
    let Some(openssl) = tool("openssl", "TOLLGATE_TEST_OPENSSL") else { return };
    let Some(mut server) = Server::quick() else { return };
    let books = server.database("books");
    let wishes = server.folder().join("wishes.cnf");
    let names = "[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = v3\n[dn]\nCN = books\n[v3]\n\
                 basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    std::fs::write(&wishes, names).expect("a file");
    let made = std::process::Command::new(openssl)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config"])
        .arg(&wishes)
        .arg("-keyout")
        .arg(server.folder().join("key.pem"))
        .arg("-out")
        .arg(server.folder().join("cert.pem"))
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (key, cert) = (server.owned("key.pem"), server.owned("cert.pem"));
    server.set(&[
        "ssl=on",
        &format!("ssl_key_file={}", key.display()),
        &format!("ssl_cert_file={}", cert.display()),
    ]);
    let plain = books.split('?').next().expect("a URL").to_owned();
    let roots = format!("sslrootcert={}", cert.display());
    let encrypted = open(&format!("{plain}?sslmode=verify-full&{roots}"));
    encrypted.reserve(&request("a", 3, budget(100), encrypted.now())).expect("granted");
    assert_eq!(server.sql("books", "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'tollgate'"), "t");
    let strange = said(open(&format!("{plain}?sslmode=require")).sweep());
    assert!(strange.contains("does not prove that it is that server: "), "{strange}");
    assert!(strange.contains("UnknownIssuer") || strange.contains("invalid peer certificate"), "{strange}");
    let other = plain.replace("127.0.0.1", "localhost");
    let other = said(open(&format!("{other}?sslmode=verify-full&{roots}")).sweep());
    assert!(other.contains("does not prove that it is that server: "), "a name that is not in it: {other}");
}

#[test]
fn five_runs_at_once_share_a_budget_that_has_room_for_three() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let refuse = "on: { low_budget: refuse }\n";
    let mut first = world(Some(&books), "1000", refuse);
    first.args(["run", "--simulate"]).run().expect_code(0);
    let spent = open_simulated(&books).accounts().expect("accounts")[0].settled;
    let limit = spent + cents(300);
    let worlds: Vec<Tollgate> = (0..5).map(|_| world(Some(&books), &limit.to_string(), refuse)).collect();
    let children: Vec<_> = worlds
        .iter()
        .map(|world| {
            let mut command = world.command();
            command.args(["run", "--simulate"]).spawn().expect("it starts")
        })
        .collect();
    let mut ran = 0;
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
        assert_eq!(output.status.code() == Some(3), said.contains("the run was not started"), "{said}");
        ran += u64::from(output.status.code() == Some(0));
    }
    assert!(ran >= 3, "{ran}");
    let store = open_simulated(&books);
    let verified = store.verify().expect("in order, each grant within the limit");
    assert_eq!((verified.head, verified.live, verified.holds), (Ok(()), 0, ran + 1));
    assert!(store.accounts().expect("accounts")[0].settled <= limit);
    println!("{ran} of 5 runs were started at once on a budget for 3");
}

pub(crate) fn open_simulated(url: &str) -> Store {
    let options = Options { namespace: Some("simulate".to_owned()), ..Options::default() };
    Store::open_postgres(PostgresPlace::parse(url).expect("a place"), options, true)
}

#[test]
fn commands_work_on_a_database_as_on_files() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let org = "  - { scope: org, per: month, usd: 50 }\n";
    let mut world = world(Some(&books), "5", "");
    let file = std::fs::read_to_string(world.work().join(".github/tollgate.yml")).expect("a file");
    world.file(".github/tollgate.yml", &file.replace("budgets:\n", &format!("budgets:\n{org}")));
    let check = world.args(["check"]).run();
    check.expect_code(0);
    assert!(
        check.stdout.contains("PostgreSQL database that TOLLGATE_DATABASE_URL names"),
        "{}",
        check.stdout
    );
    world.args(["run", "--simulate"]).run().expect_code(0);
    let verify = world.args(["ledger", "verify", "--simulate"]).run();
    verify.expect_code(0);
    assert!(
        verify.stdout.starts_with("2 events, chain intact, head equals fold\n1 hold, 0 live, "),
        "{}",
        verify.stdout
    );
    let show = world.args(["ledger", "show", "--simulate", "--format", "json"]).run();
    let show: serde_json::Value = serde_json::from_str(&show.stdout).expect("JSON");
    assert_eq!(show["runs"].as_array().map(Vec::len), Some(1));
    let hold = show["runs"][0]["hold"].as_str().expect("a key").to_owned();
    let export = world.args(["ledger", "export", "--simulate"]).run();
    export.expect_code(0);
    assert!(export.stdout.contains(&hold), "{}", export.stdout);
    world.args(["report", "--simulate"]).run().expect_code(0);
    world.args(["gate", "--simulate"]).run().expect_code(0);
    let void =
        world.args(["ledger", "void", hold.as_str(), "--simulate", "--reason", "it never began"]).run();
    void.expect_code(2);
    assert!(void.stderr.contains("is settled, and cannot be voided"), "{}", void.stderr);
    let mut files = Tollgate::in_repository(&[("a", "b")]);
    let migrate = files.args(["ledger", "migrate"]).run();
    migrate.expect_code(2);
    assert!(migrate.stderr.starts_with("error: this ledger has no tables\n"), "{}", migrate.stderr);
}

#[test]
fn many_that_begin_at_once_make_the_tables_once() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let books = books.clone();
            std::thread::spawn(move || {
                let store = open(&books);
                store.reserve(&request(&format!("h{number}"), 3, budget(100), store.now())).expect("granted")
            })
        })
        .collect();
    for thread in threads {
        assert!(matches!(thread.join().expect("joined"), Answer::Granted { .. }));
    }
    let verified = open(&books).verify().expect("in order");
    assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 8, 8));
}
