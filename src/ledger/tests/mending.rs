//! The doctor on the faulty disk: wherever a repair is cut off, no byte of what was damaged is lost, and the repair
//! can be made again.

use std::collections::HashSet;
use std::io::SeekFrom;
use std::path::Path;

use super::faulty::{Change, Content, Disk as Faulty, Survives};
use super::invariants::check_store;
use super::*;
use crate::ledger::store::{Disk, Use};

const FOLDER: &str = "/srv/ledger";
/// Lines of the first month before the one that is damaged.
const KEPT: usize = 3;

fn store(disk: &Faulty, at: &str) -> Store {
    Store::open_on(Disk::Faulty(disk.clone()), Path::new(FOLDER), Hands::at(at).options()).expect("a ledger")
}

/// A ledger of two months, with a byte changed in the first.
fn damaged() -> Faulty {
    let disk = Faulty::default();
    let budget = [limit("repo", always(), "20", Enforce::Hard)];
    for (day, holds) in [("2026-11-30", ["a", "b", "c"]), ("2026-12-01", ["d", "e", "f"])] {
        let at = format!("{day}T12:00:00Z");
        let store = store(&disk, &at);
        for hold in holds {
            store.reserve(&request(hold, "1", &budget, time(&at))).expect("granted");
            store.settle(&id(hold), &spend("0.5")).expect("settled");
        }
    }
    let shard = Path::new(FOLDER).join("events/2026-11.jsonl");
    let text = disk.content().file(&shard).expect("a shard").to_vec();
    let at = text.split_inclusive(|byte| *byte == b'\n').take(KEPT).map(<[u8]>::len).sum::<usize>() + 50;
    let mut file = disk.open(&shard, Use::Write).expect("a shard");
    file.seek(SeekFrom::Start(at as u64)).expect("there");
    file.write(&[text[at] ^ 1]).expect("written");
    file.sync().expect("synced");
    Faulty::with(disk.content())
}

/// Every line of every shard, wherever it lies and can be found.
fn lines(content: &Content) -> HashSet<Vec<u8>> {
    let shards = content
        .paths()
        .filter(|path| content.is_reachable(path) && path.extension().is_some_and(|kind| kind == "jsonl"));
    let texts = shards.filter_map(|path| content.file(path));
    texts.flat_map(|text| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec)).collect()
}

/// Mends a disk, cuts that off at every change, and mends what is left; returns how many different ones were lost.
fn lost(lie: Option<&'static str>) -> (usize, usize) {
    let disk = damaged();
    let before = lines(&disk.content());
    if let Some(call) = lie {
        disk.lie(call);
    }
    let (found, _) = store(&disk, "2026-12-02T12:00:00Z").mend("kim").expect("mended");
    assert_eq!((found.kept, found.dropped), (KEPT as u64, 9));
    let record = disk.record();
    let (mut seen, mut lost) = (HashSet::new(), 0);
    for count in 0..=record.changes.len() {
        let torn = match record.changes.get(count) {
            Some(Change::Write { bytes, .. }) => vec![0, 1, bytes.len() / 2, bytes.len() - 1],
            _ => vec![0],
        };
        for (torn, survives) in
            torn.into_iter().flat_map(|torn| Survives::ALL.map(|survives| (torn, survives)))
        {
            let left = record.crash(count, torn, survives);
            if !seen.insert(left.clone()) {
                continue;
            }
            let what = format!("change {count}, byte {torn}, {survives:?}");
            if !before.is_subset(&lines(&left)) {
                assert!(lie.is_some(), "{what}: lost");
                lost += 1;
                continue;
            }
            let disk = Faulty::with(left);
            let store = store(&disk, "2026-12-03T12:00:00Z");
            store.mend("kim").unwrap_or_else(|error| panic!("{what}: {error}"));
            let fold = check_store(&store, &[], None).unwrap_or_else(|broken| panic!("{what}: {broken}"));
            assert_eq!(fold.holds.len(), 2, "{what}: `a` is settled, `b` is live again");
            assert!(before.is_subset(&lines(&disk.content())), "{what}: lost by the second repair");
        }
    }
    if lie.is_none() {
        let last = Faulty::with(record.crash(record.changes.len(), 0, Survives::Nothing));
        let fold = check_store(&store(&last, "2026-12-03T12:00:00Z"), &[], None);
        assert_eq!(fold.map(|fold| fold.notes.len()), Ok(1), "acknowledged, and lost in the next cut");
    }
    (seen.len(), lost)
}

#[test]
fn wherever_a_repair_is_cut_off_no_damaged_byte_is_lost_and_it_can_be_made_again() {
    let (disks, lost) = lost(None);
    println!("{disks} different disks");
    assert_eq!(lost, 0);
    assert!(disks > 30, "{disks}");
}

#[test]
fn a_doctor_that_forgot_to_sync_would_be_found_out() {
    for call in ["fsync", "fsync of a folder"] {
        assert!(lost(Some(call)).1 > 0, "{call} is not missed");
    }
}
