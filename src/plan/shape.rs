//! What a run uses where no history says it: from the context it starts with, its turns, and what each of
//! them adds. Every figure is an assumption that the plan prints.

use crate::task::{Stakes, Task};
use crate::tokens::Counts;

/// Tokens of the first request of a coding agent: 77 kB (instructions, tools, environment) at four bytes
/// a token.
pub const START: u64 = 77_000 / 4;

/// The course of a run: each turn reads the context so far from the cache, and writes to it what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of context it starts with.
    pub start: u64,
    /// Requests.
    pub turns: u64,
    /// Tokens of files and tool results that a turn brings in.
    pub read: u64,
    /// Tokens that a turn writes.
    pub written: u64,
    /// Tokens of the closing answer.
    pub answer: u64,
}

impl Shape {
    /// The shape assumed of a task at some stakes.
    #[must_use]
    pub fn of(task: Task, stakes: Stakes) -> Self {
        let (turns, read, written, answer) = match (task, stakes) {
            (Task::Implementation, Stakes::Low) => (10, 1_500, 400, 600),
            (Task::Implementation, Stakes::Medium) => (25, 2_000, 600, 1_000),
            (Task::Implementation, Stakes::High) => (60, 2_200, 700, 1_500),
            (Task::Review, Stakes::Low) => (6, 2_500, 250, 600),
            (Task::Review, Stakes::Medium) => (14, 3_000, 300, 1_200),
            (Task::Review, Stakes::High) => (30, 3_500, 400, 2_000),
            (Task::Docs, Stakes::Low) => (8, 2_000, 400, 800),
            (Task::Docs, Stakes::Medium | Stakes::High) => (15, 2_500, 600, 1_500),
        };
        Self { start: START, turns, read, written, answer }
    }

    /// Tokens that the context grows by in a turn.
    #[must_use]
    pub fn growth(&self) -> u64 {
        self.read + self.written
    }

    /// The longest prompt: that of the last turn.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.start + self.growth() * (self.turns - 1)
    }

    /// The tokens of the whole run.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let later = self.turns - 1;
        Counts {
            input: 0,
            cache_read: later * self.start + self.growth() * later * later.saturating_sub(1) / 2,
            cache_write_5m: self.longest(),
            cache_write_1h: 0,
            output: self.turns * self.written + self.answer,
            ..Counts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_turns_one_by_one() {
        for task in Task::ALL {
            for stakes in Stakes::ALL {
                let shape = Shape::of(task, stakes);
                let mut sum = Counts::default();
                let mut cached = 0;
                for turn in 0..shape.turns {
                    let new = if turn == 0 { shape.start } else { shape.growth() };
                    sum.cache_read += cached;
                    sum.cache_write_5m += new;
                    sum.output += shape.written;
                    cached += new;
                }
                sum.output += shape.answer;
                assert_eq!(shape.counts(), sum, "{task} {stakes}");
                assert_eq!(shape.longest(), cached, "{task} {stakes}");
            }
        }
    }
}
