//! `tollgate run` under an override: who sets the label, when, and what the ledger remembers of it.

use jiff::{SignedDuration, Timestamp};

use crate::run::{agent, expect_settled, summary};
use crate::run_github::{NUMBER, budget, checkout, comments, github, plain};
use crate::support::Run;
use crate::support::github::Double;

/// A budget that has nothing left after one run, and the label that raises it.
fn file() -> String {
    let file = budget("0.0003", "0.01", "");
    format!("{file}override: {{ label: more, permission: maintain, usd: 1, expires: 2h }}\n")
}

fn with(change: impl FnOnce(&mut crate::support::github::State)) -> Double {
    let double = github(&file());
    double.state(|state| {
        let person = |base: &str, role: &str| (base.to_owned(), role.to_owned());
        state.permissions.insert("kim".to_owned(), person("write", "maintain"));
        state.permissions.insert("lee".to_owned(), person("write", "write"));
        change(state);
    });
    double
}

/// The second run of a pull request, whose budget the first has used up.
fn second(double: &Double) -> (Run, crate::support::Tollgate) {
    let upstream = plain();
    let mut world = checkout(double, &file());
    agent(&mut world, &upstream, "ask Go\n");
    let run = agent(&mut world, &upstream, "ask Go\nask Go\n");
    (run, world)
}

#[test]
fn a_label_by_whoever_may_raises_every_budget_and_is_in_the_ledger() {
    let double = with(|state| state.label(NUMBER, true, "more", Some("kim")));
    let (run, mut world) = second(&double);
    run.expect_code(0);
    assert_eq!(summary(&world)["budget_limit_usd"], "1.0003");
    let body = &comments(&double)[0].1;
    assert!(
        body.contains(
            "\nThe label `more`, set by kim, raises every budget of this pull request's runs by $1.00 until "
        ),
        "{body}"
    );
    expect_settled(&mut world, false);
    let events = std::fs::read_dir(world.work().join(".tollgate/events")).expect("a ledger");
    let text: String =
        events.map(|entry| std::fs::read_to_string(entry.expect("one").path()).expect("text")).collect();
    assert_eq!(text.matches(r#""lift":{"usd":"1","label":"more","by":"kim","set":""#).count(), 2, "{text}");
    // Taken off, it ends.
    double.state(|state| state.label(NUMBER, false, "more", Some("kim")));
    let run = agent(&mut world, &plain(), "ask Go\n");
    run.expect_code(3);
    assert!(!run.stdout.contains("raises every budget"), "{}", run.stdout);
    expect_settled(&mut world, false);
}

#[test]
fn a_label_that_does_not_count_is_ignored_and_said() {
    let late = Timestamp::now() - SignedDuration::from_hours(3);
    let cases: [(&str, Option<&str>, bool); 3] = [
        (
            "The label `more` was set by lee, who does not have the maintain permission that an override needs.",
            Some("lee"),
            false,
        ),
        (
            "The label `more` was set by mallory, who does not have the maintain permission that an override needs.",
            Some("mallory"),
            false,
        ),
        (
            "The override by the label `more`, set by kim, has expired; taking the label off and setting it again starts its time anew.",
            Some("kim"),
            true,
        ),
    ];
    for (said, by, is_late) in cases {
        let double = with(|state| {
            let now = state.now;
            if is_late {
                state.now = late;
            }
            state.label(NUMBER, true, "more", by);
            state.now = now;
        });
        let (run, _world) = second(&double);
        run.expect_code(3);
        assert!(run.stdout.contains(&format!("\n{said}\n")), "{said}\n{}", run.stdout);
    }
}

#[test]
fn a_label_on_a_fork_needs_somebody_to_vouch_for_what_is_pushed() {
    let forked = |state: &mut crate::support::github::State| {
        let pull = state.pulls.get_mut(&NUMBER).expect("it is there");
        pull.head_repository = Some("mallory/gate".to_owned());
        pull.author = "mallory".to_owned();
        state.label(NUMBER, true, "more", Some("kim"));
    };
    let double = with(forked);
    let (run, _world) = second(&double);
    run.expect_code(3);
    assert!(
        run.stdout.contains("\nThe label `more` does not count any more, because somebody who may not write"),
        "{}",
        run.stdout
    );
    let double = with(|state| {
        forked(state);
        state.pulls.get_mut(&NUMBER).expect("it is there").author = "lee".to_owned();
    });
    let (run, _world) = second(&double);
    run.expect_code(0);
}
