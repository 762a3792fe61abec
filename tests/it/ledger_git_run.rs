//! Whole runs at a ledger on a branch: several at once, in Actions and outside, and repositories that share one.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate::money::Usd;

use crate::support::git_http::{GitHttp, bare};
use crate::support::{Tollgate, git};

const TOKEN: &str = "ghs_TESTtoken0123456789";

/// A repository whose `origin` is a bare one, with a budget for so much and a cap of a dollar.
fn world(origin: &Path, usd: &str, ledger: &str) -> Tollgate {
    let file = format!(
        "version: 1\nledger: {ledger}\nbudgets:\n  - {{ scope: repo, per: total, usd: {usd} }}\n\
         tiers:\n  high: {{ max_usd: 1.00 }}\n  medium: {{ max_usd: 1.00 }}\n  low: {{ max_usd: 1.00 }}\n\
         on: {{ low_budget: refuse }}\n"
    );
    let mut world = Tollgate::in_repository(&[(".github/tollgate.yml", &file)]);
    git(&world.work(), &["remote", "add", "origin", &format!("file://{}", origin.display())]);
    world.time_max(std::time::Duration::from_secs(120));
    world
}

fn refs(remote: &Path) -> String {
    git(remote, &["for-each-ref", "--format=%(refname)"])
}

fn shown(world: &mut Tollgate, simulate: bool) -> Value {
    let flag = simulate.then_some("--simulate");
    let verified = world.args(["ledger", "verify"]).args(flag).run();
    verified.expect_code(0);
    assert!(verified.stdout.contains("chain intact, head equals fold"), "{}", verified.stdout);
    let show = world.args(["ledger", "show", "--format", "json"]).args(flag).run();
    show.expect_code(0);
    serde_json::from_str(&show.stdout).expect("JSON")
}

/// What one simulated run costs here.
fn cost_of_one() -> Usd {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let mut first = world(&remote, "1000", "git");
    first.args(["run", "--simulate"]).run().expect_code(0);
    let spent = &shown(&mut first, true)["budgets"][0]["settled_usd"];
    spent.as_str().expect("an amount").parse().expect("an amount")
}

#[test]
fn five_runs_at_once_share_a_budget_that_has_room_for_three() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    // A cap of which a run uses four fifths: three of them are too much for a fourth, held or settled.
    let cost = cost_of_one();
    let cap = Usd::from_pico(cost.pico() * 5 / 4);
    let limit = cap + cap + cap;
    let worlds: Vec<Tollgate> = (0..5)
        .map(|_| {
            let world = world(&remote, &limit.to_string(), "git");
            let file = std::fs::read_to_string(world.work().join(".github/tollgate.yml")).expect("a file");
            let file = file.replace("max_usd: 1.00", &format!("max_usd: {cap}"));
            world.commit(&[(".github/tollgate.yml", &file)], "Room for three");
            world
        })
        .collect();
    let children: Vec<_> = worlds
        .iter()
        .map(|world| {
            let mut command = world.command();
            command.args(["run", "--simulate"]).spawn().expect("it starts")
        })
        .collect();
    let mut codes = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        let (refused, needs) =
            ("the run was not started: ", format!("and a run needs {} at least", cap.shown()));
        assert_eq!(code == Some(3), said.contains(refused) && said.contains(&needs), "{said}");
        codes.push(code);
    }
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(3), Some(3)]);
    let mut last = worlds.into_iter().next().expect("a world");
    let ledger = shown(&mut last, true);
    let settled: Usd =
        ledger["budgets"][0]["settled_usd"].as_str().expect("an amount").parse().expect("an amount");
    assert!(settled <= limit, "{settled} of {limit}");
    assert_eq!(ledger["live"], serde_json::json!([]));
    assert_eq!(ledger["runs"].as_array().map(Vec::len), Some(3));
    assert_eq!(refs(&remote), "refs/heads/main\nrefs/heads/tollgate-ledger");
    // `verify` has checked every grant against the limit as it stood then.
}

#[test]
fn a_budget_without_room_refuses_on_a_branch_as_in_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), "r.git");
    let mut world = world(&remote, "0.05", "git");
    let run = world.args(["run", "--simulate"]).run();
    run.expect_code(3);
    assert!(run.stderr.contains("the run was not started"), "{}", run.stderr);
    assert_eq!(refs(&remote), "refs/heads/main\nrefs/heads/tollgate-ledger", "a refusal is on record");
}

/// As a step of a workflow in `repository`, whose forge is `server`.
fn on_actions(world: &mut Tollgate, server: &GitHttp, repository: &str, id: &str) {
    world
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_SERVER_URL", &server.url)
        .env("GITHUB_REPOSITORY", repository)
        .env("GITHUB_REPOSITORY_ID", id)
        .env("GITHUB_RUN_ID", "77")
        .env("GITHUB_JOB", "review");
}

fn forge() -> (tempfile::TempDir, PathBuf, GitHttp) {
    let folder = tempfile::tempdir().expect("a folder");
    // A forge takes a repository's name without `.git`.
    let remote = bare(folder.path(), "acme/widgets");
    let server = GitHttp::serve(folder.path(), TOKEN);
    (folder, remote, server)
}

#[test]
fn in_actions_the_books_are_a_branch_of_the_repository_unless_the_run_is_simulated() {
    let (_folder, remote, server) = forge();
    let mut world = world(&remote, "5", "git");
    let file = std::fs::read_to_string(world.work().join(".github/tollgate.yml")).expect("a file");
    world.file(".github/tollgate.yml", &file.replace("ledger: git\n", ""));
    on_actions(&mut world, &server, "acme/widgets", "5");
    let gate = world.args(["gate"]).run();
    gate.expect_code(2);
    assert_eq!(
        gate.stderr,
        "error: the ledger is a branch of this repository, and GITHUB_TOKEN is not set\n\nhint: give the step `env: { \
         GITHUB_TOKEN: ${{ github.token }} }` and the job `permissions: { contents: write }`, or write `ledger: file` \
         in the budget file\n"
    );
    world.env("GITHUB_TOKEN", TOKEN);
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        gate.stdout,
        "total repo budget: $0.00 of $5.00 spent\npass: every budget is within its limit\n"
    );
    assert!(!server.logins.lock().expect("a list").is_empty());
    let asked = server.logins.lock().expect("a list").len();
    world.args(["run", "--simulate"]).run().expect_code(0);
    assert_eq!(server.logins.lock().expect("a list").len(), asked, "play money goes nowhere unasked");
    assert_eq!(refs(&remote), "refs/heads/main");
    // Where the file names the branch, simulated runs have a namespace on it.
    world.file(".github/tollgate.yml", &file);
    world.args(["run", "--simulate"]).run().expect_code(0);
    assert_eq!(refs(&remote), "refs/heads/main\nrefs/heads/tollgate-ledger");
    assert_eq!(shown(&mut world, true)["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown(&mut world, false)["runs"].as_array().map(Vec::len), Some(0));
}

#[test]
fn repositories_that_share_a_ledger_keep_their_purses_apart_and_an_owner_counts_both() {
    let (folder, _, server) = forge();
    let shared = bare(folder.path(), "acme/books");
    let mut holds = Vec::new();
    let mut last = None;
    for (repository, id) in [("acme/widgets", "5"), ("acme/gadgets", "6")] {
        let mut world = world(&shared, "5", "git:acme/books#spend");
        let file = std::fs::read_to_string(world.work().join(".github/tollgate.yml")).expect("a file");
        let with_org = file.replace("budgets:\n", "budgets:\n  - { scope: org, per: total, usd: 9 }\n");
        world.commit(&[(".github/tollgate.yml", &with_org)], "Count the owner's");
        let commit = git(&world.work(), &["rev-parse", "HEAD"]);
        git(&world.work(), &["update-ref", "refs/remotes/origin/main", &commit]);
        on_actions(&mut world, &server, repository, id);
        let event = serde_json::json!({
            "ref": "refs/heads/main", "before": commit, "after": commit, "commits": [],
            "repository": { "full_name": repository, "id": id.parse::<u64>().expect("a number"), "default_branch": "main" },
            "sender": { "login": "lee", "type": "User" }
        });
        let path = world.home().join("event.json");
        std::fs::write(&path, event.to_string()).expect("a file");
        world
            .env("GITHUB_EVENT_PATH", path)
            .env("GITHUB_EVENT_NAME", "push")
            .env("GITHUB_REF", "refs/heads/main");
        let gate = world.args(["gate"]).run();
        gate.expect_code(2);
        assert!(
            gate.stderr
                .starts_with("error: the ledger is in acme/books, and TOLLGATE_LEDGER_TOKEN is not set"),
            "{}",
            gate.stderr
        );
        world.env("TOLLGATE_LEDGER_TOKEN", TOKEN);
        let run = world.args(["run", "--simulate"]).run();
        run.expect_code(0);
        let ledger = shown(&mut world, true);
        holds.push(ledger["runs"].as_array().expect("runs").len());
        last = Some((ledger, world));
    }
    assert_eq!(holds, [1, 2]);
    let (ledger, mut world) = last.expect("two");
    let amount = |purse: &str| {
        let budgets = ledger["budgets"].as_array().expect("budgets");
        let found =
            budgets.iter().find(|budget| budget["purse"].as_str().is_some_and(|name| name.ends_with(purse)));
        let text = found.unwrap_or_else(|| panic!("{purse}: {budgets:?}"))["settled_usd"]
            .as_str()
            .expect("an amount");
        text.parse::<Usd>().expect("an amount")
    };
    let (widgets, gadgets) = (amount("/5 repo"), amount("/6 repo"));
    assert!(widgets > Usd::ZERO && gadgets > Usd::ZERO);
    assert_eq!(amount("org:acme"), widgets + gadgets);
    let gate = world.args(["gate", "--simulate"]).run();
    gate.expect_code(0);
    let lines: Vec<&str> = gate.stdout.lines().collect();
    assert!(lines[0].starts_with("total budget of org acme: "), "{}", gate.stdout);
    assert!(lines[1].starts_with("total repo budget: "), "{}", gate.stdout);
    assert!(refs(&shared).contains("refs/heads/spend"));
}
