//! Access tokens for Vertex, fetched by the meter itself and kept until they are about to expire.
//!
//! From a credentials file as Google's tools write it: a service account's key (RFC 7523), a person's refresh
//! token, or workload identity federation (RFC 8693), which is what google-github-actions/auth sets up. Or a
//! token that somebody else has fetched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Secret;
use super::escape::form;

/// What a token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Where refresh tokens are turned in, where a file does not say.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// How long before its end a token is replaced: longer than any answer takes to begin.
const SPARE: SignedDuration = SignedDuration::from_mins(5);
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// The largest credentials file, subject token or answer that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// How long a token lives where its answer does not say.
const LIFE_USUAL: SignedDuration = SignedDuration::from_mins(30);

/// Where access tokens come from.
#[derive(Clone, Debug)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    kept: Mutex<Option<(Arc<Secret>, Timestamp)>>,
}

#[derive(Debug)]
enum Kind {
    /// A token of somebody else's, which cannot be renewed.
    Given(Arc<Secret>),
    File(Credentials),
}

/// A credentials file. Fields that are not needed are not read.
#[derive(Debug)]
enum Credentials {
    ServiceAccount { email: String, key_id: Option<String>, key: Secret, token_url: Url },
    Person { client_id: String, client_secret: Secret, refresh_token: Secret, token_url: Url },
    Federated(Box<Federated>),
}

#[derive(Debug)]
struct Federated {
    audience: String,
    token_type: String,
    token_url: Url,
    impersonated: Option<Url>,
    subject: Subject,
}

/// Where the token comes from that is exchanged.
#[derive(Debug)]
enum Subject {
    Url { url: Url, headers: Vec<(String, Secret)>, field: Option<String> },
    File { path: String, field: Option<String> },
}

/// Why there is no token. Nothing of what was sent or came back is repeated but the provider's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody says what to use.
    #[error(
        "Google Vertex is asked for, and there are no credentials for it: neither TOLLGATE_VERTEX_ACCESS_TOKEN nor \
         GOOGLE_APPLICATION_CREDENTIALS is set\n\nhint: google-github-actions/auth makes either"
    )]
    None,
    /// The file cannot be used.
    #[error("the Google credentials file {path} cannot be used: {why}")]
    File {
        /// Where it is.
        path: String,
        /// Why.
        why: String,
    },
    /// A call failed.
    #[error("no access token for Google Vertex: {0}")]
    Call(String),
}

impl Source {
    /// What the environment holds.
    ///
    /// # Errors
    /// When there is nothing, or a file that cannot be used.
    pub fn found(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, TokenError> {
        let var = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        if let Some(token) = var("TOLLGATE_VERTEX_ACCESS_TOKEN") {
            let token = Secret::new(token.trim().to_owned());
            return Ok(Self::of(Kind::Given(Arc::new(token))));
        }
        let path = var("GOOGLE_APPLICATION_CREDENTIALS").ok_or(TokenError::None)?;
        let wrong = |why: String| TokenError::File { path: path.clone(), why };
        let text = read(Path::new(&path)).map_err(wrong)?;
        Credentials::parse(&text).map(|read| Self::of(Kind::File(read))).map_err(wrong)
    }

    fn of(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, kept: Mutex::new(None) }))
    }

    /// A token that is good for some minutes more. Whoever comes while one is being fetched waits for it.
    pub(super) async fn token(&self, now: Timestamp) -> Result<Arc<Secret>, TokenError> {
        let credentials = match &self.0.kind {
            Kind::Given(token) => return Ok(token.clone()),
            Kind::File(credentials) => credentials,
        };
        let mut kept = self.0.kept.lock().await;
        if let Some((token, until)) = kept.as_ref()
            && now.duration_until(*until) > SPARE
        {
            return Ok(token.clone());
        }
        let (token, until) = credentials.fetch(now).await.map_err(TokenError::Call)?;
        let token = Arc::new(token);
        *kept = Some((token.clone(), until));
        Ok(token)
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        match &self.0.kind {
            Kind::Given(token) => vec![token.text()],
            // Line by line as well: in the file they stand between `\n`, and any of them is enough to go by.
            Kind::File(Credentials::ServiceAccount { key, .. }) => {
                let text = key.text();
                let lines = text.lines().map(str::trim).filter(|line| line.len() >= KEY_LINE_MIN);
                let lines: Vec<String> =
                    lines.filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
                std::iter::once(text.clone()).chain(lines).collect()
            }
            Kind::File(Credentials::Person { client_secret, refresh_token, .. }) => {
                vec![client_secret.text(), refresh_token.text()]
            }
            Kind::File(Credentials::Federated(federated)) => match &federated.subject {
                Subject::Url { headers, .. } => headers.iter().map(|(_, value)| value.text()).collect(),
                Subject::File { .. } => Vec::new(),
            },
        }
    }
}

/// The shortest line of a private key that is looked for by itself.
const KEY_LINE_MIN: usize = 16;

/// A file's text, within its limit.
fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.len() > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())
}

impl Credentials {
    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct File {
            #[serde(rename = "type")]
            kind: String,
            client_email: Option<String>,
            private_key: Option<String>,
            private_key_id: Option<String>,
            token_uri: Option<String>,
            client_id: Option<String>,
            client_secret: Option<String>,
            refresh_token: Option<String>,
            audience: Option<String>,
            subject_token_type: Option<String>,
            token_url: Option<String>,
            service_account_impersonation_url: Option<String>,
            credential_source: Option<Value>,
        }
        let file: File =
            serde_json::from_str(text).map_err(|_| "it is not the JSON that Google's tools write")?;
        let missing = |name: &str| format!("it is of type `{}` and has no `{name}`", file.kind);
        let url = |given: &Option<String>| match given {
            Some(text) => address(text),
            None => address(TOKEN_URL),
        };
        match file.kind.as_str() {
            "service_account" => Ok(Self::ServiceAccount {
                email: file.client_email.clone().ok_or_else(|| missing("client_email"))?,
                key_id: file.private_key_id.clone(),
                key: Secret::new(file.private_key.clone().ok_or_else(|| missing("private_key"))?),
                token_url: url(&file.token_uri)?,
            }),
            "authorized_user" => Ok(Self::Person {
                client_id: file.client_id.clone().ok_or_else(|| missing("client_id"))?,
                client_secret: Secret::new(
                    file.client_secret.clone().ok_or_else(|| missing("client_secret"))?,
                ),
                refresh_token: Secret::new(
                    file.refresh_token.clone().ok_or_else(|| missing("refresh_token"))?,
                ),
                token_url: url(&file.token_uri)?,
            }),
            "external_account" => {
                let source = file.credential_source.as_ref().ok_or_else(|| missing("credential_source"))?;
                let impersonated = file.service_account_impersonation_url.as_deref().map(address);
                Ok(Self::Federated(Box::new(Federated {
                    audience: file.audience.clone().ok_or_else(|| missing("audience"))?,
                    token_type: file
                        .subject_token_type
                        .clone()
                        .ok_or_else(|| missing("subject_token_type"))?,
                    token_url: address(file.token_url.as_deref().ok_or_else(|| missing("token_url"))?)?,
                    impersonated: impersonated.transpose()?,
                    subject: Subject::parse(source)?,
                })))
            }
            other => Err(format!(
                "it is of type `{other}`; service_account, authorized_user and external_account are known"
            )),
        }
    }

    /// Fetches a token; with it comes when it ends.
    async fn fetch(&self, now: Timestamp) -> Result<(Secret, Timestamp), String> {
        let client = client()?;
        match self {
            Self::ServiceAccount { email, key_id, key, token_url } => {
                let assertion = assertion(email, key_id.as_deref(), key, token_url, now)?;
                let pairs = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                ];
                granted(&post(&client, token_url, &pairs).await?, now)
            }
            Self::Person { client_id, client_secret, refresh_token, token_url } => {
                let (secret, refresh) = (client_secret.text(), refresh_token.text());
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id.as_str()),
                    ("client_secret", secret.as_str()),
                    ("refresh_token", refresh.as_str()),
                ];
                granted(&post(&client, token_url, &pairs).await?, now)
            }
            Self::Federated(federated) => federated.fetch(&client, now).await,
        }
    }
}

impl Federated {
    async fn fetch(&self, client: &reqwest::Client, now: Timestamp) -> Result<(Secret, Timestamp), String> {
        let subject = self.subject.fetch(client).await?;
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", self.audience.as_str()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.as_str()),
            ("subject_token_type", self.token_type.as_str()),
        ];
        let exchanged = granted(&post(client, &self.token_url, &pairs).await?, now)?;
        let Some(url) = &self.impersonated else { return Ok(exchanged) };
        let body = json!({ "scope": [SCOPE], "lifetime": "3600s" });
        let request = client.post(url.clone()).bearer_auth(exchanged.0.text()).json(&body);
        impersonated(&answer(request, url).await?)
    }
}

impl Subject {
    fn parse(source: &Value) -> Result<Self, String> {
        let field = match source["format"]["type"].as_str() {
            Some("json") => {
                let name = source["format"]["subject_token_field_name"].as_str();
                Some(
                    name.ok_or("its `credential_source.format` has no `subject_token_field_name`")?
                        .to_owned(),
                )
            }
            _ => None,
        };
        if let Some(path) = source["file"].as_str() {
            return Ok(Self::File { path: path.to_owned(), field });
        }
        let url = source["url"].as_str();
        let url =
            url.ok_or("its `credential_source` has neither `url` nor `file`, which are the ones known")?;
        let headers = source["headers"].as_object().into_iter().flatten();
        let header =
            |(name, value): (&String, &Value)| Some((name.clone(), Secret::new(value.as_str()?.to_owned())));
        Ok(Self::Url { url: address(url)?, headers: headers.filter_map(header).collect(), field })
    }

    async fn fetch(&self, client: &reqwest::Client) -> Result<String, String> {
        let (text, field) = match self {
            Self::File { path, field } => {
                (read(Path::new(path)).map_err(|why| format!("{path} cannot be read: {why}"))?, field)
            }
            Self::Url { url, headers, field } => {
                let mut request = client.get(url.clone());
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
                token.ok_or_else(|| format!("the identity provider's answer has no `{name}`"))
            }
        }
    }
}

/// An address that secrets may be sent to: `https`, or this machine.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}` in it is no address"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match (url.scheme(), here) {
        ("https", _) | ("http", true) => Ok(url),
        _ => Err(format!("`{text}` in it is not https: what is sent there would travel unencrypted")),
    }
}

fn client() -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder().timeout(CALL_MAX).redirect(reqwest::redirect::Policy::none());
    client.build().map_err(|error| error.without_url().to_string())
}

async fn post(client: &reqwest::Client, url: &Url, pairs: &[(&str, &str)]) -> Result<String, String> {
    let request = client.post(url.clone()).header("content-type", "application/x-www-form-urlencoded");
    answer(request.body(form(pairs)), url).await
}

/// The text of a call's answer, or why there is none.
async fn answer(request: reqwest::RequestBuilder, url: &Url) -> Result<String, String> {
    let host = url.host_str().unwrap_or_default();
    // Errors of this library can hold the address, and addresses can hold tokens.
    let failed = |error: reqwest::Error| format!("{host} did not answer: {}", error.without_url());
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&piece);
        if body.len() > BYTES_MAX {
            return Err(format!("{host} answered with more than {BYTES_MAX} bytes"));
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{host} answered {status}{}", said(&text))) }
}

/// What an error's answer says of itself, in its known fields.
fn said(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let found = [&value["error_description"], &value["error"]["message"], &value["error"], &value["message"]];
    let words = found.into_iter().find_map(Value::as_str).unwrap_or_default();
    let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
    if words.is_empty() { words } else { format!(": {words}") }
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
    fn files_that_cannot_be_used_say_why() {
        for (text, why) in [
            ("nonsense", "it is not the JSON that Google's tools write"),
            (
                r#"{"type":"gdch_service_account"}"#,
                "it is of type `gdch_service_account`; service_account, authorized_user and external_account are known",
            ),
            (
                r#"{"type":"service_account","client_email":"a@b"}"#,
                "it is of type `service_account` and has no `private_key`",
            ),
            (
                r#"{"type":"service_account","client_email":"a@b","private_key":"k","token_uri":"http://10.0.0.1/token"}"#,
                "`http://10.0.0.1/token` in it is not https: what is sent there would travel unencrypted",
            ),
            (
                r#"{"type":"authorized_user","client_id":"i","client_secret":"s"}"#,
                "it is of type `authorized_user` and has no `refresh_token`",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"environment_id":"aws1"}}"#,
                "its `credential_source` has neither `url` nor `file`, which are the ones known",
            ),
        ] {
            assert_eq!(Credentials::parse(text).expect_err(text), why);
        }
    }

    #[test]
    fn only_known_words_of_an_answer_are_repeated() {
        assert_eq!(said(r#"{"error":"invalid_grant","error_description":"Bad\nrequest"}"#), ": Badrequest");
        assert_eq!(said(r#"{"error":{"code":403,"message":"denied"}}"#), ": denied");
        assert_eq!(said(r#"{"access_token":"secret"}"#), "");
        assert_eq!(said("<html>secret"), "");
    }
}
