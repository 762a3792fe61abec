//! Requests that have no business at the meter, and what they get.

use crate::meter_rig::{Provider, body, config, raw, run, says, start};

fn request(line: &str, host: &str, more: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Name, bytes and expected status. `key` is the header line with the right token.
fn hostile(host: &str, key: &str, good: &str) -> Vec<(&'static str, String, u16)> {
    let wrong = format!("x-api-key: {}\r\n", "0".repeat(64));
    let post = "POST /v1/messages";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = good.replacen('{', r#"{"max_tokens":1,"#, 1);
    let port = host.rsplit_once(':').expect("a port").1.to_owned();
    vec![
        ("no token", request(post, host, "", good), 401),
        ("a wrong token", request(post, host, &wrong, good), 401),
        ("an empty token", request(post, host, "x-api-key: \r\n", good), 401),
        ("another host", request(post, "evil.test", key, good), 404),
        ("another host with our port", request(post, &format!("evil.test:{port}"), key, good), 404),
        ("another port", request(post, "127.0.0.1:1", key, good), 404),
        ("two hosts", request(post, host, &format!("host: evil.test\r\n{key}"), good), 404),
        ("a web page", request(post, host, &format!("origin: https://evil.test\r\n{key}"), good), 403),
        ("absolute form", request("POST http://169.254.169.254/v1/messages", host, key, good), 404),
        ("connect", request("CONNECT 169.254.169.254:80", host, key, ""), 404),
        ("a path not listed", request("POST /v1/files", host, key, good), 404),
        ("batches", request("POST /v1/messages/batches", host, key, good), 404),
        ("a path up", request("POST /v1/messages/../files", host, key, good), 404),
        ("an escaped path", request("POST /v1/%6dessages", host, key, good), 404),
        ("a doubled slash", request("POST //evil.test/v1/messages", host, key, good), 404),
        ("another method", request("PUT /v1/messages", host, key, good), 404),
        (
            "codex's web socket",
            request("GET /v1/responses", host, &format!("upgrade: websocket\r\n{key}"), ""),
            426,
        ),
        ("a web socket", request("GET /v1/messages", host, &format!("upgrade: websocket\r\n{key}"), ""), 426),
        ("deep json", request(post, host, key, &deep), 400),
        ("a key twice", request(post, host, key, &twice), 400),
        ("no json", request(post, host, key, "nonsense"), 400),
        ("compressed", request(post, host, &format!("content-encoding: gzip\r\n{key}"), good), 400),
        (
            "a body too large",
            format!("{post} HTTP/1.1\r\nhost: {host}\r\n{key}content-length: 99999999999\r\n\r\n"),
            413,
        ),
        (
            "a head too large",
            request(post, host, &format!("x-padding: {}\r\n{key}", "x".repeat(70_000)), good),
            413,
        ),
        (
            "a head far too large",
            request(post, host, &format!("x-padding: {}\r\n{key}", "x".repeat(300_000)), good),
            431,
        ),
        ("two lengths", request(post, host, &format!("content-length: 1\r\n{key}"), good), 400),
    ]
}

#[test]
fn hostile_requests_end_at_the_door() {
    run(async {
        let provider = Provider::start(says(20)).await;
        let meter = start(config(&provider, "1")).await;
        let (url, token) = (meter.url(), meter.token().to_owned());
        let host = url.trim_start_matches("http://").to_owned();
        let good = body(40, 100).to_string();
        let key = format!("x-api-key: {token}\r\n");
        for (what, bytes, status) in hostile(&host, &key, &good) {
            let got = raw(&url, bytes.as_bytes()).await;
            assert_eq!(got.status, status, "{what}: {got:?}");
        }
        assert_eq!(provider.witness().requests, 0, "nothing went out");
        let smuggled = format!("POST /v1/messages HTTP/1.1\r\nhost: {host}\r\nx-api-key: stolen\r\n\r\n");
        let chunked = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: {host}\r\n{key}anthropic-version: 2023-06-01\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n\r\n{smuggled}",
            good.len()
        );
        let got = raw(&url, chunked.as_bytes()).await;
        assert_eq!(got.status, 200, "one reading of it, and the connection is closed: {got:?}");
        assert!(!got.body.contains("HTTP/1.1"), "no second answer");
        assert_eq!(provider.witness().requests, 1);
        let root = raw(&url, request("HEAD /", &host, "", "").as_bytes()).await;
        assert_eq!((root.status, root.stopped()), (200, true));
    });
}
