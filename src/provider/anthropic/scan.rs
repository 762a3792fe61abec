//! A strict JSON reader that builds no tree.
