//! What `start` knows and `finish` needs: the first half of the story, written down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agent::environment;
use crate::budget::Budget;
use crate::classify::Class;
use crate::cli::Shell;
use crate::event::Event;
use crate::money::Usd;
use crate::pipeline::forge::Known;
use crate::pipeline::inputs::{self, Inputs};
use crate::pipeline::prices::{self, Here};
use crate::pipeline::reserve::{Begun, Held};
use crate::pipeline::{Premise, Request, Story, books};
use crate::price::Table;
use crate::route::Route;

/// The version of the file; another is not read.
const VERSION: u32 = 1;
/// Variables that tell tollgate where it is and whom to ask, besides those with a prefix of [`OURS`].
const NAMES: [&str; 14] = [
    "ALL_PROXY",
    "GIT_SSL_CAINFO",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
];
/// Prefixes of such variables.
const OURS: [&str; 3] = ["GITHUB_", "RUNNER_", "TOLLGATE_"];
/// What each step is given anew: its secrets, and the files that it writes to.
pub(super) const OF_A_STEP: [&str; 9] = [
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_PATH",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_TOKEN",
    "TOLLGATE_DATABASE_URL",
    "TOLLGATE_LEDGER_TOKEN",
    "TOLLGATE_STATE",
];

/// A run that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    v: u32,
    started: Timestamp,
    pub(super) simulate: bool,
    event: Event,
    /// The budget file's text and what that is called.
    budget: Option<(String, String)>,
    workflow: Option<String>,
    on_actions: bool,
    of_another: bool,
    root: PathBuf,
    folder: PathBuf,
    known: Known,
    class: Class,
    pub(super) route: Route,
    pub(super) held: Held,
    /// A subscription pays for it.
    subscription: bool,
    /// What [`NAMES`] and [`OURS`] name.
    surroundings: BTreeMap<String, String>,
}

impl State {
    /// The state of a story that has come as far as its hold.
    pub(super) fn of(story: &Story<'_>, begun: &Begun, shell: &Shell) -> Self {
        let Inputs { event, budget_text, workflow, on_actions, of_another, root, state, known, .. } =
            story.inputs;
        let mut event = event.clone();
        // Long, and only for the classifier.
        for file in event.change.iter_mut().flat_map(|change| &mut change.files) {
            file.patch = None;
        }
        let surroundings = shell.env.iter().filter_map(|(name, value)| {
            let (name, value) = (name.to_str()?, value.to_str()?);
            stays(name).then(|| (name.to_owned(), value.to_owned()))
        });
        Self {
            v: VERSION,
            started: story.started,
            simulate: story.request.simulate,
            event,
            budget: budget_text.clone(),
            workflow: workflow.clone(),
            on_actions: *on_actions,
            of_another: *of_another,
            root: root.clone(),
            folder: state.clone(),
            known: known.clone(),
            class: story.class.clone(),
            route: begun.route.clone(),
            held: begun.held.clone(),
            subscription: story.limits.subscription,
            surroundings: surroundings.collect(),
        }
    }

    /// Whether this program has written it.
    pub(super) fn is_of_this_version(&self) -> bool {
        self.v == VERSION
    }

    /// When the run began.
    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    /// The budget, as it was then.
    ///
    /// # Errors
    /// When the text cannot be read any more.
    fn budget(&self) -> anyhow::Result<Budget> {
        match &self.budget {
            Some((text, path)) => inputs::parse(text, path),
            None => Ok(Budget::builtin()),
        }
    }

    /// Puts the surroundings back as they were: a step between may have written to the files by which a
    /// runner hands variables and search paths to later steps.
    pub(super) fn restore(&self, env: &mut BTreeMap<OsString, OsString>) {
        env.retain(|name, _| !name.to_str().is_some_and(stays));
        env.extend(self.surroundings.iter().map(|(name, value)| (name.into(), value.into())));
    }

    /// The story's premise, as it was.
    ///
    /// # Errors
    /// When the budget's text cannot be read any more.
    pub(super) fn premise(&self, summary_json: Option<PathBuf>, shell: &Shell) -> anyhow::Result<Premise> {
        let budget = self.budget()?;
        let env = |name: &str| shell.var(name).map(str::to_owned);
        // What there is to say of them is noted already. A step between may have taken the table away: what
        // meters refuses to go on without it, and what settles needs no prices.
        let (table, no_prices) = match prices::of_budget(&budget, &Here::now(&env, &self.root)) {
            Ok(prices) => (prices.table, None),
            Err(error) => (Table::embedded(), Some(error.to_string())),
        };
        let mut inputs = Inputs {
            event: self.event.clone(),
            budget,
            table,
            budget_text: self.budget.clone(),
            workflow: self.workflow.clone(),
            on_actions: self.on_actions,
            of_another: self.of_another,
            root: self.root.clone(),
            state: self.folder.clone(),
            known: self.known.clone(),
            no_prices,
        };
        if !self.simulate {
            inputs.known.open_forge(shell, &self.event);
        }
        let mut limits = books::limits(shell, &inputs, self.class.task, self.started);
        if self.subscription {
            limits = limits.of_subscription();
        }
        let request = Request { simulate: self.simulate, summary_json, around: true, ..Request::default() };
        Ok(Premise {
            request,
            inputs,
            class: self.class.clone(),
            limits,
            opinion: Usd::ZERO,
            started: self.started,
        })
    }
}

/// Whether a variable is one that a step between must not change.
fn stays(name: &str) -> bool {
    let ours = OURS.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name);
    ours && !OF_A_STEP.contains(&name) && !environment::is_secret(name)
}

/// What a meter is handed of the environment, in its memory and nowhere else: no token of the ledger or the
/// forge.
pub(super) fn handed(shell: &Shell) -> BTreeMap<String, String> {
    let text = |(name, value): (&OsString, &OsString)| {
        let name = name.to_str().filter(|name| !OF_A_STEP.contains(name))?;
        Some((name.to_owned(), value.to_str()?.to_owned()))
    };
    shell.env.iter().filter_map(text).collect()
}

/// A shell with these variables, that prints nothing.
pub(super) fn silent(env: BTreeMap<String, String>) -> Shell {
    let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Shell { env, out: Box::new(std::io::sink()), err: Box::new(std::io::sink()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_between_changes_nothing_that_finish_goes_by() {
        for (name, kept) in [
            ("PATH", true),
            ("GITHUB_REPOSITORY", true),
            ("TOLLGATE_LEDGER_REMOTE", true),
            ("https_proxy", true),
            ("GITHUB_TOKEN", false),
            ("TOLLGATE_LEDGER_TOKEN", false),
            ("TOLLGATE_OTHER_TOKEN", false),
            ("GITHUB_OUTPUT", false),
            ("ANTHROPIC_API_KEY", false),
            ("TEAM_WEBHOOK", false),
        ] {
            assert_eq!(stays(name), kept, "{name}");
        }
    }
}
