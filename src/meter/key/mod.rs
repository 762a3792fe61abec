//! What a provider is asked with: a key, a subscription's token, a cloud's credentials. The agent sees none of
//! them.
//!
//! [`aws`] signs each request, [`google`] fetches an access token and keeps it until it is about to expire; the
//! others are a header that stays the same. The list of variables that hold any of them is here, too.

pub mod aws;
mod escape;
pub mod google;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::provider::Vendor;

/// The variable that holds the token of a subscription, as Claude Code knows it.
pub const SUBSCRIPTION_VARIABLE: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// The shortest key that is taken.
const KEY_BYTES_MIN: usize = 8;

/// What a provider is asked with, and by that who pays for the answer.
#[derive(Clone, Debug)]
pub enum Key {
    /// A key of an account that is charged by the token.
    Account(Secret),
    /// The OAuth token of a subscription, as `claude setup-token` makes it. What is used has no price of its
    /// own there: the meter charges it to tokens alone, and its list price is notional.
    Subscription(Secret),
    /// An AWS account's, for Bedrock.
    Aws(aws::Access),
    /// A Google Cloud project's, for Vertex.
    Google(google::Source),
}

/// What lets one request in.
#[derive(Clone, Debug)]
pub(super) enum Pass {
    /// The key itself, or what it makes of the request.
    Key,
    /// A token that was fetched.
    Bearer(Arc<Secret>),
}

impl Key {
    /// The key of an account.
    #[must_use]
    pub fn account(text: String) -> Self {
        Self::Account(Secret::new(text))
    }

    /// The key of a vendor that the environment holds, if it holds one. A subscription is for those without a
    /// key: whoever has both pays by the token, and knows what it costs.
    ///
    /// # Errors
    /// What a cloud misses, in words.
    pub fn found(vendor: Vendor, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        match vendor {
            Vendor::Vertex => match google::Source::found(env) {
                Ok(source) => Ok(Some(Self::Google(source))),
                Err(error) => Err(error.to_string()),
            },
            Vendor::Bedrock => match aws::Access::found(env) {
                Ok(access) => Ok(Some(Self::Aws(access))),
                Err(error) => Err(error.to_string()),
            },
            Vendor::Anthropic | Vendor::OpenAi | Vendor::Gemini => {
                if let Some(key) = secret(vendor.key_variable(), env)? {
                    return Ok(Some(Self::Account(key)));
                }
                if vendor != Vendor::Anthropic {
                    return Ok(None);
                }
                Ok(secret(SUBSCRIPTION_VARIABLE, env)?.map(Self::Subscription))
            }
        }
    }

    /// The texts that nobody may see.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        match self {
            Self::Account(secret) | Self::Subscription(secret) => vec![secret.text()],
            Self::Aws(access) => access.secrets(),
            Self::Google(source) => source.secrets(),
        }
    }

    /// The files that it comes from, which whoever reads them can use as well.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Google(source) => source.files(),
            Self::Account(_) | Self::Subscription(_) | Self::Aws(_) => Vec::new(),
        }
    }

    /// Whether a subscription pays.
    #[must_use]
    pub const fn is_subscription(&self) -> bool {
        matches!(self, Self::Subscription(_))
    }

    /// Fetches what has to be fetched, ahead of the first request.
    ///
    /// # Errors
    /// Where it is not to be had, in words.
    pub async fn warm(&self, now: Timestamp) -> Result<(), google::TokenError> {
        self.pass(now).await.map(drop)
    }

    /// What lets the next request in, as of `now`.
    ///
    /// # Errors
    /// Where a token has to be fetched and is not to be had, in words.
    pub(super) async fn pass(&self, now: Timestamp) -> Result<Pass, google::TokenError> {
        match self {
            Self::Google(source) => source.token(now).await.map(Pass::Bearer),
            Self::Account(_) | Self::Subscription(_) | Self::Aws(_) => Ok(Pass::Key),
        }
    }
}

/// The secret in a variable, without the blanks and line ends around it that come along when it is copied; nothing
/// where it is not set.
///
/// Refuses what is too short to be kept out of texts, since it stands in many of them by chance, and what can stand
/// in no header, which would be told by the first request only.
fn secret(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Secret>, String> {
    let Some(text) = env(variable) else { return Ok(None) };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() < KEY_BYTES_MIN {
        return Err(format!(
            "the key in {variable} is shorter than {KEY_BYTES_MIN} bytes: it would be found, and taken out, all over \
             what the agent says\n\n\
             hint: where a server asks for no key, set any of {KEY_BYTES_MIN} bytes or more, such as `no-key-needed`"
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the key in {variable} has a blank, a line end or another character within that no key has\n\n\
             hint: set it to the key alone, on one line and without quotation marks or a comment"
        ));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

/// A secret that shows itself to nobody; its memory is overwritten when it is dropped, as far as safe
/// code can tell.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into_bytes())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}
