//! The tables of a database against files: the same wishes get the same answers, and the same lines.

use std::any::Any;
use std::cell::RefCell;
use std::fs;
use std::sync::Weak;

use proptest::prelude::*;

use super::files::Bench;
use super::machine::Kind;
use super::server::Server;
use super::*;
use crate::ledger::Lift;
use crate::ledger::event::{Bill, Note};
use crate::ledger::store::postgres::PostgresPlace;

/// A ledger in a database of its own, by this clock; its tables are made.
pub(super) fn store(server: &Server, hands: &Hands) -> Store {
    let store = open(&server.database("books"), hands, None);
    assert_eq!(store.verify().expect("made").events, 0);
    let file = server.folder().join("clock");
    server.sql(
        "books",
        &format!(
            "CREATE OR REPLACE FUNCTION tollgate.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
             $$ SELECT to_timestamp(pg_read_file('{}')::double precision) $$",
            file.display()
        ),
    );
    hands.show_in(file);
    store
}

fn open(url: &str, hands: &Hands, namespace: Option<&str>) -> Store {
    let place = PostgresPlace::parse(url).expect("a place");
    let options = Options { namespace: namespace.map(str::to_owned), ..hands.options() };
    Store::open_postgres(place, options, true)
}

/// A database for the machines: one server for all histories, and a ledger of its own for each of them.
#[derive(Clone, Debug)]
pub(super) struct Tables;

#[derive(Debug)]
struct Shared {
    server: Server,
    hands: Hands,
    ledgers: AtomicI64,
}

thread_local! {
    static SHARED: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
}

impl Kind for Tables {
    const UNSURE: i64 = 0;
    const CASES: u32 = 8;

    fn shared() -> Option<Box<dyn Any>> {
        let server = Server::quick()?;
        let hands = Hands::at("2026-11-23T12:00:00Z");
        drop(store(&server, &hands));
        let shared = Arc::new(Shared { server, hands, ledgers: AtomicI64::new(0) });
        SHARED.with_borrow_mut(|kept| *kept = Arc::downgrade(&shared));
        Some(Box::new(shared))
    }

    fn bench() -> Bench {
        let shared = SHARED.with_borrow(Weak::upgrade).expect("the test keeps it");
        let name = format!("history-{}", shared.ledgers.fetch_add(1, Ordering::SeqCst));
        let hands = shared.hands.clone();
        Bench::on(open(&shared.server.url("books"), &hands, Some(&name)), hands)
    }
}

/// A wish, and how long after the last one.
#[derive(Clone, Debug)]
struct Wish {
    after: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Reserve { want: u32, least: u32, actor: u8, limits: Vec<(u8, u32, u8)>, lift: bool, lease: i64 },
    Again { run: prop::sample::Index, other: bool },
    Extend { run: prop::sample::Index, to: u32, other: bool },
    Settle { run: prop::sample::Index, spent: u32, outcome: bool },
    Void { run: prop::sample::Index },
    Expire { run: prop::sample::Index, evidence: Option<u32> },
    Adjust { run: prop::sample::Index, spent: u32, bound: bool },
    Correct { run: prop::sample::Index, spent: u32, stale: bool },
    Refuse { want: u32 },
    Note { billed: u32 },
    Sweep,
}

fn wish() -> impl Strategy<Value = Wish> {
    let run = any::<prop::sample::Index>;
    let limits = || prop::collection::vec((0..6_u8, 1..120_u32, 0..3_u8), 0..4);
    let reserve = (1..40_u32, 0..3_u32, 0..2_u8, limits(), prop::bool::weighted(0.1), 100..9_000_i64);
    let what = prop_oneof![
        8 => reserve.prop_map(|(want, least, actor, limits, lift, lease)| What::Reserve { want, least, actor, limits, lift, lease }),
        1 => (run(), any::<bool>()).prop_map(|(run, other)| What::Again { run, other }),
        3 => (run(), 1..80_u32, prop::bool::weighted(0.1)).prop_map(|(run, to, other)| What::Extend { run, to, other }),
        5 => (run(), 0..45_u32, any::<bool>()).prop_map(|(run, spent, outcome)| What::Settle { run, spent, outcome }),
        1 => run().prop_map(|run| What::Void { run }),
        1 => (run(), prop::option::of(0..30_u32)).prop_map(|(run, evidence)| What::Expire { run, evidence }),
        2 => (run(), 0..45_u32, any::<bool>()).prop_map(|(run, spent, bound)| What::Adjust { run, spent, bound }),
        2 => (run(), 0..45_u32, prop::bool::weighted(0.3)).prop_map(|(run, spent, stale)| What::Correct { run, spent, stale }),
        1 => (1..40_u32).prop_map(|billed| What::Note { billed }),
        1 => (1..40_u32).prop_map(|want| What::Refuse { want }),
        1 => Just(What::Sweep),
    ];
    (prop_oneof![4 => 1..900_i64, 1 => 20_000..90_000_i64], what)
        .prop_map(|(after, what)| Wish { after, what })
}

fn cents(count: u32) -> Usd {
    Usd::from_pico(i128::from(count) * 10_000_000_000)
}

fn exactly(count: u32) -> Spend {
    let part = cents(count / 3);
    let notional = if count.is_multiple_of(5) { cents(count + 1) } else { Usd::ZERO };
    Spend { usd: cents(count), estimated: part, notional, ..Spend::default() }
}

/// Two ledgers by one clock.
struct Pair {
    hands: Hands,
    files: Store,
    tables: Store,
    asked: Vec<Request>,
}

impl Pair {
    /// What both say, which has to be the same.
    fn both<T: std::fmt::Debug>(&self, ask: impl Fn(&Store) -> Result<T, crate::ledger::store::StoreError>) {
        let said = |store: &Store| match ask(store) {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(said(&self.tables), said(&self.files));
    }

    /// One of a few limits that come up again and again.
    fn limit(&self, (which, most, enforce): (u8, u32, u8)) -> Limit {
        let day = 86_400;
        let start = self.hands.now().as_second() / day * day;
        let instant = |second| Timestamp::from_second(second).expect("a time");
        let today = Window { start: instant(start), end: Some(instant(start + day)) };
        let december =
            Window { start: time("2026-12-01T00:00:00Z"), end: Some(time("2027-01-01T00:00:00Z")) };
        let month = if self.hands.now() < december.start { november() } else { december };
        let enforce = [Enforce::Hard, Enforce::Soft, Enforce::Count][usize::from(enforce)];
        let (purse, window) = match which {
            0 => ("repo", month),
            1 => ("repo", today),
            2 => ("actor:0", today),
            3 => ("actor:1", always()),
            4 => ("repo", november()),
            _ => ("a \"purse\" with\u{1}things\\in it, и другие\n", month),
        };
        Limit { usd: cents(most), ..limit(purse, window, "0", enforce) }
    }

    fn reserve(&mut self, (want, least): (u32, u32), actor: u8, limits: &[Limit], lift: bool, lease: i64) {
        let now = self.hands.now();
        let name = format!("run-{}/ю\"{}", self.asked.len(), self.asked.len());
        let mut request = request(&name, "1", limits, now);
        (request.want, request.least) = (cents(want), cents(least));
        // What a subscription pays for holds nothing.
        if limits.is_empty() && want < 6 {
            (request.want, request.least) = (Usd::ZERO, Usd::ZERO);
        }
        request.purses[1] = format!("actor:{actor}");
        for limit in limits {
            if !request.purses.contains(&limit.purse) {
                request.purses.push(limit.purse.clone());
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        request.purses.retain(|purse| seen.insert(purse.clone()));
        request.expires = now + SignedDuration::from_millis(lease * 1_000 + 7);
        request.lift = lift.then(|| Lift {
            usd: cents(5),
            label: "more".to_owned(),
            by: "kim".to_owned(),
            set: now,
            expires: now + SignedDuration::from_secs(lease - 150),
        });
        self.both(|store| store.reserve(&request));
        self.asked.push(request);
    }

    /// Charges what is over but for one, each at a second of its own: files count nanoseconds between two
    /// events of a moment, tables microseconds.
    fn spread(&self) {
        loop {
            let now = self.hands.now();
            let over = |hold: &crate::ledger::hold::Hold| {
                now.duration_since(hold.terms.expires) > SignedDuration::from_secs(59)
            };
            let held = self.files.holds().expect("holds");
            let mut over = held.iter().filter(|hold| over(hold));
            let (Some(first), Some(_)) = (over.next(), over.next()) else { return };
            self.both(|store| store.expire(&first.id, None));
            self.hands.advance(1);
        }
    }

    /// As who has looked at the hold just now, or has not.
    fn correct(&self, id: &HoldId, spent: u32, stale: bool) {
        let now = self.files.hold(id).expect("read").map(|hold| hold.spend).unwrap_or_default();
        let seen = if stale { exactly(spent + 1) } else { now };
        self.both(|store| store.correct(id, &seen, &exactly(spent), "a bill"));
    }

    fn note(&self, billed: u32) {
        let day = "2026-11-29".to_owned();
        let (provider, models) = ("a \"provider\"".to_owned(), Vec::new());
        let (billed, ledger, unproven) = (cents(billed), cents(7), Usd::ZERO);
        let bill = Bill { provider, day, billed, ledger, unproven, models };
        self.both(|store| store.note(&id("bill/\"a\"/2026-11-29"), Note::Bill(bill.clone())));
    }

    fn take(&mut self, wish: &Wish) {
        self.hands.advance(wish.after);
        let run = |index: &prop::sample::Index| match self.asked.len() {
            0 => id("nobody"),
            count => self.asked[index.index(count)].hold.clone(),
        };
        match &wish.what {
            What::Reserve { want, least, actor, limits, lift, lease } => {
                let limits: Vec<Limit> = limits.iter().map(|limit| self.limit(*limit)).collect();
                self.reserve((*want, *least), *actor, &limits, *lift, *lease);
            }
            What::Again { run, other } => {
                let Some(request) = self.asked.get(run.index(self.asked.len().max(1))) else { return };
                let mut request = request.clone();
                if *other {
                    request.claim = "somebody else".to_owned();
                }
                self.both(|store| store.reserve(&request));
            }
            What::Extend { run: index, to, other } => {
                let id = run(index);
                let claim = if *other { "somebody else".to_owned() } else { format!("claim of {id}") };
                self.both(|store| store.extend(&id, &claim, cents(*to)));
            }
            What::Settle { run: index, spent, outcome } => {
                let (id, spend) = (run(index), exactly(*spent));
                match outcome {
                    true => self.both(|store| store.settle_as(&id, &spend, "completed")),
                    false => self.both(|store| store.settle(&id, &spend)),
                }
            }
            What::Void { run: index } => {
                let id = run(index);
                self.both(|store| store.void(&id, "a \"reason\""));
            }
            What::Expire { run: index, evidence } => {
                let (id, evidence) = (run(index), evidence.map(exactly));
                self.both(|store| store.expire(&id, evidence.as_ref()));
            }
            What::Adjust { run: index, spent, bound } => {
                let (id, mut spend) = (run(index), exactly(*spent));
                if *bound {
                    spend.estimated = spend.usd;
                }
                self.both(|store| store.adjust(&id, &spend, "an invoice"));
            }
            What::Correct { run: index, spent, stale } => self.correct(&run(index), *spent, *stale),
            What::Note { billed } => self.note(*billed),
            What::Refuse { want } => {
                let limits = [self.limit((0, 100, 0))];
                let mut request = request("refused", "1", &limits, self.hands.now());
                request.want = cents(*want + 2);
                let by = self.files.balances(&limits).expect("balances").remove(0);
                self.both(|store| store.refuse(&request, &by));
            }
            What::Sweep => {
                self.spread();
                self.both(Store::sweep);
            }
        }
        let all: Vec<Limit> = (0..6).map(|which| self.limit((which, 50, 0))).collect();
        self.both(|store| store.balances(&all));
        self.both(Store::holds);
        if let Some(last) = self.asked.last() {
            self.both(|store| store.hold(&last.hold));
        }
    }
}

fn words(verified: &crate::ledger::store::Verified) -> String {
    let crate::ledger::store::Verified { events, holds, live, span, charged, head, .. } = verified;
    format!("{events} {holds} {live} {span:?} {charged} {head:?}")
}

#[test]
fn every_history_reads_the_same_in_files_and_in_tables() {
    let Some(server) = Server::quick() else { return };
    let hands = Hands::at("2026-11-29T21:00:00Z");
    drop(store(&server, &hands));
    let url = server.url("books");
    let cases = if long() { 400 } else { 20 };
    let case = AtomicI64::new(0);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(wishes in prop::collection::vec(wish(), 1..40))| {
        let folder = quick_folder();
        hands.set("2026-11-29T21:00:00Z");
        let name = format!("case-{}", case.fetch_add(1, Ordering::SeqCst));
        let tables = open(&url, &hands, Some(&name));
        let files = super::open(folder.path(), &hands);
        let mut pair = Pair { hands: hands.clone(), files, tables, asked: Vec::new() };
        for wish in &wishes {
            pair.take(wish);
        }
        let verified = |store: &Store| words(&store.verify().expect("in order"));
        assert_eq!(verified(&pair.tables), verified(&pair.files));
        let day = Some(time("2026-11-30T12:00:00Z"));
        let read = |store: &Store, since| -> Vec<_> {
            store.events(since).expect("events").map(|event| event.expect("an event")).collect()
        };
        assert_eq!(read(&pair.tables, day), read(&pair.files, day));
        // Byte for byte: the chain goes over them.
        let lines = server.sql("books", &format!("SELECT line FROM tollgate.event WHERE ledger = '{name}' ORDER BY seq"));
        let mut written = String::new();
        for month in ["2026-11", "2026-12", "2027-01"] {
            written += &fs::read_to_string(folder.path().join(format!("events/{month}.jsonl"))).unwrap_or_default();
        }
        assert_eq!(lines.trim(), written.trim());
        // The files move into another ledger of the database, in two parts, and both go on as one.
        let moved = open(&url, &hands, Some(&format!("{name} moved")));
        let lines: Vec<&str> = written.lines().collect();
        for part in [lines.len() / 2, lines.len()] {
            moved.import(lines[..part].iter().map(|line| Ok((*line).to_owned()))).expect("imported");
        }
        pair.tables = moved;
        assert_eq!(verified(&pair.tables), verified(&pair.files));
        for wish in wishes.iter().take(8) {
            pair.take(wish);
        }
        assert_eq!(verified(&pair.tables), verified(&pair.files));
    });
}

#[test]
fn what_a_database_cannot_hold_is_said() {
    let Some(server) = Server::quick() else { return };
    let hands = Hands::at("2026-11-23T12:00:00Z");
    let store = store(&server, &hands);
    let november = limit("repo", november(), "5", Enforce::Hard);
    let mut fine = november.clone();
    fine.window.start = time("2026-11-01T00:00:00.0000001Z");
    let said = |request: &Request| store.reserve(request).expect_err("an error").to_string();
    assert_eq!(
        said(&request("a", "1", &[fine], hands.now())),
        "the ledger was asked for something that makes no sense: its windows must begin and end at whole microseconds on this ledger"
    );
    assert_eq!(
        said(&request("a\0b", "1", std::slice::from_ref(&november), hands.now())),
        "the ledger was asked for something that makes no sense: a name in it has a NUL character"
    );
    let mut long = request("a", "1", &[november], hands.now());
    long.about.workflow = Some("x".repeat(70_000));
    assert!(said(&long).starts_with("the event would take 7"), "{}", said(&long));
    assert_eq!(store.verify().expect("in order").events, 0, "and nothing of it is recorded");
    // The most live holds there may be is written down twice.
    assert!(
        include_str!("../store/postgres/functions.sql")
            .contains(&format!("v_live >= {}", crate::ledger::book::LIVE_MAX))
    );
}
