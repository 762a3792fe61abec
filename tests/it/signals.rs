//! Runs that are cancelled or killed: whatever happens, what they spent is on the books.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Output};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::Semaphore;
use tollgate::money::Usd;
use tollgate::simulate::{Answer, Fault, Reply, Script, Wait};

use crate::policies::{asking, unsure};
use crate::run::{
    agent, announced, arrival, budget, charged, expect_settled, ledger, lines, repository, serve, summary,
    usd, with_agent,
};

/// Starts something that leaves the agent's session and ignores every signal that can be ignored, and
/// then asks until it is stopped.
const STUBBORN: &str = r#"
trap '' INT TERM HUP
(setsid sh -c 'echo $$ > survivor.new && mv survivor.new survivor.pid && exec sleep 3600' &) > /dev/null 2>&1
while [ ! -e survivor.pid ]; do sleep 0.01; done
while true; do ask Go; said; done
"#;

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The output of a child that ends in time.
#[track_caller]
fn ended(child: Child) -> Output {
    let (sender, receiver) = mpsc::channel();
    let id = pid(&child);
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(Duration::from_secs(15)) else {
        // Its output is lost with it, but nothing is left behind.
        let _ = kill_process(id, Signal::KILL);
        panic!("it did not end");
    };
    output.expect("its output")
}

/// Whether the process that the agent noted is there.
#[track_caller]
fn survives(work: &Path) -> bool {
    let text = fs::read_to_string(work.join("survivor.pid")).expect("the agent noted a process");
    let survivor = text.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    test_kill_process(survivor).is_ok()
}

/// The first request is answered at once, those after it once there are permits.
fn held_after_the_first(permits: &Arc<Semaphore>) -> (Script, mpsc::Receiver<u64>) {
    let permits = permits.clone();
    announced(move |seen| {
        let before = (seen.index > 0).then(|| Wait::Permit(permits.clone()));
        Reply { before, ..Answer::text("Looked at.").of_tokens(400).into() }
    })
}

#[test]
fn a_cancelled_run_settles_before_it_ends() {
    // An agent that goes by itself takes less time to end than one that resists.
    let willing = "echo $$ > survivor.pid; ask Go; ask Go; exec sleep 3600\n";
    for (signal, code, work) in
        [(Signal::TERM, 143, STUBBORN), (Signal::INT, 130, willing), (Signal::HUP, 143, willing)]
    {
        let permits = Arc::new(Semaphore::new(0));
        let (script, requests) = held_after_the_first(&permits);
        let upstream = serve(script);
        let mut world = repository(&budget("1", "0.1", ""));
        let child = with_agent(&mut world, &upstream, work).command().spawn().expect("it starts");
        arrival(&requests);
        arrival(&requests);
        kill_process(pid(&child), signal).expect("it is there");
        // The provider answers once the agent is gone: what that costs counts as well, to the last digit.
        let until = Instant::now() + Duration::from_secs(10);
        while survives(&world.work()) && Instant::now() < until {
            std::thread::yield_now();
        }
        permits.add_permits(1_000);
        let output = ended(child);
        world.forget_args();
        let stderr = world.redacted(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert_eq!(
            lines(&stderr, "verdict: "),
            "verdict: FAIL · the run was cancelled; what it had spent is settled"
        );
        assert_eq!(charged(&expect_settled(&mut world, false)), upstream.witness.usd());
        assert_eq!(summary(&world)["outcome"], "cancelled");
        assert!(!survives(&world.work()), "something of the agent is still there");
    }
}

#[test]
fn a_run_that_is_cancelled_while_a_model_is_asked_about_it_ends_at_once_and_settles() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (script, requests) =
            announced(|_| Reply { fault: Fault::Stall, ..Answer::text("Never.").of_tokens(20).into() });
        let upstream = serve(script);
        let mut world = repository(&asking());
        let event = unsure(&world, "OWNER", false);
        world.env("GITHUB_EVENT_PATH", &event).env("GITHUB_EVENT_NAME", "pull_request_review_comment");
        let child = with_agent(&mut world, &upstream, "touch ran\n").command().spawn().expect("it starts");
        arrival(&requests);
        kill_process(pid(&child), signal).expect("it is there");
        let output = ended(child);
        world.forget_args();
        let stderr = world.redacted(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert_eq!(
            stderr,
            "error: cancelled before an agent was started; what the second opinion cost is settled\n"
        );
        let ledger = expect_settled(&mut world, false);
        let runs = ledger["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 1, "the opinion's: {ledger}");
        assert!(charged(&ledger) > Usd::ZERO && charged(&ledger) >= upstream.witness.usd(), "{ledger}");
        assert!(!world.work().join("ran").exists());
    }
}

#[test]
fn what_never_answers_is_charged_at_its_worst_when_a_run_is_cancelled() {
    let (script, requests) =
        announced(|_| Reply { fault: Fault::Stall, ..Answer::text("Never.").of_tokens(400).into() });
    let upstream = serve(script);
    let mut world = repository(&budget("1", "0.1", ""));
    let child = with_agent(&mut world, &upstream, "ask Go\n").command().spawn().expect("it starts");
    arrival(&requests);
    kill_process(pid(&child), Signal::TERM).expect("it is there");
    let output = ended(child);
    world.forget_args();
    assert_eq!(output.status.code(), Some(143), "{}", world.redacted(&output.stderr));
    let (summary, ledger) = (summary(&world), expect_settled(&mut world, false));
    let spent = charged(&ledger);
    assert!(spent >= upstream.witness.usd() && spent < usd(&summary["cap_usd"]), "{spent}");
    assert_eq!((usd(&summary["estimated_usd"]), usd(&ledger["runs"][0]["estimated_usd"])), (spent, spent));
}

#[test]
fn the_next_run_charges_what_a_killed_one_held() {
    let permits = Arc::new(Semaphore::new(0));
    let (script, requests) = held_after_the_first(&permits);
    let upstream = serve(script);
    let mut world = repository(&budget("0.005", "0.003", ""));
    let mut child =
        with_agent(&mut world, &upstream, "ask One\nask Two\n").command().spawn().expect("it starts");
    arrival(&requests);
    arrival(&requests);
    child.kill().expect("it is there");
    child.wait().expect("it is ours");
    world.forget_args();
    let held = ledger(&mut world, false);
    let hold = held["live"][0]["hold"].as_str().expect("a live hold").to_owned();
    let cap: Usd = "0.003".parse().expect("an amount");
    assert_eq!(usd(&held["live"][0]["cap_usd"]), cap);
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        gate.stdout,
        "total repo budget: $0.00 of $0.0050 spent, $0.0030 held by runs under way\npass: every budget is within its limit\n"
    );
    permits.add_permits(1_000);
    let run = agent(&mut world, &upstream, "ask Three\n");
    run.expect_code(0);
    let note = lines(&run.stderr, "note: ");
    let note = note.replace(&hold, "[HOLD]");
    assert_eq!(
        note,
        "note: run [HOLD] died before it settled; it is charged $0.0030, all of its hold, because its journal ($0.00047 at most) is no proof"
    );
    let ledger = expect_settled(&mut world, false);
    let third = usd(&summary(&world)["total_cost_usd"]);
    assert_eq!(charged(&ledger), cap + third);
    assert!(charged(&ledger) >= upstream.witness.usd(), "spend is never lost");
    let again = agent(&mut world, &upstream, "ask Four\n");
    assert_eq!(lines(&again.stderr, "note: "), "", "it is said once");
}

#[test]
fn a_killed_simulation_is_charged_what_its_journal_proves() {
    let mut world = repository(&budget("1", "0.1", ""));
    let mut child = world.args(["run", "--simulate"]).command().spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("[0] turn 3:") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("text"), 0, "it ended");
    }
    child.kill().expect("it is there");
    child.wait().expect("it is ours");
    let _ = said.read_to_string(&mut line);
    let run = world.run();
    run.expect_code(0);
    let note = lines(&run.stderr, "note: ");
    let ledger = expect_settled(&mut world, true);
    let killed = &ledger["runs"][0];
    let spent = usd(&killed["spend_usd"]);
    let hold = killed["hold"].as_str().expect("a hold");
    assert_eq!(
        note,
        format!(
            "note: run {hold} died before it settled; it is charged {}, as its journal proves",
            spent.shown()
        )
    );
    assert!(spent >= "0.003".parse().expect("an amount") && spent < usd(&killed["cap_usd"]), "{spent}");
}

/// Killed after any number of requests, the ledger stays whole and nothing is lost.
#[test]
fn the_ledger_outlives_kills() {
    let (script, requests) = announced(|_| Answer::text("Looked at.").of_tokens(400).into());
    let upstream = serve(script);
    let mut world = repository(&budget("1", "0.003", ""));
    with_agent(&mut world, &upstream, "while ask Go; do :; done\n");
    for count in [0, 1, 3] {
        let mut child = world.command().spawn().expect("it starts");
        for _ in 0..count {
            arrival(&requests);
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
    world.forget_args();
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    let ledger = expect_settled(&mut world, false);
    assert!(charged(&ledger) >= upstream.witness.usd(), "{ledger}");
}
