//! Tests of the ledger without and with files.
