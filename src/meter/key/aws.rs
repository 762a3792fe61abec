//! An AWS account's access to Bedrock: Signature Version 4, or a bearer token.
//!
//! Signing is 60 lines over ring's HMAC, and AWS's published examples test them; the crates that do it would bring
//! some twenty others. (AWS's guide to signed requests.)

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::Secret;
use super::escape::escaped;
use crate::id::hex;
use crate::tokens::Region;

/// The service that requests are signed for.
const SERVICE: &str = "bedrock";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");

/// How Bedrock is asked.
#[derive(Clone, Debug)]
pub struct Access {
    region: String,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Signed { id: String, secret: Secret, session: Option<Secret> },
    Bearer(Secret),
}

/// Why there is no access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nobody says which region.
    #[error(
        "Amazon Bedrock is asked for, and AWS_REGION is not set\n\nhint: set it, such as us-east-1; aws-actions/configure-aws-credentials does"
    )]
    NoRegion,
    /// A region that is none.
    #[error("AWS_REGION is `{0}`, which is no region\n\nhint: write it like us-east-1")]
    NotARegion(String),
    /// A secret that cannot be used, in words.
    #[error("{0}")]
    Unusable(String),
    /// An id that is none.
    #[error(
        "AWS_ACCESS_KEY_ID is no access key's id: it has other characters than letters and digits\n\nhint: set it to \
         the id alone, such as ASIA…; aws-actions/configure-aws-credentials does"
    )]
    NotAnId,
    /// There is nothing to sign with.
    #[error(
        "Amazon Bedrock is asked for, and there are no credentials for it: neither AWS_BEARER_TOKEN_BEDROCK is set, nor \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n\nhint: aws-actions/configure-aws-credentials sets them; profiles \
         and instance roles are not read"
    )]
    NoCredentials,
}

impl Access {
    /// What the environment holds, as AWS's own tools know it.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn found(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        let var = |name: &str| env(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let secret = |name: &str| super::secret(name, env).map_err(AccessError::Unusable);
        let region = var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")).ok_or(AccessError::NoRegion)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !region.bytes().all(plain) {
            return Err(AccessError::NotARegion(region));
        }
        if let Some(token) = secret("AWS_BEARER_TOKEN_BEDROCK")? {
            return Ok(Self { region, keys: Keys::Bearer(token) });
        }
        let keys = match (var("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")?) {
            (Some(id), Some(_)) if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(AccessError::NotAnId);
            }
            (Some(id), Some(secret_key)) => {
                Keys::Signed { id, secret: secret_key, session: secret("AWS_SESSION_TOKEN")? }
            }
            _ => return Err(AccessError::NoCredentials),
        };
        Ok(Self { region, keys })
    }

    /// The region that is asked.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Where that is, as far as it changes prices.
    #[must_use]
    pub fn home(&self) -> Region {
        if self.region.starts_with("us-gov-") { Region::UsGov } else { Region::Regional }
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        match &self.keys {
            Keys::Bearer(token) => vec![token.text()],
            Keys::Signed { secret, session, .. } => {
                std::iter::once(secret).chain(session).map(Secret::text).collect()
            }
        }
    }

    /// Signs a request: adds the headers that let it in. `target` is path and query as they are sent.
    pub(in super::super) fn sign(
        &self,
        now: Timestamp,
        method: &str,
        target: &str,
        headers: &mut HeaderMap,
        body: &[u8],
    ) -> Result<(), header::InvalidHeaderValue> {
        let (id, secret, session) = match &self.keys {
            Keys::Bearer(token) => {
                let mut bearer = HeaderValue::from_bytes(&[b"Bearer ", token.bytes()].concat())?;
                bearer.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, bearer);
                return Ok(());
            }
            Keys::Signed { id, secret, session } => (id, secret, session),
        };
        let time = TimeZone::UTC.to_datetime(now).strftime("%Y%m%dT%H%M%SZ").to_string();
        headers.insert(DATE, HeaderValue::from_str(&time)?);
        if let Some(session) = session {
            let mut value = HeaderValue::from_bytes(session.bytes())?;
            value.set_sensitive(true);
            headers.insert(SESSION, value);
        }
        let signed = [header::CONTENT_TYPE, header::HOST, DATE, SESSION];
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let signed: Vec<(&str, &str)> =
            signed.iter().filter_map(|name| Some((name.as_str(), text(name)?))).collect();
        let scope = Scope { time: &time, region: &self.region, service: SERVICE };
        let authorization = scope.authorization(id, secret.bytes(), method, target, &signed, body);
        let mut authorization = HeaderValue::from_str(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        Ok(())
    }
}

/// What a signature is good for.
struct Scope<'a> {
    /// `20150830T123600Z`.
    time: &'a str,
    region: &'a str,
    service: &'a str,
}

impl Scope<'_> {
    /// The value of `authorization`. `signed` are header names and values, in the order of their names.
    fn authorization(
        &self,
        id: &str,
        secret: &[u8],
        method: &str,
        target: &str,
        signed: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let Self { time, region, service } = self;
        let day = time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        // The path as it is sent is escaped once more: S3 alone is signed otherwise.
        let path = escaped(path.as_bytes(), b"/");
        let body = hex(&Sha256::digest(body));
        let request = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{body}", sorted(query));
        let request = hex(&Sha256::digest(request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request}");
        let keyed = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let first = keyed(&[&b"AWS4"[..], secret].concat(), day);
        let key = [*region, *service, "aws4_request"].into_iter().fold(first, |key, part| keyed(&key, part));
        let signature = hex(&keyed(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

/// A query with its pairs in order, as it is signed. What is in it is escaped already.
fn sorted(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    const TOKEN: (&str, &str) = (
        "x-amz-security-token",
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
    );

    /// AWS's published examples (`aws-sig-v4-test-suite`): name, method, target, headers, body, signature.
    type Example = (
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static str,
    );

    #[rustfmt::skip]
    const EXAMPLES: [Example; 6] = [
        ("get-vanilla", "GET", "/", &[HOST, DATE], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("post-vanilla", "POST", "/", &[HOST, DATE], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("get-utf8", "GET", "/ሴ", &[HOST, DATE], "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", &[HOST, DATE], "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("post-x-www-form-urlencoded", "POST", "/", &[FORM, HOST, DATE], "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("post-sts-header-before", "POST", "/", &[HOST, DATE, TOKEN], "", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ];

    #[test]
    fn the_published_examples_are_signed_as_published() {
        let scope = Scope { time: DATE.1, region: "us-east-1", service: "service" };
        let (id, secret) = ("AKIDEXAMPLE", b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        for (name, method, target, signed, body, signature) in EXAMPLES {
            let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
            let names = names.join(";");
            assert_eq!(
                scope.authorization(id, secret, method, target, signed, body.as_bytes()),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={signature}"
                ),
                "{name}"
            );
        }
    }

    fn found(vars: &[(&str, &str)]) -> Result<Access, String> {
        let env =
            |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Access::found(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_said() {
        for (vars, message) in [
            (
                &[][..],
                "Amazon Bedrock is asked for, and AWS_REGION is not set\n\nhint: set it, such as us-east-1; aws-actions/configure-aws-credentials does",
            ),
            (
                &[("AWS_REGION", "us east")],
                "AWS_REGION is `us east`, which is no region\n\nhint: write it like us-east-1",
            ),
            (
                &[("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "AKID")],
                "Amazon Bedrock is asked for, and there are no credentials for it: neither AWS_BEARER_TOKEN_BEDROCK is set, nor \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n\nhint: aws-actions/configure-aws-credentials sets them; profiles \
                 and instance roles are not read",
            ),
            (
                &[
                    ("AWS_REGION", "us-east-1"),
                    ("AWS_ACCESS_KEY_ID", "AKID"),
                    ("AWS_SECRET_ACCESS_KEY", "secret\n"),
                ],
                "the key in AWS_SECRET_ACCESS_KEY is shorter than 8 bytes: it would be found, and taken out, all over what \
                 the agent says\n\n\
                 hint: where a server asks for no key, set any of 8 bytes or more, such as `no-key-needed`",
            ),
            (
                &[("AWS_REGION", "us-east-1"), ("AWS_BEARER_TOKEN_BEDROCK", "a-bearer-token # of ours")],
                "the key in AWS_BEARER_TOKEN_BEDROCK has a blank, a line end or another character within that no key \
                 has\n\nhint: set it to the key alone, on one line and without quotation marks or a comment",
            ),
            (
                &[
                    ("AWS_REGION", "us-east-1"),
                    ("AWS_ACCESS_KEY_ID", "AKID=AKID"),
                    ("AWS_SECRET_ACCESS_KEY", "secret-key"),
                ],
                "AWS_ACCESS_KEY_ID is no access key's id: it has other characters than letters and digits\n\nhint: set it \
                 to the id alone, such as ASIA…; aws-actions/configure-aws-credentials does",
            ),
        ] {
            assert_eq!(found(vars).expect_err("missing"), message);
        }
        let bearer = found(&[
            ("AWS_DEFAULT_REGION", "us-gov-west-1"),
            ("AWS_BEARER_TOKEN_BEDROCK", " a-bearer-token\n"),
        ])
        .expect("access");
        assert_eq!((bearer.home(), bearer.secrets()), (Region::UsGov, vec!["a-bearer-token".to_owned()]));
        let signed = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKID\n"),
            ("AWS_SECRET_ACCESS_KEY", "secret-key\n"),
            ("AWS_SESSION_TOKEN", "session-token "),
        ];
        let signed = found(&signed).expect("access");
        assert_eq!(
            (signed.home(), signed.secrets()),
            (Region::Regional, vec!["secret-key".to_owned(), "session-token".to_owned()])
        );
        assert!(!format!("{signed:?}").contains("secret-key"), "{signed:?}");
    }

    #[test]
    fn a_bearer_takes_the_place_of_a_signature() {
        let mut headers = HeaderMap::new();
        let bearer =
            found(&[("AWS_REGION", "us-east-1"), ("AWS_BEARER_TOKEN_BEDROCK", "a-bearer-token\r\n")])
                .expect("access");
        bearer.sign(Timestamp::UNIX_EPOCH, "POST", "/model/m/invoke", &mut headers, b"{}").expect("signed");
        assert_eq!(headers["authorization"], "Bearer a-bearer-token");
        assert_eq!(headers.len(), 1);
    }
}
