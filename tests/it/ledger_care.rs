//! What people do to a ledger: correct it, move it, mend it.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::id::HoldId;
use tollgate::ledger::event::{Kind, Note};
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{ModelSpend, Spend};
use tollgate::money::Usd;
use tollgate::tokens::Counts;

use crate::ledger::{budget, cents, command, filled, request, spend};
use crate::support::{Tollgate, git};

#[test]
fn a_correction_is_on_a_persons_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let adjust = |hold: &str, usd: &str| {
        let words = ["adjust", "--hold", hold, "--usd", usd, "--reason", "the invoice", "--by", "kim"];
        command(folder.path(), now, &words)
    };
    assert_eq!(adjust("c", "0.125"), (0, "adjusted c: $0.13 instead of $0.50\n".to_owned(), String::new()));
    let (code, _, err) = adjust("d", "0.125");
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: hold `d` is held, and cannot be adjusted\n\nhint: settle it, or give it up with `tollgate ledger void`\n"
    );
    let (code, _, err) = adjust("z", "0.125");
    assert_eq!(
        (code, err.as_str()),
        (2, "error: the ledger has no hold `z`\n\nhint: `tollgate ledger show` lists the live ones\n")
    );
    let store = Store::open(folder.path(), Options::default()).expect("a ledger");
    let last = store.events(None).expect("events").last().expect("an event").expect("an event");
    let Kind::Adjust(body) = last.kind else { panic!("an adjustment: {last:?}") };
    assert_eq!(body.evidence, "kim: the invoice");
    assert_eq!(body.delta, "-0.375".parse().expect("an amount"));
    assert_eq!(store.verify().expect("in order").head, Ok(()));
}

#[test]
fn a_correction_keeps_who_used_what_and_what_a_subscription_paid() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let store =
        Store::open(folder.path(), Options { clock: Clock::from_fn(move || now), ..Options::default() })
            .expect("a ledger");
    let used = |model: &str, usd: u32, notional: u32| ModelSpend {
        model: model.to_owned(),
        usd: cents(usd),
        requests: 3,
        tokens: Counts { input: 1_000, output: 200, ..Counts::default() },
        notional: cents(notional),
    };
    let two = vec![used("claude-opus-5", 20, 7), used("claude-haiku-4-5", 10, 0)];
    let one = vec![used("claude-haiku-4-5", 30, 0)];
    for (hold, models, notional) in
        [("fits", &two, 7), ("split", &two, 7), ("alone", &one, 0), ("back", &two, 7)]
    {
        let spent =
            Spend { usd: cents(30), estimated: cents(4), models: models.clone(), notional: cents(notional) };
        store.reserve(&request(hold, 50, budget(1000), now)).expect("an answer");
        store.settle(&HoldId::from_text(hold), &spent).expect("settled");
    }
    let adjust = |hold: &str, usd: &str| {
        let words = ["adjust", "--hold", hold, "--usd", usd, "--reason", "the invoice", "--by", "kim"];
        assert_eq!(command(folder.path(), now, &words).0, 0, "{hold}");
    };
    adjust("fits", "0.36");
    adjust("split", "0.24");
    adjust("alone", "0.12");
    adjust("back", "0.24");
    adjust("back", "0.3");
    let mut unnamed = cents(0);
    for (hold, usd, models, notional) in [
        ("fits", 36, two, 7),
        ("split", 24, vec![used("claude-opus-5", 0, 7), used("claude-haiku-4-5", 0, 0)], 7),
        ("alone", 12, vec![used("claude-haiku-4-5", 12, 0)], 0),
        ("back", 30, vec![used("claude-opus-5", 0, 7), used("claude-haiku-4-5", 0, 0)], 7),
    ] {
        let found = store.hold(&HoldId::from_text(hold)).expect("read").expect(hold).spend;
        unnamed = models.iter().fold(unnamed + cents(usd), |left, used| left - used.usd);
        let expected = Spend { usd: cents(usd), estimated: cents(0), models, notional: cents(notional) };
        assert_eq!(found, expected, "{hold}");
    }
    let verified = store.verify().expect("in order");
    assert_eq!((verified.head, verified.charged), (Ok(()), cents(143 + 36 + 24 + 12 + 30)));
    // What no model accounts for is told as that, so that the models' rows come to the same sum.
    let (code, lines, err) = command(folder.path(), now, &["export"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (mut named, mut all) = (cents(0), cents(0));
    for line in lines.lines() {
        let run: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let usd =
            |value: &serde_json::Value| value.as_str().expect("an amount").parse::<Usd>().expect("an amount");
        all += usd(&run["usd"]);
        named =
            run["models"].as_array().expect("a list").iter().fold(named, |sum, used| sum + usd(&used["usd"]));
    }
    assert_eq!((all, all - named), (verified.charged, unnamed + cents(143)));
}

/// The files of a folder below it, with their contents.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names
        .into_iter()
        .map(|path| {
            (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("read"))
        })
        .collect()
}

#[test]
fn a_damaged_ledger_is_mended_on_a_persons_word_and_nothing_is_thrown_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let shard = folder.path().join("events/2026-11.jsonl");
    let whole = fs::read_to_string(&shard).expect("a shard");
    // The sixth event: `b` was settled at 62 cents.
    let damaged = whole.replacen("\"usd\":\"0.62\"", "\"usd\":\"0.02\"", 1);
    assert_ne!(whole, damaged);
    fs::write(&shard, &damaged).expect("written");
    let before = files(&folder.path().join("events"));

    let (code, out, err) = command(folder.path(), now, &["doctor"]);
    assert_eq!(code, 6);
    insta::assert_snapshot!(out, @r"
    the ledger is damaged: FOLDER/events/2026-11.jsonl:6: the line does not match its own checksum: it was changed after it was written
    can be kept: events 1 to 5
    would be lost: 2 lines, 643 bytes; those that can be read say:
      event 7 at 2026-11-23T12:00:00.000000006Z: expire c, $0.50 charged
    ");
    assert_eq!(
        err,
        "error: the ledger is damaged\n\nhint: put it back from a backup if there is one; else `tollgate ledger \
         doctor --yes` keeps what can be kept\n"
    );
    assert_eq!(files(&folder.path().join("events")), before, "looking changes nothing");

    let (code, out, err) = command(folder.path(), now, &["doctor", "--yes", "--by", "kim"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let last = out.lines().last().expect("a line");
    assert_eq!(
        last,
        "mended on the word of kim, and recorded; the damaged files are in FOLDER/damaged-20261123T120000Z"
    );
    let kept = fs::read(folder.path().join("damaged-20261123T120000Z/2026-11.jsonl")).expect("kept");
    assert_eq!(kept, damaged.as_bytes());
    let mended = fs::read_to_string(&shard).expect("a shard");
    let five: String = whole.lines().take(5).flat_map(|line| [line, "\n"]).collect();
    assert!(mended.starts_with(&five), "what was in order is there as it was");

    let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
    let store = Store::open(folder.path(), options).expect("a ledger");
    let verified = store.verify().expect("in order");
    assert_eq!((verified.events, verified.live, verified.head), (6, 3, Ok(())));
    let last = store.events(None).expect("events").last().expect("an event").expect("an event");
    let Kind::Note(Note::Repair(repair)) = last.kind else { panic!("a repair: {last:?}") };
    assert_eq!((repair.kept, repair.dropped, repair.by.as_str()), (5, 2, "kim"));
    // What was dropped can be said again, by whoever knows.
    store.settle(&HoldId::from_text("b"), &spend(62)).expect("settled");
    let (code, out, _) = command(folder.path(), now, &["doctor"]);
    assert_eq!((code, out.as_str()), (0, "nothing is damaged: 7 events are in order\n"));
}

#[test]
fn every_place_of_damage_leaves_a_beginning_that_is_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(folder.path());
    let shard = folder.path().join("events/2026-11.jsonl");
    let whole = fs::read(&shard).expect("a shard");
    let head = fs::read(folder.path().join("head.json")).expect("a head");
    let lines_before = |at: usize| whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
    for at in (0..whole.len() - 1).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x01;
        fs::write(&shard, &damaged).expect("written");
        fs::write(folder.path().join("head.json"), &head).expect("written");
        let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
        let store = Store::open(folder.path(), options).expect("a ledger");
        let findings = store.examine().expect("looked at");
        assert!(findings.damage.is_some(), "byte {at}");
        assert_eq!(findings.kept, lines_before(at), "byte {at}");
        let (mended, aside) = store.mend("kim").expect("mended");
        assert_eq!(mended.kept, findings.kept);
        assert_eq!(store.verify().expect("in order").events, findings.kept + 1, "byte {at}");
        fs::remove_dir_all(aside.expect("a folder")).expect("removed");
    }
    // Whole lines are gone, and only the head knows of them.
    let cut = whole.len() - 200;
    let cut = whole[..cut].iter().rposition(|byte| *byte == b'\n').expect("lines") + 1;
    fs::write(&shard, &whole[..cut]).expect("written");
    fs::write(folder.path().join("head.json"), &head).expect("written");
    let (code, out, _) = command(folder.path(), now, &["doctor"]);
    assert_eq!(code, 6);
    assert!(out.contains("the file ends here, and the head says that it went on"), "{out}");
    let (code, _, err) = command(folder.path(), now, &["doctor", "--yes", "--by", "kim"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(command(folder.path(), now, &["verify"]).0, 0);
}

#[test]
fn a_ledger_moves_to_a_branch_and_back_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(&folder.path().join("old"));
    let mut world = Tollgate::in_repository(&[(".github/tollgate.yml", "version: 1\nledger: git\n")]);
    let remote = world.home().join("remote.git");
    git(&world.home(), &["init", "--quiet", "--bare", "remote.git"]);
    git(&world.work(), &["remote", "add", "origin", &format!("file://{}", remote.display())]);

    let old = folder.path().join("old");
    let lines = world.args(["ledger", "export", "--format", "events", "--ledger"]).args([&old]).run();
    lines.expect_code(0);
    assert_eq!(lines.stdout.as_bytes(), fs::read(old.join("events/2026-11.jsonl")).expect("a shard"));
    let imported = world.args(["ledger", "import", "-"]).stdin(&lines.stdout).run();
    imported.expect_code(0);
    assert_eq!(imported.stdout, "7 events imported, chain intact\n4 holds, 1 live, $1.43 charged in all\n");
    let verified = world.args(["ledger", "verify"]).run();
    verified.expect_code(0);
    let again = world.args(["ledger", "import", "-"]).stdin(&lines.stdout).run();
    assert_eq!(
        again.stdout.lines().next(),
        Some("0 events imported, chain intact"),
        "an import that was done is done"
    );

    let back = world.args(["ledger", "export", "--format", "events"]).run();
    assert_eq!(back.stdout, lines.stdout);
    let new = folder.path().join("new");
    let first: String = lines.stdout.lines().take(3).flat_map(|line| [line, "\n"]).collect();
    let words = |world: &mut Tollgate| {
        world.args(["ledger", "import", "-", "--ledger"]).args([&new]);
    };
    words(&mut world);
    world.stdin(&first).run().expect_code(0);
    words(&mut world);
    let rest = world.stdin(&lines.stdout).run();
    assert_eq!(
        rest.stdout.lines().next(),
        Some("4 events imported, chain intact"),
        "it goes on where it was cut off"
    );
    assert_eq!(
        fs::read(new.join("events/2026-11.jsonl")).expect("a shard"),
        fs::read(old.join("events/2026-11.jsonl")).expect("a shard")
    );
    // The holds that were live are, and the budget is what it was.
    let store = Store::open(&new, Options::default()).expect("a ledger");
    let balance = store.balances(&[budget(1000)]).expect("a balance").remove(0);
    assert_eq!((balance.settled, balance.held), (cents(143), cents(50)));

    for (text, expected) in [
        (
            lines.stdout.replacen("\"cap\":\"0.5\"", "\"cap\":\"0.6\"", 1),
            "error: line 1 cannot be imported: the line does not match its own checksum: it was changed after it \
             was written\n",
        ),
        (
            lines.stdout.lines().skip(1).flat_map(|line| [line, "\n"]).collect(),
            "error: line 1 cannot be imported: the line does not follow the line before it: one of the two was \
             changed\n\nhint: export with `tollgate ledger export --format events`, without `--since`\n",
        ),
        (
            first.clone(),
            "error: the ledger has 7 events already, and they are not the first of those that come\n\nhint: import \
             into an empty ledger; nothing was changed\n",
        ),
    ] {
        words(&mut world);
        let refused = world.stdin(&text).run();
        assert_eq!((refused.code, refused.stderr.as_str()), (Some(2), expected));
    }
}

#[test]
fn whoever_asks_must_be_known() {
    let mut world = Tollgate::new();
    let words = ["ledger", "adjust", "--hold", "a", "--usd", "1", "--reason", "x"];
    let run = world.args(words).run();
    assert_eq!(run.code, Some(2));
    assert_eq!(
        run.stderr,
        "error: nobody is known to run this\n\nhint: say who with `--by NAME`: it is recorded\n"
    );
    let known = world.env("GITHUB_ACTOR", "kim").args(words).run();
    assert_eq!(known.code, Some(6), "there is no ledger, which is said next: {}", known.stderr);
}

#[test]
fn an_import_that_somebody_disturbs_stops() {
    // Somebody writes between two stretches: the import stops, and what it has written stands.
    let folder = tempfile::tempdir().expect("a folder");
    let now = filled(&folder.path().join("old"));
    let old = Store::open(&folder.path().join("old"), Options::default()).expect("a ledger");
    let mut events = old.events(None).expect("events");
    let mut lines = Vec::new();
    while let Some(line) = events.next_line() {
        lines.push(line.expect("a line"));
    }
    let clock = Clock::from_fn(move || now);
    let new =
        Store::open(&folder.path().join("new"), Options { clock, ..Options::default() }).expect("a ledger");
    let other = new.clone();
    let stream = lines.into_iter().enumerate().map(|(number, line)| {
        if number == 5 {
            other.reserve(&request("x", 1, budget(1000), now)).expect("an answer");
        }
        Ok(line)
    });
    let error = new.import(stream).expect_err("disturbed").to_string();
    assert_eq!(
        error,
        "somebody else wrote to the ledger during the import\n\nhint: stop what writes to it, empty it, and import again"
    );
    assert_eq!(new.verify().expect("in order").events, 1);
}
