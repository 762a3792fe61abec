//! The agent: how it is started, fenced, listened to and ended.
//!
//! [`preset`] says what to start, [`environment`] what it may see, [`process`] starts and ends it with
//! everything it leaves behind, [`output`] passes on what it says, [`patch`] saves what it has done.
//! `supervise` is the neighbour that waits on an agent and the meter at once.

pub mod environment;
pub mod output;
pub mod patch;
pub mod preset;
pub mod process;
