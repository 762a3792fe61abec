//! `tollgate cost`, from a file to lines.

use std::io::Write as _;

use tollgate::commands::cost::{Args, Format, run};
use tollgate::exit::{self, Failure};
use tollgate::price::Table;

/// What the command says about some input: exit code, stdout, stderr with the path taken out.
fn cost(input: &str, format: Format) -> (u8, String, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(input.as_bytes()).expect("room for the input");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = Args { input: file.path().to_owned(), format };
    let code = run(&args, Table::embedded(), &mut out, &mut err).expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (code, text(out), text(err).replace(&file.path().display().to_string(), "FILE"))
}

fn line(input: &str) -> String {
    let (code, out, err) = cost(input, Format::Json);
    assert_eq!((code, err.as_str()), (0, ""), "{input}");
    out.trim_end().to_owned()
}

const TOKENS_7_9: &str = r#""tokens":{"input":7,"cache_write_5m":0,"cache_write_1h":0,"cache_read":0,"output":9,"web_search_requests":0}"#;

#[test]
fn one_line_in_one_line_out() {
    let input = r#"{"id":"a","api":"anthropic","model":"claude-opus-5-5","date":"2026-11-01","usage":{"input_tokens":7,"output_tokens":9}}"#;
    assert_eq!(line(input), format!(r#"{{"id":"a","usd":"0.000208",{TOKENS_7_9}}}"#));
}

#[test]
fn the_expected_amount_is_not_looked_at() {
    let input = r#"{"id":1,"provider":"anthropic","model":"claude-opus-5-5","expected_usd":"99","usage":{"input_tokens":7,"output_tokens":9}}"#;
    assert_eq!(line(input), format!(r#"{{"id":1,"usd":"0.000208",{TOKENS_7_9}}}"#));
}

#[test]
fn a_document_lists_cases_and_streams() {
    let input = r#"{
      "as_of": "2026-11-23",
      "cases": [
        {"id": "c", "api": "anthropic", "model": "claude-haiku-5-5", "usage": {"input_tokens": 7, "output_tokens": 9}}
      ],
      "streams": [
        {"id": "s", "api": "anthropic", "model": "claude-haiku-5-5", "events": [
          {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 2}}},
          {"type": "ping"},
          {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
          {"type": "message_stop"}
        ]}
      ]
    }"#;
    let expected = format!(
        "{{\"id\":\"c\",\"usd\":\"0.0000052\",{TOKENS_7_9}}}\n{{\"id\":\"s\",\"usd\":\"0.0000052\",{TOKENS_7_9}}}"
    );
    assert_eq!(line(input), expected);
}

#[test]
fn hints_of_the_request_fill_what_the_usage_leaves_open() {
    let tokens = r#""tokens":{"input":0,"cache_write_5m":0,"cache_write_1h":1000,"cache_read":0,"output":0,"web_search_requests":0}"#;
    let input = r#"{"id":"h","api":"anthropic","model":"claude-opus-5-5","request_context":{"system":[{"cache_control":{"ttl":"1h"}}],"speed":"fast","service_tier":"auto"},"usage":{"input_tokens":0,"cache_creation_input_tokens":1000,"output_tokens":0}}"#;
    assert_eq!(line(input), format!(r#"{{"id":"h","usd":"0.016",{tokens}}}"#));
}

#[test]
fn a_refusal_is_free_only_before_any_output() {
    let stream = |content: &str, output: u64| {
        format!(
            r#"{{"id":"r","model":"claude-opus-5-5","events":[{{"type":"message_start","message":{{"usage":{{"input_tokens":7,"output_tokens":0}}}}}},{content}{{"type":"message_delta","delta":{{"stop_reason":"refusal"}},"usage":{{"output_tokens":{output}}}}}]}}"#
        )
    };
    for (name, content, output, usd) in [
        ("nothing was said", "", 1, "\"0\""),
        ("a block was begun", r#"{"type":"content_block_start"},"#, 1, "\"0.000048\""),
        ("more than one token was counted", "", 9, "\"0.000208\""),
    ] {
        let answer = line(&stream(content, output));
        assert!(answer.contains(&format!(r#""usd":{usd},"#)), "{name}: {answer}");
    }
}

#[test]
fn what_has_no_price_says_why() {
    let item = |fields: &str| format!(r#"{{"id":"x","api":"anthropic","model":"claude-opus-5-5",{fields}}}"#);
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":9}}}"#;
    for (input, why) in [
        (item(r#""usage":null"#), r#""tokens":null,"why":"the usage is missing"}"#.to_owned()),
        (
            item(&format!(r#""events":[{start}]"#)),
            r#""tokens":null,"why":"the stream broke off before its final usage: its output is not known"}"#.to_owned(),
        ),
        (
            item(&format!(r#""events":[{start},{{"type":"error"}}]"#)),
            r#""tokens":null,"why":"the stream ended with an error before its final usage"}"#.to_owned(),
        ),
        (
            item(r#""usage":{"input_tokens":7,"output_tokens":-9}"#),
            r#""tokens":null,"why":"the usage field `output_tokens` is -9: expected a whole number, zero or more"}"#.to_owned(),
        ),
        (
            r#"{"id":"x","model":"claude-9","usage":{"input_tokens":7,"output_tokens":9}}"#.to_owned(),
            format!(r#"{TOKENS_7_9},"why":"the price table has no model `claude-9`"}}"#),
        ),
        (
            r#"{"id":"x","usage":{"input_tokens":7,"output_tokens":9}}"#.to_owned(),
            r#""tokens":null,"why":"the model is missing"}"#.to_owned(),
        ),
        (
            r#"{"id":"x","api":"telepathy","usage":{}}"#.to_owned(),
            r#""tokens":null,"why":"the API `telepathy` is not supported yet"}"#.to_owned(),
        ),
    ] {
        assert_eq!(line(&input), format!(r#"{{"id":"x","usd":null,{why}"#), "{input}");
    }
}

/// The dollars of one item, of a day on which no price changes.
fn usd(item: &str) -> String {
    let mut item: serde_json::Value = serde_json::from_str(item).expect(item);
    item["date"] = "2026-11-23".into();
    let answer: serde_json::Value = serde_json::from_str(&line(&item.to_string())).expect("JSON");
    answer["usd"].as_str().unwrap_or("null").to_owned()
}

#[test]
fn what_only_the_request_or_a_log_tells_is_counted() {
    let usage = r#""usage":{"input_tokens":1000,"output_tokens":0}"#;
    let openai = |model: &str, context: &str| {
        usd(&format!(r#"{{"api":"responses","model":"{model}","request_context":{context},{usage}}}"#))
    };
    for (model, context, expected) in [
        ("gpt-6.1-sol", r#"{"web_search_calls":2}"#, "0.022"),
        ("gpt-6.1-sol", r#"{"file_search_calls":[{},{}]}"#, "0.007"),
        ("gpt-6.1-sol", r#"{"containers":1}"#, "0.032"),
        ("gpt-6.1-sol", r#"{"tool_calls":{"web_search_call":1,"file_search_call":2}}"#, "0.017"),
        ("gpt-4.1", r#"{"web_search_calls":1,"tools":[{"type":"web_search_preview"}]}"#, "0.027"),
        ("gpt-5.5", r#"{"web_search_calls":1,"tools":["web_search_preview"]}"#, "0.015"),
        ("gpt-6.1-sol", r#"{"batch":true}"#, "0.001"),
        ("gpt-6.1-sol", r#"{"regional":true}"#, "0.0022"),
    ] {
        assert_eq!(openai(model, context), expected, "{model} {context}");
    }
    let deepseek = |context: &str| {
        usd(&format!(
            r#"{{"api":"other","provider":"deepseek","model":"deepseek-v4-pro","request_context":{context},"usage":{{"prompt_tokens":1000,"completion_tokens":0}}}}"#
        ))
    };
    for (context, expected) in [
        ("{}", "0.00132"),
        (r#"{"time":"02:00"}"#, "0.00132"),
        (r#"{"time":"05:30"}"#, "0.00066"),
        (r#"{"time":"2026-11-22T02:00:00Z"}"#, "0.00066"),
        (r#"{"offpeak":true}"#, "0.00066"),
        (r#"{"peak":false}"#, "0.00066"),
    ] {
        assert_eq!(deepseek(context), expected, "{context}");
    }
    let gemini = r#"{"api":"gemini","model":"gemini-3.8-flash","request_context":{"grounding_queries":3},"usage":{"promptTokenCount":1000}}"#;
    assert_eq!(usd(gemini), "0.04275");
    let refused = r#"{"model":"claude-opus-5-5","request_context":{"stop_reason":"refusal","content":[]},"usage":{"input_tokens":106,"output_tokens":1}}"#;
    assert_eq!(usd(refused), "0");
    for (provider, model, context, expected) in [
        ("bedrock", "eu.anthropic.claude-opus-4-6-v1", "{}", "0.0055"),
        ("bedrock_mantle", "anthropic.claude-opus-4-6", "{}", "0.0055"),
        ("vertex", "claude-opus-4-6@20260205", r#"{"region":"europe-west1"}"#, "0.0055"),
        ("vertex", "claude-opus-4-6", r#"{"region":"global"}"#, "0.005"),
        ("foundry", "claude-opus-5-5-fast", "{}", "0.008"),
        ("foundry", "claude-opus-5-5", r#"{"data_zone":"us"}"#, "0.0044"),
    ] {
        let item =
            format!(r#"{{"provider":"{provider}","model":"{model}","request_context":{context},{usage}}}"#);
        assert_eq!(usd(&item), expected, "{item}");
    }
}

#[test]
fn an_answer_that_is_recorded_whole_is_priced_by_its_own_model_and_calls() {
    let output = r#"[{"type":"web_search_call"},{"type":"message"}]"#;
    let response = format!(
        r#"{{"model":"gpt-5.6-luna","service_tier":"priority","output":{output},"usage":{{"input_tokens":1000,"output_tokens":0,"input_tokens_details":{{"cached_tokens":0}}}}}}"#
    );
    assert_eq!(usd(&format!(r#"{{"model":"gpt-6-astra","response":{response}}}"#)), "0.0104");
    let grounded = r#"[{"groundingMetadata":{"webSearchQueries":["a","b"]}}]"#;
    let response = format!(
        r#"{{"modelVersion":"gemini-2.5-flash","candidates":{grounded},"usageMetadata":{{"promptTokenCount":1000}}}}"#
    );
    assert_eq!(usd(&format!(r#"{{"response":{response}}}"#)), "0.0353");
    let events = r#"[{"messageStart":{}},{"messageStop":{"stopReason":"end_turn"}},{"metadata":{"usage":{"inputTokens":1000,"outputTokens":0,"cacheReadInputTokens":1000,"cacheDetails":[{"ttl":"1h","inputTokens":100}],"cacheWriteInputTokens":100}}}]"#;
    let converse = |events: &str| {
        usd(&format!(
            r#"{{"api":"converse","model":"global.anthropic.claude-opus-4-6-v1","events":{events}}}"#
        ))
    };
    assert_eq!(
        (converse(events), converse(r#"[{"messageStart":{}}]"#)),
        ("0.0065".to_owned(), "null".to_owned())
    );
    // Of a stream whose end was recorded without its output, the items come one by one.
    let events = r#"[{"type":"response.output_item.done","item":{"type":"web_search_call"}},{"type":"response.completed","response":{"usage":{"input_tokens":1000,"output_tokens":0}}}]"#;
    assert_eq!(usd(&format!(r#"{{"api":"responses","model":"gpt-6.1-sol","events":{events}}}"#)), "0.012");
}

#[test]
fn an_amount_that_the_provider_says_is_believed_and_compared() {
    let item = |usage: &str| format!(r#"{{"id":"b","api":"chat","model":"x-ai/grok-4.6","usage":{usage}}}"#);
    let other = line(&item(r#"{"prompt_tokens":1000,"completion_tokens":0,"cost_in_usd_ticks":12300000}"#));
    assert!(other.contains(r#""usd":"0.00123""#), "{other}");
    assert!(
        other.ends_with(
            r#""notes":["the amount is the one that the provider says it charges","the price table makes it $0.0020"]}"#
        ),
        "{other}"
    );
    let same = line(&item(r#"{"prompt_tokens":1000,"completion_tokens":0,"cost":0.002}"#));
    assert!(
        same.ends_with(r#""notes":["the amount is the one that the provider says it charges"]}"#),
        "{same}"
    );
    let nothing = line(&item(r#"{"prompt_tokens":1000,"completion_tokens":0,"cost":0}"#));
    assert!(
        nothing.contains(r#""usd":"0.002""#),
        "a charge of nothing is no charge that was said: {nothing}"
    );
}

#[test]
fn a_line_that_is_no_json_is_told_apart_and_the_rest_is_priced() {
    let good = r#"{"id":"g","model":"claude-opus-5-5","usage":{"input_tokens":7,"output_tokens":9}}"#;
    let (code, out, err) = cost(&format!("{good}\n\nnonsense\n{good}\n"), Format::Json);
    assert_eq!((code, out.lines().count()), (2, 2));
    assert_eq!(err, "error: FILE: line 3: expected ident at line 1 column 2\n");
}

#[test]
fn text_is_for_people() {
    let input = r#"{"id":"g","model":"claude-opus-5-5","usage":{"input_tokens":7000,"output_tokens":9,"server_tool_use":{"web_search_requests":1}}}"#;
    let (_, out, _) = cost(input, Format::Text);
    let columns: Vec<&str> = out.split("  ").filter(|part| !part.is_empty()).map(str::trim).collect();
    assert_eq!(columns, ["g", "$0.03818", "in 7,000, cache written 0 read 0, out 9, web searches 1"]);
}

/// The simulated provider keeps rates and arithmetic of its own, so that it can witness against ours.
mod witness {
    use std::io::{Read as _, Write as _};

    use serde_json::{Value, json};
    use tollgate::model::ModelId;
    use tollgate::price::{Table, When};
    use tollgate::provider::anthropic::usage::Merge;
    use tollgate::simulate::{Answer, Fault, LIVE_MODELS, Provider, Reply, Script, live_rates};
    use tollgate::tokens::{Counts, Terms, Usage, UsageLine};

    const AS_OF: When = When::On(jiff::civil::Date::constant(2026, 11, 23));

    #[test]
    fn both_price_tables_say_the_same() {
        for model in LIVE_MODELS {
            for prompt in [1, 100_000, 100_001, 900_000] {
                let rates = live_rates(model, prompt).expect(model);
                let one = [
                    (Counts { input: prompt, ..Counts::default() }, rates.input),
                    (Counts { cache_read: prompt, ..Counts::default() }, rates.read),
                    (Counts { cache_write_1h: prompt, ..Counts::default() }, rates.input * 2),
                    (Counts { cache_write_5m: prompt, ..Counts::default() }, rates.input * 5 / 4),
                ];
                for (counts, rate) in one {
                    assert_eq!(priced(model, counts), rate * i128::from(prompt), "{model} {counts:?}");
                }
                let with = Counts { input: prompt, output: 1, ..Counts::default() };
                assert_eq!(priced(model, with) - priced(model, one[0].0), rates.output, "{model}");
            }
        }
    }

    fn priced(model: &str, counts: Counts) -> i128 {
        let line = UsageLine { model: model.into(), counts, terms: Terms::default(), beside_prompt: 0 };
        let usage = Usage { lines: vec![line], ..Usage::default() };
        Table::embedded().cost(&usage, AS_OF).expect(model).usd.pico()
    }

    #[test]
    fn what_a_response_says_costs_what_the_provider_charges() {
        let plain = |answer: Answer| move |_: &tollgate::simulate::Seen<'_>| Reply::from(answer.clone());
        let mark = |ttl: &str| json!([{ "type": "text", "text": "s".repeat(4_000), "cache_control": { "type": "ephemeral", "ttl": ttl } }]);
        let long = json!([{ "role": "user", "content": "w".repeat(400_004) }]);
        let answer = || Answer::text("ok").of_tokens(77);
        let hour_writes = |_: &tollgate::simulate::Seen<'_>| Reply {
            fault: Fault::HourWrites,
            ..Answer::text("ok").into()
        };
        for (name, model, field, value, script) in [
            ("plain", "claude-opus-5-5", "speed", json!("standard"), Script::new(plain(answer()))),
            ("fast", "claude-fable-5-2", "speed", json!("fast"), Script::new(plain(answer()))),
            ("asked to be fast", "claude-opus-4-6", "speed", json!("fast"), Script::new(plain(answer()))),
            ("us", "claude-sonnet-5-5", "inference_geo", json!("us"), Script::new(plain(answer()))),
            ("5 minutes", "claude-haiku-4-5", "system", mark("5m"), Script::new(plain(answer()))),
            ("1 hour", "claude-haiku-5-5", "system", mark("1h"), Script::new(plain(answer()))),
            ("an hour nobody asked for", "claude-opus-5", "system", mark("5m"), Script::new(hour_writes)),
            ("the long band", "claude-haiku-5-5", "messages", long.clone(), Script::new(plain(answer()))),
            (
                "searches and samplings",
                "claude-haiku-5-5",
                "messages",
                long,
                Script::new(plain(Answer { web_searches: 3, samplings: 4, ..answer() })),
            ),
        ] {
            for stream in [true, false] {
                let mut body = json!({
                    "model": model, "max_tokens": 100, "stream": stream,
                    "messages": [{ "role": "user", "content": "What is this?" }],
                });
                body[field] = value.clone();
                let (text, charged) = served(script.clone(), &body);
                let usage = read(model, &text, stream);
                let cost = Table::embedded().cost(&usage, AS_OF).expect(name);
                assert_eq!(cost.usd, charged, "{name}: {text}");
            }
        }
    }

    /// The body of one answer, and what the provider charges for it.
    fn served(script: Script, body: &Value) -> (String, tollgate::money::Usd) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let provider = Provider::new(script);
            let witness = provider.witness();
            let body = body.to_string();
            let client = tokio::task::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(address).expect("a connection");
                let head = "POST /v1/messages HTTP/1.0\r\nx-api-key: k\r\nanthropic-version: 2023-06-01";
                write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("sent");
                let mut text = String::new();
                stream.read_to_string(&mut text).expect("an answer");
                text
            });
            let (done, stop) = tokio::sync::oneshot::channel::<()>();
            let serving = tokio::spawn(provider.serve(listener, async { drop(stop.await) }));
            let text = client.await.expect("a client");
            drop(done);
            serving.await.expect("a provider");
            let witness = witness.snapshot();
            assert_eq!(witness.violations, Vec::<String>::new());
            (text, witness.usd)
        })
    }

    /// The usage that an answer says.
    fn read(model: &str, text: &str, stream: bool) -> Usage {
        let mut merge = Merge::new(&ModelId::new(model), false);
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        let objects: Vec<Value> = if stream {
            body.lines().filter_map(|line| line.strip_prefix("data: ")).map(json_of).collect()
        } else {
            vec![json_of(body)]
        };
        for object in &objects {
            for usage in [&object["usage"], &object["message"]["usage"]] {
                if !usage.is_null() {
                    merge.take(usage).expect("a usage");
                }
            }
        }
        merge.finish(false).expect("a usage")
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }
}

#[test]
fn a_file_that_is_not_there_is_wrong_usage() {
    let args = Args { input: "no/such/file".into(), format: Format::Json };
    let error =
        run(&args, Table::embedded(), &mut Vec::new(), &mut Vec::new()).expect_err("there is no such file");
    let failure = error.downcast::<Failure>().expect("a person can mend it");
    assert_eq!(failure.code, exit::USAGE);
    assert_eq!(failure.message, "cannot read no/such/file: No such file or directory (os error 2)");
}
