use serde_json::json;

use super::*;

fn merge() -> Merge {
    Merge::new(&"claude-opus-5-5".into(), false)
}

fn read(usage: &Value) -> Result<Usage, UsageError> {
    let mut merge = merge();
    merge.take(usage)?;
    merge.finish(false)
}

fn counts(input: u64, cache_read: u64, write_5m: u64, write_1h: u64, output: u64) -> Counts {
    Counts {
        input,
        cache_read,
        cache_write_5m: write_5m,
        cache_write_1h: write_1h,
        output,
        ..Counts::default()
    }
}

#[test]
fn the_least_usage_is_two_counts() {
    let usage = read(&json!({"input_tokens": 3, "output_tokens": 5})).expect("a usage");
    let line = UsageLine {
        model: "claude-opus-5-5".into(),
        counts: counts(3, 0, 0, 0, 5),
        terms: Terms::default(),
        beside_prompt: 0,
    };
    assert_eq!(usage, Usage { lines: vec![line], ..Usage::default() });
}

#[test]
fn cache_writes_are_split_by_lifetime() {
    let split = json!({"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 12});
    for (name, hour, total, split, expected) in [
        ("split", false, json!(42), split.clone(), (30, 12)),
        ("no split", false, json!(42), Value::Null, (42, 0)),
        ("no split, an hour marked", true, json!(42), Value::Null, (0, 42)),
        ("no total", false, Value::Null, split.clone(), (30, 12)),
        ("the total grew", false, json!(50), split.clone(), (30, 20)),
        (
            "the total grew, five minutes only",
            false,
            json!(50),
            json!({"ephemeral_5m_input_tokens": 30}),
            (50, 0),
        ),
        ("the total is below its parts", false, json!(7), split, (30, 12)),
    ] {
        let mut merge = Merge::new(&"claude-opus-5-5".into(), hour);
        let usage = json!({
            "input_tokens": 1, "output_tokens": 1,
            "cache_creation_input_tokens": total, "cache_creation": split,
        });
        merge.take(&usage).expect(name);
        let sum = merge.finish(false).expect(name).counts();
        assert_eq!((sum.cache_write_5m, sum.cache_write_1h), expected, "{name}");
    }
}

#[test]
fn terms_are_what_was_served_and_unknown_ones_are_kept_as_such() {
    for (field, value, expected) in [
        ("service_tier", json!("standard"), Terms::default()),
        ("service_tier", Value::Null, Terms::default()),
        ("service_tier", json!("batch"), Terms { tier: ServiceTier::Batch, ..Terms::default() }),
        ("service_tier", json!("priority"), Terms { tier: ServiceTier::Priority, ..Terms::default() }),
        (
            "service_tier",
            json!("flex"),
            Terms { tier: ServiceTier::Other("flex".into()), ..Terms::default() },
        ),
        ("speed", json!("fast"), Terms { speed: Speed::Fast, ..Terms::default() }),
        ("speed", json!("warp"), Terms { speed: Speed::Other("warp".into()), ..Terms::default() }),
        ("inference_geo", json!("not_available"), Terms::default()),
        ("inference_geo", json!("us"), Terms { region: Region::Us, ..Terms::default() }),
        ("inference_geo", json!("eu"), Terms { region: Region::Other("eu".into()), ..Terms::default() }),
    ] {
        let usage = read(&json!({"input_tokens": 1, "output_tokens": 1, field: value})).expect(field);
        assert_eq!(usage.lines[0].terms, expected, "{field}: {value}");
    }
}

#[test]
fn of_a_stream_the_latest_of_each_field_counts() {
    let mut merge = merge();
    merge.model("claude-sonnet-5-5");
    let start = json!({
        "input_tokens": 100, "output_tokens": 4, "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 9},
        "service_tier": "standard", "speed": "fast", "inference_geo": "us",
    });
    merge.take(&start).expect("a start");
    let input_side = merge.input_side().expect("an input side");
    assert_eq!(input_side.counts(), counts(100, 7, 0, 9, 0), "the placeholder is no output");

    merge.take(&json!({"output_tokens": 50, "input_tokens": null})).expect("a delta");
    let delta = json!({
        "output_tokens": 80, "input_tokens": 120, "server_tool_use": {"web_search_requests": 2},
    });
    merge.take(&delta).expect("a delta");
    let usage = merge.finish(false).expect("a usage");
    assert_eq!(usage.counts(), counts(120, 7, 0, 9, 80));
    assert_eq!(usage.web_searches, 2);
    assert_eq!(usage.lines[0].model, "claude-sonnet-5-5".into());
    assert_eq!((&usage.lines[0].terms.speed, &usage.lines[0].terms.region), (&Speed::Fast, &Region::Us));
}

#[test]
fn iterations_count_instead_of_the_top_level_and_each_with_its_model() {
    let usage = json!({
        "input_tokens": 30, "output_tokens": 3, "speed": "fast",
        "server_tool_use": {"web_search_requests": 1},
        "iterations": [
            {"type": "compaction", "input_tokens": 900, "output_tokens": 90},
            {"type": "message", "input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 4},
            {"type": "advisor_message", "model": "claude-fable-5-2", "input_tokens": 500, "output_tokens": 50},
            {"type": "message", "input_tokens": 20, "output_tokens": 2},
        ],
    });
    let usage = read(&usage).expect("a usage");
    let lines: Vec<_> = usage.lines.iter().map(|line| (line.model.as_str(), line.counts)).collect();
    assert_eq!(
        lines,
        [
            ("claude-opus-5-5", counts(900, 0, 0, 0, 90)),
            ("claude-opus-5-5", counts(10, 0, 4, 0, 1)),
            ("claude-fable-5-2", counts(500, 0, 0, 0, 50)),
            ("claude-opus-5-5", counts(20, 0, 0, 0, 2)),
        ]
    );
    assert!(usage.lines.iter().all(|line| line.terms.speed == Speed::Fast));
    assert_eq!(usage.web_searches, 1);
}

#[test]
fn iterations_older_than_the_output_only_add_what_the_top_level_leaves_out() {
    let mut merge = merge();
    let start = json!({
        "input_tokens": 10, "output_tokens": 1,
        "iterations": [
            {"type": "compaction", "input_tokens": 900, "output_tokens": 90},
            {"type": "message", "input_tokens": 10, "output_tokens": 1},
        ],
    });
    merge.take(&start).expect("a start");
    merge.take(&json!({"output_tokens": 700})).expect("a delta");
    assert_eq!(merge.finish(false).expect("a usage").counts(), counts(910, 0, 0, 0, 790));
}

#[test]
fn a_refusal_before_output_is_marked_unbilled() {
    let mut merge = merge();
    merge.take(&json!({"input_tokens": 106, "output_tokens": 1})).expect("a usage");
    assert!(merge.finish(true).expect("a usage").unbilled);
}

#[test]
fn what_is_no_count_is_named() {
    let with = |field: &str, value: Value| {
        let mut usage = json!({"input_tokens": 1, "output_tokens": 1});
        usage[field] = value;
        usage
    };
    let number = "expected a whole number, zero or more";
    for (usage, message) in [
        (json!({"output_tokens": 1}), "the usage field `input_tokens` is missing".to_owned()),
        (json!({"input_tokens": 1}), "the usage field `output_tokens` is missing".to_owned()),
        (json!([]), "the usage field `usage` is []: expected an object".to_owned()),
        (with("input_tokens", json!(-1)), format!("the usage field `input_tokens` is -1: {number}")),
        (with("output_tokens", json!(1.5)), format!("the usage field `output_tokens` is 1.5: {number}")),
        (
            with("cache_read_input_tokens", json!("7")),
            format!("the usage field `cache_read_input_tokens` is \"7\": {number}"),
        ),
        (
            with("cache_creation", json!({"ephemeral_1h_input_tokens": true})),
            format!("the usage field `cache_creation.ephemeral_1h_input_tokens` is true: {number}"),
        ),
        (
            with("server_tool_use", json!({"web_search_requests": -2})),
            format!("the usage field `server_tool_use.web_search_requests` is -2: {number}"),
        ),
        (with("speed", json!(2)), "the usage field `speed` is 2: expected a text".to_owned()),
        (with("iterations", json!({})), "the usage field `iterations` is {}: expected a list".to_owned()),
        (
            with("iterations", json!([{"type": "message", "input_tokens": 1}])),
            "the usage field `iterations[0].output_tokens` is missing".to_owned(),
        ),
        (
            with("service_tier", json!(["a long list that nobody", "would want to read to its end"])),
            "the usage field `service_tier` is [\"a long list that nobody\",\"would want t…: expected a text"
                .to_owned(),
        ),
    ] {
        assert_eq!(read(&usage).expect_err(&message).to_string(), message);
    }
}
