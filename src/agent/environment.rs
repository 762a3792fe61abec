//! What an agent may see of the environment: built from an allow-list, never inherited.
//!
//! [`build`] is a function of values; [`create_home`] makes the folders it points at. The provider's key
//! is kept out twice: by name, whatever the budget file lets through, and by value, whatever its name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::credentials;

/// Environment variables by name.
pub type Vars = BTreeMap<OsString, OsString>;

/// Names that any agent may see. Proxies are not among them: the meter is on loopback.
const ALLOWED: &[&str] = &[
    "CI",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TZ",
    "USER",
    // What the runner is; its tracking id lets it end what a killed tollgate left behind.
    "RUNNER_ARCH",
    "RUNNER_OS",
    "RUNNER_TOOL_CACHE",
    "RUNNER_TRACKING_ID",
    // What the run is about. No token, and none of the files that later steps are steered by.
    "GITHUB_ACTIONS",
    "GITHUB_ACTOR",
    "GITHUB_BASE_REF",
    "GITHUB_EVENT_NAME",
    "GITHUB_HEAD_REF",
    "GITHUB_JOB",
    "GITHUB_REF",
    "GITHUB_REF_NAME",
    "GITHUB_REF_TYPE",
    "GITHUB_REPOSITORY",
    "GITHUB_REPOSITORY_ID",
    "GITHUB_REPOSITORY_OWNER",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_NUMBER",
    "GITHUB_SERVER_URL",
    "GITHUB_SHA",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKSPACE",
];

/// Names that no budget file lets through, besides those of credentials: GitHub's tokens, and the files that steer
/// later steps.
const FORBIDDEN: &[&str] = &[
    "GH_ENTERPRISE_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_PATH",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_TOKEN",
];
/// Beginnings of names that no budget file lets through.
const FORBIDDEN_PREFIXES: &[&str] = &["ACTIONS_", "INPUT_", "STATE_", "TOLLGATE_"];

/// Where an agent finds programs when nobody says.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What an agent's environment is made of, beside the parent's.
#[derive(Clone, Debug)]
pub struct EnvSpec<'a> {
    /// The folders made by [`create_home`].
    pub home: &'a Home,
    /// The working tree; git is told to trust it whoever owns it.
    pub workspace: &'a Path,
    /// Names that the budget file lets through.
    pub let_through: &'a [String],
    /// Variables that the preset sets, which win.
    pub preset: &'a [(&'static str, String)],
    /// Values that never get in, whatever the name: the provider's keys and other secrets.
    pub secrets: &'a [String],
    /// Who commits the agent makes are by.
    pub identity: Identity<'a>,
    /// The checkout is of somebody's wish: git runs none of its hooks and monitors for the agent.
    pub hooks_off: bool,
}

/// Who commits are by.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The name.
    pub name: &'a str,
    /// The address.
    pub email: &'a str,
}

impl Default for Identity<'_> {
    fn default() -> Self {
        // A reserved domain: nobody else's address, and no account is credited.
        Self { name: "tollgate agent", email: "agent@tollgate.invalid" }
    }
}

/// An environment, and what was kept out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The variables.
    pub vars: Vars,
    /// Names that the budget file lets through and that were kept out all the same: they name a key, or
    /// their value holds one.
    pub kept_out: Vec<String>,
}

/// The environment of an agent.
#[must_use]
pub fn build(parent: &Vars, spec: &EnvSpec<'_>) -> Environment {
    let mut vars = Vars::new();
    let mut kept_out = Vec::new();
    for (name, value) in parent {
        let listed = name.to_str().is_some_and(is_allowed);
        let let_through = spec.let_through.iter().any(|wanted| name == wanted.as_str());
        if !listed && !let_through {
            continue;
        }
        if is_forbidden(name) || holds_secret(value, spec.secrets) {
            kept_out.push(name.to_string_lossy().into_owned());
        } else {
            vars.insert(name.clone(), value.clone());
        }
    }
    vars.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    for (name, path) in spec.home.vars() {
        vars.insert(name.into(), path.into());
    }
    for (name, value) in git_vars(spec.workspace, spec.identity, spec.hooks_off) {
        vars.insert(name.into(), value);
    }
    vars.insert("NO_PROXY".into(), "127.0.0.1,localhost,::1".into());
    for (name, value) in spec.preset {
        vars.insert(name.into(), value.into());
    }
    debug_assert!(vars.values().all(|value| !holds_secret(value, spec.secrets)), "a key reached the agent");
    Environment { vars, kept_out }
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name) || name.starts_with("LC_")
}

fn is_forbidden(name: &OsStr) -> bool {
    // A name that is no text is nobody's, so it is not let through either.
    name.to_str().is_none_or(|name| {
        let listed = FORBIDDEN.contains(&name) || credentials::are_in(name);
        listed || FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

fn holds_secret(value: &OsStr, secrets: &[String]) -> bool {
    let holds = |secret: &String| {
        !secret.is_empty() && memchr::memmem::find(value.as_encoded_bytes(), secret.as_bytes()).is_some()
    };
    secrets.iter().any(holds)
}

/// Parts of the names of variables that hold secrets.
const SECRET_NAMES: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "API_KEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "CREDENTIAL",
    "DATABASE_URL",
];

/// The values that must not leave the machine, told by the names of their variables.
#[must_use]
pub fn secrets(vars: &Vars) -> Vec<String> {
    let secret = |(name, value): (&OsString, &OsString)| {
        // A file that holds a secret is none itself.
        let value = value.to_str().filter(|value| !value.starts_with('/'))?;
        name.to_str().is_some_and(is_secret).then(|| value.to_owned())
    };
    vars.iter().filter_map(secret).collect()
}

/// Whether a variable of this name is taken for a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    SECRET_NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part))
}

/// What lets the agent commit without a configuration file and without a terminal.
fn git_vars(workspace: &Path, identity: Identity<'_>, hooks_off: bool) -> Vec<(&'static str, OsString)> {
    let off: &[(&'static str, &str)] = &[
        ("GIT_CONFIG_KEY_1", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_1", "/dev/null"),
        ("GIT_CONFIG_KEY_2", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_2", "false"),
    ];
    let mut vars = vec![
        ("GIT_AUTHOR_NAME", identity.name.into()),
        ("GIT_AUTHOR_EMAIL", identity.email.into()),
        ("GIT_COMMITTER_NAME", identity.name.into()),
        ("GIT_COMMITTER_EMAIL", identity.email.into()),
        ("GIT_CONFIG_COUNT", if hooks_off { "3" } else { "1" }.into()),
        ("GIT_CONFIG_KEY_0", "safe.directory".into()),
        ("GIT_CONFIG_VALUE_0", workspace.as_os_str().to_owned()),
        ("GIT_EDITOR", "true".into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
    ];
    if hooks_off {
        vars.extend(off.iter().map(|(name, value)| (*name, OsString::from(value))));
    }
    vars
}

/// A home that holds nothing of anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    fn vars(&self) -> [(&'static str, PathBuf); 7] {
        [
            ("HOME", self.root.clone()),
            ("TMPDIR", self.root.join("tmp")),
            ("XDG_CACHE_HOME", self.root.join(".cache")),
            ("XDG_CONFIG_HOME", self.root.join(".config")),
            ("XDG_DATA_HOME", self.root.join(".local/share")),
            ("XDG_RUNTIME_DIR", self.root.join("run")),
            ("XDG_STATE_HOME", self.root.join(".local/state")),
        ]
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }
}

/// Where the home of a run's agent is, whether or not it is there yet.
#[must_use]
pub fn home_path(run_folder: &Path) -> PathBuf {
    run_folder.join("home")
}

/// Makes a home for an agent in the folder of its run, which nobody else may read.
///
/// # Errors
/// When a folder cannot be made.
pub fn create_home(run_folder: &Path) -> io::Result<Home> {
    let home = Home { root: home_path(run_folder) };
    for (_, path) in home.vars() {
        make_folder(&path)?;
    }
    Ok(home)
}

fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes files into a home, by their paths below it; nobody else may read them.
///
/// # Errors
/// When one cannot be written.
pub fn furnish<'a>(home: &Home, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
    for (path, text) in files {
        let path = home.root.join(path);
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home { root: "/run/home".into() }
    }

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn built(parent: &[(&str, &str)], let_through: &[&str]) -> Environment {
        let let_through: Vec<String> = let_through.iter().map(|name| (*name).to_owned()).collect();
        let spec = EnvSpec {
            home: &home(),
            workspace: Path::new("/work"),
            let_through: &let_through,
            preset: &[("ANTHROPIC_API_KEY", "meter-token".to_owned())],
            secrets: &["sk-real-key".to_owned(), String::new()],
            identity: Identity::default(),
            hooks_off: false,
        };
        build(&vars(parent), &spec)
    }

    #[test]
    fn an_empty_parent_gives_all_that_an_agent_needs() {
        let text: Vec<String> = built(&[], &[])
            .vars
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
            .collect();
        assert_eq!(
            text,
            [
                "ANTHROPIC_API_KEY=meter-token",
                "GIT_AUTHOR_EMAIL=agent@tollgate.invalid",
                "GIT_AUTHOR_NAME=tollgate agent",
                "GIT_COMMITTER_EMAIL=agent@tollgate.invalid",
                "GIT_COMMITTER_NAME=tollgate agent",
                "GIT_CONFIG_COUNT=1",
                "GIT_CONFIG_KEY_0=safe.directory",
                "GIT_CONFIG_VALUE_0=/work",
                "GIT_EDITOR=true",
                "GIT_TERMINAL_PROMPT=0",
                "HOME=/run/home",
                "NO_PROXY=127.0.0.1,localhost,::1",
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "TMPDIR=/run/home/tmp",
                "XDG_CACHE_HOME=/run/home/.cache",
                "XDG_CONFIG_HOME=/run/home/.config",
                "XDG_DATA_HOME=/run/home/.local/share",
                "XDG_RUNTIME_DIR=/run/home/run",
                "XDG_STATE_HOME=/run/home/.local/state",
            ]
        );
    }

    #[test]
    fn the_lists_decide_what_gets_in() {
        // Name, whether the budget file lets it through, whether it gets in, whether that is said.
        for (name, let_through, gets_in, said) in [
            ("PATH", false, true, false),
            ("LC_ALL", false, true, false),
            ("GITHUB_REPOSITORY", false, true, false),
            ("RUNNER_TRACKING_ID", false, true, false),
            ("JAVA_HOME", false, false, false),
            ("JAVA_HOME", true, true, false),
            ("HTTPS_PROXY", false, false, false),
            ("LD_PRELOAD", false, false, false),
            ("GITHUB_TOKEN", false, false, false),
            ("GITHUB_TOKEN", true, false, true),
            ("GITHUB_ENV", true, false, true),
            ("GITHUB_STEP_SUMMARY", true, false, true),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", true, false, true),
            ("ACTIONS_RUNTIME_TOKEN", true, false, true),
            ("OPENAI_API_KEY", true, false, true),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", true, false, true),
            ("AZURE_CLIENT_SECRET", true, false, true),
            ("AWS_REGION", true, true, false),
            ("TOLLGATE_DATABASE_URL", true, false, true),
            ("INPUT_KEY", true, false, true),
        ] {
            let list: &[&str] = if let_through { &[name] } else { &[] };
            let environment = built(&[(name, "value")], list);
            let found = environment.vars.get(OsStr::new(name)).is_some_and(|value| value == "value");
            assert_eq!(found, gets_in, "{name}, let through: {let_through}");
            assert_eq!(environment.kept_out == [name], said, "{name}, let through: {let_through}");
        }
    }

    #[test]
    fn a_key_gets_in_under_no_name() {
        let parent =
            [("ANTHROPIC_API_KEY", "sk-real-key"), ("MY_KEY", "Bearer sk-real-key"), ("USER", "sk-real-key")];
        let environment = built(&parent, &["MY_KEY", "ANTHROPIC_API_KEY"]);
        assert_eq!(environment.kept_out, ["ANTHROPIC_API_KEY", "MY_KEY", "USER"]);
        assert_eq!(environment.vars.get(OsStr::new("ANTHROPIC_API_KEY")), Some(&"meter-token".into()));
        assert!(environment.vars.values().all(|value| !value.to_string_lossy().contains("sk-real-key")));
    }

    #[test]
    fn what_we_set_wins_over_what_is_let_through() {
        let environment =
            built(&[("HOME", "/root"), ("XDG_CONFIG_HOME", "/root/.config")], &["HOME", "XDG_CONFIG_HOME"]);
        assert_eq!(environment.vars.get(OsStr::new("HOME")), Some(&"/run/home".into()));
        assert_eq!(environment.vars.get(OsStr::new("XDG_CONFIG_HOME")), Some(&"/run/home/.config".into()));
    }

    #[test]
    fn a_home_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let home = create_home(folder.path()).expect("a home");
        for (name, path) in home.vars() {
            let mode = std::fs::metadata(path).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        assert_eq!(create_home(folder.path()).expect("made twice"), home);
        furnish(&home, [(".tool/config.toml", "a = 1\n")]).expect("a file");
        let file = home.path().join(".tool/config.toml");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "a = 1\n");
        for (path, expected) in [(file, 0o600), (home.path().join(".tool"), 0o700)] {
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        }
    }
}
