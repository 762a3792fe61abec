//! The client's clock, which a test may replace: waits for a limit are minutes long.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A wait that is under way.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the time is, and how to wait.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    sleep: Arc<dyn Fn(Duration) -> Wait + Send + Sync>,
}

impl Clock {
    /// The machine's clock as it was now, going on steadily: a deadline does not move when it is set.
    #[must_use]
    pub fn system() -> Self {
        let (wall, steady) = (Timestamp::now(), Instant::now());
        Self::new(
            move || {
                let gone = SignedDuration::try_from(steady.elapsed()).unwrap_or(SignedDuration::MAX);
                wall.checked_add(gone).unwrap_or(Timestamp::MAX)
            },
            |wait| Box::pin(tokio::time::sleep(wait)),
        )
    }

    /// A clock that shows what `now` returns and waits as `sleep` does.
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        sleep: impl Fn(Duration) -> Wait + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), sleep: Arc::new(sleep) }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(super) async fn sleep(&self, wait: Duration) {
        (self.sleep)(wait).await;
    }

    /// The time from now until then; none when it has passed.
    pub(super) fn until(&self, then: Timestamp) -> Duration {
        Duration::try_from(then.duration_since(self.now())).unwrap_or_default()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
