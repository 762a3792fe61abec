//! What to start: an agent with everything it needs to work behind the meter, or any command.
//!
//! A file an agent, each with what was measured on the real one: a flag or a variable that is not obvious
//! says what happens without it. What they share is here: how a program is found, what every agent is told
//! of its run, and how long an answer it may ask for. Files are written below the agent's own home, never
//! into the checkout.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::agent::output::Format;
use crate::model::{ModelId, Vendor};
use crate::money::{Rate, Usd};
use crate::preset::Preset;

pub mod aider;
pub mod claude;
pub mod codex;
pub mod gemini;
mod litellm;
pub mod mini;
pub mod opencode;
mod package;

#[cfg(test)]
mod tests;

pub use package::{Manager, Package};

/// Requests that may be in flight at once: the main thread waits while its sub-agents work.
const PARALLEL: i128 = 4;
/// The largest output cap: what Claude Code itself takes for a model that it does not know.
const OUTPUT_CAP_MAX: u64 = 32_000;
/// The smallest: what the meter may lower a request to before it has seen an answer.
const OUTPUT_CAP_MIN: u64 = 4_096;

/// The package of a preset; `None` for a command, which its own workflow installs.
#[must_use]
pub const fn package(preset: Preset) -> Option<Package> {
    match preset {
        Preset::Claude => Some(claude::PACKAGE),
        Preset::Codex => Some(codex::PACKAGE),
        Preset::Gemini => Some(gemini::PACKAGE),
        Preset::Opencode => Some(opencode::PACKAGE),
        Preset::Aider => Some(aider::PACKAGE),
        Preset::Mini => Some(mini::PACKAGE),
        Preset::Command => None,
    }
}

/// What an agent is told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The task.
    pub prompt: String,
    /// Arguments besides the preset's own.
    pub args: Vec<String>,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Claude Code.
    Claude(Told),
    /// Codex.
    Codex(Told),
    /// Gemini CLI.
    Gemini(Told),
    /// opencode.
    Opencode(Told),
    /// aider.
    Aider(Told),
    /// mini-swe-agent.
    Mini(Told),
    /// A command: the program and its arguments.
    Command(Vec<String>),
}

impl Choice {
    /// What a preset stands for; of a command the arguments are all of it.
    #[must_use]
    pub fn of(preset: Preset, told: Told) -> Self {
        match preset {
            Preset::Claude => Self::Claude(told),
            Preset::Codex => Self::Codex(told),
            Preset::Gemini => Self::Gemini(told),
            Preset::Opencode => Self::Opencode(told),
            Preset::Aider => Self::Aider(told),
            Preset::Mini => Self::Mini(told),
            Preset::Command => Self::Command(told.args),
        }
    }

    /// The preset it is of.
    #[must_use]
    pub const fn preset(&self) -> Preset {
        match self {
            Self::Claude(_) => Preset::Claude,
            Self::Codex(_) => Preset::Codex,
            Self::Gemini(_) => Preset::Gemini,
            Self::Opencode(_) => Preset::Opencode,
            Self::Aider(_) => Preset::Aider,
            Self::Mini(_) => Preset::Mini,
            Self::Command(_) => Preset::Command,
        }
    }
}

/// How an agent reaches the meter, and what it is told of its run.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The meter's base URL.
    pub base_url: &'a str,
    /// The meter's token, which stands where the provider's key would.
    pub token: &'a str,
    /// The model that the run was routed to.
    pub model: &'a ModelId,
    /// The model for side calls; it should be no dearer than `model`.
    pub small_model: &'a ModelId,
    /// The run's cap.
    pub cap: Usd,
    /// The longest answer to ask for, in tokens, see [`output_cap`].
    pub output_tokens_max: u64,
    /// The context window of `model`, in tokens.
    pub window_tokens: u64,
    /// The agent's home, which need not be there yet.
    pub home: &'a Path,
}

/// A program that was found, with its arguments and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables to set.
    pub env: Vec<(&'static str, String)>,
    /// Files to write before it starts.
    pub files: Vec<HomeFile>,
    /// What its output looks like.
    pub format: Format,
}

/// A file of an agent's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeFile {
    /// Where it is, below the home.
    pub path: &'static str,
    /// What it says.
    pub text: String,
}

impl HomeFile {
    fn new(path: &'static str, text: String) -> Self {
        Self { path, text }
    }
}

/// Why there is nothing to start. All of them are for the user to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// The preset's program is not installed.
    #[error(
        "the agent is {title}, and there is no program `{program}` on PATH\n\nhint: {install}",
        title = .0.title(), program = .1.program, install = .1.install_command()
    )]
    NotInstalled(Preset, Package),
    /// The command's program is nowhere.
    #[error(
        "the agent's program `{0}` was not found on PATH\n\nhint: install it in an earlier step, or write its path"
    )]
    NoProgram(String),
    /// The command's program is a path at which there is none.
    #[error(
        "the agent's program `{0}` is not there, or cannot be executed\n\nhint: a path is taken from the folder that tollgate was started in"
    )]
    NoFile(String),
    /// There is no command at all.
    #[error(
        "there is no agent to run\n\nhint: write `agent: {{ use: claude }}` into the budget file, or a command after `--`"
    )]
    NoCommand,
}

/// Where programs are looked for, and as whom the agent will run.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The agent's `PATH`.
    pub path: &'a OsStr,
    /// Where a relative program is looked for.
    pub cwd: &'a Path,
    /// Whether the agent will run as root.
    pub root: bool,
}

impl Search<'_> {
    /// The program of a preset.
    fn package(&self, preset: Preset, package: &Package) -> Result<PathBuf, PresetError> {
        find_program(package.program, self.path).ok_or(PresetError::NotInstalled(preset, *package))
    }
}

/// Finds the program and says how to start it.
///
/// # Errors
/// When the program is not there.
pub fn launch(choice: &Choice, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let mut launch = match choice {
        Choice::Claude(told) => claude::launch(told, wiring, search),
        Choice::Codex(told) => codex::launch(told, wiring, search),
        Choice::Gemini(told) => gemini::launch(told, wiring, search),
        Choice::Opencode(told) => opencode::launch(told, wiring, search),
        Choice::Aider(told) => aider::launch(told, wiring, search),
        Choice::Mini(told) => mini::launch(told, wiring, search),
        Choice::Command(words) => command(words, search),
    }?;
    drop(launch.env.splice(0..0, shared_env(wiring)));
    Ok(launch)
}

fn command(words: &[String], search: &Search<'_>) -> Result<Launch, PresetError> {
    let (name, args) = words.split_first().ok_or(PresetError::NoCommand)?;
    let program = if name.contains('/') {
        let file = search.cwd.join(name);
        is_executable(&file).then_some(file).ok_or_else(|| PresetError::NoFile(name.clone()))?
    } else {
        find_program(name, search.path).ok_or_else(|| PresetError::NoProgram(name.clone()))?
    };
    let args = strings(args).collect();
    Ok(Launch { program, args, env: Vec::new(), files: Vec::new(), format: Format::Plain })
}

fn strings(texts: &[String]) -> impl Iterator<Item = OsString> + '_ {
    texts.iter().map(OsString::from)
}

/// A text as TOML and YAML write it between double quotes; they take what JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The variables every agent gets: a command may well be one of the presets' agents, or a script with any
/// vendor's SDK.
#[must_use]
pub fn shared_env(wiring: &Wiring<'_>) -> Vec<(&'static str, String)> {
    let model = wiring.model.as_str();
    let small = wiring.small_model.as_str();
    let (cap, output) = (wiring.cap.to_string(), wiring.output_tokens_max.to_string());
    let versioned = |version: &str| format!("{}/{version}", wiring.base_url);
    let (v1, v1beta) = (versioned("v1"), versioned("v1beta"));
    let mut vars = vec![
        // What Anthropic's SDKs and Claude Code read; litellm reads its own.
        ("ANTHROPIC_API_BASE", wiring.base_url),
        ("ANTHROPIC_API_KEY", wiring.token),
        ("ANTHROPIC_BASE_URL", wiring.base_url),
        // Without it a title is asked for, on the main model, and other hosts are called.
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        // Without it Claude Code asks for 64,000 tokens each time.
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", &output),
        // Ten tries last three minutes; four outlast a hiccup.
        ("CLAUDE_CODE_MAX_RETRIES", "4"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_TELEMETRY", "1"),
        // What Google's SDKs and Gemini CLI read; litellm its own.
        ("GEMINI_API_BASE", &v1beta),
        ("GEMINI_API_KEY", wiring.token),
        ("GOOGLE_GEMINI_BASE_URL", wiring.base_url),
        // What OpenAI's SDKs read; litellm its own.
        ("OPENAI_API_BASE", &v1),
        ("OPENAI_API_KEY", wiring.token),
        ("OPENAI_BASE_URL", &v1),
        // For scripts.
        ("TOLLGATE_CAP_USD", &cap),
        ("TOLLGATE_MAX_OUTPUT_TOKENS", &output),
        ("TOLLGATE_METER_URL", wiring.base_url),
        ("TOLLGATE_MODEL", model),
        ("TOLLGATE_TOKEN", wiring.token),
    ];
    if Vendor::maker(wiring.model).is_none_or(|maker| maker == Vendor::Anthropic) {
        // Names without a version, as sub-agents have them, mean what the run was routed to.
        vars.extend([
            ("ANTHROPIC_MODEL", model),
            ("ANTHROPIC_DEFAULT_OPUS_MODEL", model),
            ("ANTHROPIC_DEFAULT_SONNET_MODEL", model),
            ("ANTHROPIC_DEFAULT_HAIKU_MODEL", small),
            ("ANTHROPIC_SMALL_FAST_MODEL", small),
        ]);
    }
    vars.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// An agent's first request, as it was measured, with a margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRequest {
    /// Tokens that the meter bounds it by: its bytes, those of its tools twice.
    pub sized: u64,
    /// Tokens that the provider will count: prose and JSON have three bytes a token and more.
    pub counted: u64,
}

impl FirstRequest {
    /// That of a preset. Of a command nobody knows, and any agent may be behind it: the largest.
    #[must_use]
    pub const fn of(preset: Preset) -> Self {
        match preset {
            Preset::Claude | Preset::Command => claude::FIRST,
            Preset::Codex => codex::FIRST,
            Preset::Gemini => gemini::FIRST,
            Preset::Opencode => opencode::FIRST,
            Preset::Aider => aider::FIRST,
            Preset::Mini => mini::FIRST,
        }
    }
}

/// The longest answer to ask for, so that four requests in flight at once fit the cap: the cap's fourth
/// part, less a first request at the dearest rate of its input, at the output rate; in thousands, 4,096 at
/// least and 32,000 at most.
///
/// The request counts as the meter bounds it where that leaves room enough; else at what the provider's
/// count will say, to which the meter tightens its bound. What comes of it for every preset in every default
/// tier is shown by a test, and written in `docs/reference/agents.md`.
///
/// Rates are the model's dearest for a request of this size: no long-context band begins below it.
#[must_use]
pub fn output_cap(first: FirstRequest, cap: Usd, dearest_input: Rate, output: Rate) -> u64 {
    let share = Usd::from_pico(cap.pico() / PARALLEL);
    let room = |request: u64| {
        let left = share.minus_or_zero(dearest_input * request);
        output.tokens_for(left).unwrap_or(OUTPUT_CAP_MAX) / 1_000 * 1_000
    };
    let by_bytes = room(first.sized);
    let tokens = if by_bytes >= 2 * OUTPUT_CAP_MIN { by_bytes } else { room(first.counted) };
    tokens.clamp(OUTPUT_CAP_MIN, OUTPUT_CAP_MAX)
}

/// As [`output_cap`], for a run that is capped by new tokens alone.
#[must_use]
pub fn output_cap_by_tokens(first: FirstRequest, fresh: Option<u64>) -> u64 {
    let share = fresh.unwrap_or(u64::MAX) / PARALLEL.unsigned_abs() as u64;
    let room = |request: u64| share.saturating_sub(request) / 1_000 * 1_000;
    let by_bytes = room(first.sized);
    let tokens = if by_bytes >= 2 * OUTPUT_CAP_MIN { by_bytes } else { room(first.counted) };
    tokens.clamp(OUTPUT_CAP_MIN, OUTPUT_CAP_MAX)
}

/// A program on `PATH`. Relative entries are passed over: they would let a working tree choose it.
#[must_use]
pub fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}
