//! The simulated provider's doors for Claude on Google Vertex and Amazon Bedrock.
//!
//! Both serve what the Messages API does, at their own addresses, prices and manners. Vertex wants the bearer
//! [`VERTEX_TOKEN`]; Bedrock a signature by [`ACCESS_KEY`] and [`SECRET_KEY`], which is worked out here anew from
//! AWS's description of Signature Version 4, or the bearer [`BEDROCK_TOKEN`]. Written apart from `meter` and
//! `provider` on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::request::Parts;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::rates::LIVE_MODELS;
use crate::id::hex;
use crate::money::Usd;

/// The access token that Vertex takes.
pub const VERTEX_TOKEN: &str = "ya29.simulated-access-token";
/// The key id that Bedrock knows.
pub const ACCESS_KEY: &str = "AKIASIMULATED0000000";
/// Its secret.
pub const SECRET_KEY: &str = "simulated/secret+key/of/an/account/0123456";
/// The session that the key belongs to.
pub const SESSION_TOKEN: &str = "simulated//session==token";
/// The bearer that Bedrock takes instead of a signature.
pub const BEDROCK_TOKEN: &str = "bedrock-api-key-simulated";
/// How far a signature's time may be off, in seconds: five minutes, as with AWS.
const SKEW_SECONDS: i64 = 5 * 60;

/// Which cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    Vertex,
    Bedrock,
}

/// What a request line asks of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) cloud: Cloud,
    /// The id of the model as the list of live models has it.
    model: String,
    pub(super) stream: bool,
    pub(super) count: bool,
    /// Tenths of the list price.
    tenths: i128,
}

type Refusal = (u16, String);

/// What a request line asks of a cloud, if it is one of theirs.
pub(super) fn asked(method: &Method, path: &str) -> Option<Asked> {
    if method != Method::POST {
        return None;
    }
    if let Some(rest) = path.strip_prefix("/model/") {
        let (id, verb) = rest.split_once('/')?;
        let id = id.replace("%3A", ":").replace("%2F", "/");
        let id = id.rsplit('/').next()?.to_owned();
        let tenths = match id.split("anthropic.").next()? {
            "global." => 10,
            "us-gov." => 12,
            _ => 11,
        };
        let count = verb == "count-tokens";
        // The count endpoint takes no inference profile.
        if !(count || verb.starts_with("invoke")) || count && !id.starts_with("anthropic.") {
            return None;
        }
        let stream = verb == "invoke-with-response-stream";
        return Some(Asked { cloud: Cloud::Bedrock, model: live(&id), stream, count, tenths });
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let ["v1", "projects", _, "locations", location, "publishers", "anthropic", "models", last] = parts[..]
    else {
        return None;
    };
    let (model, verb) = last.rsplit_once(':')?;
    let (stream, count) = (verb == "streamRawPredict", model == "count-tokens");
    let tenths = if location == "global" { 10 } else { 11 };
    (stream || verb == "rawPredict").then(|| Asked {
        cloud: Cloud::Vertex,
        model: live(model),
        stream,
        count,
        tenths,
    })
}

/// The live model whose name an id has in it, longest first; else the id.
fn live(id: &str) -> String {
    let found = LIVE_MODELS.into_iter().filter(|model| id.contains(*model)).max_by_key(|model| model.len());
    found.unwrap_or(id).to_owned()
}

impl Asked {
    /// Whether the request may be served; the body is as it came.
    pub(super) fn admits(&self, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let held =
            parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bearer = held.strip_prefix("Bearer ");
        match self.cloud {
            Cloud::Vertex if bearer == Some(VERTEX_TOKEN) => Ok(()),
            Cloud::Vertex => Err((401, "Request had invalid authentication credentials.".to_owned())),
            Cloud::Bedrock if bearer == Some(BEDROCK_TOKEN) => Ok(()),
            Cloud::Bedrock => signed(parts, held, body),
        }
    }

    /// The request as the Messages API would have it.
    pub(super) fn as_messages(&self, body: &Value) -> Result<Value, Refusal> {
        let mut body = body.clone();
        if self.count && self.cloud == Cloud::Bedrock {
            let text = body["input"]["invokeModel"]["body"].as_str().unwrap_or_default();
            let text =
                STANDARD.decode(text).map_err(|_| (400, "input.invokeModel.body: not base64".to_owned()))?;
            body = serde_json::from_slice(&text)
                .map_err(|_| (400, "input.invokeModel.body: not JSON".to_owned()))?;
        }
        let fields = body.as_object_mut().ok_or((400, "the body has to be a JSON object".to_owned()))?;
        let version = fields.shift_remove("anthropic_version");
        let wanted = match self.cloud {
            Cloud::Vertex => "vertex-2023-10-16",
            Cloud::Bedrock => "bedrock-2023-05-31",
        };
        if version != Some(json!(wanted)) {
            return Err((400, "anthropic_version: Field required".to_owned()));
        }
        fields.shift_remove("anthropic_beta");
        let named = fields.shift_remove("model");
        if named.is_some() != (self.count && self.cloud == Cloud::Vertex) {
            return Err((400, "model: Extra inputs are not permitted".to_owned()));
        }
        let streams = fields.shift_remove("stream");
        let (says, cloud) = (streams == Some(json!(true)), self.cloud);
        if cloud == Cloud::Bedrock && streams.is_some() || cloud == Cloud::Vertex && says != self.stream {
            return Err((400, "stream: Extra inputs are not permitted".to_owned()));
        }
        let model = named.as_ref().and_then(Value::as_str).map_or_else(|| self.model.clone(), live);
        fields.insert("model".to_owned(), json!(model));
        if self.stream {
            fields.insert("stream".to_owned(), json!(true));
        }
        if self.count {
            for field in ["max_tokens", "metadata", "stream"] {
                fields.shift_remove(field);
            }
        }
        Ok(body)
    }

    /// What is charged, of a list price.
    pub(super) fn charge(&self, list: Usd) -> Usd {
        Usd::from_pico(list.pico() / 10 * self.tenths)
    }

    /// The answer of the count endpoint.
    pub(super) fn counted(&self, tokens: u64) -> Bytes {
        let answer = match self.cloud {
            Cloud::Vertex => json!({ "input_tokens": tokens }),
            Cloud::Bedrock => json!({ "inputTokens": tokens }),
        };
        Bytes::from(answer.to_string())
    }

    /// An error in the cloud's shape.
    pub(super) fn error(&self, status: u16, message: &str) -> Bytes {
        let error = match self.cloud {
            Cloud::Vertex => json!({ "error": { "code": status, "message": message, "status": "FAILED" } }),
            Cloud::Bedrock => json!({ "message": message }),
        };
        Bytes::from(error.to_string())
    }

    /// A stream as the cloud sends it: its kind, its events, and the one that an error is.
    pub(super) fn streamed(&self, events: Vec<Bytes>, error: Bytes) -> (&'static str, Vec<Bytes>, Bytes) {
        match self.cloud {
            Cloud::Vertex => ("text/event-stream; charset=utf-8", events, error),
            Cloud::Bedrock => {
                let frames = events.iter().map(|event| chunk(event)).collect();
                let problem = json!({ "message": "a fault of the script" }).to_string();
                let error =
                    [(":message-type", "exception"), (":exception-type", "modelStreamErrorException")];
                ("application/vnd.amazon.eventstream", frames, frame(&error, problem.as_bytes()))
            }
        }
    }
}

/// An event of the Messages API as a frame.
fn chunk(event: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(event);
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    let payload = json!({ "bytes": STANDARD.encode(data), "p": "abcdefghij" }).to_string();
    let headers =
        [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.as_bytes())
}

fn frame(said: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let mut headers: Vec<u8> = Vec::new();
    for (name, value) in said {
        headers.extend(
            [&[name.len() as u8][..], name.as_bytes(), &[7, 0, value.len() as u8], value.as_bytes()].concat(),
        );
    }
    let total = 16 + headers.len() + payload.len();
    let mut out = [(total as u32).to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    out.extend(sum(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(sum(&out).to_be_bytes());
    out.into()
}

/// CRC-32, bit by bit.
fn sum(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let low = sum & 1 == 1;
            sum >>= 1;
            if low {
                sum ^= 0xEDB8_8320;
            }
        }
    }
    !sum
}

/// Checks a signature as AWS describes it: canonical request, text to sign, derived key.
fn signed(parts: &Parts, held: &str, body: &[u8]) -> Result<(), Refusal> {
    let wrong = |what: &str| (403, format!("The security token included in the request is invalid: {what}"));
    let fields = held.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| wrong("no signature"))?;
    let field = |name: &str| {
        let found = fields.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| wrong(name))
    };
    let (credential, names, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let scope: Vec<&str> = credential.split('/').collect();
    let [id, day, region, "bedrock", "aws4_request"] = scope[..] else { return Err(wrong("Credential")) };
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let time = header("x-amz-date");
    let signed: Vec<&str> = names.split(';').collect();
    let needed = ["host", "x-amz-date", "x-amz-security-token"];
    if id != ACCESS_KEY || header("x-amz-security-token") != SESSION_TOKEN {
        return Err(wrong("who it is"));
    }
    if needed.iter().any(|name| !signed.contains(name)) || !signed.is_sorted() {
        return Err(wrong("SignedHeaders"));
    }
    let at = DateTime::strptime("%Y%m%dT%H%M%SZ", time).map_err(|_| wrong("x-amz-date"))?;
    let at = TimeZone::UTC.to_timestamp(at).map_err(|_| wrong("x-amz-date"))?;
    let off = Timestamp::now().duration_since(at).as_secs().abs();
    if off > SKEW_SECONDS || !time.starts_with(day) {
        return Err(wrong("its time"));
    }
    let mut path = String::new();
    for byte in parts.uri.path().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                path.push(char::from(byte))
            }
            other => path += &format!("%{other:02X}"),
        }
    }
    let mut canonical = format!("{}\n{path}\n{}\n", parts.method, parts.uri.query().unwrap_or_default());
    for name in &signed {
        canonical += &format!("{name}:{}\n", header(name).trim());
    }
    canonical += &format!("\n{names}\n{}", hex(&Sha256::digest(body)));
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{day}/{region}/bedrock/aws4_request\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in [day, region, "bedrock", "aws4_request"] {
        key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let expected = hex(sign(&Key::new(HMAC_SHA256, &key), text.as_bytes()).as_ref());
    if signature == expected { Ok(()) } else { Err(wrong("the signature does not match")) }
}
