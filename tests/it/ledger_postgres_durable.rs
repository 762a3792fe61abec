//! The PostgreSQL ledger tells nothing that a crash could take back: not behind a pooler that leads each transaction
//! elsewhere, and not to who only reads.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tollgate::id::HoldId;
use tollgate::ledger::event::{Bill, Note};
use tollgate::ledger::store::Store;
use tollgate::ledger::{Answer, Balance};

use crate::ledger::{budget, cents, request, spend};
use crate::ledger_postgres::open;
use crate::support::postgres::{Server, url};

fn id(hold: &str) -> HoldId {
    HoldId::from_text(hold)
}

/// What happens after each transaction, with what it was.
type After = dyn FnMut(&[u8]) + Send;

/// A pooler that leads every transaction to a server process of its own, as one with many clients would.
struct Pooler {
    port: u16,
    transactions: Arc<AtomicU64>,
}

impl Pooler {
    fn before(server: Arc<Mutex<Server>>, after: impl FnMut(&[u8]) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let transactions = Arc::new(AtomicU64::new(0));
        let (count, after): (_, Arc<Mutex<After>>) = (transactions.clone(), Arc::new(Mutex::new(after)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, count, after) = (server.clone(), count.clone(), after.clone());
                // A client that has gone, or a server: there is nobody left to tell.
                std::thread::spawn(move || serve(client, &server, &count, &after));
            }
        });
        Self { port, transactions }
    }
}

/// One message after the first: its type, and all of its bytes.
fn message(from: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut bytes = vec![0; 5];
    from.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
    bytes.resize(length + 1, 0);
    from.read_exact(&mut bytes[5..])?;
    Ok((bytes[0], bytes))
}

/// Passes on what a server says until it is ready; returns whether a transaction is under way then.
fn until_ready(server: &mut TcpStream, mut to: Option<&mut TcpStream>) -> std::io::Result<bool> {
    loop {
        let (kind, bytes) = message(server)?;
        if let Some(to) = &mut to {
            to.write_all(&bytes)?;
        }
        if kind == b'Z' {
            return Ok(bytes[5] != b'I');
        }
    }
}

fn serve(
    mut client: TcpStream,
    server: &Mutex<Server>,
    count: &AtomicU64,
    after: &Mutex<After>,
) -> std::io::Result<()> {
    let mut first = vec![0; 4];
    client.read_exact(&mut first)?;
    let length = u32::from_be_bytes([first[0], first[1], first[2], first[3]]) as usize;
    first.resize(length, 0);
    client.read_exact(&mut first[4..])?;
    let reach = || -> std::io::Result<TcpStream> {
        let port = server.lock().expect("no panic").port();
        let mut upstream = TcpStream::connect(("127.0.0.1", port))?;
        upstream.write_all(&first)?;
        Ok(upstream)
    };
    let mut upstream = reach()?;
    until_ready(&mut upstream, Some(&mut client))?;
    let mut all = Vec::new();
    loop {
        let (kind, bytes) = message(&mut client)?;
        upstream.write_all(&bytes)?;
        all.extend(bytes);
        // Whatever ends with one of these is answered before more is passed on.
        if matches!(kind, b'Q' | b'S') && !until_ready(&mut upstream, Some(&mut client))? {
            count.fetch_add(1, Ordering::SeqCst);
            after.lock().expect("no panic")(&all);
            all.clear();
            upstream = reach()?;
            until_ready(&mut upstream, None)?;
        }
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

/// Every kind of change and every kind of question, each with what has to come of it on an empty ledger.
pub(crate) fn everything_once(store: &Store) {
    let wish = |hold: &str| request(hold, 3, budget(100), jiff::Timestamp::now());
    let asked = wish("a");
    assert_eq!(store.reserve(&asked).expect("an answer"), Answer::Granted { cap: cents(3), cut_by: None });
    assert_eq!(store.reserve(&asked).expect("again"), Answer::Granted { cap: cents(3), cut_by: None });
    store.extend(&id("a"), &asked.claim, cents(4)).expect("extended");
    assert_eq!(store.settle(&id("a"), &spend(2)).expect("settled").spend.usd, cents(2));
    store.reserve(&wish("b")).expect("granted");
    store.expire(&id("b"), None).expect("charged");
    let charged = store.hold(&id("b")).expect("read").expect("there").spend;
    store.correct(&id("b"), &charged, &spend(1), "a bill").expect("corrected");
    store.reserve(&wish("c")).expect("granted");
    store.void(&id("c"), "it never began").expect("voided");
    let by = Balance { limit: budget(100), settled: cents(0), held: cents(100) };
    store.refuse(&wish("d"), &by).expect("recorded");
    let (provider, day, models) = ("anthropic".to_owned(), "2026-11-23".to_owned(), Vec::new());
    let bill = Bill { provider, day, billed: cents(2), ledger: cents(2), unproven: cents(0), models };
    store.note(&id("bill"), Note::Bill(bill)).expect("on record");
    assert_eq!(store.sweep().expect("swept"), []);
    assert_eq!(store.balances(&[budget(100)]).expect("balances")[0].settled, cents(3));
    let kinds = store.events(None).expect("events").map(|event| event.expect("an event").kind.as_str());
    let expected =
        ["reserve", "extend", "settle", "reserve", "expire", "adjust", "reserve", "void", "refuse", "bill"];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    assert_eq!(store.verify().expect("in order").head, Ok(()));
}

#[test]
fn behind_a_pooler_that_leads_each_transaction_elsewhere_all_is_recorded_once() {
    let Some(server) = Server::quick() else { return };
    server.database("books");
    let server = Arc::new(Mutex::new(server));
    let pooler = Pooler::before(server.clone(), |_| {});
    let store = open(&url(pooler.port, "books", "books"));
    everything_once(&store);
    let transactions = pooler.transactions.load(Ordering::SeqCst);
    assert!(transactions > 20, "{transactions} transactions");
}

#[test]
fn a_hold_that_a_crash_takes_back_between_two_transactions_of_a_pooler_is_not_told() {
    let Some(mut server) = Server::durable() else { return };
    server.database("books");
    // What does not wait for the disk is not on it soon.
    server.set(&["wal_writer_delay=10s"]);
    open(&server.url("books")).verify().expect("made");
    let server = Arc::new(Mutex::new(server));
    let lost = Arc::new(AtomicU64::new(0));
    let (crashes, of) = (lost.clone(), server.clone());
    let pooler = Pooler::before(server.clone(), move |transaction| {
        if contains(transaction, "tollgate.reserve") && crashes.load(Ordering::SeqCst) == 0 {
            let mut server = of.lock().expect("no panic");
            server.crash();
            server.go();
            assert_eq!(server.sql("books", "SELECT count(*) FROM tollgate.hold"), "0", "it is taken back");
            crashes.fetch_add(1, Ordering::SeqCst);
        }
    });
    let store = open(&url(pooler.port, "books", "books"));
    let wish = request("a", 3, budget(100), jiff::Timestamp::now());
    let told = store.reserve(&wish).expect("an answer");
    assert_eq!((told, lost.load(Ordering::SeqCst)), (Answer::Granted { cap: cents(3), cut_by: None }, 1));
    let mut server = server.lock().expect("no panic");
    server.crash();
    server.go();
    let verified = open(&server.url("books")).verify().expect("in order");
    assert_eq!((verified.head, verified.events, verified.live), (Ok(()), 1, 1));
}

#[test]
fn what_is_read_is_told_when_it_is_durable() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let store = open(&books);
    let wish = request("a", 3, budget(100), jiff::Timestamp::now());
    store.reserve(&wish).expect("granted");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let reload = |setting: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM {setting}"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    type Read = fn(&Store) -> usize;
    let reads: [(&str, Read); 6] = [
        ("balances", |store| store.balances(&[budget(100)]).expect("read").len()),
        ("accounts", |store| store.accounts().expect("read").len()),
        ("holds", |store| store.holds().expect("read").len()),
        ("hold", |store| store.hold(&id("a")).expect("read").into_iter().count()),
        ("events", |store| store.events(None).expect("read").count()),
        ("verify", |store| store.verify().map(|verified| usize::from(verified.head.is_ok())).expect("read")),
    ];
    for (name, read) in reads {
        // No standby has what is written from now on.
        reload("SET synchronous_standby_names = 'nobody'");
        let reader = open(&books);
        let told = std::thread::spawn(move || read(&reader));
        let mut asked = 0;
        while server.sql("postgres", waiting) == "0" {
            asked += 1;
            assert!(!told.is_finished(), "{name} was told what no standby has");
            assert!(asked < 500, "{name} does not wait");
        }
        reload("RESET synchronous_standby_names");
        assert_eq!(told.join().expect("no panic"), 1, "{name}");
    }
}
