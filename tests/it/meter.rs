//! What the meter does besides keeping to the cap: it lands the agent softly, keeps the key, keeps a
//! journal, routes and refuses. `meter_scenarios` has the cap under load.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use tollgate::meter::journal::recover;
use tollgate::meter::{Allowance, Config, Policy};
use tollgate::model::ModelId;
use tollgate::money::Usd;
use tollgate::simulate::Fault;

use crate::meter_rig::{
    Client, KEY, Provider, body, config, finish, policy, run, says, searches, searching, start, ways, with,
};

#[test]
fn an_overloaded_provider_bills_nothing_and_nothing_is_counted() {
    run(async {
        let overloaded = Fault::Status { status: 529, retry_after: None };
        let script = says(200).failing(move |n| if n % 2 == 0 { overloaded.clone() } else { Fault::None });
        let provider = Provider::start(script).await;
        let meter = start(config(&provider, "0.1")).await;
        Client::of(&meter).work(body(400, 1_000).to_string()).await;
        let ended = finish("an overloaded provider", meter, &provider, "0.1").await;
        assert!(ended.witness.bills.len() < ended.totals.requests as usize);
        assert!(ended.share >= 9_500, "{}", ended.share);
    });
}

#[test]
fn searches_are_counted_and_refused_where_the_budget_says_so() {
    run(async {
        let search = searching(body(400, 1_000)).to_string();
        let provider = Provider::start(searches(3)).await;
        let meter = start(config(&provider, "40")).await;
        let got = Client::of(&meter).post(&search).await;
        assert_eq!((got.status, got.stopped(), provider.witness().requests), (403, true, 0), "{got:?}");
        drop(meter);
        let policy = Policy { deny_server_tools: false, ..policy() };
        let meter = start(Config { policy, ..config(&provider, "40") }).await;
        for _ in 0..3 {
            assert!(!Client::of(&meter).post(&search).await.stopped());
        }
        let ended = finish("searches", meter, &provider, "40").await;
        assert_eq!(ended.totals.web_searches, 9);
    });
}

#[test]
fn a_request_without_an_output_cap_is_given_the_runs_own() {
    run(async {
        let chat = json!({ "model": "gpt-6-luna", "messages": [{ "role": "user", "content": "a" }] });
        let post = "POST /v1/chat/completions";
        for (enforce, output_default, asked, sent) in [
            (true, Some(2_000), None, 2_000),
            (true, Some(2_000), Some(5_000), 5_000),
            (true, None, None, 128_000),
            // One that only observes gives what the model would.
            (false, Some(2_000), None, 128_000),
        ] {
            let provider = Provider::start(says(200)).await;
            let policy = Policy { enforce, ..policy() };
            let meter = start(Config { policy, output_default, ..config(&provider, "1") }).await;
            let body = match asked {
                Some(cap) => with(chat.clone(), "max_completion_tokens", json!(cap)),
                None => chat.clone(),
            };
            let got = Client::of(&meter).at(post).post(&body.to_string()).await;
            assert_eq!((got.status, got.stopped()), (200, false), "{got:?}");
            let body: Value = serde_json::from_slice(&provider.witness().bodies[0]).expect("JSON");
            assert_eq!(body["max_completion_tokens"], sent, "{enforce} {output_default:?} {asked:?}");
        }
    });
}

#[test]
fn a_side_call_leaves_the_landing_to_the_main_thread() {
    run(async {
        let provider = Provider::start(says(400)).await;
        let routed = Some(ModelId::new("gpt-6.1-sol").into());
        let meter = start(Config { routed, ..config(&provider, "0.05") }).await;
        let client = Client::of(&meter).at("POST /v1/responses");
        let ask = |model: &str| json!({ "model": model, "input": "a", "max_output_tokens": 400 }).to_string();
        // Until it is stopped, a title, a sub-agent or a router asks for another model.
        let mut main = client.post(&ask("gpt-6.1-sol")).await;
        assert!(!main.stopped(), "{main:?}");
        let mut sides = 0;
        loop {
            let side = client.post(&ask("gpt-6.1-terra")).await;
            if side.stopped() {
                break;
            }
            sides += 1;
            assert!(sides < 200, "nobody stops it");
        }
        main = client.post(&ask("gpt-6.1-sol")).await;
        assert!(!main.stopped(), "the last answer is the main thread's: {main:?}");
        let last = provider.witness().bodies.last().cloned().expect("a request");
        assert!(String::from_utf8_lossy(&last).contains("This is the last answer"), "{last:?}");
        finish("side calls", meter, &provider, "0.05").await;
    });
}

#[test]
fn a_provider_that_cannot_be_reached_costs_nothing() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let nobody = format!("http://{}", port.local_addr().expect("an address"));
        drop(port);
        let config = Config { ways: ways(&nobody), ..config(&provider, "0.1") };
        let meter = start(config).await;
        let got = Client::of(&meter).post(&body(40, 100).to_string()).await;
        assert_eq!((got.status, got.stopped()), (502, true), "{got:?}");
        let totals = meter.drain(Duration::from_secs(1)).await;
        assert_eq!((totals.settled, totals.requests), (Usd::ZERO, 0));
    });
}

#[test]
fn the_agent_is_steered_called_last_and_stopped_in_its_own_language() {
    run(async {
        let provider = Provider::start(says(400)).await;
        let meter = start(config(&provider, "0.05")).await;
        let client = Client::of(&meter);
        let text = body(400, 400).to_string();
        let mut last = client.post(&text).await;
        while !last.stopped() {
            last = client.post(&text).await;
        }
        assert_eq!(last.status, 200);
        assert!(last.head.contains("text/event-stream"), "{}", last.head);
        assert!(last.head.contains("x-should-retry: false"), "{}", last.head);
        assert!(last.body.contains("Stopped at the cost cap: this run has used $0.0"), "{}", last.body);
        let bodies = provider.witness().bodies;
        let bodies: Vec<_> = bodies.iter().map(|body| String::from_utf8_lossy(body)).collect();
        let saying = |words: &str| bodies.iter().filter(|body| body.contains(words)).count();
        assert_eq!((saying("Wrap up now"), saying("This is the last answer")), (1, 1));
        assert!(bodies.last().expect("one").contains("This is the last answer"));
        assert_eq!(bodies[0], text, "what need not change is not changed");
        // A forced shape cannot be answered in words.
        let mut forced = body(400, 400);
        forced["tools"] = json!([{ "name": "t", "input_schema": { "type": "object" } }]);
        forced["tool_choice"] = json!({ "type": "tool", "name": "t" });
        let got = client.post(&forced.to_string()).await;
        assert!(got.stopped() && got.status >= 400, "{got:?}");
        assert!(got.head.contains("x-should-retry: false"), "{}", got.head);
        assert_eq!(meter.last_text().as_deref(), Some("Half of an answer."));
        let ended = finish("a whole landing", meter, &provider, "0.05").await;
        assert_eq!(ended.totals.stopped_requests, 2);
    });
}

#[test]
fn the_key_goes_up_and_the_token_does_not() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let meter = start(config(&provider, "1")).await;
        let client = Client::of(&meter);
        let extra =
            "cookie: a=b\r\nanthropic-beta: some-beta\r\nproxy-authorization: x\r\nforwarded: for=1\r\n";
        assert_eq!(client.post_with(extra, &body(40, 100).to_string()).await.status, 200);
        let got = client.send("GET /v1/models", "", "").await;
        assert_eq!(got.status, 200);
        assert!(got.body.contains(r#""id":"claude-sonnet-5-5""#), "{}", got.body);
        let heads = provider.witness().heads;
        assert_eq!(heads.len(), 2);
        for head in &heads {
            assert_eq!(head["x-api-key"], KEY);
            assert_eq!(head["accept-encoding"], "identity");
            assert!(head.values().all(|value| !value.to_str().expect("text").contains(&client.token)));
            for gone in ["cookie", "proxy-authorization", "forwarded", "authorization"] {
                assert!(!head.contains_key(gone), "{gone}");
            }
        }
        assert_eq!(heads[0]["anthropic-beta"], "some-beta");
    });
}

#[test]
fn a_beta_that_is_not_known_is_let_through_and_noted_once() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let meter = start(config(&provider, "1")).await;
        let client = Client::of(&meter);
        for _ in 0..2 {
            let extra = "anthropic-beta: claude-code-20250219,one-day-2031-01-01\r\n";
            assert_eq!(client.post_with(extra, &body(40, 100).to_string()).await.status, 200);
        }
        // Bedrock is told of them in the body.
        let cloud = json!({
            "anthropic_version": "bedrock-2023-05-31", "max_tokens": 100,
            "anthropic_beta": ["claude-code-20250219", "two-days-2031-01-02"],
            "messages": [{ "role": "user", "content": "hello" }],
        });
        client.at("POST /model/us.anthropic.claude-opus-5-5/invoke").post(&cloud.to_string()).await;
        let totals = meter.drain(Duration::from_secs(2)).await;
        let note = |beta: &str| format!("the beta `{beta}` is not known to this version; it was let through");
        assert_eq!(totals.notes, [note("one-day-2031-01-01"), note("two-days-2031-01-02")]);
        assert_eq!(provider.witness().heads[1]["anthropic-beta"], "claude-code-20250219,one-day-2031-01-01");
    });
}

#[test]
fn waiting_clients_that_leave_make_way() {
    run(async {
        // The first answer takes its time; the second client waits for it and leaves; the third gets in.
        let provider = Provider::start(says(200)).await;
        let meter = start(config(&provider, "0.012")).await;
        let client = Client::of(&meter);
        let text = body(40, 1_000).to_string();
        let mut gone = Vec::new();
        for _ in 0..8 {
            gone.push(client.open(&text).await);
        }
        drop(gone);
        client.work(text).await;
        finish("clients that leave the queue", meter, &provider, "0.012").await;
    });
}

#[test]
fn an_answer_that_is_no_stream_is_read_too() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let meter = start(Config { journal: Some(path.clone()), ..config(&provider, "0.1") }).await;
        let plain = with(body(400, 1_000), "stream", json!(false));
        let client = Client::of(&meter);
        for _ in 0..3 {
            let got = client.post(&plain.to_string()).await;
            assert!(got.head.contains("content-length:"), "{}", got.head);
            assert_eq!(
                serde_json::from_str::<Value>(&got.body).expect("whole")["usage"]["output_tokens"],
                200
            );
        }
        // As if the process was killed here: the journal knows it all.
        let killed = recover(&std::fs::read(&path).expect("a journal")).expect("whole");
        assert_eq!(
            (killed.totals.settled.pico(), killed.in_flight, killed.ended),
            (provider.spent().pico(), 0, false)
        );
        let ended = finish("no streams", meter, &provider, "0.1").await;
        let journal = recover(&std::fs::read(&path).expect("a journal")).expect("whole");
        assert!(journal.ended);
        assert_eq!(journal.totals.by_model, ended.totals.by_model);
        assert_eq!(ended.totals.counts().output, 600);
    });
}

#[test]
fn observing_lets_everything_through_and_counts_it() {
    run(async {
        let provider = Provider::start(searches(2)).await;
        let observe = Policy { enforce: false, ..policy() };
        let meter = start(Config { policy: observe, ..config(&provider, "0.001") }).await;
        let mut search = body(400, 1_000);
        search["tools"] = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
        for _ in 0..3 {
            assert!(!Client::of(&meter).post(&search.to_string()).await.stopped());
        }
        let totals = meter.drain(Duration::from_secs(4)).await;
        assert_eq!((totals.settled.pico(), totals.stopped_requests), (provider.spent().pico(), 0));
    });
}

#[test]
fn new_tokens_cap_too_and_models_are_routed() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let allowance = Allowance { usd: Usd::from_dollars(100), fresh_tokens: Some(20_000) };
        let routed = Some(ModelId::new("claude-sonnet-5-5").into());
        let config = Config { allowance, routed, ..config(&provider, "100") };
        let dear = with(body(400, 1_000), "model", json!("claude-opus-5-5")).to_string();
        let meter = start(config).await;
        let mut loops = JoinSet::new();
        for _ in 0..5 {
            loops.spawn(Client::of(&meter).work(dear.clone()));
        }
        loops.join_all().await;
        let ended = finish("new tokens", meter, &provider, "100").await;
        let fresh = ended.witness.tokens().fresh();
        assert!((19_000..=20_000).contains(&fresh), "{fresh}");
        assert_eq!(ended.totals.notes, ["requests for `claude-opus-5-5` went to `claude-sonnet-5-5`"]);
        assert_eq!(
            ended.totals.by_model.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["claude-sonnet-5-5"]
        );
    });
}

#[test]
fn a_model_without_a_price_is_refused() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let meter = start(config(&provider, "1")).await;
        let unknown = with(body(40, 100), "model", json!("claude-opus-99"));
        let got = Client::of(&meter).post(&unknown.to_string()).await;
        assert_eq!((got.status, provider.witness().requests), (403, 0));
        assert!(
            got.body.contains(
                "the price table has no model `claude-opus-99`; the budget file says `unknown_model: deny`"
            ),
            "{}",
            got.body
        );
    });
}
