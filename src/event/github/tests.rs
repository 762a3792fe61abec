use serde_json::json;

use super::*;
use crate::event::TEXT_BYTES_MAX;

fn repository() -> Value {
    json!({
        "id": 4711, "name": "widgets", "full_name": "acme/widgets", "private": true, "visibility": "private",
        "default_branch": "trunk", "owner": { "login": "acme", "type": "Organization" }
    })
}

fn user(login: &str, kind: &str) -> Value {
    json!({ "login": login, "id": 1, "type": kind })
}

fn pull() -> Value {
    json!({
        "number": 7, "state": "open", "draft": false, "created_at": "2026-11-20T08:30:00Z",
        "title": "Keep the queue sorted", "body": "Why: lookups.",
        "user": user("maria", "User"), "author_association": "COLLABORATOR",
        "labels": [{ "id": 1, "name": "agent:docs", "color": "ededed" }],
        "head": { "ref": "sorted", "sha": "h".repeat(40), "repo": { "id": 4711, "full_name": "acme/widgets" } },
        "base": { "ref": "trunk", "sha": "b".repeat(40), "repo": { "id": 4711, "full_name": "acme/widgets" } },
        "additions": 40, "deletions": 12, "changed_files": 3, "merged_by": null, "milestone": null
    })
}

fn event(name: &str, fields: Value) -> Result<Event, EventError> {
    let mut payload = json!({ "repository": repository(), "sender": user("lee", "User") });
    for (key, value) in fields.as_object().unwrap() {
        payload[key] = value.clone();
    }
    parse(name, payload.to_string().as_bytes())
}

/// `pull()` with one value put in at a JSON pointer.
fn pull_with(pointer: &str, value: Value) -> Value {
    let mut pull = pull();
    *pull.pointer_mut(pointer).unwrap() = value;
    json!({ "action": "opened", "number": 7, "pull_request": pull })
}

#[test]
fn a_pull_request() {
    let payload = json!({ "action": "labeled", "number": 7, "pull_request": pull(), "label": { "name": "agent:docs" } });
    for (name, kind) in
        [("pull_request", Kind::PullRequest), ("pull_request_target", Kind::PullRequestTarget)]
    {
        let event = event(name, payload.clone()).unwrap();
        assert_eq!((event.kind, event.kind.as_str()), (kind, name));
        assert_eq!(event.action.as_deref(), Some("labeled"));
        assert_eq!(event.label.as_deref(), Some("agent:docs"));
        assert_eq!((event.repository.as_str(), event.repository_id), ("acme/widgets", Some(4711)));
        assert_eq!((event.default_branch.as_str(), event.public), ("trunk", false));
        assert_eq!(event.actor, Person { login: "lee".to_owned(), bot: false, association: None });
        let expected = Change {
            number: Some(7),
            opened: Some("2026-11-20T08:30:00Z".parse().unwrap()),
            title: "Keep the queue sorted".to_owned(),
            body: "Why: lookups.".to_owned(),
            author: Person {
                login: "maria".to_owned(),
                bot: false,
                association: Some("COLLABORATOR".to_owned()),
            },
            labels: vec!["agent:docs".to_owned()],
            branch: "sorted".to_owned(),
            base: "trunk".to_owned(),
            base_sha: "b".repeat(40),
            head_sha: "h".repeat(40),
            fork: false,
            files: vec![],
            files_total: 3,
            additions_total: 40,
            deletions_total: 12,
        };
        assert_eq!(event.change, Some(expected));
    }
}

#[test]
fn forks_bots_and_nulls() {
    let change = |pointer, value| event("pull_request", pull_with(pointer, value)).unwrap().change.unwrap();
    assert!(change("/head/repo", Value::Null).fork, "a fork that was deleted");
    assert!(change("/head/repo", json!({ "id": 99, "full_name": "eve/widgets" })).fork);
    assert!(!change("/head/repo", json!({ "id": 4711, "full_name": "acme/old-name" })).fork, "renamed");
    assert_eq!(change("/body", Value::Null).body, "");
    assert!(change("/user", user("renovate[bot]", "Bot")).author.bot);
    assert!(change("/user", user("odd[bot]", "User")).author.bot);
    assert_eq!(change("/user", Value::Null).author.login, "ghost");
    assert!(!change("/author_association", json!("CONTRIBUTOR")).author.trusted());
    assert!(!change("/author_association", Value::Null).author.trusted(), "unknown is not trusted");
}

#[test]
fn long_texts_are_cut_between_characters() {
    let body = "ö".repeat(TEXT_BYTES_MAX);
    let change = event("pull_request", pull_with("/body", json!(body))).unwrap().change.unwrap();
    assert_eq!(change.body.len(), TEXT_BYTES_MAX);
}

#[test]
fn visibility() {
    for (fields, public) in [
        (json!({ "private": false }), true),
        (json!({ "private": true }), false),
        (json!({ "private": true, "visibility": "internal" }), false),
        (json!({ "private": false, "visibility": "public" }), true),
        (json!({}), true),
    ] {
        let mut repository = fields;
        repository["full_name"] = json!("acme/widgets");
        let event =
            event("pull_request", json!({ "repository": repository, "pull_request": pull() })).unwrap();
        assert_eq!(event.public, public, "{repository}");
    }
}

fn comment(body: &str, author: Value, association: &str) -> Value {
    json!({ "id": 5, "body": body, "user": author, "author_association": association })
}

#[test]
fn a_comment_on_a_pull_request() {
    let issue = json!({
        "number": 7, "title": "Keep the queue sorted", "body": null, "user": user("maria", "User"),
        "author_association": "MEMBER", "labels": [], "pull_request": { "url": "https://api.github.com/x" },
        "created_at": "2026-11-20T08:30:00Z"
    });
    let payload = json!({
        "action": "created", "issue": issue, "comment": comment("/review", user("lee", "User"), "OWNER")
    });
    let event = event("issue_comment", payload).unwrap();
    let change = event.change.unwrap();
    assert_eq!((change.number, change.title.as_str()), (Some(7), "Keep the queue sorted"));
    assert_eq!(change.opened, Some("2026-11-20T08:30:00Z".parse().unwrap()));
    assert!(change.branch.is_empty() && change.head_sha.is_empty() && change.fork);
    let (text, author) = event.comment.unwrap();
    assert_eq!((text.as_str(), author.login.as_str(), author.trusted()), ("/review", "lee", true));
}

#[test]
fn a_comment_on_a_plain_issue_has_no_change() {
    let issue = json!({ "number": 8, "title": "It crashes", "user": user("eve", "User"), "labels": [] });
    let comment = comment("same here", user("helper[bot]", "Bot"), "NONE");
    let event =
        event("issue_comment", json!({ "action": "created", "issue": issue, "comment": comment })).unwrap();
    assert_eq!(event.change, None);
    let (_, author) = event.comment.unwrap();
    assert!(author.bot && !author.trusted());
}

#[test]
fn a_comment_on_a_line() {
    let payload = json!({
        "action": "created", "pull_request": pull(), "comment": comment("why?", user("lee", "User"), "MEMBER")
    });
    let event = event("pull_request_review_comment", payload).unwrap();
    assert_eq!(event.change.unwrap().branch, "sorted");
    assert_eq!(event.comment.unwrap().0, "why?");
}

#[test]
fn a_dispatch() {
    let payload = json!({
        "inputs": { "prompt": "review it", "dry": true, "none": null, "count": 3 },
        "ref": "refs/heads/sorted", "workflow": ".github/workflows/agent.yml"
    });
    let event1 = event("workflow_dispatch", payload).unwrap();
    let inputs: Vec<(&str, &str)> =
        event1.inputs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(inputs, [("count", "3"), ("dry", "true"), ("none", ""), ("prompt", "review it")]);
    let change = event1.change.unwrap();
    assert_eq!((change.branch.as_str(), change.base.as_str(), change.fork), ("sorted", "trunk", false));
    for reference in ["refs/heads/trunk", "refs/tags/v1"] {
        let event = event("workflow_dispatch", json!({ "inputs": null, "ref": reference })).unwrap();
        assert_eq!((event.change, event.inputs.len()), (None, 0), "{reference}");
    }
}

#[test]
fn a_schedule_may_have_nothing_but_its_cron_line() {
    let bare = parse("schedule", br#"{"schedule":"0 4 * * *"}"#).unwrap();
    assert_eq!((bare.repository.as_str(), bare.public), ("", true));
    let full = event("schedule", json!({ "schedule": "0 4 * * *" })).unwrap();
    assert_eq!((full.repository.as_str(), full.change), ("acme/widgets", None));
}

#[test]
fn pushes() {
    let push = |before: &str, after: &str, reference: &str| {
        let head = json!({ "id": after, "message": "Sort the queue\n\nLookups are faster.\n" });
        event("push", json!({ "before": before, "after": after, "ref": reference, "head_commit": head, "deleted": after == NO_COMMIT }))
            .unwrap()
            .change
    };
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    let change = push(&one, &two, "refs/heads/feature/x").unwrap();
    assert_eq!((change.title.as_str(), change.body.as_str()), ("Sort the queue", "Lookups are faster."));
    assert_eq!(
        (change.branch.as_str(), change.base_sha, change.head_sha),
        ("feature/x", one.clone(), two.clone())
    );
    assert!(change.author.trusted());
    assert_eq!(push(NO_COMMIT, &two, "refs/heads/new").unwrap().base_sha, "");
    assert_eq!(push(&one, &two, "refs/tags/v1").unwrap().branch, "refs/tags/v1");
    assert_eq!(push(&one, NO_COMMIT, "refs/heads/gone"), None);
}

#[test]
fn a_merge_group() {
    let group = json!({
        "head_sha": "2".repeat(40), "head_ref": "refs/heads/gh-readonly-queue/trunk/pr-104-0123456789abcdef",
        "base_sha": "1".repeat(40), "base_ref": "refs/heads/trunk",
        "head_commit": { "message": "Merge #104", "author": { "name": "Maria", "email": "m@example.org" } }
    });
    let event = event("merge_group", json!({ "action": "checks_requested", "merge_group": group })).unwrap();
    let change = event.change.unwrap();
    assert_eq!(
        (change.number, change.base.as_str(), change.title.as_str()),
        (Some(104), "trunk", "Merge #104")
    );
    assert_eq!(change.author.login, "Maria");
}

/// Takes one thing out of a good payload, and names what is missing where.
#[test]
fn whole_messages() {
    let without = |name: &str, pointer: &str| {
        let mut payload = match name {
            "push" => json!({ "ref": "refs/heads/x", "before": "1", "after": "2" }),
            "issue_comment" => json!({
                "issue": { "number": 1, "title": "t", "pull_request": {} }, "comment": { "body": "b" }
            }),
            _ => json!({ "action": "opened", "pull_request": pull() }),
        };
        payload["repository"] = repository();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        payload.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        parse(name, payload.to_string().as_bytes()).unwrap_err().to_string()
    };
    for (name, pointer, message) in [
        ("pull_request", "/repository", "the `pull_request` payload has no object at /repository"),
        (
            "pull_request",
            "/repository/full_name",
            "the `pull_request` payload has no text at /repository/full_name",
        ),
        ("pull_request", "/pull_request", "the `pull_request` payload has no object at /pull_request"),
        (
            "pull_request",
            "/pull_request/head/ref",
            "the `pull_request` payload has no text at /pull_request/head/ref",
        ),
        (
            "pull_request",
            "/pull_request/number",
            "the `pull_request` payload has no number at /pull_request/number",
        ),
        ("issue_comment", "/comment", "the `issue_comment` payload has no object at /comment"),
        ("issue_comment", "/issue/title", "the `issue_comment` payload has no text at /issue/title"),
        ("push", "/after", "the `push` payload has no text at /after"),
    ] {
        assert_eq!(without(name, pointer), message);
    }
    assert_eq!(
        parse("release", b"{}").unwrap_err().to_string(),
        "the event `release` is not supported\n\nhint: run tollgate on one of pull_request, pull_request_target, \
         issue_comment, pull_request_review_comment, workflow_dispatch, schedule, push, merge_group, workflow_run, or pass a \
         payload of one with --event FILE"
    );
    assert_eq!(
        parse("push", b"{").unwrap_err().to_string(),
        "the event is not valid JSON: EOF while parsing an object at line 1 column 1"
    );
}

#[test]
fn shapes_tell_events_apart() {
    let cases = [
        (json!({ "comment": {}, "issue": {} }), None, Some("issue_comment")),
        (json!({ "comment": {}, "pull_request": {} }), None, Some("pull_request_review_comment")),
        (json!({ "pull_request": {} }), None, Some("pull_request")),
        (json!({ "pull_request": {} }), Some("pull_request_target"), Some("pull_request_target")),
        (json!({ "pull_request": {} }), Some("push"), Some("pull_request")),
        (json!({ "pull_request": {}, "review": {} }), None, None),
        (json!({ "merge_group": {} }), None, Some("merge_group")),
        (json!({ "schedule": "* * * * *" }), None, Some("schedule")),
        (json!({ "ref": "x", "before": "1", "after": "2" }), None, Some("push")),
        (json!({ "ref": "x", "inputs": null }), None, Some("workflow_dispatch")),
        (json!({ "release": {} }), None, None),
        (json!([]), None, None),
    ];
    for (payload, preferred, expected) in cases {
        let guessed = guess(payload.to_string().as_bytes(), preferred).ok();
        assert_eq!(guessed.as_deref(), expected, "{payload}");
    }
}

proptest::proptest! {
    #[test]
    fn no_payload_breaks_it(payload: String, index in 0..8_usize) {
        let _ = parse(Kind::GITHUB[index].0, payload.as_bytes());
        let _ = guess(payload.as_bytes(), None);
    }
}

#[test]
fn a_workflows_run_names_a_pull_request_only_where_its_head_was_run() {
    let sha = |digit: &str| digit.repeat(40);
    let payload = |head: &str, numbers: &[(u64, String)], repository: u64| {
        let pull_requests: Vec<_> = numbers
            .iter()
            .map(|(number, sha)| serde_json::json!({ "number": number, "head": { "sha": sha }, "base": { "ref": "next", "sha": "b" } }))
            .collect();
        serde_json::json!({
            "action": "completed",
            "repository": { "full_name": "o/r", "id": 5, "default_branch": "main" },
            "workflow_run": {
                "head_branch": "topic", "head_sha": head, "actor": { "login": "lee" },
                "head_repository": { "id": repository }, "pull_requests": pull_requests
            }
        })
        .to_string()
    };
    for (numbers, repository, number, base, fork) in [
        (vec![(9, sha("1"))], 5, Some(9), "next", false),
        (vec![(9, sha("2"))], 5, None, "main", false),
        (vec![(9, sha("1")), (10, sha("1"))], 5, None, "main", false),
        (vec![], 6, None, "main", true),
    ] {
        let payload = payload(&sha("1"), &numbers, repository);
        assert_eq!(guess(payload.as_bytes(), None).expect("a shape"), "workflow_run");
        let change = parse("workflow_run", payload.as_bytes()).expect("an event").change.expect("a change");
        assert_eq!((change.number, change.base.as_str(), change.fork), (number, base, fork), "{numbers:?}");
        assert_eq!((change.head_sha, change.author.trusted()), (sha("1"), false));
    }
}
