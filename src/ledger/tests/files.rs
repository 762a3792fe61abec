//! The file store on a disk: accounts over time, crashes, damage.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::ledger::commit::HEAD_VERSION;
use crate::ledger::store::StoreError;
use crate::ledger::store::git::{Credentials, GitPlace};
use crate::ledger::{Answer, Settlement};

const NOON: &str = "2026-11-23T12:00:00Z";

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) hands: Hands,
    pub(crate) store: Store,
    /// What the store needs to live.
    _server: Option<server::Server>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = quick_folder();
        let hands = Hands::at(NOON);
        let store = open(&folder.path().join("ledger"), &hands);
        Self { folder, hands, store, _server: None }
    }

    /// The same in a database; `None` where there is no PostgreSQL.
    fn postgres() -> Option<Self> {
        let server = server::Server::quick()?;
        let hands = Hands::at(NOON);
        let store = database::store(&server, &hands);
        Some(Self { folder: quick_folder(), hands, store, _server: Some(server) })
    }

    /// The same on a store that somebody else made, by its clock.
    pub(crate) fn on(store: Store, hands: Hands) -> Self {
        Self { folder: quick_folder(), hands, store, _server: None }
    }

    /// The same on a branch of a repository beside it.
    pub(crate) fn git() -> Self {
        let folder = quick_folder();
        let hands = Hands::at(NOON);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let git = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file());
        let git = git.expect("git is needed for the tests");
        let remote = folder.path().join("remote.git");
        let made = std::process::Command::new(&git).args(["init", "--quiet", "--bare"]).arg(&remote).status();
        assert!(made.expect("git starts").success());
        let url = format!("file://{}", remote.display());
        let env = [("PATH".into(), path)].into();
        let mut place = GitPlace::new(git, &url, "ledger", Credentials::Own, &env);
        place.scratch = folder.path().to_owned();
        Self { store: Store::open_git(place, hands.options()), folder, hands, _server: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("ledger").join(name)
    }

    fn november(&self) -> PathBuf {
        self.path("events/2026-11.jsonl")
    }

    fn reserve(&self, hold: &str, want: &str, limits: &[Limit]) -> Answer {
        self.store.reserve(&request(hold, want, limits, self.hands.now())).expect("an answer")
    }

    fn settle(&self, hold: &str, amount: &str) -> Settlement {
        self.store.settle(&id(hold), &spend(amount)).expect("a settlement")
    }

    fn balance(&self, limit: &Limit) -> (String, String) {
        let balances = self.store.balances(std::slice::from_ref(limit)).expect("a balance");
        (balances[0].settled.to_string(), balances[0].held.to_string())
    }

    fn verified(&self) -> crate::ledger::store::Verified {
        let verified = self.store.verify().expect("a ledger in order");
        assert_eq!(verified.head, Ok(()));
        verified
    }
}

/// One suite, every store.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn in_files() {
                super::$test(&super::Bench::new());
            }

            #[test]
            fn on_a_branch() {
                super::$test(&super::Bench::git());
            }

            #[test]
            fn in_a_database() {
                if let Some(bench) = super::Bench::postgres() {
                    super::$test(&bench);
                }
            }
        })*
    };
}

on_every_store! {
    runs_share_one_budget,
    a_budget_written_later_counts_what_was_spent_before,
    a_clock_that_goes_back_does_not_turn_the_ledger_back,
    a_hold_that_nobody_settles_is_charged,
}

fn pair(settled: &str, held: &str) -> (String, String) {
    (settled.to_owned(), held.to_owned())
}

fn repo(amount: &str) -> Limit {
    limit("repo", november(), amount, Enforce::Hard)
}

fn runs_share_one_budget(bench: &Bench) {
    let limit = repo("5");
    let granted = |cap: &str| Answer::Granted { cap: usd(cap), cut_by: None };
    assert_eq!(bench.reserve("a", "2", std::slice::from_ref(&limit)), granted("2"));
    assert_eq!(bench.reserve("b", "2", std::slice::from_ref(&limit)), granted("2"));
    assert_eq!(bench.balance(&limit), pair("0", "4"));
    let Answer::Granted { cap, cut_by: Some(by) } = bench.reserve("c", "2", std::slice::from_ref(&limit))
    else {
        panic!("a cut cap");
    };
    assert_eq!((cap, by.held), (usd("1"), usd("4")));
    assert!(matches!(bench.reserve("d", "2", std::slice::from_ref(&limit)), Answer::Refused { .. }));

    let settled = bench.settle("a", "0.25");
    assert_eq!((settled.cap, settled.overrun), (usd("2"), false));
    assert_eq!((settled.balances[0].settled, settled.balances[0].held), (usd("0.25"), usd("3")));
    let over = bench.settle("b", "2.5");
    assert!(over.overrun, "recorded in full, and flagged");
    assert_eq!(bench.balance(&limit), pair("2.75", "1"));
    bench.store.void(&id("c"), "nothing was forwarded").expect("voided");
    assert_eq!(bench.balance(&limit), pair("2.75", "0"));
    let verified = bench.verified();
    assert_eq!((verified.events, verified.holds, verified.live), (6, 3, 0));
    assert_eq!(verified.charged, usd("2.75"));
}

fn a_budget_written_later_counts_what_was_spent_before(bench: &Bench) {
    bench.reserve("a", "2", &[]);
    bench.settle("a", "1.5");
    bench.reserve("b", "1", &[]);
    let late = limit("actor:octocat", november(), "2", Enforce::Hard);
    assert_eq!(bench.balance(&late), pair("1.5", "1"));
    assert!(matches!(bench.reserve("c", "1", std::slice::from_ref(&late)), Answer::Refused { .. }));
    bench.settle("b", "0.1");
    let Answer::Granted { cap, .. } = bench.reserve("c", "1", std::slice::from_ref(&late)) else {
        panic!("granted")
    };
    assert_eq!(cap, usd("0.4"));
    bench.verified();
}

#[test]
fn a_hold_belongs_to_the_month_of_its_reserve() {
    let bench = Bench::new();
    let december = Window { start: time("2026-12-01T00:00:00Z"), end: Some(time("2027-01-01T00:00:00Z")) };
    let december = limit("repo", december, "5", Enforce::Hard);
    bench.hands.set("2026-11-30T23:59:00Z");
    bench.reserve("a", "2", &[repo("5")]);
    bench.hands.set("2026-12-01T00:10:00Z");
    bench.reserve("b", "2", std::slice::from_ref(&december));
    bench.settle("a", "1");
    assert_eq!(bench.balance(&repo("5")), pair("1", "0"));
    assert_eq!(bench.balance(&december), pair("0", "2"));
    assert!(bench.path("events/2026-12.jsonl").exists());
    bench.reserve("c", "1", std::slice::from_ref(&december));
    let shard = bench.path("events/2026-12.jsonl");
    let whole = fs::read(&shard).expect("a shard");
    fs::write(&shard, &whole[..10]).expect("written");
    let error =
        bench.store.reserve(&request("d", "1", &[], bench.hands.now())).expect_err("damage").to_string();
    assert!(error.contains("2026-12.jsonl:3: the file ends here"), "lines count anew each month: {error}");
    fs::write(&shard, &whole).expect("written");
    bench.store.void(&id("c"), "by hand").expect("voided");
    // The month is also right when its account is made anew from the history.
    fs::remove_file(bench.path("head.json")).expect("removed");
    assert_eq!(bench.balance(&december), pair("0", "2"));
    assert_eq!(bench.balance(&repo("5")), pair("1", "0"));
}

fn a_clock_that_goes_back_does_not_turn_the_ledger_back(bench: &Bench) {
    bench.reserve("a", "2", &[]);
    bench.hands.set("2026-11-23T11:59:00Z");
    bench.reserve("b", "2", &[]);
    let times: Vec<Timestamp> =
        bench.store.events(None).expect("events").map(|event| event.expect("an event").at).collect();
    // A database counts microseconds.
    let tick = if matches!(bench.store, Store::Postgres(_)) { "000001" } else { "000000001" };
    assert_eq!(times, [time(NOON), time(&format!("2026-11-23T12:00:00.{tick}Z"))]);
}

fn a_hold_that_nobody_settles_is_charged(bench: &Bench) {
    bench.reserve("a", "2", &[repo("5")]);
    bench.hands.set("2026-11-23T13:00:30Z");
    assert_eq!(bench.store.sweep().expect("swept"), [], "clocks may differ by a minute");
    // A branch on a disk tells no time, so another nine minutes are waited there.
    bench.hands.set(if matches!(bench.store, Store::Git(_)) {
        "2026-11-23T13:09:30Z"
    } else {
        "2026-11-23T13:01:00Z"
    });
    assert_eq!(bench.store.sweep().expect("swept"), [], "not a moment too early");
    bench.hands.advance(31);
    assert_eq!(bench.store.sweep().expect("swept"), [id("a")]);
    assert_eq!(bench.store.sweep().expect("swept"), []);
    assert_eq!(bench.balance(&repo("5")), pair("2", "0"));
    assert_eq!(bench.settle("a", "0.5").spend.usd, usd("0.5"));
    assert_eq!(bench.balance(&repo("5")), pair("0.5", "0"));
    assert_eq!(bench.settle("a", "0.5").spend.usd, usd("0.5"), "a repeated settlement changes nothing");
    assert_eq!(bench.verified().events, 3);
    let again = bench.store.reserve(&request("a", "2", &[], bench.hands.now())).expect_err("closed");
    assert_eq!(
        again.to_string(),
        "hold `a` is expired and cannot be taken again\n\nhint: a new run needs a key of its own"
    );
}

#[test]
fn nobody_else_reads_the_folder() {
    let bench = Bench::new();
    bench.reserve("a", "2", &[]);
    for (name, expected) in [
        ("", 0o700),
        ("events", 0o700),
        ("events/2026-11.jsonl", 0o600),
        ("head.json", 0o600),
        ("lock", 0o600),
    ] {
        let mode = fs::metadata(bench.path(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
}

#[test]
fn a_namespace_is_a_ledger_of_its_own() {
    let bench = Bench::new();
    bench.reserve("a", "2", &[repo("5")]);
    let options = Options { namespace: Some("simulate".to_owned()), ..bench.hands.options() };
    let simulated = Store::open(&bench.path(""), options).expect("a ledger");
    assert_eq!(simulated.balances(&[repo("5")]).expect("a balance")[0].held, Usd::ZERO);
    assert!(bench.path("simulate/events").is_dir());
}

#[test]
fn a_lock_that_does_not_come_free_names_its_holder() {
    let bench = Bench::new();
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(bench.path("lock"));
    let lock = lock.expect("the lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    fs::write(bench.path("lock"), "4711").expect("signed");
    let options = Options { lock_wait: std::time::Duration::ZERO, ..bench.hands.options() };
    let store = Store::open(&bench.path(""), options).expect("a ledger");
    let error = store.reserve(&request("a", "1", &[], time(NOON))).expect_err("locked");
    assert_eq!(
        error.to_string(),
        format!(
            "the ledger `{}` is locked by process 4711, and was not free for 0 s\n\nhint: wait for that \
             process, or end it if it hangs; its lock goes with it",
            bench.path("").display()
        )
    );
    assert!(error.is_unavailable());
}

/// A ledger of a few events, one of each type, and its shard's bytes.
fn filled() -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    for hold in ["a", "b", "c", "d"] {
        bench.reserve(hold, "1", &[repo("50")]);
    }
    bench.settle("a", "0.5");
    bench.store.void(&id("b"), "nothing was forwarded").expect("voided");
    bench.store.expire(&id("c"), None).expect("expired");
    bench.settle("c", "0.25");
    bench.settle("d", "0.125");
    let bytes = fs::read(bench.november()).expect("a shard");
    (bench, bytes)
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_tore() {
    let (bench, whole) = filled();
    let before_last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
    // The head as it stood before the last line.
    fs::write(bench.november(), &whole[..before_last]).expect("written");
    fs::remove_file(bench.path("head.json")).expect("removed");
    bench.reserve("e", "1", &[repo("50")]);
    let with_e = fs::read(bench.november()).expect("a shard");
    let head = fs::read(bench.path("head.json")).expect("a head");
    bench.settle("e", "0.5");
    let end = fs::read(bench.november()).expect("a shard");
    for length in with_e.len()..end.len() {
        fs::write(bench.november(), &end[..length]).expect("written");
        fs::write(bench.path("head.json"), &head).expect("written");
        assert_eq!(bench.store.holds().expect("holds").len(), 2, "a reader passes it over, at {length}");
        assert_eq!(bench.verified().torn, length > with_e.len(), "at {length}");
        bench.settle("e", "0.5");
        assert_eq!(fs::read(bench.november()).expect("a shard"), end, "at {length}");
    }
}

#[test]
fn a_head_that_is_behind_or_lost_is_made_again() {
    let (bench, _) = filled();
    let head = fs::read(bench.path("head.json")).expect("a head");
    bench.reserve("e", "1", &[repo("50")]);
    bench.settle("e", "0.5");
    let expected = bench.balance(&repo("50"));
    for spoil in
        [None, Some(head.clone()), Some(Vec::new()), Some(b"{\"v\":1}".to_vec()), Some(head[..99].to_vec())]
    {
        match &spoil {
            Some(bytes) => fs::write(bench.path("head.json"), bytes).expect("written"),
            None => fs::remove_file(bench.path("head.json")).expect("removed"),
        }
        assert_eq!(bench.balance(&repo("50")), expected);
    }
    bench.reserve("f", "1", &[repo("50")]);
    bench.verified();
}

#[test]
fn every_changed_byte_is_found() {
    let (bench, whole) = filled();
    let head = fs::read(bench.path("head.json")).expect("a head");
    // Every byte of one line in the middle, and a sample of all others.
    let third =
        whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).nth(2).expect("lines");
    for at in (0..whole.len()).filter(|at| at % 17 == 0 || (third..third + 200).contains(at)) {
        let flip = if at % 2 == 0 { 0x01 } else { 0x80 };
        let mut changed = whole.clone();
        changed[at] ^= flip;
        fs::write(bench.november(), &changed).expect("written");
        let error = bench.store.verify().expect_err("damage");
        assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Newer { .. }), "byte {at}: {error}");
        fs::remove_file(bench.path("head.json")).expect("removed");
        assert!(bench.store.holds().is_err(), "byte {at}: without a head everything is read");
        fs::write(bench.path("head.json"), &head).expect("written");
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let (bench, whole) = filled();
    let text = String::from_utf8(whole).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let path = bench.november();
    let message = |text: String| {
        fs::write(&path, text).expect("written");
        bench.store.verify().expect_err("damage").to_string()
    };
    let hint = "\n\nhint: nothing was changed; put the folder back from a backup, or let `tollgate ledger \
                doctor` say what can be kept";
    let at =
        |line: u64, what: &str| format!("the ledger is damaged: {}:{line}: {what}{hint}", path.display());
    let joined = |lines: &[&str]| lines.join("\n") + "\n";

    assert_eq!(
        message(joined(&[&lines[..3], &lines[4..]].concat())),
        at(4, "the line does not follow the line before it: one of the two was changed")
    );
    assert_eq!(
        message(joined(&[&lines[..3], &["{}"], &lines[4..]].concat())),
        at(4, "the line is not an event")
    );
    assert_eq!(
        message(text.replacen("\"cap\":\"1\"", "\"cap\":\"2\"", 1)),
        at(1, "the line does not match its own checksum: it was changed after it was written")
    );
    let newer = lines[8].replacen("{\"v\":1", "{\"v\":2", 1);
    assert_eq!(
        message(joined(&[&lines[..8], &[newer.as_str()]].concat())),
        format!(
            "the ledger was written by a newer tollgate: {}:9: the event has format version 2, and this \
             tollgate reads version 1 only\n\nhint: update tollgate here; nothing was changed",
            path.display()
        )
    );
    // Whole lines cut off the end are no torn tail: the head knows them.
    fs::write(&path, joined(&lines[..7])).expect("written");
    let error = bench.store.reserve(&request("z", "1", &[], time(NOON))).expect_err("damage");
    assert_eq!(error.to_string(), at(9, "the file ends here, and the head says that it went on"));
    fs::write(&path, &text).expect("written");
    bench.verified();
}

#[test]
fn a_head_that_lies_is_found() {
    let (bench, _) = filled();
    let text = fs::read_to_string(bench.path("head.json")).expect("a head");
    let lied = text.replacen("\"settled\":\"0.875\"", "\"settled\":\"0.375\"", 1);
    assert_ne!(text, lied);
    fs::write(bench.path("head.json"), &lied).expect("written");
    let unreadable = bench.store.verify().expect("events in order").head.expect_err("a problem");
    assert_eq!(unreadable.to_string(), "the head is not as it was written");
    let body = &lied[..lied.len() - r#","sum":"0123456789abcdef"}"#.len()];
    fs::write(bench.path("head.json"), crate::ledger::event::seal(format!("{body}}}"))).expect("written");
    let wrong = bench.store.verify().expect("events in order").head.expect_err("a problem");
    assert_eq!(
        wrong.to_string(),
        "the head has 0.375 settled on `repo` since 2026-11-01T00:00:00Z, the events 0.875"
    );
}

#[test]
fn an_older_head_is_made_again_and_a_newer_one_is_left_alone() {
    let (bench, _) = filled();
    let text = fs::read_to_string(bench.path("head.json")).expect("a head");
    let of_version = |v: u32| {
        let body = text[..text.len() - r#","sum":"0123456789abcdef"}"#.len()].replacen(
            &format!("{{\"v\":{HEAD_VERSION}"),
            &format!("{{\"v\":{v}"),
            1,
        );
        fs::write(bench.path("head.json"), crate::ledger::event::seal(format!("{body}}}"))).expect("written");
    };
    of_version(HEAD_VERSION - 1);
    let older = bench.store.verify().expect("events in order").head.expect_err("a problem");
    assert_eq!(
        older.to_string(),
        "the head has format version 1, of an older tollgate: the next write makes it again"
    );
    bench.store.reserve(&request("y", "1", &[], time(NOON))).expect("an answer");
    bench.verified();
    of_version(HEAD_VERSION + 1);
    let error = bench.store.reserve(&request("z", "1", &[], time(NOON))).expect_err("newer");
    assert_eq!(
        error.to_string(),
        format!(
            "the ledger was written by a newer tollgate: {}:1: the head has format version 3, and this tollgate reads \
             version 2 only\n\nhint: update tollgate here; nothing was changed",
            bench.path("head.json").display()
        )
    );
}

#[test]
fn the_head_stays_small_and_right_with_more_accounts_than_it_follows() {
    let bench = Bench::new();
    for number in 0..132 {
        bench.hands.advance(1);
        let hold = format!("h{number}");
        bench.reserve(&hold, "1", &[limit(&format!("pr:{number}"), always(), "1.5", Enforce::Hard)]);
        bench.settle(&hold, "1");
    }
    let head = fs::metadata(bench.path("head.json")).expect("a head").len();
    assert!(head < 80 * 1024, "{head} bytes");
    let first = limit("pr:0", always(), "1.5", Enforce::Hard);
    assert_eq!(bench.balance(&first), pair("1", "0"), "an account that made room is summed again");
    let Answer::Granted { cap, .. } = bench.reserve("again", "1", &[first]) else { panic!("granted") };
    assert_eq!(cap, usd("0.5"));
    bench.verified();
}

/// Appends settled runs of the repository to the ledger's shard, without waiting for a disk.
fn lengthen(bench: &Bench, runs: std::ops::Range<u32>) {
    use crate::ledger::commit::{self, Head};
    use crate::ledger::decide;
    use crate::ledger::event::Kind;
    use crate::ledger::hold::Hold;

    let mut head =
        Head::decode(&fs::read_to_string(bench.path("head.json")).expect("a head")).expect("a head");
    let terms = head.book.live().next().expect("a live hold").terms.clone();
    let mut shard = fs::OpenOptions::new().append(true).open(bench.november()).expect("a shard");
    for number in runs {
        let now = bench.hands.now();
        let reserve =
            decide::Draft { hold: id(&format!("run {number}")), kind: Kind::Reserve(terms.clone()) };
        let hold = Hold::new(reserve.hold.clone(), head.book.next_time(now), terms.clone());
        let settle = decide::settle(&hold, &spend("0.001")).expect("a step").expect("an event");
        let commit = commit::build(&head, vec![reserve, settle], now).expect("a commit");
        for (_, line) in &commit.lines {
            std::io::Write::write_all(&mut shard, format!("{line}\n").as_bytes()).expect("written");
        }
        head = commit.head;
    }
    fs::write(bench.path("head.json"), head.encode()).expect("written");
}

#[test]
fn admission_never_reads_the_history() {
    let bench = Bench::new();
    let limits = [repo("5000"), limit("pr:1", always(), "5", Enforce::Hard)];
    bench.reserve("template", "0.05", &limits);
    lengthen(&bench, 0..600);
    // Whoever read the first line again would stumble over it.
    let mut shard = fs::read(bench.november()).expect("a shard");
    shard[..40].fill(b'x');
    fs::write(bench.november(), shard).expect("damage");
    bench.reserve("after", "0.05", &limits);
    bench.settle("after", "0.001");
    assert!(bench.store.verify().is_err(), "the damage is there for whoever looks");
}
