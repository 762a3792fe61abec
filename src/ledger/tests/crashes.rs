//! The file store on the faulty disk: a script of events, and every way in which it can be cut off.
//!
//! At every change of the disk and every byte of every write, the process is killed or the power is cut, in
//! each way in which what was not synced may survive; and at every call, the disk fails or is full. The
//! clock is the script's, so an undisturbed ledger has exactly these bytes: whatever happens, the next start
//! must find a beginning of them, with all that was acknowledged, and must be able to go on to the same end.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use super::faulty::{Change, Content, Disk as Faulty, Fault, Record, Survives};
use super::invariants::{Fold, check_store};
use super::*;
use crate::ledger::Answer;
use crate::ledger::event;
use crate::ledger::store::{Disk, StoreError};

const FOLDER: &str = "/srv/ledger";

/// One thing that is asked of the ledger.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Reserve(&'static str, &'static str),
    Refuse(&'static str),
    Settle(&'static str, &'static str),
    Void(&'static str),
    Expire(&'static str),
    Adjust(&'static str, &'static str),
    Extend(&'static str, &'static str),
    Note(&'static str),
    Sweep,
}

use Ask::{Adjust, Expire, Extend, Note, Refuse, Reserve, Settle, Sweep, Void};

/// When, and what: 23 events, three of them in one write, in two months.
const SCRIPT: &[(&str, Ask)] = &[
    ("2026-11-30T20:00:00Z", Reserve("a", "2")),
    ("2026-11-30T20:01:00Z", Reserve("b", "2")),
    ("2026-11-30T20:02:00Z", Settle("a", "0.25")),
    ("2026-11-30T20:03:00Z", Void("b")),
    ("2026-11-30T20:04:00Z", Reserve("c", "1")),
    ("2026-11-30T20:05:00Z", Reserve("d", "1")),
    ("2026-11-30T20:06:00Z", Reserve("e", "1")),
    ("2026-11-30T22:00:00Z", Sweep),
    ("2026-11-30T22:01:00Z", Settle("c", "0.5")),
    ("2026-11-30T22:02:00Z", Adjust("d", "0.125")),
    ("2026-11-30T23:30:00Z", Reserve("f", "3")),
    ("2026-11-30T23:31:00Z", Refuse("g")),
    ("2026-11-30T23:32:00Z", Extend("f", "3.25")),
    ("2026-12-01T00:09:00Z", Note("bill/anthropic/2026-11-29")),
    ("2026-12-01T00:10:00Z", Settle("f", "3.5")),
    ("2026-12-01T00:11:00Z", Reserve("h", "1")),
    ("2026-12-01T00:12:00Z", Expire("h")),
    ("2026-12-01T00:13:00Z", Settle("h", "0.0625")),
    ("2026-12-01T00:14:00Z", Reserve("i", "1")),
    ("2026-12-01T00:15:00Z", Settle("i", "1")),
    ("2026-12-01T00:16:00Z", Reserve("j", "0.5")),
];

fn budget() -> Limit {
    limit("repo", always(), "20", Enforce::Hard)
}

fn bill() -> event::Note {
    event::Note::Bill(event::Bill {
        provider: "anthropic".to_owned(),
        day: "2026-11-29".to_owned(),
        billed: usd("1.5"),
        ledger: usd("1.25"),
        unproven: usd("0.5"),
        models: Vec::new(),
    })
}

/// A process that asks: its store, and the script's clock.
struct Process {
    hands: Hands,
    store: Store,
}

impl Process {
    fn start(disk: &Faulty) -> Result<Self, StoreError> {
        let hands = Hands::at(SCRIPT[0].0);
        let store = Store::open_on(Disk::Faulty(disk.clone()), Path::new(FOLDER), hands.options())?;
        Ok(Self { hands, store })
    }

    fn ask(&self, step: usize) -> Result<(), StoreError> {
        let (at, ask) = SCRIPT[step];
        self.hands.set(at);
        let store = &self.store;
        let request = |hold: &str, want: &str| request(hold, want, &[budget()], self.hands.now());
        match ask {
            Reserve(hold, want) => match store.reserve(&request(hold, want))? {
                Answer::Granted { .. } => Ok(()),
                Answer::Refused { by } => panic!("{hold} was refused by {by:?}"),
            },
            // On a ledger that has it, it is recorded once more only where it is not there yet.
            Refuse(key) | Note(key)
                if store.events(None)?.any(|event| event.is_ok_and(|event| event.hold == id(key))) =>
            {
                store.sweep().map(drop)
            }
            Refuse(hold) => {
                let balance = store.balances(&[budget()])?.remove(0);
                store.refuse(&Request { least: usd("50"), ..request(hold, "50") }, &balance)
            }
            Settle(hold, amount) => store.settle(&id(hold), &spend(amount)).map(drop),
            Void(hold) => store.void(&id(hold), "nothing was forwarded").map(drop),
            Expire(hold) => store.expire(&id(hold), None).map(drop),
            Adjust(hold, amount) => store.adjust(&id(hold), &spend(amount), "an invoice").map(drop),
            Extend(hold, to) => match store.extend(&id(hold), &format!("claim of {hold}"), usd(to))? {
                Answer::Granted { cap, .. } => {
                    assert_eq!(cap, usd(to));
                    Ok(())
                }
                Answer::Refused { by } => panic!("{hold} was not extended by {by:?}"),
            },
            Note(key) => store.note(&id(key), bill()),
            Sweep => store.sweep().map(drop),
        }
    }
}

/// The events on a disk, as text, the months one after the other.
fn events(content: &Content) -> Vec<u8> {
    let events = Path::new(FOLDER).join("events");
    let shards = content.paths().filter(|path| path.parent() == Some(&events));
    shards.flat_map(|path| content.file(path).unwrap_or_default().to_vec()).collect()
}

/// The undisturbed run: the disk as it was before each step and after the last, and the events by then.
struct Reference {
    disks: Vec<Faulty>,
    events: Vec<Vec<u8>>,
}

impl Reference {
    fn new() -> Self {
        let disk = Faulty::default();
        let mut reference = Self { disks: vec![disk.fork()], events: vec![Vec::new()] };
        let process = Process::start(&disk).expect("a ledger");
        for step in 0..SCRIPT.len() {
            process.ask(step).expect("an undisturbed step");
            check_store(&process.store, &[], None).expect("in order");
            disk.forget();
            reference.disks.push(disk.fork());
            reference.events.push(events(&disk.content()));
        }
        let lines = reference.events[SCRIPT.len()].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, 23, "events");
        reference
    }

    /// The head's next text, which is never read before it has its name.
    fn unread() -> PathBuf {
        Path::new(FOLDER).join("head.json.new")
    }

    /// A start on what a cut has left: all that was acknowledged before `step` is there and nothing but a
    /// beginning of the script is; `step` can be asked again, and the next one after it.
    fn recovers(&self, found: Content, step: usize, thorough: bool, what: &dyn Fn() -> String) {
        let disk = Faulty::with(found);
        let process = Process::start(&disk).unwrap_or_else(|error| panic!("{}: {error}", what()));
        let last = (step + 1 + usize::from(thorough)).min(SCRIPT.len());
        for step in step..last {
            process.ask(step).unwrap_or_else(|error| panic!("{}: step {step}: {error}", what()));
        }
        assert!(events(&disk.content()) == self.events[last], "{}: the events are others", what());
        if thorough {
            check_store(&process.store, &[], None).unwrap_or_else(|broken| panic!("{}: {broken}", what()));
            // What is acknowledged now must survive a power cut now.
            let record = disk.record();
            let cut = record.crash(record.changes.len(), 0, Survives::Nothing);
            assert!(events(&cut) == self.events[last], "{}: acknowledged, and lost in the next cut", what());
        }
    }
}

/// The disks that were looked at last: equal ones come close to one another, and comparing is cheap.
#[derive(Default)]
struct Recent {
    disks: VecDeque<Seen>,
    count: usize,
}

/// All that a program can see of a disk.
type Seen = Vec<(PathBuf, Option<Vec<u8>>)>;

impl Recent {
    fn is_new(&mut self, disk: Seen) -> bool {
        let new = !self.disks.contains(&disk);
        if new {
            self.count += 1;
            self.disks.push_front(disk);
            self.disks.truncate(16);
        }
        new
    }
}

/// How much of the write that is change number `count` may have been done: any number of bytes, but for a
/// file that is never read, where all are alike.
fn pieces(record: &Record, count: usize) -> Vec<usize> {
    match record.changes.get(count) {
        Some(Change::Write { file, bytes, .. }) if record.made(*file) == Some(&Reference::unread()) => {
            vec![0, 1, bytes.len() / 2, bytes.len() - 1]
        }
        Some(Change::Write { bytes, .. }) => (0..bytes.len()).collect(),
        _ => vec![0],
    }
}

#[test]
fn whatever_a_cut_leaves_the_next_start_finds_all_that_was_acknowledged() {
    let reference = Reference::new();
    let (mut cuts, mut states) = (0_u64, Recent::default());
    for step in 0..SCRIPT.len() {
        let disk = reference.disks[step].fork();
        let before = disk.record().changes.len();
        states.disks.clear();
        Process::start(&disk).and_then(|process| process.ask(step)).expect("an undisturbed step");
        let record = disk.record();
        for count in before..=record.changes.len() {
            for torn in pieces(&record, count) {
                for survives in Survives::ALL {
                    cuts += 1;
                    // Zeros differ from zeros in nothing but their number.
                    if survives == Survives::Lengths && torn % 16 > 1 {
                        continue;
                    }
                    let found = record.crash(count, torn, survives);
                    if !states.is_new(found.seen(&Reference::unread())) {
                        continue;
                    }
                    let what = || format!("step {step}, change {count}, byte {torn}, {survives:?}");
                    reference.recovers(found, step, torn % 32 == 0, &what);
                }
            }
        }
        assert!(!disk.was_read(&Reference::unread()));
    }
    println!("{cuts} cuts, {} different disks, nothing lost, nothing doubled", states.count);
}

#[test]
fn a_cut_while_recovering_from_a_cut_loses_nothing_either() {
    let reference = Reference::new();
    let mut seen = HashSet::new();
    for step in [0, 7, 8, 12, 13] {
        let disk = reference.disks[step].fork();
        let before = disk.record().changes.len();
        Process::start(&disk).and_then(|process| process.ask(step)).expect("an undisturbed step");
        let record = disk.record();
        for (count, survives) in
            (before..=record.changes.len()).flat_map(|count| Survives::ALL.map(|survives| (count, survives)))
        {
            let torn = match record.changes.get(count) {
                Some(Change::Write { bytes, .. }) => bytes.len() / 2,
                _ => 0,
            };
            let found = record.crash(count, torn, survives);
            let disk = Faulty::with(found);
            Process::start(&disk).and_then(|process| process.ask(step)).expect("a step that is asked again");
            let record = disk.record();
            for (count, survives) in
                (0..=record.changes.len()).flat_map(|count| Survives::ALL.map(|survives| (count, survives)))
            {
                let found = record.crash(count, 0, survives);
                if seen.insert((step, found.seen(&Reference::unread()))) {
                    let what = || format!("step {step}, again at change {count}, {survives:?}");
                    reference.recovers(found, step, true, &what);
                }
            }
        }
    }
    println!("{} different disks", seen.len());
}

/// Does `step` where call `call` fails, and says whether it was acknowledged. The same process writes no more
/// after a failed sync.
fn disturbed(disk: &Faulty, step: usize, call: usize, fault: Fault) -> bool {
    disk.fail(call, fault);
    let done = Process::start(disk).and_then(|process| {
        let done = process.ask(step);
        disk.heal();
        if let Err(StoreError::NotDurable { .. }) = &done {
            let changes = disk.record().changes.len();
            let again = process.ask(step).expect_err("a process that could not sync writes no more");
            assert!(matches!(again, StoreError::Poisoned), "{again}");
            assert_eq!(disk.record().changes.len(), changes, "nothing is retried");
        }
        done
    });
    disk.heal();
    done.is_ok()
}

#[test]
fn a_disk_that_fails_or_is_full_at_any_call_loses_nothing_that_was_acknowledged() {
    let reference = Reference::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = HashSet::new();
    for step in 0..SCRIPT.len() {
        let disk = reference.disks[step].fork();
        let before = disk.calls().len();
        let start = disk.record().changes.len();
        Process::start(&disk).and_then(|process| process.ask(step)).expect("an undisturbed step");
        let calls = disk.calls();
        let record = disk.record();
        let mut writes = (start..record.changes.len())
            .filter(|count| matches!(record.changes[*count], Change::Write { .. }));
        for (call, name) in calls.iter().enumerate().skip(before) {
            let write = if *name == "write" { writes.next() } else { None };
            let full = write.map_or(vec![0], |count| pieces(&record, count));
            let full = full.into_iter().map(|bytes| Fault::Full { bytes });
            for fault in std::iter::once(Fault::Broken).chain(full) {
                *counts.entry(name).or_default() += 1;
                let disk = reference.disks[step].fork();
                let acknowledged = disturbed(&disk, step, call, fault);
                let first = step + usize::from(acknowledged);
                let what = |how: &str| format!("step {step}, {name} (call {call}), {fault:?}, {how}");
                let record = disk.record();
                for survives in Survives::ALL {
                    let found = record.crash(record.changes.len(), 0, survives);
                    if seen.insert((first, found.seen(&Reference::unread()))) {
                        reference.recovers(found, first, fault == Fault::Broken, &|| {
                            what(&format!("then {survives:?}"))
                        });
                    }
                }
                // Another process goes on on the same machine, which never learns what a failed sync lost.
                let process = Process::start(&disk).expect("a ledger");
                process
                    .ask(first.min(SCRIPT.len() - 1))
                    .unwrap_or_else(|error| panic!("{}: {error}", what("again")));
                let record = disk.record();
                let cut = record.crash(record.changes.len(), 0, Survives::Nothing);
                let last = (first + 1).min(SCRIPT.len());
                assert!(events(&cut) == reference.events[last], "{}: lost", what("again"));
            }
        }
    }
    println!("{counts:?}");
    assert!(counts["write"] > 1_000 && counts["fsync"] >= 40, "{counts:?}");
}

#[test]
fn a_store_that_forgot_to_sync_would_be_found_out() {
    let reference = Reference::new();
    // The first events of both months make names.
    for (call, step) in [("fsync", 0), ("fsync", 3), ("fsync of a folder", 0), ("fsync of a folder", 13)] {
        let disk = reference.disks[step].fork();
        disk.lie(call);
        Process::start(&disk).and_then(|process| process.ask(step)).expect("it knows nothing");
        let record = disk.record();
        let cut = record.crash(record.changes.len(), 0, Survives::Nothing);
        assert!(events(&cut) != reference.events[step + 1], "{call} at step {step} is not missed");
    }
}

#[test]
fn the_checker_of_the_script_is_not_blind() {
    let reference = Reference::new();
    let text = String::from_utf8(reference.events[SCRIPT.len()].clone()).expect("text");
    let events: Vec<_> =
        text.lines().map(|line| event::decode(line.as_bytes()).expect("an event").event).collect();
    Fold::of(&events).expect("in order");
    let names = |events: &[event::Event]| Fold::of(events).expect_err("out of order").name;
    let mut gap = events.clone();
    gap.remove(3);
    assert_eq!(names(&gap), "I6");
    let mut twice = events.clone();
    twice[3].hold = twice[2].hold.clone();
    assert_eq!(names(&twice), "I3");
}
