//! The spend report over a real ledger: every format against files that people can read
//! (`tests/golden/spend/`, written anew by `TOLLGATE_BLESS=1`), and against what `verify` says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tollgate::budget::{self, Budget};
use tollgate::commands::report::{Args, Asked, run_with};
use tollgate::id::HoldId;
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{About, Balance, Enforce, Limit, ModelSpend, Request, Spend, Window};
use tollgate::money::Usd;
use tollgate::tokens::Counts;

use crate::support::Tollgate;

const FILE: &str = "version: 1
budgets:
  - { scope: repo, per: month, usd: 60 }
  - { scope: pr, per: total, usd: 5, enforce: soft }
  - { scope: actor, per: week, usd: 10, enforce: warn }
";

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

fn budget() -> Budget {
    budget::parse(FILE, "tollgate.yml").expect("a budget file")
}

/// A ledger whose clock the test moves.
struct World {
    folder: tempfile::TempDir,
    seconds: Arc<AtomicI64>,
    store: Store,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let seconds = Arc::new(AtomicI64::new(0));
        let store = Store::open(folder.path(), options(&seconds)).expect("a ledger");
        Self { folder, seconds, store }
    }

    fn at(&self, text: &str) {
        self.seconds.store(text.parse::<Timestamp>().expect(text).as_second(), Ordering::SeqCst);
    }

    fn later(&self, hours: i64) {
        self.seconds.fetch_add(hours * 3600, Ordering::SeqCst);
    }

    fn request(&self, hold: &str, about: &About) -> Request {
        let mut purses =
            vec!["repo".to_owned(), format!("task:{}", about.task), format!("actor:{}", about.actor)];
        purses.extend(about.pr.map(|number| format!("pr:{number}")));
        purses.extend(about.workflow.as_ref().map(|path| format!("workflow:{path}")));
        Request {
            hold: HoldId::from_text(hold),
            claim: hold.to_owned(),
            want: usd("0.8"),
            least: usd("0.02"),
            limits: Vec::new(),
            purses,
            expires: self.store.now() + SignedDuration::from_hours(1),
            about: about.clone(),
            lift: None,
        }
    }

    fn reserve(&self, hold: &str, about: &About) {
        self.store.reserve(&self.request(hold, about)).expect("an answer");
    }

    fn report(&self, words: &[&str]) -> String {
        let words = ["report"].into_iter().chain(words.iter().copied());
        let args = <Cli as clap::Parser>::try_parse_from(words).expect("arguments").args;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let asked = Asked {
            args: &args,
            budget: &budget(),
            repository: "acme/widgets".to_owned(),
            sharer: None,
            width: None,
            table: tollgate::price::Table::embedded(),
        };
        let code = run_with(&asked, self.folder.path(), options(&self.seconds), &mut out, &mut err);
        assert_eq!(code.expect("a report"), 0);
        assert_eq!(String::from_utf8(err).expect("text"), "");
        String::from_utf8(out).expect("text")
    }

    fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_str(&self.report(&words)).expect("JSON")
    }
}

fn options(seconds: &Arc<AtomicI64>) -> Options {
    let seconds = Arc::clone(seconds);
    let clock =
        Clock::from_fn(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).expect("a time"));
    Options { clock, ..Options::default() }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn about(task: &str, tier: &str, model: &str, actor: &str, pr: u64) -> About {
    About {
        task: task.to_owned(),
        tier: tier.to_owned(),
        model: model.to_owned(),
        actor: actor.to_owned(),
        pr: (pr > 0).then_some(pr),
        workflow: Some(".github/workflows/agent.yml".to_owned()),
        stakes: tier.to_owned(),
        budget: None,
    }
}

fn spend(amount: &str, parts: &[(&str, &str)]) -> Spend {
    let tokens = Counts {
        input: 10_000,
        cache_read: 90_000,
        cache_write_5m: 2_000,
        output: 1_500,
        ..Counts::default()
    };
    let models = parts.iter().map(|(model, part)| ModelSpend {
        model: (*model).to_owned(),
        usd: usd(part),
        requests: 4,
        tokens,
        notional: Usd::ZERO,
    });
    Spend { usd: usd(amount), models: models.collect(), ..Spend::default() }
}

const SONNET: &str = "claude-sonnet-5-5";
const HAIKU: &str = "claude-haiku-5-5";
const OPUS: &str = "claude-opus-5-5";

/// Twenty days of reviews, and one of every other kind of run.
fn filled() -> World {
    let world = World::new();
    let review = about("review", "medium", SONNET, "octocat", 17);
    for number in 0..20 {
        world.at(&format!("2026-11-{:02}T09:00:00Z", number + 2));
        let hold = format!("review-{number}");
        world.reserve(&hold, &About { pr: Some(17 + number / 4), ..review.clone() });
        let amount = if number % 2 == 0 { "0.31" } else { "0.250000000001" };
        let outcome = if number == 3 { "capped" } else { "completed" };
        world
            .store
            .settle_as(&HoldId::from_text(&hold), &spend(amount, &[(SONNET, amount)]), outcome)
            .expect("settled");
    }
    // A subscription pays for one.
    world.at("2026-11-21T18:00:00Z");
    let free = Request { want: Usd::ZERO, least: Usd::ZERO, ..world.request("free", &review) };
    world.store.reserve(&free).expect("an answer");
    let used = spend("0", &[(SONNET, "0")]);
    let models = used.models.iter().map(|model| ModelSpend { notional: usd("0.42"), ..model.clone() });
    let notional = Spend { notional: usd("0.42"), models: models.collect(), ..Spend::default() };
    world.store.settle_as(&free.hold, &notional, "completed").expect("settled");
    world.at("2026-11-22T10:00:00Z");
    let hostile = About {
        workflow: Some("</td><script>alert(1)</script>".to_owned()),
        ..about("implementation", "high", OPUS, "=cmd|' /C calc'!A0", 30)
    };
    world.reserve("build", &hostile);
    let parts = [(OPUS, "0.7"), (HAIKU, "0.05")];
    world
        .store
        .settle_as(&HoldId::from_text("build"), &spend("0.76", &parts), "agent_failed")
        .expect("settled");
    for hold in ["lost", "found", "dropped", "live"] {
        world.reserve(hold, &about("docs", "low", HAIKU, "dependabot[bot]", 0));
    }
    let id = |hold: &str| HoldId::from_text(hold);
    world.store.expire(&id("lost"), None).expect("expired");
    world.store.expire(&id("found"), None).expect("expired");
    world.store.void(&id("dropped"), "it never began").expect("voided");
    world.later(30);
    // Evidence that comes after a reader has passed the run.
    world.store.adjust(&id("found"), &spend("0.04", &[(HAIKU, "0.04")]), "the journal").expect("adjusted");
    let refused = world.request("refused", &review);
    let window = Window { start: Timestamp::UNIX_EPOCH, end: None };
    let limit =
        Limit { purse: "repo".into(), per: "total".into(), window, usd: usd("1"), enforce: Enforce::Hard };
    let by = Balance { limit, settled: usd("1"), held: Usd::ZERO };
    world.store.refuse(&refused, &by).expect("recorded");
    world.at("2026-11-24T00:00:00Z");
    world
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/spend").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("a golden file");
    assert_eq!(text, expected, "{name}");
}

#[test]
fn every_format_says_the_same_as_its_golden_file() {
    let world = filled();
    golden("report.txt", &world.report(&[]));
    golden("report.md", &world.report(&["--format", "markdown", "--by", "model,author,pr", "--top", "3"]));
    golden("report.html", &world.report(&["--format", "html"]));
    golden("report.csv", &world.report(&["--format", "csv"]));
    golden("report.json", &world.report(&["--format", "json", "--by", "task"]));
}

#[test]
fn what_others_chose_is_only_text_in_a_page_and_a_sheet() {
    let world = filled();
    let html = world.report(&["--format", "html"]);
    assert!(!html.contains("<script"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
    for outside in ["src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!html.contains(outside), "the page needs {outside}");
    }
    let csv = world.report(&["--format", "csv"]);
    for line in csv.lines() {
        let key = line.split(',').nth(1).expect("a key");
        assert!(!key.trim_start_matches('"').starts_with(['=', '+', '-', '@']), "{line}");
    }
}

/// The rows of the CSV by dimension and key, with a column by its name. No key here holds a comma.
fn column(csv: &str, name: &str) -> Vec<(String, String, String)> {
    let mut lines = csv.split("\r\n").filter(|line| !line.is_empty());
    let head: Vec<&str> = lines.next().expect("a head").split(',').collect();
    let place = head.iter().position(|column| *column == name).expect("the column");
    let cells = lines.map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].clone(), cells[1].clone(), cells[place].clone())).collect()
}

#[test]
fn csv_json_and_table_come_to_what_verify_says() {
    let world = filled();
    let verified = world.store.verify().expect("in order");
    let (csv, json, table) = (world.report(&["--format", "csv"]), world.json(&[]), world.report(&[]));
    let amounts = column(&csv, "usd");
    assert_eq!(amounts[0].2, verified.charged.to_string());
    assert_eq!(json["total"]["usd"], verified.charged.to_string());
    assert!(
        table.starts_with(&format!("{} spent by 24 runs, in all\n", verified.charged.shown())),
        "{table}"
    );
    let count = |name: &str| json[name].as_u64().expect(name);
    let runs = json["total"]["runs"].as_u64().expect("runs");
    assert_eq!(runs + count("voided_runs") + count("live_runs"), verified.holds);
    assert_eq!(count("live_runs"), verified.live);
    for dimension in ["model", "task", "tier", "stakes", "pr", "author", "workflow", "day"] {
        for name in [
            "usd",
            "unproven_usd",
            "output_tokens",
            "saved_by_caching_usd",
            "saved_by_routing_usd",
            "refused",
        ] {
            let rows = column(&csv, name);
            let sum: Usd = rows.iter().filter(|row| row.0 == dimension).map(|row| usd(&row.2)).sum();
            assert_eq!(sum, usd(&rows[0].2), "{name} by {dimension}");
            let same = json["by"][dimension].as_array().expect("rows").iter().map(|row| match &row[name] {
                Value::String(text) => usd(text),
                number => usd(&number.to_string()),
            });
            assert_eq!(same.sum::<Usd>(), sum, "{name} by {dimension} in JSON");
        }
    }
    // What a budget has spent is what the ledger's own head says.
    let repo = &json["budgets"][0];
    let window = Window {
        start: "2026-11-01T00:00:00Z".parse().expect("a time"),
        end: "2026-12-01T00:00:00Z".parse().ok(),
    };
    let limit =
        Limit { purse: "repo".into(), per: "month".into(), window, usd: usd("60"), enforce: Enforce::Hard };
    let balance = world.store.balances(&[limit]).expect("a balance").remove(0);
    assert_eq!(repo["settled_usd"], balance.settled.to_string());
    assert_eq!(repo["held_usd"], balance.held.to_string());
    assert_ne!(balance.held, Usd::ZERO);
}

#[test]
fn since_counts_runs_by_when_they_began_and_budgets_all_the_same() {
    let world = filled();
    let (all, late) = (world.json(&[]), world.json(&["--since", "2026-11-22"]));
    assert_eq!(late["total"]["runs"], 3);
    assert_eq!(late["total"]["refused"], 1);
    assert_eq!(late["budgets"], all["budgets"]);
    let none = world.json(&["--since", "2026-11-24"]);
    assert_eq!(none["total"]["runs"], 0);
    assert_eq!(none["budgets"], all["budgets"]);
}

#[test]
fn a_simulated_run_is_in_the_simulated_report_and_in_no_other() {
    let mut world = Tollgate::in_repository(&[("README.md", "Widgets\n")]);
    world.args(["run", "--simulate", "--task", "review"]).run().expect_code(0);
    let report = world.args(["report", "--simulate", "--format", "json"]).run();
    let json: Value = serde_json::from_str(&report.expect_code(0).stdout).expect("JSON");
    assert_eq!(json["total"]["runs"], 1);
    assert_eq!(json["by"]["task"][0]["key"], "review");
    assert_ne!(json["by"]["stakes"][0]["key"], "not recorded");
    assert_eq!(json["endings"][0]["ending"], "completed");
    let real = world.args(["report", "--format", "json"]).run();
    let json: Value = serde_json::from_str(&real.expect_code(0).stdout).expect("JSON");
    assert_eq!(json["total"]["runs"], 0);
}

#[derive(clap::Parser)]
struct LedgerCli {
    #[command(flatten)]
    args: tollgate::commands::ledger::Args,
}

fn export(world: &World, words: &[&str]) -> String {
    let words = ["ledger", "export"].into_iter().chain(words.iter().copied());
    let args = <LedgerCli as clap::Parser>::try_parse_from(words).expect("arguments").args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = options(&world.seconds);
    let code =
        tollgate::commands::ledger::run_with(&args.command, world.folder.path(), options, &mut out, &mut err);
    assert_eq!((code.expect("an export"), String::from_utf8(err).expect("text")), (0, String::new()));
    String::from_utf8(out).expect("text")
}

#[test]
fn an_export_holds_every_run_as_it_stands_now() {
    let world = filled();
    let verified = world.store.verify().expect("in order");
    let lines = export(&world, &[]);
    let runs: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(runs.len() as u64, verified.holds);
    let sum: Usd = runs.iter().map(|run| usd(run["usd"].as_str().expect("an amount"))).sum();
    assert_eq!(sum, verified.charged);
    let of = |hold: &str| runs.iter().find(|run| run["hold"] == hold).expect(hold);
    assert_eq!((&of("found")["usd"], &of("found")["adjusted"]), (&"0.04".into(), &true.into()));
    assert_eq!((&of("lost")["unproven"], &of("live")["phase"]), (&true.into(), &"held".into()));
    let csv = export(&world, &["--format", "csv"]);
    let amounts: Usd = csv.lines().skip(1).map(|line| usd(line.rsplit(',').nth(9).expect("an amount"))).sum();
    assert_eq!(amounts, verified.charged);
    assert_eq!(csv.lines().count() as u64, verified.holds + 1);
    let late = export(&world, &["--since", "2026-11-22"]);
    assert_eq!(late.lines().count(), 5);
}
