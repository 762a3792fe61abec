//! `tollgate prices update` and prices of the budget file, through the binary: what is told, what is
//! installed, and what counts of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::Tollgate;

/// The table that is built in.
const BUILT_IN: &str = include_str!("../../src/price/prices.json");

/// The built-in table as it might be a month later.
fn newer(change: impl Fn(&mut Value)) -> String {
    let mut table: Value = serde_json::from_str(BUILT_IN).expect("the built-in table");
    table["as_of"] = json!("2026-11-24");
    change(&mut table);
    table.to_string()
}

fn model<'a>(table: &'a mut Value, id: &str) -> &'a mut Value {
    let models = table["models"].as_array_mut().expect("models");
    models.iter_mut().find(|model| model["id"] == id).expect("the model")
}

/// Some of everything: a model that is new, one that is gone, one dearer and cheaper, one that is dearer from a
/// day on, a fee, a limit and a name.
pub(crate) fn changed() -> String {
    newer(|table| {
        let mut new = model(table, "gpt-6.2-sol").clone();
        (new["id"], new["aliases"]) = (json!("gpt-7-sol"), json!([]));
        let rates = &mut model(table, "claude-opus-5-5")["rows"][0]["rates"];
        (rates["input"], rates["output"]) = (json!("3"), json!("25"));
        let kimi = &mut model(table, "kimi-k2.6")["rows"];
        let (mut before, mut after) = (kimi[0].clone(), kimi[0].clone());
        (before["until"], after["from"]) = (json!("2027-02-28"), json!("2027-03-01"));
        after["rates"]["output"] = json!("5");
        *kimi = json!([before, after]);
        model(table, "grok-4.3")["limits"]["window"] = json!(2_000_000);
        model(table, "glm-5.3")["aliases"] = json!([]);
        table["fees"][0]["web_search"] = json!("0.012");
        let models = table["models"].as_array_mut().expect("models");
        models.retain(|model| model["id"] != "glm-4.6");
        models.push(new);
    })
}

const TOLD: &str = "\
dearer   claude-opus-5-5: output 20 → 25 (and at batch, priority, fast, us, regional, us-gov)
cheaper  claude-opus-5-5: input 4 → 3 (and at batch, priority, fast, us, regional, us-gov)
changed  grok-4.3: window 1,000,000 → 2,000,000 tokens
dearer   kimi-k2.6 from 2027-03-01: output 4 → 5
added    gpt-7-sol: input 2, output 10
removed  glm-4.6: input 0.6, output 2.2
dearer   anthropic, a web search: $0.01 → $0.012
";

pub(crate) fn update(world: &mut Tollgate, table: &str) -> crate::support::Run {
    world.file("../newer.json", table);
    world.args(["prices", "update", "../newer.json"]).run()
}

fn row(world: &mut Tollgate, model: &str) -> String {
    let run = world.args(["prices", "list", "--on", "2026-11-24"]).run();
    run.expect_code(0);
    let line = run.stdout.lines().find(|line| line.split_whitespace().next() == Some(model));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_update_says_what_changes_and_never_makes_a_known_model_cheaper() {
    let mut world = Tollgate::in_repository(&[]);
    let dry = {
        world.file("../newer.json", &changed());
        world.args(["prices", "update", "--dry-run", "../newer.json"]).run()
    };
    dry.expect_code(0);
    assert_eq!(dry.stdout, TOLD);
    let place = world.home().join(".local/share/tollgate/prices.json");
    assert!(!place.exists(), "nothing was installed");
    let run = update(&mut world, &changed());
    run.expect_code(0);
    assert_eq!(run.stdout, TOLD);
    assert!(run.stderr.contains("7 changes from the built-in table of 2026-11-23\n"), "{}", run.stderr);
    assert!(
        run.stderr.contains("installed as [WORLD]/home/.local/share/tollgate/prices.json\n"),
        "{}",
        run.stderr
    );
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(place.parent().expect("a folder"))), (0o600, 0o700));
    assert_eq!(row(&mut world, "claude-opus-5-5"), "claude-opus-5-5 4 0.2 25", "the dearer of both, by kind");
    assert_eq!(row(&mut world, "gpt-7-sol"), "gpt-7-sol 2 0.1 10", "what is new is known");
    assert_eq!(row(&mut world, "glm-4.6"), "glm-4.6 0.6 0.11 2.2", "what is gone is still known");
    let shown = world.args(["prices", "show", "claude-opus-5-5"]).run();
    assert!(
        shown.stderr.starts_with(
            "note: the installed price table makes claude-opus-5-5 cheaper than the built-in one does, which does \
             not count; `prices: { cheaper: allow }` in the budget file lets it\nprices as of 2026-11-24"
        ),
        "{}",
        shown.stderr
    );
    let again = update(&mut world, &changed());
    assert_eq!((again.stdout.as_str(), again.code), ("", Some(0)));
    assert!(
        again.stderr.starts_with("no changes from the installed table of 2026-11-24\n"),
        "{}",
        again.stderr
    );
    // What is used costs by it, too.
    let cost = |world: &mut Tollgate| {
        world.stdin(r#"{"model":"claude-opus-5-5","usage":{"input_tokens":0,"output_tokens":1000000}}"#);
        world.args(["cost"]).run().stdout
    };
    assert!(cost(&mut world).starts_with(r#"{"id":null,"usd":"25","#));
    // On a runner, where an earlier job could have put it there, it does not count.
    let mut runner = world;
    runner.env("GITHUB_ACTIONS", "true");
    assert!(cost(&mut runner).starts_with(r#"{"id":null,"usd":"20","#));
    let run = runner.args(["prices", "list"]).run();
    assert!(run.stderr.contains("does not count on a runner unless the budget file says"), "{}", run.stderr);
}

#[test]
fn tables_that_are_no_good_are_refused_with_the_reason() {
    let cases: [(&str, String, &str); 7] = [
        ("no JSON", "prices".to_owned(), "the price table cannot be read: expected value at line 1 column 1"),
        (
            "another format",
            newer(|table| table["format"] = json!(2)),
            "the price table has format 2, this version reads format 1",
        ),
        (
            "an unknown field",
            newer(|table| table["models"][0]["rows"][0]["rates"]["inputs"] = json!("1")),
            "unknown field `inputs`",
        ),
        (
            "a gap",
            newer(|table| model(table, "claude-opus-5-5")["rows"][0]["until"] = json!("2026-12-01")),
            "`claude-opus-5-5`: its rows leave a gap or overlap",
        ),
        (
            "a float",
            newer(|table| table["models"][0]["rows"][0]["rates"]["input"] = json!(8.5)),
            "expected a string",
        ),
        (
            "of a day to come",
            newer(|table| table["as_of"] = json!("2999-01-01")),
            "it is of 2999-01-01, a day to come",
        ),
        (
            "older than this",
            newer(|table| table["as_of"] = json!("2026-11-22")),
            "it is of 2026-11-22, older than the built-in one of 2026-11-23, and would not count",
        ),
    ];
    let mut world = Tollgate::in_repository(&[]);
    for (name, table, why) in cases {
        let run = update(&mut world, &table);
        run.expect_code(2);
        assert!(
            run.stderr.starts_with("error: the price table of ../newer.json: "),
            "{name}: {}",
            run.stderr
        );
        assert!(run.stderr.contains(why), "{name}: {}", run.stderr);
    }
    assert!(!world.home().join(".local").exists(), "nothing was installed");
}

#[test]
fn an_installed_table_must_be_its_owners_and_lie_outside_of_the_repository() {
    let mut world = Tollgate::in_repository(&[]);
    update(&mut world, &changed()).expect_code(0);
    let place = world.home().join(".local/share/tollgate/prices.json");
    let hint = "\n\nhint: install it anew with `tollgate prices update`, or remove it\n";
    let list = |world: &mut Tollgate| world.args(["prices", "list"]).run();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o620)).expect("a mode");
    let run = list(&mut world);
    run.expect_code(2);
    let at = "error: the installed price table [WORLD]/home/.local/share/tollgate/prices.json";
    assert_eq!(run.stderr, format!("{at} can be written by others{hint}"));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&place, "{}").expect("a file");
    let run = list(&mut world);
    run.expect_code(2);
    assert!(
        run.stderr.starts_with(&format!("{at} is no good: the price table cannot be read")),
        "{}",
        run.stderr
    );
    update(&mut world, &changed()).expect_code(0);
    list(&mut world).expect_code(0);
    for (path, why) in [
        (world.work().join("prices.json").display().to_string(), "lies inside of the repository"),
        ("prices.json".to_owned(), "TOLLGATE_PRICES is no absolute path: prices.json"),
    ] {
        let mut world = Tollgate::in_repository(&[]);
        let path = if path.contains('/') {
            world.work().join("sub/prices.json").display().to_string()
        } else {
            path
        };
        world.env("TOLLGATE_PRICES", &path);
        let run = update(&mut world, &changed());
        run.expect_code(2);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

/// Serves these answers, one a connection; returns the address.
fn serve(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut seen = Vec::new();
            let mut some = [0; 1024];
            while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                let read = stream.read(&mut some).expect("a request");
                seen.extend_from_slice(&some[..read]);
            }
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    address
}

#[test]
fn a_table_is_fetched_from_an_address_that_nobody_can_tamper_with() {
    let table = changed();
    let answer = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let address = serve(vec![
        answer("200 OK", "", &table),
        answer("404 Not Found", "", ""),
        answer("302 Found", "location: http://127.0.0.1:1/elsewhere\r\n", ""),
    ]);
    let mut world = Tollgate::in_repository(&[]);
    let mut from = |from: &str| world.args(["prices", "update", from]).run();
    let run = from(&format!("{address}/prices.json"));
    run.expect_code(0);
    assert_eq!(run.stdout, TOLD);
    for (from_where, why) in [
        (format!("{address}/gone"), "it cannot be fetched: the answer is 404 Not Found"),
        (format!("{address}/moved"), "it cannot be fetched: the answer is 302 Found"),
        ("http://prices.example.com/t.json".to_owned(), "only https is fetched"),
        ("ftp://127.0.0.1/t.json".to_owned(), "only https is fetched"),
    ] {
        let run = from(&from_where);
        run.expect_code(2);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

const TASK: &str = "Fix the login bug in src/auth";

/// What `tollgate plan` says with this budget file.
fn plan(world: &mut Tollgate, budget: &str) -> crate::support::Run {
    world.file("budget.yml", budget);
    world.args(["plan", "--budget-file", "budget.yml", "--ledger", "books", "--format", "json", TASK]).run()
}

#[test]
fn the_budget_file_pins_a_table_and_has_prices_of_its_own() {
    let mut world = Tollgate::in_repository(&[]);
    world.env("GITHUB_ACTIONS", "true");
    let tiers = "version: 1\ntiers: { high: { model: gpt-7-sol }, medium: { model: gpt-7-sol }, low: { model: gpt-7-sol } }\nagent: { use: command, args: [agent] }\n";
    let missing = plan(&mut world, &format!("{tiers}prices: {{ table: \"sha256:{}\" }}\n", "0".repeat(64)));
    missing.expect_code(2);
    let zeros = "0".repeat(64);
    assert_eq!(
        missing.stderr,
        format!(
            "error: budget.yml: the budget file wants the price table sha256:{zeros}, and none is installed\n\n\
             hint: install it with `tollgate prices update` in a step before this one\n"
        )
    );
    let run = update(&mut world, &changed());
    let digest =
        run.stderr.split("sha256:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a digest");
    let other = plan(&mut world, &format!("{tiers}prices: {{ table: \"sha256:{zeros}\" }}\n"));
    other.expect_code(2);
    assert!(other.stderr.contains(&format!("and sha256:{digest} is installed")), "{}", other.stderr);
    plan(&mut world, &format!("{tiers}prices: {{ table: \"sha256:{digest}\" }}\n")).expect_code(0);
    plan(&mut world, &format!("{tiers}prices: {{ table: installed }}\n")).expect_code(0);
    let unknown = plan(&mut world, tiers);
    unknown.expect_code(2);
    assert!(unknown.stderr.contains("tiers: the model `gpt-7-sol` has no price"), "{}", unknown.stderr);
    plan(&mut world, &format!("{tiers}prices: {{ models: {{ gpt-7-sol: {{ input: 3, output: 9 }} }} }}\n"))
        .expect_code(0);
    plan(&mut world, &format!("{tiers}prices: {{ models: {{ gpt-7-sol: {{ same_as: gpt-6.2-sol }} }} }}\n"))
        .expect_code(0);
    let wrong =
        plan(&mut world, &format!("{tiers}prices: {{ models: {{ gpt-7-sol: {{ same_as: gpt-8 }} }} }}\n"));
    wrong.expect_code(2);
    assert_eq!(
        wrong.stderr,
        "error: budget.yml: prices.models.gpt-7-sol: the price table has no model `gpt-8`\n\n\
         hint: `tollgate prices list` names those it has\n"
    );
}

#[test]
fn a_run_goes_by_the_budget_files_prices_and_starts_nothing_without_the_table_it_demands() {
    let mut world = Tollgate::in_repository(&[]);
    let mut simulated = |command: &[&str], prices: &str| {
        world.file("../budget.yml", &format!("version: 1\nmode: enforce\n{prices}"));
        let run = world.args(command).args(["--simulate", "--budget-file", "../budget.yml"]).run();
        let summary = fs::read_to_string(world.work().join("../summary.json")).unwrap_or_default();
        let outcome = serde_json::from_str::<Value>(&summary).unwrap_or_default()["outcome"].clone();
        drop(fs::remove_file(world.work().join("../summary.json")));
        (run, outcome)
    };
    let run = ["run", "--task", "docs", "--summary-json", "../summary.json"];
    let demanded = format!("prices: {{ table: \"sha256:{}\" }}\n", "0".repeat(64));
    let (refused, _) = simulated(&run, &demanded);
    refused.expect_code(2);
    assert!(refused.stderr.contains("wants the price table sha256:000"), "{}", refused.stderr);
    let (gate, _) = simulated(&["gate"], &demanded);
    gate.expect_code(0);
    let (plain, outcome) = simulated(&run, "");
    plain.expect_code(0);
    assert_eq!(outcome, "completed");
    let dear = "{ input: 100000, output: 500000 }";
    let dear = format!(
        "prices: {{ models: {{ claude-haiku-5-5: {dear}, claude-sonnet-5-5: {dear}, claude-opus-5-5: {dear} }} }}\n"
    );
    let (stopped, outcome) = simulated(&run, &dear);
    assert_ne!(outcome, "completed", "no request fits its cap: {}", stopped.stderr);
}
