//! The budget file as its users meet it: every mistake with its whole message, what `check` says, what
//! `init` writes, and the schema for editors.
//!
//! Expected texts live in `tests/it/budget/`. After a change that is meant, `TOLLGATE_BLESS=1` rewrites them:
//! read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate::budget::explain::explain;
use tollgate::budget::{self, Budget, Enforce, Mode, Period, Scope, schema};
use tollgate::commands::{check, init};

use crate::support::Tollgate;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/budget").join(name)
}

/// Compares a text with the committed one, or rewrites that one.
#[track_caller]
fn assert_same_as(path: &Path, actual: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(path, actual).expect("the file can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is stale; rewrite it with\n\n    TOLLGATE_BLESS=1 cargo test --test it budget\n\nnow it would be:\n\n{actual}",
        path.display()
    );
}

struct Case<'a> {
    name: &'a str,
    file: &'a str,
}

/// The cases of `mistakes.txt`: `=== name`, the file, `~~~ says`, the message.
fn cases(text: &str) -> Vec<Case<'_>> {
    text.split("=== ")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('\n').expect("a case has a name");
            let (file, _) = rest.split_once("~~~ says\n").unwrap_or((rest, ""));
            Case { name, file }
        })
        .collect()
}

#[test]
fn every_mistake_has_its_message() {
    let path = golden("mistakes.txt");
    let text = fs::read_to_string(&path).expect("the cases are committed");
    let cases = cases(&text);
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut actual = String::new();
    for Case { name, file } in cases {
        let errors = budget::parse(file, budget::PATH).expect_err(name);
        assert!(errors.mistakes.iter().all(|mistake| !mistake.hint.is_empty()), "{name}");
        let _ = write!(actual, "=== {name}\n{file}~~~ says\n{errors}\n\n");
    }
    assert_same_as(&path, &actual);
}

/// The whole file of the documentation, as far as it is built.
const WHOLE: &str = include_str!("budget/whole.yml");

#[test]
fn a_whole_file_is_read() {
    let budget = budget::parse(WHOLE, "f.yml").expect("the file is valid");
    assert_eq!(budget.mode, Mode::Enforce);
    assert_eq!(budget.timezone.iana_name(), Some("Europe/Berlin"));
    let lines: Vec<_> = budget.budgets.iter().map(|l| (l.line, l.scope.clone(), l.per, l.enforce)).collect();
    assert_eq!(
        lines,
        [
            (6, Scope::Repo, Period::Month, Enforce::Hard),
            (7, Scope::Workflow, Period::Day, Enforce::Hard),
            (8, Scope::Pr, Period::Total, Enforce::Soft),
            (9, Scope::Label("agent:docs".to_owned()), Period::Week, Enforce::Warn),
        ]
    );
    assert_eq!(budget.budgets[3].usd.to_string(), "0.123456789012");
    let rule = &budget.rules[1];
    let (_, globs) = rule.paths.as_ref().expect("the rule has paths");
    assert!(globs.is_match("src/auth/deep/login.rs") && !globs.is_match("src/author.rs"));
    assert_eq!(rule.line, 20);
    assert_eq!(budget.tiers.low.max_tokens, None);
    assert_eq!(budget.steer_at, None);
    assert_eq!(budget.alerts, [50, 95]);
    let models: Vec<&str> = budget.models().into_iter().map(|model| model.as_str()).collect();
    assert_eq!(models, ["claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"]);
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let budget = budget::parse("version: 1\n", "f.yml").expect("a version is enough");
    let builtin = Budget::builtin();
    assert_eq!((budget.mode, builtin.mode), (Mode::Enforce, Mode::Observe));
    assert_eq!((budget.path.as_deref(), builtin.path), (Some("f.yml"), None));
    assert_eq!(budget.budgets, builtin.budgets);
    assert!(budget.budgets.iter().all(|line| line.line == 0));
    let none = budget::parse("version: 1\nbudgets: []\nalerts: []\n", "f.yml").expect("empty lists are fine");
    assert!(none.budgets.is_empty() && none.alerts.is_empty());
}

#[test]
fn a_file_of_many_mistakes_has_them_all_in_its_order() {
    let file = "version: 2\nmode: enforced\nbudgets:\n  - { scope: repo, per: month, usd: -1 }\nbogus: 1\n";
    let errors = budget::parse(file, "f.yml").expect_err("nothing in it is right");
    let places: Vec<String> = errors.mistakes.iter().map(|m| format!("{} {}", m.at, m.key)).collect();
    assert_eq!(places, ["1:10 version", "2:7 mode", "4:37 budgets[0].usd", "5:1 bogus"]);
}

#[test]
fn a_file_may_come_from_other_systems() {
    for file in
        ["\u{feff}version: 1\n", "version: 1\r\nmode: observe\r\n", "---\nversion: 1\n...\n", "version: '1'"]
    {
        assert!(budget::parse(file, "f.yml").is_ok(), "{file:?}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let file = format!("version: 1 #{}", "x".repeat(budget::FILE_BYTES_MAX));
    let errors = budget::parse(&file, "f.yml").expect_err("it is too large");
    assert_eq!(
        errors.to_string(),
        "f.yml:1:1: the file has 65548 bytes, more than the 65536 that are read\n\n\
         hint: move long prompts into files of the repository, and name them in the prompt"
    );
}

#[test]
fn check_explains_a_whole_file() {
    let budget = budget::parse(WHOLE, "f.yml").expect("the file is valid");
    assert_same_as(&golden("whole.explained.txt"), &explain(&budget));
}

#[test]
fn check_explains_the_defaults() {
    assert_same_as(&golden("defaults.explained.txt"), &explain(&Budget::builtin()));
}

fn checked(args: &check::Args) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(args, Path::new("."), &mut out, &mut err).expect("the file can be looked at");
    (code, String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
}

#[test]
fn check_fails_on_a_mistake_and_on_a_file_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("b.yml");
    fs::write(&file, "version: 1\nbudget: []\n").expect("the file can be written");
    let args = check::Args { budget_file: Some(file.clone()), try_file: None };
    let path = file.display();
    let expected = format!("{path}:2:1: budget: there is no such key\n\nhint: did you mean `budgets`?\n");
    assert_eq!(checked(&args), (2, String::new(), expected));

    fs::write(&file, [0xff, 0xfe]).expect("the file can be written");
    let expected = format!("{path}: the file is not UTF-8 text\n\nhint: save it as UTF-8\n");
    assert_eq!(checked(&args), (2, String::new(), expected));

    // Neither a pipe nor a device is read for ever.
    fs::remove_file(&file).expect("the file can be removed");
    std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
    let expected = format!("the budget file {path} cannot be read: it is no file\n");
    assert_eq!(checked(&args), (2, String::new(), expected.clone()));
    fs::remove_file(&file).expect("the link can be removed");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    assert_eq!(checked(&args), (2, String::new(), expected));

    fs::remove_file(&file).expect("the file can be removed");
    let expected = format!(
        "{path}: there is no such file\n\nhint: check the path, or write a budget file with `tollgate init`\n"
    );
    assert_eq!(checked(&args), (2, String::new(), expected));
}

/// What a command says in `src` of a repository whose budget file is this.
fn said_below(file: &str, words: &[&str]) -> (Option<i32>, String) {
    let mut world = Tollgate::in_repository(&[(budget::PATH, file), ("src/a.rs", "")]);
    let mut command = world.args(words).command();
    let output = command.current_dir(world.work().join("src")).output().expect("the binary starts");
    let bytes = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(bytes).expect("UTF-8"))
}

#[test]
fn below_the_top_of_a_repository_the_same_file_and_ledger_count() {
    let file = "version: 1\nledger: file:books\nrules:\n  - { if: { paths: [\"src/**\"] }, stakes: high }\n";
    let (code, said) = said_below(file, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(".github/tollgate.yml is valid."), "{said}");
    let (code, said) = said_below(file, &["classify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("high stakes") && said.contains("line 4"), "{said}");
    let (code, said) = said_below(file, &["ledger", "show"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("work/books`"), "{said}");
}

#[test]
fn init_writes_files_that_pass_check_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut args = init::Args { force: false, directory: folder.path().to_owned() };
    let started = |args: &init::Args| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = init::run(args, &mut out, &mut err).expect("the files can be written");
        (code, String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
    };
    let (code, out, _) = started(&args);
    assert_eq!(code, 0);
    assert!(out.starts_with("wrote .github/tollgate.yml\nwrote .github/workflows/tollgate.yml\n"), "{out}");

    let file = folder.path().join(budget::PATH);
    let (code, _, err) = checked(&check::Args { budget_file: Some(file.clone()), try_file: None });
    assert_eq!((code, err.as_str()), (0, ""));
    let budget = budget::parse(init::BUDGET, budget::PATH).expect("init's file is valid");
    let hard = |scope, per| {
        budget.budgets.iter().any(|l| l.scope == scope && l.per == per && l.enforce == Enforce::Hard)
    };
    assert!(hard(Scope::Pr, Period::Total) && hard(Scope::Actor, Period::Day));

    fs::write(&file, "mine").expect("the file can be written");
    fs::remove_file(folder.path().join(".github/workflows/tollgate.yml")).expect("the file is there");
    let (code, out, err) = started(&args);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        ".github/tollgate.yml exists already; nothing was written\n\nhint: `tollgate check` says what a budget \
         file means; `tollgate init --force` overwrites it\n"
    );
    assert_eq!(fs::read_to_string(&file).expect("the file is there"), "mine");
    assert!(!folder.path().join(".github/workflows/tollgate.yml").exists());

    args.force = true;
    assert_eq!(started(&args).0, 0);
    assert_eq!(fs::read_to_string(&file).expect("the file is there"), init::BUDGET);
}

#[test]
fn the_schema_is_fresh() {
    assert_same_as(&Path::new(env!("CARGO_MANIFEST_DIR")).join(schema::PATH), &schema::json());
}

/// Whether a value fits a schema, for the words that the schema uses; patterns are left to editors.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(any) = schema["anyOf"].as_array() {
        return any
            .iter()
            .any(|one| fits(one, value).is_ok())
            .then_some(())
            .ok_or(format!("{value} fits none"));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value).then_some(()).ok_or(format!("{value} is none of {words:?}"));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let is = |name: &Value| match name.as_str().expect("a type is a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema says {other}"),
    };
    if !types.iter().any(is) {
        return Err(format!("{value} is no {types:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item)?;
    }
    for (key, item) in value.as_object().into_iter().flatten() {
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return Err(format!("there is no key {key}")),
            (Value::Null, free) => fits(free, item)?,
            (known, _) => fits(known, item).map_err(|why| format!("{key}: {why}"))?,
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        value.get(key.as_str().expect("a key is a word")).ok_or(format!("{key} is missing"))?;
    }
    Ok(())
}

#[test]
fn the_schema_takes_what_the_parser_takes() {
    let schema: Value = serde_json::from_str(&schema::json()).expect("the schema is JSON");
    for file in [WHOLE, init::BUDGET, "version: 1\nledger: file\n"] {
        budget::parse(file, "f.yml").expect("the file is valid");
        let value: Value = serde_yaml::from_str(file).expect("the file is YAML");
        fits(&schema, &value).expect(file);
    }
    for file in
        ["mode: enforce", "version: 1\nbudget: []", "version: 1\nbudgets: [{ scope: repo }]", "version: 2"]
    {
        let value: Value = serde_yaml::from_str(file).expect("the file is YAML");
        assert!(fits(&schema, &value).is_err(), "{file}");
        assert!(budget::parse(file, "f.yml").is_err(), "{file}");
    }
}

/// Every key of the schema is known to the parser: a value of a wrong kind there is called wrong, the key
/// itself is not.
#[test]
fn the_parser_knows_every_key_of_the_schema() {
    let schema: Value = serde_json::from_str(&schema::json()).expect("the schema is JSON");
    let keys = schema["properties"].as_object().expect("the file has keys");
    assert_eq!(keys.len(), 21);
    for (key, below) in keys {
        let nested =
            below["properties"].as_object().into_iter().flatten().map(|(name, _)| format!("{{ {name}: }}"));
        for value in nested.chain([String::new()]) {
            let file = format!("{key}: {value}\n");
            let errors = budget::parse(&file, "f.yml").expect_err("no value was written").to_string();
            assert!(!errors.contains("there is no such key"), "{file}{errors}");
        }
    }
}

/// The rule that decides is named, and a line that is no event is said so.
#[test]
fn events_are_tried_against_the_rules() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (file, events) = (dir.path().join("tollgate.yml"), dir.path().join("events.jsonl"));
    let rules = "version: 1\nrules:\n  - { if: { title: release, lines: \"> 5\" }, stakes: high }\n";
    std::fs::write(&file, rules).expect("it is written");
    let event =
        r#"{"id":"a","event":{"name":"push"},"title":"Release 2","files":[{"path":"x.rs","additions":9}]}"#;
    std::fs::write(&events, format!("{event}\nnothing\n")).expect("it is written");
    let args = check::Args { budget_file: Some(file), try_file: Some(events) };
    let (code, out, err) = checked(&args);
    assert_eq!(code, 2);
    assert_eq!(
        out,
        "a: review, high stakes\n  \
         task review: nobody asked for anything, so it is a review\n  \
         stakes high: rule on line 3 of the budget file: the title holds `release`, and at least 6 lines change\n"
    );
    assert!(err.contains("events.jsonl:2: the event is not valid JSON"), "{err}");
}
