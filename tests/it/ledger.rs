//! The ledger from outside: real processes at one budget, some of them killed; and the command.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use tollgate::commands::ledger::{self, Args};
use tollgate::id::HoldId;
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{About, Answer, Enforce, Limit, Request, Spend, Window};
use tollgate::money::Usd;

/// Set in a process that works for a test: the ledger's folder, its own name, how many runs.
const WORK: &str = "TOLLGATE_TEST_LEDGER_WORK";

pub(crate) fn cents(count: u32) -> Usd {
    Usd::from_pico(i128::from(count) * 10_000_000_000)
}

pub(crate) fn budget(amount: u32) -> Limit {
    let window = Window { start: Timestamp::UNIX_EPOCH, end: None };
    let (purse, per) = ("repo".to_owned(), "total".to_owned());
    Limit { purse, per, window, usd: cents(amount), enforce: Enforce::Hard }
}

pub(crate) fn request(hold: &str, want: u32, budget: Limit, now: Timestamp) -> Request {
    Request {
        hold: HoldId::from_text(hold),
        claim: hold.to_owned(),
        want: cents(want),
        least: cents(want),
        limits: vec![budget],
        purses: vec!["repo".to_owned()],
        expires: now + SignedDuration::from_hours(1),
        about: About { task: "review".into(), model: "claude-sonnet-5-5".into(), ..About::default() },
        lift: None,
    }
}

pub(crate) fn spend(count: u32) -> Spend {
    Spend { usd: cents(count), ..Spend::default() }
}

/// Not a test: what the processes do that the tests start.
#[test]
fn worker() {
    let Ok(work) = std::env::var(WORK) else { return };
    let [folder, name, runs] = work.split('|').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let store = Store::open(Path::new(folder), Options::default()).expect("a ledger");
    for number in 0..runs.parse::<u32>().expect("a count") {
        let hold = format!("{name}/{number}");
        let request = request(&hold, 3, budget(60), store.now());
        if let Answer::Granted { .. } = store.reserve(&request).expect("an answer") {
            println!("\nreserved {hold}");
            store.settle(&request.hold, &spend(1)).expect("a settlement");
            println!("\nsettled {hold}");
        } else {
            println!("\nrefused {hold}");
        }
    }
}

fn start(folder: &Path, name: &str, runs: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["ledger::worker", "--exact", "--nocapture"]);
    command.env(WORK, format!("{}|{name}|{runs}", folder.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process")
}

/// What a process said it was told, until it ended or had said `most` things.
fn acknowledged(child: &mut Child, most: usize) -> Vec<String> {
    let lines = BufReader::new(child.stdout.as_mut().expect("a pipe")).lines().map_while(Result::ok);
    let said = lines.filter(|line| ["reserved ", "settled ", "refused "].iter().any(|w| line.starts_with(w)));
    said.take(most).collect()
}

#[test]
fn processes_that_share_a_budget_and_are_killed_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let workers: Vec<_> = (0..6)
        .map(|number| {
            let mut child = start(folder.path(), &format!("w{number}"), 12);
            std::thread::spawn(move || {
                // Every other one is killed after a few answers, wherever it is then.
                let most = if number % 2 == 0 { 3 + number } else { usize::MAX };
                let said = acknowledged(&mut child, most);
                child.kill().expect("killed");
                child.wait().expect("ended");
                said
            })
        })
        .collect();
    let said: Vec<String> = workers.into_iter().flat_map(|worker| worker.join().expect("joined")).collect();

    let store = Store::open(folder.path(), Options::default()).expect("a ledger");
    let verified = store.verify().expect("a ledger in order");
    assert_eq!(verified.head, Ok(()), "the audit also checks every grant against the limit");
    let count = |what: &str| said.iter().filter(|line| line.starts_with(what)).count();
    assert!(count("settled ") >= 10, "there was something to lose: {said:?}");
    for line in &said {
        let (what, hold) = line.split_once(' ').expect("two words");
        let found = store.hold(&HoldId::from_text(hold)).expect("a ledger");
        match what {
            "refused" => assert_eq!(found, None, "{hold}"),
            "reserved" => assert!(found.is_some(), "{hold} was acknowledged and is lost"),
            _ => assert_eq!(found.expect("the hold").spend.usd, cents(1), "{hold}"),
        }
    }
    let balance = store.balances(&[budget(60)]).expect("a balance").remove(0);
    assert!(balance.settled + balance.held <= cents(60));
    let live = u32::try_from(verified.live).expect("few");
    assert_eq!(balance.held, cents(3 * live));
    assert!(live <= 3, "one at most of each that was killed");
    assert_eq!(balance.settled, cents(u32::try_from(verified.holds).expect("few") - live));
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The command's exit code, output and messages, on the ledger's folder.
fn command(folder: &Path, now: Timestamp, words: &[&str]) -> (u8, String, String) {
    let folder = folder.to_str().expect("a path");
    let words = ["tollgate"].into_iter().chain(words.iter().copied());
    let args = <Cli as clap::Parser>::try_parse_from(words).expect("arguments").args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
    let code =
        ledger::run_with(&args.command, Path::new(folder), options, &mut out, &mut err).expect("written");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(folder, "FOLDER");
    (code, text(out), text(err))
}

/// A ledger with a settled run, one that overran, an expired and a live one.
fn filled(folder: &Path) -> Timestamp {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
    let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
    let store = Store::open(folder, options).expect("a ledger");
    for hold in ["a", "b", "c", "d"] {
        store.reserve(&request(hold, 50, budget(1000), now)).expect("an answer");
    }
    store.settle(&HoldId::from_text("a"), &spend(31)).expect("settled");
    store.settle(&HoldId::from_text("b"), &spend(62)).expect("settled");
    store.expire(&HoldId::from_text("c"), None).expect("expired");
    now
}

#[test]
fn show_says_what_is_spent_and_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let (code, out, err) = command(folder.path(), now, &["show"]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @r"
    Budgets
     budget  per    settled   held        limit   left
     repo    total    $1.43  $0.50  $10.00 hard  $8.07

    Live holds
     hold  since             expires           task    model                cap
     d     2026-11-23 12:00  2026-11-23 13:00  review  claude-sonnet-5-5  $0.50

    Runs
     run  began             task    model              ended               cost    cap
     a    2026-11-23 12:00  review  claude-sonnet-5-5  settled            $0.31  $0.50
     b    2026-11-23 12:00  review  claude-sonnet-5-5  settled, overrun   $0.62  $0.50
     c    2026-11-23 12:00  review  claude-sonnet-5-5  expired, unproven  $0.50  $0.50
    ");
    let (_, json, _) = command(folder.path(), now, &["show", "--format", "json", "--since", "2026-11-01"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["budgets"][0]["settled_usd"], "1.43");
    assert_eq!(json["live"][0]["hold"], "d");
    assert_eq!(json["runs"].as_array().map(Vec::len), Some(3));
    let (_, json, _) = command(folder.path(), now, &["show", "--format", "json", "--since", "2026-11-24"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["runs"].as_array().map(Vec::len), Some(0));
}

#[test]
fn who_may_only_read_the_folder_can_still_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let program = folder.path().join("tollgate");
    std::fs::copy(env!("CARGO_BIN_EXE_tollgate"), &program).expect("a copy");
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let files = ["events/2026-11.jsonl", "head.json", "lock"].map(|name| folder.path().join(name));
    files.iter().for_each(|file| mode(file, 0o444));
    mode(&program, 0o555);
    [&folder.path().join("events"), folder.path()].iter().for_each(|path| mode(path, 0o555));
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command
            .env_clear()
            .current_dir(folder.path())
            .args(["ledger", "--ledger"])
            .arg(folder.path())
            .args(words);
        if rustix::process::geteuid().is_root() {
            // Root may write what nobody may.
            command.uid(65_534);
        }
        let output = command.output().expect("it starts");
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&*folder.path().to_string_lossy(), "FOLDER")
        };
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["show"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("repo    total    $1.43  $0.50"), "{out}");
    let (code, _, err) = run(&["void", "d", "--reason", "it never began"]);
    assert_eq!(code, Some(6));
    assert_eq!(
        err,
        "error: the ledger cannot open `FOLDER/lock`: Permission denied (os error 13)\n\nhint: the ledger's folder must \
         belong to the user who runs tollgate\n"
    );
    [folder.path(), &folder.path().join("events")].iter().for_each(|path| mode(path, 0o755));
}

#[test]
fn verify_says_that_all_is_well_or_where_it_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let well = "7 events, chain intact, head equals fold\n4 holds, 1 live, $1.43 charged in all\n";
    assert_eq!(command(folder.path(), now, &["verify"]), (0, well.to_owned(), String::new()));
    let shard = folder.path().join("events/2026-11.jsonl");
    let text = std::fs::read_to_string(&shard).expect("a shard");
    std::fs::write(&shard, text.replacen("\"cap\":\"0.5\"", "\"cap\":\"0.6\"", 1)).expect("written");
    let (code, out, err) = command(folder.path(), now, &["verify"]);
    assert_eq!((code, out.as_str()), (6, ""));
    assert_eq!(
        err,
        "error: the ledger is damaged: FOLDER/events/2026-11.jsonl:1: the line does not match its own checksum: \
         it was changed after it was written\n\nhint: nothing was changed; put the folder back from a backup, or \
         move it away to start anew (its past spend then counts no more)\n"
    );
}

#[test]
fn void_gives_a_live_hold_up_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let void = |hold: &str| command(folder.path(), now, &["void", hold, "--reason", "it never began"]);
    assert_eq!(void("d"), (0, "voided d: $0.50 is free again\n".to_owned(), String::new()));
    let (code, _, err) = void("a");
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: hold `a` is settled, and cannot be voided\n\nhint: `adjust` corrects a closed hold\n"
    );
    let (code, _, err) = void("z");
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: the ledger has no hold `z`\n\nhint: `tollgate ledger show` lists the live ones\n"
    );
    let (code, _, err) = command(&folder.path().join("none"), now, &["verify"]);
    assert_eq!(code, 6);
    assert_eq!(
        err,
        "error: there is no ledger in `FOLDER`\n\nhint: `--ledger PATH` names another folder; the first run makes one\n"
    );
}
