//! The whole story of a run, one line a stage.
//!
//! ```text
//! event + budget file ─▶ classify ─▶ route ─▶ reserve ─▶ run the agent through the meter ─▶ settle ─▶ report ─▶ gate
//! ```
//!
//! [`run`] tells all of it in one process. Around a step of somebody else's the same story has a break where
//! the agent runs: [`start`] tells it up to there and leaves the meter behind, [`finish()`] goes on from what
//! that has counted.

mod around;
mod asks;
pub mod books;
mod clouds;
mod conclude;
mod deliver;
mod finish;
pub mod folder;
pub mod forge;
mod grow;
mod in_reach;
pub mod inputs;
mod live;
pub mod place;
pub(crate) mod prices;
mod prompt;
mod reserve;
mod retry;
mod second;
mod siblings;
mod start;
mod status;
mod total;
mod trust;
mod upstream;
mod voice;
mod webhook;
mod work;

pub use around::{Finish, Outcome, attend};

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::agent::process::harden;
use crate::classify::Class;
use crate::cli::Shell;
use crate::exit;
use crate::gate::{self, AgentEnd, Tokens};
use crate::github::GitHub;
use crate::limits::Limits;
use crate::meter;
use crate::money::Usd;
use crate::outcome::Verdict;
use crate::preset::Preset;
use crate::provider::Vendor;
use crate::route::{self, Route, Routed};
use crate::supervise::{self, End, Signals};
use crate::task::Task;

use conclude::{Count, Spent, conclude};
use folder::RunFolder;
use grow::Grower;
use inputs::Inputs;
use live::Live;
use place::Place;
use reserve::{Beginning, Begun, Held, hold, refuse, upstream, without_key, without_ledger};
use retry::Earlier;
use start::Start;
use upstream::Upstream;
use voice::{Name, Voice};
use work::Work;

pub use start::output_tokens_max;

/// What `tollgate run` and `tollgate start` are asked for.
#[derive(Debug, Default)]
pub struct Request {
    /// The task, where the user says it.
    pub task: Option<Task>,
    /// Use the embedded provider and the built-in agent.
    pub simulate: bool,
    /// The budget file, where it is not the usual one.
    pub budget_file: Option<PathBuf>,
    /// The event's payload, where it is not the usual one.
    pub event: Option<PathBuf>,
    /// The providers' base URLs, where they are not the usual ones.
    pub upstreams: Vec<(Vendor, meter::Upstream)>,
    /// Where to write the summary as JSON.
    pub summary_json: Option<PathBuf>,
    /// The agent is a step of somebody else's: nothing of it is started here.
    pub around: bool,
    /// The agent's command line; empty for the budget file's preset.
    pub command: Vec<OsString>,
}

impl Request {
    /// What is run: the budget file's preset, unless a command line was given.
    fn preset(&self, inputs: &Inputs) -> Preset {
        let given = self.simulate || self.around || !self.command.is_empty();
        if given { Preset::Command } else { inputs.budget.agent.preset }
    }
}

/// What a story starts from.
struct Premise {
    request: Request,
    inputs: Inputs,
    class: Class,
    limits: Limits,
    /// What a second opinion on the class has cost.
    opinion: Usd,
    started: Timestamp,
}

/// What every stage knows of the run.
#[derive(Clone, Copy, Debug)]
struct Story<'a> {
    /// What was asked for.
    request: &'a Request,
    /// What it starts from.
    inputs: &'a Inputs,
    /// The class of the work.
    class: &'a Class,
    /// The limits that apply.
    limits: &'a Limits,
    /// What a second opinion on the class has cost, which is taken off the run's cap.
    opinion: Usd,
    /// When it began.
    started: Timestamp,
}

impl Story<'_> {
    /// What a run has used of its new tokens, where a subscription pays for it.
    fn subscription(&self, route: &Route, used: u64) -> Option<Tokens> {
        self.limits.subscription.then_some(Tokens { used, most: route.fresh_tokens })
    }

    /// What is run.
    fn preset(&self) -> Preset {
        self.request.preset(self.inputs)
    }

    /// GitHub, where the run is on it and has a token.
    fn github(&self) -> Option<&GitHub> {
        self.inputs.known.forge.as_ref().map(|forge| &forge.github)
    }
}

/// Runs the main job and returns the exit code.
///
/// # Errors
/// What a person can mend is a [`Failure`](exit::Failure) with its exit code; anything else is tollgate's own
/// failure.
pub async fn run(request: Request, shell: &mut Shell) -> anyhow::Result<u8> {
    // From here on a signal is noticed, not fatal: what is held gets settled.
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    let premise = Premise::gather(request, &mut signals, shell).await?;
    let story = premise.story();
    let (begun, upstream) = match begin(&story, shell).await? {
        Beginning::Held(begun, upstream) => (begun, upstream),
        Beginning::Over(code) => return Ok(code),
    };
    let spent = spend(&story, &begun, &upstream, &mut None, &mut signals, shell).await;
    let (begun, spent) = retry::again(&story, *begun, spent, &upstream, &mut signals, shell).await;
    Ok(conclude(&story, &begun, spent, shell).await?.code)
}

/// What `tollgate start` comes to.
#[derive(Debug)]
pub struct Started {
    /// The exit code.
    pub code: u8,
    /// What the next step is given, by name.
    pub outputs: Vec<(&'static str, String)>,
}

/// Begins a run around somebody else's step: the meter is left running, and its money is held.
///
/// # Errors
/// As [`run`].
pub async fn start(request: Request, export: bool, shell: &mut Shell) -> anyhow::Result<Started> {
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    // Whatever happens from here on, the next steps are told.
    let nothing = around::hand_on(around::nothing(), shell)?;
    let premise = Premise::gather(Request { around: true, ..request }, &mut signals, shell).await?;
    let story = premise.story();
    let (begun, upstream) = match begin(&story, shell).await? {
        // The one that spends reads its keys itself.
        Beginning::Held(begun, upstream) => (begun, upstream),
        Beginning::Over(code) => return Ok(Started { code, outputs: nothing }),
    };
    match around::leave(&story, &begun, (export, upstream.via()), &mut signals, shell).await {
        Ok(outputs) => Ok(Started { code: exit::PASS, outputs }),
        Err(error) => {
            conclude::give_up(&story, &begun, "the meter could not be left running")?;
            Err(error)
        }
    }
}

/// Ends a run that [`start`] began, once the step is over, and returns the exit code.
///
/// # Errors
/// As [`run`].
pub async fn finish(request: Finish, shell: &mut Shell) -> anyhow::Result<u8> {
    // A signal hurries nothing here: all that is left to do is what it would ask for.
    let _signals = Signals::catch().context("signals cannot be caught")?;
    let left = match around::find(&request, shell)? {
        around::Found::Left(left) => left,
        around::Found::Over(code) => return Ok(code),
    };
    let premise = left.premise(&request, shell)?;
    let story = premise.story();
    let (folder, spent) = left.collect(request.outcome, shell).await?;
    let begun = left.begun(&story, folder, shell)?;
    let reported = conclude(&story, &begun, Ok(spent), shell).await?;
    left.close(&reported, shell)
}

impl Premise {
    /// Reads what a story starts from, and classifies the work.
    async fn gather(request: Request, signals: &mut Signals, shell: &mut Shell) -> anyhow::Result<Self> {
        // A simulation asks nobody and tells nobody.
        let (event, file, ask) =
            (request.event.as_deref(), request.budget_file.as_deref(), !request.simulate);
        let inputs = Inputs::gather(shell, event, file, ask).await?;
        let class = classify(&request, &inputs);
        let started = Timestamp::now();
        let limits = books::limits(shell, &inputs, class.task, started);
        let second::Heard { class, mut limits, cost: opinion } =
            second::opinion(&request, &inputs, class, (limits, started), signals, shell).await?;
        // What a subscription pays for takes from no budget in dollars. What is wrong with an address or a
        // cloud is said where it is used.
        let upstream = Upstream::of(request.preset(&inputs), shell, &request.upstreams);
        let paid = upstream.is_ok_and(|found| found.is_some_and(|upstream| upstream.is_subscription()));
        if paid && !request.simulate {
            limits = limits.of_subscription();
        }
        Ok(Self { request, inputs, class, limits, opinion, started })
    }

    fn story(&self) -> Story<'_> {
        let Self { request, inputs, class, limits, opinion, started } = self;
        Story { request, inputs, class, limits, opinion: *opinion, started: *started }
    }
}

/// Everything before the agent: asked for, allowed, routed, and paid for in advance.
async fn begin(story: &Story<'_>, shell: &mut Shell) -> anyhow::Result<Beginning> {
    let Story { request, inputs, class, .. } = *story;
    let over = |code| Ok(Beginning::Over(code));
    if let Some(reason) = asks::refused(&inputs.event) {
        let gate = gate::skipped(Verdict::Pass, &reason, asks::HINT);
        return over(finish::skipped(story, &gate, shell).await?);
    }
    work::check_checkout(story, shell)?;
    let Some(upstream) = upstream(story, shell).await? else { return over(without_key(story, shell).await?) };
    in_reach::check(story, &upstream, shell)?;
    upstream.warm().await?;
    // Git is found, and the token read, before any agent could have a say in either.
    let place = Place::find(shell, &inputs.budget, &inputs.root, request.simulate)?;
    let store = match books::open(place, inputs, request.simulate, shell) {
        Ok(store) => store,
        Err(error) => return over(without_ledger(error, story, shell).await?),
    };
    let balances = match store.balances(&story.limits.for_ledger()) {
        Ok(balances) => balances,
        Err(error) => return over(without_ledger(books::unavailable(error), story, shell).await?),
    };
    let route = match route::route(class, &inputs.budget, inputs.table, &balances) {
        Routed::Run(route) => route.less(story.opinion),
        Routed::Refused { by, least } => {
            return over(refuse(story, &store, (&by, least), &balances, shell).await?);
        }
    };
    let runs = books::runs(inputs, request.simulate, request.around, shell);
    let folder = RunFolder::create(&runs).context("the run's folder cannot be made")?;
    if !request.around {
        // Before the hold: what is not there is said without a trace in the books.
        upstream.check(story.preset(), &route)?;
        start::check(&start::choice(story, &route)?, &route, shell)?;
    }
    let held = match hold(&store, story, &route, &folder, shell) {
        Ok(Ok(held)) => {
            let siblings = finish::siblings(&store, story, &held.id).unwrap_or_default();
            Held { balances, siblings, ..held }
        }
        Ok(Err((by, least))) => {
            return over(refuse(story, &store, (&by, least), &balances, shell).await?);
        }
        Err(error) => return over(without_ledger(error, story, shell).await?),
    };
    store.rest();
    Ok(Beginning::Held(Box::new(Begun { store, route, held, folder }), upstream))
}

/// The class of the work; a task that the user names needs no guessing, its stakes do.
fn classify(request: &Request, inputs: &Inputs) -> Class {
    let mut class = crate::classify::classify(&inputs.event, &inputs.budget.rules);
    if let Some(task) = request.task
        && task != class.task
    {
        class.reasons.insert(0, format!("--task says {task}"));
        class.task = task;
    }
    class
}

/// Runs the agent through the meter until it is over; in the working tree that an earlier attempt has left,
/// where there is one, and which stays there unless an agent was started.
async fn spend(
    story: &Story<'_>,
    begun: &Begun,
    upstream: &Upstream,
    left: &mut Option<Work>,
    signals: &mut Signals,
    shell: &mut Shell,
) -> anyhow::Result<Spent> {
    let began = Instant::now();
    let inputs = story.inputs;
    let Begun { route, held, folder, .. } = begun;
    let choice = start::choice(story, route)?;
    let keys = upstream.keys();
    let is_first = left.is_none();
    let prepared = async {
        if is_first { Work::prepare(story, &keys, shell, folder.path()).await.map(Some) } else { Ok(None) }
    };
    let files = upstream.files();
    let (isolation, prepared) = tokio::join!(harden(&keys, &files), prepared);
    *left = prepared?.or(left.take());
    let isolation = isolation.to_string();
    let (folder, via) = (folder.path(), upstream.via());
    let start = Start { choice: &choice, route, cap: held.cap, folder, keys: &keys, via };
    let meter = start::meter(upstream, inputs, choice.preset(), route, held.cap, folder).await?;
    let (growth, grower) = held.growing.clone().map_or((None, None), |growing| {
        meter.grant(growing.cap);
        let (growth, grower) = Grower::start(begun.store.clone(), growing);
        (Some(growth), Some(grower))
    });
    let launch = start::find(&start, inputs, shell, &meter.url(), meter.token())?;
    finish::announce(story, route, held.cap, &isolation, shell)?;
    if let Some(agent) = start::introduce(&choice, &launch) {
        writeln!(shell.err, "tollgate: agent {agent}")?;
    }
    if let Some(work) = left.as_ref() {
        work.announce(shell)?;
    }
    let mut live = Live::new(story, held.cap, &held.balances, shell);
    let running = start::agent(&start, launch, inputs, shell, meter.token(), &live.log())?;
    // After the agent's start, which waits for nobody.
    let started = finish::started(story, route, held.cap, held.siblings.clone());
    live.speak(Voice::start(inputs, started, Name::of(inputs, Some(held.id.as_str()), shell)));
    let supervised = supervise::run(running, meter, growth, signals, |snapshot| live.on(snapshot)).await;
    let voice = live.end();
    let grown = match grower {
        Some(grower) => Some(grower.end().await),
        None => None,
    };
    Ok(Spent {
        grown,
        agent: agent_end(supervised.end),
        capped: supervised.capped(),
        words: supervised.last_words(),
        count: Count::Told(supervised.totals),
        took: began.elapsed(),
        work: left.take(),
        voice,
        earlier: Earlier::default(),
    })
}

/// The failure of a run that a signal has ended before there was an agent.
fn cancelled(signal: Signal, message: &str) -> anyhow::Error {
    let code = if signal == Signal::INT { exit::INTERRUPTED } else { exit::TERMINATED };
    exit::Failure { code, message: message.to_owned() }.into()
}

fn agent_end(end: End) -> AgentEnd {
    match end {
        End::Itself { success: true } => AgentEnd::Fine,
        End::Itself { success: false } | End::Overstayed => AgentEnd::Failed,
        End::TimeUp => AgentEnd::TimedOut,
        End::Cancelled(Signal::INT) => AgentEnd::Cancelled(exit::INTERRUPTED),
        End::Cancelled(_) => AgentEnd::Cancelled(exit::TERMINATED),
    }
}
