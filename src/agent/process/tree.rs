//! Every process an agent has started, found and signalled through `/proc`.
//!
//! A process group is not enough: a daemon leaves its group and its session, and its parents exit. But
//! tollgate is a child subreaper, so whatever the agent starts stays below tollgate in the tree. And a
//! process can leave a session, never join one: what is below tollgate in a session other than tollgate's
//! was started by an agent, what shares its session is a helper of our own.
//!
//! While an agent runs, tollgate starts no other process that begins a session of its own.

use std::collections::{HashMap, HashSet};
use std::io;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal, set_child_subreaper, waitpid,
};

/// One process at one moment. The start time tells it from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    zombie: bool,
    /// Clock ticks after boot.
    started: u64,
}

/// This process: what tells the agent's processes from ours.
#[derive(Clone, Copy, Debug)]
struct Ours {
    pid: i32,
    /// 0 where the session was begun outside this process namespace (`pid_namespaces(7)`), as in many
    /// containers. So it is read where everybody else's is, and not asked of `getsid(2)`, whose 0 the
    /// safe interfaces take for impossible.
    session: i32,
}

impl Ours {
    fn read() -> io::Result<Self> {
        let pid = getpid().as_raw_nonzero().get();
        let own = read_process(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
        Ok(Self { pid, session: own.session })
    }

    /// Every process below this one that is not in this one's session.
    fn agents(self, all: &[Process]) -> Vec<Process> {
        let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
        for process in all {
            children.entry(process.parent).or_default().push(process);
        }
        let mut agents = Vec::new();
        let mut queue = vec![self.pid];
        while let Some(parent) = queue.pop() {
            // Taking the children out ends the walk even if a snapshot taken in motion had a circle.
            for process in children.remove(&parent).unwrap_or_default() {
                queue.push(process.pid);
                if process.session != self.session {
                    agents.push(*process);
                }
            }
        }
        agents
    }
}

/// The processes of one agent.
#[derive(Debug)]
pub(super) struct Tree {
    us: Ours,
    /// The main process. Only the runtime may wait for it.
    root: i32,
    /// Children of ours that were there before the agent: never touched.
    strangers: HashSet<(i32, u64)>,
    /// Everything that was seen alive beside the main process, to count what was left behind.
    seen: HashSet<(i32, u64)>,
}

/// Makes orphans of the agent children of this process, and notes which processes are not the agent's.
pub(super) struct Before {
    us: Ours,
    strangers: HashSet<(i32, u64)>,
}

impl Before {
    pub(super) fn prepare() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let us = Ours::read()?;
        let strangers = us.agents(&snapshot()?).iter().map(|p| (p.pid, p.started)).collect();
        Ok(Self { us, strangers })
    }

    pub(super) fn tree(self, root: u32) -> Tree {
        let root = i32::try_from(root).unwrap_or(i32::MAX);
        Tree { us: self.us, root, strangers: self.strangers, seen: HashSet::new() }
    }
}

impl Tree {
    /// Sends a signal to every living process of the agent; how many there were.
    ///
    /// With [`Signal::KILL`] whole process groups are struck first, which no fork can race.
    pub(super) fn signal(&mut self, signal: Signal) -> usize {
        let alive = self.alive();
        if signal == Signal::KILL {
            let groups: HashSet<i32> = alive.iter().map(|p| p.group).filter(|group| *group > 1).collect();
            for group in groups.into_iter().filter_map(Pid::from_raw) {
                // A group that is gone by now needs no signal.
                let _ = kill_process_group(group, signal);
            }
        }
        for process in &alive {
            send(process, signal);
        }
        alive.len()
    }

    /// Kills what is below us right now, found the fast way; how many there were.
    ///
    /// A process that forks, begins a session and exits, over and over, is gone before a walk through all
    /// of `/proc` has reached it. The kernel's own lists of children take microseconds. They may miss one
    /// that moves (`proc_pid_task_children(5)`) or not be there at all, so the walk has the last word.
    pub(super) fn strike(&mut self) -> usize {
        let mut struck = 0;
        let us = self.us;
        let mut queue = vec![us.pid];
        while let Some(parent) = queue.pop() {
            for process in children_of(parent).into_iter().filter_map(read_process) {
                if process.session == us.session || self.strangers.contains(&(process.pid, process.started)) {
                    continue;
                }
                if process.zombie {
                    if process.parent == us.pid && process.pid != self.root {
                        bury(process.pid);
                    }
                    continue;
                }
                send(&process, Signal::KILL);
                self.seen.insert((process.pid, process.started));
                struck += 1;
                queue.push(process.pid);
            }
        }
        struck
    }

    /// How many processes beside the main one are alive, after burying the dead.
    pub(super) fn leftovers(&mut self) -> usize {
        let root = self.root;
        self.alive().iter().filter(|process| process.pid != root).count()
    }

    /// Whether nothing of the agent is left, its main process included.
    pub(super) fn is_gone(&mut self) -> bool {
        self.alive().is_empty()
    }

    /// The living processes of the agent. Dead ones that have become ours are waited for on the way:
    /// nobody else will, and a long run would fill the process table.
    fn alive(&mut self) -> Vec<Process> {
        let Ok(all) = snapshot() else { return Vec::new() };
        let mut alive = Vec::new();
        for process in self.us.agents(&all) {
            if self.strangers.contains(&(process.pid, process.started)) {
                continue;
            }
            if !process.zombie {
                self.seen.insert((process.pid, process.started));
                alive.push(process);
            } else if process.parent == self.us.pid && process.pid != self.root {
                bury(process.pid);
            }
        }
        alive
    }

    /// Starts the count of [`Tree::seen_beside_main`] anew.
    pub(super) fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// How many different processes beside the main one any look at the tree has found alive.
    pub(super) fn seen_beside_main(&self) -> usize {
        self.seen.iter().filter(|(pid, _)| *pid != self.root).count()
    }
}

/// Signals exactly this process: a descriptor is opened first and the start time compared after, so that
/// a number that was given to somebody else in between is never struck.
fn send(process: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let handle = pidfd_open(pid, PidfdFlags::empty());
    let same = read_process(process.pid).is_some_and(|now| now.started == process.started);
    if !same {
        return;
    }
    // A process that has ended by now needs no signal; one that may not be signalled (it has another
    // user) stays, and is counted as a survivor.
    let _ = match handle {
        Ok(handle) => pidfd_send_signal(&handle, signal),
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => kill_process(pid, signal),
        Err(_) => Ok(()),
    };
}

fn bury(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Somebody else was faster: then it is buried all the same.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// The kernel's lists of the children of each thread of a process.
fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn snapshot() -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(read_process) {
            all.push(process);
        }
    }
    // A parent that went while they were listed has left its children to somebody who may be us.
    let listed: HashSet<i32> = all.iter().map(|process| process.pid).collect();
    for process in all.iter_mut().filter(|process| !listed.contains(&process.parent)) {
        if let Some(now) = read_process(process.pid) {
            *process = now;
        }
    }
    Ok(all)
}

fn read_process(pid: i32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// Reads `/proc/PID/stat` (`proc_pid_stat(5)`). The name in parentheses may itself hold parentheses and
/// spaces, so the fields are counted from the last one.
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
    Some(Process {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_call_itself_anything() {
        let rest = "7 42 43 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        for name in ["bash", "a b", "x) R 1 1 1", ") Z 1 (", ""] {
            let process = parse_stat(&format!("99 ({name}) S {rest}")).expect(name);
            assert_eq!(
                process,
                Process { pid: 99, parent: 7, group: 42, session: 43, zombie: false, started: 987_654 },
                "{name}"
            );
        }
    }

    #[test]
    fn a_stat_that_is_cut_short_is_no_process() {
        for text in ["", "99", "99 (x", "99 (x) ", "99 (x) S 1 2", "nine (x) S 1 2 3"] {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_session_from_outside_the_namespace_tells_the_agents_processes_from_ours_as_well() {
        let process = |pid, parent, session| Process {
            pid,
            parent,
            group: session,
            session,
            zombie: false,
            started: 1,
        };
        // 7 is this process, 8 its helper; 9 leads the agent's session, 10 is a daemon of it, 12 a neighbour.
        let all = [
            process(1, 0, 0),
            process(7, 1, 0),
            process(8, 7, 0),
            process(9, 7, 9),
            process(10, 9, 10),
            process(11, 10, 10),
            process(12, 1, 12),
        ];
        let found = Ours { pid: 7, session: 0 }.agents(&all);
        let mut found: Vec<i32> = found.iter().map(|process| process.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [9, 10, 11]);
    }

    #[test]
    fn this_process_is_found_with_its_parent() {
        let us = getpid().as_raw_nonzero().get();
        let all = snapshot().expect("/proc");
        let found = all.iter().find(|process| process.pid == us).expect("this process");
        assert_eq!(Some(found.parent), rustix::process::getppid().map(|p| p.as_raw_nonzero().get()));
        assert!(!found.zombie);
    }
}
