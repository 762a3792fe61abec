//! The GitHub Actions, their steps executed as the runner executes them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_yaml::Value;
use sha2::{Digest as _, Sha256};
use tollgate::simulate::{Answer, Script};

use crate::run::{KEY, repository, serve};
use crate::run_actions::pull_request;
use crate::support::Tollgate;
use crate::support::runner::{Job, Ran, fields};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");
const INSTALL: &str = "Install tollgate";
pub(crate) const AGENT: &str = "Install the agent";
pub(crate) const RUN: &str = "Run the agent through tollgate";
pub(crate) const GATE: &str = "Check the budgets";
const START: &str = "Begin the run";
const FINISH: &str = "Settle and report";
/// The actions that are made of steps.
const COMPOSITE: [&str; 4] = ["action.yml", "finish/action.yml", "gate/action.yml", "start/action.yml"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A budget file whose books lie in the job's own folder: a run that is no simulation would push a branch.
fn budget(usd: &str, cap: &str) -> String {
    crate::run::budget(usd, cap, "") + "ledger: file\n"
}

/// A job on the pull request of this world.
fn job(world: &Tollgate) -> Job {
    let mut job = Job::new(&world.work());
    job.given("GITHUB_EVENT_PATH", world.home().join("event.json")).github("event_name", "pull_request");
    job
}

/// A program at `folder/name`.
pub(crate) fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// `PATH` with this folder before the system's own, which has no agent.
fn path_with(folder: &Path) -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display())
}

#[test]
fn a_simulated_run_hands_every_output_on() {
    let file = budget("5", "1");
    let world = pull_request(&file, &file);
    let mut job = job(&world);
    let with = [("binary-path", BINARY), ("simulate", "true"), ("comment-key", "second")];
    let ran = job.uses(root(), &with);
    ran.expect_success();
    assert!(ran.step(RUN).log.contains("<!-- tollgate:v1 key=second "), "{}", ran.log());
    assert!(ran.step(INSTALL).log.contains("from `binary-path`"), "{}", ran.log());
    assert_eq!(ran.step(AGENT).log, "", "the simulation brings its own agent");
    assert_eq!(ran.outputs, ran.step(RUN).outputs, "the action declares what the binary writes, and no more");
    let out = |name: &str| ran.outputs[name].as_str();
    assert_eq!((out("verdict"), out("outcome"), out("overrun")), ("pass", "completed", "false"));
    assert_ne!(out("total_cost_usd"), "0");
    for (output, file) in [("summary_path", "summary.json"), ("result_path", "result.md")] {
        assert_eq!(Path::new(out(output)), Path::new(out("run_folder")).join(file));
        assert!(Path::new(out(output)).is_file(), "{output}");
    }
    assert_eq!(out("patch_path"), "", "the built-in agent changes nothing");
    assert!(job.summary.starts_with("### "), "{}", job.summary);
    // The gate reads the same books, and writes nothing.
    let gate = job.uses(&root().join("gate"), &[("binary-path", BINARY), ("simulate", "true")]);
    gate.expect_success();
    assert!(gate.step(GATE).log.contains("pass: every budget is within its limit\n"), "{}", gate.log());
}

#[test]
fn a_budget_that_is_exceeded_fails_the_step_and_the_outputs_say_so() {
    let file = budget("0.01", "1").replace("0.0001", "0.008");
    let world = pull_request(&file, &file);
    let mut job = job(&world);
    let ran = job.uses(root(), &[("binary-path", BINARY), ("simulate", "true")]);
    ran.expect_failure(RUN, 3);
    assert_eq!((ran.outputs["verdict"].as_str(), ran.outputs["outcome"].as_str()), ("fail", "capped"));
    assert!(ran.step(RUN).log.contains("::error title="), "{}", ran.log());
    let again = job.uses(root(), &[("binary-path", BINARY), ("simulate", "true"), ("task", "docs")]);
    again.expect_failure(RUN, 3);
    assert_eq!((again.outputs["outcome"].as_str(), again.outputs["task"].as_str()), ("refused", "docs"));
}

#[test]
fn the_gate_fails_where_a_budget_is_passed() {
    let file = budget("5", "1");
    let world = pull_request(&file, &file);
    let mut job = job(&world);
    job.uses(root(), &[("binary-path", BINARY), ("simulate", "true")]).expect_success();
    world.file("lower.yml", &budget("0.01", "0.01"));
    let with = [("binary-path", BINARY), ("simulate", "true"), ("budget-file", "lower.yml")];
    let gate = job.uses(&root().join("gate"), &with);
    gate.expect_failure(GATE, 3);
    assert!(gate.step(GATE).log.contains("fail: the total repo budget is exceeded"), "{}", gate.log());
}

#[test]
fn a_command_is_one_argument_a_line_and_sees_no_key_and_no_token() {
    let upstream = serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()));
    let file = budget("1", "0.1");
    let world = pull_request(&file, &file);
    let seen = world.home().join("seen");
    let agent = program(
        &world.home().join("bin"),
        "agent",
        &format!("#!/bin/sh\nprintf '[%s]\\n' \"$@\" >{0}\nenv >>{0}\n", seen.display()),
    );
    let mut job = job(&world);
    job.env("TOLLGATE_UPSTREAM_ANTHROPIC", &upstream.url);
    let command = format!("{}\r\ntwo words\n\n$(touch {})\n--flag=*", agent.display(), seen.display());
    let with = [("binary-path", BINARY), ("anthropic-api-key", KEY), ("command", command.as_str())];
    let ran = job.uses(root(), &with);
    ran.expect_failure(RUN, 3);
    assert_eq!(ran.outputs["outcome"], "unmetered");
    let seen = fs::read_to_string(&seen).expect("the agent ran");
    let touch = format!("[$(touch {})]", world.home().join("seen").display());
    assert_eq!(seen.lines().take(3).collect::<Vec<_>>(), ["[two words]", touch.as_str(), "[--flag=*]"]);
    for secret in [KEY, "ghs_canary", "INPUT_", "GITHUB_OUTPUT"] {
        assert!(!seen.contains(secret), "the agent sees {secret}:\n{seen}");
    }
    // Only the step that runs the agent has the key.
    assert!(!format!("{}{}", ran.step(INSTALL).log, ran.step(AGENT).log).contains(KEY));
}

#[test]
fn a_word_that_is_no_truth_value_is_refused() {
    let world = repository(&budget("1", "0.1"));
    let ran = Job::new(&world.work()).uses(root(), &[("binary-path", BINARY), ("simulate", "yes")]);
    ran.expect_failure(AGENT, 2);
    assert_eq!(
        ran.step(AGENT).log,
        "::error title=Tollgate::simulate: `yes` is neither `true` nor `false`\n"
    );
}

/// A package manager that notes how it is called, and installs an agent that asks nothing.
fn npm(folder: &Path, log: &Path) {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = install ] || exit 9\nprintf '%s\\n' \"$PWD\" \"${{GITHUB_TOKEN-no token}}\" \"$@\" >{log}\n\
         mkdir -p node_modules/.bin\nprintf '#!/bin/sh\\nexit 0\\n' >node_modules/.bin/claude\n\
         chmod 755 node_modules/.bin/claude\n",
        log = log.display()
    );
    program(folder, "npm", &script);
}

#[test]
fn a_missing_agent_is_installed_in_the_version_that_was_measured() {
    let upstream = serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()));
    let file = budget("1", "0.1");
    let world = pull_request(&file, &file);
    world.file(".npmrc", "registry=http://127.0.0.1:1/\n");
    let (bin, log) = (world.home().join("bin"), world.home().join("npm.log"));
    npm(&bin, &log);
    for (asked, version) in [("", "2.1.197"), ("2.0.5", "2.0.5")] {
        let mut job = job(&world);
        job.given("PATH", path_with(&bin)).env("TOLLGATE_UPSTREAM_ANTHROPIC", &upstream.url);
        let with = [("binary-path", BINARY), ("anthropic-api-key", KEY), ("agent-version", asked)];
        let ran = job.uses(root(), &with);
        let package = format!("@anthropic-ai/claude-code@{version}");
        assert_eq!(ran.step(AGENT).log, format!("tollgate: installed {package}\n"));
        let folder = job.folder("temp").join("tollgate/agent").display().to_string();
        assert_eq!(
            fs::read_to_string(&log).expect("npm was called").lines().collect::<Vec<_>>(),
            [
                &folder,
                "no token",
                "install",
                "--silent",
                "--no-fund",
                "--no-audit",
                "--prefix",
                &folder,
                &package
            ],
            "not in the checkout, whose .npmrc is somebody's wish"
        );
        // The agent was found and ran; it asked for nothing.
        ran.expect_failure(RUN, 3);
        assert_eq!(ran.outputs["outcome"], "unmetered", "{}", ran.log());
    }
    let mut job = job(&world);
    job.given("PATH", path_with(&bin));
    let ran = job.uses(root(), &[("binary-path", BINARY), ("agent-version", "1 --registry=x")]);
    ran.expect_failure(AGENT, 2);
    assert!(ran.step(AGENT).log.contains("agent-version: `1 --registry=x` is no version"), "{}", ran.log());
}

/// A package manager of each kind that notes what it is to install, and installs an agent of that name.
fn managers(folder: &Path, log: &Path, agent: &str) {
    let made = |path: &str| format!("printf '#!/bin/sh\\nexit 0\\n' >\"{path}\"; chmod 755 \"{path}\"\n");
    let log = log.display();
    let npm = format!(
        "#!/bin/sh\nfor last; do :; done; echo \"npm $last\" >{log}\nmkdir -p node_modules/.bin\n{}",
        made(&format!("node_modules/.bin/{agent}"))
    );
    program(folder, "npm", &npm);
    let pip = format!("#!/bin/sh\nshift 3; echo \"pip $*\" >{log}\n{}", made(&format!("${{0%pip}}{agent}")));
    let pip = program(folder, "pip-of-a-venv", &pip);
    let python = format!(
        "#!/bin/sh\n[ \"$*\" = \"-m venv $3\" ] || exit 9\nmkdir -p \"$3/bin\"; cp {} \"$3/bin/pip\"\n",
        pip.display()
    );
    program(folder, "python3", &python);
}

#[test]
fn every_preset_is_installed_in_the_version_that_was_measured() {
    for (preset, agent, installs) in [
        ("codex", "codex", "npm @openai/codex@0.169.0"),
        ("gemini", "gemini", "npm @google/gemini-cli@0.61.0"),
        ("opencode", "opencode", "npm opencode-ai@1.18.33"),
        ("mini-swe-agent", "mini", "pip mini-swe-agent==2.4.6 mcp==2.3.0"),
        ("aider", "aider", "pip aider-chat==0.86.2"),
    ] {
        let file =
            budget("1", "0.1").replace("model: claude-haiku-5-5, ", "") + "agent: { use: " + preset + " }\n";
        let world = pull_request(&file, &file);
        let (bin, log) = (world.home().join("bin"), world.home().join("installed.log"));
        managers(&bin, &log, agent);
        let mut job = job(&world);
        job.given("PATH", path_with(&bin));
        let with = [
            ("binary-path", BINARY),
            ("openai-api-key", KEY),
            ("gemini-api-key", KEY),
            ("anthropic-api-key", KEY),
        ];
        let ran = job.uses(root(), &with);
        assert_eq!(
            fs::read_to_string(&log).expect("it was called"),
            format!("{installs}\n"),
            "{}",
            ran.log()
        );
        // The agent was found and ran; it asked for nothing.
        ran.expect_failure(RUN, 3);
        assert_eq!(ran.outputs["outcome"], "unmetered", "{}", ran.log());
    }
}

#[test]
fn an_agent_that_is_there_is_taken_as_it_is() {
    let file = budget("1", "0.1");
    let world = pull_request(&file, &file);
    let bin = world.home().join("bin");
    let claude = program(&bin, "claude", "#!/bin/sh\nexit 0\n");
    let mut job = job(&world);
    job.given("PATH", path_with(&bin));
    let ran = job.uses(root(), &[("binary-path", BINARY)]);
    assert_eq!(ran.step(AGENT).log, format!("tollgate: the agent is {}\n", claude.display()));
    // And without a key that is where it ends.
    ran.expect_failure(RUN, 2);
    assert!(ran.step(RUN).log.contains("there is no key for a provider"), "{}", ran.log());
}

#[test]
fn an_agent_of_python_gets_an_environment_of_its_own() {
    let world = Tollgate::new();
    let bin = world.home().join("bin");
    let tollgate = "#!/bin/sh\necho \"$GITHUB_TOKEN\" >token\nprintf 'program=thrift\\nmanager=pip\\npackage=thrift-agent\\nversion=1.2\\nwith=alms==3 boon\\n'\n";
    let tollgate = program(&bin, "tollgate", tollgate);
    program(
        &bin,
        "python3",
        "#!/bin/sh\n[ \"$*\" = \"-m venv $3\" ] || exit 9\nmkdir -p \"$3/bin\"\n\
         printf '#!/bin/sh\\necho \"pip $*\"; touch \"${0%%pip}thrift\"; chmod 755 \"${0%%pip}thrift\"' >\"$3/bin/pip\"\n\
         chmod 755 \"$3/bin/pip\"\n",
    );
    let mut job = Job::new(&world.work());
    job.given("PATH", path_with(&bin));
    let ran = job.uses(root(), &[("binary-path", tollgate.to_str().expect("a text"))]);
    let log = &ran.step(AGENT).log;
    assert!(
        log.contains("pip install --quiet --disable-pip-version-check thrift-agent==1.2 alms==3 boon\n"),
        "{log}"
    );
    let path = job.folder("temp").join("tollgate/agent/python/bin").display().to_string();
    assert_eq!(ran.step(AGENT).outputs["path"], path);
    let token = fs::read_to_string(world.work().join("token")).expect("tollgate was asked");
    assert_eq!(token, "ghs_canary\n", "the budget file of the default branch is read with it");
}

// --- The installer

/// What stands for a released binary: it says its version, and writes what a run of it would.
const RELEASED: &str = "#!/bin/sh\n\
    case $1 in --version) echo 'tollgate 9.9.9' ;; run) printf 'verdict=pass\\nleg=%s\\n' \"$TOLLGATE_MATRIX\" >>\"$GITHUB_OUTPUT\" ;; esac\n";

/// A copy of the action, whose checksums are these.
fn action_with(checksums: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for folder in ["action", "gate"] {
        fs::create_dir(copy.path().join(folder)).expect("a folder");
    }
    let mut files = vec!["action.yml".to_owned(), "gate/action.yml".to_owned()];
    for entry in fs::read_dir(root().join("action")).expect("a folder") {
        files.push(format!("action/{}", entry.expect("a file").file_name().display()));
    }
    for file in files {
        fs::copy(root().join(&file), copy.path().join(&file)).expect("a copy");
    }
    fs::write(copy.path().join("action/checksums.txt"), checksums).expect("a file");
    copy
}

fn target() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "x86_64-unknown-linux-musl",
        ("linux", "aarch64") => "aarch64-unknown-linux-musl",
        ("macos", "aarch64") => "aarch64-apple-darwin",
        other => panic!("there is no release for {other:?}"),
    }
}

fn row(version: &str, content: &str) -> String {
    let digest: String =
        Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{version} {} {digest}\n", target())
}

/// A server that answers every request with `body`, and the paths it was asked for.
fn release_server(body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines =
                BufReader::new(stream.try_clone().expect("a socket")).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            log.lock().expect("not poisoned").push(first.split(' ').nth(1).unwrap_or_default().to_owned());
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).expect("an answer");
        }
    });
    (url, asked)
}

/// Runs the action with a command, so that no agent is installed.
fn installed(job: &mut Job, action: &Path, with: &[(&str, &str)]) -> Ran {
    job.uses(action, &[&[("command", "true")], with].concat())
}

#[test]
fn a_release_is_downloaded_checked_and_cached() {
    let action = action_with(&format!("# rows\n{}{}", row("9.9.8", "older"), row("9.9.9", RELEASED)));
    let (url, asked) = release_server(RELEASED);
    let world = Tollgate::new();
    let mut job = Job::new(&world.work());
    job.env("TOLLGATE_DOWNLOAD_URL", &url);
    job.matrix = r#"{"os":"linux"}"#.to_owned();
    let path = format!("/v9.9.9/tollgate-{}", target());
    let ran = installed(&mut job, action.path(), &[]);
    ran.expect_success();
    assert_eq!((&*ran.outputs["verdict"], &*ran.step(RUN).outputs["leg"]), ("pass", r#"{"os":"linux"}"#));
    assert_eq!(
        ran.step(INSTALL).log,
        format!("tollgate: using tollgate 9.9.9, downloaded from {url}{path}\n")
    );
    assert_eq!(asked.lock().expect("not poisoned").join(" "), path);

    let again = installed(&mut job, action.path(), &[("version", "v9.9.9")]);
    assert_eq!(again.step(INSTALL).log, "tollgate: using tollgate 9.9.9, from the tool cache\n");
    assert_eq!(asked.lock().expect("not poisoned").len(), 1, "it is not asked for again");

    // Somebody changes what lies in the cache of a machine that is used again.
    let evil = world.home().join("evil");
    let cached = job.folder("tools").join("tollgate/9.9.9").join(target()).join("tollgate");
    fs::write(&cached, format!("#!/bin/sh\ntouch {}\n", evil.display())).expect("a file");
    let ran = installed(&mut job, action.path(), &[]);
    ran.expect_success();
    assert!(
        ran.step(INSTALL)
            .log
            .starts_with("tollgate: the tool cache's tollgate 9.9.9 is not what was released")
    );
    assert_eq!(fs::read_to_string(&cached).expect("a file"), RELEASED);
    assert_eq!(asked.lock().expect("not poisoned").len(), 2);
    assert!(!evil.exists(), "what was put there never ran");
}

#[test]
fn what_does_not_match_its_checksum_is_refused_and_never_run() {
    let action = action_with(&row("9.9.9", "what was released"));
    let (url, _) = release_server(RELEASED);
    let world = Tollgate::new();
    let mut job = Job::new(&world.work());
    job.env("TOLLGATE_DOWNLOAD_URL", &url);
    let ran = installed(&mut job, action.path(), &[]);
    ran.expect_failure(INSTALL, 2);
    let found = row("", RELEASED).trim().rsplit(' ').next().expect("a digest").to_owned();
    let expected = row("", "what was released").trim().rsplit(' ').next().expect("a digest").to_owned();
    assert_eq!(
        ran.step(INSTALL).log,
        format!(
            "::error title=Tollgate::{url}/v9.9.9/tollgate-{} is not the file that was released: its SHA-256 is \
             {found}, and this commit of the action expects {expected}; nothing was run\n",
            target()
        )
    );
    assert_eq!(ran.outputs["verdict"], "");
    let left: Vec<_> = fs::read_dir(job.folder("temp").join("tollgate/bin")).expect("a folder").collect();
    assert!(left.is_empty(), "nothing is left to be run by mistake: {left:?}");
    assert!(!job.folder("tools").join("tollgate").exists());
}

#[test]
fn what_cannot_be_installed_is_said_with_what_to_do() {
    let known = row("9.9.9", RELEASED);
    let no_program = "binary-path: there is no program at [WORK]/nowhere";
    for (checksums, with, message) in [
        (
            fs::read_to_string(root().join("action/checksums.txt")).expect("a file"),
            vec![],
            "this commit of the action knows no release yet; use `build-from-source: true`, or give `binary-path`",
        ),
        (
            known.clone(),
            vec![("version", "1.0.0")],
            "version: this commit of the action has no checksum of 1.0.0 for [TARGET]; leave `version` out, or pin a commit that knows it",
        ),
        (known.clone(), vec![("binary-path", "nowhere")], no_program),
        (
            known.clone(),
            vec![("build-from-source", "maybe")],
            "build-from-source: `maybe` is neither `true` nor `false`",
        ),
        (
            known.clone(),
            vec![("build-from-source", "true"), ("version", "9.9.9")],
            "`version` chooses a release and `build-from-source` needs none: leave out one of them",
        ),
        (known, vec![], "TOLLGATE_DOWNLOAD_URL is for tests and must be http://127.0.0.1:PORT"),
    ] {
        let action = action_with(&checksums);
        let world = Tollgate::new();
        let mut job = Job::new(&world.work());
        job.env("TOLLGATE_DOWNLOAD_URL", "https://mirror.example");
        let ran = installed(&mut job, action.path(), &with);
        ran.expect_failure(INSTALL, 2);
        let log = ran.step(INSTALL).log.replace(target(), "[TARGET]");
        let log = log.replace(&*world.work().to_string_lossy(), "[WORK]");
        assert_eq!(log, format!("::error title=Tollgate::{message}\n"));
    }
}

#[test]
fn source_is_built_only_where_that_is_asked_for_and_in_the_actions_own_folder() {
    let action = action_with("");
    let world = Tollgate::new();
    let (bin, log) = (world.home().join("bin"), world.home().join("cargo.log"));
    let released = program(&bin, "released", RELEASED);
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$PWD\" \"$@\" >{}\nmkdir -p \"$7/bin\"\ncp {} \"$7/bin/tollgate\"\n",
        log.display(),
        released.display()
    );
    program(&bin, "cargo", &script);
    let mut job = Job::new(&world.work());
    job.given("PATH", path_with(&bin));
    installed(&mut job, action.path(), &[]).expect_failure(INSTALL, 2);
    assert!(!log.exists(), "nobody asked for it");
    let ran = installed(&mut job, action.path(), &[("build-from-source", "true")]);
    ran.expect_success();
    let to = job.folder("temp").join("tollgate").display().to_string();
    let from = action.path().canonicalize().expect("a path").display().to_string();
    assert_eq!(
        fs::read_to_string(&log).expect("cargo was called").lines().collect::<Vec<_>>(),
        [&from, "install", "--quiet", "--locked", "--path", ".", "--root", &to]
    );
}

#[test]
fn an_earlier_step_cannot_slip_code_into_the_actions_shells() {
    let action = action_with(&row("9.9.9", RELEASED));
    let (url, _) = release_server(RELEASED);
    let world = Tollgate::new();
    let evil = world.home().join("evil");
    let hook = world.home().join("hook.sh");
    fs::write(&hook, format!("touch {}\n", evil.display())).expect("a file");
    let mut job = Job::new(&world.work());
    job.env("TOLLGATE_DOWNLOAD_URL", &url)
        .env("BASH_ENV", hook.to_str().expect("a text"))
        .env("ENV", hook.to_str().expect("a text"))
        // A digest that is always the one expected.
        .env("BASH_FUNC_sha256sum%%", &format!("() {{ touch {}; }}", evil.display()))
        .env("BASH_FUNC_cut%%", &format!("() {{ touch {}; }}", evil.display()));
    installed(&mut job, action.path(), &[]).expect_success();
    job.uses(&action.path().join("gate"), &[]).expect_success();
    assert!(!evil.exists());
}

#[test]
fn a_releases_checksums_are_what_the_installer_reads() {
    let world = Tollgate::new();
    let assets = world.home().join("assets");
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "aarch64-apple-darwin"] {
        program(&assets, &format!("tollgate-{target}"), RELEASED);
    }
    let action = action_with("# rows\n");
    let file = action.path().join("action/checksums.txt");
    let checksums = |version: &str| {
        let script = root().join("scripts/checksums");
        let output = std::process::Command::new(script).arg(version).arg(&assets).arg(&file).output();
        output.expect("the script starts")
    };
    assert!(checksums("v9.9.9").status.success());
    let text = fs::read_to_string(&file).expect("a file");
    assert_eq!(text.lines().count(), 4, "{text}");
    let again = checksums("9.9.9");
    assert!(!again.status.success());
    assert_eq!(
        String::from_utf8_lossy(&again.stderr).lines().last(),
        Some("scripts/checksums: 9.9.9 has its rows already: a release is never replaced")
    );
    assert_eq!(fs::read_to_string(&file).expect("a file"), text);
    let (url, _) = release_server(RELEASED);
    let mut job = Job::new(&world.work());
    job.env("TOLLGATE_DOWNLOAD_URL", &url);
    installed(&mut job, action.path(), &[]).expect_success();
}

// --- What the files say

fn action_yml(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(root().join(path)).expect("an action")).expect("YAML")
}

#[test]
fn inputs_are_described_and_reach_a_shell_only_through_its_environment() {
    for path in COMPOSITE {
        let action = action_yml(path);
        let mut unused: Vec<&str> = Vec::new();
        for (name, input) in fields(&action["inputs"]) {
            let said = input["description"].as_str().unwrap_or_default();
            assert!(said.ends_with('.') && said.len() > 20, "{path}: {name} is not described");
            let must = (path, name) == ("finish/action.yml", "state");
            assert_eq!(input["required"], Value::Bool(must), "{path}: {name}");
            assert_eq!(input["default"].is_string(), !must, "{path}: {name} has no default");
            unused.push(name);
        }
        for step in action["runs"]["steps"].as_sequence().expect("steps") {
            let run = step["run"].as_str().expect("a script");
            assert!(!run.contains("${{"), "{path}: an expression inside a script: {run}");
            let env: BTreeMap<_, _> = fields(&step["env"]).collect();
            assert_eq!(env["BASH_ENV"], "", "{path}: {run}");
            for value in env.values().chain([&&step["working-directory"]]) {
                let value = value.as_str().unwrap_or_default();
                unused.retain(|name| !value.contains(&format!("inputs.{name} ")));
            }
        }
        assert!(unused.is_empty(), "{path}: inputs that nothing reads: {unused:?}");
        let step = path.strip_suffix("/action.yml").unwrap_or("run");
        for (name, output) in fields(&action["outputs"]) {
            assert!(output["description"].as_str().is_some_and(|said| said.ends_with('.')), "{path}: {name}");
            assert_eq!(output["value"], format!("${{{{ steps.{step}.outputs.{name} }}}}").as_str());
        }
    }
}

#[test]
fn the_node_action_has_the_inputs_and_outputs_of_start() {
    let (node, start) = (action_yml("around/action.yml"), action_yml("start/action.yml"));
    let described = |value: &Value| -> Vec<(String, Value)> {
        fields(value).map(|(name, field)| (name.to_owned(), field["description"].clone())).collect()
    };
    let mut inputs = described(&node["inputs"]);
    inputs.retain(|(name, _)| name != "outcome" && name != "matrix");
    assert_eq!(inputs, described(&start["inputs"]));
    assert_eq!(described(&node["outputs"]), described(&start["outputs"]));
    let script = fs::read_to_string(root().join("around/around.js")).expect("the script");
    for (name, _) in fields(&node["inputs"]) {
        let read = script.contains(&format!("\"{name}\"")) || name.ends_with("-api-key");
        assert!(read, "nothing reads the input {name}");
    }
}

#[test]
fn keys_are_given_to_the_run_alone() {
    for path in COMPOSITE {
        for step in action_yml(path)["runs"]["steps"].as_sequence().expect("steps") {
            let runs = [RUN, GATE, START, FINISH].contains(&step["name"].as_str().expect("a name"));
            for (name, _) in fields(&step["env"]) {
                let secret = name.ends_with("API_KEY") || name.ends_with("_TOKEN") && name != "GITHUB_TOKEN";
                assert!(runs || !secret, "{path}: {name} in {:?}", step["name"]);
            }
            assert_eq!(
                step["name"] == INSTALL,
                step["env"]["GITHUB_TOKEN"].is_null(),
                "{path}: what downloads"
            );
        }
    }
}

/// The tables of inputs and outputs, as the reference has them.
fn tables(path: &str) -> String {
    let action = action_yml(path);
    let cell = |text: &str| text.replace('|', "\\|");
    let mut out = "| input | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for (name, input) in fields(&action["inputs"]) {
        let default = match input["default"].as_str().unwrap_or_default() {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let said = cell(input["description"].as_str().unwrap_or_default());
        out.push_str(&format!("| `{name}` | {default} | {said} |\n"));
    }
    if !action["outputs"].is_null() {
        out.push_str("\n| output | meaning |\n| --- | --- |\n");
    }
    for (name, output) in fields(&action["outputs"]) {
        out.push_str(&format!(
            "| `{name}` | {} |\n",
            cell(output["description"].as_str().unwrap_or_default())
        ));
    }
    out
}

#[test]
fn the_reference_has_every_input_and_output() {
    let path = root().join("docs/reference/action.md");
    let mut text = fs::read_to_string(&path).expect("the reference");
    for action in COMPOSITE.into_iter().chain(["around/action.yml"]) {
        let (begin, end) = (format!("<!-- tables of {action} -->\n"), "<!-- end of tables -->");
        let from = text.find(&begin).expect("a place for the tables") + begin.len();
        let to = from + text[from..].find(end).expect("an end");
        let tables = format!("\n{}\n", tables(action));
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            text.replace_range(from..to, &tables);
            fs::write(&path, &text).expect("the file can be written");
        } else {
            assert_eq!(text[from..to], tables, "docs/reference/action.md; TOLLGATE_BLESS=1 writes it anew");
        }
    }
}
