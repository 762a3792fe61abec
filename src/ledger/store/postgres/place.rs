//! Which database, and over what kind of connection.
//!
//! The URL is PostgreSQL's own. Two of its words mean more here than to libpq: whatever `sslmode` asks for
//! encryption also checks the certificate and the name in it, and what may fall back to a connection
//! without is for this machine only. `sslmode=disable` is taken at its word.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a statement is tried, unless a place says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the server may work on one statement. A lock is waited for as long: see `functions.sql`.
const STATEMENT: &str = "-c statement_timeout=10000 -c lock_timeout=10000";

/// Why a URL is no place for a ledger. The URL is never shown: it has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is no URL of this kind.
    #[error("it does not begin with `postgres://`")]
    Scheme,
    /// The client cannot read it.
    #[error("{0}")]
    Unreadable(String),
    /// A part is missing.
    #[error("it names no {0}")]
    Missing(&'static str),
    /// An `sslmode` that there is not.
    #[error("`sslmode={0}` is none of `verify-full`, `require`, `prefer` and `disable`")]
    SslMode(String),
    /// An `sslmode` that may go without encryption.
    #[error(
        "`sslmode={mode}` may send the password and the ledger unencrypted to {host}: write \
         `sslmode=verify-full`"
    )]
    MayBePlain {
        /// What it says.
        mode: String,
        /// Where it goes.
        host: String,
    },
    /// Something libpq knows and this client does not.
    #[error("`{0}` is not supported here")]
    Unsupported(String),
    /// A time that is no number.
    #[error("`retry_seconds={0}` is no whole number of seconds")]
    Retry(String),
    /// The roots cannot be read.
    #[error("the certificates in `{path}`, which `sslrootcert` names, cannot be read: {what}")]
    Roots {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
}

/// A database that is a ledger.
#[derive(Clone)]
pub struct PostgresPlace {
    pub(super) config: Config,
    pub(super) tls: Arc<ClientConfig>,
    /// Whether the server is told its time limits with the first message. A pooler may refuse that.
    pub(super) limits: bool,
    /// How long a statement is tried.
    pub patience: Duration,
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresPlace({})", self.shown())
    }
}

impl PostgresPlace {
    /// The database that a URL names.
    ///
    /// # Errors
    /// When it names none, or one that would be spoken to unencrypted by accident.
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let url = url.trim();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(PlaceError::Scheme);
        }
        let (rest, ssl) = Ssl::split(url)?;
        let mut config = Config::from_str(&rest).map_err(|error| PlaceError::Unreadable(words(&error)))?;
        if config.get_user().is_none() {
            return Err(PlaceError::Missing("user"));
        }
        if config.get_hosts().is_empty() {
            return Err(PlaceError::Missing("host"));
        }
        let far = config.get_hosts().iter().find_map(far);
        match (ssl.mode.as_deref(), far) {
            (Some("disable"), _) => config.ssl_mode(SslMode::Disable),
            (Some(mode @ ("prefer" | "allow")), Some(host)) => {
                return Err(PlaceError::MayBePlain { mode: mode.to_owned(), host });
            }
            (None | Some("prefer" | "allow"), None) => config.ssl_mode(SslMode::Prefer),
            (None | Some("require" | "verify-ca" | "verify-full"), _) => config.ssl_mode(SslMode::Require),
            (Some(other), _) => return Err(PlaceError::SslMode(other.to_owned())),
        };
        if config.get_application_name().is_none() {
            config.application_name("tollgate");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        // Of several servers, the one that takes writes.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let limits = config.get_options().is_none();
        let patience = ssl.patience.unwrap_or(PATIENCE);
        Ok(Self { config, tls: Arc::new(ssl.config()?), limits, patience })
    }

    /// The database as messages name it: without user and password.
    #[must_use]
    pub fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self.config.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(folder) => format!("{}:{}", folder.display(), port(index)),
        });
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", hosts.collect::<Vec<_>>().join(","))
    }

    pub(super) fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.tls).clone())
    }

    /// What a server is told that is to keep time limits, where the URL says nothing of its own.
    pub(super) fn limited(&self) -> Config {
        let mut config = self.config.clone();
        if self.limits {
            config.options(STATEMENT);
        }
        config
    }
}

/// The host's name, where it is not this machine.
fn far(host: &Host) -> Option<String> {
    let Host::Tcp(name) = host else { return None };
    let own = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!own).then(|| name.clone())
}

/// What an error says, with what lies below it.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        below = cause.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The parts of a URL that are ours to read.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    roots: Option<PathBuf>,
    patience: Option<Duration>,
}

impl Ssl {
    /// Takes them out of a URL.
    fn split(url: &str) -> Result<(String, Self), PlaceError> {
        let Some((rest, query)) = url.split_once('?') else { return Ok((url.to_owned(), Self::default())) };
        let mut ssl = Self::default();
        let mut kept = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "sslmode" => ssl.mode = Some(decoded(value)),
                "sslrootcert" if value == "system" => ssl.roots = None,
                "sslrootcert" => ssl.roots = Some(PathBuf::from(decoded(value))),
                "retry_seconds" => {
                    let seconds = value.parse().map_err(|_| PlaceError::Retry(decoded(value)))?;
                    ssl.patience = Some(Duration::from_secs(seconds));
                }
                "sslcert" | "sslkey" | "sslcrl" | "sslpassword" | "passfile" | "service" => {
                    return Err(PlaceError::Unsupported(name.to_owned()));
                }
                _ => kept.push(part),
            }
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        Ok((rest.to_owned() + &query, ssl))
    }

    fn config(&self) -> Result<ClientConfig, PlaceError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PlaceError::Unreadable(words(&error)))?;
        let roots = match &self.roots {
            Some(path) => roots(path)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn roots(path: &Path) -> Result<RootCertStore, PlaceError> {
    let wrong = |what: String| PlaceError::Roots { path: path.display().to_string(), what };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(words(&error)))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(words(&error)))?;
        roots.add(certificate).map_err(|error| wrong(words(&error)))?;
    }
    if roots.is_empty() { Err(wrong("there is none".to_owned())) } else { Ok(roots) }
}

/// `%2F` and the like as what they stand for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        PostgresPlace::parse(url).expect(url).config.get_ssl_mode()
    }

    #[test]
    fn whoever_is_far_away_is_spoken_to_encrypted() {
        for (url, expected) in [
            ("postgres://u@db.example/x", SslMode::Require),
            ("postgres://u@db.example/x?sslmode=require", SslMode::Require),
            ("postgres://u@db.example/x?sslmode=verify-full&channel_binding=require", SslMode::Require),
            ("postgres://u@db.example/x?sslmode=disable", SslMode::Disable),
            ("postgres://u@localhost/x", SslMode::Prefer),
            ("postgres://u@127.0.0.1/x?sslmode=prefer", SslMode::Prefer),
            ("postgres://u@[::1]:6432/x", SslMode::Prefer),
            ("postgres://u@localhost/x?sslmode=verify-full", SslMode::Require),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/x", SslMode::Prefer),
            ("postgres://u@localhost,db.example/x", SslMode::Require),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_said_without_its_password() {
        for (url, expected) in [
            ("mysql://u:s3cret@h/x", "it does not begin with `postgres://`"),
            ("postgres://h/x", "it names no user"),
            ("postgres://u:s3cret@/x", "it names no host"),
            (
                "postgres://u:s3cret@db.example/x?sslmode=prefer",
                "`sslmode=prefer` may send the password and the ledger unencrypted to db.example: write `sslmode=verify-full`",
            ),
            (
                "postgres://u:s3cret@h/x?sslmode=on",
                "`sslmode=on` is none of `verify-full`, `require`, `prefer` and `disable`",
            ),
            ("postgres://u:s3cret@h/x?sslcert=a", "`sslcert` is not supported here"),
            (
                "postgres://u:s3cret@h/x?pgbouncer=true",
                "invalid connection string: unknown option `pgbouncer`",
            ),
            (
                "postgres://u:s3cret@h/x?sslrootcert=%2Fnone%2Fca.pem",
                "the certificates in `/none/ca.pem`, which `sslrootcert` names, cannot be read: I/O error: No such file or directory (os error 2)",
            ),
        ] {
            let error = PostgresPlace::parse(url).expect_err(url).to_string();
            assert_eq!(error, expected, "{url}");
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn a_place_is_shown_without_who_speaks_to_it() {
        let shown = |url: &str| PostgresPlace::parse(url).expect(url).shown();
        assert_eq!(shown("postgres://u:s3cret@db.example:6432/books"), "db.example:6432/books");
        assert_eq!(shown("postgres://u@localhost"), "localhost:5432/u");
        assert_eq!(shown("postgres://u@%2Ftmp/x"), "/tmp:5432/x");
        assert_eq!(shown("postgres://u@one,two:6000/x"), "one:5432,two:6000/x");
        let place = PostgresPlace::parse("postgres://u:s3cret@h/x").expect("a place");
        assert_eq!(format!("{place:?}"), "PostgresPlace(h:5432/x)");
    }
}
