use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::parse_count;
use super::*;
use crate::model::ModelId;

fn parse(body: &str) -> Request {
    Request::parse(Bytes::copy_from_slice(body.as_bytes())).expect(body)
}

fn rewritten(body: &str, edits: &Edits) -> String {
    String::from_utf8(parse(body).rewrite(edits).to_vec()).expect("UTF-8")
}

#[test]
fn only_the_bytes_change_that_must() {
    let cap = |cap| Edits { output_cap: Some(cap), ..Edits::default() };
    let note = || Edits { note: Some("say \"stop\"\n".to_owned()), ..Edits::default() };
    let model = |id: &str| Edits { model: Some(ModelId::new(id)), ..Edits::default() };
    for (before, edits, after) in [
        (
            r#"{ "model":"m" ,"max_tokens": 64000 ,"messages":[{"role":"user","content":"a"}]}"#,
            cap(4096),
            r#"{ "model":"m" ,"max_tokens": 4096 ,"messages":[{"role":"user","content":"a"}]}"#,
        ),
        (
            r#"{"model":"m\u0021","messages":[{"role":"user","content":"a"}],"max_tokens":5}"#,
            model("n"),
            r#"{"model":"n","messages":[{"role":"user","content":"a"}],"max_tokens":5}"#,
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content": "a\u0062" }],"max_tokens":5}"#,
            note(),
            r#"{"model":"m","messages":[{"role":"user","content": [{"type":"text","text":"a\u0062"},{"type":"text","text":"say \"stop\"\n"}] }],"max_tokens":5}"#,
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","content":[]} ]}],"max_tokens":5}"#,
            note(),
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","content":[]} ,{"type":"text","text":"say \"stop\"\n"}]}],"max_tokens":5}"#,
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}],"max_tokens":5}"#,
            note(),
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"say \"stop\"\n"}]},{"role":"system","content":"b"}],"max_tokens":5}"#,
        ),
        (
            r#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000},"messages":[{"role":"user","content":[]}]}"#,
            cap(2000),
            r#"{"model":"m","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1999},"messages":[{"role":"user","content":[]}]}"#,
        ),
        (
            r#"{"thinking":{"budget_tokens":1500,"type":"enabled"},"model":"m","max_tokens":9000,"messages":[{"role":"user","content":[]}]}"#,
            cap(2000),
            r#"{"thinking":{"budget_tokens":1500,"type":"enabled"},"model":"m","max_tokens":2000,"messages":[{"role":"user","content":[]}]}"#,
        ),
    ] {
        assert_eq!(rewritten(before, &edits), after);
    }
}

#[test]
fn what_cannot_be_changed_stays() {
    let prefilled = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"{"}]}"#;
    let thinks = r#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000},"messages":[{"role":"user","content":"a"}]}"#;
    let cap = |cap| Edits { output_cap: Some(cap), ..Edits::default() };
    assert_eq!(rewritten(prefilled, &Edits { note: Some("x".to_owned()), ..Edits::default() }), prefilled);
    assert_eq!(rewritten(prefilled, &cap(51)), prefilled, "never raised");
    assert_eq!(
        rewritten(prefilled, &Edits { model: Some(ModelId::new("m")), ..Edits::default() }),
        prefilled
    );
    assert_eq!(parse(thinks).min_output_cap(), 1_025);
    assert_eq!(rewritten(thinks, &cap(1_024)), thinks);
    assert_ne!(rewritten(thinks, &cap(1_025)), thinks);
    let at_its_budget = rewritten(thinks, &cap(8_000));
    assert!(at_its_budget.contains(r#""budget_tokens":7999"#), "the budget stays below the cap");
    let adaptive = r#"{"model":"m","max_tokens":9000,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"a"}]}"#;
    assert_eq!(parse(adaptive).min_output_cap(), 1);
    let request = parse(thinks);
    assert_eq!(request.rewrite(&Edits::default()).as_ptr(), request.body().as_ptr(), "no copy");
}

#[test]
fn the_count_endpoint_gets_what_it_takes() {
    let request = parse(
        r#"{"model":"m","max_tokens":50,"stream":true,"metadata":{"user_id":"u"},"temperature":0.5,
            "system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"a"}],"one_day":1,
            "tools":[{"name":"t"}],"tool_choice":{"type":"auto"},"thinking":{"type":"adaptive"},
            "output_config":{"effort":"low"},"context_management":{"edits":[]}}"#,
    );
    let edits = Edits { model: Some(ModelId::new("n")), ..Edits::default() };
    let body: Value = serde_json::from_slice(&request.count_body(&edits).expect("countable")).expect("JSON");
    let expected = json!({
        "model": "n", "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": "a"}],
        "tools": [{"name": "t"}], "tool_choice": {"type": "auto"}, "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    });
    assert_eq!(body, expected);
    assert_eq!(parse_count(br#"{"input_tokens":2095,"more":1}"#), Some(2095));
    assert_eq!(parse_count(br#"{"type":"error","error":{"type":"rate_limit_error"}}"#), None);
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(".{0,20}", 1..4).prop_map(|texts| {
            texts.into_iter().map(|text| json!({"type": "text", "text": text})).collect()
        }),
    ]
}

proptest! {
    #[test]
    fn a_rewritten_body_differs_by_its_edits_and_nothing_else(
        contents in prop::collection::vec(content(), 1..4),
        pretty in any::<bool>(),
        cap in 1_u64..5_000,
        new_cap in prop::option::of(1_u64..5_000),
        budget in prop::option::of(1_024_u64..5_000),
        note in prop::option::of(".{0,20}"),
        model in prop::option::of(".{1,9}"),
    ) {
        let messages: Vec<Value> =
            contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect();
        let mut value = json!({"model": "m", "tools": [{"name": "t"}], "messages": messages, "max_tokens": cap});
        if let Some(budget) = budget {
            value["thinking"] = json!({"type": "enabled", "budget_tokens": budget});
        }
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let request = parse(&body.expect("JSON"));
        let edits = Edits {
            model: model.as_deref().map(ModelId::new), output_cap: new_cap, note: note.clone(),
        };
        let after: Value = serde_json::from_slice(&request.rewrite(&edits)).expect("JSON");

        if let Some(model) = model {
            value["model"] = Value::from(model);
        }
        let lower = new_cap.filter(|new| *new < cap && (budget.is_none() || *new > 1_024));
        if let Some(new) = lower {
            value["max_tokens"] = Value::from(new);
            if let Some(budget) = budget {
                value["thinking"]["budget_tokens"] = Value::from(budget.min(new - 1));
            }
        }
        if let Some(note) = note {
            let last = value["messages"].as_array_mut().and_then(|all| all.last_mut()).expect("a message");
            if let Value::String(text) = &last["content"] {
                last["content"] = json!([{"type": "text", "text": text}]);
            }
            last["content"].as_array_mut().expect("blocks").push(json!({"type": "text", "text": note}));
        }
        prop_assert_eq!(after, value);
    }
}
