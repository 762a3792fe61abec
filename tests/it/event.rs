//! Events out of real git repositories.
