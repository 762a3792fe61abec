//! `tollgate run` as a step of GitHub Actions: outputs, summary, annotations, and whose budget file counts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tollgate::simulate::{Answer, Script};

use crate::run::{agent, lines, repository, serve, summary, verdict};
use crate::support::{Tollgate, git};

/// A budget file as of [`crate::run::budget`], whose books are files: these tests have no forge.
pub(crate) fn budget(usd: &str, cap: &str, on: &str) -> String {
    crate::run::budget(usd, cap, on) + "ledger: file\n"
}

/// The files that the runner gives a step.
pub(crate) fn runner(world: &mut Tollgate) {
    for (name, file) in
        [("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md"), ("GITHUB_ENV", "env")]
    {
        let path = world.home().join(file);
        fs::write(&path, "").expect("a file");
        world.env(name, path);
    }
    world
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "acme/widgets")
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_RUN_ID", "77")
        .env("GITHUB_RUN_ATTEMPT", "2")
        .env("GITHUB_JOB", "review");
}

/// A branch with a pull request, whose budget file is `theirs`; `origin/main` has `ours`.
pub(crate) fn pull_request(ours: &str, theirs: &str) -> Tollgate {
    let mut world = repository(ours);
    let base = git(&world.work(), &["rev-parse", "HEAD"]);
    git(&world.work(), &["update-ref", "refs/remotes/origin/main", &base]);
    git(&world.work(), &["switch", "--quiet", "--create", "topic"]);
    world.commit(&[(".github/tollgate.yml", theirs), ("docs/more.md", "# More\n")], "Say more");
    let head = git(&world.work(), &["rev-parse", "HEAD"]);
    let event = json!({
        "action": "opened",
        "repository": { "full_name": "acme/widgets", "id": 5, "private": false, "default_branch": "main" },
        "sender": { "login": "lee", "type": "User" },
        "pull_request": {
            "number": 9, "title": "Say more", "body": null, "labels": [], "user": { "login": "lee" },
            "head": { "ref": "topic", "sha": head, "repo": { "full_name": "acme/widgets" } },
            "base": { "ref": "main", "sha": base, "repo": { "full_name": "acme/widgets" } },
            "changed_files": 2, "additions": 2, "deletions": 0
        }
    });
    let path = world.home().join("event.json");
    fs::write(&path, event.to_string()).expect("a file");
    world.env("GITHUB_EVENT_PATH", path).env("GITHUB_EVENT_NAME", "pull_request");
    runner(&mut world);
    world
}

pub(crate) fn plain() -> crate::run::Upstream {
    serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()))
}

/// Step outputs as the runner reads them.
fn outputs(world: &Tollgate) -> BTreeMap<String, String> {
    let text = fs::read_to_string(world.home().join("output")).expect("outputs");
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, end) = line.split_once("<<").expect("a name and a delimiter");
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        found.insert(name.to_owned(), value.join("\n"));
    }
    found
}

#[test]
fn step_outputs_say_what_the_summary_says() {
    let upstream = plain();
    for (script, code, outcome) in
        [("ask Go\n", 0, "completed"), ("ask Go\nexit 1\n", 5, "agent_failed"), ("true\n", 3, "unmetered")]
    {
        let mut world = repository(&budget("1", "0.1", ""));
        runner(&mut world);
        let run = agent(&mut world, &upstream, script);
        run.expect_code(code);
        let (outputs, summary) = (outputs(&world), summary(&world));
        let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "budget_limit_usd",
                "budget_spent_usd",
                "cache_read_tokens",
                "cache_write_tokens",
                "cap_usd",
                "hold_id",
                "input_tokens",
                "model",
                "notional_usd",
                "outcome",
                "output_tokens",
                "overrun",
                "patch_path",
                "reason",
                "result_path",
                "run_folder",
                "stakes",
                "summary_path",
                "task",
                "tier",
                "total_cost_usd",
                "verdict"
            ]
        );
        for (name, value) in &outputs {
            let same = match &summary[name] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(*value, same, "{name}");
        }
        assert_eq!(outputs["outcome"], outcome);
        assert!(outputs["hold_id"].starts_with("github.com/"), "{}", outputs["hold_id"]);
        let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
        assert!(page.starts_with("### "), "{page}");
        assert_eq!(fs::read_to_string(world.home().join("env")).expect("a file"), "");
    }
}

#[test]
fn the_summarys_shape_is_stable() {
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    let mut summary = summary(&world);
    for changing in ["started", "duration_ms", "hold_id", "summary_path"] {
        assert!(!summary[changing].is_null(), "{changing}");
        summary[changing] = json!("…");
    }
    let fields = summary.as_object_mut().expect("an object");
    for path in ["run_folder", "result_path"] {
        assert!(fields.remove(path).is_some_and(|path| path.is_string()), "{path}");
    }
    assert_eq!(fields.remove("patch_path"), Some(Value::Null));
    for (name, value) in
        [("notional_usd", json!("0")), ("subscription", json!(false)), ("new_tokens", json!(401))]
    {
        assert_eq!(fields.remove(name), Some(value), "{name}");
    }
    assert_eq!(
        summary,
        json!({
            "version": 1, "verdict": "pass", "outcome": "completed",
            "reason": "$0.00020 of $0.10 spent, within every budget", "hint": null,
            "task": "review", "stakes": "low", "tier": "low", "model": "claude-haiku-5-5",
            "input_tokens": 1, "output_tokens": 400, "cache_read_tokens": 0, "cache_write_tokens": 0,
            "total_cost_usd": "0.0002001", "estimated_usd": "0", "cap_usd": "0.1",
            "budget_spent_usd": "0.0002001", "budget_limit_usd": "1", "overrun": false,
            "hold_id": "…", "summary_path": "…", "repository": "work", "pull_request": null,
            "started": "…", "duration_ms": "…", "simulated": false, "enforced": true,
            "requests": 1, "stopped_requests": 0,
            "by_model": { "claude-haiku-5-5": {
                "requests": 1, "usd": "0.0002001", "notional_usd": "0", "input_tokens": 1,
                "cache_read_tokens": 0,
                "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0, "output_tokens": 400
            } },
            "budgets": [{
                "name": "total repo budget", "purse": "repo", "per": "total", "until": null,
                "spent_usd": "0.0002001", "held_usd": "0", "limit_usd": "1", "enforce": "hard"
            }],
            "savings": {
                "routing_usd": "0.0078039", "routing_instead_of": "claude-opus-5-5", "caching_usd": "0"
            }
        })
    );
}

#[test]
fn a_failing_verdict_and_alerts_are_annotations() {
    let upstream = plain();
    let mut world = repository(&budget("0.00035", "0.1", ""));
    runner(&mut world);
    let run = agent(&mut world, &upstream, "ask Go\nask Go\nask Go\n");
    run.expect_code(3);
    let titled: Vec<&str> = run.stderr.lines().filter(|line| line.contains(" title=")).collect();
    assert_eq!(
        titled,
        [
            "::notice title=Agent cost::This run has spent $0.00020 of $0.00035: 50 %25 of its cap is reached.",
            "::notice title=Agent budget::The total repo budget stands at $0.00020 of $0.00035: 50 %25 is reached.",
            "::error title=Agent cost%3A $0.00020 of $0.00035 · stopped at its cap::The agent was stopped at its cap, $0.00020 of $0.00035 spent, which is what the total repo budget of $0.00035 had left.%0ARaise its `usd` in .github/tollgate.yml line 3 to at least $0.01.",
        ]
    );
}

#[test]
fn an_agent_cannot_speak_to_the_runner() {
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    runner(&mut world);
    let run = agent(
        &mut world,
        &upstream,
        r#"
ask Go
echo '::set-output name=verdict::pass'
echo '  ::error::boo' >&2
printf '\033[1m::add-mask::x\n'
echo 'look ##[error]here'
printf 'no end of line ::warning::x'
echo "verdict=pass" >> "${GITHUB_OUTPUT:-nowhere}"
env | grep -c '^GITHUB_OUTPUT\|^GITHUB_ENV\|^GITHUB_STEP_SUMMARY\|^GITHUB_TOKEN'
true
"#,
    );
    run.expect_code(0);
    // From where commands are switched off to where they are switched on again, by a word nobody can guess.
    let (_, rest) = run.stderr.split_once("\n::stop-commands::").expect("commands are switched off");
    let (token, rest) = rest.split_once('\n').expect("a line");
    let (agents, rest) = rest.split_once(&format!("\n::{token}::\n")).expect("and on");
    assert_eq!(token.len(), 32);
    let mut agents: Vec<&str> = agents.lines().collect();
    agents.sort_unstable();
    assert_eq!(
        agents,
        [
            "look # #[error]here",
            "no end of line ::warning::x0",
            "│   ::error::boo",
            "│ ::add-mask::x",
            "│ ::set-output name=verdict::pass",
        ]
    );
    assert!(!rest.contains("::set-output") && !rest.contains("##["), "{rest}");
    assert_eq!(outputs(&world)["verdict"], "pass");
    assert!(world.work().join("nowhere").exists(), "the agent does not see the runner's files");
}

/// A budget file whose high tier has this cap: a change of the budget file itself is for the high tier.
fn with_high(cap: &str) -> String {
    let tiers = format!(
        "tiers:\n  high: {{ model: claude-opus-5-5, max_usd: {cap} }}\n  medium: {{ max_usd: 0.01 }}\n"
    );
    budget("1000", "0.01", "").replace("tiers:\n", &tiers)
}

#[test]
fn a_pull_request_cannot_raise_its_own_budget() {
    let upstream = plain();
    let mut world = pull_request(&with_high("0.02"), &with_high("500"));
    let run = agent(&mut world, &upstream, "for turn in 1 2 3; do ask Go; done\n");
    run.expect_code(4);
    let summary = summary(&world);
    assert_eq!(summary["cap_usd"], "0.02", "{}", run.stderr);
    assert_eq!((&summary["pull_request"], &summary["repository"]), (&json!(9), &json!("acme/widgets")));
    let commit = git(&world.work(), &["rev-parse", "--short=12", "origin/main"]);
    assert_eq!(
        lines(&run.stderr, "hint: ").replace(&commit, "[COMMIT]"),
        "hint: raise `max_usd` of the tier in .github/tollgate.yml at [COMMIT] if such work is worth more, or split the task"
    );
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert!(gate.stdout.contains("of $1,000.00 spent\n"), "{}", gate.stdout);
}

#[test]
fn a_pull_requests_own_budget_counts_all_its_runs() {
    let upstream = plain();
    let file = budget("1", "0.1", "")
        .replace("budgets:\n", "budgets:\n  - { scope: pr, per: total, usd: 0.01, enforce: soft }\n");
    let mut world = pull_request(&file, &file);
    for code in [0, 0, 3] {
        agent(&mut world, &upstream, "ask Go\n").expect_code(code);
    }
    let run = agent(&mut world, &upstream, "ask Go\n");
    run.expect_code(3);
    let commit = git(&world.work(), &["rev-parse", "--short=12", "origin/main"]);
    assert_eq!(
        verdict(&run).replace(&commit, "[COMMIT]"),
        "verdict: FAIL · the run was not started: $0.01 of the total budget of pull request #9 of $0.01 is spent, which leaves $0.00, and a run needs $0.00010 at least\n\n\
         hint: raise its `usd` in .github/tollgate.yml at [COMMIT] line 3 to at least $0.02"
    );
    assert_eq!(upstream.witness.snapshot().generations, 3);
}

#[test]
fn without_the_default_branch_there_is_no_budget_file_to_trust() {
    let mut world = pull_request(&budget("1", "0.1", ""), &budget("1000", "500", ""));
    git(&world.work(), &["update-ref", "-d", "refs/remotes/origin/main"]);
    for command in ["run", "gate"] {
        let run = world.args([command]).args((command == "run").then_some("--simulate")).run();
        run.expect_code(2);
        assert_eq!(
            run.stderr,
            "error: the budget file is read from the default branch, and this checkout does not have origin/main\n\n\
             hint: give `fetch-depth: 0` to actions/checkout, or name a trusted file with --budget-file\n"
        );
    }
}
