//! Runs whose agent is against them: it writes where it should not, and everything still ends in time,
//! settled, and with the verdict it had.

use std::process::Stdio;
use std::time::Duration;

use crate::support::Tollgate;

const BUDGET: &str =
    "version: 1\nbudgets:\n  - { scope: repo, per: month, usd: 20 }\non: { unmetered: warn }\n";

/// A run in a repository whose agent is a shell that knows its run's folder as `$f`.
fn against(script: &str) -> Tollgate {
    let mut run = Tollgate::in_repository(&[(".github/tollgate.yml", BUDGET), ("a.txt", "a\n")]);
    run.env("ANTHROPIC_API_KEY", "sk-ant-a-secret");
    let script = format!("f=$(echo .tollgate/runs/*); {script}");
    run.args(["run", "--upstream", "anthropic=http://127.0.0.1:9", "--", "sh", "-c", &script]);
    run.time_max(Duration::from_secs(15));
    run
}

fn ledger(run: &Tollgate) -> String {
    let events = std::fs::read_dir(run.work().join(".tollgate/events")).expect("a ledger");
    events.map(|shard| std::fs::read_to_string(shard.expect("a shard").path()).expect("text")).collect()
}

#[test]
fn pipes_and_links_in_place_of_results_are_replaced() {
    let mut run = against(
        "echo said; echo b > b.txt; mkfifo $f/result.md $f/partial.patch $f/run.json.new $f/summary.json; \
         ln -s ../../../a.txt $f/cost.jsonl",
    );
    let done = run.run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(
        std::fs::read_to_string(run.work().join("a.txt")).expect("a.txt"),
        "a\n",
        "no link is followed"
    );
    assert!(ledger(&run).contains(r#""t":"settle""#));
}

#[test]
fn a_pipe_in_place_of_the_ledgers_head_is_an_error_and_no_wait() {
    let done = against("rm .tollgate/head.json; mkfifo .tollgate/head.json").run();
    assert_eq!(done.code, Some(6), "{}", done.stderr);
    assert!(done.stderr.contains("head.json`: it is no file"), "{}", done.stderr);
}

#[test]
fn the_patchs_own_repository_takes_no_commands_from_an_agent() {
    let mut run = against(
        "echo '* filter=evil' > .gitattributes; echo c >> a.txt; \
         printf '[filter \"evil\"]\\nclean = touch obeyed\\n' >> $f/shadow.git/config",
    );
    let done = run.run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(!run.work().join("obeyed").exists(), "a command of the agent ran after its end");
}

#[test]
fn a_killed_run_is_charged_whole_whatever_its_folder_says() {
    let mut run = against(
        "sed -i 's/}$/,\"journal_is_proof\":true}/' $f/run.json; mkdir .tollgate/runs/x; mkfifo .tollgate/runs/x/lock; \
         kill -KILL $PPID",
    );
    assert_eq!(run.run().code, None, "killed");
    run.args(["run", "--upstream", "anthropic=http://127.0.0.1:9", "--", "true"]);
    let done = run.run();
    assert!(done.stderr.contains("it is charged $4.00, all of its hold"), "{}", done.stderr);
}

#[test]
fn a_verdict_stands_when_nobody_reads_it() {
    let run = against("true");
    run.file(".github/tollgate.yml", &BUDGET.replace("warn", "fail"));
    let mut command = run.command();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tollgate");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().expect("ended").code(), Some(3));
}
