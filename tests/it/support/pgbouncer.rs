//! PgBouncer before a test's own server, as a pooler that leads each transaction to the next process of a few.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::postgres::{Server, free_port, url};
use super::tool;

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A pooler.
#[derive(Debug)]
pub(crate) struct Bouncer {
    program: PathBuf,
    settings: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Bouncer {
    /// A pooler before a database of a server, with so many connections to it; `None` where there is no program.
    pub(crate) fn before(server: &Server, database: &str, connections: u32) -> Option<Self> {
        let program = tool("pgbouncer", "TOLLGATE_TEST_PGBOUNCER")?;
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port();
            let text = format!(
                "[databases]\n{database} = host=127.0.0.1 port={} user=books\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
                 default_pool_size = {connections}\nserver_round_robin = 1\n",
                server.port()
            );
            std::fs::write(server.folder().join("pgbouncer.ini"), text).expect("settings");
            let settings = server.owned("pgbouncer.ini");
            let mut bouncer = Self { program: program.clone(), settings, port, process: None };
            match bouncer.start(server) {
                Ok(()) => return Some(bouncer),
                // Somebody else may have taken the port in between.
                Err(words) => said = words,
            }
        }
        panic!("PgBouncer does not start: {said}");
    }

    /// Starts it again where it was, and returns when it takes connections.
    pub(crate) fn go(&mut self, server: &Server) {
        let mut said = String::new();
        for _ in 0..100 {
            match self.start(server) {
                Ok(()) => return,
                // A client that looked for it may have the port for a moment.
                Err(words) => said = words,
            }
        }
        panic!("PgBouncer does not start again: {said}");
    }

    fn start(&mut self, server: &Server) -> Result<(), String> {
        let mut command = server.command(&self.program);
        command.arg(&self.settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a pooler");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        self.process = Some(child);
        let (ready, is_ready) = mpsc::channel();
        // Read to its end: a pooler whose log is not read stands still.
        std::thread::spawn(move || {
            let mut said = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if line.contains("process up") {
                    let _ = ready.send(Ok(()));
                }
                if said.len() < 40 {
                    said.push(line);
                }
            }
            let _ = ready.send(Err(said.join("\n")));
        });
        let started = is_ready.recv_timeout(START_MAX);
        started.unwrap_or_else(|_| Err("nothing was said in time".to_owned())).inspect_err(|_| self.crash())
    }

    /// Ends it at once, with all connections in whatever they do.
    pub(crate) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// The URL of a database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, "books", database)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.crash();
    }
}
