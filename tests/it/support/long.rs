//! How long the tests are that have no end of their own: random histories, kills, clients at a server.

/// Whether they are to be as long as in the nightly: `TOLLGATE_TEST_LONG=1`. By how much that is, each of them says
/// itself.
pub(crate) fn long() -> bool {
    match std::env::var("TOLLGATE_TEST_LONG").as_deref() {
        Err(_) | Ok("") => false,
        Ok("1") => true,
        Ok(other) => panic!(
            "TOLLGATE_TEST_LONG is `{other}`: it is 1, for loops as long as in the nightly, or not set"
        ),
    }
}
