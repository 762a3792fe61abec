//! What an agent finds when it looks for the provider's key: as an ordinary user, in every process that it
//! may look into.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::run::{budget, repository, with_agent};
use crate::run_github::plain;

/// The user that nobody is.
const NOBODY: u32 = 65_534;

/// Looks wherever a process of the same user can look, and notes what it finds.
const LOOK: &str = "ask Go
OTHER=seen-in-another-process sleep 30 & other=$!
while ! tr '\\0' '\\n' < /proc/$other/environ | grep -q OTHER; do :; done
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' > found.txt
env >> found.txt
{ cat /proc/$PPID/environ; head -c 1 /proc/$PPID/mem; cat /proc/$PPID/maps; ls /proc/$PPID/fd/; } >> found.txt 2> refused.txt
true
";

fn give_to(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("root may do that");
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            give_to(&entry.expect("an entry").path(), user);
        }
    }
}

#[test]
fn an_agent_that_looks_for_the_key_does_not_find_it() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let key = format!("sk-{}", tollgate::id::random_hex(16));
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    with_agent(&mut world, &upstream, LOOK).env("ANTHROPIC_API_KEY", &key);
    let built = world.command();
    let program = world.home().join("tollgate");
    std::fs::copy(built.get_program(), &program).expect("a copy");
    let mut command = Command::new(&program);
    command.env_clear().args(built.get_args()).current_dir(world.work());
    command.envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if rustix::process::geteuid().is_root() {
        // Root may look into everything: nothing is claimed for agents that run as root.
        give_to(world.work().parent().expect("a world"), NOBODY);
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("tollgate: isolation "), "{said}");
    let noted = |name: &str| std::fs::read_to_string(world.work().join(name)).expect(name);
    let found = noted("found.txt");
    assert!(found.contains("OTHER=seen-in-another-process"), "it looks into other processes: {found}");
    assert!(found.contains("ANTHROPIC_API_KEY="), "and has a token of its own: {found}");
    assert!(!found.contains(&key), "the key is found");
    let refused = noted("refused.txt");
    assert_eq!(refused.matches("ermission denied").count(), 4, "{refused}");
}
