//! A ledger of so many runs, written line by line: what `scripts/bench` lets `tollgate report` read, and what
//! it measures ledgers on.
//!
//! ```text
//! bench-ledger FOLDER RUNS              writes it
//! bench-ledger steps file FOLDER…       the median of a reserve and a settle on each
//! bench-ledger steps git FOLDER…        the same on branches, into FOLDER.git of which each is copied first
//! bench-ledger burst git REMOTE STARTS  many starts at once
//! ```

mod steps;

use std::fs::{File, create_dir_all};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use tollgate::id::HoldId;
use tollgate::ledger::commit::shard_of;
use tollgate::ledger::event::{Event, Kind, LineHash, Origin, Reserve, Settle, encode};
use tollgate::ledger::{About, Enforce, Limit, ModelSpend, Spend, Window};
use tollgate::money::Usd;
use tollgate::tokens::Counts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["steps", "file", ref folders @ ..] => {
            let stores: Result<Vec<_>, _> =
                folders.iter().map(|folder| steps::files(folder.as_ref())).collect();
            steps::steps(&stores?, 100)
        }
        ["steps", "git", ref folders @ ..] => {
            let stores: Result<Vec<_>, Box<dyn std::error::Error>> = folders
                .iter()
                .map(|folder| {
                    let store = steps::branch(format!("{folder}.git").as_ref())?;
                    steps::copy(folder.as_ref(), &store)?;
                    Ok(store)
                })
                .collect();
            steps::steps(&stores?, 40)
        }
        ["burst", "git", remote, starts] => {
            steps::branch(remote.as_ref())?;
            steps::burst(|| steps::branch(remote.as_ref()), starts.parse()?)
        }
        _ => write(),
    }
}

fn write() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("bench-ledger FOLDER RUNS")?).join("events");
    let runs: u32 =
        args.next().and_then(|runs| runs.to_str()?.parse().ok()).ok_or("bench-ledger FOLDER RUNS")?;
    create_dir_all(&folder)?;
    let mut chain = Chain { folder, seq: 0, prev: LineHash::genesis(), open: None };
    let now = Timestamp::now();
    let step = SignedDuration::from_hours(24 * 90) / runs.max(1).cast_signed();
    for number in 0..runs {
        let at = now - step * (runs - number).cast_signed();
        let (reserve, of) = reserve(number, at);
        let hold = HoldId::from_text(&format!(
            "github.com/123456789/{}/1/agent/{number:016x}",
            9_000_000_000_u64 + u64::from(number)
        ));
        chain.write(at, &hold, Kind::Reserve(reserve))?;
        chain.write(at + SignedDuration::from_millis(1), &hold, Kind::Settle(settle(number, of)))?;
    }
    chain.open.map_or(Ok(()), |(_, mut file)| file.flush())?;
    Ok(())
}

struct Chain {
    folder: PathBuf,
    seq: u64,
    prev: LineHash,
    open: Option<(String, BufWriter<File>)>,
}

impl Chain {
    fn write(&mut self, at: Timestamp, hold: &HoldId, kind: Kind) -> Result<(), Box<dyn std::error::Error>> {
        self.seq += 1;
        let event = Event { seq: self.seq, at, hold: hold.clone(), kind };
        let line = encode(&event, &self.prev).map_err(|error| error.to_string())?;
        self.prev = LineHash::of(line.as_bytes());
        let shard = shard_of(at);
        if self.open.as_ref().is_none_or(|(name, _)| *name != shard) {
            let file = BufWriter::new(File::create(self.folder.join(&shard))?);
            if let Some((_, mut before)) = self.open.replace((shard, file)) {
                before.flush()?;
            }
        }
        if let Some((_, file)) = &mut self.open {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }
}

fn reserve(number: u32, at: Timestamp) -> (Reserve, Origin) {
    let (actor, pr) = (format!("person-{}", number % 40), u64::from(number / 5));
    let purses = ["repo".to_owned(), format!("actor:{actor}"), format!("pr:{pr}"), "task:review".to_owned()];
    let window = Window { start: Timestamp::UNIX_EPOCH, end: None };
    let limit = |purse: &String| Limit {
        purse: purse.clone(),
        per: "total".to_owned(),
        window,
        usd: Usd::from_dollars(1_000_000),
        enforce: Enforce::Hard,
    };
    let about = About {
        task: "review".to_owned(),
        tier: "medium".to_owned(),
        model: "claude-sonnet-5-5".to_owned(),
        actor,
        pr: Some(pr),
        workflow: Some(".github/workflows/agent.yml".to_owned()),
        stakes: "medium".to_owned(),
        budget: None,
    };
    let of = Origin { reserved: at, purses: purses.to_vec() };
    let reserve = Reserve {
        want: Usd::from_dollars(1),
        least: Usd::ZERO,
        cap: Usd::from_dollars(1),
        cut_by: None,
        expires: at + SignedDuration::from_hours(1),
        claim: format!("{number:032x}"),
        limits: purses.iter().take(3).map(limit).collect(),
        purses: purses.to_vec(),
        about,
        lift: None,
    };
    (reserve, of)
}

fn settle(number: u32, of: Origin) -> Settle {
    let usd = Usd::from_pico(i128::from(number % 100 + 1) * 3_141_592_653);
    let tokens = Counts {
        input: 10_000,
        cache_read: 90_000,
        cache_write_5m: 2_000,
        output: 1_500,
        ..Counts::default()
    };
    let models = vec![ModelSpend {
        model: "claude-sonnet-5-5".to_owned(),
        usd,
        requests: 4,
        tokens,
        notional: Usd::ZERO,
    }];
    Settle {
        spend: Spend { usd, models, ..Spend::default() },
        overrun: false,
        of,
        outcome: Some("completed".to_owned()),
    }
}
