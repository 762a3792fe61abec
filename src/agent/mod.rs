//! The agent: how it is started, fenced, listened to and ended.
//!
//! [`preset`] says what to start, [`environment`] what it may see, [`process`] starts and ends it with
//! everything it leaves behind, [`output`] passes on what it says, [`patch`] saves what it has done,
//! [`branch`] pushes it, [`steering`] keeps a pull request's own instructions from it, [`thinking`] says how hard
//! its model is to think.
//! `supervise` is the neighbour that waits on an agent and the meter at once.

pub mod branch;
pub mod environment;
mod git;
pub mod output;
pub mod patch;
pub mod preset;
pub mod process;
pub mod steering;
pub mod thinking;
