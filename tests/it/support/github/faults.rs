//! What may go wrong with an answer, before or after the thing was done.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;

use super::answers;
use super::state::State;

/// One way to break.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The hour's requests are used up; new ones come after so many seconds.
    Primary { reset_s: i64 },
    /// The secondary limit, with this status, and with a time or without.
    Secondary { status: u16, retry_after_s: Option<u64> },
    /// An answer instead of doing it.
    Before(u16),
    /// An error after it was done.
    After(u16),
    /// The connection ends before it was done.
    DropBefore,
    /// The connection ends after it was done.
    DropAfter,
    /// It takes long, and is done.
    Slow(Duration),
    /// The labels as they were before the last change.
    StaleLabels,
    /// It is elsewhere.
    Redirect(u16, String),
    /// The token may not: what GitHub names as needed, if it does.
    Forbidden(Option<&'static str>),
    /// This body, whatever was asked.
    Body(String),
}

type Broken = Option<io::Result<Response<Full<Bytes>>>>;

fn dropped() -> Broken {
    Some(Err(io::Error::other("the connection is dropped")))
}

impl Fault {
    /// What happens instead of doing it.
    pub(super) fn before(&self, state: &State) -> Broken {
        let answer = match self {
            Fault::Primary { reset_s } => {
                let mut answer = answers::error(403, "API rate limit exceeded for installation ID 1.");
                let reset = state.now.as_second() + reset_s;
                answers::set(&mut answer, "x-ratelimit-remaining", "0");
                answers::set(&mut answer, "x-ratelimit-reset", &reset.to_string());
                answer
            }
            Fault::Secondary { status, retry_after_s } => {
                let said = "You have exceeded a secondary rate limit. Please wait a few minutes.";
                let mut answer = answers::error(*status, said);
                if let Some(seconds) = retry_after_s {
                    answers::set(&mut answer, "retry-after", &seconds.to_string());
                }
                answer
            }
            Fault::Before(status) => answers::error(*status, "Server Error"),
            Fault::DropBefore => return dropped(),
            Fault::Redirect(status, to) => {
                let mut answer = answers::error(*status, "Moved Permanently");
                answers::set(&mut answer, "location", to);
                answer
            }
            Fault::Forbidden(permissions) => {
                let mut answer = answers::error(403, "Resource not accessible by integration");
                if let Some(permissions) = permissions {
                    answers::set(&mut answer, "x-accepted-github-permissions", permissions);
                }
                answer
            }
            Fault::Body(body) => {
                let mut answer = Response::new(Full::new(Bytes::from(body.clone())));
                answers::set(&mut answer, "content-type", "application/json; charset=utf-8");
                answer
            }
            Fault::After(_) | Fault::DropAfter | Fault::Slow(_) | Fault::StaleLabels => return None,
        };
        Some(Ok(answer))
    }

    /// What happens after it was done.
    pub(super) fn after(&self) -> Broken {
        match self {
            Fault::After(status) => Some(Ok(answers::error(*status, "Server Error"))),
            Fault::DropAfter => dropped(),
            _ => None,
        }
    }
}

/// The faults to come, in order.
#[derive(Default)]
pub(super) struct Faults(VecDeque<(Method, String, u32, Fault)>);

impl Faults {
    pub(super) fn add(&mut self, method: &str, path: &str, times: u32, fault: Fault) {
        let method = method.parse().expect("a method");
        self.0.push_back((method, path.to_owned(), times, fault));
    }

    pub(super) fn take(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let entry = self
            .0
            .iter_mut()
            .find(|(of, part, times, _)| of == method && path.contains(part) && *times > 0)?;
        entry.2 -= 1;
        Some(entry.3.clone())
    }
}
