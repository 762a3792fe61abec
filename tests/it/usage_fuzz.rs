//! Whatever stands in a usage object: no reader of one panics, nothing that was used costs nothing, and what
//! is not known has no price instead of the usual one.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use tollgate::model::ModelId;
use tollgate::money::Usd;
use tollgate::price::{Table, When};
use tollgate::provider::usage::UsageError;
use tollgate::provider::{anthropic, converse, gemini, openai};
use tollgate::tokens::{Terms, Usage};

const DAY: When = When::On(jiff::civil::Date::constant(2026, 11, 23));

/// The readers, each with a model that it is of.
const READERS: [(&str, &str); 4] = [
    ("messages", "claude-opus-5-5"),
    ("openai", "gpt-6.1-sol"),
    ("gemini", "gemini-3.8-flash"),
    ("converse", "us.anthropic.claude-opus-4-6-v1"),
];

fn read(reader: &str, model: &str, usage: &Value) -> Result<Usage, UsageError> {
    let model = ModelId::new(model);
    match reader {
        "messages" => {
            let mut merge = anthropic::usage::Merge::new(&model, true);
            merge.take(usage)?;
            merge.finish(false)
        }
        "openai" => {
            let mut merge = openai::usage::Merge::new(&model, true);
            merge.take(usage)?;
            merge.finish()
        }
        "gemini" => {
            let mut merge = gemini::usage::Merge::new(&model);
            merge.take(usage)?;
            merge.finish()
        }
        _ => converse::usage(&model, usage, true, Terms::default()),
    }
}

/// Every name that a usage object of any API has for anything.
const NAMES: [&str; 44] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "server_tool_use",
    "web_search_requests",
    "service_tier",
    "speed",
    "inference_geo",
    "iterations",
    "type",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens_details",
    "prompt_tokens_details",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_tokens_details",
    "ttl_30m_tokens",
    "ttl_12h_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "cost",
    "cost_in_usd_ticks",
    "is_byok",
    "cost_details",
    "upstream_inference_cost",
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "totalTokenCount",
    "promptTokensDetails",
    "modality",
    "tokenCount",
    "serviceTier",
    "inputTokens",
    "outputTokens",
];

fn a_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_u64..2_000_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(vec![
            "AUDIO", "message", "standard", "batch", "priority", "fast", "us", "5m", "0.25", "-1", "1e400",
            "\u{0}"
        ])
        .prop_map(Value::from),
    ]
}

fn some_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![4 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"];
    a_leaf().prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..12)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused_and_what_was_used_costs_something(usage in some_json()) {
        for (reader, model) in READERS {
            let Ok(used) = read(reader, model, &usage) else { continue };
            let counts = used.counts();
            let any = counts.prompt() > 0 || counts.output > 0 || used.web_searches > 0;
            if let Ok(cost) = Table::embedded().cost(&used, DAY) {
                prop_assert!(!any || cost.usd > Usd::ZERO, "{reader}: {usage} is {used:?}");
            }
        }
    }

    #[test]
    fn a_count_that_grows_never_costs_less(
        (reader, field) in prop::sample::select(vec![
            ("messages", "input_tokens"), ("messages", "output_tokens"), ("messages", "cache_read_input_tokens"),
            ("messages", "cache_creation_input_tokens"),
            ("openai", "input_tokens"), ("openai", "output_tokens"),
            ("gemini", "promptTokenCount"), ("gemini", "candidatesTokenCount"), ("gemini", "thoughtsTokenCount"),
            ("gemini", "toolUsePromptTokenCount"),
            ("converse", "inputTokens"), ("converse", "outputTokens"), ("converse", "cacheWriteInputTokens"),
        ]),
        counts in prop::array::uniform8(0_u64..1_000_000),
        more in 1_u64..1_000_000,
    ) {
        let model = READERS.iter().find(|(name, _)| *name == reader).expect("a reader").1;
        let [a, b, c, d, e, f, g, h] = counts;
        let mut usage = match reader {
            "messages" => json!({ "input_tokens": a, "output_tokens": b, "cache_read_input_tokens": c, "cache_creation_input_tokens": d }),
            "openai" => json!({ "input_tokens": a + c + d, "output_tokens": b, "input_tokens_details": { "cached_tokens": c, "cache_write_tokens": d } }),
            "gemini" => json!({ "promptTokenCount": a + c, "cachedContentTokenCount": c, "candidatesTokenCount": b, "thoughtsTokenCount": e, "toolUsePromptTokenCount": f }),
            _ => json!({ "inputTokens": g, "outputTokens": h, "cacheReadInputTokens": c, "cacheWriteInputTokens": d }),
        };
        let cost = |usage: &Value| {
            Table::embedded().cost(&read(reader, model, usage).expect("counts"), DAY).expect("a price").usd
        };
        let before = cost(&usage);
        usage[field] = json!(usage[field].as_u64().unwrap_or(0) + more);
        prop_assert!(cost(&usage) >= before, "{reader}: {usage}");
    }

    #[test]
    fn what_is_not_known_has_no_price(word in "[a-z]{3,12}") {
        let known = [
            "standard", "default", "auto", "priority", "fast", "ultrafast", "flex", "batch", "scale", "global",
            "unspecified",
        ];
        prop_assume!(!known.contains(&word.as_str()));
        let plain = json!({ "input_tokens": 7, "output_tokens": 9 });
        for field in ["service_tier", "speed", "inference_geo"] {
            let mut usage = plain.clone();
            usage[field] = json!(word);
            let used = read("messages", "claude-opus-5-5", &usage).expect("counts");
            prop_assert!(Table::embedded().cost(&used, DAY).is_err(), "{usage}");
        }
        let mut usage = plain.clone();
        usage["service_tier"] = json!(word);
        let used = read("openai", "gpt-6.1-sol", &usage).expect("counts");
        prop_assert!(Table::embedded().cost(&used, DAY).is_err(), "{usage}");
        let usage = json!({ "promptTokenCount": 7, "trafficType": word });
        let used = read("gemini", "gemini-3.8-flash", &usage).expect("counts");
        prop_assert!(Table::embedded().cost(&used, DAY).is_err(), "{usage}");
        let model = format!("claude-{word}");
        let used = read("messages", &model, &plain).expect("counts");
        prop_assert!(Table::embedded().cost(&used, DAY).is_err(), "{model}");
    }
}
