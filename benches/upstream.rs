//! What `scripts/bench` measures against: a provider that answers at once and does nothing else.
//!
//! `POST` with `"stream":true` in the body gets 106 events in one write, anything else one JSON object.
//! The usage is tiny, so that a cap never ends a measurement.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Text deltas between the first and the last events of a stream.
const DELTAS: usize = 101;

fn stream() -> Bytes {
    let mut out = String::new();
    let mut event = |name: &str, data: &str| {
        out.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    };
    event(
        "message_start",
        r#"{"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant","model":"claude-haiku-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":20,"output_tokens":1}}}"#,
    );
    event(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    );
    for _ in 0..DELTAS {
        event(
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" several words of an answer"}}"#,
        );
    }
    event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#);
    event(
        "message_delta",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":101}}"#,
    );
    event("message_stop", r#"{"type":"message_stop"}"#);
    Bytes::from(out)
}

fn message() -> Bytes {
    Bytes::from_static(
        br#"{"id":"msg_bench","type":"message","role":"assistant","model":"claude-haiku-5-5","content":[{"type":"text","text":"several words of an answer"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":20,"output_tokens":101}}"#,
    )
}

async fn answer(request: Request<Incoming>, stream: Bytes, message: Bytes) -> Response<Full<Bytes>> {
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let streaming = memchr::memmem::find(&body, br#""stream":true"#).is_some();
    let (kind, body) = if streaming { ("text/event-stream", stream) } else { ("application/json", message) };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let file = std::env::args().nth(1).unwrap_or_default();
    std::fs::write(file, address.port().to_string())?;
    let (stream, message) = (stream(), message());
    loop {
        let (socket, _) = listener.accept().await?;
        let (stream, message) = (stream.clone(), message.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (stream, message) = (stream.clone(), message.clone());
                async move { Ok::<_, Infallible>(answer(request, stream, message).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
