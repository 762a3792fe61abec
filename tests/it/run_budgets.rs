//! What each kind of budget does to a run, and two runs at one budget.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tollgate::simulate::{Answer, Reply, Script, Wait};

use crate::run::{
    agent, announced, arrival, budget, charged, expect_settled, lines, repository, serve, summary, usd,
    verdict, with_agent,
};
use crate::support::Tollgate;

fn answer() -> Answer {
    Answer::text("Looked at.").of_tokens(400)
}

/// Nothing but the cost of one request: the same each time.
fn one_request(world: &mut Tollgate, upstream: &crate::run::Upstream, code: i32) -> String {
    let run = agent(world, upstream, "ask Go\n");
    run.expect_code(code);
    verdict(&run)
}

fn enforced(usd: &str, how: &str, on: &str) -> String {
    budget(usd, "0.1", on).replacen(" }", &format!(", enforce: {how} }}"), 1)
}

#[test]
fn a_soft_budget_lets_a_run_end_and_refuses_the_next() {
    let upstream = serve(Script::new(|_| answer().into()));
    let mut world = repository(&enforced("0.0001", "soft", ""));
    assert_eq!(
        one_request(&mut world, &upstream, 3),
        "verdict: FAIL · the total repo budget is exceeded by $0.00010: $0.00020 of $0.00010 spent\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    assert_eq!(usd(&summary(&world)["cap_usd"]), "0.1".parse().expect("an amount"));
    assert_eq!(
        one_request(&mut world, &upstream, 3),
        "verdict: FAIL · the run was not started: $0.00020 of the total repo budget of $0.00010 is spent, which leaves $0.00, and a run needs $0.00010 at least\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    assert_eq!(upstream.witness.snapshot().generations, 1);
}

#[test]
fn a_budget_that_only_warns_says_so_and_passes() {
    let upstream = serve(Script::new(|_| answer().into()));
    let mut world = repository(&enforced("0.0001", "warn", ""));
    for (times, more) in [("0.00020", "0.00010"), ("0.00040", "0.00030")] {
        assert_eq!(
            one_request(&mut world, &upstream, 0),
            format!(
                "verdict: pass, with a warning · the total repo budget is exceeded by ${more}: ${times} of $0.00010 spent\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
            )
        );
    }
    assert_eq!(summary(&world)["verdict"], "warn");
}

#[test]
fn a_budget_may_be_used_up_exactly() {
    let upstream = serve(Script::new(|_| answer().into()));
    let mut world = repository(&enforced("1", "soft", ""));
    one_request(&mut world, &upstream, 0);
    let once = upstream.witness.usd();
    world.file(".github/tollgate.yml", &enforced(&(once + once).to_string(), "soft", ""));
    assert_eq!(
        one_request(&mut world, &upstream, 0),
        "verdict: pass, with a warning · the total repo budget of $0.00040 is used up exactly; the next run is refused\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    assert_eq!(summary(&world)["verdict"], "warn");
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        gate.stdout,
        "total repo budget: $0.00040 of $0.00040 spent\n\
         warn: the total repo budget of $0.00040 is used up exactly; the next run is refused\n"
    );
    assert_eq!(
        one_request(&mut world, &upstream, 3),
        "verdict: FAIL · the run was not started: $0.00040 of the total repo budget of $0.00040 is spent, which leaves $0.00, and a run needs $0.00010 at least\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    assert_eq!(charged(&expect_settled(&mut world, false)), once + once);
}

#[test]
fn observing_stops_nothing_and_says_what_would_have_failed() {
    let upstream = serve(Script::new(|_| answer().into()));
    let mut world = repository(&(enforced("0.0003", "hard", "") + "mode: observe\n"));
    for code in [0, 0, 0] {
        one_request(&mut world, &upstream, code);
    }
    assert_eq!(
        one_request(&mut world, &upstream, 0),
        "verdict: pass, with a warning · observe mode, so the check passes although the total repo budget is exceeded by $0.00050: $0.00080 of $0.00030 spent\n\n\
         hint: write `mode: enforce` in the budget file to let budgets stop runs and fail checks"
    );
    let spent = charged(&expect_settled(&mut world, false));
    assert_eq!((spent, upstream.witness.snapshot().generations), (upstream.witness.usd(), 4));
}

#[test]
fn refused_may_pass() {
    let upstream = serve(Script::new(|_| answer().into()));
    let mut world =
        repository(&enforced("0.00055", "hard", ", refused: pass").replace("usd: 0.0001", "usd: 0.0002"));
    for _ in 0..2 {
        one_request(&mut world, &upstream, 0);
    }
    assert_eq!(
        one_request(&mut world, &upstream, 0),
        "verdict: pass, with a warning · the run was not started: $0.00040 of the total repo budget of $0.00055 is spent, which leaves $0.00015, and a run needs $0.00020 at least\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    assert_eq!(upstream.witness.snapshot().generations, 2);
    assert_eq!(summary(&world)["outcome"], "refused");
}

#[test]
fn two_runs_at_once_stay_within_one_budget() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let (script, requests) =
        announced(move |_| Reply { before: Some(Wait::Permit(held.clone())), ..answer().into() });
    let upstream = serve(script);
    let mut world = repository(&budget("0.005", "0.003", ""));
    let work =
        "turn=0; while [ $turn -lt 100 ]; do turn=$((turn + 1)); ask Go; if stopped; then break; fi; done\n";
    with_agent(&mut world, &upstream, work);
    let first = world.command().spawn().expect("it starts");
    arrival(&requests);
    // The first holds $0.003 by now, so this one gets what is left.
    let second = world.command().spawn().expect("it starts");
    arrival(&requests);
    let third = world.command().output().expect("it ends");
    permits.add_permits(10_000);
    let ended = [first.wait_with_output(), second.wait_with_output(), Ok(third)];
    let ended = ended.map(|output| {
        let output = output.expect("it ends");
        (output.status.code(), lines(&world.redacted(&output.stderr), "verdict: "))
    });
    assert_eq!(ended, [
        (Some(4), "verdict: FAIL · the agent was stopped at its cap, $0.0028 of $0.0030 spent".to_owned()),
        (Some(3), "verdict: FAIL · the agent was stopped at its cap, $0.0018 of $0.0020 spent, which is what the total repo budget of $0.0050 had left".to_owned()),
        (Some(3), "verdict: FAIL · the run was not started: $0.00 of the total repo budget of $0.0050 is spent and $0.0050 is held by runs that are under way, which leaves $0.00, and a run needs $0.00010 at least".to_owned()),
    ]);
    world.forget_args();
    let ledger = expect_settled(&mut world, false);
    assert_eq!(charged(&ledger), upstream.witness.usd());
    assert!(upstream.witness.usd() <= usd(&ledger["budgets"][0]["limit_usd"]));
}
