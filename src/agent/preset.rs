//! What to start: Claude Code with everything it needs to work behind the meter, or any command.
//!
//! How each agent behaves was measured on the real one; a flag or variable that is not obvious says what
//! happens without it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::agent::output::Format;
use crate::model::ModelId;
use crate::money::{Rate, Usd};

/// Claude Code, in the version that the preset was measured with.
pub const CLAUDE: Package = Package {
    program: "claude",
    manager: Manager::Npm,
    name: "@anthropic-ai/claude-code",
    version: "2.1.197",
};
/// Claude Code's first request in tokens, at most: it is 77 kB long, and a token is a byte at least.
const FIRST_REQUEST_TOKENS: u64 = 80_000;
/// The same by the provider's own count, with a margin: prose and JSON have three bytes a token and more.
const FIRST_REQUEST_TOKENS_COUNTED: u64 = 27_000;
/// Requests that may be in flight at once: the main thread waits while its sub-agents work.
const PARALLEL: i128 = 4;
/// The largest output cap: what Claude Code itself takes for a model that it does not know.
const OUTPUT_CAP_MAX: u64 = 32_000;
/// The smallest: what the meter may lower a request to before it has seen an answer.
const OUTPUT_CAP_MIN: u64 = 4_096;

/// Where a preset's program comes from, for installers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The program's name on `PATH`.
    pub program: &'static str,
    /// What installs it.
    pub manager: Manager,
    /// The package's name at its registry.
    pub name: &'static str,
    /// The version that the preset was measured with.
    pub version: &'static str,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Node's.
    Npm,
    /// Python's.
    Pip,
}

impl Manager {
    /// Its name as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        }
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Claude Code, without a person.
    Claude {
        /// What it is told.
        prompt: String,
        /// Arguments besides the preset's own.
        args: Vec<String>,
    },
    /// A command: the program and its arguments.
    Command(Vec<String>),
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
}

/// A program that was found, with its arguments and the variables it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables to set.
    pub env: Vec<(&'static str, String)>,
    /// What its output looks like.
    pub format: Format,
}

/// Why there is nothing to start. All of them are for the user to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// Claude Code is not installed.
    #[error(
        "the agent is Claude Code, and there is no program `claude` on PATH\n\nhint: npm install --global {}@{}", CLAUDE.name, CLAUDE.version
    )]
    NoClaude,
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

/// Finds the program and says how to start it. `path` is the agent's `PATH`, `cwd` where a relative
/// program is looked for, `root` whether the agent will run as root.
///
/// # Errors
/// When the program is not there.
pub fn launch(
    choice: &Choice,
    wiring: &Wiring<'_>,
    path: &OsStr,
    cwd: &Path,
    root: bool,
) -> Result<Launch, PresetError> {
    let mut env = shared_env(wiring);
    match choice {
        Choice::Claude { prompt, args } => {
            let program = find_program("claude", path).ok_or(PresetError::NoClaude)?;
            if root {
                // Without it Claude Code refuses to skip permissions as root, and exits 1.
                env.push(("IS_SANDBOX", "1".to_owned()));
            }
            let flags =
                ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"];
            let own = flags.into_iter().chain(["--model", wiring.model.as_str()]).map(OsString::from);
            // The prompt comes last and behind `--`, so that it is never read as an option.
            let prompt = [OsString::from("--"), OsString::from(prompt)];
            let args = own.chain(args.iter().map(OsString::from)).chain(prompt).collect();
            Ok(Launch { program, args, env, format: Format::ClaudeStream })
        }
        Choice::Command(words) => {
            let (name, args) = words.split_first().ok_or(PresetError::NoCommand)?;
            let program = if name.contains('/') {
                let file = cwd.join(name);
                is_executable(&file).then_some(file).ok_or_else(|| PresetError::NoFile(name.clone()))?
            } else {
                find_program(name, path).ok_or_else(|| PresetError::NoProgram(name.clone()))?
            };
            let args = args.iter().map(OsString::from).collect();
            Ok(Launch { program, args, env, format: Format::Plain })
        }
    }
}

/// The variables every agent gets: a command may well be Claude Code, or a script around it.
fn shared_env(wiring: &Wiring<'_>) -> Vec<(&'static str, String)> {
    let model = wiring.model.as_str();
    let small = wiring.small_model.as_str();
    let output = wiring.output_tokens_max.to_string();
    [
        // What Anthropic's SDKs and Claude Code read.
        ("ANTHROPIC_BASE_URL", wiring.base_url),
        ("ANTHROPIC_API_KEY", wiring.token),
        ("ANTHROPIC_MODEL", model),
        // Names without a version, as sub-agents have them, mean what the run was routed to.
        ("ANTHROPIC_DEFAULT_OPUS_MODEL", model),
        ("ANTHROPIC_DEFAULT_SONNET_MODEL", model),
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", small),
        ("ANTHROPIC_SMALL_FAST_MODEL", small),
        // Without it Claude Code asks for 64,000 tokens each time.
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", &output),
        // Without it a title is asked for, on the main model, and other hosts are called.
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        // Ten tries last three minutes; four outlast a hiccup.
        ("CLAUDE_CODE_MAX_RETRIES", "4"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_TELEMETRY", "1"),
        // For scripts.
        ("TOLLGATE_CAP_USD", &wiring.cap.to_string()),
        ("TOLLGATE_MAX_OUTPUT_TOKENS", &output),
        ("TOLLGATE_METER_URL", wiring.base_url),
        ("TOLLGATE_MODEL", model),
        ("TOLLGATE_TOKEN", wiring.token),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect()
}

/// The longest answer to ask for, so that four requests in flight at once fit the cap: the cap's fourth
/// part, less a first request written to a cache of five minutes, at the output rate; in thousands,
/// 4,096 at least and 32,000 at most.
///
/// The request counts at its bytes where that leaves room enough; else at what the provider's count will
/// say, to which the meter tightens its bound. With the default tiers:
///
/// | tier | cap | model | output cap | request counted |
/// | --- | --- | --- | --- | --- |
/// | high | $4.00 | claude-opus-5-5 | 30,000 | by its bytes |
/// | medium | $0.80 | claude-sonnet-5-5 | 13,000 | by the provider |
/// | low | $0.10 | claude-haiku-5-5 | 30,000 | by its bytes |
///
/// Rates are the model's dearest for a request of this size: no long-context band begins below it.
#[must_use]
pub fn output_cap(cap: Usd, cache_write: Rate, output: Rate) -> u64 {
    let share = Usd::from_pico(cap.pico() / PARALLEL);
    let room = |request: u64| {
        let left = share.minus_or_zero(cache_write * request);
        output.tokens_for(left).unwrap_or(OUTPUT_CAP_MAX) / 1_000 * 1_000
    };
    let by_bytes = room(FIRST_REQUEST_TOKENS);
    let tokens = if by_bytes >= 2 * OUTPUT_CAP_MIN { by_bytes } else { room(FIRST_REQUEST_TOKENS_COUNTED) };
    tokens.clamp(OUTPUT_CAP_MIN, OUTPUT_CAP_MAX)
}

/// As [`output_cap`], for a run that is capped by new tokens alone.
#[must_use]
pub fn output_cap_by_tokens(fresh: Option<u64>) -> u64 {
    let share = fresh.unwrap_or(u64::MAX) / PARALLEL.unsigned_abs() as u64;
    let room = |request: u64| share.saturating_sub(request) / 1_000 * 1_000;
    let by_bytes = room(FIRST_REQUEST_TOKENS);
    let tokens = if by_bytes >= 2 * OUTPUT_CAP_MIN { by_bytes } else { room(FIRST_REQUEST_TOKENS_COUNTED) };
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

/// The version that a program says it has, on one line; `None` when it says nothing within two seconds.
pub async fn installed_version(program: &Path) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.arg("--version").env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(2), command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line: String = text.trim().lines().next()?.chars().filter(|c| !c.is_control()).take(100).collect();
    Some(line)
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder_with(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, "#!/bin/sh\n").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        folder
    }

    fn launched(choice: &Choice, path: &OsStr, cwd: &Path, root: bool) -> Result<Launch, PresetError> {
        let wiring = Wiring {
            base_url: "http://127.0.0.1:1",
            token: "token",
            model: &ModelId::new("claude-opus-5-5"),
            small_model: &ModelId::new("claude-haiku-5-5"),
            cap: "0.8".parse().expect("an amount"),
            output_tokens_max: 13_000,
        };
        launch(choice, &wiring, path, cwd, root)
    }

    fn words(words: &[&str]) -> Choice {
        Choice::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn claude_is_started_without_a_person() {
        let folder = folder_with("claude");
        let choice =
            Choice::Claude { prompt: "--review".into(), args: vec!["--max-turns".into(), "9".into()] };
        let launch = launched(&choice, folder.path().as_os_str(), Path::new("/"), true).expect("claude");
        assert_eq!(launch.program, folder.path().join("claude"));
        let args: Vec<_> = launch.args.iter().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            args.join(" "),
            "-p --output-format stream-json --verbose --dangerously-skip-permissions --model claude-opus-5-5 --max-turns 9 -- --review"
        );
        assert_eq!(launch.format, Format::ClaudeStream);
        assert!(launch.env.contains(&("IS_SANDBOX", "1".into())));
        assert!(launch.env.contains(&("ANTHROPIC_API_KEY", "token".into())));
        assert!(launch.env.contains(&("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "13000".into())));
        let user = launched(&choice, folder.path().as_os_str(), Path::new("/"), false).expect("claude");
        assert!(user.env.iter().all(|(name, _)| *name != "IS_SANDBOX"));
    }

    #[test]
    fn a_command_is_found_and_told_where_the_meter_is() {
        let folder = folder_with("agent");
        for word in ["agent", "./agent"] {
            let launch = launched(&words(&[word, "-x"]), folder.path().as_os_str(), folder.path(), false);
            let launch = launch.expect(word);
            assert!(launch.program.is_absolute() && launch.program.ends_with("agent"), "{word}");
            assert_eq!((launch.args, launch.format), (vec![OsString::from("-x")], Format::Plain));
            assert!(launch.env.contains(&("TOLLGATE_METER_URL", "http://127.0.0.1:1".into())));
            assert!(launch.env.contains(&("TOLLGATE_CAP_USD", "0.8".into())));
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let empty = tempfile::tempdir().expect("a folder");
        let claude = Choice::Claude { prompt: String::new(), args: Vec::new() };
        for (choice, message) in [
            (
                claude,
                "the agent is Claude Code, and there is no program `claude` on PATH\n\nhint: npm install --global @anthropic-ai/claude-code@2.1.197",
            ),
            (
                words(&["agent"]),
                "the agent's program `agent` was not found on PATH\n\nhint: install it in an earlier step, or write its path",
            ),
            (
                words(&["./agent"]),
                "the agent's program `./agent` is not there, or cannot be executed\n\nhint: a path is taken from the folder that tollgate was started in",
            ),
            (
                words(&[]),
                "there is no agent to run\n\nhint: write `agent: { use: claude }` into the budget file, or a command after `--`",
            ),
        ] {
            let error =
                launched(&choice, empty.path().as_os_str(), empty.path(), false).expect_err("not there");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_relative_entry_of_path_is_passed_over() {
        let folder = folder_with("agent");
        let path = std::env::join_paths([Path::new("."), Path::new(""), folder.path()]).expect("a path");
        assert_eq!(find_program("agent", &path), Some(folder.path().join("agent")));
        assert_eq!(find_program("agent", OsStr::new(".:")), None);
    }

    #[test]
    fn four_requests_at_once_fit_every_default_tier() {
        // Cap, cache write and output in dollars a million tokens; output cap; tokens of a request.
        for (cap, cache_write, output, expected, request) in [
            ("4", "5", "20", 30_000, 80_000),
            ("0.8", "2.5", "10", 13_000, 27_000),
            ("0.1", "0.125", "0.5", 30_000, 80_000),
            ("100", "5", "20", 32_000, 80_000),
        ] {
            let cap: Usd = cap.parse().expect("an amount");
            let cache_write = Rate::per_mtok(cache_write).expect("a rate");
            let output = Rate::per_mtok(output).expect("a rate");
            let tokens = output_cap(cap, cache_write, output);
            assert_eq!(tokens, expected, "{cap}");
            let one = cache_write * request + output * tokens;
            assert!(one + one + one + one <= cap, "{cap}");
        }
        let dear = Rate::per_mtok("100").expect("a rate");
        assert_eq!(output_cap(Usd::from_dollars(1), dear, dear), 4_096, "never below what an answer needs");
    }
}
