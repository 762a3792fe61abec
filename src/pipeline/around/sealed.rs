//! Files that a step between could have changed and did not: each begins with a code that only who has the
//! run's key can make.
//!
//! The key is in the meter's memory and in the output that `start` hands to `finish`; it is on no disk.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::id;
use crate::pipeline::folder;

/// Bytes of the key, and of a code.
const BYTES: usize = 32;

/// The key of one run.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::pipeline) struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A new one.
    pub(super) fn new() -> Self {
        Self(id::random_hex(BYTES))
    }

    /// One as it was written down.
    pub(super) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_owned()))
    }

    /// The key's text, which is a secret.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What makes the code of a file of this name.
    fn code(&self, name: &str, content: &[u8]) -> Hmac<Sha256> {
        // A key of any length is fine.
        let mut code = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key");
        code.update(name.as_bytes());
        code.update(b"\n");
        code.update(content);
        code
    }
}

/// Where a run around a step was left, and the key to what lies there.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Handle {
    /// The run's folder.
    pub(super) folder: PathBuf,
    /// Its key.
    pub(super) key: Key,
}

impl Handle {
    /// Reads what [`Handle::text`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (folder, key) = text.trim().rsplit_once(':')?;
        let folder = Some(PathBuf::from(folder)).filter(|folder| folder.is_absolute())?;
        Some(Self { folder, key: Key::read(key)? })
    }

    /// The handle as one word, which is a secret.
    pub(super) fn text(&self) -> String {
        format!("{}:{}", self.folder.display(), self.key.text())
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let content = serde_json::to_vec(value)?;
        let code = id::hex(&self.key.code(name, &content).finalize().into_bytes());
        let beside = self.folder.join(format!("{name}.new"));
        folder::write(&beside, &[code.as_bytes(), b"\n", &content].concat())?;
        fs::rename(beside, self.path(name))
    }

    /// Reads a file that nobody else has written.
    ///
    /// # Errors
    /// [`Broken`], in words for whoever reads the log.
    pub(super) fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T, Broken> {
        let path = || self.path(name).display().to_string();
        let bytes = folder::read(&self.path(name))
            .map_err(|error| Broken::Unreadable { path: path(), error: error.to_string() })?;
        let foreign = || Broken::Foreign { path: path() };
        let (code, rest) = bytes.split_at_checked(2 * BYTES).ok_or_else(foreign)?;
        let content = rest.strip_prefix(b"\n").ok_or_else(foreign)?;
        let code = std::str::from_utf8(code).ok().and_then(unhex).ok_or_else(foreign)?;
        self.key.code(name, content).verify_slice(&code).map_err(|_| foreign())?;
        serde_json::from_slice(content)
            .map_err(|error| Broken::Unreadable { path: path(), error: error.to_string() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::pipeline) enum Broken {
    /// It is not there, or is no file of ours.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Where it was to be.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// It was not written with this run's key.
    #[error("{path} was not written by tollgate: something has changed it")]
    Foreign {
        /// Where it is.
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(folder: &Path) -> Handle {
        Handle { folder: folder.to_owned(), key: Key::new() }
    }

    #[test]
    fn what_somebody_else_wrote_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let ours = handle(folder.path());
        ours.write("count", &7_u64).expect("written");
        assert_eq!(ours.value::<u64>("count"), Ok(7));
        let foreign = Broken::Foreign { path: folder.path().join("count").display().to_string() };
        assert_eq!(handle(folder.path()).value::<u64>("count"), Err(foreign.clone()), "another key");
        fs::copy(folder.path().join("count"), folder.path().join("other")).expect("copied");
        let moved = Broken::Foreign { path: folder.path().join("other").display().to_string() };
        assert_eq!(ours.value::<u64>("other"), Err(moved), "another file of the same run");
        let text = fs::read_to_string(folder.path().join("count")).expect("text");
        for changed in [text.replace("\n7", "\n0"), text.replace('\n', ""), String::new(), "7".to_owned()] {
            fs::write(folder.path().join("count"), changed).expect("written");
            assert_eq!(ours.value::<u64>("count"), Err(foreign.clone()));
        }
        let gone = ours.value::<u64>("gone").expect_err("not there").to_string();
        let path = folder.path().join("gone").display().to_string();
        assert_eq!(gone, format!("{path} cannot be read: No such file or directory (os error 2)"));
    }

    #[test]
    fn a_handle_is_read_back_and_shows_no_key() {
        let ours = handle(Path::new("/tmp/a:b/run"));
        let read = Handle::read(&format!(" {}\n", ours.text())).expect("a handle");
        assert_eq!((&read.folder, &read.key), (&ours.folder, &ours.key));
        assert_eq!(format!("{ours:?}"), "Handle { folder: \"/tmp/a:b/run\", key: Key(…) }");
        let short = ours.text();
        for text in ["", "none", "/tmp/run", "run:00", &short[..short.len() - 1], &short[1..]] {
            assert!(Handle::read(text).is_none(), "{text}");
        }
    }
}
