//! The report: what a run cost, for people and for scripts.
