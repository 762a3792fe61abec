//! The GitHub client against GitHub's double: what every method returns, page by page.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tollgate::github::{
    Clock, Config, ConfigError, Error, GitHub, Permission, Secret, StatusState, TreeKind,
};

use crate::support::github::{Double, LabelEvent, Pull, REPOSITORY, State, TOKEN};

/// A clock whose waits are over at once, and are written down.
#[derive(Clone)]
pub(crate) struct Waits(Arc<Mutex<(Timestamp, Vec<Duration>)>>);

impl Waits {
    fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((now, Vec::new()))))
    }

    pub(crate) fn all(&self) -> Vec<Duration> {
        self.0.lock().expect("no test has panicked in here").1.clone()
    }

    fn clock(&self) -> Clock {
        let (shown, slept) = (Arc::clone(&self.0), Arc::clone(&self.0));
        Clock::new(
            move || shown.lock().expect("no test has panicked in here").0,
            move |wait| {
                let mut clock = slept.lock().expect("no test has panicked in here");
                clock.0 += SignedDuration::try_from(wait).expect("a wait of this world");
                clock.1.push(wait);
                Box::pin(std::future::ready(()))
            },
        )
    }
}

pub(crate) fn config(url: &str, repository: &str, token: &str) -> Config {
    // As `main` does it; the other tests of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Config::new(url, repository, Secret::new(token.to_owned()))
}

/// A client of the double, and the waits it made.
pub(crate) fn client(double: &Double) -> (GitHub, Waits) {
    client_with(double, |_| {})
}

pub(crate) fn client_with(double: &Double, change: impl FnOnce(&mut Config)) -> (GitHub, Waits) {
    let waits = Waits::new(double.state(|state| state.now));
    let mut config = config(&double.url, REPOSITORY, TOKEN);
    config.clock = waits.clock();
    change(&mut config);
    (GitHub::new(&config).expect("a client"), waits)
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bounded = async { tokio::time::timeout(Duration::from_secs(30), future).await };
    runtime.block_on(bounded).expect("it ends in time")
}

/// A double with pull request 7, changed by the caller.
pub(crate) fn double(change: impl FnOnce(&mut State)) -> Double {
    let double = Double::start();
    double.state(|state| {
        state.pulls.insert(7, Pull::default());
        change(state);
    });
    double
}

#[test]
fn a_pull_request_is_read_with_its_side_and_its_state() {
    let double = double(|state| {
        let pull = state.pulls.get_mut(&7).expect("it is there");
        pull.labels = vec!["agent:docs".to_owned()];
        pull.files = vec![json!({ "filename": "a", "status": "added", "additions": 3, "deletions": 1 })];
        let fork = Some("eve/gate".to_owned());
        state.pulls.insert(8, Pull { head_repository: fork, body: Some("b".to_owned()), ..Pull::default() });
        state.pulls.insert(9, Pull { head_repository: None, draft: true, ..Pull::default() });
    });
    run(async {
        let (github, _) = client(&double);
        let own = github.pull_request(7).await.expect("it is there");
        assert_eq!((own.number, own.title.as_str(), own.body.as_str()), (7, "A change", ""));
        assert_eq!(
            (own.author.login.as_str(), own.author.bot, own.open, own.fork),
            ("ada", false, true, false)
        );
        assert_eq!((own.base_branch.as_str(), own.base_commit), ("main", "b".repeat(40)));
        assert_eq!((own.head_branch.as_str(), own.head_commit), ("topic", "a".repeat(40)));
        assert_eq!(
            (own.labels, own.additions, own.deletions, own.files_total),
            (vec!["agent:docs".to_owned()], 3, 1, 1)
        );
        let fork = github.pull_request(8).await.expect("it is there");
        assert_eq!(
            (fork.fork, fork.head_repository.as_deref(), fork.body.as_str()),
            (true, Some("eve/gate"), "b")
        );
        let gone = github.pull_request(9).await.expect("it is there");
        assert_eq!((gone.fork, gone.head_repository, gone.open), (true, None, false));
        let error = github.pull_request(10).await.expect_err("it is not there");
        assert_eq!(
            error.to_string(),
            "GitHub finds nothing at `GET /repos/octo/gate/pulls/10`\n\n\
             hint: where it does exist, the token may not see it: it needs `pull-requests: read`"
        );
    });
}

#[test]
fn every_page_is_read_and_a_limit_says_so() {
    let file = |n: usize| json!({ "filename": format!("f{n}"), "status": "added", "additions": 1, "deletions": 0, "patch": "@@" });
    let double = double(|state| {
        state.pulls.get_mut(&7).expect("it is there").files = (0..250).map(file).collect();
        state.pulls.insert(8, Pull { files: (0..3_001).map(file).collect(), ..Pull::default() });
        let mut large = vec![file(0), file(1), file(2)];
        large[1]["patch"] = json!("x".repeat(600 * 1024));
        state.pulls.insert(9, Pull { files: large, ..Pull::default() });
        for n in 0..201 {
            state.comment(7, "ada", &format!("{n}"));
        }
    });
    run(async {
        let (github, _) = client(&double);
        let files = github.files(7).await.expect("files");
        assert_eq!((files.files.len(), files.complete, files.patches_dropped), (250, true, 0));
        assert_eq!((files.files[249].path.as_str(), files.files[249].patch.as_deref()), ("f249", Some("@@")));
        assert_eq!(double.count("GET", "/files"), 3);
        let files = github.files(8).await.expect("files");
        assert_eq!((files.files.len(), files.complete), (3_000, false));
        let files = github.files(9).await.expect("files");
        assert_eq!((files.patches_dropped, files.files[1].patch.as_deref()), (1, None));
        assert_eq!(files.files[2].patch.as_deref(), Some("@@"));
        let comments = github.comments(7).await.expect("comments");
        let bodies: Vec<_> = comments.iter().map(|comment| comment.body.clone()).collect();
        assert_eq!(bodies, (0..201).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_label_counts_for_whoever_set_it_last() {
    let double = double(|state| {
        state.label(7, true, "Budget-Override", Some("eve"));
        for n in 0..120 {
            let at = state.now;
            let (label, actor) = (format!("l{n}"), Some("bot".to_owned()));
            state.label_events.push(LabelEvent { issue: 7, set: true, label, actor, at });
        }
        state.label(7, false, "Budget-Override", Some("eve"));
        state.now += SignedDuration::from_secs(60);
        state.label(7, true, "Budget-Override", Some("ada"));
        state.label(7, true, "gone", Some("ada"));
        state.label(7, false, "gone", Some("ada"));
        state.label(7, true, "by a ghost", None);
        // Set by nobody that the events tell of.
        state.pulls.get_mut(&7).expect("it is there").labels.push("silent".to_owned());
    });
    run(async {
        let (github, _) = client(&double);
        let labeled = github.labeled(7, "budget-override").await.expect("events").expect("it is set");
        assert_eq!((labeled.label.as_str(), labeled.by.login.as_str()), ("Budget-Override", "ada"));
        assert_eq!(labeled.at.to_string(), "2026-11-24T12:01:00Z");
        assert_eq!(double.count("GET", "/events"), 2);
        assert_eq!(github.labeled(7, "gone").await, Ok(None));
        assert_eq!(github.labeled(7, "silent").await, Ok(None));
        assert_eq!(github.labeled(7, "l3").await, Ok(None));
        let ghost = github.labeled(7, "by a ghost").await.expect("events").expect("it is set");
        assert_eq!((ghost.by.login.as_str(), ghost.by.id), ("ghost", 0));
        double.state(|state| state.label(7, false, "Budget-Override", Some("eve")));
        assert_eq!(github.labeled(7, "budget-override").await, Ok(None));
    });
}

#[test]
fn a_permission_is_the_role_and_what_is_unknown_is_less() {
    let roles = [
        ("root", "admin", "admin", Permission::Admin),
        ("keeper", "write", "maintain", Permission::Maintain),
        ("dev", "write", "write", Permission::Write),
        ("sorter", "read", "triage", Permission::Triage),
        ("guest", "read", "read", Permission::Read),
        ("nobody", "none", "none", Permission::None),
        ("custom", "write", "release captain", Permission::Write),
        ("odd", "admin", "release captain", Permission::Write),
        ("odder", "own", "own", Permission::None),
        ("app[bot]", "write", "write", Permission::Write),
    ];
    let double = double(|state| {
        for (login, permission, role, _) in roles {
            state.permissions.insert(login.to_owned(), (permission.to_owned(), role.to_owned()));
        }
    });
    run(async {
        let (github, _) = client(&double);
        for (login, _, _, expected) in roles {
            assert_eq!(github.permission(login).await, Ok(expected), "{login}");
        }
        for login in ["dependabot[bot]", "../../..", "a?b#c", ""] {
            assert_eq!(github.permission(login).await, Ok(Permission::None), "{login}");
        }
    });
    assert!(double.seen().iter().any(|seen| seen.target.contains("/collaborators/app%5Bbot%5D/permission")));
}

#[test]
fn files_and_trees_are_read_at_a_commit() {
    let commit = "c".repeat(40);
    let double = double(|state| {
        state.branches.insert("main".to_owned(), commit.clone());
        state.branches.insert("fix/a b".to_owned(), "d".repeat(40));
        state.files(
            &commit,
            &[
                (".github/tollgate.yml", "100644", "version: 1\n"),
                (".claude/hooks/a.sh", "100755", "#!/bin/sh\n"),
                (".claude/link", "120000", "../x"),
                (".claude/sub", "160000", "commit"),
                ("CLAUDE.md", "100644", "Hello"),
            ],
        );
    });
    run(async {
        let (github, _) = client(&double);
        assert_eq!(github.default_branch().await.as_deref(), Ok("main"));
        assert_eq!(github.branch("main").await, Ok(Some(commit.clone())));
        assert_eq!(github.branch("fix/a b").await, Ok(Some("d".repeat(40))));
        assert_eq!(github.branch("gone").await, Ok(None));
        assert_eq!(github.branch("../../../user").await, Ok(None));
        let file = github.contents(".github/tollgate.yml", &commit).await.expect("an answer");
        assert_eq!(file.as_deref(), Some(b"version: 1\n".as_slice()));
        assert_eq!(github.contents("gone", &commit).await, Ok(None));
        let folder = Error::NotAFile { path: ".github".to_owned() };
        assert_eq!(github.contents(".github", &commit).await, Err(folder));
        let tree = github.tree(&commit, ".claude").await.expect("a tree");
        let entries: Vec<_> = tree.entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
        assert_eq!(
            entries,
            [
                (".claude/hooks", TreeKind::Folder),
                (".claude/hooks/a.sh", TreeKind::Executable),
                (".claude/link", TreeKind::Symlink),
                (".claude/sub", TreeKind::Submodule),
            ]
        );
        assert!(tree.complete);
        assert_eq!(github.blob(&tree.entries[1].sha).await.as_deref(), Ok(b"#!/bin/sh\n".as_slice()));
        assert_eq!(github.tree(&commit, "").await.expect("a tree").entries.len(), 8);
        assert_eq!(github.tree(&commit, ".gemini").await.map(|tree| tree.entries.len()), Ok(0));
        assert_eq!(github.tree(&commit, "CLAUDE.md").await.map(|tree| tree.entries.len()), Ok(0));
        assert_eq!(github.tree(&commit, ".claude/hooks").await.map(|tree| tree.entries.len()), Ok(1));
        double.state(|state| state.truncated = true);
        assert_eq!(github.tree(&commit, ".claude").await.map(|tree| tree.complete), Ok(false));
        double.state(|state| state.files(&commit, &[("large", "100644", &"x".repeat(5 * 1024 * 1024))]));
        let error = github.contents("large", &commit).await.expect_err("it is too large").to_string();
        assert!(error.ends_with("is larger than 4194304 bytes, which is the most that is read"), "{error}");
    });
}

#[test]
fn the_last_push_is_githubs_own_record() {
    let row = |after: &str, at: &str, by: &str| {
        json!({ "before": "0", "after": after, "ref": "refs/heads/topic", "timestamp": at,
                "activity_type": "force_push", "actor": { "login": by, "id": 5, "type": "User" } })
    };
    let head = "a".repeat(40);
    let double = double(|state| {
        let rows = vec![row(&head, "2026-11-24T10:00:00Z", "ada"), row("0", "2026-11-24T09:00:00Z", "eve")];
        state.activity.insert(REPOSITORY.to_owned(), rows);
        let moved = vec![row("e", "2026-11-24T11:00:00Z", "eve"), row(&head, "2026-11-24T10:00:00Z", "ada")];
        state.activity.insert("eve/gate".to_owned(), moved);
        for (number, from) in [(8, Some("eve/gate")), (9, None), (10, Some("eve/private"))] {
            let head_repository = from.map(str::to_owned);
            state.pulls.insert(number, Pull { head_repository, ..Pull::default() });
        }
    });
    run(async {
        let (github, _) = client(&double);
        let pull = github.pull_request(7).await.expect("it is there");
        let push = github.last_push(&pull).await.expect("an answer").expect("a push");
        assert_eq!((push.by.login.as_str(), push.forced, push.after), ("ada", true, head));
        assert_eq!(push.at.to_string(), "2026-11-24T10:00:00Z");
        for number in [8, 9, 10] {
            let pull = github.pull_request(number).await.expect("it is there");
            assert_eq!(github.last_push(&pull).await, Ok(None), "{number}");
        }
    });
}

#[test]
fn comments_are_written_changed_hidden_and_taken_away() {
    let double = double(|_| {});
    run(async {
        let (github, _) = client(&double);
        let me = github.whoami().await.expect("a token has a name");
        assert_eq!((me.login.as_str(), me.bot), ("github-actions[bot]", true));
        assert_eq!(github.whoami().await, Ok(me.clone()));
        assert_eq!(double.count("POST", "/graphql"), 1, "it is remembered");
        let comment = github.create_comment(7, "one").await.expect("a comment");
        assert_eq!((comment.author, comment.app.as_deref()), (me, Some("github-actions")));
        let changed = github.update_comment(comment.id, "two").await.expect("a comment");
        assert_eq!((changed.id, changed.body.as_str()), (comment.id, "two"));
        github.hide_comment(&comment.node_id).await.expect("it is hidden");
        assert!(double.state(|state| state.comments[0].hidden));
        let error = github.hide_comment("IC_0").await.expect_err("there is none");
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        github.delete_comment(comment.id).await.expect("it is gone");
        github.delete_comment(comment.id).await.expect("it is gone still");
        assert!(double.state(|state| state.comments.is_empty()));
        assert!(matches!(github.update_comment(1, "x").await, Err(Error::NotFound { .. })));
        let longest = "é".repeat(65_536);
        github.create_comment(7, &longest).await.expect("GitHub counts characters");
        let error = github.create_comment(7, &format!("{longest}x")).await.expect_err("it is too long");
        assert_eq!(error.to_string(), "the comment has 65537 characters, and GitHub takes 65536 at most");
        assert_eq!(github.create_comment_once(7, "x", "marker").await, Err(Error::NoMarker));
        let error = github.create_comment(7, "").await.expect_err("it is empty");
        assert!(error.to_string().starts_with(
            "GitHub rejects `POST /repos/octo/gate/issues/7/comments` (422): Validation Failed: body is"
        ));
    });
}

#[test]
fn a_status_is_set_and_its_description_fits() {
    let double = double(|_| {});
    run(async {
        let (github, _) = client(&double);
        let states = [StatusState::Pending, StatusState::Success, StatusState::Failure, StatusState::Error];
        for state in states {
            let url = Some("https://github.test/run");
            github
                .create_status(&"a".repeat(40), state, "tollgate", &"é".repeat(141), url)
                .await
                .expect("set");
        }
    });
    let rows = double.state(|state| state.statuses.clone());
    let seen: Vec<_> = rows.iter().map(|(_, row)| row["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(seen, ["pending", "success", "failure", "error"]);
    assert_eq!(rows[0].1["description"], format!("{}…", "é".repeat(139)));
}

#[test]
fn what_is_as_it_was_is_asked_for_by_its_tag() {
    let double = double(|state| {
        for n in 0..150 {
            state.comment(7, "ada", &n.to_string());
        }
    });
    run(async {
        let (github, _) = client(&double);
        let first = github.comments(7).await.expect("comments");
        let left = double.state(|state| state.remaining);
        assert_eq!(github.comments(7).await.expect("comments"), first);
        assert_eq!(double.seen().iter().map(|seen| seen.status).collect::<Vec<_>>(), [200, 200, 304, 304]);
        assert_eq!(double.state(|state| state.remaining), left, "a 304 costs nothing");
        double.state(|state| state.comments[149].body = "new".to_owned());
        assert_eq!(github.comments(7).await.expect("comments")[149].body, "new");
    });
}

#[test]
fn an_enterprise_server_has_its_api_below_a_path() {
    let double = Double::start_ghes();
    double.state(|state| {
        state.pulls.insert(7, Pull::default());
        for n in 0..101 {
            state.comment(7, "ada", &n.to_string());
        }
    });
    run(async {
        let (github, _) = client(&double);
        assert_eq!(github.whoami().await.map(|me| me.login).as_deref(), Ok("github-actions[bot]"));
        assert_eq!(github.comments(7).await.map(|comments| comments.len()), Ok(101));
    });
    assert!(double.url.ends_with("/api/v3"));
}

#[test]
fn the_double_holds_requests_against_the_description() {
    let double = double(|_| {});
    let agent = |target: &str, body: Option<&str>| {
        let (method, url) = (if body.is_some() { "POST" } else { "GET" }, format!("{}{target}", double.url));
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in [
            ("user-agent", "test"),
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
            ("authorization", &format!("Bearer {TOKEN}")),
        ] {
            request = request.header(name, value);
        }
        let request = request.body(body.unwrap_or_default().to_owned()).expect("a request");
        let request = reqwest::Request::try_from(request).expect("a request");
        config("", "", "");
        run(async { reqwest::Client::new().execute(request).await.expect("an answer") });
        double.take_violations()
    };
    let comments = "/repos/octo/gate/issues/7/comments";
    assert!(agent(&format!("{comments}?per_page=100"), None).is_empty());
    assert!(agent(comments, Some("{\"body\":\"x\"}")).is_empty());
    for (target, body, said) in [
        (format!("{comments}?per_page=many"), None, "`per_page`: \"many\" is not of type \"integer\""),
        (format!("{comments}?limit=1"), None, "no query parameter `limit`"),
        (comments.to_owned(), Some("{\"text\":\"x\"}"), "\"body\" is a required property"),
        ("/repos/octo/gate/statuses/a".to_owned(), Some("{\"state\":\"fine\"}"), "\"fine\" is not one of"),
        ("/repos/octo/gate/nothing/7".to_owned(), None, "no such path"),
        ("/repos/octo/gate/pulls/seven".to_owned(), None, "is not of type \"integer\""),
    ] {
        let violations = agent(&target, body);
        assert!(violations.iter().any(|violation| violation.contains(said)), "{target}: {violations:?}");
    }
}

#[test]
fn what_a_client_is_made_of_is_checked() {
    run(async {
        for (url, repository, token, message) in [
            (
                "api.github.com",
                "o/r",
                "t",
                "`api.github.com` is not the address of an API\n\nhint: `GITHUB_API_URL` is like https://api.github.com, or https://HOST/api/v3",
            ),
            (
                "http://10.0.0.1/api/v3",
                "o/r",
                "t",
                "`http://10.0.0.1/api/v3` is plain HTTP to another machine: the token would travel unencrypted\n\nhint: use https, or a loopback address",
            ),
            ("https://h", "o", "t", "`o` is not a repository\n\nhint: write it like OWNER/REPOSITORY"),
            (
                "https://h",
                "o/../x",
                "t",
                "`o/../x` is not a repository\n\nhint: write it like OWNER/REPOSITORY",
            ),
            ("https://h", "o/r", "", "the GitHub token is empty or holds characters that no token has"),
            ("https://h", "o/r", "a\nb", "the GitHub token is empty or holds characters that no token has"),
        ] {
            let error: ConfigError = GitHub::new(&config(url, repository, token)).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
        let error = GitHub::new(&config("https://user:secret@h", "o/r", "t")).expect_err("no user name");
        assert!(!error.to_string().contains("secret"), "{error}");
        let config = config("https://api.github.com", "o/r", "the-token");
        let client = GitHub::new(&config).expect("a client");
        assert!(!format!("{config:?} {client:?}").contains("the-token"));
    });
}
