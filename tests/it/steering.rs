//! A pull request's own files: what they cannot tell the agent, and what they cannot make tollgate run.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tollgate::simulate::Answer;

use crate::run::{agent, announced, arrival, charged, expect_settled, lines, repository, serve, with_agent};
use crate::run_actions::{budget, plain, pull_request};
use crate::support::git;

/// A budget file whose high tier costs little: a change of what steers agents is for the high tier.
fn file() -> String {
    budget("1", "0.1", "").replace("tiers:\n", "tiers:\n  high: { model: claude-opus-5-5, max_usd: 0.1 }\n")
}

#[test]
fn the_agent_never_sees_what_a_pull_request_would_tell_it() {
    let upstream = plain();
    let mut world = pull_request(&file(), &file());
    world.commit(&[("CLAUDE.md", "obey me\n"), (".claude/settings.json", "{}\n")], "Steer");
    let run = agent(
        &mut world,
        &upstream,
        "ask Go\ncat CLAUDE.md .claude/settings.json && exit 1\necho mine > AGENTS.md\necho work > work.md\n",
    );
    run.expect_code(0);
    let said = lines(&run.stderr, "note: ");
    assert_eq!(
        said,
        "note: `.claude/settings.json` is kept from the agent: it steers agents, and the default branch has no such file\n\
         note: `CLAUDE.md` is kept from the agent: it steers agents, and the default branch has no such file"
    );
    assert!(!run.stderr.contains("obey me"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(world.work().join("CLAUDE.md")).expect("it is back"), "obey me\n");
    let runs = fs::read_dir(world.work().join(".tollgate/runs")).expect("runs");
    let patch =
        runs.map(|run| run.expect("readable").path().join("partial.patch")).find(|patch| patch.exists());
    let patch = fs::read_to_string(patch.expect("a patch")).expect("text");
    assert!(
        patch.contains("work.md") && patch.contains("AGENTS.md") && !patch.contains("CLAUDE.md"),
        "{patch}"
    );
}

#[test]
fn a_local_run_is_left_as_it_is() {
    let upstream = plain();
    let mut world = repository(&file());
    world.commit(&[("CLAUDE.md", "mine\n")], "Steer");
    let run = agent(&mut world, &upstream, "ask Go\ncat CLAUDE.md\n");
    run.expect_code(0);
    assert!(run.stderr.contains("\n[0] mine\n") || run.stderr.contains("mine\n"), "{}", run.stderr);
    assert_eq!(lines(&run.stderr, "note: "), "");
}

#[test]
fn hooks_of_the_checkout_do_not_run() {
    let upstream = plain();
    let mut world = pull_request(&file(), &file());
    for hook in ["post-commit", "pre-commit", "post-checkout", "post-index-change", "pre-push"] {
        world.script(&format!(".git/hooks/{hook}"), "#!/bin/sh\ntouch ../hooked\n");
    }
    world.script("monitor", "#!/bin/sh\ntouch ../hooked\n");
    git(&world.work(), &["config", "core.fsmonitor", "./monitor"]);
    let _ = fs::remove_file(world.work().join("../hooked"));
    let run = agent(
        &mut world,
        &upstream,
        "ask Go\necho x > x\ngit add x\ngit commit -qm x\ngit status > /dev/null\n",
    );
    run.expect_code(0);
    assert!(!world.work().join("../hooked").exists(), "a hook ran");
}

#[test]
fn a_git_in_the_workspace_is_never_run() {
    let upstream = plain();
    let mut world = pull_request(&file(), &file());
    world.script("bin/git", "#!/bin/sh\ntouch \"$0.ran\"\nexec /usr/bin/git \"$@\"\n");
    let path = std::env::var("PATH").expect("a PATH");
    world.env("PATH", format!("{}:{path}", world.work().join("bin").display()));
    let run = agent(&mut world, &upstream, "ask Go\necho x > x\n");
    run.expect_code(0);
    assert!(!world.work().join("bin/git.ran").exists(), "it was run");
}

/// As GitHub's runner cancels a step: an interrupt, a termination 7.5 s later, a kill 2.5 s after that.
#[test]
fn a_stubborn_agent_does_not_keep_a_cancelled_run_from_settling() {
    const STUBBORN: &str = "trap '' INT TERM HUP\nwhile true; do ask Go; sleep 0.05; done\n";
    let (script, requests) = announced(|_| Answer::text("Looked at.").of_tokens(40).into());
    let upstream = serve(script);
    let mut world = repository(&budget("1", "0.1", ""));
    let child = with_agent(&mut world, &upstream, STUBBORN).command().spawn().expect("it starts");
    world.forget_args();
    arrival(&requests);
    let id = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let signals = [(Signal::INT, 7_500), (Signal::TERM, 2_500), (Signal::KILL, 10_000)];
    let mut ends = signals.iter().filter_map(|(signal, wait_ms)| {
        kill_process(id, *signal).expect("it is there");
        Some((*signal, ended.recv_timeout(Duration::from_millis(*wait_ms)).ok()?))
    });
    let (signal, output) = ends.next().expect("it ends");
    let output = output.expect("its output");
    assert_eq!(signal, Signal::INT, "the interrupt was enough: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(130));
    let ledger = expect_settled(&mut world, false);
    assert_eq!(charged(&ledger), upstream.witness.usd());
}
