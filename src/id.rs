//! Identities: of a run, and of the hold it takes on the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The key of a hold on the ledger. One run has one; a retry of the same attempt has the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(String);

impl HoldId {
    /// Takes a key as it was written before.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What tells one run from every other, on every forge, for ever.
///
/// A numeric repository id survives renames and the re-use of a name; the attempt grows when a run is
/// started again, which spends new money; the nonce tells two runs inside one job apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// The forge's host, or `local`.
    pub host: String,
    /// The repository's numeric id, or its name where it has none.
    pub repository: String,
    /// The workflow run's id, or `local`.
    pub run: String,
    /// Which attempt of that run.
    pub attempt: u32,
    /// The job, and a digest of its matrix values where it has any.
    pub job: String,
    /// A random part, kept in the run's folder.
    pub nonce: String,
}

impl RunKey {
    /// The key of this run's hold.
    #[must_use]
    pub fn hold_id(&self) -> HoldId {
        let part = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
                .collect()
        };
        HoldId(format!(
            "{}/{}/{}/{}/{}/{}",
            part(&self.host),
            part(&self.repository),
            part(&self.run),
            self.attempt,
            part(&self.job),
            part(&self.nonce)
        ))
    }
}

/// `bytes` random bytes from the operating system, in hex.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that needs a secret can go on then.
#[must_use]
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).expect("the operating system gives random bytes");
    hex(&buffer)
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(*byte));
    }
    out
}
