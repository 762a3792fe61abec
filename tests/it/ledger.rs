//! The ledger from outside: the command. Real processes that are killed: `src/ledger/tests/kills.rs`.

use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use tollgate::commands::ledger::{self, Args};
use tollgate::id::HoldId;
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{About, Enforce, Limit, Request, Spend, Window};
use tollgate::money::Usd;

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

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The command's exit code, output and messages, on the ledger's folder.
pub(crate) fn command(folder: &Path, now: Timestamp, words: &[&str]) -> (u8, String, String) {
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
pub(crate) fn filled(folder: &Path) -> Timestamp {
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
         let `tollgate ledger doctor` say what can be kept\n"
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
