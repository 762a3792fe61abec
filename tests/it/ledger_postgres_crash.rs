//! The PostgreSQL ledger under load, and under what befalls servers: cut connections, crashes, a failover.
//! After each of them everything is read from outside and compared with what the clients were told.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tollgate::id::HoldId;
use tollgate::ledger::hold::Phase;
use tollgate::ledger::store::Store;
use tollgate::ledger::{Answer, Limit, Request};

use crate::ledger::{budget, cents, request, spend};
use crate::ledger_postgres::open;
use crate::support::long::long;
use crate::support::postgres::{Server, url};

/// For how many seconds the loops run that have no other end.
fn seconds() -> u64 {
    if long() { 60 } else { 10 }
}

/// What a client was told of a hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// Granted so much, and not heard of since.
    Held(u32),
    /// Settled at so much.
    Settled(u32),
    Voided,
    Refused,
    /// It was asked for, and no answer came.
    Nothing,
}

/// Clients at work on one ledger.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
    acknowledged: Receiver<()>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

const REPO: u32 = 1_000_000_000;
const PR: u32 = 12;

/// The limits of a client's n-th hold: the owner's, the repository's, and one that is soon full.
fn limits(hold: &str) -> Vec<Limit> {
    let (client, number) = hold[1..].split_once('-').expect("two numbers");
    let group = client.parse::<u32>().expect("a number") % 7;
    let round = number.parse::<u32>().expect("a number") / 3;
    let small = Limit { purse: format!("pr:{group}.{round}"), ..budget(PR) };
    vec![Limit { purse: "org:acme".to_owned(), ..budget(REPO) }, budget(REPO), small]
}

fn wish(hold: &str, now: jiff::Timestamp) -> Request {
    let limits = limits(hold);
    let mut request = request(hold, 3, budget(REPO), now);
    request.purses = limits.iter().map(|limit| limit.purse.clone()).collect();
    request.limits = limits;
    request
}

/// One hold from its reserve to its end; most are settled, some voided, some forgotten.
fn one(store: &Store, hold: &str, number: u64, note: &dyn Fn(Told)) {
    let id = HoldId::from_text(hold);
    note(Told::Nothing);
    match store.reserve(&wish(hold, jiff::Timestamp::now())) {
        Ok(Answer::Granted { cap, .. }) => {
            assert_eq!(cap, cents(3));
            note(Told::Held(3));
        }
        Ok(Answer::Refused { by }) => {
            assert!(by.limit.purse.starts_with("pr:"), "{by:?}");
            return note(Told::Refused);
        }
        Err(error) => return assert!(error.is_unavailable(), "{error}"),
    }
    let closed = match number % 8 {
        7 => return,
        6 => store.void(&id, "it never began").map(|_| Told::Voided),
        rest => {
            let spent = u32::try_from(rest).expect("small") % 4;
            store.settle(&id, &spend(spent)).map(|settlement| {
                assert_eq!(settlement.spend.usd, cents(spent));
                Told::Settled(spent)
            })
        }
    };
    match closed {
        Ok(told) => note(told),
        Err(error) => assert!(error.is_unavailable(), "{error}"),
    }
}

impl Load {
    pub(crate) fn start(count: u64, url: &str) -> Self {
        let (told, stop) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicBool::new(false)));
        let (sender, acknowledged) = channel();
        let client = |client: u64| {
            let (url, told, stop) = (url.to_owned(), told.clone(), stop.clone());
            let sender: Sender<()> = sender.clone();
            std::thread::spawn(move || {
                let store = open(&url);
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    let hold = format!("c{client}-{number}");
                    one(&store, &hold, number, &|what| {
                        if what != Told::Nothing {
                            let _ = sender.send(());
                        }
                        told.lock().expect("a list").insert(hold.clone(), what);
                    });
                    number += 1;
                }
            })
        };
        let clients = (0..count).map(client).collect();
        Self { stop, told, acknowledged, clients }
    }

    /// Waits for so many acknowledgements.
    pub(crate) fn wait_for(&self, count: usize) {
        for _ in 0..count {
            self.acknowledged.recv_timeout(Duration::from_secs(60)).expect("clients get on");
        }
    }

    pub(crate) fn wait_until(&self, end: Instant) {
        while self.acknowledged.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    }

    /// Ends the clients, and returns what they were told.
    pub(crate) fn end(self) -> BTreeMap<String, Told> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("joined");
        }
        Arc::try_unwrap(self.told).expect("nobody else").into_inner().expect("a list")
    }
}

/// Compares a ledger, as it is found from outside, with what clients were told; returns what to print.
pub(crate) fn check(store: &Store, told: &BTreeMap<String, Told>) -> String {
    let verified = store.verify().expect("in order: the chain, each step, and each grant within its limits");
    assert_eq!(verified.head, Ok(()), "the tables are what the events make them");
    let (mut holds, mut settled, mut held, mut granted, mut unsure) = (0, 0, 0, 0, 0);
    let mut spent = 0;
    for (name, told) in told {
        let found = store.hold(&HoldId::from_text(name)).expect("read");
        let Some(hold) = found else {
            assert!(matches!(told, Told::Refused | Told::Nothing), "{name}: {told:?}, and it is lost");
            continue;
        };
        holds += 1;
        match told {
            Told::Held(cap) => {
                granted += 1;
                assert_eq!(hold.terms.cap, cents(*cap), "{name}");
                // A close that was asked for and not answered may have come to pass.
                unsure += u64::from(hold.phase != Phase::Held);
            }
            Told::Settled(amount) => {
                granted += 1;
                settled += 1;
                assert_eq!((hold.phase, hold.spend.usd), (Phase::Settled, cents(*amount)), "{name}");
            }
            Told::Voided => {
                granted += 1;
                assert_eq!(hold.phase, Phase::Voided, "{name}");
            }
            Told::Refused => panic!("{name} was refused, and is there"),
            Told::Nothing => unsure += 1,
        }
        match hold.phase {
            Phase::Held => held += 3,
            _ => spent += u32::try_from(hold.spend.usd.pico() / 10_000_000_000).expect("few"),
        }
    }
    // As many as there are: none is there twice, and none that nobody asked for.
    assert_eq!(verified.holds, holds);
    assert_eq!(verified.charged, cents(spent));
    for limit in [Limit { purse: "org:acme".to_owned(), ..budget(REPO) }, budget(REPO)] {
        let balance = store.balances(std::slice::from_ref(&limit)).expect("balances").remove(0);
        assert_eq!((balance.settled, balance.held), (cents(spent), cents(held)));
    }
    let refused = told.values().filter(|told| **told == Told::Refused).count();
    format!(
        "{} events, {granted} granted and acknowledged, {settled} settled, {refused} refused, {unsure} not \
         heard of; 0 over a limit, 0 lost, 0 doubled",
        verified.events
    )
}

#[test]
fn fifty_clients_on_one_budget() {
    let Some(server) = Server::durable() else { return };
    let books = server.database("books");
    let load = Load::start(50, &books);
    let began = Instant::now();
    load.wait_until(began + Duration::from_secs(seconds()));
    let told = load.end();
    let took = began.elapsed().as_secs().max(1);
    let said = check(&open(&books), &told);
    assert!(told.values().any(|told| *told == Told::Refused), "limits were reached: {said}");
    assert!(!told.values().any(|told| *told == Told::Nothing), "nobody got in anybody's way: {said}");
    println!(
        "50 clients for {took} s: {said}; {} steps a second",
        said.split(' ').next().expect("a number").parse::<u64>().expect("a number") / took
    );
}

/// A way to a server that ends connections in the middle of whatever they do.
struct Cutter {
    port: u16,
    cuts: Arc<AtomicU64>,
}

impl Cutter {
    fn before(server: u16) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = door.local_addr().expect("a port").port();
        let cuts = Arc::new(AtomicU64::new(0));
        let count = cuts.clone();
        std::thread::spawn(move || {
            for (number, client) in door.incoming().map_while(Result::ok).enumerate() {
                let count = count.clone();
                // The first few messages open a connection; any of those that follow may be the last one.
                let messages = 5 + (number * 7) % 13;
                std::thread::spawn(move || cut(client, server, messages, &count));
            }
        });
        Self { port, cuts }
    }
}

/// Passes so many messages on to the server; the answer to the last one is never seen by the client.
fn cut(mut client: TcpStream, port: u16, messages: usize, count: &AtomicU64) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let (mut answers, mut back) =
        (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = answers.read(&mut buffer) {
            if is_over.load(Ordering::SeqCst) || back.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
    let mut buffer = [0; 64 * 1024];
    for number in 1..=messages {
        let Ok(read @ 1..) = client.read(&mut buffer) else { break };
        if number == messages {
            over.store(true, Ordering::SeqCst);
        }
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
        if number == messages {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = client.shutdown(Shutdown::Both);
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    // The server reads what it was sent before it sees the end.
    let _ = server.shutdown(Shutdown::Write);
    let _ = answering.join();
}

#[test]
fn connections_that_are_cut_in_mid_commit() {
    let Some(server) = Server::durable() else { return };
    let books = server.database("books");
    assert_eq!(open(&books).verify().expect("made").events, 0);
    let cutter = Cutter::before(server.port());
    let load = Load::start(10, &url(cutter.port, "books", "books"));
    load.wait_until(Instant::now() + Duration::from_secs(seconds() / 2));
    let told = load.end();
    let said = check(&open(&books), &told);
    let cuts = cutter.cuts.load(Ordering::SeqCst);
    assert!(cuts >= 20, "{cuts} cuts");
    assert!(!told.values().any(|told| *told == Told::Nothing), "every one was found again: {said}");
    println!("{cuts} connections cut in mid-commit: {said}");
}

#[test]
fn immediate_shutdowns_under_load() {
    let Some(mut server) = Server::durable() else { return };
    let books = server.database("books");
    let load = Load::start(16, &books);
    let crashes = (seconds() / 2).max(3);
    for _ in 0..crashes {
        load.wait_for(120);
        server.crash();
        server.go();
    }
    load.wait_for(60);
    let told = load.end();
    println!("{crashes} immediate shutdowns under load: {}", check(&open(&books), &told));
}

#[test]
fn a_primary_that_is_killed_and_its_standby_promoted() {
    let Some(mut primary) = Server::durable() else { return };
    let books = primary.database("books");
    assert_eq!(open(&books).verify().expect("made").events, 0);
    let standby = primary.standby();
    let replica = open(&url(standby.port(), "books", "books"));
    let said = replica.sweep().expect_err("a standby").to_string();
    assert_eq!(
        said,
        format!(
            "the ledger at 127.0.0.1:{}/books is a standby, which may be behind: no budget is decided on what it \
             says\n\nhint: name the primary in TOLLGATE_DATABASE_URL, or both: `postgres://USER@ONE,OTHER/NAME` \
             finds the one that takes writes",
            standby.port()
        )
    );
    let both = format!(
        "postgres://books@127.0.0.1:{},127.0.0.1:{}/books?sslmode=disable",
        primary.port(),
        standby.port()
    );
    let load = Load::start(16, &both);
    load.wait_for(400);
    primary.crash();
    standby.promote();
    load.wait_for(200);
    let told = load.end();
    let found = check(&open(&url(standby.port(), "books", "books")), &told);
    println!("the primary killed and the standby promoted: {found}");
}
