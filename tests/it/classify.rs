//! `tollgate classify`, through its public function.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use tollgate::commands::classify::{Args, Around, Format, run};

struct Ran {
    status: u8,
    out: String,
    err: String,
}

fn classify(input: &str, format: Option<Format>) -> Ran {
    let args = Args { input: Some("-".into()), event: None, format, explain: false, budget_file: None };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let around = Around { env: &|_| None, dir: Path::new("."), stdin: &mut input.as_bytes() };
    let status = run(&args, &[], around, &mut out, &mut err).unwrap();
    Ran { status, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn line(id: &str) -> Value {
    json!({
        "id": id, "source": "acme/widgets#3", "sha": "0", "branch": "topic", "labels": [], "body": "",
        "event": { "name": "issue_comment", "action": "created", "sender_type": "User" },
        "comment": "@agent correct the spelling in the handbook page",
        "title": "Sort the queue", "files": [{ "path": "src/queue.rs", "additions": 4, "deletions": 1 }],
        "files_total": 1, "additions_total": 4, "deletions_total": 1
    })
}

#[test]
fn a_line_in_a_line_out() {
    let ran = classify(&format!("{}\n\n{}", line("one"), line("two")), None);
    assert_eq!((ran.status, ran.err.as_str(), ran.out.lines().count()), (0, "", 2));
    assert_eq!(
        ran.out.lines().next().unwrap(),
        r#"{"id":"one","task":"docs","change_kind":"implementation","stakes":"low","confidence":90,"reasons":["task docs: the comment asks for prose: \"correct the spelling in the handbook page\"","stakes low: prose: anybody sees a mistake and undoes it","change implementation: code changes"]}"#
    );
}

#[test]
fn text_for_people() {
    let ran = classify(&line("one").to_string(), Some(Format::Text));
    assert_eq!(
        ran.out,
        "one: docs, low stakes (90 % sure)\n  \
         task docs: the comment asks for prose: \"correct the spelling in the handbook page\"\n  \
         stakes low: prose: anybody sees a mistake and undoes it\n  \
         change implementation: code changes\n"
    );
}

/// An expected answer in the input must not leak into the output.
#[test]
fn the_expected_answer_is_not_read() {
    let plain = classify(&line("one").to_string(), None);
    for gold in [json!({ "task": "implementation", "stakes": "high" }), json!(7), Value::Null] {
        let mut with = line("one");
        with["gold"] = gold;
        assert_eq!(classify(&with.to_string(), None).out, plain.out);
    }
}

#[test]
fn bad_lines_are_named_and_the_others_answered() {
    let mut unknown = line("x");
    unknown["event"]["name"] = json!("release");
    let mut no_title = line("x");
    no_title.as_object_mut().unwrap().remove("title");
    let mut no_path = line("x");
    no_path["files"] = json!([{ "path": 3 }]);
    let input = format!("{{\n{}\n{no_title}\n{no_path}\n{{}}\n{unknown}\n{}\n", line("one"), line("two"));
    let ran = classify(&input, None);
    assert_eq!((ran.status, ran.out.lines().count()), (2, 2));
    assert_eq!(
        ran.err,
        "stdin:1: the event is not valid JSON: EOF while parsing an object at line 1 column 1\n\
         stdin:3: the input line has no text at /title\n\
         stdin:4: the input line has no text at /files/0/path\n\
         stdin:5: the input line has no text at /id\n\
         stdin:6: the event `release` is not supported\n\nhint: run tollgate on one of pull_request, \
         pull_request_target, issue_comment, pull_request_review_comment, workflow_dispatch, schedule, push, \
         merge_group, workflow_run, or pass a payload of one with --event FILE\n"
    );
}

#[test]
fn the_current_event_without_input() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("event.json");
    let payload = json!({
        "action": "review_requested", "sender": { "login": "lee" },
        "repository": { "full_name": "acme/widgets", "default_branch": "main" },
        "pull_request": {
            "number": 3, "title": "Sort", "head": { "ref": "x", "sha": "abc", "repo": null },
            "base": { "ref": "main", "sha": "def", "repo": null }
        }
    });
    std::fs::write(&path, payload.to_string()).unwrap();
    let env = HashMap::from([
        ("GITHUB_EVENT_NAME", "pull_request".to_owned()),
        ("GITHUB_EVENT_PATH", path.to_str().unwrap().to_owned()),
    ]);
    let args = Args { input: None, event: None, format: None, explain: false, budget_file: None };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let lookup = |name: &str| env.get(name).cloned();
    let around = Around { env: &lookup, dir: dir.path(), stdin: &mut std::io::empty() };
    assert_eq!(run(&args, &[], around, &mut out, &mut err).unwrap(), 0);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "abc: review, medium stakes (50 % sure)\n  \
         task review: a review was requested\n  \
         stakes medium: a review of an ordinary change\n  \
         change implementation: no files are known\n"
    );
}
