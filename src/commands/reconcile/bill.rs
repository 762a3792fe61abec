//! A provider's own bill, day by day and model by model: asked for page by page.
//!
//! Anthropic: `GET /v1/organizations/cost_report` (Usage and Cost Admin API), amounts as decimal strings of
//! cents, the model in a field of its own. OpenAI: `GET /v1/organization/costs`, amounts as JSON numbers of
//! dollars, the model at the beginning of the line item. Both in days of UTC. No amount passes through a float.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Provider;
use crate::money::Usd;

/// Days that are asked for at once: the most that Anthropic gives.
const DAYS_A_PAGE: u32 = 31;
/// Pages that are read at most.
const PAGES_MAX: usize = 400;
/// Bytes of a page that are read at most.
const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often a page is asked for where the provider is busy or broken.
const TRIES_MAX: u32 = 5;
/// The longest pause that a provider may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a provider charged, by day and by model; the model is empty for what is no model's. A day without
/// models is one that the provider has returned, and charged nothing for.
pub(super) type Billed = BTreeMap<Date, BTreeMap<String, Usd>>;

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub(super) enum BillError {
    /// The provider does not take the key.
    #[error(
        "{provider} does not take the key in {variable}: it answered {status}\n\nhint: the bill is read with an \
         admin key of the organization, which is another one than runs use"
    )]
    Key {
        /// The provider.
        provider: &'static str,
        /// Where the key is.
        variable: &'static str,
        /// The answer's status.
        status: u16,
    },
    /// The provider refuses.
    #[error("{provider} answered {status}: {said}")]
    Refused {
        /// The provider.
        provider: &'static str,
        /// The answer's status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The provider cannot be reached, or stays busy.
    #[error(
        "{provider} gave no bill in {TRIES_MAX} tries: {last}\n\nhint: run it again later; nothing was recorded"
    )]
    Unreachable {
        /// The provider.
        provider: &'static str,
        /// What went wrong last.
        last: String,
    },
    /// A page that is none.
    #[error(
        "{provider} sent a page that cannot be read: {what}\n\nhint: its API may have changed; nothing was recorded"
    )]
    Page {
        /// The provider.
        provider: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// Where a bill comes from.
pub(super) struct Source<'a> {
    pub(super) provider: Provider,
    /// The provider's address, without a path.
    pub(super) base: Url,
    pub(super) key: &'a str,
    /// The workspace or the project whose bill it is; the organization's where there is none.
    pub(super) part: Option<&'a str>,
}

impl Source<'_> {
    /// The bill of the days from `first` to before `end`.
    pub(super) async fn read(&self, first: Date, end: Date) -> Result<Billed, BillError> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| self.unreachable(error.without_url().to_string()))?;
        let mut billed = Billed::new();
        let mut from = first;
        while from < end {
            let to = from.saturating_add(i64::from(DAYS_A_PAGE).days()).min(end);
            self.read_span(&client, from, to, &mut billed).await?;
            from = to;
        }
        billed.retain(|day, _| (first..end).contains(day));
        Ok(billed)
    }

    async fn read_span(
        &self,
        client: &Client,
        from: Date,
        to: Date,
        billed: &mut Billed,
    ) -> Result<(), BillError> {
        let mut page: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let text = self.page(client, &self.url(from, to, page.as_deref())).await?;
            let next = match self.provider {
                Provider::Anthropic => self.take_anthropic(&text, billed)?,
                Provider::Openai => self.take_openai(&text, billed)?,
            };
            match next {
                None => return Ok(()),
                Some(next) if page.as_ref() == Some(&next) => {
                    return Err(self.wrong("it names itself as the next one".to_owned()));
                }
                next => page = next,
            }
        }
        Err(self.wrong(format!("more than {PAGES_MAX} follow one another")))
    }

    fn url(&self, from: Date, to: Date, page: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let limit = DAYS_A_PAGE.to_string();
        let instant = |day: Date| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or_default();
        let (path, mut query) = match self.provider {
            Provider::Anthropic => {
                let query = vec![
                    ("starting_at", instant(from).to_string()),
                    ("ending_at", instant(to).to_string()),
                    ("group_by[]", "description".to_owned()),
                    ("group_by[]", "workspace_id".to_owned()),
                ];
                ("v1/organizations/cost_report", query)
            }
            Provider::Openai => {
                let mut query = vec![
                    ("start_time", instant(from).as_second().to_string()),
                    ("end_time", instant(to).as_second().to_string()),
                    ("group_by", "line_item".to_owned()),
                ];
                query.extend(self.part.map(|project| ("project_ids", project.to_owned())));
                ("v1/organization/costs", query)
            }
        };
        query.push(("bucket_width", "1d".to_owned()));
        query.push(("limit", limit));
        query.extend(page.map(|page| ("page", page.to_owned())));
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// A page's text; asked for again where the provider is busy or broken.
    async fn page(&self, client: &Client, url: &Url) -> Result<String, BillError> {
        let mut last = String::new();
        for attempt in 0..TRIES_MAX {
            let request = match self.provider {
                Provider::Anthropic => client
                    .get(url.clone())
                    .header("x-api-key", self.key)
                    .header("anthropic-version", "2023-06-01"),
                Provider::Openai => client.get(url.clone()).bearer_auth(self.key),
            };
            let mut pause = Duration::from_millis(500) * 2_u32.pow(attempt);
            match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let asked = asked_pause(answer.headers());
                    let text = limited(answer).await.map_err(|what| self.wrong(what));
                    match status.as_u16() {
                        200 => return text,
                        status @ (401 | 403) => return Err(self.key_refused(status)),
                        429 | 500..=599 => {
                            last = format!("it answered {status}");
                            pause = asked.unwrap_or(pause);
                        }
                        status => {
                            let said = said(&text.unwrap_or_default());
                            return Err(BillError::Refused { provider: self.provider.name(), status, said });
                        }
                    }
                }
                Err(error) => last = error.without_url().to_string(),
            }
            if attempt + 1 < TRIES_MAX {
                tokio::time::sleep(pause.min(PAUSE_MAX)).await;
            }
        }
        Err(self.unreachable(last))
    }

    fn take_anthropic(&self, text: &str, billed: &mut Billed) -> Result<Option<String>, BillError> {
        let page: Page<AnthropicBucket> = self.parse(text)?;
        for bucket in page.data {
            let day = TimeZone::UTC.to_datetime(bucket.starting_at).date();
            billed.entry(day).or_default();
            for row in bucket.results {
                if self.part.is_some() && row.workspace_id.as_deref() != self.part {
                    continue;
                }
                self.check_currency(&row.currency)?;
                // Cents.
                let usd = amount(&row.amount, -2).ok_or_else(|| self.not_money(&row.amount))?;
                *billed.entry(day).or_default().entry(row.model.unwrap_or_default()).or_default() += usd;
            }
        }
        Ok(page.next_page.filter(|_| page.has_more))
    }

    fn take_openai(&self, text: &str, billed: &mut Billed) -> Result<Option<String>, BillError> {
        let page: Page<OpenaiBucket<'_>> = self.parse(text)?;
        for bucket in page.data {
            let start =
                Timestamp::from_second(bucket.start_time).map_err(|error| self.wrong(error.to_string()))?;
            let day = TimeZone::UTC.to_datetime(start).date();
            billed.entry(day).or_default();
            for row in bucket.results {
                self.check_currency(row.amount.currency)?;
                let text = row.amount.value.get().trim_matches('"');
                let usd = amount(text, 0).ok_or_else(|| self.not_money(text))?;
                let item = row.line_item.unwrap_or_default();
                let model = item.split_once(',').map_or(item.as_str(), |(model, _)| model);
                *billed.entry(day).or_default().entry(model.trim().to_owned()).or_default() += usd;
            }
        }
        Ok(page.next_page.filter(|_| page.has_more))
    }

    fn parse<'t, T: Deserialize<'t>>(&self, text: &'t str) -> Result<T, BillError> {
        serde_json::from_str(text).map_err(|error| self.wrong(error.to_string()))
    }

    fn check_currency(&self, currency: &str) -> Result<(), BillError> {
        match currency.eq_ignore_ascii_case("usd") {
            true => Ok(()),
            false => Err(self.wrong(format!("its amounts are in `{currency}`, not in dollars"))),
        }
    }

    fn not_money(&self, text: &str) -> BillError {
        self.wrong(format!("`{text}` is no amount"))
    }

    fn wrong(&self, what: String) -> BillError {
        BillError::Page { provider: self.provider.name(), what }
    }

    fn unreachable(&self, last: String) -> BillError {
        BillError::Unreachable { provider: self.provider.name(), last }
    }

    fn key_refused(&self, status: u16) -> BillError {
        BillError::Key { provider: self.provider.name(), variable: self.provider.variable(), status }
    }
}

#[derive(Deserialize)]
struct Page<B> {
    data: Vec<B>,
    has_more: bool,
    next_page: Option<String>,
}

#[derive(Deserialize)]
struct AnthropicBucket {
    starting_at: Timestamp,
    results: Vec<AnthropicRow>,
}

#[derive(Deserialize)]
struct AnthropicRow {
    amount: String,
    currency: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    workspace_id: Option<String>,
}

#[derive(Deserialize)]
struct OpenaiBucket<'a> {
    start_time: i64,
    #[serde(borrow)]
    results: Vec<OpenaiRow<'a>>,
}

#[derive(Deserialize)]
struct OpenaiRow<'a> {
    #[serde(borrow)]
    amount: OpenaiAmount<'a>,
    #[serde(default)]
    line_item: Option<String>,
}

#[derive(Deserialize)]
struct OpenaiAmount<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    currency: &'a str,
}

/// A decimal number, as JSON writes numbers, times ten to the `shift`, in dollars; rounded up to a
/// pico-dollar, since these numbers may have been floats.
fn amount(text: &str, shift: i32) -> Option<Usd> {
    const PLACES: i32 = 12;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || digits.len() > 60 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = PLACES + shift + exponent - i32::try_from(fraction.len()).ok()?;
    let pico: i128 = if places >= 0 {
        let digits = digits.trim_start_matches('0');
        let value: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        value.checked_mul(10_i128.checked_pow(u32::try_from(places).ok()?)?)?
    } else {
        let drop = usize::try_from(-places).ok()?;
        let (kept, cut) = digits.split_at(digits.len().saturating_sub(drop));
        let value: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        value + i128::from(cut.bytes().any(|byte| byte != b'0'))
    };
    Some(Usd::from_pico(if negative { -pico } else { pico }))
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn limited(mut answer: reqwest::Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > PAGE_BYTES_MAX {
            return Err(format!("it is longer than {PAGE_BYTES_MAX} bytes"));
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())
}

/// The message of an error answer, short and plain.
fn said(text: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = value.as_ref().and_then(|value| value["error"]["message"].as_str());
    let plain = message.unwrap_or("without a reason").chars().filter(|c| !c.is_control());
    plain.take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_rounded_up_at_the_last_place() {
        for (text, shift, expected) in [
            ("0", 0, Some("0")),
            ("0.06", 0, Some("0.06")),
            ("123.45", -2, Some("1.2345")),
            ("100", -2, Some("1")),
            ("-2.5", 0, Some("-2.5")),
            ("1.5e-3", 0, Some("0.0015")),
            ("2E2", 0, Some("200")),
            ("0.0000000000001", 0, Some("0.000000000001")),
            ("0.30000000000000004", 0, Some("0.300000000001")),
            ("1e-300", 0, Some("0.000000000001")),
            ("1e300", 0, None),
            ("", 0, None),
            (".5", 0, None),
            ("1,5", 0, None),
            ("NaN", 0, None),
        ] {
            let expected = expected.map(|text| text.parse().expect("an amount"));
            assert_eq!(amount(text, shift), expected, "{text} by {shift}");
        }
    }
}
