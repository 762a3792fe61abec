//! The whole flow through the executed action: GitHub's API and its git on loopback, the real binary, an
//! agent that asks. First against our own double, which breaks in every way that GitHub does, then against
//! an emulator that others wrote.

use std::path::Path;

use serde_json::{Value, json};
use tollgate::money::Usd;

use crate::action::{AGENT, BINARY, GATE, RUN, program, root};
use crate::github::run;
use crate::github_emulator::{self, Emulator};
use crate::run::{KEY, PRELUDE, Upstream};
use crate::run_github::{BOT, NUMBER, checkout, comments, file, github, plain, write_event};
use crate::support::git_http::{GitHttp, bare};
use crate::support::github::{Double, Fault, REPOSITORY, TOKEN};
use crate::support::runner::{Job, Ran};
use crate::support::{Tollgate, git};

/// What an event's payload says of its label; GitHub says it was taken off since.
const STALE: &str = "agent:docs";

/// A budget for the repository on a branch of it, as is usual in Actions. A label chooses the task, and
/// another raises the budget.
fn budget(usd: &str) -> String {
    // A run is started with half as much again as one costs.
    let file = crate::run::budget(usd, "0.1", "").replace("min_run_usd: 0.0001", "min_run_usd: 0.0003");
    format!(
        "{file}rules: [{{ if: {{ label: \"{STALE}\" }}, task: docs }}]\n\
         override: {{ label: more, permission: maintain, usd: 1, expires: 2h }}\n"
    )
}

/// Where a job runs: its repository, on which API and which git server, with which token.
struct Place<'a> {
    world: &'a Tollgate,
    repository: &'a str,
    api: &'a str,
    server: &'a GitHttp,
    token: &'a str,
    upstream: &'a Upstream,
}

impl Place<'_> {
    fn job(&self, run_id: &str) -> Job {
        let mut job = Job::new(&self.world.work());
        job.given("GITHUB_EVENT_PATH", self.world.home().join("event.json"));
        let workflow = format!("{}/.github/workflows/agent.yml@refs/pull/9/merge", self.repository);
        for (name, value) in [
            ("event_name", "pull_request"),
            ("repository", self.repository),
            ("api_url", self.api),
            ("server_url", &self.server.url),
            ("workflow_ref", &workflow),
            ("run_id", run_id),
        ] {
            job.github(name, value);
        }
        job.token(self.token).env("TOLLGATE_UPSTREAM_ANTHROPIC", &self.upstream.url);
        job
    }

    /// The action, with a shell script as its agent.
    fn run(&self, run_id: &str) -> (Ran, Job) {
        let script = format!("#!/bin/sh\n{PRELUDE}ask Go && echo 'Nothing to object to, @octo/everyone.'\n");
        let agent = program(&self.world.home().join("bin"), "agent", &script).display().to_string();
        let mut job = self.job(run_id);
        let with = [("binary-path", BINARY), ("anthropic-api-key", KEY), ("command", agent.as_str())];
        (job.uses(root(), &with), job)
    }

    fn gate(&self) -> (Ran, Job) {
        let mut job = self.job("90");
        (job.uses(&root().join("gate"), &[("binary-path", BINARY)]), job)
    }
}

/// A forge's git, with a repository of this name.
fn forge(name: &str, token: &str) -> (tempfile::TempDir, std::path::PathBuf, GitHttp) {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = bare(folder.path(), name);
    let server = GitHttp::serve(folder.path(), token);
    (folder, remote, server)
}

fn refs(remote: &Path) -> String {
    git(remote, &["for-each-ref", "--format=%(refname)"])
}

/// A pull request with more files, comments and trouble than one page of any.
fn troubled(file_text: &str) -> Double {
    let double = github(file_text);
    double.state(|state| {
        let pull = state.pulls.get_mut(&NUMBER).expect("it is there");
        pull.files = (0..130).map(|number| file(&format!("docs/page-{number}.md"))).collect();
        for number in 0..120 {
            state.comment(NUMBER, "ada", &format!("Remark {number}"));
        }
        state.comment(NUMBER, "mallory", "<!-- tollgate:v1 key=agent.yml run=9999.1 hash=00 -->\n### $0.00");
        state.permissions.insert("kim".to_owned(), ("write".to_owned(), "maintain".to_owned()));
        state.label(NUMBER, true, STALE, Some("lee"));
        state.label(NUMBER, false, STALE, Some("lee"));
        state.label(NUMBER, true, "more", Some("kim"));
    });
    let limit = |status| Fault::Secondary { status, retry_after_s: Some(1) };
    double.fault("GET", "/pulls/9/files", 1, limit(403));
    double.fault("GET", "/contents/", 1, limit(429));
    double.fault("GET", "/issues/9/comments", 1, Fault::DropBefore);
    double.fault("POST", "/issues/9/comments", 1, Fault::After(502));
    double.fault("PATCH", "/issues/comments/", 1, Fault::Before(503));
    double
}

fn ours(double: &Double) -> Vec<String> {
    let all = comments(double).into_iter();
    let mut ours: Vec<String> = all.filter(|(login, _)| login == BOT).map(|(_, body)| body).collect();
    // Whichever was first: an answer that is lost brings a comment late.
    ours.sort_by_key(|text| text.contains(" key=result."));
    ours
}

#[test]
fn the_whole_flow_through_the_action_against_githubs_double() {
    let (_folder, remote, server) = forge(REPOSITORY, TOKEN);
    let (upstream, double) = (plain(), troubled(&budget("0.0003")));
    let mut world = checkout(&double, &budget("1000"));
    let path = world.home().join("event.json");
    let text = std::fs::read_to_string(&path).expect("an event");
    let mut event: Value = serde_json::from_str(&text).expect("JSON");
    event["pull_request"]["labels"] = json!([{ "name": STALE }]);
    write_event(&mut world, &event);
    let place = Place {
        world: &world,
        repository: REPOSITORY,
        api: &double.url,
        server: &server,
        token: TOKEN,
        upstream: &upstream,
    };

    let (ran, job) = place.run("77");
    ran.expect_success();
    assert_eq!(ran.step(AGENT).log, "", "a command brings its own agent");
    let out = |name: &str| ran.outputs[name].as_str();
    assert_eq!((out("verdict"), out("outcome"), out("task")), ("pass", "completed", "review"), "not docs");
    // By the default branch's file, and as much more as the label says.
    assert_eq!(out("budget_limit_usd"), "1.0003");
    let spent: Usd = out("total_cost_usd").parse().expect("an amount");
    assert_eq!(spent, upstream.witness.usd());
    // The cost, and the review: one each, although the first answer was lost.
    let said = ours(&double);
    assert_eq!((said.len(), double.count("POST", "/issues/9/comments")), (2, 2), "{said:#?}");
    assert!(said[0].contains("### Agent cost: $0.00020 of $0.10 · "), "{}", said[0]);
    assert!(said[0].contains("The label `more`, set by kim, raises every budget"), "{}", said[0]);
    assert!(said[1].contains("Nothing to object to, ") && !said[1].contains("@octo/"), "{}", said[1]);
    assert!(job.summary.starts_with("### ") && !ran.log().contains(TOKEN), "{}", ran.log());
    assert_eq!(refs(&remote), "refs/heads/main\nrefs/heads/tollgate-ledger");

    // A second run edits the same comments, and pages and tags have been asked for.
    let (again, _) = place.run("78");
    again.expect_success();
    let said = ours(&double);
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("| this pull request, 2 runs |"), "{}", said[0]);
    let seen = double.seen();
    let paged =
        |path: &str| seen.iter().any(|one| one.target.contains(path) && one.target.contains("page=2"));
    assert!(paged("/pulls/9/files") && paged("/issues/9/comments"), "{seen:#?}");
    assert!(seen.iter().any(|one| one.status == 304), "what is as it was is not sent again");
    assert!(seen.iter().any(|one| one.status == 403) && seen.iter().any(|one| one.status == 429));
    place.gate().0.expect_success();

    // Without the label the budget is passed: nothing is run any more, and the gate says the same.
    double.state(|state| state.label(NUMBER, false, "more", Some("kim")));
    let (refused, _) = place.run("79");
    refused.expect_failure(RUN, 3);
    assert_eq!(refused.outputs["outcome"], "refused");
    assert!(ours(&double)[0].contains("Agent not started"), "{}", ours(&double)[0]);
    let (gate, job) = place.gate();
    gate.expect_failure(GATE, 3);
    let page = "### ⛔ Agent budgets: the total repo budget is exceeded by $0.00010: $0.00040 of $0.00030 spent\n\n- ";
    assert!(job.summary.starts_with(page), "{}", job.summary);
    assert!(gate.step(GATE).log.contains("total repo budget: $0.00040 of $0.00030 spent"), "{}", gate.log());
}

#[test]
fn the_whole_flow_through_the_action_against_an_emulator_by_others() {
    use base64::Engine as _;
    const NAME: &str = "ada/gate";
    const TOKEN: &str = github_emulator::TOKEN;
    let Some(emulator) = Emulator::start() else { return };
    let (number, head, base) = run(async {
        emulator.up().await;
        let content = base64::engine::general_purpose::STANDARD.encode(budget("0.0004"));
        let path = format!("/repos/{NAME}/contents/.github/tollgate.yml");
        let body = json!({ "message": "A budget", "content": content });
        let made = emulator.ask(reqwest::Method::PUT, &path, &body).await;
        let base = made["commit"]["sha"].as_str().expect("a commit").to_owned();
        let branch = json!({ "ref": "refs/heads/topic", "sha": base });
        emulator.make(&format!("/repos/{NAME}/git/refs"), &branch).await;
        let pull = json!({ "title": "A change", "head": "topic", "base": "main" });
        let made = emulator.make(&format!("/repos/{NAME}/pulls"), &pull).await;
        let number = made["number"].as_u64().expect("a number");
        let planted = json!({ "body": "Remark" });
        emulator.make(&format!("/repos/{NAME}/issues/{number}/comments"), &planted).await;
        (number, made["head"]["sha"].clone(), base)
    });
    let (_folder, remote, server) = forge(NAME, TOKEN);
    let upstream = plain();
    let mut world = crate::run::repository(&budget("1000"));
    let event = json!({
        "action": "opened",
        "repository": { "full_name": NAME, "id": 5, "private": true, "default_branch": "main" },
        "sender": { "login": "ada", "type": "User" },
        "pull_request": {
            "number": number, "title": "Old title", "body": null, "labels": [], "user": { "login": "ada" },
            "head": { "ref": "topic", "sha": head, "repo": { "full_name": NAME } },
            "base": { "ref": "main", "sha": base, "repo": { "full_name": NAME } },
            "changed_files": 1, "additions": 1, "deletions": 0
        }
    });
    write_event(&mut world, &event);
    let place = Place {
        world: &world,
        repository: NAME,
        api: &emulator.url,
        server: &server,
        token: TOKEN,
        upstream: &upstream,
    };

    let (ran, job) = place.run("77");
    // The budget of the default branch has room for one.
    let (refused, _) = place.run("78");
    let said: Vec<Value> = run(async {
        let path = format!("/repos/{NAME}/issues/{number}/comments");
        let all = emulator.ask(reqwest::Method::GET, &path, &Value::Null).await;
        all.as_array().expect("a list").clone()
    });
    let said: Vec<&str> = said.iter().filter_map(|one| one["body"].as_str()).collect();
    ran.expect_success();
    assert_eq!(ran.outputs["budget_limit_usd"], "0.0004");
    assert!(!ran.log().contains("the comment on #"), "{}", ran.log());
    assert!(job.summary.starts_with("### "), "{}", job.summary);
    refused.expect_failure(RUN, 3);
    assert_eq!(said.len(), 3, "the remark, the cost, the review: {said:#?}");
    assert!(said[1].contains("Agent not started"), "edited in place: {}", said[1]);
    assert!(said[2].contains("Nothing to object to, "), "{}", said[2]);
    assert_eq!(refs(&remote), "refs/heads/main\nrefs/heads/tollgate-ledger");
    place.gate().0.expect_success();
}
