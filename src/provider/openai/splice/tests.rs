use serde_json::{Value, json};

use super::super::super::{Edits, Problem};
use super::super::{Form, Request, endpoint};
use crate::model::ModelId;
use crate::provider::{Api, Endpoint};

fn request(form: Form, body: &str) -> Request {
    Request::parse(form, "/v1/x", body.to_owned().into()).expect(body)
}

fn rewritten(form: Form, body: &str, edits: &Edits) -> String {
    let text = String::from_utf8(request(form, body).rewrite(edits).to_vec()).expect("UTF-8");
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    text
}

fn capped(cap: u64) -> Edits {
    Edits { output_cap: Some(cap), ..Edits::default() }
}

#[test]
fn only_what_metering_needs_is_changed() {
    let noted = Edits { note: Some("stop \"now\"".to_owned()), ..Edits::default() };
    let remapped = Edits { model: Some(ModelId::new("gpt-6-luna")), ..Edits::default() };
    for (form, body, edits, expected) in [
        (
            Form::Responses,
            r#"{"model":"gpt-6.1-sol", "input":"a" }"#,
            capped(4_096),
            r#"{"model":"gpt-6.1-sol", "input":"a" ,"max_output_tokens":4096,"service_tier":"default"}"#,
        ),
        (
            Form::Responses,
            r#"{"model":"gpt-6.1-sol","input":"a","service_tier":"auto","max_output_tokens":9000}"#,
            capped(4_096),
            r#"{"model":"gpt-6.1-sol","input":"a","service_tier":"default","max_output_tokens":4096}"#,
        ),
        (
            Form::Responses,
            r#"{"model":"gpt-6.1-sol","input":"a","service_tier":"flex","max_output_tokens":null}"#,
            capped(4_096),
            r#"{"model":"gpt-6.1-sol","input":"a","service_tier":"flex","max_output_tokens":4096}"#,
        ),
        (
            Form::Responses,
            r#"{"model":"grok-4.6","input":"a","max_output_tokens":100}"#,
            capped(4_096),
            r#"{"model":"grok-4.6","input":"a","max_output_tokens":100}"#,
        ),
        (
            Form::Responses,
            r#"{"model":"grok-4.6","input":"a","max_output_tokens":100}"#,
            noted.clone(),
            r#"{"model":"grok-4.6","input":[{"role":"user","content":"a"},{"role":"user","content":"stop \"now\""}],"max_output_tokens":100}"#,
        ),
        (
            Form::Responses,
            r#"{"model":"grok-4.6","input":[{"type":"function_call_output","call_id":"c","output":"x"}]}"#,
            noted,
            r#"{"model":"grok-4.6","input":[{"type":"function_call_output","call_id":"c","output":"x"},{"role":"user","content":"stop \"now\""}]}"#,
        ),
        (
            Form::Responses,
            r#"{"input":[],"model":"gpt-6-astra","tools":[{"type":"web_search"}]}"#,
            remapped,
            r#"{"input":[],"model":"gpt-6-luna","tools":[{"type":"web_search"}],"service_tier":"default","max_tool_calls":10}"#,
        ),
    ] {
        assert_eq!(rewritten(form, body, &edits), expected);
    }
}

#[test]
fn a_chat_is_made_to_say_its_usage() {
    let noted = Edits { note: Some("stop \"now\"".to_owned()), ..Edits::default() };
    for (form, body, edits, expected) in [
        (
            Form::Chat,
            r#"{"model":"deepseek-v4-pro","messages":[{"role":"tool","content":"x"}],"stream":true}"#,
            Edits { note: noted.note.clone(), ..capped(99) },
            r#"{"model":"deepseek-v4-pro","messages":[{"role":"tool","content":"x"},{"role":"user","content":"stop \"now\""}],"stream":true,"max_tokens":99,"stream_options":{"include_usage":true}}"#,
        ),
        (
            Form::Chat,
            r#"{"model":"gpt-5.5","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":false},"service_tier":"default","max_tokens":null}"#,
            capped(99),
            r#"{"model":"gpt-5.5","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true},"service_tier":"default","max_tokens":null,"max_completion_tokens":99}"#,
        ),
        (
            Form::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{},"max_tokens":500}"#,
            capped(99),
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true},"max_tokens":99}"#,
        ),
        (
            Form::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":null,"stream":true}"#,
            Edits::default(),
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            Form::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
            Edits::default(),
            r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
        ),
    ] {
        assert_eq!(rewritten(form, body, &edits), expected);
    }
}

#[test]
fn what_is_not_metered_is_refused_with_a_reason() {
    for (form, body, part) in [
        (
            Form::Responses,
            json!({"model": "m", "input": "a", "background": true}),
            "background requests are not metered",
        ),
        (Form::Responses, json!({"model": "m", "prompt": {"id": "p"}}), "stored prompts are not metered"),
        (Form::Responses, json!({"input": "a"}), "the request does not say model"),
        (Form::Responses, json!({"model": "m"}), "the request does not say input"),
        (
            Form::Responses,
            json!({"model": "m", "input": "a", "max_output_tokens": -1}),
            "max_output_tokens must be a whole number",
        ),
        (Form::Chat, json!({"model": "m", "messages": []}), "the request does not say messages"),
        (
            Form::Chat,
            json!({"model": "m", "messages": [{}], "n": 0}),
            "n must be a whole number from 1 to 128",
        ),
        (
            Form::Chat,
            json!({"model": "m", "messages": [{}], "prediction": {}}),
            "`prediction` is billed beyond",
        ),
        (
            Form::Chat,
            json!({"model": "m", "messages": [{}], "modalities": ["text", "audio"]}),
            "answers that are no text",
        ),
    ] {
        let problem = Request::parse(form, "/v1/x", body.to_string().into()).expect_err(part);
        let (Problem::Invalid(text) | Problem::Denied(text)) = problem else { panic!("{problem:?}") };
        assert!(text.contains(part), "{text}");
    }
    let twice = r#"{"model":"m","input":"a","model":"n"}"#;
    assert!(matches!(Request::parse(Form::Responses, "/", twice.into()), Err(Problem::Invalid(_))));
}

#[test]
fn tools_and_shapes_are_told_apart() {
    let tools = json!([
        {"type": "function", "name": "f"}, {"type": "custom"}, {"type": "local_shell"}, {"type": "web_search"},
        {"type": "shell", "environment": {"type": "local"}}, {"type": "mcp"}, {"type": "image_generation"},
    ]);
    let body = json!({"model": "m", "input": "a", "tools": tools, "odd": 1});
    let request = request(Form::Responses, &body.to_string());
    assert_eq!(request.server_tools(), ["web_search", "mcp", "image_generation"]);
    assert_eq!(request.unknown_fields(), ["odd"]);
    assert!(request.check_tools().is_err(), "no answer tells what a picture costs");
    for (form, field, value, forced) in [
        (Form::Responses, "tool_choice", json!("auto"), false),
        (Form::Responses, "tool_choice", json!("required"), true),
        (Form::Responses, "tool_choice", json!({"type": "function", "name": "f"}), true),
        (
            Form::Responses,
            "tool_choice",
            json!({"type": "allowed_tools", "mode": "auto", "tools": []}),
            false,
        ),
        (Form::Responses, "text", json!({"format": {"type": "text"}, "verbosity": "low"}), false),
        (Form::Responses, "text", json!({"format": {"type": "json_schema"}}), true),
        (Form::Chat, "response_format", json!({"type": "json_object"}), true),
        (Form::Chat, "response_format", json!({"type": "text"}), false),
    ] {
        let mut body = json!({"model": "m", "input": "a", "messages": [{"role": "user", "content": "a"}]});
        body[field] = value.clone();
        let request = super::super::Request::parse(form, "/", body.to_string().into()).expect("a request");
        assert_eq!(request.forced_shape(), forced, "{field} {value}");
    }
}

#[test]
fn only_listed_paths_are_served() {
    let generate = |form| Some((form, Endpoint::Generate));
    for (method, path, expected) in [
        ("POST", "/v1/responses", generate(Form::Responses)),
        ("POST", "/v1/responses/input_tokens", Some((Form::Responses, Endpoint::Count))),
        ("POST", "/v1/chat/completions", generate(Form::Chat)),
        ("POST", "/openai/v1/responses?api-version=preview", generate(Form::Responses)),
        ("POST", "/openai/deployments/my-gpt/chat/completions?api-version=1", generate(Form::Chat)),
        ("GET", "/v1/models/gpt-5.5", Some((Form::Chat, Endpoint::Models))),
        ("GET", "/v1/responses/resp_1", None),
        ("POST", "/v1/responses/resp_1/cancel", None),
        ("POST", "/v1/batches", None),
        ("POST", "/v1/embeddings", None),
        ("POST", "/v1//responses", None),
        ("POST", "/openai/deployments/../chat/completions", None),
    ] {
        assert_eq!(endpoint(method, path), expected, "{method} {path}");
    }
    let deployed = Request::parse(
        Form::Chat,
        "/openai/deployments/gpt-5.5/chat/completions?api-version=1",
        r#"{"messages":[{"role":"user","content":"x"}]}"#.into(),
    );
    assert_eq!(deployed.expect("a request").model().as_str(), "gpt-5.5");
}

#[test]
fn a_deployment_in_the_path_decides_what_is_served_and_is_what_another_model_replaces() {
    let path = "/openai/deployments/gpt-6-astra/chat/completions?api-version=1";
    let edits = Edits { model: Some("gpt-6-sol".into()), ..Edits::default() };
    let limits = |_: &crate::model::ModelId| crate::model::Limits {
        window: 1_000,
        output: 100,
        thinking: crate::model::Thinking::Adaptive,
        image: 1,
    };
    for (model, rewritten) in [
        ("", r#"{"messages":[{"role":"user","content":"x"}],"service_tier":"default"}"#),
        (
            r#","model":"gpt-6-luna""#,
            r#"{"messages":[{"role":"user","content":"x"}],"model":"gpt-6-sol","service_tier":"default"}"#,
        ),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}]{model}}}"#);
        let request = Request::parse(Form::Chat, path, body.into()).expect("a request");
        let request = super::super::super::Request::OpenAi(request);
        let bound = super::super::super::InputBound::Bytes;
        let line = request.ceiling(&Edits::default(), &limits, bound).lines[0].clone();
        assert_eq!(line.model.as_str(), "gpt-6-astra", "whatever the body says");
        assert_eq!(request.path(path, &Edits::default()), path);
        assert_eq!(
            request.path(path, &edits),
            "/openai/deployments/gpt-6-sol/chat/completions?api-version=1"
        );
        assert_eq!(request.rewrite(&edits), rewritten);
    }
    let plain = super::super::super::Request::OpenAi(request(Form::Chat, r#"{"model":"m","messages":[{}]}"#));
    assert_eq!(plain.path("/v1/chat/completions", &edits), "/v1/chat/completions");
}

#[test]
fn a_stop_is_a_finished_turn_and_a_problem_has_the_apis_shape() {
    for stream in [true, false] {
        for (form, body) in [
            (Form::Responses, json!({"model": "m", "input": "a", "stream": stream})),
            (
                Form::Chat,
                json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": stream, "stream_options": {"include_usage": true}}),
            ),
        ] {
            let request = request(form, &body.to_string());
            let answer = super::super::say_stop(&request, "The cap.\n\"Done\"", "1");
            let mut reader =
                super::super::Reader::new(&request, &Edits::default(), crate::tokens::Region::Global);
            reader.feed(&answer.body);
            let super::super::super::Reading::Exact(usage) = reader.end(200) else {
                panic!("{form:?} {stream}")
            };
            assert_eq!((usage.counts().input, usage.counts().output), (1, 1));
            assert_eq!(reader.text_tail(), "The cap.\n\"Done\"");
        }
    }
    let cap = Problem::CapReached("the cap".to_owned());
    for (api, status) in [(Api::OpenAiResponses, 400), (Api::OpenAiChat, 404)] {
        let answer = api.say(&cap);
        assert_eq!((answer.status, answer.final_word), (status, true));
        assert_eq!(
            answer.body,
            r#"{"error":{"message":"the cap","type":"invalid_request_error","param":null,"code":"cost_cap_reached"}}"#
        );
    }
    assert_eq!(
        Api::Gemini.say(&cap).body,
        r#"{"error":{"code":400,"message":"the cap","status":"FAILED_PRECONDITION"}}"#
    );
}
