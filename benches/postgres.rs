//! What the PostgreSQL ledger does in a second with many clients on one budget, as a share of what a bare
//! counter does; and what a step costs after a long history. Machines are noisy, so rounds are interleaved.

#![expect(clippy::print_stdout, reason = "the measures are its output")]

#[path = "../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod server;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use server::Server;
use tollgate::id::HoldId;
use tollgate::ledger::store::postgres::PostgresPlace;
use tollgate::ledger::store::{Options, Store};
use tollgate::ledger::{About, Enforce, Limit, Request, Spend, Window};
use tollgate::money::Usd;

const CLIENTS: u64 = 50;
/// Steps whose median counts.
const STEPS: usize = 300;
/// Hundredths of a millisecond and of a ratio are enough.
const HUNDRED: u128 = 100;

fn main() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (rounds, seconds) = (number("TOLLGATE_BENCH_ROUNDS", 3), number("TOLLGATE_BENCH_SECONDS", 5));
    let most = number("TOLLGATE_BENCH_EVENTS", 1_000_000);
    println!("| measure | measured | target | met |\n| --- | ---: | ---: | --- |");
    many_clients(rounds, seconds);
    long_history(most);
}

fn open(url: &str) -> Store {
    Store::open_postgres(PostgresPlace::parse(url).expect("a place"), Options::default(), true)
}

fn request(hold: &str) -> Request {
    let always = Window { start: Timestamp::UNIX_EPOCH, end: None };
    let limit = |purse: &str| Limit {
        purse: purse.to_owned(),
        per: "total".to_owned(),
        window: always,
        usd: Usd::from_dollars(4_000_000_000),
        enforce: Enforce::Hard,
    };
    let own = "github.com/123456789 ";
    let purses = ["org:acme", &format!("{own}repo"), &format!("{own}task:review"), &format!("{own}pr:17")];
    Request {
        hold: HoldId::from_text(hold),
        claim: "0123456789abcdef0123456789abcdef".to_owned(),
        want: Usd::from_dollars(1),
        least: Usd::from_pico(20_000_000_000),
        limits: vec![limit("org:acme"), limit(&format!("{own}repo"))],
        purses: purses.iter().map(|purse| (*purse).to_owned()).collect(),
        expires: Timestamp::now() + SignedDuration::from_hours(1),
        about: About { task: "review".into(), model: "claude-haiku-5-5".into(), ..About::default() },
        lift: None,
    }
}

/// Reserves a second of many clients on one budget, and what a counter that is one locked row does.
fn many_clients(rounds: u64, seconds: u64) {
    let Some(server) = Server::durable() else { return };
    let books = server.database("books");
    open(&books).verify().expect("made");
    server.sql(
        "books",
        "CREATE TABLE public.counter (id int PRIMARY KEY, n numeric(38,0), most numeric(38,0))",
    );
    server.sql("books", "INSERT INTO public.counter VALUES (1, 0, 1e30)");
    let script = server.folder().join("bare.sql");
    std::fs::write(&script, "UPDATE public.counter SET n = n + 1000000000000 WHERE id = 1 AND n + 1000000000000 <= most RETURNING n;\n").expect("a script");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds * 2 {
        if round % 2 == 0 {
            bare.push(counter(&server, &script, seconds));
        } else {
            ours.push(reserves(&books, round, seconds));
        }
    }
    let verified = open(&books).verify().expect("in order");
    assert_eq!(verified.head, Ok(()));
    let (ours, bare) = (median(ours), median(bare));
    let ratio = ours * HUNDRED / bare.max(1);
    println!(
        "| reserves a second, {CLIENTS} clients on one budget, fsync on | {ours} | | |\n\
         | a bare counter in one locked row, the same clients | {bare} | | |\n\
         | the one as a share of the other | {}.{:02} | >= 0.70 | {} |",
        ratio / HUNDRED,
        ratio % HUNDRED,
        if ratio >= 70 { "yes" } else { "NO" }
    );
}

fn reserves(url: &str, round: u64, seconds: u64) -> u128 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (url, stop, done) = (url.to_owned(), stop.clone(), done.clone());
            std::thread::spawn(move || {
                let store = open(&url);
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    store.reserve(&request(&format!("{round}/{client}/{number}"))).expect("granted");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Once every client has a connection.
    while done.load(Ordering::Relaxed) < CLIENTS {
        std::thread::yield_now();
    }
    let (before, began) = (done.load(Ordering::Relaxed), Instant::now());
    std::thread::park_timeout(Duration::from_secs(seconds));
    let count =
        u128::from(done.load(Ordering::Relaxed) - before) * 1_000 / began.elapsed().as_millis().max(1);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("joined");
    }
    count
}

/// What pgbench says of the counter, in transactions a second.
fn counter(server: &Server, script: &std::path::Path, seconds: u64) -> u128 {
    let mut pgbench =
        server.program("pgbench", &["-n", "-M", "extended", "-c", &CLIENTS.to_string(), "-j", "2"]);
    pgbench.args(["-T", &seconds.to_string(), "-h", "127.0.0.1", "-p", &server.port().to_string()]);
    let output = pgbench.args(["-U", "books", "-f"]).arg(script).arg("books").stdin(Stdio::null()).output();
    let output = output.expect("pgbench");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let whole = line.and_then(|line| line.split('.').next()?.parse().ok());
    whole.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// A reserve and its settlement after so many events. No disk is waited for, which would hide the rest.
fn long_history(most: u64) {
    let Some(server) = Server::quick() else { return };
    let mut measured = Vec::new();
    let mut events = 1_000;
    while events <= most {
        let books = server.database(&format!("after_{events}"));
        let store = open(&books);
        store.verify().expect("made");
        fill(&server, &format!("after_{events}"), events);
        let mut times = Vec::new();
        for number in 0..STEPS {
            let request = request(&format!("new/{number}"));
            let began = Instant::now();
            store.reserve(&request).expect("granted");
            store.settle(&request.hold, &Spend::default()).expect("settled");
            times.push(began.elapsed().as_micros());
        }
        measured.push((events, median(times)));
        store.rest();
        server.sql("postgres", &format!("DROP DATABASE after_{events}"));
        events *= 10;
    }
    for (events, micros) in &measured {
        println!("| reserve + settle after {events} events | {micros} µs | | |");
    }
    if let (Some((_, first)), Some((_, last))) = (measured.first(), measured.last()) {
        let ratio = last * HUNDRED / first.max(&1);
        println!(
            "| the longest history as a share of the shortest | {}.{:02} | <= 1.20 | {} |",
            ratio / HUNDRED,
            ratio % HUNDRED,
            if ratio <= 120 { "yes" } else { "NO" }
        );
    }
}

/// Settled runs of the past: rows as the functions would leave them, with lines of the usual length.
fn fill(server: &Server, database: &str, events: u64) {
    let runs = events / 2;
    server.sql(
        database,
        &format!(
            "INSERT INTO tollgate.event SELECT '', n, now() - interval '90 days' + n * interval '1 ms', \
             CASE WHEN n % 2 = 1 THEN 'reserve' ELSE 'settle' END, 'github.com/1/' || (n + 1) / 2, \
             repeat('x', CASE WHEN n % 2 = 1 THEN 1100 ELSE 500 END) FROM generate_series(1, {events}) AS n"
        ),
    );
    server.sql(
        database,
        &format!(
            "INSERT INTO tollgate.hold SELECT '', 'github.com/1/' || n, ARRAY[n * 2 - 1, n * 2], \
             now() - interval '90 days' + n * interval '2 ms', now(), 'settled', 'claim', 1e12, 3e11, \
             '{{\"usd\":\"0.3\",\"estimated\":\"0\",\"models\":[]}}', false, \
             ARRAY['org:acme', 'github.com/123456789 repo', 'github.com/123456789 pr:' || n % 5000], '[]', '[]' \
             FROM generate_series(1, {runs}) AS n"
        ),
    );
    server.sql(database, "INSERT INTO tollgate.purse SELECT DISTINCT '', unnest(purses) FROM tollgate.hold");
    server.sql(
        database,
        &format!(
            "INSERT INTO tollgate.account SELECT '', p, tollgate.far(), to_timestamp(0), {runs} * 3e11, 0, '' \
             FROM unnest(ARRAY['org:acme', 'github.com/123456789 repo']) AS p"
        ),
    );
    server.sql(
        database,
        &format!("INSERT INTO tollgate.head VALUES ('', {events}, now() - interval '1 day', repeat('0', 64), 0) ON CONFLICT (ledger) DO UPDATE SET seq = {events}"),
    );
    server.sql(database, "ANALYZE");
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}
