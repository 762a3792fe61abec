//! A repository at a forge that answers what delivering a result asks: one pull request, its comments, who
//! may do what.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

/// What the forge knows, and what it was asked to do.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The head of pull request 9.
    pub(crate) head: String,
    /// Comments: the author and the text.
    pub(crate) comments: Vec<(String, String)>,
    /// What anybody may do.
    pub(crate) role: String,
    /// Writing is refused.
    pub(crate) read_only: bool,
    /// Every request's first line and authorization.
    pub(crate) requests: Vec<(String, String)>,
}

/// A forge that serves until the test ends.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Forge {
    pub(crate) fn serve(head: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = State { head: head.to_owned(), role: "write".to_owned(), ..State::default() };
        let this = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.connection(&stream));
            }
        });
        this
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has panicked with it")
    }

    fn connection(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((line, authorization, body)) = request(&mut reader) {
            let (status, answer) = self.answer(&line, &body);
            self.state().requests.push((line, authorization));
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}",
                answer.len()
            );
            if write!(&mut &*stream, "{head}\r\n\r\n{answer}").is_err() {
                return;
            }
        }
    }

    fn answer(&self, line: &str, body: &Value) -> (u16, Value) {
        let mut state = self.state();
        let words: Vec<&str> = line.split(' ').collect();
        let path = words[1].split('?').next().unwrap_or_default();
        let number =
            |path: &str| path.rsplit('/').next().and_then(|id| id.parse::<usize>().ok()).unwrap_or_default();
        match (words[0], path) {
            ("POST", "/graphql") => (
                200,
                json!({ "data": { "viewer": { "login": "github-actions[bot]", "databaseId": 41_898_282 } } }),
            ),
            ("GET", "/repos/acme/widgets/pulls/9") => (200, pull_request(&state.head)),
            ("GET", path) if path.ends_with("/permission") => {
                (200, json!({ "permission": state.role, "role_name": state.role, "user": user("lee") }))
            }
            ("GET", "/repos/acme/widgets/issues/9/comments") => {
                let all = state.comments.iter().enumerate().map(|(id, (by, text))| comment(id, by, text));
                (200, all.collect())
            }
            _ if state.read_only => (403, json!({ "message": "Resource not accessible by integration" })),
            ("POST", "/repos/acme/widgets/issues/9/comments") => {
                let text = body["body"].as_str().expect("a text").to_owned();
                state.comments.push(("github-actions[bot]".to_owned(), text.clone()));
                (201, comment(state.comments.len() - 1, "github-actions[bot]", &text))
            }
            ("PATCH", path) => {
                let text = body["body"].as_str().expect("a text").to_owned();
                state.comments[number(path)].1.clone_from(&text);
                (200, comment(number(path), "github-actions[bot]", &text))
            }
            _ => (404, json!({ "message": "Not Found" })),
        }
    }
}

fn user(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    json!({ "login": login, "id": 1, "type": kind })
}

fn comment(id: usize, by: &str, text: &str) -> Value {
    json!({
        "id": id, "node_id": format!("n{id}"), "user": user(by), "body": text,
        "html_url": format!("https://github.com/acme/widgets/pull/9#c{id}"),
        "created_at": "2026-11-01T12:00:00Z", "updated_at": "2026-11-01T12:00:00Z", "performed_via_github_app": null
    })
}

fn pull_request(head: &str) -> Value {
    let repo = json!({ "id": 5, "full_name": "acme/widgets" });
    json!({
        "number": 9, "title": "Say more", "body": null, "user": user("lee"), "author_association": "MEMBER",
        "labels": [], "state": "open", "draft": false,
        "base": { "ref": "main", "sha": "2".repeat(40), "repo": repo },
        "head": { "ref": "topic", "sha": head, "repo": repo },
        "additions": 1, "deletions": 0, "changed_files": 1
    })
}

/// One request: its first line, its authorization, its body.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Value)> {
    let (mut first, mut length, mut authorization) = (String::new(), 0, String::new());
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.trim().to_owned(), authorization, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
