//! `tollgate run` from outside: what the tests of it share, and the simulation in a repository.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tollgate::money::Usd;
use tollgate::simulate::{Provider, Reply, Script, Seen, WitnessHandle};

use crate::support::{Run, Tollgate};

/// The provider's key. It must be found nowhere but at the provider.
pub(crate) const KEY: &str = "sk-test-canary";

/// What shell agents are made with: `ask TEXT [FIELDS]` sends one request and keeps its answer, `said`
/// prints the text of the answer, `stopped` tells whether the meter gave it.
pub(crate) const PRELUDE: &str = r#"
ask() {
  curl -sS -N -D "$HOME/head" -o "$HOME/body" -H "x-api-key: $ANTHROPIC_API_KEY" \
    -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
    -d "{\"model\":\"$ANTHROPIC_MODEL\",\"max_tokens\":500,${2:-}\"messages\":[{\"role\":\"user\",\"content\":\"$1\"}]}" \
    "$ANTHROPIC_BASE_URL/v1/messages"
}
said() { grep -o '"text":"[^"]*"' "$HOME/body" | sed 's/^"text":"//; s/"$//' | tr -d '\n'; echo; }
stopped() { grep -qi '^x-tollgate: stopped' "$HOME/head"; }
"#;

/// A provider that serves on a thread of its own until this is dropped.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) witness: WitnessHandle,
    _end: oneshot::Sender<()>,
}

/// Serves a script.
pub(crate) fn serve(script: Script) -> Upstream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket option");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let provider = Provider::new(script);
    let witness = provider.witness();
    let (end, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let shutdown = async { drop(ended.await) };
            provider.serve(listener, shutdown).await;
        });
    });
    Upstream { url, witness, _end: end }
}

/// A script, and a channel that says when each of its requests has come.
pub(crate) fn announced(
    reply: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static,
) -> (Script, mpsc::Receiver<u64>) {
    let (sender, receiver) = mpsc::sync_channel(1_000);
    let script = Script::new(move |seen| {
        // Nobody need listen.
        let _ = sender.try_send(seen.index);
        reply(seen)
    });
    (script, receiver)
}

/// Waits until a request has come.
#[track_caller]
pub(crate) fn arrival(requests: &mpsc::Receiver<u64>) -> u64 {
    requests.recv_timeout(Duration::from_secs(15)).expect("a request comes")
}

/// A repository with this budget file, whose last commit is a small one to its documentation: a review
/// at low stakes.
pub(crate) fn repository(budget: &str) -> Tollgate {
    let files = [
        (".github/tollgate.yml", budget),
        ("README.md", "# Tides\n"),
        ("src/lib.rs", "pub fn high() -> u32 { 1 }\n"),
    ];
    let world = Tollgate::in_repository(&files);
    world.commit(&[("docs/guide.md", "# How to begin\n")], "Say how to begin");
    world
}

/// A budget file with one budget for the repository and this cap of the low tier. It lets runs start
/// with little, since runs of tests cost little; `on` goes on from there, as in `, refused: pass`.
pub(crate) fn budget(usd: &str, cap: &str, on: &str) -> String {
    format!(
        "version: 1\nbudgets:\n  - {{ scope: repo, per: total, usd: {usd} }}\n\
         tiers:\n  low: {{ model: claude-haiku-5-5, max_usd: {cap} }}\non: {{ min_run_usd: 0.0001{on} }}\n"
    )
}

/// Makes a shell script the agent of the next run.
pub(crate) fn with_agent<'a>(world: &'a mut Tollgate, upstream: &Upstream, script: &str) -> &'a mut Tollgate {
    world
        .env("ANTHROPIC_API_KEY", KEY)
        .args(["run", "--summary-json", "../summary.json", "--upstream"])
        .args([format!("anthropic={}", upstream.url)])
        .args(["--", "sh", "-c", &format!("{PRELUDE}{script}")])
}

/// Runs a shell script as the agent.
#[track_caller]
pub(crate) fn agent(world: &mut Tollgate, upstream: &Upstream, script: &str) -> Run {
    with_agent(world, upstream, script).run()
}

/// The summary that the last run wrote.
#[track_caller]
pub(crate) fn summary(world: &Tollgate) -> Value {
    let text = std::fs::read_to_string(world.work().join("../summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("JSON")
}

/// `tollgate ledger show`, as JSON.
#[track_caller]
pub(crate) fn ledger(world: &mut Tollgate, simulate: bool) -> Value {
    let flag = simulate.then_some("--simulate");
    let run = world.args(["ledger", "show", "--format", "json"]).args(flag).run();
    run.expect_code(0);
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// An exact amount.
#[track_caller]
pub(crate) fn usd(value: &Value) -> Usd {
    value.as_str().expect("an amount is text").parse().expect("an amount")
}

/// What all runs of a ledger were charged.
pub(crate) fn charged(ledger: &Value) -> Usd {
    let runs = ledger["runs"].as_array().expect("runs");
    runs.iter().fold(Usd::ZERO, |sum, run| sum + usd(&run["spend_usd"]))
}

/// Nothing is held, and the ledger is whole.
#[track_caller]
pub(crate) fn expect_settled(world: &mut Tollgate, simulate: bool) -> Value {
    let ledger = ledger(world, simulate);
    assert_eq!(ledger["live"], serde_json::json!([]), "nothing is held");
    let flag = simulate.then_some("--simulate");
    let verified = world.args(["ledger", "verify"]).args(flag).run();
    verified.expect_code(0);
    assert!(verified.stdout.contains("chain intact, head equals fold"), "{}", verified.stdout);
    ledger
}

/// The folder of the only run there is.
#[track_caller]
pub(crate) fn run_folder(world: &Tollgate) -> PathBuf {
    let runs = std::fs::read_dir(world.work().join(".tollgate/runs")).expect("runs");
    let mut runs: Vec<_> = runs.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.pop().expect("one")
}

/// The lines that begin so, one to a line.
pub(crate) fn lines(text: &str, begin: &str) -> String {
    text.lines().filter(|line| line.starts_with(begin)).collect::<Vec<_>>().join("\n")
}

/// The last lines: the verdict, and what follows it but the log line.
#[track_caller]
pub(crate) fn verdict(run: &Run) -> String {
    let from = run.stderr.rfind("\nverdict: ").expect("a verdict") + 1;
    let to = run.stderr.rfind("\ntime=").expect("a cost line");
    run.stderr[from..to].trim_end().to_owned()
}

/// What tollgate itself says on the way. How well an agent can be isolated is the machine's doing.
pub(crate) fn announcements(run: &Run) -> String {
    let said = lines(&run.stderr, "tollgate: ");
    said.lines().filter(|line| !line.contains("isolation")).collect::<Vec<_>>().join("\n")
}

fn simulate(world: &mut Tollgate, more: &[&str]) -> Run {
    world.args(["run", "--simulate", "--summary-json", "../summary.json"]).args(more).run()
}

#[test]
fn a_simulation_shows_what_a_run_is_like() {
    let mut world = repository(&budget("1", "0.1", ""));
    let run = simulate(&mut world, &[]);
    run.expect_code(0);
    assert_eq!(
        announcements(&run),
        "tollgate: review at low stakes (80 % sure): task review: nobody asked for anything, so it is a review\n\
         tollgate: low tier, claude-haiku-5-5, cap $0.10, 400,000 new tokens, 10 min; review at low stakes runs at the low tier\n\
         tollgate: 10 % of the cap · $0.01 of $0.10 · 10 requests\n\
         tollgate: 20 % of the cap · $0.02 of $0.10 · 20 requests"
    );
    assert_eq!(verdict(&run), "verdict: pass · $0.02 of $0.10 spent, within every budget");
    let comment: Vec<&str> = run.stdout.lines().collect();
    assert!(
        comment[0].starts_with("<!-- tollgate:v1 key=default run=local/work/local/1/local/"),
        "{}",
        comment[0]
    );
    assert_eq!(comment[1], "### Agent cost (simulated): $0.02 of $0.10 · within budget");
    assert!(run.stdout.contains("\n| repo | $0.02 | `░░░░░░░░░░` 2 % | $1.00 |\n"), "{}", run.stdout);
    let summary = summary(&world);
    let spent = usd(&summary["total_cost_usd"]);
    assert!(spent > Usd::ZERO && spent < usd(&summary["cap_usd"]), "{spent}");
    let ledger = expect_settled(&mut world, true);
    assert_eq!(charged(&ledger), spent);
    let none = world.args(["ledger", "show"]).run();
    none.expect_code(6);
    assert_eq!(
        none.stderr,
        "error: there is no ledger in `[WORLD]/work/.tollgate`\n\nhint: `--ledger PATH` names another folder; the first run makes one\n",
        "the real books are not touched"
    );
}

#[test]
fn every_tenth_part_of_the_cap_is_said_on_the_way() {
    let mut world = repository(&budget("1", "0.01", ""));
    let run = simulate(&mut world, &[]);
    run.expect_code(4);
    let meter = announcements(&run);
    assert_eq!(
        meter.lines().skip(2).collect::<Vec<_>>(),
        [
            "tollgate: 10 % of the cap · $0.0010 of $0.01 · 1 request",
            "tollgate: 20 % of the cap · $0.0020 of $0.01 · 2 requests",
            "tollgate: 30 % of the cap · $0.0030 of $0.01 · 3 requests",
            "tollgate: 40 % of the cap · $0.0040 of $0.01 · 4 requests",
            "tollgate: 50 % of the cap · $0.0050 of $0.01 · 5 requests",
            "tollgate: 60 % of the cap · $0.0060 of $0.01 · 6 requests",
            "tollgate: 70 % of the cap · $0.0070 of $0.01 · 7 requests",
            "tollgate: 70 % of the cap · $0.0070 of $0.01 · 8 requests · 1 in flight · told to wrap up",
            "tollgate: 80 % of the cap · $0.0081 of $0.01 · 8 requests · told to wrap up",
            "tollgate: 80 % of the cap · $0.0081 of $0.01 · 9 requests · 1 in flight · given its last answer",
        ]
    );
}

#[test]
fn runs_add_up_until_a_budget_refuses_the_next() {
    let budget = |usd| format!("version: 1\nbudgets:\n  - {{ scope: repo, per: total, usd: {usd} }}\n");
    let mut world = repository(&budget("0.05"));
    let mut spent = Usd::ZERO;
    for _ in 0..2 {
        simulate(&mut world, &[]).expect_code(0);
        spent += usd(&summary(&world)["total_cost_usd"]);
        let ledger = expect_settled(&mut world, true);
        assert_eq!((charged(&ledger), usd(&ledger["budgets"][0]["settled_usd"])), (spent, spent));
    }
    let run = simulate(&mut world, &[]);
    run.expect_code(3);
    assert_eq!(
        verdict(&run),
        "verdict: FAIL · the run was not started: $0.04 of the total repo budget of $0.05 is spent, which leaves $0.0096, and a run needs $0.02 at least\n\
         \n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.07"
    );
    let ledger = expect_settled(&mut world, true);
    assert_eq!(charged(&ledger), spent);
    world.file(".github/tollgate.yml", &budget("0.07"));
    world.args(["gate", "--simulate"]).run().expect_code(0);
}

#[test]
fn what_a_cap_does_is_up_to_the_task() {
    for (task, code, says) in [("review", 4, "FAIL"), ("docs", 0, "pass, with a warning")] {
        let mut world = repository(&budget("1", "0.003", ""));
        let run = simulate(&mut world, &["--task", task]);
        run.expect_code(code);
        let expected = format!(
            "verdict: {says} · the agent was stopped at its cap, $0.0010 of $0.0030 spent\n\n\
             hint: raise `max_usd` of the tier in .github/tollgate.yml if such work is worth more, or split the task"
        );
        assert_eq!(verdict(&run), expected, "{task}");
        assert_eq!(summary(&world)["outcome"], "capped");
    }
}

#[test]
fn a_cap_that_a_budget_has_cut_counts_as_that_budget() {
    let mut world = repository(&budget("0.004", "0.1", ""));
    let run = simulate(&mut world, &["--task", "docs"]);
    run.expect_code(3);
    assert_eq!(
        verdict(&run),
        "verdict: FAIL · the agent was stopped at its cap, $0.0020 of $0.0040 spent, which is what the total repo budget of $0.0040 had left\n\n\
         hint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01"
    );
    let ledger = expect_settled(&mut world, true);
    assert!(charged(&ledger) <= usd(&ledger["budgets"][0]["limit_usd"]), "{ledger}");
}
