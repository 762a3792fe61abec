//! The change's own nature, the stakes, and the budget file's rules.

use globset::{Glob, GlobSetBuilder};

use super::*;
use crate::budget::{Count, When};
use ChangeKind::{Docs, Implementation};
use Stakes::{High, Low, Medium};

type Files = &'static [(&'static str, u64, u64)];

/// A title, its files, and what the change is.
const CHANGES: &[(&str, Files, ChangeKind)] = &[
    ("fix: wording", &[("README.md", 1, 1)], Docs),
    ("Add a page", &[("docs/queues.rst", 80, 0), ("docs/toc.yml", 1, 0)], Docs),
    ("Add a page", &[("docs/queues.md", 80, 0), ("mkdocs.yml", 1, 0)], Docs),
    ("Relicense", &[("LICENSE", 20, 20), ("LICENSE-APACHE", 200, 0)], Docs),
    ("Draw the flow", &[("docs/flow.drawio", 90, 0), ("docs/flow.svg", 1, 0)], Docs),
    ("Changelog", &[("CHANGELOG.md", 12, 0)], Docs),
    ("docs: javadoc of Queue", &[("src/main/java/Queue.java", 5, 0)], Docs),
    ("Fix typo in comment", &[("src/queue.c", 1, 1)], Docs),
    ("Teach the test readme", &[("tests/README.md", 4, 1)], Docs),
    (
        "docs: add option",
        &[("README.md", 3, 0), ("src/queue.rs", 40, 9), ("tests/queue.rs", 20, 0)],
        Implementation,
    ),
    ("release 2.0", &[("CHANGELOG.md", 40, 0), ("Cargo.toml", 1, 1), ("Cargo.lock", 1, 1)], Implementation),
    ("docs: prompts", &[("app/prompts/system.md", 9, 3)], Implementation),
    ("Update fixtures", &[("tests/fixtures/page.md", 9, 3)], Implementation),
    ("docs: pin", &[("requirements-dev.txt", 1, 1)], Implementation),
    ("docs: bigger logo", &[("docs/theme/custom.css", 3, 1)], Implementation),
    ("docs: fix build", &[(".github/workflows/docs.yml", 1, 1)], Implementation),
    ("docs: container", &[("Dockerfile", 1, 1)], Implementation),
    ("Template", &[(".github/ISSUE_TEMPLATE/bug.md", 9, 0)], Implementation),
    ("Tell agents less", &[("AGENTS.md", 3, 9)], Implementation),
    ("Snapshot", &[("src/__snapshots__/page.txt", 9, 9)], Implementation),
    ("feat: comments on posts", &[("src/comments.ts", 90, 2)], Implementation),
    ("fix: help text", &[("src/cli.rs", 2, 2)], Implementation),
    ("build", &[("CMakeLists.txt", 3, 1)], Implementation),
];

#[test]
fn what_a_change_is() {
    for (title, files, kind) in CHANGES {
        let class = classify(&opened(change(title, files)), &[]);
        assert_eq!(class.change_kind, *kind, "{title}: {:?}", class.reasons);
    }
}

#[test]
fn the_change_is_judged_from_itself_alone() {
    for (title, files, kind) in CHANGES {
        for text in ["@agent rewrite the docs", "@agent implement it in code", "/review"] {
            let class = classify(&commented(change(title, files), text, person(None)), &[]);
            assert_eq!(class.change_kind, *kind, "{title}, {text}");
        }
    }
}

#[test]
fn confidence_is_low_where_only_the_patch_would_tell() {
    let sure = classify(&opened(change("docs: queues", &[("docs/queues.md", 4, 1)])), &[]);
    let unsure = classify(&opened(change("docs: queues", &[("src/queue.py", 4, 1)])), &[]);
    assert_eq!((sure.change_kind, unsure.change_kind), (Docs, Docs));
    assert!(sure.confidence >= 80 && unsure.confidence <= 75, "{} {}", sure.confidence, unsure.confidence);
}

/// A change that nobody asked anything about is reviewed; what would a mistake cost?
const REVIEWED: &[(&str, Files, Stakes)] = &[
    ("Fix a typo", &[("README.md", 1, 1)], Low),
    ("Bump serde from 1.0.1 to 1.0.2", &[("Cargo.lock", 2, 2)], Low),
    ("chore: release 1.2.0", &[("CHANGELOG.md", 9, 0), ("Cargo.toml", 1, 1)], Low),
    ("style: reformat", &[("src/queue.rs", 20, 20)], Low),
    ("Keep the queue sorted", &[("src/queue.rs", 40, 12)], Medium),
    ("Cover the empty queue", &[("tests/queue.rs", 40, 0)], Medium),
    ("A long handbook", &[("docs/handbook.md", 900, 0)], Medium),
    ("Count users by author", &[("src/authors.rs", 9, 2)], Medium),
    ("Tidy up", &[("src/auth/session.rs", 3, 1)], High),
    ("Tidy up", &[("src/OAuthClient.java", 3, 1)], High),
    ("Add column", &[("db/migrations/0042_add.py", 9, 0)], High),
    ("Rotate the signing key daily", &[("src/rotate.rs", 9, 2)], High),
    ("Open port 8080 in the security group", &[("main.tf", 4, 0)], High),
    ("Let the agent push", &[(".claude/settings.json", 4, 0)], High),
    ("Rewrite the core", &[("src/core.rs", 2400, 1800)], High),
    ("Explain logins", &[("docs/auth/login.md", 20, 0)], Low),
];

#[test]
fn what_a_mistake_in_a_review_would_cost() {
    for (title, files, stakes) in REVIEWED {
        let class = classify(&opened(change(title, files)), &[]);
        assert_eq!((class.task, class.stakes), (Task::Review, *stakes), "{title}: {:?}", class.reasons);
    }
}

#[test]
fn what_a_mistake_in_requested_work_would_cost() {
    for (text, stakes) in [
        ("@agent fix the typos in the readme", Low),
        ("@agent reformat the code", Low),
        ("@agent add a test for the empty queue", Medium),
        ("@agent write a complete tutorial, from scratch", Medium),
        ("@agent encrypt the credentials in the config", High),
    ] {
        let class = classify(&commented(code_change(), text, person(None)), &[]);
        assert_eq!(class.stakes, stakes, "{text}: {:?}", class.reasons);
    }
}

#[test]
fn a_first_pass_without_a_change_is_high() {
    let mut event = Event::bare(Kind::IssueComment, "acme/widgets");
    event.comment = Some(("@agent implement this".to_owned(), person(Some("OWNER"))));
    assert_eq!(classify(&event, &[]).stakes, High);
}

/// An outsider's words may raise the stakes and not lower them.
#[test]
fn outsiders_only_raise_the_stakes() {
    let by = |association: &str, title: &str, files: Files| {
        let mut change = change(title, files);
        change.author = person(Some(association));
        classify(&opened(change), &[]).stakes
    };
    const CODE: Files = &[("src/queue.rs", 3, 3)];
    assert_eq!(by("MEMBER", "Fix typos in comments", CODE), Low);
    assert_eq!(by("NONE", "Fix typos in comments", CODE), Medium);
    assert_eq!(by("NONE", "chore: release 1.0", CODE), Medium);
    assert_eq!(by("NONE", "docs: comments", &[("src/auth.rs", 3, 3)]), High);
    assert_eq!(by("NONE", "Check the password", CODE), High);
    assert_eq!(by("NONE", "whatever", &[("README.md", 1, 1)]), Low);
}

#[test]
fn a_file_list_that_is_cut_lowers_nothing() {
    let mut change = change("Fix typos", &[("README.md", 1, 1)]);
    change.files_total = 900;
    assert!(classify(&opened(change), &[]).stakes >= Medium);
}

fn rule(
    line: usize,
    label: Option<&str>,
    paths: &[&str],
    task: Option<Task>,
    stakes: Option<Stakes>,
) -> Rule {
    let mut globs = GlobSetBuilder::new();
    paths.iter().for_each(|path| {
        globs.add(Glob::new(path).unwrap());
    });
    let written = paths.iter().map(|path| (*path).to_owned()).collect();
    let paths = (!paths.is_empty()).then(|| (written, globs.build().unwrap()));
    Rule { label: label.map(str::to_owned), paths, when: When::default(), task, stakes, line }
}

#[test]
fn the_first_rule_wins_for_the_task_and_for_the_stakes() {
    let rules = [
        rule(3, Some("agent:docs"), &[], Some(Task::Docs), None),
        rule(4, None, &["src/**"], Some(Task::Implementation), Some(High)),
        rule(5, None, &["**"], None, Some(Low)),
    ];
    let mut change = code_change();
    let class = classify(&opened(change.clone()), &rules);
    assert_eq!((class.task, class.stakes), (Task::Implementation, High));
    change.labels.push("Agent:Docs".to_owned());
    let class = classify(&opened(change), &rules);
    assert_eq!((class.task, class.stakes), (Task::Docs, High));
    assert_eq!(
        class.reasons,
        [
            "task docs: rule on line 3 of the budget file: the label `agent:docs` is set",
            "stakes high: rule on line 4 of the budget file: a changed file matches src/**",
            "change implementation: code changes",
        ]
    );
}

#[test]
fn a_rule_beats_a_comment_and_needs_all_it_names() {
    let rules = [rule(3, Some("frozen"), &["src/**"], Some(Task::Review), None)];
    let ask = |change| classify(&commented(change, "@agent implement it", person(None)), &rules).task;
    let mut change = code_change();
    assert_eq!(ask(change.clone()), Task::Implementation);
    change.labels.push("frozen".to_owned());
    assert_eq!(ask(change), Task::Review);
}

#[test]
fn a_path_rule_lowers_only_where_every_file_matches() {
    let rules = [rule(3, None, &["docs/**"], None, Some(Low))];
    let stakes = |files: Files| classify(&opened(change("Tidy up", files)), &rules).stakes;
    assert_eq!(stakes(&[("docs/handbook.md", 900, 0)]), Low);
    assert_eq!(stakes(&[("docs/a.md", 1, 0), ("src/auth.rs", 9, 0)]), High);
}

/// Every condition holds for one event and fails for another.
#[test]
fn rules_on_other_things() {
    type Spoil = fn(&mut Event);
    fn of(event: &mut Event) -> &mut crate::event::Change {
        event.change.as_mut().unwrap()
    }
    let branch = || Some(("fix/*".to_owned(), Glob::new("fix/*").unwrap().compile_matcher()));
    let text = |text: &str| Some(text.to_owned());
    let cases: [(When, Spoil); 8] = [
        (When { title: text("QUEUE"), ..When::default() }, |event| of(event).title = "Stacks".to_owned()),
        (When { branch: branch(), ..When::default() }, |event| of(event).branch = "main".to_owned()),
        (When { author: text("Someone"), ..When::default() }, |event| of(event).author.login.push('x')),
        (When { event: text("issue_comment"), ..When::default() }, |event| event.kind = Kind::PullRequest),
        (When { comment: text("go on"), ..When::default() }, |event| event.comment = None),
        (When { language: text("RS"), ..When::default() }, |event| of(event).files.clear()),
        (When { lines: Count::parse("> 50"), ..When::default() }, |event| of(event).additions_total = 38),
        (When { files: Count::parse("<= 1"), ..When::default() }, |event| of(event).files_total = 2),
    ];
    for (when, spoil) in cases {
        let shown = when.conditions().join(" ");
        let rules = [Rule { when, ..rule(7, None, &[], Some(Task::Docs), None) }];
        let mut change = code_change();
        change.branch = "fix/queue".to_owned();
        let mut event = commented(change, "@agent Go on, implement it", person(Some("MEMBER")));
        assert_eq!(classify(&event, &rules).task, Task::Docs, "{shown}");
        spoil(&mut event);
        assert_ne!(classify(&event, &rules).task, Task::Docs, "{shown}");
    }
}

/// Words that an outsider chose may fit a rule; they raise the stakes and choose a review at most.
#[test]
fn a_rule_on_an_outsiders_words_only_raises() {
    let by_title = |task, stakes| Rule {
        when: When { title: Some("queue".to_owned()), ..When::default() },
        ..rule(2, None, &[], task, stakes)
    };
    let mut change = code_change();
    change.author = person(Some("NONE"));
    let class = classify(&opened(change.clone()), &[by_title(Some(Task::Docs), Some(Low))]);
    assert_eq!((class.task, class.stakes), (Task::Review, Medium));
    let class = classify(&opened(change), &[by_title(None, Some(High))]);
    assert_eq!(class.stakes, High);
}

#[test]
fn bounds_of_counts() {
    use Count::{AtLeast, AtMost};
    let parsed = ["> 5", ">=5", "< 5", "<= 1_000", "5", "> x", "< 0", ""].map(Count::parse);
    assert_eq!(
        parsed,
        [Some(AtLeast(6)), Some(AtLeast(5)), Some(AtMost(4)), Some(AtMost(1000)), None, None, None, None]
    );
}

#[test]
fn rules_know_every_event() {
    let mut names: Vec<&str> = Kind::GITHUB.iter().map(|(name, _)| *name).collect();
    names.push(Kind::Local.as_str());
    assert_eq!(crate::budget::EVENTS.as_slice(), names);
}
