//! Prices: effective-dated rows that turn `Usage` and `Ceiling` into money.
