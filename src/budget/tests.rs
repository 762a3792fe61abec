//! Tests of the budget file as a whole.
