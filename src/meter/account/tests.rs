use proptest::prelude::*;

use super::*;
use crate::money::Rate;
use crate::money::Usd;

/// $1 per million tokens in, $5 out; every token is new.
fn ask(input: u64, output: u64) -> Ask {
    Ask {
        worst: Worst {
            fixed: Spend { usd: Rate::from_pico_per_token(1_000_000) * input, fresh: input },
            usd_per_output: Rate::from_pico_per_token(5_000_000),
            fresh_per_output: 1,
        },
        input: Input::Final,
        output_asked: output,
        output_min: 1,
        thread: Thread::Main,
        note: Some(Spend::ZERO),
    }
}

fn spend(input: u64, output: u64) -> Spend {
    ask(input, 0).worst.at(output)
}

fn account(usd: &str) -> Account {
    let usd = usd.parse().expect("an amount");
    Account::new(Allowance { usd, fresh_tokens: None }, Some(80), true)
}

fn sent(decision: Decision) -> (RequestId, u64, Option<Note>) {
    match decision {
        Decision::Send { id, output, note, .. } => (id, output, note),
        other => panic!("not sent: {other:?}"),
    }
}

fn answered(input: u64, output: u64) -> Outcome {
    Outcome::Answered { spend: spend(input, output), output }
}

#[test]
fn a_request_that_fits_leaves_as_it_came() {
    let mut account = account("1");
    let (id, output, note) = sent(account.admit(ask(1_000, 8_000)));
    assert_eq!((output, note), (8_000, None));
    assert_eq!(account.held(), spend(1_000, 8_000));
    let closed = account.close(id, answered(900, 20));
    assert_eq!(closed.charged, Some(spend(900, 20)));
    assert_eq!((account.held(), account.settled()), (Spend::ZERO, spend(900, 20)));
}

#[test]
fn a_bound_by_size_that_does_not_fit_is_counted_first() {
    let mut account = account("0.05");
    let sized = Ask { input: Input::Sized, ..ask(60_000, 1_000) };
    assert_eq!(account.admit(sized), Decision::Count);
    let counted = Ask { input: Input::Counted { sized: sized.worst.fixed }, ..ask(15_000, 1_000) };
    sent(account.admit(counted));
}

#[test]
fn who_does_not_fit_waits_for_what_is_in_flight_and_nobody_overtakes() {
    let mut account = account("0.1");
    let (first, ..) = sent(account.admit(ask(1_000, 10_000)));
    let Decision::Wait(second) = account.admit(ask(1_000, 10_000)) else { panic!("waits") };
    let Decision::Wait(third) = account.admit(ask(10, 10)) else { panic!("waits behind the second") };
    let closed = account.close(first, answered(1_000, 100));
    let order: Vec<Ticket> = closed.woken.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(order, [second, third]);
    assert!(closed.woken.iter().all(|(_, decision)| matches!(decision, Decision::Send { .. })));
}

#[test]
fn who_leaves_the_queue_lets_the_next_one_go() {
    let mut account = account("0.1");
    sent(account.admit(ask(1_000, 10_000)));
    let Decision::Wait(second) = account.admit(ask(1_000, 10_000)) else { panic!("waits") };
    let Decision::Wait(third) = account.admit(ask(10, 10)) else { panic!("waits behind the second") };
    let woken = account.leave(second);
    assert_eq!(woken.len(), 1);
    assert_eq!(woken[0].0, third);
}

#[test]
fn an_output_cap_is_lowered_to_twice_the_largest_answer_at_least() {
    // Beside the input, $0.1 buys 19,800 tokens of output; 32,000 were asked for.
    let mut account = account("0.1");
    let (id, output, _) = sent(account.admit(ask(1_000, 32_000)));
    assert_eq!(output, 19_800);
    account.close(id, answered(1_000, 1_000));
    let (id, output, _) = sent(account.admit(ask(1_000, 32_000)));
    assert_eq!(output, 18_600);
    account.close(id, answered(1_000, 14_000));
    // $0.018 is left, which is less than one answer such as this run has seen.
    assert_eq!(account.admit(ask(1_000, 32_000)), Decision::Stop(Reason::Dollars));
    assert_eq!(account.phase(), Phase::Stopped);
}

/// Runs one client in a loop until it is stopped: the share of the cap it used in hundredths of a
/// percent, and the notes it got.
fn loop_until_stopped(account: &mut Account, next: impl Fn(u64) -> (Ask, Outcome)) -> (i128, Vec<Note>) {
    let mut notes = Vec::new();
    for round in 0..10_000 {
        let (ask, outcome) = next(round);
        match account.admit(ask) {
            Decision::Send { id, note, .. } => {
                notes.extend(note);
                let closed = account.close(id, outcome);
                assert_eq!(closed.overrun, None);
            }
            Decision::Stop(reason) => {
                assert_eq!(reason, Reason::Dollars);
                assert_eq!(account.held(), Spend::ZERO);
                let share = account.settled().usd.pico() * 10_000 / account.allowance().usd.pico();
                return (share, notes);
            }
            other => panic!("a lone client neither waits nor counts here: {other:?}"),
        }
    }
    panic!("never stopped");
}

#[test]
fn a_loop_uses_nearly_all_of_the_cap_and_is_told_in_time() {
    let landing = vec![Note::Steer, Note::LastCall];
    for (what, input, asked, output) in [
        ("tight output", 1_000, 300, 300),
        ("a long output cap and short answers", 1_000, 32_000, 300),
        ("mostly input", 2_400, 32_000, 20),
        ("mostly output", 50, 32_000, 490),
    ] {
        let mut account = account("0.1");
        let (share, notes) =
            loop_until_stopped(&mut account, |_| (ask(input, asked), answered(input, output)));
        assert!(share >= 9_500, "{what}: {share}");
        assert_eq!(notes, landing, "{what}");
    }
}

#[test]
fn a_large_cached_context_leaves_one_worst_case_unused_and_not_two() {
    // 150,000 tokens of context: $0.1875 if they are written to the cache, $0.015 when read from it.
    let worst = Worst { fixed: spend(187_500, 0), ..ask(0, 0).worst };
    let request = Ask { worst, output_asked: 32_000, ..ask(0, 0) };
    let mut account = account("2");
    let (share, notes) = loop_until_stopped(&mut account, |_| (request, answered(15_000, 500)));
    assert!(share >= 8_900, "{share}");
    assert_eq!(notes, [Note::Steer, Note::LastCall]);
}

#[test]
fn new_tokens_cap_on_their_own() {
    let allowance = Allowance { usd: Usd::from_dollars(100), fresh_tokens: Some(100_000) };
    let mut account = Account::new(allowance, Some(80), true);
    for _ in 0..200 {
        match account.admit(ask(2_000, 8_000)) {
            Decision::Send { id, .. } => {
                account.close(id, answered(2_000, 500));
            }
            other => {
                assert_eq!(other, Decision::Stop(Reason::Tokens));
                break;
            }
        }
    }
    assert!((95_000..=100_000).contains(&account.settled().fresh), "{:?}", account.settled());
}

#[test]
fn a_sub_agent_leaves_the_landing_reserve_alone() {
    let mut account = account("0.05");
    let (id, ..) = sent(account.admit(ask(20_000, 1_000)));
    account.close(id, answered(20_000, 900));
    let side = Ask { thread: Thread::Side, ..ask(1_000, 1_000) };
    assert_eq!(account.admit(side), Decision::Stop(Reason::Dollars));
    assert_eq!(account.phase(), Phase::Open, "the main thread goes on");
    let (_, _, note) = sent(account.admit(ask(20_000, 1_000)));
    assert_eq!(note, Some(Note::LastCall));
}

#[test]
fn a_forced_shape_is_neither_steered_nor_called_last() {
    let mut account = account("0.01");
    let forced = Ask { note: None, ..ask(1_000, 500) };
    let mut sends = 0;
    while let Decision::Send { id, note, .. } = account.admit(forced) {
        assert_eq!(note, None);
        account.close(id, answered(1_000, 500));
        sends += 1;
    }
    assert_eq!(sends, 2);
    assert_eq!(account.phase(), Phase::Stopped);
}

#[test]
fn a_request_larger_than_the_cap_stops_only_itself() {
    let mut account = account("0.01");
    assert_eq!(account.admit(ask(50_000, 1_000)), Decision::Stop(Reason::LargerThanCap));
    assert_eq!(account.phase(), Phase::Open);
    sent(account.admit(ask(1_000, 1_000)));
}

#[test]
fn a_last_call_that_brought_no_answer_is_given_again() {
    let mut account = account("0.01");
    let (id, _, note) = sent(account.admit(ask(6_000, 500)));
    assert_eq!(note, Some(Note::LastCall));
    account.close(id, Outcome::NotBilled);
    let (id, _, note) = sent(account.admit(ask(6_000, 500)));
    assert_eq!(note, Some(Note::LastCall));
    account.close(id, answered(6_000, 100));
    assert_eq!(account.admit(ask(100, 100)), Decision::Stop(Reason::Dollars));
}

#[test]
fn usage_above_its_bound_is_recorded_in_full_and_seals() {
    let mut account = account("0.1");
    let (id, ..) = sent(account.admit(ask(1_000, 100)));
    let closed = account.close(id, answered(1_000, 200_000));
    assert_eq!(closed.overrun.map(|overrun| overrun.spend), Some(spend(1_000, 200_000)));
    assert_eq!(account.settled(), spend(1_000, 200_000));
    assert_eq!(account.admit(ask(1, 1)), Decision::Stop(Reason::Sealed));
}

#[test]
fn a_lost_answer_counts_at_its_bound_or_at_what_is_known() {
    let mut account = account("1");
    let (id, ..) = sent(account.admit(ask(1_000, 100)));
    account.close(id, Outcome::Lost { spend: None });
    assert_eq!((account.settled(), account.estimated()), (spend(1_000, 100), spend(1_000, 100)));
    let (id, ..) = sent(account.admit(ask(1_000, 100)));
    account.close(id, Outcome::Lost { spend: Some(spend(400, 100)) });
    assert_eq!(account.settled(), spend(1_400, 200));
    assert_eq!(account.close(id, Outcome::NotBilled), Closed::default(), "it is closed once");
}

#[test]
fn observing_stops_nothing_until_the_run_is_over() {
    let allowance = Allowance { usd: Usd::ZERO, fresh_tokens: Some(0) };
    let mut account = Account::new(allowance, Some(80), false);
    let (id, output, note) = sent(account.admit(ask(1_000, 32_000)));
    assert_eq!((output, note), (32_000, None));
    assert!(account.close(id, answered(1_000, 99_000)).overrun.is_some());
    sent(account.admit(ask(1_000, 32_000)));
    account.seal();
    assert_eq!(account.admit(ask(1, 1)), Decision::Stop(Reason::Sealed));
}

#[test]
fn a_larger_allowance_lets_a_stopped_agent_go_on() {
    let mut account = account("0.001");
    assert_eq!(account.admit(ask(50_000, 1_000)), Decision::Stop(Reason::LargerThanCap));
    account.grow(Allowance { usd: Usd::from_dollars(1), fresh_tokens: None });
    sent(account.admit(ask(50_000, 1_000)));
}

/// What happens next in a random run.
#[derive(Clone, Debug)]
enum Event {
    Ask { input: u64, output: u64, sized: bool, side: bool, forced: bool },
    Close { which: usize, how: u8, share: u64 },
    Leave { which: usize },
    Grow { cents: u32 },
    Seal,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_u64..200_000, 0_u64..64_000, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(input, output, sized, side, forced)| Event::Ask { input, output, sized, side, forced }),
        8 => (any::<usize>(), 0_u8..8, 0_u64..=100)
            .prop_map(|(which, how, share)| Event::Close { which, how, share }),
        2 => any::<usize>().prop_map(|which| Event::Leave { which }),
        1 => (1_u32..300).prop_map(|cents| Event::Grow { cents }),
        1 => Just(Event::Seal),
    ]
}

/// A run as its clients see it, with a count of its own.
struct Run {
    account: Account,
    flying: Vec<(RequestId, Ask, u64)>,
    waiting: Vec<(Ticket, Ask)>,
    spent: Spend,
}

impl Run {
    fn took(&mut self, ask: Ask, decision: Decision) {
        match decision {
            Decision::Send { id, output, worst, .. } => {
                assert!(output <= ask.output_asked);
                assert!(ask.worst.at(output).usd <= worst.usd);
                self.flying.push((id, ask, output));
                let held = self.account.settled() + self.account.held();
                let allowance = self.account.allowance();
                assert!(held.usd <= allowance.usd, "{held:?}");
                assert!(allowance.fresh_tokens.is_none_or(|cap| held.fresh <= cap), "{held:?}");
            }
            Decision::Wait(ticket) => self.waiting.push((ticket, ask)),
            Decision::Count => {
                let input = Input::Counted { sized: ask.worst.fixed };
                let worst = Worst { fixed: ask.worst.fixed.divided(4), ..ask.worst };
                let counted = Ask { worst, input, ..ask };
                let decision = self.account.admit(counted);
                assert_ne!(decision, Decision::Count, "what is counted is not counted again");
                self.took(counted, decision);
            }
            Decision::Stop(_) => {}
        }
    }

    fn woke(&mut self, woken: Woken) {
        for (ticket, decision) in woken {
            let at = self.waiting.iter().position(|(other, _)| *other == ticket).expect("it waited");
            let (_, ask) = self.waiting.remove(at);
            assert!(matches!(decision, Decision::Send { .. } | Decision::Stop(_)), "{decision:?}");
            self.took(ask, decision);
        }
    }

    fn close(&mut self, which: usize, how: u8, share: u64) {
        if self.flying.is_empty() {
            return;
        }
        let (id, ask, output) = self.flying.remove(which % self.flying.len());
        let used = Spend {
            usd: ask.worst.at(output * share / 100).usd,
            fresh: ask.worst.at(output * share / 100).fresh,
        };
        let outcome = match how {
            0 => Outcome::NotSent,
            1 => Outcome::NotBilled,
            2 => Outcome::Lost { spend: Some(used) },
            3 => Outcome::Lost { spend: None },
            _ => Outcome::Answered { spend: used, output: output * share / 100 },
        };
        let closed = self.account.close(id, outcome);
        self.spent += closed.charged.expect("it was in flight");
        self.woke(closed.woken);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Ask { input, output, sized, side, forced } => {
                let note = (!forced).then_some(spend(200, 0));
                let thread = if side { Thread::Side } else { Thread::Main };
                let how = if sized { Input::Sized } else { Input::Final };
                let ask = Ask { input: how, thread, note, ..ask(input, output) };
                let decision = self.account.admit(ask);
                self.took(ask, decision);
            }
            Event::Close { which, how, share } => self.close(which, how, share),
            Event::Leave { which } if !self.waiting.is_empty() => {
                let (ticket, _) = self.waiting.remove(which % self.waiting.len());
                let woken = self.account.leave(ticket);
                self.woke(woken);
            }
            Event::Grow { cents } => {
                let usd = self.account.allowance().usd + Usd::from_dollars(cents).percent(1);
                let fresh_tokens = self.account.allowance().fresh_tokens.map(|cap| cap + 1_000);
                let woken = self.account.grow(Allowance { usd, fresh_tokens });
                self.woke(woken);
            }
            Event::Seal => {
                let woken = self.account.seal();
                self.woke(woken);
            }
            Event::Leave { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promise_holds_and_nobody_is_left_waiting(
        cents in 1_u32..300,
        fresh in proptest::option::of(1_000_u64..1_000_000),
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let allowance = Allowance { usd: Usd::from_dollars(cents).percent(1), fresh_tokens: fresh };
        let account = Account::new(allowance, Some(80), true);
        let mut run = Run { account, flying: Vec::new(), waiting: Vec::new(), spent: Spend::ZERO };
        for event in events {
            run.step(event);
            prop_assert!(!run.flying.is_empty() || run.waiting.is_empty(), "waiting for nothing");
            prop_assert_eq!(run.account.waiting(), run.waiting.len());
            prop_assert_eq!(run.account.in_flight().len(), run.flying.len());
            prop_assert_eq!(run.account.settled(), run.spent);
        }
        for which in 0..10_000 {
            if run.flying.is_empty() {
                break;
            }
            run.close(which, 4, 50);
        }
        prop_assert_eq!(run.account.held(), Spend::ZERO);
        prop_assert_eq!(run.waiting.len(), 0);
        prop_assert!(run.account.settled().usd <= run.account.allowance().usd);
    }
}

fn dollars(text: &str) -> Usd {
    text.parse().expect(text)
}

#[test]
fn what_is_not_held_on_the_ledger_waits_for_it() {
    let mut account = account("1");
    account.grant(dollars("0.02"));
    sent(account.admit(ask(1_000, 2_000)));
    let sized = Ask { input: Input::Sized, ..ask(1_000, 2_000) };
    assert_eq!(account.admit(sized), Decision::Count, "a bound by size would hold too much");
    let Decision::Wait(ticket) = account.admit(ask(1_000, 2_000)) else { panic!("waits") };
    // In flight 0.011; the request and the landing reserve after it 0.0120625.
    assert_eq!(account.wanted(), dollars("0.0230625"));
    let woken = account.grant(dollars("0.0230624"));
    assert_eq!((woken.len(), account.wanted()), (0, dollars("0.0230625")), "not a moment before");
    let woken = account.grant(dollars("0.0230625"));
    assert!(matches!(woken[..], [(who, Decision::Send { note: None, .. })] if who == ticket), "{woken:?}");
    assert_eq!(account.wanted(), Usd::ZERO);
}

#[test]
fn who_gets_no_more_lands_in_what_is_held() {
    let mut account = account("1");
    account.grant(dollars("0.02"));
    let (first, ..) = sent(account.admit(ask(1_000, 2_000)));
    account.close(first, answered(1_000, 1_500));
    assert!(matches!(account.admit(ask(1_000, 2_000)), Decision::Wait(_)));
    let woken = account.land();
    let [(_, Decision::Send { id, note: Some(Note::LastCall), .. })] = woken[..] else { panic!("{woken:?}") };
    account.close(id, answered(1_000, 1_500));
    assert_eq!(account.admit(ask(1_000, 2_000)), Decision::Stop(Reason::Dollars));
    assert_eq!(account.allowance().usd, dollars("0.02"));
    assert!(account.settled().usd <= dollars("0.02"));
}

#[test]
fn a_whole_grant_changes_nothing() {
    let mut account = account("0.05");
    account.grant(dollars("0.05"));
    sent(account.admit(ask(1_000, 2_000)));
    assert_eq!(account.land(), []);
    assert_eq!(account.allowance().usd, dollars("0.05"));
}

proptest! {
    #[test]
    fn nothing_leaves_that_is_not_held(
        first in 1_u32..100,
        steps in prop::collection::vec((1_u64..20_000, 1_u64..8_000, 0_u64..8_000, 0_u32..4, 1_u32..60), 1..60),
    ) {
        let cents = |count: u32| Usd::from_pico(i128::from(count) * 1_000_000_000);
        let mut account = account("0.2");
        let (mut granted, mut landed) = (cents(first), false);
        account.grant(granted);
        let mut open = Vec::new();
        for (input, output, answer, what, more) in steps {
            let mut woken = Vec::new();
            match what {
                0 => granted = granted.max(account.wanted()),
                1 if !landed => {
                    granted += cents(more);
                    woken = account.grant(granted);
                }
                2 if more > 50 => {
                    landed = true;
                    woken = account.land();
                }
                _ => {
                    let decision = account.admit(ask(input, output));
                    woken.push((Ticket(0), decision));
                }
            }
            if what == 0 && !landed {
                woken = account.grant(granted);
            }
            for (_, decision) in woken {
                if let Decision::Send { id, output, .. } = decision {
                    open.push((id, input.min(20_000), output));
                }
            }
            let most = granted.min(dollars("0.2"));
            prop_assert!(account.settled().usd + account.held().usd <= most);
            if open.len() > 3 {
                let (id, _, output) = open.remove(0);
                let spend = Spend { usd: Usd::from_pico(1), fresh: 0 };
                let outcome = Outcome::Answered { spend, output: answer.min(output) };
                let closed = account.close(id, outcome);
                open.extend(closed.woken.into_iter().filter_map(|(_, decision)| match decision {
                    Decision::Send { id, output, .. } => Some((id, 0, output)),
                    _ => None,
                }));
            }
        }
    }
}
