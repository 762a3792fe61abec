//! The PostgreSQL ledger against who may speak to it: what a job's role hands over is a line or nothing, and
//! an answer that is lost on its way is found, once.

use std::time::Duration;

use tollgate::id::HoldId;
use tollgate::ledger::event::{Bill, Kind, Note};
use tollgate::ledger::store::postgres::PostgresPlace;
use tollgate::ledger::store::{Options, Store};
use tollgate::ledger::{Answer, Balance};

use crate::ledger::{budget, cents, request, spend};
use crate::ledger_postgres::open;
use crate::support::postgres::{Server, url};

fn id(hold: &str) -> HoldId {
    HoldId::from_text(hold)
}

const PURSES: &str = r#"["repo"]"#;
const LIMIT: &str = r#"{"purse":"repo","per":"total","window":{"start":"1970-01-01T00:00:00Z","end":null},"usd":"5","enforce":"hard"}"#;
const ABOUT: &str = r#"{"task":"t","tier":"","model":"m","actor":"a","pr":17,"workflow":null}"#;

/// A reserve as a client sends it, with some of its parts changed.
fn reserve(changed: &[(usize, &str)]) -> String {
    let limits = format!("[{LIMIT}]");
    let expires = "2099-01-01T00:00:00Z";
    let mut values = ["", "x", "claim", "1", "0.5", expires, PURSES, &limits, ABOUT, ""];
    for (place, value) in changed {
        values[*place] = value;
    }
    let quoted = values.map(|value| format!("'{}'", value.replace('\'', "''")));
    let sql = format!("SELECT tollgate.reserve({})", quoted.join(", "));
    if values[9].is_empty() { sql.replace(", '')", ", NULL)") } else { sql }
}

fn refuse(body: &str) -> String {
    format!("SELECT tollgate.refuse('', 'x', '{body}', false)")
}

const TERMS: &str = "its terms are not as they stand in a line";
const REFUSAL: &str = "a refusal is not as it stands in a line";
const SPEND: &str = "not a spend as it stands in a line";
const MODEL: &str = r#"{"model":"m","usd":"1","requests":1,"tokens":{"input":1,"cache_read":0,"cache_write_5m":0,"cache_write_1h":0,"output":1}}"#;

fn body() -> String {
    format!(r#"{{"least":"0.5","by":{LIMIT},"settled":"0","held":"5","purses":{PURSES},"about":{ABOUT}}}"#)
}

fn settle(spend: &str) -> String {
    format!("SELECT tollgate.settle('', 'd', '{spend}', null)")
}

fn spent(models: &str) -> String {
    settle(&format!("{{\"usd\":\"1\",\"estimated\":\"0\",\"models\":[{models}]}}"))
}

type Wrong = (String, &'static str);

fn wrong_terms() -> Vec<Wrong> {
    let limits = |from: &str, to: &str| format!("[{}]", LIMIT.replace(from, to));
    let long = format!("[\"{}\"]", "x".repeat(513));
    let many = format!("[\"repo\"{}]", (0..64).map(|n| format!(",\"p{n}\"")).collect::<String>());
    vec![
        (reserve(&[(1, "")]), TERMS),
        (reserve(&[(2, "")]), TERMS),
        (reserve(&[(3, "-1")]), TERMS),
        (reserve(&[(3, "1e3")]), TERMS),
        (reserve(&[(4, "")]), TERMS),
        (reserve(&[(4, "2")]), TERMS),
        (reserve(&[(4, "0\",\"cap\":\"0")]), TERMS),
        (reserve(&[(5, "tomorrow")]), TERMS),
        (reserve(&[(5, "2099-01-01")]), TERMS),
        (reserve(&[(5, "2099-01-01T24:00:00Z")]), TERMS),
        (reserve(&[(5, "2099-02-30T00:00:00Z")]), "out of range"),
        (reserve(&[(6, "[]"), (7, "[]")]), TERMS),
        (reserve(&[(6, "[\"repo\",7]")]), TERMS),
        (reserve(&[(6, "[\"repo\",\"repo\"]")]), TERMS),
        (reserve(&[(6, "[\"repo\" ]")]), TERMS),
        (reserve(&[(6, &long), (7, "[]")]), TERMS),
        (reserve(&[(6, &many)]), TERMS),
        (reserve(&[(6, "[\"other\"]")]), TERMS),
        (reserve(&[(7, &limits("hard", "firm"))]), TERMS),
        (reserve(&[(7, &limits("\"5\"", "\"five\""))]), "invalid input syntax"),
        (reserve(&[(7, &limits("\"5\"", "5"))]), TERMS),
        (reserve(&[(7, &limits("\"per\":\"total\",", ""))]), TERMS),
        (reserve(&[(7, &limits("null}", "\"never\"}"))]), "invalid input syntax"),
        (reserve(&[(7, &limits("00:00:00Z", "00:00:00.0000001Z"))]), TERMS),
        (reserve(&[(7, "[7]")]), TERMS),
        (reserve(&[(7, &limits("\"5\"", "\"-5\""))]), TERMS),
        (reserve(&[(7, &limits("\"5\"", "\"5e0\""))]), TERMS),
        (reserve(&[(7, &limits("\"5\"", "\"NaN\""))]), TERMS),
        (reserve(&[(7, &limits("null}", "\"infinity\"}"))]), TERMS),
        (reserve(&[(7, &limits("\"1970", "\" 1970"))]), TERMS),
    ]
}

fn wrong_words() -> Vec<Wrong> {
    let (more, twice) =
        (ABOUT.replace("\"pr\"", "\"x\":1,\"pr\""), ABOUT.replace("\"pr\"", "\"task\":\"u\",\"pr\""));
    let lift =
        r#"{"usd":"9","label":"l","by":"b","set":"2026-01-01T00:00:00Z","expires":"2099-01-01T00:00:00Z"}"#;
    // More than one of its limits, less than the other.
    let two = format!("[{LIMIT},{}]", LIMIT.replace("total", "month").replace("\"5\"", "\"3\""));
    vec![
        (reserve(&[(8, "{}")]), TERMS),
        (reserve(&[(8, "7")]), TERMS),
        (reserve(&[(8, "{")]), "json"),
        (reserve(&[(8, &more)]), TERMS),
        (reserve(&[(8, &twice)]), TERMS),
        (reserve(&[(8, &ABOUT.replace("17", "-1"))]), TERMS),
        (reserve(&[(8, &ABOUT.replace("17", "1.5"))]), TERMS),
        (reserve(&[(8, &ABOUT.replace("\"m\"", "7"))]), TERMS),
        (reserve(&[(8, &ABOUT.replace(":17", ":\n17"))]), TERMS),
        (reserve(&[(9, lift)]), TERMS),
        (reserve(&[(9, &lift.replace("\"9\"", "\"0\""))]), TERMS),
        (reserve(&[(9, &lift.replace("\"b\"", "7"))]), TERMS),
        (reserve(&[(9, "{}")]), TERMS),
        (reserve(&[(9, &lift.replace("\"9\"", "\"4\"")), (7, &two)]), TERMS),
    ]
}

fn wrong_refusals() -> Vec<Wrong> {
    let body = body();
    vec![
        (refuse("{}"), "not names of purses"),
        (refuse("7"), "not names of purses"),
        (refuse(&body.replace("\"0.5\"", "0.5")), REFUSAL),
        (refuse(&body.replace("\"held\":\"5\"", "\"held\":\"x\"")), REFUSAL),
        (refuse(&body.replace("hard", "firm")), REFUSAL),
        (refuse(&body.replace(PURSES, "[]")), "not names of purses"),
        (refuse(&body.replace("\"pr\":17", "\"pr\":true")), REFUSAL),
        (refuse(&body.replace("\"settled\":\"0\",", "")), REFUSAL),
        (refuse(&body.replace("\"least\"", "\"more\":1,\"least\"")), REFUSAL),
        ("SELECT tollgate.refuse('', '', '{}', false)".to_owned(), REFUSAL),
    ]
}

fn wrong_steps() -> Vec<Wrong> {
    vec![
        (settle("{\"usd\":\"-1\",\"estimated\":\"0\"}"), SPEND),
        (settle("{\"usd\":\"1e3\",\"estimated\":\"0\"}"), SPEND),
        (settle("{\"usd\":\"1\",\"estimated\":\"2\"}"), "more is estimated"),
        (settle("{\"usd\":\"1\",\"estimated\":\"0\"},\"x\":1"), "json"),
        (settle("{\"usd\":\"1\",\"estimated\":\"0\"}"), SPEND),
        (spent("7"), SPEND),
        (spent(&MODEL.replace(":1,\"tokens", ":-1,\"tokens")), SPEND),
        (spent(&MODEL.replace("\"output\":1", "\"output\":1.5")), SPEND),
        (spent(&MODEL.replace(",\"output\":1", "")), SPEND),
        (spent(&MODEL.replace("\"output\":1", "\"output\":1,\"output\":1")), SPEND),
        (spent(&MODEL.replace("\"m\"", "null")), SPEND),
        (spent(&format!("\n{MODEL}")), SPEND),
        ("SELECT tollgate.void('', 'd', ' ')".to_owned(), "a reason must have 1 to 512 bytes"),
        ("SELECT tollgate.extend('', 'd', 'claim', 'all')".to_owned(), "not an amount"),
    ]
}

/// What a role for CI can slip into a line by calling the functions by itself.
#[test]
fn what_a_role_for_ci_hands_over_is_a_line_or_nothing() {
    let Some(server) = Server::quick() else { return };
    let owner = open(&server.database("books"));
    owner.verify().expect("made");
    server.role("ci");
    let Store::Postgres(tables) = &owner else { panic!("a database") };
    tables.grant("ci").expect("granted");
    owner.reserve(&request("d", 3, budget(100), owner.now())).expect("granted");
    let mut wrong = Vec::new();
    for (sql, expected) in [wrong_terms(), wrong_words(), wrong_refusals(), wrong_steps()].concat() {
        let said = server.sql_as("ci", "books", &sql);
        if !said.as_ref().is_err_and(|refused| refused.contains(expected)) {
            wrong.push(format!("{sql}\n  not `{expected}`: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let verified = owner.verify().expect("every line can be read");
    assert_eq!((verified.head, verified.events), (Ok(()), 1));
    // As they are sent, they are taken.
    for sql in [reserve(&[]), refuse(&body()), spent(MODEL)] {
        server.sql_as("ci", "books", &sql).expect(&sql);
    }
    let verified = owner.verify().expect("every line can be read");
    assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 4, 1));
}

#[test]
fn transactions_that_would_decide_on_an_older_moment_are_refused() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    open(&books).verify().expect("made");
    for level in ["repeatable read", "serializable"] {
        server.sql("books", &format!("ALTER ROLE books SET default_transaction_isolation = '{level}'"));
        let refused = open(&books).sweep().expect_err("refused").to_string();
        assert_eq!(
            refused,
            format!(
                "the server at 127.0.0.1:{}/books begins transactions at `{level}`, so that one that has waited for \
                 its turn decides on what was there before\n\nhint: `ALTER ROLE books SET \
                 default_transaction_isolation = 'read committed'`",
                server.port()
            )
        );
    }
}

/// Lets a function of the ledger fail at its first calls, with these codes, one after the other, and with the
/// last of them for ever where that says so.
fn failing(server: &Server, function: &str, returns: &str, codes: &[&str], for_ever: bool, value: &str) {
    let cases: String = (1..).zip(codes).map(|(call, code)| format!("WHEN {call} THEN '{code}' ")).collect();
    let rest = if for_ever { codes.last().copied().unwrap_or("") } else { "" };
    server.sql(
        "books",
        &format!(
            "DROP SEQUENCE IF EXISTS public.{function}; CREATE SEQUENCE public.{function}; \
             CREATE OR REPLACE FUNCTION tollgate.{function}() RETURNS {returns} LANGUAGE plpgsql VOLATILE AS $$ \
             DECLARE v_code text := CASE nextval('public.{function}') {cases} ELSE '{rest}' END; \
             BEGIN IF v_code <> '' THEN RAISE EXCEPTION 'as told' USING ERRCODE = v_code; END IF; \
             RETURN {value}; END $$"
        ),
    );
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_recorded_once() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let store = open(&books);
    store.verify().expect("made");
    // The server does not know whether it has: what was asked for is looked for, and done where it is not there.
    failing(&server, "clock", "timestamptz", &["40003", "40003"], false, "clock_timestamp()");
    store.reserve(&request("a", 3, budget(100), jiff::Timestamp::now())).expect("granted");
    assert_eq!(store.verify().expect("in order").events, 1);
    // It has, and the answer does not come.
    for code in ["40003", "57014", "08006"] {
        failing(&server, "durable", "text", &[code, code], false, "tollgate.session()");
        let name = format!("b{code}");
        let asked = request(&name, 3, budget(100), jiff::Timestamp::now());
        store.reserve(&asked).expect("granted");
        failing(&server, "durable", "text", &[code, code], false, "tollgate.session()");
        store.settle(&id(&name), &spend(1)).expect("settled");
        failing(&server, "durable", "text", &[code, code], false, "tollgate.session()");
        let by = Balance { limit: budget(100), settled: cents(0), held: cents(100) };
        store
            .refuse(&request(&format!("c{code}"), 3, budget(100), jiff::Timestamp::now()), &by)
            .expect("recorded");
        failing(&server, "durable", "text", &[code, code], false, "tollgate.session()");
        let bill = Bill {
            provider: "anthropic".to_owned(),
            day: "2026-11-23".to_owned(),
            billed: cents(2),
            ledger: cents(2),
            unproven: cents(0),
            models: Vec::new(),
        };
        store.note(&id(&format!("anthropic/{code}")), Note::Bill(bill)).expect("on record");
        let asked = server.sql("books", "SELECT last_value FROM public.durable");
        assert_eq!(asked, "3", "the answer was lost twice");
    }
    let events: Vec<_> = store.events(None).expect("events").map(|event| event.expect("an event")).collect();
    let count = |wanted: fn(&Kind) -> bool| events.iter().filter(|event| wanted(&event.kind)).count();
    assert_eq!(count(|kind| matches!(kind, Kind::Reserve(_))), 4);
    assert_eq!(count(|kind| matches!(kind, Kind::Settle(_))), 3);
    assert_eq!(count(|kind| matches!(kind, Kind::Refuse(_))), 3, "each once");
    assert_eq!(count(|kind| matches!(kind, Kind::Note(_))), 3, "each once");
    assert_eq!(store.verify().expect("in order").head, Ok(()));
}

#[test]
fn an_answer_that_was_given_before_is_given_again_only_where_it_stays() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let wish = request("a", 3, budget(100), jiff::Timestamp::now());
    open(&books).reserve(&wish).expect("granted");
    let mut place = PostgresPlace::parse(&books).expect("a place");
    place.patience = Duration::from_millis(300);
    let store = Store::open_postgres(place, Options::default(), true);
    // The key is taken, and from then on nobody can say that what is read will outlive the server.
    failing(&server, "durable", "text", &["", "57014"], true, "''");
    let error = store.reserve(&wish).expect_err("it may be gone tomorrow");
    assert!(error.is_unavailable(), "{error}");
    failing(&server, "durable", "text", &[""], false, "''");
    let again = store.reserve(&wish).expect("granted");
    assert!(matches!(again, Answer::Granted { cap, .. } if cap == cents(3)), "{again:?}");
    assert_eq!(store.verify().expect("in order").events, 1);
}

#[test]
fn a_server_that_stays_busy_after_a_lost_answer_leaves_open_what_it_did() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    open(&books).verify().expect("made");
    let said = |codes: &[&str]| {
        failing(&server, "clock", "timestamptz", codes, true, "clock_timestamp()");
        let mut place = PostgresPlace::parse(&books).expect("a place");
        place.patience = Duration::from_millis(300);
        let store = Store::open_postgres(place, Options::default(), true);
        let wish = request("a", 3, budget(100), jiff::Timestamp::now());
        store.reserve(&wish).expect_err("busy").to_string()
    };
    let (busy, unsure) = (said(&["40P01"]), said(&["40003", "40P01"]));
    let end = "who holds its rows; what was being recorded may have arrived with the first attempt, and a hold \
               that nobody settles is charged when it expires";
    assert!(busy.contains("was busy each of the ") && busy.ends_with("who holds its rows"), "{busy}");
    assert!(unsure.contains("was busy each of the ") && unsure.ends_with(end), "{unsure}");
}

/// The URL of the role `ci` leads to a connection that may wait for durability, and to nothing else of the log.
#[test]
fn a_role_that_was_granted_before_is_told_what_it_lacks() {
    let Some(server) = Server::quick() else { return };
    let owner = open(&server.database("books"));
    owner.verify().expect("made");
    server.role("ci");
    let Store::Postgres(tables) = &owner else { panic!("a database") };
    tables.grant("ci").expect("granted");
    server.sql("books", "REVOKE EXECUTE ON FUNCTION tollgate.durable() FROM ci");
    let ci = open(&url(server.port(), "ci", "books"));
    let wish = request("a", 3, budget(100), jiff::Timestamp::now());
    let lacking = ci.reserve(&wish).expect_err("not allowed").to_string();
    assert_eq!(
        lacking,
        format!(
            "the role `ci` may not do this to the ledger at 127.0.0.1:{}/books: permission denied for function durable \
             [42501]\n\nhint: the role for CI may hold and settle; what corrects or removes needs the role that made the \
             tables, which lets another hold and settle with `tollgate ledger migrate --grant ci`",
            server.port()
        )
    );
}
