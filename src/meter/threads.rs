//! Whose a request is: the main thread's, for which the landing reserve is kept and which is told to wrap
//! up, or that of a sub-agent or of a side call (a title, a summary, a choice of a model).
//!
//! Headers tell where an agent sends some, and the shape of the request where it has one of its own. Besides
//! these: once the routed model was asked for, a request for another model is a side call; once tools were
//! offered, so is one without any. Until then whoever asks is the main thread, since a script may use
//! whichever model it likes, and offer none.

use std::sync::{Mutex, PoisonError};

use super::account::Thread;

/// What is known of a run's requests so far.
#[derive(Debug, Default)]
pub(super) struct Threads {
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    routed: bool,
    tools: bool,
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// By a header, or by its shape, it is a sub-agent's.
    pub(super) sub_agent: bool,
    /// It goes to the model that the run was routed to.
    pub(super) routed: bool,
    /// It offers tools.
    pub(super) tools: bool,
}

impl Threads {
    /// Whose the next request is.
    pub(super) fn of(&self, signs: Signs) -> Thread {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let aside = (seen.routed && !signs.routed) || (seen.tools && !signs.tools);
        if signs.sub_agent || aside {
            return Thread::Side;
        }
        seen.routed |= signs.routed;
        seen.tools |= signs.tools;
        Thread::Main
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Requests = &'static [(bool, bool, bool, Thread)];

    fn signs(sub_agent: bool, routed: bool, tools: bool) -> Signs {
        Signs { sub_agent, routed, tools }
    }

    #[test]
    fn requests_are_told_apart() {
        use Thread::{Main, Side};
        // Sub-agent, routed model, tools; whose it is.
        let runs: &[(&str, Requests)] = &[
            (
                "Claude Code",
                &[(false, true, true, Main), (true, true, true, Side), (false, true, true, Main)],
            ),
            (
                "opencode's title comes first",
                &[
                    (false, false, false, Main),
                    (false, true, true, Main),
                    (false, false, false, Side),
                    (false, true, true, Main),
                ],
            ),
            ("a summary on the main model", &[(false, true, true, Main), (false, true, false, Side)]),
            ("a script without tools", &[(false, true, false, Main), (false, true, false, Main)]),
            ("a script with a model of its own", &[(false, false, true, Main), (false, false, true, Main)]),
        ];
        for (what, requests) in runs {
            let threads = Threads::default();
            for (at, (sub_agent, routed, tools, thread)) in requests.iter().enumerate() {
                assert_eq!(threads.of(signs(*sub_agent, *routed, *tools)), *thread, "{what}, request {at}");
            }
        }
    }
}
