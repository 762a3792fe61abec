//! The PostgreSQL ledger behind PgBouncer in transaction mode.

use std::time::{Duration, Instant};

use crate::ledger_postgres::open;
use crate::ledger_postgres_crash::{Load, Told, check};
use crate::ledger_postgres_durable::everything_once;
use crate::support::long::long;
use crate::support::pgbouncer::Bouncer;
use crate::support::postgres::Server;

/// The processes that clients of the database have, but for who asks.
const PROCESSES: &str = "FROM pg_stat_activity WHERE datname = 'books' AND backend_type = 'client backend' \
                         AND pid <> pg_backend_pid()";

#[test]
fn all_is_recorded_once() {
    let Some(server) = Server::quick() else { return };
    server.database("books");
    let Some(bouncer) = Bouncer::before(&server, "books", 3) else { return };
    // Each waits for the others, so that the pooler opens all of its connections.
    let wait = format!(
        "DO $$ BEGIN WHILE (SELECT count(*) {PROCESSES}) < 2 AND clock_timestamp() < now() + interval '30 s' LOOP \
         PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    );
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| server.sql_at(&bouncer.url("books"), &wait));
        }
    });
    everything_once(&open(&bouncer.url("books")));
    let behind = format!("SELECT count(*) {PROCESSES} AND query NOT LIKE 'DO %'");
    assert_eq!(server.sql("books", &behind), "3", "processes that were led to since");
}

#[test]
fn twenty_clients_share_four_connections_and_a_pooler_that_crashes() {
    let Some(server) = Server::durable() else { return };
    let books = server.database("books");
    let Some(mut bouncer) = Bouncer::before(&server, "books", 4) else { return };
    let load = Load::start(20, &bouncer.url("books"));
    let (crashes, seconds) = if long() { (20, 60) } else { (2, 3) };
    let began = Instant::now();
    for _ in 0..crashes {
        load.wait_until(Instant::now() + Duration::from_secs(seconds) / crashes);
        load.wait_for(1);
        assert_eq!(server.sql("postgres", &format!("SELECT count(*) {PROCESSES}")), "4", "for all clients");
        bouncer.crash();
        bouncer.go(&server);
        load.wait_for(100);
    }
    let told = load.end();
    let took = began.elapsed().as_secs().max(1);
    let said = check(&open(&books), &told);
    assert!(told.values().any(|told| *told == Told::Refused), "limits were reached: {said}");
    println!("20 clients behind PgBouncer for {took} s, {crashes} crashes of it: {said}");
}
