//! What `scripts/bench` measures against: a provider that answers at once and does nothing else.
//!
//! `POST` with `"stream":true` in the body gets 106 events at once, each a chunk of its own as providers
//! send them, anything else one JSON object.
//! The usage is tiny, so that a cap never ends a measurement.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Text deltas between the first and the last events of a stream.
const DELTAS: usize = 101;

/// The answers, written out whole: what comes before a measurement must not be measured.
#[derive(Clone)]
struct Answers {
    stream: Bytes,
    message: Bytes,
}

fn stream() -> Bytes {
    let mut out = String::from(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let mut event = |name: &str, data: &str| {
        let event = format!("event: {name}\ndata: {data}\n\n");
        out.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
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
    out.push_str("0\r\n\r\n");
    Bytes::from(out)
}

fn message() -> Bytes {
    let body = r#"{"id":"msg_bench","type":"message","role":"assistant","model":"claude-haiku-5-5","content":[{"type":"text","text":"several words of an answer"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":20,"output_tokens":101}}"#;
    Bytes::from(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Answers one request after another, as little as HTTP allows: bodies must have a `content-length`.
async fn connection(mut socket: TcpStream, answers: Answers) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        let Some(head) = memmem::find(&buffer, b"\r\n\r\n").map(|at| at + 4) else {
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let length = body_length(&buffer[..head]);
        while buffer.len() < head + length {
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let request = buffer.split_to(head + length);
        let streaming = memmem::find(&request, br#""stream":true"#).is_some();
        socket.write_all(if streaming { &answers.stream } else { &answers.message }).await?;
    }
}

fn body_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let file = std::env::args().nth(1).unwrap_or_default();
    std::fs::write(file, address.port().to_string())?;
    let answers = Answers { stream: stream(), message: message() };
    loop {
        let (socket, _) = listener.accept().await?;
        let answers = answers.clone();
        tokio::spawn(async move { drop(connection(socket, answers).await) });
    }
}
