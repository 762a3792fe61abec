//! Every store against a reference that knows nothing of any: a list of runs, with cents and seconds.
//!
//! `proptest-state-machine` makes the histories and shortens what fails. After every step the balances are
//! those of the reference, and all invariants hold. A new store is a new [`Kind`] and one line in
//! `on_every_store`.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::database::Tables;
use super::files::Bench;
use super::invariants::{Run as Truth, check_store};
use super::*;
use crate::ledger::Answer;
use crate::ledger::event::{Bill, Note};
use crate::ledger::store::StoreError;

/// A kind of store.
pub(crate) trait Kind: Clone + fmt::Debug + Send + Sync + 'static {
    /// How much longer than its skew a lease is waited for, in seconds.
    const UNSURE: i64;
    /// Histories in the test run; the nightly's are forty times as many.
    const CASES: u32;

    /// What all histories of a test share; nothing where the store cannot be had, which is said loudly.
    fn shared() -> Option<Box<dyn Any>> {
        Some(Box::new(()))
    }

    /// An empty ledger.
    fn bench() -> Bench;
}

#[derive(Clone, Debug)]
struct Files;

impl Kind for Files {
    const UNSURE: i64 = 0;
    const CASES: u32 = 16;

    fn bench() -> Bench {
        Bench::new()
    }
}

#[derive(Clone, Debug)]
struct Branch;

impl Kind for Branch {
    // A branch on a disk tells no time.
    const UNSURE: i64 = 9 * 60;
    const CASES: u32 = 2;

    fn bench() -> Bench {
        Bench::git()
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        pr: u8,
        want: u32,
        again: bool,
    },
    Settle {
        run: usize,
        spent: u32,
    },
    Void {
        run: usize,
    },
    Expire {
        run: usize,
        evidence: Option<u32>,
    },
    Adjust {
        run: usize,
        spent: u32,
        bound: bool,
    },
    /// As it is found by who has seen the whole hold charged, whenever that was.
    Correct {
        run: usize,
        spent: u32,
    },
    Extend {
        run: usize,
        to: u32,
        other: bool,
        again: bool,
    },
    Note,
    Sweep,
    Wait {
        seconds: i64,
    },
    LoseHead,
}

/// A run, as the reference sees it: cents, and instants in seconds.
#[derive(Clone, Debug)]
struct Run {
    pr: u8,
    reserved: i64,
    expires: i64,
    cap: u32,
    charged: Option<u32>,
    voided: bool,
    expired: bool,
    adjusted: bool,
    /// So much of what it is charged is a bound.
    estimated: u32,
}

/// What the last step must have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Done(bool),
    Granted(u32),
    Refused,
    /// It is not held, or not by who asks.
    Denied,
    Swept(usize),
}

#[derive(Debug)]
struct Reference<K> {
    now: i64,
    runs: Vec<Run>,
    expected: Expected,
    swept: Option<i64>,
    notes: u64,
    kind: PhantomData<K>,
}

impl<K> Clone for Reference<K> {
    fn clone(&self) -> Self {
        let Self { now, runs, expected, swept, notes, kind } = self;
        let (runs, expected) = (runs.clone(), expected.clone());
        Self { now: *now, runs, expected, swept: *swept, notes: *notes, kind: *kind }
    }
}

fn cents(count: u32) -> Usd {
    Usd::from_pico(i128::from(count) * 10_000_000_000)
}

fn exactly(count: u32) -> Spend {
    Spend { usd: cents(count), ..Spend::default() }
}

fn at_most(count: u32) -> Spend {
    Spend { estimated: cents(count), ..exactly(count) }
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

const BEGIN: &str = "2026-11-23T22:00:00Z";
const REPO: u32 = 200;
const DAY: u32 = 120;
const PR: u32 = 70;
const LEASE: i64 = 3_600;

impl<K> Reference<K> {
    /// The limits of a run now, each with what is settled and held on it.
    fn limits(&self, pr: u8) -> Vec<(Limit, u32, u32)> {
        self.limits_at(pr, self.now)
    }

    /// The limits of a run that was granted then, as they stand now.
    fn limits_at(&self, pr: u8, at: i64) -> Vec<(Limit, u32, u32)> {
        let day = at / 86_400 * 86_400;
        let day = Window { start: instant(day), end: Some(instant(day + 86_400)) };
        let named = |purse: &str, window: Window, most: u32| {
            let limit = Limit { usd: cents(most), ..limit(purse, window, "0", Enforce::Hard) };
            let counted = |run: &&Run| {
                window.contains(instant(run.reserved))
                    && (purse == "repo" || purse == format!("pr:{}", run.pr))
            };
            let settled = self.runs.iter().filter(counted).filter_map(|run| run.charged).sum();
            let open = self.runs.iter().filter(counted).filter(|run| run.charged.is_none());
            (limit, settled, open.map(|run| run.cap).sum())
        };
        vec![
            named("repo", november(), REPO),
            named("repo", day, DAY),
            named(&format!("pr:{pr}"), always(), PR),
        ]
    }

    /// What all limits of a run that was granted then leave.
    fn left(&self, pr: u8, at: i64) -> u32 {
        let left = |(limit, settled, held): &(Limit, u32, u32)| {
            let most = u32::try_from(limit.usd.pico() / 10_000_000_000).expect("cents");
            most.saturating_sub(settled + held)
        };
        self.limits_at(pr, at).iter().map(left).min().unwrap_or(0)
    }

    fn extend(&mut self, place: usize, to: u32, other: bool) {
        let run = &self.runs[place];
        let left = self.left(run.pr, run.reserved);
        self.expected = match run.cap {
            _ if run.charged.is_some() || other => Expected::Denied,
            cap if to <= cap => Expected::Granted(cap),
            _ if left == 0 => Expected::Refused,
            cap => Expected::Granted(to.min(cap + left)),
        };
        if let Expected::Granted(cap) = self.expected {
            self.runs[place].cap = cap;
        }
    }

    fn reserve(&mut self, pr: u8, want: u32) {
        let cap = self.left(pr, self.now).min(want);
        if cap < 1 {
            self.expected = Expected::Refused;
            return;
        }
        self.expected = Expected::Granted(cap);
        self.runs.push(Run {
            pr,
            reserved: self.now,
            expires: self.now + LEASE,
            cap,
            charged: None,
            voided: false,
            expired: false,
            adjusted: false,
            estimated: 0,
        });
    }

    fn sweep(&mut self, unsure: i64) {
        let now = self.now;
        let over = |run: &&mut Run| run.charged.is_none() && now - unsure - run.expires > 60;
        let mut count = 0;
        for run in self.runs.iter_mut().filter(over) {
            count += 1;
            run.charged = Some(run.cap);
            run.expired = true;
            run.estimated = run.cap;
        }
        self.expected = Expected::Swept(count);
        self.swept = Some(now - unsure);
    }
}

impl Run {
    /// Whether it can be settled at this.
    fn settle(&mut self, spent: u32) -> bool {
        let bound = self.charged == Some(self.estimated) && self.estimated > 0;
        let late = ((self.expired || self.voided) && !self.adjusted) || (self.expired && bound);
        match self.charged {
            None => {
                self.charged = Some(spent);
                true
            }
            Some(_) if late => self.adjust(spent, 0),
            Some(charged) => (charged, self.estimated) == (spent, 0),
        }
    }

    fn void(&mut self) -> bool {
        if self.charged.is_none() {
            self.charged = Some(0);
            self.voided = true;
        }
        self.voided
    }

    fn expire(&mut self, evidence: Option<u32>) -> bool {
        if self.charged.is_none() {
            self.charged = Some(evidence.unwrap_or(self.cap));
            self.estimated = if evidence.is_none() { self.cap } else { 0 };
            self.expired = true;
        }
        self.expired
    }

    /// Only what nobody has settled or corrected, or what is there already.
    fn correct(&mut self, spent: u32) -> bool {
        let there = self.charged == Some(spent) && self.estimated == spent;
        let whole = self.charged == Some(self.cap) && self.estimated == self.cap;
        (there || (self.expired && !self.adjusted && whole)) && self.adjust(spent, spent)
    }

    fn adjust(&mut self, spent: u32, estimated: u32) -> bool {
        let Some(charged) = self.charged else { return false };
        self.adjusted |= (charged, self.estimated) != (spent, estimated);
        self.charged = Some(spent);
        self.estimated = estimated;
        true
    }
}

impl<K: Kind> ReferenceStateMachine for Reference<K> {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let now = time(BEGIN).as_second();
        let (expected, kind) = (Expected::Done(true), PhantomData);
        Just(Self { now, runs: Vec::new(), expected, swept: None, notes: 0, kind }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let reserve = (0..3_u8, 1..40_u32, any::<bool>()).prop_map(|(pr, want, again)| Step::Reserve {
            pr,
            want,
            again,
        });
        if state.runs.is_empty() {
            return reserve.boxed();
        }
        let run = || 0..state.runs.len();
        prop_oneof![
            6 => reserve,
            4 => (run(), 0..45_u32).prop_map(|(run, spent)| Step::Settle { run, spent }),
            1 => run().prop_map(|run| Step::Void { run }),
            1 => (run(), prop::option::of(0..30_u32)).prop_map(|(run, evidence)| Step::Expire { run, evidence }),
            2 => (run(), 0..45_u32, any::<bool>()).prop_map(|(run, spent, bound)| Step::Adjust { run, spent, bound }),
            2 => (run(), 0..45_u32).prop_map(|(run, spent)| Step::Correct { run, spent }),
            3 => (run(), 1..80_u32, prop::bool::weighted(0.1), any::<bool>())
                .prop_map(|(run, to, other, again)| Step::Extend { run, to, other, again }),
            1 => Just(Step::Note),
            1 => Just(Step::Sweep),
            2 => (1..4_000_i64).prop_map(|seconds| Step::Wait { seconds }),
            1 => Just(Step::LoseHead),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.expected = Expected::Done(true);
        match step {
            Step::Reserve { pr, want, .. } => state.reserve(*pr, *want),
            Step::Wait { seconds } => state.now += seconds,
            Step::Sweep => state.sweep(K::UNSURE),
            Step::Settle { run, spent } => state.expected = Expected::Done(state.runs[*run].settle(*spent)),
            Step::Void { run } => state.expected = Expected::Done(state.runs[*run].void()),
            Step::Expire { run, evidence } => {
                state.expected = Expected::Done(state.runs[*run].expire(*evidence));
            }
            Step::Adjust { run, spent, bound } => {
                let estimated = if *bound { *spent } else { 0 };
                state.expected = Expected::Done(state.runs[*run].adjust(*spent, estimated));
            }
            Step::Correct { run, spent } => {
                state.expected = Expected::Done(state.runs[*run].correct(*spent));
            }
            Step::Extend { run, to, other, .. } => state.extend(*run, *to, *other),
            Step::Note => state.notes += 1,
            Step::LoseHead => {}
        }
        state
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Settle { run, .. }
            | Step::Void { run }
            | Step::Expire { run, .. }
            | Step::Adjust { run, .. }
            | Step::Correct { run, .. }
            | Step::Extend { run, .. } => *run < state.runs.len(),
            Step::Reserve { .. } | Step::Note | Step::Sweep | Step::Wait { .. } | Step::LoseHead => true,
        }
    }
}

fn name(place: usize) -> HoldId {
    id(&format!("run-{place}"))
}

fn done<T>(result: Result<T, StoreError>) -> Expected {
    Expected::Done(result.is_ok())
}

fn answered(answer: &Answer) -> Expected {
    match answer {
        Answer::Refused { .. } => Expected::Refused,
        Answer::Granted { cap, .. } => {
            Expected::Granted(u32::try_from(cap.pico() / 10_000_000_000).expect("a cap"))
        }
    }
}

/// What an extension comes to; where it was granted, no more is to be had by asking once more.
fn extended(store: &Store, run: usize, to: u32, other: bool, again: bool) -> Expected {
    let claim = if other { "somebody else".to_owned() } else { format!("claim of run-{run}") };
    let ask = || match store.extend(&name(run), &claim, cents(to)) {
        Ok(answer) => answered(&answer),
        Err(error) => {
            assert!(matches!(error, StoreError::Refused(_)), "{error}");
            Expected::Denied
        }
    };
    let answer = ask();
    if again {
        match (&answer, ask()) {
            // It was cut, so that there is no more.
            (Expected::Granted(had), Expected::Refused) => assert!(*had < to, "{had} of {to}"),
            (first, second) => assert_eq!(*first, second),
        }
    }
    answer
}

fn bill() -> Note {
    Note::Bill(Bill {
        provider: "anthropic".to_owned(),
        day: "2026-11-23".to_owned(),
        billed: cents(30),
        ledger: cents(20),
        unproven: cents(10),
        models: Vec::new(),
    })
}

/// A store that takes the same steps.
struct Machine<K>(PhantomData<K>);

impl<K: Kind> StateMachineTest for Machine<K> {
    type SystemUnderTest = Bench;
    type Reference = Reference<K>;

    fn init_test(_: &Reference<K>) -> Bench {
        let bench = K::bench();
        bench.hands.set(BEGIN);
        bench
    }

    fn apply(bench: Bench, reference: &Reference<K>, step: Step) -> Bench {
        let store = &bench.store;
        let happened = match step {
            Step::Reserve { pr, want, again } => {
                let limits: Vec<Limit> = reference.limits(pr).into_iter().map(|(limit, ..)| limit).collect();
                // The reference has it already, where it was granted.
                let granted = matches!(reference.expected, Expected::Granted(_));
                let name = format!("run-{}", reference.runs.len() - usize::from(granted));
                let mut asked = request(&name, "1", &limits, bench.hands.now());
                asked.want = cents(want);
                asked.least = cents(1);
                asked.expires = instant(reference.now + LEASE);
                let answer = store.reserve(&asked).expect("an answer");
                if again {
                    assert_eq!(store.reserve(&asked).expect("an answer"), answer);
                }
                answered(&answer)
            }
            Step::Extend { run, to, other, again } => extended(store, run, to, other, again),
            Step::Note => done(store.note(&id("bill/anthropic/2026-11-23"), bill())),
            Step::Wait { seconds } => {
                bench.hands.advance(seconds);
                Expected::Done(true)
            }
            Step::LoseHead => {
                let _ = std::fs::remove_file(bench.path("head.json"));
                store.rest();
                Expected::Done(true)
            }
            Step::Sweep => Expected::Swept(store.sweep().expect("swept").len()),
            Step::Settle { run, spent } => {
                let settled = store.settle(&name(run), &exactly(spent));
                if let Ok(settlement) = &settled {
                    assert_eq!(settlement.overrun, spent > reference.runs[run].cap);
                }
                done(settled)
            }
            Step::Void { run } => done(store.void(&name(run), "nothing was forwarded")),
            Step::Expire { run, evidence } => done(store.expire(&name(run), evidence.map(exactly).as_ref())),
            Step::Adjust { run, spent, bound: true } => {
                done(store.adjust(&name(run), &at_most(spent), "a bill"))
            }
            Step::Adjust { run, spent, bound: false } => {
                done(store.adjust(&name(run), &exactly(spent), "an invoice"))
            }
            Step::Correct { run, spent } => {
                let seen = at_most(reference.runs[run].cap);
                done(store.correct(&name(run), &seen, &at_most(spent), "a bill"))
            }
        };
        assert_eq!(happened, reference.expected);
        bench
    }

    fn check_invariants(bench: &Bench, reference: &Reference<K>) {
        for pr in 0..3 {
            let limits = reference.limits(pr);
            let only: Vec<Limit> = limits.iter().map(|(limit, ..)| limit.clone()).collect();
            let balances = bench.store.balances(&only).expect("balances");
            for (balance, (limit, settled, held)) in balances.iter().zip(&limits) {
                let expected = (cents(*settled), cents(*held));
                assert_eq!((balance.settled, balance.held), expected, "{}", limit.purse);
            }
        }
        let truths = reference.runs.iter().enumerate().map(|(place, run)| {
            let spent = cents(run.charged.unwrap_or(0));
            Truth {
                holds: vec![name(place)],
                granted: cents(run.cap),
                allowance: cents(run.cap),
                spent,
                settled: run.charged.is_some(),
                ..Truth::default()
            }
        });
        let truths: Vec<Truth> = truths.collect();
        let fold = check_store(&bench.store, &truths, reference.swept.map(instant));
        let fold = fold.unwrap_or_else(|broken| panic!("{broken}"));
        let notes: u64 = fold.notes.values().sum();
        assert_eq!((fold.holds.len(), notes), (reference.runs.len(), reference.notes));
    }
}

macro_rules! on_every_store {
    ($($test:ident: $kind:ty),* $(,)?) => {
        $(#[test]
        fn $test() {
            let Some(_shared) = <$kind>::shared() else { return };
            let cases = <$kind>::CASES * if long() { 40 } else { 1 };
            let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
            let histories = Reference::<$kind>::sequential_strategy(1..24);
            proptest!(config, |((reference, steps, seen) in histories)| {
                Machine::<$kind>::test_sequential(Config::default(), reference, steps, seen);
            });
        })*
    };
}

on_every_store! {
    every_history_in_files_agrees_with_the_reference: Files,
    every_history_on_a_branch_agrees_with_the_reference: Branch,
    every_history_in_a_database_agrees_with_the_reference: Tables,
}
