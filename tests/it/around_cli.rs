//! Real agents in the places of the actions that start them: each is started as that action starts it, by
//! what the documented workflow gives it, and what it spends goes through the meter.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::Value;
use tollgate::simulate::clouds::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, VERTEX_TOKEN};
use tollgate::simulate::{Answer, Script};

use crate::around_actions::{World, documented};
use crate::run::{KEY, Upstream, serve};
use crate::support::runner::workflow::{Foreign, Values};
use crate::support::runner::{Job, Step};
use crate::support::tool;

/// What is known of other actions.
fn facts() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/other-actions.json");
    let text = fs::read_to_string(path).expect("the facts");
    let facts: Value = serde_json::from_str(&text).expect("JSON");
    facts["actions"].as_array().expect("actions").clone()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

/// What a source such as `inputs.prompt` stands for in a step of a job with these variables; any other text for
/// itself.
fn value(source: &str, foreign: &Foreign<'_>, job: &Values) -> String {
    if let Some((text, input)) = source.split_once(" where ") {
        let holds = value(input, foreign, job) == "true";
        return if holds { text.to_owned() } else { String::new() };
    }
    let found = match source.split_once('.') {
        Some(("inputs", name)) => foreign.with.get(name),
        Some(("env", name)) => foreign.env.get(name).or_else(|| job.get(name)),
        _ => return source.to_owned(),
    };
    found.cloned().unwrap_or_default()
}

fn write(file: &Path, content: &str) {
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(file, content).expect("written");
}

/// Starts the agent of another action as that action does.
fn other_action(
    job: &mut Job,
    foreign: &Foreign<'_>,
    fact: &Value,
    (program, checkout): (&Path, &Path),
) -> Step {
    assert!(text(fact, "uses").starts_with(&format!("{}@", foreign.name)), "{}", foreign.name);
    let given = job.env.clone();
    let value = |source: &str| value(source, foreign, &given);
    let mut env: Vec<(String, String)> = foreign.env.clone().into_iter().collect();
    for (name, sources) in fact["env"].as_object().expect("variables") {
        let sources = sources.as_array().expect("sources").iter().filter_map(Value::as_str);
        let first = sources.map(value).find(|value| !value.is_empty()).unwrap_or_default();
        let needed =
            fact["needs"].as_array().is_some_and(|needs| needs.iter().any(|needed| *needed == **name));
        assert!(!needed || !first.is_empty(), "the action wants {name}");
        env.push((name.clone(), first));
    }
    for (file, source) in fact["files"].as_object().into_iter().flatten() {
        write(&checkout.join(file), &value(source.as_str().expect("a source")));
    }
    let proxy = &fact["proxy"];
    if proxy.is_object() {
        let port = forwarder(&value(text(proxy, "endpoint")), &value(text(proxy, "key")));
        let lines = proxy["config"].as_array().expect("lines").iter().filter_map(Value::as_str);
        let config = lines.map(|line| line.replace("PORT", &port.to_string()) + "\n").collect::<String>();
        write(&job.folder("home").join(text(proxy, "file")), &config);
    }
    let mut words = vec![program.display().to_string()];
    for arg in fact["args"].as_array().expect("arguments").iter().filter_map(Value::as_str) {
        match arg.strip_prefix("words of ") {
            Some(source) => words.extend(value(source).split_whitespace().map(str::to_owned)),
            None => words.push(value(arg)),
        }
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    job.run(&format!("{} </dev/null\n", quoted.join(" ")), &env)
}

/// In the place of the proxy that Codex's action puts before the API, which is in no registry here: it sends
/// every call on to one address, with the key. Returns its port.
fn forwarder(endpoint: &str, key: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let rest = endpoint.strip_prefix("http://").expect("the meter's address");
    let (host, path) = rest.split_once('/').expect("a path");
    let (host, path, key) = (host.to_owned(), path.to_owned(), key.to_owned());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (host, path, key) = (host.clone(), path.clone(), key.clone());
            std::thread::spawn(move || forward(client, &host, &path, &key));
        }
    });
    port
}

/// Sends one call on, and what is answered back.
fn forward(mut client: TcpStream, host: &str, path: &str, key: &str) -> Option<()> {
    let mut call = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let (head, body) = loop {
        let read = client.read(&mut buffer).ok().filter(|read| *read > 0)?;
        call.extend_from_slice(&buffer[..read]);
        let end = call.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else { continue };
        let head = String::from_utf8_lossy(&call[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if call.len() >= end + 4 + length.unwrap_or(0) {
            break (head, call.split_off(end + 4));
        }
    };
    assert!(head.starts_with("post /v1/responses http/1.1"), "{head}");
    let mut meter = TcpStream::connect(host).ok()?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    meter.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    std::io::copy(&mut meter, &mut client).ok()?;
    Some(())
}

fn answers() -> Upstream {
    serve(Script::new(|_| Answer::text("Looked at it.").of_tokens(300).into()))
}

/// A budget file whose low tier is this model.
fn budget(model: &str) -> String {
    let row = "{ low: low, medium: low, high: low }";
    // Whose models the tiers may name goes by the agent, also where another action starts it.
    let agent = match model.split('-').next() {
        Some("gpt") => "codex",
        Some("gemini") => "gemini",
        _ => "claude",
    };
    format!(
        "version: 1\nledger: file\nbudgets:\n  - {{ scope: repo, per: total, usd: 50 }}\n\
         agent: {{ use: {agent} }}\ntiers:\n  low: {{ model: {model}, max_usd: 5 }}\n\
         tasks:\n  implementation: {row}\n  review: {row}\n  docs: {row}\n"
    )
}

/// Actions that fetch a cloud's credentials, and what the next step is given of them.
const CREDENTIALS: [(&str, &[(&str, &str)]); 2] = [
    ("google-github-actions/auth", &[("access_token", VERTEX_TOKEN)]),
    (
        "aws-actions/configure-aws-credentials",
        &[
            ("aws-access-key-id", ACCESS_KEY),
            ("aws-secret-access-key", SECRET_KEY),
            ("aws-session-token", SESSION_TOKEN),
        ],
    ),
];

/// What becomes of a step of somebody else's: credentials are there, an agent is started.
fn theirs(job: &mut Job, foreign: &Foreign<'_>, fact: &Value, paths: (&Path, &Path)) -> Step {
    let Some((_, outputs)) = CREDENTIALS.into_iter().find(|(name, _)| *name == foreign.name) else {
        return other_action(job, foreign, fact, paths);
    };
    let lines: Vec<String> =
        outputs.iter().map(|(name, value)| format!("echo '{name}={value}' >>\"$GITHUB_OUTPUT\"")).collect();
    job.run(&lines.join("\n"), &[])
}

/// Runs the documented workflow of one action with the real agent.
fn workflow(fact: &Value) {
    let Some(program) = tool(text(fact, "program"), text(fact, "tool")) else { return };
    let mut world = World::of(&budget(text(fact, "model")), answers(), text(fact, "api"));
    world.job.env("IS_SANDBOX", "1");
    let steps = documented(text(fact, "heading"));
    let checkout = world.tollgate.work();
    let paths = (program.as_path(), checkout.as_path());
    let ran = world.steps(&steps, &mut |job, foreign| theirs(job, foreign, fact, paths));
    let log: String = ran.iter().map(|(outcome, ran)| format!("=== {outcome}\n{}", ran.log())).collect();
    assert!(ran.iter().all(|(outcome, _)| outcome.ends_with(": success")), "{log}");
    for secret in [KEY, VERTEX_TOKEN, SECRET_KEY, SESSION_TOKEN] {
        assert!(!log.contains(secret), "a secret was printed\n{log}");
    }
    let outputs = &ran.last().expect("steps").1.outputs;
    assert_eq!((&*outputs["verdict"], &*outputs["outcome"]), ("pass", "completed"), "{log}");
    assert_eq!(outputs["model"], text(fact, "model"));
    let spent = world.settled();
    assert_eq!(spent, world.upstream.witness.usd(), "{log}");
    assert!(spent > tollgate::money::Usd::ZERO, "{log}");
}

#[test]
fn claude_code_as_its_own_action_starts_it() {
    workflow(&facts()[0]);
}

#[test]
fn codex_as_its_own_action_starts_it() {
    workflow(&facts()[1]);
}

#[test]
fn gemini_as_its_own_action_starts_it() {
    workflow(&facts()[2]);
}

#[test]
fn claude_code_as_its_own_action_starts_it_on_google_vertex() {
    workflow(&facts()[3]);
}

#[test]
fn claude_code_as_its_own_action_starts_it_on_amazon_bedrock() {
    workflow(&facts()[4]);
}

#[test]
fn the_guide_pins_the_actions_that_the_facts_are_of() {
    for fact in facts() {
        let steps = documented(text(&fact, "heading"));
        let uses = steps.as_sequence().expect("steps").iter().filter_map(|step| step["uses"].as_str());
        let fetches = |uses: &&str| CREDENTIALS.iter().any(|(name, _)| uses.starts_with(name));
        let found: Vec<&str> = uses.filter(|uses| !uses.starts_with("OWNER/") && !fetches(uses)).collect();
        assert_eq!(found, [text(&fact, "uses")]);
    }
}
