use super::*;

fn parse(body: &str) -> Result<Request, Problem> {
    Request::parse(Bytes::copy_from_slice(body.as_bytes()))
}

/// A small request with `more` top-level fields.
fn with(more: &str) -> String {
    format!(
        r#"{{"model":"claude-sonnet-5-5","max_tokens":100,"messages":[{{"role":"user","content":"hi"}}]{more}}}"#
    )
}

#[test]
fn what_cannot_be_bounded_is_refused_in_words() {
    let invalid = |text: &str| Problem::Invalid(text.to_owned());
    let denied = |text: &str| Problem::Denied(text.to_owned());
    for (body, problem) in [
        ("[]".to_owned(), invalid("the body must be a JSON object")),
        (
            r#"{"max_tokens":1,"messages":[{}]}"#.to_owned(),
            invalid("the request does not say model, a string such as \"claude-sonnet-5-5\""),
        ),
        (
            r#"{"model":"m","messages":[{}]}"#.to_owned(),
            invalid("the request does not say max_tokens, a whole number of tokens"),
        ),
        (
            r#"{"model":"m","max_tokens":1}"#.to_owned(),
            invalid("the request does not say messages, an array with a message at least"),
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[]}"#.to_owned(),
            invalid("the request does not say messages, an array with a message at least"),
        ),
        (r#"{"model":"m","messages":{}}"#.to_owned(), invalid("messages must be an array of messages")),
        (
            r#"{"model":"m","messages":["hi"]}"#.to_owned(),
            invalid("each of messages must be an object with a role and content"),
        ),
        (r#"{"model":null}"#.to_owned(), invalid("model must be a string such as \"claude-sonnet-5-5\"")),
        (with(r#","stream":1"#), invalid("stream must be true or false")),
        (with(r#","speed":2"#), invalid("speed must be a string")),
        (with(r#","tools":[1]"#), invalid("each of tools must be an object")),
        (
            with(r#","fallbacks":[{}]"#),
            invalid("fallbacks must be an array of objects, each with the model it names"),
        ),
        (
            with(r#","m\u0061x_tokens":100000"#),
            invalid(
                "the key \"max_tokens\" is given twice in the object that ends at byte 115; send it once",
            ),
        ),
        (with(r#","background":true"#), denied("background requests are not metered; leave background out")),
        (
            with(r#","requests":[]"#),
            denied("batch requests are not metered; send each of requests by itself"),
        ),
        (with(r#","service_tier":"batch""#), denied("batch requests are not metered; send it as a message")),
    ] {
        assert_eq!(parse(&body).map(drop), Err(problem), "{body}");
    }
    for cap in ["-1", "1.5", "1e3", "\"64\"", "null", "99999999999999999999"] {
        let body = format!(r#"{{"model":"m","max_tokens":{cap},"messages":[]}}"#);
        let problem = invalid("max_tokens must be a whole number of tokens, such as 4096");
        assert_eq!(parse(&body).map(drop), Err(problem), "{cap}");
    }
}

#[test]
fn the_few_values_are_found_however_they_are_written() {
    let body = "\n{ \"mess\\u0061ges\" : [ {\"role\":\"user\",\"content\":\"hi\"} ] , \"max_tokens\"\t: 0,
        \"stream\" : true, \"\\u006dodel\":\"claude-\\u0073onnet-5-5\" }\n";
    let request = parse(body).expect(body);
    assert_eq!(request.model().as_str(), "claude-sonnet-5-5");
    assert_eq!(request.output_cap(), 0, "a cache is warmed");
    assert!(request.stream());
    assert!(request.can_take_note());
    assert_eq!(request.unknown_fields(), [""; 0]);
}

#[test]
fn shapes_that_a_text_would_break_are_told() {
    for (more, forced) in [
        ("", false),
        (r#","tool_choice":{"type":"auto"}"#, false),
        (r#","tool_choice":{"type":"none"}"#, false),
        (r#","tool_choice":null"#, false),
        (r#","tool_choice":{"type":"any"}"#, true),
        (r#","tool_choice":{"name":"x","type":"tool"}"#, true),
        (r#","tool_choice":{"type":"one_day"}"#, true),
        (r#","output_config":{"effort":"high"}"#, false),
        (r#","output_config":{"effort":"high","format":null}"#, false),
        (r#","output_config":{"format":{"type":"json_schema","schema":{}}}"#, true),
        (r#","output_format":{"type":"json_schema"}"#, true),
        (r#","output_format":null"#, false),
    ] {
        assert_eq!(parse(&with(more)).expect(more).forced_shape(), forced, "{more}");
    }
}

#[test]
fn a_note_goes_after_what_the_user_said_last() {
    for (messages, takes) in [
        (r#"{"role":"user","content":"hi"}"#, true),
        (r#"{"content":[{"type":"text","text":"hi"}],"role":"user"}"#, true),
        (r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}"#, true),
        (r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"x"}}]}"#, true),
        (r#"{"role":"user","content":"hi"},{"role":"assistant","content":"{"}"#, false),
        (r#"{"role":"user","content":"hi"},{"role":"system","content":"x"}"#, true),
        (
            r#"{"role":"user","content":"hi"},{"role":"assistant","content":"a"},{"role":"system","content":"x"}"#,
            false,
        ),
        (r#"{"role":"user","content":[]}"#, false),
        (r#"{"role":"user","content":null}"#, false),
        (r#"{"role":"user"}"#, false),
        (r#"{"role":"user","content":[{"type":"one_day"}]}"#, false),
        (r#"{"role":"user","content":[{"type":"text","text":"a"},"b"]}"#, false),
    ] {
        let body = format!(r#"{{"model":"m","max_tokens":1,"messages":[{messages}]}}"#);
        assert_eq!(parse(&body).expect(&body).can_take_note(), takes, "{messages}");
    }
}

#[test]
fn tools_of_the_provider_are_told_from_those_of_the_client() {
    for (more, tools) in [
        (r#","tools":[{"name":"Bash","input_schema":{"type":"web_search_20250305"}}]"#, vec![]),
        (r#","tools":[{"type":"custom","name":"a"},{"type":"bash_20250124","name":"bash"}]"#, vec![]),
        (r#","tools":[{"type":"memory_20250818"},{"type":"text_editor_20250728"}]"#, vec![]),
        (r#","tools":[{"type":null,"name":"a"}]"#, vec![]),
        (r#","tools":[{"type":"web_search_20260209"}]"#, vec!["web_search_20260209"]),
        (r#","tools":[{"type":"web\u005ffetch_1"}]"#, vec!["web_fetch_1"]),
        (r#","tools":[{"type":"one_day_20290101"}]"#, vec!["one_day_20290101"]),
        (r#","mcp_servers":[],"tools":[]"#, vec![]),
        (r#","mcp_servers":null"#, vec![]),
        (
            r#","mcp_servers":[{"type":"url","url":"x"}],"tools":[{"type":"code_execution_1"}]"#,
            vec!["code_execution_1", "mcp_servers"],
        ),
    ] {
        assert_eq!(parse(&with(more)).expect(more).server_tools(), tools, "{more}");
    }
}

#[test]
fn what_is_new_is_let_through_and_said() {
    let request = parse(
        r#"{"model":"m","max_tokens":1,"metadata":{},"one_day":{"a":1},"messages":[
            {"role":"user","content":[{"type":"hologram"},{"type":"hologram"},{"type":"text","text":"a"}]}]}"#,
    );
    assert_eq!(request.expect("a request").unknown_fields(), ["one_day", "content type \"hologram\""]);
}

#[test]
fn only_listed_endpoints_are_known() {
    use crate::provider::Endpoint::{Count, Generate, Models};
    for (method, path, endpoint) in [
        ("POST", "/v1/messages", Some(Generate)),
        ("POST", "/v1/messages?beta=true", Some(Generate)),
        ("POST", "/v1/messages/count_tokens?beta=true", Some(Count)),
        ("GET", "/v1/models?limit=1000", Some(Models)),
        ("GET", "/v1/models/claude-opus-5-5", Some(Models)),
        ("GET", "/v1/messages", None),
        ("HEAD", "/", None),
        ("POST", "/v1/messages/", None),
        ("POST", "//v1/messages", None),
        ("POST", "/v1/messages/batches", None),
        ("GET", "/v1/messages/batches/b/results", None),
        ("POST", "/v1/files", None),
        ("GET", "/v1/models/", None),
        ("GET", "/v1/models/..", None),
        ("GET", "/v1/models/a/b", None),
        ("GET", "/v1/models/..%2ffiles", None),
        ("POST", "/v1/complete", None),
        ("post", "/v1/messages", None),
        ("POST", "http://elsewhere/v1/messages", None),
    ] {
        assert_eq!(super::super::endpoint(method, path), endpoint, "{method} {path}");
    }
}

#[test]
fn betas_in_a_body_are_read_as_those_in_a_header_are() {
    for (value, unknown) in [
        (r#"["claude-code-20250219","one","two, three"]"#, &["one", "two", "three"][..]),
        (r#""one,claude-code-20250219""#, &["one"]),
        ("null", &[]),
        (r#"[7,{"a":["one"]}]"#, &[]),
    ] {
        let body = format!(
            r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"a"}}],"anthropic_beta":{value}}}"#
        );
        let request = Request::parse(body.into()).expect("a request");
        assert_eq!(request.unknown_betas(), unknown, "{value}");
        assert!(request.unknown_fields().is_empty());
    }
    let many: Vec<String> = (0..100).map(|n| format!("\"beta-{n}\"")).collect();
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"a"}}],"anthropic_beta":[{}]}}"#,
        many.join(",")
    );
    assert_eq!(Request::parse(body.into()).expect("a request").unknown_betas().len(), 16);
}
