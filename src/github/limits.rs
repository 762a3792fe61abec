//! What an answer says about GitHub's rate limits, and how long that is to be waited for.
//!
//! GitHub answers 403 or 429, with `retry-after`, or with no requests remaining and the time of the next
//! ones, or, for a secondary limit, with neither.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::error::Limit;

/// What GitHub asks for where a secondary limit names no time.
const SECONDARY_WAIT: Duration = Duration::from_secs(60);

/// The limit that an answer tells of, and how long to wait from now.
///
/// `body` tells a secondary limit without headers from a missing permission, as nothing else does;
/// `limited_before` doubles the wait where GitHub does not name one.
pub(super) fn limited(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    limited_before: u32,
) -> Option<(Limit, Duration)> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let remaining = text("x-ratelimit-remaining").and_then(|text| text.parse::<u64>().ok());
    let limit = if remaining == Some(0) { Limit::Primary } else { Limit::Secondary };
    // The server's clock counts the reset; the machine's may be off.
    let now = text(header::DATE.as_str()).and_then(instant).unwrap_or(now);
    if let Some(wait) = text(header::RETRY_AFTER.as_str()).and_then(|text| retry_after(text, now)) {
        return Some((limit, wait));
    }
    if limit == Limit::Primary {
        let reset = text("x-ratelimit-reset")
            .and_then(|text| text.parse().ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        // A second more, since the reset is told in whole ones.
        let wait = reset.map_or(SECONDARY_WAIT, |reset| until(now, reset) + Duration::from_secs(1));
        return Some((limit, wait));
    }
    let body = String::from_utf8_lossy(body).to_lowercase();
    let secondary = status == StatusCode::TOO_MANY_REQUESTS || body.contains("rate limit");
    secondary.then(|| (Limit::Secondary, SECONDARY_WAIT * 2_u32.pow(limited_before.min(5))))
}

/// Seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => instant(text).map(|then| until(now, then)),
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// The wait before the attempt after `attempt` failed ones: 0.5 s doubled each time, at most 8 s, of
/// which a random half is left off so that many clients do not come back at once.
pub(super) fn backoff(attempt: u32) -> Duration {
    let most = 500_u64 << attempt.min(4);
    let mut random = [0_u8; 2];
    // Without randomness the wait is whole, which is a wait as well.
    let _ = getrandom::fill(&mut random);
    Duration::from_millis(most - (most / 2) * u64::from(u16::from_le_bytes(random)) / 65_536)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn every_form_of_a_limit_is_read() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("an instant");
        let reset = "1795521690"; // 12:01:30
        assert_eq!(now.as_second() + 90, reset.parse::<i64>().expect("a number"));
        let none: &[(&str, &str)] = &[];
        let secondary = "You have exceeded a secondary rate limit";
        for (status, headers, body, before, expected) in [
            (403, &[("retry-after", "7")][..], "", 0, Some((Limit::Secondary, 7))),
            (429, &[("retry-after", "0")], "", 0, Some((Limit::Secondary, 0))),
            (
                403,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)],
                "",
                0,
                Some((Limit::Primary, 91)),
            ),
            (
                403,
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", reset),
                    ("date", "Tue, 24 Nov 2026 12:01:00 GMT"),
                ],
                "",
                0,
                Some((Limit::Primary, 31)),
            ),
            (429, &[("retry-after", "Tue, 24 Nov 2026 12:00:20 GMT")], "", 0, Some((Limit::Secondary, 20))),
            (403, none, secondary, 0, Some((Limit::Secondary, 60))),
            (403, none, secondary, 2, Some((Limit::Secondary, 240))),
            (429, none, "", 0, Some((Limit::Secondary, 60))),
            (403, none, "Resource not accessible by integration", 0, None),
            (403, &[("x-ratelimit-remaining", "4999")], "Forbidden", 0, None),
            (500, &[("retry-after", "7")], "", 0, None),
        ] {
            let map: HeaderMap = (headers.iter())
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let status = StatusCode::from_u16(status).expect("a status");
            let expected = expected.map(|(limit, seconds)| (limit, Duration::from_secs(seconds)));
            assert_eq!(
                limited(status, &map, body.as_bytes(), now, before),
                expected,
                "{status} {headers:?} {body}"
            );
        }
    }

    #[test]
    fn backoff_grows_and_keeps_half() {
        for (attempt, most) in [(0, 500), (1, 1_000), (4, 8_000), (30, 8_000)] {
            let wait = backoff(attempt).as_millis();
            assert!((most / 2..=most).contains(&wait), "{attempt}: {wait}");
        }
    }
}
