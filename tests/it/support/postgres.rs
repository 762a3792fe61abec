//! A PostgreSQL server that a test starts for itself: in a folder of its own, on a port of its own, as
//! another user where the test is root. Included by the unit tests of the ledger as well.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The folder of PostgreSQL's programs, where Debian's is not to be used.
const PROGRAMS: &str = "TOLLGATE_TEST_POSTGRES";
/// How long a server may take to start, with recovery.
const START_MAX: Duration = Duration::from_secs(60);
/// Who owns every database.
const OWNER: &str = "books";

/// Where the programs are; says loudly that they are missing, and fails in CI.
pub(crate) fn programs() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAMS).map(PathBuf::from);
    let debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut folders: Vec<PathBuf> =
            versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
        folders.sort_by_key(|folder| {
            let version =
                folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().parse());
            version.and_then(Result::ok).unwrap_or(0_u32)
        });
        folders.pop()
    };
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())
    };
    let found = named.or_else(debian).or_else(on_path).filter(|folder| folder.join("postgres").is_file());
    if found.is_none() {
        let message = format!("PostgreSQL is missing: this test has shown nothing (set {PROGRAMS})");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED *** {message}\n");
    }
    found
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
}

/// The user that runs servers where the test is root, which PostgreSQL refuses to be.
fn servant() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut parts = line.split(':').skip(2).map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

impl Server {
    /// A server that has everything in memory and waits for no disk; `None` where there are no programs.
    pub(crate) fn quick() -> Option<Self> {
        Self::start("/dev/shm", &["fsync=off"])
    }

    /// A server that syncs to the disk.
    pub(crate) fn durable() -> Option<Self> {
        Self::start("/tmp", &["fsync=on"])
    }

    fn start(beside: &str, settings: &[&str]) -> Option<Self> {
        let mut server = Self::bare(beside, settings)?;
        let data = server.data();
        let mut made =
            server.program("initdb", &["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        server.expect(made.arg("--username").arg(OWNER).arg("--pgdata").arg(data));
        server.go();
        Some(server)
    }

    /// A folder and a port.
    fn bare(beside: &str, settings: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("tollgate-pg-").tempdir_in(beside);
        let folder = folder.or_else(|_| tempfile::tempdir()).expect("a folder");
        if let Some((user, group)) = servant() {
            chown(folder.path(), Some(user), Some(group)).expect("another owner");
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Some(Self { programs, folder, port: free_port(), settings, process: None })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs, as the user that may run it, and ended with this process.
    pub(crate) fn program(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.command(&self.programs.join(name));
        command.args(args);
        command
    }

    /// Any program that refuses to be root as those do.
    pub(crate) fn command(&self, path: &Path) -> Command {
        let mut command = match servant() {
            None => Command::new(path),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.args(["--clear-groups", "--pdeathsig=QUIT"]).arg(path);
                command
            }
        };
        command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command
    }

    #[track_caller]
    fn expect(&self, command: &mut Command) -> Output {
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{said}");
        output
    }

    /// Starts the server, and returns when it takes connections.
    pub(crate) fn go(&mut self) {
        for _ in 0..5 {
            let mut command = self.program("postgres", &[]);
            command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
            command.args(["-p", &self.port.to_string()]);
            for setting in &self.settings {
                command.args(["-c", setting]);
            }
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=150"]);
            command.args(["-c", "shared_buffers=32MB", "-c", "log_min_messages=log"]);
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("a server");
            let (ready, is_ready) = mpsc::channel();
            let log = BufReader::new(child.stderr.take().expect("a pipe"));
            // Read to its end: a server whose log is not read stands still.
            std::thread::spawn(move || {
                let mut said = Vec::new();
                for line in log.lines().map_while(Result::ok) {
                    if line.contains("ready to accept") {
                        let _ = ready.send(Ok(()));
                    }
                    if said.len() < 40 {
                        said.push(line);
                    }
                }
                let _ = ready.send(Err(said.join("\n")));
            });
            match is_ready.recv_timeout(START_MAX) {
                Ok(Ok(())) => {
                    self.process = Some(child);
                    return;
                }
                // Somebody else has taken the port in between.
                Ok(Err(said)) if said.contains("could not bind") => {
                    let _ = child.wait();
                    self.port = free_port();
                }
                other => panic!("the server does not start: {other:?}"),
            }
        }
        panic!("no port is free");
    }

    /// Ends every process of the server at once, as a crash would; nothing is written any more.
    pub(crate) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            let id = rustix::process::Pid::from_child(&process);
            let _ = rustix::process::kill_process(id, rustix::process::Signal::QUIT);
            let _ = process.wait();
        }
    }

    /// A folder that the server may read.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port on this machine.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, OWNER, database)
    }

    /// A file in the server's folder, handed over to whom it runs as.
    pub(crate) fn owned(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if let Some((user, group)) = servant() {
            chown(&path, Some(user), Some(group)).expect("another owner");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    /// Starts anew with more settings.
    pub(crate) fn set(&mut self, settings: &[&str]) {
        self.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
        self.crash();
        self.go();
    }

    /// Makes a database, and returns its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// What SQL says, as its owner: columns between `|`.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as(OWNER, database, sql).unwrap_or_else(|said| panic!("{sql}\n{said}"))
    }

    /// The same as a role; an error is what the server says.
    pub(crate) fn sql_as(&self, role: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.program("psql", &["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", role, "-d", database]);
        let output = command.args(["-c", sql]).stdin(Stdio::null()).output().expect("psql starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What SQL says at an address that may lead here.
    #[track_caller]
    pub(crate) fn sql_at(&self, url: &str, sql: &str) -> String {
        let mut command = self.program("psql", &["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]);
        let output = self.expect(command.args(["-c", sql]));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A standby of this server, to which it writes before it acknowledges anything.
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self::bare("/tmp", &[]).expect("programs");
        standby.settings = self.settings.clone();
        let data = standby.data();
        let mut copy = self.program("pg_basebackup", &["-h", "127.0.0.1", "-U", OWNER, "-R", "-X", "stream"]);
        copy.args(["-c", "fast", "-p", &self.port.to_string(), "-D"]).arg(&data);
        standby.expect(&mut copy);
        let name = "primary_conninfo = 'host=127.0.0.1 port=PORT user=books application_name=standby'\n";
        let file = data.join("postgresql.auto.conf");
        let text =
            std::fs::read_to_string(&file).expect("settings") + &name.replace("PORT", &self.port.to_string());
        std::fs::write(&file, text).expect("settings");
        standby.go();
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let state = || self.sql("postgres", "SELECT sync_state FROM pg_stat_replication");
        let mut asked = 0;
        while state() != "sync" {
            asked += 1;
            assert!(asked < 500, "the standby does not follow");
        }
        standby
    }

    /// Makes a standby the primary, and returns when it takes writes.
    pub(crate) fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote(true, 60)");
    }

    /// Lets a role log in.
    pub(crate) fn role(&self, name: &str) {
        self.sql("postgres", &format!("CREATE ROLE {name} LOGIN"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The URL of a database on this machine, for a role.
pub(crate) fn url(port: u16, role: &str, database: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}
