//! The calls that turn credentials into an access token.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Secret;
use super::super::escape::form;
use super::file::{Credentials, Federated, Subject, is_here, read};
use super::{BYTES_MAX, SCOPE};

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// How long a token lives where its answer does not say.
const LIFE_USUAL: SignedDuration = SignedDuration::from_mins(30);

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What happened, in words of ours.
    pub(super) what: String,
    /// What the server said, which may name accounts and projects: for whoever holds the credentials.
    words: String,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, ": {}", self.words) }
    }
}

impl From<String> for Why {
    fn from(what: String) -> Self {
        Self { what, words: String::new() }
    }
}

impl Credentials {
    /// Fetches a token; with it comes when it ends.
    pub(super) async fn fetch(&self, now: Timestamp) -> Result<(Secret, Timestamp), Why> {
        match self {
            Self::ServiceAccount { email, key_id, key, token_url } => {
                let assertion = assertion(email, key_id.as_deref(), key, token_url, now)?;
                let pairs = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                ];
                Ok(granted(&post(token_url, &pairs).await?, now)?)
            }
            Self::Person { client_id, client_secret, refresh_token, token_url } => {
                let (secret, refresh) = (client_secret.text(), refresh_token.text());
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id.as_str()),
                    ("client_secret", secret.as_str()),
                    ("refresh_token", refresh.as_str()),
                ];
                Ok(granted(&post(token_url, &pairs).await?, now)?)
            }
            Self::Federated(federated) => federated.fetch(now).await,
        }
    }
}

impl Federated {
    async fn fetch(&self, now: Timestamp) -> Result<(Secret, Timestamp), Why> {
        let subject = self.subject.fetch().await?;
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", self.audience.as_str()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.as_str()),
            ("subject_token_type", self.token_type.as_str()),
        ];
        let exchanged = granted(&post(&self.token_url, &pairs).await?, now)?;
        let Some(url) = &self.impersonated else { return Ok(exchanged) };
        let body = json!({ "scope": [SCOPE], "lifetime": "3600s" });
        let request = client(url)?.post(url.clone()).bearer_auth(exchanged.0.text()).json(&body);
        Ok(impersonated(&answer(request, url).await?)?)
    }
}

impl Subject {
    async fn fetch(&self) -> Result<String, Why> {
        let (text, field) = match self {
            Self::File { path, field } => {
                (read(Path::new(path)).map_err(|why| format!("{path} cannot be read: {why}"))?, field)
            }
            Self::Url { url, headers, field } => {
                let mut request = client(url)?.get(url.clone());
                for (name, value) in headers {
                    request = request.header(name, value.text());
                }
                (answer(request, url).await?, field)
            }
        };
        match field {
            None => Ok(text.trim().to_owned()),
            Some(name) => {
                let value: Value = serde_json::from_str(&text).unwrap_or_default();
                let token = value[name].as_str().map(str::to_owned);
                token.ok_or_else(|| format!("the identity provider's answer has no `{name}`").into())
            }
        }
    }
}

/// A client for an address. What is on this machine is no proxy's business.
fn client(url: &Url) -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder().timeout(CALL_MAX).redirect(reqwest::redirect::Policy::none());
    let client = if is_here(url) { client.no_proxy() } else { client };
    client.build().map_err(|error| error.without_url().to_string())
}

async fn post(url: &Url, pairs: &[(&str, &str)]) -> Result<String, Why> {
    let request = client(url)?.post(url.clone()).header("content-type", "application/x-www-form-urlencoded");
    answer(request.body(form(pairs)), url).await
}

/// The text of a call's answer, or why there is none.
async fn answer(request: reqwest::RequestBuilder, url: &Url) -> Result<String, Why> {
    let host = url.host_str().unwrap_or_default();
    // Errors of this library can hold the address, and addresses can hold tokens.
    let failed = |error: reqwest::Error| format!("{host} did not answer: {}", error.without_url());
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&piece);
        if body.len() > BYTES_MAX {
            return Err(format!("{host} answered with more than {BYTES_MAX} bytes").into());
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(text);
    }
    Err(Why { what: format!("{host} answered {status}"), words: said(&text) })
}

/// What an error's answer says of itself, in its known fields.
fn said(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let found = [&value["error_description"], &value["error"]["message"], &value["error"], &value["message"]];
    let words = found.into_iter().find_map(Value::as_str).unwrap_or_default();
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A token in an answer of OAuth's shape.
fn granted(text: &str, now: Timestamp) -> Result<(Secret, Timestamp), String> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: Option<i64>,
    }
    let granted: Granted = serde_json::from_str(text).map_err(|_| "the answer holds no access token")?;
    let life = granted.expires_in.map_or(LIFE_USUAL, SignedDuration::from_secs);
    let until = now.checked_add(life).unwrap_or(now);
    Ok((Secret::new(granted.access_token), until))
}

/// A token in an answer of the impersonation's shape.
fn impersonated(text: &str) -> Result<(Secret, Timestamp), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Granted {
        access_token: String,
        expire_time: Timestamp,
    }
    let granted: Granted =
        serde_json::from_str(text).map_err(|_| "the answer holds no access token of the service account")?;
    Ok((Secret::new(granted.access_token), granted.expire_time))
}

/// What a service account says of itself, signed with its key (RFC 7523).
fn assertion(
    email: &str,
    key_id: Option<&str>,
    key: &Secret,
    audience: &Url,
    now: Timestamp,
) -> Result<String, String> {
    let unusable = || "the private key in the credentials file cannot be used".to_owned();
    let text = key.text();
    let pem = text.trim().strip_prefix("-----BEGIN PRIVATE KEY-----").ok_or_else(unusable)?;
    let pem = pem.strip_suffix("-----END PRIVATE KEY-----").ok_or_else(unusable)?;
    let der = STANDARD.decode(pem.split_whitespace().collect::<String>()).map_err(|_| unusable())?;
    let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| unusable())?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = key_id {
        header["kid"] = Value::from(id);
    }
    let claims = json!({
        "iss": email, "scope": SCOPE, "aud": audience.as_str(),
        "iat": now.as_second(), "exp": now.as_second() + 3600,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).map_err(|_| unusable())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_of_an_answer_are_repeated() {
        assert_eq!(said(r#"{"error":"invalid_grant","error_description":"Bad\nrequest"}"#), "Badrequest");
        assert_eq!(said(r#"{"error":{"code":403,"message":"denied"}}"#), "denied");
        assert_eq!(said(r#"{"access_token":"secret"}"#), "");
        assert_eq!(said("<html>secret"), "");
    }
}
