//! The built-in agent: a loop over the Messages API that does no harm.
//!
//! It asks, runs the tool it is told to run (one that lists files), sends the result back, and goes on
//! until the turn ends, like any agent. It knows nothing of the meter in front of the provider.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Component, Path};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::stream::Message;

/// The agent is through.
const EXIT_OK: u8 = 0;
/// The API answered with an error.
const EXIT_FAILED: u8 = 1;
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most files one tool call lists.
const FILES_MAX: usize = 40;
/// The agent's only tool.
pub const TOOL: &str = "list_files";

/// The arguments of the built-in agent.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The model to ask for
    #[arg(long)]
    pub model: String,
    /// What to do
    #[arg(long)]
    pub prompt: String,
    /// The output cap of each request
    #[arg(long, default_value_t = 8_000)]
    pub max_tokens: u32,
    /// How many threads work at once: the main one, and sub-agents beside it
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// After so many requests a thread gives up
    #[arg(long, default_value_t = 200)]
    pub turns: u32,
}

/// Where the API is, and the key for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Such as `http://127.0.0.1:4000`; plain HTTP only.
    pub base_url: String,
    /// The key.
    pub key: String,
}

impl Endpoint {
    /// Reads `ANTHROPIC_BASE_URL` and `ANTHROPIC_API_KEY`.
    ///
    /// # Errors
    /// When one of them is not set, or the address is not plain HTTP.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let base_url = env("ANTHROPIC_BASE_URL").context("ANTHROPIC_BASE_URL is not set")?;
        let key = env("ANTHROPIC_API_KEY").context("ANTHROPIC_API_KEY is not set")?;
        if !base_url.starts_with("http://") {
            bail!("ANTHROPIC_BASE_URL is {base_url}: the built-in agent speaks plain http:// only");
        }
        Ok(Self { base_url: base_url.trim_end_matches('/').to_owned(), key })
    }
}

/// Runs the agent and writes every step, the main thread's final text last. Answers the exit code.
///
/// # Errors
/// When nothing can be written.
pub async fn run(args: &Args, endpoint: &Endpoint, out: &mut dyn Write) -> anyhow::Result<u8> {
    let (say, mut said) = mpsc::unbounded_channel();
    let mut threads = JoinSet::new();
    for number in 0..args.threads.max(1) {
        let thread = Thread {
            number,
            args: args.clone(),
            endpoint: endpoint.clone(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            say: say.clone(),
        };
        threads.spawn(async move { (number, thread.work().await) });
    }
    drop(say);
    while let Some(line) = said.recv().await {
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    let mut code = EXIT_OK;
    let mut last = String::new();
    while let Some(ended) = threads.join_next().await {
        match ended.context("a thread of the agent broke down")? {
            (0, Ok(text)) => last = text,
            (_, Ok(_)) => {}
            (number, Err(error)) => {
                writeln!(out, "[{number}] failed: {error:#}")?;
                code = EXIT_FAILED;
            }
        }
    }
    writeln!(out, "{last}")?;
    Ok(code)
}

/// One loop over the API.
struct Thread {
    number: u32,
    args: Args,
    endpoint: Endpoint,
    client: Client<HttpConnector, Full<Bytes>>,
    say: mpsc::UnboundedSender<String>,
}

impl Thread {
    /// Works until the turn ends, and answers its last text.
    async fn work(&self) -> anyhow::Result<String> {
        let mut messages = vec![json!({ "role": "user", "content": self.args.prompt })];
        let mut text = String::new();
        for turn in 1..=self.args.turns {
            let answer = self.ask(&messages).await?;
            if !answer.text().is_empty() {
                text = answer.text();
            }
            let calls: Vec<&Value> =
                answer.content.iter().filter(|block| block["type"] == "tool_use").collect();
            if calls.is_empty() || answer.stop_reason != "tool_use" {
                self.say(turn, &format!("ends ({})", answer.stop_reason));
                break;
            }
            let mut results = Vec::new();
            for call in calls {
                let listing = list_files(Path::new("."), &call["input"]["paths"]);
                self.say(turn, &format!("{TOOL}: {} lines", listing.lines().count()));
                results.push(json!({
                    "type": "tool_result",
                    "tool_use_id": call["id"],
                    "content": listing,
                }));
            }
            messages.push(json!({ "role": "assistant", "content": answer.content }));
            messages.push(json!({ "role": "user", "content": results }));
        }
        Ok(text)
    }

    fn say(&self, turn: u32, what: &str) {
        // The receiver lives as long as the threads do.
        let _ = self.say.send(format!("[{}] turn {turn}: {what}", self.number));
    }

    async fn ask(&self, messages: &[Value]) -> anyhow::Result<Message> {
        let body = json!({
            "model": self.args.model,
            "max_tokens": self.args.max_tokens,
            "stream": true,
            "system": [{
                "type": "text",
                "text": "You look at the files of a change and report on them.",
                "cache_control": { "type": "ephemeral" },
            }],
            "cache_control": { "type": "ephemeral" },
            "tools": [{
                "name": TOOL,
                "description": "Lists files of the working folder with their sizes.",
                "input_schema": {
                    "type": "object",
                    "properties": { "paths": { "type": "array", "items": { "type": "string" } } },
                },
            }],
            "messages": messages,
        });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v1/messages", self.endpoint.base_url))
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", &self.endpoint.key);
        if self.number > 0 {
            request = request.header("x-claude-code-agent-id", format!("agent-{}", self.number));
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        let response = self.client.request(request).await.context("no answer from the API")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        if !status.is_success() {
            bail!("the API answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Message::from_events(&String::from_utf8_lossy(&body))
    }
}

/// The named files with their sizes, or those of the folder; never anything outside it.
fn list_files(folder: &Path, paths: &Value) -> String {
    let named = paths.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<String> = named.take(FILES_MAX).map(str::to_owned).collect();
    if names.is_empty() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        names = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names.truncate(FILES_MAX);
    }
    let mut listing = String::new();
    for name in &names {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        let size = if inside { std::fs::symlink_metadata(folder.join(name)).ok() } else { None };
        let _ = match size {
            Some(metadata) => writeln!(listing, "{name} {} bytes", metadata.len()),
            None => writeln!(listing, "{name} not found"),
        };
    }
    if listing.is_empty() { "no files".to_owned() } else { listing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_inside_the_folder_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("b.txt"), "12345").expect("a file");
        std::fs::write(folder.path().join(".hidden"), "").expect("a file");
        for (paths, listing) in [
            (Value::Null, "b.txt 5 bytes\n"),
            (json!(["b.txt", "c.txt"]), "b.txt 5 bytes\nc.txt not found\n"),
            (json!(["../etc/passwd", "/etc/passwd"]), "../etc/passwd not found\n/etc/passwd not found\n"),
        ] {
            assert_eq!(list_files(folder.path(), &paths), listing, "{paths}");
        }
        let empty = tempfile::tempdir().expect("a folder");
        assert_eq!(list_files(empty.path(), &Value::Null), "no files");
    }

    #[test]
    fn an_endpoint_needs_an_address_and_a_key() {
        let env = |url: Option<&'static str>, key: Option<&'static str>| {
            move |name: &str| if name.ends_with("URL") { url } else { key }.map(str::to_owned)
        };
        let endpoint = Endpoint::from_env(env(Some("http://127.0.0.1:1/"), Some("k"))).expect("both");
        assert_eq!(endpoint.base_url, "http://127.0.0.1:1");
        for (url, key, message) in [
            (None, Some("k"), "ANTHROPIC_BASE_URL is not set"),
            (Some("http://x"), None, "ANTHROPIC_API_KEY is not set"),
            (
                Some("https://x"),
                Some("k"),
                "ANTHROPIC_BASE_URL is https://x: the built-in agent speaks plain http:// only",
            ),
        ] {
            let error = Endpoint::from_env(env(url, key)).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
