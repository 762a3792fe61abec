//! `tollgate plan` from outside: golden files (`tests/golden/plan/`, written anew by `TOLLGATE_BLESS=1`),
//! and the rules it writes in front of `tollgate check`.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use tollgate::budget::{self, Budget};
use tollgate::commands::plan::{Args, run_with};
use tollgate::ledger::store::{Clock, Options};

use crate::support::Tollgate;

const SIX: [&str; 6] = [
    "add an endpoint for invoices",
    "review for logic errors",
    "write doc comments",
    "format the code",
    "generate tests for the parser",
    "decide the storage architecture",
];

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn plan(budget: &Budget, words: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["plan"].into_iter().chain(words.iter().copied());
    let args = <Cli as clap::Parser>::try_parse_from(words).expect("arguments").args;
    let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
    let options = Options { clock: Clock::from_fn(move || now), ..Options::default() };
    let mut out = Vec::new();
    let code = run_with(&args, budget, &folder.path().join("none"), options, None, &mut out);
    assert_eq!(code.map_err(|error| error.to_string())?, 0);
    Ok(String::from_utf8(out).expect("text"))
}

fn of_six(words: &[&str]) -> String {
    let budget = budget::parse("version: 1\n", "tollgate.yml").expect("a budget file");
    let words: Vec<&str> = SIX.into_iter().chain(words.iter().copied()).collect();
    plan(&budget, &words).expect("a plan")
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("a golden file");
    assert_eq!(text, expected, "tests/golden/plan/{name} differs; TOLLGATE_BLESS=1 writes it anew");
}

#[test]
fn every_format_says_the_same_as_its_golden_file() {
    golden("six.txt", &of_six(&["--parallel", "5"]));
    golden("six.md", &of_six(&["--format", "markdown", "--parallel", "80"]));
    golden("six.json", &of_six(&["--format", "json", "--runs-per-day", "12"]));
}

#[test]
fn six_descriptions_get_tiers_budgets_and_the_arithmetic_of_five_at_once() {
    let json: Value = serde_json::from_str(&of_six(&["--format", "json"])).expect("JSON");
    let tasks = json["tasks"].as_array().expect("tasks");
    let mut tiers: Vec<&str> = tasks.iter().filter_map(|task| task["tier"].as_str()).collect();
    tiers.sort_unstable();
    tiers.dedup();
    assert_eq!(tiers, ["high", "low", "medium"]);
    for task in tasks {
        assert!(task["token_budget"].as_u64().is_some_and(|tokens| tokens >= 10_000), "{task}");
        assert_eq!(task["parallel"]["runs"], 5);
        assert_eq!(task["reasons"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(tasks[0]["parallel"]["worst_usd"], "20");
    let text = of_six(&[]);
    assert!(text.contains("5 at once: 5 × $4.00 = $20.00 at worst"), "{text}");
}

#[test]
fn the_rules_pass_check() {
    let mut world = Tollgate::new();
    let planned = world.args(["plan", "--format", "json"]).args(SIX).run();
    let json: Value = serde_json::from_str(&planned.expect_code(0).stdout).expect("JSON");
    let rules = json["rules_yaml"].as_str().expect("YAML").to_owned();
    world.file(".github/tollgate.yml", &rules);
    let checked = world.args(["check"]).run();
    assert!(checked.expect_code(0).stdout.contains("is valid"), "{}", checked.stdout);
}

#[test]
fn what_cannot_be_planned_is_said() {
    let budget = budget::parse("version: 1\n", "tollgate.yml").expect("a budget file");
    assert_eq!(
        plan(&budget, &[" "]),
        Err("a description has 1 bytes\n\nhint: say in 1 to 4096 bytes what is to be done, as in \
             \"review for logic errors\""
            .to_owned())
    );
    let unpriced = "version: 1\non: { unknown_model: ceiling }\ntiers:\n  medium: { model: home-made }\n";
    let budget = budget::parse(unpriced, "tollgate.yml").expect("a budget file");
    assert_eq!(
        plan(&budget, &["review for logic errors"]),
        Err("the medium tier's model `home-made` has no price, so a run of it cannot be planned\n\nhint: write a \
             model of the price table in the tier, such as claude-sonnet-5-5"
            .to_owned())
    );
}
