//! What becomes of an agent's result: a comment that does nothing, a branch of its own, or the files alone.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tollgate::simulate::{Answer, Script};

use crate::deliver_world::Forge;
use crate::run::{KEY, agent, lines, repository, serve, verdict};
use crate::run_actions::{plain, pull_request, runner};
use crate::support::{Run, Tollgate, git};

/// The job's own token. It must be found nowhere but at the forge.
const TOKEN: &str = "ghs_canaryCanaryCanary0123456789abcdef";

/// A budget file as in [`crate::run::budget`] under which only results are posted.
fn budget(usd: &str, cap: &str, on: &str) -> String {
    format!("{}ledger: file\ncomment: {{ mode: off }}\n", crate::run::budget(usd, cap, on))
}

/// A pull request at a forge, with this way to deliver whatever the task is.
fn at_forge(deliver: &str) -> (Tollgate, Forge) {
    let tiers = "tiers:\n  high: { model: claude-opus-5-5, max_usd: 0.1 }\n";
    let all = format!("{{ review: {deliver}, docs: {deliver}, implementation: {deliver} }}");
    let file = budget("1", "0.1", "").replace("tiers:\n", tiers) + &format!("agent:\n  deliver: {all}\n");
    let mut world = pull_request(&file, &file);
    let forge = Forge::serve(&git(&world.work(), &["rev-parse", "HEAD"]));
    world.env("GITHUB_API_URL", &forge.url).env("GITHUB_TOKEN", TOKEN);
    (world, forge)
}

/// The end of every secret in every spelling.
fn no_canary(text: &str) {
    for secret in [KEY, TOKEN] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let base64 = STANDARD.encode(secret);
        for spelling in [secret, &hex, &hex.to_uppercase(), base64.trim_end_matches('=')] {
            assert!(!text.contains(spelling), "{spelling} is in:\n{text}");
        }
    }
}

fn comments(forge: &Forge) -> Vec<(String, String)> {
    forge.state().comments.clone()
}

#[test]
fn a_review_is_a_comment_of_its_own_that_is_edited_in_place() {
    let upstream = plain();
    let (mut world, forge) = at_forge("comment");
    // Anybody can plant a marker.
    let planted = "<!-- tollgate:v1 key=result.review run=1 hash=0 -->\nmine".to_owned();
    forge.state().comments.push(("mallory".to_owned(), planted.clone()));
    let head = git(&world.work(), &["rev-parse", "--short=12", "HEAD"]);
    for (says, shown) in
        [("## One\n\ncc @lee, fixes #3", "## One\n\ncc @\u{200b}lee, fixes #\u{200b}3"), ("Two", "Two")]
    {
        let run = agent(&mut world, &upstream, &format!("ask Go\ncat <<'END'\n{says}\nEND\n"));
        run.expect_code(0);
        let comments = comments(&forge);
        assert_eq!(comments.len(), 2, "{comments:?}");
        assert_eq!(comments[0].1, planted, "somebody else's comment is left alone");
        let (marker, body) = comments[1].1.split_once('\n').expect("lines");
        assert!(marker.starts_with("<!-- tollgate:v1 key=result.review run=77 hash="), "{marker}");
        assert_eq!(
            body,
            format!(
                "### The agent's review · `{head}`\n\n{shown}\n\n<sub>Written by an agent. Links, mentions and images in it are switched off.</sub>\n"
            )
        );
    }
}

#[test]
fn a_comment_names_the_commit_that_it_is_about_when_the_pull_request_has_moved() {
    let upstream = plain();
    let (mut world, forge) = at_forge("comment");
    forge.state().head = "3".repeat(40);
    agent(&mut world, &upstream, "ask Go\necho Fine.\nexit 1\n").expect_code(5);
    let body = comments(&forge)[0].1.clone();
    assert!(
        body.contains("\n⚠️ The pull request has moved on to `333333333333` since: this is about the commit above.\n\n⚠️ The agent was stopped before it had ended by itself.\n\nFine.\n"),
        "{body}"
    );
}

#[test]
fn secrets_are_in_nothing_that_is_delivered() {
    let upstream = plain();
    let (mut world, forge) = at_forge("comment");
    let hex = |secret: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let says = format!(
        "key {KEY} token {TOKEN} hex {} {} base64 {} {} split {}\u{200b}{} other ghp_{}",
        hex(KEY),
        hex(TOKEN).to_uppercase(),
        STANDARD.encode(KEY),
        STANDARD.encode(format!("x{TOKEN}")),
        &TOKEN[..12],
        &TOKEN[12..],
        "a1".repeat(18),
    );
    let run = agent(&mut world, &upstream, &format!("ask Go\ncat <<'END'\n{says}\nEND\n"));
    run.expect_code(0);
    let body = comments(&forge)[0].1.clone();
    let result = fs::read_to_string(only_run(&world).join("result.md")).expect("a result");
    let page = fs::read_to_string(world.home().join("summary.md")).expect("a summary");
    for text in [&body, &result, &page, &run.stderr, &run.stdout] {
        no_canary(text);
    }
    // What only looks like a key stays in the log, and goes nowhere else.
    for text in [&body, &result, &page] {
        assert!(!text.contains("a1a1a1a1a1a1a1"), "{text}");
    }
    assert!(
        result.starts_with("key [redacted] token [redacted] hex [redacted] [redacted] base64 "),
        "{result}"
    );
}

#[test]
fn secrets_in_what_the_model_said_are_not_delivered_either() {
    // An agent that prints nothing: its last words are the model's.
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let says = format!("plain {KEY} and hex {hex} and {}", STANDARD.encode(KEY));
    let upstream = serve(Script::new(move |_| Answer::text(&says).of_tokens(400).into()));
    let (mut world, forge) = at_forge("comment");
    let run = agent(&mut world, &upstream, "ask Go\n");
    run.expect_code(0);
    let body = comments(&forge)[0].1.clone();
    assert!(body.contains("plain \\[redacted\\] and hex \\[redacted\\] and "), "{body}");
    for text in [&body, &run.stderr, &run.stdout] {
        no_canary(text);
    }
}

/// The folder of the one run there was.
fn only_run(world: &Tollgate) -> std::path::PathBuf {
    let mut runs = fs::read_dir(world.work().join(".tollgate/runs")).expect("runs");
    runs.next().expect("a run").expect("readable").path()
}

#[test]
fn a_comment_that_cannot_be_written_decides_nothing() {
    let upstream = plain();
    let (mut world, forge) = at_forge("comment");
    forge.state().read_only = true;
    let run = agent(&mut world, &upstream, "ask Go\necho Fine.\n");
    run.expect_code(0);
    assert!(
        run.stdout
            .contains("The agent's result is no comment, it is in the job summary and in the run's folder: "),
        "{}",
        run.stdout
    );
    assert!(fs::read_to_string(only_run(&world).join("result.md")).is_ok());
}

#[test]
fn changes_are_a_branch_of_their_own_and_the_comment_says_where() {
    let upstream = plain();
    let (mut world, forge) = at_forge("branch");
    let server = world.home().join("server");
    git(&world.home(), &["init", "--quiet", "--bare", "server/acme/widgets.git"]);
    world.env("GITHUB_SERVER_URL", format!("file://{}", server.display()));
    let head = git(&world.work(), &["rev-parse", "HEAD"]);
    let run = agent(
        &mut world,
        &upstream,
        "ask Go\necho more >> docs/more.md\ngit commit -qam mine\necho new > new.md\nmkdir -p .github/workflows\necho 'on: push' > .github/workflows/x.yml\necho Done.\n",
    );
    run.expect_code(0);
    let remote = server.join("acme/widgets.git");
    let branches = git(&remote, &["for-each-ref", "--format=%(refname:short)"]);
    let branch = branches.trim();
    assert!(branch.starts_with("tollgate/pr-9-") && !branch.contains('\n'), "{branches}");
    assert_eq!(
        git(&remote, &["log", "-1", "--format=%P %an %s", branch]),
        format!("{head} tollgate[bot] An agent's review for pull request 9")
    );
    assert_eq!(git(&remote, &["show", &format!("{branch}:docs/more.md")]), "# More\nmore");
    assert_eq!(git(&remote, &["show", &format!("{branch}:new.md")]), "new");
    let body = comments(&forge)[0].1.clone();
    let link = format!("/acme/widgets/compare/topic...{branch}?expand=1)");
    assert!(
        body.contains(&format!("Its changes to 2 files are on the branch [`{branch}`](file://")),
        "{body}"
    );
    assert!(body.contains(&link), "{body}");
    assert!(body.contains("never changes workflows: `.github/workflows/x.yml`."), "{body}");
    assert!(!body.contains("Done."), "its words are not posted unless asked");
    let patch = fs::read_to_string(only_run(&world).join("partial.patch")).expect("a patch");
    assert!(patch.contains("on: push") && patch.contains("new.md"), "{patch}");
}

#[test]
fn the_token_goes_to_the_server_and_nowhere_else() {
    let upstream = plain();
    let (mut world, forge) = at_forge("branch");
    world.env("GITHUB_SERVER_URL", &forge.url);
    let run = agent(&mut world, &upstream, "ask Go\necho new > new.md\necho Done.\n");
    run.expect_code(0);
    assert!(run.stdout.contains("The agent's work is no branch, but in partial.patch: "), "{}", run.stdout);
    let expected = format!("basic {}", STANDARD.encode(format!("x-access-token:{TOKEN}")));
    let state = forge.state();
    let pushes = state.requests.iter().filter(|(line, _)| line.contains("/acme/widgets.git/"));
    let sent: Vec<_> = pushes.map(|(_, authorization)| authorization.as_str()).collect();
    assert!(!sent.is_empty() && sent.iter().all(|sent| *sent == expected), "{sent:?}");
    no_canary(&run.stderr);
    no_canary(&run.stdout);
    assert!(!run.stdout.contains(&expected) && !run.stderr.contains(&expected));
}

#[test]
fn without_a_token_nothing_is_posted_and_the_report_says_so() {
    let upstream = plain();
    let (mut world, _) = at_forge("comment");
    world.env("GITHUB_TOKEN", "");
    let run = agent(&mut world, &upstream, "ask Go\necho Fine.\n");
    run.expect_code(0);
    let note = "The agent's result is no comment: GITHUB\\_TOKEN is not set.";
    assert!(run.stdout.contains(note), "{}", run.stdout);
}

/// An event on the pull request at the forge, in a repository whose default branch is checked out.
fn event(world: &mut Tollgate, name: &str, event: &serde_json::Value) {
    let path = world.home().join("event.json");
    fs::write(&path, event.to_string()).expect("a file");
    runner(world);
    world.env("GITHUB_EVENT_PATH", path).env("GITHUB_EVENT_NAME", name);
    let head = git(&world.work(), &["rev-parse", "HEAD"]);
    git(&world.work(), &["update-ref", "refs/remotes/origin/main", &head]);
    world.env("GITHUB_SHA", head);
}

fn comment_event(action: &str, association: &str, bot: bool, text: &str) -> serde_json::Value {
    let user = json!({ "login": "lee", "type": if bot { "Bot" } else { "User" } });
    json!({
        "action": action, "sender": { "login": "lee", "type": "User" },
        "repository": { "full_name": "acme/widgets", "id": 5, "private": false, "default_branch": "main" },
        "issue": { "number": 9, "title": "Say more", "body": null, "user": { "login": "lee" }, "pull_request": {} },
        "comment": { "body": text, "user": user, "author_association": association }
    })
}

fn ask(action: &str, association: &str, role: Option<&str>, bot: bool) -> Run {
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    let forge = Forge::serve(&"1".repeat(40));
    if let Some(role) = role {
        forge.state().role = role.to_owned();
        world.env("GITHUB_API_URL", &forge.url).env("GITHUB_TOKEN", TOKEN);
    }
    event(&mut world, "issue_comment", &comment_event(action, association, bot, "@agent please review this"));
    let run = agent(&mut world, &upstream, "ask Go\necho ran > ran\n");
    assert_eq!(world.work().join("ran").exists(), upstream.witness.snapshot().generations > 0);
    run
}

#[test]
fn only_a_new_comment_by_somebody_who_may_write_starts_an_agent() {
    const OUTSIDER: &str =
        "the comment is by somebody who may not write to the repository, so it cannot start an agent";
    for (action, association, role, bot, why) in [
        ("created", "COLLABORATOR", None, false, None),
        ("created", "CONTRIBUTOR", Some("write"), false, None),
        ("created", "NONE", None, false, Some(OUTSIDER)),
        // The event's word is a hint: some members may only read.
        ("created", "MEMBER", Some("read"), false, Some(OUTSIDER)),
        ("created", "MEMBER", Some("triage"), false, Some(OUTSIDER)),
        (
            "edited",
            "OWNER",
            Some("admin"),
            false,
            Some("the comment was edited or deleted, and only a new one can ask for something"),
        ),
        (
            "created",
            "OWNER",
            Some("admin"),
            true,
            Some("the comment is by a bot, which cannot ask for anything"),
        ),
    ] {
        let run = ask(action, association, role, bot);
        run.expect_code(0);
        match why {
            Some(why) => {
                assert!(verdict(&run).starts_with(&format!("verdict: pass · {why}")), "{}", verdict(&run))
            }
            None => assert!(verdict(&run).contains(" spent, within every budget"), "{}", verdict(&run)),
        }
    }
}

fn workflow_run(head: &str) -> serde_json::Value {
    let pr = json!({ "number": 9, "head": { "ref": "topic", "sha": head }, "base": { "ref": "main", "sha": "2".repeat(40) } });
    json!({
        "action": "completed", "sender": { "login": "lee", "type": "User" },
        "repository": { "full_name": "acme/widgets", "id": 5, "private": false, "default_branch": "main" },
        "workflow_run": {
            "id": 1, "head_branch": "topic", "head_sha": head, "event": "pull_request",
            "actor": { "login": "lee" }, "head_repository": { "id": 5 }, "pull_requests": [pr]
        }
    })
}

#[test]
fn a_second_workflow_reports_to_the_pull_request_that_github_confirms() {
    let upstream = plain();
    for (now, confirmed) in [("1", true), ("4", false)] {
        let mut world = repository(&budget("1", "0.1", ""));
        let forge = Forge::serve(&now.repeat(40));
        event(&mut world, "workflow_run", &workflow_run(&"1".repeat(40)));
        world.env("GITHUB_API_URL", &forge.url).env("GITHUB_TOKEN", TOKEN);
        let run = agent(&mut world, &upstream, "ask Go\necho Fine.\n");
        run.expect_code(0);
        let moved = "note: pull request #9 is not at the commit that the workflow ran for, so this run is not counted as its own";
        assert_eq!(run.stderr.contains(moved), !confirmed, "{}", run.stderr);
        assert_eq!(comments(&forge).len(), usize::from(confirmed));
        let pull_request = if confirmed { json!(9) } else { json!(null) };
        assert_eq!(crate::run::summary(&world)["pull_request"], pull_request);
        world.args(["gate"]).run().expect_code(0);
    }
}

#[test]
fn where_secrets_are_at_hand_a_pull_requests_files_are_not_run() {
    let upstream = plain();
    for name in ["workflow_run", "pull_request_target"] {
        let mut world = repository(&budget("1", "0.1", ""));
        let sha = git(&world.work(), &["rev-parse", "HEAD"]);
        let mut payload = workflow_run(&sha);
        if name == "pull_request_target" {
            payload["pull_request"] = json!({
                "number": 9, "title": "Say more", "body": null, "labels": [], "user": { "login": "lee" },
                "head": { "ref": "topic", "sha": "1".repeat(40), "repo": { "id": 6 } },
                "base": { "ref": "main", "sha": sha, "repo": { "id": 5 } },
            });
        }
        event(&mut world, name, &payload);
        if name == "pull_request_target" {
            agent(&mut world, &upstream, "ask Go\necho ran > ../fine\n").expect_code(0);
            assert!(world.work().join("../fine").exists(), "the default branch is what may be run");
        }
        git(&world.work(), &["switch", "--quiet", "--create", "topic"]);
        world.commit(&[("src/evil.rs", "")], "Evil");
        let head = git(&world.work(), &["rev-parse", "--short=12", "HEAD"]);
        let run = agent(&mut world, &upstream, "echo ran > ran\n");
        run.expect_code(2);
        assert_eq!(
            lines(&run.stderr, "error: "),
            format!(
                "error: the checkout is {head}, which is not the default branch: on `{name}` an agent would work on files of the pull request with the repository's secrets at hand"
            )
        );
        assert!(!world.work().join("ran").exists());
    }
}
