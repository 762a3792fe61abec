//! Credentials files as Google's tools write them, read strictly: what cannot be used is said before anything is
//! spent.

use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::super::{KEY_BYTES_MIN, Secret};
use super::BYTES_MAX;

/// Where refresh tokens are turned in, where a file does not say.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// The shortest line of a private key that is looked for by itself.
const KEY_LINE_MIN: usize = 16;

/// A credentials file. Fields that are not needed are not read.
#[derive(Debug)]
pub(super) enum Credentials {
    ServiceAccount { email: String, key_id: Option<String>, key: Secret, token_url: Url },
    Person { client_id: String, client_secret: Secret, refresh_token: Secret, token_url: Url },
    Federated(Box<Federated>),
}

#[derive(Debug)]
pub(super) struct Federated {
    pub(super) audience: String,
    pub(super) token_type: String,
    pub(super) token_url: Url,
    pub(super) impersonated: Option<Url>,
    pub(super) subject: Subject,
}

/// Where the token comes from that is exchanged.
#[derive(Debug)]
pub(super) enum Subject {
    Url { url: Url, headers: Vec<(String, Secret)>, field: Option<String> },
    File { path: String, field: Option<String> },
}
/// A file's text, within its limit.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.len() > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())
}

impl Credentials {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Why it cannot be used, in words that begin with "it".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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
        let secret = |name: &str, given: &Option<String>| match given {
            None => Err(missing(name)),
            // It would be found, and taken out, all over what the agent says.
            Some(text) if text.len() < KEY_BYTES_MIN => {
                Err(format!("its `{name}` is shorter than {KEY_BYTES_MIN} bytes"))
            }
            Some(text) => Ok(Secret::new(text.clone())),
        };
        let url = |given: &Option<String>| match given {
            Some(text) => address(text),
            None => address(TOKEN_URL),
        };
        match file.kind.as_str() {
            "service_account" => Ok(Self::ServiceAccount {
                email: file.client_email.clone().ok_or_else(|| missing("client_email"))?,
                key_id: file.private_key_id.clone(),
                key: secret("private_key", &file.private_key)?,
                token_url: url(&file.token_uri)?,
            }),
            "authorized_user" => Ok(Self::Person {
                client_id: file.client_id.clone().ok_or_else(|| missing("client_id"))?,
                client_secret: secret("client_secret", &file.client_secret)?,
                refresh_token: secret("refresh_token", &file.refresh_token)?,
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

    /// The texts in it that nobody may see.
    pub(super) fn secrets(&self) -> Vec<String> {
        match self {
            // Line by line as well: in the file they stand between `\n`, and any of them is enough to go by.
            Self::ServiceAccount { key, .. } => {
                let text = key.text();
                let lines = text.lines().map(str::trim).filter(|line| line.len() >= KEY_LINE_MIN);
                let lines: Vec<String> =
                    lines.filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
                std::iter::once(text.clone()).chain(lines).collect()
            }
            Self::Person { client_secret, refresh_token, .. } => {
                vec![client_secret.text(), refresh_token.text()]
            }
            Self::Federated(federated) => match &federated.subject {
                Subject::Url { headers, .. } => {
                    headers.iter().flat_map(|(_, value)| in_header(value)).collect()
                }
                Subject::File { .. } => Vec::new(),
            },
        }
    }

    /// A further file that it goes by.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Federated(federated) => match &federated.subject {
                Subject::File { path, .. } => Some(path.into()),
                Subject::Url { .. } => None,
            },
            Self::ServiceAccount { .. } | Self::Person { .. } => None,
        }
    }
}

/// The secrets in a header's value: all of it, and what follows `Bearer`. Some headers hold none: `Metadata: true`.
fn in_header(value: &Secret) -> Vec<String> {
    let text = value.text();
    let token = text.split_once(' ').map(|(_, token)| token.trim().to_owned());
    std::iter::once(text).chain(token).filter(|text| text.len() >= KEY_BYTES_MIN).collect()
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
}

/// An address that secrets may be sent to: `https`, or this machine.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}` in it is no address"))?;
    match (url.scheme(), is_here(&url)) {
        ("https", _) | ("http", true) => Ok(url),
        _ => Err(format!("`{text}` in it is not https: what is sent there would travel unencrypted")),
    }
}

/// Whether an address is this machine's.
pub(super) fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
                r#"{"type":"service_account","client_email":"a@b","private_key":"a private key","token_uri":"http://10.0.0.1/token"}"#,
                "`http://10.0.0.1/token` in it is not https: what is sent there would travel unencrypted",
            ),
            (
                r#"{"type":"authorized_user","client_id":"i","client_secret":"a secret"}"#,
                "it is of type `authorized_user` and has no `refresh_token`",
            ),
            (
                r#"{"type":"authorized_user","client_id":"i","client_secret":"a secret","refresh_token":"1//x"}"#,
                "its `refresh_token` is shorter than 8 bytes",
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
    fn what_is_secret_in_a_header_is_known_with_and_without_its_scheme() {
        for (value, secrets) in [
            ("Bearer a-request-token", &["Bearer a-request-token", "a-request-token"][..]),
            ("a-request-token", &["a-request-token"]),
            ("true", &[]),
        ] {
            assert_eq!(in_header(&Secret::new(value.to_owned())), secrets);
        }
    }
}
