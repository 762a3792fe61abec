//! `tollgate run` on a pull request of a GitHub that keeps state: whose budget file counts, and what is
//! written where.

use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use tollgate::simulate::{Answer, Script};

use crate::run::{Upstream, agent, repository, serve, summary};
use crate::support::github::{Double, Fault, Pull, REPOSITORY, TOKEN};
use crate::support::{Run, Tollgate, git};

/// Whose token it is.
pub(crate) const BOT: &str = "github-actions[bot]";
/// The newest commit of the default branch.
const TIP: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// The pull request.
pub(crate) const NUMBER: u64 = 9;

/// A budget file as in [`crate::run::budget`] under which the cost comment is the only one.
pub(crate) fn budget(usd: &str, cap: &str, on: &str) -> String {
    format!("{}ledger: file\nagent: {{ deliver: {{ review: patch }} }}\n", crate::run::budget(usd, cap, on))
}

pub(crate) fn plain() -> Upstream {
    serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()))
}

/// A repository at GitHub whose default branch has this budget file, with a pull request.
pub(crate) fn github(budget: &str) -> Double {
    let double = Double::start();
    double.state(|state| {
        state.now = jiff::Timestamp::now();
        state.branches.insert("main".to_owned(), TIP.to_owned());
        state.files(TIP, &[(".github/tollgate.yml", "100644", budget)]);
        let files = vec![file("docs/guide.md")];
        state.pulls.insert(NUMBER, Pull { title: "Say how to begin".into(), files, ..Pull::default() });
    });
    double
}

pub(crate) fn file(path: &str) -> serde_json::Value {
    json!({
        "sha": "d".repeat(40), "filename": path, "status": "modified", "additions": 1, "deletions": 0,
        "changes": 1, "blob_url": "https://github.com/b", "raw_url": "https://github.com/r",
        "contents_url": "https://api.github.com/c", "patch": "@@ -1 +1,2 @@\n+more",
    })
}

/// A checkout on a runner, with the event of that pull request as it was when it was opened.
pub(crate) fn checkout(double: &Double, theirs: &str) -> Tollgate {
    let mut world = repository(theirs);
    let event = json!({
        "action": "opened",
        "repository": { "full_name": REPOSITORY, "id": 5, "private": true, "default_branch": "main" },
        "sender": { "login": "lee", "type": "User" },
        "pull_request": {
            "number": NUMBER, "title": "Old title", "body": null, "labels": [], "user": { "login": "lee" },
            "head": { "ref": "topic", "sha": "a".repeat(40), "repo": { "full_name": REPOSITORY } },
            "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "full_name": REPOSITORY } },
            "changed_files": 1, "additions": 1, "deletions": 0
        }
    });
    write_event(&mut world, &event);
    for (name, file) in [("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md")] {
        let path = world.home().join(file);
        fs::write(&path, "").expect("a file");
        world.env(name, path);
    }
    world
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_NAME", "pull_request")
        .env("GITHUB_REPOSITORY", REPOSITORY)
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_WORKFLOW_REF", format!("{REPOSITORY}/.github/workflows/agent.yml@refs/pull/9/merge"))
        .env("GITHUB_RUN_ID", "77")
        .env("GITHUB_RUN_ATTEMPT", "2")
        .env("GITHUB_JOB", "review")
        .env("GITHUB_API_URL", &double.url)
        .env("GITHUB_TOKEN", TOKEN);
    world
}

pub(crate) fn write_event(world: &mut Tollgate, event: &serde_json::Value) {
    let path = world.home().join("event.json");
    fs::write(&path, event.to_string()).expect("a file");
    world.env("GITHUB_EVENT_PATH", path);
}

/// The comments there are: whose, and what they say.
pub(crate) fn comments(double: &Double) -> Vec<(String, String)> {
    double.state(|state| state.comments.iter().map(|row| (row.login.clone(), row.body.clone())).collect())
}

fn writes(double: &Double) -> (usize, usize) {
    (double.count("POST", "/comments"), double.count("PATCH", "/comments"))
}

fn warnings(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
}

#[test]
fn a_status_says_the_verdict_where_the_file_asks_for_one() {
    let (upstream, double) = (plain(), github(&format!("{}status: tollgate\n", budget("1", "0.1", ""))));
    let mut world = checkout(&double, "version: 1\n");
    let set = |double: &Double| {
        let rows = double.state(|state| std::mem::take(&mut state.statuses));
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let row = |(commit, row): &(String, serde_json::Value)| {
            assert_eq!(commit, &"a".repeat(40));
            assert_eq!(text(row, "target_url"), format!("https://github.com/{REPOSITORY}/actions/runs/77"));
            ["context", "state", "description"].map(|name| text(row, name))
        };
        rows.iter().map(row).collect::<Vec<_>>()
    };
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    assert_eq!(set(&double), [["tollgate", "success", "Agent cost: $0.00020 of $0.10 · within budget"]]);
    // GitHub has done it, and says that it has failed.
    double.fault("POST", "/statuses/", 1, Fault::After(502));
    agent(&mut world, &upstream, "ask Go; exit 7\n").expect_code(5);
    assert_eq!(set(&double), [["tollgate", "failure", "Agent cost: $0.00020 of $0.10 · the agent failed"]]);
    // It decides nothing.
    double.fault("POST", "/statuses/", 1, Fault::Before(403));
    let run = agent(&mut world, &upstream, "ask Go\n");
    run.expect_code(0);
    let said =
        "the status `tollgate` of commit aaaaaaaaaaaa could not be set, which takes `statuses: write`: ";
    assert!(warnings(&run).iter().any(|warning| warning.contains(said)), "{:?}", warnings(&run));
    assert_eq!(set(&double), Vec::<[String; 3]>::new());
    // What was not started has one as well.
    let small = budget("0.1", "0.1", "").replace("min_run_usd: 0.0001", "min_run_usd: 0.0999");
    let double = github(&format!("{small}status: cost / agent\n"));
    let mut world = checkout(&double, "version: 1\n");
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    agent(&mut world, &upstream, "ask Go\n").expect_code(3);
    let refused = "Agent not started: total repo budget has only $0.10 left";
    assert_eq!(set(&double)[1], ["cost / agent", "failure", refused]);
}

#[test]
fn one_comment_is_begun_at_the_start_and_brought_up_to_date_at_the_end() {
    let (upstream, double) = (plain(), github(&budget("1", "0.1", "")));
    let mut world = checkout(&double, &budget("1", "0.1", ""));
    // The agent itself sees that its run was announced, and does not see the token.
    let run = agent(&mut world, &upstream, "env > ../agent.env; ask Go\n");
    run.expect_code(0);
    let first = comments(&double);
    assert_eq!((first.len(), writes(&double)), (1, (1, 1)), "{first:?}");
    let (login, body) = &first[0];
    assert_eq!(login, BOT);
    assert!(body.starts_with("<!-- tollgate:v1 key=agent.yml run=77.2 hash="), "{body}");
    assert!(body.contains("\n### Agent cost: $0.00020 of $0.10 · within budget\n"), "{body}");
    assert!(body.contains(" · commit `aaaaaaaaaaaa`</sub>"), "{body}");
    assert_eq!(run.stdout.trim_end(), body.trim_end(), "what is printed is what is posted");
    let seen = fs::read_to_string(world.work().join("../agent.env")).expect("an environment");
    assert!(!seen.contains(TOKEN) && !run.stderr.contains(TOKEN));
    assert_eq!(warnings(&run), Vec::<&str>::new());
    // The next workflow run edits the same one.
    world.env("GITHUB_RUN_ID", "78").env("GITHUB_RUN_ATTEMPT", "1");
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    let second = comments(&double);
    assert_eq!((second.len(), writes(&double)), (1, (1, 3)));
    assert!(second[0].1.contains("| this pull request, 2 runs |"), "{}", second[0].1);
    // A run that is started again with an older id has nothing to say any more.
    world.env("GITHUB_RUN_ID", "77").env("GITHUB_RUN_ATTEMPT", "3");
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    assert_eq!(comments(&double), second);
    assert_eq!(writes(&double), (1, 3));
}

#[test]
fn a_planted_marker_is_not_ours() {
    let (upstream, double) = (plain(), github(&budget("1", "0.1", "")));
    let planted = "<!-- tollgate:v1 key=agent.yml run=9999.1 hash=00 -->\n### Agent cost: $0.00";
    double.state(|state| state.comment(NUMBER, "mallory", planted));
    let mut world = checkout(&double, &budget("1", "0.1", ""));
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    let all = comments(&double);
    assert_eq!(all[0], ("mallory".to_owned(), planted.to_owned()));
    assert_eq!((all.len(), all[1].0.as_str()), (2, BOT));
}

#[test]
fn a_run_writes_five_times_at_most() {
    let file = format!("{}alerts: [10, 20, 30, 40, 50, 60, 70, 80, 90]\n", budget("1", "0.003", ""));
    let (upstream, double) = (plain(), github(&file));
    let mut world = checkout(&double, &file);
    let script = "turn=0; while [ $turn -lt 20 ] && ! stopped 2>/dev/null; do turn=$((turn+1)); ask Go; sleep 0.2; done\n";
    agent(&mut world, &upstream, script).expect_code(4);
    let (posts, patches) = writes(&double);
    assert_eq!((posts, patches), (1, 4), "start, alerts, end");
    let body = &comments(&double)[0].1;
    assert!(body.contains("stopped at its cap"), "the last word is the end's: {body}");
}

#[test]
fn what_says_the_same_is_not_written_again() {
    let file = budget("0.0004", "0.1", "").replace("0.0001", "0.0003");
    let (upstream, double) = (plain(), github(&file));
    let mut world = checkout(&double, &file);
    agent(&mut world, &upstream, "ask Go\n");
    // From here on nothing is left, and two refusals are as like as can be.
    agent(&mut world, &upstream, "ask Go\n").expect_code(3);
    let before = writes(&double);
    let body = comments(&double)[0].1.clone();
    assert!(body.contains("### ⛔ Agent not started"), "{body}");
    agent(&mut world, &upstream, "ask Go\n").expect_code(3);
    assert_eq!(writes(&double), before);
}

#[test]
fn a_long_comment_is_cut_to_what_github_takes() {
    let file = format!("{}comment: {{ result: details }}\n", budget("1", "0.1", ""));
    let (upstream, double) = (plain(), github(&file));
    let mut world = checkout(&double, &file);
    let script = "ask Go; yes 'A line of the report that goes on and on.' | head -n 3000\n";
    let run = agent(&mut world, &upstream, script);
    run.expect_code(0);
    let body = &comments(&double)[0].1;
    let length = body.chars().count();
    assert!((60_000..=65_536).contains(&length), "{length}");
    assert!(
        body.ends_with("_The rest did not fit into a comment; the job summary has all of it._"),
        "{length}"
    );
    assert_eq!(warnings(&run), Vec::<&str>::new());
}

#[test]
fn an_answer_that_is_lost_does_not_make_a_second_comment() {
    for fault in [Fault::After(502), Fault::DropAfter] {
        let (upstream, double) = (plain(), github(&budget("1", "0.1", "")));
        double.fault("POST", "/comments", 1, fault);
        let mut world = checkout(&double, &budget("1", "0.1", ""));
        agent(&mut world, &upstream, "ask Go\n").expect_code(0);
        let all = comments(&double);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].1.contains("within budget"), "{}", all[0].1);
    }
}

#[test]
fn a_comment_that_cannot_be_written_decides_nothing() {
    for (cap, code) in [("0.1", 0), ("0.0003", 4)] {
        let (upstream, double) = (plain(), github(&budget("1", cap, "")));
        double.fault("POST", "/comments", 9, Fault::Forbidden(Some("issues=write; pull_requests=write")));
        let mut world = checkout(&double, &budget("1", cap, ""));
        let run = agent(&mut world, &upstream, "ask Go\nask Go\n");
        run.expect_code(code);
        let warned = warnings(&run);
        assert_eq!(warned.len(), 1, "{}", run.stderr);
        assert!(
            warned[0].starts_with(
                "warning: the comment on #9 could not be brought up to date: GitHub refuses `POST "
            ),
            "{}",
            warned[0]
        );
        assert_eq!(comments(&double), []);
        let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
        assert!(page.starts_with("### "), "the job summary has it all the same: {page}");
    }
}

#[test]
fn a_comment_waits_for_what_the_file_says() {
    for (policy, script, written) in [
        ("{ mode: off }", "ask Go\n", 0),
        ("{ only_when: spent }", "ask Go\n", 1),
        ("{ only_when: alert }", "ask Go\n", 0),
        ("{ only_when: alert }", "ask Go\nexit 1\n", 1),
    ] {
        let file = format!("{}comment: {policy}\n", budget("1", "0.1", ""));
        let (upstream, double) = (plain(), github(&file));
        let mut world = checkout(&double, &file);
        agent(&mut world, &upstream, script);
        assert_eq!(comments(&double).len(), written, "{policy}");
    }
    let file = format!("{}comment: {{ mode: hide-and-new }}\n", budget("1", "0.1", ""));
    let (upstream, double) = (plain(), github(&file));
    let mut world = checkout(&double, &file);
    for run in ["77", "78"] {
        agent(world.env("GITHUB_RUN_ID", run), &upstream, "ask Go\n").expect_code(0);
    }
    let hidden: Vec<bool> = double.state(|state| state.comments.iter().map(|row| row.hidden).collect());
    assert_eq!(hidden, [true, false]);
}

#[test]
fn what_is_left_to_burn_is_shown_to_whom_the_file_says() {
    for (private, show, all) in
        [(true, "auto", true), (false, "auto", false), (false, "all", true), (true, "own", false)]
    {
        let file = format!("{}comment: {{ show: {show} }}\n", budget("1", "0.1", ""));
        let (upstream, double) = (plain(), github(&file));
        let mut world = checkout(&double, &file);
        let path = world.home().join("event.json");
        let text = fs::read_to_string(path).expect("an event");
        let mut event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        event["repository"]["private"] = private.into();
        write_event(&mut world, &event);
        agent(&mut world, &upstream, "ask Go\n").expect_code(0);
        let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
        for text in [&comments(&double)[0].1, &page] {
            assert_eq!(text.contains("\n| repo"), all, "{private} {show}: {text}");
        }
        fs::write(world.home().join("summary.md"), "").expect("a summary");
        world.args(["gate"]).run().expect_code(0);
        let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
        assert!(page.starts_with("### Agent budgets: every budget is within its limit\n"), "{page}");
        assert_eq!(page.contains("\n- total repo budget: "), all, "{private} {show}: {page}");
    }
}

#[test]
fn parallel_jobs_show_each_other_in_one_comment() {
    let (upstream, double) = (plain(), github(&budget("1", "0.1", "")));
    let mut world = checkout(&double, &budget("1", "0.1", ""));
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    agent(world.env("GITHUB_JOB", "docs"), &upstream, "ask Go\n").expect_code(0);
    let all = comments(&double);
    assert_eq!(all.len(), 1);
    assert!(
        all[0].1.contains("\n| job review · review | claude-haiku-5-5 | 1 | – | 400 | $0.00020 |\n"),
        "{}",
        all[0].1
    );
}

#[test]
fn a_budget_that_a_pull_request_raises_is_judged_by_the_old_one() {
    let (ours, theirs) = (budget("1000", "0.0003", ""), budget("1000", "500", ""));
    let (upstream, double) = (plain(), github(&ours));
    let head = "a".repeat(40);
    double.state(|state| {
        state.files(&head, &[(".github/tollgate.yml", "100644", &theirs)]);
        let pull = state.pulls.get_mut(&NUMBER).expect("it is there");
        pull.files.push(file(".github/tollgate.yml"));
    });
    let tiers = "  high: { model: claude-opus-5-5, max_usd: 0.02 }\n  medium: { max_usd: 0.01 }\n";
    let (ours, theirs) = (
        ours.replace("tiers:\n", &format!("tiers:\n{tiers}")),
        theirs.replace("tiers:\n", &format!("tiers:\n{}", tiers.replace("0.02", "600"))),
    );
    double.state(|state| {
        state.files(TIP, &[(".github/tollgate.yml", "100644", &ours)]);
        state.files(&head, &[(".github/tollgate.yml", "100644", &theirs)]);
    });
    let mut world = checkout(&double, &theirs);
    let run = agent(&mut world, &upstream, "for turn in 1 2 3; do ask Go; done\n");
    run.expect_code(4);
    assert_eq!(summary(&world)["cap_usd"], "0.02", "{}", run.stderr);
    let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
    for text in [&page, &comments(&double)[0].1] {
        assert!(
            text.contains(
                "**This pull request edits the budget file.** The edit takes effect after merge; this run was judged by `.github/tollgate.yml at cccccccccccc`."
            ),
            "{text}"
        );
        assert!(text.contains("\n- high claude-opus-5-5 $0.02 2,000,000 new tokens 40m\n"), "{text}");
        assert!(text.contains("\n+ high claude-opus-5-5 $600.00 2,000,000 new tokens 40m\n"), "{text}");
    }
    let events = fs::read_dir(world.work().join(".tollgate/events")).expect("a ledger");
    let text: String =
        events.map(|e| fs::read_to_string(e.expect("an entry").path()).expect("text")).collect();
    assert!(text.contains(&format!("\"budget\":\"{TIP}\"")), "the commit is in the ledger: {text}");
}

#[test]
fn where_github_cannot_be_asked_the_checkout_has_the_default_branch() {
    let file = budget("1", "0.1", "");
    let (upstream, double) = (plain(), github(&budget("2", "0.1", "")));
    double.fault("GET", "/contents/", 9, Fault::Forbidden(None));
    for (token, why) in [
        (TOKEN, "GitHub refuses `GET /repos/octo/gate/contents/.github/tollgate.yml"),
        ("", "GitHub was not asked, which takes `GITHUB_TOKEN`"),
    ] {
        let mut world = checkout(&double, &file);
        let base = git(&world.work(), &["rev-parse", "HEAD"]);
        git(&world.work(), &["update-ref", "refs/remotes/origin/main", &base]);
        let run = agent(world.env("GITHUB_TOKEN", token), &upstream, "ask Go\n");
        run.expect_code(0);
        assert_eq!(summary(&world)["budget_limit_usd"], "1");
        let said = "The budget file is that of origin/main in this checkout: ";
        let found = run.stdout.lines().find_map(|line| line.strip_prefix("- ")?.strip_prefix(said));
        assert!(found.is_some_and(|found| found.replace('\u{200b}', "").starts_with(why)), "{}", run.stdout);
    }
}

#[test]
fn facts_are_those_of_now_and_a_head_that_moved_is_said() {
    let (upstream, double) = (plain(), github(&budget("1", "0.1", "")));
    double.state(|state| {
        let pull = state.pulls.get_mut(&NUMBER).expect("it is there");
        pull.head.1 = "e".repeat(40);
        pull.files = vec![file("src/auth/login.rs")];
    });
    let mut world = checkout(&double, &budget("1", "0.1", ""));
    let run = agent(&mut world, &upstream, "ask Go\n");
    assert_ne!(summary(&world)["stakes"], "low", "the files are those of now: {}", run.stderr);
    let said = "The branch has moved on to `eeeeeeeeeeee` since this run was triggered; this report is about the commit before.";
    assert_eq!(run.stdout.matches(said).count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("commit `aaaaaaaaaaaa`"), "{}", run.stdout);
}

/// A webhook: its address, and what it is told.
fn webhook() -> (String, mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook/s3cret-path", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.ends_with('}') {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            let _ = sender.send(text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned());
        }
    });
    (url, receiver)
}

#[test]
fn a_threshold_is_told_to_its_webhook_once() {
    let file = budget("0.001", "0.1", "")
        .replace("version: 1\n", "version: 1\nalerts: [{ at: 30, webhook_env: HOOK }, 50]\n");
    let (upstream, double) = (plain(), github(&file));
    let (url, told) = webhook();
    let mut world = checkout(&double, &file);
    world.env("HOOK", &url);
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(agent(&mut world, &upstream, "ask Go\nenv | grep HOOK\ntrue\n"));
    }
    let told_of = told.recv_timeout(Duration::from_secs(5));
    let text = told_of.unwrap_or_else(|_| panic!("nothing is told: {runs:#?}"));
    let text: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        text,
        json!({ "text": format!(
            "{REPOSITORY}: The total repo budget stands at $0.00040 of $0.0010: 30 % is reached.\nhttps://github.com/{REPOSITORY}/actions/runs/77"
        ) })
    );
    assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "and once");
    for run in &runs {
        assert!(!run.stderr.contains("s3cret-path") && !run.stdout.contains("s3cret-path"), "{}", run.stderr);
        assert_eq!(warnings(run), Vec::<&str>::new());
    }
}

#[test]
fn a_webhook_that_is_not_told_is_a_warning() {
    let file = budget("0.001", "0.1", "")
        .replace("version: 1\n", "version: 1\nalerts: [{ at: 10, webhook_env: HOOK }]\n");
    for (value, why) in [
        (None, "the variable is not set"),
        (Some("http://hooks.example.com/x"), "its address is not https, and would travel unencrypted"),
    ] {
        let (upstream, double) = (plain(), github(&file));
        let mut world = checkout(&double, &file);
        if let Some(value) = value {
            world.env("HOOK", value);
        }
        let run = agent(&mut world, &upstream, "ask Go\n");
        run.expect_code(0);
        assert_eq!(warnings(&run), [format!("warning: the webhook in HOOK was not told of 10 %: {why}")]);
    }
}
