use serde_json::{Value, json};

use super::super::super::{Edits, InputBound, Problem};
use super::super::{Request, endpoint, parse_count, say_stop};
use crate::model::{Limits, ModelId, Thinking};
use crate::provider::Endpoint;

const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const LIMITS: Limits =
    Limits { window: 1_048_576, output: 65_536, thinking: Thinking::Adaptive, image: 2_240 };

fn request(body: &str) -> Request {
    Request::parse(PATH, body.to_owned().into()).expect(body)
}

#[test]
fn a_cap_goes_where_it_belongs_however_it_is_spelt() {
    let contents = r#""contents":[{"parts":[{"text":"a"}]}]"#;
    let capped = Edits { output_cap: Some(99), ..Edits::default() };
    let noted = Edits { note: Some("stop".to_owned()), ..Edits::default() };
    for (rest, edits, expected) in [
        ("", &capped, r#","generationConfig":{"maxOutputTokens":99}"#),
        (r#","generationConfig":{}"#, &capped, r#","generationConfig":{"maxOutputTokens":99}"#),
        (r#","generationConfig":null"#, &capped, r#","generationConfig":{"maxOutputTokens":99}"#),
        (
            r#","generation_config":{"topK":1}"#,
            &capped,
            r#","generation_config":{"topK":1,"maxOutputTokens":99}"#,
        ),
        (
            r#","generationConfig":{"max_output_tokens":500}"#,
            &capped,
            r#","generationConfig":{"max_output_tokens":99}"#,
        ),
        (
            r#","generationConfig":{"maxOutputTokens":50}"#,
            &capped,
            r#","generationConfig":{"maxOutputTokens":50}"#,
        ),
        (
            r#","generationConfig":{"maxOutputTokens":500,"thinkingConfig":{"thinkingBudget":400}}"#,
            &capped,
            r#","generationConfig":{"maxOutputTokens":99,"thinkingConfig":{"thinkingBudget":99}}"#,
        ),
    ] {
        let text = String::from_utf8(request(&format!("{{{contents}{rest}}}")).rewrite(edits).to_vec())
            .expect("UTF-8");
        assert_eq!(text, format!("{{{contents}{expected}}}"));
    }
    let text = request(&format!("{{{contents}}}")).rewrite(&noted);
    assert_eq!(text, r#"{"contents":[{"parts":[{"text":"a"}]},{"role":"user","parts":[{"text":"stop"}]}]}"#);
}

#[test]
fn another_model_is_asked_in_the_path_and_counted_there() {
    let request = request(
        r#"{"contents":[{"parts":[{"text":"a"}]}],"system_instruction":{"parts":[{"text":"s"}]},"safetySettings":[]}"#,
    );
    let edits = Edits { model: Some(ModelId::new("gemini-3.8-flash")), ..Edits::default() };
    assert_eq!(
        request.path("/v1beta/models/gemini-2.5-flash:generateContent?a=b", &edits),
        "/v1beta/models/gemini-3.8-flash:generateContent?a=b"
    );
    assert_eq!(request.count_path(&edits), "/v1beta/models/gemini-3.8-flash:countTokens");
    assert_eq!(
        request.count_body(&edits).expect("countable"),
        r#"{"generateContentRequest":{"model":"models/gemini-3.8-flash","contents":[{"parts":[{"text":"a"}]}],"systemInstruction":{"parts":[{"text":"s"}]}}}"#
    );
    assert_eq!(parse_count(br#"{"totalTokens":7,"x":1}"#), Some(7));
    assert_eq!(parse_count(br#"{"totalTokens":0}"#), None);
}

#[test]
fn what_is_not_metered_is_refused_with_a_reason() {
    for (body, part) in [
        (json!({}), "the request does not say contents"),
        (json!({"contents": [{}], "generationConfig": {"candidateCount": 9}}), "candidateCount must be"),
        (
            json!({"contents": [{}], "generationConfig": {"responseModalities": ["IMAGE"]}}),
            "answers that are no text",
        ),
        (
            json!({"contents": [{}], "generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 2}}),
            "the key \"maxOutputTokens\" is given twice",
        ),
    ] {
        let problem = Request::parse(PATH, body.to_string().into()).expect_err(part);
        let (Problem::Invalid(text) | Problem::Denied(text)) = problem else { panic!("{problem:?}") };
        assert!(text.contains(part), "{text}");
    }
    for (method, path, expected) in [
        ("POST", PATH, Some(Endpoint::Generate)),
        ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", Some(Endpoint::Generate)),
        ("POST", "/v1beta/models/m:countTokens", Some(Endpoint::Count)),
        ("GET", "/v1beta/models", Some(Endpoint::Models)),
        ("POST", "/v1beta/models/m:batchGenerateContent", None),
        ("POST", "/v1beta/cachedContents", None),
        ("POST", "/v1beta/models/../files:generateContent", None),
    ] {
        assert_eq!(endpoint(method, path), expected, "{method} {path}");
    }
}

#[test]
fn the_ceiling_takes_media_caches_and_tools_at_their_most() {
    let line = |body: Value| {
        let request = request(&body.to_string());
        (request.ceiling(&Edits::default(), &|_| LIMITS, InputBound::Bytes), request)
    };
    let parts = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
    let (plain, request) = line(parts(json!({"text": "a"})));
    assert_eq!(plain.lines[0].input, request.body().len() as u64 + 10 + 64);
    assert_eq!((plain.lines[0].output, plain.lines[0].choices), (65_536, 1));
    let image = parts(json!({"inlineData": {"mimeType": "image/png", "data": "A".repeat(90_000)}}));
    assert!(line(image).0.lines[0].input < 4_000);
    let (spoken, _) = line(parts(json!({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}})));
    assert!(spoken.lines[0].audio && spoken.lines[0].input == LIMITS.window);
    let (cached, request) = line(
        json!({"contents": [{}], "cachedContent": "c", "tools": [{"googleSearch": {}}, {"functionDeclarations": []}]}),
    );
    assert_eq!(
        (cached.lines[0].input, cached.lines[0].samplings, cached.web_searches),
        (LIMITS.window, 11, 100)
    );
    assert_eq!(request.server_tools(), ["googleSearch"]);
    assert_eq!(request.check_tools(), Ok(()));
    let (_, unknown) = line(json!({"contents": [{}], "tools": [{"googleMaps": {}}]}));
    let why = "the request offers `googleMaps`, whose cost no answer tells; leave it out".to_owned();
    assert_eq!(unknown.check_tools(), Err(Problem::Denied(why)));
    for (body, forced) in [
        (json!({"contents": [{}], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}), true),
        (json!({"contents": [{}], "tool_config": {"function_calling_config": {"mode": "AUTO"}}}), false),
        (json!({"contents": [{}], "generationConfig": {"responseMimeType": "application/json"}}), true),
    ] {
        assert_eq!(line(body.clone()).1.forced_shape(), forced, "{body}");
    }
}

#[test]
fn a_stop_is_a_finished_turn_in_each_form() {
    for path in
        [PATH, "/v1beta/models/m:streamGenerateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"]
    {
        let request = Request::parse(path, r#"{"contents":[{}]}"#.into()).expect("a request");
        let answer = say_stop(&request, "The cap.", "1");
        let mut reader =
            super::super::Reader::new(&request, &Edits::default(), crate::tokens::Region::Global);
        reader.feed(&answer.body);
        assert!(matches!(reader.end(200), super::super::super::Reading::Exact(_)), "{path}");
        assert_eq!(reader.text_tail(), "The cap.");
    }
}

#[test]
fn a_sub_agent_is_known_by_the_tool_it_ends_with() {
    let with = |name: &str| {
        let tools = format!(r#"[{{"functionDeclarations":[{{"name":"read_file"}},{{"name":"{name}"}}]}}]"#);
        request(&format!(r#"{{"contents":[{{"parts":[{{"text":"complete_task"}}]}}],"tools":{tools}}}"#))
    };
    assert!(with("complete_task").sub_agent_shape());
    let main = with("write_file");
    assert!(!main.sub_agent_shape() && main.offers_tools());
    assert!(!request(r#"{"contents":[{"parts":[{"text":"a"}]}]}"#).offers_tools());
}
