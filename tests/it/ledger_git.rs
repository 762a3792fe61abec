//! The git ledger over `file://`: many writers, first creation, deletion, rewinding, old months.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use tollgate::id::HoldId;
use tollgate::ledger::Answer;
use tollgate::ledger::event::{self, Bill, Event, Kind, LineHash, Note};
use tollgate::ledger::store::git::{Credentials, GitPlace, Token};
use tollgate::ledger::store::{Clock, Options, Store, StoreError};
use tollgate::money::Usd;

use crate::ledger::{budget, cents, request, spend};
use crate::support::git;
use crate::support::git_http::bare;

/// How many processes write at once.
const WRITERS: usize = 20;
/// How many runs each has: a hold and its settlement are two appends.
const RUNS: u32 = 5;
/// Set in a process that works for a test: the remote's URL and token, its own name, how many runs.
const WORK: &str = "TOLLGATE_TEST_LEDGER_GIT_WORK";

pub(crate) fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file()).expect("git")
}

pub(crate) fn place(url: &str) -> GitPlace {
    let env = std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TMPDIR").collect();
    let mut place = GitPlace::new(program(), url, "tollgate-ledger", Credentials::Own, &env);
    place.patience = std::time::Duration::from_secs(240);
    place
}

pub(crate) fn open(remote: &Path) -> Store {
    Store::open_git(place(&format!("file://{}", remote.display())), Options::default())
}

/// One run: a hold and its settlement. Where the branch is so busy that an append's patience ends, it is asked
/// for again, as a job that is started anew would do: that the answer was not known must double nothing.
fn run(store: &Store, hold: &str, limit: u32) -> bool {
    let request = request(hold, 3, budget(limit), store.now());
    let granted = matches!(patiently(|| store.reserve(&request)), Answer::Granted { .. });
    if granted {
        patiently(|| store.settle(&request.hold, &spend(1)));
    }
    granted
}

fn patiently<T>(mut ask: impl FnMut() -> Result<T, StoreError>) -> T {
    let mut errors = Vec::new();
    while errors.len() < 10 {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => errors.push(error.to_string()),
        }
    }
    panic!("no answer: {errors:?}");
}

/// Not a test: what the processes do that the tests start.
#[test]
fn the_doctor_leaves_a_branch_to_git() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&bare(folder.path(), "r.git"));
    let expected = "the doctor mends ledgers in files, and the tables of one in a database; a branch has its own \
                    history\n\nhint: `tollgate ledger verify` names the damage, and `git log` the commit before it: \
                    set the branch back to that";
    assert_eq!(store.examine().expect_err("a branch").to_string(), expected);
    assert_eq!(store.mend("kim").expect_err("a branch").to_string(), expected);
}

#[test]
fn worker() {
    let Ok(work) = std::env::var(WORK) else { return };
    let [url, token, name, runs] = work.split('|').collect::<Vec<_>>()[..] else { panic!("four parts") };
    let mut place = place(url);
    if !token.is_empty() {
        place.credentials = Credentials::Token(Token::new(token));
    }
    let store = Store::open_git(place, Options::default());
    for number in 0..runs.parse::<u32>().expect("a count") {
        assert!(run(&store, &format!("{name}/{number}"), 100_000));
    }
}

fn start(url: &str, token: Option<&str>, name: &str, runs: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["ledger_git::worker", "--exact", "--nocapture"]);
    command.env(WORK, format!("{url}|{}|{name}|{runs}", token.unwrap_or_default()));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process")
}

fn roots(remote: &Path) -> usize {
    git(remote, &["rev-list", "--max-parents=0", "tollgate-ledger"]).lines().count()
}

fn percentile(times: &mut [u128], percent: usize) -> u128 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Lets all processes write at once to `url`, and checks that every event is there, once. Says how long it took.
pub(crate) fn many_write(remote: &Path, url: &str, token: Option<&str>) -> String {
    let began = Instant::now();
    let processes: Vec<_> =
        (0..WRITERS).map(|number| start(url, token, &format!("p{number}"), RUNS)).collect();
    for process in processes {
        let output = process.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let took = began.elapsed().as_secs();
    let holds = WRITERS as u64 * u64::from(RUNS);
    let verified = open(remote).verify().expect("a ledger in order");
    assert_eq!(
        (verified.head.clone(), verified.events, verified.holds, verified.live),
        (Ok(()), holds * 2, holds, 0)
    );
    assert_eq!(verified.charged, cents(u32::try_from(holds).expect("few")));
    assert_eq!(roots(remote), 1);
    format!("{WRITERS} processes with {} appends each: {took} s", RUNS * 2)
}

#[test]
fn many_writers_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    println!("{}", many_write(&remote, &format!("file://{}", remote.display()), None));
}

#[test]
fn a_burst_of_starts_makes_one_root_and_never_passes_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let threads: Vec<_> = (0..20)
        .map(|number| {
            let store = open(&remote);
            std::thread::spawn(move || {
                let began = Instant::now();
                let asked = request(&format!("b{number}"), 3, budget(36), store.now());
                let answer = store.reserve(&asked).expect("an answer");
                (matches!(answer, Answer::Granted { .. }), began.elapsed().as_millis())
            })
        })
        .collect();
    let (granted, mut times): (Vec<bool>, Vec<u128>) =
        threads.into_iter().map(|thread| thread.join().expect("joined")).unzip();
    assert_eq!(granted.iter().filter(|granted| **granted).count(), 12, "$0.36 at $0.03 each");
    assert_eq!(roots(&remote), 1);
    let verified = open(&remote).verify().expect("a ledger in order");
    assert_eq!((verified.head, verified.events), (Ok(()), 12));
    let (median, most) = (percentile(&mut times, 50), percentile(&mut times, 95));
    println!("a burst of 20: {median} ms p50, {most} ms p95");
}

#[test]
fn nothing_but_its_branch_is_made_and_messages_start_no_workflow() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("a folder");
    let mut at = place(&format!("file://{}", remote.display()));
    at.scratch.clone_from(&scratch);
    let store = Store::open_git(at, Options::default());
    assert!(run(&store, "a", 100));
    let refs = git(&remote, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs, "refs/heads/main\nrefs/heads/tollgate-ledger");
    let subjects = git(&remote, &["log", "--format=%s", "tollgate-ledger"]);
    assert_eq!(subjects, "event 2 [skip ci]\nevent 1 [skip ci]");
    let month = git(&remote, &["ls-tree", "-r", "--name-only", "tollgate-ledger"]);
    assert_eq!(
        month.lines().filter(|path| !path.starts_with("events/")).collect::<Vec<_>>(),
        [".gitattributes", "README.md", "head.json", "root"]
    );
    let own = std::fs::read_dir(&scratch).expect("a folder").next().expect("its own").expect("an entry");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(own.metadata().expect("a mode").permissions().mode() & 0o777, 0o700);
    store.rest();
    assert_eq!(std::fs::read_dir(&scratch).expect("a folder").count(), 0, "nothing to tamper with");
    assert!(run(&store, "b", 100), "and on it goes");
    drop(store);
    assert_eq!(std::fs::read_dir(&scratch).expect("a folder").count(), 0);
}

fn message(error: &StoreError, remote: &Path, folder: &Path) -> String {
    let text = error.to_string().replace(&format!("file://{}", remote.display()), "REMOTE");
    text.replace(&*folder.to_string_lossy(), "FOLDER")
}

#[test]
fn a_branch_that_is_deleted_or_turned_back_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let open = || {
        let mut at = place(&format!("file://{}", remote.display()));
        at.seen = Some(folder.path().join("seen.json"));
        Store::open_git(at, Options::default())
    };
    assert!(run(&open(), "a", 100));
    let early = git(&remote, &["rev-parse", "tollgate-ledger"]);
    assert!(run(&open(), "b", 100));
    let late = git(&remote, &["rev-parse", "tollgate-ledger"]);
    let try_again = || open().reserve(&request("c", 3, budget(100), Timestamp::now())).expect_err("rewound");
    let hint = "\n\nhint: put the branch back to the commit it had; where its history is to begin anew, remove \
                `FOLDER/seen.json`, which remembers it";
    let says = |what: &str| {
        format!("the ledger branch `tollgate-ledger` of REMOTE was deleted or turned back: {what}{hint}")
    };

    git(&remote, &["update-ref", "refs/heads/tollgate-ledger", &early]);
    let said = message(&try_again(), &remote, folder.path());
    assert_eq!(said, says("event 4 was seen on it, and it ends with event 2"));
    git(&remote, &["update-ref", "-d", "refs/heads/tollgate-ledger"]);
    let said = message(&try_again(), &remote, folder.path());
    assert_eq!(said, says("event 4 was seen on it, and it is gone"));
    // Another history, longer than the one that was seen.
    let other = super::ledger_git::open(&remote);
    for hold in ["x", "y", "z"] {
        assert!(run(&other, hold, 100));
    }
    let said = message(&try_again(), &remote, folder.path());
    assert_eq!(said, says("event 4 is not the one that was seen on it"));
    git(&remote, &["update-ref", "refs/heads/tollgate-ledger", &late]);
    assert!(run(&open(), "c", 100), "put back, it is the same ledger");
}

#[test]
fn a_ledger_with_another_root_than_the_budget_files_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let open = |root: &str| {
        let mut at = place(&format!("file://{}", remote.display()));
        at.root = Some(root.to_owned());
        Store::open_git(at, Options::default())
    };
    let absent = "0123456789012345678901234567890123456789";
    let error = open(absent).balances(&[]).expect_err("no first run");
    assert!(
        error.to_string().contains("it is gone, and the budget file says that it begins with 0123"),
        "{error}"
    );
    assert!(run(&super::ledger_git::open(&remote), "a", 100));
    let root = git(&remote, &["rev-list", "--max-parents=0", "tollgate-ledger"]);
    assert!(run(&open(&root), "b", 100));
    assert_eq!(open(&root).verify().expect("a ledger in order").events, 4);
    let error = open(absent).balances(&[]).expect_err("another");
    assert!(
        error.to_string().contains(&format!("it begins with {root}, and the budget file says {absent}")),
        "{error}"
    );
    // A file that says so makes no root: `verify` asks the history.
    let other = git(&remote, &["rev-parse", "main"]);
    let forged = forge(&remote, "root", &format!("{other}\n"));
    let error = open(&other).verify().expect_err("forged");
    assert!(
        error
            .to_string()
            .contains(&format!("it says that it begins with {other}, and it begins with {root}")),
        "{error}"
    );
    assert_ne!(forged, root);
}

/// Changes a file of the ledger by hand, and returns the new tip.
fn forge(remote: &Path, path: &str, content: &str) -> String {
    let clone = remote.with_extension("clone");
    let _ = std::fs::remove_dir_all(&clone);
    let url = remote.to_string_lossy().into_owned();
    git(remote, &["clone", "--quiet", "--branch", "tollgate-ledger", &url, &clone.to_string_lossy()]);
    std::fs::write(clone.join(path), content).expect("written");
    git(&clone, &["commit", "--quiet", "--all", "--message", "By hand"]);
    git(&clone, &["push", "--quiet", "origin", "HEAD:tollgate-ledger"]);
    git(remote, &["rev-parse", "tollgate-ledger"])
}

#[test]
fn damage_is_found_and_a_lost_head_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    assert!(run(&open(&remote), "a", 100));
    let month = jiff::tz::TimeZone::UTC.to_datetime(Timestamp::now()).strftime("%Y-%m").to_string();
    let part = format!("events/{month}/0001.jsonl");
    let text = git(&remote, &["show", &format!("tollgate-ledger:{part}")]) + "\n";
    let head = git(&remote, &["show", "tollgate-ledger:head.json"]);

    forge(&remote, "head.json", "{}");
    let verified = open(&remote).verify().expect("events in order");
    assert_eq!(verified.head.expect_err("no head").to_string(), "the head is not as it was written");
    assert!(run(&open(&remote), "b", 100), "and made again");
    assert_eq!(open(&remote).verify().expect("a ledger in order").head, Ok(()));

    forge(&remote, &part, &text.replacen("\"cap\":\"0.03\"", "\"cap\":\"0.01\"", 1));
    forge(&remote, "head.json", &head);
    let error = open(&remote).verify().expect_err("damage").to_string();
    assert_eq!(
        error,
        format!(
            "the ledger is damaged: tollgate-ledger:events/{month}:1: the line does not match its own checksum: it \
             was changed after it was written\n\nhint: nothing was changed; set the branch back to its last commit \
             before the damage, or delete it to start anew (its past spend then counts no more)"
        )
    );
    forge(&remote, &part, "");
    let error = open(&remote).reserve(&request("c", 3, budget(100), Timestamp::now())).expect_err("damage");
    assert!(error.to_string().contains("the file ends here, and the head says that it went on"), "{error}");
}

#[test]
fn older_months_and_full_parts_stay_in_the_history_and_are_found_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let at = |time: &str| {
        let now: Timestamp = time.parse().expect("a time");
        let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
        Store::open_git(place(&format!("file://{}", remote.display())), options)
    };
    let september = at("2026-09-30T23:00:00Z");
    assert!(run(&september, "a", 1000));
    september.reserve(&request("open", 3, budget(1000), september.now())).expect("an answer");
    for (number, month) in
        ["2026-10-05T10:00:00Z", "2026-11-05T10:00:00Z", "2026-11-06T10:00:00Z"].iter().enumerate()
    {
        assert!(run(&at(month), &format!("m{number}"), 1000));
    }
    let files = git(&remote, &["ls-tree", "-r", "--name-only", "tollgate-ledger", "events"]);
    assert_eq!(files, "events/2026-11/0001.jsonl\nevents/older");
    let older = git(&remote, &["show", "tollgate-ledger:events/older"]);
    assert_eq!(
        older.lines().map(|line| line.split(' ').next().expect("a path")).collect::<Vec<_>>(),
        ["events/2026-09/0001.jsonl", "events/2026-10/0001.jsonl"]
    );
    let now = at("2026-11-23T10:00:00Z");
    assert_eq!(
        now.verify().map(|verified| (verified.head, verified.events, verified.shards)).expect("in order"),
        (Ok(()), 9, 3)
    );
    assert_eq!(now.events(None).expect("events").count(), 9);
    let since = "2026-10-01T00:00:00Z".parse().expect("a time");
    assert_eq!(now.events(Some(since)).expect("events").count(), 6);
    assert_eq!(now.hold(&HoldId::from_text("a")).expect("read").expect("a hold").spend.usd, cents(1));
    assert_eq!(
        now.settle(&HoldId::from_text("open"), &spend(2)).expect("settled").spend.usd,
        cents(2),
        "late"
    );
    assert_eq!(now.verify().expect("in order").head, Ok(()));
}

/// Lines of a ledger: so many in September, so many in October.
fn past(september: u64, october: u64) -> Vec<String> {
    let bill = Bill {
        provider: "anthropic".to_owned(),
        day: "2026-09-01".to_owned(),
        billed: Usd::ZERO,
        ledger: Usd::ZERO,
        unproven: Usd::ZERO,
        models: Vec::new(),
    };
    let mut prev = LineHash::genesis();
    let line = |seq: u64| {
        let month = if seq <= september { "2026-09-01T00:00:00Z" } else { "2026-10-01T00:00:00Z" };
        let month: Timestamp = month.parse().expect("a time");
        let at = month + std::time::Duration::from_secs(seq);
        let hold = HoldId::from_text(&format!("bill/{seq}"));
        let event = Event { seq, at, hold, kind: Kind::Note(Note::Bill(bill.clone())) };
        let line = event::encode(&event, &prev).expect("short");
        prev = LineHash::of(line.as_bytes());
        line
    };
    (1..=september + october).map(line).collect()
}

fn open_in_october(remote: &Path) -> Store {
    let clock = Clock::from_fn(|| "2026-10-02T10:00:00Z".parse().expect("a time"));
    let options = Options { namespace: Some("simulate".to_owned()), clock, ..Options::default() };
    Store::open_git(place(&format!("file://{}", remote.display())), options)
}

/// The list of older parts of a branch with these lines.
fn with_past(remote: &Path, past: &[String]) -> String {
    open_in_october(remote).import(past.iter().cloned().map(Ok)).expect("imported");
    git(remote, &["show", "tollgate-ledger:simulate/events/older"])
}

#[test]
fn a_long_past_is_listed_in_a_few_lines_and_is_found_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let open = || open_in_october(&remote);
    let past = past(10_450, 3_695);
    let older = with_past(&remote, &past);
    let before: Vec<&str> = older.lines().map(|line| line.split(' ').next().expect("a path")).collect();
    // The import writes twenty parts at a time.
    let september = ["0001-0080", "0081-0100", "0101-0105"].map(|row| format!("events/2026-09/{row}"));
    assert_eq!(before[..3], september, "{before:?}");
    assert_eq!(before[3..].len(), 35, "{before:?}");
    assert!(run(&open(), "a", 1000));
    let verified = open().verify().expect("in order");
    assert_eq!((verified.head, verified.events, verified.shards), (Ok(()), 14_147, 2));
    let mut events = open().events(None).expect("events");
    let read: Vec<String> =
        std::iter::from_fn(|| events.next_line()).map(|line| line.expect("a line")).collect();
    assert_eq!(read[..past.len()], past);
    let since = "2026-10-01T00:00:00Z".parse().expect("a time");
    assert_eq!(open().events(Some(since)).expect("events").count(), 3_697);
}

#[test]
fn a_past_with_a_gap_is_damage_and_a_run_reads_no_more_of_it_than_it_has_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let open = || open_in_october(&remote);
    // The newest part has 97 lines.
    let older = with_past(&remote, &past(10_450, 3_697));
    let since = "2026-10-01T00:00:00Z".parse().expect("a time");
    let commits = git(&remote, &["rev-list", "--reverse", "tollgate-ledger"]);
    let commits: Vec<&str> = commits.lines().collect();
    let (_, rest) = older.split_once('\n').expect("several lines");
    let mut said = Vec::new();
    for commit in &commits[..2] {
        forge(&remote, "simulate/events/older", &format!("events/2026-09/0001-0080 {commit}\n{rest}\n"));
        let error = open().verify().expect_err("not whole");
        said.push(message(&error, &remote, folder.path()).replace(commit, "COMMIT"));
    }
    let is_damaged = |what: &str| {
        format!(
            "the ledger is damaged: {what}\n\nhint: nothing was changed; set the branch back to its last commit \
             before the damage, or delete it to start anew (its past spend then counts no more)"
        )
    };
    let not_there = is_damaged("COMMIT:simulate/events/older:0: it is not in the branch's history");
    let gap = is_damaged("tollgate-ledger:simulate/events/older:0: a part of the events is missing");
    assert_eq!(said, [not_there, gap.clone()]);
    let recent = open().events(Some(since)).expect("September is not asked for");
    assert_eq!(recent.count(), 3_697);
    let mine = open();
    let request = request("mine", 3, budget(1000), mine.now());
    assert!(matches!(mine.reserve(&request), Ok(Answer::Granted { .. })), "nor by a run");
    let late = open();
    late.hold(&request.hold).expect("read");
    assert!(run(&open(), "b", 1000));
    assert!(run(&open(), "c", 1000));
    let files = git(&remote, &["ls-tree", "-r", "--name-only", "tollgate-ledger", "simulate/events"]);
    assert!(
        files.contains("/0038.jsonl") && !files.contains("/0037.jsonl"),
        "what it has seen is gone: {files}"
    );
    mine.rest();
    mine.settle(&request.hold, &spend(1)).expect("it is found without September");

    // A list that has no beginning: what was seen is not looked for in the rest.
    let october: Vec<&str> = rest.lines().filter(|line| line.contains("2026-10")).skip(1).collect();
    forge(&remote, "simulate/events/older", &format!("{}\n", october.join("\n")));
    assert!(run(&open(), "d", 1000), "it has seen nothing");
    late.rest();
    let error = message(&late.hold(&request.hold).expect_err("a gap"), &remote, folder.path());
    assert_eq!(error, gap);
}
