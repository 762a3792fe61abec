//! Every report of every kind of ending, against files that people can read: `tests/golden/`.
//!
//! `TOLLGATE_BLESS=1` writes them anew; the difference is then reviewed like any other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollgate::classify::{ChangeKind, Class};
use tollgate::gate::{Gate, Tokens};
use tollgate::id::HoldId;
use tollgate::ledger::{Balance, Enforce, Limit, Window};
use tollgate::limits;
use tollgate::meter::{ModelTotals, Phase, Totals};
use tollgate::model::ModelId;
use tollgate::money::Usd;
use tollgate::outcome::{Outcome, Verdict};
use tollgate::report::around::Around;
use tollgate::report::{
    BudgetState, Files, PurseTotal, Run, Served, annotations, comment, json, logline, outputs, summary,
    terminal,
};
use tollgate::savings::Savings;
use tollgate::task::{Stakes, Task, Tier};
use tollgate::tokens::Counts;

const FILE: &str = ".github/tollgate.yml";

pub(crate) fn usd(text: &str) -> Usd {
    text.parse().expect("an amount")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub(crate) fn budget(purse: &str, per: &str, limit: &str, settled: &str) -> BudgetState {
    let (start, end) = match per {
        "day" => ("2026-11-23T00:00:00Z", Some("2026-11-24T00:00:00Z")),
        "week" => ("2026-11-23T00:00:00Z", Some("2026-11-30T00:00:00Z")),
        "month" => ("2026-11-01T00:00:00Z", Some("2026-12-01T00:00:00Z")),
        _ => ("1970-01-01T00:00:00Z", None),
    };
    let limit = Limit {
        purse: purse.to_owned(),
        per: per.to_owned(),
        window: Window { start: at(start), end: end.map(at) },
        usd: usd(limit),
        enforce: Enforce::Hard,
    };
    let name = limits::name(&limit);
    BudgetState { name, balance: Balance { limit, settled: usd(settled), held: Usd::ZERO } }
}

fn enforced(mut state: BudgetState, enforce: Enforce) -> BudgetState {
    state.balance.limit.enforce = enforce;
    state
}

fn held(mut state: BudgetState, held: &str) -> BudgetState {
    state.balance.held = usd(held);
    state
}

fn used(requests: u64, cost: &str, counts: Counts) -> ModelTotals {
    ModelTotals { requests, counts, usd: usd(cost), notional: Usd::ZERO }
}

fn totals(models: &[(&str, ModelTotals)]) -> Totals {
    let by_model: BTreeMap<ModelId, ModelTotals> =
        models.iter().map(|(model, used)| (ModelId::new(model), *used)).collect();
    Totals {
        settled: by_model.values().map(|used| used.usd).sum(),
        requests: by_model.values().map(|used| used.requests).sum(),
        by_model,
        phase: Phase::Sealed,
        ..Totals::default()
    }
}

fn gate(verdict: Verdict, outcome: Outcome, code: u8, reason: &str, hint: Option<&str>) -> Gate {
    Gate { verdict, outcome, reason: reason.to_owned(), hint: hint.map(str::to_owned), code }
}

fn class(task: Task, stakes: Stakes, reasons: &[&str]) -> Class {
    let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    Class { task, change_kind: ChangeKind::Implementation, stakes, confidence: 86, reasons }
}

fn served(tier: Tier, model: &str, cap: &str, reason: &str) -> Served {
    Served {
        hold: HoldId::from_text("github.com/735214/9182736450/1/agent/5f0c2a"),
        tier,
        model: ModelId::new(model),
        reason: reason.to_owned(),
        cap: usd(cap),
    }
}

/// A review that went well: the usual run.
pub(crate) fn pass() -> Run {
    let sonnet = Counts {
        input: 4_210,
        cache_read: 166_012,
        cache_write_5m: 12_118,
        output: 4_102,
        ..Counts::default()
    };
    let haiku = Counts { input: 2_114, output: 96, ..Counts::default() };
    Run {
        repository: "acme/shop".to_owned(),
        pr: Some(17),
        started: at("2026-11-23T14:05:00Z"),
        timezone: TimeZone::UTC,
        took: Duration::from_secs(192),
        simulated: false,
        enforced: true,
        subscription: None,
        class: class(
            Task::Review,
            Stakes::Medium,
            &[
                "somebody with write access asks for a review",
                "4 files of code are changed, 212 lines in all",
            ],
        ),
        served: Some(served(
            Tier::Medium,
            "claude-sonnet-5-5",
            "0.80",
            "review at medium stakes runs at the medium tier",
        )),
        totals: totals(&[
            ("claude-sonnet-5-5-20260917", used(13, "0.3097", sonnet)),
            ("claude-haiku-5-5", used(1, "0.0003", haiku)),
        ]),
        budgets: vec![budget("repo", "month", "200", "142.1"), budget("pr:17", "total", "5", "1.12")],
        skipped: Vec::new(),
        pull_request: Some(PurseTotal {
            runs: 3,
            usd: usd("1.12"),
            prompt: 612_008,
            cache_read: 539_100,
            output: 18_230,
            ..PurseTotal::default()
        }),
        savings: Savings {
            routing: Some((ModelId::new("claude-opus-5-5"), usd("0.2064"))),
            caching: usd("0.4391"),
        },
        gate: gate(Verdict::Pass, Outcome::Completed, 0, "$0.31 of $0.80 spent, within every budget", None),
        result: Some("The change looks right. One question about `total()`: see the second hunk.".to_owned()),
        result_in_comment: false,
        public: false,
        budget_file: Some(FILE.to_owned()),
        notes: Vec::new(),
        files: Files::default(),
        around: Around::default(),
    }
}

/// A subscription paid for it.
fn subscription() -> Run {
    let run = pass();
    let mut totals = run.totals.clone();
    for used in totals.by_model.values_mut() {
        used.notional = std::mem::take(&mut used.usd);
    }
    totals.notional = std::mem::take(&mut totals.settled);
    totals.fresh = 22_640;
    Run {
        served: run.served.clone().map(|served| Served { cap: Usd::ZERO, ..served }),
        subscription: Some(Tokens { used: totals.fresh, most: Some(1_000_000) }),
        totals,
        budgets: Vec::new(),
        skipped: vec!["budgets in dollars, since a subscription pays for this run".to_owned()],
        pull_request: run.pull_request.map(|sum| PurseTotal {
            notional: usd("0.31"),
            usd: usd("0.81"),
            ..sum
        }),
        savings: Savings::default(),
        gate: gate(
            Verdict::Pass,
            Outcome::Completed,
            0,
            "22,640 of 1,000,000 new tokens of a subscription used, and no dollars",
            None,
        ),
        ..run
    }
}

/// A budget that only warns is passed.
fn warn() -> Run {
    let reason = "the daily budget of octocat is exceeded by $0.40: $10.40 of $10.00 spent";
    let hint =
        "raise its `usd` in .github/tollgate.yml line 7 above $10.40, or wait: it starts anew on 24 Nov 2026";
    Run {
        budgets: vec![
            held(budget("repo", "month", "200", "142.1"), "1.6"),
            enforced(budget("actor:octocat", "day", "10", "10.4"), Enforce::Count),
        ],
        gate: gate(Verdict::Warn, Outcome::Completed, 0, reason, Some(hint)),
        ..pass()
    }
}

/// A soft budget is passed: the check fails.
fn exceeded() -> Run {
    let reason = "the monthly repo budget is exceeded by $2.10: $202.10 of $200.00 spent";
    let hint =
        "raise its `usd` in .github/tollgate.yml line 5 above $202.10, or wait: it starts anew on 1 Dec 2026";
    Run {
        budgets: vec![
            enforced(budget("repo", "month", "200", "202.1"), Enforce::Soft),
            budget("workflow:.github/workflows/agent.yml", "day", "25", "4.20"),
            budget("pr:17", "total", "5", "1.12"),
        ],
        gate: gate(Verdict::Fail, Outcome::Completed, 3, reason, Some(hint)),
        ..pass()
    }
}

/// The run's own cap stopped it, and something was left.
fn capped() -> Run {
    let opus = Counts {
        input: 41_880,
        cache_read: 3_920_450,
        cache_write_5m: 210_300,
        output: 38_771,
        ..Counts::default()
    };
    let mut totals = totals(&[("claude-opus-5-5", used(57, "3.981204", opus))]);
    totals.stopped_requests = 1;
    Run {
        class: class(
            Task::Implementation,
            Stakes::High,
            &[
                "the label `agent:implement` asks for code",
                "files under src/auth are changed, where a mistake is dear",
            ],
        ),
        served: Some(served(
            Tier::High,
            "claude-opus-5-5",
            "4.00",
            "implementation at high stakes runs at the high tier",
        )),
        totals,
        budgets: vec![budget("repo", "month", "200", "145.77"), budget("pr:17", "total", "5", "3.981204")],
        took: Duration::from_secs(1_904),
        pull_request: Some(PurseTotal {
            runs: 1,
            usd: usd("3.981204"),
            prompt: 4_172_630,
            cache_read: 3_920_450,
            output: 38_771,
            ..PurseTotal::default()
        }),
        savings: Savings { routing: None, caching: usd("16.590975") },
        gate: gate(
            Verdict::Warn,
            Outcome::Capped,
            0,
            "the agent was stopped at its cap, $3.98 of $4.00 spent",
            Some(
                "raise `max_usd` of the tier in .github/tollgate.yml if such work is worth more, or split the task",
            ),
        ),
        result: Some(
            "Done: the token check and its tests.\nNot done: the migration.\nNext: run `just migrate`."
                .to_owned(),
        ),
        result_in_comment: true,
        files: Files {
            folder: Some("/tmp/run".to_owned()),
            result: Some("/tmp/run/result.md".to_owned()),
            patch: Some("/tmp/run/partial.patch".to_owned()),
            summary: Some("/tmp/run/summary.json".to_owned()),
        },
        ..pass()
    }
}

/// A budget had too little left, so the agent was not started.
fn refused() -> Run {
    let reason = "the run was not started: $199.99 of the monthly repo budget of $200.00 is spent, which leaves \
                  $0.01, and a run needs $0.02 at least";
    let hint =
        "raise its `usd` in .github/tollgate.yml line 5 above $200.01, or wait: it starts anew on 1 Dec 2026";
    Run {
        served: None,
        totals: Totals::default(),
        took: Duration::ZERO,
        budgets: vec![budget("repo", "month", "200", "199.99"), budget("pr:17", "total", "5", "1.12")],
        savings: Savings::default(),
        gate: gate(Verdict::Fail, Outcome::Refused, 3, reason, Some(hint)),
        result: None,
        ..pass()
    }
}

/// The agent ran past the meter.
fn unmetered() -> Run {
    Run {
        totals: Totals { phase: Phase::Sealed, ..Totals::default() },
        savings: Savings::default(),
        budgets: vec![budget("repo", "month", "200", "141.79")],
        pull_request: None,
        gate: gate(
            Verdict::Fail,
            Outcome::Unmetered,
            3,
            "the agent ran and no request reached the meter, so its spend is unknown",
            Some(
                "let the agent use ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY as they are set for it, or write `on: { unmetered: warn }` if it may run without the model",
            ),
        ),
        ..pass()
    }
}

/// Budgets are watched and nothing is stopped.
fn observe() -> Run {
    Run {
        enforced: false,
        budget_file: None,
        budgets: vec![enforced(budget("repo", "month", "200", "202.1"), Enforce::Count)],
        gate: gate(
            Verdict::Warn,
            Outcome::Completed,
            0,
            "observe mode, so the check passes although the monthly repo budget is exceeded by $2.10: $202.10 of $200.00 spent",
            Some("write `mode: enforce` in the budget file to let budgets stop runs and fail checks"),
        ),
        ..pass()
    }
}

/// Somebody cancelled the run; an answer never came to its end.
fn cancelled() -> Run {
    let mut totals = totals(&[(
        "claude-sonnet-5-5",
        used(4, "0.1234", Counts { input: 31_004, output: 812, ..Counts::default() }),
    )]);
    totals.estimated = usd("0.021");
    Run {
        totals,
        took: Duration::from_secs(41),
        savings: Savings {
            routing: Some((ModelId::new("claude-opus-5-5"), usd("0.08"))),
            caching: Usd::ZERO,
        },
        gate: gate(
            Verdict::Fail,
            Outcome::Cancelled,
            130,
            "the run was cancelled; what it had spent is settled",
            None,
        ),
        ..pass()
    }
}

/// The agent ended with an error, within budget.
fn agent_failed() -> Run {
    Run {
        gate: gate(Verdict::Fail, Outcome::AgentFailed, 5, "the agent ended with an error", None),
        savings: Savings { routing: None, caching: usd("-0.0123") },
        ..pass()
    }
}

/// Its time was up.
fn timed_out() -> Run {
    Run {
        took: Duration::from_secs(1_200),
        gate: gate(Verdict::Fail, Outcome::TimedOut, 5, "the agent was ended when its time was up", None),
        ..pass()
    }
}

/// A request cost more than it should have been able to.
fn overrun() -> Run {
    let mut run = pass();
    run.totals.overrun =
        Some("a request to claude-sonnet-5-5 was bounded at $0.12 and cost $0.14".to_owned());
    run.gate = gate(
        Verdict::Fail,
        Outcome::Completed,
        3,
        "a request cost more than its worst case: a request to claude-sonnet-5-5 was bounded at $0.12 and cost $0.14",
        Some("the spend is recorded in full; report this with the model and the request's shape"),
    );
    run
}

/// The first run of a public repository without a budget file, with nothing but its own budget to show.
fn public() -> Run {
    Run {
        public: true,
        pull_request: Some(PurseTotal {
            runs: 1,
            usd: usd("0.31"),
            prompt: 184_454,
            cache_read: 166_012,
            output: 4_198,
            ..PurseTotal::default()
        }),
        budgets: vec![budget("repo", "month", "200", "142.1"), budget("pr:17", "total", "5", "0.31")],
        ..pass()
    }
}

/// A simulation outside any pull request.
fn simulated() -> Run {
    Run {
        repository: "shop".to_owned(),
        pr: None,
        simulated: true,
        enforced: false,
        pull_request: None,
        budget_file: None,
        budgets: Vec::new(),
        skipped: vec!["pr budget: this run is for no pull request".to_owned()],
        ..pass()
    }
}

/// Everything that others can write tries to get out of its place.
fn hostile() -> Run {
    let evil =
        "x|`@octocat` <!-- tollgate:v1 key=default --> ![b](https://evil.example/b.png) fixes #1 \u{202e}";
    let mut run = pass();
    run.class.reasons =
        vec![format!("the title says {evil}"), "\n## A heading\n\n- [ ] and @more".to_owned()];
    run.budgets = vec![
        budget(&format!("label:{evil}"), "month", "10", "10"),
        budget("actor:@everyone|<b>", "week", "20", "3"),
    ];
    run.totals.by_model.insert(ModelId::new("</td><img src=x>|@octocat"), used(1, "0.01", Counts::default()));
    run.notes = vec![format!("beta {evil}")];
    run.gate = gate(
        Verdict::Warn,
        Outcome::Completed,
        0,
        &format!("the monthly budget of label `{evil}` is used up"),
        Some(evil),
    );
    run.result = Some(format!("{evil}\n```\n</details>\n@octocat fixes #1\n````\n::error::x\u{1b}[31m"));
    run.result_in_comment = true;
    run
}

fn scenarios() -> Vec<(&'static str, Run)> {
    vec![
        ("pass", pass()),
        ("warn", warn()),
        ("exceeded", exceeded()),
        ("capped", capped()),
        ("subscription", subscription()),
        ("refused", refused()),
        ("unmetered", unmetered()),
        ("observe", observe()),
        ("cancelled", cancelled()),
        ("agent-failed", agent_failed()),
        ("timed-out", timed_out()),
        ("overrun", overrun()),
        ("public", public()),
        ("simulated", simulated()),
        ("hostile", hostile()),
    ]
}

/// Compares with the golden file of that name, or writes it.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "tests/golden/{name} differs; TOLLGATE_BLESS=1 writes it anew");
}

#[test]
fn comments() {
    for (name, run) in scenarios() {
        golden(&format!("comment/{name}.md"), &comment::render(&run, "default", "9182736450.1"));
    }
}

#[test]
fn terminals() {
    for (name, run) in scenarios() {
        golden(&format!("terminal/{name}.txt"), &terminal::render(&run, None));
    }
    golden("terminal/narrow.txt", &terminal::render(&exceeded(), Some(80)));
}

#[test]
fn summaries() {
    for (name, run) in [("pass", pass()), ("capped", capped()), ("hostile", hostile())] {
        golden(&format!("summary/{name}.md"), &summary::render(&run));
    }
}

#[test]
fn scripts() {
    for (name, run) in [("capped", capped()), ("refused", refused()), ("subscription", subscription())] {
        golden(&format!("json/{name}.json"), &json::render(&run));
        let outputs: String =
            outputs::of(&run).iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        golden(&format!("outputs/{name}.txt"), &outputs);
        golden(&format!("log/{name}.txt"), &format!("{}\n{}\n", logline::logfmt(&run), logline::json(&run)));
    }
}

#[test]
fn annotations_of_a_verdict() {
    let all: String = scenarios()
        .iter()
        .filter_map(|(_, run)| annotations::verdict(run))
        .map(|annotation| format!("{annotation}\n"))
        .collect();
    golden("annotations.txt", &all);
}

#[test]
fn step_outputs_are_those_that_are_promised_and_the_verdict_is_last() {
    let run = pass();
    let mut names: Vec<&str> = outputs::of(&run).iter().map(|(name, _)| *name).collect();
    assert_eq!(names.last(), Some(&"verdict"));
    names.sort_unstable();
    let mut promised = vec![
        "verdict",
        "outcome",
        "reason",
        "task",
        "stakes",
        "tier",
        "model",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "total_cost_usd",
        "notional_usd",
        "cap_usd",
        "budget_spent_usd",
        "budget_limit_usd",
        "overrun",
        "hold_id",
        "run_folder",
        "result_path",
        "patch_path",
        "summary_path",
    ];
    promised.sort_unstable();
    assert_eq!(names, promised);
}

#[test]
fn the_summary_holds_every_step_output() {
    let run = capped();
    let summary: serde_json::Value = serde_json::from_str(&json::render(&run)).expect("JSON");
    for (name, value) in outputs::of(&run) {
        let found = &summary[name];
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(found, value, "{name}");
    }
}

#[test]
fn only_the_marker_tells_two_runs_with_the_same_report_apart() {
    let (one, two) = (comment::render(&pass(), "default", "1.1"), comment::render(&pass(), "default", "2.1"));
    let marker = |text: &str| comment::Marker::read(text).expect("a marker");
    assert_eq!(marker(&one).hash, marker(&two).hash);
    assert_ne!(marker(&one).hash, marker(&comment::render(&warn(), "default", "1.1")).hash);
}

#[test]
fn a_long_answer_is_cut_to_what_github_takes() {
    let mut run = capped();
    run.result = Some("All of it, line by line. \u{1f600}\n".repeat(60_000));
    let comment = comment::render(&run, "default", "1.1");
    assert!(comment.chars().count() <= 65_536);
    assert!(comment.ends_with(
        "```\n\n</details>\n\n_The rest did not fit into a comment; the job summary has all of it._"
    ));
    assert!(comment::Marker::read(&comment).is_some());
    let summary = summary::render(&run);
    assert!(summary.len() <= 1_048_576);
    assert!(summary.ends_with("```\n\n</details>\n\n_The rest did not fit into a job summary._"));
}

#[test]
fn no_text_of_others_becomes_more_than_text() {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    let ours = ["<!-- tollgate:v1 ", "<details><summary>", "</details>", "<sub>", "</sub>"];
    let text = [comment::render(&hostile(), "default", "1.1"), summary::render(&hostile())].concat();
    let mut code = false;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                assert!(ours.iter().any(|tag| html.starts_with(tag)), "{html:?}");
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => panic!("a link: {event:?}"),
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => code = false,
            Event::Text(text) if !code => {
                assert!(!text.contains("@m") && !text.contains("@o") && !text.contains("#1"), "{text:?}");
                assert!(!text.contains("://"), "{text:?}");
            }
            _ => {}
        }
    }
    assert_eq!(text.matches("<!-- tollgate").count(), 1);
}
