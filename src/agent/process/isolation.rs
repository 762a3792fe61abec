//! How well the provider's key is kept from the agent, claimed only as far as it is true.
//!
//! An agent of the same user could read tollgate's memory. A process that is not dumpable refuses that
//! to everybody but root; so it is worth something exactly where the agent cannot become root. And the key
//! must be nowhere else: the shell that started tollgate often has it in its environment, which every
//! process of the same user may read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The isolation reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The agent could read this process' memory if it tried.
    None {
        /// Why, as the end of a sentence.
        reason: String,
    },
    /// Same user, but the system refuses the agent to read this process.
    Hardened,
}

impl Isolation {
    /// The level's name in outputs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Isolation::None { .. } => "none",
            Isolation::Hardened => "hardened",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Isolation::None { reason } => write!(f, "none ({reason})"),
            Isolation::Hardened => f.write_str("hardened (the agent cannot read this process)"),
        }
    }
}

/// What decides the level.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// This process could be made unreadable to others of its user.
    undumpable: bool,
    root: bool,
    /// Capabilities that a child keeps across exec.
    ambient_capabilities: bool,
    passwordless_sudo: bool,
    docker_socket: bool,
    /// Another process has the key in its environment, where the agent could read it.
    key_beside: bool,
    /// A file that the agent may read has the key in it.
    key_filed: bool,
}

impl Facts {
    fn level(self) -> Isolation {
        let reason = match self {
            Facts { undumpable: false, .. } => "the system cannot protect a process' memory",
            Facts { root: true, .. } => "the agent runs as root",
            Facts { ambient_capabilities: true, .. } => "the agent inherits capabilities",
            Facts { passwordless_sudo: true, .. } => "the agent can use sudo without a password",
            Facts { docker_socket: true, .. } => "the agent can use the Docker socket",
            Facts { key_beside: true, .. } => {
                "the agent can read the key in the environment of another process, such as the shell that \
                 started tollgate: start it there with `exec`"
            }
            Facts { key_filed: true, .. } => {
                "the agent can read the file that holds the cloud's credentials, if it looks for it"
            }
            _ => return Isolation::Hardened,
        };
        Isolation::None { reason: reason.to_owned() }
    }
}

/// Makes this process unreadable to others of its user, and says what that is worth here for these keys, and for
/// those in these files.
pub async fn harden(keys: &[String], files: &[PathBuf]) -> Isolation {
    let root = rustix::process::geteuid().is_root();
    let facts = Facts {
        undumpable: undump(),
        root,
        ambient_capabilities: !root && has_ambient_capabilities(),
        passwordless_sudo: !root && sudo_works().await,
        docker_socket: !root && docker_socket(Path::new("/var/run/docker.sock")),
        key_beside: !root && keys.iter().any(|key| key_beside(key)),
        key_filed: files.iter().any(|file| rustix::fs::access(file, rustix::fs::Access::READ_OK).is_ok()),
    };
    facts.level()
}

#[cfg(target_os = "linux")]
fn undump() -> bool {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn undump() -> bool {
    false
}

/// Whether an environment that this user may read holds the key; this process's own is not one of them.
fn key_beside(key: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let finder = memchr::memmem::Finder::new(key);
    let holds = |path| std::fs::read(path).is_ok_and(|vars| finder.find(&vars).is_some());
    !key.is_empty() && processes.flatten().any(|process| holds(process.path().join("environ")))
}

fn has_ambient_capabilities() -> bool {
    // Unreadable counts as having some: nothing is claimed that is not known.
    std::fs::read_to_string("/proc/self/status").map_or(true, |status| ambient(&status))
}

fn ambient(status: &str) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapAmb:"));
    set.is_none_or(|set| set.trim().bytes().any(|digit| digit != b'0'))
}

async fn sudo_works() -> bool {
    let mut command = tokio::process::Command::new("sudo");
    command.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match tokio::time::timeout(Duration::from_secs(2), command.kill_on_drop(true).status()).await {
        Ok(Ok(status)) => status.success(),
        // No sudo there.
        Ok(Err(_)) => false,
        // No answer in time is no proof that it would not work.
        Err(_) => true,
    }
}

fn docker_socket(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Facts = Facts {
        undumpable: true,
        root: false,
        ambient_capabilities: false,
        passwordless_sudo: false,
        docker_socket: false,
        key_beside: false,
        key_filed: false,
    };

    #[test]
    fn nothing_is_claimed_that_the_agent_could_undo() {
        for (facts, shown) in [
            (SOUND, "hardened (the agent cannot read this process)"),
            (Facts { undumpable: false, ..SOUND }, "none (the system cannot protect a process' memory)"),
            (Facts { root: true, ..SOUND }, "none (the agent runs as root)"),
            (Facts { ambient_capabilities: true, ..SOUND }, "none (the agent inherits capabilities)"),
            (Facts { passwordless_sudo: true, ..SOUND }, "none (the agent can use sudo without a password)"),
            (Facts { docker_socket: true, ..SOUND }, "none (the agent can use the Docker socket)"),
            (
                Facts { key_beside: true, ..SOUND },
                "none (the agent can read the key in the environment of another process, such as the shell that \
                 started tollgate: start it there with `exec`)",
            ),
            (
                Facts { key_filed: true, ..SOUND },
                "none (the agent can read the file that holds the cloud's credentials, if it looks for it)",
            ),
        ] {
            assert_eq!(facts.level().to_string(), shown);
        }
    }

    #[test]
    fn a_key_in_the_environment_of_another_process_is_found() {
        let key = format!("sk-{}", crate::id::random_hex(8));
        assert!(!key_beside(&key));
        let mut command = std::process::Command::new("sleep");
        let mut other = command.arg("20").env("SOME_NAME", &key).spawn().expect("sleep");
        // Its environment can be read only once the kernel has set the new program up.
        let found = (0..500).any(|_| key_beside(&key));
        other.kill().and_then(|()| other.wait()).expect("ended");
        assert!(found || !cfg!(target_os = "linux"));
        assert!(!key_beside(""), "no key is nowhere");
    }

    #[test]
    fn capabilities_that_a_child_keeps_are_seen() {
        assert!(!ambient("Name:\tx\nCapAmb:\t0000000000000000\nSeccomp:\t0\n"));
        assert!(ambient("CapAmb:\t0000000000080000\n"));
        assert!(ambient("no such line"));
    }
}
