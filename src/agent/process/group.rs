//! Where there is no `/proc` and no subreaper: the process group of the agent's main process.
//!
//! A daemon that has left its group is not found here. [`super::Ended::whole_tree`] says so.

use std::io;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// The process group of one agent.
#[derive(Debug)]
pub(super) struct Tree {
    group: Option<Pid>,
}

/// Nothing needs preparing.
pub(super) struct Before;

impl Before {
    pub(super) fn prepare() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn tree(self, root: u32) -> Tree {
        Tree { group: i32::try_from(root).ok().and_then(Pid::from_raw) }
    }
}

impl Tree {
    pub(super) fn signal(&mut self, signal: Signal) -> usize {
        self.group.map_or(0, |group| usize::from(kill_process_group(group, signal).is_ok()))
    }

    pub(super) fn strike(&mut self) -> usize {
        self.signal(Signal::KILL)
    }

    pub(super) fn leftovers(&mut self) -> usize {
        usize::from(!self.is_gone())
    }

    pub(super) fn is_gone(&mut self) -> bool {
        self.group.is_none_or(|group| test_kill_process_group(group).is_err())
    }

    pub(super) fn forget_seen(&mut self) {}

    pub(super) fn seen_beside_main(&self) -> usize {
        0
    }
}
