//! The speed of a ledger: one reserve and one settle on a history of any length, and many starts at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tollgate::id::HoldId;
use tollgate::ledger::store::git::{Credentials, GitPlace};
use tollgate::ledger::store::{Options, Store};
use tollgate::ledger::{About, Answer, Enforce, Limit, Request, Spend, Window};
use tollgate::money::Usd;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A run's request, as the budgets that are built in have it, on a pull request that nothing was spent on.
fn request(store: &Store, name: &str) -> Request {
    let always = Window { start: jiff::Timestamp::UNIX_EPOCH, end: None };
    let lately = Window { start: store.now() - SignedDuration::from_hours(1), end: None };
    let limit = |purse: &str, window: Window| Limit {
        purse: purse.to_owned(),
        per: "total".to_owned(),
        window,
        usd: Usd::from_dollars(1_000_000),
        enforce: Enforce::Hard,
    };
    let pr = format!("pr:{name}");
    Request {
        hold: HoldId::from_text(name),
        claim: name.to_owned(),
        want: Usd::from_dollars(1),
        least: Usd::from_dollars(1),
        limits: vec![limit("repo", always), limit(&pr, lately)],
        purses: vec![pr, "repo".to_owned(), "task:review".to_owned()],
        expires: store.now() + SignedDuration::from_hours(1),
        about: About { task: "review".to_owned(), ..About::default() },
        lift: None,
    }
}

/// A run: it lets go of the branch before its agent starts, as every run does, and reads it again after.
fn pair(store: &Store, name: &str) -> Outcome<Duration> {
    let request = request(store, name);
    store.rest();
    let started = Instant::now();
    match store.reserve(&request)? {
        Answer::Granted { .. } => {}
        Answer::Refused { by } => return Err(format!("refused by {}", by.limit.purse).into()),
    }
    store.rest();
    store.settle(&request.hold, &Spend { usd: Usd::from_pico(1), ..Spend::default() })?;
    Ok(started.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn unique(number: usize) -> String {
    format!("bench-{}-{number}", std::process::id())
}

/// Prints for each ledger the median of some pairs of reserve and settle, in microseconds. The ledgers take turns,
/// and begin the rounds in turn, so that whatever is slow for a while is slow for all of them.
pub(crate) fn steps(stores: &[Store], rounds: usize) -> Outcome<()> {
    // The first one makes a head where there is none, and drops what an import has left at the tip.
    stores.iter().try_for_each(|store| pair(store, &unique(rounds)).map(drop))?;
    let mut times = vec![Vec::with_capacity(rounds); stores.len()];
    for round in 0..rounds {
        for turn in 0..stores.len() {
            let which = (round + turn) % stores.len();
            times[which].push(pair(&stores[which], &unique(round))?);
        }
    }
    for times in times {
        writeln!(std::io::stdout(), "{}", median(times).as_micros())?;
    }
    Ok(())
}

/// Lets so many runs start and end at once, each with a store of its own; prints the milliseconds until the
/// last one has ended, the median and the longest.
pub(crate) fn burst(open: impl Fn() -> Outcome<Store> + Sync, starts: usize) -> Outcome<()> {
    let started = Instant::now();
    let times: Result<Vec<Duration>, String> = std::thread::scope(|scope| {
        let run = |number: usize| {
            let open = &open;
            move || {
                let started = Instant::now();
                let store = open().map_err(|error| error.to_string())?;
                pair(&store, &unique(number)).map_err(|error| error.to_string())?;
                Ok(started.elapsed())
            }
        };
        let runs: Vec<_> = (0..starts).map(|number| scope.spawn(run(number))).collect();
        runs.into_iter().map(|run| run.join().map_err(|_| "a run panicked".to_owned())?).collect()
    });
    let times = times?;
    let longest = times.iter().max().copied().unwrap_or_default();
    let whole = started.elapsed().as_millis();
    writeln!(std::io::stdout(), "{whole} {} {}", median(times).as_millis(), longest.as_millis())?;
    Ok(())
}

/// A ledger in files.
pub(crate) fn files(folder: &Path) -> Outcome<Store> {
    Ok(Store::open(folder, Options::default())?)
}

/// A ledger on the branch of a bare repository, which is made where it is missing.
pub(crate) fn branch(remote: &Path) -> Outcome<Store> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let git = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file());
    let git: PathBuf = git.ok_or("git is not on PATH")?;
    if !remote.exists() {
        std::process::Command::new(&git).args(["init", "--quiet", "--bare"]).arg(remote).status()?;
    }
    let url = format!("file://{}", remote.display());
    let env = [("PATH".into(), path)].into();
    let mut place = GitPlace::new(git, &url, "ledger", Credentials::Own, &env);
    place.scratch = std::env::temp_dir();
    Ok(Store::open_git(place, Options::default()))
}

/// Brings the events of a ledger in files into another one.
pub(crate) fn copy(from: &Path, to: &Store) -> Outcome<()> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(from.join("events"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    names.sort_unstable();
    type Lines = Box<dyn Iterator<Item = std::io::Result<String>>>;
    let lines = names.into_iter().flat_map(|path| -> Lines {
        match std::fs::File::open(path) {
            Ok(file) => Box::new(std::io::BufRead::lines(std::io::BufReader::new(file))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    to.import(lines)?;
    Ok(())
}
