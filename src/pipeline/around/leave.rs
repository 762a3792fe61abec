//! The end of `tollgate start`: the meter is left running, and the next step is told where it is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::attendant::{Handover, Ready};
use super::sealed::{Handle, Key};
use super::state::{self, State};
use super::{LOG, METER, Process, STATE};
use crate::agent::preset;
use crate::agent::process::harden;
use crate::cli::Shell;
use crate::pipeline::clouds::Via;
use crate::pipeline::reserve::Begun;
use crate::pipeline::start::{self, Models};
use crate::pipeline::voice::{Name, Voice};
use crate::pipeline::{Story, cancelled, finish, upstream};
use crate::provider::Vendor;
use crate::report::outputs;
use crate::supervise::Signals;

/// How long the meter may take to be ready.
const READY_MAX: Duration = Duration::from_secs(20);
/// What of its words is repeated when it is not, in bytes.
const WORDS_BYTES_MAX: usize = 2_000;
/// The variables that the meter's process is started with. By the runner's own, the runner finds it at the
/// end of the job.
const ENVIRONMENT: [&str; 6] = ["HOME", "LC_ALL", "PATH", "RUNNER_TRACKING_ID", "TMPDIR", "TZ"];

/// Values by name, for the next step.
pub(in crate::pipeline) type Outputs = Vec<(&'static str, String)>;

/// A meter that was left running, and by what it is reached.
struct Left<'a> {
    pid: Pid,
    ready: Ready,
    models: Models,
    /// The cloud that serves Claude in Anthropic's place.
    via: Option<&'a Via>,
    /// Every later step of the job is told.
    export: bool,
}

/// What the next step is told where nothing was begun.
pub(in crate::pipeline) fn nothing() -> Outputs {
    vec![("state", "none".to_owned()), ("run", "false".to_owned())]
}

/// Hands values to the next step, where a runner does that, and returns them.
///
/// # Errors
/// When the runner's file cannot be written.
pub(in crate::pipeline) fn hand_on(outputs: Outputs, shell: &Shell) -> anyhow::Result<Outputs> {
    if let Some(path) = shell.var("GITHUB_OUTPUT") {
        append(path, &outputs).context("the step outputs cannot be written")?;
    }
    Ok(outputs)
}

fn append(path: &str, values: &Outputs) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(outputs::append(values, &mut file)?)
}

/// Leaves the meter running and tells everybody. What the next step is given is returned.
///
/// # Errors
/// When the meter cannot be left running, nobody can be told, or a signal came; no meter is left then.
pub(in crate::pipeline) async fn leave(
    story: &Story<'_>,
    begun: &Begun,
    (export, via): (bool, Option<&Via>),
    signals: &mut Signals,
    shell: &mut Shell,
) -> anyhow::Result<Outputs> {
    let handle = Handle { folder: absolute(begun.folder.path())?, key: Key::new() };
    handle.write(STATE, &State::of(story, begun, shell)).context("the run's folder cannot be written")?;
    // The keys are in this process's environment: nobody may read that while it is there.
    harden(&[], &[]).await;
    let (pid, ready) = attendant(story, begun, &handle, shell).await?;
    let models = Models::of(story.inputs, &begun.route, via);
    let left = Left { pid, ready, models, via, export };
    let told = match signals.pending() {
        Some(signal) => Err(cancelled(signal, "cancelled before the agent's step began; nothing was spent")),
        None => tell(story, begun, &handle, &left, shell).await,
    };
    if told.is_err() {
        // It has forwarded nothing; that it is gone already is as good.
        let _ = kill_process(pid, Signal::TERM);
    }
    told
}

fn absolute(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(folder).context("the run's folder cannot be told")
}

/// Starts the process that stays, and waits until it takes requests.
async fn attendant(
    story: &Story<'_>,
    begun: &Begun,
    handle: &Handle,
    shell: &Shell,
) -> anyhow::Result<(Pid, Ready)> {
    let exe = std::env::current_exe().context("tollgate's own program cannot be found")?;
    let log = handle.folder.join(LOG);
    let words = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&log)?;
    let mut command = Command::new(exe);
    let environment = ENVIRONMENT.into_iter().filter_map(|name| Some((name, shell.var(name)?)));
    command.arg("attend").env_clear().envs(environment).current_dir(&handle.folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(words);
    let mut child = {
        // It keeps the run alive when this process ends.
        let _shared = begun.folder.share()?;
        command.spawn().context("the meter's process cannot be started")?
    };
    let ready = tokio::time::timeout(READY_MAX, greet(&mut child, handover(story, handle, shell))).await;
    let ready = ready.unwrap_or_else(|_| bail!("it was not ready within {} s", READY_MAX.as_secs()));
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match (ready, pid) {
        (Ok(ready), Some(pid)) => Ok((pid, ready)),
        (Ok(_), None) => bail!("the meter's process has ended"),
        (Err(error), _) => {
            let _ = child.kill().await;
            let words = fs::read(&log).unwrap_or_default();
            let words = String::from_utf8_lossy(&words[..words.len().min(WORDS_BYTES_MAX)]).into_owned();
            Err(error.context(format!("the meter could not be left running: {}", words.trim())))
        }
    }
}

fn handover(story: &Story<'_>, handle: &Handle, shell: &Shell) -> Handover {
    let mut env = state::handed(shell);
    for (vendor, upstream) in &story.request.upstreams {
        env.insert(upstream::variable(*vendor), upstream.url());
    }
    // It works elsewhere, and reads this file itself.
    if let Some(path) = env.get_mut("GOOGLE_APPLICATION_CREDENTIALS")
        && let Ok(whole) = std::path::absolute(&*path)
    {
        *path = whole.display().to_string();
    }
    Handover { folder: handle.folder.clone(), key: handle.key.text().to_owned(), env }
}

async fn greet(child: &mut Child, handover: Handover) -> anyhow::Result<Ready> {
    let mut input = child.stdin.take().context("its input is no pipe")?;
    let output = child.stdout.take().context("its output is no pipe")?;
    let written = input.write_all(&serde_json::to_vec(&handover)?).await;
    drop(input);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await?;
    if line.is_empty() {
        written.context("it took no hand-over")?;
        bail!("it has ended");
    }
    serde_json::from_str(&line).context("what it says cannot be read")
}

/// Says where the meter is: to the log, on the pull request, and to the next step.
async fn tell(
    story: &Story<'_>,
    begun: &Begun,
    handle: &Handle,
    left: &Left<'_>,
    shell: &mut Shell,
) -> anyhow::Result<Outputs> {
    let Begun { route, held, .. } = begun;
    let Left { pid, ready, models, via, export } = left;
    let inputs = story.inputs;
    let process = Process { pid: pid.as_raw_nonzero().get() };
    handle.write(METER, &process).context("the run's folder cannot be written")?;
    if inputs.on_actions {
        for secret in [ready.token.as_str(), handle.key.text()] {
            writeln!(shell.err, "::add-mask::{secret}")?;
        }
    }
    finish::announce(story, route, held.cap, &ready.isolation, shell)?;
    writeln!(shell.err, "tollgate: the meter is at {}; `tollgate finish` ends the run", ready.url)?;
    let outputs = outputs(story, begun, handle, left);
    if *export && let Some(path) = shell.var("GITHUB_ENV") {
        let met = start::Met { url: &ready.url, token: &ready.token, home: &handle.folder };
        let wiring = start::wiring(inputs, story.preset(), (route, models), held.cap, met);
        let mut variables = preset::shared_env(&wiring);
        variables.extend(via.map(|via| via.env(&ready.url)).unwrap_or_default());
        append(path, &variables).context("the job's variables cannot be written")?;
    }
    let outputs = hand_on(outputs, shell)?;
    let started = finish::started(story, route, held.cap, held.siblings.clone());
    let voice = Voice::start(inputs, started, Name::of(inputs, Some(held.id.as_str()), shell));
    if let (_, Some(why)) = voice.end(false).await {
        writeln!(shell.err, "warning: the comment could not be brought up to date: {why}")?;
    }
    Ok(outputs)
}

/// What the next step is given.
fn outputs(story: &Story<'_>, begun: &Begun, handle: &Handle, left: &Left<'_>) -> Outputs {
    let Begun { route, held, .. } = begun;
    let ready = &left.ready;
    let url = |vendor: Vendor, path: &str| {
        let served = ready.vendors.iter().any(|name| name == vendor.as_str());
        if served { format!("{}{path}", ready.url) } else { String::new() }
    };
    let mut outputs = vec![
        ("state", handle.text()),
        ("api_key", ready.token.clone()),
        ("anthropic_base_url", url(Vendor::Anthropic, "")),
        // OpenAI's clients put no version before their paths.
        ("openai_base_url", url(Vendor::OpenAi, "/v1")),
        ("gemini_base_url", url(Vendor::Gemini, "")),
        ("model", left.models.main.to_string()),
        ("task", story.class.task.to_string()),
        ("stakes", story.class.stakes.to_string()),
        ("tier", route.tier.to_string()),
        // What a subscription pays for has no cap in dollars.
        ("cap_usd", if story.limits.subscription { String::new() } else { held.cap.to_string() }),
        ("hold_id", held.id.to_string()),
        ("run", "true".to_owned()),
    ];
    outputs.extend(left.via.map(|via| via.outputs(&ready.url)).unwrap_or_default());
    outputs
}
