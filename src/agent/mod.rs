//! The agent: how it is started, fenced, listened to and ended.
