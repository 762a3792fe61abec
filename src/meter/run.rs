//! A meter that runs: started on a listener, watched, sealed, drained.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bound::Rules;
use super::forward::{Counts, Gate, Route};
use super::journal::Journal;
use super::key::Secret;
use super::line::Dial;
use super::server::{Door, serve};
use super::state::State;
use super::threads::Threads;
use super::upstream::Way;
use super::{Allowance, Policy, Routed, Snapshot, Totals};
use crate::money::Usd;
use crate::price::Table;

/// Bytes of randomness in the run's token.
const TOKEN_BYTES: usize = 32;
/// How long a connection to the provider may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What a meter is started with.
#[derive(Debug)]
pub struct Config {
    /// The providers that may be reached, each vendor once.
    pub ways: Vec<Way>,
    /// The prices.
    pub table: &'static Table,
    /// The rules.
    pub policy: Policy,
    /// What the run may spend.
    pub allowance: Allowance,
    /// The model that the run was routed to; `None` where every model is as good.
    pub routed: Option<Routed>,
    /// The output cap of requests that name none, in tokens; `None` for the most that their models give.
    pub output_default: Option<u64>,
    /// Where the journal is written; a file that is not there yet. `None` for no journal.
    pub journal: Option<PathBuf>,
    /// The clock by which prices are chosen.
    pub clock: fn() -> Timestamp,
}

/// Why a meter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener has no address.
    #[error("the meter's listener has no address: {0}")]
    Listener(#[source] io::Error),
    /// The journal cannot be made.
    #[error("the run's journal {path} cannot be made: {error}")]
    Journal {
        /// Where it was to be.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The cryptography library refuses its own defaults.
    #[error("no encrypted connection can be set up: {0}")]
    Tls(#[source] io::Error),
}

/// A running meter. Dropped, it takes no further connections.
#[derive(Debug)]
pub struct Meter {
    state: Arc<State>,
    address: SocketAddr,
    token: String,
    server: JoinHandle<()>,
}

impl Meter {
    /// Starts a meter on a listener, with the usual way to the provider.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(listener: TcpListener, config: Config) -> Result<Self, StartError> {
        let connector = https().map_err(StartError::Tls)?;
        Self::start_with(listener, connector, config)
    }

    /// Starts a meter that reaches the provider by `connector`, such as a simulated network.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_with<C>(listener: TcpListener, connector: C, config: Config) -> Result<Self, StartError>
    where
        C: Dial,
    {
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let journal = Journal::create(config.journal.as_deref()).map_err(|error| {
            let path = config.journal.as_deref().unwrap_or(std::path::Path::new("")).display().to_string();
            StartError::Journal { path, error }
        })?;
        let state = Arc::new(State::new(config.allowance, config.policy, journal));
        let token = crate::id::random_hex(TOKEN_BYTES);
        let gate = Gate {
            state: state.clone(),
            rules: Rules::new(config.table, config.policy, config.routed, config.output_default),
            threads: Threads::default(),
            routes: Route::all(&connector, config.ways),
            clock: config.clock,
            counts: Counts::default(),
            longest_note: Mutex::default(),
        };
        let vendors = gate.routes.iter().map(|route| route.way.vendor).collect();
        let door = Door::new(Secret::new(token.clone()), address, vendors);
        let server = tokio::spawn(serve(listener, Arc::new(door), Arc::new(gate)));
        Ok(Self { state, address, token, server })
    }

    /// The address that an agent is given in the provider's place.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that an agent sends where the provider's key would be.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The live state.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.state.watch()
    }

    /// Gives the run another allowance; an agent that was stopped may go on where there is room again.
    pub fn grow(&self, allowance: Allowance) {
        self.state.grow(allowance);
    }

    /// So much of the allowance is held on the ledger, and more may come: a request that needs more waits,
    /// and the snapshot says how much it wants.
    pub fn grant(&self, usd: Usd) {
        self.state.grant(usd);
    }

    /// No more is ever held on the ledger than is now: the run lands in it.
    pub fn land(&self) {
        self.state.land();
    }

    /// Lets nothing leave any more, whatever it is. What is in flight goes on.
    pub fn seal(&self) {
        self.state.seal();
    }

    /// The end of the last text that the agent's main thread was given.
    #[must_use]
    pub fn last_text(&self) -> Option<String> {
        self.state.last_text()
    }

    /// Ends the run: seals, waits for what is in flight until `deadline` is over, counts the rest at its
    /// bound, and says what was used.
    pub async fn drain(self, deadline: Duration) -> Totals {
        self.seal();
        let mut snapshot = self.state.watch();
        let idle = async { drop(snapshot.wait_for(|now| now.open_requests == 0).await) };
        // Out of time is as good as done: `finish` counts what is still open.
        let _ = tokio::time::timeout(deadline, idle).await;
        self.state.finish()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The usual way to a provider: TLS with the roots that are built in, or plain HTTP, of which
/// [`Upstream::parse`](super::Upstream::parse) sees to it that it stays on this machine.
fn https() -> io::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_MAX));
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(provider)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}
