mod within;

use super::*;
use crate::model::Thinking;
use crate::money::Usd;
use crate::tokens::{
    CacheWrites, Calls, Ceiling, CeilingLine, Counts, Region, ServiceTier, Speed, Terms, Usage, UsageLine,
};

const NOW: When = When::On(Date::constant(2026, 11, 23));

fn table() -> &'static Table {
    Table::embedded()
}

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

fn on(text: &str) -> When {
    When::On(text.parse().expect(text))
}

fn around(text: &str) -> When {
    When::Around(text.parse().expect(text))
}

fn usage(model: &str, counts: Counts, terms: Terms) -> Usage {
    Usage {
        lines: vec![UsageLine { model: model.into(), counts, terms, beside_prompt: 0 }],
        ..Usage::default()
    }
}

fn cost(model: &str, counts: Counts, when: When) -> Usd {
    table().cost(&usage(model, counts, Terms::default()), when).expect(model).usd
}

/// One token of each kind in millions, so that rates can be read off the cost.
fn reads(count: u64) -> Counts {
    Counts { cache_read: count, ..Counts::default() }
}

fn fast() -> Terms {
    Terms { speed: Speed::Fast, ..Terms::default() }
}

#[test]
fn the_embedded_table_loads_and_says_of_when_it_is() {
    assert_eq!(table().models().len(), 106);
    assert_eq!(table().as_of(), Date::constant(2026, 11, 23));
    assert!(!table().stale(Date::constant(2027, 1, 22)), "60 days are not too old");
    assert!(table().stale(Date::constant(2027, 1, 23)));
    assert!(table().models().iter().all(|model| model.rows.iter().all(|row| !row.source.is_empty())));
}

#[test]
fn a_name_is_known_exactly_or_not_at_all() {
    for (name, id) in [
        ("claude-opus-5-5", Some("claude-opus-5-5")),
        ("claude-opus-5.5", Some("claude-opus-5-5")),
        ("claude-sonnet-5-5[1m]", Some("claude-sonnet-5-5")),
        ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
        ("claude-haiku-4-5-20260101", Some("claude-haiku-4-5")),
        ("claude-haiku-4-5-20251001[1m]", Some("claude-haiku-4-5")),
        ("claude-sonnet-4-20250514", Some("claude-sonnet-4-0")),
        ("publishers/anthropic/models/claude-opus-4-5@20251101", Some("claude-opus-4-5")),
        ("anthropic/claude-sonnet-4.6", Some("claude-sonnet-4-6")),
        ("claude-opus-5-5-fast", Some("claude-opus-5-5")),
        ("claude-opus-5-6-fast", None),
        ("ft:gpt-4.1-mini:a:b:c", None),
        ("claude-opus-5-6", None),
        ("claude-opus-5-5-mini", None),
        ("claude-opus-5-5-2026", None),
        ("claude-opus-5-5-20260101-20260102", None),
        ("claude", None),
        ("-20260101", None),
        ("", None),
    ] {
        let found = table().find(&name.into()).map(|model| model.id.as_str());
        assert_eq!(found, id, "{name}");
    }
}

#[test]
fn limits_follow_the_generation() {
    for (name, window, output, thinking, image) in [
        ("claude-opus-5-5", 1_000_000, 128_000, Thinking::Adaptive, 4_784),
        ("claude-opus-4-7", 1_000_000, 128_000, Thinking::Adaptive, 4_784),
        ("claude-opus-4-6", 1_000_000, 128_000, Thinking::Budgeted, 1_568),
        ("claude-haiku-4-5", 200_000, 64_000, Thinking::Budgeted, 1_568),
        ("claude-opus-4-1", 200_000, 32_000, Thinking::Budgeted, 1_568),
    ] {
        let limits = crate::model::Limits { window, output, thinking, image };
        assert_eq!(table().limits(&name.into()), Some(limits), "{name}");
    }
}

#[test]
fn every_kind_of_token_has_its_own_rate() {
    let million = 1_000_000;
    for (kind, counts, expected) in [
        ("input", Counts { input: million, ..Counts::default() }, "8"),
        ("output", Counts { output: million, ..Counts::default() }, "40"),
        ("cache read", reads(million), "0.2"),
        ("5 minutes", Counts { cache_write_5m: million, ..Counts::default() }, "10"),
        ("1 hour", Counts { cache_write_1h: million, ..Counts::default() }, "16"),
    ] {
        assert_eq!(cost("claude-fable-5-2", counts, NOW), usd(expected), "{kind}");
    }
}

#[test]
fn prices_hold_from_their_day_to_their_day() {
    let long = Counts { input: 200_001, output: 1_000_000, ..Counts::default() };
    let million = reads(1_000_000);
    for (model, counts, when, expected) in [
        ("claude-sonnet-5-5", million, on("2026-09-28"), "0.2"),
        ("claude-sonnet-5-5", million, on("2026-10-06"), "0.2"),
        ("claude-sonnet-5-5", million, on("2026-10-07"), "0.1"),
        ("claude-opus-4-6", long, on("2026-03-12"), "39.50001"),
        ("claude-opus-4-6", long, on("2026-03-13"), "26.000005"),
        ("claude-sonnet-4-6", long, on("2026-03-12"), "23.700006"),
        // Around an instant the dearer of two neighbouring prices counts, for a day on either side.
        ("claude-sonnet-5-5", million, around("2026-10-07T23:59:59Z"), "0.2"),
        ("claude-sonnet-5-5", million, around("2026-10-08T00:00:00Z"), "0.1"),
        ("claude-opus-4-6", long, around("2026-03-13T12:00:00Z"), "39.50001"),
        ("claude-opus-4-6", long, around("2026-03-14T12:00:00Z"), "26.000005"),
    ] {
        assert_eq!(cost(model, counts, when), usd(expected), "{model} {when:?}");
    }
}

#[test]
fn a_band_is_entered_strictly_above_its_edge_and_reprices_everything() {
    let edge = Counts { input: 1, cache_read: 99_998, cache_write_1h: 1, output: 10, ..Counts::default() };
    let above = Counts { cache_write_5m: 1, ..edge };
    assert_eq!(cost("claude-haiku-5-5", edge, NOW), usd("0.00100528"));
    assert_eq!(cost("claude-haiku-5-5", above, NOW), usd("0.005027025"));
}

#[test]
fn terms_multiply_one_another() {
    let counts = Counts { input: 1_000_000, ..Counts::default() };
    let terms = |tier, speed, region| Terms { tier, speed, region };
    use {Region as R, ServiceTier as T, Speed as S};
    for (terms, expected) in [
        (terms(T::Standard, S::Standard, R::Us), "4.4"),
        (terms(T::Standard, S::Fast, R::Global), "8"),
        (terms(T::Standard, S::Fast, R::Us), "8.8"),
        (terms(T::Batch, S::Standard, R::Us), "2.2"),
        (terms(T::Priority, S::Standard, R::Global), "4"),
    ] {
        let cost = table().cost(&usage("claude-opus-5-5", counts, terms.clone()), NOW).expect("a price");
        assert_eq!(cost.usd, usd(expected), "{terms:?}");
        let told = cost.notes.iter().any(|note| note.contains("committed capacity"));
        assert_eq!(told, terms.tier == T::Priority);
    }
}

#[test]
fn what_has_no_price_is_an_error_and_says_which() {
    let one = Counts { input: 1, ..Counts::default() };
    let odd_tier = Terms { tier: ServiceTier::Other("turbo".into()), ..Terms::default() };
    let us = Terms { region: Region::Us, ..Terms::default() };
    let batch_fast = Terms { tier: ServiceTier::Batch, ..fast() };
    for (model, terms, when, message) in [
        ("gpt-7", Terms::default(), NOW, "the price table has no model `gpt-7`"),
        (
            "claude-opus-5-5",
            odd_tier,
            NOW,
            "the price table has no price for `claude-opus-5-5` at service tier `turbo`, speed `standard`, region `global`",
        ),
        (
            "claude-haiku-4-5-20251001",
            us,
            NOW,
            "the price table has no price for `claude-haiku-4-5` at service tier `standard`, speed `standard`, region `us`",
        ),
        (
            "claude-opus-4-8",
            fast(),
            on("2026-12-01"),
            "the price table has no price for `claude-opus-4-8` at service tier `standard`, speed `fast`, region `global`",
        ),
        (
            "claude-opus-5-5",
            batch_fast,
            NOW,
            "the price table has no price for `claude-opus-5-5` at service tier `batch`, speed `fast`, region `global`",
        ),
    ] {
        let error = table().cost(&usage(model, one, terms), when).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    assert!(table().cost(&usage("claude-opus-4-8", one, fast()), on("2026-11-30")).is_ok());
    let ownerless = Usage { web_searches: 2, ..Usage::default() };
    let error = table().cost(&ownerless, NOW).expect_err("no owner");
    assert_eq!(error.to_string(), "2 web searches were counted, but no model that ran them");
}

#[test]
fn searches_are_added_unmultiplied_and_refusals_are_free() {
    let counts = Counts { input: 1_000, ..Counts::default() };
    let mut used = usage("claude-opus-5-5", counts, fast());
    used.web_searches = 3;
    assert_eq!(table().cost(&used, NOW).expect("a price").usd, usd("0.038"));
    used.unbilled = true;
    let cost = table().cost(&used, NOW).expect("free");
    assert_eq!(cost.usd, Usd::ZERO);
    assert_eq!(cost.notes, ["the request was refused before any output, which is not billed"]);
}

#[test]
fn a_bound_takes_the_dearest_of_all_that_may_happen() {
    let line = |model: &str, input, output| CeilingLine {
        model: model.into(),
        input,
        output,
        samplings: 1,
        choices: 1,
        audio: false,
        cache_writes: CacheWrites::None,
        terms: Terms::default(),
        region_open: true,
    };
    let plain = line("claude-haiku-5-5", 100_000, 1_000);
    let cases = [
        ("plain", vec![plain.clone()], 0, "0.01155"),
        ("one token into the band", vec![line("claude-haiku-5-5", 100_001, 1_000)], 0, "0.05775055"),
        (
            "writes for an hour",
            vec![CeilingLine { cache_writes: CacheWrites::OneHour, ..plain.clone() }],
            0,
            "0.02255",
        ),
        ("ten samplings", vec![CeilingLine { samplings: 10, ..plain.clone() }], 0, "0.5775"),
        (
            "in the US",
            vec![CeilingLine { terms: Terms { region: Region::Us, ..Terms::default() }, ..plain.clone() }],
            0,
            "0.01155",
        ),
        ("where it is known", vec![CeilingLine { region_open: false, ..plain.clone() }], 0, "0.0105"),
        ("an advisor", vec![plain.clone(), line("claude-opus-5-5", 1_000, 1_000)], 0, "0.03795"),
        ("searches", vec![plain.clone()], 5, "0.06155"),
        ("where the US is not offered", vec![line("claude-haiku-4-5", 100_000, 1_000)], 0, "0.105"),
    ];
    for (name, lines, web_searches, expected) in cases {
        let ceiling = Ceiling { lines, web_searches, ..Ceiling::default() };
        let bound = table().bound(&ceiling, NOW).expect(name);
        assert_eq!(bound.total(), usd(expected), "{name}");
        assert_eq!(bound.output_max, 1_000, "{name}");
        assert_eq!(bound.with_output(0), bound.fixed, "{name}");
    }
}

#[test]
fn dearer_is_by_what_tokens_cost() {
    for (a, b, dearer) in [
        ("claude-opus-5-5", "claude-sonnet-5-5", Some(true)),
        ("claude-haiku-5-5", "claude-haiku-4-5", Some(false)),
        ("claude-haiku-4-5", "claude-haiku-5-5", Some(true)),
        ("claude-sonnet-4-6", "claude-opus-5-5", Some(false)),
        ("claude-opus-5-5", "claude-opus-5-5", Some(false)),
        ("claude-sonnet-5", "claude-sonnet-5-5", Some(true)),
        ("claude-sonnet-9", "claude-sonnet-5-5", None),
    ] {
        assert_eq!(table().is_dearer(&a.into(), &b.into(), NOW), dearer, "{a} {b}");
    }
}

#[test]
fn the_dearest_known_costs_at_least_what_any_model_costs() {
    let dearest = table().dearest_known();
    let counts = Counts {
        input: 150_001,
        cache_read: 9,
        cache_write_5m: 7,
        cache_write_1h: 5,
        output: 3_000,
        ..Counts::default()
    };
    let most = cost(dearest.id.as_str(), counts, NOW);
    for model in table().models() {
        assert!(cost(model.id.as_str(), counts, NOW) <= most, "{}", model.id);
        assert!(model.limits.window <= dearest.limits.window);
    }
    let ceiling = Ceiling {
        lines: vec![CeilingLine {
            model: dearest.id.clone(),
            input: 1_000_000,
            output: 0,
            samplings: 1,
            choices: 1,
            audio: false,
            cache_writes: CacheWrites::OneHour,
            terms: fast(),
            region_open: true,
        }],
        ..Ceiling::default()
    };
    assert_eq!(table().bound(&ceiling, NOW).expect("a bound").total(), usd("330"));
}

#[test]
fn caching_saves_the_difference_to_plain_input() {
    let saving = table().cache_read_saving(&"claude-opus-5-5".into(), &reads(1_000_000), NOW);
    assert_eq!(saving, Ok(usd("3.8")));
    let list = table().list_cost(&"claude-opus-5-5".into(), &reads(1_000_000), NOW);
    assert_eq!(list, Ok(usd("0.2")));
}

/// A table of one model, to be damaged.
const SMALL: &str = r#"{"format":1,"about":"","as_of":"2026-11-23",
"fees":[{"provider":"anthropic","web_search":"0.01","source":"s"}],
"models":[{"provider":"anthropic","id":"m","aliases":["n"],
"limits":{"window":9,"output":9,"thinking":"adaptive","image":9},
"rows":[{"until":"2026-01-01","rates":{"input":"1","output":"5","cache_read":"0.1","cache_write_5m":"1.25","cache_write_1h":"2"},
"factors":{"us":"1.1"},"source":"s"},
{"from":"2026-01-02","rates":{"input":"1","output":"5","cache_read":"0.1","cache_write_5m":"1.25","cache_write_1h":"2"},
"long":[{"above":10,"rates":{"input":"2","output":"5","cache_read":"0.1","cache_write_5m":"1.25","cache_write_1h":"2"}}],
"factors":{},"source":"s"}]}]}"#;

#[test]
fn a_damaged_table_is_refused() {
    assert!(Table::parse(SMALL).is_ok());
    for (from, to, message) in [
        ("\"format\":1", "\"format\":2", "the price table has format 2, this version reads format 1"),
        (
            "\"input\":\"1\"",
            "\"input\":\"1e0\"",
            "the price table, `m`, input: `1e0`: expected a decimal number of dollars such as 4.00",
        ),
        (
            "\"us\":\"1.1\"",
            "\"us\":\"x\"",
            "the price table, `m`, factors.us: `x`: expected a decimal number of dollars such as 4.00",
        ),
        (
            "\"cache_read\":\"0.1\"",
            "\"cache_read\":\"0.000001\"",
            "the price table, `m`: a rate times its factors is finer than a pico-dollar",
        ),
        (
            "\"from\":\"2026-01-02\"",
            "\"from\":\"2026-01-03\"",
            "the price table, `m`: its rows leave a gap or overlap",
        ),
        (
            "\"from\":\"2026-01-02\"",
            "\"from\":\"2026-01-01\"",
            "the price table, `m`: its rows leave a gap or overlap",
        ),
        ("\"until\":\"2026-01-01\",", "", "the price table, `m`: its rows leave a gap or overlap"),
        ("\"above\":10", "\"above\":0", "the price table, `m`: its bands do not ascend"),
        ("\"window\":9", "\"window\":0", "the price table, `m`: a limit is zero"),
        ("[\"n\"]", "[\"m\"]", "the price table has two models that answer to `m`"),
    ] {
        let damaged = SMALL.replacen(from, to, 1);
        assert_ne!(damaged, SMALL, "{from}");
        let error = Table::parse(&damaged).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    for (from, to) in [("\"about\"", "\"abut\""), ("\"input\":\"1\"", "\"input\":1"), ("adaptive", "odd")] {
        let error = Table::parse(&SMALL.replacen(from, to, 1)).expect_err(to);
        assert!(matches!(error, TableError::Json(_)), "{error}");
    }
}

/// One line of usage on a tier.
fn at_tier(model: &str, tier: ServiceTier, counts: Counts) -> Result<Usd, Unpriced> {
    let terms = Terms { tier, ..Terms::default() };
    table().cost(&usage(model, counts, terms), NOW).map(|cost| cost.usd)
}

#[test]
fn tiers_have_their_published_rates_in_every_band() {
    use ServiceTier::{Batch, Flex, Priority, Standard, UltraFast};
    let million = |input: u64, cache_read: u64| Counts { input, cache_read, ..Counts::default() };
    for (model, tier, counts, expected) in [
        ("gpt-6.1-sol", Standard, million(272_000, 0), Some("0.544")),
        ("gpt-6.1-sol", Standard, million(272_001, 0), Some("1.088004")),
        ("gpt-6.1-sol", UltraFast, million(272_001, 0), Some("6.528024")),
        ("gpt-6.1-sol", Flex, million(1_000, 0), Some("0.001")),
        // The published row is rounded up, no half of the standard one.
        ("gpt-5.4", Flex, million(0, 1_000), Some("0.00013")),
        ("o4-mini", Flex, million(0, 1_000), Some("0.000138")),
        // A tier without a price of its own for a kind takes the standard one.
        ("gpt-4.1", Batch, million(1_000, 1_000), Some("0.0015")),
        ("gpt-5.5", Priority, million(1_000, 0), Some("0.0125")),
        ("gpt-5.5", Priority, million(272_001, 0), None),
        ("gpt-5.4-nano", Priority, million(1, 0), None),
        ("claude-opus-5-5", Priority, million(1_000, 0), Some("0.004")),
        ("claude-opus-5-5", Flex, million(1_000, 0), None),
        ("gemini-3.1-pro-preview", Priority, million(200_001, 0), Some("1.4400072")),
        ("gemini-3.1-pro-preview", Flex, million(200_001, 0), Some("0.400002")),
        // xAI's band begins at its threshold, all others above it.
        ("grok-4.6", Standard, million(199_999, 0), Some("0.399998")),
        ("grok-4.6", Standard, million(200_000, 0), Some("0.8")),
        ("qwen3-coder-flash", Standard, million(128_000, 0), Some("0.064")),
        ("qwen3-coder-flash", Standard, million(128_001, 0), Some("0.1024008")),
        ("gpt-5.4-pro", Standard, million(0, 1_000), Some("0.03")),
    ] {
        let cost = at_tier(model, tier.clone(), counts);
        assert_eq!(cost.ok(), expected.map(usd), "{model} {tier:?} {counts:?}");
    }
}

#[test]
fn cache_writes_and_speech_have_their_own_rates_where_there_are_such() {
    let cases = [
        ("gpt-6.1-terra", Counts { cache_write_30m: 1_000, ..Counts::default() }, "0.00125"),
        ("gpt-6.1-terra", Counts { cache_write_12h: 1_000, ..Counts::default() }, "0.0025"),
        ("gpt-5.2", Counts { cache_write_30m: 1_000, ..Counts::default() }, "0.00175"),
        ("kimi-k3", Counts { cache_write_5m: 1_000, cache_write_1h: 1_000, ..Counts::default() }, "0.009"),
        ("kimi-k3", Counts { cache_write_30m: 1_000, ..Counts::default() }, "0.003"),
        ("gemini-2.5-flash", Counts { audio_input: 1_000, ..Counts::default() }, "0.001"),
        ("gemini-2.5-flash", Counts { audio_cache_read: 1_000, ..Counts::default() }, "0.0001"),
        ("gemini-2.5-pro", Counts { audio_input: 1_000, ..Counts::default() }, "0.00125"),
    ];
    for (model, counts, expected) in cases {
        assert_eq!(cost(model, counts, NOW), usd(expected), "{model} {counts:?}");
    }
}

#[test]
fn what_tools_bring_is_paid_and_does_not_lift_the_band() {
    let counts = Counts { input: 250_000, ..Counts::default() };
    let mut used = usage("gemini-2.5-pro", counts, Terms::default());
    assert_eq!(table().cost(&used, NOW).expect("a price").usd, usd("0.625"));
    used.lines[0].beside_prompt = 100_000;
    assert_eq!(table().cost(&used, NOW).expect("a price").usd, usd("0.3125"));
}

#[test]
fn some_models_are_dearer_at_some_hours() {
    let counts = Counts { input: 1_000_000, ..Counts::default() };
    let at = |text: &str| When::At(text.parse().expect(text));
    for (when, expected) in [
        (at("2026-11-23T00:59:59Z"), "0.66"),
        (at("2026-11-23T01:00:00Z"), "1.32"),
        (at("2026-11-23T04:00:00Z"), "0.66"),
        (at("2026-11-23T09:59:59Z"), "1.32"),
        // A Saturday.
        (at("2026-11-21T02:00:00Z"), "0.66"),
        (When::OffPeak(Date::constant(2026, 11, 23)), "0.66"),
        (NOW, "1.32"),
        (around("2026-11-21T02:00:00Z"), "1.32"),
        (on("2026-08-16"), "0.435"),
    ] {
        assert_eq!(cost("deepseek-v4-pro", counts, when), usd(expected), "{when:?}");
    }
}

#[test]
fn an_endpoint_or_a_name_that_keeps_a_region_has_its_surcharge() {
    let counts = Counts { input: 1_000_000, ..Counts::default() };
    let regional = Terms { region: Region::Regional, ..Terms::default() };
    for (model, terms, expected) in [
        ("gpt-6.1-sol", regional.clone(), "4.4"),
        ("gpt-4.1", regional, "2"),
        ("us.anthropic.claude-sonnet-4-6", Terms::default(), "3.3"),
        ("us-gov.anthropic.claude-sonnet-4-6", Terms::default(), "3.6"),
        ("global.anthropic.claude-sonnet-4-6", Terms::default(), "3"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", Terms::default(), "15"),
        ("claude-opus-5-5-fast", Terms::default(), "8"),
    ] {
        assert_eq!(
            table().cost(&usage(model, counts, terms), NOW).expect(model).usd,
            usd(expected),
            "{model}"
        );
    }
}

#[test]
fn fees_are_the_providers_own_and_an_amount_that_it_says_counts_instead() {
    let counts = Counts { input: 1_000, ..Counts::default() };
    for (model, searches, calls, expected) in [
        ("gpt-6.1-sol", 2, Calls { file_searches: 1, ..Calls::default() }, "0.0245"),
        ("gpt-4.1", 0, Calls { preview_searches: 1, containers: 1, ..Calls::default() }, "0.057"),
        ("gemini-2.5-flash", 1, Calls::default(), "0.0353"),
        ("gemini-3.8-flash", 3, Calls::default(), "0.04275"),
    ] {
        let used = Usage { web_searches: searches, calls, ..usage(model, counts, Terms::default()) };
        assert_eq!(table().cost(&used, NOW).expect(model).usd, usd(expected), "{model}");
    }
    let mut used = Usage { web_searches: 1, ..usage("grok-4.6", counts, Terms::default()) };
    let error = table().cost(&used, NOW).expect_err("no fee is known");
    assert_eq!(
        error.to_string(),
        "the price table has no price for web searches run by the provider of `grok-4.6`"
    );
    used.billed = Some(usd("0.0123"));
    used.lines[0].model = "some/model".into();
    let said = "the amount is the one that the provider says it charges";
    let cost = table().cost(&used, NOW).expect("an amount");
    assert_eq!((cost.usd, cost.lines[0].2), (usd("0.0123"), usd("0.0123")));
    let unchecked = "it could not be checked: the price table has no model `some/model`";
    assert_eq!((cost.notes, cost.reckoned), (vec![said.to_owned(), unchecked.to_owned()], None));
    used.lines[0].model = "x-ai/grok-4.6".into();
    used.web_searches = 0;
    let cost = table().cost(&used, NOW).expect("an amount");
    assert_eq!((cost.usd, cost.lines[0].0.as_str()), (usd("0.0123"), "grok-4.6"));
    assert_eq!(cost.notes, [said, "the price table makes it $0.0020"], "another amount is told");
    assert_eq!(cost.reckoned, Some(usd("0.002")));
    used.billed = Some(usd("0.002"));
    let cost = table().cost(&used, NOW).expect("an amount");
    assert_eq!((cost.notes, cost.reckoned), (vec![said.to_owned()], None), "the same is not");
}
