//! Starting the meter and the agent behind it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::Story;
use super::clouds::Via;
use super::inputs::Inputs;
use super::prompt;
use super::upstream::Upstream;
use crate::agent::environment::{self, EnvSpec, Identity};
use crate::agent::output::{Log, Redactor};
use crate::agent::preset::{self, Choice, FirstRequest, Launch, Search, Told, Wiring};
use crate::agent::process::{self, Running, Spec};
use crate::agent::thinking;
use crate::budget::{self, Budget, Mode};
use crate::cli::Shell;
use crate::exit::Failure;
use crate::meter::{self, Allowance, Config, Meter, Policy};
use crate::model::ModelId;
use crate::money::Usd;
use crate::preset::Preset;
use crate::price::{Table, When};
use crate::route::Route;
use crate::task::Tier;
use crate::tokens::Terms;

/// Starts the meter for one run.
///
/// # Errors
/// When no loopback port can be had.
pub(super) async fn meter(
    upstream: &Upstream,
    inputs: &Inputs,
    preset: Preset,
    route: &Route,
    cap: Usd,
    folder: &Path,
) -> anyhow::Result<Meter> {
    inputs.check_prices()?;
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no loopback port can be had")?;
    let config = Config {
        ways: upstream.ways.clone(),
        table: inputs.table,
        clock: Timestamp::now,
        policy: policy(&inputs.budget),
        allowance: Allowance { usd: cap, fresh_tokens: route.fresh_tokens },
        routed: Some(Via::routed(upstream.via(), &route.model, inputs.table)),
        output_default: Some(output_cap(preset, route, cap, inputs.table)),
        journal: Some(folder.join("journal")),
    };
    Ok(Meter::start(listener, config)?)
}

fn policy(budget: &Budget) -> Policy {
    Policy {
        deny_unknown_model: budget.on.unknown_model == budget::UnknownModel::Deny,
        deny_server_tools: budget.on.server_tools == budget::ServerTools::Deny,
        dearer_model: match budget.on.dearer_model {
            budget::DearerModel::Remap => meter::DearerModel::Remap,
            budget::DearerModel::Deny => meter::DearerModel::Deny,
            budget::DearerModel::Allow => meter::DearerModel::Allow,
        },
        steer_at: budget.steer_at,
        enforce: budget.mode == Mode::Enforce,
    }
}

/// What is to be run: the command that was given, the built-in agent, or the budget file's preset.
///
/// # Errors
/// When tollgate's own program, which is the built-in agent, cannot be found.
pub(super) fn choice(story: &Story<'_>, route: &Route) -> anyhow::Result<Choice> {
    let agent = &story.inputs.budget.agent;
    let prompt = prompt::for_task(agent, story.class.task, &story.inputs.event);
    if story.request.simulate {
        let exe = std::env::current_exe().context("tollgate's own program cannot be found")?;
        let model = route.model.as_str();
        let words = [&exe.display().to_string(), "simulate-agent", "--model", model, "--prompt", &prompt];
        return Ok(Choice::Command(words.map(str::to_owned).to_vec()));
    }
    if !story.request.command.is_empty() {
        let words = story.request.command.iter().map(|word| word.to_string_lossy().into_owned());
        return Ok(Choice::Command(words.collect()));
    }
    Ok(Choice::of(agent.preset, Told { prompt, args: agent.args.clone() }))
}

/// Whether what is to be run is there at all.
///
/// # Errors
/// When it is not, as a [`Failure`] with exit code 2.
pub(super) fn check(choice: &Choice, route: &Route, shell: &Shell) -> anyhow::Result<()> {
    let wiring = Wiring {
        base_url: "",
        token: "",
        model: &route.model,
        small_model: &route.model,
        cap: route.cap,
        output_tokens_max: 0,
        window_tokens: 0,
        home: Path::new(""),
    };
    launch(choice, &wiring, shell).map(drop)
}

fn launch(choice: &Choice, wiring: &Wiring<'_>, shell: &Shell) -> anyhow::Result<Launch> {
    let path = shell.env.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let root = rustix::process::geteuid().is_root();
    preset::launch(choice, wiring, &Search { path: &path, cwd: &here, root })
        .map_err(|error| Failure::usage(error.to_string()).into())
}

/// Which agent is started, in which version, and whether that is the one that was measured; `None` for a
/// command.
pub(super) fn introduce(choice: &Choice, launch: &Launch) -> Option<String> {
    let package = preset::package(choice.preset())?;
    let title = choice.preset().title();
    Some(match package.installed(&launch.program) {
        Some(version) if version == package.version => format!("{title} {version}"),
        Some(version) => format!("{title} {version}; the preset was measured with {}", package.version),
        None => {
            let program = launch.program.display();
            format!(
                "{title}, of a version that {program} does not tell; the preset was measured with {}",
                package.version
            )
        }
    })
}

/// What an agent is started with.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// What it is.
    pub(super) choice: &'a Choice,
    /// Where the run goes.
    pub(super) route: &'a Route,
    /// The run's cap.
    pub(super) cap: Usd,
    /// The folder of its run.
    pub(super) folder: &'a Path,
    /// The providers' keys, which the agent must never see.
    pub(super) keys: &'a [String],
    /// The cloud that serves Claude in Anthropic's place.
    pub(super) via: Option<&'a Via>,
}

/// Finds an agent's program before anything is spent or held.
///
/// # Errors
/// When it is not there, as a [`Failure`] with exit code 2.
pub(super) fn find(
    start: &Start<'_>,
    inputs: &Inputs,
    shell: &Shell,
    url: &str,
    token: &str,
) -> anyhow::Result<Launch> {
    let home = environment::home_path(start.folder);
    let met = Met { url, token, home: &home };
    let models = Models::of(inputs, start.route, start.via);
    let wiring = wiring(inputs, start.choice.preset(), (start.route, &models), start.cap, met);
    let mut launch = launch(start.choice, &wiring, shell)?;
    let (effort, thinking) = (start.route.effort, start.route.thinking);
    launch.env.extend(thinking::variables(effort, thinking, wiring.output_tokens_max));
    launch.env.extend(start.via.map(|via| via.env(url)).unwrap_or_default());
    Ok(launch)
}

/// The meter and the home that an agent is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met<'a> {
    /// The meter's address.
    pub(super) url: &'a str,
    /// Its token.
    pub(super) token: &'a str,
    /// The agent's home.
    pub(super) home: &'a Path,
}

/// The models that an agent is told, as those name them who serve them.
#[derive(Debug)]
pub(super) struct Models {
    /// The one that the run was routed to.
    pub(super) main: ModelId,
    /// The one for side calls.
    small: ModelId,
}

impl Models {
    /// The models of a run: its route's, and the low tier's where that is no dearer.
    pub(super) fn of(inputs: &Inputs, route: &Route, via: Option<&Via>) -> Self {
        let low = &inputs.budget.tiers.get(Tier::Low).model;
        let small = match inputs.table.is_dearer(low, &route.model, When::Around(Timestamp::now())) {
            Some(false) => low,
            _ => &route.model,
        };
        Self { main: Via::named(via, &route.model), small: Via::named(via, small) }
    }
}

/// What an agent is told of its run.
pub(super) fn wiring<'a>(
    inputs: &Inputs,
    preset: Preset,
    (route, models): (&Route, &'a Models),
    cap: Usd,
    Met { url: base_url, token, home }: Met<'a>,
) -> Wiring<'a> {
    let Models { main: model, small: small_model } = models;
    let output_tokens_max = output_cap(preset, route, cap, inputs.table);
    let window_tokens = window_tokens(route, inputs.table);
    Wiring { base_url, token, model, small_model, cap, output_tokens_max, window_tokens, home }
}

/// The context window of the model, in tokens; of one that is not known, what most have at least.
fn window_tokens(route: &Route, table: &Table) -> u64 {
    table.limits(&route.model).map_or(128_000, |limits| limits.window)
}

/// The longest answer that an agent is to ask for, in tokens, see [`preset::output_cap`].
fn output_cap(preset: Preset, route: &Route, cap: Usd, table: &Table) -> u64 {
    if cap == Usd::ZERO {
        return preset::output_cap_by_tokens(FirstRequest::of(preset), route.fresh_tokens);
    }
    output_tokens_max(preset, &route.model, cap, table)
}

/// The longest answer that an agent is to ask for where dollars cap its run, in tokens, see
/// [`preset::output_cap`].
#[must_use]
pub fn output_tokens_max(preset: Preset, model: &ModelId, cap: Usd, table: &Table) -> u64 {
    let when = When::Around(Timestamp::now());
    let model = table.find(model);
    let rates = model.and_then(|model| model.rates(when, &Terms::default(), 0).ok()).unwrap_or_default();
    // Whatever the vendor calls it: no agent asks for caches that live longer.
    let input = rates.input.max(rates.cache_write_5m).max(rates.cache_write_30m);
    let cap = if model.is_some() { cap } else { Usd::ZERO };
    preset::output_cap(FirstRequest::of(preset), cap, input, rates.output)
}

/// Starts the agent.
///
/// # Errors
/// When its home cannot be made or the system refuses to start it.
pub(super) fn agent(
    start: &Start<'_>,
    launch: Launch,
    inputs: &Inputs,
    shell: &Shell,
    token: &str,
    log: &Log,
) -> anyhow::Result<Running> {
    let home = environment::create_home(start.folder).context("the agent's home cannot be made")?;
    let files = launch.files.iter().map(|file| (file.path, file.text.as_str()));
    environment::furnish(&home, files).context("the agent's settings cannot be written")?;
    let workspace = std::env::current_dir().context("the current folder cannot be told")?;
    // Names and values both: whatever a budget file lets through, tollgate's own tokens stay here.
    let hooks = inputs.budget.webhooks.iter().filter_map(|hook| shell.var(&hook.env));
    let mut secrets: Vec<String> = start.keys.to_vec();
    secrets.extend(shell.var("GITHUB_TOKEN").into_iter().chain(hooks).map(str::to_owned));
    let environment = environment::build(
        &shell.env,
        &EnvSpec {
            home: &home,
            workspace: &workspace,
            let_through: &inputs.budget.agent.env,
            preset: &launch.env,
            secrets: &secrets,
            identity: Identity::default(),
            hooks_off: inputs.of_another,
        },
    );
    for name in &environment.kept_out {
        log.own(&format!("note: {name} is kept from the agent: it names or holds a key"));
    }
    let known = environment::secrets(&shell.env);
    let spec = Spec {
        program: launch.program,
        args: launch.args,
        env: environment.vars,
        workspace,
        time_limit: start.route.timeout,
        format: launch.format,
        redactor: Arc::new(Redactor::new(secrets.iter().chain(&known).map(String::as_str).chain([token]))),
    };
    Ok(process::start(&spec, log)?)
}
