//! `tollgate reconcile` against doubles of the two billing APIs, which keep the bill, hand it out in pages,
//! fail when they are told to, and hold every request against what the vendors have published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tollgate::id::HoldId;
use tollgate::ledger::store::{Clock, Options, Store};
use tollgate::ledger::{ModelSpend, Spend};
use tollgate::money::Usd;

use crate::ledger::{budget, request};
use crate::support::{Run, Tollgate};

const KEY: &str = "admin-key-of-the-double";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Anthropic,
    Openai,
}

#[derive(Default)]
struct State {
    /// Per day the rows: a model or a line item, a workspace or project, and the amount as the vendor writes it.
    days: BTreeMap<Date, Vec<(String, String, String)>>,
    /// Days that have no bucket at all.
    missing: BTreeSet<Date>,
    /// Days of a page.
    page_days: usize,
    /// Statuses of the next answers, before anything else.
    failures: VecDeque<u16>,
    requests: usize,
    /// What was wrong with requests.
    wrong: Vec<String>,
}

/// A billing API.
struct Double {
    vendor: Vendor,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Double {
    fn start(vendor: Vendor, page_days: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { page_days, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(vendor, stream, &shared);
            }
        });
        Self { vendor, address, state }
    }

    fn bill(&self, day: &str, name: &str, part: &str, amount: &str) -> &Self {
        let row = (name.to_owned(), part.to_owned(), amount.to_owned());
        self.state.lock().expect("alive").days.entry(day.parse().expect(day)).or_default().push(row);
        self
    }

    fn miss(&self, day: &str) -> &Self {
        self.state.lock().expect("alive").missing.insert(day.parse().expect(day));
        self
    }

    fn fail(&self, statuses: &[u16]) -> &Self {
        self.state.lock().expect("alive").failures.extend(statuses);
        self
    }

    /// How many requests came; none of them was wrong.
    fn requests(&self) -> usize {
        let state = self.state.lock().expect("alive");
        assert_eq!(state.wrong, Vec::<String>::new());
        state.requests
    }

    fn upstream(&self) -> String {
        let name = if self.vendor == Vendor::Anthropic { "anthropic" } else { "openai" };
        format!("{name}=http://{}", self.address)
    }
}

fn answer(vendor: Vendor, stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(2..) if !line.trim().is_empty() => lines.push(line.trim().to_owned()),
            Ok(0) | Err(_) if lines.is_empty() => return,
            _ => break,
        }
    }
    let mut state = state.lock().expect("alive");
    state.requests += 1;
    let (status, body) = match state.failures.pop_front() {
        Some(status) => (status, json!({ "error": { "message": "told to fail" } })),
        None => page(vendor, &lines, &mut state),
    };
    let body = body.to_string();
    let retry = if status == 429 { "retry-after: 0\r\n" } else { "" };
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{retry}connection: close\r\ncontent-length: \
         {}\r\n\r\n{body}",
        body.len()
    );
}

/// A query's pairs, decoded as far as ours needs it.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| text.replace("%5B", "[").replace("%5D", "]").replace("%3A", ":");
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

fn page(vendor: Vendor, lines: &[String], state: &mut State) -> (u16, Value) {
    let target = lines[0].split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = pairs(query);
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let header = |name: &str| {
        lines[1..].iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let mut wrong = |is_wrong: bool, what: &str| {
        if is_wrong {
            state.wrong.push(format!("{what}: {target}"));
        }
    };
    wrong(!lines[0].starts_with("GET "), "the method");
    wrong(value("bucket_width") != Some("1d"), "the width");
    wrong(
        value("limit").and_then(|limit| limit.parse::<u32>().ok()).is_none_or(|limit| limit > 31),
        "the limit",
    );
    let (first, end, key) = match vendor {
        Vendor::Anthropic => {
            wrong(path != "/v1/organizations/cost_report", "the path");
            wrong(header("anthropic-version").as_deref() != Some("2023-06-01"), "the version");
            wrong(!query.contains(&("group_by[]".to_owned(), "description".to_owned())), "the grouping");
            let instant = |name| value(name).and_then(|text: &str| text.parse::<Timestamp>().ok());
            (instant("starting_at"), instant("ending_at"), header("x-api-key"))
        }
        Vendor::Openai => {
            wrong(path != "/v1/organization/costs", "the path");
            wrong(value("group_by") != Some("line_item"), "the grouping");
            let second = |name| value(name).and_then(|text: &str| text.parse().ok());
            let instant = |name| second(name).and_then(|second| Timestamp::from_second(second).ok());
            let key = header("authorization").and_then(|key| key.strip_prefix("Bearer ").map(str::to_owned));
            (instant("start_time"), instant("end_time"), key)
        }
    };
    if key.as_deref() != Some(KEY) {
        return (401, json!({ "error": { "message": "invalid key" } }));
    }
    let (Some(first), Some(end)) = (first, end) else {
        state.wrong.push(format!("no times: {target}"));
        return (400, json!({ "error": { "message": "times are missing" } }));
    };
    let day = |at| TimeZone::UTC.to_datetime(at).date();
    let days: Vec<Date> =
        day(first).series(jiff::ToSpan::days(1)).take_while(|date| *date < day(end)).collect();
    let from =
        match value("page").map(|page| page.strip_prefix("page_").and_then(|number| number.parse().ok())) {
            None => 0,
            Some(Some(from)) if from < days.len() => from,
            Some(_) => return (400, json!({ "error": { "message": "no such page" } })),
        };
    let to = days.len().min(from + state.page_days);
    let project = value("project_ids");
    let data: Vec<Value> = days[from..to]
        .iter()
        .filter(|date| !state.missing.contains(date))
        .map(|date| {
            let rows = state.days.get(date).into_iter().flatten();
            let rows = rows.filter(|(_, part, _)| project.is_none_or(|project| part == project));
            bucket(vendor, *date, rows)
        })
        .collect();
    let more = to < days.len();
    (200, json!({ "data": data, "has_more": more, "next_page": more.then(|| format!("page_{to}")) }))
}

fn bucket<'a>(vendor: Vendor, date: Date, rows: impl Iterator<Item = &'a (String, String, String)>) -> Value {
    let start = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).expect("a time");
    let end = start + SignedDuration::from_hours(24);
    match vendor {
        Vendor::Anthropic => {
            let row = |(model, part, amount): &(String, String, String)| {
                json!({
                    "currency": "USD", "amount": amount, "workspace_id": part, "description": format!("{model} Usage"),
                    "cost_type": "tokens", "context_window": "0-200k", "model": model,
                    "service_tier": "standard", "token_type": "output_tokens", "inference_geo": null,
                })
            };
            json!({ "starting_at": start, "ending_at": end, "results": rows.map(row).collect::<Vec<_>>() })
        }
        Vendor::Openai => {
            let row = |(item, part, amount): &(String, String, String)| {
                let value: Value = serde_json::from_str(amount).expect("a number");
                json!({
                    "object": "organization.costs.result", "amount": { "value": value, "currency": "usd" },
                    "line_item": item, "project_id": part,
                })
            };
            json!({
                "object": "bucket", "start_time": start.as_second(), "end_time": end.as_second(),
                "results": rows.map(row).collect::<Vec<_>>(),
            })
        }
    }
}

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

/// A ledger of runs: when, hold, model, and what it was settled at; nothing for one that nobody settled.
fn filled(folder: &Path, runs: &[(&str, &str, &str, Option<&str>)]) {
    for (at, hold, model, spent) in runs {
        let at: Timestamp = at.parse().expect("a time");
        let options = Options { clock: Clock::from_fn(move || at), ..Options::default() };
        let store = Store::open(folder, options).expect("a ledger");
        let mut asked = request(hold, 200, budget(100_000), at);
        asked.about.model = (*model).to_owned();
        store.reserve(&asked).expect("an answer");
        match spent {
            None => drop(store.expire(&asked.hold, None).expect("charged")),
            Some(amount) => {
                let (usd, model) = (usd(amount), (*model).to_owned());
                let spent =
                    ModelSpend { model, usd, requests: 1, tokens: Default::default(), notional: Usd::ZERO };
                let spend = Spend { usd, models: vec![spent], ..Spend::default() };
                store.settle(&asked.hold, &spend).expect("settled");
            }
        }
    }
}

fn charged(folder: &Path, hold: &str) -> Usd {
    let store = Store::open(folder, Options::default()).expect("a ledger");
    store.hold(&HoldId::from_text(hold)).expect("a ledger").expect("the hold").spend.usd
}

fn reconcile(ledger: &Path, double: &Double, words: &[&str]) -> Run {
    reconcile_with(ledger, &[double], words)
}

fn reconcile_with(ledger: &Path, doubles: &[&Double], words: &[&str]) -> Run {
    let mut tollgate = Tollgate::new();
    tollgate.args(["reconcile", "--first-party"]);
    for double in doubles {
        let variable =
            if double.vendor == Vendor::Anthropic { "ANTHROPIC_ADMIN_KEY" } else { "OPENAI_ADMIN_KEY" };
        tollgate.env(variable, KEY).args(["--upstream", &double.upstream()]);
    }
    tollgate.args(["--ledger".as_ref(), ledger.as_os_str()]).args(words).run()
}

/// The lines about holds that were charged without evidence.
fn judged(run: &Run) -> Vec<&str> {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    run.stdout.lines().filter(|line| line.contains("correct")).collect()
}

#[test]
fn anthropics_bill_is_compared_and_the_unproven_is_corrected_to_what_it_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(
        folder.path(),
        &[
            ("2025-11-20T10:00:00Z", "a", "claude-sonnet-5-5", Some("1.25")),
            ("2025-11-20T11:00:00Z", "b", "claude-haiku-5-5", Some("0.125")),
            ("2025-11-21T10:00:00Z", "c", "claude-sonnet-5-5", Some("0.5")),
            // Its run died: all of it is charged.
            ("2025-11-21T11:00:00Z", "d", "claude-sonnet-5-5", None),
            // The bill of this day lacks what is proven, so nothing can be said of what is not.
            ("2025-11-22T10:00:00Z", "e", "claude-sonnet-5-5", Some("0.75")),
            ("2025-11-22T11:00:00Z", "f", "claude-sonnet-5-5", None),
        ],
    );
    let double = Double::start(Vendor::Anthropic, 2);
    double
        .bill("2025-11-20", "claude-sonnet-5-5", "w1", "100.5")
        .bill("2025-11-20", "claude-sonnet-5-5", "w1", "24.5")
        .bill("2025-11-20", "claude-haiku-5-5", "w1", "12.5")
        .bill("2025-11-21", "claude-sonnet-5-5", "w1", "75.25")
        .bill("2025-11-22", "claude-sonnet-5-5", "w1", "10")
        .fail(&[429, 503]);
    let words = ["--since", "2025-11-20", "--until", "2025-11-22"];
    let run = reconcile(folder.path(), &double, &words);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(double.requests(), 4, "two that failed, two pages");
    insta::assert_snapshot!(run.stdout, @r"
    anthropic
     day         model              billed  ledger  unproven  difference
     2025-11-20  claude-haiku-5-5    $0.13   $0.13     $0.00      +$0.00
     2025-11-20  claude-sonnet-5-5   $1.25   $1.25     $0.00      +$0.00
     2025-11-20  total               $1.38   $1.38     $0.00      +$0.00
     2025-11-21  claude-sonnet-5-5   $0.75   $2.50     $2.00      -$1.75
     2025-11-22  claude-sonnet-5-5   $0.10   $2.75     $2.00      -$2.65
    can be corrected with --record: d, charged $2.00, cost $0.26 at most: the bill of anthropic for 2025-11-21 is $0.7625 at most, and $0.5 of it is proven
    not corrected: f, charged $2.00: the bill of anthropic for 2025-11-22 is $0.1, which lacks the $0.75 that is proven
    ");
    assert_eq!(charged(folder.path(), "d"), usd("2"), "nothing is changed without being asked for");

    let recorded =
        reconcile(folder.path(), &double, &[&words[..], &["--record", "--format", "json"]].concat());
    assert_eq!(recorded.code, Some(0), "{}", recorded.stderr);
    let json: Value = serde_json::from_str(&recorded.stdout).expect("JSON");
    assert_eq!(json["recorded"], json!({ "days": 3, "corrections": 1 }));
    assert_eq!(json["providers"][0]["days"][1]["total"]["difference_usd"], "-1.7475");
    // The bill, and the cent that its rounding may hide, less what is proven.
    assert_eq!(charged(folder.path(), "d"), usd("0.2625"));
    assert_eq!(charged(folder.path(), "f"), usd("2"));

    let again = reconcile(folder.path(), &double, &[&words[..], &["--record", "--format", "json"]].concat());
    let json: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(
        json["recorded"],
        json!({ "days": 0, "corrections": 0 }),
        "the day that was corrected is on record as it is now"
    );
    let store = Store::open(folder.path(), Options::default()).expect("a ledger");
    assert_eq!(store.verify().expect("in order").head, Ok(()));
    let balance = store.balances(&[budget(100_000)]).expect("a balance").remove(0);
    assert_eq!(balance.settled, usd("4.8875"), "the correction counts, the bills do not");
}

#[test]
fn nothing_is_lowered_on_the_word_of_a_bill_that_may_be_anothers() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(
        folder.path(),
        &[
            ("2025-11-20T10:00:00Z", "a", "claude-sonnet-5-5", Some("0.5")),
            // Nothing of the ledger's is proven on this day, and the bill says that nothing was spent.
            ("2025-11-21T11:00:00Z", "b", "claude-sonnet-5-5", None),
            // The bill has nothing of this day, not even that there was nothing.
            ("2025-11-22T10:00:00Z", "c", "claude-sonnet-5-5", Some("0.005")),
            ("2025-11-22T11:00:00Z", "d", "claude-sonnet-5-5", None),
            // What is proven would vanish in the rounding of a bill of nothing.
            ("2025-11-23T10:00:00Z", "e", "claude-sonnet-5-5", Some("0.005")),
            ("2025-11-23T11:00:00Z", "f", "claude-sonnet-5-5", None),
            ("2025-11-24T10:00:00Z", "g", "claude-sonnet-5-5", Some("0.5")),
            ("2025-11-24T11:00:00Z", "h", "claude-sonnet-5-5", None),
        ],
    );
    let double = Double::start(Vendor::Anthropic, 31);
    double.bill("2025-11-20", "claude-sonnet-5-5", "w1", "50").miss("2025-11-22");
    double.bill("2025-11-24", "claude-sonnet-5-5", "w1", "300");
    let run =
        reconcile(folder.path(), &double, &["--since", "2025-11-20", "--until", "2025-11-24", "--record"]);
    assert_eq!(
        judged(&run),
        [
            "not corrected: b, charged $2.00: nothing on the ledger is proven for 2025-11-21, so that the bill of \
             anthropic may be of another account",
            "not corrected: d, charged $2.00: anthropic returned no bill for 2025-11-22",
            "not corrected: f, charged $2.00: the bill of anthropic for 2025-11-23 is $0, which lacks the $0.005 that \
             is proven",
            "not corrected: h, charged $2.00: the bill of anthropic for 2025-11-24 is $3.01 at most, and $0.5 of it is \
             proven, which leaves room for all of it",
            "recorded 5 days, corrected 0 holds",
        ]
    );
    for hold in ["b", "d", "f", "h"] {
        assert_eq!(charged(folder.path(), hold), usd("2"), "{hold}");
    }
}

#[test]
fn a_hold_is_lowered_only_when_all_bills_that_it_can_be_on_were_read() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(
        folder.path(),
        &[
            ("2025-11-20T10:00:00Z", "a", "claude-sonnet-5-5", Some("0.5")),
            ("2025-11-20T11:00:00Z", "b", "claude-sonnet-5-5", None),
            ("2025-11-20T12:00:00Z", "c", "gpt-5.6-sol", Some("0.25")),
        ],
    );
    let anthropic = Double::start(Vendor::Anthropic, 31);
    anthropic.bill("2025-11-20", "claude-sonnet-5-5", "w1", "60");
    let openai = Double::start(Vendor::Openai, 31);
    openai.bill("2025-11-20", "gpt-5.6-sol, output", "p1", "0.75");
    let words = ["--since", "2025-11-20", "--until", "2025-11-20", "--record"];
    let one = reconcile(folder.path(), &anthropic, &words);
    assert_eq!(
        judged(&one),
        [
            "not corrected: b, charged $2.00: the ledger has spend of openai on these days as well, whose bill was not \
             read",
            "recorded 1 days, corrected 0 holds",
        ]
    );
    assert_eq!(charged(folder.path(), "b"), usd("2"));
    let both = reconcile_with(folder.path(), &[&anthropic, &openai], &words);
    assert_eq!(
        judged(&both),
        [
            "corrected: b, charged $2.00, cost $0.62 at most: the bill of anthropic for 2025-11-20 is $0.61 at most, and \
             $0.5 of it is proven; the bill of openai for 2025-11-20 is $0.76 at most, and $0.25 of it is proven",
            "recorded 2 days, corrected 1 holds",
        ]
    );
    assert_eq!(charged(folder.path(), "b"), usd("0.62"));
}

#[test]
fn nothing_is_lowered_where_a_cloud_may_have_been_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(
        folder.path(),
        &[
            ("2025-11-20T10:00:00Z", "a", "claude-sonnet-5-5", Some("0.5")),
            ("2025-11-20T11:00:00Z", "b", "claude-sonnet-5-5", None),
        ],
    );
    let double = Double::start(Vendor::Anthropic, 31);
    double.bill("2025-11-20", "claude-sonnet-5-5", "w1", "60");
    let mut tollgate = Tollgate::new();
    tollgate.env("ANTHROPIC_ADMIN_KEY", KEY).args([
        "reconcile",
        "--upstream",
        &double.upstream(),
        "--ledger",
    ]);
    tollgate.args([folder.path().as_os_str()]);
    let run = tollgate.args(["--since", "2025-11-20", "--until", "2025-11-20", "--record"]).run();
    assert_eq!(
        judged(&run),
        [
            "not corrected: b, charged $2.00: it may have gone through a cloud or a reseller, whose bills are not read; \
             `--first-party` says that nothing did",
            "recorded 1 days, corrected 0 holds",
        ]
    );
    assert_eq!(charged(folder.path(), "b"), usd("2"));
}

#[test]
fn openais_numbers_are_read_without_a_float_and_by_project() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path(), &[("2025-11-20T10:00:00Z", "a", "gpt-5.6-sol", Some("1.5"))]);
    let double = Double::start(Vendor::Openai, 31);
    double
        .bill("2025-11-20", "gpt-5.6-sol, input", "p1", "1.25")
        .bill("2025-11-20", "gpt-5.6-sol, output", "p1", "2.5e-1")
        .bill("2025-11-20", "gpt-5.6-sol, output", "p2", "7")
        .bill("2025-11-20", "web search tool calls", "p1", "0.01");
    let words = [
        "--since",
        "2025-11-20",
        "--until",
        "2025-11-20",
        "--provider",
        "openai",
        "--workspace",
        "p1",
        "--format",
        "json",
    ];
    let run = reconcile(folder.path(), &double, &words);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(double.requests(), 1);
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let day = &json["providers"][0]["days"][0];
    assert_eq!(day["models"]["gpt-5.6-sol"]["difference_usd"], "0");
    assert_eq!(day["models"]["web search tool calls"]["billed_usd"], "0.01");
    assert_eq!(day["preliminary"], false);
}

#[test]
fn a_bill_that_cannot_be_had_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path(), &[("2025-11-20T10:00:00Z", "a", "gpt-5.6-sol", Some("1.5"))]);
    let double = Double::start(Vendor::Anthropic, 31);
    let words = ["--since", "2025-11-20", "--until", "2025-11-20"];
    double.fail(&[401]);
    let run = reconcile(folder.path(), &double, &words);
    assert_eq!(run.code, Some(2));
    assert_eq!(
        run.stderr,
        "error: anthropic does not take the key in ANTHROPIC_ADMIN_KEY: it answered 401\n\nhint: the bill is read \
         with an admin key of the organization, which is another one than runs use\n"
    );
    double.fail(&[429; 5]);
    let run = reconcile(folder.path(), &double, &words);
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.stderr,
        "error: anthropic gave no bill in 5 tries: it answered 429 Too Many Requests\n\nhint: run it again later; nothing was recorded\n"
    );
    let mut tollgate = Tollgate::new();
    tollgate
        .args(["reconcile", "--since", "2025-11-20", "--until", "2025-11-22", "--ledger"])
        .args([folder.path()]);
    let run = tollgate.run();
    assert_eq!(run.code, Some(2));
    assert_eq!(
        run.stderr,
        "error: no admin key is set\n\nhint: set ANTHROPIC_ADMIN_KEY or OPENAI_ADMIN_KEY: the bill is the \
         organization's, and the keys of runs cannot read it\n"
    );
}

#[test]
fn days_that_cannot_be_compared_are_told_with_what_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path(), &[("2026-11-10T09:00:00Z", "a", "claude-opus-5-5", Some("1"))]);
    let double = Double::start(Vendor::Anthropic, 7);
    let yesterday = TimeZone::UTC.to_datetime(Timestamp::now() - SignedDuration::from_hours(24)).date();
    for (words, said) in [
        (
            ["--since", "2026-11-01", "--until", "2999-01-01"],
            format!("error: 2999-01-01 is yet to come\n\nhint: leave `--until` out, and the last day is yesterday, which is {yesterday}\n"),
        ),
        (
            ["--since", "2024-01-01", "--until", "2025-12-31"],
            "error: 731 days are too many: 366 are compared at most\n\nhint: compare them a part at a time, by `--since` and `--until`\n"
                .to_owned(),
        ),
    ] {
        let run = reconcile(folder.path(), &double, &words);
        assert_eq!((run.code, run.stderr), (Some(2), said));
    }
}
