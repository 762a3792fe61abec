//! The GitHub client against an emulator that others wrote (npm `emulate`), for the calls that it has: a
//! second opinion on what our own double says.
//!
//! It has no GraphQL and no commit statuses, and its pull requests have no files.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::github::{Error, GitHub, Permission};

use crate::github::{config, run};
use crate::support;

pub(crate) const TOKEN: &str = "the-emulators-token";
const SEED: &str = "tokens: { the-emulators-token: { login: ada, scopes: [repo, user] } }
github: { users: [ { login: ada } ], repos: [ { owner: ada, name: gate, auto_init: true } ] }
";

pub(crate) struct Emulator {
    child: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Emulator {
    /// The emulator, which comes up in a moment; `None` where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = support::tool("emulate", "TOLLGATE_TEST_EMULATE")?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("seed.yaml"), SEED).expect("a file");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port().to_string();
        drop(free);
        let url = format!("http://127.0.0.1:{port}");
        let child = Command::new(program)
            .args([
                "start",
                "--service",
                "github",
                "--seed",
                "seed.yaml",
                "--port",
                &port,
                "--base-url",
                &url,
            ])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the emulator starts");
        Some(Self { child, url, _folder: folder })
    }

    /// Waits until it answers.
    pub(crate) async fn up(&self) {
        let github = GitHub::new(&config(&self.url, "ada/gate", TOKEN)).expect("a client");
        let up = async {
            while github.repository().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), up).await.expect("the emulator comes up");
    }

    /// Makes something that the client reads and never makes.
    pub(crate) async fn make(&self, path: &str, body: &Value) -> Value {
        self.ask(reqwest::Method::POST, path, body).await
    }

    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url)).json(body);
        let answer = request.bearer_auth(TOKEN).header("user-agent", "test").send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_emulator_by_others_agrees() {
    let Some(emulator) = Emulator::start() else { return };
    run(async {
        let github = GitHub::new(&config(&emulator.url, "ada/gate", TOKEN)).expect("a client");
        emulator.up().await;
        reads(&emulator, &github).await;
        comments(&emulator, &github).await;
    });
}

async fn reads(emulator: &Emulator, github: &GitHub) {
    assert_eq!(github.default_branch().await.as_deref(), Ok("main"));
    assert_eq!(github.whoami().await.map(|me| me.login).as_deref(), Ok("ada"), "without GraphQL");
    let main = github.branch("main").await.expect("an answer").expect("a branch");
    assert_eq!(github.branch("gone").await, Ok(None));
    let file = github.contents("README.md", &main).await.expect("an answer").expect("a file");
    assert!(file.starts_with(b"# gate"));
    assert_eq!(github.contents("gone", &main).await, Ok(None));
    let tree = github.tree(&main, "").await.expect("a tree");
    assert!(tree.entries.iter().any(|entry| entry.path == "README.md"), "{tree:?}");
    assert_eq!(github.permission("ada").await, Ok(Permission::Admin));
    assert_eq!(github.permission("nobody-there").await, Ok(Permission::None));
    let branch = json!({ "ref": "refs/heads/topic", "sha": main });
    emulator.make("/repos/ada/gate/git/refs", &branch).await;
    let pull = json!({ "title": "A change", "head": "topic", "base": "main" });
    let number = emulator.make("/repos/ada/gate/pulls", &pull).await["number"].as_u64().expect("a number");
    let pull = github.pull_request(number).await.expect("a pull request");
    assert_eq!((pull.title.as_str(), pull.base_branch.as_str(), pull.fork), ("A change", "main", false));
    assert_eq!((pull.head_branch.as_str(), pull.head_commit), ("topic", main));
    let files = github.files(number).await.expect("files");
    assert!(files.files.is_empty() && files.complete);
    assert!(matches!(github.pull_request(number + 1).await, Err(Error::NotFound { .. })));
}

async fn comments(emulator: &Emulator, github: &GitHub) {
    let issue = emulator.make("/repos/ada/gate/issues", &json!({ "title": "An issue" })).await;
    let number = issue["number"].as_u64().expect("a number");
    assert_eq!(github.labels(number).await, Ok(Vec::new()));
    let label = json!({ "labels": ["budget-override"] });
    emulator.make(&format!("/repos/ada/gate/issues/{number}/labels"), &label).await;
    let labeled = github.labeled(number, "budget-override").await.expect("events").expect("it is set");
    assert_eq!(labeled.by.login, "ada");
    let first = github.create_comment(number, "0").await.expect("a comment");
    for n in 1..=100 {
        github.create_comment(number, &n.to_string()).await.expect("a comment");
    }
    let all = github.comments(number).await.expect("comments");
    let bodies: Vec<String> = all.into_iter().map(|comment| comment.body).collect();
    assert_eq!(bodies, (0..=100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(github.update_comment(first.id, "new").await.expect("a comment").body, "new");
    github.delete_comment(first.id).await.expect("it is gone");
    github.delete_comment(first.id).await.expect("it is gone still");
    assert_eq!(github.comments(number).await.map(|all| all.len()), Ok(100));
    let posted = github.create_comment_once(number, "x <!-- m -->", "<!-- m -->").await.expect("a comment");
    assert!(!posted.found);
}
