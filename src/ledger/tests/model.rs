//! The file store and the book against a model that knows nothing of either: a list of runs.

use proptest::prelude::*;

use super::*;
use crate::ledger::Answer;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Reserve { pr: u8, want: u32, again: bool },
    Settle { run: prop::sample::Index, spent: u32 },
    Void { run: prop::sample::Index },
    Expire { run: prop::sample::Index, evidence: Option<u32> },
    Adjust { run: prop::sample::Index, spent: u32 },
    Sweep,
    Wait { seconds: i64 },
    LoseHead,
}

fn step() -> impl Strategy<Value = Step> {
    let run = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8, 1..40_u32, any::<bool>()).prop_map(|(pr, want, again)| Step::Reserve { pr, want, again }),
        4 => (run(), 0..45_u32).prop_map(|(run, spent)| Step::Settle { run, spent }),
        1 => run().prop_map(|run| Step::Void { run }),
        1 => (run(), prop::option::of(0..30_u32)).prop_map(|(run, evidence)| Step::Expire { run, evidence }),
        1 => (run(), 0..45_u32).prop_map(|(run, spent)| Step::Adjust { run, spent }),
        1 => Just(Step::Sweep),
        2 => (1..4_000_i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::LoseHead),
    ]
}

/// A run, as the model sees it: cents, and instants in seconds.
#[derive(Clone, Debug)]
struct Run {
    pr: u8,
    reserved: Timestamp,
    expires: Timestamp,
    cap: u32,
    charged: Option<u32>,
    voided: bool,
    expired: bool,
    adjusted: bool,
    /// It is charged without evidence.
    unproven: bool,
}

fn cents(count: u32) -> Usd {
    Usd::from_pico(i128::from(count) * 10_000_000_000)
}

fn exactly(count: u32) -> Spend {
    Spend { usd: cents(count), ..Spend::default() }
}

const REPO: u32 = 200;
const DAY: u32 = 120;
const PR: u32 = 70;

struct World {
    folder: tempfile::TempDir,
    hands: Hands,
    store: Store,
    runs: Vec<Run>,
}

impl World {
    fn day(&self) -> Window {
        let day = 86_400;
        let start = self.hands.now().as_second() / day * day;
        let instant = |second| Timestamp::from_second(second).expect("a time");
        Window { start: instant(start), end: Some(instant(start + day)) }
    }

    /// The limits of a run now, each with what the model says is taken and whether that is all settled.
    fn limits(&self, pr: u8) -> Vec<(Limit, u32, u32)> {
        let named = |purse: &str, window: Window, most: u32| {
            let limit = Limit { usd: cents(most), ..limit(purse, window, "0", Enforce::Hard) };
            let counted = |run: &&Run| {
                window.contains(run.reserved) && (purse == "repo" || purse == format!("pr:{}", run.pr))
            };
            let settled = self.runs.iter().filter(counted).filter_map(|run| run.charged).sum();
            let open = self.runs.iter().filter(counted).filter(|run| run.charged.is_none());
            (limit, settled, open.map(|run| run.cap).sum())
        };
        vec![
            named("repo", november(), REPO),
            named("repo", self.day(), DAY),
            named(&format!("pr:{pr}"), always(), PR),
        ]
    }

    fn take(&mut self, step: &Step) {
        let name = |place: usize| id(&format!("run-{place}"));
        match step {
            Step::Reserve { pr, want, again } => self.reserve(*pr, *want, *again),
            Step::Wait { seconds } => self.hands.advance(*seconds),
            Step::LoseHead => drop(std::fs::remove_file(self.folder.path().join("head.json"))),
            Step::Sweep => {
                let now = self.hands.now();
                let over =
                    |run: &Run| run.charged.is_none() && now.duration_since(run.expires).as_secs() > 60;
                let expected = self.runs.iter().filter(|run| over(run)).count();
                assert_eq!(self.store.sweep().expect("swept").len(), expected);
                for run in self.runs.iter_mut().filter(|run| over(run)) {
                    run.charged = Some(run.cap);
                    run.expired = true;
                    run.unproven = true;
                }
            }
            _ if self.runs.is_empty() => {}
            Step::Settle { run, spent } => self.settle(run.index(self.runs.len()), *spent),
            Step::Void { run } => {
                let place = run.index(self.runs.len());
                let result = self.store.void(&name(place), "nothing was forwarded");
                let run = &mut self.runs[place];
                assert_eq!(result.is_ok(), run.charged.is_none() || run.voided);
                if run.charged.is_none() {
                    run.charged = Some(0);
                    run.voided = true;
                }
            }
            Step::Expire { run, evidence } => {
                let place = run.index(self.runs.len());
                let spent = *evidence;
                let evidence = evidence.map(exactly);
                let result = self.store.expire(&name(place), evidence.as_ref());
                let run = &mut self.runs[place];
                assert_eq!(result.is_ok(), run.charged.is_none() || run.expired);
                if run.charged.is_none() {
                    run.charged = Some(spent.unwrap_or(run.cap));
                    run.unproven = spent.is_none();
                    run.expired = true;
                }
            }
            Step::Adjust { run, spent } => {
                let place = run.index(self.runs.len());
                let result = self.store.adjust(&name(place), &exactly(*spent), "an invoice");
                let run = &mut self.runs[place];
                assert_eq!(result.is_ok(), run.charged.is_some());
                if let Some(charged) = &mut run.charged {
                    run.adjusted |= *charged != *spent || run.unproven;
                    run.unproven = false;
                    *charged = *spent;
                }
            }
        }
    }

    fn settle(&mut self, place: usize, spent: u32) {
        let result = self.store.settle(&id(&format!("run-{place}")), &exactly(spent));
        let run = &mut self.runs[place];
        let late = (run.expired || run.voided) && !run.adjusted;
        match (run.charged, late) {
            (None, _) => {
                assert_eq!(result.expect("settled").overrun, spent > run.cap);
                run.charged = Some(spent);
            }
            (Some(charged), true) => {
                result.expect("adjusted");
                run.adjusted |= charged != spent || run.unproven;
                run.unproven = false;
                run.charged = Some(spent);
            }
            (Some(charged), false) => assert_eq!(result.is_ok(), charged == spent),
        }
    }

    fn reserve(&mut self, pr: u8, want: u32, again: bool) {
        let limits = self.limits(pr);
        let left = |(limit, settled, held): &(Limit, u32, u32)| {
            limit.usd.minus_or_zero(cents(settled + held)).min(cents(want))
        };
        let expected = limits.iter().map(left).min().expect("limits");
        let only: Vec<Limit> = limits.iter().map(|(limit, _, _)| limit.clone()).collect();
        let now = self.hands.now();
        let mut asked = request(&format!("run-{}", self.runs.len()), "1", &only, now);
        asked.want = cents(want);
        asked.least = cents(1);
        let answer = self.store.reserve(&asked).expect("an answer");
        match answer {
            Answer::Refused { .. } => assert!(expected < cents(1)),
            Answer::Granted { cap, .. } => {
                assert_eq!(cap, expected);
                if again {
                    assert_eq!(self.store.reserve(&asked).expect("an answer"), answer);
                }
                let cap = u32::try_from(cap.pico() / 10_000_000_000).expect("a cap");
                let (reserved, expires) = (now, asked.expires);
                self.runs.push(Run {
                    pr,
                    reserved,
                    expires,
                    cap,
                    charged: None,
                    voided: false,
                    expired: false,
                    adjusted: false,
                    unproven: false,
                });
            }
        }
    }

    /// I1 to I4 against the model, I5 to I7 by reading everything.
    fn check(&self) {
        for pr in 0..3 {
            for (limit, settled, held) in self.limits(pr) {
                let balance = &self.store.balances(std::slice::from_ref(&limit)).expect("a balance")[0];
                assert_eq!((balance.settled, balance.held), (cents(settled), cents(held)), "{}", limit.purse);
            }
        }
        let verified = self.store.verify().expect("a ledger in order");
        assert!(verified.head.is_ok() || !self.folder.path().join("head.json").exists());
        assert_eq!(verified.holds, self.runs.len() as u64);
        assert_eq!(verified.live, self.runs.iter().filter(|run| run.charged.is_none()).count() as u64);
        let charged: u32 = self.runs.iter().filter_map(|run| run.charged).sum();
        assert_eq!(verified.charged, cents(charged));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_history_agrees_with_the_model(steps in prop::collection::vec(step(), 1..24)) {
        let folder = quick_folder();
        let hands = Hands::at("2026-11-23T22:00:00Z");
        let store = open(folder.path(), &hands);
        let mut world = World { folder, hands, store, runs: Vec::new() };
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}
