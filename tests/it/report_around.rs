//! What the forge and other runs add to a report, and the comment of a run that is under way, against
//! `tests/golden/around/`.

use tollgate::report::alerts::{self, Alert, What};
use tollgate::report::around::{Around, Proposal, Sibling};
use tollgate::report::running::{self, Started};
use tollgate::report::{Run, comment, summary};
use tollgate::task::{Stakes, Task, Tier};

use crate::report::{budget, golden, pass, usd};

fn around() -> Around {
    let sibling = |job: &str, held: Option<&str>| Sibling {
        job: job.to_owned(),
        task: "docs".to_owned(),
        model: "claude-haiku-5-5".to_owned(),
        held: held.map(usd),
        spent: if held.is_some() { (usd("0"), 0, 0, 0) } else { (usd("0.041"), 20_480, 10_240, 812) },
        notional: usd("0"),
    };
    let states = [budget("repo", "month", "200", "161"), budget("pr:17", "total", "5", "4.2")];
    Around {
        commit: Some("8d5f1c0a9be37f2c64d1e0b7a3958d5f1c0a9be3".to_owned()),
        remarks: vec![
            "the label `budget-override`, set by kim, raises every budget by $10.00 until 24 Nov 2026 12:00"
                .to_owned(),
            "the branch has moved on to `0123456789ab` since this run began".to_owned(),
        ],
        alerts: alerts::crossed(&[50, 80, 95], usd("1.5"), &states),
        siblings: vec![sibling("matrix (18, ubuntu)", None), sibling("docs|@octocat", Some("0.10"))],
        proposal: Some(Proposal {
            changes: vec![
                "- All runs of the repository together may cost $200.00 a month, hard.".to_owned(),
                "+ All runs of the repository together may cost $2,000.00 a month, hard.".to_owned(),
            ],
            broken: None,
        }),
    }
}

fn with(around: Around, public: bool) -> Run {
    Run { around, public, ..pass() }
}

#[test]
fn what_others_add_is_in_comment_and_summary() {
    golden("around/comment.md", &comment::render(&with(around(), false), "agent.yml", "9182736450.1"));
    golden("around/summary.md", &summary::render(&with(around(), false)));
    let outsiders = comment::render(&with(around(), true), "agent.yml", "9182736450.1");
    golden("around/public.md", &outsiders);
    assert!(!outsiders.contains("monthly repo budget stands") && outsiders.contains("17 stands at $4.20"));
    let why = "`budgets[0].usd`\n```\n<b>@octocat</b>".to_owned();
    let broken =
        Around { proposal: Some(Proposal { changes: Vec::new(), broken: Some(why) }), ..Around::default() };
    golden("around/broken.md", &comment::render(&with(broken, false), "agent.yml", "9182736450.1"));
    let same = Around { proposal: Some(Proposal { changes: Vec::new(), broken: None }), ..Around::default() };
    let text = comment::render(&Run { budget_file: None, ..with(same, false) }, "agent.yml", "9182736450.1");
    golden("around/same.md", &text);
}

#[test]
fn a_run_under_way_says_what_it_may_cost() {
    let started = Started {
        subscription: None,
        task: Task::Review,
        stakes: Stakes::Medium,
        tier: Tier::Medium,
        model: tollgate::model::ModelId::new("claude-sonnet-5-5"),
        cap: usd("0.80"),
        enforced: true,
        public: false,
        budget_file: Some(".github/tollgate.yml at 8d5f1c0a9be3".to_owned()),
        around: Around { alerts: Vec::new(), ..around() },
    };
    golden("around/running.md", &running::render(&started, &[], "agent.yml", "9182736450.1"));
    let half = Alert { what: What::Cap, percent: 50, spent: usd("0.41"), limit: usd("0.80"), own: true };
    let quiet = Started { enforced: false, around: Around::default(), ..started };
    golden("around/crossed.md", &running::render(&quiet, &[half], "agent.yml", "9182736450.1"));
}
