//! Holds that grow: a run holds a part of its cap and more as it spends, so that a budget with little left
//! is not refused to runs that will not need it.

use serde_json::Value;
use tollgate::ledger::Answer;

use crate::ledger::{budget, cents, request};
use crate::ledger_postgres::open_simulated;
use crate::support::postgres::Server;
use crate::support::{Run, Tollgate};

/// A repository with caps of four dollars, of which a simulated run spends less than one.
fn world(ledger: &str, usd: &str, holds: &str) -> Tollgate {
    let file = format!(
        "version: 1\nledger: {ledger}\nholds: {holds}\nbudgets:\n  - {{ scope: repo, per: total, usd: {usd} }}\n\
         tiers:\n  high: {{ max_usd: 4.00 }}\n  medium: {{ max_usd: 4.00 }}\n  low: {{ max_usd: 4.00 }}\n\
         on: {{ low_budget: refuse }}\n"
    );
    Tollgate::in_repository(&[(".github/tollgate.yml", &file)])
}

fn run(world: &mut Tollgate) -> Run {
    world.args(["run", "--simulate"]).run()
}

fn events(world: &Tollgate) -> Vec<Value> {
    let folder = world.work().join(".tollgate/simulate/events");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).expect("events") {
        let text = std::fs::read_to_string(entry.expect("a shard").path()).expect("text");
        lines.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
    }
    lines
}

#[test]
fn a_run_holds_an_eighth_and_more_as_it_spends() {
    let mut files = world("file", "3.00", "grow");
    run(&mut files).expect_code(0);
    let events = events(&files);
    let of = |kind: &str| events.iter().filter(|event| event["t"] == kind).collect::<Vec<_>>();
    assert_eq!(of("reserve")[0]["body"]["cap"], "0.5");
    let extended = of("extend");
    assert!(!extended.is_empty(), "it grew: {events:?}");
    let last: tollgate::money::Usd =
        extended.last().expect("one")["body"]["cap"].as_str().expect("an amount").parse().expect("an amount");
    let spent: tollgate::money::Usd =
        of("settle")[0]["body"]["spend"]["usd"].as_str().expect("an amount").parse().expect("an amount");
    assert!(spent <= last && last < cents(300), "{spent} of {last}");
    files.args(["ledger", "verify", "--simulate"]).run().expect_code(0);
    // The same run with its whole cap held is not started: less than that is left.
    let mut whole = world("file", "3.00", "whole");
    let refused = run(&mut whole);
    refused.expect_code(3);
    assert!(refused.stderr.contains("the run was not started"), "{}", refused.stderr);
}

#[test]
fn a_run_that_gets_no_more_lands_at_what_it_has() {
    let mut world = world("file", "0.60", "grow");
    let run = run(&mut world);
    run.expect_code(3);
    let events = events(&world);
    let settled = events.iter().find(|event| event["t"] == "settle").expect("settled");
    let spent: tollgate::money::Usd =
        settled["body"]["spend"]["usd"].as_str().expect("an amount").parse().expect("an amount");
    assert!(spent > cents(10) && spent <= cents(60), "{spent}");
    assert_eq!(settled["body"]["outcome"], "capped");
    world.args(["ledger", "verify", "--simulate"]).run().expect_code(0);
}

#[test]
fn five_growing_runs_finish_on_a_budget_for_one() {
    let Some(server) = Server::quick() else { return };
    let books = server.database("books");
    let spend_of_one = {
        let mut first = world("postgres", "1000", "grow");
        run(first.env("TOLLGATE_DATABASE_URL", &books)).expect_code(0);
        open_simulated(&books).accounts().expect("accounts")[0].settled
    };
    // Room for five times what a run spends and a little, which is less than two of their caps.
    let limit = spend_of_one + cents(750);
    assert!(spend_of_one < cents(110), "{spend_of_one}");
    let worlds: Vec<Tollgate> = (0..5)
        .map(|_| {
            let mut world = world("postgres", &limit.to_string(), "grow");
            world.env("TOLLGATE_DATABASE_URL", &books).args(["run", "--simulate"]);
            world
        })
        .collect();
    let children: Vec<_> = worlds.iter().map(|world| world.command().spawn().expect("it starts")).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let store = open_simulated(&books);
    let verified = store.verify().expect("in order, each grant and each extension within the limit");
    assert_eq!((verified.head, verified.live, verified.holds), (Ok(()), 0, 6));
    assert!(store.accounts().expect("accounts")[0].settled <= limit);
}

#[test]
fn an_extension_is_granted_again_and_to_nobody_else() {
    let Some(server) = Server::quick() else { return };
    let store = crate::ledger_postgres::open(&server.database("books"));
    let hold = request("a", 3, budget(10), store.now());
    store.reserve(&hold).expect("granted");
    let to = |claim: &str, cap: u32| store.extend(&hold.hold, claim, cents(cap));
    let granted = |cap: u32| Answer::Granted { cap: cents(cap), cut_by: None };
    assert_eq!(to("a", 6).expect("granted"), granted(6));
    assert_eq!(to("a", 6).expect("granted again"), granted(6));
    assert!(to("b", 8).expect_err("somebody else").to_string().starts_with("hold `a` is in use"));
    let Answer::Granted { cap, cut_by: Some(by) } = to("a", 12).expect("cut") else { panic!("cut") };
    assert_eq!((cap, by.held), (cents(10), cents(6)));
    assert!(matches!(to("a", 12).expect("refused"), Answer::Refused { .. }));
    store.settle(&hold.hold, &crate::ledger::spend(9)).expect("settled");
    let late = to("a", 12).expect_err("closed").to_string();
    assert_eq!(late, "hold `a` is settled, and cannot be extended\n\nhint: `adjust` corrects a closed hold");
    assert_eq!(store.verify().expect("in order").head, Ok(()));
}
