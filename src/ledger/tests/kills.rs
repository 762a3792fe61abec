//! Real processes at one ledger, killed at any moment: a thousand in the test run, ten thousand in the
//! nightly.
//!
//! A process puts a note on record, reserves, extends, settles, and says what it was told. It is killed after so many answers and a
//! random moment more; the next one first charges what the dead one held. A disk without power is the
//! matter of `crashes`: a kill leaves the kernel alive.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::invariants::{Run, check_store};
use super::*;
use crate::ledger::Answer;
use crate::ledger::event::{Bill, Note};
use crate::ledger::hold::Phase;

/// Set in a process that works for the test: the ledger's folder, its budget, the process's own name, and
/// what the names of the dead before it begin with.
const WORK: &str = "TOLLGATE_TEST_LEDGER_KILLS";
/// Kills of one ledger: fewer than the holds that may be live.
const KILLS: u32 = 50;
/// Processes at one ledger at the same time.
const AT_ONCE: u32 = 2;
/// What a run wants, what it wants then, and what it spends.
const CAP: &str = "0.03";
const MORE: &str = "0.04";
const SPENT: &str = "0.01";

fn budget(amount: &str) -> Limit {
    limit("repo", always(), amount, Enforce::Hard)
}

fn bill() -> Note {
    Note::Bill(Bill {
        provider: "anthropic".to_owned(),
        day: "2026-11-23".to_owned(),
        billed: usd(SPENT),
        ledger: usd(SPENT),
        unproven: usd("0"),
        models: Vec::new(),
    })
}

/// Not a test: what the processes do that the test starts.
#[test]
fn worker() {
    let Ok(work) = std::env::var(WORK) else { return };
    let [folder, most, name, dead] = work.split('|').collect::<Vec<_>>()[..] else { panic!("four parts") };
    let store = Store::open(Path::new(folder), Options::default()).expect("a ledger");
    for hold in store.holds().expect("a ledger") {
        let key = hold.id.as_str();
        if key.starts_with(dead) && !key.starts_with(&format!("{name}/")) {
            store.expire(&hold.id, None).expect("charged");
        }
    }
    let key = id(&format!("bill/{name}"));
    store.note(&key, bill()).expect("recorded");
    println!("\nnoted {key}");
    for number in 0.. {
        let hold = format!("{name}/{number}");
        let request = Request { least: usd(CAP), ..request(&hold, CAP, &[budget(most)], store.now()) };
        match store.reserve(&request).expect("an answer") {
            Answer::Granted { .. } => {
                println!("\nreserved {hold}");
                let more = store.extend(&request.hold, &request.claim, usd(MORE)).expect("an answer");
                if let Answer::Granted { cap, .. } = more {
                    assert_eq!(cap, usd(MORE));
                    println!("\nextended {hold}");
                }
                store.settle(&request.hold, &spend(SPENT)).expect("a settlement");
                println!("\nsettled {hold}");
            }
            Answer::Refused { .. } => println!("\nrefused {hold}"),
        }
    }
}

fn start(folder: &Path, most: &str, name: &str, dead: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["ledger::tests::kills::worker", "--exact", "--nocapture"]);
    command.env(WORK, format!("{}|{most}|{name}|{dead}", folder.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process")
}

/// Small random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Starts a process and kills it after a few answers and a moment more; returns what it was told.
fn killed(mut child: Child, answers: u64, more: Duration) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    let pipe = BufReader::new(child.stdout.take().expect("a pipe"));
    let reader = std::thread::spawn(move || {
        let lines = pipe.lines().map_while(Result::ok);
        let words = ["noted ", "reserved ", "extended ", "settled ", "refused "];
        let said = lines.filter(|line| words.iter().any(|word| line.starts_with(word)));
        said.for_each(|line| drop(tell.send(line)));
    });
    let mut said: Vec<String> = told.iter().take(usize::try_from(answers).expect("few")).collect();
    let until = Instant::now() + more;
    while let Ok(line) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        said.push(line);
    }
    child.kill().expect("killed");
    let status = child.wait().expect("ended");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "it ended by itself: {said:?}"
    );
    reader.join().expect("read to the end");
    said.extend(told.try_iter());
    said
}

/// What came of the processes at one ledger.
#[derive(Debug, Default)]
struct Count {
    kills: u32,
    acknowledged: usize,
    refused: usize,
    extended: usize,
    noted: usize,
    orphans: usize,
}

/// Kills processes at a new ledger; then everything they were told is in it, once, and nothing is over.
fn one_ledger(seed: u32) -> Count {
    let folder = quick_folder();
    let path = folder.path().join("ledger");
    let most = ["0.4", "2", "100"][seed as usize % 3];
    let started = AtomicU32::new(0);
    let slots: Vec<Vec<String>> = std::thread::scope(|scope| {
        let slot = |slot: u32| {
            let (path, started) = (&path, &started);
            move || {
                let mut dice = Dice(u64::from(seed * 100 + slot));
                let mut said = Vec::new();
                while started.fetch_add(1, Ordering::SeqCst) < KILLS {
                    let name = format!("s{slot}-{}", said.len());
                    let child = start(path, most, &name, &format!("s{slot}-"));
                    let more = Duration::from_micros(dice.below(2_500));
                    said.push(killed(child, dice.below(7), more));
                }
                said.concat()
            }
        };
        let slots: Vec<_> = (0..AT_ONCE).map(|number| scope.spawn(slot(number))).collect();
        slots.into_iter().map(|slot| slot.join().expect("a slot")).collect()
    });
    let store = Store::open(&path, Options::default()).expect("a ledger");
    let said: Vec<&String> = slots.iter().flatten().collect();
    let mut runs: BTreeMap<&str, Run> = BTreeMap::new();
    let (mut refused, mut extended, mut notes) = (0, 0, Vec::new());
    for line in &said {
        let (what, hold) = line.split_once(' ').expect("two words");
        if what == "noted" {
            notes.push(id(hold));
            continue;
        }
        let run = runs.entry(hold).or_default();
        run.holds = vec![id(hold)];
        match what {
            "reserved" => {
                run.granted = usd(CAP);
                run.allowance = usd(CAP);
                run.spent = usd(SPENT);
            }
            "extended" => {
                run.granted = usd(MORE);
                run.allowance = usd(MORE);
                extended += 1;
            }
            "settled" => run.settled = true,
            _ => {
                run.refused = true;
                refused += 1;
            }
        }
    }
    // Whatever was done and never told counts as the hold of a run that is dead.
    let dead = Run { dead: true, ..Run::default() };
    let truths: Vec<Run> = runs.values().cloned().chain([dead]).collect();
    let fold = check_store(&store, &truths, None).unwrap_or_else(|broken| panic!("ledger {seed}: {broken}"));
    for note in &notes {
        assert_eq!(fold.notes.get(note), Some(&1), "ledger {seed}: {note} was acknowledged");
    }
    assert!(fold.notes.values().all(|count| *count == 1), "ledger {seed}: {:?}", fold.notes);
    for run in runs.values() {
        match fold.holds.get(&run.holds[0]) {
            None => assert!(run.refused, "ledger {seed}: {:?} was acknowledged and is lost", run.holds),
            Some(hold) if run.settled => assert_eq!((hold.phase, hold.charged), (Phase::Settled, usd(SPENT))),
            Some(_) => assert!(!run.refused, "ledger {seed}: {:?} was refused and is held", run.holds),
        }
    }
    assert!(fold.taken(&budget(most)) <= usd(most), "ledger {seed}: over its budget");
    let orphans = fold.holds.values().filter(|hold| hold.phase == Phase::Expired).count();
    Count { kills: KILLS, acknowledged: said.len() - refused, refused, extended, noted: notes.len(), orphans }
}

#[test]
fn processes_that_are_killed_lose_nothing_double_nothing_and_pass_no_budget() {
    let ledgers = if long() { 200 } else { 20 };
    let next = AtomicU32::new(0);
    let work = || {
        let mut counts = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= ledgers {
                return counts;
            }
            counts.push(one_ledger(seed));
        }
    };
    let counts: Vec<Count> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    let kills: u32 = counts.iter().map(|count| count.kills).sum();
    let acknowledged: usize = counts.iter().map(|count| count.acknowledged).sum();
    let refused: usize = counts.iter().map(|count| count.refused).sum();
    let orphans: usize = counts.iter().map(|count| count.orphans).sum();
    let extended: usize = counts.iter().map(|count| count.extended).sum();
    let noted: usize = counts.iter().map(|count| count.noted).sum();
    println!(
        "{kills} processes killed at {ledgers} ledgers: {acknowledged} steps acknowledged and found, {extended} \
         of them extensions and {noted} notes, {refused} refused, {orphans} holds of the dead charged; 0 lost, 0 doubled, 0 over a budget"
    );
    assert_eq!(kills, ledgers * KILLS);
    assert!(acknowledged > 500 && refused > 20 && orphans > 50, "there was something to lose");
    assert!(extended > 50 && noted > 200, "there was something to lose");
}
