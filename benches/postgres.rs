//! What the PostgreSQL ledger does in a second with many clients on one budget, as a share of what a bare
//! counter does; and what a step costs after a long history. Machines are noisy, so rounds are interleaved.

#![expect(clippy::print_stdout, reason = "the measures are its output")]

#[path = "../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod server;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use server::Server;
use tollgate::id::HoldId;
use tollgate::ledger::store::postgres::PostgresPlace;
use tollgate::ledger::store::{Options, Store};
use tollgate::ledger::{About, Enforce, Limit, Request, Spend, Window};
use tollgate::money::Usd;

const CLIENTS: usize = 50;
/// What each does in a round: together fewer than there may be live holds.
const EACH: usize = 20;
/// Steps whose median counts.
const STEPS: usize = 300;
/// Hundredths of a millisecond and of a ratio are enough.
const HUNDRED: u128 = 100;

fn main() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (rounds, most) = (number("TOLLGATE_BENCH_ROUNDS", 7), number("TOLLGATE_BENCH_EVENTS", 1_000_000));
    println!("| measure | measured | target | met |\n| --- | ---: | ---: | --- |");
    many_clients(rounds);
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

/// Reserves a second of many clients on one budget, and what a counter that is one locked row does: both over
/// the same client, one thread and one connection each, which all begin at once. A connection's first step makes
/// the server plan every statement; so steps are measured with it, as a job pays for it, and after it.
fn many_clients(rounds: u64) {
    let Some(server) = Server::durable() else { return };
    let books = server.database("books");
    open(&books).verify().expect("made");
    server.sql("books", "CREATE TABLE public.counter (id int PRIMARY KEY, n bigint)");
    server.sql("books", "INSERT INTO public.counter VALUES (1, 0)");
    let mut measured = [Measured::default(), Measured::default()];
    for round in 0..rounds {
        for (warm, measured) in [false, true].into_iter().zip(&mut measured) {
            measured.round(&books, &format!("{round}/{warm}"), warm);
        }
    }
    let verified = open(&books).verify().expect("in order");
    assert_eq!((verified.head, verified.live), (Ok(()), 0));
    assert_eq!(verified.holds, 2 * rounds * (CLIENTS * EACH) as u64);
    println!("| clients on one budget, fsync on | {CLIENTS} | | |");
    let [cold, warm] = measured;
    cold.print("with the first of each connection", None);
    warm.print("after the first of each connection", Some(70));
}

/// Steps a second, of each round.
#[derive(Default)]
struct Measured {
    bare: Vec<u128>,
    taken: Vec<u128>,
    settled: Vec<u128>,
}

impl Measured {
    /// A counter, reserves and settlements, one after the other. Each client does its first step before the
    /// measure where that is to be `warm`.
    fn round(&mut self, books: &str, round: &str, warm: bool) {
        let first = usize::from(warm);
        let hold = |client: usize, number: usize| format!("{round}/{client}/{number}");
        let connected = |client: usize| {
            let store = open(books);
            store.balances(&request(&hold(client, 0)).limits).expect("a connection");
            store
        };
        self.bare.push(together(first, |_| {
            let client = Bare::open(books);
            move |_: usize| client.count()
        }));
        self.taken.push(together(first, |client| {
            let store = connected(client);
            move |number: usize| {
                store.reserve(&request(&hold(client, number))).expect("granted");
            }
        }));
        self.settled.push(together(first, |client| {
            let store = connected(client);
            move |number: usize| {
                let hold = HoldId::from_text(&hold(client, number));
                store.settle(&hold, &Spend::default()).expect("settled");
            }
        }));
    }

    fn print(self, which: &str, target: Option<u128>) {
        let rounds: Vec<String> =
            self.taken.iter().zip(&self.bare).map(|(ours, bare)| format!("{ours}/{bare}")).collect();
        let (taken, settled, bare) = (median(self.taken), median(self.settled), median(self.bare));
        let ratio = taken * HUNDRED / bare.max(1);
        let (target, met) = match target {
            None => (String::new(), ""),
            Some(target) => (format!(">= 0.{target}"), if ratio >= target { "yes" } else { "NO" }),
        };
        println!(
            "| reserves a second, {which} | {taken} | | |\n\
             | settlements a second, {which} | {settled} | | |\n\
             | a bare counter in one locked row, {which} | {bare} | | |\n\
             | reserves as a share of the counter, {which} | {}.{:02} | {target} | {met} |\n\
             | the rounds | {} | | |",
            ratio / HUNDRED,
            ratio % HUNDRED,
            rounds.join(" ")
        );
    }
}

/// Lets every client do its part at once, but for its `first` steps, which come before; returns how many a second
/// that is.
fn together<F: Fn(usize)>(first: usize, prepare: impl Fn(usize) -> F + Sync) -> u128 {
    let barrier = Arc::new(Barrier::new(CLIENTS + 1));
    let took = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (barrier, prepare) = (barrier.clone(), &prepare);
                scope.spawn(move || {
                    let work = prepare(client);
                    (0..first).for_each(&work);
                    barrier.wait();
                    (first..EACH).for_each(work);
                })
            })
            .collect();
        barrier.wait();
        let began = Instant::now();
        for client in clients {
            client.join().expect("joined");
        }
        began.elapsed()
    });
    (CLIENTS * (EACH - first)) as u128 * 1_000_000 / took.as_micros().max(1)
}

/// A connection that counts.
struct Bare {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Bare {
    fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
            tokio::spawn(async move { drop(connection.await) });
            client
        });
        Self { runtime, client }
    }

    fn count(&self) {
        let sql = "UPDATE public.counter SET n = n + 1 WHERE id = 1 RETURNING n";
        self.runtime.block_on(self.client.query_typed(sql, &[])).expect("counted");
    }
}

/// A reserve and its settlement after so many events, on one ledger after the other, again and again. No disk is
/// waited for, which would hide the rest.
fn long_history(most: u64) {
    let Some(server) = Server::quick() else { return };
    let mut stores = Vec::new();
    let mut events = 1_000;
    while events <= most {
        let store = open(&server.database(&format!("after_{events}")));
        store.verify().expect("made");
        fill(&server, &format!("after_{events}"), events);
        stores.push((events, store, Vec::new()));
        events *= 10;
    }
    for number in 0..STEPS {
        for (_, store, times) in &mut stores {
            let request = request(&format!("new/{number}"));
            let began = Instant::now();
            store.reserve(&request).expect("granted");
            store.settle(&request.hold, &Spend::default()).expect("settled");
            times.push(began.elapsed().as_micros());
        }
    }
    let measured: Vec<_> = stores.into_iter().map(|(events, _, times)| (events, median(times))).collect();
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
