use jiff::civil::Date;
use serde_json::{Value, json};

use super::*;
use crate::price::When;
use crate::tokens::{CacheWrites, Ceiling, CeilingLine, Counts, ServiceTier, Terms, Usage, UsageLine};

const DAY: When = When::On(Date::constant(2026, 11, 24));

/// A million tokens of input, of output and of cache reads.
const MILLION: Counts = Counts {
    input: 1_000_000,
    output: 1_000_000,
    cache_read: 1_000_000,
    cache_write_5m: 0,
    cache_write_1h: 0,
    cache_write_30m: 0,
    cache_write_12h: 0,
    audio_input: 0,
    audio_cache_read: 0,
};

fn newer(change: impl Fn(&mut Value)) -> Table {
    let mut table: Value = serde_json::from_str(include_str!("../prices.json")).expect("JSON");
    change(&mut table);
    Table::parse(&table.to_string()).expect("a table")
}

fn model<'a>(table: &'a mut Value, id: &str) -> &'a mut Value {
    let models = table["models"].as_array_mut().expect("models");
    models.iter_mut().find(|model| model["id"] == id).expect("the model")
}

fn cost(table: &Table, model: &str, counts: Counts, terms: &Terms) -> String {
    let line = UsageLine { model: model.into(), counts, terms: terms.clone(), beside_prompt: 0 };
    table.cost(&Usage { lines: vec![line], ..Usage::default() }, DAY).expect(model).usd.to_string()
}

fn plain(table: &Table, model: &str) -> String {
    cost(table, model, Counts { input: 1_000, output: 1_000_000, ..Counts::default() }, &Terms::default())
}

#[test]
fn the_dearer_price_of_each_kind_counts_unless_cheaper_is_allowed() {
    let built_in = Table::embedded();
    let both = newer(|table| {
        let rates = &mut model(table, "claude-sonnet-5-5")["rows"][1]["rates"];
        (rates["input"], rates["output"]) = (json!("1"), json!("12"));
    });
    let input = Counts { input: 1_000_000, ..Counts::default() };
    let output = Counts { output: 1_000_000, ..Counts::default() };
    for (cheaper, in_, out) in [(false, "2", "12"), (true, "1", "12")] {
        let table = built_in.over(&both, cheaper);
        let name = "anthropic/claude-sonnet-5.5";
        assert_eq!(cost(&table, name, input, &Terms::default()), in_);
        assert_eq!(cost(&table, name, output, &Terms::default()), out);
        let batch = Terms { tier: ServiceTier::Batch, ..Terms::default() };
        assert_eq!(cost(&table, name, output, &batch), "6", "the factor is on the newer price");
        assert_eq!(table.models().len(), built_in.models().len());
    }
}

#[test]
fn no_name_comes_to_mean_something_cheaper() {
    let built_in = Table::embedded();
    let sly = newer(|table| {
        let opus = model(table, "claude-opus-5-5");
        (opus["id"], opus["aliases"]) = (json!("claude-opus-5-5-old"), json!([]));
        let names = [
            "claude-opus-5-5",
            "claude-opus-5-5-20261201",
            "claude-opus-5-5[1m]",
            "openai/gpt-6-astra",
            "us.anthropic.claude-fable-5-2",
            "new-name",
        ];
        model(table, "gpt-6-luna")["aliases"] = json!(names);
    });
    let table = built_in.over(&sly, false);
    for name in ["claude-opus-5-5", "claude-opus-5-5-20261201", "claude-opus-5-5[1m]", "claude-opus-5.5"] {
        assert_eq!(plain(&table, name), "20.004", "{name}");
    }
    assert_eq!(plain(&table, "openai/gpt-6-astra"), "50.01");
    assert_eq!(plain(&table, "us.anthropic.claude-fable-5-2"), "44.0088", "with its region");
    assert_eq!(plain(&table, "gpt-6-luna"), "0.5001");
    assert_eq!(plain(&table, "new-name"), "0.5001", "what was not known is what it is said to be");
    assert_eq!(plain(&built_in.over(&sly, true), "claude-opus-5-5"), "0.5001");
    let limits = table.limits(&"claude-opus-5-5".into()).expect("limits");
    assert_eq!((limits.window, limits.output), (1_050_000, 128_000), "the wider of both");
}

#[test]
fn bands_tiers_and_fees_that_only_one_table_has_count() {
    let built_in = Table::embedded();
    let poorer = newer(|table| {
        model(table, "gpt-6.1-sol")["rows"][0]["long"] = json!([]);
        model(table, "gpt-6.1-sol")["rows"][0]["tiers"] = json!({});
        table["fees"][1]["web_search"] = json!("0.001");
        table["fees"][1]["file_search"] = Value::Null;
    });
    let table = built_in.over(&poorer, false);
    let long = Counts { input: 272_001, ..Counts::default() };
    assert_eq!(cost(&table, "gpt-6.1-sol", long, &Terms::default()), "1.088004");
    let ultrafast = Terms { tier: ServiceTier::UltraFast, ..Terms::default() };
    assert_eq!(cost(&table, "gpt-6.1-sol", MILLION, &ultrafast), "115.2");
    let model = table.find(&"gpt-6.1-sol".into()).expect("a model");
    assert_eq!(model.thresholds(Date::constant(2026, 11, 24)).into_iter().collect::<Vec<_>>(), [0, 272_000]);
    let fees = table.fees[&Provider::Openai];
    assert_eq!(fees.web_search.map(|usd| usd.to_string()).as_deref(), Some("0.01"));
    assert_eq!(fees.file_search.map(|usd| usd.to_string()).as_deref(), Some("0.0025"));
    let allowed = built_in.over(&poorer, true);
    assert_eq!(cost(&allowed, "gpt-6.1-sol", long, &Terms::default()), "0.544002");
}

fn rates(input: &str, output: &str) -> OwnPrice {
    let rate = |text: &str| Rate::per_mtok(text).expect(text);
    OwnPrice::Rates {
        input: rate(input),
        output: rate(output),
        cache_read: None,
        cache_write: None,
        cache_write_long: None,
        window: None,
        output_max: Some(8_192),
    }
}

fn own(model: &str, is: OwnPrice) -> Vec<Own> {
    vec![Own { model: model.into(), is }]
}

#[test]
fn a_model_of_ones_own_has_its_price_and_what_is_not_said_is_on_the_safe_side() {
    let (table, notes) =
        Table::embedded().with_own(&own("house", rates("0.2", "0.6")), false).expect("prices");
    assert_eq!(notes, Vec::<String>::new());
    for (counts, expected) in [
        (MILLION, "1"),
        (Counts { cache_write_30m: 1_000_000, ..Counts::default() }, "0.25"),
        (Counts { cache_write_1h: 1_000_000, ..Counts::default() }, "0.4"),
    ] {
        assert_eq!(cost(&table, "house", counts, &Terms::default()), expected);
    }
    let limits = table.limits(&"house".into()).expect("limits");
    assert_eq!((limits.window, limits.output), (1_050_000, 8_192));
    let priority = Terms { tier: ServiceTier::Priority, ..Terms::default() };
    let line = UsageLine { model: "house".into(), counts: MILLION, terms: priority, beside_prompt: 0 };
    assert!(table.cost(&Usage { lines: vec![line], ..Usage::default() }, DAY).is_err(), "no such tier");
}

#[test]
fn an_own_price_of_a_known_model_counts_where_it_is_dearer_or_may_be_cheaper() {
    let built_in = Table::embedded();
    let short = Counts { output: 1_000_000, ..Counts::default() };
    let long = Counts { input: 272_001, ..Counts::default() };
    let priority = Terms { tier: ServiceTier::Priority, ..Terms::default() };
    let note = "the budget file's price of `gpt-6.1-sol` is below the price table's, which counts; \
                `prices: { cheaper: allow }` lets it be cheaper";
    for (input, output, cheaper, out, band, first, held) in [
        ("1.5", "9", false, "10", "1.088004", "20", true),
        ("1.5", "9", true, "9", "1.088004", "20", false),
        ("5", "30", false, "30", "1.360005", "30", false),
        ("5", "30", true, "30", "1.360005", "30", false),
    ] {
        let own = own("gpt-6.1-sol", rates(input, output));
        let (table, notes) = built_in.with_own(&own, cheaper).expect("prices");
        assert_eq!(cost(&table, "openai/gpt-6.1-sol", short, &Terms::default()), out, "{input} {cheaper}");
        assert_eq!(cost(&table, "gpt-6.1-sol", long, &Terms::default()), band, "{input} {cheaper}");
        assert_eq!(cost(&table, "gpt-6.1-sol", short, &priority), first, "{input} {cheaper}");
        assert_eq!(notes, if held { vec![note.to_owned()] } else { vec![] });
        let line = CeilingLine {
            model: "gpt-6.1-sol".into(),
            input: 1_000,
            output: 1_000_000,
            samplings: 1,
            choices: 1,
            audio: false,
            cache_writes: CacheWrites::ThirtyMinutes,
            terms: Terms::default(),
            region_open: false,
        };
        let bound = table.bound(&Ceiling { lines: vec![line], ..Ceiling::default() }, DAY).expect("a bound");
        assert!(bound.total().to_string().starts_with(out), "the bound goes by the same price");
    }
}

#[test]
fn a_name_may_stand_for_a_known_model_but_not_instead_of_one() {
    let same = |model: &str, other: &str| own(model, OwnPrice::SameAs(other.into()));
    let (table, _) =
        Table::embedded().with_own(&same("my-deployment", "gpt-6.1-sol-2026-09-29"), false).expect("a name");
    assert_eq!(plain(&table, "my-deployment"), "10.002");
    assert_eq!(table.find(&"my-deployment".into()).expect("a model").id.as_str(), "gpt-6.1-sol");
    for (model, other, message) in [
        (
            "my-deployment",
            "gpt-99",
            "prices.models.my-deployment: the price table has no model `gpt-99`\n\n\
             hint: `tollgate prices list` names those it has",
        ),
        (
            "claude-opus-5-5",
            "claude-haiku-5-5",
            "prices.models.claude-opus-5-5: the price table has a model of that name, which cannot stand for \
             `claude-haiku-5-5`\n\nhint: write its price, as `input` and `output`, or leave it out",
        ),
    ] {
        let error = Table::embedded().with_own(&same(model, other), true).expect_err(model);
        assert_eq!(error.to_string(), message);
    }
}
