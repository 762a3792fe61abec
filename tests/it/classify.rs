//! `tollgate classify`, through its public function.
