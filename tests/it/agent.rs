//! The agent from outside: the real Claude Code, started, heard and ended by the library, against a
//! provider that knows two answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollgate::agent::environment::{EnvSpec, Identity, build, create_home};
use tollgate::agent::output::{Log, Redactor};
use tollgate::agent::preset::{Choice, Search, Told, Wiring, launch};
use tollgate::agent::process::{Exit, Patience, Spec, start};
use tollgate::model::ModelId;
use tollgate::money::Usd;

use crate::support::{Tollgate, tool};

const TOKEN: &str = "the-meters-token-0123456789";
const KEY: &str = "sk-ant-a-real-key-0123456789";

/// Leaves a daemon behind that no signal to the group would reach, and looks for the key.
const COMMAND: &str = "setsid sh -c 'trap \"\" INT TERM HUP; echo $$ > daemon.pid; while :; do sleep 1000; done' >/dev/null 2>&1 & \
     while [ ! -s daemon.pid ]; do sleep 0.01; done; env > env.txt; echo ::error::shown";

#[tokio::test]
async fn claude_code_is_heard_and_leaves_nothing_behind() {
    let Some(claude) = tool("claude", "TOLLGATE_TEST_CLAUDE") else { return };
    let world = Tollgate::in_repository(&[("README.md", "# A repository\n")]);
    let provider = Provider::start();
    let model = ModelId::new("claude-haiku-5-5");
    let wiring = Wiring {
        base_url: &provider.url,
        token: TOKEN,
        model: &model,
        small_model: &model,
        cap: Usd::from_dollars(1),
        output_tokens_max: 13_000,
        window_tokens: 200_000,
        home: &world.home().join("home"),
    };
    let mut path = vec![claude.parent().expect("a folder").to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).expect("a path");
    let choice = Choice::Claude(Told { prompt: "--do what must be done".into(), args: Vec::new() });
    let search = Search { path: &path, cwd: &world.work(), root: rustix::process::geteuid().is_root() };
    let launch = launch(&choice, &wiring, &search).expect("claude is there");
    let home = create_home(&world.home()).expect("a home");
    let parent = BTreeMap::from([
        ("PATH".into(), path),
        ("ANTHROPIC_API_KEY".into(), KEY.into()),
        ("GITHUB_TOKEN".into(), "ghs_0123456789".into()),
    ]);
    let environment = build(
        &parent,
        &EnvSpec {
            home: &home,
            workspace: &world.work(),
            let_through: &["ANTHROPIC_API_KEY".to_owned()],
            preset: &launch.env,
            secrets: &[KEY.to_owned()],
            identity: Identity::default(),
            hooks_off: false,
        },
    );
    assert_eq!(environment.kept_out, ["ANTHROPIC_API_KEY"]);
    let spec = Spec {
        program: launch.program,
        args: launch.args,
        env: environment.vars,
        workspace: world.work(),
        time_limit: Duration::from_secs(30),
        format: launch.format,
        redactor: Arc::new(Redactor::new([KEY, TOKEN])),
    };
    let log = world.work().join("../log");
    let out = std::fs::File::create(&log).expect("a log");
    let mut running = start(&spec, &Log::new(Box::new(out), false)).expect("claude starts");

    let Exit::Itself(status) = running.exited().await else { panic!("claude did not end by itself") };
    let ended = running.end(Patience::GENTLE).await;
    let shown = std::fs::read_to_string(log).expect("a log");
    assert_eq!(status.code(), Some(0), "{shown}\n{}", ended.complained.text);
    assert!(ended.said.text.starts_with("All done"), "{:?}", ended.said);
    assert_eq!((ended.said.error, ended.survivors), (None, 0));
    let daemon = std::fs::read_to_string(world.work().join("daemon.pid")).expect("a daemon");
    assert!(!Path::new("/proc").join(daemon.trim()).exists(), "the daemon is still there");
    assert!(ended.left_behind >= 1);

    let env = std::fs::read_to_string(world.work().join("env.txt")).expect("an environment");
    assert!(!env.contains(KEY) && !env.contains("ghs_"), "{env}");
    assert!(shown.contains("→ Bash: setsid sh"), "{shown}");
    assert!(shown.contains("│ ::error::not a command\n"), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    let asked = provider.asked();
    assert!(
        asked.iter().all(|request| request["max_tokens"] == 13_000 && request["model"] == model.as_str())
    );
    assert!(asked[0].to_string().contains("--do what must be done"));
}

/// Answers the first request with a tool call, every other with a finished turn.
struct Provider {
    url: String,
    asked: Arc<std::sync::Mutex<Vec<serde_json::Value>>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<std::sync::Mutex<Vec<_>>>::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || serve(stream, &heard));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<serde_json::Value> {
        self.asked.lock().expect("no thread panics").clone()
    }
}

fn serve(mut stream: TcpStream, heard: &std::sync::Mutex<Vec<serde_json::Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut post, mut length) = (false, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        post |= line.starts_with("POST ");
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut answer = String::new();
    if post {
        let request: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let mut heard = heard.lock().ok()?;
        heard.push(request);
        answer = turn(heard.len() == 1);
    }
    let length = answer.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
        .ok()
}

fn turn(first: bool) -> String {
    let text =
        if first { "Looking.\n::error::not a command".to_owned() } else { format!("All done {TOKEN}") };
    let mut blocks = vec![(
        serde_json::json!({"type": "text", "text": ""}),
        serde_json::json!({"type": "text_delta", "text": text}),
    )];
    if first {
        let input = serde_json::json!({"command": COMMAND, "description": "work"}).to_string();
        blocks.push((
            serde_json::json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}),
            serde_json::json!({"type": "input_json_delta", "partial_json": input}),
        ));
    }
    let usage = serde_json::json!({"input_tokens": 10, "output_tokens": 1});
    let mut events = vec![
        serde_json::json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
        "role": "assistant", "model": "claude-haiku-5-5", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}),
    ];
    for (index, (block, delta)) in blocks.into_iter().enumerate() {
        events
            .push(serde_json::json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.push(serde_json::json!({"type": "content_block_delta", "index": index, "delta": delta}));
        events.push(serde_json::json!({"type": "content_block_stop", "index": index}));
    }
    let reason = if first { "tool_use" } else { "end_turn" };
    events.push(serde_json::json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage}));
    events.push(serde_json::json!({"type": "message_stop"}));
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn the_test_world_holds_nothing_of_the_machine() {
    let mut world = Tollgate::new();
    world.script("tool", "#!/bin/sh\n").env("ONE", "1").args(["--version"]);
    let command = world.command();
    let mut names: Vec<_> = command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(
        names,
        ["GIT_CEILING_DIRECTORIES", "GIT_CONFIG_NOSYSTEM", "HOME", "LC_ALL", "ONE", "PATH", "TMPDIR"]
    );
    let run = world.stdin("nothing it asks for\n").time_max(Duration::from_secs(5)).run();
    run.expect_code(run.code.expect("no signal ended it"));
    let path = world.work().join("tool");
    assert_eq!(world.redacted(path.as_os_str().as_encoded_bytes()), "[WORLD]/work/tool");
}
